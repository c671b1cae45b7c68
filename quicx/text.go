package quicx

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxText bounds text from a peer that ends up in a message, in bytes.
const maxText = 200

// clip returns s fit for a message, a log or a terminal: bounded, and without
// control or formatting characters, which could rewrite a screen.
func clip(s string) string {
	if len(s) > maxText {
		s = strings.ToValidUTF8(s[:maxText], "") + "…"
	}
	return strings.Map(func(r rune) rune {
		if r == ' ' || unicode.IsGraphic(r) {
			return r
		}
		return unicode.ReplacementChar
	}, s)
}

// MaxNameBytes bounds the name of an appliance.
const MaxNameBytes = 64

// checkName refuses a name that could not be shown, logged or typed.
func checkName(name string) error {
	switch {
	case name == "":
		return errors.New("the appliance has no name")
	case len(name) > MaxNameBytes:
		return fmt.Errorf("the name %q is longer than %d bytes", clip(name), MaxNameBytes)
	case !utf8.ValidString(name) || clip(name) != name:
		return fmt.Errorf("the name %q holds characters that cannot be shown", clip(name))
	case strings.TrimSpace(name) != name:
		return fmt.Errorf("the name %q begins or ends with a space", name)
	}
	return nil
}
