package image

import (
	"wanrep/diskio/raw"
	"wanrep/diskio/vhd"
	"wanrep/diskio/vhdx"
)

// A Problem is something in an image that is against its format.
type Problem struct {
	Path    string
	Section string // as the specification calls it
	Offset  int64  // in the file
	Reason  string
}

// Check looks at the structure of an image, and whether its parents can be had.
// A raw disk has no structure. The error is about a file that can't be read or is
// no image.
func Check(path string) ([]Problem, error) {
	format, err := detect(path, false)
	if err != nil {
		return nil, err
	}
	var problems []Problem
	switch format {
	case VHDX:
		found, err := vhdx.Check(path, vhdx.Options{})
		for _, p := range found {
			problems = append(problems, Problem{path, p.Section, p.Offset, p.Reason})
		}
		return problems, err
	case VHD:
		found, err := vhd.Check(path, vhd.Options{})
		for _, p := range found {
			problems = append(problems, Problem{path, p.Section, p.Offset, p.Reason})
		}
		return problems, err
	}
	img, err := raw.Open(path, raw.Options{})
	if err != nil {
		return nil, err
	}
	return nil, img.Close()
}
