package quicx

import (
	"crypto"
	"crypto/ed25519"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

func TestIdentityIsKept(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	made, err := CreateIdentity(dir, "branch-lyon")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := CreateIdentity(dir, "branch-lyon"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a second identity: %v, want fs.ErrExist", err)
	}
	got, err := LoadIdentity(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got.Pin() != made.Pin() || got.Name != "branch-lyon" {
		t.Errorf("got %s %s, want %s", got.Name, got.Pin(), made.Pin())
	}
	if p, err := ParsePin(made.Pin()); err != nil || p != made.pin {
		t.Errorf("ParsePin(%q): %v, %v", made.Pin(), p, err)
	}
	if runtime.GOOS == "windows" {
		return
	}
	path := filepath.Join(dir, identityFile)
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode: %v, %v", info.Mode(), err)
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadIdentity(dir); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a key that others may read: %v", err)
	}
}

func TestNamesThatCannotBeShown(t *testing.T) {
	for _, name := range []string{"", " x", "x ", "a\nb", "a\x1b[2J", "a\u202eb", "\xff", strings.Repeat("x", 65)} {
		if _, err := CreateIdentity(t.TempDir(), name); err == nil {
			t.Errorf("%q was taken", name)
		}
	}
	if _, err := CreateIdentity(t.TempDir(), "Zweigstelle Köln 2"); err != nil {
		t.Error(err)
	}
}

func TestBadPins(t *testing.T) {
	good := testIdentity(t, "x").Pin()
	for _, s := range []string{"", "sha256:", strings.TrimPrefix(good, "sha256:"), good + "A", good[:len(good)-1], "sha512:" + good[7:]} {
		if _, err := ParsePin(s); err == nil {
			t.Errorf("%q was taken", s)
		}
	}
}

// TestIdentitySigns: what it signs can be proved with the key, whose pin is the
// identity's.
func TestIdentitySigns(t *testing.T) {
	id, err := CreateIdentity(t.TempDir(), "paris")
	if err != nil {
		t.Fatal(err)
	}
	message := []byte("wanrep test: nothing")
	value, err := id.Signer().Sign(nil, message, crypto.Hash(0))
	if err != nil {
		t.Fatal(err)
	}
	key := id.Signer().Public().(ed25519.PublicKey)
	if !ed25519.Verify(key, message, value) {
		t.Error("the signature does not match")
	}
	if pin, err := PinOf(key); err != nil || pin.String() != id.Pin() {
		t.Errorf("the key's pin is %v, the identity's %s: %v", pin, id.Pin(), err)
	}
}
