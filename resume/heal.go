package resume

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"slices"

	"wanrep/diskio"
	"wanrep/diskio/digest"
	"wanrep/diskio/durable"
)

// What has rotted is healed from a later point: the source sends a damaged block again
// whatever it has (see trusted.go), and if that has the digest which the damaged point
// names, the content is put back in place. So the source needs to know nothing of it, and
// a crash at any moment costs nothing: what is written is what was there, by its digest,
// and the damage is forgotten only when the file was synced and read again. Damage of a
// file's structures is not healed.

// maxHealPoints is in how many later points, the newest first, a block is looked for.
const maxHealPoints = 64

// Why damage stays.
const (
	staysWaiting = "no later point has what was there: the next run brings it, if the block has not changed at the source"
	staysChanged = "a block has changed at the source since"
	staysFile    = "the disk as a whole can't be healed"
)

// A Healed says what was healed of one disk of a point.
type Healed struct {
	Point, Disk string
	Blocks      int  // of content
	Digests     bool // the digests file was made again
}

// Heal heals what it can of the damage that is known of a VM's points. It reads disks
// whose digests file is damaged at no more than rate bytes a second; 0 is no limit. The
// error is a *PinnedError while a prune is under way.
func (s *Store) Heal(ctx context.Context, source, vm string, rate int64) ([]Healed, error) {
	v, err := s.pruned(source, vm)
	if err != nil {
		return nil, err
	}
	defer v.pruning.Unlock()
	if r := s.pruneOf(v); r.State != "" && r.State != pruneDone {
		return nil, &PinnedError{r.Point, "its prune was interrupted, and goes on with the next"}
	}
	known, err := s.damageOf(v.dir)
	if err != nil {
		return nil, err
	}
	var all []Healed
	for _, d := range known {
		h := &healer{store: s, vm: v, damage: d, pace: &pacer{rate: rate}, healed: Healed{Point: d.Point, Disk: d.Disk}}
		err := h.run(ctx)
		if h.healed.Blocks > 0 || h.healed.Digests {
			all = append(all, h.healed)
		}
		if err != nil {
			return all, fmt.Errorf("heal disk %q of point %s: %w", diskio.Printable(d.Disk), d.Point, err)
		}
	}
	return all, nil
}

// A healer heals one disk of a point.
type healer struct {
	store  *Store
	vm     *vmState
	damage Damage
	pace   *pacer
	healed Healed

	chains *chains
	layer  *layer
	// want are the digests of the damaged blocks that are to be put back, good the
	// blocks that read as they should by now.
	want    map[int64]digest.Sum
	good    []int64
	changed bool // a later point has something else
	// f is the damaged file once it is written to, patch writes to it, written are the
	// blocks that were.
	f       durable.File
	patch   io.WriterAt
	written map[int64]digest.Sum
}

func (h *healer) run(ctx context.Context) error {
	there, err := h.store.exists(path.Join(h.vm.dir, pointsName, h.damage.Point))
	if err != nil {
		return err
	}
	if !there {
		return h.note(func(d *Damage) { *d = Damage{} })
	}
	h.chains = h.store.chains(h.vm.dir)
	if h.layer, err = h.chains.layer(h.damage.Point, h.damage.Disk); err == nil && h.damage.Digests != "" {
		err = h.rebuildDigests(ctx)
	}
	if err == nil && h.damage.File != "" {
		err = h.openAgain()
	}
	if err == nil && h.damage.File == "" && h.damage.Digests == "" {
		err = h.putBack(ctx)
	} else if err == nil {
		err = h.stays(staysFile)
	}
	if isDamaged(err) {
		return h.stays(err.Error())
	}
	return err
}

// note changes what is known of the damage.
func (h *healer) note(change func(*Damage)) error {
	return h.store.changeDamage(h.vm, func(all []Damage) []Damage {
		if at := indexOfDamage(all, pointAndDisk{h.damage.Point, h.damage.Disk}); at >= 0 {
			change(&all[at])
		}
		return all
	})
}

func (h *healer) stays(why string) error { return h.note(func(d *Damage) { d.Stays = why }) }

// putBack puts the content of damaged blocks back in place.
func (h *healer) putBack(ctx context.Context) error {
	if err := h.lookUp(); err != nil {
		return err
	}
	if err := h.lookAgain(); err != nil {
		return err
	}
	names, err := h.store.pointDirs(path.Join(h.vm.dir, pointsName))
	if err != nil {
		return err
	}
	looks := 0
	for _, name := range slices.Backward(names) {
		if name <= h.damage.Point || len(h.want) == 0 || looks == maxHealPoints {
			break
		}
		looks++
		if err = h.takeFrom(ctx, name); err != nil {
			break
		}
	}
	return errors.Join(err, h.settle())
}

// lookUp finds out what the damaged blocks were. Those without a record were zeros.
func (h *healer) lookUp() error {
	h.want, h.written = map[int64]digest.Sum{}, map[int64]digest.Sum{}
	for _, block := range h.damage.blocks() {
		h.want[block] = digest.ZeroBlock()
	}
	return h.store.records(h.layer, h.damage.blocks(), func(block int64, sum digest.Sum) error {
		h.want[block] = sum
		return nil
	})
}

// lookAgain reads the damaged blocks once more. The file that has them may be another by
// now, after a prune or since somebody put it back, or the disk below it reads again.
func (h *healer) lookAgain() (err error) {
	h.good, err = h.readAgain(h.layer.file(), h.want)
	for _, block := range h.good {
		delete(h.want, block)
	}
	return err
}

// openAgain opens a disk that could not be opened once more.
func (h *healer) openAgain() error {
	if h.damage.File == whatMuch {
		return nil
	}
	content, err := h.store.cfg.Format.Open(h.store.fsys, h.layer.file())
	if err != nil {
		return nil // it stays what it is
	}
	size := content.Size()
	if err := content.Close(); err != nil || size != h.layer.disk.VirtualSize {
		return err
	}
	h.damage.File = ""
	return h.note(func(d *Damage) { d.File = "" })
}

// records calls use for each of the blocks, which are ascending, that a disk's own
// digests file has.
func (s *Store) records(l *layer, blocks []int64, use func(block int64, sum digest.Sum) error) error {
	if len(blocks) == 0 {
		return nil
	}
	f, err := s.fsys.OpenFile(path.Join(l.dir, l.disk.DigestsFile), os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	r, err := readDigests(f, l.disk.DigestsFile, l.shape(), l.disk.Digests)
	if err != nil {
		return err
	}
	for _, block := range blocks {
		r.count = l.disk.Digests
		if err := r.seek(f, block); err != nil {
			return err
		}
		index, sum, err := r.read()
		if err == nil && index == block {
			err = use(block, sum)
		}
		if err != nil && err != io.EOF {
			return err
		}
	}
	return nil
}

// takeFrom puts back what a later point has itself.
func (h *healer) takeFrom(ctx context.Context, point string) error {
	l, err := h.chains.layer(point, h.damage.Disk)
	if isDamaged(err) || err == nil && l.disk.ID != h.layer.disk.ID {
		return nil
	}
	if err != nil {
		return err
	}
	var content Content
	err = h.store.records(l, slices.Sorted(maps.Keys(h.want)), func(block int64, sum digest.Sum) error {
		if l.damage.has(block) || ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if sum != h.want[block] {
			h.changed = true
			return nil
		}
		if content == nil {
			if content, err = h.store.cfg.Format.Open(h.store.fsys, l.file()); err != nil {
				return err
			}
		}
		return h.overwrite(block, content)
	})
	if content != nil {
		err = errors.Join(err, content.Close())
	}
	if isDamaged(err) && h.patch == nil {
		return nil // that point's own trouble, which a scrub finds
	}
	return err
}

// overwrite puts one block back, if content has what was there.
func (h *healer) overwrite(block int64, content Content) error {
	off := block * diskio.BlockBytes
	b := make([]byte, min(diskio.BlockBytes, content.Size()-off))
	if n, err := content.ReadAt(b, off); n < len(b) && err != nil {
		return err
	}
	if digest.Block(b) != h.want[block] {
		return nil // it has rotted too
	}
	if err := h.open(); err != nil {
		return err
	}
	if _, err := h.patch.WriteAt(b[:min(int64(len(b)), h.layer.disk.VirtualSize-off)], off); err != nil {
		return err
	}
	h.written[block] = h.want[block]
	delete(h.want, block)
	return nil
}

// open opens the damaged file, which nobody else ever writes to.
func (h *healer) open() error {
	if h.f != nil {
		return nil
	}
	fsys, name := h.store.fsys, h.layer.file()
	if err := fsys.Chmod(name, filePerm); err != nil {
		return err
	}
	f, err := fsys.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	if h.patch, err = h.store.cfg.Format.Patch(f, name); err != nil {
		return errors.Join(err, f.Close())
	}
	h.f = f
	return nil
}

// settle makes what was put back durable, reads it again, and forgets that it was
// damaged.
func (h *healer) settle() error {
	var good []int64
	if h.f != nil {
		name := h.layer.file()
		err := errors.Join(h.f.Sync(), h.f.Close())
		if err = errors.Join(err, h.store.fsys.Chmod(name, readOnlyPerm)); err != nil {
			return err
		}
		if good, err = h.readAgain(name, h.written); err != nil {
			return err
		}
	}
	why := staysWaiting
	if h.changed {
		why = staysChanged
	}
	h.healed.Blocks = len(good)
	return h.note(func(d *Damage) {
		d.take(&finding{size: h.layer.disk.VirtualSize, good: append(h.good, good...)})
		d.Stays = why
	})
}

// readAgain returns which of some blocks are what they have to be. Those that can't be
// read are not.
func (h *healer) readAgain(name string, blocks map[int64]digest.Sum) (good []int64, err error) {
	content, err := h.store.cfg.Format.Open(h.store.fsys, name)
	if err != nil {
		return nil, err
	}
	defer content.Close()
	for block, want := range blocks {
		off := block * diskio.BlockBytes
		b := make([]byte, min(diskio.BlockBytes, content.Size()-off))
		if n, _ := content.ReadAt(b, off); n == len(b) && digest.Block(b) == want {
			good = append(good, block)
		}
	}
	return good, nil
}
