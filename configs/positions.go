package configs

import (
	"fmt"
	"strconv"
	"strings"
)

// A place is where a key or a table's header stands, as byte offsets.
type place struct{ start, end int }

// A block is a table from its header to the end of its last key.
type block struct {
	path       string
	start, end int
}

// A keyIndex tells where the keys of a TOML text stand, which the TOML package
// does not. Paths are those of the values: "link.keepalive", "vm[0].disks[1].path".
//
// Of a text that is not TOML it means nothing, but it is always made in a time that
// grows with the length of the text.
type keyIndex struct {
	text string
	at   int
	keys map[string]place
	// blocks are the tables that have a header of their own, in order.
	blocks []block
	// counts is how many elements each array of tables has so far.
	counts map[string]int
	depth  int
	// tooDeep is where the reading ended because of maxDepth, 0 if it did not.
	tooDeep int
}

// maxDepth is how deep values and keys may be nested. The deepest key of a config
// is vm[0].disks[0].path. The TOML package has no limit, and takes memory with the
// square of the depth.
const maxDepth = 16

func indexKeys(text string) *keyIndex {
	x := &keyIndex{text: text, keys: map[string]place{}, counts: map[string]int{}}
	x.at = len(text) - len(strings.TrimPrefix(text, "\ufeff"))
	table := ""
	for x.blank(); x.at < len(x.text); x.blank() {
		before := x.at
		if x.next() == '[' {
			table = x.header()
		} else {
			x.pair(table)
			if n := len(x.blocks); n > 0 {
				x.blocks[n-1].end = x.at
			}
		}
		x.advance(before)
	}
	return x
}

// next returns the byte at the reader, 0 at the end.
func (x *keyIndex) next() byte {
	if x.at < len(x.text) {
		return x.text[x.at]
	}
	return 0
}

// advance makes sure that a loop ends: it moves on if nothing was read.
func (x *keyIndex) advance(before int) {
	if x.at == before {
		x.at++
	}
}

// giveUp ends the reading at something that is nested too deep.
func (x *keyIndex) giveUp() {
	x.tooDeep, x.at = x.at, len(x.text)
}

// blank skips white space, line ends and comments.
func (x *keyIndex) blank() {
	for x.at < len(x.text) {
		switch x.text[x.at] {
		case ' ', '\t', '\r', '\n':
			x.at++
		case '#':
			x.to("\n")
		default:
			return
		}
	}
}

// to moves to the next byte that is one of stops.
func (x *keyIndex) to(stops string) {
	if n := strings.IndexAny(x.text[x.at:], stops); n >= 0 {
		x.at += n
	} else {
		x.at = len(x.text)
	}
}

// header reads [table] or [[array]] and returns the path of what follows.
func (x *keyIndex) header() string {
	start, array := x.at, strings.HasPrefix(x.text[x.at:], "[[")
	x.at++
	if array {
		x.at++
	}
	parts, _ := x.key()
	if len(parts) > maxDepth {
		x.giveUp()
		return ""
	}
	path := ""
	for i, part := range parts {
		path = join(path, part)
		if i == len(parts)-1 && array {
			x.counts[path]++
		}
		if n := x.counts[path]; n > 0 {
			path = element(path, n-1)
		}
	}
	for x.next() == ']' {
		x.at++
	}
	x.keys[path] = place{start, x.at}
	x.blocks = append(x.blocks, block{path, start, x.at})
	return path
}

// pair reads key = value.
func (x *keyIndex) pair(table string) {
	parts, at := x.key()
	if len(parts) > maxDepth {
		x.giveUp()
		return
	}
	path := table
	for _, part := range parts {
		path = join(path, part)
		if _, known := x.keys[path]; !known {
			x.keys[path] = at
		}
	}
	x.keys[path] = at
	if x.next() == '=' {
		x.at++
	}
	for x.next() == ' ' || x.next() == '\t' {
		x.at++
	}
	x.value(path)
}

// key reads a key and its dots, and the spaces behind it.
func (x *keyIndex) key() (parts []string, at place) {
	at = place{x.at, x.at}
	for x.at < len(x.text) {
		c := x.text[x.at]
		switch {
		case c == ' ' || c == '\t' || c == '.':
			x.at++
			continue
		case c == '"' || c == '\'':
			start := x.at
			x.quoted()
			parts = append(parts, unquote(x.text[start:x.at]))
		default:
			start := x.at
			x.to(" \t.=]\r\n#\"'{},[")
			if x.at == start {
				return parts, at
			}
			parts = append(parts, x.text[start:x.at])
		}
		at.end = x.at
	}
	return parts, at
}

func unquote(s string) string {
	if strings.HasPrefix(s, `"`) {
		if u, err := strconv.Unquote(s); err == nil {
			return u
		}
	}
	return strings.Trim(s, `"'`)
}

// value reads a value and notes the keys and elements inside it.
func (x *keyIndex) value(path string) {
	if x.depth++; x.depth > maxDepth {
		x.giveUp()
	}
	defer func() { x.depth-- }()
	switch x.next() {
	case '"', '\'':
		x.quoted()
	case '[':
		n := 0
		x.list(']', func() {
			start := x.at
			x.value(element(path, n))
			x.keys[element(path, n)] = place{start, x.at}
			n++
		})
	case '{':
		x.list('}', func() { x.pair(path) })
	default:
		start := x.at
		x.to(",]}#\r\n")
		x.at = start + len(strings.TrimRight(x.text[start:x.at], " \t"))
	}
}

// list reads what stands between brackets, separated by commas.
func (x *keyIndex) list(closing byte, item func()) {
	x.at++
	for x.blank(); x.at < len(x.text); x.blank() {
		switch before := x.at; x.next() {
		case closing:
			x.at++
			return
		case ',':
			x.at++
		default:
			item()
			x.advance(before)
		}
	}
}

// quoted reads a string of any of the four kinds.
func (x *keyIndex) quoted() {
	quote := x.text[x.at : x.at+1]
	if long := strings.Repeat(quote, 3); strings.HasPrefix(x.text[x.at:], long) {
		quote = long
	}
	x.at += len(quote)
	for x.at < len(x.text) && !strings.HasPrefix(x.text[x.at:], quote) {
		if quote[0] == '"' && x.text[x.at] == '\\' {
			x.at++
		}
		x.at++
	}
	x.at = min(x.at+len(quote), len(x.text))
	// A long string may end in up to two quotes of its own.
	for len(quote) == 3 && x.next() == quote[0] {
		x.at++
	}
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func element(path string, n int) string { return fmt.Sprintf("%s[%d]", path, n) }
