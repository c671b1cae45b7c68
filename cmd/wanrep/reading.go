package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/term"

	"wanrep/diskio"
	"wanrep/diskio/durable"
	"wanrep/resume"
	"wanrep/resume/vhdxstore"
)

// A reading tells on a terminal how far a command is that reads disks for long. It is
// for one goroutine.
type reading struct {
	out   io.Writer
	every time.Duration
	told  time.Time
	shown bool
}

// readingEvery is how often the line is written anew.
const readingEvery = time.Second

// newReading tells on out if that is a terminal, and nothing otherwise.
func newReading(out io.Writer) *reading {
	if f, ok := out.(*os.File); !ok || !term.IsTerminal(int(f.Fd())) {
		out = nil
	}
	return &reading{out: out, every: readingEvery}
}

func (r *reading) tell(what string, at, size int64) {
	if r.out == nil || time.Since(r.told) < r.every {
		return
	}
	fmt.Fprintf(r.out, "\r%s: %s of %s\x1b[K", diskio.Printable(what), formatBytes(at), formatBytes(size))
	r.told, r.shown = time.Now(), true
}

// clear takes the line away, before something else is written.
func (r *reading) clear() {
	if r.shown {
		fmt.Fprint(r.out, "\r\x1b[K")
	}
	r.shown = false
}

// format is that of a store, or of a seed, whose disks tell when they are read.
func (r *reading) format() resume.Format { return readFormat{reading: r} }

type readFormat struct {
	vhdxstore.Format
	reading *reading
}

func (f readFormat) Open(fsys durable.FS, name string) (resume.Content, error) {
	c, err := f.Format.Open(fsys, name)
	if err != nil {
		return nil, err
	}
	return readDisk{c, f.reading, name}, nil
}

// A readDisk tells when it is read.
type readDisk struct {
	resume.Content
	reading *reading
	name    string
}

func (d readDisk) ReadAt(p []byte, off int64) (int, error) {
	d.reading.tell(d.name, off, d.Size())
	return d.Content.ReadAt(p, off)
}
