package resume_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"
	"testing"

	"wanrep/diskio/durable"
	"wanrep/diskio/durable/crashfs"
	"wanrep/resume"
)

const chainPoints = "lyon/sql01/points/"

// chained returns a store with three points of one disk, each on the one before it.
func chained(t *testing.T) *crashfs.FS {
	t.Helper()
	fsys := crashfs.New()
	s := open(t, fsys)
	for _, picture := range []string{"ab", "ac", "dc"} {
		commit(t, s, newSnapshot("os", picture, 512))
	}
	must(t, s.Close())
	return fsys
}

// proof verifies all points and their chain, and returns what was found as
// "<point>: <what>".
func proof(fsys durable.FS, o resume.ChainOptions) (found []string) {
	note := func(p resume.VerifyProblem) {
		n := strings.TrimLeft(p.Point, "0")
		if p.Disk != "" {
			n += fmt.Sprintf(" [%d, %d)", p.Extent.Start, p.Extent.End())
		}
		found = append(found, n+": "+p.What)
	}
	s, err := resume.OpenReadOnly(fsys, resume.Config{Format: plain{}})
	if err == nil {
		err = resume.VerifyChain(s, "lyon", "sql01", o, note)
	}
	if err != nil {
		return append(found, err.Error())
	}
	points, err := s.List()
	if err != nil {
		return append(found, err.Error())
	}
	for _, p := range points {
		if err := resume.Verify(context.Background(), s, p, note); err != nil {
			return append(found, err.Error())
		}
	}
	return found
}

// rewrite replaces a file of a store with what change makes of it.
func rewrite(t *testing.T, fsys durable.FS, name string, change func(string) string) {
	t.Helper()
	must(t, durable.WriteFile(fsys, name, []byte(change(readAll(t, fsys, name))), 0o444))
}

// TestTamperingIsFound: whatever is changed in a store that somebody had in hand, it
// is found and named.
func TestTamperingIsFound(t *testing.T) {
	const first, second, third = "0000000000000001", "0000000000000002", "0000000000000003"
	manifest := func(point string) string { return chainPoints + point + "/manifest.json" }
	replace := func(point, old, new string) func(*testing.T, *crashfs.FS) {
		return func(t *testing.T, fsys *crashfs.FS) {
			rewrite(t, fsys, manifest(point), func(s string) string { return strings.Replace(s, old, new, 1) })
		}
	}
	// forge commits the same points with the key of somebody else.
	forge := func(t *testing.T) *crashfs.FS {
		fsys := crashfs.New()
		s, err := resume.Open(fsys, resume.Config{Format: plain{}, Signer: stranger})
		must(t, err)
		for _, picture := range []string{"ab", "xy", "dc"} {
			commit(t, s, newSnapshot("os", picture, 512))
		}
		must(t, s.Close())
		return fsys
	}
	signature := func(manifest string) string { return manifest[strings.Index(manifest, `"signature"`):] }
	tests := []struct {
		name   string
		tamper func(*testing.T, *crashfs.FS)
		want   []string
	}{
		{name: "nothing", tamper: func(*testing.T, *crashfs.FS) {}},
		{
			"a claim", replace(second, `"name": "os"`, `"name": "om"`),
			[]string{
				"2: manifest: its signature does not match",
				"3: manifest: point 0000000000000002, which came before it, claims something else now",
			},
		},
		{
			"how it is stored", replace(third, `"digests": 1`, `"digests": 2`),
			[]string{"3: manifest: its signature does not match", "3 [0, 66048): digests file: os.digests is damaged: 1 records are missing at its end"},
		},
		{"a space", replace(second, `{`, `{ `), []string{"2: lyon/sql01/points/0000000000000002/manifest.json is damaged: it is not as wanrep writes it"}},
		{"a field more", replace(second, `{`, `{"x": 1,`), []string{`2: lyon/sql01/points/0000000000000002/manifest.json is damaged: json: unknown field "x"`}},
		{"the schema", replace(second, `manifest/2`, `manifest/3`), []string{`lyon/sql01/points/0000000000000002/manifest.json has the schema "wanrep.manifest/3"`}},
		{
			"two manifests", func(t *testing.T, fsys *crashfs.FS) {
				one, other := readAll(t, fsys, manifest(second)), readAll(t, fsys, manifest(third))
				rewrite(t, fsys, manifest(second), func(string) string { return other })
				rewrite(t, fsys, manifest(third), func(string) string { return one })
			},
			[]string{
				"2: lyon/sql01/points/0000000000000002/manifest.json is damaged: it belongs to lyon/sql01/points/0000000000000003",
				"3: lyon/sql01/points/0000000000000003/manifest.json is damaged: it belongs to lyon/sql01/points/0000000000000002",
			},
		},
		{
			"a point taken out", func(t *testing.T, fsys *crashfs.FS) { must(t, fsys.RemoveAll(chainPoints+second)) },
			[]string{
				"3: manifest: point 0000000000000002, which came before it, is missing",
				"3 [0, 66048): content can't be read: ",
			},
		},
		{
			"another point in its place", func(t *testing.T, fsys *crashfs.FS) {
				other := forge(t)
				for _, name := range []string{"manifest.json", "os.img", "os.digests"} {
					content := readAll(t, other, chainPoints+second+"/"+name)
					rewrite(t, fsys, chainPoints+second+"/"+name, func(string) string { return content })
				}
			},
			[]string{
				"2: manifest: it is signed by another key",
				"2: manifest: point 0000000000000001, which came before it, claims something else now",
				"3: manifest: point 0000000000000002, which came before it, claims something else now",
			},
		},
		{
			"the signature of another key", func(t *testing.T, fsys *crashfs.FS) {
				other := signature(readAll(t, forge(t), manifest(second)))
				rewrite(t, fsys, manifest(second), func(s string) string { return strings.Replace(s, signature(s), other, 1) })
			},
			[]string{"2: manifest: it is signed by another key", "2: manifest: its signature does not match"},
		},
		{
			"no signature", func(t *testing.T, fsys *crashfs.FS) {
				rewrite(t, fsys, manifest(second), func(s string) string { return strings.Replace(s, signature(s), "\"signature\": null\n}\n", 1) })
			},
			[]string{"2: manifest: it is not signed, and a point before it is"},
		},
		{
			"digests cut short", func(t *testing.T, fsys *crashfs.FS) {
				rewrite(t, fsys, chainPoints+second+"/os.digests", func(s string) string { return s[:len(s)-1] })
			},
			[]string{"2 [0, 66048): digests file: os.digests is damaged: 1 records are missing at its end"},
		},
		{
			"a byte of the content", func(t *testing.T, fsys *crashfs.FS) {
				must(t, errors.Join(fsys.Chmod(chainPoints+first+"/os.img", 0o644), flip(fsys, chainPoints+first+"/os.img", plainHead+5, 1)))
			},
			[]string{"1 [0, 65536): content differs from its digest", "2 [0, 65536): content differs from its digest, in what base point 0000000000000001 has"},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			fsys := chained(t)
			test.tamper(t, fsys)
			got := proof(fsys, resume.ChainOptions{Trusted: resume.OneKey()})
			for _, want := range test.want {
				if !slices.ContainsFunc(got, func(s string) bool { return strings.HasPrefix(s, want) }) {
					t.Errorf("%q is not found", want)
				}
			}
			if len(test.want) == 0 && len(got) > 0 || t.Failed() {
				t.Errorf("found %q", got)
			}
		})
	}
}

// stranger is a key that no target has.
var stranger = ed25519.NewKeyFromSeed([]byte("a seed that has got thirty-two b"))

// TestEveryByteOfAManifestCounts flips a bit of each.
func TestEveryByteOfAManifestCounts(t *testing.T) {
	fsys := chained(t)
	name := path.Join(chainPoints, "0000000000000002/manifest.json")
	size := len(readAll(t, fsys, name))
	must(t, fsys.Chmod(name, 0o644))
	for at := range size {
		bit := byte(1) << (at % 8)
		must(t, flip(fsys, name, int64(at), bit))
		if got := proof(fsys, resume.ChainOptions{Trusted: resume.OneKey()}); len(got) == 0 {
			t.Errorf("bit %d of byte %d of %d can be flipped", bit, at, size)
		}
		must(t, flip(fsys, name, int64(at), bit))
	}
}

// TestChainWithoutSignatures: stores from before, and those without an identity, have
// a chain too.
func TestChainWithoutSignatures(t *testing.T) {
	fsys := crashfs.New()
	s, err := resume.Open(fsys, resume.Config{Format: plain{}})
	must(t, err)
	commit(t, s, newSnapshot("os", "ab", 512))
	commit(t, s, newSnapshot("os", "ac", 512))
	must(t, s.Close())
	if got := proof(fsys, resume.ChainOptions{}); len(got) > 0 {
		t.Errorf("found %q", got)
	}
	if got := proof(fsys, resume.ChainOptions{Signed: true}); len(got) != 2 || got[0] != "1: manifest: it is not signed" {
		t.Errorf("found %q", got)
	}
	// An identity that comes later signs what is committed from then on.
	s = open(t, fsys)
	commit(t, s, newSnapshot("os", "dc", 512))
	must(t, s.Close())
	if got := proof(fsys, resume.ChainOptions{Trusted: resume.OneKey()}); len(got) > 0 {
		t.Errorf("found %q", got)
	}
	must(t, fsys.RemoveAll(chainPoints+"0000000000000002"))
	if got := proof(fsys, resume.ChainOptions{}); len(got) == 0 || !strings.HasSuffix(got[0], "point 0000000000000002, which came before it, is missing") {
		t.Errorf("found %q", got)
	}
}

// TestFirstSchemaInAChain: a point that was committed before there was a chain is tied
// to it by the next one.
func TestFirstSchemaInAChain(t *testing.T) {
	old, err := os.ReadFile("testdata/manifest1.json")
	must(t, err)
	fsys := crashfs.New()
	commit(t, open(t, fsys), newSnapshot("os", "ab", 512))
	fsys = fsys.Crash(0)
	name := path.Join(chainPoints, "0000000000000001/manifest.json")
	rewrite(t, fsys, name, func(string) string {
		return strings.Replace(string(old), "67452301-ab89-efcd-0001-020304050607", "0000076f-0000-0000-0000-000000000000", 1)
	})
	s := open(t, fsys)
	commit(t, s, newSnapshot("os", "ac", 512))
	must(t, s.Close())
	if got := proof(fsys, resume.ChainOptions{Trusted: resume.OneKey()}); len(got) > 0 {
		t.Errorf("found %q", got)
	}
	rewrite(t, fsys, name, func(s string) string { return strings.Replace(s, "wanrep v1", "wanrep v0", 1) })
	if got := proof(fsys, resume.ChainOptions{}); len(got) != 1 || !strings.HasSuffix(got[0], "claims something else now") {
		t.Errorf("found %q", got)
	}
}

// TestPointThatIsNotInTheChain: one that was damaged when the next was committed, and is
// whole again, is in no chain.
func TestPointThatIsNotInTheChain(t *testing.T) {
	fsys := crashfs.New()
	pictures := []string{"ab", "ac", "dc", "de"}
	for n, picture := range pictures {
		s := open(t, fsys)
		name := fmt.Sprintf("%s%016x/manifest.json", chainPoints, n)
		lost := ""
		if n == 1 || n == 3 {
			lost = readAll(t, fsys, name)
			must(t, fsys.Remove(name))
		}
		commit(t, s, newSnapshot("os", picture, 512))
		must(t, s.Close())
		if lost != "" {
			must(t, durable.WriteFile(fsys, name, []byte(lost), 0o444))
		}
	}
	want := []string{
		"1: manifest: point 0000000000000002, which follows it, is the first of its chain",
		"3: manifest: point 0000000000000004, which follows it, came after point 0000000000000002",
	}
	if got := proof(fsys, resume.ChainOptions{Trusted: resume.OneKey()}); !slices.Equal(got, want) {
		t.Errorf("found %q, want %q", got, want)
	}
}
