package replicate

import (
	"fmt"
	"slices"
	"time"

	"wanrep/diskio"
	"wanrep/diskio/durable"
	"wanrep/replicate/progress"
	"wanrep/replicate/wire"
)

// A source remembers what it has seen in its targets' stores, so that a store that
// was lost, replaced or rolled back is told, and not just filled again. Pruning
// explains no difference: it leaves the newest point.

// saw remembers what a target has of a VM. The warning says what the target had
// before and has no more; it is empty if nothing is missing.
func (s *State) saw(peer, vm string, now vmMemory) (warning string, err error) {
	err = s.change(peer, func(t *targetMemory) bool {
		was := t.VMs[vm]
		switch {
		case now.Store == "":
			return false // a target that does not tell
		case was.Points == 0:
		case was.Store != now.Store:
			warning = fmt.Sprintf("target %s has another store than before: %s of %s up to %s are not in it; ",
				peer, plural(was.Points, "point"), vm, was.Time.Format(time.DateOnly))
			if now.Points == 0 {
				warning += "the disks are sent whole"
			} else {
				warning += fmt.Sprintf("it has %s, of which the newest is %s", plural(now.Points, "point"), now.Newest)
			}
		case was.Newest > now.Newest:
			warning = fmt.Sprintf("the store of target %s went back: point %s of %s, of %s, is gone from it or damaged; ",
				peer, was.Newest, vm, was.Time.Format(time.DateOnly))
			if now.Points == 0 {
				warning += "it has none"
			} else {
				warning += "the newest is " + now.Newest
			}
		}
		if was == now {
			return false
		}
		t.VMs[vm] = now
		return true
	})
	return warning, err
}

// A SeenVM is what a source has last seen of a VM at a target.
type SeenVM struct {
	Peer, VM string
	Points   int
	Newest   time.Time // when the newest point was committed; zero if there is none
}

// SeenVMs reads from a source's state directory what it has seen at its targets, for
// whoever asks while the source does not run.
func SeenVMs(dir durable.FS) ([]SeenVM, error) {
	file, err := readState(dir)
	if err != nil {
		return nil, err
	}
	return file.seen(), nil
}

func (f stateFile) seen() []SeenVM {
	var all []SeenVM
	for peer, t := range f.Targets {
		for vm, m := range t.VMs {
			all = append(all, SeenVM{peer, vm, m.Points, m.Time})
		}
	}
	return all
}

// seen returns what was last seen of all VMs.
func (s *State) seen() []SeenVM {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.file.seen()
}

// showSeen puts on the board how old the points of the source's VMs are, as far as it
// knows: a source that was just started has asked nobody yet.
func (s *Source) showSeen() {
	for _, seen := range s.cfg.State.seen() {
		for _, j := range s.cfg.Jobs {
			if j.Peer != seen.Peer || seen.Points == 0 || !slices.Contains(j.VMs, seen.VM) {
				continue
			}
			s.cfg.Board.VM("", seen.VM, func(b *progress.VM) {
				if seen.Newest.After(b.Newest) {
					b.State, b.Points, b.Newest = progress.Committed, seen.Points, seen.Newest
				}
			})
		}
	}
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// saw compares what the target has with what this source saw last.
func (s *session) saw(welcome *wire.Welcome) {
	for _, p := range welcome.Positions {
		v := s.run.vm(p.VM)
		if v == nil {
			continue
		}
		now := vmMemory{Store: diskio.Printable(welcome.Store), Points: p.Points, Newest: diskio.Printable(p.Last)}
		if p.Newest > 0 {
			now.Time = time.Unix(p.Newest, 0).UTC()
		}
		v.seen = now
		warning, err := s.run.source.cfg.State.saw(s.run.job.Peer, v.name, now)
		if warning != "" {
			s.run.warn(v, warning)
		}
		s.run.remembered(v, err)
	}
}

// sawCommit remembers a point that the target has from now on.
func (r *run) sawCommit(v *vmRun) {
	if v.point > v.seen.Newest {
		v.seen.Points++
		v.seen.Newest, v.seen.Time = v.point, time.Now().UTC().Truncate(time.Second)
	}
	_, err := r.source.cfg.State.saw(r.job.Peer, v.name, v.seen)
	r.remembered(v, err)
}

// warn tells what an operator should look at, though the run goes on.
func (r *run) warn(v *vmRun, text string) {
	v.warnings = append(v.warnings, text)
	r.event(progress.Warning, v, text)
	r.log.Warn(text, "vm", v.name)
}

// remembered tells of a memory that could not be written. The run goes on: what is
// lost is a warning, some day.
func (r *run) remembered(v *vmRun, err error) {
	if err != nil {
		r.event(progress.Warning, v, "remember what the target has: "+diskio.Printable(err.Error()))
		r.log.Warn("remember what the target has", "vm", v.name, "err", err)
	}
}
