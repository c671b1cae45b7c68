package ladder

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"wanrep/diskio"
	"wanrep/diskio/digest"
	"wanrep/diskio/durable/crashfs"
	"wanrep/replicate"
	"wanrep/replicate/progress"
	"wanrep/resume"
	"wanrep/resume/vhdxstore"
)

// scrubStore makes a store with points of a VM, of so many disks of so many blocks each.
func scrubStore(t *testing.T, fsys *crashfs.FS, points, disks, blocks int) *resume.Store {
	t.Helper()
	must := func(err error) {
		if err != nil {
			t.Helper()
			t.Fatal(err)
		}
	}
	store, err := resume.Open(fsys, resume.Config{Format: vhdxstore.Format{}})
	must(err)
	for point := range points {
		var specs []resume.DiskSpec
		for i := range disks {
			specs = append(specs, resume.DiskSpec{
				Name: fmt.Sprintf("disk%d", i), ID: diskio.ID{byte(i)}, Size: int64(blocks) * diskio.BlockBytes,
				LogicalSectorSize: 512, PhysicalSectorSize: 4096, Identity: fmt.Sprint(point),
			})
		}
		part, err := store.Begin("lyon", "sql01", specs)
		must(err)
		for i, d := range part.Disks() {
			tree := digest.NewTree(0)
			for b := range blocks {
				content := bytes.Repeat([]byte{byte(1 + point), byte(i), byte(b), byte(b >> 8)}, diskio.BlockBytes/4)
				must(d.Write(int64(b)*diskio.BlockBytes, content))
				tree.Add(digest.Block(content))
			}
			root, err := tree.Root(d.Spec().Size)
			must(err)
			must(d.Finish(root))
		}
		_, err = part.Commit()
		must(err)
	}
	return store
}

// TestScrubGoesOnWhereItWas stops a target in the middle of a pass, and starts it again.
// It never reads faster than it may.
func TestScrubGoesOnWhereItWas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const disks, blocks = 3, 24
		fsys, state := crashfs.New(), crashfs.New()
		store := scrubStore(t, fsys, 2, disks, blocks)
		defer store.Close()
		read := int64(0)
		fsys.Trace(func(op crashfs.Op) {
			if op.Kind == "read" && op.Length == diskio.BlockBytes {
				read += int64(op.Length)
			}
		})
		const diskTime = blocks * time.Second // at a block a second
		rules := replicate.ScrubRules{Every: 24 * time.Hour, Sample: 1, MaxRate: diskio.BlockBytes}
		run := func(d time.Duration) {
			board := progress.NewBoard("target", "dr", "test")
			target := replicate.NewTarget(replicate.TargetConfig{Store: store, State: state, Scrub: rules, Board: board, Log: quiet})
			ctx, cancel := context.WithTimeout(t.Context(), d)
			defer cancel()
			err := target.Serve(ctx, func(ctx context.Context) (replicate.Link, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			})
			if err != nil {
				t.Error(err)
			}
		}
		// A file's structures are read too, less than a disk's content in all.
		want := func(when string, disks float64) {
			t.Helper()
			if got := float64(read) / (blocks * diskio.BlockBytes); got < disks || got >= disks+1 {
				t.Errorf("%s: the content of %.2f disks was read, want %g", when, got, disks)
			}
			read = 0
		}
		run(2*diskTime + diskTime/2)
		want("in the time for 2.5", 2.5)
		run(12 * time.Hour)
		want("after the restart", 4)
		run(11 * time.Hour)
		if read != 0 {
			t.Errorf("%d bytes were read before the next pass is due", read)
		}
		run(2 * time.Hour)
		want("by the next pass", 6)
	})
}
