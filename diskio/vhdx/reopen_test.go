package vhdx

import (
	"bytes"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"wanrep/diskio"
)

// A crashFile is a file in memory that forgets at a crash what was not synced, in
// any mix and torn at any sector, as a disk's write cache may.
type crashFile struct {
	now, synced sparse
	pending     []pendingOp
	cutAfter    int // operations until the machine dies; negative is never
}

type pendingOp struct {
	truncate bool
	off      int64
	data     []byte
}

// sparse is file content by pages. A page is never changed, only replaced, so that clones
// share them.
type sparse struct {
	pages map[int64]*[sparsePage]byte
	size  int64
}

const sparsePage = 4096

func newSparse() sparse { return sparse{pages: map[int64]*[sparsePage]byte{}} }

func (s *sparse) clone() sparse { return sparse{maps.Clone(s.pages), s.size} }

// change replaces a page by a copy that may be changed.
func (s *sparse) change(page int64) *[sparsePage]byte {
	b := new([sparsePage]byte)
	if was := s.pages[page]; was != nil {
		*b = *was
	}
	s.pages[page] = b
	return b
}

func (s *sparse) write(p []byte, off int64) {
	s.size = max(s.size, off+int64(len(p)))
	for len(p) > 0 {
		pg, in := off/sparsePage, off%sparsePage
		n := copy(s.change(pg)[in:], p)
		p, off = p[n:], off+int64(n)
	}
}

func (s *sparse) truncate(size int64) {
	if size < s.size {
		for pg := range s.pages {
			if pg*sparsePage >= size {
				delete(s.pages, pg)
			}
		}
		if s.pages[size/sparsePage] != nil {
			clear(s.change(size / sparsePage)[size%sparsePage:])
		}
	}
	s.size = size
}

type crashed struct{}

func (crashed) Error() string { return "the machine died" }

func newCrashFile() *crashFile {
	return &crashFile{now: newSparse(), synced: newSparse(), cutAfter: -1}
}

func (f *crashFile) step() error {
	if f.cutAfter == 0 {
		return crashed{}
	}
	f.cutAfter--
	return nil
}

func (f *crashFile) ReadAt(p []byte, off int64) (int, error) {
	if off >= f.now.size {
		return 0, io.EOF
	}
	want := len(p)
	p = p[:min(int64(len(p)), f.now.size-off)]
	for done := 0; done < len(p); {
		pg, in := (off+int64(done))/sparsePage, (off+int64(done))%sparsePage
		n := min(len(p)-done, int(sparsePage-in))
		if b := f.now.pages[pg]; b != nil {
			copy(p[done:done+n], b[in:])
		} else {
			clear(p[done : done+n])
		}
		done += n
	}
	if len(p) < want {
		return len(p), io.EOF
	}
	return len(p), nil
}

func (f *crashFile) WriteAt(p []byte, off int64) (int, error) {
	if err := f.step(); err != nil {
		return 0, err
	}
	f.now.write(p, off)
	f.pending = append(f.pending, pendingOp{off: off, data: bytes.Clone(p)})
	return len(p), nil
}

func (f *crashFile) Truncate(size int64) error {
	if err := f.step(); err != nil {
		return err
	}
	f.now.truncate(size)
	f.pending = append(f.pending, pendingOp{truncate: true, off: size})
	return nil
}

func (f *crashFile) Sync() error {
	if err := f.step(); err != nil {
		return err
	}
	f.synced, f.pending = f.now.clone(), nil
	return nil
}

// crash leaves what was synced and a random part of what was not.
func (f *crashFile) crash(r *rand.Rand) {
	f.now = f.synced.clone()
	for _, op := range f.pending {
		switch {
		case op.truncate:
			if r.IntN(2) == 0 {
				f.now.truncate(op.off)
			}
		case r.IntN(3) == 0: // all of it is there
			f.now.write(op.data, op.off)
		case r.IntN(2) == 0: // torn
			for at := 0; at < len(op.data); {
				n := min(len(op.data)-at, 512-int(op.off+int64(at))%512)
				if r.IntN(2) == 0 {
					f.now.write(op.data[at:at+n], op.off+int64(at))
				}
				at += n
			}
		}
	}
	f.synced, f.pending, f.cutAfter = f.now.clone(), nil, -1
}

func (f *crashFile) Stat() (fs.FileInfo, error) { return crashInfo{size: f.now.size}, nil }

func (f *crashFile) Close() error { return nil }

type crashInfo struct {
	fs.FileInfo
	size int64
}

func (i crashInfo) Size() int64        { return i.size }
func (i crashInfo) ModTime() time.Time { return time.Time{} }

// memoryFiles is a directory in memory.
type memoryFiles map[string]*crashFile

func (m memoryFiles) Open(name string) (Source, error) {
	if f := m[name]; f != nil {
		return f, nil
	}
	return nil, fs.ErrNotExist
}

// A run of the target's store, with power cuts: whatever a crash leaves of what was
// not synced, Reopen brings back exactly what was synced below keep, and the disk
// can be filled and sealed.
func TestReopenAfterCrash(t *testing.T) {
	parent := newCrashFile()
	below := noise(3*mib, 99)
	pw, err := Create(parent, Spec{VirtualSize: 3 * mib, BlockSize: 2 * mib})
	if err != nil {
		t.Fatal(err)
	}
	put(t, pw, below, 0)
	if err := pw.Seal(); err != nil {
		t.Fatal(err)
	}
	specs := map[string]Spec{
		"dynamic":      {VirtualSize: 3*mib + 512, BlockSize: mib, Incomplete: true},
		"fixed":        {VirtualSize: 3 * mib, BlockSize: mib, Fixed: true, Incomplete: true},
		"differencing": {VirtualSize: 3*mib + 512, BlockSize: mib, Incomplete: true, Parent: &Parent{DataWriteGUID: pw.DataWriteGUID(), RelativePath: `.\parent.vhdx`}},
		"large blocks": {VirtualSize: 3 * mib, BlockSize: 2 * mib, Incomplete: true, Parent: &Parent{DataWriteGUID: pw.DataWriteGUID(), RelativePath: `.\parent.vhdx`}},
	}
	rounds := 25
	if testing.Short() {
		rounds = 10
	}
	for name, s := range specs {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(rounds) {
				s := &crashRun{t: t, spec: s, r: rand.New(rand.NewPCG(seed, 3)), seed: seed, files: memoryFiles{"parent.vhdx": parent}}
				if s.spec.Parent != nil {
					s.inherited = below
				}
				s.run()
			}
		})
	}
}

// A crashRun fills one disk, with crashes.
type crashRun struct {
	t         *testing.T
	spec      Spec
	r         *rand.Rand
	seed      uint64
	files     memoryFiles
	inherited []byte // the parent's content
	f         *crashFile
	model     []byte // what was written, kept or not
}

func (s *crashRun) run() {
	s.f = newCrashFile()
	s.files["child.vhdx"] = s.f
	s.model = make([]byte, s.spec.VirtualSize)
	copy(s.model, s.inherited)
	w, err := Create(s.f, s.spec)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := s.f.Sync(); err != nil {
		s.t.Fatal(err)
	}
	keep := int64(0)
	for crashes := 0; ; {
		if crashes < 12 {
			s.f.cutAfter = 1 + s.r.IntN(25)
		}
		if w != nil {
			keep = s.fill(w, keep)
			if keep == s.spec.VirtualSize && s.seal(w) {
				break
			}
		}
		crashes++
		s.f.crash(s.r)
		s.f.cutAfter = s.r.IntN(40) // Reopen may be cut off too
		if crashes >= 12 {
			s.f.cutAfter = -1
		}
		if w, err = Reopen(s.f, keep); err != nil {
			if _, died := err.(crashed); !died {
				s.t.Fatalf("seed %d: reopen at %d: %v", s.seed, keep, err)
			}
			w = nil
			continue
		}
		if len(s.f.pending) != 0 {
			s.t.Fatalf("seed %d: Reopen left %d writes that were not synced", s.seed, len(s.f.pending))
		}
		s.f.cutAfter = -1
		s.verify(keep)
	}
	s.verify(s.spec.VirtualSize)
	d, err := OpenFiles(s.files, "child.vhdx", Options{})
	if err != nil {
		s.t.Fatalf("seed %d: %v", s.seed, err)
	}
	checkMap(s.t, d, s.model)
}

// fill writes from keep on, ascending, and returns what was flushed and synced when
// the machine died.
func (s *crashRun) fill(w *Writer, keep int64) int64 {
	for at := keep; at < s.spec.VirtualSize; {
		n := min(int64(1+s.r.IntN(400))*512, s.spec.VirtualSize-at)
		var err error
		if p := s.model[at : at+n]; s.r.IntN(3) == 0 {
			clear(p)
			err = w.WriteZeros(at, n)
		} else {
			copy(p, noise(int(n), s.r.Uint64()))
			_, err = w.WriteAt(p, at)
		}
		at += n
		if err == nil && (s.r.IntN(3) == 0 || at == s.spec.VirtualSize) {
			if err = w.Flush(); err == nil {
				err = s.f.Sync()
			}
			if err == nil {
				keep = at
			}
		}
		if err != nil {
			return keep
		}
	}
	return keep
}

func (s *crashRun) seal(w *Writer) bool { return w.Seal() == nil && s.f.Sync() == nil }

// verify compares the disk with the model below keep, and with what was there
// before anything was written behind it.
func (s *crashRun) verify(keep int64) {
	s.t.Helper()
	want := make([]byte, len(s.model))
	copy(want, s.inherited)
	copy(want, s.model[:keep])
	d, err := OpenFiles(s.files, "child.vhdx", Options{AllowIncomplete: true})
	if err != nil {
		s.t.Fatalf("seed %d: after a crash at %d: %v", s.seed, keep, err)
	}
	if got := readAll(s.t, d); !bytes.Equal(got, want) {
		s.t.Fatalf("seed %d: after a crash with %d kept: %s", s.seed, keep, firstDiff(got, want))
	}
}

// Blocks that were written out of order, over several chunks: what lies at and
// behind keep is gone, what lies below stays, and the space is used again.
func TestReopenOutOfOrder(t *testing.T) {
	const gib = 1 << 30
	dir := t.TempDir()
	parent := create(t, filepath.Join(dir, "parent.vhdx"), Spec{VirtualSize: 20 * gib, BlockSize: 32 * mib}, nil)
	for _, s := range []Spec{
		{VirtualSize: 20 * gib, BlockSize: mib, Incomplete: true},
		{VirtualSize: 20 * gib, BlockSize: mib, Incomplete: true, Parent: &Parent{DataWriteGUID: parent.DataWriteGUID(), RelativePath: `.\parent.vhdx`}},
	} {
		path := filepath.Join(dir, "child.vhdx")
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		w, err := Create(f, s)
		if err != nil {
			t.Fatal(err)
		}
		const keep = 9*gib + 256*kib
		var want []diskio.Extent
		for i := range int64(20) {
			off := (19 - i) * gib
			put(t, w, noise(512*kib, uint64(i)), off)
			if x := (diskio.Extent{Start: off, Length: 512 * kib}); off < keep {
				x.Length = min(x.Length, keep-off)
				want = slices.Insert(want, 0, x)
			}
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		before, _ := f.Stat()
		if w, err = Reopen(f, keep); err != nil {
			t.Fatal(err)
		}
		after, _ := f.Stat()
		if after.Size() != before.Size() {
			// The block of offset 0 was the last to get its place.
			t.Errorf("the file went from %d to %d bytes", before.Size(), after.Size())
		}
		put(t, w, noise(512*kib, 77), 15*gib)
		want = append(want, diskio.Extent{Start: 15 * gib, Length: 512 * kib})
		if err := w.Seal(); err != nil {
			t.Fatal(err)
		}
		d := open(t, path, Options{})
		for _, x := range want {
			p, q := make([]byte, mib), make([]byte, mib)
			copy(q, noise(512*kib, uint64(19-x.Start/gib))[:x.Length])
			if x.Start == 15*gib {
				copy(q, noise(512*kib, 77))
			}
			if _, err := d.ReadAt(p, x.Start); err != nil || !bytes.Equal(p, q) {
				t.Errorf("at %d: %v, %s", x.Start, err, firstDiff(p, q))
			}
		}
		var data int64
		for off := int64(0); ; {
			start, length, err := d.NextData(off)
			if err == io.EOF {
				break
			}
			data, off = data+length, start+length
		}
		if least := int64(len(want)-1)*512*kib + 256*kib; data < least || data > int64(len(want))*mib {
			t.Errorf("%d bytes are stored, want about %d", data, least)
		}
	}
}
