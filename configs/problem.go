package configs

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// An Error is everything that is wrong with a config.
type Error struct {
	Problems []Problem
}

func (e *Error) Error() string {
	var texts []string
	for _, p := range e.Problems {
		texts = append(texts, p.String())
	}
	return strings.Join(texts, "\n")
}

// maxProblems is how many problems an Error holds. A file of another kind has
// one on every line, and nobody reads more.
const maxProblems = 20

// A Problem is one thing that is wrong with a config, or worth a look.
type Problem struct {
	File string `json:"file"`
	// Line and Column count from 1; they are 0 if the problem is that something
	// is not there.
	Line    int    `json:"line"`
	Column  int    `json:"column"`
	Message string `json:"message"`
	Hint    string `json:"hint"` // what to write instead; may be empty

	source string // the line itself
	width  int    // how many characters are meant, from Column on
}

// String returns the message with its place, and below it, indented, the line,
// what is meant in it, and the hint.
func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(printable(p.File))
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d", p.Line)
	}
	b.WriteString(": " + printable(p.Message))
	if p.Line > 0 {
		line, before := p.excerpt()
		fmt.Fprintf(&b, "\n  %5d | %s", p.Line, line)
		fmt.Fprintf(&b, "\n          %s%s", strings.Repeat(" ", before), strings.Repeat("^", min(p.width, maxExcerpt)))
	}
	if p.Hint != "" {
		b.WriteString("\n   " + printable(p.Hint))
	}
	return b.String()
}

// maxExcerpt is how many characters of a long line are shown.
const maxExcerpt = 120

// excerpt returns the line as it is shown, and how many characters of it stand
// before what is meant.
func (p Problem) excerpt() (line string, before int) {
	before = utf8.RuneCountInString(p.source[:min(p.Column-1, len(p.source))])
	shown := []rune(printable(p.source))
	if cut := before - maxExcerpt/2; cut > 0 && len(shown) > maxExcerpt {
		shown, before = append([]rune("…"), shown[cut:]...), before-cut+1
	}
	if len(shown) > maxExcerpt {
		shown = append(shown[:maxExcerpt-1], '…')
	}
	return string(shown), before
}

// clip shortens a text from the file, for a message.
func clip(s string) string {
	if r := []rune(s); len(r) > maxExcerpt/2 {
		return string(r[:maxExcerpt/2]) + "…"
	}
	return s
}

// A document is a config's text, with all that was found wrong in it.
type document struct {
	file     string
	text     string
	index    *keyIndex
	called   map[string]string // the "name" of each table of an array, by its path
	told     map[string]bool   // paths with a problem
	problems []Problem
	warnings []Problem
}

// problem notes what is wrong with the value at path. If the file does not have
// it, the place is that of the table it should be in. Only the first problem of a
// value counts, since others tend to follow from it.
func (d *document) problem(path, hint, format string, args ...any) {
	if path != "" && d.told[path] {
		return
	}
	d.told[path] = true
	if len(d.problems) < maxProblems {
		d.problems = append(d.problems, d.at(path, hint, fmt.Sprintf(format, args...)))
	}
}

func (d *document) warning(path, hint, format string, args ...any) {
	if len(d.warnings) < maxProblems {
		d.warnings = append(d.warnings, d.at(path, hint, fmt.Sprintf(format, args...)))
	}
}

func (d *document) at(path, hint, message string) Problem {
	for path != "" {
		// Of an array of tables, the first one stands for the key.
		for _, p := range []string{path, element(path, 0)} {
			if at, ok := d.index.keys[p]; ok {
				return d.between(at, hint, message)
			}
		}
		path = path[:max(strings.LastIndexAny(path, ".["), 0)]
	}
	return Problem{File: d.file, Message: message, Hint: hint}
}

// between places a problem. Of a key over several lines the first line counts.
func (d *document) between(at place, hint, message string) Problem {
	start := strings.LastIndexByte(d.text[:at.start], '\n') + 1
	end := len(d.text)
	if n := strings.IndexByte(d.text[at.start:], '\n'); n >= 0 {
		end = at.start + n
	}
	line := strings.TrimRight(d.text[start:end], "\r")
	marked := line[min(at.start-start, len(line)):min(at.end-start, len(line))]
	return Problem{
		File: d.file, Line: strings.Count(d.text[:start], "\n") + 1, Column: at.start - start + 1,
		Message: message, Hint: hint,
		source: line, width: max(utf8.RuneCountInString(marked), 1),
	}
}

// sort puts the problems into the order of the file.
func (d *document) sort() {
	byPlace := func(a, b Problem) int {
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Column - b.Column
	}
	slices.SortStableFunc(d.problems, byPlace)
	slices.SortStableFunc(d.warnings, byPlace)
}

// printable makes what a file holds fit for a terminal, one column a character.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t':
			return ' '
		case r == ' ' || unicode.IsGraphic(r):
			return r
		}
		return unicode.ReplacementChar
	}, s)
}

// didYouMean returns a hint with the known word that is most like s, or "".
func didYouMean(s string, known []string) string {
	best, distance := "", len(s)
	for _, k := range known {
		n := editDistance(strings.ToLower(s), strings.ToLower(k))
		if n < distance && n <= max(2, len(k)/2) {
			best, distance = k, n
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("did you mean %q?", best)
}

// editDistance counts how many letters must be put in, taken out or replaced.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
