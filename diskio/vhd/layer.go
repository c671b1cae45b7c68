package vhd

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"wanrep/diskio"
)

// A layer is one file of a chain.
type layer struct {
	path     string // as the operator or the chain names it
	dir      string // where the file really is
	file     *os.File
	fileSize int64
	// footer is what describes the disk; footerAt is where in the file it is.
	footer   footer
	footerAt int64
	size     int64 // of the disk
	header   header
	// blockSize is 0 for a fixed disk, which has neither table nor bitmaps.
	blockSize   int64
	bitmapBytes int64 // in front of each block
	table       *table
	bitmaps     *cache
	allocated   int64 // bytes of the file that hold content
	parent      *layer
	opened      state
}

// A run is a stretch of the disk that comes from one place.
type run struct {
	length int64
	layer  *layer // nil for a hole
	offset int64  // in the layer's file
}

// openLayer opens a file that the caller names and reads what describes the disk.
func openLayer(path string) (*layer, error) {
	l, err := openFile(path)
	if err != nil {
		return nil, err
	}
	if err := l.load(stopAtFirst); err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

// openFile opens a file that the caller names, through links too.
func openFile(path string) (*layer, error) {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil, err
	}
	if info, err := os.Stat(real); err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("open %s: not a regular file", diskio.Printable(path))
	}
	// On Windows only the functions of os.Root let others write, rename and
	// delete the file while it is open.
	dir := filepath.Dir(real)
	file, err := os.OpenInRoot(dir, filepath.Base(real))
	if err != nil {
		return nil, err
	}
	return &layer{path: path, dir: dir, file: file}, nil
}

// load reads what describes the disk. What is wrong with single blocks goes to
// report, whose error ends it; a layer of which report took a problem is only
// good for looking at, not for reading.
func (l *layer) load(report func(error) error) error {
	info, err := l.file.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("open %s: not a regular file", diskio.Printable(l.path))
	}
	l.fileSize = info.Size()
	if err := l.loadFooter(); err != nil {
		return err
	}
	l.size = int64(l.footer.size)
	if l.footer.kind == fixed {
		if l.size > l.footerAt {
			return l.broken("footer", l.footerAt, "a fixed disk of %d bytes in a file that has %d before its footer", l.size, l.footerAt)
		}
		l.allocated = l.size
	} else if err := l.loadBlocks(report); err != nil {
		return err
	}
	l.opened, err = l.state()
	return err
}

// broken returns the error for what is wrong at an offset of the file.
func (l *layer) broken(section string, offset int64, format string, args ...any) error {
	return &diskio.FormatError{Path: l.path, Section: section, Offset: offset, Reason: fmt.Sprintf(format, args...)}
}

// bytesAt reads a structure of the file, which must have it whole.
func (l *layer) bytesAt(section string, offset uint64, n int) ([]byte, error) {
	if offset > uint64(l.fileSize) || uint64(n) > uint64(l.fileSize)-offset {
		return nil, l.broken(section, int64(offset), "it reaches behind the end of the file, which has %d bytes", l.fileSize)
	}
	b := make([]byte, n)
	if _, err := l.file.ReadAt(b, int64(offset)); err != nil {
		return nil, fmt.Errorf("read the %s of %s: %w", section, diskio.Printable(l.path), err)
	}
	return b, nil
}

// loadFooter takes the footer at the end of the file, or else the one of 511
// bytes that old disks have there, or else the copy at the start: a crash can
// lose the last one, which moves whenever the disk grows.
func (l *layer) loadFooter() error {
	places := []struct{ offset, length int64 }{
		{l.fileSize - footerBytes, footerBytes},
		{l.fileSize - oldFooterBytes, oldFooterBytes},
		{0, footerBytes},
	}
	var worst error // what is wrong with the first footer that looks like one
	for i, place := range places {
		if place.offset < 0 || place.offset+place.length > l.fileSize {
			continue
		}
		b, err := l.bytesAt("footer", uint64(place.offset), int(place.length))
		if err != nil {
			return err
		}
		f, wrong := parseFooter(b)
		isCopy := i == len(places)-1
		if wrong == nil && isCopy && f.kind == fixed {
			wrong = problemf(60, "a fixed disk has no copy of its footer at the start")
		}
		if wrong == nil {
			l.footer, l.footerAt = f, place.offset
			if isCopy {
				l.footerAt = l.fileSize
			}
			return nil
		}
		if worst == nil && wrong.offset != 0 {
			worst = l.broken("footer", place.offset+wrong.offset, "%s", wrong.reason)
		}
	}
	if worst == nil {
		worst = l.broken("footer", max(l.fileSize-footerBytes, 0), `there is no footer: neither the end nor the start of the file says "conectix"`)
	}
	return worst
}

// loadBlocks reads the header and looks at every entry of the table once.
func (l *layer) loadBlocks(report func(error) error) error {
	at := l.footer.dataOffset
	b, err := l.bytesAt("dynamic disk header", at, headerBytes)
	if err != nil {
		return err
	}
	h, wrong := parseHeader(b)
	if wrong != nil {
		return l.broken("dynamic disk header", int64(at)+wrong.offset, "%s", wrong.reason)
	}
	l.header = h
	l.blockSize = int64(h.blockSize)
	l.bitmapBytes = (l.blockSize/sectorSize/8 + sectorSize - 1) / sectorSize * sectorSize
	blocks := (l.size + l.blockSize - 1) / l.blockSize
	if int64(h.entries) < blocks {
		return l.broken("dynamic disk header", int64(at)+28, "%d table entries for a disk of %d blocks", h.entries, blocks)
	}
	if blocks > maxBlocks {
		return l.broken("dynamic disk header", int64(at)+32, "%d blocks of %d bytes; at most %d blocks are known", blocks, l.blockSize, maxBlocks)
	}
	if h.tableOffset > uint64(l.fileSize) || uint64(blocks)*entryBytes > uint64(l.fileSize)-h.tableOffset {
		return l.broken("dynamic disk header", int64(at)+16, "a table of %d entries at %d reaches behind the end of the file, which has %d bytes", blocks, h.tableOffset, l.fileSize)
	}
	l.table = newTable(l.file, int64(h.tableOffset), blocks)
	l.bitmaps = &cache{keep: cachedBitmaps, read: l.readBitmap}
	return l.survey(report)
}

// run returns where the disk's bytes from off on come from, for at most limit
// bytes. Both must be positive and within the child's size; a parent may be
// smaller, and what lies behind its end is a hole.
func (l *layer) run(off, limit int64) (run, error) {
	if off >= l.size {
		return run{length: limit}, nil
	}
	limit = min(limit, l.size-off)
	if l.blockSize == 0 {
		return run{limit, l, off}, nil
	}
	block, within := off/l.blockSize, off%l.blockSize
	start, stored, err := l.block(block)
	if err != nil {
		return run{}, err
	}
	if !stored {
		return l.absent(block, off, limit)
	}
	limit = min(limit, l.blockSize-within)
	data := run{limit, l, start + l.bitmapBytes + within}
	if l.parent == nil {
		// The bitmap of a dynamic disk says nothing: what it marks as unused was
		// written by somebody who did not care.
		return data, nil
	}
	own, length, err := l.bitmapRun(block, within, limit)
	if err != nil {
		return run{}, err
	}
	if own {
		data.length = length
		return data, nil
	}
	return l.parent.run(off, length)
}

// absentAtOnce bounds how many absent blocks of a child are looked at before its
// parent is asked, so that the children of a long chain do not count the same
// blocks again for each of the parent's runs.
const absentAtOnce = 1024

// absent returns the run of blocks without content that begins at block.
func (l *layer) absent(block, off, limit int64) (run, error) {
	end := min((off+limit-1)/l.blockSize+1, l.table.entries)
	if l.parent != nil {
		end = min(end, block+absentAtOnce)
	}
	next := block + 1
	for next < end {
		_, stored, err := l.block(next)
		if err != nil {
			return run{}, err
		}
		if stored {
			break
		}
		next++
	}
	length := min(next*l.blockSize-off, limit)
	if l.parent == nil {
		return run{length: length}, nil
	}
	return l.parent.run(off, length)
}

// read reads bytes of the file that a run named.
func (l *layer) read(p []byte, off int64) (int, error) {
	n, err := l.file.ReadAt(p, off)
	if n == len(p) {
		return n, nil
	}
	if err == io.EOF {
		// The file was long enough when it was opened.
		return n, &diskio.ChangedError{Path: l.path, What: "size"}
	}
	return n, err
}

// A state is what changes when somebody writes to the file.
type state struct {
	size     int64
	modified int64 // nanoseconds since 1970
	node     string
	footer   []byte
}

// state looks at the open file, whatever has its name by now.
func (l *layer) state() (state, error) {
	info, err := l.file.Stat()
	if err != nil {
		return state{}, err
	}
	s := state{size: info.Size(), modified: info.ModTime().UnixNano(), node: diskio.Node(info)}
	s.footer = make([]byte, min(footerBytes, max(s.size, 0)))
	if _, err := l.file.ReadAt(s.footer, s.size-int64(len(s.footer))); err != nil && err != io.EOF {
		return state{}, err
	}
	return s, nil
}

func (l *layer) check() error {
	s, err := l.state()
	what := ""
	switch {
	case err != nil:
		return err
	case s.size != l.opened.size:
		what = "size"
	case s.modified != l.opened.modified:
		what = "modification time"
	case string(s.footer) != string(l.opened.footer):
		what = "footer"
	default:
		return nil
	}
	return &diskio.ChangedError{Path: l.path, What: what}
}

func (l *layer) sameFile(other *layer) bool {
	a, err := l.file.Stat()
	if err != nil {
		return false
	}
	b, err := other.file.Stat()
	return err == nil && os.SameFile(a, b)
}

func (l *layer) close() error { return l.file.Close() }
