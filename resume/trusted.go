package resume

import (
	"io"

	"wanrep/diskio/digest"
	"wanrep/diskio/durable"
)

// trustedDigests are the digests of what a disk builds on, with digest.None for the
// blocks that are known to be damaged: the source then sends such a block whatever it
// has, and a disk that lacks one of them never comes to the source's root.
type trustedDigests struct {
	*digestsMerge
	at int64 // the first block that was not passed
}

func trustDigests(fsys durable.FS, top *layer, from int64) (*trustedDigests, error) {
	m, err := mergeDigests(fsys, top, from)
	if err != nil {
		return nil, err
	}
	return &trustedDigests{m, from}, nil
}

// peek returns the next block with a record, or that is damaged; or io.EOF. Damage
// below a record counts for nothing: what is there is not seen.
func (t *trustedDigests) peek() (block int64, sum digest.Sum, err error) {
	l, err := t.digestsMerge.peek()
	if err != nil && err != io.EOF {
		return 0, sum, err
	}
	lost, any := t.nextDamaged()
	switch {
	case any && (err == io.EOF || lost < l.index):
		return lost, digest.None(), nil
	case err == io.EOF:
		return 0, sum, io.EOF
	case l.damage.has(l.index):
		return l.index, digest.None(), nil
	}
	return l.index, l.sum, nil
}

// nextDamaged returns the first block at or after at that is damaged in any layer.
func (t *trustedDigests) nextDamaged() (block int64, any bool) {
	for i := range t.layers {
		if b, ok := t.layers[i].damage.next(t.at); ok && (!any || b < block) {
			block, any = b, true
		}
	}
	return block, any
}

func (t *trustedDigests) pass(block int64) {
	t.digestsMerge.pass(block)
	t.at = block + 1
}

// read returns the next block that is not all zeros, or io.EOF behind the last.
func (t *trustedDigests) read() (block int64, sum digest.Sum, err error) {
	for {
		block, sum, err := t.peek()
		if err != nil {
			return 0, sum, err
		}
		t.pass(block)
		if sum != t.zero {
			return block, sum, nil
		}
	}
}

// extend adds to a tree the digests of the blocks from its end up to end.
func (t *trustedDigests) extend(tree *digest.Tree, end int64) error {
	for {
		block, sum, err := t.peek()
		if err != nil && err != io.EOF {
			return err
		}
		if err == io.EOF || block >= end {
			tree.SkipTo(end)
			return nil
		}
		t.pass(block)
		if block >= tree.Next() && sum != t.zero {
			tree.SkipTo(block)
			tree.Add(sum)
		}
	}
}
