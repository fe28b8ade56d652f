package stream

// State is how full a stream's buffer is.
type State uint8

const (
	// Normal: the client keeps up, or nearly.
	Normal State = iota
	// Warning: the buffer fills.
	Warning
	// Throttled: reads from the upstream are paced.
	Throttled
	// Blocked: the buffer is full, and the upstream is not read.
	Blocked
)

var stateNames = [...]string{"normal", "warning", "throttled", "blocked"}

func (s State) String() string { return stateNames[s] }

// MarshalText makes the state's name its JSON.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// States lists all states in order, for whoever counts streams by them.
func States() []State { return []State{Normal, Warning, Throttled, Blocked} }
