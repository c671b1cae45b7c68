package main

import (
	"cmp"
	"crypto/ed25519"
	"fmt"
	"io"
	"maps"
	"slices"

	"wanrep/quicx"
	"wanrep/resume"
)

// A pointsSigner is one of those who signed points.
type pointsSigner struct {
	Pin    string `json:"pin"`
	Points int    `json:"points"` // how many
}

// With what a trust may compare.
const (
	comparedPin      = "pin"
	comparedIdentity = "identity"
)

// A trust says whose signatures are good, and remembers those that it met.
type trust struct {
	pins     []quicx.Pin // none: any one key is good
	compared string      // with what; empty if pins is
	met      map[string]int
	unsigned int
}

// trust returns that of the flags.
func (f *verifyFlags) trust() (*trust, error) {
	t := &trust{met: map[string]int{}}
	for _, text := range f.pins {
		pin, err := quicx.ParsePin(text)
		if err != nil {
			return nil, fail(exitUsage, "wanrep pair list prints the pins of the peers", "--pin: %w", err)
		}
		t.pins, t.compared = append(t.pins, pin), comparedPin
	}
	if t.compared != "" || f.store != "" {
		return t, nil
	}
	cfg, err := f.load()
	if err != nil {
		return nil, err
	}
	// Who may read the store may not be who may read the identity.
	if identity, err := quicx.LoadIdentity(cfg.StateDir); err == nil {
		pin, err := quicx.ParsePin(identity.Pin())
		if err != nil {
			return nil, err
		}
		t.pins, t.compared = []quicx.Pin{pin}, comparedIdentity
	}
	return t, nil
}

// options returns what the points of a VM have to prove.
func (t *trust) options() resume.ChainOptions {
	if len(t.pins) == 0 {
		return resume.ChainOptions{Trusted: resume.OneKey()}
	}
	return resume.ChainOptions{
		Signed: t.compared == comparedPin,
		Trusted: func(key ed25519.PublicKey) bool {
			pin, err := quicx.PinOf(key)
			return err == nil && slices.Contains(t.pins, pin)
		},
	}
}

type pointKey struct{ source, vm, point string }

// verifyChains verifies the chains of the points' VMs, and returns what is wrong
// with each point.
func (t *trust) verifyChains(store *resume.Store, points []resume.Point) (map[pointKey][]resume.VerifyProblem, error) {
	options, done := t.options(), map[pointKey]bool{}
	wrong := map[pointKey][]resume.VerifyProblem{}
	for _, p := range points {
		vm := pointKey{source: p.Source, vm: p.VM}
		if done[vm] {
			continue
		}
		done[vm] = true
		err := resume.VerifyChain(store, p.Source, p.VM, options, func(w resume.VerifyProblem) {
			key := pointKey{p.Source, p.VM, w.Point}
			wrong[key] = append(wrong[key], w)
		})
		if err != nil {
			return nil, err
		}
	}
	return wrong, nil
}

// signer returns the pin of who signed a point, or null.
func (t *trust) signer(store *resume.Store, p resume.Point) *string {
	m, err := store.Manifest(p)
	if err != nil {
		return nil
	}
	if m.Signature == nil {
		t.unsigned++
		return nil
	}
	pin, err := quicx.PinOf(m.Signature.Key)
	if err != nil {
		return nil
	}
	text := pin.String()
	t.met[text]++
	return &text
}

// hint says what to do about points that another identity signed than the appliance's.
func (t *trust) hint() string {
	for text := range t.met {
		if pin, err := quicx.ParsePin(text); t.compared == comparedIdentity && err == nil && !slices.Contains(t.pins, pin) {
			return "if this target was given a new identity, name the pins of both with --pin"
		}
	}
	return ""
}

// signers returns who signed, most points first.
func (t *trust) signers() []pointsSigner {
	list := []pointsSigner{}
	for _, pin := range slices.Sorted(maps.Keys(t.met)) {
		list = append(list, pointsSigner{pin, t.met[pin]})
	}
	slices.SortStableFunc(list, func(a, b pointsSigner) int { return cmp.Compare(b.Points, a.Points) })
	return list
}

// print says who signed, and whether that was compared with anything.
func (t *trust) print(out io.Writer) error {
	how := "not compared with a pin; wanrep pair list prints it at a source"
	switch t.compared {
	case comparedPin:
		how = "compared with --pin"
	case comparedIdentity:
		how = "compared with the identity of this appliance"
	}
	for _, s := range t.signers() {
		if _, err := fmt.Fprintf(out, "signed by %s: %d, %s\n", s.Pin, s.Points, how); err != nil {
			return err
		}
	}
	if t.unsigned > 0 {
		_, err := fmt.Fprintf(out, "not signed: %d\n", t.unsigned)
		return err
	}
	return nil
}
