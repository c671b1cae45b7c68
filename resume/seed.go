package resume

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"time"

	"wanrep/diskio"
	"wanrep/diskio/digest"
	"wanrep/diskio/durable"
)

// A seed carries the first point of a VM, or what is missing of it, to the target by
// courier: a directory with a disk that stands alone for each of the VM's, and
// seed.json, which comes last, so that a seed without it is not whole. The target
// takes it into the VM's part. The next run goes on there, and proves it by the
// roots as it proves everything: a seed that is wrong costs time and no more.

const (
	seedName   = "seed.json"
	seedSchema = "wanrep.seed/1"
	// seedSyncBytes is how much of a seed is taken in between two syncs, which is
	// what a crash costs.
	seedSyncBytes = 64 << 20
	// seedPieceBytes is how much is read at once.
	seedPieceBytes = 1 << 20
)

// ErrNoSeed is returned for a directory without a whole seed.
var ErrNoSeed = errors.New("no whole seed: it has no " + seedName)

// A Seed says what a seed holds. It is the file seed.json.
type Seed struct {
	Schema   string     `json:"schema"` // "wanrep.seed/1"
	Source   string     `json:"source"`
	VM       string     `json:"vm"`
	Time     time.Time  `json:"time"` // when it was exported
	Software string     `json:"software"`
	Disks    []SeedDisk `json:"disks"`
}

// A SeedDisk is one disk of a seed.
type SeedDisk struct {
	Name               string `json:"name"`
	ID                 diskID `json:"id"`
	VirtualSize        int64  `json:"virtual_size"` // in bytes
	LogicalSectorSize  int    `json:"logical_sector_size"`
	PhysicalSectorSize int    `json:"physical_sector_size"`
	Identity           string `json:"identity"`
	// From is the offset from which on File has the disk's content; below it are
	// zeros, because the target has what is there.
	From int64      `json:"from"`
	File string     `json:"file"`
	Root digest.Sum `json:"root"` // over all of File
}

// Spec describes the disk to the target, as its source does in a run.
func (d SeedDisk) Spec() DiskSpec {
	return DiskSpec{
		Name: d.Name, ID: diskio.ID(d.ID), Size: d.VirtualSize,
		LogicalSectorSize: d.LogicalSectorSize, PhysicalSectorSize: d.PhysicalSectorSize, Identity: d.Identity,
	}
}

func (s Seed) specs() []DiskSpec {
	var specs []DiskSpec
	for _, d := range s.Disks {
		specs = append(specs, d.Spec())
	}
	return specs
}

// ReadSeed reads what the seed in a directory holds. The error is ErrNoSeed if
// there is none.
func ReadSeed(fsys durable.FS, dir string) (Seed, error) {
	name := path.Join(dir, seedName)
	b, err := readFile(fsys, name, maxManifestBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return Seed{}, ErrNoSeed
	}
	if err != nil {
		return Seed{}, err
	}
	var s Seed
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&s); err != nil {
		return Seed{}, &damagedError{name, err.Error()}
	}
	if s.Schema != seedSchema {
		return Seed{}, fmt.Errorf("%s has the schema %q; this version of wanrep knows %q",
			diskio.Printable(name), diskio.Printable(s.Schema), seedSchema)
	}
	if err := s.check(); err != nil {
		return Seed{}, &damagedError{name, err.Error()}
	}
	return s, nil
}

// SeedDirs returns the directories below the root of fsys that hold a whole seed,
// or the root itself.
func SeedDirs(fsys durable.FS) ([]string, error) {
	entries, err := fsys.ReadDir(".")
	if err != nil {
		return nil, err
	}
	var dirs []string
	for _, e := range entries {
		if e.Name() == seedName {
			return []string{"."}, nil
		}
		if !e.IsDir() {
			continue
		}
		if _, err := fsys.Stat(path.Join(e.Name(), seedName)); err == nil {
			dirs = append(dirs, e.Name())
		}
	}
	return dirs, nil
}

// check holds a seed to what ExportSeed would have written.
func (s Seed) check() error {
	if err := checkLabel("source", s.Source); err != nil {
		return err
	}
	if err := checkLabel("VM", s.VM); err != nil {
		return err
	}
	if err := checkSpecs(s.specs()); err != nil {
		return err
	}
	files := map[string]bool{seedName: true}
	for _, d := range s.Disks {
		if d.From < 0 || d.From > d.VirtualSize || d.From%diskio.BlockBytes != 0 && d.From != d.VirtualSize {
			return fmt.Errorf("disk %q begins at %d of %d bytes", diskio.Printable(d.Name), d.From, d.VirtualSize)
		}
		if !isFileName(d.File) || files[d.File] {
			return fmt.Errorf("disk %q has a file named %q", diskio.Printable(d.Name), diskio.Printable(d.File))
		}
		files[d.File] = true
	}
	return nil
}

// eachPiece calls use for all that is stored of a disk at and behind from, which lies
// on a block, in ascending order: in pieces of whole blocks, or up to the disk's end.
func eachPiece(ctx context.Context, c Content, from int64, use func(off int64, p []byte) error) error {
	size, buf := c.Size(), make([]byte, seedPieceBytes)
	for at := from; at < size; {
		start, length, err := c.NextData(at)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if end := start + length; length <= 0 || end <= at || start > size-length {
			return fmt.Errorf("find data at %d: an extent of %d bytes at %d in a disk of %d", at, length, start, size)
		}
		end := start + length
		at = max(start-start%diskio.BlockBytes, at)
		for at < end {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			n := (end - at + diskio.BlockBytes - 1) / diskio.BlockBytes * diskio.BlockBytes
			p := buf[:min(n, size-at, seedPieceBytes)]
			if n, err := c.ReadAt(p, at); n < len(p) {
				return fmt.Errorf("read %d bytes at %d: %w", len(p), at, err)
			}
			if err := use(at, p); err != nil {
				return err
			}
			at += int64(len(p))
		}
	}
	return nil
}

// rootFrom reads a disk and returns the root over what it has at and behind from.
// use, if there is one, is called for each piece.
func rootFrom(ctx context.Context, c Content, from int64, use func(off int64, p []byte) error) (digest.Sum, error) {
	tree := digest.NewTree(0)
	err := eachPiece(ctx, c, from, func(off int64, p []byte) error {
		tree.SkipTo(off / diskio.BlockBytes)
		for at := 0; at < len(p); at += diskio.BlockBytes {
			tree.Add(digest.Block(p[at:min(at+diskio.BlockBytes, len(p))]))
		}
		if use == nil {
			return nil
		}
		return use(off, p)
	})
	if err != nil {
		return digest.Sum{}, err
	}
	tree.SkipTo(digest.Blocks(c.Size()))
	return tree.Root(c.Size())
}
