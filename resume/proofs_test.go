package resume_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"wanrep/diskio/durable"
	"wanrep/diskio/durable/crashfs"
	"wanrep/resume"
)

// aClock is a store's clock, which a test sets.
type aClock struct{ at time.Time }

func (c *aClock) now() time.Time { return c.at }

// provable returns a store with three points of a VM.
func provable(t *testing.T, clock *aClock) (*crashfs.FS, *resume.Store) {
	t.Helper()
	fsys := crashfs.New()
	s, err := resume.Open(fsys, resume.Config{Format: plain{}, Now: clock.now})
	must(t, err)
	commitAll(t, s, newSnapshot("os", "ab", block), newSnapshot("os", "ac", block), newSnapshot("os", "dc", block))
	return fsys, s
}

// testedPoints lists which points were tested, and on which day of the month.
func testedPoints(t *testing.T, s *resume.Store) (all []string) {
	t.Helper()
	points, err := s.List()
	must(t, err)
	for _, p := range points {
		if !p.Tested.IsZero() {
			all = append(all, fmt.Sprintf("%s on %d", p.Point[15:], p.Tested.Day()))
		}
	}
	return all
}

func day(n int) time.Time { return time.Date(2026, 11, n, 8, 0, 0, 0, time.UTC) }

func note(t *testing.T, s *resume.Store, point int) {
	t.Helper()
	_, err := s.NoteTest("lyon", "sql01", fmt.Sprintf("%016x", point))
	must(t, err)
}

func TestProofs(t *testing.T) {
	clock := &aClock{day(1)}
	fsys, s := provable(t, clock)
	for n, point := range map[int]int{3: 2, 5: 1} {
		clock.at = day(n)
		note(t, s, point)
	}
	clock.at = day(9)
	must(t, s.NoteVerified("lyon", "sql01"))
	same(t, "noted", testedPoints(t, s), []string{"1 on 5", "2 on 3"})
	clock.at = day(11)
	note(t, s, 2)
	same(t, "tested again", testedPoints(t, s), []string{"1 on 5", "2 on 11"})
	must(t, s.ForgetTest("lyon", "sql01", fmt.Sprintf("%016x", 2)))
	must(t, s.Close())

	// It is there after a power cut, for a process beside, and when the point is gone.
	left := fsys.Crash(4)
	beside, err := resume.OpenReadOnly(left, resume.Config{Format: plain{}})
	must(t, err)
	same(t, "for a process beside", testedPoints(t, beside), []string{"1 on 5"})
	if _, err := beside.NoteTest("lyon", "sql01", fmt.Sprintf("%016x", 3)); !errors.Is(err, resume.ErrReadOnly) {
		t.Errorf("noted in a store that is only read: %v", err)
	}
	s, err = resume.Open(left, resume.Config{Format: plain{}, Now: clock.now})
	must(t, err)
	defer s.Close()
	must(t, s.Prune(t.Context(), resume.Point{Source: "lyon", VM: "sql01", Point: fmt.Sprintf("%016x", 1)}))
	same(t, "after the prune", testedPoints(t, s), nil)
	proofs, err := s.Proofs("lyon", "sql01")
	must(t, err)
	if !proofs.Tested().Equal(day(5)) || !proofs.Verified.Equal(day(9)) {
		t.Errorf("tested %v and verified %v, want the 5th and the 9th", proofs.Tested(), proofs.Verified)
	}
}

// TestNotEverythingCanBeTested has what nobody can have started a VM from.
func TestNotEverythingCanBeTested(t *testing.T) {
	fsys, s := provable(t, &aClock{day(1)})
	defer s.Close()
	part := begin(t, s, newSnapshot("os", "xy", block))
	defer part.Close()
	for _, point := range []string{"0000000000000004", "0000000000000009", "../1", ""} {
		if _, err := s.NoteTest("lyon", "sql01", point); !errors.Is(err, resume.ErrNoPoint) {
			t.Errorf("point %q: %v, want %v", point, err, resume.ErrNoPoint)
		}
	}
	edit(t, fsys, "lyon/sql01/points/0000000000000002/manifest.json", func(b []byte) { b[0] = 'x' })
	if _, err := s.NoteTest("lyon", "sql01", "0000000000000002"); err == nil {
		t.Error("noted a test of a damaged point")
	}
	same(t, "after all", testedPoints(t, s), nil)
}

// TestTestsAreLimited notes one more than are remembered.
func TestTestsAreLimited(t *testing.T) {
	clock := &aClock{day(1)}
	fsys, s := provable(t, clock)
	must(t, s.Close())
	proofs := resume.Proofs{}
	for n := range 1000 {
		proofs.Tests = append(proofs.Tests, resume.Test{Point: fmt.Sprintf("%016x", n+4), Time: clock.at.Add(time.Duration(n) * time.Hour)})
	}
	b, err := json.Marshal(struct {
		Schema string `json:"schema"`
		resume.Proofs
	}{"wanrep.proofs/1", proofs})
	must(t, err)
	must(t, durable.WriteFile(fsys, "lyon/sql01/proofs.json", b, 0o640))
	s, err = resume.Open(fsys, resume.Config{Format: plain{}, Now: clock.now})
	must(t, err)
	defer s.Close()
	clock.at = day(1).AddDate(1, 0, 0)
	note(t, s, 3)
	proofs, err = s.Proofs("lyon", "sql01")
	must(t, err)
	if n := len(proofs.Tests); n != 1000 || proofs.Tests[0].Point != fmt.Sprintf("%016x", 5) || !proofs.Tested().Equal(clock.at) {
		t.Errorf("%d tests are remembered, the first of point %s, the last at %v", n, proofs.Tests[0].Point, proofs.Tested())
	}
}

// TestBrokenProofs prove nothing, and keep nobody from proving anew.
func TestBrokenProofs(t *testing.T) {
	for name, text := range map[string]string{
		"no JSON":        `{"schema":"wanrep.proofs/1","tests":[`,
		"another schema": `{"schema":"wanrep.proofs/9","tests":[]}`,
		"no point":       `{"schema":"wanrep.proofs/1","tests":[{"point":"../../x","time":"2026-11-01T08:00:00Z"}]}`,
		"no time":        `{"schema":"wanrep.proofs/1","tests":[{"point":"0000000000000001"}]}`,
		"no order": `{"schema":"wanrep.proofs/1","tests":[{"point":"0000000000000001","time":"2026-11-02T08:00:00Z"},` +
			`{"point":"0000000000000002","time":"2026-11-01T08:00:00Z"}]}`,
	} {
		fsys, s := provable(t, &aClock{day(1)})
		note(t, s, 1)
		must(t, s.Close())
		must(t, durable.WriteFile(fsys, "lyon/sql01/proofs.json", []byte(text), 0o640))
		s, err := resume.Open(fsys, resume.Config{Format: plain{}, Now: (&aClock{day(2)}).now})
		must(t, err)
		same(t, name, testedPoints(t, s), nil)
		note(t, s, 3)
		same(t, name+", tested again", testedPoints(t, s), []string{"3 on 2"})
		must(t, s.Close())
	}
}

// TestCrashWhileNoting cuts the power at every operation: what was said before stays,
// and what was acknowledged is there.
func TestCrashWhileNoting(t *testing.T) {
	start, s := provable(t, &aClock{day(1)})
	note(t, s, 1)
	must(t, s.Close())
	for k := 1; ; k++ {
		fsys := start.Crash(0)
		opened := 0
		fsys.Trace(func(op crashfs.Op) { opened = op.N })
		s, err := resume.Open(fsys, resume.Config{Format: plain{}, Now: (&aClock{day(2)}).now})
		must(t, err)
		fsys.Trace(nil)
		fsys.Inject(crashfs.Fault{At: opened + k, Kind: crashfs.Crash})
		_, err = s.NoteTest("lyon", "sql01", "0000000000000003")
		left, openErr := resume.Open(fsys.Crash(mix(uint64(k), k)), resume.Config{Format: plain{}})
		must(t, openErr)
		got, all := testedPoints(t, left), []string{"1 on 1", "3 on 2"}
		if !slices.Equal(got, all) && (err == nil || !slices.Equal(got, all[:1])) {
			t.Errorf("operation %d, error %v: tested are %q", k, err, got)
		}
		must(t, left.Close())
		if err == nil {
			if k < 5 {
				t.Errorf("only %d operations were tried", k)
			}
			return
		}
	}
}
