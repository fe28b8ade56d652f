package batchlog

import "fmt"

// settings are the configuration in force, and what is made of it.
type settings struct {
	Config
	reducer *reducer
}

func (l *Log) cfg() *Config      { return &l.set.Load().Config }
func (l *Log) reducer() *reducer { return l.set.Load().reducer }

// Prepare makes ready what new settings need and changes nothing yet; apply does.
// They hold for the conversations that end, and the batches that are made, from
// then on. What was opened stays open: the settings of the spool and the database
// hold as they were at first.
func (l *Log) Prepare(cfg Config) (apply func(), err error) {
	r, err := newReducer(cfg, l.key)
	if err != nil {
		return nil, fmt.Errorf("batchlog.redact: %w", err)
	}
	return func() {
		l.set.Store(&settings{cfg, r})
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.interrupt != nil { // it waits by the old settings
			l.interrupt()
		}
	}, nil
}
