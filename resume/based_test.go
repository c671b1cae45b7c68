package resume_test

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"

	"wanrep/diskio/digest"
	"wanrep/diskio/durable/crashfs"
	"wanrep/resume"
)

// replaced returns the disk as another one of the same name.
func replaced(s snapshot) snapshot {
	s.spec.ID[5]++
	s.spec.Identity += " of another disk"
	return s
}

// baseOf returns the digests of the blocks that are not zeros below a disk, from
// where it goes on.
func baseOf(d *resume.PartDisk) (map[int64]digest.Sum, error) {
	base := map[int64]digest.Sum{}
	from := d.Durable() / block
	next, done, err := d.BaseDigests(from)
	if err != nil {
		return nil, err
	}
	for last := from - 1; ; {
		index, sum, err := next()
		if err == io.EOF {
			return base, done()
		}
		if err == nil && (index <= last || sum == digest.ZeroBlock() || !d.Based()) {
			err = broken("disk %s has block %d of its base after %d, %v", d.Spec().Name, index, last, sum)
		}
		if err != nil {
			return nil, errors.Join(err, done())
		}
		base[index], last = sum, index
	}
}

// sameAs reports whether a base has b at off.
func sameAs(base map[int64]digest.Sum, off int64, b []byte) bool {
	want, ok := base[off/block]
	if !ok {
		want = digest.ZeroBlock()
	}
	return digest.Block(b) == want
}

// diskOf returns the disk of that name.
func diskOf(disks []snapshot, name string) *snapshot {
	for i := range disks {
		if disks[i].spec.Name == name {
			return &disks[i]
		}
	}
	return nil
}

// canBuildOn reports whether a disk has to build on its like in a point.
func canBuildOn(point []snapshot, disk snapshot) bool {
	below := diskOf(point, disk.spec.Name)
	return below != nil && below.spec.ID == disk.spec.ID && below.spec.Size <= disk.spec.Size
}

// checkBase holds a disk of a new part to what it has to build on: what was received
// before it changed, or the last point.
func (p *player) checkBase(d *resume.PartDisk, disk snapshot) error {
	received := p.received(disk)
	if want := received != nil || canBuildOn(p.lastPoint(), disk); d.Based() != want && !p.mayHave(disk) {
		return broken("disk %s builds on something: %v, want %v", disk.spec.Identity, d.Based(), want)
	}
	if received == nil {
		return nil
	}
	if p.told[disk.spec.Identity] > 0 {
		return nil // it is not below any more
	}
	base, err := baseOf(d)
	if err != nil {
		return err
	}
	for at := d.Durable(); at < p.told[received.spec.Identity]; at += block {
		if !sameAs(base, at, received.content[at:min(at+block, received.spec.Size)]) {
			return broken("disk %s would be sent again at %d; it was acknowledged", disk.spec.Identity, at)
		}
	}
	return nil
}

// received returns the disk as it was when the target acknowledged something of it,
// before it changed; nil if it did not change.
func (p *player) received(disk snapshot) *snapshot {
	for _, ph := range p.phases[:p.phase] {
		was := diskOf(ph.disks, disk.spec.Name)
		if was != nil && was.spec.Identity != disk.spec.Identity && p.told[was.spec.Identity] > 0 && canBuildOn(ph.disks, disk) {
			return was
		}
	}
	return nil
}

// mayHave reports whether the part may have something of the disk from before it
// changed that we were not told of.
func (p *player) mayHave(disk snapshot) bool {
	for _, ph := range p.phases[:p.phase] {
		if !ph.commit && canBuildOn(ph.disks, disk) {
			return true
		}
	}
	return false
}

// lastPoint returns the disks of the newest point, as the source knows.
func (p *player) lastPoint() (disks []snapshot) {
	for _, ph := range p.phases[:p.phase] {
		if ph.commit {
			disks = ph.disks
		}
	}
	return disks
}

// commitAll sends the disks as points, one after the other.
func commitAll(t *testing.T, s *resume.Store, points ...snapshot) {
	t.Helper()
	for _, disk := range points {
		part := begin(t, s, disk)
		must(t, sendAll(part.Disks()[0], disk))
		_, err := part.Commit()
		must(t, err)
	}
}

// sendAll sends what differs from the base.
func sendAll(d *resume.PartDisk, disk snapshot) error {
	base, err := baseOf(d)
	if err != nil {
		return err
	}
	for at := d.Durable(); at < disk.spec.Size; at += block {
		if b := disk.content[at:min(at+block, disk.spec.Size)]; !sameAs(base, at, b) {
			if err := d.Write(at, b); err != nil {
				return err
			}
		}
	}
	return d.Finish(disk.root)
}

// sendTrusting sends a disk of four blocks to a target whose base is believed to
// have all but the second and the last of them.
func sendTrusting(d *resume.PartDisk, disk snapshot) error {
	if !d.Based() {
		return sendAll(d, disk)
	}
	for _, at := range []int64{block, 3 * block} {
		if err := d.Write(at, disk.content[at:at+block]); err != nil {
			return err
		}
	}
	return d.Finish(disk.root)
}

const basedPoints = "lyon/sql01/points/000000000000000"

// TestWhatADiskBuildsOn: what is written is what differs, and the digests below a
// disk are those of all that it builds on.
func TestWhatADiskBuildsOn(t *testing.T) {
	s := open(t, crashfs.New())
	commitAll(t, s, newSnapshot("os", "abc.e", 512), newSnapshot("os", "a..de", 512))
	next := newSnapshot("os", "a..dxyz", block)
	part := begin(t, s, next)
	d := part.Disks()[0]
	if !d.Based() || part.Base() != "0000000000000002" {
		t.Fatalf("builds on point %q: %v", part.Base(), d.Based())
	}
	for from, want := range [][]int64{{0, 3, 4}, {3, 4}, {3, 4}, {3, 4}, {4}, nil, nil} {
		read, done, err := d.BaseDigests(int64(from))
		must(t, err)
		var got []int64
		index, _, err := read()
		for ; err == nil; index, _, err = read() {
			got = append(got, index)
		}
		must(t, done())
		if err != io.EOF || !slices.Equal(got, want) {
			t.Errorf("from block %d: blocks %v, want %v: %v", from, got, want, err)
		}
	}
	must(t, sendAll(d, next))
	if part.Written() != 3*block {
		t.Errorf("%d bytes were written, want %d", part.Written(), 3*block)
	}
	m, err := part.Commit()
	must(t, err)
	if m.Base == nil || *m.Base != "0000000000000002" || m.Disks[0].Base == nil || m.Disks[0].Digests != 3 {
		t.Errorf("the manifest is %+v", m)
	}
}

// TestDamagedBaseIsNotBuiltOn: it is shown as damaged, and so is what builds on it;
// the next point builds on one that is whole, or on nothing.
func TestDamagedBaseIsNotBuiltOn(t *testing.T) {
	remove := func(name string) func(*crashfs.FS) error {
		return func(f *crashfs.FS) error { return f.RemoveAll(basedPoints + name) }
	}
	edit := func(name string, at int64) func(*crashfs.FS) error {
		return func(f *crashfs.FS) error {
			return errors.Join(f.Chmod(basedPoints+name, 0o644), flip(f, basedPoints+name, at, 1))
		}
	}
	const first, second = "0000000000000001", "0000000000000002"
	both := []string{resume.StateDamaged, resume.StateDamaged}
	newest := []string{resume.StateCommitted, resume.StateDamaged}
	none := []string{resume.StateCommitted, resume.StateCommitted}
	tests := []struct {
		name   string
		damage func(*crashfs.FS) error
		states []string
		base   string
		fails  int // attempts that find the damage
	}{
		{"nothing", func(*crashfs.FS) error { return nil }, none, second, 0},
		{"manifest of the first", remove("1/manifest.json"), both, "", 0},
		{"disk of the first", remove("1/os.img"), both, "", 0},
		{"digests of the first", remove("1/os.digests"), both, "", 0},
		{"all of the first", remove("1"), both[1:], "", 0},
		{"text of the first's manifest", edit("1/manifest.json", 0), both, "", 0},
		{"disk of the second", remove("2/os.img"), newest, first, 0},
		{"manifest of the second", remove("2/manifest.json"), newest, first, 0},
		{"head of the second's disk", edit("2/os.img", 3), none, "", 0},
		{"head of the second's digests", edit("2/os.digests", 3), none, "", 1},
		{"index of a digest of the first", edit("1/os.digests", 64+40+5), none, "", 1},
		{"a digest of the first that counts", edit("1/os.digests", 64+3*40-1), none, "", 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			fsys := crashfs.New()
			s := open(t, fsys)
			commitAll(t, s, newSnapshot("os", "abc.", block), newSnapshot("os", "a.cd", block))
			must(t, s.Close())
			must(t, test.damage(fsys))
			s = open(t, fsys)
			list, err := s.List()
			must(t, err)
			var states []string
			for _, p := range list {
				states = append(states, p.State)
			}
			if !slices.Equal(states, test.states) {
				t.Errorf("the points are %v, want %v", states, test.states)
			}
			next := newSnapshot("os", "a.cx", block)
			part := begin(t, s, next)
			fails := 0
			for err = sendTrusting(part.Disks()[0], next); err != nil && fails < 3; fails++ {
				must(t, part.Close())
				part = begin(t, s, next)
				err = sendTrusting(part.Disks()[0], next)
			}
			must(t, err)
			m, err := part.Commit()
			must(t, err)
			if base := part.Base(); base != test.base || (m.Base == nil) != (base == "") || fails != test.fails {
				t.Errorf("builds on %q after %d failures, want %q after %d", base, fails, test.base, test.fails)
			}
			must(t, compare(s, point(t, s, m.Point), []snapshot{next}))
		})
	}
}

func point(t *testing.T, s *resume.Store, name string) resume.Point {
	t.Helper()
	p, err := s.Point("lyon", "sql01", name)
	must(t, err)
	return p
}

// TestVerifyOverAChain: what is wrong in a base is found, and named.
func TestVerifyOverAChain(t *testing.T) {
	tests := []struct {
		name, file string
		at         int64
		want       []string
	}{
		{name: "nothing"},
		{"own content", "2/os.img", plainHead + block, []string{"[65536, 131072) content differs from its digest"}},
		{"the base's content", "1/os.img", plainHead + 7, []string{"[0, 65536) content differs from its digest, in what base point 0000000000000001 has"}},
		{"content that does not count any more", "1/os.img", plainHead + block, nil},
		{"the base's digests", "1/os.digests", 64 + 9, []string{"[0, 262144) digests file: it does not give the root in the manifest"}},
		{"the head of the base's digests", "1/os.digests", 9, []string{"[0, 262144) digests file: base point 0000000000000001: os.digests is damaged: its head is not that of this disk"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			fsys := crashfs.New()
			s := open(t, fsys)
			commitAll(t, s, newSnapshot("os", "abc.", block), newSnapshot("os", "axc.", block))
			if test.file != "" {
				must(t, fsys.Chmod(basedPoints+test.file, 0o644))
				must(t, flip(fsys, basedPoints+test.file, test.at, 1))
			}
			var got []string
			must(t, resume.Verify(t.Context(), s, point(t, s, "0000000000000002"), func(p resume.VerifyProblem) {
				got = append(got, fmt.Sprintf("[%d, %d) %s", p.Extent.Start, p.Extent.End(), p.What))
			}))
			if !slices.Equal(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}
