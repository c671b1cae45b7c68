package configs

import (
	"strings"
	"testing"
)

func TestTemplate(t *testing.T) {
	text, err := Template(RoleTarget, `dr "paris"`, "/w/state", `C:\store`, "127.0.0.1:0", "/w/s.sock")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		`role = "target"`, `name = "dr \"paris\""`, `state_dir = "/w/state"`,
		"[control]", `socket = "/w/s.sock"`, "[listen]", `address = "127.0.0.1:0"`, "[store]", `path = 'C:\store'`,
	}
	var got []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			got = append(got, line)
		}
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("uncommented are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	c, err := Parse("/w/wanrep.toml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if c.Name != `dr "paris"` || c.Listen.Address != "127.0.0.1:0" || c.Control.Socket != "/w/s.sock" {
		t.Errorf("got %+v", c)
	}
}

// A script may append any table that the appliance was not told.
func TestTemplateTakesAppendedTables(t *testing.T) {
	text, err := Template(RoleSource, "branch", "/w/state", "", "", "/w/s.sock")
	if err != nil {
		t.Fatal(err)
	}
	text += "\n[link]\nkeepalive = \"1s\"\n[reattach]\nredial_every = \"1s\"\n[metrics]\nlisten = \"\"\n" +
		"[[peer]]\nname = \"p\"\naddresses = [\"h:1\"]\n[[vm]]\nname = \"v\"\ndisks = [{ name = \"d\", path = \"/d\" }]\n" +
		"[[job]]\nname = \"j\"\npeer = \"p\"\nvms = [\"v\"]\n[[uplink]]\nname = \"u\"\n"
	c, err := Parse("/w/wanrep.toml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Peers) != 1 || len(c.VMs) != 1 || len(c.Jobs) != 1 || len(c.Uplinks) != 1 {
		t.Errorf("got %+v", c)
	}
}

func TestTemplateRefuses(t *testing.T) {
	if _, err := Template("both", "n", "", "", "", ""); err == nil {
		t.Error("a role that is none")
	}
	if _, err := Template(RoleSource, "n", "", "/store", "", ""); err == nil {
		t.Error("a source with a store")
	}
}
