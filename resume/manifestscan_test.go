package resume

import (
	"bytes"
	"math"
	"reflect"
	"slices"
	"testing"
	"time"

	"wanrep/diskio/digest"
)

// scannable is a manifest with everything that one may have, as encode writes it.
func scannable() Manifest {
	base := pointName(2)
	m := Manifest{
		Schema: manifestSchema, Source: "branch-lyon", VM: "sql01", Point: pointName(3), Software: "wanrep 1.2.3",
		Begun: time.Date(2026, 11, 24, 19, 0, 0, 120, time.UTC), Committed: time.Date(2026, 11, 24, 19, 30, 0, 0, time.UTC),
		Base: &base, Previous: &Previous{Point: pointName(2), Claims: digest.Sum{1, 0xab}},
		Signature: &Signature{Key: make([]byte, 32), Value: bytes.Repeat([]byte{0xfb, 0xff}, 32)},
	}
	for _, name := range []string{"os", "data"} {
		m.Disks = append(m.Disks, ManifestDisk{
			Name: name, ID: diskID{0xfe, 2}, VirtualSize: 64 << 40, LogicalSectorSize: 512, PhysicalSectorSize: 4096,
			Identity: "vhdx 7f3a", Root: digest.Sum{0xcd}, File: name + ".vhdx", DigestsFile: name + ".digests",
			Base: &base, Digests: 100, Stored: 12345678901,
		})
	}
	return m
}

// TestScanOfWhatIsWritten: a scan reads what the general reader does, or leaves it to
// that.
func TestScanOfWhatIsWritten(t *testing.T) {
	tests := []struct {
		name   string
		change func(m *Manifest)
		left   bool
	}{
		{"everything", func(*Manifest) {}, false},
		{"no base", func(m *Manifest) { m.Base, m.Disks[0].Base, m.Disks[1].Base = nil, nil, nil }, false},
		{"no point before", func(m *Manifest) { m.Previous = nil }, false},
		{"no signature", func(m *Manifest) { m.Signature = nil }, false},
		{"one disk", func(m *Manifest) { m.Disks = m.Disks[:1] }, false},
		{"no disk", func(m *Manifest) { m.Disks = nil }, true},
		{"empty texts", func(m *Manifest) { m.Software, m.Disks[0].Identity, m.Signature.Value = "", "", []byte{} }, false},
		{"zeros", func(m *Manifest) { m.Disks[0].Digests, m.Disks[0].Stored, m.Disks[0].VirtualSize = 0, 0, 0 }, false},
		{"the largest number", func(m *Manifest) { m.Disks[0].Stored = math.MaxInt64 }, true},
		{"the smallest number", func(m *Manifest) { m.Disks[0].Stored = -1 }, true},
		{"a sector for which not every int has room", func(m *Manifest) { m.Disks[0].LogicalSectorSize = math.MaxInt32 }, true},
		{"a quote", func(m *Manifest) { m.VM = `sql"01` }, true},
		{"a backslash", func(m *Manifest) { m.VM = `sql\01` }, true},
		{"what HTML escapes", func(m *Manifest) { m.VM = "a<b>c&d" }, true},
		{"a line break", func(m *Manifest) { m.Disks[1].Identity = "a\nb" }, true},
		{"not ASCII", func(m *Manifest) { m.Source = "Zürich\u2028" }, true},
		{"another time zone", func(m *Manifest) { m.Begun = m.Begun.In(time.FixedZone("", 3600)) }, true},
		{"null bytes", func(m *Manifest) { m.Signature.Value = nil }, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			m := scannable()
			test.change(&m)
			b, err := m.encode()
			if err != nil {
				t.Fatal(err)
			}
			if _, ok := scanManifest(b); ok == test.left {
				t.Errorf("understood: %v\n%s", ok, b)
			}
			want, err := decodeFile(b)
			if err != nil {
				t.Fatal(err)
			}
			if got, ok := scanManifest(b); ok && !reflect.DeepEqual(got, want) {
				t.Errorf("got %+v, want %+v", got, want)
			}
		})
	}
}

// TestScanOfAnythingElse changes a manifest in every place. What a scan understands then,
// the general reader takes too, and for the same.
func TestScanOfAnythingElse(t *testing.T) {
	m := scannable()
	m.Disks = m.Disks[:1]
	b, err := m.encode()
	if err != nil {
		t.Fatal(err)
	}
	understood := 0
	look := func(changed []byte) {
		got, ok := scanManifest(changed)
		if !ok {
			return
		}
		understood++
		want, err := decodeFile(changed)
		if err != nil {
			t.Fatalf("it understood what is wrong: %v\n%s", err, changed)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("got %+v, want %+v, from\n%s", got, want, changed)
		}
	}
	for at := range b {
		look(b[:at])
		look(slices.Delete(slices.Clone(b), at, at+1))
		look(slices.Insert(slices.Clone(b), at, b[at]))
		for _, c := range []byte("\x00\n\t \"\\<&,:.{}[]+-/=0159AFZafgnz\x7f\x80\xff") {
			changed := slices.Clone(b)
			changed[at] = c
			look(changed)
			look(slices.Insert(slices.Clone(b), at, c))
		}
	}
	look(append(slices.Clone(b), '\n'))
	if understood < 1000 {
		t.Errorf("only %d of the changes were understood", understood)
	}
}
