package resume

import (
	"context"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"wanrep/diskio"
	"wanrep/diskio/durable"
)

// A DiskSpec describes a disk that the target is to receive.
type DiskSpec struct {
	Name               string // the label that the source gives it, unique in its VM
	ID                 diskio.ID
	Size               int64 // virtual, in bytes
	LogicalSectorSize  int
	PhysicalSectorSize int
	// Identity names the content of the snapshot. A disk of which a part has
	// something goes on where it was only if its Identity is still the same.
	Identity string
}

// A Format makes and reads the files that hold the disks of a point.
type Format interface {
	// Extension is what the files' names end in, ".vhdx".
	Extension() string
	// Create makes an empty disk in f, which is empty, and marks it incomplete.
	Create(f durable.File, s DiskSpec) (DiskFile, error)
	// CreateOn is Create for a disk that builds on another, which reads as that one
	// until something is written: zeros too are then content. name is the path of f
	// in the store, and parent that of the disk below, whose file is complete and
	// never changes. The way from one to the other stays right when the part
	// becomes a point. It returns a *diskio.FormatError if nothing can be built on
	// the parent. The disk may be larger than that; what is behind its end is zeros.
	CreateOn(f durable.File, s DiskSpec, fsys durable.FS, name, parent string) (DiskFile, error)
	// CreateLayer is CreateOn for a disk that builds on what a part has of it: lower is
	// incomplete, and is not written to until the new disk is merged into it. It
	// returns a *diskio.FormatError if that will not be possible.
	CreateLayer(f durable.File, s DiskSpec, fsys durable.FS, name, lower string) (DiskFile, error)
	// Merge writes what upper has into lower, on which it builds. Then lower alone
	// reads as upper did, has its size, and whatever builds on upper can build on lower
	// instead; it is marked incomplete if it was. Upper does not change, nor does what lower
	// builds on. At every moment, and after a crash at any, upper still reads the same
	// over lower, or the merge is done; one that was cut off is called again, and
	// does nothing if it was done. It returns a *diskio.FormatError if one of them is
	// damaged. Both are synced before.
	Merge(ctx context.Context, upper, lower durable.File) error
	// CanMerge says what keeps two disks from being merged. It changes nothing.
	CanMerge(upper, lower durable.File) error
	// MergeContent is the part of Merge that may take long: upper still reads the same
	// over lower when it is done, and it may be called again. MergeIdentity is the
	// rest: from then on upper can't be read, and lower is what upper was.
	MergeContent(ctx context.Context, upper, lower durable.File) error
	MergeIdentity(upper, lower durable.File) error
	// Reopen continues a disk that Create, CreateOn or CreateLayer made, and forgets everything at
	// and behind the virtual offset keep: it reads as zeros, or as the parent,
	// again. f is as a crash left it: everything below
	// keep was written, flushed and synced, and keep is the whole size if Seal
	// was already begun, or done. It returns a *diskio.FormatError if f is not
	// what they made.
	Reopen(f durable.File, s DiskSpec, keep int64) (DiskFile, error)
	// Patch returns a writer that overwrites content which f, the file of a committed
	// point, holds, and nothing else, so that the file becomes what it was. Its error is
	// a *diskio.FormatError where f holds nothing. name is the path of f in the store.
	Patch(f durable.File, name string) (io.WriterAt, error)
	// Open opens the disk of a committed point. It may open other files of the
	// store below which name builds.
	Open(fsys durable.FS, name string) (Content, error)
}

// A DiskFile is a disk that is being received.
type DiskFile interface {
	io.WriterAt
	// Flush writes to the file what WriteAt kept back. The caller syncs.
	Flush() error
	// Seal makes the disk complete. The caller syncs before and after.
	Seal() error
}

// Content is a disk of a committed point.
type Content interface {
	io.ReaderAt
	// Size returns the virtual size in bytes.
	Size() int64
	// NextData returns the first extent at or after off whose bytes are stored,
	// or io.EOF if there are none.
	NextData(off int64) (start, length int64, err error)
	Close() error
}

const (
	// maxDisks is how many disks a VM can have: Hyper-V attaches at most 4 + 256.
	maxDisks = 260
	// maxLabelBytes bounds a name, so that a manifest stays small.
	maxLabelBytes = 255
	// maxIdentityBytes bounds an identity, so that a journal's head stays small.
	maxIdentityBytes = 4096
)

// check says what is wrong with a description, which comes from a peer or a file.
func (s DiskSpec) check() error {
	if err := checkLabel("disk", s.Name); err != nil {
		return err
	}
	switch {
	case s.Size <= 0 || s.Size > diskio.MaxVirtualSize:
		return fmt.Errorf("disk %q has %d bytes, outside 1 to %d", diskio.Printable(s.Name), s.Size, int64(diskio.MaxVirtualSize))
	case s.LogicalSectorSize < 0 || s.PhysicalSectorSize < 0:
		return fmt.Errorf("disk %q has sectors of %d and %d bytes", diskio.Printable(s.Name), s.LogicalSectorSize, s.PhysicalSectorSize)
	case len(s.Identity) > maxIdentityBytes || !utf8.ValidString(s.Identity):
		return fmt.Errorf("disk %q: the identity of its snapshot is not text of at most %d bytes", diskio.Printable(s.Name), maxIdentityBytes)
	}
	return nil
}

// checkSpecs checks the disks of one VM.
func checkSpecs(disks []DiskSpec) error {
	if len(disks) == 0 {
		return errors.New("a VM without disks")
	}
	if len(disks) > maxDisks {
		return fmt.Errorf("a VM with %d disks; at most %d are possible", len(disks), maxDisks)
	}
	seen := map[string]bool{}
	for _, s := range disks {
		if err := s.check(); err != nil {
			return err
		}
		if name := safeName(s.Name); seen[name] {
			return fmt.Errorf("two disks are named %q", diskio.Printable(s.Name))
		} else {
			seen[name] = true
		}
	}
	return nil
}
