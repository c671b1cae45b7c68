package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"wanrep/diskio"
	"wanrep/resume"
)

// verifySchema names the document of "wanrep points verify --json".
const verifySchema = "wanrep.verify/1"

// A verifyDocument says which points are what was committed.
type verifyDocument struct {
	Schema string          `json:"schema"`
	Points []verifiedPoint `json:"points"`
	Error  *string         `json:"error"` // why it ended early, or that there are problems
	Hint   string          `json:"hint"`
}

type verifiedPoint struct {
	Source   string          `json:"source"`
	VM       string          `json:"vm"`
	Point    string          `json:"point"`
	OK       bool            `json:"ok"`
	Problems []verifyProblem `json:"problems"`
}

type verifyProblem struct {
	Disk   string `json:"disk"` // empty if it concerns the whole point
	Start  int64  `json:"start"`
	Length int64  `json:"length"`
	What   string `json:"what"`
}

func newPointsVerifyCommand() *cobra.Command {
	var f pointsFlags
	var q pointQuery
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Read restore points again and compare them with their digests",
		Long: `Read restore points again, all of them or those that the flags name, and compare
their content with the digests and the roots of their manifests. The exit code is
1 if anything differs, and every extent that does is listed.`,
		Example: `  wanrep points verify --store /srv/wanrep
  wanrep points verify --vm sql01 --point latest --json`,
		Args:        cobra.NoArgs,
		Annotations: withSchema(verifySchema),
		RunE: func(cmd *cobra.Command, args []string) error {
			store, err := f.openStore()
			if err != nil {
				return err
			}
			defer store.Close()
			points, err := store.List()
			if err != nil {
				return err
			}
			// A store without any point has none that differs.
			found, err := q.find(points, false)
			if err != nil && q != (pointQuery{}) {
				return err
			}
			doc, err := verifyPoints(cmd, store, found, !asJSON)
			if !asJSON {
				return err
			}
			return printVerifyDocument(cmd, doc, err)
		},
	}
	f.add(cmd)
	q.add(cmd)
	addJSONFlag(cmd, &asJSON)
	return cmd
}

// printVerifyDocument prints what was found, and why it ended if it did.
func printVerifyDocument(cmd *cobra.Command, doc verifyDocument, ended error) error {
	if ended == nil {
		return printJSON(cmd, doc)
	}
	code, text, hint := describe(cmd, ended, true)
	doc.Error, doc.Hint = &text, hint
	if err := printJSON(cmd, doc); err != nil {
		return err
	}
	return documented(code, errors.New(text))
}

// verifyPoints verifies one point after the other, and tells of each as it goes
// if aloud. The error says that it ended early or that some differ.
func verifyPoints(cmd *cobra.Command, store *resume.Store, points []resume.Point, aloud bool) (verifyDocument, error) {
	out := cmd.OutOrStdout()
	doc := verifyDocument{Schema: verifySchema, Points: []verifiedPoint{}}
	bad := 0
	if len(points) == 0 && aloud {
		fmt.Fprintln(out, "no restore points")
	}
	for _, p := range points {
		v := verifiedPoint{Source: p.Source, VM: p.VM, Point: p.Point, Problems: []verifyProblem{}}
		err := resume.Verify(cmd.Context(), store, p, func(w resume.VerifyProblem) {
			v.Problems = append(v.Problems, verifyProblem{w.Disk, w.Extent.Start, w.Extent.Length, w.What})
		})
		switch {
		case cmd.Context().Err() != nil:
			return doc, cmd.Context().Err()
		case err != nil:
			v.Problems = append(v.Problems, verifyProblem{What: err.Error()})
		}
		v.OK = len(v.Problems) == 0
		doc.Points = append(doc.Points, v)
		if !v.OK {
			bad++
		}
		if aloud {
			if err := printVerified(out, v); err != nil {
				return doc, err
			}
		}
	}
	if bad > 0 {
		return doc, fmt.Errorf("%d of %d restore points differ from what was committed", bad, len(points))
	}
	return doc, nil
}

func printVerified(out io.Writer, v verifiedPoint) error {
	result := "ok"
	if !v.OK {
		result = "DIFFERS"
	}
	if _, err := fmt.Fprintf(out, "%-7s  %s  %s  %s\n", result, diskio.Printable(v.Source), diskio.Printable(v.VM), v.Point); err != nil {
		return err
	}
	for _, p := range v.Problems {
		where := "the point"
		if p.Disk != "" {
			where = fmt.Sprintf("disk %s, %d bytes at %d", p.Disk, p.Length, p.Start)
		}
		if _, err := fmt.Fprintf(out, "         %s: %s\n", diskio.Printable(where), diskio.Printable(p.What)); err != nil {
			return err
		}
	}
	return nil
}
