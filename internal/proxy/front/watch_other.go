//go:build !linux

package front

import "errors"

// watcher does not exist here, so that net/http serves all connections.
type watcher struct{}

func newWatcher() (*watcher, error) { return nil, errors.ErrUnsupported }

func (*watcher) add(*conn) error    { return errors.ErrUnsupported }
func (*watcher) remove(*conn) error { return errors.ErrUnsupported }
func (*watcher) forget(*conn)       {}
func (*watcher) run()               {}
func (*watcher) close() error       { return errors.ErrUnsupported }

func readSocket(uintptr, []byte) (n int, again bool, err error) {
	return 0, false, errors.ErrUnsupported
}
