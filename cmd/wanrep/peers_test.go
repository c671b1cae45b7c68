package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"wanrep/configs"
	"wanrep/replicate/control"
)

const testPin = "sha256:47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"

func TestPeerBook(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "real.toml")
	text := "role = \"target\" # the DR site\nname = \"paris\"\n[store]\npath = \"store\"\n"
	if err := os.WriteFile(file, []byte(text), 0o640); err != nil {
		t.Fatal(err)
	}
	// The config may be a link into a directory that an administrator keeps.
	named := filepath.Join(dir, "wanrep.toml")
	if err := os.Symlink(file, named); err != nil {
		t.Skip(err)
	}
	b := &peerBook{file: named}
	if _, err := b.find("lyon"); errorCode(err) != codeNotPaired {
		t.Errorf("find before: %v, want code %q", err, codeNotPaired)
	}
	if err := b.add(configs.Peer{Name: "lyon", Pin: testPin}); err != nil {
		t.Fatal(err)
	}
	if p, err := b.find("lyon"); err != nil || p.Pin != testPin {
		t.Errorf("find = %+v, %v", p, err)
	}
	if info, err := os.Lstat(named); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link was replaced: %v, %v", info.Mode(), err)
	}
	if info, err := os.Stat(file); runtime.GOOS != "windows" && (err != nil || info.Mode().Perm() != 0o640) {
		t.Errorf("mode = %v, %v; want 0640", info.Mode(), err)
	}
	if err := b.remove("lyon"); err != nil {
		t.Fatal(err)
	}
	if err := b.remove("lyon"); errorCode(err) != control.NotFound {
		t.Errorf("remove again: %v, want code %q", err, control.NotFound)
	}
	if got, err := os.ReadFile(file); err != nil || strings.TrimSpace(string(got)) != strings.TrimSpace(text) {
		t.Errorf("what was there before changed: %q, %v", got, err)
	}
}

func errorCode(err error) string {
	e, _ := errors.AsType[*control.Error](err)
	if e == nil {
		return ""
	}
	return e.Code
}

func TestPairing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		offer := func(code string) control.Offer {
			return control.Offer{Code: code, Expires: time.Now().Add(10 * time.Minute)}
		}
		ctx := t.Context()
		var p pairing
		first := offer("1")
		if _, err := p.wait(ctx, first); err == nil {
			t.Error("wait for a code that was never made succeeds")
		}
		p.joined(control.Peer{Name: "nobody asked"})

		p.offered(first)
		p.joined(control.Peer{Name: "lyon"})
		if by, err := p.wait(ctx, first); err != nil || by.Name != "lyon" {
			t.Errorf("used before anybody waited: %+v, %v", by, err)
		}
		if p.withdraw(first) {
			t.Error("a used offer can be withdrawn")
		}

		second := offer("2")
		p.offered(second)
		go func() {
			time.Sleep(time.Minute)
			p.offered(offer("3"))
		}()
		if _, err := p.wait(ctx, second); err == nil || !strings.Contains(err.Error(), "newer") {
			t.Errorf("voided by a newer code: %v", err)
		}

		fourth := offer("4")
		p.offered(fourth)
		began := time.Now()
		if _, err := p.wait(ctx, fourth); err == nil || time.Since(began) != 10*time.Minute {
			t.Errorf("after %v: %v; want an error when the code expires", time.Since(began), err)
		}

		fifth := offer("5")
		p.offered(fifth)
		ctx, cancel := context.WithCancel(ctx)
		cancel()
		if _, err := p.wait(ctx, fifth); !errors.Is(err, context.Canceled) {
			t.Errorf("interrupted: %v", err)
		}
		if !p.withdraw(fifth) || p.withdraw(fifth) {
			t.Error("an offer must be withdrawn once")
		}
	})
}

func TestBound(t *testing.T) {
	if err := bound("127.0.0.1"); err != nil {
		t.Errorf("127.0.0.1: %v", err)
	}
	for _, bind := range []string{"192.0.2.10", "no-such-interface"} {
		if bound(bind) == nil {
			t.Errorf("%s is said to be there", bind)
		}
	}
}
