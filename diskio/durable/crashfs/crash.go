package crashfs

import (
	"maps"
	"math/rand/v2"
	"slices"
)

// A change is one atomic change of directories. It is durable once each
// directory in it was synced since.
type change struct {
	entries  []entry
	unsynced []*node
}

// An entry is a name in a directory and the node that it gets; nil removes it.
type entry struct {
	dir  *node
	name string
	node *node
}

// change makes an atomic change that is not durable yet.
func (f *FS) change(entries ...entry) {
	c := &change{entries: entries}
	for _, e := range entries {
		apply(e.dir.entries, e)
		if !slices.Contains(c.unsynced, e.dir) {
			c.unsynced = append(c.unsynced, e.dir)
		}
	}
	f.changes = append(f.changes, c)
}

func apply(entries map[string]*node, e entry) {
	if e.node == nil {
		delete(entries, e.name)
	} else {
		entries[e.name] = e.node
	}
}

// settle makes the changes durable that waited only for dir, and those of the
// same names before them.
func (f *FS) settle(dir *node) {
	for _, c := range f.changes {
		c.unsynced = slices.DeleteFunc(c.unsynced, func(n *node) bool { return n == dir })
	}
	keep := closure(f.changes, func(c *change) bool { return len(c.unsynced) == 0 })
	var rest []*change
	for _, c := range f.changes {
		if !keep[c] {
			rest = append(rest, c)
			continue
		}
		for _, e := range c.entries {
			apply(e.dir.durEntries, e)
		}
	}
	f.changes = rest
}

// closure returns the changes that want keeps, and all earlier ones of the same
// names: a file system does not reorder those.
func closure(changes []*change, want func(*change) bool) map[*change]bool {
	type name struct {
		dir  *node
		name string
	}
	keep := map[*change]bool{}
	touched := map[name]bool{}
	for _, c := range slices.Backward(changes) {
		keep[c] = want(c)
		for _, e := range c.entries {
			keep[c] = keep[c] || touched[name{e.dir, e.name}]
		}
		if !keep[c] {
			continue
		}
		for _, e := range c.entries {
			touched[name{e.dir, e.name}] = true
		}
	}
	return keep
}

// Crash returns what is left if the power is cut now, as another file system.
// The seed decides what of the unsynced is kept; seeds 0 and 1 lose all of it and
// keep all of it.
func (f *FS) Crash(seed uint64) *FS {
	f.mu.Lock()
	defer f.mu.Unlock()
	rng := rand.New(rand.NewPCG(seed, 1))
	percent := []int{0, 100, 50, 10, 90}[seed%5]
	if seed > 1 && percent%100 == 0 {
		percent = rng.IntN(101)
	}
	entries := f.entriesAfter(func(*change) bool { return rng.IntN(100) < percent })
	left := New()
	left.space = f.space
	left.root = leave(f.root, entries, rng, percent)
	return left
}

// entriesAfter returns the entries of all directories if the wanted changes are
// kept and the others lost.
func (f *FS) entriesAfter(want func(*change) bool) map[*node]map[string]*node {
	keep := closure(f.changes, want)
	entries := map[*node]map[string]*node{}
	for _, c := range f.changes {
		for _, e := range c.entries {
			if entries[e.dir] == nil {
				entries[e.dir] = maps.Clone(e.dir.durEntries)
			}
			if keep[c] {
				apply(entries[e.dir], e)
			}
		}
	}
	return entries
}

// leave copies a node as the crash leaves it, with all below it.
func leave(n *node, entries map[*node]map[string]*node, rng *rand.Rand, percent int) *node {
	mode := n.durMode
	if rng.IntN(100) < percent {
		mode = n.mode
	}
	if !n.dir {
		left := newFile(mode)
		left.data.dur, left.data.durSize = n.data.torn(rng, percent)
		left.data.live, left.data.size = maps.Clone(left.data.dur), left.data.durSize
		return left
	}
	left := newDir(mode)
	names := n.durEntries
	if changed, ok := entries[n]; ok {
		names = changed
	}
	// In the order of names, so that a seed always gives the same.
	for _, name := range slices.Sorted(maps.Keys(names)) {
		left.durEntries[name] = leave(names[name], entries, rng, percent)
	}
	left.entries = maps.Clone(left.durEntries)
	return left
}

// Kill ends the process: open files are dead and locks free, and nothing else is
// lost or made durable. The file system goes on with the next process.
func (f *FS) Kill() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.epoch++
	clear(f.locked)
	closeAll(f.root)
	f.fault = Fault{}
	f.dead = false
}

func closeAll(n *node) {
	n.open = 0
	for _, e := range n.entries {
		closeAll(e)
	}
}
