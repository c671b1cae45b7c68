package resume_test

import (
	"context"
	"errors"
	"math"
	"os"
	"path"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"wanrep/diskio"
	"wanrep/resume"
)

// rotten returns a store with one disk of so many blocks, of which none is what was
// committed.
func rotten(t *testing.T, blocks int) *resume.Store {
	t.Helper()
	fsys, dir := committed(t, newSnapshot("os", strings.Repeat("x", blocks), block))
	name := path.Join(dir, "os.img")
	must(t, fsys.Chmod(name, 0o644))
	f, err := fsys.OpenFile(name, os.O_RDWR, 0)
	must(t, err)
	_, err = f.WriteAt(make([]byte, blocks*block), plainHead)
	must(t, errors.Join(err, f.Close()))
	s, err := resume.OpenReadOnly(fsys, resume.Config{Format: plain{}})
	must(t, err)
	return s
}

var onlyPoint = resume.Point{Source: "lyon", VM: "sql01", Point: "0000000000000001"}

// found returns which blocks are wrong, as far as they were looked at.
func found(t *testing.T, s *resume.Store, o resume.VerifyOptions) map[int64]bool {
	t.Helper()
	blocks := map[int64]bool{}
	must(t, resume.VerifySome(t.Context(), s, onlyPoint, o, func(p resume.VerifyProblem) {
		for at := p.Extent.Start; at < p.Extent.End(); at += block {
			blocks[at/block] = true
		}
	}))
	return blocks
}

// TestSamplesCoverTheDisk: each reads about its share, the same seed the same one, and
// consecutive ones read every block.
func TestSamplesCoverTheDisk(t *testing.T) {
	const blocks = 40 * 16
	s := rotten(t, blocks)
	for _, share := range []float64{0.5, 0.1, 0.03} {
		seen := map[int64]bool{}
		total, days := 0, int(1/share+0.999)
		for day := range days {
			got := found(t, s, resume.VerifyOptions{Sample: share, Seed: 77 + uint64(day)})
			total += len(got)
			for at := range got {
				seen[at] = true
			}
		}
		if len(seen) != blocks || float64(total) > 1.2*blocks {
			t.Errorf("%d samples of %v have read %d blocks, %d of %d different ones", days, share, total, len(seen), blocks)
		}
		one, same := found(t, s, resume.VerifyOptions{Sample: share, Seed: 5}), found(t, s, resume.VerifyOptions{Sample: share, Seed: 5})
		if len(one) != len(same) {
			t.Errorf("a seed chooses %d blocks and then %d", len(one), len(same))
		}
	}
	for _, all := range []float64{0, 1, 2} {
		if got := found(t, s, resume.VerifyOptions{Sample: all, Seed: 5}); len(got) != blocks {
			t.Errorf("a sample of %v has read %d blocks", all, len(got))
		}
	}
}

func within(extents ...diskio.Extent) resume.VerifyOptions {
	return resume.VerifyOptions{Extents: extents}
}

func TestVerifyAnExtent(t *testing.T) {
	s := rotten(t, 40)
	tests := []struct {
		name   string
		o      resume.VerifyOptions
		lo, hi int64 // blocks
	}{
		{"all", resume.VerifyOptions{}, 0, 40},
		{"in the middle", within(diskio.Extent{Start: 3*block + 1, Length: 2 * block}), 3, 6},
		{"to the end", within(diskio.Extent{Start: 39 * block, Length: math.MaxInt64}), 39, 40},
		{"behind the end", within(diskio.Extent{Start: 50 * block, Length: block}), 0, 0},
		{"of another disk", resume.VerifyOptions{Disk: "data"}, 0, 0},
		{"of the disk", resume.VerifyOptions{Disk: "os", Extents: []diskio.Extent{{Length: 1}}}, 0, 1},
		{"several that meet", within(diskio.Extent{Start: 7 * block, Length: block}, diskio.Extent{Start: 4*block + 9, Length: 3 * block}), 4, 8},
		{"one within another", within(diskio.Extent{Start: 5 * block, Length: block}, diskio.Extent{Start: 4 * block, Length: 4 * block}), 4, 8},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := found(t, s, test.o)
			for at := test.lo; at < test.hi; at++ {
				if !got[at] {
					t.Errorf("block %d was not read", at)
				}
			}
			if len(got) != int(test.hi-test.lo) {
				t.Errorf("%d blocks were read, want %d", len(got), test.hi-test.lo)
			}
		})
	}
}

// TestSampleWithUntrustedDigests: nothing can be said of the content then.
func TestSampleWithUntrustedDigests(t *testing.T) {
	fsys, dir := committed(t, newSnapshot("os", "abcd", block))
	must(t, fsys.Chmod(path.Join(dir, "os.digests"), 0o644))
	must(t, flip(fsys, path.Join(dir, "os.digests"), 64+20, 1))
	s, err := resume.OpenReadOnly(fsys, resume.Config{Format: plain{}})
	must(t, err)
	var got []string
	must(t, resume.VerifySome(t.Context(), s, onlyPoint, resume.VerifyOptions{Sample: 0.5}, func(p resume.VerifyProblem) { got = append(got, p.What) }))
	if len(got) != 1 || !strings.HasPrefix(got[0], "digests file: ") {
		t.Errorf("found %q", got)
	}
}

func TestVerifyKeepsToARate(t *testing.T) {
	fsys, _ := committed(t, newSnapshot("os", strings.Repeat("x", 200), block))
	synctest.Test(t, func(t *testing.T) {
		s, err := resume.OpenReadOnly(fsys, resume.Config{Format: plain{}})
		must(t, err)
		verify := func(ctx context.Context) (time.Duration, error) {
			begun := time.Now()
			err := resume.VerifySome(ctx, s, onlyPoint, resume.VerifyOptions{MaxRate: 10 * block}, func(p resume.VerifyProblem) { t.Errorf("found %+v", p) })
			return time.Since(begun), err
		}
		if took, err := verify(t.Context()); err != nil || took < 19*time.Second || took > 20*time.Second {
			t.Errorf("200 blocks at 10 a second took %v: %v", took, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if took, err := verify(ctx); !errors.Is(err, context.DeadlineExceeded) || took != 5*time.Second {
			t.Errorf("it was to end after 5s and took %v: %v", took, err)
		}
	})
}
