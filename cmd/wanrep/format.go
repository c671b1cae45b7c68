package main

import (
	"os"

	"wanrep/diskio/durable"
	"wanrep/diskio/vhdx"
	"wanrep/resume"
)

// vhdxFormat makes a target's disks dynamic VHDX files, which Hyper-V and others
// start without wanrep. Until a disk is whole, its file is marked incomplete and
// nobody can start it.
type vhdxFormat struct{}

var _ resume.Format = vhdxFormat{}

func (vhdxFormat) Extension() string { return ".vhdx" }

func (vhdxFormat) Create(f durable.File, s resume.DiskSpec) (resume.DiskFile, error) {
	return vhdx.Create(f, vhdx.Spec{
		VirtualSize:        s.Size,
		LogicalSectorSize:  s.LogicalSectorSize,
		PhysicalSectorSize: s.PhysicalSectorSize,
		DiskID:             s.ID,
		Incomplete:         true,
	})
}

func (vhdxFormat) Reopen(f durable.File, _ resume.DiskSpec, keep int64) (resume.DiskFile, error) {
	return vhdx.Reopen(f, keep)
}

func (vhdxFormat) Open(fsys durable.FS, name string) (resume.Content, error) {
	return vhdx.OpenFiles(storeFiles{fsys}, name, vhdx.Options{})
}

// storeFiles opens the files of a chain below a store's directory.
type storeFiles struct{ durable.FS }

func (s storeFiles) Open(name string) (vhdx.Source, error) {
	return s.OpenFile(name, os.O_RDONLY, 0)
}
