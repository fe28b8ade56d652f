package doctor

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
	"time"

	"github.com/vega-proxy/vega-proxy/internal/batchlog"
)

const logOff = "batchlog.enabled is false: no conversations are kept"

// ofSink makes a check of the database that needs it to be reached.
func ofSink(judge func(f *facts, x *batchlog.Examination) Result) func(*facts) []Result {
	return func(f *facts) []Result {
		switch x := f.sink; {
		case !f.cfg.Batchlog.Enabled:
			return []Result{skipped(logOff)}
		case x == nil || x.Unreachable != nil:
			return []Result{skipped("the database was not reached")}
		default:
			return []Result{judge(f, x)}
		}
	}
}

// spooling is what a database that does not work means.
const spooling = "answers go on, but conversations stay in the spool, and the oldest are given up when that is full"

func checkDatabase(f *facts) []Result {
	x := f.sink
	switch {
	case !f.cfg.Batchlog.Enabled:
		return []Result{skipped(logOff)}
	case x == nil:
		return []Result{wrong(fmt.Sprintf("the database did not answer within %s", enough), spooling, "see whether it is overloaded, or its table is locked")}
	case x.Unreachable == nil:
		return []Result{ok(fmt.Sprintf("%s: %s", x.Sink, x.Where))}
	}
	return []Result{wrong(firstLine(x.Unreachable), spooling, reachRemedy(x))}
}

// reachRemedy goes by the server's code, or the network's.
func reachRemedy(x *batchlog.Examination) string {
	_, unknown := errors.AsType[*net.DNSError](x.Unreachable)
	switch {
	case x.Sink == "sqlite":
		return "give the file to the user that runs the proxy; a file that is no database is put aside by the proxy when it next writes"
	case x.Code == "28P01":
		return "correct the user and the password in batchlog.database; special characters need %-encoding"
	case x.Code == "28000":
		return "let the user in by pg_hba.conf, or correct the user in batchlog.database"
	case x.Code == "3D000":
		return "make the database (createdb), or correct its name in batchlog.database"
	case x.Code == "53300":
		return "raise max_connections of the server, or end connections: the proxy needs two"
	case x.Code == "57P03":
		return "the server is starting or stopping: wait, and try again"
	case errors.Is(x.Unreachable, syscall.ECONNREFUSED):
		return "start the database, or correct host and port in batchlog.database"
	case unknown:
		return "correct the host in batchlog.database, or the DNS of this machine"
	case isTimeout(x.Unreachable):
		return "see that host and port in batchlog.database are right and reachable from here"
	case strings.Contains(x.Unreachable.Error(), "TLS") || strings.Contains(x.Unreachable.Error(), "certificate"):
		return "turn TLS on in the server, or set sslmode and sslrootcert in batchlog.database to what it has"
	}
	return "correct batchlog.database: postgres://USER:PASSWORD@HOST:5432/NAME?sslmode=verify-full"
}

func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}

func checkSchema(f *facts, x *batchlog.Examination) Result {
	const own = "the rows cannot be stored: " + spooling
	switch {
	case !x.Table && x.Refused == nil && (f.cfg.Batchlog.Migrate || x.Sink == "sqlite"):
		return ok("there is no table conversations yet; it is made when the first one is stored")
	case !x.Table && x.Refused == nil:
		return wrong("there is no table conversations, and batchlog.migrate is false", own, "run what `vega-proxy schema` prints, or set batchlog.migrate: true")
	case len(x.Missing) > 0:
		return wrong(fmt.Sprintf("the table conversations lacks %s: it is of another version, or somebody else's", count(len(x.Missing), "column", x.Missing)),
			own, "add the columns as `vega-proxy schema` has them, or rename the table so that a new one is made")
	case len(x.Extra) > 0:
		return ok(fmt.Sprintf("the table has all columns, and of others %s", count(len(x.Extra), "column", x.Extra)))
	case !x.Table:
		return skipped("there is no table conversations yet")
	}
	return ok("the table conversations has all columns")
}

func checkRights(f *facts, x *batchlog.Examination) Result {
	retention := f.cfg.Batchlog.Retention
	deletes := retention.MaxAge > 0 || retention.MaxBytes > 0
	switch {
	case x.Refused != nil:
		return wrong(fmt.Sprintf("a row cannot be stored: %s", firstLine(x.Refused)), spooling, storeRemedy(x))
	case len(x.Missing) > 0 || !x.Table && x.Sink == "postgres" && !f.cfg.Batchlog.Migrate:
		return skipped("the table is not as it should be")
	case deletes && !x.MayDelete:
		return wrong("the user may not delete rows, which batchlog.retention needs", "nothing is ever deleted", "GRANT DELETE ON conversations TO the user, or set no retention")
	case !x.Table && x.Sink == "sqlite":
		return ok("the file is made with the first conversation")
	}
	return ok(fmt.Sprintf("a row was stored and taken back, in %s with connecting", short(x.Took)))
}

func storeRemedy(x *batchlog.Examination) string {
	text := x.Refused.Error()
	switch {
	case x.Code == "42501":
		return "GRANT SELECT, INSERT, UPDATE, DELETE ON conversations TO the user (and CREATE on the schema, where the proxy is to make the table)"
	case x.Code == "25006":
		return "this server takes no writes, perhaps as a replica: name the primary in batchlog.database"
	case x.Code == "53100" || strings.Contains(text, "disk is full"):
		return "free space on the database's disk"
	case strings.HasPrefix(x.Code, "23"):
		return "a rule of your own on the table refuses rows: such conversations will be set aside; loosen it"
	case strings.Contains(text, "locked"):
		return "another process holds the file: end it, or wait for it"
	case strings.Contains(text, "readonly") || strings.Contains(text, "permission denied"):
		return "give the file and its directory to the user that runs the proxy"
	case strings.Contains(text, "not a database") || strings.Contains(text, "malformed"):
		return "the file is damaged: the proxy puts it aside when it next writes, and begins a new one; recover what is in it with sqlite3 .recover"
	case strings.Contains(text, "no such file"):
		return "make the directory, and give it to the user that runs the proxy"
	}
	return "see the database's own log"
}

// slowStore is when storing takes so long that a busy proxy would fall behind.
const slowStore = time.Second

func checkSpeed(_ *facts, x *batchlog.Examination) Result {
	found := fmt.Sprintf("connecting and storing took %s", short(x.Took))
	if x.Took > slowStore {
		return warning(found, "batches take that long each, and the spool grows under load", "see the network to the database, and its load")
	}
	return ok(found)
}

func checkEncrypted(_ *facts, x *batchlog.Examination) Result {
	switch {
	case x.Sink == "sqlite":
		return skipped("a file needs no connection")
	case x.Remote && !x.Encrypted:
		return warning("the connection is not encrypted", "conversations and the password can be read on the way", "add sslmode=verify-full to batchlog.database")
	case !x.Remote:
		return ok("the database is on this machine")
	}
	return ok("the connection is encrypted")
}
