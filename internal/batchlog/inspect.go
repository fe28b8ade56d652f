package batchlog

import (
	"context"
	"errors"
	"path/filepath"
	"time"

	"github.com/vega-proxy/vega-proxy/internal/batchlog/spool"
)

const (
	secondLooks = 5
	lookAgain   = 200 * time.Millisecond
)

// InspectSpool returns the counters of a data directory's spool, and what a start
// would find there. It locks and changes nothing; a proxy may run there.
func InspectSpool(dataDir string) (spool.Counters, spool.Recovery, error) {
	return spool.Inspect(filepath.Join(dataDir, "spool"))
}

// AuditDir counts as Log.Audit does, from the files of a data directory and its
// sink. It locks and changes nothing; a proxy may run there. What seems to be
// missing is looked for again within a second, since rows may be on their way.
func AuditDir(ctx context.Context, cfg Config, dataDir string) (a Audit, err error) {
	instance, err := readInstance(dataDir)
	if err != nil {
		return Audit{}, err
	}
	s, err := openSink(cfg, dataDir, instance)
	if err != nil {
		return Audit{}, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	for look := 0; ; look++ {
		counted, _, err := InspectSpool(dataDir)
		if err != nil {
			return Audit{}, err
		}
		if a = audit(ctx, counted, s, instance); a.Balanced || look == secondLooks {
			return a, nil
		}
		select {
		case <-time.After(lookAgain):
		case <-ctx.Done():
			return a, context.Cause(ctx)
		}
	}
}
