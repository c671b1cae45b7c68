package resume

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"wanrep/diskio/digest"
	"wanrep/diskio/durable"
	"wanrep/diskio/durable/crashfs"
)

// TestFirstSchemaIsRead: it has no signature, and the next point is tied to it.
func TestFirstSchemaIsRead(t *testing.T) {
	b, err := os.ReadFile("testdata/manifest1.json")
	if err != nil {
		t.Fatal(err)
	}
	m, err := decodeManifest("manifest.json", b)
	if err != nil {
		t.Fatal(err)
	}
	if m.Source != "lyon" || m.Disks[0].Stored != 70144 || m.Signature != nil || m.Previous != nil {
		t.Errorf("reads %+v", m)
	}
	before, err := m.claimsDigest()
	if err != nil {
		t.Fatal(err)
	}
	s := &Store{cfg: Config{Signer: testKey(1)}}
	if err := s.sign(&m); err != nil {
		t.Fatal(err)
	}
	again, err := m.encode()
	if err != nil {
		t.Fatal(err)
	}
	m, err = decodeManifest("manifest.json", again)
	if err != nil {
		t.Fatal(err)
	}
	after, err := m.claimsDigest()
	if err != nil || after != before || m.checkSignature() != nil {
		t.Errorf("written again it claims %v, before %v: %v, %v", after, before, err, m.checkSignature())
	}
}

func testKey(n byte) ed25519.PrivateKey {
	seed := make([]byte, ed25519.SeedSize)
	seed[0] = n
	return ed25519.NewKeyFromSeed(seed)
}

func exampleManifest() Manifest {
	return Manifest{
		Source: "lyon", VM: "sql01", Point: "0000000000000007",
		Begun: time.Unix(1, 0).UTC(), Committed: time.Unix(2, 0).UTC(), Software: "wanrep",
		Disks: []ManifestDisk{{Name: "os", File: "os.vhdx", DigestsFile: "os.digests", VirtualSize: 65536, Digests: 1, Root: digest.Sum{1}}},
	}
}

// TestManifestIsReplacedOnlyByItsEqual: what is stored may change, what is claimed
// not, and nobody takes a signature away or confirms what was tampered with.
func TestManifestIsReplacedOnlyByItsEqual(t *testing.T) {
	const dir = "lyon/sql01/points/0000000000000007"
	tests := []struct {
		name   string
		signer crypto.Signer
		tamper func(string) string
		change func(*Manifest)
		want   string // in the error
	}{
		{name: "another file", signer: testKey(1), change: func(m *Manifest) { m.Disks[0].Stored++ }},
		{name: "by another identity", signer: testKey(2), change: func(m *Manifest) { m.Previous = &Previous{Point: "0000000000000003"} }},
		{name: "another root", signer: testKey(1), change: func(m *Manifest) { m.Disks[0].Root[3]++ }, want: "what a point claims can't be changed"},
		{name: "without a signer", change: func(m *Manifest) { m.Disks[0].Stored++ }, want: "is signed, and there is no identity here"},
		{
			name: "what was tampered with", signer: testKey(1), change: func(m *Manifest) {},
			tamper: func(s string) string { return strings.Replace(s, `"digests": 1`, `"digests": 0`, 1) },
			want:   "is damaged: its signature does not match",
		},
		{
			name: "what can't be read", signer: testKey(1), change: func(m *Manifest) {},
			tamper: func(s string) string { return strings.Replace(s, `{`, `{ `, 1) }, want: "it is not as wanrep writes it",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			fsys := crashfs.New()
			first := &Store{fsys: fsys, cfg: Config{Signer: testKey(1)}}
			if err := first.ensureDir(dir); err != nil {
				t.Fatal(err)
			}
			m := exampleManifest()
			if err := first.writeManifest(dir, &m); err != nil {
				t.Fatal(err)
			}
			if test.tamper != nil {
				b, err := m.encode()
				if err != nil {
					t.Fatal(err)
				}
				if err := durable.WriteFile(fsys, dir+"/manifest.json", []byte(test.tamper(string(b))), filePerm); err != nil {
					t.Fatal(err)
				}
			}
			then := m
			then.Disks = append([]ManifestDisk(nil), m.Disks...)
			test.change(&then)
			err := (&Store{fsys: fsys, cfg: Config{Signer: test.signer}}).writeManifest(dir, &then)
			if test.want != "" {
				if err == nil || !strings.Contains(err.Error(), test.want) {
					t.Fatalf("got %v, want %q", err, test.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			got, err := readManifest(fsys, dir)
			if err != nil || got.checkSignature() != nil || !got.Signature.Key.Equal(test.signer.Public()) {
				t.Errorf("reads %+v: %v, %v", got, err, got.checkSignature())
			}
		})
	}
}

func TestSignerIsOfEd25519(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	fsys := crashfs.New()
	if _, err := Open(fsys, Config{Signer: key}); err == nil || !strings.Contains(err.Error(), "Ed25519") {
		t.Errorf("got %v", err)
	}
	s, err := Open(fsys, Config{}) // the lock is free
	if err := errors.Join(err, s.Close()); err != nil {
		t.Fatal(err)
	}
}
