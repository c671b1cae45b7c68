package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"wanrep/diskio"
	"wanrep/diskio/image"
)

// diskCheckSchema names the document of "wanrep disk check --json".
const diskCheckSchema = "wanrep.check/1"

// A diskCheckDocument says where a file breaks its format.
type diskCheckDocument struct {
	Schema   string        `json:"schema"`
	File     string        `json:"file"`
	OK       bool          `json:"ok"`
	Problems []diskProblem `json:"problems"`
	Error    *string       `json:"error"`
	Hint     string        `json:"hint"`
}

type diskProblem struct {
	File    string `json:"file"`
	Section string `json:"section"` // as the format's specification calls it
	Offset  int64  `json:"offset"`  // in the file
	Reason  string `json:"reason"`
}

func newDiskCheckCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "check FILE",
		Short: "Look for damage in an image and its chain",
		Long: `Look for damage in the structures of an image and of its parents. What the disk
holds is not looked at; the exit code is 1 if something is wrong.`,
		Example: `  wanrep disk check os.vhdx
  wanrep disk check os.vhdx --json`,
		Args:        cobra.ExactArgs(1),
		Annotations: withSchema(diskCheckSchema),
		RunE: func(cmd *cobra.Command, args []string) error {
			problems, err := image.Check(args[0])
			if err != nil {
				return err
			}
			doc := diskCheckDocument{Schema: diskCheckSchema, File: args[0], OK: len(problems) == 0, Problems: []diskProblem{}}
			for _, p := range problems {
				doc.Problems = append(doc.Problems, diskProblem{p.Path, p.Section, p.Offset, p.Reason})
			}
			return printDiskCheck(cmd, doc, asJSON)
		},
	}
	addJSONFlag(cmd, &asJSON)
	return cmd
}

func printDiskCheck(cmd *cobra.Command, doc diskCheckDocument, asJSON bool) error {
	var found error
	if !doc.OK {
		found = errors.New(diskio.Printable(doc.File) + " is damaged")
	}
	if asJSON {
		if found == nil {
			return printJSON(cmd, doc)
		}
		text := found.Error()
		doc.Error = &text
		if err := printJSON(cmd, doc); err != nil {
			return err
		}
		return documented(exitFailed, found)
	}
	for _, p := range doc.Problems {
		if _, err := fmt.Fprintf(cmd.OutOrStdout(), "%s: %s at offset %d: %s\n",
			diskio.Printable(p.File), diskio.Printable(p.Section), p.Offset, diskio.Printable(p.Reason)); err != nil {
			return err
		}
	}
	if found == nil {
		_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s: no damage found\n", diskio.Printable(doc.File))
		return err
	}
	return found
}
