package vhdx

import (
	"cmp"
	"fmt"
	"io"
	"slices"

	"wanrep/diskio"
)

// A region is one entry of the region table (MS-VHDX 2.2.3.2).
type region struct {
	id       diskio.ID
	offset   int64
	length   int64
	required bool
}

func (r region) name() string {
	switch r.id {
	case regionBAT:
		return "the BAT region"
	case regionMetadata:
		return "the metadata region"
	}
	return "region " + r.id.String()
}

// intactRegionTable tells whether a copy of the region table that lies at off is
// whole. One that is not may be ignored in favour of the other (MS-VHDX 2.2.3).
func intactRegionTable(b []byte, off int64) error {
	if string(b[:4]) != "regi" {
		return formatErr("region table", off, "no \"regi\" signature")
	}
	if got, want := checksum(b), le.Uint32(b[4:]); got != want {
		return formatErr("region table", off, "checksum is %08x, the table says %08x", got, want)
	}
	return nil
}

// parseRegionTable reads an intact copy of the region table that lies at off. All
// sound entries are returned, known or not.
func parseRegionTable(b []byte, off int64, found report) ([]region, error) {
	const section = "region table"
	n := le.Uint32(b[8:])
	if n > maxTableEntries {
		return nil, formatErr(section, off+8, "%d entries, at most %d are allowed", n, maxTableEntries)
	}
	rs := make([]region, 0, n)
	seen := make(map[diskio.ID]bool, n)
	for i := range int64(n) {
		at := 16 + 32*i
		e := b[at:]
		start, length := le.Uint64(e[16:]), int64(le.Uint32(e[24:]))
		r := region{id: diskio.ID(e[:16]), offset: int64(start), length: length, required: le.Uint32(e[28:])&1 != 0}
		var err error
		switch {
		case seen[r.id]:
			err = formatErr(section, off+at, "%s is listed twice", r.name())
		case start%mib != 0 || start < headerAreaBytes || start > maxFileSize:
			err = formatErr(section, off+at+16, "%s at %d: not a multiple of 1 MiB between 1 MiB and %d", r.name(), start, int64(maxFileSize))
		case length%mib != 0 || length == 0:
			err = formatErr(section, off+at+24, "%s has %d bytes, not a multiple of 1 MiB", r.name(), length)
		case r.required && r.id != regionBAT && r.id != regionMetadata:
			err = formatErr(section, off+at, "%s is required but unknown", r.name())
		}
		if err != nil {
			if err := found(err); err != nil {
				return nil, err
			}
			continue
		}
		seen[r.id] = true
		rs = append(rs, r)
	}
	for _, id := range []diskio.ID{regionBAT, regionMetadata} {
		if !seen[id] {
			return nil, formatErr(section, off, "%s is missing", region{id: id}.name())
		}
	}
	return rs, nil
}

// readRegions returns the regions that the first intact copy of the table lists.
func readRegions(r io.ReaderAt) ([]region, error) {
	var damage error
	for _, off := range []int64{regionTable1, regionTable2} {
		b := make([]byte, regionTableBytes)
		if _, err := r.ReadAt(b, off); err != nil {
			return nil, formatErr("region table", off, "unreadable: %v", err)
		}
		err := intactRegionTable(b, off)
		if err == nil {
			return parseRegionTable(b, off, strict)
		}
		if damage == nil {
			damage = err
		}
	}
	return nil, damage
}

// encodeRegionTable returns one copy of the table with its checksum.
func encodeRegionTable(rs []region) []byte {
	b := make([]byte, regionTableBytes)
	copy(b, "regi")
	le.PutUint32(b[8:], uint32(len(rs)))
	for i, r := range rs {
		e := b[16+32*i:]
		copy(e, r.id[:])
		le.PutUint64(e[16:], uint64(r.offset))
		le.PutUint32(e[24:], uint32(r.length))
		if r.required {
			le.PutUint32(e[28:], 1)
		}
	}
	le.PutUint32(b[4:], checksum(b))
	return b
}

func findRegion(rs []region, id diskio.ID) region {
	for _, r := range rs {
		if r.id == id {
			return r
		}
	}
	return region{}
}

// A claim is space of the file that a structure other than a block owns.
type claim struct {
	diskio.Extent
	owner string
}

// claims lists the space of the header area, the log and the regions in
// ascending order, or tells that two of them overlap or leave the file.
func claims(h header, rs []region, fileSize int64) ([]claim, error) {
	cs := []claim{{diskio.Extent{Length: headerAreaBytes}, "the header area"}}
	if h.logLength != 0 {
		cs = append(cs, claim{diskio.Extent{Start: int64(h.logOffset), Length: int64(h.logLength)}, "the log"})
	}
	for _, r := range rs {
		cs = append(cs, claim{diskio.Extent{Start: r.offset, Length: r.length}, r.name()})
	}
	slices.SortStableFunc(cs, func(a, b claim) int { return cmp.Compare(a.Start, b.Start) })
	for i, c := range cs {
		if i > 0 && c.Start < cs[i-1].End() {
			return nil, formatErr("region table", c.Start, "%s overlaps %s", c.owner, cs[i-1].owner)
		}
		if c.End() > fileSize {
			return nil, formatErr("region table", c.Start, "%s ends at %s", c.owner, behindEnd(c.End(), fileSize))
		}
	}
	return cs, nil
}

// behindEnd words that something ends behind the end of the file.
func behindEnd(end, fileSize int64) string {
	return fmt.Sprintf("%d, behind the file's end at %d", end, fileSize)
}
