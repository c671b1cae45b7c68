package test

import (
	"compress/bzip2"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// randomDisk makes a raw disk of content that does not compress.
func randomDisk(t *testing.T, dir, name string, size int64, seed byte) disk {
	t.Helper()
	path := filepath.Join(dir, name+".raw")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := io.CopyN(f, rand.NewChaCha8([32]byte{seed}), size); err != nil {
		t.Fatal(err)
	}
	return disk{name, path}
}

// sum returns the SHA-256 of a file.
func sum(t *testing.T, path string) string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// checkReplica exports the newest point of the VM and compares each disk's content
// with want: as wanrep exports it, and as qemu-img reads the exported VHDX.
func (tg *target) checkReplica(source string, want map[string]string) {
	tg.t.Helper()
	needs(tg.t, "qemu-img")
	tg.must("points", "verify", "--store", tg.store)
	for _, format := range []string{"raw", "vhdx"} {
		out := filepath.Join(tg.dir, "export-"+format)
		tg.must("points", "export", "--store", tg.store, "--source", source, "--vm", "sql01", "--point", "latest", "--to", out, "--format", format)
		for name, sha := range want {
			path := filepath.Join(out, name+"."+format)
			if format == "vhdx" {
				path = qemuRaw(tg.t, path, "vhdx", filepath.Join(out, name+".qemu"))
			}
			if got := sum(tg.t, path); got != sha {
				tg.t.Errorf("disk %s exported as %s has the SHA-256 %s, want %s", name, format, got, sha)
			}
		}
		os.RemoveAll(out)
	}
}

// qemuRaw lets qemu-img read an image, and returns the raw content that it wrote.
func qemuRaw(t *testing.T, image, format, out string) string {
	t.Helper()
	text, err := exec.Command("qemu-img", "convert", "-f", format, "-O", "raw", image, out).CombinedOutput()
	if err != nil {
		t.Fatalf("qemu-img: %v\n%s", err, text)
	}
	return out
}

// corpus returns the path of an unpacked image of the corpus and the SHA-256 of
// its content. It skips the test where there is no corpus.
func corpus(t *testing.T, dir, name string) (path, sha string) {
	t.Helper()
	from := os.Getenv("WANREP_CORPUS")
	if from == "" {
		from = filepath.Join("..", "..", "shared", "corpus")
	}
	manifest, err := os.ReadFile(filepath.Join(from, "MANIFEST.tsv"))
	if err != nil {
		t.Skipf("the corpus of disk images is not there: %v", err)
	}
	for line := range strings.Lines(string(manifest)) {
		field := strings.Split(strings.TrimRight(line, "\n"), "\t")
		if len(field) > 4 && field[1] == name {
			path = filepath.Join(dir, name)
			if err := unpack(filepath.Join(from, field[0]), path); err != nil {
				t.Fatal(err)
			}
			return path, field[4]
		}
	}
	t.Fatalf("the corpus has no %s", name)
	return "", ""
}

func unpack(from, to string) error {
	packed, err := os.Open(from)
	if err != nil {
		return err
	}
	defer packed.Close()
	var content io.Reader
	switch filepath.Ext(from) {
	case ".bz2":
		content = bzip2.NewReader(packed)
	case ".gz":
		if content, err = gzip.NewReader(packed); err != nil {
			return err
		}
	default:
		return fmt.Errorf("%s: packed in no known way", from)
	}
	f, err := os.Create(to)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(f, content)
	return err
}
