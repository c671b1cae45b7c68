package configs

import (
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

func TestParseDuration(t *testing.T) {
	tests := []struct {
		text string
		want time.Duration
		fail string
	}{
		{text: "15s", want: 15 * time.Second},
		{text: "1h30m", want: 90 * time.Minute},
		{text: "1d", want: 24 * time.Hour},
		{text: "2d12h", want: 60 * time.Hour},
		{text: "500ms", want: 500 * time.Millisecond},
		{text: "0s"},
		{text: "15", fail: `"15" has no unit; write "15s"`},
		{text: "0", fail: `"0" has no unit; write "0s"`},
		{text: "", fail: "is not a duration"},
		{text: "d", fail: "is not a duration"},
		{text: "-1s", fail: "is not a duration"},
		{text: "+1d", fail: "is not a duration"},
		{text: "1d-1s", fail: "is not a duration"},
		{text: "1.5d", fail: "is not a duration"},
		{text: "65535d2562047h", fail: "is not a duration"},
		{text: "15 s", fail: "is not a duration"},
	}
	for _, tt := range tests {
		t.Run(tt.text, func(t *testing.T) {
			got, err := ParseDuration(tt.text)
			if tt.fail != "" {
				if err == nil || !strings.Contains(err.Error(), tt.fail) {
					t.Fatalf("got %v, %v; want an error with %q", got, err, tt.fail)
				}
				return
			}
			if err != nil || time.Duration(got) != tt.want {
				t.Fatalf("got %v, %v; want %v", got, err, tt.want)
			}
		})
	}
}

func TestParseIntervalAndShare(t *testing.T) {
	var i Interval
	for _, text := range []string{"off", "1h30m", "1d"} {
		if err := i.UnmarshalText([]byte(text)); err != nil || i.String() != text {
			t.Errorf("%q became %v: %v", text, i, err)
		}
	}
	if err := i.UnmarshalText([]byte("never")); err == nil || i != Interval(day) {
		t.Errorf("\"never\" became %v: %v", i, err)
	}
	var s Share
	for _, text := range []string{"5%", "100%", "0.25%"} {
		if err := s.UnmarshalText([]byte(text)); err != nil || s.String() != text {
			t.Errorf("%q became %v: %v", text, s, err)
		}
	}
	for _, text := range []string{"5", "0%", "101%", "-1%", "NaN%", "%", ""} {
		if err := s.UnmarshalText([]byte(text)); err == nil || s != 0.0025 {
			t.Errorf("%q became %v: %v", text, s, err)
		}
	}
}

func TestParseSizeAndRate(t *testing.T) {
	tests := []struct {
		text       string
		size, rate int64 // -1: refused
	}{
		{"64MiB", 64 << 20, 64 << 20},
		{"1.5GiB", 3 << 29, 3 << 29},
		{"2TB", 2e12, -1},
		{"512B", 512, 512},
		{"0B", 0, -1},
		{"200Mbit", -1, 25e6},
		{"200Mbit/s", -1, 25e6},
		{"25MiB/s", -1, 25 << 20},
		{"off", -1, 0},
		{"64", -1, -1},
		{"64mib", -1, -1},
		{"-1MiB", -1, -1},
		{"NaNMiB", -1, -1},
		{"1e30TiB", -1, -1},
		{"", -1, -1},
	}
	for _, tt := range tests {
		t.Run(tt.text, func(t *testing.T) {
			size, err := ParseSize(tt.text)
			if got := orRefused(int64(size), err); got != tt.size {
				t.Errorf("size: got %d (%v), want %d", got, err, tt.size)
			}
			rate, err := ParseRate(tt.text)
			if got := orRefused(int64(rate), err); got != tt.rate {
				t.Errorf("rate: got %d (%v), want %d", got, err, tt.rate)
			}
		})
	}
	for text, want := range map[string]string{"64": `write "64MiB" or "64B"`, "64X": "as in"} {
		if _, err := ParseSize(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("size %s: got %v, want %s", text, err, want)
		}
	}
	if _, err := ParseRate("64"); err == nil || !strings.Contains(err.Error(), `write "64Mbit" (bits) or "64MiB" (bytes)`) {
		t.Errorf("got %v", err)
	}
}

func orRefused(n int64, err error) int64 {
	if err != nil {
		return -1
	}
	return n
}

func TestUnitsReadWhatTheyPrint(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 10000 {
		// Of every magnitude, so that each unit is met.
		d := Duration(random.Int64() >> random.IntN(63))
		if got, err := ParseDuration(d.String()); err != nil || got != d {
			t.Fatalf("duration %v: got %v, %v", d, got, err)
		}
		n := random.Int64N(1<<53) >> random.IntN(53)
		if got, err := ParseSize(Size(n).String()); err != nil || got != Size(n) {
			t.Fatalf("size %v: got %v, %v", Size(n), got, err)
		}
		if got, err := ParseRate(Rate(n).String()); err != nil || got != Rate(n) {
			t.Fatalf("rate %v: got %v, %v", Rate(n), got, err)
		}
	}
}

func TestUnitsPrintShort(t *testing.T) {
	tests := map[string]string{
		Duration(30 * time.Minute).String():              "30m",
		Duration(90 * time.Minute).String():              "1h30m",
		Duration(24 * time.Hour).String():                "1d",
		Duration(10*time.Hour + 10*time.Second).String(): "10h0m10s",
		Duration(0).String():                             "0s",
		Size(64 << 20).String():                          "64MiB",
		Rate(25e6).String():                              "200Mbit",
	}
	for got, want := range tests {
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	doc, err := json.Marshal(struct {
		D Duration
		S Size
		R Rate
	}{Duration(90 * time.Second), 1024, 25})
	if err != nil || string(doc) != `{"D":90,"S":1024,"R":25}` {
		t.Errorf("got %s, %v", doc, err)
	}
}
