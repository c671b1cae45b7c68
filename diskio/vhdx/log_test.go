package vhdx

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"wanrep/diskio"
)

// A logOp is one descriptor: data for a page, or zeros.
type logOp struct {
	off  int64
	data []byte // one page; nil for zeros
	zero uint64 // bytes
}

// A logged is a log entry to write.
type logged struct {
	sequence      uint64
	tail          int64
	flushed, last int64
	ops           []logOp
	guid          diskio.ID
}

// bytes returns the entry as MS-VHDX 2.3.1 lays it out.
func (e logged) bytes() []byte {
	n := descriptorSectors(int64(len(e.ops)))
	b := make([]byte, max(n, 1)*logSectorBytes)
	for i, op := range e.ops {
		d := b[logHeaderBytes+i*logDescriptorBytes:]
		le.PutUint64(d[16:], uint64(op.off))
		le.PutUint64(d[24:], e.sequence)
		if op.data == nil {
			copy(d, "zero")
			le.PutUint64(d[8:], op.zero)
			continue
		}
		copy(d, "desc")
		copy(d[4:8], op.data[logSectorBytes-4:])
		copy(d[8:16], op.data[:8])
		s := bytes.Clone(op.data)
		copy(s, "data")
		le.PutUint32(s[4:], uint32(e.sequence>>32))
		le.PutUint32(s[logSectorBytes-4:], uint32(e.sequence))
		b = append(b, s...)
	}
	copy(b, "loge")
	le.PutUint32(b[8:], uint32(len(b)))
	le.PutUint32(b[12:], uint32(e.tail))
	le.PutUint64(b[16:], e.sequence)
	le.PutUint32(b[24:], uint32(len(e.ops)))
	copy(b[32:], e.guid[:])
	le.PutUint64(b[48:], uint64(e.flushed))
	le.PutUint64(b[56:], uint64(e.last))
	le.PutUint32(b[4:], checksum(b))
	return b
}

// A logFile is a disk of 8 MiB in blocks of 1 MiB, the first three of which are
// stored, with a log that a test fills.
type logFile struct {
	patient
	path string
	guid diskio.ID
	at   int64 // where in the log the next entry goes
	size int64 // of the file
}

func newLogFile(t *testing.T) *logFile {
	t.Helper()
	f := &logFile{path: filepath.Join(t.TempDir(), "a.vhdx"), guid: newID()}
	create(t, f.path, Spec{VirtualSize: 8 * mib, BlockSize: mib}, func(w *Writer) {
		for i := range int64(3) {
			put(t, w, noise(mib, uint64(i)), i*mib)
		}
	})
	f.t = t
	f.l = open(t, f.path, Options{}).layers[0]
	var err error
	if f.f, err = os.OpenFile(f.path, os.O_RDWR, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.f.Close() })
	f.size = blockAt + 3*mib
	f.headers(func(h *header) { h.logGUID = f.guid })
	return f
}

// add writes an entry at the end of the log, round its end if need be, and returns
// where it is.
func (f *logFile) add(e logged) int64 {
	if e.guid.IsZero() {
		e.guid = f.guid
	}
	if e.flushed == 0 {
		e.flushed, e.last = f.size, f.size
	}
	at := f.at
	for b := e.bytes(); len(b) > 0; b = b[logSectorBytes:] {
		f.write(b[:logSectorBytes], createdLogOffset+f.at)
		f.at = (f.at + logSectorBytes) % createdLogBytes
	}
	return at
}

// batPage is the first page of the BAT with one more entry.
func (f *logFile) batPage(n int64, e entry) logOp {
	p := f.read(batAt, logSectorBytes)
	le.PutUint64(p[8*n:], uint64(e))
	return logOp{off: batAt, data: p}
}

// first returns the first bytes of the blocks, or the error of opening.
func (f *logFile) first(o Options) ([]byte, error) {
	d, err := Open(f.path, o)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	var got []byte
	for off := int64(0); off < d.Size(); off += mib {
		p := make([]byte, 1)
		if _, err := d.ReadAt(p, off); err != nil {
			return nil, err
		}
		got = append(got, p[0])
	}
	return got, nil
}

func sector(fill byte) []byte { return bytes.Repeat([]byte{fill}, logSectorBytes) }

func TestLogReplay(t *testing.T) {
	var plain [8]byte // what the blocks begin with
	for i := range 3 {
		plain[i] = noise(1, uint64(i))[0]
	}
	with := func(changes ...int) []byte { // pairs of block and value
		b := bytes.Clone(plain[:])
		for i := 0; i < len(changes); i += 2 {
			b[changes[i]] = byte(changes[i+1])
		}
		return b
	}
	pad := func(f *logFile, to int64) { f.at = to }
	block := func(n int64) int64 { return blockAt + n*mib }
	put := func(n int64, v byte) []logOp { return []logOp{{off: block(n), data: sector(v)}} }
	for _, c := range []struct {
		name string
		do   func(f *logFile)
		o    Options
		want []byte
		err  string // of the open
	}{
		{name: "data", do: func(f *logFile) { f.add(logged{sequence: 7, ops: put(1, 9)}) }, want: with(1, 9)},
		{name: "zeros", do: func(f *logFile) {
			f.add(logged{sequence: 7, ops: []logOp{{off: block(0), zero: 2 * mib}}})
		}, want: with(0, 0, 1, 0)},
		{name: "a BAT entry", do: func(f *logFile) {
			f.add(logged{sequence: 1, ops: []logOp{f.batPage(1, 0), {off: block(2), data: sector(4)}}})
		}, want: with(1, 0, 2, 4)},
		{name: "a new block behind the end", do: func(f *logFile) {
			f.add(logged{sequence: 1, flushed: f.size, last: f.size + mib, ops: []logOp{f.batPage(5, makeEntry(blockFull, f.size)), {off: f.size, data: sector(3)}}})
		}, want: with(5, 3)},
		{name: "more descriptors than one sector holds", do: func(f *logFile) {
			ops := make([]logOp, 130)
			for i := range ops {
				ops[i] = logOp{off: block(2) + 4096*int64(i), data: sector(byte(i))}
			}
			f.add(logged{sequence: 1, ops: append(ops, put(0, 5)...)})
		}, want: with(2, 0, 0, 5)},
		{name: "the log GUID is zero", do: func(f *logFile) {
			f.add(logged{sequence: 7, ops: put(1, 9)})
			f.headers(func(h *header) { h.logGUID = diskio.ID{} })
		}, want: with()},
		{name: "another log's entry", do: func(f *logFile) {
			f.add(logged{sequence: 1, ops: put(1, 9)})
			f.add(logged{sequence: 2, guid: newID(), ops: put(1, 8)})
		}, want: with(1, 9)},
		{name: "two entries, the newer wins", do: func(f *logFile) {
			f.add(logged{sequence: 1, ops: append(put(0, 1), put(1, 1)...)})
			f.add(logged{sequence: 2, ops: put(1, 2)})
		}, want: with(0, 1, 1, 2)},
		{name: "zeros over data", do: func(f *logFile) {
			f.add(logged{sequence: 1, ops: put(1, 1)})
			f.add(logged{sequence: 2, ops: []logOp{{off: block(1), zero: 8192}}})
		}, want: with(1, 0)},
		{name: "data over zeros", do: func(f *logFile) {
			f.add(logged{sequence: 1, ops: []logOp{{off: block(1), zero: 8192}}})
			f.add(logged{sequence: 2, ops: put(1, 6)})
		}, want: with(1, 6)},
		{name: "the order within an entry counts", do: func(f *logFile) {
			f.add(logged{sequence: 1, ops: []logOp{{off: block(1), data: sector(1)}, {off: block(1), zero: 4096}, {off: block(0), zero: 4096}, {off: block(0), data: sector(2)}}})
		}, want: with(0, 2, 1, 0)},
		{name: "an entry that wraps", do: func(f *logFile) {
			pad(f, createdLogBytes-8192)
			at := f.add(logged{sequence: 5, tail: createdLogBytes - 8192, ops: append(append(put(0, 1), put(1, 2)...), put(2, 3)...)})
			f.add(logged{sequence: 6, tail: at, ops: put(2, 4)})
		}, want: with(0, 1, 1, 2, 2, 4)},
		{name: "a sequence that wraps", do: func(f *logFile) {
			pad(f, createdLogBytes-8192)
			at := f.add(logged{sequence: 5, tail: createdLogBytes - 8192, ops: put(0, 1)})
			f.add(logged{sequence: 6, tail: at, ops: put(1, 2)})
		}, want: with(0, 1, 1, 2)},
		{name: "nothing before the tail is replayed", do: func(f *logFile) {
			f.add(logged{sequence: 1, ops: put(0, 1)})
			at := f.add(logged{sequence: 2, ops: put(1, 2)})
			f.add(logged{sequence: 3, tail: at, ops: put(2, 3)})
		}, want: with(1, 2, 2, 3)},
		{name: "a torn head", do: func(f *logFile) {
			f.add(logged{sequence: 1, ops: put(0, 1)})
			at := f.add(logged{sequence: 2, ops: put(1, 2)})
			f.u16(createdLogOffset+at+4096+100, 0xffff)
		}, want: with(0, 1)},
		{name: "torn in the middle, nothing behind counts", do: func(f *logFile) {
			f.add(logged{sequence: 1, ops: put(0, 1)})
			at := f.add(logged{sequence: 2, ops: put(1, 2)})
			f.add(logged{sequence: 3, ops: put(2, 3)})
			f.u16(createdLogOffset+at+4096+100, 0xffff)
		}, want: with(0, 1)},
		{name: "the tail is not there", do: func(f *logFile) {
			f.add(logged{sequence: 4, tail: 64 * kib, ops: put(0, 1)})
		}, err: "no sequence"},
		{name: "a gap in the numbers", do: func(f *logFile) {
			f.add(logged{sequence: 1, ops: put(0, 1)})
			at := f.at
			f.add(logged{sequence: 3, tail: at, ops: put(1, 2)})
		}, want: with(1, 2)},
		{name: "the newest of two sequences", do: func(f *logFile) {
			f.add(logged{sequence: 9, ops: put(0, 1)})
			pad(f, 512*kib)
			f.add(logged{sequence: 4, tail: 512 * kib, ops: put(0, 2)})
		}, want: with(0, 1)},
		{name: "nothing but an empty entry", do: func(f *logFile) { f.add(logged{sequence: 1}) }, want: with()},
		{name: "sequence number zero", do: func(f *logFile) { f.add(logged{ops: put(0, 1)}) }, err: "no sequence"},
		{name: "empty log", do: func(*logFile) {}, err: "no sequence"},
		{name: "empty log, allowed", do: func(*logFile) {}, o: Options{AllowEmptyLog: true}, want: with()},
		{name: "truncated file", do: func(f *logFile) {
			f.add(logged{sequence: 1, flushed: f.size + mib, last: f.size + mib, ops: put(0, 1)})
		}, err: "it was truncated"},
		{name: "an older entry saw a longer file", do: func(f *logFile) {
			f.add(logged{sequence: 1, flushed: f.size + mib, last: f.size + mib, ops: put(0, 1)})
			f.add(logged{sequence: 2, ops: put(1, 2)})
		}, want: with(0, 1, 1, 2)},
		{name: "over the headers", do: func(f *logFile) {
			f.add(logged{sequence: 1, ops: []logOp{{off: 64 * kib, data: sector(1)}}})
		}, err: "overwrites the headers"},
		{name: "over the log", do: func(f *logFile) {
			f.add(logged{sequence: 1, ops: []logOp{{off: createdLogOffset + 64*kib, zero: 4096}}})
		}, err: "overwrites the log"},
		{name: "zeros without an end", do: func(f *logFile) {
			f.add(logged{sequence: 1, ops: []logOp{{off: block(0), zero: 1 << 63}}})
		}, err: "an update at"},
		{name: "data at the end of the world", do: func(f *logFile) {
			f.add(logged{sequence: 1, ops: []logOp{{off: -4096, data: sector(1)}}})
		}, err: "an update at"},
		{name: "a last file offset of 2^62", do: func(f *logFile) {
			f.add(logged{sequence: 1, flushed: f.size, last: 1 << 62, ops: put(0, 1)})
		}, err: "last file offset"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newLogFile(t)
			c.do(f)
			before, err := os.ReadFile(f.path)
			if err != nil {
				t.Fatal(err)
			}
			got, err := f.first(c.o)
			var fe *diskio.FormatError
			switch {
			case c.err == "" && (err != nil || !bytes.Equal(got, c.want)):
				t.Errorf("got %v, %v, want %v", got, err, c.want)
			case c.err != "" && (!errors.As(err, &fe) || fe.Section != "log" || !strings.Contains(fe.Reason, c.err)):
				t.Errorf("got %v, want %q", err, c.err)
			}
			if after, err := os.ReadFile(f.path); err != nil || !bytes.Equal(before, after) {
				t.Errorf("reading wrote to the file (%v)", err)
			}
		})
	}
}

// QEMU, which can repair a copy, agrees about a plain log.
func TestLogReplayAsQEMU(t *testing.T) {
	img := tool(t, "qemu-img")
	f := newLogFile(t)
	f.add(logged{sequence: 1, ops: []logOp{f.batPage(5, makeEntry(blockFull, f.size-mib)), {off: blockAt, data: noise(4096, 70)}, {off: blockAt + 64*kib, zero: 64 * kib}}})
	f.add(logged{sequence: 2, ops: []logOp{f.batPage(2, 0), {off: blockAt + 4096, data: noise(4096, 71)}}})
	d := open(t, f.path, Options{})
	if !d.Info().LogPending {
		t.Error("the log is not reported as pending")
	}
	content := readAll(t, d)
	if allZero(content) {
		t.Fatal("nothing to compare")
	}
	if out, err := exec.Command(img, "check", "-r", "all", "-f", "vhdx", f.path).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	qemuReads(t, f.path, content)
}

// A log of entries that all claim the whole ring is refused before it has kept the
// reader busy.
func TestLogThatOverlapsItself(t *testing.T) {
	f := newLogFile(t)
	e := logged{sequence: 1, guid: f.guid}.bytes()
	le.PutUint32(e[8:], createdLogBytes)
	for at := int64(0); at < createdLogBytes; at += logSectorBytes {
		f.write(e[:logHeaderBytes], createdLogOffset+at)
	}
	start := time.Now()
	if _, err := f.first(Options{}); err == nil || !strings.Contains(err.Error(), "can't be scanned") {
		t.Errorf("got %v, want that it can't be scanned", err)
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
}
