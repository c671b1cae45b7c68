// Package diskio holds the words that every disk format shares: extents,
// mappings, disk identities and the errors of a broken image.
//
// The formats live in sub-packages (vhdx, vhd, raw), package image opens any of
// them, digest computes the root over a disk, and durable is the only way to a
// file that must survive. Nothing here knows a network. Start with [Image].
package diskio

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
)

// BlockBytes is the unit of digests and of change detection.
const BlockBytes = 64 << 10

// MaxVirtualSize is the largest disk that any format here can hold, 64 TiB
// (MS-VHDX 2.6.2.2).
const MaxVirtualSize = 64 << 40

// An Extent is a run of bytes, [Start, Start+Length).
type Extent struct {
	Start, Length int64
}

// End returns the offset of the first byte behind the extent.
func (e Extent) End() int64 { return e.Start + e.Length }

// A Kind says what one run of a disk holds.
type Kind uint8

const (
	// Hole is space that no file of the chain has anything for; it reads as zeros.
	Hole Kind = iota
	// Zero is space that a file of the chain says is zeros.
	Zero
	// Data is space whose bytes are stored in a file; they may still be zeros.
	Data
)

func (k Kind) String() string {
	switch k {
	case Hole:
		return "hole"
	case Zero:
		return "zero"
	case Data:
		return "data"
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// A Mapping says where one run of a disk's content comes from.
type Mapping struct {
	Extent
	Kind Kind
	// File is the file of the chain that decides this run; empty for a Hole.
	File string
	// FileOffset is where in File the bytes begin; only for Data.
	FileOffset int64
}

// An ID is a GUID in the byte order in which Microsoft's formats store it
// (MS-DTYP 2.3.4.2). A disk keeps its ID for life.
type ID [16]byte

// IsZero reports whether the ID is not set.
func (id ID) IsZero() bool { return id == ID{} }

// String returns the registry form without braces, in lower case.
func (id ID) String() string {
	b := [16]byte{
		id[3], id[2], id[1], id[0], id[5], id[4], id[7], id[6],
		id[8], id[9], id[10], id[11], id[12], id[13], id[14], id[15],
	}
	s := hex.EncodeToString(b[:])
	return s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]
}

// Info describes an image as a whole.
type Info struct {
	Format    string // "vhdx", "vhd" or "raw"
	Subformat string // "fixed", "dynamic" or "differencing"
	// VirtualSize is the size of the disk that the image holds, in bytes.
	VirtualSize int64
	// BlockSize is the image's unit of allocation in bytes; 0 if it has none.
	BlockSize          int64
	LogicalSectorSize  int
	PhysicalSectorSize int
	// DiskID is zero for formats without one.
	DiskID ID
	// Parent is the path of the next file of the chain; empty without one.
	Parent string
	// LogPending tells that changes are still in the image's log; reads see them.
	LogPending bool
	// Allocated is how many bytes of the image's own file hold content.
	Allocated int64
}

// An Image is an open disk image. It is only ever read, and all methods may be
// called from several goroutines at once.
type Image interface {
	// ReadAt reads the disk's content. Space that is not stored reads as zeros.
	io.ReaderAt
	// Size returns the virtual size in bytes.
	Size() int64
	Info() Info
	// Map returns the mapping that begins at off and reaches as far as the image
	// cheaply knows, or io.EOF at the end of the disk.
	Map(off int64) (Mapping, error)
	// NextData returns the first extent at or after off whose bytes are stored,
	// or io.EOF when only holes and zeros remain.
	NextData(off int64) (start, length int64, err error)
	// Files are the paths of the chain's files, the image's own first.
	Files() []string
	// NextChanged returns the first extent at or after off that may differ from
	// what the file ancestor, which is one of Files, and those below it hold: what
	// the files above it decide. It is io.EOF when there is none, and wraps
	// ErrNoAncestor for another file. So the children that checkpoints leave are a
	// list of changes, and nothing has to be read to find them.
	NextChanged(ancestor string, off int64) (start, length int64, err error)
	// ChangedSince is NextChanged since a state of the disk that only its Identity is
	// known of: that of an ancestor, with those below it, which is still what it was.
	// is tells whether an identity is the wanted one. The disk itself is no ancestor:
	// a running VM writes to it, and the times that identities tell it by are late on
	// some systems. ok is false if there is no such ancestor, or it can't be asked.
	ChangedSince(is func(identity string) bool) (next func(off int64) (start, length int64, err error), ok bool)
	// Identity names the content: it differs whenever something wrote to a file
	// of the chain. It is read afresh from the files and safe to print.
	Identity() (string, error)
	// Check returns a [ChangedError] if the content changed since the image was
	// opened.
	Check() error
	Close() error
}

// NextData walks img's mappings for an Image that has no faster way.
func NextData(img Image, off int64) (start, length int64, err error) {
	for {
		m, err := img.Map(off)
		if err != nil {
			return 0, 0, err
		}
		if m.Kind == Data {
			return m.Start, m.Length, nil
		}
		off = m.End()
	}
}

// FirstRun returns the first run at or after off, within size, of what at wants, and
// io.EOF if there is none. at says of an offset whether it is wanted, and for how
// many bytes, at least one, that holds. A run is not joined further once it has most
// bytes.
func FirstRun(off, size, most int64, at func(off int64) (wanted bool, length int64, err error)) (start, length int64, err error) {
	for next := max(off, 0); next < size && length < most; {
		wanted, n, err := at(next)
		if err != nil {
			return 0, 0, err
		}
		switch {
		case wanted && length == 0:
			start, length = next, n
		case wanted:
			length += n
		case length > 0:
			return start, length, nil
		}
		next += n
	}
	if length == 0 {
		return 0, 0, io.EOF
	}
	return start, length, nil
}

// ErrUnknownFormat is returned for a file that no format here recognises.
var ErrUnknownFormat = errors.New("not a disk image of a known format")

// ErrNoAncestor is returned for a file that is not in an image's chain.
var ErrNoAncestor = errors.New("not a file of the disk's chain")

// Ancestor returns the place of a file in files, and an error that wraps
// ErrNoAncestor if it is not there. Two paths of one file are the same.
func Ancestor(files []string, ancestor string) (int, error) {
	want, err := os.Stat(ancestor)
	if err != nil {
		return 0, err
	}
	for i, f := range files {
		if have, err := os.Stat(f); err == nil && os.SameFile(have, want) {
			return i, nil
		}
	}
	return 0, fmt.Errorf("%s: %w", Printable(ancestor), ErrNoAncestor)
}

// A FormatError says where a file breaks its format.
type FormatError struct {
	Path    string
	Section string // as the specification calls it, "region table"
	Offset  int64  // in the file
	Reason  string
}

func (e *FormatError) Error() string {
	return fmt.Sprintf("%s: %s at offset %d: %s", Printable(e.Path), e.Section, e.Offset, Printable(e.Reason))
}

// A ChangedError says that a disk was written to while it was being read.
type ChangedError struct {
	Path string
	What string // "size", "modification time", "data write GUID"
}

func (e *ChangedError) Error() string {
	return fmt.Sprintf("%s changed while it was read (%s)", Printable(e.Path), e.What)
}

// A ParentError says that a file of a chain can't be had.
type ParentError struct {
	Child  string
	Wanted string // the parent as the child names it
	Reason string
}

func (e *ParentError) Error() string {
	return fmt.Sprintf("%s: parent %s: %s", Printable(e.Child), Printable(e.Wanted), Printable(e.Reason))
}
