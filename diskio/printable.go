package diskio

import (
	"strings"
	"unicode"
)

// Printable returns s fit for a terminal, a log or a message: control and
// formatting characters, which could rewrite a screen, become U+FFFD, and so
// does what is not UTF-8. Use it on every text that comes from a disk or a peer.
func Printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r == ' ' || unicode.IsGraphic(r) {
			return r
		}
		return unicode.ReplacementChar
	}, s)
}
