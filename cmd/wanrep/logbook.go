package main

import (
	"context"
	"io"
	"log/slog"
	"maps"
	"strings"

	"wanrep/replicate/control"
	"wanrep/replicate/progress"
)

// Limits of what a logbook remembers: some hours of a quiet appliance, and about
// 4 MiB at the worst.
const (
	maxLogLines     = 2000
	maxLogTextBytes = 2 << 10
)

// A logbook is the log of this process: it is written to a stream, and the last
// lines are remembered for "wanrep logs". Its level can change while it is used.
type logbook struct {
	level slog.LevelVar
	feed  *progress.Feed[control.LogLine]
	log   *slog.Logger
}

func newLogbook(out io.Writer, level slog.Level) *logbook {
	b := &logbook{feed: progress.NewFeed[control.LogLine](maxLogLines)}
	b.level.Set(level)
	b.log = slog.New(&logbookHandler{
		out: slog.NewTextHandler(out, &slog.HandlerOptions{Level: &b.level}), feed: b.feed,
	})
	return b
}

// Logs returns the lines.
func (b *logbook) Logs() *progress.Feed[control.LogLine] { return b.feed }

// SetLogLevel sets how much is logged from now on.
func (b *logbook) SetLogLevel(level slog.Level) {
	if was := b.level.Level(); was != level {
		b.level.Set(min(was, level, slog.LevelInfo)) // the change itself is always told
		b.log.Info("log level changed", "from", was, "to", level)
	}
	b.level.Set(level)
}

// A logbookHandler writes each record twice: as text, and to the feed.
type logbookHandler struct {
	out  slog.Handler
	feed *progress.Feed[control.LogLine]
	// attrs are those that every record has; group is the prefix of the others.
	attrs map[string]string
	group string
}

func (h *logbookHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.out.Enabled(ctx, level)
}

func (h *logbookHandler) Handle(ctx context.Context, r slog.Record) error {
	attrs := maps.Clone(h.attrs)
	if attrs == nil {
		attrs = make(map[string]string, r.NumAttrs())
	}
	r.Attrs(func(a slog.Attr) bool {
		h.put(attrs, a)
		return true
	})
	h.feed.Add(control.LogLine{Time: r.Time.UTC(), Level: r.Level.String(), Text: clipText(r.Message), Attrs: attrs})
	return h.out.Handle(ctx, r)
}

func (h *logbookHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	sub := *h
	sub.out = h.out.WithAttrs(attrs)
	sub.attrs = maps.Clone(h.attrs)
	if sub.attrs == nil {
		sub.attrs = map[string]string{}
	}
	for _, a := range attrs {
		h.put(sub.attrs, a)
	}
	return &sub
}

func (h *logbookHandler) WithGroup(name string) slog.Handler {
	sub := *h
	sub.out = h.out.WithGroup(name)
	sub.group = h.group + name + "."
	return &sub
}

func (h *logbookHandler) put(into map[string]string, a slog.Attr) {
	into[h.group+a.Key] = clipText(a.Value.Resolve().String())
}

// clipText bounds what one text of a line takes.
func clipText(s string) string {
	if len(s) <= maxLogTextBytes {
		return s
	}
	return strings.ToValidUTF8(s[:maxLogTextBytes], "") + "…"
}

// served is what the control socket reaches.
type served struct {
	appliance
	*logbook
}

var _ control.Handler = served{}
