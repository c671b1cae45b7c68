package test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// A promise is one that wanrep makes to whom it keeps a replica for, with the tests that
// hold it to that, each as "package directory: name". They say so in their comments.
type promise struct {
	text  string
	tests []string
}

// promises are numbered from 1.
var promises = []promise{
	{"sync, then journal, then acknowledge, in that order, always", []string{
		"resume: TestOrderOfOperations", "resume: TestPlantedBugsAreCaught",
	}},
	{"a point becomes visible whole, by one rename, or not at all", []string{
		"resume: TestCrashAtEveryOperation", "resume: TestErrorAtEveryOperation",
	}},
	{"a committed point equals the source's snapshot byte for byte, by the root on both sides", []string{
		"resume: TestFinishWithAnotherRoot", "test/ladder: TestIncrements", "test: TestKilledAtAnyMoment",
	}},
	{"after a crash or power cut at any moment the target restarts, loses no acknowledged byte, and continues", []string{
		"resume: TestCrashAtEveryOperation", "resume: TestErrorAtEveryOperation", "test/ladder: TestPowerCuts", "test: TestKilledAtAnyMoment",
	}},
	{"resume never skips a byte and never sends one again below the durable offset", []string{
		"replicate: TestPlanCoversAllDataOnce", "test/ladder: TestParkAndComplete", "test: TestKilledAtAnyMoment",
	}},
	{"the source keeps base and snapshot until the commit is acknowledged", []string{
		"test/ladder: TestNothingIsGivenUpBeforeTheAcknowledgement", "test/ladder: TestBaseOutlivesAParkedPoint",
	}},
	{"a peer can write only below its own directory, whatever names it sends", []string{
		"resume: TestNamesFromAPeerStayBelowTheirDirectory", "resume: TestHostileNamesEndToEnd", "diskio/durable: TestNothingLeavesTheDirectory",
	}},
}

// TestPromisesHaveTheirTests: the tests that the table names exist and say which promise
// they are about, and no other does.
func TestPromisesHaveTheirTests(t *testing.T) {
	want := map[string][]string{} // the tests of each promise
	dirs := map[string]bool{}
	for i, p := range promises {
		number := string(rune('1' + i))
		want[number] = slices.Sorted(slices.Values(p.tests))
		for _, name := range p.tests {
			dir, _, _ := strings.Cut(name, ": ")
			dirs[dir] = true
		}
	}
	got := map[string][]string{}
	for _, dir := range slices.Sorted(maps.Keys(dirs)) {
		for name, comment := range testComments(t, dir) {
			for _, number := range promisesIn(comment) {
				got[number] = append(got[number], dir+": "+name)
			}
		}
	}
	for number, tests := range got {
		slices.Sort(tests)
		if !slices.Equal(tests, want[number]) {
			t.Errorf("promise %s: the tests %q say that they are about it, the table has %q", number, tests, want[number])
		}
	}
	if len(got) != len(promises) {
		t.Errorf("tests name %d promises of %d", len(got), len(promises))
	}
}

var (
	promiseWords   = regexp.MustCompile(`promises? \d(?:(?:, | and )\d)*`)
	promiseNumbers = regexp.MustCompile(`\d`)
)

// promisesIn returns the numbers in "promise 1" and "promises 2, 3 and 4".
func promisesIn(comment string) (numbers []string) {
	for _, words := range promiseWords.FindAllString(strings.Join(strings.Fields(comment), " "), -1) {
		numbers = append(numbers, promiseNumbers.FindAllString(words, -1)...)
	}
	slices.Sort(numbers)
	return slices.Compact(numbers)
}

// testComments returns the comments of the tests of a package, by their names.
func testComments(t *testing.T, dir string) map[string]string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", filepath.FromSlash(dir), "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	comments := map[string]string{}
	for _, name := range files {
		tree, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range tree.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && strings.HasPrefix(f.Name.Name, "Test") {
				comments[f.Name.Name] = f.Doc.Text()
			}
		}
	}
	return comments
}
