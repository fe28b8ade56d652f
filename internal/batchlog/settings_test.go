package batchlog

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestPrepare(t *testing.T) {
	cfg := testConfig()
	cfg.FlushInterval, cfg.BatchSize, cfg.MaxQueueSize = time.Hour, 100, 1000
	scripted(t, cfg, func(t *testing.T, l *running, s *script) {
		l.Append(chat("p", "a"), nil)
		synctest.Wait()

		bad := cfg
		bad.Redact = []string{"("}
		if _, err := l.Prepare(bad); err == nil || !strings.Contains(err.Error(), "batchlog.redact") {
			t.Errorf("a bad expression: %v", err)
		}
		next := cfg
		next.FlushInterval, next.Content = time.Second, "off"
		apply, err := l.Prepare(next)
		if err != nil {
			t.Fatal(err)
		}
		apply()
		l.Append(chat("p", "a"), nil)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		s.do(func() {
			var prompts []string
			for _, row := range s.rows {
				prompts = append(prompts, row.Prompt)
			}
			if got := strings.Join(prompts, "|"); got != "p|" && got != "|p" {
				t.Errorf("prompts %q: the first was written under the old settings, the second under the new", prompts)
			}
		})
	})
}
