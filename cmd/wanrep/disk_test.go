package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"wanrep/diskio"
)

// A fakeDisk stores some extents of its content; the rest is zeros.
type fakeDisk struct {
	content []byte
	stored  []diskio.Extent // ascending, apart from each other
}

func (d *fakeDisk) Size() int64 { return int64(len(d.content)) }

func (d *fakeDisk) ReadAt(p []byte, off int64) (int, error) {
	return bytes.NewReader(d.content).ReadAt(p, off)
}

func (d *fakeDisk) NextData(off int64) (start, length int64, err error) {
	for _, e := range d.stored {
		if e.End() > off {
			start = max(e.Start, off)
			return start, e.End() - start, nil
		}
	}
	return 0, 0, io.EOF
}

func randomDisk(random *rand.Rand) *fakeDisk {
	d := &fakeDisk{content: make([]byte, 1+random.IntN(3*walkBytes))}
	for off := int64(random.IntN(walkBytes)); off < d.Size(); {
		e := diskio.Extent{Start: off, Length: min(1+random.Int64N(walkBytes), d.Size()-off)}
		for i := e.Start; i < e.End(); i++ {
			d.content[i] = byte(1 + i%255)
		}
		d.stored = append(d.stored, e)
		off = e.End() + 1 + random.Int64N(walkBytes)
	}
	return d
}

func TestWalkGivesEveryByteOnce(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		d := randomDisk(random)
		from := random.Int64N(d.Size() + 1)
		to := from + random.Int64N(d.Size()-from+1)
		var got []byte
		data := func(off int64, p []byte) error {
			if off != from+int64(len(got)) {
				t.Fatalf("data at %d after %d bytes from %d on", off, len(got), from)
			}
			got = append(got, p...)
			if end := off + int64(len(p)); off != from && off%diskio.BlockBytes != 0 || end != to && end%diskio.BlockBytes != 0 {
				t.Fatalf("[%d, %d) of [%d, %d) is not whole blocks", off, end, from, to)
			}
			return nil
		}
		hole := func(off, length int64) error {
			if off != from+int64(len(got)) || length <= 0 {
				t.Fatalf("a hole of %d at %d after %d bytes from %d on", length, off, len(got), from)
			}
			got = append(got, make([]byte, length)...)
			return nil
		}
		if err := walk(context.Background(), d, from, to, data, hole); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, d.content[from:to]) {
			t.Fatalf("the content of [%d, %d) of %v differs", from, to, d.stored)
		}
	}
}

// The whole content is data to one who reads no map.
func TestDigestDoesNotDependOnHoles(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 20 {
		d := randomDisk(random)
		got, err := digestDisk(t.Context(), d)
		if err != nil {
			t.Fatal(err)
		}
		d.stored = []diskio.Extent{{Length: d.Size()}}
		want, err := digestDisk(t.Context(), d)
		if err != nil {
			t.Fatal(err)
		}
		if got != want {
			t.Fatalf("got %+v, want %+v", got, want)
		}
	}
}

func TestDiskCommandsEndWhenInterrupted(t *testing.T) {
	file := filepath.Join(t.TempDir(), "large.img")
	if err := os.WriteFile(file, []byte("data"), 0o600); err != nil {
		t.Fatal(err)
	}
	// Only a hole, so that nothing but the context can end it soon.
	if err := os.Truncate(file, 8<<40); err != nil {
		t.Skip("the file system has no such large files:", err)
	}
	for _, command := range []string{"digest", "cat", "map"} {
		t.Run(command, func(t *testing.T) {
			ctx, interrupt := context.WithCancel(context.Background())
			interrupt()
			cmd := newRootCommand()
			cmd.SetArgs([]string{"disk", command, file})
			cmd.SetOut(io.Discard)
			if err := cmd.ExecuteContext(ctx); !errors.Is(err, context.Canceled) {
				t.Errorf("got %v, want it interrupted", err)
			}
		})
	}
}
