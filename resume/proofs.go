package resume

import (
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"time"

	"wanrep/diskio"
	"wanrep/diskio/durable"
)

// A store remembers what no file of a point can tell: that a failover to it was tested
// and worked, which only a person knows, and when the points of a VM were last read again
// and found as they were committed. It is in the VM's file proofs.json, beside the points,
// which are not written to, and outlives the points that it is about.

const (
	proofsName   = "proofs.json"
	proofsSchema = "wanrep.proofs/1"
	// maxTests is how many tests of a VM are remembered, the newest ones: some years of
	// one a day.
	maxTests = 1000
	// maxProofsBytes is some ten times those.
	maxProofsBytes = 1 << 20
)

// Proofs are what is known of the points of a VM besides their content.
type Proofs struct {
	// Verified is when NoteVerified was last called; zero is never.
	Verified time.Time `json:"verified"`
	// Tests are in the order of their times, one for each point.
	Tests []Test `json:"tests"`
}

// A Test says that a failover to a point was tested and worked.
type Test struct {
	Point string    `json:"point"`
	Time  time.Time `json:"time"` // it was noted
}

// Tested is when a failover to any of the points was last tested; zero is never.
func (p Proofs) Tested() time.Time {
	if len(p.Tests) == 0 {
		return time.Time{}
	}
	return p.Tests[len(p.Tests)-1].Time
}

// of is when a failover to one point was tested; zero is never.
func (p Proofs) of(point string) time.Time {
	for _, t := range p.Tests {
		if t.Point == point {
			return t.Time
		}
	}
	return time.Time{}
}

type proofsFile struct {
	Schema string `json:"schema"`
	Proofs
}

// Proofs returns what is known of the points of a VM. It must not be changed.
func (s *Store) Proofs(source, vm string) (Proofs, error) {
	dir, err := vmDir(source, vm)
	if err != nil {
		return Proofs{}, err
	}
	return s.proofsOf(dir)
}

// proofsOf returns the proofs of a VM: from memory, or from its file in a store that
// another process may be working on.
func (s *Store) proofsOf(vmDir string) (Proofs, error) {
	if s.readOnly {
		return s.readProofs(vmDir)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stateLocked(vmDir).proofs, nil
}

// readProofs reads the proofs of a VM. A file that is damaged proves nothing.
func (s *Store) readProofs(vmDir string) (Proofs, error) {
	f, err := readNotes[proofsFile](s, path.Join(vmDir, proofsName), maxProofsBytes)
	return f.Proofs, err
}

// check holds a file to what the store would have written.
func (f proofsFile) check() error {
	if f.Schema != proofsSchema || len(f.Tests) > maxTests {
		return errors.New("it is no list of tests")
	}
	for _, t := range f.Tests {
		if _, ok := pointNumber(t.Point); !ok || t.Time.IsZero() {
			return fmt.Errorf("point %q has no such test", diskio.Printable(t.Point))
		}
	}
	if !slices.IsSortedFunc(f.Tests, byTime) {
		return errors.New("the tests are not in the order of their times")
	}
	return nil
}

func byTime(a, b Test) int { return a.Time.Compare(b.Time) }

// NoteTest notes, durably, that a failover to a committed point was tested and worked,
// and returns the time of it. The error is ErrNoPoint if there is no such point.
func (s *Store) NoteTest(source, vm, point string) (time.Time, error) {
	points, err := s.ListVM(source, vm)
	if err != nil {
		return time.Time{}, err
	}
	at := slices.IndexFunc(points, func(p Point) bool { return p.Point == point && p.State != StatePart })
	if at < 0 {
		return time.Time{}, ErrNoPoint
	}
	if points[at].State == StateDamaged {
		return time.Time{}, fmt.Errorf("point %s is damaged, so that no VM can have been started from it", point)
	}
	now := s.cfg.Now().UTC()
	return now, s.changeProofs(source, vm, func(p *Proofs) {
		p.Tests = append(withoutTest(p.Tests, point), Test{point, now})
		slices.SortStableFunc(p.Tests, byTime) // the clock may have gone back
		p.Tests = p.Tests[max(0, len(p.Tests)-maxTests):]
	})
}

// ForgetTest takes back what NoteTest noted of a point. It may be gone by now.
func (s *Store) ForgetTest(source, vm, point string) error {
	return s.changeProofs(source, vm, func(p *Proofs) { p.Tests = withoutTest(p.Tests, point) })
}

func withoutTest(tests []Test, point string) []Test {
	return slices.DeleteFunc(slices.Clone(tests), func(t Test) bool { return t.Point == point })
}

// NoteVerified notes, durably, that the points of a VM are as they were committed, as
// far as they were read.
func (s *Store) NoteVerified(source, vm string) error {
	return s.changeProofs(source, vm, func(p *Proofs) { p.Verified = s.cfg.Now().UTC() })
}

// changeProofs changes what is known of a VM's points, durably.
func (s *Store) changeProofs(source, vm string, change func(*Proofs)) error {
	if s.readOnly {
		return ErrReadOnly
	}
	dir, err := vmDir(source, vm)
	if err != nil {
		return err
	}
	v := s.state(dir)
	v.proving.Lock()
	defer v.proving.Unlock()
	proofs, err := s.proofsOf(dir)
	if err != nil {
		return err
	}
	change(&proofs)
	if proofs.Tests == nil {
		proofs.Tests = []Test{}
	}
	b, err := json.Marshal(proofsFile{proofsSchema, proofs})
	if err != nil {
		return err
	}
	if err := durable.WriteFile(s.fsys, path.Join(dir, proofsName), append(b, '\n'), filePerm); err != nil {
		return err
	}
	s.set(v, func(v *vmState) { v.proofs = proofs })
	return nil
}
