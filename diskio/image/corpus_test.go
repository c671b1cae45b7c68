package image

import (
	"compress/bzip2"
	"compress/gzip"
	"crypto/sha256"
	"encoding/csv"
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

// A corpusEntry is a line of the corpus's manifest.
type corpusEntry struct {
	file, unpacked, expect, sha256 string
	size                           int64
}

// corpus returns the images of the corpus, which is not part of the project.
func corpus(t *testing.T) (dir string, entries []corpusEntry) {
	t.Helper()
	dir = os.Getenv("WANREP_CORPUS")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "shared", "corpus")
	}
	f, err := os.Open(filepath.Join(dir, "MANIFEST.tsv"))
	if err != nil {
		t.Skip("no corpus of disk images: set WANREP_CORPUS to a directory with one: ", err)
	}
	defer f.Close()
	r := csv.NewReader(f)
	r.Comma, r.LazyQuotes = '\t', true
	rows, err := r.ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range rows[1:] {
		e := corpusEntry{file: row[0], unpacked: row[1], expect: row[2], sha256: row[4]}
		if row[3] != "" {
			if e.size, err = strconv.ParseInt(row[3], 10, 64); err != nil {
				t.Fatal(err)
			}
		}
		entries = append(entries, e)
	}
	return dir, entries
}

// unpack writes an image of the corpus to a file of its own.
func unpack(t *testing.T, dir string, e corpusEntry) string {
	t.Helper()
	in, err := os.Open(filepath.Join(dir, e.file))
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	var r io.Reader
	if strings.HasSuffix(e.file, ".bz2") {
		r = bzip2.NewReader(in)
	} else if r, err = gzip.NewReader(in); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), e.unpacked)
	out, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	if _, err := io.Copy(out, r); err != nil {
		t.Fatal(err)
	}
	return path
}

// sum returns the sha256 of a disk's content.
func sum(t *testing.T, img diskio.Image) string {
	t.Helper()
	h := sha256.New()
	if _, err := io.Copy(h, io.NewSectionReader(img, 0, img.Size())); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(h.Sum(nil))
}

func open(t *testing.T, path string) diskio.Image {
	t.Helper()
	img, err := Open(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { img.Close() })
	return img
}

// TestCorpus reads images that others wrote. Each is then converted to every
// format, and has the same content there, also to qemu-img.
func TestCorpus(t *testing.T) {
	dir, entries := corpus(t)
	for _, e := range entries {
		t.Run(e.unpacked, func(t *testing.T) {
			path := unpack(t, dir, e)
			switch e.expect {
			case "error":
				_, err := Open(path, Options{})
				var parent *diskio.ParentError
				if !errors.As(err, &parent) || parent.Wanted == "" {
					t.Errorf("got %v, want an error that names the missing parent", err)
				}
			case "big":
				if img := open(t, path); img.Size() != e.size {
					t.Errorf("%d bytes, want %d", img.Size(), e.size)
				} else if start, _, err := img.NextData(0); err != io.EOF {
					t.Errorf("an empty disk has data at %d (%v)", start, err)
				}
			default:
				checkEverywhere(t, path, e)
			}
		})
	}
}

func checkEverywhere(t *testing.T, path string, e corpusEntry) {
	img := open(t, path)
	if img.Size() != e.size {
		t.Fatalf("%d bytes, want %d", img.Size(), e.size)
	}
	if got := sum(t, img); got != e.sha256 {
		t.Fatalf("content %s, want %s", got, e.sha256)
	}
	if problems, err := Check(path); err != nil || len(problems) > 0 {
		t.Errorf("check says %v, %v", problems, err)
	}
	for _, format := range []string{VHDX, VHD, Raw} {
		out := filepath.Join(t.TempDir(), "copy."+format)
		if err := Convert(t.Context(), img, out, format); err != nil {
			t.Fatal(err)
		}
		copied := open(t, out)
		if got := copied.Info().Format; got != format {
			t.Errorf("as %s: opened as %s", format, got)
		}
		same(t, copied, img)
		if problems, err := Check(out); err != nil || len(problems) > 0 {
			t.Errorf("as %s: check says %v, %v", format, problems, err)
		}
		if format != Raw {
			compareWithQEMU(t, out, format, img)
		}
	}
	if err := img.Check(); err != nil {
		t.Errorf("reading changed the image: %v", err)
	}
}
