package resume

import (
	"cmp"
	"context"
	"hash/fnv"
	"math"
	"slices"
	"time"

	"wanrep/diskio"
)

// VerifyOptions say what of a point to verify. The zero value is all of it, as fast
// as it goes.
type VerifyOptions struct {
	// Sample is the share of the blocks to read. Default: 1, all.
	Sample float64
	// Seed chooses which. The same seed chooses the same; consecutive ones choose
	// others, until 1/Sample of them, rounded up, have chosen every block.
	Seed uint64
	// MaxRate limits the content that is read, in bytes a second. Default: no limit.
	MaxRate int64
	// Disk is the name of the only disk to verify. Default: all.
	Disk string
	// Own leaves out what a point has from those on which it builds, so that each
	// block of each file is read once if all points are verified.
	Own bool
	// Extents are what to read of each disk, widened to blocks. Default: all.
	Extents []diskio.Extent
}

// within returns what to read of a disk of that size: extents of whole blocks,
// ascending, that may overlap.
func (o VerifyOptions) within(size int64) []diskio.Extent {
	if len(o.Extents) == 0 {
		return []diskio.Extent{{Length: size}}
	}
	var within []diskio.Extent
	for _, e := range o.Extents {
		start := min(max(e.Start, 0), size)
		end := start + min(max(e.Length, 0), size-start)
		start -= start % diskio.BlockBytes
		end += (diskio.BlockBytes - end%diskio.BlockBytes) % diskio.BlockBytes
		within = append(within, diskio.Extent{Start: start, Length: min(end, size) - start})
	}
	slices.SortFunc(within, func(a, b diskio.Extent) int { return cmp.Compare(a.Start, b.Start) })
	return within
}

// sampledBlocks is how many blocks are chosen together: 1 MiB, so that a sample is
// not read at the speed of random access.
const sampledBlocks = 16

// A sampler chooses blocks. The runs of a disk are spread over a circle of 2^64
// places; a seed takes an arc of it, and the next seed the arc that follows.
type sampler struct {
	all         bool
	salt        uint64
	start, size uint64 // of the arc
}

// sampler chooses blocks of a point's disk.
func (o VerifyOptions) sampler(point, disk string) sampler {
	if !(o.Sample > 0 && o.Sample < 1) {
		return sampler{all: true}
	}
	name := fnv.New64a()
	name.Write([]byte(point + "/" + disk))
	size := uint64(math.Ceil(o.Sample * (1 << 63) * 2))
	return sampler{salt: name.Sum64(), start: o.Seed * size, size: size}
}

func (s sampler) has(block int64) bool {
	return s.all || place(s.salt+uint64(block/sampledBlocks))-s.start < s.size
}

// place spreads numbers evenly (the finalizer of SplitMix64).
func place(n uint64) uint64 {
	n += 0x9e3779b97f4a7c15
	n = (n ^ n>>30) * 0xbf58476d1ce4e5b9
	n = (n ^ n>>27) * 0x94d049bb133111eb
	return n ^ n>>31
}

// A pacer keeps to a rate.
type pacer struct {
	rate int64     // bytes a second; 0 is no limit
	next time.Time // when more may be read
}

// wait returns when n bytes may be read, or with ctx's cause. What was not read in
// time is not made up for.
func (p *pacer) wait(ctx context.Context, n int64) error {
	if p.rate <= 0 {
		return nil
	}
	now := time.Now()
	if p.next.Before(now) {
		p.next = now
	}
	ahead := p.next.Sub(now)
	p.next = p.next.Add(time.Duration(float64(n) / float64(p.rate) * float64(time.Second)))
	if ahead <= 0 {
		return nil
	}
	timer := time.NewTimer(ahead)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
