package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"sync"

	"github.com/spf13/cobra"
	"github.com/zeebo/blake3"

	"wanrep/diskio"
	"wanrep/diskio/digest"
)

// digestSchema names the document of "wanrep disk digest --json".
const digestSchema = "wanrep.digest/1"

// A digestDocument has the digests over the whole virtual content of an image.
type digestDocument struct {
	Schema      string `json:"schema"`
	Format      string `json:"format"`
	VirtualSize int64  `json:"virtual_size"`
	SHA256      string `json:"sha256"`
	BLAKE3      string `json:"blake3"`
	// Root is that of the tree over the digests of all blocks, as in the manifest
	// of a restore point.
	Root string `json:"root"`
}

func newDiskDigestCommand() *cobra.Command {
	var image imageFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "digest FILE",
		Short: "Digest the whole content of a disk",
		Long: `Digest the whole virtual content of a disk, in which holes read as zeros: SHA-256
and BLAKE3 as other tools compute them over the raw content, and the root that
restore points carry.`,
		Example: `  wanrep disk digest os.vhdx
  wanrep disk digest os.vhdx --json`,
		Args:        cobra.ExactArgs(1),
		Annotations: withSchema(digestSchema),
		RunE: func(cmd *cobra.Command, args []string) error {
			var doc digestDocument
			err := image.read(args[0], func(img diskio.Image) (err error) {
				doc, err = digestDisk(cmd.Context(), img)
				doc.Format = img.Info().Format
				return err
			})
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd, doc)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "sha256  %s\nblake3  %s\nroot    %s\n", doc.SHA256, doc.BLAKE3, doc.Root)
			return err
		},
	}
	image.add(cmd)
	addJSONFlag(cmd, &asJSON)
	return cmd
}

// digestDisk computes the three digests beside each other.
func digestDisk(ctx context.Context, disk content) (digestDocument, error) {
	flat := []hash.Hash{sha256.New(), blake3.New()}
	tree := digest.NewTree(0)
	zeros := make([]byte, walkBytes)
	feed := func(p []byte, also func()) {
		var wg sync.WaitGroup
		for _, h := range flat {
			wg.Go(func() { h.Write(p) })
		}
		also()
		wg.Wait()
	}
	data := func(off int64, p []byte) error {
		feed(p, func() { addBlocks(tree, off, p) })
		return nil
	}
	hole := func(_, length int64) error {
		for length > 0 && ctx.Err() == nil {
			n := min(length, walkBytes)
			feed(zeros[:n], func() {})
			length -= n
		}
		return ctx.Err()
	}
	if err := walk(ctx, disk, 0, disk.Size(), data, hole); err != nil {
		return digestDocument{}, err
	}
	tree.SkipTo(digest.Blocks(disk.Size()))
	root, err := tree.Root(disk.Size())
	return digestDocument{
		Schema: digestSchema, VirtualSize: disk.Size(),
		SHA256: hex.EncodeToString(flat[0].Sum(nil)), BLAKE3: hex.EncodeToString(flat[1].Sum(nil)),
		Root: root.String(),
	}, err
}

// addBlocks adds a piece of a disk to its tree. What lies between is zeros.
func addBlocks(tree *digest.Tree, off int64, p []byte) {
	tree.SkipTo(off / diskio.BlockBytes)
	for len(p) > 0 {
		n := min(len(p), diskio.BlockBytes)
		tree.Add(digest.Block(p[:n]))
		p = p[n:]
	}
}
