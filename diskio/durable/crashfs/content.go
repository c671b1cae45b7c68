package crashfs

import (
	"maps"
	"math/rand/v2"
)

const (
	pageBytes   = 4096
	sectorBytes = 512
)

type page = [pageBytes]byte

// content is the bytes of a file: as the process sees them, as they are durable,
// and what lies between the two. A durable page is never changed, only replaced.
type content struct {
	live, dur     map[int64]*page
	size, durSize int64
	pending       []dataChange // since the last sync, in order
}

// A dataChange is a write of data at off, or the file cut or grown to size off.
type dataChange struct {
	off  int64
	data []byte
	size bool
}

func newContent() content {
	return content{live: map[int64]*page{}, dur: map[int64]*page{}}
}

func (c *content) read(p []byte, off int64) int {
	if off >= c.size {
		return 0
	}
	p = p[:min(int64(len(p)), c.size-off)]
	for n := 0; n < len(p); {
		at := off + int64(n)
		rest := p[n:min(len(p), n+int(pageBytes-at%pageBytes))]
		if pg := c.live[at/pageBytes]; pg != nil {
			copy(rest, pg[at%pageBytes:])
		} else {
			clear(rest)
		}
		n += len(rest)
	}
	return len(p)
}

// newPages returns how many pages a write would add.
func (c *content) newPages(off int64, n int) int64 {
	var count int64
	for p := off / pageBytes; p*pageBytes < off+int64(n); p++ {
		if c.live[p] == nil {
			count++
		}
	}
	return count
}

func (c *content) write(p []byte, off int64) {
	if len(p) == 0 {
		return
	}
	c.pending = append(c.pending, dataChange{off: off, data: append([]byte(nil), p...)})
	put(c.live, c.dur, p, off)
	c.size = max(c.size, off+int64(len(p)))
}

func (c *content) truncate(size int64) {
	if size == c.size {
		return
	}
	c.pending = append(c.pending, dataChange{off: size, size: true})
	cutAt(c.live, c.dur, size)
	c.size = size
}

// sync makes the pages that were touched durable.
func (c *content) sync() {
	for _, d := range c.pending {
		if d.size {
			maps.DeleteFunc(c.dur, func(p int64, _ *page) bool { return p*pageBytes >= d.off })
		}
		for p := d.off / pageBytes; p*pageBytes < d.off+int64(max(len(d.data), 1)); p++ {
			if pg := c.live[p]; pg != nil {
				c.dur[p] = pg
			} else {
				delete(c.dur, p)
			}
		}
	}
	c.durSize = c.size
	c.pending = nil
}

// drop is a sync that failed: some sectors reached the disk, and the others are
// taken for clean from now on.
func (c *content) drop(seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 2))
	c.dur, c.durSize = c.torn(rng, rng.IntN(2)*50)
	c.pending = nil
}

// torn returns what a crash leaves: each unsynced sector is kept in percent of
// the cases, and of those one in sixteen breaks off inside the sector.
func (c *content) torn(rng *rand.Rand, percent int) (map[int64]*page, int64) {
	pages, size := maps.Clone(c.dur), c.durSize
	for _, d := range c.pending {
		if d.size {
			if rng.IntN(100) < percent {
				cutAt(pages, c.dur, d.off)
				size = d.off
			}
			continue
		}
		for at := int64(0); at < int64(len(d.data)); {
			end := min(int64(len(d.data)), at+sectorBytes-(d.off+at)%sectorBytes)
			if rng.IntN(100) < percent {
				kept := d.data[at:end]
				if rng.IntN(16) == 0 {
					kept = kept[:rng.IntN(len(kept)+1)]
				}
				put(pages, c.dur, kept, d.off+at)
				size = max(size, d.off+at+int64(len(kept)))
			}
			at = end
		}
		// The size can be there before the data is.
		if rng.IntN(4) == 0 && percent > 0 {
			size = max(size, d.off+int64(len(d.data)))
		}
	}
	return pages, size
}

// put writes p into pages; pages that are also in shared are copied first.
func put(pages, shared map[int64]*page, p []byte, off int64) {
	for len(p) > 0 {
		pg := own(pages, shared, off/pageBytes)
		n := copy(pg[off%pageBytes:], p)
		p, off = p[n:], off+int64(n)
	}
}

// cutAt drops what lies at size and behind it.
func cutAt(pages, shared map[int64]*page, size int64) {
	maps.DeleteFunc(pages, func(p int64, _ *page) bool { return p*pageBytes >= size })
	if rest := size % pageBytes; rest != 0 && pages[size/pageBytes] != nil {
		clear(own(pages, shared, size/pageBytes)[rest:])
	}
}

// own returns page p as one that is not in shared.
func own(pages, shared map[int64]*page, p int64) *page {
	pg := pages[p]
	switch {
	case pg == nil:
		pg = new(page)
	case pg == shared[p]:
		c := *pg
		pg = &c
	}
	pages[p] = pg
	return pg
}
