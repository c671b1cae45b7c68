package vhdx

import (
	"hash/crc32"
	"io"

	"wanrep/diskio"
)

const (
	logSectorBytes     = 4 * kib // MS-VHDX 2.3.1
	logHeaderBytes     = 64      // MS-VHDX 2.3.1.1
	logDescriptorBytes = 32      // MS-VHDX 2.3.1.2
	logCopyBytes       = 64 * kib

	// logEffort bounds what a scan may read, as a multiple of the log's size.
	// Entries of a real log hardly overlap, so that reading each once is enough;
	// one made to overlap itself could keep a reader busy for ever.
	logEffort = 8
)

// A ring reads the log region, which wraps round its end, inside an entry too.
type ring struct {
	r      io.ReaderAt
	offset int64 // in the file
	length int64
}

// readAt fills p with the log's bytes from off on; off may be beyond the end once.
func (g ring) readAt(p []byte, off int64) error {
	for len(p) > 0 {
		off %= g.length
		n := min(int64(len(p)), g.length-off)
		if _, err := g.r.ReadAt(p[:n], g.offset+off); err != nil {
			return formatErr("log", g.offset+off, "unreadable: %v", err)
		}
		p, off = p[n:], off+n
	}
	return nil
}

// A logEntry is a valid entry of the log (MS-VHDX 2.3.1).
type logEntry struct {
	offset      int64 // in the log
	length      int64
	tail        int64
	sequence    uint64
	descriptors int64
	data        int64  // how many of them have a data sector
	flushed     uint64 // FlushedFileOffset
	last        uint64 // LastFileOffset
}

// descriptorSectors is how many sectors the header and n descriptors take: the
// first holds 126 beside the header, every other one 128.
func descriptorSectors(n int64) int64 {
	return (logHeaderBytes + n*logDescriptorBytes + logSectorBytes - 1) / logSectorBytes
}

// A logScan finds the active sequence of a log.
type logScan struct {
	ring
	guid   diskio.ID
	seen   map[int64]*logEntry // by offset; nil for an offset without a valid entry
	effort int64               // bytes that may still be read
	buf    [logCopyBytes]byte
}

func newLogScan(r io.ReaderAt, h header) *logScan {
	g := ring{r: r, offset: int64(h.logOffset), length: int64(h.logLength)}
	return &logScan{ring: g, guid: h.logGUID, seen: map[int64]*logEntry{}, effort: logEffort * g.length}
}

// spend counts n bytes of effort.
func (s *logScan) spend(n int64) error {
	if s.effort -= n; s.effort < 0 {
		return formatErr("log", s.offset, "its entries overlap so much that it can't be scanned")
	}
	return nil
}

// entry returns the valid entry at off of the log, or nil.
func (s *logScan) entry(off int64) (*logEntry, error) {
	e, known := s.seen[off]
	if known {
		return e, nil
	}
	e, err := s.readEntry(off)
	if err != nil {
		return nil, err
	}
	s.seen[off] = e
	return e, nil
}

// readEntry verifies each field of the header and the descriptors, and the
// checksum over the whole entry. An invalid entry is nil, not an error.
func (s *logScan) readEntry(off int64) (*logEntry, error) {
	var h [logHeaderBytes]byte
	if err := s.readAt(h[:], off); err != nil {
		return nil, err
	}
	e := &logEntry{
		offset:      off,
		length:      int64(le.Uint32(h[8:])),
		tail:        int64(le.Uint32(h[12:])),
		sequence:    le.Uint64(h[16:]),
		descriptors: int64(le.Uint32(h[24:])),
		flushed:     le.Uint64(h[48:]),
		last:        le.Uint64(h[56:]),
	}
	switch {
	case string(h[:4]) != "loge" || diskio.ID(h[32:48]) != s.guid,
		e.length == 0 || e.length%logSectorBytes != 0 || e.length > s.length,
		e.tail%logSectorBytes != 0 || e.tail >= s.length,
		e.sequence == 0,
		descriptorSectors(e.descriptors)*logSectorBytes > e.length:
		return nil, nil
	}
	if err := s.spend(e.length); err != nil {
		return nil, err
	}
	sum, err := s.checksum(e)
	if err != nil || sum != le.Uint32(h[4:]) {
		return nil, err
	}
	first := descriptorSectors(e.descriptors)
	valid := true
	err = s.descriptors(e, false, func(d []byte) error {
		valid = valid && le.Uint64(d[24:]) == e.sequence && le.Uint64(d[16:])%logSectorBytes == 0
		switch string(d[:4]) {
		case "zero":
			valid = valid && le.Uint64(d[8:])%logSectorBytes == 0
		case "desc":
			ok, err := s.dataSector(e, first+e.data)
			valid = valid && ok
			e.data++
			return err
		default:
			valid = false
		}
		return nil
	})
	if err != nil || !valid {
		return nil, err
	}
	return e, nil
}

// checksum returns the CRC-32C over the whole entry without its own field.
func (s *logScan) checksum(e *logEntry) (uint32, error) {
	var sum uint32
	for at := int64(0); at < e.length; {
		p := s.buf[:min(e.length-at, logCopyBytes)]
		if err := s.readAt(p, e.offset+at); err != nil {
			return 0, err
		}
		if at == 0 {
			clear(p[4:8])
		}
		sum = crc32.Update(sum, castagnoli, p)
		at += int64(len(p))
	}
	return sum, nil
}

// descriptors calls f with each descriptor of e, the last one first if backward.
func (s *logScan) descriptors(e *logEntry, backward bool, f func(d []byte) error) error {
	var sector [logSectorBytes]byte
	have := int64(-1) // which sector of the entry it is
	for i := range e.descriptors {
		if backward {
			i = e.descriptors - 1 - i
		}
		at := logHeaderBytes + i*logDescriptorBytes
		if want := at / logSectorBytes; want != have {
			if err := s.readAt(sector[:], e.offset+want*logSectorBytes); err != nil {
				return err
			}
			have = want
		}
		if err := f(sector[at%logSectorBytes:][:logDescriptorBytes]); err != nil {
			return err
		}
	}
	return nil
}

// dataSector reports whether sector n of the entry is a data sector of it.
func (s *logScan) dataSector(e *logEntry, n int64) (bool, error) {
	if (n+1)*logSectorBytes > e.length {
		return false, nil
	}
	var head [8]byte
	var tail [4]byte
	if err := s.readAt(head[:], e.offset+n*logSectorBytes); err != nil {
		return false, err
	}
	if err := s.readAt(tail[:], e.offset+(n+1)*logSectorBytes-4); err != nil {
		return false, err
	}
	return string(head[:4]) == "data" &&
		le.Uint32(head[4:]) == uint32(e.sequence>>32) && le.Uint32(tail[:]) == uint32(e.sequence), nil
}

// active returns the entries of the active sequence from its tail to its head, in
// the steps of MS-VHDX 2.3.3. It is empty if no sequence is valid and complete.
func (s *logScan) active() ([]*logEntry, error) {
	var best []*logEntry
	// An entry that was met in a sequence whose head's tail is not in it can't
	// begin a valid one either: the head would be the same.
	spent := map[int64]bool{}
	for tail := int64(0); ; {
		cur, err := s.sequence(tail, spent)
		if err != nil {
			return nil, err
		}
		from := tailIndex(cur)
		next := tail + logSectorBytes
		if from < 0 {
			for _, e := range cur {
				spent[e.offset] = true
			}
		} else {
			head := cur[len(cur)-1]
			next = (head.offset + head.length) % s.length
			if len(best) == 0 || head.sequence > best[len(best)-1].sequence {
				best = cur[from:]
			}
		}
		if next >= s.length || next <= tail {
			return best, nil // the whole ring was seen
		}
		tail = next
	}
}

// sequence returns the longest sequence of entries that begins at off.
func (s *logScan) sequence(off int64, spent map[int64]bool) ([]*logEntry, error) {
	var cur []*logEntry
	if spent[off] {
		return nil, nil
	}
	for length := int64(0); ; {
		e, err := s.entry(off)
		if err != nil || e == nil {
			return cur, err
		}
		if len(cur) > 0 && e.sequence != cur[len(cur)-1].sequence+1 {
			return cur, nil
		}
		if length += e.length; length > s.length {
			return cur, nil
		}
		if err := s.spend(logSectorBytes); err != nil {
			return nil, err
		}
		cur = append(cur, e)
		off = (off + e.length) % s.length
	}
}

// tailIndex is where the tail of the sequence's head is in it, or -1.
func tailIndex(cur []*logEntry) int {
	if len(cur) == 0 {
		return -1
	}
	for i, e := range cur {
		if e.offset == cur[len(cur)-1].tail {
			return i
		}
	}
	return -1
}
