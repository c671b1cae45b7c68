package resume

import (
	"strings"
	"testing"
	"unicode/utf8"

	"wanrep/diskio/durable/crashfs"
)

// hostileNames are labels that must not become a path, an alias of another name, a
// device or a stream on any system.
var hostileNames = []string{
	"..", ".", "...", "../x", "..\\x", "/etc/passwd", "\\\\host\\share", "\\\\?\\C:\\x", "C:x", "C:\\x", "a/b", "a\\b",
	"a:stream", "a::$DATA", "NUL", "nul", "nul.txt", "con", "CON", "aux.vhdx", "prn", "com1", "COM1 ", "com¹", "lpt9.x", "conin$",
	"a.", "a ", " a", "a..", ".hidden", "~", "a~1", "longna~1", "lock", "store.json", "store.json.part", "journal", "manifest.json",
	"a\x00b", "a\nb", "\x1b[2J", "\u202egpj.exe", "a\u200bb", "\u00e9", "e\u0301", "SQL01", "sql01", "Sql01", "ſql01", "K", "\u212a",
	"-rf", "$(reboot)", "`x`", "a*b", "a?b", "a|b", "a<b", "a\"b", "%2e%2e", "parts", "points", "lost+found",
	strings.Repeat("a", 64), strings.Repeat("a", 65), strings.Repeat("a", 255), strings.Repeat("Ä", 127), strings.Repeat("../", 80),
}

// TestNamesFromAPeerStayBelowTheirDirectory is promise 7, for names that have broken
// out of other stores.
func TestNamesFromAPeerStayBelowTheirDirectory(t *testing.T) {
	seen := map[string]string{}
	for _, label := range hostileNames {
		name := safeName(label)
		if other, ok := seen[strings.ToLower(name)]; ok {
			t.Errorf("%q and %q are both %q", label, other, name)
		}
		seen[strings.ToLower(name)] = label
		if !isFileName(name) || isDevice(name) || len(name) > 80 || name != strings.ToLower(name) ||
			strings.Trim(name, ". ") != name || name == lockName || name == storeName {
			t.Errorf("%q becomes %q", label, name)
		}
		for _, r := range name {
			if !isPlainRune(r) && r != '~' {
				t.Errorf("%q becomes %q, with %q", label, name, r)
			}
		}
	}
	if got := safeName("web-01.example_x"); got != "web-01.example_x" {
		t.Errorf("a plain name becomes %q", got)
	}
}

// TestHostileNamesEndToEnd receives a VM and a disk of each name, and looks at what
// is on the disk then, for promise 7.
func TestHostileNamesEndToEnd(t *testing.T) {
	fsys := crashfs.New()
	s, err := Open(fsys, Config{Format: noFormat{}})
	if err != nil {
		t.Fatal(err)
	}
	for _, label := range hostileNames {
		part, err := s.Begin(label, label, []DiskSpec{{Name: label, Size: 512}})
		if err != nil {
			t.Fatalf("%q: %v", label, err)
		}
		if err := part.Close(); err != nil {
			t.Fatal(err)
		}
	}
	list, err := s.List()
	if err != nil {
		t.Fatal(err)
	}
	labels := map[string]bool{}
	for _, p := range list {
		labels[p.VM] = true
		if p.Source != p.VM || p.Disks[0].Disk != p.VM {
			t.Errorf("listed %+v", p)
		}
	}
	for _, label := range hostileNames {
		if !labels[label] {
			t.Errorf("%q is not listed", label)
		}
	}
	entries, err := fsys.ReadDir(".")
	if err != nil || len(entries) != len(hostileNames)+2 {
		t.Errorf("%d entries for %d sources: %v", len(entries), len(hostileNames), err)
	}
}

func TestNamesThatAreRefused(t *testing.T) {
	s, err := Open(crashfs.New(), Config{Format: noFormat{}})
	if err != nil {
		t.Fatal(err)
	}
	many := make([]DiskSpec, maxDisks+1)
	for i := range many {
		many[i] = DiskSpec{Name: strings.Repeat("d", i/200+1) + string(rune('a'+i%26)), Size: 1}
	}
	tests := []struct {
		name       string
		source, vm string
		disks      []DiskSpec
	}{
		{"no source", "", "v", []DiskSpec{{Name: "d", Size: 1}}},
		{"no VM", "s", "", []DiskSpec{{Name: "d", Size: 1}}},
		{"no disk", "s", "v", nil},
		{"too many disks", "s", "v", many},
		{"long", "s", strings.Repeat("x", maxLabelBytes+1), []DiskSpec{{Name: "d", Size: 1}}},
		{"not UTF-8", "s", "v\xff", []DiskSpec{{Name: "d", Size: 1}}},
		{"disk not UTF-8", "s", "v", []DiskSpec{{Name: "\xc0\xaf", Size: 1}}},
		{"disk without a name", "s", "v", []DiskSpec{{Size: 1}}},
		{"the same disk twice", "s", "v", []DiskSpec{{Name: "d", Size: 1}, {Name: "d", Size: 2}}},
		{"no size", "s", "v", []DiskSpec{{Name: "d"}}},
		{"negative size", "s", "v", []DiskSpec{{Name: "d", Size: -1}}},
		{"huge size", "s", "v", []DiskSpec{{Name: "d", Size: 64<<40 + 1}}},
		{"long identity", "s", "v", []DiskSpec{{Name: "d", Size: 1, Identity: strings.Repeat("i", maxIdentityBytes+1)}}},
		{"negative sector", "s", "v", []DiskSpec{{Name: "d", Size: 1, LogicalSectorSize: -512}}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := s.Begin(test.source, test.vm, test.disks)
			if err == nil {
				t.Fatal("no error")
			}
			if !utf8.ValidString(err.Error()) {
				t.Errorf("the message is not text: %q", err)
			}
		})
	}
}

func TestPointNumbers(t *testing.T) {
	for name, want := range map[string]uint64{"0000000000000001": 1, "00000000000000ff": 255, "ffffffffffffffff": 1<<64 - 1} {
		if n, ok := pointNumber(name); !ok || n != want || pointName(n) != name {
			t.Errorf("%q is %d, %v", name, n, ok)
		}
	}
	for _, name := range []string{"", "1", "00000000000000FF", "000000000000000g", "0x00000000000001", "+000000000000001", "00000000000000001", "../0000000000001"} {
		if _, ok := pointNumber(name); ok {
			t.Errorf("%q is taken for a point", name)
		}
	}
}
