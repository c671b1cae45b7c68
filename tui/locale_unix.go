//go:build !windows

package tui

// unicodeConsole tells whether a terminal without any locale shows UTF-8. In
// the C locale of a bare ssh session or a serial console it may not.
const unicodeConsole = false
