package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unicode"

	"github.com/spf13/cobra"

	"wanrep/diskio"
	"wanrep/diskio/digest"
	"wanrep/diskio/durable"
	"wanrep/diskio/vhdx"
	"wanrep/resume"
)

// exportSchema names the document of "wanrep points export --json".
const exportSchema = "wanrep.export/1"

// An exportDocument says what was exported.
type exportDocument struct {
	Schema string         `json:"schema"`
	Source string         `json:"source"`
	VM     string         `json:"vm"`
	Point  string         `json:"point"`
	Disks  []exportedDisk `json:"disks"`
}

type exportedDisk struct {
	Disk        string `json:"disk"`
	File        string `json:"file"`
	VirtualSize int64  `json:"virtual_size"` // in bytes
	Root        string `json:"root"`
}

func newPointsExportCommand() *cobra.Command {
	var f pointsFlags
	q := pointQuery{point: latest}
	var to, format string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Write the disks of a restore point as files that stand alone",
		Long: `Write the disks of a restore point as files that stand alone, OUTDIR/DISK.vhdx or
OUTDIR/DISK.raw, and compare their roots with the manifest on the way. The files
appear when all of them are complete and right.`,
		Example: `  wanrep points export --vm sql01 --point latest --to /srv/restore
  wanrep points export --store /srv/wanrep --source branch-lyon --vm sql01 --to . --format raw`,
		Args:        cobra.NoArgs,
		Annotations: withSchema(exportSchema),
		RunE: func(cmd *cobra.Command, args []string) error {
			if format != "vhdx" && format != "raw" {
				return fail(exitUsage, "", "--format %q is neither vhdx nor raw", format)
			}
			reading := newReading(cmd.ErrOrStderr())
			defer reading.clear()
			store, err := f.openStore(reading.format())
			if err != nil {
				return err
			}
			defer store.Close()
			points, err := store.List()
			if err != nil {
				return err
			}
			p, err := q.findOne(points, false)
			if err != nil {
				return err
			}
			doc, err := exportPoint(cmd.Context(), store, p, to, format)
			reading.clear()
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd, doc)
			}
			for _, d := range doc.Disks {
				if _, err := fmt.Fprintf(cmd.OutOrStdout(), "wrote %s: %s, root %s as committed\n",
					diskio.Printable(d.File), formatBytes(d.VirtualSize), d.Root); err != nil {
					return err
				}
			}
			return nil
		},
	}
	f.add(cmd)
	q.add(cmd)
	f.complete(cmd, &q)
	cmd.Flags().StringVar(&to, "to", "", "`directory` to write to")
	cmd.Flags().StringVar(&format, "format", "vhdx", "vhdx or raw")
	cmd.MarkFlagRequired("to")
	addJSONFlag(cmd, &asJSON)
	return cmd
}

// exportPoint writes every disk beside its final name, and renames them when all
// are right.
func exportPoint(ctx context.Context, store *resume.Store, p resume.Point, to, format string) (doc exportDocument, err error) {
	reading, err := store.Read(p)
	if err != nil {
		return doc, err
	}
	defer func() {
		if err != nil && reading.Pruned() {
			err = resume.ErrPruned
		}
		reading.Close()
	}()
	m, err := store.Manifest(p)
	if err != nil {
		return doc, err
	}
	if err := os.MkdirAll(to, 0o755); err != nil {
		return doc, err
	}
	out, err := durable.OS(to)
	if err != nil {
		return doc, err
	}
	defer out.Close()
	names := exportNames(m.Disks, format)
	for i := range m.Disks {
		if _, err := out.Stat(names[i]); !errors.Is(err, fs.ErrNotExist) {
			return doc, fail(exitFailed, "take another directory, or move the file away", "%s exists",
				diskio.Printable(filepath.Join(to, names[i])))
		}
	}
	doc = exportDocument{Schema: exportSchema, Source: m.Source, VM: m.VM, Point: m.Point, Disks: []exportedDisk{}}
	defer func() {
		for i := range m.Disks {
			if err != nil {
				out.Remove(names[i] + durable.PartSuffix)
			}
		}
	}()
	for i, d := range m.Disks {
		if err := exportDisk(ctx, store, p, d, out, names[i]+durable.PartSuffix, format); err != nil {
			return doc, fmt.Errorf("export disk %s: %w", diskio.Printable(d.Name), err)
		}
	}
	for i, d := range m.Disks {
		if err := out.Rename(names[i]+durable.PartSuffix, names[i]); err != nil {
			return doc, err
		}
		doc.Disks = append(doc.Disks, exportedDisk{d.Name, filepath.Join(to, names[i]), d.VirtualSize, d.Root.String()})
	}
	return doc, out.SyncDir(".")
}

// exportNames returns the names of the files to write: those of the disks, or if
// one of them is no name for a file everywhere, those that the store has for them.
func exportNames(disks []resume.ManifestDisk, format string) []string {
	names := make([]string, len(disks))
	taken := map[string]bool{}
	for i, d := range disks {
		name := d.Name
		if strings.ContainsFunc(name, unfitForFile) || strings.HasPrefix(name, ".") || taken[strings.ToLower(name)] || !filepath.IsLocal(name) {
			name = strings.TrimSuffix(d.File, filepath.Ext(d.File))
		}
		taken[strings.ToLower(name)] = true
		names[i] = name + "." + format
	}
	return names
}

// unfitForFile tells which characters some file system does not take in a name.
func unfitForFile(r rune) bool {
	return r < ' ' || r == 0x7f || r == unicode.ReplacementChar || strings.ContainsRune(`/\:*?"<>|~`, r)
}

// exportDisk writes one disk and compares the root of what it wrote.
func exportDisk(ctx context.Context, store *resume.Store, p resume.Point, d resume.ManifestDisk, out durable.FS, name, format string) error {
	in, err := store.OpenDisk(p, d.Name)
	if err != nil {
		return err
	}
	defer in.Close()
	f, err := out.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	w, err := newDiskWriter(f, d, format)
	if err != nil {
		return err
	}
	tree := digest.NewTree(0)
	data := func(off int64, piece []byte) error {
		addBlocks(tree, off, piece)
		_, err := w.WriteAt(piece, off)
		return err
	}
	hole := func(_, _ int64) error { return nil }
	if err := walk(ctx, in, 0, d.VirtualSize, data, hole); err != nil {
		return err
	}
	tree.SkipTo(digest.Blocks(d.VirtualSize))
	root, err := tree.Root(d.VirtualSize)
	if err != nil {
		return err
	}
	if root != d.Root {
		return fail(exitFailed, "wanrep points verify lists the extents that differ",
			"the content has the root %v, and %v was committed", root, d.Root)
	}
	if err := w.finish(); err != nil {
		return err
	}
	return f.Close()
}

// A diskWriter is a disk that is being exported.
type diskWriter struct {
	durable.File
	vhdx *vhdx.Writer // nil for a raw file
}

func newDiskWriter(f durable.File, d resume.ManifestDisk, format string) (*diskWriter, error) {
	if format == "raw" {
		return &diskWriter{File: f}, f.Truncate(d.VirtualSize)
	}
	w, err := vhdx.Create(f, vhdx.Spec{
		VirtualSize:        d.VirtualSize,
		LogicalSectorSize:  d.LogicalSectorSize,
		PhysicalSectorSize: d.PhysicalSectorSize,
		DiskID:             diskio.ID(d.ID),
		Incomplete:         true,
	})
	return &diskWriter{f, w}, err
}

func (w *diskWriter) WriteAt(p []byte, off int64) (int, error) {
	if w.vhdx != nil {
		return w.vhdx.WriteAt(p, off)
	}
	return w.File.WriteAt(p, off)
}

// finish makes a whole disk of the file, and makes it durable. A VHDX is synced
// before its mark of being incomplete goes.
func (w *diskWriter) finish() error {
	if w.vhdx != nil {
		if err := w.vhdx.Flush(); err != nil {
			return err
		}
		if err := w.Sync(); err != nil {
			return err
		}
		if err := w.vhdx.Seal(); err != nil {
			return err
		}
	}
	return w.Sync()
}
