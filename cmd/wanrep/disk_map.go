package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"wanrep/diskio"
)

// mapSchema names the document of "wanrep disk map --json".
const mapSchema = "wanrep.map/1"

// A mapExtent is an element of that document.
type mapExtent struct {
	Start      int64   `json:"start"`
	Length     int64   `json:"length"`
	Kind       string  `json:"kind"` // "data", "zero" or "hole"
	File       *string `json:"file"`
	FileOffset *int64  `json:"file_offset"`
}

func newDiskMapCommand() *cobra.Command {
	var image imageFlags
	var asJSON bool
	var since string
	cmd := &cobra.Command{
		Use:   "map FILE",
		Short: "Show which extents of a disk are stored, and where",
		Long: `Show the extents of a disk in ascending order: "data" is stored in a file of the
chain, "zero" is space that a file says is zeros, and "hole" is space that no file
has anything for, which reads as zeros too. With --since only what may differ from
an older file of the chain is shown, without reading anything.`,
		Example: `  wanrep disk map os.vhdx
  wanrep disk map os_checkpoint.avhdx --since os.vhdx
  wanrep disk map os.vhdx --json`,
		Args:        cobra.ExactArgs(1),
		Annotations: withSchema(mapSchema),
		RunE: func(cmd *cobra.Command, args []string) error {
			img, err := image.open(args[0])
			if err != nil {
				return err
			}
			defer img.Close()
			out := bufio.NewWriter(cmd.OutOrStdout())
			if asJSON {
				err = writeMap(cmd, out, img, since)
			} else {
				err = printMap(cmd.Context(), out, img, since)
			}
			if flushed := out.Flush(); flushed != nil {
				return flushed
			}
			return err
		},
	}
	image.add(cmd)
	cmd.Flags().StringVar(&since, "since", "", "only what may differ from this `file` of the chain")
	addJSONFlag(cmd, &asJSON)
	return cmd
}

// eachExtent goes through a disk's mappings, or through what may have changed since
// a file of its chain, and joins mappings that continue each other.
func eachExtent(ctx context.Context, img diskio.Image, since string, each func(diskio.Mapping) error) error {
	if since == "" {
		return extentsOf(ctx, img, diskio.Extent{Length: img.Size()}, each)
	}
	for off := int64(0); ; {
		start, length, err := img.NextChanged(since, off)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err := extentsOf(ctx, img, diskio.Extent{Start: start, Length: length}, each); err != nil {
			return err
		}
		off = start + length
	}
}

// extentsOf goes through the mappings of one part of a disk.
func extentsOf(ctx context.Context, img diskio.Image, part diskio.Extent, each func(diskio.Mapping) error) error {
	var run diskio.Mapping
	for off := part.Start; off < part.End(); {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		m, err := img.Map(off)
		if err != nil {
			return err
		}
		m.Length = min(m.Length, part.End()-off)
		off = m.End()
		if run.Length > 0 && continues(run, m) {
			run.Length += m.Length
			continue
		}
		if run.Length > 0 {
			if err := each(run); err != nil {
				return err
			}
		}
		run = m
	}
	if run.Length == 0 {
		return nil
	}
	return each(run)
}

func continues(run, m diskio.Mapping) bool {
	return run.Kind == m.Kind && run.File == m.File &&
		(m.Kind != diskio.Data || run.FileOffset+run.Length == m.FileOffset)
}

// writeMap writes the document piece by piece, since that of a large disk has
// millions of extents. An error on the way is its last key.
func writeMap(cmd *cobra.Command, out *bufio.Writer, img diskio.Image, since string) error {
	fmt.Fprintf(out, `{"schema":%q,"virtual_size":%d,"extents":[`, mapSchema, img.Size())
	separator := ""
	err := eachExtent(cmd.Context(), img, since, func(m diskio.Mapping) error {
		e := mapExtent{Start: m.Start, Length: m.Length, Kind: m.Kind.String()}
		if m.File != "" {
			e.File = &m.File
		}
		if m.Kind == diskio.Data {
			e.FileOffset = &m.FileOffset
		}
		text, err := json.Marshal(e)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(out, "%s%s", separator, text)
		separator = ","
		return err
	})
	if err == nil {
		_, err = fmt.Fprintln(out, `],"error":null,"hint":""}`)
		return err
	}
	code, text, hint := describe(cmd, err, true)
	fmt.Fprintf(out, `],"error":%s,"hint":%s}`+"\n", quoteJSON(text), quoteJSON(hint))
	return documented(code, errors.New(text))
}

func quoteJSON(s string) []byte {
	// A string always has a form in JSON.
	text, _ := json.Marshal(s)
	return text
}

func printMap(ctx context.Context, out *bufio.Writer, img diskio.Image, since string) error {
	const line = "%16s %16s  %-4s  %s\n"
	fmt.Fprintf(out, line, "START", "LENGTH", "KIND", "WHERE")
	return eachExtent(ctx, img, since, func(m diskio.Mapping) error {
		where := diskio.Printable(m.File)
		if m.Kind == diskio.Data {
			where = fmt.Sprintf("%s at %d", where, m.FileOffset)
		}
		_, err := fmt.Fprintf(out, line, fmt.Sprint(m.Start), fmt.Sprint(m.Length), m.Kind, where)
		return err
	})
}
