package main

import (
	"bytes"
	"errors"
	"log/slog"
	"reflect"
	"strings"
	"testing"
)

func TestLogbook(t *testing.T) {
	var out bytes.Buffer
	b := newLogbook(&out, slog.LevelInfo)
	sub := b.log.With("peer", "dr").WithGroup("link").With("path", "fibre")
	sub.Debug("not told")
	sub.Info("attached", "attempt", 3)
	b.log.Warn("lost", "err", errors.New("no route"))
	b.SetLogLevel(slog.LevelDebug)
	sub.Debug("probed")
	b.log.Info(strings.Repeat("x", 2*maxLogTextBytes))

	type told struct {
		level, text string
		attrs       map[string]string
	}
	var got []told
	for _, l := range b.Logs().Recent() {
		got = append(got, told{l.Level, l.Text, l.Attrs})
	}
	want := []told{
		{"INFO", "attached", map[string]string{"peer": "dr", "link.path": "fibre", "link.attempt": "3"}},
		{"WARN", "lost", map[string]string{"err": "no route"}},
		{"INFO", "log level changed", map[string]string{"from": "INFO", "to": "DEBUG"}},
		{"DEBUG", "probed", map[string]string{"peer": "dr", "link.path": "fibre"}},
		{"INFO", strings.Repeat("x", maxLogTextBytes) + "…", map[string]string{}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if text := out.String(); !strings.Contains(text, "msg=attached peer=dr link.path=fibre link.attempt=3") || strings.Contains(text, "not told") {
		t.Errorf("the stream has\n%s", text)
	}
}
