package resume

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"io"
	"os"
	"reflect"
	"testing"
	"time"

	"wanrep/diskio"
	"wanrep/diskio/digest"
	"wanrep/diskio/durable"
	"wanrep/diskio/durable/crashfs"
)

// noFormat is a Format whose disks hold nothing.
type noFormat struct{}

func (noFormat) Extension() string                                      { return ".none" }
func (noFormat) Create(durable.File, DiskSpec) (DiskFile, error)        { return noDisk{}, nil }
func (noFormat) Reopen(durable.File, DiskSpec, int64) (DiskFile, error) { return noDisk{}, nil }
func (noFormat) CreateOn(durable.File, DiskSpec, durable.FS, string, string) (DiskFile, error) {
	return noDisk{}, nil
}
func (noFormat) CreateLayer(durable.File, DiskSpec, durable.FS, string, string) (DiskFile, error) {
	return noDisk{}, nil
}
func (noFormat) Merge(context.Context, durable.File, durable.File) error        { return nil }
func (noFormat) CanMerge(durable.File, durable.File) error                      { return nil }
func (noFormat) MergeContent(context.Context, durable.File, durable.File) error { return nil }
func (noFormat) MergeIdentity(durable.File, durable.File) error                 { return nil }
func (noFormat) Patch(durable.File, string) (io.WriterAt, error)                { return nil, nil }

func (noFormat) Open(durable.FS, string) (Content, error) {
	return nil, errors.New("nothing is stored")
}

type noDisk struct{}

func (noDisk) WriteAt(p []byte, _ int64) (int, error) { return len(p), nil }
func (noDisk) Flush() error                           { return nil }
func (noDisk) Seal() error                            { return nil }

func exampleState() *partState {
	return &partState{
		source: "lyon", vm: "SQL 01", point: "0000000000000007", generation: 3,
		begun: time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC),
		disks: []diskState{
			{spec: DiskSpec{Name: "os", ID: diskio.ID{1, 2}, Size: 10*65536 + 512, LogicalSectorSize: 512, Identity: "x"}, durable: 65536, digests: 1, crc: 9},
			{spec: DiskSpec{Name: "däta", Size: 65536}, durable: 65536, complete: true, root: digest.Sum{4}},
			{
				spec: DiskSpec{Name: "logs", Size: 5 * 65536}, durable: 2 * 65536, digests: 2, crc: 8,
				under: []layerState{{4*65536 - 512, 4*65536 - 512, 3, 5}, {5 * 65536, 65536, 1, 6}},
			},
			{
				spec: DiskSpec{Name: "tmp", Size: 65536}, durable: 65536,
				under: []layerState{{512, 512, 1, 5}}, merged: &layerState{65536, 65536, 1, 7},
			},
		},
	}
}

// TestLayersThatCannotBe: a journal does not get past its checks with layers that would
// make the store read or write where it must not.
func TestLayersThatCannotBe(t *testing.T) {
	const size = 4 * 65536
	layer := layerState{size: size, durable: 2 * 65536, digests: 2}
	change := func(f func(*layerState)) []layerState {
		l := layer
		f(&l)
		return []layerState{l}
	}
	tests := []struct {
		name  string
		state diskState
	}{
		{"too many", diskState{under: []layerState{layer, layer, layer, layer, layer}}},
		{"a larger one", diskState{under: change(func(l *layerState) { l.size++ })}},
		{"one with nothing", diskState{under: change(func(l *layerState) { l.durable, l.digests = 0, 0 })}},
		{"one that ends within a block", diskState{under: change(func(l *layerState) { l.durable++ })}},
		{"one with too many digests", diskState{under: change(func(l *layerState) { l.digests = 3 })}},
		{"one that reaches further than the lowest", diskState{under: []layerState{layer, {size, 3 * 65536, 0, 0}}}},
		{"one that is larger than the next", diskState{under: []layerState{layer, {size - 512, 65536, 0, 0}}}},
		{"durable behind their reach", diskState{durable: 3 * 65536, under: []layerState{layer}}},
		{"a complete disk", diskState{durable: size, complete: true, under: []layerState{{size, size, 0, 0}}}},
		{"merged from nothing", diskState{merged: &layer}},
		{"merged to too many digests", diskState{under: []layerState{layer}, merged: &layerState{size, 65536, 2, 0}}},
	}
	good := diskState{spec: DiskSpec{Name: "os", Size: size}, durable: 65536, under: []layerState{layer}, merged: &layer}
	if err := good.check(); err != nil {
		t.Fatal(err)
	}
	for _, test := range tests {
		test.state.spec = good.spec
		if test.state.check() == nil {
			t.Errorf("%s: accepted", test.name)
		}
	}
}

// exampleJournal is a journal with two records, its mark, and what it says.
func exampleJournal(t testing.TB) ([]byte, *partState) {
	p, m := exampleState(), mark{5}
	b, err := encodeJournal(p, m)
	if err != nil {
		t.Fatal(err)
	}
	d := p.disks[0]
	d.durable, d.digests, d.crc = 4*65536, 3, 77
	b = append(b, encodeRecord(m, 1, p.generation, 0, d)...)
	d.durable, d.digests, d.complete, d.root = d.spec.Size, 5, true, digest.Sum{9}
	b = append(b, encodeRecord(m, 2, p.generation, 0, d)...)
	p.disks[0] = d
	return b, p
}

func TestJournalGivesTheLongestValidPrefix(t *testing.T) {
	b, want := exampleJournal(t)
	got, err := decodeJournal("journal", b)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("got %+v, want %+v", got, want)
	}
	start := len(b) - 2*sectorBytes
	first, second := b[start:start+sectorBytes], b[start+sectorBytes:]
	other := bytes.Clone(first)
	other[8]++ // the mark of another journal
	seal(other)
	tests := []struct {
		name    string
		records [][]byte
		durable int64
	}{
		{"none", nil, 65536},
		{"the first", [][]byte{first}, 4 * 65536},
		{"the first and a torn one", [][]byte{first, second[:300], make([]byte, 212)}, 4 * 65536},
		{"the first and zeros", [][]byte{first, make([]byte, 1024)}, 4 * 65536},
		{"the first twice", [][]byte{first, first}, 4 * 65536},
		{"the second without the first", [][]byte{second}, 65536},
		{"the second first", [][]byte{second, first}, 65536},
		{"one of another journal", [][]byte{other}, 65536},
		{"one half", [][]byte{first[:400]}, 65536},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := decodeJournal("journal", append(bytes.Clone(b[:start]), bytes.Join(test.records, nil)...))
			if err != nil {
				t.Fatal(err)
			}
			if got.disks[0].durable != test.durable {
				t.Errorf("durable up to %d, want %d", got.disks[0].durable, test.durable)
			}
		})
	}
}

func TestJournalOfALaterVersion(t *testing.T) {
	b, _ := exampleJournal(t)
	b[8] = journalVersion + 1
	seal(b[:sectorBytes])
	if _, err := decodeJournal("journal", b); !errors.Is(err, errNewerJournal) || isDamaged(err) {
		t.Fatalf("got %v, want %v", err, errNewerJournal)
	}
}

func FuzzJournal(f *testing.F) {
	b, _ := exampleJournal(f)
	f.Add(b, false)
	f.Add(b[:len(b)-100], true)
	f.Add(b[:512], true)
	f.Add([]byte{}, true)
	state := bytes.Index(b, []byte(`"durable":65536`))
	wrong := bytes.Clone(b)
	copy(wrong[state:], `"durable":-5536`)
	f.Add(wrong, true)
	f.Fuzz(func(t *testing.T, b []byte, fix bool) {
		if fix { // get past the checksums
			for s := b; len(s) >= sectorBytes; s = s[sectorBytes:] {
				seal(s[:sectorBytes])
			}
		}
		p, err := decodeJournal("journal", b)
		if err != nil {
			return
		}
		if err := p.check(); err != nil {
			t.Fatalf("took a state that is not valid: %v", err)
		}
		again, err := encodeJournal(p, mark{})
		if err != nil {
			t.Fatal(err)
		}
		if q, err := decodeJournal("journal", again); err != nil || !reflect.DeepEqual(p.disks, q.disks) {
			t.Fatalf("written again it reads %+v: %v", q, err)
		}
	})
}

func FuzzDigestsFile(f *testing.F) {
	file := func(baseBlocks int64, zeros bool) []byte {
		b := encodeDigestsHead(digestsShape{size: 5 * 65536, id: diskio.ID{3}, baseBlocks: baseBlocks})
		for _, index := range []byte{0, 2, 3} {
			record := make([]byte, digestsRecord)
			record[0], record[8] = index, 1
			if zero := digest.ZeroBlock(); zeros {
				copy(record[8:], zero[:])
			}
			b = append(b, record...)
		}
		return b
	}
	alone := file(0, false)
	f.Add(alone, int64(3), int64(0), int64(0))
	f.Add(alone, int64(4), int64(0), int64(0))
	f.Add(alone[:100], int64(1), int64(0), int64(0))
	f.Add(alone, int64(-1), int64(0), int64(0))
	f.Add(append(bytes.Clone(alone), alone[64:104]...), int64(4), int64(0), int64(0))
	f.Add(alone, int64(3), int64(0), int64(1))
	f.Add(alone, int64(3), int64(4), int64(0))
	f.Add(file(4, false), int64(3), int64(4), int64(3))
	f.Add(file(4, true), int64(3), int64(4), int64(2))
	f.Add(file(3, true), int64(3), int64(3), int64(0))
	f.Add(file(0, true), int64(3), int64(0), int64(4))
	f.Fuzz(func(t *testing.T, b []byte, count, baseBlocks, from int64) {
		shape := digestsShape{size: 5 * 65536, id: diskio.ID{3}, baseBlocks: baseBlocks}
		r, err := readDigests(bytes.NewReader(b), "os.digests", shape, count)
		if err != nil {
			if !isDamaged(err) {
				t.Fatalf("not damage: %v", err)
			}
			return
		}
		if err := r.seek(bytes.NewReader(b), from); err != nil {
			t.Fatal(err)
		}
		last := max(0, from) - 1
		count = r.count
		for n := int64(0); ; n++ {
			index, sum, err := r.read()
			if err == io.EOF && n != count {
				t.Fatalf("%d records of %d", n, count)
			}
			if err != nil {
				break
			}
			if index <= last || index >= 5 || sum == digest.ZeroBlock() && index >= baseBlocks {
				t.Fatalf("record for block %d after %d", index, last)
			}
			last = index
		}
	})
}

func FuzzManifest(f *testing.F) {
	base := "0000000000000006"
	m := Manifest{
		Previous:  &Previous{Point: base, Claims: digest.Sum{2}},
		Signature: &Signature{Key: make([]byte, ed25519.PublicKeySize), Value: make([]byte, ed25519.SignatureSize)},
		Source:    "lyon", VM: "sql01", Point: "0000000000000007", Base: &base,
		Begun: time.Unix(1, 0).UTC(), Committed: time.Unix(2, 0).UTC(), Software: "wanrep",
		Disks: []ManifestDisk{{Name: "os", File: "os.vhdx", DigestsFile: "os.digests", VirtualSize: 65536, Digests: 1, Root: digest.Sum{1}}},
	}
	b, err := m.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	first, err := os.ReadFile("testdata/manifest1.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(first)
	for _, change := range [][2]string{
		{"os.vhdx", "../os.vhdx"}, {"os.vhdx", "os.digests"}, {"os.vhdx", "manifest.json"}, {"65536", "-1"},
		{"65536", "1e99"}, {"0000000000000007", "7"}, {`"digests": 1`, `"digests": 2`}, {"wanrep.manifest/2", "wanrep.manifest/3"},
		{"wanrep.manifest/2", "wanrep.manifest/1"}, {base, "0000000000000008"}, {"AAAA", "AAA="},
	} {
		f.Add(bytes.Replace(b, []byte(change[0]), []byte(change[1]), 1))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := decodeManifest("manifest.json", b)
		if err != nil {
			return
		}
		for _, name := range m.fileNames() {
			if !isFileName(name) || bytes.ContainsAny([]byte(name), "/\\") {
				t.Fatalf("took a file named %q", name)
			}
		}
		if err := m.check(); err != nil {
			t.Fatal(err)
		}
		again, err := m.encode()
		if err != nil {
			t.Fatal(err)
		}
		if n, err := decodeManifest("manifest.json", again); err != nil || !reflect.DeepEqual(m.Disks, n.Disks) {
			t.Fatalf("written again it reads %+v: %v", n, err)
		}
	})
}

// TestJournalIsCompacted: a journal that has grown starts anew with the same state.
func TestJournalIsCompacted(t *testing.T) {
	fsys := newFS(t)
	state := exampleState()
	state.disks[0].spec.Size = 1 << 40
	j, err := startJournal(fsys, "p", state)
	if err != nil {
		t.Fatal(err)
	}
	const records = compactBytes/sectorBytes + 10
	d := state.disks[0]
	for i := range int64(records) {
		d.durable = (i + 2) * 65536
		if err := j.record(0, d); err != nil {
			t.Fatal(err)
		}
	}
	info, err := fsys.Stat("p/journal")
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() > 32<<10 {
		t.Errorf("the journal has %d bytes", info.Size())
	}
	got, err := readJournal(fsys, "p/journal")
	if err != nil || got.disks[0].durable != (records+1)*65536 || got.generation != state.generation {
		t.Fatalf("reads %+v: %v", got, err)
	}
	failed := errors.New("ended")
	if err := j.close(failed); err != nil {
		t.Fatal(err)
	}
	if err := j.record(0, d); err != failed {
		t.Errorf("a closed journal takes a record: %v", err)
	}
}

func newFS(t *testing.T) durable.FS {
	t.Helper()
	fsys := crashfs.New()
	if err := fsys.Mkdir("p", 0o755); err != nil {
		t.Fatal(err)
	}
	return fsys
}
