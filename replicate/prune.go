package replicate

import (
	"context"
	"errors"
	"fmt"
	"time"

	"wanrep/replicate/retain"
	"wanrep/resume"
)

// PruneSchema names the form of a PruneReport in JSON.
const PruneSchema = "wanrep.prune/1"

// A PruneRequest says which points are to go.
type PruneRequest struct {
	// Source and VM name whose points; empty for those of all.
	Source string `json:"source"`
	VM     string `json:"vm"`
	// DryRun only tells what would go.
	DryRun bool `json:"dry_run"`
	// Force carries out what is held.
	Force bool `json:"force"`
}

// A PruneReport tells what went, or would go, and why.
type PruneReport struct {
	Schema string     `json:"schema"`
	DryRun bool       `json:"dry_run"`
	Rules  PruneRules `json:"rules"`
	VMs    []PrunedVM `json:"vms"`
}

// PruneRules are the rules that were applied.
type PruneRules struct {
	Last    int     `json:"last"`
	Daily   int     `json:"daily"`
	Weekly  int     `json:"weekly"`
	Monthly int     `json:"monthly"`
	MinAge  float64 `json:"min_age"` // in seconds
}

// A PrunedVM is what became of the points of one VM.
type PrunedVM struct {
	Source string        `json:"source"`
	VM     string        `json:"vm"`
	Held   *string       `json:"held"`  // why nothing goes without force, or null
	Error  *string       `json:"error"` // why not all went that were to go, or null
	Points []PrunedPoint `json:"points"`
	waits  bool          // for a reader, a part or healing, which is no fault
	// before and after are what was known to be damaged.
	before, after []resume.Damage
}

// A PrunedPoint is what became of one point.
type PrunedPoint struct {
	Point   string    `json:"point"`
	Time    time.Time `json:"time"`
	Age     float64   `json:"age"`    // in seconds
	Action  string    `json:"action"` // "keep" or "remove"
	Reasons []string  `json:"reasons"`
	Removed bool      `json:"removed"`
}

// Actions of a PrunedPoint.
const (
	PruneKeep   = "keep"
	PruneRemove = "remove"
)

// Prune applies the rules to a store. It is the target's alone: no peer can ask for it.
// The error says why it ended early; what keeps the points of one VM is in the report.
func Prune(ctx context.Context, store *resume.Store, rules retain.Rules, now time.Time, r PruneRequest) (PruneReport, error) {
	report := PruneReport{Schema: PruneSchema, DryRun: r.DryRun, VMs: []PrunedVM{}, Rules: PruneRules{
		Last: rules.Last, Daily: rules.Daily, Weekly: rules.Weekly, Monthly: rules.Monthly, MinAge: rules.MinAge.Seconds(),
	}}
	list, err := listFor(store, r)
	if err != nil {
		return report, err
	}
	for len(list) > 0 {
		key, n := vmKey{list[0].Source, list[0].VM}, 1
		for n < len(list) && list[n].Source == key.source && list[n].VM == key.vm {
			n++
		}
		points := list[:n]
		list = list[n:]
		if r.Source != "" && r.Source != key.source || r.VM != "" && r.VM != key.vm {
			continue
		}
		p := vmPrune{store: store, key: key, request: r}
		err := p.run(ctx, rules, points, now)
		report.VMs = append(report.VMs, p.result)
		if err != nil {
			return report, err
		}
	}
	return report, nil
}

// listFor lists no more of the store than it has to.
func listFor(store *resume.Store, r PruneRequest) ([]resume.Point, error) {
	if r.Source != "" && r.VM != "" {
		return store.ListVM(r.Source, r.VM)
	}
	return store.List()
}

// A vmPrune applies the rules to one VM.
type vmPrune struct {
	store   *resume.Store
	key     vmKey
	request PruneRequest
	result  PrunedVM
}

// run applies the rules. What has rotted of that which would be merged is found on the
// way.
func (p *vmPrune) run(ctx context.Context, rules retain.Rules, points []resume.Point, now time.Time) error {
	p.result = PrunedVM{Source: p.key.source, VM: p.key.vm, Points: []PrunedPoint{}}
	var err error
	if p.result.before, err = p.store.Damage(p.key.source, p.key.vm); err != nil {
		return err
	}
	err = p.apply(ctx, rules, points, now)
	after, again := p.store.Damage(p.key.source, p.key.vm)
	p.result.after = after
	return errors.Join(err, again)
}

func (p *vmPrune) apply(ctx context.Context, rules retain.Rules, points []resume.Point, now time.Time) error {
	if !p.request.DryRun {
		// One that was decided before is no matter of today's rules.
		if err := p.keepsGoing(ctx, p.store.FinishPrune(ctx, p.key.source, p.key.vm)); err != nil {
			return err
		}
	}
	pins, err := p.store.Pins(p.key.source, p.key.vm)
	if err != nil {
		return err
	}
	var of []retain.Point
	for _, point := range points {
		if point.State != resume.StatePart {
			of = append(of, retain.Point{
				Name: point.Point, Time: point.Time, Pinned: pins[point.Point],
				Damaged: damageSeenIn(point), Lost: point.State == resume.StateDamaged,
			})
		}
	}
	plan := rules.Plan(of, now)
	for _, d := range plan.Decisions {
		action := PruneRemove
		if d.Keep {
			action = PruneKeep
		}
		p.result.Points = append(p.result.Points, PrunedPoint{
			Point: d.Name, Time: d.Time, Age: d.Age.Seconds(), Action: action, Reasons: d.Reasons,
		})
	}
	if plan.Held != "" {
		p.result.Held = &plan.Held
	}
	if p.request.DryRun || plan.Held != "" && !p.request.Force || p.result.Error != nil {
		return nil
	}
	return p.remove(ctx)
}

// damageSeenIn says what is known to be damaged of a point; nothing if it is empty.
func damageSeenIn(p resume.Point) string {
	switch {
	case p.State == resume.StateDamaged:
		return "it can't be read"
	case len(p.Damage) > 0:
		return DamageText(p.Damage[0])
	case p.OnDamage:
		return "it has damaged content of a point on which it builds"
	}
	return ""
}

// remove removes the points that are to go, the oldest first.
func (p *vmPrune) remove(ctx context.Context) error {
	for i := range p.result.Points {
		point := &p.result.Points[i]
		if point.Action != PruneRemove {
			continue
		}
		err := p.store.Prune(ctx, resume.Point{Source: p.key.source, VM: p.key.vm, Point: point.Point})
		if errors.Is(err, resume.ErrNoPoint) {
			err = nil
		}
		if _, gone := p.store.Point(p.key.source, p.key.vm, point.Point); errors.Is(gone, resume.ErrNoPoint) {
			point.Removed = true // though its files may still be in use
		}
		if err != nil {
			return p.keepsGoing(ctx, err)
		}
	}
	return nil
}

// keepsGoing notes why the points of the VM stay. It returns the error if it is not
// about them alone.
func (p *vmPrune) keepsGoing(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return fmt.Errorf("prune %s: %w", p.key.vm, context.Cause(ctx))
	}
	text := err.Error()
	p.result.Error = &text
	p.result.waits = errors.As(err, new(*resume.PinnedError))
	return nil
}
