package main

import (
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"wanrep/diskio"
)

// infoSchema names the document of "wanrep disk info --json".
const infoSchema = "wanrep.info/1"

// An infoDocument describes an image. Sizes are bytes.
type infoDocument struct {
	Schema             string  `json:"schema"`
	File               string  `json:"file"`
	Format             string  `json:"format"`
	Subformat          string  `json:"subformat"`
	VirtualSize        int64   `json:"virtual_size"`
	BlockSize          int64   `json:"block_size"`
	LogicalSectorSize  int     `json:"logical_sector_size"`
	PhysicalSectorSize int     `json:"physical_sector_size"`
	DiskID             *string `json:"disk_id"`
	Parent             *string `json:"parent"`
	Log                string  `json:"log"`
	Allocated          int64   `json:"allocated"`
}

func newDiskInfoCommand() *cobra.Command {
	var image imageFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "info FILE",
		Short: "Show what an image is",
		Example: `  wanrep disk info os.vhdx
  wanrep disk info checkpoint.avhdx --parents /srv/images --json`,
		Args:        cobra.ExactArgs(1),
		Annotations: withSchema(infoSchema),
		RunE: func(cmd *cobra.Command, args []string) error {
			img, err := image.open(args[0])
			if err != nil {
				return err
			}
			defer img.Close()
			if asJSON {
				return printJSON(cmd, describeImage(args[0], img.Info()))
			}
			return printInfo(cmd, img.Info())
		},
	}
	image.add(cmd)
	addJSONFlag(cmd, &asJSON)
	return cmd
}

func describeImage(file string, i diskio.Info) infoDocument {
	doc := infoDocument{
		Schema: infoSchema, File: file, Format: i.Format, Subformat: i.Subformat,
		VirtualSize: i.VirtualSize, BlockSize: i.BlockSize,
		LogicalSectorSize: i.LogicalSectorSize, PhysicalSectorSize: i.PhysicalSectorSize,
		Log: logState(i), Allocated: i.Allocated,
	}
	if !i.DiskID.IsZero() {
		id := i.DiskID.String()
		doc.DiskID = &id
	}
	if i.Parent != "" {
		doc.Parent = &i.Parent
	}
	return doc
}

// logState tells whether changes wait in a log. Formats without one have none.
func logState(i diskio.Info) string {
	if i.LogPending {
		return "pending"
	}
	return "empty"
}

func printInfo(cmd *cobra.Command, i diskio.Info) error {
	rows := [][2]string{
		{"format", i.Format + ", " + i.Subformat},
		{"virtual size", fmt.Sprintf("%s (%d bytes)", formatBytes(i.VirtualSize), i.VirtualSize)},
		{"allocated", fmt.Sprintf("%s (%d bytes)", formatBytes(i.Allocated), i.Allocated)},
		{"sectors", strconv.Itoa(i.LogicalSectorSize) + " logical, " + strconv.Itoa(i.PhysicalSectorSize) + " physical"},
	}
	if i.BlockSize > 0 {
		rows = append(rows, [2]string{"block size", formatBytes(i.BlockSize)})
	}
	if !i.DiskID.IsZero() {
		rows = append(rows, [2]string{"disk ID", i.DiskID.String()})
	}
	if i.Parent != "" {
		rows = append(rows, [2]string{"parent", i.Parent})
	}
	if i.LogPending {
		rows = append(rows, [2]string{"log", "pending: the last changes are in it, and reading sees them"})
	}
	for _, row := range rows {
		if _, err := fmt.Fprintf(cmd.OutOrStdout(), "%-13s %s\n", row[0], diskio.Printable(row[1])); err != nil {
			return err
		}
	}
	return nil
}
