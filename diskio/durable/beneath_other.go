//go:build !linux

package durable

import (
	"io/fs"
	"os"
)

// A beneath opens nothing where the system has no call for that; see beneath_linux.go.
type beneath struct{}

func openBeneath(*os.Root) (beneath, error) { return beneath{}, nil }

func (beneath) close() error { return nil }

func (o *osFS) open(string) *os.File { return nil }

func (o *osFS) ReadDir(name string) ([]fs.DirEntry, error) { return fs.ReadDir(o.root.FS(), name) }
