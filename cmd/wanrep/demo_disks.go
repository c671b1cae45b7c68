package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"

	"wanrep/configs"
	"wanrep/diskio"
	"wanrep/diskio/vhd"
	"wanrep/diskio/vhdx"
)

// The demo's disks hold runs of what real disks hold, over and over: text that
// compresses, content that does not, zeros that were written, and space that
// never was.
const (
	demoRunBytes = 1 << 20
	demoPattern  = "ttr.tz.r" // t text, r random, z zeros, . never written
)

// demoMinBytes leaves time for everything that the demo shows while it sends.
const demoMinBytes = 32 << 20

// A sealer is a new disk image that is complete once sealed.
type sealer interface {
	io.WriterAt
	Seal() error
}

// makeDemoDisks makes the disks of a VM in dir: a dynamic VHDX and a dynamic VHD
// whose virtual sizes together are size.
func makeDemoDisks(ctx context.Context, dir string, size int64) ([]configs.Disk, error) {
	system := size / 2 / demoRunBytes * demoRunBytes
	disks := []struct {
		name, file string
		size       int64
		create     func(*os.File, int64) (sealer, error)
	}{
		{"os", "os.vhdx", system, func(f *os.File, size int64) (sealer, error) {
			id := diskio.ID{0x77, 0x61, 0x6e, 0x72, 0x65, 0x70, 1}
			return vhdx.Create(f, vhdx.Spec{VirtualSize: size, DiskID: id, LogicalSectorSize: 512, PhysicalSectorSize: 4096})
		}},
		{"data", "data.vhd", size - system, func(f *os.File, size int64) (sealer, error) {
			return vhd.Create(f, vhd.Spec{VirtualSize: size, DiskID: diskio.ID{0x77, 0x61, 0x6e, 0x72, 0x65, 0x70, 2}})
		}},
	}
	var made []configs.Disk
	for i, d := range disks {
		path := filepath.Join(dir, d.file)
		if err := makeDemoDisk(ctx, path, d.size, uint64(i), d.create); err != nil {
			return nil, fmt.Errorf("make disk %s: %w", d.name, err)
		}
		made = append(made, configs.Disk{Name: d.name, Path: path})
	}
	return made, nil
}

func makeDemoDisk(ctx context.Context, path string, size int64, seed uint64, create func(*os.File, int64) (sealer, error)) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	disk, err := create(f, size)
	if err != nil {
		return err
	}
	if err := fillDemoDisk(ctx, disk, size, seed); err != nil {
		return err
	}
	if err := disk.Seal(); err != nil {
		return err
	}
	return f.Close()
}

// fillDemoDisk writes the pattern. The same seed gives the same disk.
func fillDemoDisk(ctx context.Context, disk io.WriterAt, size int64, seed uint64) error {
	random := rand.NewChaCha8([32]byte{byte(seed)})
	text := &demoText{rng: rand.New(rand.NewPCG(seed, 1))}
	buf := make([]byte, demoRunBytes)
	for off := int64(0); off < size; off += demoRunBytes {
		if err := ctx.Err(); err != nil {
			return err
		}
		run := buf[:min(demoRunBytes, size-off)]
		switch demoPattern[off/demoRunBytes%int64(len(demoPattern))] {
		case 't':
			text.fill(run)
		case 'r':
			random.Read(run)
		case 'z':
			clear(run)
		default:
			continue
		}
		if _, err := disk.WriteAt(run, off); err != nil {
			return err
		}
	}
	return nil
}

// A demoText writes lines as a server logs them.
type demoText struct {
	rng  *rand.Rand
	line int
	left []byte // of a line that did not fit
}

var demoWords = []string{
	"accepted", "after", "archive", "backup", "block", "buffer", "cache", "checkpoint", "client", "closed", "commit",
	"connection", "database", "deadlock", "disk", "error", "expired", "failed", "flushed", "for", "from", "in", "index",
	"invoice", "job", "lock", "log", "memory", "missing", "of", "order", "page", "pool", "query", "queue", "read",
	"released", "rolled", "row", "scan", "session", "slow", "started", "statement", "table", "timeout", "to", "user",
	"vacuum", "wait", "with", "writer",
}

func (d *demoText) fill(p []byte) {
	for len(p) > 0 {
		if len(d.left) == 0 {
			d.left = d.next()
		}
		n := copy(p, d.left)
		p, d.left = p[n:], d.left[n:]
	}
}

func (d *demoText) next() []byte {
	d.line++
	line := fmt.Appendf(nil, "2026-11-24T%02d:%02d:%02d.%03dZ sql01 [%d] ",
		d.line/3600000%24, d.line/60000%60, d.line/1000%60, d.line%1000, 1000+d.rng.IntN(9000))
	for range 6 + d.rng.IntN(8) {
		line = append(append(line, demoWords[d.rng.IntN(len(demoWords))]...), ' ')
	}
	return fmt.Appendf(line, "lsn=%x\n", d.rng.Uint32())
}
