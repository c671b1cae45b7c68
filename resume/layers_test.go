package resume_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"syscall"
	"testing"

	"wanrep/diskio/durable"
	"wanrep/diskio/durable/crashfs"
	"wanrep/resume"
	"wanrep/resume/vhdxstore"
)

// A stage is a disk as a run finds it, and how much of it the run sends.
type stage struct {
	picture string
	blocks  int // up to which the run comes; the last run sends all and commits
}

// stages makes them from pictures of the disk.
func stages(list ...any) (s []stage) {
	for i := 0; i < len(list); i += 2 {
		s = append(s, stage{list[i].(string), list[i+1].(int)})
	}
	return s
}

// sendTo sends what differs, up to a block, and syncs. It returns how many blocks that
// were.
func sendTo(d *resume.PartDisk, disk snapshot, blocks int) (sent int, err error) {
	base, err := baseOf(d)
	if err != nil {
		return 0, err
	}
	end := min(int64(blocks)*block, disk.spec.Size)
	for at := d.Durable(); at < end; at += block {
		b := disk.content[at:min(at+block, disk.spec.Size)]
		if sameAs(base, at, b) {
			err = d.SkipTo(at + int64(len(b)))
		} else {
			err = d.Write(at, b)
			sent++
		}
		if err != nil {
			return sent, err
		}
	}
	_, err = d.Sync()
	return sent, err
}

// TestChangedDiskContinues: what was received of a disk before it changed is not sent
// again, however often it changes, whether it was complete, and if it grew.
func TestChangedDiskContinues(t *testing.T) {
	tests := []struct {
		name   string
		base   string // picture of the point before; none if empty
		stages []stage
		sent   []int // blocks of each run
	}{
		{"changed behind what was received", "", stages("abcdef", 3, "abcdeX", 6), []int{3, 3}},
		{"changed in what was received", "", stages("abcdef", 3, "aXcdef", 6), []int{3, 4}},
		{"became zeros", "", stages("abcdef", 3, "a.cdef", 6), []int{3, 4}},
		{"zeros became content", "", stages("a.cdef", 3, "aXcdef", 6), []int{2, 4}},
		{"nothing but its identity", "", stages("abcdef", 4, "abcdeg", 0, "abcdef", 6), []int{4, 0, 2}},
		{"twice", "", stages("abcdef", 4, "Xbcdef", 2, "XYcdef", 6), []int{4, 1, 3}},
		{"back again", "", stages("abcdef", 4, "Xbcdef", 2, "abcdef", 6), []int{4, 1, 3}},
		{"more often than there are layers", "",
			stages("abcdef", 4, "Abcdef", 3, "ABcdef", 2, "ABCdef", 3, "aBCdef", 1, "abCDef", 2, "abcDef", 3, "abcDEF", 6),
			[]int{4, 1, 1, 1, 1, 1, 1, 3}},
		{"was complete", "", stages("abcd", 4, "aXcd", 4), []int{4, 1}},
		{"grew", "", stages("abcd", 3, "aXcdef", 6), []int{3, 4}},
		{"grew when it was complete", "", stages("abcd", 4, "abcdef", 6), []int{4, 2}},
		{"over a point", "abcdef", stages("Xbcdef", 4, "XbYdef", 6), []int{1, 1}},
		{"back to the point's", "abcdef", stages("XYcdef", 4, "abcdef", 6), []int{2, 2}},
		{"grew over a point", "abcd", stages("Xbcdef", 5, "X.cdeg", 6), []int{2, 2}},
		{"nothing was received", "", stages("abcd", 0, "Xbcd", 4), []int{0, 4}},
	}
	for _, test := range tests {
		for _, format := range []resume.Format{plain{}, vhdxstore.Format{}} {
			t.Run(fmt.Sprintf("%s, %s", test.name, format.Extension()), func(t *testing.T) {
				sent := playStages(t, format, test.base, test.stages, block)
				if !slices.Equal(sent, test.sent) {
					t.Errorf("%d blocks were sent, want %d", sent, test.sent)
				}
			})
			t.Run(fmt.Sprintf("%s, ending in a block, %s", test.name, format.Extension()), func(t *testing.T) {
				playStages(t, format, test.base, test.stages, 512)
			})
		}
	}
}

// playStages plays the runs on a point with a picture, checks the point that they come
// to, and returns how many blocks each sent. The disks' last blocks have only tail bytes.
func playStages(t *testing.T, format resume.Format, base string, stages []stage, tail int) (sent []int) {
	fsys := crashfs.New()
	config := resume.Config{Format: format}
	s, err := resume.Open(fsys, config)
	must(t, err)
	want := "0000000000000001"
	if base != "" {
		commitAll(t, s, newSnapshot("os", base, tail))
		want = "0000000000000002"
	}
	for i, stage := range stages {
		if i%3 == 2 { // now and then it is another process
			must(t, s.Close())
			fsys = fsys.Crash(uint64(i))
			s, err = resume.Open(fsys, config)
			must(t, err)
		}
		disk := newSnapshot("os", stage.picture, tail)
		part := begin(t, s, disk)
		if part.Point() != want || part.Disks()[0].Durable() != 0 {
			t.Errorf("run %d: point %s at %d, want point %s at 0", i, part.Point(), part.Disks()[0].Durable(), want)
		}
		n, err := sendTo(part.Disks()[0], disk, stage.blocks)
		must(t, err)
		sent = append(sent, n)
		if i < len(stages)-1 {
			must(t, part.Close())
			continue
		}
		must(t, part.Disks()[0].Finish(disk.root))
		_, err = part.Commit()
		must(t, err)
		must(t, compare(s, point(t, s, want), []snapshot{disk}))
		must(t, resume.Verify(t.Context(), s, point(t, s, want), func(p resume.VerifyProblem) { t.Errorf("%+v", p) }))
	}
	must(t, s.Close())
	return sent
}

// parked returns a store with a part of which two blocks of a disk are there, and what
// the store logs.
func parked(t *testing.T, disk snapshot) (*crashfs.FS, *resume.Store, *bytes.Buffer) {
	t.Helper()
	fsys, log := crashfs.New(), &bytes.Buffer{}
	s, err := resume.Open(fsys, resume.Config{Format: plain{}, Log: slog.New(slog.NewTextHandler(log, nil))})
	must(t, err)
	part := begin(t, s, disk)
	_, err = sendTo(part.Disks()[0], disk, 2)
	must(t, err)
	must(t, part.Close())
	return fsys, s, log
}

// TestWhyADiskStartsAgain: a disk that can't go on over what was received starts again,
// and the log says why.
func TestWhyADiskStartsAgain(t *testing.T) {
	old, changed := newSnapshot("os", "abcd", block), newSnapshot("os", "aXcd", block)
	large := newSnapshot("os", strings.Repeat("a", 101), block)
	const part = "lyon/sql01/parts/0000000000000001/"
	tests := []struct {
		name   string
		disk   snapshot
		damage func(*crashfs.FS) error
		want   string
	}{
		{"smaller", newSnapshot("os", "abc", block), nil, "it had 262144 bytes and has only 196608 now"},
		{"another disk", replaced(old), nil, "another disk has its name now"},
		{"its file is gone", changed, func(f *crashfs.FS) error { return f.Remove(part + "os.img") }, "os.img: file does not exist"},
		{"its digests are gone", changed, func(f *crashfs.FS) error { return f.Remove(part + "os.digests") }, "os.digests: file does not exist"},
		{"its file is damaged", changed, func(f *crashfs.FS) error { return flip(f, part+"os.img", 3, 1) }, "no plain disk"},
		{"no room to grow", large, nil, "no room for so large a disk"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			fsys, s, log := parked(t, old)
			if test.damage != nil {
				must(t, test.damage(fsys))
			}
			p := begin(t, s, test.disk)
			if p.Point() != "0000000000000001" || p.Disks()[0].Based() {
				t.Errorf("point %s, over something: %v", p.Point(), p.Disks()[0].Based())
			}
			if !strings.Contains(log.String(), "disk starts again") || !strings.Contains(log.String(), test.want) {
				t.Errorf("the log does not say %q: %s", test.want, log)
			}
			must(t, sendAll(p.Disks()[0], test.disk))
			_, err := p.Commit()
			must(t, err)
			must(t, compare(s, point(t, s, p.Point()), []snapshot{test.disk}))
		})
	}
}

// TestDamagedLayer: a layer whose digests are not what the journal counts is found when
// it is read or, at the latest, merged. The disk then starts again.
func TestDamagedLayer(t *testing.T) {
	for _, at := range []int64{9, 64 + 2, 64 + 20, 64 + 40 + 3} {
		fsys, s, _ := parked(t, newSnapshot("os", "abcd", block))
		changed := newSnapshot("os", "aXcd", block)
		part := begin(t, s, changed)
		must(t, flip(fsys, "lyon/sql01/parts/0000000000000001/os.digests", at, 2))
		err := sendAll(part.Disks()[0], changed)
		if err == nil {
			t.Fatalf("byte %d: the damage was not found", at)
		}
		must(t, part.Close())
		part = begin(t, s, changed)
		must(t, sendAll(part.Disks()[0], changed))
		m, err := part.Commit()
		must(t, err)
		must(t, compare(s, point(t, s, m.Point), []snapshot{changed}))
	}
}

// TestNoSpaceToMerge: a merge stops at the reserve of free space. The part stays, the
// reason is told, and it goes on when there is space.
func TestNoSpaceToMerge(t *testing.T) {
	for _, format := range []resume.Format{plain{}, vhdxstore.Format{}} {
		t.Run(format.Extension(), func(t *testing.T) {
			fsys := crashfs.New()
			s, err := resume.Open(fsys, resume.Config{Format: format})
			must(t, err)
			base := newSnapshot("os", strings.Repeat("z", 80), block)
			commitAll(t, s, base)
			old, changed := newSnapshot("os", strings.Repeat("a", 80), block), newSnapshot("os", strings.Repeat("b", 80), block)
			part := begin(t, s, old)
			_, err = sendTo(part.Disks()[0], old, 79)
			must(t, err)
			must(t, part.Close())
			part = begin(t, s, changed)
			_, err = sendTo(part.Disks()[0], changed, 79)
			must(t, err)
			fsys.SetSpace(62 << 20)
			if !part.Disks()[0].Merges(80 * block) {
				t.Error("the last block does not make it merge")
			}
			if err := part.Disks()[0].SkipTo(80 * block); !errors.Is(err, durable.ErrFull) {
				t.Fatalf("got %v, want that there is no space", err)
			}
			must(t, part.Close())
			if _, err := s.Begin("lyon", "sql01", []resume.DiskSpec{changed.spec}); !errors.Is(err, durable.ErrFull) {
				t.Errorf("got %v, want that there is no space", err)
			}
			must(t, compare(s, point(t, s, "0000000000000001"), []snapshot{base}))
			fsys.SetSpace(1 << 40)
			part = begin(t, s, changed)
			if got := part.Disks()[0].Durable(); got != 79*block {
				t.Errorf("the disk goes on at %d, want %d", got, 79*block)
			}
			must(t, sendAll(part.Disks()[0], changed))
			_, err = part.Commit()
			must(t, err)
			must(t, compare(s, point(t, s, "0000000000000002"), []snapshot{changed}))
		})
	}
}

// TestInterruptedMerge: a store that is to be closed ends a merge, and the next process
// finishes it.
func TestInterruptedMerge(t *testing.T) {
	fsys := crashfs.New()
	config := resume.Config{Format: vhdxstore.Format{}}
	s, err := resume.Open(fsys, config)
	must(t, err)
	old, changed := newSnapshot("os", "abcd", block), newSnapshot("os", "aXcd", block)
	part := begin(t, s, old)
	_, err = sendTo(part.Disks()[0], old, 3)
	must(t, err)
	must(t, part.Close())
	part = begin(t, s, changed)
	s.Interrupt()
	if err := sendAll(part.Disks()[0], changed); err == nil || !strings.Contains(err.Error(), "canceled") {
		t.Fatalf("got %v, want that it was canceled", err)
	}
	must(t, part.Close())
	must(t, s.Close())
	s, err = resume.Open(fsys, config)
	must(t, err)
	part = begin(t, s, changed)
	if got := part.Disks()[0].Durable(); got != 3*block {
		t.Errorf("the disk goes on at %d, want %d", got, 3*block)
	}
	must(t, sendAll(part.Disks()[0], changed))
	_, err = part.Commit()
	must(t, err)
	must(t, compare(s, point(t, s, "0000000000000001"), []snapshot{changed}))
}

// TestWrongRootDropsLayers: if a disk is not what the source has in the end, what was
// received before is not trusted either.
func TestWrongRootDropsLayers(t *testing.T) {
	fsys, s, _ := parked(t, newSnapshot("os", "ab", block))
	changed := newSnapshot("os", "aX", block)
	part := begin(t, s, changed)
	wrong := changed
	wrong.root[2]++
	if err := sendAll(part.Disks()[0], wrong); !errors.Is(err, resume.ErrDigest) {
		t.Fatalf("got %v, want %v", err, resume.ErrDigest)
	}
	must(t, part.Close())
	part = begin(t, open(t, fsys.Crash(1)), changed)
	if part.Disks()[0].Based() || part.Disks()[0].Durable() > 0 {
		t.Error("the disk goes on over what was wrong")
	}
	must(t, sendAll(part.Disks()[0], changed))
	_, err := part.Commit()
	must(t, err)
}

// TestDiskThatStaysBroken: while changed content is merged the store's disk gets full,
// broken or read-only, and stays so for a while. The reason is told, the part stays with
// all that was acknowledged, and so do the points.
func TestDiskThatStaysBroken(t *testing.T) {
	base := newSnapshot("os", "zzzzz", block)
	old, changed := newSnapshot("os", "abcdz", block), newSnapshot("os", "aXc.e", block)
	for _, fault := range []error{crashfs.ErrFull, crashfs.ErrIO, syscall.EROFS} {
		for after := 0; ; after++ {
			fsys := crashfs.New()
			s := open(t, fsys)
			commitAll(t, s, base)
			for _, disk := range []snapshot{old, changed} {
				part := begin(t, s, disk)
				_, err := sendTo(part.Disks()[0], disk, 4)
				must(t, err)
				must(t, part.Close())
			}
			part := begin(t, s, changed)
			fsys.Inject(crashfs.Fault{At: fsys.Ops() + 1 + after, Err: fault, Sticky: true})
			err := sendAll(part.Disks()[0], changed)
			if err == nil {
				break // the fault comes later than the merge
			}
			if !errors.Is(err, fault) {
				t.Fatalf("%v from operation %d on: the error is %v", fault, after, err)
			}
			_ = part.Close()
			if _, err := s.Begin("lyon", "sql01", []resume.DiskSpec{changed.spec}); !errors.Is(err, fault) {
				t.Fatalf("%v from operation %d on: begun again with %v", fault, after, err)
			}
			must(t, compare(s, point(t, s, "0000000000000001"), []snapshot{base}))
			fsys.Inject(crashfs.Fault{})
			part = begin(t, s, changed)
			if part.Point() != "0000000000000002" || part.Disks()[0].Durable() < 4*block {
				t.Fatalf("%v from operation %d on: point %s goes on at %d", fault, after, part.Point(), part.Disks()[0].Durable())
			}
			must(t, sendAll(part.Disks()[0], changed))
			_, err = part.Commit()
			must(t, err)
			must(t, compare(s, point(t, s, "0000000000000002"), []snapshot{changed}))
		}
	}
}
