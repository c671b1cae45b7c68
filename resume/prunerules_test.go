package resume_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"wanrep/diskio/durable"
	"wanrep/diskio/durable/crashfs"
	"wanrep/resume"
	"wanrep/resume/vhdxstore"
)

// pruneStore returns an open store with the points of merges, and whoever checks it.
func pruneStore(t *testing.T, format resume.Format) (*pruner, *crashfs.FS, *resume.Store) {
	t.Helper()
	p := &pruner{format: format, want: merges}
	fsys, err := p.commitAll()
	must(t, err)
	s, err := resume.Open(fsys, p.config())
	must(t, err)
	t.Cleanup(func() { s.Close() })
	return p, fsys, s
}

// pinned fails the test unless the error says that a point is pinned, and why.
func pinned(t *testing.T, err error, why string) {
	t.Helper()
	var pin *resume.PinnedError
	if !errors.As(err, &pin) || !strings.Contains(pin.Reason, why) {
		t.Fatalf("got %v, want a point pinned since %s", err, why)
	}
}

func TestPruneLeavesReadersAlone(t *testing.T) {
	for _, format := range []resume.Format{plain{}, vhdxstore.Format{}} {
		t.Run(format.Extension(), func(t *testing.T) {
			p, _, s := pruneStore(t, format)
			first, err := s.OpenDisk(nthPoint(1), "os")
			must(t, err)
			pinned(t, s.Prune(t.Context(), nthPoint(1)), "it is being read")
			must(t, p.check(s))
			must(t, first.Close())

			// Who reads a point above goes on reading it. The merge is done beside that,
			// and the exchange waits.
			last, err := s.OpenDisk(nthPoint(3), "os")
			must(t, err)
			pinned(t, s.Prune(t.Context(), nthPoint(1)), "point 0000000000000003 is being read")
			if _, err := s.OpenDisk(nthPoint(1), "os"); !errors.Is(err, resume.ErrNoPoint) {
				t.Errorf("open a point that is being pruned: %v", err)
			}
			p.pruned = 1
			must(t, p.check(s))
			got, err := io.ReadAll(io.NewSectionReader(last, 0, last.Size()))
			must(t, err)
			if string(got) != string(merges[2][0].content) {
				t.Error("the reader read something else")
			}
			must(t, last.Close())
			must(t, s.FinishPrune(t.Context(), source, vmName))
			must(t, p.check(s))
			if err := s.Prune(t.Context(), nthPoint(1)); !errors.Is(err, resume.ErrNoPoint) {
				t.Errorf("prune what is gone: %v", err)
			}
		})
	}
}

// A part that is being received has read of what its base consists, and goes on.
func TestPruneBesideAPart(t *testing.T) {
	p, _, s := pruneStore(t, plain{})
	next := newSnapshot("os", "de.gqf", 512)
	part, err := s.Begin(source, vmName, []resume.DiskSpec{next.spec})
	must(t, err)
	d := part.Disks()[0]
	base, err := baseOf(d)
	must(t, err)
	must(t, d.SkipTo(block))
	pinned(t, s.Prune(t.Context(), nthPoint(1)), "a point of the VM is being received")
	p.pruned = 1
	must(t, p.check(s))
	for at := int64(block); at < d.Spec().Size; at += block {
		if b := next.content[at:min(at+block, d.Spec().Size)]; !sameAs(base, at, b) {
			must(t, d.Write(at, b))
		}
	}
	must(t, d.Finish(next.root))
	_, err = part.Commit()
	must(t, err)
	must(t, s.FinishPrune(t.Context(), source, vmName))
	p.want = append(p.want[:3:3], snapshots{next})
	must(t, p.check(s))
	for n := 2; n < 4; n++ {
		must(t, s.Prune(t.Context(), nthPoint(n)))
		p.pruned = n
		must(t, p.check(s))
	}
}

// A part that waits builds on the newest point, which may be merged with those below.
func TestPruneBelowAPart(t *testing.T) {
	p, fsys, s := pruneStore(t, vhdxstore.Format{})
	next := newSnapshot("os", "deeeqf", 512)
	part, err := s.Begin(source, vmName, []resume.DiskSpec{next.spec})
	must(t, err)
	must(t, part.Disks()[0].SkipTo(block))
	must(t, part.Disks()[0].Write(block, next.content[block:2*block]))
	_, err = part.Disks()[0].Sync()
	must(t, err)
	must(t, part.Close())
	pinned(t, s.Prune(t.Context(), nthPoint(3)), "it is the newest")
	must(t, p.prune(s))
	must(t, s.Close())
	s, err = resume.Open(fsys, p.config())
	must(t, err)
	t.Cleanup(func() { s.Close() })
	part, err = s.Begin(source, vmName, []resume.DiskSpec{next.spec})
	must(t, err)
	d := part.Disks()[0]
	if !d.Based() || d.Durable() != 2*block {
		t.Fatalf("based %v, durable up to %d", d.Based(), d.Durable())
	}
	must(t, d.Write(2*block, next.content[2*block:]))
	must(t, d.Finish(next.root))
	_, err = part.Commit()
	must(t, err)
	p.want = []snapshots{nil, nil, merges[2], {next}}
	must(t, p.check(s))
}

func TestPins(t *testing.T) {
	dir := path.Join(source, vmDirName, "points", nthPoint(2).Point)
	tests := []struct {
		name   string
		change func(t *testing.T, fsys *crashfs.FS, s *resume.Store)
		want   string // why the first point is pinned; empty if it is not
	}{
		{"nothing", func(*testing.T, *crashfs.FS, *resume.Store) {}, ""},
		{"the one that builds on it is damaged", func(t *testing.T, fsys *crashfs.FS, _ *resume.Store) {
			must(t, fsys.Remove(dir+"/os.img"))
		}, "point 0000000000000002, which builds on it, is damaged"},
		{"it is damaged", func(t *testing.T, fsys *crashfs.FS, _ *resume.Store) {
			must(t, fsys.Remove(path.Join(source, vmDirName, "points", nthPoint(1).Point, "os.img")))
		}, "it is damaged, and point 0000000000000002 builds on it"},
		{"nobody knows what builds on it", func(t *testing.T, fsys *crashfs.FS, _ *resume.Store) {
			must(t, fsys.Remove(dir+"/manifest.json"))
		}, "point 0000000000000002, which may build on it, is damaged"},
		{"a part builds on it", func(t *testing.T, fsys *crashfs.FS, s *resume.Store) {
			for _, n := range []int{2, 3} {
				must(t, fsys.Remove(path.Join(source, vmDirName, "points", nthPoint(n).Point, "os.digests")))
			}
			part, err := s.Begin(source, vmName, []resume.DiskSpec{merges[2][0].spec})
			must(t, err)
			must(t, part.Close())
		}, "part 0000000000000004 builds on it"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p, fsys, s := pruneStore(t, plain{})
			test.change(t, fsys, s)
			pins, err := s.Pins(source, vmName)
			must(t, err)
			if pins[nthPoint(1).Point] != test.want || pins[nthPoint(3).Point] != "it is the newest" {
				t.Errorf("pinned: %v, want %q", pins, test.want)
			}
			if test.want != "" {
				pinned(t, s.Prune(t.Context(), nthPoint(1)), test.want)
				return
			}
			must(t, p.prune(s))
		})
	}
}

func TestTwoPointsOnOne(t *testing.T) {
	p, fsys, s := pruneStore(t, plain{})
	// The newest is damaged, so that the next one builds on the one before it.
	must(t, fsys.Rename(path.Join(source, vmDirName, "points", nthPoint(3).Point, "os.img"), "os.img"))
	must(t, commitPoint(s, snapshots{newSnapshot("os", "d.e.qf", 512)}))
	must(t, fsys.Rename("os.img", path.Join(source, vmDirName, "points", nthPoint(3).Point, "os.img")))
	p.want = append(p.want[:3:3], snapshots{newSnapshot("os", "d.e.qf", 512)})
	must(t, p.check(s))
	must(t, s.Prune(t.Context(), nthPoint(1)))
	p.pruned = 1
	must(t, p.check(s))
	pinned(t, s.Prune(t.Context(), nthPoint(2)), "points 0000000000000003 and 0000000000000004 build on it")
}

func TestPruneCalledOff(t *testing.T) {
	p, fsys, s := pruneStore(t, vhdxstore.Format{})
	ctx, cancel := context.WithCancel(t.Context())
	merging := false
	fsys.Trace(func(op crashfs.Op) {
		if op.Kind == "write" && strings.HasSuffix(op.Name, "/"+nthPoint(1).Point+"/os.vhdx") {
			merging = true
			cancel()
		}
	})
	if err := s.Prune(ctx, nthPoint(1)); !errors.Is(err, context.Canceled) || !merging {
		t.Fatalf("got %v, merging %v", err, merging)
	}
	fsys.Trace(nil)
	p.pruned = 1
	must(t, p.check(s))
	must(t, s.FinishPrune(t.Context(), source, vmName))
	must(t, p.check(s))
	must(t, tidyPoints(fsys, merges[1:]))
}

func TestPruneNeedsSpace(t *testing.T) {
	p, fsys, s := pruneStore(t, plain{})
	fsys.SetSpace(64 << 20)
	if err := s.Prune(t.Context(), nthPoint(1)); !errors.Is(err, durable.ErrFull) {
		t.Fatalf("got %v, want %v", err, durable.ErrFull)
	}
	must(t, p.check(s))
	fsys.SetSpace(65 << 20)
	must(t, s.Prune(t.Context(), nthPoint(1)))
}

func TestPruneKeepsWhatItCanNotMerge(t *testing.T) {
	p, fsys, s := pruneStore(t, plain{})
	digests := path.Join(source, vmDirName, "points", nthPoint(1).Point, "os.digests")
	turn := func() {
		must(t, fsys.Chmod(digests, 0o600))
		must(t, flip(fsys, digests, 90, 1))
		must(t, fsys.Chmod(digests, 0o400))
	}
	turn()
	if err := s.Prune(t.Context(), nthPoint(1)); err == nil || !strings.Contains(err.Error(), "it does not give the root in the manifest") {
		t.Fatalf("got %v", err)
	}
	turn()
	must(t, p.check(s))
	must(t, tidyPoints(fsys, merges))
}

// Who reads beside the process that prunes takes nothing for damage that is the prune's.
// Where files that are open can't be renamed, the exchange waits for the reader, and
// everything else can be read meanwhile.
func TestReadersElsewhereSeeAPrune(t *testing.T) {
	p, fsys, s := pruneStore(t, vhdxstore.Format{})
	var once sync.Once
	besides, err := resume.OpenReadOnly(&bug{FS: fsys, file: func(f durable.File, name string) durable.File {
		if strings.HasSuffix(name, "os.digests") {
			once.Do(func() {
				if err := p.prune(s); err == nil || !strings.Contains(err.Error(), "is open") {
					t.Errorf("pruned what is open: %v", err)
				}
				p.pruned = 1
				must(t, p.check(s))
			})
		}
		return f
	}}, p.config())
	must(t, err)
	list, err := besides.List()
	must(t, err)
	reading, err := besides.Read(list[2])
	must(t, err)
	defer reading.Close()
	if reading.Pruned() {
		t.Error("pruned already")
	}
	err = resume.Verify(t.Context(), besides, list[0], func(v resume.VerifyProblem) { t.Errorf("reported %+v", v) })
	if !errors.Is(err, resume.ErrPruned) {
		t.Errorf("got %v, want %v", err, resume.ErrPruned)
	}
	if !reading.Pruned() {
		t.Error("not told of a prune")
	}
	must(t, p.prune(s))
	if _, err := besides.OpenDisk(list[0], "os"); !errors.Is(err, resume.ErrNoPoint) {
		t.Errorf("got %v, want %v", err, resume.ErrNoPoint)
	}
	if err := besides.Prune(t.Context(), list[1]); !errors.Is(err, resume.ErrReadOnly) {
		t.Errorf("got %v, want %v", err, resume.ErrReadOnly)
	}
	must(t, resume.Verify(t.Context(), besides, list[2], func(v resume.VerifyProblem) { t.Errorf("reported %+v", v) }))
}

// TestReadersElsewhereWaitForAnExchange: for a moment the points above a pruned one can't
// be read. That is no damage, and no error.
func TestReadersElsewhereWaitForAnExchange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, fsys, s := pruneStore(t, plain{})
		must(t, s.Close())
		besides, err := resume.OpenReadOnly(fsys, p.config())
		must(t, err)
		list, err := besides.List()
		must(t, err)
		read := make(chan error, 1)
		var once sync.Once
		s, err = resume.Open(&bug{FS: fsys, syncDir: func(name string) error {
			if strings.HasSuffix(name, "points/"+nthPoint(2).Point) {
				once.Do(func() {
					go func() { read <- compare(besides, list[2], p.want[2]) }()
					time.Sleep(200 * time.Millisecond)
				})
			}
			return fsys.SyncDir(name)
		}}, p.config())
		must(t, err)
		must(t, s.Prune(t.Context(), nthPoint(1)))
		must(t, <-read)
		must(t, s.Close())
	})
}

// TestPrunedForOthers lets 7-Zip and qemu-img, which do not follow a store's chains, read
// the point into which all others were merged.
func TestPrunedForOthers(t *testing.T) {
	dir := t.TempDir()
	fsys, err := durable.OS(dir)
	must(t, err)
	defer fsys.Close()
	p := &pruner{format: vhdxstore.Format{}, want: []snapshots{
		{newSnapshot("os", "ab.c", block)}, {newSnapshot("os", "a..cq", block)}, {newSnapshot("os", "d.e.qf", block)},
	}}
	want := p.want[2][0].content
	s, err := resume.Open(fsys, p.config())
	must(t, err)
	defer s.Close()
	for _, disks := range p.want {
		must(t, commitPoint(s, disks))
	}
	must(t, p.prune(s))
	newest := filepath.Join(dir, source, vmDirName, "points", nthPoint(3).Point, "os.vhdx")
	t.Run("7zz", func(t *testing.T) { others(t, want, "7zz", "x", "-tVHDX", "-so", newest) })
	t.Run("qemu-img", func(t *testing.T) {
		out := filepath.Join(dir, "os.raw")
		others(t, nil, "qemu-img", "convert", "-f", "vhdx", "-O", "raw", newest, out)
		got, err := os.ReadFile(out)
		must(t, err)
		if !bytes.Equal(got, want) {
			t.Error("it reads something else")
		}
	})
	must(t, tidyPoints(fsys, p.want[2:]))
}

// others runs a program that must print that content.
func others(t *testing.T, want []byte, program string, args ...string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		t.Skipf("needs the program %s", program)
	}
	cmd := exec.Command(program, args...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	got, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", program, err, stderr.String())
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s reads something else", program)
	}
}
