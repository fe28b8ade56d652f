package batchlog
import ("testing";"github.com/google/uuid")
func BenchmarkSqliteStore(b *testing.B) {
	s := newSQLite(b.TempDir()+"/x.db", "here")
	defer s.close()
	rows := make([]*Conversation, 50)
	defer onCPU(b)()
	for b.Loop() {
		for i := range rows {
			r := kibibyte()
			if rows[i] == nil { rows[i] = readRecord(r, "here") }
			rows[i].ID = uuid.Must(uuid.NewV7()).String()
		}
		if err := s.store(b.Context(), rows); err != nil { b.Fatal(err) }
	}
}
