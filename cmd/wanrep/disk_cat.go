package main

import (
	"context"
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"wanrep/configs"
	"wanrep/diskio"
)

// A byteCount is a flag's number of bytes: "4096" or "64MiB".
type byteCount int64

func (n *byteCount) String() string { return strconv.FormatInt(int64(*n), 10) }
func (n *byteCount) Type() string   { return "bytes" }

// Set reads the flag.
func (n *byteCount) Set(s string) error {
	if plain, err := strconv.ParseUint(s, 10, 63); err == nil {
		*n = byteCount(plain)
		return nil
	}
	size, err := configs.ParseSize(s)
	if err != nil {
		return fmt.Errorf("%q is not a number of bytes; write it as in \"4096\" or \"64MiB\"", s)
	}
	*n = byteCount(size)
	return nil
}

func newDiskCatCommand() *cobra.Command {
	var image imageFlags
	var offset, length byteCount
	cmd := &cobra.Command{
		Use:   "cat FILE",
		Short: "Write the content of a disk to stdout",
		Long: `Write the virtual content of a disk to stdout; holes are written as zeros. What
--length wants behind the disk's end is left out.`,
		Example: `  wanrep disk cat os.vhdx | sha256sum
  wanrep disk cat os.vhdx --offset 1MiB --length 512 | xxd`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return image.read(args[0], func(img diskio.Image) error {
				from, to := int64(offset), img.Size()
				if from > to {
					return fail(exitUsage, "", "--offset %d is behind the disk's end at %d", from, to)
				}
				if cmd.Flags().Changed("length") {
					to = min(from+min(int64(length), to), to)
				}
				err := writeContent(cmd.Context(), cmd.OutOrStdout(), img, from, to)
				if isClosedPipe(err) {
					// Whoever reads has enough.
					return nil
				}
				return err
			})
		},
	}
	cmd.Flags().Var(&offset, "offset", "`bytes` of the disk to leave out")
	cmd.Flags().Var(&length, "length", "how many `bytes` to write (default: all)")
	image.add(cmd)
	return cmd
}

func writeContent(ctx context.Context, out io.Writer, disk content, from, to int64) error {
	zeros := make([]byte, walkBytes)
	data := func(_ int64, p []byte) error {
		_, err := out.Write(p)
		return err
	}
	hole := func(_, length int64) error {
		for length > 0 && ctx.Err() == nil {
			n := min(length, walkBytes)
			if _, err := out.Write(zeros[:n]); err != nil {
				return err
			}
			length -= n
		}
		return ctx.Err()
	}
	return walk(ctx, disk, from, to, data, hole)
}
