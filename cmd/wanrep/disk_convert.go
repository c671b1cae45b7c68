package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"wanrep/diskio"
	"wanrep/diskio/image"
)

// convertSchema names the document of "wanrep disk convert --json".
const convertSchema = "wanrep.convert/1"

// A convertDocument says what was written. Sizes are bytes.
type convertDocument struct {
	Schema      string `json:"schema"`
	File        string `json:"file"`
	Format      string `json:"format"`
	VirtualSize int64  `json:"virtual_size"`
	Allocated   int64  `json:"allocated"`
}

// outputFormats are what convert writes.
var outputFormats = []string{"vhdx", "vhd", "raw"}

func newDiskConvertCommand() *cobra.Command {
	var in imageFlags
	var format string
	var force, asJSON bool
	cmd := &cobra.Command{
		Use:   "convert IN OUT",
		Short: "Write a disk as another image",
		Long: `Write the content of a disk, with its whole chain, as an image that stands alone:
a dynamic VHDX or VHD, or a sparse raw file. OUT appears when it is complete.`,
		Example: `  wanrep disk convert checkpoint.avhdx flat.vhdx
  wanrep disk convert os.vhdx os.img --format raw`,
		Args:        cobra.ExactArgs(2),
		Annotations: withSchema(convertSchema),
		RunE: func(cmd *cobra.Command, args []string) error {
			out := args[1]
			format, err := formatFor(out, format)
			if err != nil {
				return err
			}
			if _, err := os.Lstat(out); err == nil && !force {
				return fail(exitFailed, "--force replaces it", "%s exists", diskio.Printable(out))
			}
			err = in.read(args[0], func(img diskio.Image) error {
				return image.Convert(cmd.Context(), img, out, format)
			})
			if err != nil {
				return err
			}
			doc, err := converted(out, format)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd, doc)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "wrote %s: %s, %s, of which %s are stored\n",
				diskio.Printable(out), format, formatBytes(doc.VirtualSize), formatBytes(doc.Allocated))
			return err
		},
	}
	cmd.Flags().StringVar(&format, "format", "", "vhdx, vhd or raw (default: by the name of OUT)")
	cmd.Flags().BoolVar(&force, "force", false, "replace OUT if it exists")
	in.add(cmd)
	addJSONFlag(cmd, &asJSON)
	return cmd
}

// formatFor returns the format to write, which a file's name may tell.
func formatFor(out, format string) (string, error) {
	if format == "" {
		format = strings.ToLower(strings.TrimPrefix(filepath.Ext(out), "."))
		if format == "img" {
			format = "raw"
		}
		if !slices.Contains(outputFormats, format) {
			return "", fail(exitUsage, "add --format vhdx, vhd or raw", "the name %s does not tell the format", diskio.Printable(out))
		}
	}
	if !slices.Contains(outputFormats, format) {
		return "", fail(exitUsage, "", "--format %q is none of vhdx, vhd and raw", format)
	}
	return format, nil
}

// converted looks at what was written.
func converted(out, format string) (convertDocument, error) {
	img, err := image.Open(out, image.Options{AllowRaw: format == "raw"})
	if err != nil {
		return convertDocument{}, err
	}
	defer img.Close()
	return convertDocument{
		Schema: convertSchema, File: out, Format: format,
		VirtualSize: img.Size(), Allocated: img.Info().Allocated,
	}, nil
}
