package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	files "wanrep/diskio/durable"
	"wanrep/resume"
	"wanrep/resume/vhdxstore"
)

// open opens the store for reading, beside the target or without it.
func (k *killer) open() (*resume.Store, func() error, error) {
	fsys, err := files.OS(k.store())
	if err != nil {
		return nil, nil, err
	}
	s, err := resume.OpenReadOnly(fsys, resume.Config{Format: vhdxstore.Format{}})
	if err != nil {
		return nil, nil, errors.Join(err, fsys.Close())
	}
	return s, func() error { return errors.Join(s.Close(), fsys.Close()) }, nil
}

func (k *killer) list() ([]resume.Point, error) {
	s, done, err := k.open()
	if err != nil {
		return nil, err
	}
	points, err := s.List()
	return points, errors.Join(err, done())
}

// committed reports whether there is a point that is newer than the newest known one.
func (k *killer) committed() (bool, error) {
	points, err := k.list()
	if err != nil {
		return false, err
	}
	for _, p := range slices.Backward(points) {
		if p.State == resume.StateDamaged {
			return false, fmt.Errorf("point %s is damaged", p.Point)
		}
		if p.State == resume.StateCommitted && p.Point > k.newest {
			k.newest = p.Point
			k.points++
			return true, nil
		}
	}
	return false, nil
}

// verify compares the newest point with the source's disks, byte for byte.
func (k *killer) verify(ctx context.Context) (err error) {
	s, done, err := k.open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	points, err := s.List()
	if err != nil {
		return err
	}
	for _, p := range points {
		if p.Point != k.newest {
			continue
		}
		for _, name := range k.names() {
			if err := k.same(ctx, s, p, name); err != nil {
				return fmt.Errorf("point %s: disk %s: %w", p.Point, name, err)
			}
		}
		k.verified++
		fmt.Fprintf(k.log, "point %s equals its source\n", p.Point)
	}
	k.prunes = k.points - len(points)
	return nil
}

func (k *killer) same(ctx context.Context, s *resume.Store, p resume.Point, name string) error {
	f, err := os.Open(k.disk(name))
	if err != nil {
		return err
	}
	defer f.Close()
	c, err := s.OpenDisk(p, name)
	if err != nil {
		return err
	}
	defer c.Close()
	if c.Size() != k.sizes[name] {
		return fmt.Errorf("it has %d bytes, want %d", c.Size(), k.sizes[name])
	}
	want, got := make([]byte, 1<<20), make([]byte, 1<<20)
	for off := int64(0); off < c.Size(); off += int64(len(want)) {
		n := min(int64(len(want)), c.Size()-off)
		_, err := f.ReadAt(want[:n], off)
		_, err2 := c.ReadAt(got[:n], off)
		if err := errors.Join(err, err2, ctx.Err()); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if !bytes.Equal(want[:n], got[:n]) {
			return fmt.Errorf("it differs at %d", off)
		}
	}
	return nil
}
