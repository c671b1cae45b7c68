package resume_test

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"
	"testing"

	"wanrep/diskio/durable/crashfs"
	"wanrep/resume"
	"wanrep/resume/vhdxstore"
)

// chainOfTwo returns a store with two points, the second on the first.
func chainOfTwo(t *testing.T, format resume.Format) (*crashfs.FS, []snapshot) {
	t.Helper()
	disks := []snapshot{newSnapshot("os", "aBkd.f", 1536), newSnapshot("os", "aXkd..f", 1536)}
	fsys := crashfs.New()
	s, err := resume.Open(fsys, resume.Config{Format: format, Signer: signer})
	must(t, err)
	commitAll(t, s, disks...)
	must(t, s.Close())
	return fsys, disks
}

// rottenChain returns a store with two points, the second on the first, in which blocks
// of both have rotted.
func rottenChain(t *testing.T, format resume.Format) (*crashfs.FS, []snapshot) {
	t.Helper()
	fsys, disks := chainOfTwo(t, format)
	rot(t, fsys, 1, disks[0], format, 2, 3)
	rot(t, fsys, 2, disks[1], format, 6)
	return fsys.Crash(0), disks
}

// healAll does what a target does: it scrubs, receives a point, and heals.
func healAll(fsys *crashfs.FS, format resume.Format, disks []snapshot) error {
	s, err := resume.Open(fsys, resume.Config{Format: format, Signer: signer})
	if err != nil {
		return err
	}
	return errors.Join(func() error {
		points, err := s.ListVM("lyon", "sql01")
		if err != nil {
			return err
		}
		for _, p := range points {
			if p.State != resume.StateCommitted {
				continue
			}
			if err := s.Scrub(context.Background(), p, resume.VerifyOptions{Own: true}, func(resume.VerifyProblem) {}); err != nil {
				return err
			}
		}
		last := disks[len(disks)-1]
		part, err := s.Begin("lyon", "sql01", []resume.DiskSpec{last.spec})
		if err != nil {
			return err
		}
		if err := sendAll(part.Disks()[0], last); err != nil {
			return errors.Join(err, part.Close())
		}
		if _, err := part.Commit(); err != nil {
			return err
		}
		_, err = s.Heal(context.Background(), "lyon", "sql01", 0)
		return err
	}(), s.Close())
}

// TestCrashWhileHealing cuts the power at every operation of a scrub, of the next point
// and of the healing. What is healed then, by doing it all again, is what was committed,
// and at no time is damage forgotten that is there.
func TestCrashWhileHealing(t *testing.T) {
	for _, format := range bothFormats {
		t.Run(format.Extension(), func(t *testing.T) {
			start, disks := rottenChain(t, format)
			whole := start.Crash(0)
			var ops []crashfs.Op
			whole.Trace(func(op crashfs.Op) { ops = append(ops, op) })
			must(t, healAll(whole, format, disks))
			whole.Trace(nil)
			healed(t, whole, format, disks)
			sweepWith(t, changing(ops), func(t *testing.T, k int) {
				for _, kind := range []crashfs.Fault{{Kind: crashfs.Crash}, {}} {
					fsys := start.Crash(0)
					kind.At = k
					fsys.Inject(kind)
					if err := healAll(fsys, format, disks); err == nil && kind.Kind == crashfs.Crash {
						t.Fatalf("operation %d did not crash", k)
					}
					left := fsys.Crash(mix(uint64(k), k))
					known(t, fmt.Sprintf("operation %d", k), left, format)
					must(t, healAll(left, format, disks))
					healed(t, left.Crash(uint64(k)), format, disks)
				}
			})
		})
	}
}

// known fails the test if the store has forgotten damage that is there: if it knows of
// some at all, the scrub was through with that point.
func known(t *testing.T, when string, fsys *crashfs.FS, format resume.Format) {
	t.Helper()
	s, err := resume.OpenReadOnly(fsys, resume.Config{Format: format})
	must(t, err)
	points, err := s.ListVM("lyon", "sql01")
	must(t, err)
	scrubbed := false // the second point, and so both
	for _, p := range points {
		scrubbed = scrubbed || strings.HasSuffix(p.Point, "2") && len(p.Damage) > 0
	}
	if !scrubbed {
		return
	}
	for _, p := range points {
		if p.State != resume.StateCommitted {
			continue
		}
		must(t, resume.VerifySome(t.Context(), s, p, resume.VerifyOptions{Own: true}, func(v resume.VerifyProblem) {
			for _, d := range p.Damage {
				for _, e := range d.Extents {
					if e.Start <= v.Extent.Start && v.Extent.End() <= e.Start+e.Length {
						return
					}
				}
			}
			t.Errorf("%s: nobody knows of %+v", when, v)
		}))
	}
}

// healed fails the test unless nothing is damaged, and nothing is known to be.
func healed(t *testing.T, fsys *crashfs.FS, format resume.Format, disks []snapshot) {
	t.Helper()
	s, err := resume.Open(fsys, resume.Config{Format: format, Signer: signer})
	must(t, err)
	defer s.Close()
	same(t, "after all", damageOf(t, s), nil)
	last := disks[len(disks)-1]
	points, err := s.ListVM("lyon", "sql01")
	must(t, err)
	for len(disks) < len(points) {
		disks = append(disks, last)
	}
	sound(t, s, disks...)
}

// TestDamagedBaseIsNotTrusted has a source that skips what is damaged at the target.
func TestDamagedBaseIsNotTrusted(t *testing.T) {
	fsys, disks := rottenChain(t, plain{})
	s, err := resume.Open(fsys, resume.Config{Format: plain{}})
	must(t, err)
	defer s.Close()
	scrubAll(t, s)
	part := begin(t, s, disks[1])
	if err := part.Disks()[0].Finish(disks[1].root); !errors.Is(err, resume.ErrDigest) {
		t.Fatalf("got %v, want %v", err, resume.ErrDigest)
	}
	must(t, part.Close())
	part = begin(t, s, disks[1])
	if part.Disks()[0].Based() {
		t.Error("it builds on what it could not be made of")
	}
	must(t, sendAll(part.Disks()[0], disks[1]))
	_, err = part.Commit()
	must(t, err)
}

// TestDigestsAreMadeAgain has a bit flipped in each kind of digests file.
func TestDigestsAreMadeAgain(t *testing.T) {
	disks := []snapshot{newSnapshot("os", "aBkd.f", 1536), newSnapshot("os", "aXkd..f", 1536)}
	fsys := crashfs.New()
	s, err := resume.Open(fsys, resume.Config{Format: vhdxstore.Format{}, Signer: signer})
	must(t, err)
	defer s.Close()
	commitAll(t, s, disks...)
	for point := range 2 {
		name := path.Join("lyon/sql01/points", nthPoint(point+1).Point, "os.digests")
		was := readAll(t, fsys, name)
		edit(t, fsys, name, func(b []byte) { b[64+40+9] ^= 1 })
		found := scrubAll(t, s)
		if len(found) == 0 || !strings.HasPrefix(found[0], fmt.Sprintf("%d os: ", point+1)) {
			t.Errorf("found %q", found)
		}
		if got := heal(t, s); len(got) == 0 || !got[0].Digests || got[0].Blocks > 0 {
			t.Errorf("healed %+v", got)
		}
		if readAll(t, fsys, name) != was {
			t.Errorf("the digests of point %d are not what they were", point+1)
		}
		same(t, "then", scrubAll(t, s), nil)
		sound(t, s, disks...)
	}
}

// TestPrunedDamageIsItsChilds prunes a point with damage into its child, which has it
// then, and has it healed. What the child hid is no damage any more.
func TestPrunedDamageIsItsChilds(t *testing.T) {
	for _, format := range bothFormats {
		t.Run(format.Extension(), func(t *testing.T) {
			fsys, disks := chainOfTwo(t, format)
			rot(t, fsys, 1, disks[0], format, 1, 2, 3)
			s, err := resume.Open(fsys, resume.Config{Format: format, Signer: signer})
			must(t, err)
			defer s.Close()
			scrubAll(t, s)
			must(t, s.Prune(t.Context(), resume.Point{Source: "lyon", VM: "sql01", Point: nthPoint(1).Point}))
			same(t, "after the prune", damageOf(t, s), []string{"2 os 1+196608"})
			if got := heal(t, s); len(got) > 0 {
				t.Errorf("healed %+v", got)
			}
			same(t, "when it is to be healed", damageOf(t, s), []string{"2 os 2+131072"})
			same(t, "after a scrub", scrubAll(t, s), []string{"2 os 2+131072"})
			commitAll(t, s, disks[1])
			heal(t, s)
			same(t, "after healing", scrubAll(t, s), nil)
			sound(t, s, disks[1], disks[1])
		})
	}
}

// TestTooMuchDamage makes a disk count as damaged as a whole: nothing builds on it until
// it was found to be good again.
func TestTooMuchDamage(t *testing.T) {
	disk := newSnapshot("os", strings.Repeat("x", 1030), block)
	fsys := crashfs.New()
	s, err := resume.Open(fsys, resume.Config{Format: plain{}})
	must(t, err)
	defer s.Close()
	commitAll(t, s, disk)
	name := path.Join("lyon/sql01/points", nthPoint(1).Point, "os.img")
	flip := func(b []byte) {
		for at := plainHead; at < len(b); at += block {
			b[at] ^= 1
		}
	}
	edit(t, fsys, name, flip)
	same(t, "found", scrubAll(t, s), []string{"1 os: more than 64 MiB of its content differ from their digests"})
	if part := begin(t, s, disk); part.Disks()[0].Based() {
		t.Error("a part builds on it")
	} else {
		must(t, part.Close())
	}
	edit(t, fsys, name, flip)
	same(t, "then", scrubAll(t, s), nil)
}
