// Package quiet keeps commands that show no terminal UI from questioning the
// terminal: bubbletea asks it for its background colour when the program starts,
// whatever the program is about to do, and waits five seconds for a terminal that
// does not answer.
//
// Bubbletea v1 does so in an init function, through lipgloss and termenv. These
// have no switch for it but the environment (CI, TERM), which is the person's, and
// is read before main is. So somebody has to be there before bubbletea, and the one
// way is the order of initialization: of the packages whose imports are initialized,
// the one whose import path sorts first goes first (The Go Programming Language
// Specification, "Program initialization"). No path within module wanrep sorts
// before "github.com". Hence this package is a module of its own, whose name does,
// and which the go.mod of wanrep replaces by this directory.
//
// What that costs: "./..." leaves this package out, and a main module with a replace
// cannot be named with a version, as in "go install PATH@VERSION", which a path
// without a dot such as wanrep's cannot be either. It can go with bubbletea v2, which
// has no such init function.
//
// Package tui imports this one and asks the terminal itself when it is about to draw
// on one.
package quiet

import "github.com/charmbracelet/lipgloss"

func init() {
	// What is set is not asked for. Nothing draws with lipgloss's own renderer.
	lipgloss.SetHasDarkBackground(true)
}
