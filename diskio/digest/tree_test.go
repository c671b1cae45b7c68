package digest

import (
	"testing"

	"pgregory.net/rapid"
)

// naiveRoot hashes every level of the whole tree.
func naiveRoot(leaves []Sum, size int64) Sum {
	n := 1
	for n < len(leaves) {
		n *= 2
	}
	row := make([]Sum, n)
	for i := range row {
		row[i] = ZeroBlock()
	}
	copy(row, leaves)
	for len(row) > 1 {
		next := make([]Sum, len(row)/2)
		for i := range next {
			next[i] = node(row[2*i], row[2*i+1])
		}
		row = next
	}
	return root(size, row[0])
}

// build digests leaves[from:to], taking runs of zeros by SkipTo.
func build(leaves []Sum, from, to int) *Tree {
	t := NewTree(int64(from))
	for i := from; i < to; i++ {
		if leaves[i] == ZeroBlock() {
			continue
		}
		t.SkipTo(int64(i))
		t.Add(leaves[i])
	}
	t.SkipTo(int64(to))
	return t
}

func TestRootIsThatOfTheWholeTree(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(0, 200).Draw(rt, "blocks")
		leaves := make([]Sum, n)
		for i := range leaves {
			leaves[i] = ZeroBlock()
			if b := rapid.Byte().Draw(rt, "leaf"); b > 100 {
				leaves[i] = Block([]byte{b})
			}
		}
		size := int64(n) * 65536
		cut1 := rapid.IntRange(0, n).Draw(rt, "cut1")
		cut2 := rapid.IntRange(cut1, n).Draw(rt, "cut2")

		right := build(leaves, cut1, cut2)
		if err := right.Join(build(leaves, cut2, n)); err != nil {
			rt.Fatal(err)
		}
		whole := build(leaves, 0, cut1)
		if err := whole.Join(right); err != nil {
			rt.Fatal(err)
		}
		got, err := whole.Root(size)
		if err != nil {
			rt.Fatal(err)
		}
		if want := naiveRoot(leaves, size); got != want {
			rt.Fatalf("root of %d blocks joined at %d and %d: got %v, want %v", n, cut1, cut2, got, want)
		}
	})
}

func TestRootBindsTheSize(t *testing.T) {
	a, b := NewTree(0), NewTree(0)
	a.SkipTo(2)
	b.SkipTo(2)
	ra, err := a.Root(65537)
	if err != nil {
		t.Fatal(err)
	}
	rb, err := b.Root(2 * 65536)
	if err != nil {
		t.Fatal(err)
	}
	if ra == rb {
		t.Fatal("two sizes of zeros have the same root")
	}
}

func TestRootWantsTheWholeDisk(t *testing.T) {
	tree := NewTree(0)
	tree.SkipTo(3)
	if _, err := tree.Root(4 * 65536); err == nil {
		t.Fatal("a root of three blocks of four")
	}
	if err := tree.Join(NewTree(4)); err == nil {
		t.Fatal("joined over a gap")
	}
}

func TestLargestDisk(t *testing.T) {
	tree := NewTree(0)
	tree.SkipTo(1<<29 + 12345)
	tree.Add(Block([]byte("one block in the middle")))
	tree.SkipTo(1 << 30)
	if len(tree.nodes) != 1 {
		t.Fatalf("the whole tree has %d nodes, want 1", len(tree.nodes))
	}
	if _, err := tree.Root(64 << 40); err != nil {
		t.Fatal(err)
	}
}
