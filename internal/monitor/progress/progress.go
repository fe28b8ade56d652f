// Package progress is what an exchange says of itself while it is under way: the
// step that it is busy with, and the objects that it makes.
//
// It owns the words that an exchange writes and its monitor reads. It never judges
// them, and takes no clock: a step costs an exchange a few nanoseconds.
package progress

import "sync/atomic"

// Kind is a type of objects that are followed.
type Kind uint8

// What is followed.
const (
	KindExchange Kind = iota
	KindStream
	KindUpstreamBody
	KindRecording
	KindFlight
	KindSession
	Kinds
)

// MaxSteps is how many kinds of steps there may be.
const MaxSteps = 1<<stepBits - 1

const stepBits = 6

// State is a step, by its index, and the tick at which it began. Step -1 is none.
type State int64

func stateOf(tick int64, step int) State { return State(tick<<stepBits | int64(step+1)) }

// Step is the step's index, or -1 between steps.
func (s State) Step() int { return int(s&MaxSteps) - 1 }

// Tick is when it began.
func (s State) Tick() int64 { return int64(s) >> stepBits }

// Clock is what all exchanges of a monitor read and it alone writes. It shares its line of
// the processor's cache with nothing that is written more often.
type Clock struct {
	_      [64]byte
	tick   atomic.Int64
	exact  atomic.Bool
	follow atomic.Uint32 // a bit for each kind
	_      [64]byte
}

// Tick returns the coarse time, in a unit that is the monitor's affair.
func (c *Clock) Tick() int64 { return c.tick.Load() }

// Set moves the coarse time on.
func (c *Clock) Set(tick int64) { c.tick.Store(tick) }

// Exact says whether each change of step is told, not only those after a tick.
func (c *Clock) Exact(yes bool) { c.exact.Store(yes) }

// Follow says whether new objects of a kind are followed.
func (c *Clock) Follow(k Kind, yes bool) {
	if yes {
		c.follow.Or(1 << k)
	} else {
		c.follow.And(^uint32(1 << k))
	}
}

// Exchange is the progress of one exchange, and a part of it. Its methods must be called
// by one goroutine at a time, but for State.
type Exchange struct {
	clock *Clock
	told  func(ended State)
	state atomic.Int64

	// Entered is how many steps were entered, and Skipped how many objects of each
	// kind were made and not followed.
	Entered int64
	Skipped [Kinds]int32
	// RequestID is read by others; it must not be changed.
	RequestID string
}

// Init makes an exchange ready. told is called by the exchange's goroutine with what has ended, a
// step or none, if there was a tick since it began, or always if the clock is exact.
// What is next has begun by then.
func (x *Exchange) Init(clock *Clock, requestID string, told func(ended State)) {
	x.clock, x.RequestID, x.told = clock, requestID, told
	x.Entered, x.Skipped = 0, [Kinds]int32{}
	x.state.Store(int64(stateOf(clock.Tick(), -1)))
}

// Enter begins a step and ends the one before, if any. A step is the proxy's own work: it
// must be left before waiting for the client or the upstream.
func (x *Exchange) Enter(step int) {
	x.Entered++
	x.change(step)
}

// Leave ends the step; in none it does nothing.
func (x *Exchange) Leave() { x.change(-1) }

// End ends the last step as Leave does, which nobody may look for any more.
func (x *Exchange) End() {
	last := x.State()
	if last.Tick() != x.clock.tick.Load() || x.clock.exact.Load() {
		x.state.Store(int64(stateOf(x.clock.tick.Load(), -1)))
		x.told(last)
	}
}

func (x *Exchange) change(step int) {
	tick := x.clock.tick.Load()
	ended := State(x.state.Swap(int64(stateOf(tick, step))))
	if ended.Tick() != tick || x.clock.exact.Load() {
		x.told(ended)
	}
}

// State is what the exchange is busy with. It may be called by anybody.
func (x *Exchange) State() State { return State(x.state.Load()) }

// Restate puts right when the present step began.
func (x *Exchange) Restate(tick int64) { x.state.Store(int64(stateOf(tick, x.State().Step()))) }

// Follows tells whether an object that the exchange has made is to be followed, and
// counts it if not.
func (x *Exchange) Follows(k Kind) bool {
	if x.clock.follow.Load()>>k&1 != 0 {
		return true
	}
	x.Skipped[k]++
	return false
}
