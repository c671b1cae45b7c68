package vhdx

import (
	"cmp"
	"io"
	"math/bits"
	"slices"

	"wanrep/diskio"
)

const (
	maxItemBytes = mib  // MS-VHDX 2.6.1.2
	maxUserItems = 1024 // MS-VHDX 2.6.1.2

	flagUser        = 1
	flagVirtualDisk = 2
	flagRequired    = 4

	paramLeaveAllocated = 1 // MS-VHDX 2.6.2.1
	paramHasParent      = 2
)

// An item is one entry of the metadata table (MS-VHDX 2.6.1.2).
type item struct {
	id     diskio.ID
	offset int64 // in the metadata region; 0 for an empty item
	length int64
	flags  uint32
	entry  int64 // offset in the file of its entry in the table
}

// name is what the item is called in messages.
func (it item) name() string {
	if it.flags&flagUser == 0 {
		for _, k := range knownItems {
			if k.id == it.id {
				return k.name
			}
		}
	}
	return "metadata item " + it.id.String()
}

// knownItems are the system items that may be required; length is 0 where it varies.
var knownItems = []struct {
	id     diskio.ID
	name   string
	length int64
	flags  uint32
	must   bool // a file without it can't be read
}{
	{itemFileParameters, "file parameters", 8, flagRequired, true},
	{itemVirtualSize, "virtual disk size", 8, flagRequired | flagVirtualDisk, true},
	{itemDiskID, "virtual disk ID", 16, flagRequired | flagVirtualDisk, true},
	{itemLogicalSector, "logical sector size", 4, flagRequired | flagVirtualDisk, true},
	{itemPhysicalSector, "physical sector size", 4, flagRequired | flagVirtualDisk, true},
	{itemParentLocator, "parent locator", 0, flagRequired, false},
	{itemIncomplete, "incomplete file mark", 0, flagRequired, false},
	{itemGeometry, "CHS geometry", 0, 0, false},
	{itemPMEMLabel, "PMEM label", 0, 0, false},
}

// A metadata is what the metadata region says about the disk.
type metadata struct {
	region         region
	items          []item
	blockSize      int64
	virtualSize    int64
	logicalSector  int
	physicalSector int
	diskID         diskio.ID
	leaveAllocated bool
	hasParent      bool
	incomplete     bool
	locator        locator
}

// parseMetadataTable reads the table of the metadata region reg. It returns the
// sound entries.
func parseMetadataTable(b []byte, reg region, found report) ([]item, error) {
	const section = "metadata table"
	if string(b[:8]) != "metadata" {
		return nil, formatErr(section, reg.offset, "no \"metadata\" signature")
	}
	if !allZero(b[8:10]) || !allZero(b[12:32]) {
		if err := found(formatErr(section, reg.offset+8, "reserved fields are not zero")); err != nil {
			return nil, err
		}
	}
	n := le.Uint16(b[10:])
	if n > maxTableEntries {
		return nil, formatErr(section, reg.offset+10, "%d entries, at most %d are allowed", n, maxTableEntries)
	}
	type key struct {
		id   diskio.ID
		user bool
	}
	seen := make(map[key]bool, n)
	items := make([]item, 0, n)
	users := 0
	for i := range int64(n) {
		e := b[32+32*i:]
		it := item{
			id:     diskio.ID(e[:16]),
			offset: int64(le.Uint32(e[16:])),
			length: int64(le.Uint32(e[20:])),
			flags:  le.Uint32(e[24:]),
			entry:  reg.offset + 32 + 32*i,
		}
		k := key{it.id, it.flags&flagUser != 0}
		if k.user {
			users++
		}
		var err error
		switch {
		case seen[k]:
			err = formatErr(section, it.entry, "%s is listed twice", it.name())
		case users > maxUserItems:
			err = formatErr(section, it.entry, "more than %d user items", maxUserItems)
		case it.flags&^(flagUser|flagVirtualDisk|flagRequired) != 0 || le.Uint32(e[28:]) != 0:
			err = formatErr(section, it.entry+24, "reserved fields of %s are not zero", it.name())
		case it.length == 0 && it.offset != 0:
			err = formatErr(section, it.entry+16, "%s is empty but has the offset %d", it.name(), it.offset)
		case it.length > maxItemBytes:
			err = formatErr(section, it.entry+20, "%s has %d bytes, at most %d are allowed", it.name(), it.length, maxItemBytes)
		case it.length != 0 && (it.offset < metaTableBytes || it.offset+it.length > reg.length):
			err = formatErr(section, it.entry+16, "%s at %d, %d bytes, is not within the region's items", it.name(), it.offset, it.length)
		case it.flags&flagRequired != 0 && !it.known():
			err = formatErr(section, it.entry, "%s is required but unknown", it.name())
		}
		if err != nil {
			if err := found(err); err != nil {
				return nil, err
			}
			continue
		}
		seen[k] = true
		items = append(items, it)
	}
	return items, itemsOverlap(items, found)
}

func (it item) known() bool {
	if it.flags&flagUser != 0 {
		return false
	}
	for _, k := range knownItems {
		if k.id == it.id {
			return true
		}
	}
	return false
}

func itemsOverlap(items []item, found report) error {
	s := slices.Clone(items)
	slices.SortStableFunc(s, func(a, b item) int { return cmp.Compare(a.offset, b.offset) })
	for i := 1; i < len(s); i++ {
		if prev := s[i-1]; prev.length != 0 && s[i].offset < prev.offset+prev.length {
			if err := found(formatErr("metadata table", s[i].entry, "%s overlaps %s", s[i].name(), prev.name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// readMetadata reads the metadata region reg. What it returns without an error is
// consistent enough to find blocks by, even if something was found.
func readMetadata(r io.ReaderAt, reg region, found report) (metadata, error) {
	m := metadata{region: reg}
	b := make([]byte, metaTableBytes)
	if _, err := r.ReadAt(b, reg.offset); err != nil {
		return m, formatErr("metadata table", reg.offset, "unreadable: %v", err)
	}
	var err error
	if m.items, err = parseMetadataTable(b, reg, found); err != nil {
		return m, err
	}
	for _, k := range knownItems {
		it, ok := m.find(k.id)
		if !ok {
			if k.must {
				if err := found(formatErr("metadata table", reg.offset, "the %s is missing", k.name)); err != nil {
					return m, err
				}
			}
			continue
		}
		if k.length != 0 && it.length != k.length {
			if err := found(formatErr(k.name, it.entry+20, "%d bytes, not %d", it.length, k.length)); err != nil {
				return m, err
			}
			continue
		}
		v := make([]byte, it.length)
		if _, err := r.ReadAt(v, reg.offset+it.offset); len(v) != 0 && err != nil {
			return m, formatErr(k.name, reg.offset+it.offset, "unreadable: %v", err)
		}
		if err := m.set(it, v); err != nil {
			if err := found(err); err != nil {
				return m, err
			}
		}
	}
	return m, m.check()
}

// find returns the system item id.
func (m *metadata) find(id diskio.ID) (item, bool) {
	for _, it := range m.items {
		if it.id == id && it.flags&flagUser == 0 {
			return it, true
		}
	}
	return item{}, false
}

// at is where an item lies in the file; its entry, if the item is missing or empty.
func (m *metadata) at(id diskio.ID) int64 {
	it, _ := m.find(id)
	return m.region.offset + it.offset
}

// set takes over the value v of a known item.
func (m *metadata) set(it item, v []byte) error {
	switch it.id {
	case itemFileParameters:
		m.blockSize = int64(le.Uint32(v))
		flags := le.Uint32(v[4:])
		if flags&^(paramLeaveAllocated|paramHasParent) != 0 {
			return formatErr("file parameters", m.region.offset+it.offset+4, "reserved bits are not zero")
		}
		m.leaveAllocated = flags&paramLeaveAllocated != 0
		m.hasParent = flags&paramHasParent != 0
	case itemVirtualSize:
		size := le.Uint64(v)
		if size == 0 || size > diskio.MaxVirtualSize {
			return formatErr("virtual disk size", m.region.offset+it.offset, "%d bytes, not between 1 and %d", size, int64(diskio.MaxVirtualSize))
		}
		m.virtualSize = int64(size)
	case itemDiskID:
		m.diskID = diskio.ID(v)
	case itemLogicalSector:
		m.logicalSector = int(le.Uint32(v))
	case itemPhysicalSector:
		m.physicalSector = int(le.Uint32(v))
	case itemIncomplete:
		m.incomplete = true
	case itemParentLocator:
		if !m.hasParent {
			return nil // left over from a disk that had one
		}
		var err error
		m.locator, err = parseLocator(v, m.region.offset+it.offset)
		return err
	}
	return nil
}

// A report decides what to do about something that breaks the format: stop with the
// error that it returns, or go on as far as that makes sense.
type report func(error) error

// strict stops at the first finding.
func strict(err error) error { return err }

// check tells which items contradict the specification or each other.
func (m *metadata) check() error {
	switch {
	case m.blockSize < minBlockSize || m.blockSize > maxBlockSize || bits.OnesCount64(uint64(m.blockSize)) != 1:
		return formatErr("file parameters", m.at(itemFileParameters), "a block size of %d, not a power of two between 1 and 256 MiB", m.blockSize)
	case m.logicalSector != 512 && m.logicalSector != 4096:
		return formatErr("logical sector size", m.at(itemLogicalSector), "%d bytes, not 512 or 4096", m.logicalSector)
	case m.physicalSector != 512 && m.physicalSector != 4096:
		return formatErr("physical sector size", m.at(itemPhysicalSector), "%d bytes, not 512 or 4096", m.physicalSector)
	case m.virtualSize == 0:
		return formatErr("virtual disk size", m.at(itemVirtualSize), "not known")
	case m.virtualSize%int64(m.logicalSector) != 0:
		return formatErr("virtual disk size", m.at(itemVirtualSize), "%d bytes, not a multiple of the sector size %d", m.virtualSize, m.logicalSector)
	}
	if _, ok := m.find(itemParentLocator); m.hasParent && !ok {
		return formatErr("metadata table", m.region.offset, "the file has a parent but no parent locator")
	}
	return nil
}

var zeros [64 * kib]byte

// allZero reports whether b holds nothing but zeros.
func allZero(b []byte) bool {
	for len(b) > len(zeros) {
		if string(b[:len(zeros)]) != string(zeros[:]) {
			return false
		}
		b = b[len(zeros):]
	}
	return string(b) == string(zeros[:len(b)])
}
