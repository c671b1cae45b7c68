package resume

import (
	"errors"
	"fmt"
	"time"

	"wanrep/diskio"
	"wanrep/diskio/digest"
)

// A partState is what the journal knows of a part.
type partState struct {
	source, vm  string
	point, base string
	generation  uint64
	begun       time.Time
	disks       []diskState
}

// A diskState is how far one disk of a part is.
type diskState struct {
	spec    DiskSpec
	durable int64 // all below is described, written and synced
	// digests is how many records of the digests file count, and crc their
	// checksum.
	digests  int64
	crc      uint32
	complete bool
	// based is set if the disk builds on that of the part's base, and alone if it
	// must not when it starts again.
	based, alone bool
	root         digest.Sum // of a complete disk
	// under is what was received of the disk before it changed, from the bottom up.
	// What follows is written over that.
	under []layerState
	// merged is what all of it will be, once that was decided (see settle.go).
	merged *layerState
	// tree digests the blocks below durable; nil if that is not at hand.
	tree *digest.Tree
}

func (p *partState) clone() *partState {
	c := *p
	c.disks = append([]diskState(nil), p.disks...)
	return &c
}

// dropUnusedBase forgets a base on which no disk builds.
func (p *partState) dropUnusedBase() {
	for _, d := range p.disks {
		if d.based {
			return
		}
	}
	p.base = ""
}

// put replaces the state of the disk of that name.
func (p *partState) put(d diskState) {
	for i := range p.disks {
		if p.disks[i].spec.Name == d.spec.Name {
			p.disks[i] = d
		}
	}
}

// disk returns the state of the disk with that name.
func (p *partState) disk(name string) (diskState, bool) {
	for _, d := range p.disks {
		if d.spec.Name == name {
			return d, true
		}
	}
	return diskState{}, false
}

// check says what is wrong with a state that was read.
func (p *partState) check() error {
	if err := checkLabel("source", p.source); err != nil {
		return err
	}
	if err := checkLabel("VM", p.vm); err != nil {
		return err
	}
	if _, ok := pointNumber(p.point); !ok {
		return fmt.Errorf("%q is no point's name", diskio.Printable(p.point))
	}
	if _, ok := pointNumber(p.base); !ok && p.base != "" {
		return fmt.Errorf("%q is no point's name", diskio.Printable(p.base))
	}
	if p.base >= p.point {
		return fmt.Errorf("point %s builds on point %s", p.point, p.base)
	}
	specs := make([]DiskSpec, len(p.disks))
	for i, d := range p.disks {
		specs[i] = d.spec
	}
	if err := checkSpecs(specs); err != nil {
		return err
	}
	for _, d := range p.disks {
		if d.based && p.base == "" {
			return fmt.Errorf("disk %q builds on nothing", diskio.Printable(d.spec.Name))
		}
		if err := d.check(); err != nil {
			return fmt.Errorf("disk %q: %w", diskio.Printable(d.spec.Name), err)
		}
	}
	return nil
}

func (d diskState) check() error {
	switch {
	case d.durable < 0 || d.durable > d.spec.Size:
		return fmt.Errorf("durable up to %d of %d bytes", d.durable, d.spec.Size)
	case d.durable%diskio.BlockBytes != 0 && d.durable != d.spec.Size:
		return fmt.Errorf("durable up to %d, inside a block", d.durable)
	case d.digests < 0 || d.digests > digest.Blocks(d.durable):
		return fmt.Errorf("%d digests below %d", d.digests, d.durable)
	case d.complete && d.durable != d.spec.Size:
		return fmt.Errorf("complete with %d of %d bytes", d.durable, d.spec.Size)
	case d.merged != nil && len(d.under) == 0:
		return errors.New("one layer is being merged")
	}
	return d.checkLayers()
}

// checkLayers says what is wrong with the layers below what is written.
func (d diskState) checkLayers() error {
	if len(d.under) > maxPartLayers {
		return fmt.Errorf("%d layers", len(d.under))
	}
	size := int64(0)
	for _, l := range d.under {
		spec := d.spec
		spec.Size = l.size
		if l.size < size || l.size > d.spec.Size || l.durable <= 0 || l.durable > d.under[0].durable || d.durable > d.reach() || d.complete {
			return fmt.Errorf("a layer of %d bytes, durable up to %d, below %d of %d bytes", l.size, l.durable, d.durable, d.spec.Size)
		}
		if err := (diskState{spec: spec, durable: l.durable, digests: l.digests}).check(); err != nil {
			return fmt.Errorf("a layer: %w", err)
		}
		size = l.size
	}
	if m := d.merged; m != nil {
		return diskState{spec: d.spec, durable: m.durable, digests: m.digests}.check()
	}
	return nil
}

// newTree returns the tree of a disk of which nothing is there yet.
func newTree() *digest.Tree { return digest.NewTree(0) }
