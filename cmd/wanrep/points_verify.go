package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"

	"github.com/spf13/cobra"

	"wanrep/configs"
	"wanrep/diskio"
	"wanrep/resume"
)

// verifySchema names the document of "wanrep points verify --json".
const verifySchema = "wanrep.verify/1"

// A verifyDocument says which points are what was committed.
type verifyDocument struct {
	Schema string `json:"schema"`
	// Sample is the share of the content that was read, and Seed what chose it.
	Sample float64         `json:"sample"`
	Seed   uint64          `json:"seed"`
	Points []verifiedPoint `json:"points"`
	// Noted tells that the store knows of what differs, so that it can be healed.
	Noted    bool           `json:"noted"`
	Signers  []pointsSigner `json:"signers"`
	Compared *string        `json:"compared_with"` // "pin", "identity", or null
	Error    *string        `json:"error"`         // why it ended early, or that there are problems
	Hint     string         `json:"hint"`
}

type verifiedPoint struct {
	Source   string          `json:"source"`
	VM       string          `json:"vm"`
	Point    string          `json:"point"`
	OK       bool            `json:"ok"`
	SignedBy *string         `json:"signed_by"` // a pin; null if it is not signed, or can't be read
	Problems []verifyProblem `json:"problems"`
}

type verifyProblem struct {
	Disk   string `json:"disk"` // empty if it concerns the whole point
	Start  int64  `json:"start"`
	Length int64  `json:"length"`
	What   string `json:"what"`
}

// verifyFlags say what to verify, and against what.
type verifyFlags struct {
	pointsFlags
	pointQuery
	offline bool
	pins    []string
	sample  configs.Share
	seed    uint64
	rate    configs.Rate
	json    bool
}

func newPointsVerifyCommand() *cobra.Command {
	var f verifyFlags
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Prove that restore points are what was committed",
		Long: `Read restore points again, all of them or those that the flags name, and compare
their content with the digests, the digests with the roots in their manifests, and
the manifests with their signatures and with each other. The exit code is 1 if
anything differs, and every extent that does is listed. The appliance notes them if
one runs, else the store does, so that the next run brings what has rotted.

The signatures must be by the keys that --pin names; without it, by the identity
of the target whose config it is; and without that, all by one key. With --offline
nothing but the store is needed, so that a copy of it can be proved anywhere. What
a store can't tell by itself is whether its newest points are missing.`,
		Example: `  wanrep points verify --store /srv/wanrep
  wanrep points verify --vm sql01 --point latest --json
  wanrep points verify --sample 5% --max-rate 50MiB/s
  wanrep points verify --offline --store /mnt/copy --pin sha256:...`,
		Args:        cobra.NoArgs,
		Annotations: withSchema(verifySchema),
		RunE:        func(cmd *cobra.Command, args []string) error { return f.run(cmd) },
	}
	f.pointsFlags.add(cmd)
	f.pointQuery.add(cmd)
	f.complete(cmd, &f.pointQuery)
	cmd.Flags().BoolVar(&f.offline, "offline", false, "need nothing but the store, which --store names")
	cmd.Flags().StringArrayVar(&f.pins, "pin", nil, "`pin` of the target that must have signed; may be repeated")
	cmd.Flags().TextVar(&f.sample, "sample", configs.Share(1), "read only this share of the blocks, \"5%\"")
	cmd.Flags().Uint64Var(&f.seed, "seed", 0, "`number` that chooses the blocks; 0, 1, 2 … come to all of them (default: at random)")
	cmd.Flags().TextVar(&f.rate, "max-rate", configs.Rate(0), "read no faster than this `rate`, \"50MiB/s\"")
	addJSONFlag(cmd, &f.json)
	return cmd
}

func (f *verifyFlags) run(cmd *cobra.Command) error {
	if f.offline && f.store == "" {
		return fail(exitUsage, "--store names the directory of the store, or of a copy", "--offline needs --store")
	}
	if !cmd.Flags().Changed("seed") {
		f.seed = rand.Uint64N(1 << 53) // what every reader of JSON takes
	}
	trust, err := f.trust()
	if err != nil {
		return err
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
	// A store without any point has none that differs.
	found, err := f.find(points, false)
	if err != nil && f.pointQuery != (pointQuery{}) {
		return err
	}
	v := &verification{flags: f, store: store, trust: trust, reading: reading, out: io.Discard,
		doc: verifyDocument{Schema: verifySchema, Sample: float64(f.sample), Seed: f.seed, Points: []verifiedPoint{}}}
	if !f.json {
		v.out = cmd.OutOrStdout()
	}
	err = v.verify(cmd, found)
	v.doc.Signers, v.doc.Compared = trust.signers(), orNull(trust.compared)
	if f.json {
		return printVerifyDocument(cmd, v.doc, err)
	}
	if v.through {
		err = errors.Join(v.printEnd(), err)
	}
	return err
}

// printEnd says how much was read if it was not all, and who signed.
func (v *verification) printEnd() error {
	if v.flags.sample < 1 {
		if _, err := fmt.Fprintf(v.out, "read %s of the content, seed %d\n", v.flags.sample, v.flags.seed); err != nil {
			return err
		}
	}
	return v.trust.print(v.out)
}

func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
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

// A verification is one run of the command.
type verification struct {
	flags   *verifyFlags
	store   *resume.Store
	trust   *trust
	reading *reading
	out     io.Writer
	doc     verifyDocument
	// again is what differs, or did, and is to be remembered, of rereadings extents.
	again      []rereading
	rereadings int
	// through tells that all points that are meant were verified.
	through bool
}

// verify checks the manifests of all VMs that are meant, and then reads one point
// after the other, and tells of each as it goes. The error says that it ended early
// or that some differ.
func (v *verification) verify(cmd *cobra.Command, points []resume.Point) error {
	if len(points) == 0 {
		fmt.Fprintln(v.out, "no restore points")
		return nil
	}
	chains, err := v.trust.verifyChains(v.store, points)
	if err != nil {
		return err
	}
	bad := 0
	for _, p := range points {
		problems := []verifyProblem{}
		for _, w := range chains[pointKey{p.Source, p.VM, p.Point}] {
			problems = append(problems, verifyProblem{What: w.What})
		}
		found, err := v.read(cmd.Context(), p)
		if errors.Is(err, resume.ErrNoPoint) {
			continue // pruned meanwhile
		}
		if err != nil {
			return err
		}
		problems = append(problems, found...)
		v.noteRereading(p, found)
		v.reading.clear()
		done := verifiedPoint{Source: p.Source, VM: p.VM, Point: p.Point, OK: len(problems) == 0, SignedBy: v.trust.signer(v.store, p), Problems: problems}
		v.doc.Points = append(v.doc.Points, done)
		if !done.OK {
			bad++
		}
		if err := printVerified(v.out, done); err != nil {
			return err
		}
	}
	v.through = true
	if err := v.remember(cmd.Context()); err != nil {
		return err
	}
	if bad > 0 {
		return fail(exitFailed, v.trust.hint(), "%d of %d restore points differ from what was committed", bad, len(v.doc.Points))
	}
	return nil
}

// readAttempts is how often a point is read at most because of prunes beside.
const readAttempts = 3

// read reads a point again and returns what is wrong with it.
func (v *verification) read(ctx context.Context, p resume.Point) ([]verifyProblem, error) {
	options := resume.VerifyOptions{Sample: float64(v.flags.sample), Seed: v.flags.seed, MaxRate: int64(v.flags.rate)}
	for attempt := 1; ; attempt++ {
		var problems []verifyProblem
		err := resume.VerifySome(ctx, v.store, p, options, func(w resume.VerifyProblem) {
			problems = append(problems, verifyProblem{w.Disk, w.Extent.Start, w.Extent.Length, w.What})
		})
		switch {
		case err == nil:
			return problems, nil
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case errors.Is(err, resume.ErrNoPoint):
			return nil, err
		case !errors.Is(err, resume.ErrPruned) || attempt == readAttempts:
			return append(problems, verifyProblem{What: err.Error()}), nil
		}
	}
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
