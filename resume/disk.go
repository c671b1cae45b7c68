package resume

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"wanrep/diskio"
	"wanrep/diskio/digest"
	"wanrep/diskio/durable"
)

// spaceCheckBytes is how much one disk writes between two looks at the free
// space. With 8 disks that is half of the reserve.
const spaceCheckBytes = 4 << 20

// A PartDisk is one disk of a Part. Its content is written by one goroutine;
// Durable and Root may be called by others.
type PartDisk struct {
	part  *Part
	index int
	spec  DiskSpec
	name  string // what its files' names begin with
	base  *layer // the disk of the base point on which this one builds, or nil

	durable atomic.Int64

	mu    sync.Mutex
	under []layerState // what was received before the disk changed
	reach int64        // below it the disk is compared with that
	below *layer       // that, or the base, or nil

	data      durable.File
	file      DiskFile
	digests   *digestsWriter
	tree      *digest.Tree    // of the blocks below next
	fill      *trustedDigests // the digests below from somewhere below next on, or nil
	next      int64           // all below is described
	dirty     bool            // something was written to file since the last sync
	unsynced  int64           // bytes of it
	unchecked int64           // bytes written since the last look at the free space
	complete  bool
	root      digest.Sum
	err       error // why the disk takes nothing more
}

// begin takes over what the journal says.
func (d *PartDisk) begin(state diskState) {
	d.next, d.complete, d.root = state.durable, state.complete, state.root
	if state.tree != nil {
		d.tree = state.tree.Clone()
	}
	d.unchecked = spaceCheckBytes
	d.durable.Store(state.durable)
}

// Spec returns the description that Begin got.
func (d *PartDisk) Spec() DiskSpec { return d.spec }

// Durable returns the offset below which everything survives a crash. It is where
// the source has to go on after Begin, and grows with Sync.
func (d *PartDisk) Durable() int64 { return d.durable.Load() }

// Root returns the root over the disk, and whether the disk is complete.
func (d *PartDisk) Root() (digest.Sum, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.root, d.complete
}

// Unsynced returns how many bytes were written since the last Sync.
func (d *PartDisk) Unsynced() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.unsynced
}

// Write takes the disk's content at off, which is at a block's beginning and not
// below what was written or skipped before; what lies between is zeros, or the
// base's. The length is that of whole blocks, or reaches to the disk's end. The error is
// durable.ErrFull if the reserve is touched: nothing is lost then, and what was
// written before can still be synced. After any other error the Part has to be
// closed and begun again.
func (d *PartDisk) Write(off int64, p []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.ready(); err != nil {
		return err
	}
	size, n := d.spec.Size, int64(len(p))
	if off%diskio.BlockBytes != 0 || off < d.next || n == 0 || n > size-off || n%diskio.BlockBytes != 0 && off+n != size {
		return d.failure(fmt.Sprintf("write %d bytes at %d", n, off),
			fmt.Errorf("the disk has %d bytes and goes on at %d, in blocks of %d", size, d.next, diskio.BlockBytes))
	}
	if d.unchecked += n; d.unchecked > spaceCheckBytes {
		if err := d.part.store.checkSpace(); err != nil {
			return d.failure("write", err)
		}
		d.unchecked = n
	}
	if err := d.write(off, p); err != nil {
		return d.spoil("write", err)
	}
	return nil
}

// write takes what lies within the reach of the layers and then what lies behind.
func (d *PartDisk) write(off int64, p []byte) error {
	if within := d.reach - off; 0 < within && within < int64(len(p)) {
		if err := d.writeBlocks(off, p[:within]); err != nil {
			return err
		}
		off, p = d.reach, p[within:]
	}
	if err := d.leaveLayers(off + int64(len(p))); err != nil {
		return err
	}
	return d.writeBlocks(off, p)
}

// writeBlocks digests the blocks of p and writes those that are not all zeros, or that the
// base may have, in runs as long as possible.
func (d *PartDisk) writeBlocks(off int64, p []byte) error {
	zero, baseBlocks := digest.ZeroBlock(), d.below.blocks()
	if err := d.fillTo(off / diskio.BlockBytes); err != nil {
		return err
	}
	run := 0 // where the blocks that are to be written begin
	for at := 0; at < len(p); at += diskio.BlockBytes {
		sum := digest.Block(p[at:min(at+diskio.BlockBytes, len(p))])
		index := d.tree.Next()
		d.tree.Add(sum)
		if sum != zero || index < baseBlocks {
			if err := d.digests.add(index, sum); err != nil {
				return err
			}
			continue
		}
		if err := d.writeRun(off, p, run, at); err != nil {
			return err
		}
		run = at + diskio.BlockBytes
	}
	if err := d.writeRun(off, p, run, len(p)); err != nil {
		return err
	}
	d.next = off + int64(len(p))
	d.unsynced += int64(len(p))
	return nil
}

// writeRun writes p[from:to], where p belongs at off.
func (d *PartDisk) writeRun(off int64, p []byte, from, to int) error {
	if from >= to {
		return nil
	}
	d.dirty = true
	d.part.written.Add(int64(to - from))
	_, err := d.file.WriteAt(p[from:to], off+int64(from))
	return err
}

// SkipTo takes everything below off that was not written for zeros, or for what the
// base has there. off is at a
// block's beginning or the disk's end. Skipping backwards does nothing.
func (d *PartDisk) SkipTo(off int64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.ready(); err != nil {
		return err
	}
	if off > d.spec.Size || off%diskio.BlockBytes != 0 && off != d.spec.Size {
		return d.failure(fmt.Sprintf("skip to %d", off),
			fmt.Errorf("the disk has %d bytes in blocks of %d", d.spec.Size, diskio.BlockBytes))
	}
	if err := d.skipTo(off); err != nil {
		return d.spoil("skip", err)
	}
	return nil
}

func (d *PartDisk) skipTo(off int64) error {
	if err := d.leaveLayers(off); err != nil {
		return err
	}
	d.next = max(d.next, off)
	return d.fillTo(digest.Blocks(off))
}

// Sync makes everything that was written and skipped durable and returns the
// offset up to which that is. Only then may the source be told. After an error the
// Part has to be closed and begun again: what the disk holds is open.
func (d *PartDisk) Sync() (int64, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.err != nil {
		return 0, d.err
	}
	if d.next == d.durable.Load() {
		return d.next, nil
	}
	if err := d.sync(false); err != nil {
		return 0, d.poison("sync", err)
	}
	return d.next, nil
}

// sync makes data and digests durable, and then the record that counts them.
func (d *PartDisk) sync(complete bool) error {
	if err := d.syncFiles(); err != nil {
		return err
	}
	if err := d.part.journal.record(d.index, d.state(complete)); err != nil {
		return err
	}
	d.durable.Store(d.next)
	d.complete = complete
	d.unsynced = 0
	return nil
}

// state returns what the journal has to say once everything is durable.
func (d *PartDisk) state(complete bool) diskState {
	return diskState{
		spec: d.spec, durable: d.next, digests: d.digests.count, crc: d.digests.crc,
		complete: complete, root: d.root, tree: d.tree.Clone(), based: d.base != nil, under: d.under,
	}
}

func (d *PartDisk) syncFiles() error {
	if d.dirty {
		if err := d.file.Flush(); err != nil {
			return err
		}
		if err := d.data.Sync(); err != nil {
			return err
		}
		d.dirty = false
	}
	return d.digests.sync()
}

// Finish takes the rest of the disk for zeros, or for the base's, and compares the root over all of it
// with the source's. If they are the same the disk is durable and complete. If
// not, the error is ErrDigest and the disk starts again at 0 when the part is
// begun the next time.
func (d *PartDisk) Finish(root digest.Sum) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.err == nil && d.complete && d.root == root {
		return nil
	}
	if err := d.ready(); err != nil {
		return err
	}
	if err := d.skipTo(d.spec.Size); err != nil {
		return d.spoil("finish", err)
	}
	sum, err := d.tree.Root(d.spec.Size)
	if err != nil {
		return d.poison("finish", err)
	}
	if sum != root {
		err := fmt.Errorf("%w: %v here, %v there", ErrDigest, sum, root)
		return d.poison("finish", d.drop(err))
	}
	if len(d.under) > 0 {
		if err := d.merge(); err != nil {
			return d.spoil("finish", err)
		}
	}
	d.root = sum
	if err := d.sync(true); err != nil {
		return d.poison("finish", err)
	}
	return nil
}

// ready says why the disk takes nothing more.
func (d *PartDisk) ready() error {
	if d.err == nil && d.complete {
		return d.failure("write", errors.New("the disk is complete"))
	}
	return d.err
}

// poison ends the disk: what is on the disk is open from now on.
func (d *PartDisk) poison(op string, err error) error {
	d.err = d.failure(op, err)
	return d.err
}

func (d *PartDisk) failure(op string, err error) error {
	return fmt.Errorf("%s, disk %q of point %s: %w", op, diskio.Printable(d.spec.Name), d.part.state.point, err)
}

// close ends the disk and closes its files.
func (d *PartDisk) close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.err == nil {
		d.err = ErrClosed
	}
	return d.closeFiles()
}
