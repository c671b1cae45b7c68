package tui

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"wanrep/diskio"
)

// maxCopy is how much is copied at most: xterm takes some 75 KB of base64, and
// other terminals drop without a word what is longer.
const maxCopy = 50 << 10

// copied is how a copy to the terminal's clipboard ended.
type copied struct {
	what  string
	bytes int
	err   error
	at    time.Time
}

// copyRow copies the selected VM, disk or point as JSON.
func copyRow(m model) (tea.Model, tea.Cmd) {
	what, value := m.copyable()
	if value == nil || m.clipboard == nil {
		return m, nil
	}
	out := m.clipboard
	return m, func() tea.Msg {
		n, err := copyJSON(out, value)
		return copied{what: what, bytes: n, err: err, at: time.Now()}
	}
}

// copyable returns what the selection is, and its name.
func (m model) copyable() (string, any) {
	rows := m.rows()
	if len(rows) == 0 {
		return "", nil
	}
	row := rows[m.selection(rows)]
	name := vmName(m.status, row.vm)
	if m.points.open {
		points := m.points.list
		if len(points) == 0 {
			return "", nil
		}
		p := points[min(m.points.choice, len(points)-1)]
		return "point " + p.Point + " of " + name, p
	}
	if row.disk != nil {
		return name + "/" + row.disk.Disk, *row.disk
	}
	return name, row.vm
}

// copyJSON writes a value to the clipboard of the person's own terminal, also over
// ssh (OSC 52, xterm's "Operating System Commands"). A terminal that does not do
// that ignores it, and none says so.
func copyJSON(out io.Writer, value any) (int, error) {
	doc, err := json.Marshal(value)
	if err != nil {
		return 0, err
	}
	text := diskio.Printable(string(doc))
	if len(text) > maxCopy {
		return 0, fmt.Errorf("%s are too much for a terminal's clipboard, of which %s is sure", Bytes(int64(len(text))), Bytes(maxCopy))
	}
	_, err = fmt.Fprintf(out, "\x1b]52;c;%s\a", base64.StdEncoding.EncodeToString([]byte(text)))
	return len(text), err
}

// tellCopied says that something was copied.
func (m model) tellCopied(msg copied) model {
	m.toast = toast{text: fmt.Sprintf("copied %s as JSON, %s", msg.what, Bytes(int64(msg.bytes))), until: msg.at.Add(toastLasts)}
	if msg.err != nil {
		m.toast = toast{text: "copy " + msg.what + ": " + msg.err.Error(), isErr: true}
	}
	return m
}
