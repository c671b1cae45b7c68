package configs

import (
	_ "embed"
	"fmt"
	"strings"
)

//go:embed source.toml
var sourceExample string

//go:embed target.toml
var targetExample string

// Example returns the annotated file of a role: every key, with its default
// commented out.
func Example(role string) (string, error) {
	text := ""
	switch role {
	case RoleSource:
		text = sourceExample
	case RoleTarget:
		text = targetExample
	}
	if text != "" {
		// Git on Windows may have changed the line ends before the build.
		return strings.ReplaceAll(text, "\r\n", "\n"), nil
	}
	return "", fmt.Errorf("%q is no role of an appliance; write %q or %q", role, RoleSource, RoleTarget)
}

// Template returns the annotated file for a new appliance. What is not empty
// stands uncommented in it, and no other table does, so that a script can append
// one. A source has neither store nor listen.
func Template(role, name, stateDir, store, listen, socket string) (string, error) {
	text, err := Example(role)
	if err != nil {
		return "", err
	}
	settings := []struct{ table, key, value string }{
		{"", "name", name},
		{"", "state_dir", stateDir},
		{"control", "socket", socket},
		{"store", "path", store},
		{"listen", "address", listen},
	}
	for _, s := range settings {
		if s.value == "" {
			continue
		}
		if text, err = set(text, s.table, s.key, s.value); err != nil {
			return "", err
		}
	}
	return text, nil
}

// set writes a setting into one of the annotated files, in place of the example
// or the default, and uncomments the table's header.
func set(text, table, key, value string) (string, error) {
	lines := strings.Split(text, "\n")
	header := 0
	if table != "" {
		for header < len(lines) && strings.TrimPrefix(lines[header], "#") != "["+table+"]" {
			header++
		}
	}
	for i := header; i < len(lines); i++ {
		if strings.HasPrefix(strings.TrimPrefix(lines[i], "#"), key+" = ") {
			if table != "" {
				lines[header] = "[" + table + "]"
			}
			lines[i] = key + " = " + quote(value)
			return strings.Join(lines, "\n"), nil
		}
	}
	return "", fmt.Errorf("the annotated file has no %s in [%s]", key, table)
}

// quote writes a TOML string: a literal one where that reads better, as for
// paths of Windows, else one with escapes.
func quote(s string) string {
	plain := func(r rune) bool { return r >= ' ' && r != 0x7f }
	if strings.Contains(s, `\`) && !strings.Contains(s, "'") && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return "'" + s + "'"
	}
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteRune('\\')
			b.WriteRune(r)
		case !plain(r):
			fmt.Fprintf(&b, `\u%04X`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
