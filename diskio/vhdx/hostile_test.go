package vhdx

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"wanrep/diskio"
)

// A patient is a file that a test breaks.
type patient struct {
	t *testing.T
	f *os.File
	l *layer
}

func (p *patient) write(b []byte, off int64) {
	p.t.Helper()
	if _, err := p.f.WriteAt(b, off); err != nil {
		p.t.Fatal(err)
	}
}

func (p *patient) read(off, n int64) []byte {
	p.t.Helper()
	b := make([]byte, n)
	if _, err := p.f.ReadAt(b, off); err != nil {
		p.t.Fatal(err)
	}
	return b
}

// u64, u32 and u16 overwrite a number.
func (p *patient) u64(off int64, v uint64) { p.write(le.AppendUint64(nil, v), off) }
func (p *patient) u32(off int64, v uint32) { p.write(le.AppendUint32(nil, v), off) }
func (p *patient) u16(off int64, v uint16) { p.write(le.AppendUint16(nil, v), off) }

// headers changes both headers and their checksums.
func (p *patient) headers(change func(h *header)) {
	for _, off := range headerOffsets {
		h, err := parseHeader(p.read(off, headerBytes), off)
		if err != nil {
			p.t.Fatal(err)
		}
		change(&h)
		p.write(h.encode(), off)
	}
}

// regions changes both region tables and their checksums.
func (p *patient) regions(change func(b []byte)) {
	for _, off := range []int64{regionTable1, regionTable2} {
		b := p.read(off, regionTableBytes)
		change(b)
		le.PutUint32(b[4:], checksum(b))
		p.write(b, off)
	}
}

// item is where the entry of a metadata item is, and where the item is.
func (p *patient) item(id diskio.ID) (entry, value int64) {
	it, ok := p.l.meta.find(id)
	if !ok {
		p.t.Fatal("no such item")
	}
	return it.entry, p.l.meta.region.offset + it.offset
}

func (p *patient) bat(n int64, e uint64) { p.u64(p.l.payloadAt(n), e) }

const metaAt, batAt, blockAt = createdMetaOffset, createdBATOffset, createdBATOffset + mib

// broken lists what can be wrong with a file: dynamic unless differing is set, 8 MiB
// in blocks of 1 MiB, the first three of which are stored, and what must be said.
var broken = []struct {
	name      string
	differing bool
	do        func(p *patient)
	section   string
	reason    string
	onlyCheck bool // Open gets around it
}{
	{name: "signature", do: func(p *patient) { p.write([]byte("x"), 0) }, section: "file type identifier", reason: "signature"},
	{name: "both headers", do: func(p *patient) { p.u16(64*kib+100, 1); p.u16(128*kib+100, 1) }, section: "header", reason: "checksum"},
	{name: "one header", do: func(p *patient) { p.u16(64*kib+100, 1) }, section: "header", reason: "checksum", onlyCheck: true},
	{name: "equal sequence numbers", do: func(p *patient) {
		n := uint64(0)
		p.headers(func(h *header) { h.sequence = 5; h.logOffset += n; n += mib })
	}, section: "header", reason: "both headers have the sequence number 5"},
	{name: "version", do: func(p *patient) { p.headers(func(h *header) { h.version = 2 }) }, section: "header", reason: "version 2"},
	{name: "log version", do: func(p *patient) { p.headers(func(h *header) { h.logVersion = 1; h.logGUID = newID() }) }, section: "header", reason: "version 1 of the log"},
	{name: "log offset", do: func(p *patient) { p.headers(func(h *header) { h.logOffset += 4096 }) }, section: "header", reason: "not aligned"},
	{name: "log over metadata", do: func(p *patient) { p.headers(func(h *header) { h.logOffset = metaAt }) }, section: "region table", reason: "overlaps"},
	{name: "log over headers", do: func(p *patient) { p.headers(func(h *header) { h.logOffset = 0 }) }, section: "header", reason: "overlaps the header area"},
	{name: "log behind the end", do: func(p *patient) { p.headers(func(h *header) { h.logOffset = 1 << 62 }) }, section: "header", reason: "behind the file's end"},
	{name: "huge log", do: func(p *patient) { p.headers(func(h *header) { h.logLength = 4095 * mib }) }, section: "header", reason: "at most"},
	{name: "no log", do: func(p *patient) { p.headers(func(h *header) { h.logLength = 0; h.logGUID = newID() }) }, section: "header", reason: "no log"},
	{name: "log without entries", do: func(p *patient) { p.headers(func(h *header) { h.logGUID = newID() }) }, section: "log", reason: "no sequence"},
	{name: "both region tables", do: func(p *patient) { p.u16(regionTable1+1000, 1); p.u16(regionTable2+1000, 1) }, section: "region table", reason: "checksum"},
	{name: "one region table", do: func(p *patient) { p.u16(regionTable1+1000, 1) }, section: "region table", reason: "checksum", onlyCheck: true},
	{name: "other region table", do: func(p *patient) { p.u16(regionTable2+1000, 1) }, section: "region table", reason: "checksum", onlyCheck: true},
	{name: "region count", do: func(p *patient) { p.regions(func(b []byte) { le.PutUint32(b[8:], 2048) }) }, section: "region table", reason: "2048 entries"},
	{name: "no metadata region", do: func(p *patient) { p.regions(func(b []byte) { le.PutUint32(b[8:], 1) }) }, section: "region table", reason: "the metadata region is missing"},
	{name: "unknown required region", do: func(p *patient) {
		p.regions(func(b []byte) {
			le.PutUint32(b[8:], 3)
			id := newID()
			copy(b[16+64:], id[:])
			le.PutUint64(b[16+64+16:], 5*mib)
			le.PutUint32(b[16+64+24:], mib)
			le.PutUint32(b[16+64+28:], 1)
		})
	}, section: "region table", reason: "required but unknown"},
	{name: "region twice", do: func(p *patient) { p.regions(func(b []byte) { copy(b[16+32:16+48], b[16:32]) }) }, section: "region table", reason: "listed twice"},
	{name: "region offset", do: func(p *patient) { p.regions(func(b []byte) { le.PutUint64(b[16+16:], 3*mib+512) }) }, section: "region table", reason: "not a multiple of 1 MiB"},
	{name: "region of 2^60", do: func(p *patient) { p.regions(func(b []byte) { le.PutUint64(b[16+16:], 1<<60) }) }, section: "region table", reason: "not a multiple of 1 MiB between"},
	{name: "region length", do: func(p *patient) { p.regions(func(b []byte) { le.PutUint32(b[16+24:], 4096) }) }, section: "region table", reason: "not a multiple of 1 MiB"},
	{name: "region behind the end", do: func(p *patient) { p.regions(func(b []byte) { le.PutUint64(b[16+16:], 64*mib) }) }, section: "region table", reason: "behind the file's end"},
	{name: "regions overlap", do: func(p *patient) { p.regions(func(b []byte) { le.PutUint64(b[16+16:], metaAt) }) }, section: "region table", reason: "overlaps"},
	{name: "metadata signature", do: func(p *patient) { p.u16(metaAt, 0) }, section: "metadata table", reason: "signature"},
	{name: "metadata count", do: func(p *patient) { p.u16(metaAt+10, 2048) }, section: "metadata table", reason: "2048 entries"},
	{name: "metadata reserved", do: func(p *patient) { p.u16(metaAt+12, 1) }, section: "metadata table", reason: "reserved fields"},
	{name: "item reserved", do: func(p *patient) { e, _ := p.item(itemDiskID); p.u32(e+24, 14) }, section: "metadata table", reason: "reserved fields of virtual disk ID"},
	{name: "unknown required item", do: func(p *patient) { e, _ := p.item(itemDiskID); id := newID(); p.write(id[:], e) }, section: "metadata table", reason: "required but unknown"},
	{name: "required user item", do: func(p *patient) { e, _ := p.item(itemDiskID); p.u32(e+24, flagUser|flagRequired) }, section: "metadata table", reason: "required but unknown"},
	{name: "missing item", do: func(p *patient) { p.u16(metaAt+10, 4) }, section: "metadata table", reason: "the virtual disk ID is missing"},
	{name: "item twice", do: func(p *patient) {
		e, _ := p.item(itemDiskID)
		p.write(itemLogicalSector[:], e)
	}, section: "metadata table", reason: "listed twice"},
	{name: "item in the table", do: func(p *patient) { e, _ := p.item(itemDiskID); p.u32(e+16, 512) }, section: "metadata table", reason: "not within"},
	{name: "item behind the region", do: func(p *patient) { e, _ := p.item(itemDiskID); p.u32(e+16, mib-4) }, section: "metadata table", reason: "not within"},
	{name: "item of 4 GiB", do: func(p *patient) { e, _ := p.item(itemDiskID); p.u32(e+20, 1<<32-1) }, section: "metadata table", reason: "at most"},
	{name: "items overlap", do: func(p *patient) { e, _ := p.item(itemDiskID); p.u32(e+16, 64*kib+4) }, section: "metadata table", reason: "overlaps"},
	{name: "empty item with an offset", do: func(p *patient) { e, _ := p.item(itemDiskID); p.u32(e+20, 0) }, section: "metadata table", reason: "is empty but has the offset"},
	{name: "item length", do: func(p *patient) { e, _ := p.item(itemVirtualSize); p.u32(e+20, 4) }, section: "virtual disk size", reason: "4 bytes, not 8"},
	{name: "block size", do: func(p *patient) { _, v := p.item(itemFileParameters); p.u32(v, 3*mib) }, section: "file parameters", reason: "block size of 3145728"},
	{name: "tiny blocks", do: func(p *patient) { _, v := p.item(itemFileParameters); p.u32(v, 512*kib) }, section: "file parameters", reason: "block size"},
	{name: "huge blocks", do: func(p *patient) { _, v := p.item(itemFileParameters); p.u32(v, 512*mib) }, section: "file parameters", reason: "block size"},
	{name: "parameter bits", do: func(p *patient) { _, v := p.item(itemFileParameters); p.u32(v+4, 8) }, section: "file parameters", reason: "reserved bits"},
	{name: "parent without locator", do: func(p *patient) { _, v := p.item(itemFileParameters); p.u32(v+4, paramHasParent) }, section: "metadata table", reason: "no parent locator"},
	{name: "sector size", do: func(p *patient) { _, v := p.item(itemLogicalSector); p.u32(v, 520) }, section: "logical sector size", reason: "520 bytes"},
	{name: "physical sector size", do: func(p *patient) { _, v := p.item(itemPhysicalSector); p.u32(v, 0) }, section: "physical sector size", reason: "0 bytes"},
	{name: "disk of 2^60", do: func(p *patient) { _, v := p.item(itemVirtualSize); p.u64(v, 1<<60) }, section: "virtual disk size", reason: "not between"},
	{name: "disk of nothing", do: func(p *patient) { _, v := p.item(itemVirtualSize); p.u64(v, 0) }, section: "virtual disk size", reason: "0 bytes"},
	{name: "disk of half a sector", do: func(p *patient) { _, v := p.item(itemVirtualSize); p.u64(v, 8*mib-100) }, section: "virtual disk size", reason: "not a multiple"},
	{name: "disk larger than the BAT", do: func(p *patient) { _, v := p.item(itemVirtualSize); p.u64(v, 1<<40) }, section: "BAT", reason: "entries need"},
	{name: "reserved state", do: func(p *patient) { p.bat(4, uint64(makeEntry(5, blockAt))) }, section: "BAT", reason: "reserved state 5"},
	{name: "reserved entry bits", do: func(p *patient) { p.bat(4, 1<<10|6) }, section: "BAT", reason: "reserved bits"},
	{name: "block in the header area", do: func(p *patient) { p.bat(0, 6) }, section: "BAT", reason: "overlaps the header area"},
	{name: "block in the log", do: func(p *patient) { p.bat(0, uint64(makeEntry(6, mib))) }, section: "BAT", reason: "overlaps the log"},
	{name: "block in the BAT", do: func(p *patient) { p.bat(0, uint64(makeEntry(6, batAt))) }, section: "BAT", reason: "overlaps the BAT region"},
	{name: "two blocks in one place", do: func(p *patient) { p.bat(1, uint64(makeEntry(6, blockAt))) }, section: "BAT", reason: "overlaps another block"},
	{name: "unmapped block in another's place", do: func(p *patient) { p.bat(4, uint64(makeEntry(3, blockAt))) }, section: "BAT", reason: "overlaps another block"},
	{name: "block behind the end", do: func(p *patient) { p.bat(0, uint64(makeEntry(6, 100*mib))) }, section: "BAT", reason: "behind the file's end"},
	{name: "block at the end of the world", do: func(p *patient) { p.bat(0, 1<<63|6) }, section: "BAT", reason: "BAT"},
	{name: "partial block without a parent", do: func(p *patient) { p.bat(0, uint64(makeEntry(7, blockAt))) }, section: "BAT", reason: "no parent"},
	{name: "truncated", do: func(p *patient) {
		if err := p.f.Truncate(blockAt + 2*mib + 4096); err != nil {
			p.t.Fatal(err)
		}
	}, section: "BAT", reason: "behind the file's end"},
	{name: "truncated in the BAT", do: func(p *patient) {
		if err := p.f.Truncate(batAt + 4096); err != nil {
			p.t.Fatal(err)
		}
	}, section: "region table", reason: "behind the file's end"},
	{name: "odd length", do: func(p *patient) {
		if err := p.f.Truncate(blockAt + 3*mib + 4096); err != nil {
			p.t.Fatal(err)
		}
	}, section: "file", reason: "multiple of 1 MiB", onlyCheck: true},
	{name: "item flags", do: func(p *patient) { e, _ := p.item(itemDiskID); p.u32(e+24, flagVirtualDisk) }, section: "virtual disk ID", reason: "flags", onlyCheck: true},

	{name: "partial block without a bitmap", differing: true, do: func(p *patient) { p.u64(p.l.bitmapAt(0), 0) }, section: "BAT", reason: "no sector bitmap"},
	{name: "bitmap state", differing: true, do: func(p *patient) { p.u64(p.l.bitmapAt(0), uint64(makeEntry(7, blockAt))) }, section: "BAT", reason: "sector bitmap block in the reserved state 7"},
	{name: "bitmap over a block", differing: true, do: func(p *patient) {
		e := entry(le.Uint64(p.read(p.l.payloadAt(0), 8)))
		p.u64(p.l.bitmapAt(0), uint64(makeEntry(6, e.offset())))
	}, section: "BAT", reason: "overlaps another block"},
	{name: "locator count", differing: true, do: func(p *patient) { _, v := p.item(itemParentLocator); p.u16(v+18, 60000) }, section: "parent locator", reason: "do not fit"},
	{name: "locator key", differing: true, do: func(p *patient) { _, v := p.item(itemParentLocator); p.u32(v+20, 1<<31) }, section: "parent locator", reason: "not text within"},
	{name: "locator value length", differing: true, do: func(p *patient) { _, v := p.item(itemParentLocator); p.u16(v+30, 7) }, section: "parent locator", reason: "not text within"},
	{name: "locator key twice", differing: true, do: func(p *patient) {
		_, v := p.item(itemParentLocator)
		p.write(p.read(v+20, 12), v+32)
	}, section: "parent locator", reason: "there twice"},
	{name: "locator type", differing: true, do: func(p *patient) { _, v := p.item(itemParentLocator); p.u64(v, 1) }, section: "parent locator", reason: "unknown type"},
}

func TestBroken(t *testing.T) {
	for _, c := range broken {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			base := create(t, filepath.Join(dir, "base.vhdx"), Spec{VirtualSize: 8 * mib}, nil)
			path := filepath.Join(dir, "a.vhdx")
			s := Spec{VirtualSize: 8 * mib, BlockSize: mib}
			if c.differing {
				s.Parent = &Parent{DataWriteGUID: base.DataWriteGUID(), RelativePath: `.\base.vhdx`}
			}
			create(t, path, s, func(w *Writer) {
				for i := range int64(3) {
					put(t, w, noise(64*kib, 1), i*mib)
				}
			})
			p := &patient{t: t}
			p.l = open(t, path, Options{}).layers[0]
			if ps, err := Check(path, Options{}); err != nil || len(ps) != 0 {
				t.Fatalf("before: %v, %v", ps, err)
			}
			var err error
			if p.f, err = os.OpenFile(path, os.O_RDWR, 0); err != nil {
				t.Fatal(err)
			}
			defer p.f.Close()
			c.do(p)

			d, err := Open(path, Options{})
			if err == nil {
				d.Close()
			}
			var fe *diskio.FormatError
			var pe *diskio.ParentError
			switch {
			case c.onlyCheck && err != nil:
				t.Errorf("not opened: %v", err)
			case !c.onlyCheck && errors.As(err, &pe):
				if c.section != "parent locator" || !strings.Contains(pe.Reason, c.reason) {
					t.Errorf("got %v, want %s: %s", err, c.section, c.reason)
				}
			case !c.onlyCheck && (!errors.As(err, &fe) || fe.Path != path || fe.Section != c.section || !strings.Contains(err.Error(), c.reason)):
				t.Errorf("got %v, want %s: %s", err, c.section, c.reason)
			}
			ps, err := Check(path, Options{})
			if err != nil {
				t.Error(err)
			}
			found := false
			for _, p := range ps {
				found = found || p.Section == c.section && strings.Contains(p.String(), c.reason)
			}
			if !found {
				t.Errorf("Check finds %v, want %s: %s", ps, c.section, c.reason)
			}
		})
	}
}

// Check goes on behind the first thing that is wrong.
func TestCheckFindsAll(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.vhdx")
	create(t, path, Spec{VirtualSize: 8 * mib, BlockSize: mib}, func(w *Writer) { put(t, w, noise(mib, 1), 0) })
	p := &patient{t: t, l: open(t, path, Options{}).layers[0]}
	var err error
	if p.f, err = os.OpenFile(path, os.O_RDWR, 0); err != nil {
		t.Fatal(err)
	}
	defer p.f.Close()
	p.u16(64*kib+100, 1)
	p.u16(regionTable2+1000, 1)
	p.u16(metaAt+12, 1)
	p.bat(1, uint64(makeEntry(5, blockAt)))
	p.bat(2, uint64(makeEntry(6, blockAt)))
	p.bat(3, uint64(makeEntry(6, 900*mib)))
	ps, err := Check(path, Options{})
	if err != nil || len(ps) != 6 {
		t.Errorf("got %d problems, %v, want 6:\n%v", len(ps), err, ps)
	}
}

// Real images are sound.
func TestCheckCorpus(t *testing.T) {
	dir, images := corpus(t)
	for _, im := range images {
		path := unpack(t, dir, im)
		ps, err := Check(path, Options{})
		if err != nil {
			t.Errorf("%s: %v", im.name, err)
		}
		want := 0
		if im.expect == "error" {
			want = 1 // its parent is missing
		}
		if len(ps) != want {
			t.Errorf("%s: %v", im.name, ps)
		}
	}
}
