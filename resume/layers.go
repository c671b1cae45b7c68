package resume

import (
	"errors"
	"fmt"
	"path"
	"slices"

	"wanrep/diskio"
	"wanrep/diskio/digest"
)

// What a part has of a disk stays of use when the disk changes before the part is
// complete. It becomes a layer below a new file, which takes what differs from it,
// from offset 0 on; what is the same is not sent again. The layers and the new file
// reach as far as the lowest layer does. When everything below was compared they are
// merged into that layer's file, which then goes on as if the disk had never changed
// (see settle.go). So a disk has more than one file only while it is compared,
// and what a merge copies is what had changed.

// maxPartLayers is how many files below the one that is written a disk of a part may
// have. A disk that changes more often has them merged at once. It bounds the files
// that an open disk takes.
const maxPartLayers = 4

// A layerState is what a part received of a disk before the disk changed.
type layerState struct {
	size    int64  // of the disk, in bytes
	durable int64  // all below is described
	digests int64  // records of the digests file
	crc     uint32 // of these
}

// layerName returns what the names of the files of a disk's n-th layer begin with,
// counted from the bottom. No disk's safe name looks like that of a higher layer.
func layerName(disk string, n int) string {
	if n == 0 {
		return disk
	}
	return fmt.Sprintf("%s~%d", disk, n)
}

// reach returns the offset below which a disk is compared with its layers; 0 without
// any.
func (d diskState) reach() int64 {
	if len(d.under) == 0 {
		return 0
	}
	return min(digest.Blocks(d.under[0].durable)*diskio.BlockBytes, d.spec.Size)
}

// layers returns what the part has of the disk, the file that is written last.
func (d diskState) layers() []layerState {
	top := layerState{size: d.spec.Size, durable: d.durable, digests: d.digests, crc: d.crc}
	return append(slices.Clone(d.under), top)
}

// received reports whether the part has anything of the disk.
func (d diskState) received() bool { return d.durable > 0 || len(d.under) > 0 }

// pile returns layers of the disk on top of its base.
func (d *PartDisk) pile(layers []layerState) *layer {
	top := d.base
	for n, l := range layers {
		top = &layer{dir: d.part.dir, crc: l.crc, below: top, disk: ManifestDisk{
			File: d.dataOf(n), DigestsFile: d.digestsOf(n),
			ID: diskID(d.spec.ID), VirtualSize: l.size, Digests: l.digests,
		}}
	}
	return top
}

// as returns the disk as it was received so far, when its description was another.
func (d *PartDisk) as(state diskState) *PartDisk {
	was := &PartDisk{part: d.part, index: d.index, spec: state.spec, name: d.name, base: d.base}
	was.lieOn(state.under)
	return was
}

// lieOn makes layers those on which the disk is written.
func (d *PartDisk) lieOn(under []layerState) {
	d.under, d.below = under, d.pile(under)
	d.reach = diskState{spec: d.spec, under: under}.reach()
}

// cover makes what was received of the disk before it changed the uppermost layer
// below it, cut to what is durable.
func (d *PartDisk) cover(state *diskState) error {
	was := *state
	was.complete = false // a complete disk's file is marked incomplete again
	received := d.as(was)
	err := received.continueAt(&was)
	if err == nil {
		err = received.syncFiles() // the cut too: a merge copies all that the file has
	}
	if err = errors.Join(err, received.closeFiles()); err != nil {
		return err
	}
	d.part.store.cfg.Log.Info("disk changed, what was received is compared",
		"disk", d.spec.Name, "point", d.part.state.point, "bytes", was.durable)
	*state = diskState{spec: d.spec, under: was.layers(), based: was.based, alone: was.alone}
	return nil
}

// forget makes the journal say that nothing of the disk is there, so that it starts
// again when the part is begun the next time.
func (d *PartDisk) forget(err error) error {
	state := diskState{spec: d.spec, based: d.base != nil}
	if again := d.part.journal.revise(func(p *partState) { p.put(state) }); again != nil {
		return errors.Join(err, again)
	}
	d.durable.Store(0)
	return err
}

// removeLayers removes the files of n layers above the lowest. What can't be removed
// goes when the part is begun the next time, or becomes a point.
func (d *PartDisk) removeLayers(n int) {
	for ; n > 0; n-- {
		for _, name := range []string{d.dataOf(n), d.digestsOf(n)} {
			if err := d.part.store.fsys.Remove(path.Join(d.part.dir, name)); err != nil {
				d.part.store.cfg.Log.Warn("layer stays for now", "file", name, "err", err)
			}
		}
	}
}
