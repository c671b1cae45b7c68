package resume

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// A tie is how a point hangs together with the others of its VM.
type tie struct {
	child  string // the one point that builds on it; empty without one
	pinned string // why it can't be pruned now; empty if it can
}

// Pins says of each committed point of a VM that can't be pruned now why not.
func (s *Store) Pins(source, vm string) (map[string]string, error) {
	dir, err := vmDir(source, vm)
	if err != nil {
		return nil, err
	}
	release, err := s.look(dir)
	if err != nil {
		return nil, err
	}
	defer release()
	ties, err := s.ties(s.state(dir))
	if err != nil {
		return nil, err
	}
	pins := map[string]string{}
	for point, t := range ties {
		if t.pinned != "" {
			pins[point] = t.pinned
		}
	}
	return pins, nil
}

// ties looks how the points of a VM hang together. The caller keeps them as they are.
func (s *Store) ties(v *vmState) (map[string]tie, error) {
	names, err := s.pointDirs(path.Join(v.dir, pointsName))
	if err != nil {
		return nil, err
	}
	part, err := s.currentPart(v.dir)
	if err != nil {
		return nil, err
	}
	chains := s.chains(v.dir)
	if chains.err != nil {
		return nil, chains.err
	}
	names = slices.DeleteFunc(names, chains.pruned.hides)
	builders := map[string][]string{}
	ties := map[string]tie{}
	unknown := "" // a newer point of which it is not known on what it builds
	for i, name := range slices.Backward(names) {
		p := chains.files(name)
		if p.err != nil && !isDamaged(p.err) {
			return nil, p.err
		}
		t, err := s.tieOf(chains, name, builders[name])
		if err != nil {
			return nil, err
		}
		switch {
		case i == len(names)-1:
			t.pinned = "it is the newest"
		case unknown != "":
			t.pinned = fmt.Sprintf("point %s, which may build on it, is damaged", unknown)
		case part != nil && part.base == name:
			t.pinned = fmt.Sprintf("part %s builds on it", part.point)
		case s.isRead(v, name):
			t.pinned = "it is being read"
		}
		ties[name] = t
		if p.err != nil {
			unknown = name
		} else if p.manifest.Base != nil {
			builders[*p.manifest.Base] = append(builders[*p.manifest.Base], name)
		}
	}
	return ties, nil
}

// tieOf returns how a point hangs together with those that build on it.
func (s *Store) tieOf(chains *chains, name string, builders []string) (tie, error) {
	switch len(builders) {
	case 0:
		return tie{}, nil
	case 1:
	default:
		slices.Sort(builders)
		return tie{pinned: "points " + strings.Join(builders, " and ") + " build on it"}, nil
	}
	t := tie{child: builders[0]}
	for _, point := range []string{name, t.child} {
		err := chains.check(point)
		if err != nil && !isDamaged(err) {
			return tie{}, err
		}
		if err != nil && point == name {
			t.pinned = fmt.Sprintf("it is damaged, and point %s builds on it", t.child)
			break
		}
		if err != nil {
			t.pinned = fmt.Sprintf("point %s, which builds on it, is damaged", t.child)
		}
	}
	if t.pinned == "" && chains.rotten(t.child) {
		t.pinned = rottenChild(t.child)
	}
	return t, nil
}

// rottenChild says why a point can't be pruned whose child has rotted: the merge would
// copy what is in the child's files, and take from them what a source may still heal.
func rottenChild(child string) string {
	return fmt.Sprintf("point %s, which builds on it, is damaged and not healed yet", child)
}

// rotten reports whether anything is known to be damaged of a point's own files.
func (c *chains) rotten(point string) bool {
	for at := range c.damage {
		if at.point == point {
			return true
		}
	}
	return false
}

// isRead reports whether this process reads a point.
func (s *Store) isRead(v *vmState, point string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return v.readers[point] > 0
}
