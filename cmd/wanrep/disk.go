package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"wanrep/diskio"
	"wanrep/diskio/image"
)

func newDiskCommand() *cobra.Command {
	return newGroup("disk", "Look at disk images",
		`Look at disk images: VHDX, VHD and raw files, block devices, and whole chains of
differencing disks. No command changes the image it is given.`,
		`  wanrep disk info os.vhdx
  wanrep disk digest os.vhdx --json
  wanrep disk cat os.vhdx --length 512 | file -`,
		newDiskInfoCommand(),
		newDiskMapCommand(),
		newDiskDigestCommand(),
		newDiskCatCommand(),
		newDiskConvertCommand(),
		newDiskCheckCommand(),
	)
}

// imageFlags say how an image may be opened.
type imageFlags struct {
	parents []string
	raw     bool
	badLog  bool
}

func (f *imageFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringArrayVar(&f.parents, "parents", nil, "another `directory` in which a disk's parents may be")
	cmd.Flags().BoolVar(&f.raw, "raw", false, "take a file of no known format as raw, whatever its name")
	cmd.Flags().BoolVar(&f.badLog, "empty-log", false, "open a VHDX whose log has no valid entry as if it were empty")
}

// open opens an image for reading.
func (f *imageFlags) open(path string) (diskio.Image, error) {
	img, err := image.Open(path, image.Options{ParentDirs: f.parents, AllowRaw: f.raw, AllowEmptyLog: f.badLog})
	var parent *diskio.ParentError
	switch {
	case errors.As(err, &parent):
		return nil, fail(exitFailed, "if the parent is in another directory, name that with --parents", "%w", err)
	case errors.Is(err, diskio.ErrUnknownFormat):
		return nil, fail(exitFailed, "if it is a raw disk, say so with --raw", "%w", err)
	}
	return img, err
}

// read opens an image, lets use read it, and makes sure that nothing wrote to it
// meanwhile.
func (f *imageFlags) read(path string, use func(diskio.Image) error) error {
	img, err := f.open(path)
	if err != nil {
		return err
	}
	defer img.Close()
	if err := use(img); err != nil {
		return err
	}
	return img.Check()
}

// A content is what disk images and the disks of restore points have in common.
type content interface {
	io.ReaderAt
	Size() int64
	NextData(off int64) (start, length int64, err error)
}

// walkBytes is how much of a disk is read at once. It is whole blocks, so that
// the pieces can be digested.
const walkBytes = 16 * diskio.BlockBytes

// walk goes through [from, to) of a disk in ascending order: data is given what
// is stored, hole what is not, which reads as zeros. Pieces given to data begin
// and end at multiples of a block, but for from and to.
func walk(ctx context.Context, disk content, from, to int64, data func(off int64, p []byte) error, hole func(off, length int64) error) error {
	buf := make([]byte, walkBytes)
	for off := from; off < to; {
		start, length, err := disk.NextData(off)
		if err != nil && err != io.EOF {
			return err
		}
		end := start + length
		if err == io.EOF {
			start, end = to, to
		}
		// Widened to blocks, so that each is seen as one.
		start = min(max(start-start%diskio.BlockBytes, off), to)
		end = min(end+(diskio.BlockBytes-end%diskio.BlockBytes)%diskio.BlockBytes, to)
		if start > off {
			if err := hole(off, start-off); err != nil {
				return err
			}
		}
		for off = start; off < end; {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			n := min(walkBytes-off%walkBytes, end-off)
			if _, err := disk.ReadAt(buf[:n], off); err != nil && err != io.EOF {
				return fmt.Errorf("read disk at %d: %w", off, err)
			}
			if err := data(off, buf[:n]); err != nil {
				return err
			}
			off += n
		}
	}
	return nil
}
