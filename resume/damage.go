package resume

import (
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"reflect"
	"slices"
	"time"

	"wanrep/diskio"
	"wanrep/diskio/digest"
	"wanrep/diskio/durable"
)

// A store remembers which content of its points has rotted: what Scrub finds is in the
// VM's file damage.json until it is healed, or found to be good. A point with damage
// stays a point; a new one that builds on it takes nothing from it that is damaged (see
// trusted.go), and what it receives instead heals the old one (see heal.go).

const (
	damageName   = "damage.json"
	damageSchema = "wanrep.damage/1"
	// maxDamagedBlocks is how many blocks of one disk of a point are remembered, 64 MiB
	// of content. With more the whole disk counts as damaged: nothing builds on it.
	maxDamagedBlocks = 1024
	// maxDamages is how many disks of a VM's points can have damage.
	maxDamages = 1024
	// maxDamageBytes is more than those, each with as many extents as blocks.
	maxDamageBytes = 96 << 20
)

// whatMuch is a Damage's File where there is too much to name.
var whatMuch = fmt.Sprintf("more than %d MiB of its content differ from their digests", maxDamagedBlocks*diskio.BlockBytes>>20)

// A Damage is what is known to be wrong with the files of one disk of a point.
type Damage struct {
	Point string    `json:"point"` // whose files they are
	Disk  string    `json:"disk"`
	Found time.Time `json:"found"` // the first of it
	// Extents are blocks whose content differs from their digests, or can't be read.
	Extents []DamagedExtent `json:"extents"`
	// File says what is wrong with the disk as a whole; empty if it is only blocks.
	File string `json:"file"`
	// Digests says what is wrong with the digests file; empty if nothing is.
	Digests string `json:"digests"`
	// Stays says why it was not healed when that was tried; empty before.
	Stays string `json:"stays"`
}

// A DamagedExtent is a run of blocks of a disk, in bytes.
type DamagedExtent struct {
	Start  int64 `json:"start"`
	Length int64 `json:"length"`
}

type damageFile struct {
	Schema string   `json:"schema"`
	Disks  []Damage `json:"disks"`
}

// Damage returns what is known to be damaged of the points of a VM.
func (s *Store) Damage(source, vm string) ([]Damage, error) {
	dir, err := vmDir(source, vm)
	if err != nil {
		return nil, err
	}
	return s.damageOf(dir)
}

// damageOf returns the damage of a VM's points: from memory, or from its file in a
// store that another process may be working on. It must not be changed.
func (s *Store) damageOf(vmDir string) ([]Damage, error) {
	if s.readOnly {
		return s.readDamage(vmDir)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stateLocked(vmDir).damage, nil
}

// readDamage reads the damage of a VM's points. A file that is itself damaged is not
// believed: the next scrub finds again what was in it.
func (s *Store) readDamage(vmDir string) ([]Damage, error) {
	f, err := readNotes[damageFile](s, path.Join(vmDir, damageName), maxDamageBytes)
	return f.Disks, err
}

// check holds a file to what the store would have written.
func (f damageFile) check() error {
	if f.Schema != damageSchema || len(f.Disks) > maxDamages {
		return errors.New("it is no list of damage")
	}
	for _, d := range f.Disks {
		if _, ok := pointNumber(d.Point); !ok || d.Disk == "" || len(d.Extents) > maxDamagedBlocks {
			return fmt.Errorf("point %q has no such damage", diskio.Printable(d.Point))
		}
		end := int64(0)
		for _, e := range d.Extents {
			if e.Start < end || e.Start%diskio.BlockBytes != 0 || e.Length <= 0 || e.Start+e.Length > diskio.MaxVirtualSize || e.Start+e.Length < 0 {
				return fmt.Errorf("an extent of %d bytes at %d", e.Length, e.Start)
			}
			end = e.Start + e.Length
		}
		if d.Blocks() > maxDamagedBlocks {
			return fmt.Errorf("more than %d damaged blocks", maxDamagedBlocks)
		}
	}
	return nil
}

// changeDamage makes what is known of a VM's damage what change returns, durably.
func (s *Store) changeDamage(v *vmState, change func([]Damage) []Damage) error {
	v.damaging.Lock()
	defer v.damaging.Unlock()
	old, err := s.damageOf(v.dir)
	if err != nil {
		return err
	}
	damage := change(slices.Clone(old))
	damage = slices.DeleteFunc(damage, Damage.none)
	if reflect.DeepEqual(damage, old) || len(damage) == 0 && len(old) == 0 {
		return nil
	}
	if len(damage) > maxDamages {
		s.cfg.Log.Error("not all damage can be remembered", "vm", path.Base(v.dir), "disks", len(damage))
		damage = damage[:maxDamages]
	}
	b, err := json.Marshal(damageFile{damageSchema, damage})
	if err != nil {
		return err
	}
	if err := durable.WriteFile(s.fsys, path.Join(v.dir, damageName), append(b, '\n'), filePerm); err != nil {
		return err
	}
	s.set(v, func(v *vmState) { v.damage = damage })
	return nil
}

// moveDamage makes damage of a pruned point that of its child, whose files take over
// what it had. What of it the child hid is found to be good when it is to be healed.
func (s *Store) moveDamage(v *vmState, point, child string) error {
	return s.changeDamage(v, func(all []Damage) []Damage {
		var moved []Damage
		for _, d := range all {
			if d.Point == point {
				moved = append(moved, d)
			}
		}
		all = slices.DeleteFunc(all, func(d Damage) bool { return d.Point == point })
		if child == "" {
			return all
		}
		for _, m := range moved {
			at := indexOfDamage(all, pointAndDisk{child, m.Disk})
			if at < 0 {
				m.Point, m.Digests = child, "" // which are written anew
				all = append(all, m)
				continue
			}
			d := &all[at]
			size := int64(0) // where the disk ends is known from what has been found
			for _, e := range append(slices.Clone(d.Extents), m.Extents...) {
				size = max(size, e.Start+e.Length)
			}
			d.put(append(d.blocks(), m.blocks()...), size)
			if d.File == "" {
				d.File = m.File
			}
		}
		return all
	})
}

func indexOfDamage(all []Damage, key pointAndDisk) int {
	return slices.IndexFunc(all, func(d Damage) bool { return d.Point == key.point && d.Disk == key.disk })
}

// none reports whether nothing is damaged.
func (d Damage) none() bool { return len(d.Extents) == 0 && d.File == "" && d.Digests == "" }

// Blocks returns how many blocks are damaged.
func (d Damage) Blocks() (n int) {
	for _, e := range d.Extents {
		n += int(digest.Blocks(e.Length))
	}
	return n
}

// blocks returns the damaged blocks, ascending.
func (d Damage) blocks() (blocks []int64) {
	for _, e := range d.Extents {
		for at := e.Start; at < e.Start+e.Length; at += diskio.BlockBytes {
			blocks = append(blocks, at/diskio.BlockBytes)
		}
	}
	return blocks
}

// put makes blocks, in any order, the damaged ones of a disk of that size.
func (d *Damage) put(blocks []int64, size int64) {
	slices.Sort(blocks)
	blocks = slices.Compact(blocks)
	d.Extents = nil
	if len(blocks) > maxDamagedBlocks {
		d.File = whatMuch
		return
	}
	for _, b := range blocks {
		start := b * diskio.BlockBytes
		length := min(diskio.BlockBytes, size-start)
		if n := len(d.Extents); n > 0 && d.Extents[n-1].Start+d.Extents[n-1].Length == start {
			d.Extents[n-1].Length += length
			continue
		}
		d.Extents = append(d.Extents, DamagedExtent{start, length})
	}
}

// next returns the first damaged block at or after from.
func (d *Damage) next(from int64) (block int64, ok bool) {
	if d == nil {
		return 0, false
	}
	off := from * diskio.BlockBytes
	at, _ := slices.BinarySearchFunc(d.Extents, off, func(e DamagedExtent, off int64) int {
		if e.Start+e.Length <= off {
			return -1
		}
		return 1
	})
	if at == len(d.Extents) {
		return 0, false
	}
	return max(from, d.Extents[at].Start/diskio.BlockBytes), true
}

// has reports whether a block is damaged.
func (d *Damage) has(block int64) bool {
	next, ok := d.next(block)
	return ok && next == block
}
