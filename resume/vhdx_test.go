package resume_test

import (
	"errors"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"wanrep/diskio/durable"
	"wanrep/diskio/durable/crashfs"
	"wanrep/diskio/vhdx"
	"wanrep/resume"
)

// vhdxFormat is what a target uses.
type vhdxFormat struct{}

func (vhdxFormat) Extension() string { return ".vhdx" }

func (vhdxFormat) Create(f durable.File, s resume.DiskSpec) (resume.DiskFile, error) {
	return vhdx.Create(f, vhdxSpec(s, nil))
}

func (vhdxFormat) CreateOn(f durable.File, s resume.DiskSpec, fsys durable.FS, name, parent string) (resume.DiskFile, error) {
	rel, err := filepath.Rel(filepath.FromSlash(path.Dir(name)), filepath.FromSlash(parent))
	if err != nil {
		return nil, err
	}
	source, err := files{fsys}.Open(parent)
	if err != nil {
		return nil, err
	}
	guid, err := vhdx.DataWriteGUID(parent, source)
	if err = errors.Join(err, source.Close()); err != nil {
		return nil, err
	}
	return vhdx.Create(f, vhdxSpec(s, &vhdx.Parent{
		DataWriteGUID: guid,
		RelativePath:  strings.ReplaceAll(filepath.ToSlash(rel), "/", `\`),
	}))
}

func vhdxSpec(s resume.DiskSpec, parent *vhdx.Parent) vhdx.Spec {
	return vhdx.Spec{
		VirtualSize:        s.Size,
		LogicalSectorSize:  s.LogicalSectorSize,
		PhysicalSectorSize: s.PhysicalSectorSize,
		DiskID:             s.ID,
		Parent:             parent,
		Incomplete:         true,
	}
}

func (vhdxFormat) Reopen(f durable.File, _ resume.DiskSpec, keep int64) (resume.DiskFile, error) {
	return vhdx.Reopen(f, keep)
}

func (vhdxFormat) Open(fsys durable.FS, name string) (resume.Content, error) {
	return vhdx.OpenFiles(files{fsys}, name, vhdx.Options{})
}

type files struct{ durable.FS }

func (f files) Open(name string) (vhdx.Source, error) { return f.OpenFile(name, os.O_RDONLY, 0) }

func TestCrashWithVHDX(t *testing.T) {
	sweep(t, changing(record(t, vhdxFormat{})), func(k int) error { return crashAt(vhdxFormat{}, honest, k, 1) })
}

// TestErrorWithVHDX takes every third operation: there are many that only read.
func TestErrorWithVHDX(t *testing.T) {
	operations := len(record(t, vhdxFormat{}))
	var ks []int
	for k := 1; k <= operations; k += 3 {
		ks = append(ks, k)
	}
	sweep(t, ks, func(k int) error { return failAt(vhdxFormat{}, honest, crashfs.Fault{At: k}, 1) })
}
