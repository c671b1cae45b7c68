package replicate

import (
	"errors"
	"io"
	"testing"

	"pgregory.net/rapid"

	"wanrep/diskio"
	"wanrep/replicate/progress"
	"wanrep/replicate/wire"
)

// extents is a snapshot that has only a map.
type extents struct {
	Snapshot
	size int64
	list []diskio.Extent
}

func (e extents) Size() int64 { return e.size }

func (e extents) NextData(off int64) (int64, int64, error) {
	for _, x := range e.list {
		if x.End() > off {
			start := max(x.Start, off)
			return start, x.End() - start, nil
		}
	}
	return 0, 0, io.EOF
}

// TestPlanCoversAllDataOnce: what a source sends from an offset on is all there is, once,
// and begins there, which is promise 5.
func TestPlanCoversAllDataOnce(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		size := rapid.Int64Range(1, 4000).Draw(rt, "sectors") * 512
		var list []diskio.Extent
		for at := int64(0); ; {
			at += 512 * rapid.Int64Range(0, 600).Draw(rt, "hole")
			n := 512 * rapid.Int64Range(1, 900).Draw(rt, "data")
			if at+n > size {
				break
			}
			list = append(list, diskio.Extent{Start: at, Length: n})
			at += n
		}
		from := rapid.Int64Range(0, size/diskio.BlockBytes).Draw(rt, "from") * diskio.BlockBytes
		p := newPlan(extents{size: size, list: list}.NextData, size, from)
		left, err := p.remaining()
		if err != nil {
			rt.Fatal(err)
		}
		covered := make([]bool, (size+diskio.BlockBytes-1)/diskio.BlockBytes)
		end, total := from, int64(0)
		for {
			e, err := p.piece()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				rt.Fatal(err)
			}
			if e.Start < end || e.Start%diskio.BlockBytes != 0 || e.Length <= 0 || e.Length > wire.MaxFrameBytes ||
				e.End() > size || e.Length%diskio.BlockBytes != 0 && e.End() != size {
				rt.Fatalf("piece %+v behind %d in a disk of %d", e, end, size)
			}
			end = e.End()
			total += e.Length
			for b := e.Start / diskio.BlockBytes; b*diskio.BlockBytes < end; b++ {
				covered[b] = true
			}
		}
		if total != left {
			rt.Fatalf("pieces of %d bytes, but %d remained", total, left)
		}
		for b, have := range covered {
			start := int64(b) * diskio.BlockBytes
			want := false
			for _, x := range list {
				want = want || start >= from && x.Start < start+diskio.BlockBytes && x.End() > start
			}
			if have != want {
				rt.Fatalf("block %d is in the plan: %v, want %v", b, have, want)
			}
		}
	})
}

func TestPlanOfALyingSnapshot(t *testing.T) {
	for _, x := range []diskio.Extent{{Start: -5, Length: 10}, {Start: 0, Length: 1 << 40}, {Start: 1 << 40, Length: 1}} {
		p := newPlan(liar{x}.NextData, liar{x}.Size(), 0)
		if e, err := p.piece(); err == nil {
			t.Errorf("extent %+v was planned as %+v", x, e)
		}
	}
}

type liar struct{ extent diskio.Extent }

func (l liar) ReadAt([]byte, int64) (int, error) { return 0, io.ErrUnexpectedEOF }
func (l liar) Size() int64                       { return 1 << 20 }
func (l liar) NextData(int64) (int64, int64, error) {
	return l.extent.Start, l.extent.Length, nil
}
func (l liar) Identity() (string, error) { return "liar", nil }
func (l liar) Check() error              { return nil }
func (l liar) Close() error              { return nil }

// TestUnreadDiskHasNoEnd reads a disk that can't be read. What was read so far must
// not look like all of it.
func TestUnreadDiskHasNoEnd(t *testing.T) {
	d := &diskRun{vm: "sql01", name: "os", board: progress.NewBoard("source", "branch", "test")}
	d.snapshot = liar{diskio.Extent{Length: 1 << 20}}
	ahead := make(chan *piece, readAhead)
	err := d.read(t.Context(), nil, 0, 1, ahead)
	var disk *DiskError
	if !errors.As(err, &disk) {
		t.Fatalf("got %v, want an error of the disk", err)
	}
	select {
	case p, open := <-ahead:
		t.Errorf("the queue has %v, open %v; want it open and empty", p, open)
	default:
	}
}
