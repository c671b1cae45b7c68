package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"wanrep/diskio/image"
)

// runDemo runs the command with its temporary folder in an empty directory, and
// checks that it leaves nothing behind.
func runDemo(t *testing.T, ctx context.Context, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("TMPDIR has another name on Windows")
	}
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	// The first use of signals starts a goroutine that stays.
	_, stop := signal.NotifyContext(ctx, syscall.SIGHUP)
	stop()
	before := runtime.NumGoroutine()
	var out, messages bytes.Buffer
	cmd := newDemoCommand()
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetArgs(args)
	cmd.SetOut(&out)
	cmd.SetErr(&messages)
	err = cmd.ExecuteContext(ctx)
	left, readErr := os.ReadDir(tmp)
	if readErr != nil || len(left) > 0 {
		t.Errorf("the demo left %v behind (%v)", left, readErr)
	}
	for range 100 {
		if runtime.NumGoroutine() <= before {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if after := runtime.NumGoroutine(); after > before {
		t.Errorf("%d goroutines before the demo, %d after", before, after)
	}
	return out.String(), messages.String(), err
}

// TestDemo is the whole of it: two appliances, QUIC, a lossy line, a migration, a
// blackout and a replica that is compared.
func TestDemo(t *testing.T) {
	out, messages, err := runDemo(t, t.Context(), "--json", "--size", "32MiB")
	if err != nil {
		t.Fatalf("%v\n%s%s", err, messages, out)
	}
	var doc demoDocument
	if err := json.Unmarshal([]byte(out), &doc); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	if doc.Schema != "wanrep.demo/1" || !doc.Verified || doc.Error != nil {
		t.Errorf("schema %q, verified %v, error %v", doc.Schema, doc.Verified, doc.Error)
	}
	if doc.Link.Migrations == 0 || doc.Link.Reattaches == 0 || doc.Link.LongestStall == 0 {
		t.Errorf("link %+v, want a migration, a reattach and a stall", doc.Link)
	}
	var steps []string
	for _, s := range doc.Steps {
		steps = append(steps, s.Step)
		if !s.OK || !strings.Contains(messages, "✓ "+s.Text) {
			t.Errorf("step %+v is not told on stderr as done", s)
		}
	}
	if got, want := strings.Join(steps, " "), "disks pair migrate resume offsets commit verify"; got != want {
		t.Errorf("steps %q, want %q", got, want)
	}
	if len(doc.Disks) != 2 || doc.Disks[0].Format != "vhdx" || doc.Disks[1].Format != "vhd" {
		t.Fatalf("disks %+v, want a VHDX and a VHD", doc.Disks)
	}
	for _, d := range doc.Disks {
		if d.VirtualSize != 16<<20 || d.Root == "" || d.SHA256 == "" || d.Data == 0 || d.Wire >= d.Data {
			t.Errorf("disk %+v", d)
		}
	}
}

func TestDemoIsInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	time.AfterFunc(time.Second, cancel)
	_, _, err := runDemo(t, ctx, "--plain", "--size", "32MiB")
	if !errors.Is(err, context.Canceled) {
		t.Errorf("an interrupted demo returned %v", err)
	}
}

func TestDemoWithTooLittleToSend(t *testing.T) {
	path := filepath.Join(t.TempDir(), "small.raw")
	if err := os.WriteFile(path, []byte(strings.Repeat("x", 1<<20)), 0o600); err != nil {
		t.Fatal(err)
	}
	out, messages, err := runDemo(t, t.Context(), "--json", "--disk", path)
	if err == nil || !strings.Contains(out, `"verified":false`) || !strings.Contains(out, "the run ended before") {
		t.Errorf("a demo that could not show everything returned %v and printed %s%s", err, messages, out)
	}
}

func TestDemoRefusesSizes(t *testing.T) {
	for _, size := range []string{"64", "1MiB", "-1GiB"} {
		_, _, err := runDemo(t, t.Context(), "--size", size)
		if known, ok := errors.AsType[*cliError](err); !ok || known.code != exitUsage {
			t.Errorf("--size %s: %v, want a usage error", size, err)
		}
	}
}

// TestDemoDisks: what is made is what the names say, and has holes.
func TestDemoDisks(t *testing.T) {
	disks, err := makeDemoDisks(t.Context(), t.TempDir(), 40<<20)
	if err != nil {
		t.Fatal(err)
	}
	var size int64
	for _, d := range disks {
		img, err := image.Open(d.Path, image.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer img.Close()
		size += img.Size()
		if info := img.Info(); info.Subformat != "dynamic" {
			t.Errorf("disk %s is %s %s", d.Name, info.Subformat, info.Format)
		}
		text := make([]byte, demoRunBytes)
		if _, err := img.ReadAt(text, 0); err != nil || !bytes.Contains(text, []byte("sql01")) {
			t.Errorf("disk %s begins with %q (%v)", d.Name, text[:40], err)
		}
	}
	if size != 40<<20 {
		t.Errorf("the disks have %d bytes together, want %d", size, 40<<20)
	}
}
