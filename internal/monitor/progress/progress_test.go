package progress

import "testing"

// told is what an exchange says, and in what state it is then.
type told struct{ ended, is State }

func watched(c *Clock) (x *Exchange, all *[]told) {
	x, all = new(Exchange), new([]told)
	x.Init(c, "r", func(ended State) { *all = append(*all, told{ended, x.State()}) })
	return x, all
}

func TestStepsWithinATickAreNotTold(t *testing.T) {
	var c Clock
	c.Set(1000)
	x, all := watched(&c)
	x.Enter(0)
	x.Enter(5)
	x.Leave()
	x.Leave()
	if len(*all) != 0 || x.Entered != 2 || x.State().Step() != -1 {
		t.Errorf("%d steps entered, now in %d, told %v", x.Entered, x.State().Step(), *all)
	}
	x.Enter(3)
	c.Set(2000)
	x.Enter(4)
	if want := (told{stateOf(1000, 3), stateOf(2000, 4)}); len(*all) != 1 || (*all)[0] != want {
		t.Errorf("after a tick: told %v, want %v", *all, want)
	}
}

func TestAnExactClockHasAllTold(t *testing.T) {
	var c Clock
	c.Exact(true)
	x, all := watched(&c)
	x.Enter(2)
	x.Restate(7)
	if s := x.State(); s.Step() != 2 || s.Tick() != 7 {
		t.Errorf("restated as step %d at %d", s.Step(), s.Tick())
	}
	x.Leave()
	if len(*all) != 2 || (*all)[1].ended != stateOf(7, 2) {
		t.Errorf("told %v", *all)
	}
}

func TestTheEndIsToldLikeAnyChange(t *testing.T) {
	var c Clock
	x, all := watched(&c)
	x.Enter(2)
	x.End()
	if len(*all) != 0 {
		t.Errorf("an end within a tick is told: %v", *all)
	}
	x.Enter(3)
	c.Set(1)
	x.End()
	if want := (told{stateOf(0, 3), stateOf(1, -1)}); len(*all) != 1 || (*all)[0] != want {
		t.Errorf("told %v, want %v", *all, want)
	}
	c.Exact(true)
	x.Enter(4)
	x.End()
	if want := (told{stateOf(1, 4), stateOf(1, -1)}); len(*all) != 3 || (*all)[2] != want {
		t.Errorf("told %v, want %v at the end", *all, want)
	}
}

func TestFollows(t *testing.T) {
	var c Clock
	x, _ := watched(&c)
	for k := range Kinds {
		c.Follow(k, true)
	}
	c.Follow(KindStream, false)
	for k := range Kinds {
		if got, want := x.Follows(k), k != KindStream; got != want {
			t.Errorf("kind %d: %v", k, got)
		}
	}
	if x.Skipped != [Kinds]int32{KindStream: 1} {
		t.Errorf("skipped %v", x.Skipped)
	}
	x.Init(&c, "s", nil)
	if x.Skipped != [Kinds]int32{} || x.Entered != 0 || x.State().Step() != -1 {
		t.Errorf("not as new: %+v", x)
	}
}
