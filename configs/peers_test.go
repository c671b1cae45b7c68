package configs

import (
	"math/rand/v2"
	"strings"
	"testing"
)

var paris = Peer{"dr-paris", []string{"dr.example.net:7443", "192.0.2.1:7443"}, pin}

func TestWithPeer(t *testing.T) {
	head := "role = \"source\"\nname = \"a\"\n"
	block := "\n[[peer]]\nname = \"dr-paris\"\naddresses = [\"dr.example.net:7443\", \"192.0.2.1:7443\"]\npin = \"" + pin + "\"\n"
	tests := []struct{ name, text, want string }{
		{"appended", head + "# end\n", head + "# end\n" + block},
		{"no line end", head + "# end", head + "# end\n" + block},
		{"line ends of Windows", strings.ReplaceAll(head, "\n", "\r\n"), strings.ReplaceAll(head+block, "\n", "\r\n")},
		{"replaced", head + "\n[[peer]] # old\nname = \"dr-paris\"\naddresses = [\n  \"x:1\",\n] # old\n\n# the link\n[link]\n",
			head + "\n# the link\n[link]\n" + block},
		{"beside another", head + "[[peer]]\nname = \"x\"\naddresses = [\"x:1\"]\n",
			head + "[[peer]]\nname = \"x\"\naddresses = [\"x:1\"]\n" + block},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := WithPeer("w.toml", []byte(tt.text), paris)
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != tt.want {
				t.Errorf("got\n%s\nwant\n%s", got, tt.want)
			}
		})
	}
}

func TestPeerEditsUndoEachOther(t *testing.T) {
	pieces := []string{"\n", "# comment\n", "[link]\nkeepalive = \"1s\" # quick\n", "[[uplink]]\nname = \"u\"\n",
		"[[peer]]\nname = \"x\"\naddresses = [\"x:1\"]\n", "[[vm]]\nname = \"v\"\ndisks = [\n {name = \"a#[[peer]]\", path = '''\n[[peer]]'''},\n]\n"}
	random := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		var text strings.Builder
		text.WriteString("role = \"source\"\nname = \"a\"\n")
		for _, i := range random.Perm(len(pieces))[:random.IntN(len(pieces)+1)] {
			text.WriteString(pieces[i])
		}
		with, err := WithPeer("w.toml", []byte(text.String()), paris)
		if err != nil {
			t.Fatalf("%v in\n%s", err, text.String())
		}
		without, found, err := WithoutPeer("w.toml", with, paris.Name)
		if err != nil || !found || string(without) != text.String() {
			t.Fatalf("found %v, error %v, got\n%s\nwant\n%s", found, err, without, text.String())
		}
	}
}

func TestWithoutPeer(t *testing.T) {
	text := []byte("role = \"source\"\nname = \"a\"\n")
	got, found, err := WithoutPeer("w.toml", text, "none")
	if err != nil || found || string(got) != string(text) {
		t.Errorf("got %q, %v, %v", got, found, err)
	}
	inline := []byte("role = \"source\"\nname = \"a\"\npeer = [{ name = \"x\", addresses = [\"x:1\"] }]\n")
	if _, _, err := WithoutPeer("w.toml", inline, "x"); err == nil || !strings.Contains(err.Error(), "must be [[peer]] tables") {
		t.Errorf("got %v", err)
	}
	if _, err := WithPeer("w.toml", inline, paris); err == nil || !strings.Contains(err.Error(), "must be [[peer]] tables") {
		t.Errorf("got %v", err)
	}
}
