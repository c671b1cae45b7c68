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
	for i, ancestor := range paths {
		id, err := openDisk(t, ancestor).Identity()
		if err != nil {
			t.Fatal(err)
		}
		next, ok := img.ChangedSince(func(identity string) bool { return identity == id })
		if ok != (i < 2) {
			t.Errorf("%s is found by its identity: %v", filepath.Base(ancestor), ok)
		}
		if !ok {
			continue
		}
		start, length, err := next(0)
		if wantStart, wantLength, wantErr := img.NextChanged(ancestor, 0); start != wantStart || length != wantLength || err != wantErr {
			t.Errorf("since the identity of %s: %d bytes at %d, %v", filepath.Base(ancestor), length, start, err)
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
