package configs

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"
)

const pin = "sha256:47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"

// A source with all that its role can have.
const fullSource = `role = "source"
name = "branch-lyon"
state_dir = "state"

[control]
socket = "wanrep.sock"
readonly_socket = "watch/wanrep.sock"

[metrics]
listen = ""

[[peer]]
name = "dr-paris"
addresses = ["dr.example.net:7443", "[2001:db8::7]:7443"]
pin = "` + pin + `"

[[uplink]]
name = "fibre"
bind = "192.0.2.10"

[[uplink]]
name = "lte"
max_rate = "5Mbit"
metered = true

[link]
idle_timeout = "90s"
keepalive = "10s"
max_rate = "20Mbit"
return_after = "1m"
repair = "off"

[reattach]
redial_every = "5s"
redial_for = "1h"

[[job]]
name = "nightly"
peer = "dr-paris"
vms = ["sql01"]
schedule = "daily 22:00"
retries = 0
retry_wait = "1d"
rpo = "36h"

[[vm]]
name = "sql01"
disks = [
  { name = "os", path = "vms/os.vhdx" },
  { name = "data", path = "/data.vhdx" }, # on another volume
]
`

func TestParseReadsEverything(t *testing.T) {
	dir := t.TempDir()
	got, err := Parse(filepath.Join(dir, "wanrep.toml"), []byte(fullSource))
	if err != nil {
		t.Fatal(err)
	}
	want := &Config{
		File: filepath.Join(dir, "wanrep.toml"), Role: "source", Name: "branch-lyon",
		StateDir: filepath.Join(dir, "state"),
		Control:  Control{Socket: filepath.Join(dir, "wanrep.sock"), ReadOnlySocket: filepath.Join(dir, "watch", "wanrep.sock")},
		Peers:    []Peer{{"dr-paris", []string{"dr.example.net:7443", "[2001:db8::7]:7443"}, pin}},
		Uplinks:  []Uplink{{"fibre", "192.0.2.10", 0, false}, {"lte", "", 5e6 / 8, true}},
		Link:     Link{Duration(90 * time.Second), Duration(10 * time.Second), 20e6 / 8, Duration(time.Minute), RepairOff},
		Reattach: Reattach{Duration(5 * time.Second), Duration(time.Hour)},
		Jobs:     []Job{{"nightly", "dr-paris", []string{"sql01"}, "daily 22:00", 0, Duration(day), Duration(36 * time.Hour)}},
		VMs:      []VM{{"sql01", []Disk{{"os", filepath.Join(dir, "vms", "os.vhdx")}, {"data", "/data.vhdx"}}}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestDefaults(t *testing.T) {
	source, err := Parse("/etc/w.toml", []byte("role = \"source\"\nname = \"a\"\n[[vm]]\nname=\"v\"\ndisks=[{name=\"d\",path=\"/d\"}]\n"+
		"[[peer]]\nname=\"p\"\naddresses=[\"h:1\"]\n[[job]]\nname=\"j\"\npeer=\"p\"\nvms=[\"v\"]\n"))
	if err != nil {
		t.Fatal(err)
	}
	wantJob := Job{"j", "p", []string{"v"}, "manual", 3, Duration(10 * time.Minute), 0}
	if got := source.Jobs[0]; !reflect.DeepEqual(got, wantJob) {
		t.Errorf("job: got %+v, want %+v", got, wantJob)
	}
	if got, want := source.Reattach, (Reattach{Duration(15 * time.Second), Duration(30 * time.Minute)}); got != want {
		t.Errorf("reattach: got %+v, want %+v", got, want)
	}
	if got, want := source.Link, (Link{Duration(time.Minute), Duration(5 * time.Second), 0, Duration(30 * time.Second), RepairAuto}); got != want {
		t.Errorf("link: got %+v, want %+v", got, want)
	}
	target, err := Parse("/etc/w.toml", []byte("role = \"target\"\nname = \"a\"\n[store]\npath = \"s\"\n"))
	if err != nil {
		t.Fatal(err)
	}
	if target.Listen.Address != ":7443" || target.Retention != (Retention{Last: 7, MinAge: Duration(7 * day)}) || target.Store.Path != "/etc/s" {
		t.Errorf("target: got %+v", target)
	}
}

// uncommented turns the settings of a shipped file on.
func uncommented(text string) string {
	return regexp.MustCompile(`(?m)^#([^ \n])`).ReplaceAllString(strings.ReplaceAll(text, "#  {", "  {"), "$1")
}

func TestShippedFiles(t *testing.T) {
	for _, role := range []string{RoleSource, RoleTarget} {
		t.Run(role, func(t *testing.T) {
			data, err := os.ReadFile(role + ".toml")
			if err != nil {
				t.Fatal(err)
			}
			shipped, err := Parse(role+".toml", data)
			if err != nil {
				t.Fatal(err)
			}
			all, err := Parse(role+".toml", []byte(uncommented(string(data))))
			if err != nil {
				t.Fatal(err)
			}
			// What is commented out is the default, or an example of a table
			// that has none.
			if role == RoleSource && (len(all.Peers) != 1 || len(all.Uplinks) != 1 || len(all.Jobs) != 1 || len(all.VMs) != 1) {
				t.Errorf("the examples are not all there: %+v", all)
			}
			var job Job
			job.setDefaults()
			for _, j := range all.Jobs {
				if j.Retries != job.Retries || j.RetryWait != job.RetryWait {
					t.Errorf("[[job]]: %+v are not the defaults, %+v", j, job)
				}
			}
			all.Peers, all.Uplinks, all.Jobs, all.VMs, all.Warnings = nil, nil, nil, nil, nil
			if !reflect.DeepEqual(all, shipped) {
				t.Errorf("uncommented: %+v\nas shipped:  %+v", all, shipped)
			}
		})
	}
}

// Every key of the struct stands in the shipped file of its role.
func TestShippedFilesHaveEveryKey(t *testing.T) {
	text := sourceExample + targetExample
	var walk func(reflect.Type)
	walk = func(typ reflect.Type) {
		for typ.Kind() == reflect.Slice {
			typ = typ.Elem()
		}
		if typ.Kind() != reflect.Struct {
			return
		}
		for field := range typ.Fields() {
			key := tomlKey(field)
			if key == "" {
				continue
			}
			if !regexp.MustCompile(`[#\[ {]` + key + `[\] ]|(?m)^` + key + ` = `).MatchString(text) {
				t.Errorf("no shipped file has the key %q", key)
			}
			walk(field.Type)
		}
	}
	walk(reflect.TypeFor[Config]())
}

func TestTOMLMeansTheSame(t *testing.T) {
	for name, text := range map[string]string{"source": fullSource, "target": targetExample} {
		t.Run(name, func(t *testing.T) {
			want, err := Parse("/d/w.toml", []byte(text))
			if err != nil {
				t.Fatal(err)
			}
			encoded, err := want.TOML()
			if err != nil {
				t.Fatal(err)
			}
			got, err := Parse("/d/w.toml", []byte(encoded))
			if err != nil {
				t.Fatalf("%v in:\n%s", err, encoded)
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got  %+v\nwant %+v\nin %s", got, want, encoded)
			}
		})
	}
}

func TestLoadSaysWhichFile(t *testing.T) {
	_, err := Load(filepath.Join(t.TempDir(), "none.toml"))
	if !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "none.toml") {
		t.Errorf("got %v", err)
	}
	big := filepath.Join(t.TempDir(), "big.toml")
	if err := os.WriteFile(big, make([]byte, maxFileBytes+1), 0o600); err != nil {
		t.Fatal(err)
	}
	var bad *Error
	if _, err := Load(big); !errors.As(err, &bad) || !strings.Contains(err.Error(), "larger than 1024 KiB") {
		t.Errorf("got %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(fullSource)
	f.Add(sourceExample)
	f.Add(targetExample)
	f.Add(uncommented(targetExample))
	f.Add("a = [[[{b = 1}, '''x\n'''], \"\\\"]\"]]\n[a.\"b.c\"]\r\n[[x]]\n[[x.y]]\nz.w=1")
	f.Add("\ufeffrole = \"source\"\nname = 1979-05-27")
	f.Add("[peer]\n[vm]\nname=1\n[[job]]\nvms=1\n[link]\nkeepalive=5\nmax_rate=1.5")
	f.Fuzz(func(t *testing.T, text string) {
		indexKeys(text) // ends, whatever the text
		c, err := Parse("/d/w.toml", []byte(text))
		var bad *Error
		if err != nil {
			if !errors.As(err, &bad) || len(bad.Problems) == 0 {
				t.Fatalf("an error without problems: %v", err)
			}
			lines := strings.Count(text, "\n") + 1
			for _, p := range bad.Problems {
				if p.Line < 0 || p.Line > lines {
					t.Fatalf("line %d of %d: %v", p.Line, lines, p)
				}
			}
			return
		}
		if _, err := c.TOML(); err != nil {
			t.Fatal(err)
		}
	})
}
