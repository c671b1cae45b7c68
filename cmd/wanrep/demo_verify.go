package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"wanrep/configs"
	"wanrep/diskio"
	"wanrep/diskio/digest"
	"wanrep/diskio/image"
	"wanrep/replicate"
	"wanrep/resume"
)

// A demoDisk is one disk of the demo, after its replica was compared with it.
type demoDisk struct {
	Disk        string `json:"disk"`
	Format      string `json:"format"`
	VirtualSize int64  `json:"virtual_size"`
	Data        int64  `json:"data"`
	Wire        int64  `json:"wire"`
	Resent      int64  `json:"resent"`
	Root        string `json:"root"`
	SHA256      string `json:"sha256"`
}

// verifyDemo reads every source disk and its replica in the store afresh, and
// compares the roots that the run reported and the store has, and the content.
func verifyDemo(ctx context.Context, store *resume.Store, disks []configs.Disk, report replicate.Report) ([]demoDisk, error) {
	points, err := store.List()
	if err != nil {
		return nil, err
	}
	if len(points) != 1 || points[0].State != resume.StateCommitted || points[0].Point != report.VMs[0].Point {
		return nil, fmt.Errorf("the store has not just the committed point %s: %+v", report.VMs[0].Point, points)
	}
	var verified []demoDisk
	for i, d := range disks {
		sent := report.VMs[0].Disks[i]
		v := demoDisk{Disk: d.Name, VirtualSize: sent.VirtualSize, Data: sent.Data, Wire: sent.Wire, Resent: sent.Resent}
		if err := v.compare(ctx, store, points[0], d.Path, sent.Root); err != nil {
			return nil, fmt.Errorf("disk %s: %w", d.Name, err)
		}
		verified = append(verified, v)
	}
	return verified, nil
}

// compare reads a disk and its replica.
func (v *demoDisk) compare(ctx context.Context, store *resume.Store, point resume.Point, path, reported string) error {
	disk, err := image.Open(path, image.Options{})
	if err != nil {
		return err
	}
	defer disk.Close()
	replica, err := store.OpenDisk(point, v.Disk)
	if err != nil {
		return err
	}
	defer replica.Close()
	v.Format = disk.Info().Format

	root, sum, err := contentSums(ctx, disk, disk.Size())
	if err != nil {
		return fmt.Errorf("read the source: %w", err)
	}
	replicaRoot, replicaSum, err := contentSums(ctx, replica, replica.Size())
	if err != nil {
		return fmt.Errorf("read the replica: %w", err)
	}
	v.Root, v.SHA256 = root.String(), hex.EncodeToString(sum[:])
	switch {
	case replicaRoot != root:
		return fmt.Errorf("the replica's root is %v, the source's %v", replicaRoot, root)
	case replicaSum != sum:
		return fmt.Errorf("the replica's content has the SHA-256 %x, the source's %x", replicaSum, sum)
	case reported != v.Root:
		return fmt.Errorf("the run reported the root %s, the content has %s", reported, v.Root)
	}
	for _, d := range point.Disks {
		if d.Disk == v.Disk && d.Root == v.Root {
			return nil
		}
	}
	return fmt.Errorf("the manifest does not have the root %s", v.Root)
}

// contentSums reads size bytes and returns their root and their SHA-256.
func contentSums(ctx context.Context, r io.ReaderAt, size int64) (digest.Sum, [sha256.Size]byte, error) {
	var all [sha256.Size]byte
	whole := sha256.New()
	tree := digest.NewTree(0)
	buf := make([]byte, 16*diskio.BlockBytes)
	for off := int64(0); off < size; off += int64(len(buf)) {
		if err := ctx.Err(); err != nil {
			return digest.Sum{}, all, err
		}
		p := buf[:min(int64(len(buf)), size-off)]
		if n, err := r.ReadAt(p, off); n < len(p) {
			return digest.Sum{}, all, errors.Join(io.ErrUnexpectedEOF, err)
		}
		whole.Write(p)
		for len(p) > 0 {
			n := min(diskio.BlockBytes, len(p))
			tree.Add(digest.Block(p[:n]))
			p = p[n:]
		}
	}
	copy(all[:], whole.Sum(nil))
	root, err := tree.Root(size)
	return root, all, err
}
