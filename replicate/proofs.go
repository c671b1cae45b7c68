package replicate

import (
	"fmt"
	"time"

	"wanrep/replicate/progress"
	"wanrep/resume"
)

// TestedSchema names the form of a TestedReport in JSON.
const TestedSchema = "wanrep.tested/1"

// A TestedRequest says that a failover to a point was tested and worked.
type TestedRequest struct {
	Source string `json:"source"`
	VM     string `json:"vm"`
	Point  string `json:"point"`
	// Undo takes back that it was said.
	Undo bool `json:"undo"`
}

// A TestedReport is what the store says of the point then.
type TestedReport struct {
	Schema string     `json:"schema"`
	Source string     `json:"source"`
	VM     string     `json:"vm"`
	Point  string     `json:"point"`
	Tested *time.Time `json:"tested"` // null after Undo
}

// NoteTested notes in a store that a failover was tested, or takes that back. Whether it
// worked only the one who started the VM can know, so that nothing else does this.
func NoteTested(store *resume.Store, r TestedRequest) (TestedReport, error) {
	report := TestedReport{Schema: TestedSchema, Source: r.Source, VM: r.VM, Point: r.Point}
	if r.Undo {
		return report, store.ForgetTest(r.Source, r.VM, r.Point)
	}
	at, err := store.NoteTest(r.Source, r.VM, r.Point)
	if err == nil {
		report.Tested = &at
	}
	return report, err
}

// NoteTested is NoteTested for the target's store.
func (t *Target) NoteTested(r TestedRequest) (TestedReport, error) {
	report, err := NoteTested(t.cfg.Store, r)
	if err != nil {
		return report, err
	}
	key := vmKey{r.Source, r.VM}
	t.keeper.showProofs(key)
	text := fmt.Sprintf("failover of %s to point %s was tested and worked", r.VM, r.Point)
	if r.Undo {
		text = fmt.Sprintf("failover of %s to point %s was not tested after all", r.VM, r.Point)
	}
	t.keeper.event(progress.Info, key, text)
	return report, nil
}

// verified notes that a scrub came to the end of a VM's points, and which time it was if
// nothing of them is damaged.
func (k *keeper) verified(key vmKey, points []resume.Point) error {
	sound := false
	for _, p := range points {
		if p.State == resume.StateDamaged {
			return nil
		}
		sound = sound || p.State == resume.StateCommitted
	}
	damage, err := k.store.Damage(key.source, key.vm)
	if err != nil || len(damage) > 0 || !sound {
		return err
	}
	if err := k.store.NoteVerified(key.source, key.vm); err != nil {
		return err
	}
	k.showProofs(key)
	return nil
}

// showProofs puts on the board when the points of a VM were verified and tested.
func (k *keeper) showProofs(key vmKey) {
	proofs, err := k.store.Proofs(key.source, key.vm)
	if err != nil {
		k.log.Error("look up what was tested", "vm", key.vm, "err", err)
		return
	}
	k.board.VM(key.source, key.vm, func(b *progress.VM) { b.Verified, b.Tested = proofs.Verified, proofs.Tested() })
}
