package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"wanrep/diskio"
	"wanrep/replicate/control"
	"wanrep/replicate/progress"
)

const pauseSchema = "wanrep.pause/1"

// A pauseDocument tells which jobs are held.
type pauseDocument struct {
	Schema string `json:"schema"`
	progress.Pause
	Jobs []jobPause `json:"jobs"`
}

type jobPause struct {
	Job string `json:"job"`
	progress.Pause
}

func newPauseCommand() *cobra.Command {
	var because string
	cmd := newHoldCommand(&cobra.Command{
		Use:   "pause [JOB]",
		Short: "Hold a job of the running source, or all of them",
		Long: `Hold a job, or all jobs, until "wanrep resume". A run that is under way reads no
more and keeps its link; what was read is still sent. No scheduled run begins, and
one by hand is refused. A pause ends when the appliance is stopped.`,
		Example: `  wanrep pause --because "month-end closing"
  wanrep pause nightly`,
	}, func(cmd *cobra.Command, client *control.Client, job string) error {
		return client.Pause(cmd.Context(), job, because)
	})
	cmd.Flags().StringVar(&because, "because", "", "the `reason`, for whoever looks at the status")
	return cmd
}

func newResumeCommand() *cobra.Command {
	return newHoldCommand(&cobra.Command{
		Use:   "resume [JOB]",
		Short: "Let a job that is held go on, or all of them",
		Long: `Let a job go on that "wanrep pause" holds, or, without a job, all of them. A
scheduled run that was due meanwhile begins at once.`,
		Example: `  wanrep resume
  wanrep resume nightly`,
	}, func(cmd *cobra.Command, client *control.Client, job string) error {
		return client.Resume(cmd.Context(), job)
	})
}

// newHoldCommand makes a command that changes what is held and tells what is.
func newHoldCommand(cmd *cobra.Command, change func(*cobra.Command, *control.Client, string) error) *cobra.Command {
	var at addressed
	var asJSON bool
	cmd.Args = cobra.MaximumNArgs(1)
	cmd.Annotations = withSchema(pauseSchema)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		client, _, err := at.client()
		if err != nil {
			return err
		}
		job := ""
		if len(args) > 0 {
			job = args[0]
		}
		if err := change(cmd, client, job); err != nil {
			return answered(err)
		}
		status, err := client.Status(cmd.Context())
		if err != nil {
			return answered(err)
		}
		return printPause(cmd, status, asJSON)
	}
	cmd.ValidArgsFunction = completeJobs(&at)
	at.addSocket(cmd)
	addJSONFlag(cmd, &asJSON)
	return cmd
}

func printPause(cmd *cobra.Command, s progress.Status, asJSON bool) error {
	doc := pauseDocument{Schema: pauseSchema, Pause: s.Pause, Jobs: []jobPause{}}
	for _, j := range s.Jobs {
		doc.Jobs = append(doc.Jobs, jobPause{j.Job, j.Pause})
	}
	if asJSON {
		return printJSON(cmd, doc)
	}
	texts := paused(s)
	if len(texts) == 0 {
		texts = []string{"No job is paused."}
	}
	for _, text := range texts {
		if _, err := fmt.Fprintln(cmd.OutOrStdout(), diskio.Printable(text)); err != nil {
			return err
		}
	}
	return nil
}

// paused says what is held, since when and why.
func paused(s progress.Status) []string {
	var texts []string
	say := func(what string, p progress.Pause) {
		if !p.Paused {
			return
		}
		text := what + " paused since " + p.PausedSince.Local().Format("2006-01-02 15:04:05")
		if p.PausedBecause != "" {
			text += ": " + p.PausedBecause
		}
		texts = append(texts, text+".")
	}
	say("All jobs are", s.Pause)
	for _, j := range s.Jobs {
		say("Job "+j.Job+" is", j.Pause)
	}
	return texts
}
