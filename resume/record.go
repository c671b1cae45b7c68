package resume

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"time"

	"wanrep/diskio"
	"wanrep/diskio/digest"
)

// A journal is a head and records, in units of one sector of 512 bytes, because a
// disk writes a sector whole or, at worst, leaves it torn for the checksum to
// find. All numbers are little-endian. The first sector of the head is
//
//	0   "wanrepJH"
//	8   version, 4 bytes: 1, or 2 if a disk has layers
//	12  length of the state that follows in the next sectors, 4 bytes
//	16  a random mark, 16 bytes, which the records of this journal repeat
//	32  CRC-32C of the state, 4 bytes
//	508 CRC-32C of the sector's bytes before
//
// and the state is JSON: the part and, for each disk, its description and how far
// it is. A record says how far one disk is now:
//
//	0   "wanrepJR"
//	8   the mark
//	24  sequence, 8 bytes, counting from 1
//	32  generation, 8 bytes
//	40  the disk's place in the state, 4 bytes
//	44  flags, 4 bytes: 1 if the disk is complete, 2 if it must not build on a base
//	    when it starts again, and has no layers any more
//	48  durable offset, 8 bytes
//	56  number of digests, 8 bytes
//	64  CRC-32C of their records, 4 bytes
//	68  the root of a complete disk, 32 bytes
//	508 CRC-32C of the sector's bytes before
//
// The journal says what the longest run of valid records from its beginning says.
const (
	sectorBytes = 512
	crcAt       = sectorBytes - 4
	// journalVersion is what this version reads up to. plainJournal is that of a
	// journal without layers, which earlier versions read too.
	journalVersion = 2
	plainJournal   = 1
	// maxStateBytes bounds the state: 260 disks, each with an identity of 4 KiB and
	// a name that JSON may write six times as long, and a few layers.
	maxStateBytes = 8 << 20
	// compactBytes is how much records may take before they become the state of
	// a new journal.
	compactBytes = 1 << 20
	// maxJournalBytes is more than a journal can have.
	maxJournalBytes = sectorBytes + maxStateBytes + compactBytes + sectorBytes
)

var (
	headMagic   = []byte("wanrepJH")
	recordMagic = []byte("wanrepJR")
)

type mark [16]byte

// journalJSON is the state in a journal's head.
type journalJSON struct {
	Source     string            `json:"source"`
	VM         string            `json:"vm"`
	Point      string            `json:"point"`
	Base       string            `json:"base"`
	Generation uint64            `json:"generation"`
	Begun      time.Time         `json:"begun"`
	Disks      []journalDiskJSON `json:"disks"`
}

type journalDiskJSON struct {
	Name               string     `json:"name"`
	ID                 []byte     `json:"id"`
	Size               int64      `json:"size"`
	LogicalSectorSize  int        `json:"logical_sector_size"`
	PhysicalSectorSize int        `json:"physical_sector_size"`
	Identity           string     `json:"identity"`
	Durable            int64      `json:"durable"`
	Digests            int64      `json:"digests"`
	CRC                uint32     `json:"crc"`
	Complete           bool       `json:"complete"`
	Root               digest.Sum `json:"root"`
	Based              bool       `json:"based"`
	Alone              bool       `json:"alone"`
	// Layers are those below what is written, from the bottom up; the last is what
	// they will be if Merging is set.
	Layers  []journalLayerJSON `json:"layers,omitempty"`
	Merging bool               `json:"merging,omitempty"`
}

type journalLayerJSON struct {
	Size    int64  `json:"size"`
	Durable int64  `json:"durable"`
	Digests int64  `json:"digests"`
	CRC     uint32 `json:"crc"`
}

// Flags of a record.
const (
	flagComplete = 1 << iota
	flagAlone
)

// encodeJournal returns a journal without records.
func encodeJournal(p *partState, m mark) ([]byte, error) {
	j := journalJSON{Source: p.source, VM: p.vm, Point: p.point, Base: p.base, Generation: p.generation, Begun: p.begun}
	version := uint32(plainJournal)
	for _, d := range p.disks {
		layers := d.under
		if len(layers) > 0 {
			version = journalVersion
		}
		if d.merged != nil {
			layers = append(slices.Clone(layers), *d.merged)
		}
		j.Disks = append(j.Disks, journalDiskJSON{
			Name: d.spec.Name, ID: d.spec.ID[:], Size: d.spec.Size,
			LogicalSectorSize: d.spec.LogicalSectorSize, PhysicalSectorSize: d.spec.PhysicalSectorSize,
			Identity: d.spec.Identity,
			Durable:  d.durable, Digests: d.digests, CRC: d.crc, Complete: d.complete, Root: d.root,
			Based: d.based, Alone: d.alone, Merging: d.merged != nil,
		})
		for _, l := range layers {
			disk := &j.Disks[len(j.Disks)-1]
			disk.Layers = append(disk.Layers, journalLayerJSON{Size: l.size, Durable: l.durable, Digests: l.digests, CRC: l.crc})
		}
	}
	state, err := json.Marshal(j)
	if err != nil {
		return nil, err
	}
	if len(state) > maxStateBytes {
		return nil, fmt.Errorf("a journal's state of %d bytes; at most %d are possible", len(state), maxStateBytes)
	}
	b := make([]byte, sectorBytes, sectorBytes+sectorsFor(len(state)))
	copy(b, headMagic)
	binary.LittleEndian.PutUint32(b[8:], version)
	binary.LittleEndian.PutUint32(b[12:], uint32(len(state)))
	copy(b[16:], m[:])
	binary.LittleEndian.PutUint32(b[32:], crc32.Checksum(state, castagnoli))
	seal(b)
	return append(b, append(state, make([]byte, sectorsFor(len(state))-len(state))...)...), nil
}

// sectorsFor returns the bytes of the sectors that n bytes need.
func sectorsFor(n int) int { return (n + sectorBytes - 1) / sectorBytes * sectorBytes }

// seal sets the checksum of a sector.
func seal(b []byte) {
	binary.LittleEndian.PutUint32(b[crcAt:], crc32.Checksum(b[:crcAt], castagnoli))
}

func sealed(b []byte) bool {
	return binary.LittleEndian.Uint32(b[crcAt:]) == crc32.Checksum(b[:crcAt], castagnoli)
}

// encodeRecord returns the record that disk i is as far as d.
func encodeRecord(m mark, seq, generation uint64, i int, d diskState) []byte {
	b := make([]byte, sectorBytes)
	copy(b, recordMagic)
	copy(b[8:], m[:])
	binary.LittleEndian.PutUint64(b[24:], seq)
	binary.LittleEndian.PutUint64(b[32:], generation)
	binary.LittleEndian.PutUint32(b[40:], uint32(i))
	flags := uint32(0)
	if d.complete {
		flags |= flagComplete
	}
	if d.alone {
		flags |= flagAlone
	}
	binary.LittleEndian.PutUint32(b[44:], flags)
	binary.LittleEndian.PutUint64(b[48:], uint64(d.durable))
	binary.LittleEndian.PutUint64(b[56:], uint64(d.digests))
	binary.LittleEndian.PutUint32(b[64:], d.crc)
	copy(b[68:], d.root[:])
	seal(b)
	return b
}

// errNewerJournal is returned for a journal that a later version wrote.
var errNewerJournal = errors.New("it was written by a later version of wanrep")

// decodeJournal returns the state that a journal gives. name is for messages.
func decodeJournal(name string, b []byte) (*partState, error) {
	if len(b) < sectorBytes || !bytes.Equal(b[:8], headMagic) || !sealed(b[:sectorBytes]) {
		return nil, &damagedError{name, "its head is not valid"}
	}
	if v := binary.LittleEndian.Uint32(b[8:]); v < plainJournal || v > journalVersion {
		return nil, fmt.Errorf("read %s: format %d: %w", diskio.Printable(name), v, errNewerJournal)
	}
	n := int(binary.LittleEndian.Uint32(b[12:]))
	if n > maxStateBytes || len(b) < sectorBytes+n {
		return nil, &damagedError{name, "its state is cut off"}
	}
	state := b[sectorBytes : sectorBytes+n]
	if crc32.Checksum(state, castagnoli) != binary.LittleEndian.Uint32(b[32:]) {
		return nil, &damagedError{name, "its state does not match its checksum"}
	}
	p, err := decodeState(state)
	if err != nil {
		return nil, &damagedError{name, err.Error()}
	}
	m := mark(b[16:32])
	records := b[min(len(b), sectorBytes+sectorsFor(n)):]
	for seq := uint64(1); len(records) >= sectorBytes && p.advance(records[:sectorBytes], m, seq); seq++ {
		records = records[sectorBytes:]
	}
	return p, nil
}

func decodeState(state []byte) (*partState, error) {
	var j journalJSON
	if err := json.Unmarshal(state, &j); err != nil {
		return nil, err
	}
	p := &partState{
		source: j.Source, vm: j.VM, point: j.Point, base: j.Base,
		generation: j.Generation, begun: j.Begun,
	}
	for _, d := range j.Disks {
		spec := DiskSpec{
			Name: d.Name, Size: d.Size, Identity: d.Identity,
			LogicalSectorSize: d.LogicalSectorSize, PhysicalSectorSize: d.PhysicalSectorSize,
		}
		if len(d.ID) != len(spec.ID) {
			return nil, fmt.Errorf("a disk's ID has %d bytes", len(d.ID))
		}
		copy(spec.ID[:], d.ID)
		state := diskState{
			spec: spec, durable: d.Durable, digests: d.Digests, crc: d.CRC, complete: d.Complete, root: d.Root,
			based: d.Based, alone: d.Alone,
		}
		for _, l := range d.Layers {
			state.under = append(state.under, layerState{size: l.Size, durable: l.Durable, digests: l.Digests, crc: l.CRC})
		}
		if n := len(state.under) - 1; d.Merging && n >= 0 {
			merged := state.under[n]
			state.merged, state.under = &merged, state.under[:n]
		}
		p.disks = append(p.disks, state)
	}
	return p, p.check()
}

// advance applies one record if it is valid and the next in turn.
func (p *partState) advance(b []byte, m mark, seq uint64) bool {
	i := binary.LittleEndian.Uint32(b[40:])
	switch {
	case !bytes.Equal(b[:8], recordMagic), !sealed(b), mark(b[8:24]) != m,
		binary.LittleEndian.Uint64(b[24:]) != seq,
		binary.LittleEndian.Uint64(b[32:]) != p.generation,
		int64(i) >= int64(len(p.disks)):
		return false
	}
	flags := binary.LittleEndian.Uint32(b[44:])
	d := diskState{
		spec:     p.disks[i].spec,
		based:    p.disks[i].based,
		complete: flags&flagComplete != 0,
		alone:    flags&flagAlone != 0,
		durable:  int64(binary.LittleEndian.Uint64(b[48:])),
		digests:  int64(binary.LittleEndian.Uint64(b[56:])),
		crc:      binary.LittleEndian.Uint32(b[64:]),
	}
	if !d.alone {
		d.under = p.disks[i].under
	}
	copy(d.root[:], b[68:])
	if d.check() != nil {
		return false
	}
	p.disks[i] = d
	return true
}
