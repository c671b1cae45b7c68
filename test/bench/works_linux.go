package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
)

// A work is what is done with the disk.
type work struct {
	name, title string
	// disk is how many bytes the disk has for one that has to be carried.
	disk    int64
	changed bool // the target has the disk as it was before
	cut     bool // the line is away for a while
}

const workWhole = "whole"

var works = []work{
	{name: workWhole, title: "whole disk", disk: 1},
	{name: "half", title: "half-empty disk", disk: 2},
	{name: "changed", title: "2 % changed", disk: 50, changed: true},
	{name: "cut", title: fmt.Sprintf("whole disk, line away for %v", cutFor), disk: 1, cut: true},
}

func chooseWorks(list string) (chosen []work, err error) {
	for name := range strings.SplitSeq(list, ",") {
		i := slices.IndexFunc(works, func(w work) bool { return w.name == name })
		if i < 0 {
			return nil, fmt.Errorf("there is no work %q; there are whole, half, changed and cut", name)
		}
		chosen = append(chosen, works[i])
	}
	return chosen, nil
}

// changedDisk bounds a disk of which a part has changed.
const changedDisk = 512 << 20

// sizes returns how many bytes a disk has, and how many of them have to be carried. The
// size told is 0, or how many to carry of a disk that has not changed.
func (w work) sizes(r route, told int64) (disk, content int64) {
	content = r.content()
	if told > 0 {
		content = told
	}
	if w.changed {
		disk = min(changedDisk, 4*content)
		return disk, disk / w.disk
	}
	return w.disk * content, content
}

// makeDisk writes the disk of a workload: random where it is not empty.
func (s *stage) makeDisk() error {
	random := s.size
	if !s.changed {
		random = s.content
	}
	if err := randomFile(s.disk, random, rand.Uint64()); err != nil {
		return err
	}
	return os.Truncate(s.disk, s.size)
}

// changedBlock is how much changes at once: what a guest writes is scattered.
const changedBlock = 64 << 10

// change writes what has changed since the last transfer.
func (s *stage) change() error {
	f, err := os.OpenFile(s.disk, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	block := make([]byte, changedBlock)
	random := rand.NewChaCha8([32]byte{byte(rand.Uint32())})
	for _, i := range rand.Perm(int(s.size / changedBlock))[:s.content/changedBlock] {
		random.Read(block)
		if _, err := f.WriteAt(block, int64(i)*changedBlock); err != nil {
			return errors.Join(err, f.Close())
		}
	}
	return f.Close()
}

// same compares two files byte by byte.
func same(one, other string) error {
	var files [2]*os.File
	for i, path := range []string{one, other} {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		files[i] = f
	}
	const piece = 1 << 20
	a, b := make([]byte, piece), make([]byte, piece)
	for off := int64(0); ; off += piece {
		n, err := io.ReadFull(files[0], a)
		m, other := io.ReadFull(files[1], b)
		if !bytes.Equal(a[:n], b[:m]) {
			return fmt.Errorf("%w: within 1 MiB of %d", errDiffers, off)
		}
		if err != nil || other != nil {
			return ended(err, other)
		}
	}
}

// ended returns the error of two reads of which one was not full.
func ended(errs ...error) error {
	for _, err := range errs {
		if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
			return err
		}
	}
	return nil
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
