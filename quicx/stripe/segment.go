package stripe

import (
	"encoding/binary"
	"fmt"
	"math"
)

const (
	// headerBytes is the size of what stands before a segment: its offset in the
	// sequence, 8 bytes, and its length, 4 bytes, both big-endian. A length of 0
	// is the end of the sequence.
	headerBytes = 12
	// segmentBytes is the most that a Writer puts into one segment. A slow channel
	// has one segment in hand while the others go on, so this times the number of
	// channels is how far they get apart.
	segmentBytes = 16 << 10
	// loneBytes is the same while there is one channel. Each segment wakes the
	// Reader twice; and what is written before another channel joins has to be
	// read before what goes over that one, so it is not much longer.
	loneBytes = 64 << 10
	// maxSegmentBytes is the most that a Reader takes.
	maxSegmentBytes = 1 << 20
)

// A header is what stands before a segment.
type header struct {
	offset int64
	length int
}

func (h header) put(b []byte) {
	binary.BigEndian.PutUint64(b, uint64(h.offset))
	binary.BigEndian.PutUint32(b[8:], uint32(h.length))
}

func parseHeader(b []byte) (header, error) {
	offset, length := binary.BigEndian.Uint64(b), binary.BigEndian.Uint32(b[8:])
	if length > maxSegmentBytes || offset > math.MaxInt64-maxSegmentBytes {
		return header{}, fmt.Errorf("a segment of %d bytes at %d", length, offset)
	}
	return header{int64(offset), int(length)}, nil
}
