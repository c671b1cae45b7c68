package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"

	"wanrep/diskio"
	"wanrep/diskio/digest"
	files "wanrep/diskio/durable"
	"wanrep/resume"
	"wanrep/resume/vhdxstore"
)

// store measures how long a store of many points takes to list, and what a run costs by
// how much of its disk changed.
func store(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("store", flag.ContinueOnError)
	vms := flags.Int("vms", 100, "VMs in the store that is listed")
	points := flags.Int("points", 100, "points of each")
	rounds := flags.Int("rounds", 9, "times that it is listed")
	size := flags.Int64("size", 4, "GiB of the disk that is sent")
	content := flags.Int64("content", 256, "MiB of it that are not holes")
	runs := flags.Int("runs", 3, "runs for each share that changed")
	if err := flags.Parse(args); err != nil {
		return usageError{err}
	}
	dir, err := os.MkdirTemp("", "wanrep-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	wanrep, err := build(ctx, dir)
	if err != nil {
		return err
	}
	if err := listing(ctx, wanrep, filepath.Join(dir, "store"), *vms, *points, *rounds, out); err != nil {
		return err
	}
	fmt.Fprintln(out)
	return increments(ctx, wanrep, filepath.Join(dir, "runs"), *size<<30, *content<<20, *runs, out)
}

// listing measures "wanrep points list" and the library's part of it.
func listing(ctx context.Context, wanrep, dir string, vms, points, rounds int, out io.Writer) error {
	if err := manyPoints(ctx, dir, vms, points); err != nil {
		return fmt.Errorf("make the store: %w", err)
	}
	var took []float64
	for range rounds + 1 { // the first round fills the cache
		s, err := seconds(func() error {
			text, err := exec.CommandContext(ctx, wanrep, "points", "list", "--store", dir, "--json").Output()
			if n := bytes.Count(text, []byte(`"state":"committed"`)); err == nil && n != vms*points {
				err = fmt.Errorf("%d points are listed", n)
			}
			return err
		})
		if err != nil {
			return err
		}
		took = append(took, s)
	}
	fmt.Fprintf(out, "| `wanrep points list` of a store | VMs | seconds |\n| --- | --- | --- |\n| %d points | %d | %v |\n",
		vms*points, vms, spreadOf(took[1:]))
	return nil
}

// manyPoints makes a store. The points of the first VM are committed, those of the
// others are copies of them under other names.
func manyPoints(ctx context.Context, dir string, vms, points int) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	fsys, err := files.OS(dir)
	if err != nil {
		return err
	}
	defer fsys.Close()
	s, err := resume.Open(fsys, resume.Config{Format: vhdxstore.Format{}})
	if err != nil {
		return err
	}
	defer s.Close()
	for i := range points {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := commitPoint(s, vmNumber(0), byte(i)); err != nil {
			return err
		}
	}
	for n := 1; n < vms; n++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := copyVM(filepath.Join(dir, "branch"), vmNumber(0), vmNumber(n)); err != nil {
			return err
		}
	}
	return nil
}

func vmNumber(n int) string { return fmt.Sprintf("vm%04d", n) }

// commitPoint commits a point of a small disk, one block of which is new.
func commitPoint(s *resume.Store, vm string, n byte) error {
	const size = 1 << 20
	part, err := s.Begin("branch", vm, []resume.DiskSpec{{
		Name: "os", ID: diskio.ID{1}, Size: size, LogicalSectorSize: 512, PhysicalSectorSize: 4096,
	}})
	if err != nil {
		return err
	}
	defer part.Close()
	block := bytes.Repeat([]byte{n + 1}, diskio.BlockBytes)
	tree := digest.NewTree(0)
	tree.Add(digest.Block(block))
	tree.SkipTo(digest.Blocks(size))
	root, err := tree.Root(size)
	if err != nil {
		return err
	}
	d := part.Disks()[0]
	if err := errors.Join(d.Write(0, block), d.Finish(root)); err != nil {
		return err
	}
	_, err = part.Commit()
	return err
}

// copyVM copies the points of a VM to another name, which has as many letters.
func copyVM(dir, from, to string) error {
	files, err := filepath.Glob(filepath.Join(dir, from, "points", "*", "*"))
	if err != nil {
		return err
	}
	for _, name := range files {
		rel, err := filepath.Rel(filepath.Join(dir, from), name)
		if err != nil {
			return err
		}
		copied := filepath.Join(dir, to, rel)
		if err := os.MkdirAll(filepath.Dir(copied), 0o755); err != nil {
			return err
		}
		if filepath.Ext(name) == ".vhdx" {
			err = copySparse(name, copied)
		} else {
			var text []byte
			if text, err = os.ReadFile(name); err == nil {
				text = bytes.Replace(text, []byte(`"`+from+`"`), []byte(`"`+to+`"`), 1)
				err = os.WriteFile(copied, text, 0o444)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// copySparse copies a file and leaves holes where it has zeros.
func copySparse(from, to string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	f, err := os.Create(to)
	if err != nil {
		return err
	}
	defer f.Close()
	const page = 4096
	zeros := make([]byte, page)
	for off := 0; off < len(b); off += page {
		piece := b[off:min(off+page, len(b))]
		if bytes.Equal(piece, zeros[:len(piece)]) {
			continue
		}
		if _, err := f.WriteAt(piece, int64(off)); err != nil {
			return err
		}
	}
	return f.Truncate(int64(len(b)))
}
