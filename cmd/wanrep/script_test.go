package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"wanrep/diskio"
	"wanrep/diskio/digest"
	"wanrep/diskio/durable"
	"wanrep/diskio/image"
	"wanrep/diskio/raw"
	"wanrep/quicx"
	"wanrep/replicate"
	"wanrep/resume"
	"wanrep/resume/vhdxstore"
)

// TestScripts runs the scripts of the commands that need no appliance.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: filepath.Join("testdata", "script"),
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"rawdisk":    scriptRawDisk,
			"store":      scriptStore,
			"points":     scriptPoints,
			"corrupt":    scriptCorrupt,
			"json":       scriptJSON,
			"mode":       scriptMode,
			"size":       scriptSize,
			"append":     scriptAppend,
			"exits":      scriptExits,
			"samedigest": scriptSameDigest,
		},
	})
}

// rawdisk FILE makes a raw disk of 4 MiB: text at 0, random bytes at 1 MiB, and
// holes.
func scriptRawDisk(ts *testscript.TestScript, _ bool, args []string) {
	f, err := os.Create(ts.MkAbs(args[0]))
	ts.Check(err)
	defer f.Close()
	ts.Check(f.Truncate(4 << 20))
	_, err = f.WriteAt([]byte("the first sector"), 0)
	ts.Check(err)
	random := make([]byte, 100_000)
	rand.NewChaCha8([32]byte{1}).Read(random)
	_, err = f.WriteAt(random, 1<<20)
	ts.Check(err)
}

// points N DIR DISK… makes a store, which is not signed, with N points of VM sql01 of
// source branch, a day apart. They are all the same.
func scriptPoints(ts *testscript.TestScript, _ bool, args []string) {
	dir := ts.MkAbs(args[1])
	ts.Check(os.MkdirAll(dir, 0o700))
	fsys, err := durable.OS(dir)
	ts.Check(err)
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	at := time.Date(2026, 10, 1, 10, 0, 0, 0, time.UTC)
	store, err := resume.Open(fsys, resume.Config{Format: vhdxstore.Format{}, Now: func() time.Time { return at }})
	ts.Check(err)
	defer store.Close()
	for range n {
		commitPoint(ts, store, args[2:])
		at = at.AddDate(0, 0, 1)
	}
}

// store DIR [DISK…] makes a store. With disks it has a committed point of VM
// sql01 of source branch, whose disks have the content of those raw files, and a
// part of a second point that has received half of the first disk. $PIN becomes the
// pin of the target that signed.
func scriptStore(ts *testscript.TestScript, _ bool, args []string) {
	dir := ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(dir, 0o700))
	fsys, err := durable.OS(dir)
	ts.Check(err)
	at := time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC)
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	pin, err := quicx.PinOf(key.Public().(ed25519.PublicKey))
	ts.Check(err)
	ts.Setenv("PIN", pin.String())
	store, err := resume.Open(fsys, resume.Config{
		Format: vhdxstore.Format{}, Software: "wanrep test", Signer: key, Now: func() time.Time { return at },
	})
	ts.Check(err)
	defer store.Close()
	if len(args) == 1 {
		return
	}

	specs := commitPoint(ts, store, args[1:])
	part, err := store.Begin("branch", "sql01", specs[:1])
	ts.Check(err)
	d := part.Disks()[0]
	receive(ts, d, ts.MkAbs(args[1]), d.Spec().Size/2)
	ts.Check(d.SkipTo(d.Spec().Size / 2))
	_, err = d.Sync()
	ts.Check(err)
	ts.Check(part.Close())
}

// commitPoint commits a point whose disks have the content of raw files, and returns
// how they are described.
func commitPoint(ts *testscript.TestScript, store *resume.Store, disks []string) (specs []resume.DiskSpec) {
	for i, path := range disks {
		info, err := os.Stat(ts.MkAbs(path))
		ts.Check(err)
		name := strings.TrimSuffix(filepath.Base(path), filepath.Ext(path))
		specs = append(specs, resume.DiskSpec{Name: name, ID: diskio.ID{byte(i + 1)}, Size: info.Size(),
			LogicalSectorSize: 512, PhysicalSectorSize: 4096, Identity: "first"})
	}
	part, err := store.Begin("branch", "sql01", specs)
	ts.Check(err)
	for i, d := range part.Disks() {
		root := receive(ts, d, ts.MkAbs(disks[i]), d.Spec().Size)
		ts.Check(d.Finish(root))
	}
	_, err = part.Commit()
	ts.Check(err)
	return specs
}

// receive writes a disk's content up to an offset, and returns its root.
func receive(ts *testscript.TestScript, d *resume.PartDisk, path string, to int64) digest.Sum {
	img, err := raw.Open(path, raw.Options{})
	ts.Check(err)
	defer img.Close()
	tree := digest.NewTree(0)
	data := func(off int64, p []byte) error {
		addBlocks(tree, off, p)
		return d.Write(off, p)
	}
	ts.Check(walk(context.Background(), img, 0, to, data, func(_, _ int64) error { return nil }))
	tree.SkipTo(digest.Blocks(img.Size()))
	root, err := tree.Root(img.Size())
	ts.Check(err)
	return root
}

// corrupt VHDX OFFSET changes a byte of the content at a virtual offset.
func scriptCorrupt(ts *testscript.TestScript, _ bool, args []string) {
	path := ts.MkAbs(args[0])
	off, err := strconv.ParseInt(args[1], 10, 64)
	ts.Check(err)
	img, err := image.Open(path, image.Options{ParentDirs: []string{filepath.Join(filepath.Dir(path), "..")}})
	ts.Check(err)
	m, err := img.Map(off)
	ts.Check(err)
	ts.Check(img.Close())
	if m.Kind != diskio.Data {
		ts.Fatalf("offset %d is a %v", off, m.Kind)
	}
	ts.Check(os.Chmod(path, 0o600))
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	ts.Check(err)
	defer f.Close()
	at := m.FileOffset + off - m.Start
	b := make([]byte, 1)
	_, err = f.ReadAt(b, at)
	ts.Check(err)
	_, err = f.WriteAt([]byte{^b[0]}, at)
	ts.Check(err)
}

// mode FILE OCTAL checks a file's permissions.
func scriptMode(ts *testscript.TestScript, _ bool, args []string) {
	info, err := os.Stat(ts.MkAbs(args[0]))
	ts.Check(err)
	if got := fmt.Sprintf("%o", info.Mode().Perm()); got != args[1] {
		ts.Fatalf("%s has mode %s, want %s", args[0], got, args[1])
	}
}

// size FILE BYTES checks a file's size.
func scriptSize(ts *testscript.TestScript, _ bool, args []string) {
	if got := strconv.Itoa(len(ts.ReadFile(args[0]))); got != args[1] {
		ts.Fatalf("%s has %s bytes, want %s", args[0], got, args[1])
	}
}

// append FILE MORE appends a file to another.
func scriptAppend(ts *testscript.TestScript, _ bool, args []string) {
	both := ts.ReadFile(args[0]) + ts.ReadFile(args[1])
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(both), 0o644))
}

// exits CODE COMMAND… runs a command that fails with that exit code.
func scriptExits(ts *testscript.TestScript, _ bool, args []string) {
	err := ts.Exec(args[1], args[2:]...)
	var ended *exec.ExitError
	if !errors.As(err, &ended) || strconv.Itoa(ended.ExitCode()) != args[0] {
		ts.Fatalf("%s: %v, want exit code %s", strings.Join(args[1:], " "), err, args[0])
	}
}

// samedigest JSON SUM compares a digest document with what sha256sum printed.
func scriptSameDigest(ts *testscript.TestScript, _ bool, args []string) {
	var doc digestDocument
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[0])), &doc))
	if want, _, _ := strings.Cut(ts.ReadFile(args[1]), " "); doc.SHA256 != want {
		ts.Fatalf("got %s, want %s", doc.SHA256, want)
	}
}

// documents makes an empty document for each schema.
var documents = map[string]func() any{
	// Its durations are written as numbers, and configs reads them as text.
	configSchema:           func() any { return new(map[string]any) },
	versionSchema:          func() any { return new(versionDocument) },
	initSchema:             func() any { return new(initDocument) },
	configCheckSchema:      func() any { return new(configCheckDocument) },
	infoSchema:             func() any { return new(infoDocument) },
	digestSchema:           func() any { return new(digestDocument) },
	convertSchema:          func() any { return new(convertDocument) },
	diskCheckSchema:        func() any { return new(diskCheckDocument) },
	replicate.PointsSchema: func() any { return new(replicate.Points) },
	verifySchema:           func() any { return new(verifyDocument) },
	exportSchema:           func() any { return new(exportDocument) },
	replicate.PruneSchema:  func() any { return new(pruneDocument) },
	replicate.TestedSchema: func() any { return new(replicate.TestedReport) },
	seedExportSchema:       func() any { return new(seedExportDocument) },
	seedImportSchema:       func() any { return new(seedImportDocument) },
	mapSchema: func() any {
		return new(struct {
			Schema      string      `json:"schema"`
			VirtualSize int64       `json:"virtual_size"`
			Extents     []mapExtent `json:"extents"`
			Error       *string     `json:"error"`
			Hint        string      `json:"hint"`
		})
	},
	pointSchema: func() any {
		return new(struct {
			Schema string       `json:"schema"`
			Point  resume.Point `json:"point"`
		})
	},
}

// json SCHEMA [KEY[.KEY…]=VALUE]… checks that stdout is one document of that
// schema and no more, without keys that it should not have, and its values. Null
// is written null, and elements of arrays are counted from 0. "! json" expects the
// document of a failure.
func scriptJSON(ts *testscript.TestScript, failed bool, args []string) {
	out := []byte(ts.ReadFile("stdout"))
	document := documents[args[0]]
	if document == nil {
		ts.Fatalf("no document has the schema %s", args[0])
	}
	into := document()
	if failed {
		into = new(failure)
	}
	dec := json.NewDecoder(bytes.NewReader(out))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		ts.Fatalf("not a document %s: %v in\n%s", args[0], err, out)
	}
	if _, err := dec.Token(); err != io.EOF {
		ts.Fatalf("more than one document:\n%s", out)
	}
	var value any
	ts.Check(json.Unmarshal(out, &value))
	for _, want := range slices.Concat([]string{"schema=" + args[0]}, args[1:]) {
		path, want, _ := strings.Cut(want, "=")
		if got := valueAt(ts, value, strings.Split(path, ".")); got != want {
			ts.Fatalf("%s is %s, want %s in\n%s", path, got, want, out)
		}
	}
}

func valueAt(ts *testscript.TestScript, value any, path []string) string {
	for _, key := range path {
		switch v := value.(type) {
		case map[string]any:
			value = v[key]
		case []any:
			if key == "length" {
				return strconv.Itoa(len(v))
			}
			n, err := strconv.Atoi(key)
			ts.Check(err)
			if n >= len(v) {
				ts.Fatalf("%s: there are %d elements", strings.Join(path, "."), len(v))
			}
			value = v[n]
		default:
			ts.Fatalf("%s leads nowhere", strings.Join(path, "."))
		}
	}
	switch v := value.(type) {
	case string:
		return v
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	text, err := json.Marshal(value)
	ts.Check(err)
	return string(text)
}
