// Package quiet keeps commands that show no terminal UI from questioning the
// terminal: bubbletea asks it for its background colour when the program starts,
// whatever the program is about to do, and waits five seconds for a terminal that
// does not answer.
//
// Bubbletea does so in an init function, through lipgloss. The one way to be there
// before it is the order of initialization: of packages whose imports are
// initialized, the one whose import path sorts first goes first (The Go Programming
// Language Specification, "Program initialization"). Hence this package is a module
// of its own, with a name that sorts before "github.com". Package tui imports it
// and asks the terminal itself when it is about to draw on one.
package quiet

import "github.com/charmbracelet/lipgloss"

func init() {
	// What is set is not asked for. Nothing draws with lipgloss's own renderer.
	lipgloss.SetHasDarkBackground(true)
}
