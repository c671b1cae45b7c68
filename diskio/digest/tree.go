package digest

import (
	"fmt"
	"math/bits"
)

// A Tree is the digest of a run of blocks, [From, Next). It grows at its end by
// Add and Skip, and by Join with the run that follows, so that the parts of a
// disk can be digested in any order. It holds at most two digests a level.
//
// The zero value is the empty run at block 0.
type Tree struct {
	from, next int64
	// nodes are the largest whole subtrees inside the run, from left to right.
	nodes []subtree
}

// A subtree covers the 2^level blocks that begin at index<<level.
type subtree struct {
	level int
	index int64
	sum   Sum
}

// NewTree returns the empty run at block from.
func NewTree(from int64) *Tree { return &Tree{from: from, next: from} }

// From returns the run's first block.
func (t *Tree) From() int64 { return t.from }

// Next returns the block behind the run: the one that Add takes.
func (t *Tree) Next() int64 { return t.next }

// Add appends one block by its digest.
func (t *Tree) Add(sum Sum) {
	t.push(subtree{0, t.next, sum})
	t.next++
}

// SkipTo appends blocks of zeros up to block n. It takes a time that grows with
// the logarithm of their number. Skipping backwards does nothing.
func (t *Tree) SkipTo(n int64) {
	for t.next < n {
		level := min(alignment(t.next), bits.Len64(uint64(n-t.next))-1)
		t.push(subtree{level, t.next >> level, zeros[level]})
		t.next += 1 << level
	}
}

// alignment returns the level of the largest subtree that can begin at block n.
func alignment(n int64) int {
	if n == 0 {
		return levels - 1
	}
	return min(bits.TrailingZeros64(uint64(n)), levels-1)
}

// push appends a subtree and merges it with its left siblings as far as it goes.
func (t *Tree) push(s subtree) {
	for len(t.nodes) > 0 && s.index&1 == 1 {
		left := t.nodes[len(t.nodes)-1]
		if left.level != s.level {
			break
		}
		t.nodes = t.nodes[:len(t.nodes)-1]
		s = subtree{s.level + 1, s.index >> 1, node(left.sum, s.sum)}
	}
	t.nodes = append(t.nodes, s)
}

// Join appends the run that begins where t ends.
func (t *Tree) Join(right *Tree) error {
	if right.from != t.next {
		return fmt.Errorf("join digests of blocks %d to %d with those from %d", t.from, t.next, right.from)
	}
	for _, s := range right.nodes {
		t.push(s)
	}
	t.next = right.next
	return nil
}

// Clone returns a copy that grows on its own.
func (t *Tree) Clone() *Tree {
	c := *t
	c.nodes = append([]subtree(nil), t.nodes...)
	return &c
}

// Root returns the root of a disk of size bytes. The run must reach from the
// disk's first block to its last.
func (t *Tree) Root(size int64) (Sum, error) {
	n := Blocks(size)
	if t.from != 0 || t.next != n {
		return Sum{}, fmt.Errorf("the digests cover blocks %d to %d of %d", t.from, t.next, n)
	}
	if n == 0 {
		return root(size, zeros[0]), nil
	}
	top := bits.Len64(uint64(n - 1))
	full := t.Clone()
	full.SkipTo(1 << top)
	return root(size, full.nodes[0].sum), nil
}
