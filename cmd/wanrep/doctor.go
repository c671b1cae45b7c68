package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"wanrep/diskio"
)

// doctorSchema names the document of "wanrep doctor --json".
const doctorSchema = "wanrep.doctor/1"

// States of a finding.
const (
	findingOK      = "ok"
	findingWarning = "warning" // works, and could be better
	findingFailed  = "failed"
)

// A finding is what one check found, and what to do about it.
type finding struct {
	Check string `json:"check"`
	State string `json:"state"`
	Text  string `json:"text"`
	Hint  string `json:"hint"`
}

func good(check, format string, args ...any) finding {
	return finding{Check: check, State: findingOK, Text: fmt.Sprintf(format, args...)}
}

func odd(check, hint, format string, args ...any) finding {
	return finding{Check: check, State: findingWarning, Text: fmt.Sprintf(format, args...), Hint: hint}
}

// bad is a finding of an error, with the error's own hint if there is none here.
func bad(check, hint string, err error) finding {
	_, text, own := describe(nil, err, true)
	if hint == "" {
		hint = own
	}
	return finding{Check: check, State: findingFailed, Text: text, Hint: hint}
}

type doctorDocument struct {
	Schema   string    `json:"schema"`
	Findings []finding `json:"findings"`
}

func newDoctorCommand() *cobra.Command {
	var at addressed
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "doctor [PEER]",
		Short: "Look for what keeps an appliance from working",
		Long: `Look for what keeps an appliance from working: its config, its identity and
state directory, its disks or its store with the room in it, the socket buffers;
and, at a source, the way to its peers or to one of them: whether the name is
known, there is a route, datagrams of QUIC's size fit, UDP gets an answer, both
keys are the paired ones, and both clocks agree. Each finding comes with what
helps. It changes nothing. Run it with the account that runs the appliance. The
exit code is 1 if anything failed.`,
		Example: `  wanrep doctor
  wanrep doctor dr-paris --json`,
		Args:        cobra.MaximumNArgs(1),
		Annotations: withSchema(doctorSchema),
		RunE: func(cmd *cobra.Command, args []string) error {
			peer := ""
			if len(args) > 0 {
				peer = args[0]
			}
			doc := doctorDocument{Schema: doctorSchema, Findings: []finding{}}
			failed := false
			examine(cmd.Context(), at, peer, func(f finding) {
				failed = failed || f.State == findingFailed
				f.Text, f.Hint = oneLine(f.Text), oneLine(f.Hint)
				doc.Findings = append(doc.Findings, f)
				if !asJSON {
					printFinding(cmd, f)
				}
			})
			if err := cmd.Context().Err(); err != nil {
				return err
			}
			if asJSON {
				if err := printJSON(cmd, doc); err != nil {
					return err
				}
			}
			if failed {
				return quietly(exitFailed)
			}
			return nil
		},
	}
	cmd.ValidArgsFunction = completePeers(&at)
	at.addConfig(cmd)
	addJSONFlag(cmd, &asJSON)
	return cmd
}

func printFinding(cmd *cobra.Command, f finding) {
	fmt.Fprintf(cmd.OutOrStdout(), "%-8s %-14s %s\n", f.State, f.Check, f.Text)
	if f.Hint != "" {
		fmt.Fprintf(cmd.OutOrStdout(), "%-8s %-14s → %s\n", "", "", f.Hint)
	}
}

// examine makes all checks, the cheap ones first. What a failed check makes
// pointless is left out.
func examine(ctx context.Context, at addressed, peer string, tell func(finding)) {
	cfg, err := at.load()
	if err != nil {
		tell(bad("config", "", err))
		return
	}
	tell(good("config", "%s, a %s named %s", cfg.File, cfg.Role, cfg.Name))
	for _, p := range cfg.Warnings {
		tell(odd("config", p.Hint, "line %d: %s", p.Line, p.Message))
	}
	d := &doctor{cfg: cfg, tell: tell}
	identity := d.identity()
	d.state()
	d.running(ctx)
	d.buffers()
	if d.isSource() {
		d.disks(ctx)
		d.uplinks()
		d.peers(ctx, identity, peer)
		return
	}
	d.store()
	d.listens()
	d.sources(peer)
}

// oneLine makes a finding's text one line that is fit for a terminal.
func oneLine(s string) string {
	return diskio.Printable(strings.Join(strings.Fields(s), " "))
}
