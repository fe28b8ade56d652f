package monitor

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"path"
	"strconv"
)

// busiest returns the stack that took most of the processor in a CPU profile,
// innermost first; none if nothing ran.
func busiest(profile []byte) ([]string, error) {
	unzipped, err := gzip.NewReader(bytes.NewReader(profile))
	if err != nil {
		return nil, fmt.Errorf("unpack the profile: %w", err)
	}
	raw, err := io.ReadAll(unzipped)
	if err != nil {
		return nil, fmt.Errorf("unpack the profile: %w", err)
	}
	var p cpuProfile
	if err := fields(raw, p.field); err != nil {
		return nil, err
	}
	return p.stack(), nil
}

// cpuProfile is as much of pprof's profile.proto as names a stack.
type cpuProfile struct {
	samples   []cpuSample
	locations map[uint64][]cpuLine // inlined calls have several, innermost first
	functions map[uint64]cpuFunction
	strings   []string
}

type cpuSample struct {
	locations []uint64
	count     uint64
}

type cpuLine struct{ function, line uint64 }

type cpuFunction struct{ name, file uint64 }

var errProfile = errors.New("the profile is malformed")

// field takes a field of the Profile message.
func (p *cpuProfile) field(number int, v uint64, b []byte) error {
	switch number {
	case 2: // sample
		var s cpuSample
		var values []uint64
		err := fields(b, func(number int, v uint64, b []byte) error {
			switch number {
			case 1:
				return numbers(&s.locations, v, b)
			case 2:
				return numbers(&values, v, b)
			}
			return nil
		})
		if len(values) > 0 {
			s.count = values[0]
		}
		p.samples = append(p.samples, s)
		return err
	case 4: // location
		var id uint64
		var lines []cpuLine
		err := fields(b, func(number int, v uint64, b []byte) error {
			switch number {
			case 1:
				id = v
			case 4:
				var l cpuLine
				lines = append(lines, l)
				return fields(b, pick(&lines[len(lines)-1].function, 1, &lines[len(lines)-1].line, 2))
			}
			return nil
		})
		if p.locations == nil {
			p.locations = map[uint64][]cpuLine{}
		}
		p.locations[id] = lines
		return err
	case 5: // function
		var id uint64
		var f cpuFunction
		err := errors.Join(fields(b, pick(&id, 1, &f.name, 2)), fields(b, pick(&f.file, 4, &f.name, 2)))
		if p.functions == nil {
			p.functions = map[uint64]cpuFunction{}
		}
		p.functions[id] = f
		return err
	case 6: // string_table
		p.strings = append(p.strings, string(b))
	}
	return nil
}

// pick stores two fields of a message.
func pick(a *uint64, numberOfA int, b *uint64, numberOfB int) func(int, uint64, []byte) error {
	return func(number int, v uint64, _ []byte) error {
		switch number {
		case numberOfA:
			*a = v
		case numberOfB:
			*b = v
		}
		return nil
	}
}

// stack is the sampled stack with the most samples. One of a single frame, as
// of code outside of Go, names nobody and counts only if there is no other.
func (p *cpuProfile) stack() []string {
	counts := map[string]uint64{}
	best, most := cpuSample{}, uint64(0)
	for _, s := range p.samples {
		// By its functions: each sample of a loop is at another instruction.
		key := fmt.Sprint(p.frames(s, false))
		counts[key] += s.count
		names := len(s.locations) > 1
		if bestNames := len(best.locations) > 1; names != bestNames && names || names == bestNames && counts[key] > most {
			best, most = s, counts[key]
		}
	}
	return p.frames(best, true)
}

func (p *cpuProfile) frames(s cpuSample, where bool) []string {
	frames := []string{}
	for _, id := range s.locations {
		for _, l := range p.locations[id] {
			f := p.functions[l.function]
			frame := p.text(f.name)
			if frame == "runtime.goexit" || len(frames) == maxFrames {
				continue
			}
			if where {
				frame += " " + path.Base(p.text(f.file)) + ":" + strconv.FormatUint(l.line, 10)
			}
			frames = append(frames, frame)
		}
	}
	return frames
}

func (p *cpuProfile) text(i uint64) string {
	if i < uint64(len(p.strings)) {
		return p.strings[i]
	}
	return "?"
}

// fields calls f with each field of a protobuf message: its number and its value, a
// number in v or bytes in b.
func fields(msg []byte, f func(number int, v uint64, b []byte) error) error {
	for len(msg) > 0 {
		key, n := binary.Uvarint(msg)
		if n <= 0 {
			return errProfile
		}
		msg = msg[n:]
		v, n := binary.Uvarint(msg)
		if n <= 0 {
			return errProfile
		}
		msg = msg[n:]
		var b []byte
		switch key & 7 {
		case 0: // varint
		case 2: // length, then bytes
			if v > uint64(len(msg)) {
				return errProfile
			}
			b, msg = msg[:v], msg[v:]
		default: // the profile's messages have no others
			return errProfile
		}
		if err := f(int(key>>3), v, b); err != nil {
			return err
		}
	}
	return nil
}

// numbers appends a repeated number, packed or not.
func numbers(to *[]uint64, v uint64, packed []byte) error {
	if packed == nil {
		*to = append(*to, v)
		return nil
	}
	for len(packed) > 0 {
		v, n := binary.Uvarint(packed)
		if n <= 0 {
			return errProfile
		}
		*to, packed = append(*to, v), packed[n:]
	}
	return nil
}
