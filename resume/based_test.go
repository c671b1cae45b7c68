package resume_test

import (
	"errors"
	"io"

	"wanrep/diskio/digest"
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

// lastPoint returns the disks of the newest point, as the source knows.
func (p *player) lastPoint() (disks []snapshot) {
	for _, ph := range phases[:p.phase] {
		if ph.commit {
			disks = ph.disks
		}
	}
	return disks
}
