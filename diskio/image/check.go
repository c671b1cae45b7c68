package image

import (
	"errors"

	"wanrep/diskio"
	"wanrep/diskio/vhdx"
)

// A Problem is something in an image that is against its format.
type Problem struct {
	Path    string
	Section string // as the specification calls it
	Offset  int64  // in the file
	Reason  string
}

// Check looks at the structure of an image and of its parents. A VHDX is looked at
// as a whole; of other formats it tells the first problem. The error is about a
// file that can't be read or is no image.
func Check(path string) ([]Problem, error) {
	format, err := detect(path, false)
	if err != nil {
		return nil, err
	}
	if format == VHDX {
		return checkVHDX(path)
	}
	img, err := Open(path, Options{})
	var broken *diskio.FormatError
	if errors.As(err, &broken) {
		return []Problem{{broken.Path, broken.Section, broken.Offset, broken.Reason}}, nil
	}
	if err != nil {
		return nil, err
	}
	return nil, img.Close()
}

func checkVHDX(path string) ([]Problem, error) {
	found, err := vhdx.Check(path, vhdx.Options{})
	if err != nil {
		return nil, err
	}
	var problems []Problem
	for _, p := range found {
		problems = append(problems, Problem{path, p.Section, p.Offset, p.Reason})
	}
	return problems, nil
}
