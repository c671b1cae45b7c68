package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"

	"wanrep/diskio"
	"wanrep/diskio/image"
	"wanrep/diskio/vhdx"
)

// disks measures how fast a dynamic VHDX is read beside a raw file of the same
// bytes, both in the page cache, and how long opening a disk of 64 TiB and listing
// its extents takes.
func disks(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("disks", flag.ContinueOnError)
	size := flags.Int64("size", 1024, "MiB of content")
	rounds := flags.Int("rounds", 9, "measurements of each")
	if err := flags.Parse(args); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "wanrep-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := sequential(ctx, dir, *size<<20, *rounds, out); err != nil {
		return err
	}
	fmt.Fprintf(out, "\n| dynamic VHDX of 64 TiB, a block in use every 16 GiB | extents | open and list them, ms |\n| --- | --- | --- |\n")
	for _, block := range []int64{32 << 20, 1 << 20} {
		if err := largest(dir, block, *rounds, out); err != nil {
			return err
		}
	}
	return nil
}

func sequential(ctx context.Context, dir string, size int64, rounds int, out io.Writer) error {
	plain, dynamic := filepath.Join(dir, "disk.img"), filepath.Join(dir, "disk.vhdx")
	if err := random(plain, size); err != nil {
		return err
	}
	img, err := image.Open(plain, image.Options{})
	if err != nil {
		return err
	}
	err = image.Convert(ctx, img, dynamic, image.VHDX)
	img.Close()
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "| sequential read of %d MiB, in the page cache | raw, GB/s | dynamic VHDX, GB/s | VHDX : raw |\n| --- | --- | --- | --- |\n", size>>20)
	for _, piece := range []int{64 << 10, 1 << 20} {
		var rates [2][]float64
		var ratios []float64
		for range rounds + 1 { // the first round fills the cache
			var took [2]float64
			for i, path := range []string{plain, dynamic} {
				if took[i], err = seconds(func() error { return readThrough(path, piece) }); err != nil {
					return err
				}
				rates[i] = append(rates[i], float64(size)/took[i]/1e9)
			}
			ratios = append(ratios, took[0]/took[1])
		}
		fmt.Fprintf(out, "| in pieces of %d KiB | %v | %v | %v |\n", piece>>10, spreadOf(rates[0][1:]), spreadOf(rates[1][1:]), spreadOf(ratios[1:]))
	}
	return nil
}

// random writes a file that no block of is zeros.
func random(path string, size int64) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	r := rand.NewChaCha8([32]byte{1})
	_, err = io.CopyN(f, r, size)
	return err
}

func readThrough(path string, piece int) error {
	img, err := image.Open(path, image.Options{})
	if err != nil {
		return err
	}
	defer img.Close()
	buffer := make([]byte, piece)
	for off := int64(0); off < img.Size(); off += int64(piece) {
		if n, err := img.ReadAt(buffer, off); err != nil && (err != io.EOF || n == 0) {
			return err
		}
	}
	return nil
}

// largest opens the largest disk there is. Its table of blocks has 16 MiB with the
// blocks of 32 MiB that such disks have, and 512 MiB with the smallest ones.
func largest(dir string, block int64, rounds int, out io.Writer) error {
	path := filepath.Join(dir, fmt.Sprintf("large-%d.vhdx", block))
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	w, err := vhdx.Create(f, vhdx.Spec{VirtualSize: diskio.MaxVirtualSize, BlockSize: block})
	if err != nil {
		return err
	}
	for off := int64(0); off < diskio.MaxVirtualSize; off += 16 << 30 {
		if _, err := w.WriteAt([]byte{1}, off); err != nil {
			return err
		}
	}
	if err := w.Seal(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	var times []float64
	extents := 0
	for range rounds {
		took, err := seconds(func() (err error) {
			extents, err = countExtents(path)
			return err
		})
		if err != nil {
			return err
		}
		times = append(times, 1000*took)
	}
	fmt.Fprintf(out, "| blocks of %d MiB | %d | %v |\n", block>>20, extents, spreadOf(times))
	return nil
}

func countExtents(path string) (int, error) {
	img, err := image.Open(path, image.Options{})
	if err != nil {
		return 0, err
	}
	defer img.Close()
	n := 0
	for off := int64(0); ; n++ {
		start, length, err := img.NextData(off)
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return n, err
		}
		off = start + length
	}
}
