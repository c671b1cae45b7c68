package vhd

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"wanrep/diskio"
)

func TestNextChanged(t *testing.T) {
	paths, contents := chain(t)
	img := openDisk(t, paths[2])
	for i, ancestor := range paths {
		patched := bytes.Clone(contents[i])
		var changed int64
		for off := int64(0); ; {
			start, length, err := img.NextChanged(ancestor, off)
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			copy(patched[start:start+length], contents[2][start:])
			changed += length
			off = start + length
		}
		if !bytes.Equal(patched, contents[2]) {
			t.Errorf("what changed since %s does not make the disk of it", filepath.Base(ancestor))
		}
		if changed > img.Size()/2 || (changed == 0) != (i == 2) {
			t.Errorf("%d bytes changed since %s", changed, filepath.Base(ancestor))
		}
	}
	stranger := filepath.Join(t.TempDir(), "stranger")
	if err := os.WriteFile(stranger, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := img.NextChanged(stranger, 0); !errors.Is(err, diskio.ErrNoAncestor) {
		t.Errorf("a file of another disk: %v", err)
	}
}
