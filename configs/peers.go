package configs

import (
	"fmt"
	"slices"
	"strings"
)

// WithPeer returns the text of a config with a [[peer]] table for p at its end,
// in place of one with the same name; everything else stays as it is, byte for
// byte. The file is for messages only. Whoever writes the result should do so in
// one step, as durable.WriteFile does.
func WithPeer(file string, text []byte, p Peer) ([]byte, error) {
	before, err := Parse(file, text)
	if err != nil {
		return nil, err
	}
	rest := withoutPeer(string(text), before, p.Name)
	eol := "\n"
	if strings.Contains(rest, "\r\n") {
		eol = "\r\n"
	}
	lines := []string{"", "[[peer]]", "name = " + quote(p.Name)}
	if len(p.Addresses) > 0 {
		var quoted []string
		for _, a := range p.Addresses {
			quoted = append(quoted, quote(a))
		}
		lines = append(lines, "addresses = ["+strings.Join(quoted, ", ")+"]")
	}
	lines = append(lines, "pin = "+quote(p.Pin), "")
	if rest != "" && !strings.HasSuffix(rest, "\n") {
		rest += eol
	}
	result := []byte(rest + strings.Join(lines, eol))

	peers := append(otherPeers(before, p.Name), p)
	if err := expectPeers(file, result, peers); err != nil {
		return nil, fmt.Errorf("add peer %q to %s: %w", p.Name, file, err)
	}
	return result, nil
}

// WithoutPeer returns the text of a config without the [[peer]] table of that
// name, and whether there was one.
func WithoutPeer(file string, text []byte, name string) ([]byte, bool, error) {
	before, err := Parse(file, text)
	if err != nil {
		return nil, false, err
	}
	peers := otherPeers(before, name)
	if len(peers) == len(before.Peers) {
		return text, false, nil
	}
	result := []byte(withoutPeer(string(text), before, name))
	if err := expectPeers(file, result, peers); err != nil {
		return nil, false, fmt.Errorf("remove peer %q from %s: %w", name, file, err)
	}
	return result, true, nil
}

func otherPeers(c *Config, name string) []Peer {
	return slices.DeleteFunc(slices.Clone(c.Peers), func(p Peer) bool { return p.Name == name })
}

// withoutPeer cuts the table out: from its header to the end of its last line,
// and an empty line before it.
func withoutPeer(text string, c *Config, name string) string {
	n := slices.IndexFunc(c.Peers, func(p Peer) bool { return p.Name == name })
	if n < 0 {
		return text
	}
	for _, b := range indexKeys(text).blocks {
		if b.path != element("peer", n) {
			continue
		}
		start := strings.LastIndexByte(text[:b.start], '\n') + 1
		end := len(text)
		if n := strings.IndexByte(text[b.end:], '\n'); n >= 0 {
			end = b.end + n + 1
		}
		before := text[:start]
		for _, empty := range []string{"\r\n", "\n"} {
			if rest, ok := strings.CutSuffix(before, empty); ok && (rest == "" || strings.HasSuffix(rest, "\n")) {
				before = rest
				break
			}
		}
		return before + text[end:]
	}
	return text
}

// expectPeers makes sure that an edit did what it should. It did not if the file
// has its peers in another form than tables, which TOML allows.
func expectPeers(file string, text []byte, want []Peer) error {
	after, err := Parse(file, text)
	if err != nil {
		return fmt.Errorf("the peers must be [[peer]] tables: %w", err)
	}
	same := slices.EqualFunc(after.Peers, want, func(a, b Peer) bool {
		return a.Name == b.Name && a.Pin == b.Pin && slices.Equal(a.Addresses, b.Addresses)
	})
	if !same {
		return fmt.Errorf("the peers must be [[peer]] tables, one by one")
	}
	return nil
}
