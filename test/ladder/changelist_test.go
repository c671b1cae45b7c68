package ladder

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"wanrep/diskio"
	"wanrep/diskio/image"
	"wanrep/diskio/vhdx"
	"wanrep/replicate"
	"wanrep/replicate/wire"
	"wanrep/resume"
)

// A chain is a disk as Hyper-V keeps it: a VHDX, and a child for each checkpoint.
type chain struct {
	t       *testing.T
	dir     string
	files   []string // the oldest first
	guids   []diskio.ID
	content []byte
	changed int64 // bytes written since the newest file was made
	read    atomic.Int64
}

// newChain makes a disk of that many bytes, of which every third block is zeros.
func newChain(t *testing.T, size int64, seed uint64) *chain {
	c := &chain{t: t, dir: t.TempDir(), content: make([]byte, size)}
	c.add("disk.vhdx", func(w *vhdx.Writer) {
		r := rand.New(rand.NewPCG(seed, 1))
		for at := int64(0); at < size; at += diskio.BlockBytes {
			if at/diskio.BlockBytes%3 != 2 {
				c.write(w, at, noise(r, min(diskio.BlockBytes, size-at)))
			}
		}
	})
	return c
}

func noise(r *rand.Rand, n int64) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// add makes the next file of the chain, in place of one of the same name.
func (c *chain) add(name string, fill func(*vhdx.Writer)) {
	c.t.Helper()
	spec := vhdx.Spec{VirtualSize: int64(len(c.content)), BlockSize: 1 << 20, DiskID: diskio.ID{7}}
	if n := len(c.files); n > 0 {
		spec.Parent = &vhdx.Parent{DataWriteGUID: c.guids[n-1], RelativePath: `.\` + filepath.Base(c.files[n-1])}
	}
	path := filepath.Join(c.dir, name)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	c.must(err)
	defer f.Close()
	w, err := vhdx.Create(f, spec)
	c.must(err)
	c.changed = 0
	fill(w)
	c.must(w.Flush())
	c.must(w.Seal())
	c.files, c.guids = append(c.files, path), append(c.guids, w.DataWriteGUID())
}

func (c *chain) write(w *vhdx.Writer, off int64, p []byte) {
	_, err := w.WriteAt(p, off)
	c.must(err)
	copy(c.content[off:], p)
	c.changed += int64(len(p))
}

// checkpoint writes blocks to a new child, every other one zeros.
func (c *chain) checkpoint(r *rand.Rand, blocks int) {
	name := "disk_" + strings.Repeat("x", len(c.files)) + ".avhdx"
	c.add(name, func(w *vhdx.Writer) {
		all := r.Perm(len(c.content) / diskio.BlockBytes)
		for i, b := range all[:min(blocks, len(all))] {
			off := int64(b) * diskio.BlockBytes
			if i%2 == 0 {
				c.write(w, off, noise(r, diskio.BlockBytes))
				continue
			}
			c.must(w.WriteZeros(off, diskio.BlockBytes))
			clear(c.content[off:][:diskio.BlockBytes])
			c.changed += diskio.BlockBytes
		}
	})
}

// merge merges the newest child into the file below it, as Hyper-V does when a
// checkpoint is removed.
func (c *chain) merge() {
	n := len(c.files)
	child, err := os.Open(c.files[n-1])
	c.must(err)
	defer child.Close()
	parent, err := os.OpenFile(c.files[n-2], os.O_RDWR, 0)
	c.must(err)
	defer parent.Close()
	c.must(vhdx.Merge(c.t.Context(), child, parent))
	guid, err := vhdx.DataWriteGUID(c.files[n-2], parent)
	c.must(err)
	c.must(os.Remove(c.files[n-1]))
	c.files, c.guids = c.files[:n-1], append(c.guids[:n-2], guid)
}

func (c *chain) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

// open opens the newest file.
func (c *chain) open(string) (replicate.Snapshot, replicate.Geometry, error) {
	img, err := image.Open(c.files[len(c.files)-1], image.Options{})
	if err != nil {
		return nil, replicate.Geometry{}, err
	}
	info := img.Info()
	return counted{img, &c.read}, replicate.Geometry{ID: info.DiskID, LogicalSectorSize: info.LogicalSectorSize, PhysicalSectorSize: info.PhysicalSectorSize}, nil
}

// counted counts what is read of an image.
type counted struct {
	diskio.Image
	read *atomic.Int64
}

func (c counted) ReadAt(p []byte, off int64) (int, error) {
	c.read.Add(int64(len(p)))
	return c.Image.ReadAt(p, off)
}

// onChain runs a test with a source that has one disk, a chain.
func onChain(t *testing.T, size int64, f func(t *testing.T, s *sim, c *chain)) {
	bubble(t, map[string]*memoryDisk{"data": nil}, func(t *testing.T, s *sim) {
		c := newChain(t, size, 1)
		s.open = c.open
		f(t, s, c)
	})
}

// replicated runs the job, checks the newest point, and returns what was done with the
// disk.
func (c *chain) replicated(s *sim) replicate.DiskReport {
	c.t.Helper()
	c.read.Store(0)
	report, err := s.source.Run(c.t.Context(), "nightly")
	c.must(err)
	c.check(s)
	return report.VMs[0].Disks[0]
}

// check compares the newest point with the disk, and with what its manifest says.
func (c *chain) check(s *sim) {
	c.t.Helper()
	store, points := s.points()
	newest := points[len(points)-1]
	if newest.State != resume.StateCommitted || !bytes.Equal(content(c.t, store, newest, "data"), c.content) {
		c.t.Errorf("point %s is %s and not what the disk is", newest.Point, newest.State)
	}
	err := resume.Verify(c.t.Context(), store, newest, func(p resume.VerifyProblem) { c.t.Errorf("point %s: %+v", newest.Point, p) })
	c.must(err)
}

// wantAll checks that all of the disk was read.
func (c *chain) wantAll(d replicate.DiskReport, why string) {
	c.t.Helper()
	if d.ChangeList || d.Read < int64(len(c.content))/2 || c.read.Load() < d.Read {
		c.t.Errorf("%s: %d bytes were read by a change list (%v), want all", why, d.Read, d.ChangeList)
	}
}

// wantChanged checks that no more than what changed was read and sent.
func (c *chain) wantChanged(d replicate.DiskReport, changed int64) {
	c.t.Helper()
	limit := changed + changed/20
	if !d.ChangeList || d.Read > limit || c.read.Load() > limit || d.Data > limit {
		c.t.Errorf("change list: %v; %d bytes were read (%d of the files) and %d sent, of %d that changed", d.ChangeList, d.Read, c.read.Load(), d.Data, changed)
	}
	if sum := d.Data + d.SkippedSame + d.SkippedZero; sum != d.VirtualSize {
		c.t.Errorf("%d bytes are accounted for, of %d", sum, d.VirtualSize)
	}
}

// TestChangeList replicates a disk, and then what its checkpoints left: 2 % and less
// of it, each time on the point before, and once over two checkpoints at once.
func TestChangeList(t *testing.T) {
	onChain(t, 64<<20, func(t *testing.T, s *sim, c *chain) {
		r := rand.New(rand.NewPCG(2, 2))
		c.wantAll(c.replicated(s), "the first run")
		c.checkpoint(r, 20)
		c.wantChanged(c.replicated(s), c.changed)
		c.checkpoint(r, 4)
		c.wantChanged(c.replicated(s), c.changed)
		c.checkpoint(r, 4)
		changed := c.changed
		c.checkpoint(r, 4)
		c.wantChanged(c.replicated(s), changed+c.changed)
		c.checkpoint(r, 0)
		if d := c.replicated(s); d.Read != 0 || d.Data != 0 || !d.ChangeList {
			t.Errorf("nothing changed, and %+v", d)
		}
	})
}

// TestChangeListInDoubt has chains whose ancestor is not what was replicated. All of
// the disk is read, and only what differs is sent.
func TestChangeListInDoubt(t *testing.T) {
	const size = 8 << 20
	r := rand.New(rand.NewPCG(3, 3))
	tests := []struct {
		name string
		then func(s *sim, c *chain)
	}{
		{"the disk itself", func(*sim, *chain) {}},
		{"another ancestor of the same name", func(s *sim, c *chain) {
			c.files, c.guids = nil, nil
			c.add("disk.vhdx", func(w *vhdx.Writer) { c.write(w, 0, noise(r, size)) })
			c.checkpoint(r, 3)
		}},
		{"an ancestor that was written to", func(s *sim, c *chain) {
			c.files, c.guids = c.files[:0], c.guids[:0]
			c.add("disk.vhdx", func(w *vhdx.Writer) {
				c.write(w, 0, bytes.Clone(c.content))
				c.write(w, diskio.BlockBytes, noise(r, diskio.BlockBytes))
			})
			c.checkpoint(r, 3)
		}},
		{"a checkpoint that was merged", func(s *sim, c *chain) {
			c.checkpoint(r, 3)
			c.merge()
		}},
		{"a checkpoint on one that was merged", func(s *sim, c *chain) {
			c.checkpoint(r, 3)
			c.merge()
			c.checkpoint(r, 3)
		}},
		{"a base that is damaged", func(s *sim, c *chain) {
			c.checkpoint(r, 3)
			c.must(s.fs.Remove("branch/sql01/points/0000000000000001/data.vhdx"))
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			onChain(t, size, func(t *testing.T, s *sim, c *chain) {
				c.replicated(s)
				test.then(s, c)
				c.wantAll(c.replicated(s), test.name)
			})
		})
	}
}

// TestChangeListOfAGrownDisk grows a disk with a checkpoint, from the end of a block
// and from within one. Only the child is read.
func TestChangeListOfAGrownDisk(t *testing.T) {
	for _, was := range []int64{8 << 20, 8<<20 + diskio.BlockBytes + 512} {
		onChain(t, was, func(t *testing.T, s *sim, c *chain) {
			r := rand.New(rand.NewPCG(4, 4))
			c.replicated(s)
			c.content = append(c.content, make([]byte, 12<<20-was)...)
			c.add("disk.avhdx", func(w *vhdx.Writer) {
				c.write(w, diskio.BlockBytes, noise(r, diskio.BlockBytes))
				c.write(w, 10<<20, noise(r, diskio.BlockBytes))
			})
			c.wantChanged(c.replicated(s), c.changed)
		})
	}
}

// TestChangeListThroughTrouble interrupts runs over a checkpoint in which a quarter of
// the disk changed, restarts the source, cuts the line and the target's power. What is
// read again to prove what was sent is no more than what changed, and what the cuts
// made of no use.
func TestChangeListThroughTrouble(t *testing.T) {
	onChain(t, 48<<20, func(t *testing.T, s *sim, c *chain) {
		c.replicated(s)
		c.checkpoint(rand.New(rand.NewPCG(5, 5)), 192)
		for range 2 {
			ctx, cancel := context.WithCancel(t.Context())
			began := s.router.total()
			s.router.watch(func(carried int64) {
				if carried > began+2<<20 {
					cancel()
				}
			})
			_, err := s.source.Run(ctx, "nightly")
			if !errors.Is(err, replicate.ErrInterrupted) {
				t.Fatalf("got %v, want an interrupted run", err)
			}
			s.endpoint.Close()
			s.startSource()
			time.Sleep(5 * time.Second)
		}
		s.router.watch(nil)
		if durable := s.durableAtTarget()["data"]; durable < 4<<20 {
			t.Fatalf("only %d bytes were durable before the last run", durable)
		}
		s.router.cutAfter(s.router.total()+100<<10, time.Minute)
		time.AfterFunc(65*time.Second, func() { s.powerCut(3, 3*time.Second) })
		d := c.replicated(s)
		if limit := c.changed + 6<<20; !d.ChangeList || c.read.Load() > limit {
			t.Errorf("change list: %v; the last run read %d bytes, of %d that changed", d.ChangeList, c.read.Load(), c.changed)
		}
	})
}

// TestChangeListsOverManyRuns lets a disk get checkpoints, which are merged, replaced
// and cut off in any order, while the line drops now and then. Every point is the disk.
func TestChangeListsOverManyRuns(t *testing.T) {
	listed := 0
	for seed := range uint64(3) {
		onChain(t, 4<<20, func(t *testing.T, s *sim, c *chain) {
			r := rand.New(rand.NewPCG(seed, 6))
			c.replicated(s)
			for range 12 {
				for range 1 + r.IntN(2) {
					switch n := r.IntN(5); {
					case n == 0 && len(c.files) > 1:
						c.merge()
					case n == 1:
						c.content = append(c.content, make([]byte, 512*(1+r.IntN(200)))...)
						c.checkpoint(r, 2)
					default:
						c.checkpoint(r, r.IntN(8))
					}
				}
				if r.IntN(3) == 0 { // behind the handshake
					s.router.cutAfter(s.router.total()+20<<10+r.Int64N(200<<10), time.Duration(1+r.IntN(60))*time.Second)
				}
				if c.replicated(s).ChangeList {
					listed++
				}
				s.router.heal()
			}
		})
	}
	if listed < 9 {
		t.Errorf("only %d of 36 runs had a change list", listed)
	}
}

// TestLyingDigests has a target that tells wrong digests of its base. It gets no point
// for it, and when it is honest again the next run sends the disk anew.
func TestLyingDigests(t *testing.T) {
	onChain(t, 4<<20, func(t *testing.T, s *sim, c *chain) {
		c.replicated(s)
		c.checkpoint(rand.New(rand.NewPCG(7, 7)), 3)
		s.between = func(l link) replicate.Link { return liarLink{l} }
		_, err := s.source.Run(t.Context(), "nightly")
		var no *replicate.RefusedError
		if !errors.As(err, &no) || no.Code != wire.CodeDigest {
			t.Errorf("got %v, want a refusal for the digest", err)
		}
		if _, points := s.points(); slices.ContainsFunc(points[1:], func(p resume.Point) bool { return p.State == resume.StateCommitted }) {
			t.Errorf("a point was committed: %+v", points)
		}
		s.between = nil
		c.wantAll(c.replicated(s), "after the lie")
	})
}

type liarLink struct{ link }

func (l liarLink) AcceptStream(ctx context.Context) (replicate.Stream, error) {
	st, err := l.Link.AcceptStream(ctx)
	if err != nil {
		return nil, err
	}
	return liarStream{stream{st}}, nil
}

type liarStream struct{ stream }

// Write changes the digest of the last block that it tells of. A message is written at
// once.
func (l liarStream) Write(p []byte) (int, error) {
	message, err := wire.Read(bytes.NewReader(p))
	list, ok := message.(*wire.DigestList)
	if err != nil || !ok || len(list.Records) == 0 {
		return l.stream.Write(p)
	}
	list.Records[len(list.Records)-1] ^= 1
	return len(p), wire.Write(l.stream, list)
}
