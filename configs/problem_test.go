package configs

import (
	"errors"
	"strings"
	"testing"
)

// base is a good source; the tests append to it. Its last line is the 11th.
const base = `role = "source"
name = "branch-lyon"
[[peer]]
name = "dr-paris"
addresses = ["dr.example.net:7443"]
[[vm]]
name = "sql01"
disks = [{ name = "os", path = "os.vhdx" }]
[[vm]]
name = "web01"
disks = [{ name = "os", path = "web.vhdx" }]
`

func TestProblems(t *testing.T) {
	tests := []struct {
		name string
		text string
		want string // each problem as printed
	}{
		{"unknown key", base + "[link]\n\tkeepalife = \"5s\"\n",
			"w.toml:13: unknown key \"keepalife\" in [link]\n" +
				"     13 |  keepalife = \"5s\"\n" +
				"           ^^^^^^^^^\n" +
				"   did you mean \"keepalive\"?"},
		{"unknown key of a named table", base + "[[job]]\nname = \"nightly\"\npeer = \"dr-paris\"\nvms = [\"sql01\"]\nretry = 3\n",
			"w.toml:16: unknown key \"retry\" in [[job]] \"nightly\"\n     16 | retry = 3\n          ^^^^^\n   did you mean \"retries\"?"},
		{"unknown key in an inline table", strings.Replace(base, "path = \"web", "file = \"web", 1),
			"w.toml:11: disk \"os\" has no path\n     11 | disks = [{ name = \"os\", file = \"web.vhdx\" }]\n                   ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^\n" +
				"w.toml:11: unknown key \"file\" in [[vm]] \"web01\"\n     11 | disks = [{ name = \"os\", file = \"web.vhdx\" }]\n                                  ^^^^"},
		{"key of another table", "redial_every = \"1s\"\n" + base,
			"w.toml:1: unknown key \"redial_every\" at the top of the file\n      1 | redial_every = \"1s\"\n          ^^^^^^^^^^^^\n   \"redial_every\" belongs under [reattach]"},
		{"unknown table", base + "[reatach]\n",
			"w.toml:12: unknown key \"reatach\" at the top of the file\n     12 | [reatach]\n          ^^^^^^^^^\n   did you mean \"reattach\"?"},
		{"bare duration", base + "reattach.redial_every = 15\n",
			"w.toml:12: unknown key \"reattach\" in [[vm]] \"web01\"\n     12 | reattach.redial_every = 15\n          ^^^^^^^^^^^^^^^^^^^^^\n   [reattach] is a table of its own"},
		{"bare duration in its table", base + "[reattach]\nredial_every = 15\n",
			"w.toml:13: redial_every = 15 has no unit\n     13 | redial_every = 15\n          ^^^^^^^^^^^^\n   write \"15s\""},
		{"all at once, in the file's order", base + "[link]\nkeepalive = true\nidle_timeout = \"90\"\n[[peer]]\nname = \"dr-paris\"\naddresses = [\"dr\", \":7443\", \"x:0\"]\npin = \"sha256:abc\"\n",
			"w.toml:13: keepalive must be a string in quotes, not true or false\n     13 | keepalive = true\n          ^^^^^^^^^\n" +
				"w.toml:14: idle_timeout: \"90\" has no unit; write \"90s\"\n     14 | idle_timeout = \"90\"\n          ^^^^^^^^^^^^\n" +
				"w.toml:16: there are two with the name \"dr-paris\"\n     16 | name = \"dr-paris\"\n          ^^^^\n" +
				"w.toml:17: \"dr\" is not an address with a port\n     17 | addresses = [\"dr\", \":7443\", \"x:0\"]\n                       ^^^^\n   write \"dr:7443\"\n" +
				"w.toml:17: \":7443\" has no host\n     17 | addresses = [\"dr\", \":7443\", \"x:0\"]\n                             ^^^^^^^\n" +
				"w.toml:17: \"x:0\" has no port within 1 to 65535\n     17 | addresses = [\"dr\", \":7443\", \"x:0\"]\n                                      ^^^^^\n" +
				"w.toml:18: the pin is not \"sha256:\" and 43 letters, digits, - or _\n     18 | pin = \"sha256:abc\"\n          ^^^\n   \"wanrep pair join\" writes it"},
		{"job for a VM that is not there", base + "[[job]]\nname = \"j\"\npeer = \"dr-paris\"\nvms = [\"sql1\", \"web01\", \"web01\"]\n",
			"w.toml:15: there is no [[vm]] with the name \"sql1\"\n     15 | vms = [\"sql1\", \"web01\", \"web01\"]\n                 ^^^^^^\n   did you mean \"sql01\"?\n" +
				"w.toml:15: the job has \"web01\" twice\n     15 | vms = [\"sql1\", \"web01\", \"web01\"]\n                                  ^^^^^^^"},
		{"schedule", base + "[[job]]\nname = \"j\"\npeer = \"dr-paris\"\nvms = [\"sql01\"]\nschedule = \"hourly\"\n",
			"w.toml:16: \"hourly\" is not a schedule\n     16 | schedule = \"hourly\"\n          ^^^^^^^^\n   write \"every 1h\" (at least 1m), \"daily 22:00\", \"continuous\" or \"manual\""},
		{"empty file", "", "w.toml: the appliance has no role\n   write role = \"source\" or role = \"target\"\n" +
			"w.toml: the appliance has no name\n   write name = \"branch-lyon\""},
		{"role", "role = \"sourec\"\nname = \"a\"\n",
			"w.toml:1: role \"sourec\" is neither \"source\" nor \"target\"\n      1 | role = \"sourec\"\n          ^^^^\n   did you mean \"source\"?"},
		{"other role's table", base + "[listen]\naddress = \":7443\"\n",
			"w.toml:12: \"listen\" is for a target, and this appliance is a source\n     12 | [listen]\n          ^^^^^^^^"},
		{"target without store", "role = \"target\"\nname = \"a\"\n[[uplink]]\nname = \"u\"\n",
			"w.toml: a target needs a store\n   write path = \"/srv/wanrep\" under [store]\n" +
				"w.toml:3: \"uplink\" is for a source, and this appliance is a target\n      3 | [[uplink]]\n          ^^^^^^^^^^"},
		{"metrics", base + "[metrics]\nlisten = \"9743\"\n",
			"w.toml:13: \"9743\" is not an address with a port\n     13 | listen = \"9743\"\n          ^^^^^^\n   write \":9743\""},
		{"rates", base + "[[uplink]]\nname = \"lte\"\nmax_rate = 5\nmetered = \"yes\"\n[[uplink]]\nname = \"dsl\"\nmax_rate = \"1kbit\"\n[link]\nmax_rate = \"0Mbit\"\nreturn_after = \"0s\"\n",
			"w.toml:14: max_rate = 5 has no unit\n     14 | max_rate = 5\n          ^^^^^^^^\n   write \"5Mbit\" (bits) or \"5MiB\" (bytes)\n" +
				"w.toml:15: metered must be true or false, not a string\n     15 | metered = \"yes\"\n          ^^^^^^^\n" +
				"w.toml:18: max_rate is 1kbit; below 64kbit a block takes so long that the link would seem dead\n     18 | max_rate = \"1kbit\"\n          ^^^^^^^^\n" +
				"w.toml:20: max_rate: a rate of \"0Mbit\" would stop everything; \"off\" means no limit\n     20 | max_rate = \"0Mbit\"\n          ^^^^^^^^\n" +
				"w.toml:21: return_after must be more than 0s\n     21 | return_after = \"0s\"\n          ^^^^^^^^^^^^"},
		{"a source's settings at a target", "role = \"target\"\nname = \"a\"\nstore.path = \"/s\"\n[link]\nmax_rate = \"20Mbit\"\nreturn_after = \"30s\"\n",
			"w.toml:5: a target sends no data that could be limited\n      5 | max_rate = \"20Mbit\"\n          ^^^^^^^^\n   limit it at the source\n" +
				"w.toml:6: return_after is for a source, and this appliance is a target\n      6 | return_after = \"30s\"\n          ^^^^^^^^^^^^"},
		{"rpo", base + "[[job]]\nname = \"j\"\npeer = \"p\"\nvms = [\"sql01\"]\nrpo = \"30s\"\n",
			"w.toml:16: rpo is 30s; a point that is seconds old cannot be promised, write 1m or more\n     16 | rpo = \"30s\"\n          ^^^"},
		{"one socket for both", base + "[control]\nsocket = \"/s\"\nreadonly_socket = \"/s\"\n",
			"w.toml:14: readonly_socket is the same as socket\n     14 | readonly_socket = \"/s\"\n          ^^^^^^^^^^^^^^^"},
		{"repair", base + "[link]\nrepair = \"on\"\n",
			"w.toml:13: repair is \"on\"; it can be \"auto\" or \"off\"\n     13 | repair = \"on\"\n          ^^^^^^"},
		{"repair at a target", "role = \"target\"\nname = \"a\"\nstore.path = \"/s\"\n[link]\nrepair = \"auto\"\n",
			"w.toml:5: repair is for a source, and this appliance is a target\n      5 | repair = \"auto\"\n          ^^^^^^\n   set it at the source"},
		{"same disk twice", strings.Replace(base, "\"web.vhdx\"", "\"./os.vhdx\"", 1),
			"w.toml:11: ./os.vhdx is the path of disk \"os\" of VM \"sql01\" already\n     11 | disks = [{ name = \"os\", path = \"./os.vhdx\" }]\n                                  ^^^^"},
		{"reattach and keepalive", base + "[reattach]\nredial_every = \"0s\"\nredial_for = \"-5s\"\n[link]\nkeepalive = \"60s\"\n",
			"w.toml:13: redial_every must be more than 0s\n     13 | redial_every = \"0s\"\n          ^^^^^^^^^^^^\n" +
				"w.toml:14: redial_for: \"-5s\" is not a duration; write it as in \"15s\", \"30m\", \"1h\" or \"1d\"\n     14 | redial_for = \"-5s\"\n          ^^^^^^^^^^\n" +
				"w.toml:16: keepalive is 1m; it must be more than 0s and less than idle_timeout, 1m\n     16 | keepalive = \"60s\"\n          ^^^^^^^^^"},
		{"unknown array", base + "[[jobs]]\n",
			"w.toml:12: unknown key \"jobs\" at the top of the file\n     12 | [[jobs]]\n          ^^^^^^^^\n   did you mean \"job\"?"},
		{"deep", base + "x = " + strings.Repeat("[", 100) + strings.Repeat("]", 100),
			"w.toml:12: this is nested too deep for a config\n     12 | x = " + strings.Repeat("[", 100) + strings.Repeat("]", 15) + "…\n" + strings.Repeat(" ", 30) + "^"},
		{"syntax", base + "[link\n",
			"w.toml:12: expected '.' or ']' to end table name, but got '\\n' instead\n     12 | [link\n               ^"},
		{"table twice", base + "[link]\n[link]\n",
			"w.toml:13: Key 'link' has already been defined.\n     13 | [link]\n           ^^^^"},
		{"escape sequences are not shown", base + "\"\\u001b[2J\" = 1\n",
			"w.toml:12: unknown key \"\\x1b[2J\" in [[vm]] \"web01\"\n     12 | \"\\u001b[2J\" = 1\n          ^^^^^^^^^^^"},
		{"long socket", base + "[control]\nsocket = \"/" + strings.Repeat("s", 107) + "\"\n",
			"w.toml:13: the socket's path has 108 bytes, more than the 107 that a socket can have: /" + strings.Repeat("s", 107) +
				"\n     13 | socket = \"/" + strings.Repeat("s", 107) + "\"\n          ^^^^^^"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse("w.toml", []byte(tt.text))
			var bad *Error
			if !errors.As(err, &bad) {
				t.Fatalf("got error %v, want *Error", err)
			}
			if got := bad.Error(); got != tt.want {
				t.Errorf("got\n%s\nwant\n%s", got, tt.want)
			}
		})
	}
}

func TestProblemsAreLimited(t *testing.T) {
	var text strings.Builder
	text.WriteString(base)
	for range 100 {
		text.WriteString("[[peer]]\n")
	}
	_, err := Parse("w.toml", []byte(text.String()))
	var bad *Error
	if !errors.As(err, &bad) || len(bad.Problems) != maxProblems {
		t.Fatalf("got %v", err)
	}
}

func TestWarnings(t *testing.T) {
	c, err := Parse("w.toml", []byte(base+"[[job]]\nname = \"j\"\npeer = \"dr-pari\"\nvms = [\"sql01\"]\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := "w.toml:14: not paired with \"dr-pari\" yet\n     14 | peer = \"dr-pari\"\n          ^^^^\n   did you mean \"dr-paris\"?"
	if len(c.Warnings) != 1 || c.Warnings[0].String() != want {
		t.Errorf("got %v, want %s", c.Warnings, want)
	}
}
