//go:build !linux

package poll

import (
	"errors"
	"syscall"
)

// Loop does not exist here.
type Loop struct{}

// New fails with [errors.ErrUnsupported].
func New(int) (*Loop, error) { return nil, errors.ErrUnsupported }

// Run returns at once.
func (*Loop) Run() {}

// Close does nothing.
func (*Loop) Close() error { return nil }

// Add fails with [errors.ErrUnsupported].
func (*Loop) Add(syscall.RawConn, Interest, func()) (Watch, error) {
	return Watch{}, errors.ErrUnsupported
}

// Remove does nothing.
func (*Loop) Remove(syscall.RawConn, Watch) error { return nil }

// Forget does nothing.
func (*Loop) Forget(Watch) {}
