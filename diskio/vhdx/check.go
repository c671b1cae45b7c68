package vhdx

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"wanrep/diskio"
)

// maxProblems are reported for one file; a BAT of garbage has millions.
const maxProblems = 200

// A Problem is one thing that is wrong with a file.
type Problem struct {
	Section string // as the specification calls it, "region table"
	Offset  int64  // in the file
	Reason  string
}

func (p Problem) String() string {
	return fmt.Sprintf("%s at offset %d: %s", p.Section, p.Offset, diskio.Printable(p.Reason))
}

var errEnough = errors.New("more problems than are reported")

// A checker collects problems.
type checker struct {
	layer
	problems []Problem
}

// Check looks at every structure of the file at path and tells all that is wrong,
// also what Open gets around: one damaged header of two, say. It opens the parents
// too, but says about them only whether they can be had. The error is one of
// reading the file; a file that is no VHDX at all has one problem.
func Check(path string, o Options) ([]Problem, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	f, err := openPath(abs)
	if err != nil {
		return nil, err
	}
	c := &checker{layer: layer{path: abs, file: f}}
	err = c.check(o)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err = c.found(err); err != nil && !errors.Is(err, errEnough) {
		return c.problems, err
	}
	if c.meta.hasParent {
		err = c.found(c.parents(o))
	}
	if errors.Is(err, errEnough) {
		err = nil
	}
	return c.problems, err
}

// found takes down err as a problem. It returns what else err may be.
func (c *checker) found(err error) error {
	var fe *diskio.FormatError
	var pe *diskio.ParentError
	var p Problem
	switch {
	case errors.As(err, &fe):
		p = Problem{fe.Section, fe.Offset, fe.Reason}
	case errors.As(err, &pe):
		p = Problem{"parent locator", c.meta.locator.offset, fmt.Sprintf("parent %s: %s", pe.Wanted, pe.Reason)}
	default:
		return err
	}
	if len(c.problems) >= maxProblems {
		return errEnough
	}
	c.problems = append(c.problems, p)
	return nil
}

// check looks at everything in the file itself. It ends early where what follows
// can't be found.
func (c *checker) check(o Options) error {
	fi, err := c.file.Stat()
	if err != nil {
		return err
	}
	size := fi.Size()
	if err := checkIdentifier(c.file); err != nil {
		return err
	}
	hs, errs := readHeaders(c.file)
	h, i, err := currentHeader(hs, errs)
	if err != nil {
		return errors.Join(c.found(errs[0]), c.found(errs[1]), c.only(err, errs))
	}
	for _, err := range errs {
		if err := c.found(err); err != nil {
			return err
		}
	}
	if err := h.check(i, size); err != nil {
		return err
	}
	c.header = h
	if c.src, c.length, c.log, err = replay(c.file, size, h, o.AllowEmptyLog); err != nil {
		return err
	}
	if c.length%mib != 0 {
		if err := c.found(formatErr("file", c.length, "its length is not a multiple of 1 MiB")); err != nil {
			return err
		}
	}
	return c.checkRegions()
}

// only returns err unless it is one of errs, which are reported already.
func (c *checker) only(err error, errs [2]error) error {
	if err == errs[0] || err == errs[1] {
		return nil
	}
	return err
}

func (c *checker) checkRegions() error {
	var intact [][]byte
	for _, off := range []int64{regionTable1, regionTable2} {
		b := make([]byte, regionTableBytes)
		if err := readFull(c.src, c.path, b, off); err != nil {
			return err
		}
		err := intactRegionTable(b, off)
		if err == nil {
			intact = append(intact, b)
			if len(c.regions) == 0 {
				c.regions, err = parseRegionTable(b, off, c.found)
			}
		}
		if err := c.found(err); err != nil {
			return err
		}
	}
	if len(intact) == 2 && !bytes.Equal(intact[0], intact[1]) {
		if err := c.found(formatErr("region table", regionTable2, "the two copies differ")); err != nil {
			return err
		}
	}
	if len(c.regions) == 0 {
		return nil
	}
	if _, err := claims(c.header, c.regions, c.length); err != nil {
		return err
	}
	return c.checkMetadata()
}

func (c *checker) checkMetadata() error {
	var err error
	if c.meta, err = readMetadata(c.src, findRegion(c.regions, regionMetadata), c.found); err != nil {
		return err
	}
	for _, it := range c.meta.items {
		for _, k := range knownItems {
			if it.id == k.id && k.must && it.flags != k.flags {
				if err := c.found(formatErr(k.name, it.entry+24, "its flags are %d, not %d", it.flags, k.flags)); err != nil {
					return err
				}
			}
		}
	}
	if it, ok := c.meta.find(itemIncomplete); ok {
		if err := c.found(formatErr(it.name(), it.entry, "the disk was not received whole")); err != nil {
			return err
		}
	}
	if c.geometry, err = c.meta.geometry(findRegion(c.regions, regionBAT)); err != nil {
		return err
	}
	return c.checkBAT(c.found)
}

// parents tells whether the chain below the file can be opened.
func (c *checker) parents(o Options) error {
	d, err := Open(c.path, o)
	if err != nil {
		var fe *diskio.FormatError
		if errors.As(err, &fe) && fe.Path == c.path {
			return nil // found already
		}
		if fe != nil {
			return formatErr("parent locator", c.meta.locator.offset, "%s", strings.TrimSpace(err.Error()))
		}
		return err
	}
	return d.Close()
}
