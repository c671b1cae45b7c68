package vhd

import (
	"bytes"
	"errors"
	"fmt"

	"wanrep/diskio"
)

// maxProblems are reported for one file; a table of garbage has millions.
const maxProblems = 200

// A Problem is one thing that is wrong with a file.
type Problem struct {
	Section string // as the specification calls it
	Offset  int64  // in the file
	Reason  string
}

var errEnough = errors.New("more problems than are reported")

// A checker collects the problems of one file.
type checker struct{ problems []Problem }

// report takes down what is wrong with the file. It returns any other error, and
// errEnough when there is no room for more.
func (c *checker) report(err error) error {
	var broken *diskio.FormatError
	var parent *diskio.ParentError
	switch {
	case errors.As(err, &broken):
		c.add(broken.Section, broken.Offset, broken.Reason)
	case errors.As(err, &parent):
		c.add("parent locator", footerBytes+locatorsAt, fmt.Sprintf("parent %s: %s", parent.Wanted, parent.Reason))
	default:
		return err
	}
	if len(c.problems) >= maxProblems {
		return errEnough
	}
	return nil
}

func (c *checker) add(section string, offset int64, reason string) {
	c.problems = append(c.problems, Problem{section, offset, reason})
}

// Check looks at every structure of the file at path and tells all that is wrong,
// also what Open gets around: one lost footer of two, say. About the parents it
// says only whether they can be had. The error is one of reading the file.
func Check(path string, o Options) ([]Problem, error) {
	l, err := openFile(path)
	if err != nil {
		return nil, err
	}
	defer l.close()
	var c checker
	if err := l.load(c.report); err != nil {
		if err = c.report(err); errors.Is(err, errEnough) {
			err = nil
		}
		return c.problems, err
	}
	if l.footer.kind == fixed {
		return c.problems, nil
	}
	if err := l.checkFooters(&c); err != nil {
		return c.problems, err
	}
	if l.footer.kind == differencing && len(c.problems) == 0 {
		err = c.checkParents(path, o)
	}
	return c.problems, err
}

func (c *checker) checkParents(path string, o Options) error {
	img, err := Open(path, o)
	if err != nil {
		return c.report(err)
	}
	return img.Close()
}

// checkFooters compares the footer at the end with its copy at the start.
func (l *layer) checkFooters(c *checker) error {
	first, err := l.bytesAt("copy of the footer", 0, oldFooterBytes)
	if err != nil {
		return err
	}
	if l.footerAt == l.fileSize {
		c.add("footer", max(l.fileSize-footerBytes, 0), "it is lost or damaged; the disk can be read by the copy at the start")
		return nil
	}
	last, err := l.bytesAt("footer", uint64(l.footerAt), oldFooterBytes)
	if err != nil {
		return err
	}
	if _, wrong := parseFooter(first); wrong != nil {
		c.add("copy of the footer", wrong.offset, wrong.reason)
	} else if !bytes.Equal(first, last) {
		c.add("copy of the footer", 0, fmt.Sprintf("it differs from the footer at %d", l.footerAt))
	}
	return nil
}

// stopAtFirst is what Open does about a problem.
func stopAtFirst(err error) error { return err }
