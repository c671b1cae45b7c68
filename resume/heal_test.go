package resume_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"reflect"
	"slices"
	"strings"
	"testing"

	"wanrep/diskio/digest"
	"wanrep/diskio/durable"
	"wanrep/diskio/durable/crashfs"
	"wanrep/resume"
	"wanrep/resume/vhdxstore"
)

var bothFormats = []resume.Format{plain{}, vhdxstore.Format{}}

// rot changes a bit of each of the named blocks of a disk where a point's file has it.
func rot(t *testing.T, fsys durable.FS, point int, disk snapshot, format resume.Format, blocks ...int64) {
	t.Helper()
	name := path.Join("lyon/sql01/points", fmt.Sprintf("%016x", point), disk.spec.Name+format.Extension())
	edit(t, fsys, name, func(b []byte) {
		for _, n := range blocks {
			at := bytes.Index(b, disk.content[n*block:min((n+1)*block, disk.spec.Size)])
			if at < 0 {
				t.Fatalf("point %d does not have block %d", point, n)
			}
			b[at+300] ^= 8
		}
	})
}

// edit changes a file of the store behind its back, durably.
func edit(t *testing.T, fsys durable.FS, name string, change func(b []byte)) {
	t.Helper()
	must(t, fsys.Chmod(name, 0o644))
	f, err := fsys.OpenFile(name, os.O_RDWR, 0)
	must(t, err)
	info, err := f.Stat()
	must(t, err)
	b := make([]byte, info.Size())
	if _, err := f.ReadAt(b, 0); err != nil && err != io.EOF {
		t.Fatal(err)
	}
	was := bytes.Clone(b)
	change(b)
	for at := 0; at < len(b); at += 4096 {
		if end := min(at+4096, len(b)); !bytes.Equal(was[at:end], b[at:end]) {
			_, err := f.WriteAt(b[at:end], int64(at))
			must(t, err)
		}
	}
	must(t, errors.Join(f.Sync(), f.Close()))
	must(t, fsys.Chmod(name, 0o444))
}

// scrubAll scrubs the own files of all points and returns what is known to be damaged
// then, as "point disk blocks".
func scrubAll(t *testing.T, s *resume.Store) []string {
	t.Helper()
	points, err := s.List()
	must(t, err)
	for _, p := range points {
		if p.State == resume.StateCommitted {
			must(t, s.Scrub(t.Context(), p, resume.VerifyOptions{Own: true}, func(resume.VerifyProblem) {}))
		}
	}
	return damageOf(t, s)
}

func damageOf(t *testing.T, s *resume.Store) []string {
	t.Helper()
	damage, err := s.Damage("lyon", "sql01")
	must(t, err)
	said := []string{}
	for _, d := range damage {
		var text strings.Builder
		text.WriteString(fmt.Sprintf("%s %s", strings.TrimLeft(d.Point, "0"), d.Disk))
		for _, e := range d.Extents {
			text.WriteString(fmt.Sprintf(" %d+%d", e.Start/block, e.Length))
		}
		for _, why := range []string{d.File, d.Digests} {
			if why != "" {
				text.WriteString(": " + why)
			}
		}
		said = append(said, text.String())
	}
	slices.Sort(said)
	return said
}

// onDamage lists the points that have the damage of another.
func onDamage(t *testing.T, s *resume.Store) (list []string) {
	t.Helper()
	points, err := s.List()
	must(t, err)
	for _, p := range points {
		if p.OnDamage {
			list = append(list, strings.TrimLeft(p.Point, "0"))
		}
	}
	return list
}

func same(t *testing.T, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: got %q, want %q", what, got, want)
	}
}

// sound fails the test unless all points are what was committed.
func sound(t *testing.T, s *resume.Store, disks ...snapshot) {
	t.Helper()
	points, err := s.ListVM("lyon", "sql01")
	must(t, err)
	for i, p := range points {
		must(t, resume.Verify(t.Context(), s, p, func(v resume.VerifyProblem) { t.Errorf("point %s: %+v", p.Point, v) }))
		c, err := s.OpenDisk(p, disks[i].spec.Name)
		must(t, err)
		got := make([]byte, c.Size())
		if _, err := c.ReadAt(got, 0); err != nil && err != io.EOF {
			t.Fatal(err)
		}
		must(t, c.Close())
		if !bytes.Equal(got, disks[i].content) {
			t.Errorf("point %s differs from what was committed", p.Point)
		}
	}
}

// heal heals, and says what it did.
func heal(t *testing.T, s *resume.Store) []resume.Healed {
	t.Helper()
	healed, err := s.Heal(t.Context(), "lyon", "sql01", 0)
	must(t, err)
	return healed
}

// TestRotIsFoundAndHealed flips bits in a point and in one that builds on it. The next
// point brings what had rotted, and nothing else, and heals both.
func TestRotIsFoundAndHealed(t *testing.T) {
	disks := []snapshot{
		newSnapshot("os", "aBkd.f", 1536), newSnapshot("os", "aXkd..f", 1536), newSnapshot("os", "aXkd..f", 1536),
	}
	for _, format := range bothFormats {
		t.Run(format.Extension(), func(t *testing.T) {
			fsys := crashfs.New()
			s, err := resume.Open(fsys, resume.Config{Format: format, Signer: signer})
			must(t, err)
			commitAll(t, s, disks[:2]...)
			same(t, "before", scrubAll(t, s), nil)
			rot(t, fsys, 1, disks[0], format, 1, 2, 3)
			rot(t, fsys, 2, disks[1], format, 1, 6)
			found := []string{"1 os 1+196608", "2 os 1+65536 6+1536"}
			same(t, "found", scrubAll(t, s), found)
			same(t, "found below", onDamage(t, s), []string{"2"})
			must(t, s.Close())
			fsys = fsys.Crash(1)
			s, err = resume.Open(fsys, resume.Config{Format: format, Signer: signer})
			must(t, err)
			defer s.Close()
			same(t, "after a crash", damageOf(t, s), found)

			part := begin(t, s, disks[2])
			base, err := baseOf(part.Disks()[0])
			must(t, err)
			var asked []int64
			for n, sum := range base {
				if sum == digest.None() {
					asked = append(asked, n)
				}
			}
			slices.Sort(asked)
			// The first point's block 1 is hidden by the second's.
			if want := []int64{1, 2, 3, 6}; !slices.Equal(asked, want) {
				t.Errorf("blocks %v are asked for, want %v", asked, want)
			}
			must(t, sendAll(part.Disks()[0], disks[2]))
			if got, want := part.Written(), int64(3*block+1536); got != want {
				t.Errorf("%d bytes were written, want %d", got, want)
			}
			_, err = part.Commit()
			must(t, err)
			same(t, "below a point that has all of it anew", onDamage(t, s), []string{"2"})

			want := []resume.Healed{{Point: nthPoint(1).Point, Disk: "os", Blocks: 2}, {Point: nthPoint(2).Point, Disk: "os", Blocks: 2}}
			if got := heal(t, s); !reflect.DeepEqual(got, want) {
				t.Errorf("healed %+v, want %+v", got, want)
			}
			// Block 1 of the first point is nowhere any more.
			same(t, "after healing", damageOf(t, s), []string{"1 os 1+65536"})
			same(t, "below what is hidden", onDamage(t, s), nil)
			damage, err := s.Damage("lyon", "sql01")
			must(t, err)
			if want := "a block has changed at the source since"; damage[0].Stays != want {
				t.Errorf("it stays since %q, want %q", damage[0].Stays, want)
			}
			rotBack := disks[0]
			rotBack.content = bytes.Clone(rotBack.content)
			rotBack.content[block+300] ^= 8
			rot(t, fsys, 1, rotBack, format, 1)
			same(t, "what is good again", scrubAll(t, s), nil)
			sound(t, s, disks...)
		})
	}
}

// TestDamageIsInherited by what builds on it, where that has nothing of its own.
func TestDamageIsInherited(t *testing.T) {
	for _, format := range bothFormats {
		t.Run(format.Extension(), func(t *testing.T) {
			fsys := crashfs.New()
			s, err := resume.Open(fsys, resume.Config{Format: format, Signer: signer})
			must(t, err)
			defer s.Close()
			first := newSnapshot("os", "ab.c", 1536)
			commitAll(t, s, first, newSnapshot("os", "dbec", 1536), newSnapshot("os", "dbfc", 1536), newSnapshot("log", "xy", block))
			same(t, "before", onDamage(t, s), nil)
			rot(t, fsys, 1, first, format, 0)
			same(t, "a block that is hidden", scrubAll(t, s), []string{"1 os 0+65536"})
			same(t, "a block that is hidden", onDamage(t, s), nil)
			rot(t, fsys, 1, first, format, 1)
			same(t, "a block that is not", scrubAll(t, s), []string{"1 os 0+131072"})
			same(t, "a block that is not", onDamage(t, s), []string{"2", "3"})
		})
	}
}

// TestWhatIsPutBackIsGood has somebody put back what was wrong. Healing looks at it again,
// whatever it was.
func TestWhatIsPutBackIsGood(t *testing.T) {
	for _, format := range bothFormats {
		t.Run(format.Extension(), func(t *testing.T) {
			fsys := crashfs.New()
			s, err := resume.Open(fsys, resume.Config{Format: format})
			must(t, err)
			defer s.Close()
			disk := newSnapshot("os", "aBk.", block)
			commitAll(t, s, disk)
			name := path.Join("lyon/sql01/points", nthPoint(1).Point, "os"+format.Extension())
			was := readAll(t, fsys, name)
			for what, spoil := range map[string]func(b []byte){
				"the file's head": func(b []byte) { b[0] ^= 1 },
				"content":         func(b []byte) { b[strings.Index(was, string(disk.content[block:2*block]))+9] ^= 1 },
			} {
				edit(t, fsys, name, spoil)
				if got := scrubAll(t, s); len(got) != 1 {
					t.Fatalf("%s: found %q", what, got)
				}
				heal(t, s)
				if got := damageOf(t, s); len(got) != 1 {
					t.Errorf("%s: before it is put back: %q", what, got)
				}
				edit(t, fsys, name, func(b []byte) { copy(b, was) })
				if got := heal(t, s); len(got) > 0 {
					t.Errorf("%s: healed %+v", what, got)
				}
				same(t, what, damageOf(t, s), nil)
			}
			sound(t, s, disk)
		})
	}
}
