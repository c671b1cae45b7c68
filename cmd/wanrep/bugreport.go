package main

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"wanrep/configs"
	"wanrep/replicate/control"
)

const bugreportSchema = "wanrep.bugreport/1"

// A bugreportDocument tells what was written.
type bugreportDocument struct {
	Schema  string           `json:"schema"`
	File    string           `json:"file"`
	Entries []bugreportEntry `json:"entries"`
}

type bugreportEntry struct {
	Name string `json:"name"`
	Size int    `json:"size"`
}

func newBugreportCommand() *cobra.Command {
	var at addressed
	var asJSON bool
	var output string
	cmd := &cobra.Command{
		Use:   "bugreport",
		Short: "Collect what helps to find a fault in one file",
		Long: `Collect in one archive what helps to find a fault: version, config, status, what
the doctor finds, the last log lines, what the process does, and the names and sizes
of the files in the state directory. It works with the appliance running or not.

Keys, session tickets and pairing codes are never read into it, and pins are
masked. Names, paths and addresses stay: look through it before you give it away.`,
		Example: `  wanrep bugreport
  wanrep bugreport --output report.tar.gz`,
		Args:        cobra.NoArgs,
		Annotations: withSchema(bugreportSchema),
		RunE: func(cmd *cobra.Command, args []string) error {
			now := time.Now()
			if output == "" {
				output = "wanrep-bugreport-" + now.Format("20060102-150405") + ".tar.gz"
			}
			entries := collect(cmd.Context(), at)
			if err := cmd.Context().Err(); err != nil {
				return err
			}
			doc := bugreportDocument{Schema: bugreportSchema, File: output}
			for _, e := range entries {
				doc.Entries = append(doc.Entries, bugreportEntry{e.name, len(e.text)})
			}
			if err := writeArchive(output, entries, now); err != nil {
				return fail(exitFailed, "name a file that is not there yet with --output", "%w", err)
			}
			if asJSON {
				return printJSON(cmd, doc)
			}
			var rows [][]string
			for _, e := range doc.Entries {
				rows = append(rows, []string{e.Name, formatBytes(int64(e.Size))})
			}
			if err := printTable(cmd.OutOrStdout(), []string{"FILE", "SIZE"}, rows); err != nil {
				return err
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "written to %s; look through it before you give it away\n", output)
			return err
		},
	}
	at.addConfig(cmd)
	addJSONFlag(cmd, &asJSON)
	cmd.Flags().StringVar(&output, "output", "", "the archive's `file` (default: one named after the time, here)")
	return cmd
}

// An entry is one file of the archive.
type entry struct{ name, text string }

// collect asks everybody. Who does not answer is an entry with the reason.
func collect(ctx context.Context, at addressed) []entry {
	var entries []entry
	add := func(name, text string, err error) {
		if err != nil {
			text += "\nerror: " + err.Error() + "\n"
		}
		entries = append(entries, entry{name, mask(text)})
	}
	addJSON := func(name string, document any, err error) {
		text, bad := json.MarshalIndent(document, "", "  ")
		add(name, string(text)+"\n", errors.Join(err, bad))
	}
	addJSON("version.json", readVersion(), nil)
	cfg, err := at.load()
	if err != nil {
		add("config.toml", "", err)
		return entries
	}
	text, err := cfg.TOML()
	add("config.toml", text, err)
	client := &control.Client{Socket: cfg.Control.Socket}
	status, err := client.Status(ctx)
	if err != nil {
		status = offlineStatus(cfg, time.Now().UTC())
	}
	addJSON("status.json", withLists(status), err)
	text, err = logText(ctx, client)
	add("log.txt", text, err)
	text, err = client.Goroutines(ctx)
	add("goroutines.txt", text, err)
	doctor := doctorDocument{Schema: doctorSchema, Findings: []finding{}}
	examine(ctx, at, "", func(f finding) { doctor.Findings = append(doctor.Findings, f) })
	addJSON("doctor.json", doctor, nil)
	text, err = stateFiles(cfg)
	add("state-files.txt", text, err)
	return entries
}

func logText(ctx context.Context, client *control.Client) (string, error) {
	var b strings.Builder
	err := client.Logs(ctx, false, func(l control.LogLine) { b.WriteString(logLine(l) + "\n") })
	return b.String(), err
}

// stateFiles lists the files of the state directory without opening one.
func stateFiles(cfg *configs.Config) (string, error) {
	var b strings.Builder
	err := filepath.WalkDir(cfg.StateDir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil {
			fmt.Fprintf(&b, "%s %10d %s %s\n", info.Mode(), info.Size(), info.ModTime().UTC().Format(time.RFC3339), path)
		}
		return err
	})
	return b.String(), err
}

// What nobody needs to know, and somebody could use: pins tell who is paired with
// whom, and a pairing code lets in whoever has it.
var (
	pinText  = regexp.MustCompile(`sha256:[A-Za-z0-9_-]{43}`)
	codeText = regexp.MustCompile(`wr1-[A-Za-z0-9-]+`)
)

func mask(text string) string {
	text = pinText.ReplaceAllString(text, "sha256:(masked)")
	return codeText.ReplaceAllString(text, "wr1-(masked)")
}

// writeArchive writes a new file that only its owner can read.
func writeArchive(path string, entries []entry, now time.Time) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if closing := f.Close(); err == nil {
			err = closing
		}
		if err != nil {
			os.Remove(path)
		}
	}()
	packed := gzip.NewWriter(f)
	archive := tar.NewWriter(packed)
	for _, e := range entries {
		header := &tar.Header{Name: "wanrep-bugreport/" + e.name, Mode: 0o600, Size: int64(len(e.text)), ModTime: now}
		if err := archive.WriteHeader(header); err != nil {
			return err
		}
		if _, err := archive.Write([]byte(e.text)); err != nil {
			return err
		}
	}
	return errors.Join(archive.Close(), packed.Close())
}
