package replicate

import (
	"errors"
	"fmt"
	"io"

	"wanrep/diskio"
	"wanrep/replicate/wire"
)

// A search finds the first extent at or after off that has to be read, or io.EOF.
type search func(off int64) (start, length int64, err error)

// A plan is what of a disk has to be read, in ascending order: the extents that a
// search finds, widened to whole blocks and cut into pieces that fit a frame.
type plan struct {
	search search
	size   int64
	// next is where the search for the next extent goes on; end is the end of the
	// extent that is being cut up. Both lie on blocks, or at the disk's end.
	next, end int64
}

func newPlan(find search, size, from int64) *plan {
	return &plan{search: find, size: size, next: from, end: from}
}

// piece returns the next piece, or io.EOF behind the last. A disk that is replaced
// by a smaller one under the plan is an error, not an endless loop.
func (p *plan) piece() (diskio.Extent, error) {
	if p.next >= p.end {
		start, length, err := p.search(p.next)
		if err != nil {
			return diskio.Extent{}, err
		}
		if start < 0 || length <= 0 || start > p.size-length {
			return diskio.Extent{}, fmt.Errorf("find what to read at %d: an extent of %d bytes at %d in a disk of %d", p.next, length, start, p.size)
		}
		p.end = min(roundUp(start+length), p.size)
		p.next = max(p.next, start-start%diskio.BlockBytes)
		if p.next >= p.end {
			return diskio.Extent{}, fmt.Errorf("find what to read at %d: the extent at %d lies before it", p.next, start)
		}
	}
	e := diskio.Extent{Start: p.next, Length: min(p.end-p.next, wire.MaxFrameBytes)}
	p.next = e.End()
	return e, nil
}

func roundUp(n int64) int64 {
	return (n + diskio.BlockBytes - 1) / diskio.BlockBytes * diskio.BlockBytes
}

// remaining returns how many bytes the plan still has to read.
func (p *plan) remaining() (int64, error) {
	rest := *p
	var n int64
	for {
		n += rest.end - rest.next
		rest.next = rest.end
		e, err := rest.piece()
		if errors.Is(err, io.EOF) {
			return n, nil
		}
		if err != nil {
			return 0, err
		}
		n += e.Length
	}
}
