package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// versionSchema names the document of "wanrep version --json".
const versionSchema = "wanrep.version/1"

// A versionDocument says what this binary was built from.
type versionDocument struct {
	Schema  string `json:"schema"`
	Version string `json:"version"`
	Commit  string `json:"commit"` // empty if the build does not know it
	Go      string `json:"go"`
	QUIC    string `json:"quic_go"`
	OS      string `json:"os"`
	Arch    string `json:"arch"`
}

func newVersionCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:         "version",
		Short:       "Print the version of wanrep and of what it is built with",
		Example:     "  wanrep version --json",
		Args:        cobra.NoArgs,
		Annotations: withSchema(versionSchema),
		RunE: func(cmd *cobra.Command, args []string) error {
			v := readVersion()
			if asJSON {
				return printJSON(cmd, v)
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "wanrep %s (%s, quic-go %s, %s/%s)\n",
				v.Version, v.Go, v.QUIC, v.OS, v.Arch)
			return err
		},
	}
	addJSONFlag(cmd, &asJSON)
	return cmd
}

// softwareVersion is what this appliance calls itself towards peers and in
// manifests.
func softwareVersion() string { return "wanrep " + readVersion().Version }

// readVersion takes everything from what the Go tool recorded in the binary.
func readVersion() versionDocument {
	v := versionDocument{
		Schema: versionSchema, Version: "unknown", Go: runtime.Version(), QUIC: "unknown",
		OS: runtime.GOOS, Arch: runtime.GOARCH,
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	if info.Main.Version != "" {
		v.Version = info.Main.Version
	}
	for _, dep := range info.Deps {
		if dep.Path == "github.com/quic-go/quic-go" {
			v.QUIC = dep.Version
		}
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			v.Commit = s.Value
		}
	}
	return v
}
