package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/pem"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// unpack ARCHIVE DIR unpacks a bug report, and checks that only its owner may read
// it.
func unpack(ts *testscript.TestScript, _ bool, args []string) {
	f, err := os.Open(ts.MkAbs(args[0]))
	ts.Check(err)
	defer f.Close()
	info, err := f.Stat()
	ts.Check(err)
	if info.Mode().Perm() != 0o600 {
		ts.Fatalf("%s has mode %v", args[0], info.Mode())
	}
	packed, err := gzip.NewReader(f)
	ts.Check(err)
	ts.Check(os.MkdirAll(ts.MkAbs(args[1]), 0o700))
	for archive := tar.NewReader(packed); ; {
		header, err := archive.Next()
		if err == io.EOF {
			return
		}
		ts.Check(err)
		text, err := io.ReadAll(archive)
		ts.Check(err)
		ts.Check(os.WriteFile(filepath.Join(ts.MkAbs(args[1]), filepath.Base(header.Name)), text, 0o600))
	}
}

// nosecrets DIR FILE… looks for pieces of secret files, or of the files of secret
// directories, in all files of DIR, as they are and, of PEM, decoded.
func noSecrets(ts *testscript.TestScript, _ bool, args []string) {
	var all []byte
	ts.Check(filepath.WalkDir(ts.MkAbs(args[0]), func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			var text []byte
			text, err = os.ReadFile(path)
			all = append(all, text...)
		}
		return err
	}))
	if len(all) < 1000 {
		ts.Fatalf("%s has %d bytes", args[0], len(all))
	}
	const piece = 20 // bytes; shorter ones are found by chance
	looked := 0
	for _, arg := range args[1:] {
		ts.Check(filepath.WalkDir(ts.MkAbs(arg), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			secret, err := os.ReadFile(path)
			for rest := secret; ; {
				var block *pem.Block
				if block, rest = pem.Decode(rest); block == nil {
					break
				}
				secret = append(append(secret, '\n'), block.Bytes...)
			}
			for at := 0; at+piece <= len(secret); at++ {
				if bytes.HasPrefix(secret[at:], []byte("-----")) {
					at += bytes.IndexByte(secret[at:], '\n') // a line that all PEM has
				} else if bytes.Contains(all, secret[at:at+piece]) {
					ts.Fatalf("%q of %s is in it", secret[at:at+piece], path)
				}
				looked++
			}
			return err
		}))
	}
	if looked < 100 {
		ts.Fatalf("there were only %d pieces to look for", looked)
	}
}

func TestMask(t *testing.T) {
	pin := "sha256:" + strings.Repeat("aB-_", 10) + "xyz"
	got := mask(`pin = "` + pin + `" code wr1-2e32mejpeftv2cspescr6cgq3w-sswt76c5zu3vwpiakd5q.`)
	if want := `pin = "sha256:(masked)" code wr1-(masked).`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
