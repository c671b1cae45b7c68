package crashfs

import (
	"errors"
	"io"
	"io/fs"
	"path"

	"wanrep/diskio/durable"
)

// A file is an open file.
type file struct {
	fs       *FS
	node     *node
	name     string // when it was opened
	writable bool
	lock     bool
	closed   bool
	epoch    int
}

var _ durable.File = (*file)(nil)

// alive says why the file can't be used.
func (h *file) alive(op string, write bool) error {
	switch {
	case h.epoch != h.fs.epoch:
		return ErrKilled
	case h.closed:
		return &fs.PathError{Op: op, Path: h.name, Err: fs.ErrClosed}
	case write && !h.writable:
		return &fs.PathError{Op: op, Path: h.name, Err: fs.ErrPermission}
	}
	return nil
}

func (h *file) ReadAt(p []byte, off int64) (int, error) {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	if err := h.alive("read", false); err != nil {
		return 0, err
	}
	if off < 0 {
		return 0, &fs.PathError{Op: "read", Path: h.name, Err: fs.ErrInvalid}
	}
	n := 0
	err := h.fs.do(Op{Kind: "read", Name: h.name, Length: len(p)}, func() { n = h.node.data.read(p, off) })
	if err == nil && n < len(p) {
		err = io.EOF
	}
	return n, err
}

func (h *file) WriteAt(p []byte, off int64) (int, error) {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	if err := h.alive("write", true); err != nil {
		return 0, err
	}
	if off < 0 {
		return 0, &fs.PathError{Op: "write", Path: h.name, Err: fs.ErrInvalid}
	}
	need := h.node.data.newPages(off, len(p)) * pageBytes
	if need > h.fs.space {
		return 0, &fs.PathError{Op: "write", Path: h.name, Err: ErrFull}
	}
	h.fs.space -= need
	v, err := h.fs.step(Op{Kind: "write", Name: h.name, Length: len(p), Changes: true})
	n := 0
	switch v {
	case done, cut:
		n = len(p)
	case halved:
		n = len(p) / 2
	}
	h.node.data.write(p[:n], off)
	return n, err
}

func (h *file) Truncate(size int64) error {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	if err := h.alive("truncate", true); err != nil {
		return err
	}
	if size < 0 {
		return &fs.PathError{Op: "truncate", Path: h.name, Err: fs.ErrInvalid}
	}
	return h.fs.do(Op{Kind: "truncate", Name: h.name, Changes: true}, func() { h.node.data.truncate(size) })
}

func (h *file) Sync() error {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	if err := h.alive("sync", false); err != nil {
		return err
	}
	v, err := h.fs.step(Op{Kind: "sync", Name: h.name, Changes: true})
	switch v {
	case done:
		h.node.data.sync()
		h.node.durMode = h.node.mode
	case refused, halved:
		h.node.data.drop(uint64(h.fs.ops))
	}
	return err
}

func (h *file) Stat() (fs.FileInfo, error) {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	if err := h.alive("stat", false); err != nil {
		return nil, err
	}
	if err := h.fs.do(Op{Kind: "stat", Name: h.name}, func() {}); err != nil {
		return nil, err
	}
	return infoOf(path.Base(h.name), h.node), nil
}

// Close frees the file whatever it returns.
func (h *file) Close() error {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	if err := h.alive("close", false); err != nil {
		return err
	}
	h.closed = true
	h.node.open--
	if h.lock {
		delete(h.fs.locked, h.node)
	}
	if h.fs.dead {
		return ErrCrashed
	}
	return nil
}

// ErrKilled is what files return that were opened before a kill.
var ErrKilled = errors.New("the process that opened the file was killed")
