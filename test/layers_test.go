package test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// A layer is what one package may import besides the standard library: packages
// of this module by their path in it, other modules by theirs, with everything
// below. Its test files may import the same and what tests adds.
type layer struct {
	imports []string
	modules []string
	tests   []string
}

// layers is policy. Change it in a commit of its own that says why.
var layers = map[string]layer{
	"cmd/wanrep": {
		imports: []string{
			"configs", "diskio", "diskio/digest", "diskio/durable", "diskio/image", "diskio/vhd", "diskio/vhdx",
			"quicx", "replicate", "replicate/control", "replicate/metrics", "replicate/progress", "replicate/retain",
			"resume", "resume/vhdxstore", "test/wan", "tui",
		},
		modules: []string{blake3, cobra, xsys, xterm},
		tests:   []string{"diskio/raw", "replicate/wire", creackPTY, testscript},
	},
	"configs": {modules: []string{toml}},

	"diskio":                 {modules: []string{xsys}},
	"diskio/digest":          {imports: []string{"diskio"}, modules: []string{blake3}, tests: []string{rapid}},
	"diskio/durable":         {imports: []string{"diskio"}, modules: []string{xsys}},
	"diskio/durable/crashfs": {imports: []string{"diskio/durable"}, tests: []string{rapid}},
	"diskio/image":           {imports: []string{"diskio", "diskio/durable", "diskio/raw", "diskio/vhd", "diskio/vhdx"}},
	"diskio/raw":             {imports: []string{"diskio"}, modules: []string{xsys}},
	"diskio/vhd":             {imports: []string{"diskio"}, tests: []string{rapid}},
	"diskio/vhdx":            {imports: []string{"diskio"}, modules: []string{xsys}},

	"quicx/stripe": {tests: []string{rapid}},
	"quicx":        {imports: []string{"quicx/stripe"}, modules: []string{quicGo, xnet, xsys}},

	"replicate": {
		imports: []string{"diskio", "diskio/digest", "diskio/durable", "replicate/progress", "replicate/retain", "replicate/wire", "resume"},
		modules: []string{xsync},
		tests:   []string{"diskio/durable/crashfs", rapid},
	},
	"replicate/control":  {imports: []string{"replicate/progress"}},
	"replicate/metrics":  {imports: []string{"replicate/progress"}, modules: []string{prometheus}},
	"replicate/progress": {},
	"replicate/retain":   {tests: []string{rapid}},
	"replicate/wire":     {imports: []string{"diskio", "diskio/digest"}, modules: []string{cbor, lz4}, tests: []string{rapid}},

	"resume": {
		imports: []string{"diskio", "diskio/digest", "diskio/durable"},
		tests:   []string{"diskio/durable/crashfs", "resume/vhdxstore", rapid},
	},

	"resume/vhdxstore": {imports: []string{"diskio/durable", "diskio/vhdx", "resume"}},

	"tui": {
		imports: []string{"diskio", "replicate/progress"},
		modules: []string{bubbles, bubbletea, lipgloss, quiet, termenv, xterm},
		tests:   []string{creackPTY, xvt},
	},
	"tui/quiet": {modules: []string{lipgloss}}, // a module of its own, see there

	"test/bench": {
		imports: []string{
			"diskio", "diskio/digest", "diskio/durable", "diskio/image", "diskio/vhdx", "replicate/control", "replicate/progress",
			"resume", "resume/vhdxstore", "test/wan", "test/wanlink",
		},
		modules: []string{quicGo, xsys},
	},
	"test/wan":     {},
	"test/wanlink": {modules: []string{xsys}},
	"test":         {tests: []string{"diskio", "diskio/vhdx", "test/wan", xsys}},
	"test/ladder": {tests: []string{
		"diskio", "diskio/digest", "diskio/durable", "diskio/durable/crashfs", "diskio/image", "diskio/vhdx", "quicx", "replicate",
		"replicate/progress", "replicate/wire", "resume", "resume/vhdxstore", quicGo + "/testutils/simnet",
	}},
	"test/screens": {imports: []string{"replicate/progress", "tui"}, modules: []string{creackPTY, ximage, xvt}},
}

// The modules that the layers may use.
const (
	blake3     = "github.com/zeebo/blake3"
	bubbles    = "github.com/charmbracelet/bubbles"
	bubbletea  = "github.com/charmbracelet/bubbletea"
	cbor       = "github.com/fxamacker/cbor/v2"
	cobra      = "github.com/spf13/cobra"
	creackPTY  = "github.com/creack/pty"
	lipgloss   = "github.com/charmbracelet/lipgloss"
	lz4        = "github.com/pierrec/lz4/v4"
	quiet      = "before.bubbletea/quiet"
	prometheus = "github.com/prometheus/client_golang"
	quicGo     = "github.com/quic-go/quic-go"
	rapid      = "pgregory.net/rapid"
	termenv    = "github.com/muesli/termenv"
	testscript = "github.com/rogpeppe/go-internal/testscript"
	toml       = "github.com/BurntSushi/toml"
	ximage     = "golang.org/x/image"
	xnet       = "golang.org/x/net"
	xsync      = "golang.org/x/sync"
	xsys       = "golang.org/x/sys"
	xterm      = "golang.org/x/term"
	xvt        = "github.com/charmbracelet/x/vt"
)

// owners are the modules that one package of the product alone may import.
var owners = map[string]string{quicGo: "quicx", bubbletea: "tui", toml: "configs", cobra: "cmd/wanrep", prometheus: "replicate/metrics"}

// A goFile is one Go file of the module.
type goFile struct {
	file string // from the module's root, with slashes
	dir  string
	test bool
	tree *ast.File
}

func TestLayers(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range sources(t) {
		rule, known := layers[s.dir]
		if !known {
			t.Errorf("%s: package %s is not in the table of layers", s.file, s.dir)
			continue
		}
		seen[s.dir] = true
		may := slices.Concat(rule.imports, rule.modules)
		if s.test {
			may = append(may, rule.tests...)
			may = append(may, s.dir) // a test from outside of the package
		}
		for _, imported := range imports(t, s) {
			if !allowed(imported, may) {
				t.Errorf("%s: %s may not import %s", s.file, s.dir, imported)
			}
			for module, owner := range owners {
				if !s.test && s.dir != owner && !below(s.dir, "test") && below(imported, module) {
					t.Errorf("%s: only %s imports %s", s.file, owner, module)
				}
			}
		}
	}
	for dir := range layers {
		if !seen[dir] {
			t.Errorf("the table of layers names %s, which has no Go file", dir)
		}
	}
}

// allowed reports whether a package that is not of the standard library may be
// imported by one that may import what is listed.
func allowed(imported string, may []string) bool {
	if ours, ok := strings.CutPrefix(imported, "wanrep/"); ok {
		return slices.Contains(may, ours)
	}
	return slices.ContainsFunc(may, func(module string) bool { return below(imported, module) })
}

func below(imported, module string) bool {
	return imported == module || strings.HasPrefix(imported, module+"/")
}

func TestAllowed(t *testing.T) {
	tests := []struct {
		imported string
		may      []string
		want     bool
	}{
		{"wanrep/diskio", []string{"diskio"}, true},
		{"wanrep/diskio/vhdx", []string{"diskio"}, false},
		{quicGo + "/testutils/simnet", []string{quicGo}, true},
		{quicGo, []string{quicGo + "/testutils/simnet"}, false},
		{toml + "x", []string{toml}, false},
		{cobra, nil, false},
	}
	for _, tt := range tests {
		if got := allowed(tt.imported, tt.may); got != tt.want {
			t.Errorf("allowed(%q, %q) = %v, want %v", tt.imported, tt.may, got, tt.want)
		}
	}
}

func TestPackageNamesSayWhatTheyAre(t *testing.T) {
	for _, s := range sources(t) {
		for _, bad := range []string{"util", "utils", "common", "helper", "helpers", "types"} {
			if s.tree.Name.Name == bad || slices.Contains(strings.Split(s.dir, "/"), bad) {
				t.Errorf("%s: a package named %s says nothing of what it does", s.file, bad)
			}
		}
	}
}

// TestPinsAreCheckedOnEveryHandshake: crypto/tls does not call
// VerifyPeerCertificate on resumed connections and 0-RTT, VerifyConnection it does.
// A test may set it, to show just that.
func TestPinsAreCheckedOnEveryHandshake(t *testing.T) {
	const never = "VerifyPeerCertificate"
	for _, s := range sources(t) {
		if s.test {
			continue
		}
		ast.Inspect(s.tree, func(n ast.Node) bool {
			if id, ok := n.(*ast.Ident); ok && id.Name == never {
				t.Errorf("%s: %s is not called on a resumed connection, use VerifyConnection", s.file, never)
			}
			return true
		})
	}
}

// syncers are the packages and files outside of diskio/durable that may sync or
// rename, and why.
var syncers = map[string]string{
	"cmd/wanrep/doctorchecks.go":  "proves through durable.FS that the store's directory takes a file",
	"cmd/wanrep/points_export.go": "syncs what it exports through durable.File",
	"diskio/image/convert.go":     "syncs what it converts through durable.File",
	"diskio/vhdx":                 "orders its writes by the Sync of the file it is given, a durable.File in the store",
	"quicx/statefile.go":          "writes its identity and tickets, small files that are no part of the store",
	"quicx/statefile_unix.go":     "syncs the directory of those files",
	"replicate/receive.go":        "lets resume sync before it acknowledges",
	"resume":                      "syncs through the files of durable.FS, which tests replace",
}

// TestOnlyDurableSyncsAndRenames finds calls of a method Sync without arguments
// and of os.Rename, os.Link and os.Symlink. It knows no types, so that a package
// that syncs through durable's interfaces has to be named in syncers.
func TestOnlyDurableSyncsAndRenames(t *testing.T) {
	unused := maps.Clone(syncers)
	for _, s := range sources(t) {
		if s.test || s.dir == "diskio/durable" || s.dir == "diskio/durable/crashfs" {
			continue
		}
		for _, call := range durableCalls(s.tree) {
			switch {
			case syncers[s.dir] != "":
				delete(unused, s.dir)
			case syncers[s.file] != "":
				delete(unused, s.file)
			default:
				t.Errorf("%s: %s outside of diskio/durable, where faults are injected", s.file, call)
			}
		}
	}
	for name := range unused {
		t.Errorf("%s syncs and renames nothing, take it off the list of syncers", name)
	}
}

// durableCalls returns the calls of a file that make something durable.
func durableCalls(tree *ast.File) (calls []string) {
	ast.Inspect(tree, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		selected, ok := call.Fun.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		of, _ := selected.X.(*ast.Ident)
		name := selected.Sel.Name
		switch {
		case name == "Sync" && len(call.Args) == 0, name == "Fsync", name == "Fdatasync":
			calls = append(calls, "a call of "+name)
		case of != nil && of.Name == "os" && (name == "Rename" || name == "Link" || name == "Symlink"):
			calls = append(calls, "os."+name)
		}
		return true
	})
	return calls
}

func TestDurableCalls(t *testing.T) {
	const text = `package p
func f() { file.Sync(); a.b.Sync(); os.Rename("a", "b"); store.Sync(1); wg.Wait(); unix.Fsync(3) }`
	tree, err := parser.ParseFile(token.NewFileSet(), "p.go", text, 0)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"a call of Sync", "a call of Sync", "os.Rename", "a call of Fsync"}
	if got := durableCalls(tree); !slices.Equal(got, want) {
		t.Errorf("durableCalls found %q, want %q", got, want)
	}
}

// sources parses every Go file of the module, whatever system it is for.
func sources(t *testing.T) []goFile {
	t.Helper()
	root := filepath.Join("..")
	var all []goFile
	fset := token.NewFileSet()
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			base := d.Name()
			if name != root && (strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") || base == "testdata") {
				return filepath.SkipDir
			}
			return nil
		}
		if filepath.Ext(name) != ".go" {
			return nil
		}
		tree, err := parser.ParseFile(fset, name, nil, 0)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		file := filepath.ToSlash(rel)
		all = append(all, goFile{
			file: file, dir: path.Dir(file), test: strings.HasSuffix(file, "_test.go"), tree: tree,
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) == 0 {
		t.Fatal("no Go file found")
	}
	return all
}

// imports returns what a file imports that is not of the standard library, whose
// paths have no dot in their first element.
func imports(t *testing.T, s goFile) (outside []string) {
	t.Helper()
	for _, spec := range s.tree.Imports {
		name, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		first, _, _ := strings.Cut(name, "/")
		if first == "wanrep" || strings.Contains(first, ".") {
			outside = append(outside, name)
		}
	}
	return outside
}
