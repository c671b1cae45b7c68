package replicate

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"wanrep/diskio/durable"
	"wanrep/diskio/durable/crashfs"
	"wanrep/replicate/wire"
)

func newState(t *testing.T) (*crashfs.FS, *State) {
	t.Helper()
	dir := crashfs.New()
	if err := InitState(dir); err != nil {
		t.Fatal(err)
	}
	s, err := OpenState(dir)
	if err != nil {
		t.Fatal(err)
	}
	return dir, s
}

func introduced(s *State) *wire.Hello {
	hello := &wire.Hello{}
	s.introduce("dr", hello)
	return hello
}

// TestStartsAreCounted loses power at each operation of a start. A process that
// came to run is known to the next one.
func TestStartsAreCounted(t *testing.T) {
	for k := 1; ; k++ {
		dir, first := newState(t)
		dir.Inject(crashfs.Fault{At: dir.Ops() + k, Kind: crashfs.Crash})
		second, err := OpenState(dir)
		third, bad := OpenState(dir.Crash(uint64(k)))
		if bad != nil {
			t.Fatalf("power cut at operation %d: %v", k, bad)
		}
		hello := introduced(third)
		if !slices.Contains(hello.Before, [16]byte(first.process)) {
			t.Errorf("power cut at operation %d: the first process is forgotten", k)
		}
		if err == nil && (hello.Starts != 3 || !slices.Contains(hello.Before, [16]byte(second.process))) {
			t.Errorf("power cut at operation %d: the second process ran and is forgotten", k)
		}
		if !dir.Crashed() {
			return
		}
	}
}

// TestStateThatCannotBeRead is never taken for a new one.
func TestStateThatCannotBeRead(t *testing.T) {
	for _, text := range []string{"missing", "", "{}", `{"schema":"wanrep.state/2"}`, `{"schema":"wanrep.state/1","processes":["00"]}`, strings.Repeat(" ", maxStateBytes+1)} {
		dir := crashfs.New()
		if text != "missing" {
			if err := durable.WriteFile(dir, stateName, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		_, err := OpenState(dir)
		var bad *StateError
		if !errors.As(err, &bad) || bad.Hint() == "" {
			t.Errorf("%.40q: got %v, want a StateError", text, err)
		}
		if err := InitState(dir); err != nil {
			t.Errorf("%.40q: pairing anew: %v", text, err)
		}
		if _, err := OpenState(dir); err != nil {
			t.Errorf("%.40q: after pairing anew: %v", text, err)
		}
	}
}

func TestInitKeepsAGoodState(t *testing.T) {
	dir, first := newState(t)
	if err := InitState(dir); err != nil {
		t.Fatal(err)
	}
	second, err := OpenState(dir)
	if err != nil {
		t.Fatal(err)
	}
	if hello := introduced(second); hello.Starts != 2 || hello.Before[0] != [16]byte(first.process) {
		t.Errorf("the second process introduces itself as %+v", hello)
	}
}

// TestHelloStaysWithinItsLimit starts a source often.
func TestHelloStaysWithinItsLimit(t *testing.T) {
	dir, s := newState(t)
	if err := s.letIn("dr"); err != nil {
		t.Fatal(err)
	}
	first := s.process
	for range 2 * wire.MaxBefore {
		var err error
		if s, err = OpenState(dir); err != nil {
			t.Fatal(err)
		}
	}
	hello := introduced(s)
	if len(hello.Before) > wire.MaxBefore || !slices.Contains(hello.Before, [16]byte(first)) {
		t.Errorf("%d processes before, the one that was let in among them: %v", len(hello.Before), slices.Contains(hello.Before, [16]byte(first)))
	}
}

func TestSaw(t *testing.T) {
	at := time.Date(2026, 11, 20, 9, 0, 0, 0, time.UTC)
	was := vmMemory{Store: "a", Points: 12, Newest: "0000000000000012", Time: at}
	tests := []struct {
		name     string
		was, now vmMemory
		want     string // in the warning; empty for none
	}{
		{"a new VM", vmMemory{}, vmMemory{Store: "a"}, ""},
		{"as it was", was, was, ""},
		{"one more", was, vmMemory{Store: "a", Points: 13, Newest: "0000000000000013", Time: at}, ""},
		{"pruned", was, vmMemory{Store: "a", Points: 3, Newest: was.Newest, Time: at}, ""},
		{"a store that does not tell", was, vmMemory{}, ""},
		{"another store", was, vmMemory{Store: "b"}, "target dr has another store than before: 12 points of sql01 up to 2026-11-20 are not in it; the disks are sent whole"},
		{"another store with points", was, vmMemory{Store: "b", Points: 1, Newest: "0000000000000001"}, "it has 1 point, of which the newest is 0000000000000001"},
		{"another store, and nothing lost", vmMemory{Store: "a"}, vmMemory{Store: "b"}, ""},
		{"rolled back", was, vmMemory{Store: "a", Points: 9, Newest: "0000000000000009"}, "point 0000000000000012 of sql01, of 2026-11-20, is gone from it or damaged; the newest is 0000000000000009"},
		{"emptied", was, vmMemory{Store: "a"}, "it has none"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir, s := newState(t)
			if _, err := s.saw("dr", "sql01", test.was); err != nil {
				t.Fatal(err)
			}
			// By the next process, as after a restart.
			s, err := OpenState(dir.Crash(0))
			if err != nil {
				t.Fatal(err)
			}
			got, err := s.saw("dr", "sql01", test.now)
			if err != nil || !strings.Contains(got, test.want) || (got == "") != (test.want == "") {
				t.Errorf("got %q, %v, want %q", got, err, test.want)
			}
			if again, err := s.saw("dr", "sql01", test.now); err != nil || again != "" {
				t.Errorf("told again: %q, %v", again, err)
			}
		})
	}
}

func TestForgetTarget(t *testing.T) {
	dir, s := newState(t)
	if _, err := s.saw("dr", "sql01", vmMemory{Store: "a", Points: 1, Newest: "1"}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.Forget("dr"); err != nil {
			t.Fatal(err)
		}
	}
	s, err := OpenState(dir.Crash(0))
	if err != nil {
		t.Fatal(err)
	}
	if text, err := s.saw("dr", "sql01", vmMemory{Store: "b"}); text != "" || err != nil {
		t.Errorf("what was forgotten is told: %q, %v", text, err)
	}
}
