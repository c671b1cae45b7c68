// Package vhdxstore makes the disks of a store VHDX files: it is the resume.Format
// of every target. It is apart from resume, which knows no disk format, so that
// commands and tests of whole appliances use the same one. Start with [Format].
package vhdxstore

import (
	"context"
	"errors"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"wanrep/diskio/durable"
	"wanrep/diskio/vhdx"
	"wanrep/resume"
)

// Format makes a target's disks dynamic VHDX files, and differencing ones on top of
// the disks of earlier points, which Hyper-V and others start without wanrep. Until
// a disk is whole, its file is marked incomplete and nobody can start it.
type Format struct{}

var _ resume.Format = Format{}

func (Format) Extension() string { return ".vhdx" }

func (Format) Create(f durable.File, s resume.DiskSpec) (resume.DiskFile, error) {
	return vhdx.Create(f, spec(s, nil))
}

// CreateOn makes a differencing disk. It names its parent by the relative path
// alone, so that a store can be moved.
func (Format) CreateOn(f durable.File, s resume.DiskSpec, fsys durable.FS, name, parent string) (resume.DiskFile, error) {
	return createOn(f, s, fsys, name, parent, func(file vhdx.Source) (p vhdx.Parent, err error) {
		p.DataWriteGUID, err = vhdx.DataWriteGUID(parent, file)
		return p, err
	})
}

func (Format) CreateLayer(f durable.File, s resume.DiskSpec, fsys durable.FS, name, lower string) (resume.DiskFile, error) {
	return createOn(f, s, fsys, name, lower, func(file vhdx.Source) (p vhdx.Parent, err error) {
		p.DataWriteGUID, err = vhdx.Mergeable(lower, file, s.Size)
		return p, err
	})
}

// createOn makes a differencing disk on the parent, whose GUID identify returns.
func createOn(f durable.File, s resume.DiskSpec, fsys durable.FS, name, parent string, identify func(vhdx.Source) (vhdx.Parent, error)) (resume.DiskFile, error) {
	rel, err := filepath.Rel(filepath.FromSlash(path.Dir(name)), filepath.FromSlash(parent))
	if err != nil {
		return nil, err
	}
	source, err := storeFiles{fsys}.Open(parent)
	if err != nil {
		return nil, err
	}
	on, err := identify(source)
	if err = errors.Join(err, source.Close()); err != nil {
		return nil, err
	}
	on.RelativePath = strings.ReplaceAll(filepath.ToSlash(rel), "/", `\`)
	return vhdx.Create(f, spec(s, &on))
}

func spec(s resume.DiskSpec, parent *vhdx.Parent) vhdx.Spec {
	return vhdx.Spec{
		VirtualSize:        s.Size,
		LogicalSectorSize:  s.LogicalSectorSize,
		PhysicalSectorSize: s.PhysicalSectorSize,
		DiskID:             s.ID,
		Parent:             parent,
		Incomplete:         true,
	}
}

func (Format) Reopen(f durable.File, _ resume.DiskSpec, keep int64) (resume.DiskFile, error) {
	return vhdx.Reopen(f, keep)
}

func (Format) Merge(ctx context.Context, upper, lower durable.File) error {
	return vhdx.Merge(ctx, upper, lower)
}

func (Format) CanMerge(upper, lower durable.File) error { return vhdx.CanMerge(upper, lower) }

func (Format) MergeContent(ctx context.Context, upper, lower durable.File) error {
	return vhdx.MergeContent(ctx, upper, lower)
}

func (Format) MergeIdentity(upper, lower durable.File) error {
	return vhdx.MergeIdentity(upper, lower)
}

func (Format) Patch(f durable.File, name string) (io.WriterAt, error) { return vhdx.Patch(name, f) }

func (Format) Open(fsys durable.FS, name string) (resume.Content, error) {
	return vhdx.OpenFiles(storeFiles{fsys}, name, vhdx.Options{})
}

// storeFiles opens the files of a chain below a store's directory.
type storeFiles struct{ durable.FS }

func (s storeFiles) Open(name string) (vhdx.Source, error) {
	return s.OpenFile(name, os.O_RDONLY, 0)
}
