package resume

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"wanrep/diskio"
	"wanrep/diskio/digest"
)

// ChainOptions say what the points of a VM have to prove by their manifests.
type ChainOptions struct {
	// Trusted reports whether a key is one that may have signed. Default: any may.
	Trusted func(ed25519.PublicKey) bool
	// Signed asks for a signature of every point. Without it points that were
	// committed before the first signed one need none.
	Signed bool
}

// OneKey trusts the key that it is asked about first, and no other.
func OneKey() func(ed25519.PublicKey) bool {
	var first ed25519.PublicKey
	return func(key ed25519.PublicKey) bool {
		if first == nil {
			first = key
		}
		return first.Equal(key)
	}
}

// VerifyChain holds the manifests of a VM's points to each other: each names the
// point before it and what that claims, so that none can be taken out, put in or
// exchanged unnoticed, but for the newest ones. It reports what is wrong with the
// point that shows it. Manifests that are damaged, and whether signatures match, are
// Verify's to tell. The error says why a manifest can't be read.
func VerifyChain(s *Store, source, vm string, o ChainOptions, report func(VerifyProblem)) error {
	vmDir, err := vmDir(source, vm)
	if err != nil {
		return err
	}
	release, err := s.look(vmDir)
	if err != nil {
		return err
	}
	defer release()
	dir := path.Join(vmDir, pointsName)
	// Points may be pruned meanwhile by the process that has the store.
	for range settleTries {
		prune, err := s.currentPrune(vmDir)
		if err != nil {
			return err
		}
		names, err := s.pointDirs(dir)
		if err != nil {
			return err
		}
		c := &chainCheck{options: o, claims: map[string]digest.Sum{}, names: names}
		for _, name := range names {
			if err := c.read(s, dir, name); err != nil {
				return err
			}
		}
		again, err := s.pointDirs(dir)
		if err != nil {
			return err
		}
		still, err := s.currentPrune(vmDir)
		if err != nil {
			return err
		}
		if slices.Equal(names, again) && still == prune && prune.State != pruneExchanging {
			c.tell(report)
			return nil
		}
		time.Sleep(settleWait)
	}
	return fmt.Errorf("the points of %q change while they are verified, or a prune of one was cut off: the appliance, or wanrep points prune, finishes that",
		diskio.Printable(vm))
}

// A chainCheck goes through the points of a VM in their order.
type chainCheck struct {
	options ChainOptions
	names   []string              // of all points, damaged ones too
	claims  map[string]digest.Sum // of those whose manifest can be read
	// since are the points from the last one on that named the one before it.
	since    []string
	signed   bool // a point was
	problems []VerifyProblem
}

func (c *chainCheck) add(point, format string, args ...any) {
	c.problems = append(c.problems, VerifyProblem{Point: point, What: whatManifest + fmt.Sprintf(format, args...)})
}

// tell reports what was found in the order of the points.
func (c *chainCheck) tell(report func(VerifyProblem)) {
	slices.SortStableFunc(c.problems, func(a, b VerifyProblem) int { return strings.Compare(a.Point, b.Point) })
	for _, p := range c.problems {
		report(p)
	}
}

func (c *chainCheck) read(s *Store, dir, name string) error {
	m, err := readManifest(s.fsys, path.Join(dir, name))
	if isDamaged(err) || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if c.claims[name], err = m.claimsDigest(); err != nil {
		return err
	}
	c.checkSigner(m)
	if m.Schema != manifestSchema1 {
		c.checkPrevious(m)
		c.since = nil
	}
	c.since = append(c.since, name)
	return nil
}

func (c *chainCheck) checkSigner(m Manifest) {
	switch {
	case m.Signature == nil && c.options.Signed:
		c.add(m.Point, "it is not signed")
	case m.Signature == nil && c.signed:
		c.add(m.Point, "it is not signed, and a point before it is")
	case m.Signature != nil && c.options.Trusted != nil && !c.options.Trusted(m.Signature.Key):
		c.add(m.Point, "it is signed by another key")
	}
	c.signed = c.signed || m.Signature != nil
}

// checkPrevious looks for the point that a manifest names as the one before it, and
// for points between the two.
func (c *chainCheck) checkPrevious(m Manifest) {
	before := ""
	if m.Previous != nil {
		before = m.Previous.Point
		claims, readable := c.claims[before]
		switch {
		case readable && claims != m.Previous.Claims:
			c.add(m.Point, "point %s, which came before it, claims something else now", before)
		case !readable && !slices.Contains(c.names, before):
			c.add(m.Point, "point %s, which came before it, is missing", before)
		}
	}
	for _, name := range c.since {
		switch {
		case name <= before:
		case before == "":
			c.add(name, "point %s, which follows it, is the first of its chain", m.Point)
		default:
			c.add(name, "point %s, which follows it, came after point %s", m.Point, before)
		}
	}
}
