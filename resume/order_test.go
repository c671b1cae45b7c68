package resume_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"wanrep/diskio/durable/crashfs"
	"wanrep/resume"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// TestOrderOfOperations keeps the order of all durable operations in a file that a
// review can read: sync, then journal, then acknowledge, which is promise 1; and the
// commit.
func TestOrderOfOperations(t *testing.T) {
	fsys := crashfs.New()
	var lines []string
	note := func(line string) { lines = append(lines, line) }
	traceTo(fsys, note)

	disk := newSnapshot("os", "ab.c", block)
	p := newPlayer(story{format: plain{}})
	note("open a new store")
	s, err := resume.Open(fsys, p.config())
	must(t, err)
	note("begin")
	part, err := s.Begin("lyon", "sql01", []resume.DiskSpec{disk.spec})
	must(t, err)
	note("write")
	must(t, part.Disks()[0].Write(0, disk.content[:block]))
	note("sync")
	durable, err := part.Disks()[0].Sync()
	must(t, err)
	if durable != block {
		t.Fatalf("durable up to %d, want %d", durable, block)
	}
	note("acknowledge")
	note("write, and lose the link")
	must(t, part.Disks()[0].Write(block, disk.content[block:2*block]))
	must(t, part.Close())
	note("begin again")
	part, err = s.Begin("lyon", "sql01", []resume.DiskSpec{disk.spec})
	must(t, err)
	note("write")
	must(t, part.Disks()[0].Write(block, disk.content[block:]))
	note("finish")
	must(t, part.Disks()[0].Finish(disk.root))
	note("acknowledge")
	note("commit")
	_, err = part.Commit()
	must(t, err)
	note("acknowledge the commit")

	next := newSnapshot("os", "a.xc", block)
	note("begin a point on that one")
	part, err = s.Begin("lyon", "sql01", []resume.DiskSpec{next.spec})
	must(t, err)
	note("write what differs, and what became zeros")
	must(t, part.Disks()[0].Write(block, next.content[block:3*block]))
	note("finish")
	must(t, part.Disks()[0].Finish(next.root))
	note("acknowledge")
	note("commit")
	_, err = part.Commit()
	must(t, err)
	note("acknowledge the commit")

	parked, changed := newSnapshot("os", "abxc", block), newSnapshot("os", "aXxd", block)
	note("begin a point, write what differs, sync")
	part, err = s.Begin("lyon", "sql01", []resume.DiskSpec{parked.spec})
	must(t, err)
	must(t, part.Disks()[0].Write(block, parked.content[block:2*block]))
	_, err = part.Disks()[0].Sync()
	must(t, err)
	note("acknowledge, and park")
	must(t, part.Close())
	note("begin again when the disk has changed")
	part, err = s.Begin("lyon", "sql01", []resume.DiskSpec{changed.spec})
	must(t, err)
	note("write what differs from what was received")
	must(t, part.Disks()[0].Write(block, changed.content[block:2*block]))
	note("write on behind that, which makes one file of both")
	must(t, part.Disks()[0].Write(3*block, changed.content[3*block:]))
	note("finish")
	must(t, part.Disks()[0].Finish(changed.root))
	note("acknowledge")
	must(t, part.Close())
	note("prune the first point, on which the others build")
	must(t, s.Prune(t.Context(), resume.Point{Source: "lyon", VM: "sql01", Point: "0000000000000001"}))
	must(t, s.Close())
	note("open the store again")
	s, err = resume.Open(fsys, p.config())
	must(t, err)
	must(t, s.Close())

	golden(t, "order.golden", strings.Join(lines, "\n")+"\n")
}

// TestOrderOfAnImport does the same for a seed, whose first block the part has.
func TestOrderOfAnImport(t *testing.T) {
	disk := newSnapshot("os", "ab.c", block)
	fsys, from := crashfs.New(), seeded(t, plain{}, seedFrom(block, disk))
	seed, err := resume.ReadSeed(from, vmDirName)
	must(t, err)
	s, err := resume.Open(fsys, resume.Config{Format: plain{}})
	must(t, err)
	var lines []string
	note := func(line string) { lines = append(lines, line) }
	traceTo(fsys, note)

	note("begin, write, sync")
	part, err := s.Begin(source, vmName, []resume.DiskSpec{disk.spec})
	must(t, err)
	must(t, part.Disks()[0].Write(0, disk.content[:block]))
	_, err = part.Disks()[0].Sync()
	must(t, err)
	note("acknowledge, and park")
	must(t, part.Close())
	note("import")
	at, err := s.ImportSeed(t.Context(), from, vmDirName, seed)
	must(t, err)
	if at.Disks[0].Durable != 4*block {
		t.Errorf("durable up to %d, want %d", at.Disks[0].Durable, 4*block)
	}
	note("say that it is imported")
	must(t, s.Close())
	golden(t, "import.golden", strings.ReplaceAll(strings.Join(lines, "\n"), vmDirName, "sql01")+"\n")
}

// traceTo notes every operation that changes something.
func traceTo(fsys *crashfs.FS, note func(line string)) {
	fsys.Trace(func(op crashfs.Op) {
		if !op.Changes {
			return
		}
		line := "  " + op.Kind + " " + op.Name
		if op.To != "" {
			line += " -> " + op.To
		}
		note(line)
	})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// golden compares got with a file in testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		must(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	must(t, err)
	if strings.ReplaceAll(string(want), "\r\n", "\n") != got {
		t.Errorf("%s: got\n%s", path, got)
	}
}
