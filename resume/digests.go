package resume

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"sort"

	"wanrep/diskio"
	"wanrep/diskio/digest"
	"wanrep/diskio/durable"
)

// A digests file keeps the digests of a disk's blocks: a head of 64 bytes and
// then, in ascending order, a record of 40 bytes for each block that is not all
// zeros: its index, 8 bytes little-endian, and its digest. A block is found by
// binary search; a disk's root needs one pass.
//
// The file of a disk that builds on another has records only of the blocks that
// were written: those that became zeros too, where the base may have something. Its
// digests are those of a digestsMerge. The head is
//
//	0  "wanrepDG"
//	8  version, 4 bytes: 1
//	12 bytes of a block, 4 bytes
//	16 bytes of the disk, 8 bytes
//	24 the disk's ID
//	40 blocks of the disk on which this one builds, 8 bytes; 0 if it stands alone
//	60 CRC-32C of the bytes before
//
// How many records count, and their checksum, is in the journal of a part; the
// root that they give is in the manifest of a point.
const (
	digestsHead    = 64
	digestsRecord  = 40
	digestsVersion = 1
)

var (
	digestsMagic = []byte("wanrepDG")
	castagnoli   = crc32.MakeTable(crc32.Castagnoli)
)

// A digestsShape is what a digests file has to fit.
type digestsShape struct {
	size       int64 // of the disk, in bytes
	id         diskio.ID
	baseBlocks int64
}

func encodeDigestsHead(s digestsShape) []byte {
	b := make([]byte, digestsHead)
	copy(b, digestsMagic)
	binary.LittleEndian.PutUint32(b[8:], digestsVersion)
	binary.LittleEndian.PutUint32(b[12:], diskio.BlockBytes)
	binary.LittleEndian.PutUint64(b[16:], uint64(s.size))
	copy(b[24:], s.id[:])
	binary.LittleEndian.PutUint64(b[40:], uint64(s.baseBlocks))
	binary.LittleEndian.PutUint32(b[60:], crc32.Checksum(b[:60], castagnoli))
	return b
}

// A damagedError says that a file of the store is not what was written to it.
// What the file held has to be received, or made, again.
type damagedError struct {
	name   string
	reason string
}

func (e *damagedError) Error() string {
	return diskio.Printable(e.name) + " is damaged: " + e.reason
}

func isDamaged(err error) bool {
	var d *damagedError
	var f *diskio.FormatError
	return errors.As(err, &d) || errors.As(err, &f)
}

// A digestsReader reads the first count records of a digests file in order.
type digestsReader struct {
	name       string
	r          *bufio.Reader
	shape      digestsShape
	count      int64 // records that are left
	next       int64 // the lowest index that may follow
	crc        uint32
	want       *uint32 // what crc has to be behind the last record, if that is known
	record     [digestsRecord]byte
	zeroDigest digest.Sum
}

// readDigests checks a digests file's head and returns a reader of count records.
func readDigests(r io.ReaderAt, name string, shape digestsShape, count int64) (*digestsReader, error) {
	head := make([]byte, digestsHead)
	if _, err := r.ReadAt(head, 0); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, &damagedError{name, "it is shorter than its head"}
		}
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if string(head) != string(encodeDigestsHead(shape)) {
		return nil, &damagedError{name, "its head is not that of this disk"}
	}
	if blocks := digest.Blocks(shape.size); count < 0 || count > blocks {
		return nil, &damagedError{name, fmt.Sprintf("%d digests for a disk of %d blocks", count, blocks)}
	}
	return &digestsReader{
		name: name, shape: shape, count: count, zeroDigest: digest.ZeroBlock(),
		r: bufio.NewReaderSize(io.NewSectionReader(r, digestsHead, count*digestsRecord), 64<<10),
	}, nil
}

// seek goes to the first record of block from, or of a later one. r is what the
// reader reads, of which nothing was read yet.
func (d *digestsReader) seek(r io.ReaderAt, from int64) error {
	if from <= 0 {
		return nil
	}
	var failed error
	skipped := sort.Search(int(d.count), func(i int) bool {
		var index [8]byte
		n, err := r.ReadAt(index[:], digestsHead+int64(i)*digestsRecord)
		if n < len(index) && err != io.EOF && failed == nil {
			failed = fmt.Errorf("read %s: %w", d.name, err)
		}
		return n < len(index) || int64(binary.LittleEndian.Uint64(index[:])) >= from
	})
	d.count -= int64(skipped)
	d.next = from
	d.r.Reset(io.NewSectionReader(r, digestsHead+int64(skipped)*digestsRecord, d.count*digestsRecord))
	return failed
}

// read returns the next record, or io.EOF behind the last.
func (r *digestsReader) read() (index int64, sum digest.Sum, err error) {
	if r.count == 0 && r.want != nil && r.crc != *r.want {
		return 0, sum, r.damagedRecords()
	}
	if r.count == 0 {
		return 0, sum, io.EOF
	}
	if _, err := io.ReadFull(r.r, r.record[:]); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return 0, sum, &damagedError{r.name, fmt.Sprintf("%d records are missing at its end", r.count)}
		}
		return 0, sum, fmt.Errorf("read %s: %w", r.name, err)
	}
	r.crc = crc32.Update(r.crc, castagnoli, r.record[:])
	index = int64(binary.LittleEndian.Uint64(r.record[:]))
	copy(sum[:], r.record[8:])
	if index < r.next || index >= digest.Blocks(r.shape.size) || sum == r.zeroDigest && index >= r.shape.baseBlocks {
		return 0, sum, &damagedError{r.name, fmt.Sprintf("a record for block %d where block %d or a later one has to follow", index, r.next)}
	}
	r.count--
	r.next = index + 1
	return index, sum, nil
}

func (r *digestsReader) damagedRecords() error {
	return &damagedError{r.name, "its records do not match the journal's checksum"}
}

// bufferedDigests is how many records a writer holds back at most: those of 64
// MiB of data, which is when a disk is synced.
const bufferedDigests = 1024

// A digestsWriter appends records.
type digestsWriter struct {
	f     durable.File
	count int64 // records, those in buf too
	crc   uint32
	buf   []byte
	dirty bool // something was written since the last sync
}

// create makes the file an empty digests file.
func (w *digestsWriter) create(s digestsShape) error {
	w.count, w.crc, w.dirty = 0, 0, true
	if err := w.f.Truncate(0); err != nil {
		return err
	}
	_, err := w.f.WriteAt(encodeDigestsHead(s), 0)
	return err
}

// continueAt cuts the file to count records, whose checksum is crc.
func (w *digestsWriter) continueAt(count int64, crc uint32) error {
	w.count, w.crc, w.dirty = count, crc, true
	return w.f.Truncate(digestsHead + count*digestsRecord)
}

func (w *digestsWriter) add(index int64, sum digest.Sum) error {
	w.buf = binary.LittleEndian.AppendUint64(w.buf, uint64(index))
	w.buf = append(w.buf, sum[:]...)
	w.crc = crc32.Update(w.crc, castagnoli, w.buf[len(w.buf)-digestsRecord:])
	w.count++
	if len(w.buf) < bufferedDigests*digestsRecord {
		return nil
	}
	return w.flush()
}

func (w *digestsWriter) flush() error {
	if len(w.buf) == 0 {
		return nil
	}
	end := digestsHead + w.count*digestsRecord
	if _, err := w.f.WriteAt(w.buf, end-int64(len(w.buf))); err != nil {
		return err
	}
	w.buf = w.buf[:0]
	w.dirty = true
	return nil
}

// sync makes all records durable.
func (w *digestsWriter) sync() error {
	if err := w.flush(); err != nil {
		return err
	}
	if !w.dirty {
		return nil
	}
	if err := w.f.Sync(); err != nil {
		return err
	}
	w.dirty = false
	return nil
}
