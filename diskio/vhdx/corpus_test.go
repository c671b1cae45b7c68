package vhdx

import (
	"bufio"
	"compress/bzip2"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"wanrep/diskio"
)

// An image is one line of the corpus' manifest.
type image struct {
	packed, name, expect string
	size                 int64
	sha256               string
}

// corpus lists the VHDX files of the corpus of real images, or skips the test.
func corpus(t testing.TB) (dir string, images []image) {
	t.Helper()
	dir = os.Getenv("WANREP_CORPUS")
	if dir == "" {
		dir = "../../../shared/corpus"
	}
	f, err := os.Open(filepath.Join(dir, "MANIFEST.tsv"))
	if err != nil {
		t.Skipf("no corpus of real images: set WANREP_CORPUS (%v)", err)
	}
	defer f.Close()
	for sc := bufio.NewScanner(f); sc.Scan(); {
		c := strings.Split(sc.Text(), "\t")
		if len(c) < 5 || !strings.HasSuffix(c[1], "vhdx") {
			continue
		}
		size, _ := strconv.ParseInt(c[3], 10, 64)
		images = append(images, image{c[0], c[1], c[2], size, c[4]})
	}
	if len(images) == 0 {
		t.Fatal("the corpus' manifest lists no VHDX file")
	}
	return dir, images
}

// unpack decompresses an image of the corpus into the test's directory.
func unpack(t testing.TB, dir string, im image) string {
	t.Helper()
	in, err := os.Open(filepath.Join(dir, im.packed))
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	var r io.Reader = bzip2.NewReader(in)
	if strings.HasSuffix(im.packed, ".gz") {
		if r, err = gzip.NewReader(in); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(t.TempDir(), im.name)
	out, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	// Zeros become holes, so that large empty images take no space.
	buf := make([]byte, 64*kib)
	for off := int64(0); ; {
		n, err := io.ReadFull(r, buf)
		if n > 0 && !allZero(buf[:n]) {
			if _, err := out.WriteAt(buf[:n], off); err != nil {
				t.Fatal(err)
			}
		}
		off += int64(n)
		if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) {
			if err := out.Truncate(off); err != nil {
				t.Fatal(err)
			}
			return path
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// contentSum is the SHA-256 over the whole content; holes are hashed as zeros.
func contentSum(t testing.TB, d diskio.Image) string {
	t.Helper()
	h := sha256.New()
	if _, err := io.Copy(h, io.NewSectionReader(d, 0, d.Size())); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(h.Sum(nil))
}

func TestCorpus(t *testing.T) {
	dir, images := corpus(t)
	for _, im := range images {
		t.Run(im.name, func(t *testing.T) {
			path := unpack(t, dir, im)
			d, err := Open(path, Options{})
			if im.expect == "error" {
				if err == nil {
					t.Fatal("opened, want an error")
				}
				var pe *diskio.ParentError
				if !errors.As(err, &pe) || !strings.Contains(err.Error(), pe.Wanted) || pe.Wanted == "" {
					t.Fatalf("got %v, want an error that names the missing parent", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			if d.Size() != im.size {
				t.Errorf("size is %d, want %d", d.Size(), im.size)
			}
			if got := contentSum(t, d); got != im.sha256 {
				t.Errorf("content is %s, want %s", got, im.sha256)
			}
			if err := d.Check(); err != nil {
				t.Error(err)
			}
			t.Logf("%+v", d.Info())
		})
	}
}
