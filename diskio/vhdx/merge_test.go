package vhdx

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
)

// mergeCase builds base <- one <- two in memory and returns what one and two hold.
func mergeCase(t *testing.T, seed uint64, specs [3]Spec) (files memoryFiles, one, two []byte) {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 21))
	files = memoryFiles{}
	names := []string{"base", "one", "two"}
	var below *Writer
	var model []byte
	for i, s := range specs {
		f := newCrashFile()
		files[names[i]] = f
		if below != nil {
			s.Parent = &Parent{DataWriteGUID: below.DataWriteGUID(), RelativePath: names[i-1]}
		}
		w, err := Create(f, s)
		if err != nil {
			t.Fatal(err)
		}
		model = append(bytes.Clone(model), make([]byte, s.VirtualSize-int64(len(model)))...)
		scribble(t, w, model, r, 1+3*i) // little below, so that the merge makes blocks
		if err := w.Seal(); err != nil {
			t.Fatal(err)
		}
		if err := f.Sync(); err != nil {
			t.Fatal(err)
		}
		if i == 1 {
			one = bytes.Clone(model)
		}
		below = w
	}
	return files, one, model
}

func (m memoryFiles) content(t *testing.T, name string) []byte {
	t.Helper()
	d, err := OpenFiles(m, name, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return readAll(t, d)
}

var mergeSpecs = map[string][3]Spec{
	"dynamic":      {{VirtualSize: 3 * mib, BlockSize: mib}, {VirtualSize: 3 * mib, BlockSize: mib}, {VirtualSize: 3 * mib}},
	"large blocks": {{VirtualSize: 4*mib + 512, BlockSize: 4 * mib}, {VirtualSize: 4*mib + 512, BlockSize: mib}, {VirtualSize: 4*mib + 512}},
	"fixed":        {{VirtualSize: 3 * mib, Fixed: true}, {VirtualSize: 3 * mib, BlockSize: mib}, {VirtualSize: 3 * mib}},
	"grown":        {{VirtualSize: 2*mib + 512, BlockSize: mib}, {VirtualSize: 3 * mib, BlockSize: mib}, {VirtualSize: 4 * mib}},
}

// After a merge, cut off at each operation and called again, the parent holds what
// the child held and takes its place. Until then the child reads the same over it.
func TestMergeWithCrashes(t *testing.T) {
	for name, specs := range mergeSpecs {
		t.Run(name, func(t *testing.T) {
			files, one, two := mergeCase(t, 1, specs)
			mergeCut(t, files, "base", "one", one, two)
		})
		t.Run(name+", in the middle", func(t *testing.T) {
			files, _, two := mergeCase(t, 2, specs)
			mergeCut(t, files, "one", "two", two, two)
		})
	}
}

// mergeCut merges child into parent once for each operation at which the machine can
// die, twice in a row. merged is the child's content, top that of "two".
func mergeCut(t *testing.T, files memoryFiles, parent, child string, merged, top []byte) {
	t.Helper()
	untouched := files[parent]
	childGUID := guidOf(t, files, child)
	r := rand.New(rand.NewPCG(9, 22))
	more := true
	for k := 0; more; k++ {
		p := newCrashFile()
		p.now, p.synced = untouched.now.clone(), untouched.now.clone()
		files[parent] = p
		for i, cut := range []int{k, r.IntN(k + 1)} {
			p.cutAfter = cut
			err := Merge(context.Background(), files[child], p)
			_, died := err.(crashed)
			if err != nil && !died {
				t.Fatal(err)
			}
			if i == 0 {
				more = died // or k is behind the last operation
			}
			p.crash(r)
			if guidOf(t, files, parent) == childGUID {
				break // step 4 was done
			}
			if got := files.content(t, "two"); !bytes.Equal(got, top) {
				t.Fatalf("cut at %d: the chain after a crash: %s", k, firstDiff(got, top))
			}
		}
		if err := Merge(context.Background(), files[child], p); err != nil {
			t.Fatalf("cut at %d: merging again: %v", k, err)
		}
		if got := files.content(t, parent); !bytes.Equal(got, merged) {
			t.Fatalf("cut at %d: merged: %s", k, firstDiff(got, merged))
		}
		if child != "two" {
			instead := memoryFiles{child: p, "two": files["two"]}
			if got := instead.content(t, "two"); !bytes.Equal(got, top) {
				t.Fatalf("cut at %d: the grandchild over the merged disk: %s", k, firstDiff(got, top))
			}
		}
	}
}

// guidOf is the data write GUID of a file.
func guidOf(t *testing.T, files memoryFiles, name string) (id [16]byte) {
	t.Helper()
	h, _, err := currentHeader(readHeaders(files[name]))
	if err != nil {
		t.Fatal(err)
	}
	return h.dataWriteGUID
}

// What a disk grows by was zeros before the merge, although an ancestor has bytes
// there, and is zeros after it.
func TestMergeGrownOverLargerAncestor(t *testing.T) {
	files := memoryFiles{"base": newCrashFile(), "one": newCrashFile(), "two": newCrashFile()}
	var below *Writer
	for i, name := range []string{"base", "one", "two"} {
		s := Spec{VirtualSize: []int64{6 * mib, 2*mib + 512, 6 * mib}[i], BlockSize: mib}
		if below != nil {
			s.Parent = &Parent{DataWriteGUID: below.DataWriteGUID(), RelativePath: []string{"", "base", "one"}[i]}
		}
		w, err := Create(files[name], s)
		if err != nil {
			t.Fatal(err)
		}
		put(t, w, noise(int([]int64{6 * mib, 512, 4096}[i]), 1), []int64{0, 2 * mib, 5 * mib}[i])
		if err := w.Seal(); err != nil {
			t.Fatal(err)
		}
		below = w
	}
	want := files.content(t, "two")
	if !allZero(want[2*mib+512 : 5*mib]) {
		t.Fatal("an ancestor shows behind its child's end")
	}
	if err := Merge(context.Background(), files["two"], files["one"]); err != nil {
		t.Fatal(err)
	}
	if got := files.content(t, "one"); !bytes.Equal(got, want) {
		t.Error(firstDiff(got, want))
	}
}

func TestMergeRefuses(t *testing.T) {
	files, _, _ := mergeCase(t, 1, mergeSpecs["dynamic"])
	if err := Merge(context.Background(), files["two"], files["base"]); err == nil || !strings.Contains(err.Error(), "the child builds on") {
		t.Errorf("got %v, want that base is not the parent of two", err)
	}
	if err := Merge(context.Background(), files["base"], files["one"]); err == nil || !strings.Contains(err.Error(), "no parent") {
		t.Errorf("got %v, want that base has no parent", err)
	}
	if err := MergeIdentity(files["two"], files["base"]); err == nil || !strings.Contains(err.Error(), "the child builds on") {
		t.Errorf("identity: got %v, want that base is not the parent of two", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := Merge(ctx, files["one"], files["base"]); err != context.Canceled {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
	if files.content(t, "two") == nil {
		t.Error("a merge that was called off broke the chain")
	}
}

// TestMergeOfIncomplete merges a disk that grew into one that was not received whole.
// The one stays marked until it is sealed.
func TestMergeOfIncomplete(t *testing.T) {
	files := memoryFiles{"one": newCrashFile(), "two": newCrashFile()}
	one, err := Create(files["one"], Spec{VirtualSize: 2 * mib, BlockSize: mib, Incomplete: true})
	if err != nil {
		t.Fatal(err)
	}
	put(t, one, noise(4096, 1), 0)
	put(t, one, noise(4096, 2), mib)
	if err := one.Flush(); err != nil {
		t.Fatal(err)
	}
	const room = int64(mib / 8 * mib) // entries of the BAT, without those of bitmaps
	if _, err := Mergeable("one", files["one"], room); err == nil || !strings.Contains(err.Error(), "no room") {
		t.Errorf("got %v, want that a BAT of 1 MiB is too small", err)
	}
	guid, err := Mergeable("one", files["one"], 3*mib)
	if err != nil {
		t.Fatal(err)
	}
	two, err := Create(files["two"], Spec{
		VirtualSize: 3 * mib, BlockSize: mib, Incomplete: true, Parent: &Parent{DataWriteGUID: guid, RelativePath: "one"},
	})
	if err != nil {
		t.Fatal(err)
	}
	put(t, two, noise(4096, 3), mib)
	put(t, two, noise(4096, 4), 2*mib)
	if err := two.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := Merge(context.Background(), files["two"], files["one"]); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenFiles(files, "one", Options{}); err == nil {
		t.Error("the merged disk is not marked incomplete any more")
	}
	merged, err := Reopen(files["one"], 3*mib)
	if err != nil {
		t.Fatal(err)
	}
	if err := merged.Seal(); err != nil {
		t.Fatal(err)
	}
	want := make([]byte, 3*mib)
	for i, at := range []int{0, mib, 2 * mib} {
		copy(want[at:], noise(4096, []uint64{1, 3, 4}[i]))
	}
	if got := files.content(t, "one"); !bytes.Equal(got, want) {
		t.Error(firstDiff(got, want))
	}
}

// Between the two halves of a merge the chain reads the same.
func TestMergeInTwoSteps(t *testing.T) {
	files, one, two := mergeCase(t, 3, mergeSpecs["grown"])
	if err := CanMerge(files["two"], files["base"]); err == nil || !strings.Contains(err.Error(), "the child builds on") {
		t.Errorf("can merge: got %v, want that base is not the parent of two", err)
	}
	if err := CanMerge(files["one"], files["base"]); err != nil {
		t.Error("can merge: ", err)
	}
	if err := MergeIdentity(files["one"], files["base"]); err == nil || !strings.Contains(err.Error(), "does not have the child's content") {
		t.Errorf("identity without the content: %v", err)
	}
	for range 2 {
		if err := MergeContent(context.Background(), files["one"], files["base"]); err != nil {
			t.Fatal(err)
		}
		if got := files.content(t, "two"); !bytes.Equal(got, two) {
			t.Fatal("the chain after the first half: ", firstDiff(got, two))
		}
	}
	for range 2 {
		if err := MergeIdentity(files["one"], files["base"]); err != nil {
			t.Fatal(err)
		}
	}
	instead := memoryFiles{"one": files["base"], "two": files["two"]}
	if got := instead.content(t, "one"); !bytes.Equal(got, one) {
		t.Error("merged: ", firstDiff(got, one))
	}
	if got := instead.content(t, "two"); !bytes.Equal(got, two) {
		t.Error("the grandchild over the merged disk: ", firstDiff(got, two))
	}
	if err := MergeContent(context.Background(), files["one"], files["base"]); err != nil {
		t.Error("content of what is merged: ", err)
	}
}

// TestReopenGrownMerge merges a disk that grew within a block of which its parent has
// all, bytes or zeros, and cuts the block behind the parent's old end.
func TestReopenGrownMerge(t *testing.T) {
	create := func(f File, size int64, parent *Writer, name string) *Writer {
		t.Helper()
		s := Spec{VirtualSize: size, Incomplete: true}
		if parent != nil {
			s.Parent = &Parent{DataWriteGUID: parent.DataWriteGUID(), RelativePath: name}
		}
		w, err := Create(f, s)
		if err != nil {
			t.Fatal(err)
		}
		return w
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, middle := range [][]byte{noise(8192, 2), make([]byte, 8192)} {
		files := memoryFiles{"base": newCrashFile(), "one": newCrashFile(), "two": newCrashFile()}
		base := create(files["base"], 4096, nil, "")
		put(t, base, noise(4096, 1), 0)
		must(base.Seal())
		one := create(files["one"], 8192, base, "base")
		put(t, one, middle, 0)
		must(one.Flush())
		two := create(files["two"], 32<<10, one, "one")
		put(t, two, noise(4096, 4), 12<<10)
		must(two.Flush())
		must(Merge(context.Background(), files["two"], files["one"]))
		one, err := Reopen(files["one"], 16<<10)
		must(err)
		put(t, one, noise(4096, 5), 20<<10)
		must(one.Seal())
		want := make([]byte, 32<<10)
		copy(want, middle)
		copy(want[12<<10:], noise(4096, 4))
		copy(want[20<<10:], noise(4096, 5))
		if got := files.content(t, "one"); !bytes.Equal(got, want) {
			t.Error(firstDiff(got, want))
		}
	}
}

// A droppingFile is one whose n-th sync fails and drops what was written since the last,
// as a system does that takes the pages for clean. Reads do not show it.
type droppingFile struct {
	*crashFile
	n int
}

func (f *droppingFile) Sync() error {
	f.n--
	for _, op := range f.pending {
		switch {
		case f.n == 0: // dropped
		case op.truncate:
			f.synced.truncate(op.off)
		default:
			f.synced.write(op.data, op.off)
		}
	}
	f.pending = nil
	if f.n == 0 {
		return errors.New("input/output error")
	}
	f.synced.size = f.now.size
	return nil
}

// A merge that is called again after a sync failed leaves nothing to what the file only
// seems to have.
func TestMergeAfterASyncFailed(t *testing.T) {
	for name, specs := range mergeSpecs {
		t.Run(name, func(t *testing.T) {
			files, one, _ := mergeCase(t, 4, specs)
			for n := 1; ; n++ {
				base := newCrashFile()
				base.now, base.synced = files["base"].now.clone(), files["base"].now.clone()
				parent := &droppingFile{base, n}
				if Merge(context.Background(), files["one"], parent) == nil {
					return // n is behind the last sync
				}
				if err := Merge(context.Background(), files["one"], parent); err != nil {
					t.Fatalf("after sync %d failed: %v", n, err)
				}
				base.now = base.synced
				if got := (memoryFiles{"base": base}).content(t, "base"); !bytes.Equal(got, one) {
					t.Fatalf("after sync %d failed: %s", n, firstDiff(got, one))
				}
				if guid := guidOf(t, memoryFiles{"base": base}, "base"); guid != guidOf(t, files, "one") {
					t.Fatalf("after sync %d failed the parent is not the child", n)
				}
			}
		})
	}
}
