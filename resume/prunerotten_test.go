package resume_test

import (
	"fmt"
	"hash/fnv"
	"path"
	"strings"
	"testing"

	"wanrep/diskio/durable/crashfs"
	"wanrep/resume"
)

// TestRottenChildIsNotMerged prunes a point whose child has rotted, which nobody knows.
// It is noted and nothing is merged, until it is healed.
func TestRottenChildIsNotMerged(t *testing.T) {
	for _, format := range bothFormats {
		for name, spoil := range map[string]func(t *testing.T, fsys *crashfs.FS, disk snapshot){
			"content": func(t *testing.T, fsys *crashfs.FS, disk snapshot) { rot(t, fsys, 2, disk, format, 1) },
			"digests": func(t *testing.T, fsys *crashfs.FS, _ snapshot) {
				edit(t, fsys, "lyon/sql01/points/"+nthPoint(2).Point+"/os.digests", func(b []byte) { b[64+9] ^= 1 })
			},
		} {
			if name == "digests" && format == (plain{}) {
				continue // which this format cannot make again
			}
			t.Run(name+format.Extension(), func(t *testing.T) {
				fsys, disks := chainOfTwo(t, format)
				s, err := resume.Open(fsys, resume.Config{Format: format, Signer: signer})
				must(t, err)
				defer s.Close()
				commitAll(t, s, disks[1])
				spoil(t, fsys, disks[1])
				first := resume.Point{Source: "lyon", VM: "sql01", Point: nthPoint(1).Point}
				was := storeText(t, fsys)
				const why = "point 0000000000000002, which builds on it, is damaged and not healed yet"
				pinned(t, s.Prune(t.Context(), first), why)
				if is := storeText(t, fsys); is != was {
					t.Errorf("the points are\n%s\nand were\n%s", is, was)
				}
				if got := damageOf(t, s); len(got) != 1 || !strings.HasPrefix(got[0], "2 os") {
					t.Errorf("known damage: %q", got)
				}
				pins, err := s.Pins("lyon", "sql01")
				must(t, err)
				if pins[first.Point] != why {
					t.Errorf("it is pinned since %q, want %q", pins[first.Point], why)
				}
				commitAll(t, s, disks[1])
				heal(t, s)
				must(t, s.Prune(t.Context(), first))
				sound(t, s, disks[1], disks[1], disks[1])
			})
		}
	}
}

// storeText is every file of the points and what it has.
func storeText(t *testing.T, fsys *crashfs.FS) string {
	t.Helper()
	var text strings.Builder
	dir := "lyon/sql01/points"
	points, err := fsys.ReadDir(dir)
	must(t, err)
	for _, p := range points {
		files, err := fsys.ReadDir(path.Join(dir, p.Name()))
		must(t, err)
		for _, f := range files {
			name := path.Join(dir, p.Name(), f.Name())
			fmt.Fprintf(&text, "%s %x\n", name, hashOf(readAll(t, fsys, name)))
		}
	}
	return text.String()
}

func hashOf(text string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(text))
	return h.Sum64()
}
