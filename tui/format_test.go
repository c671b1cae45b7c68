package tui

import (
	"math"
	"testing"
	"time"
)

func TestFormats(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	now := time.Date(2026, 11, 24, 11, 20, 7, 0, time.UTC)
	tests := []struct{ name, got, want string }{
		{"no bytes", Bytes(0), "0 B"},
		{"negative bytes", Bytes(-5), "0 B"},
		{"bytes", Bytes(1023), "1023 B"},
		{"KiB", Bytes(1024), "1.0 KiB"},
		{"never 1024.0 of a unit", Bytes(1<<20 - 1), "1.0 MiB"},
		{"the largest disk", Bytes(64 << 40), "64.0 TiB"},
		{"all there are", Bytes(math.MaxInt64), "8.0 EiB"},

		{"rate", Rate(22.4e6), "22.4 MB/s (179.2 Mbit/s)"},
		{"no rate", Rate(0), "0 B/s (0 bit/s)"},
		{"NaN", Rate(nan), "0 B/s (0 bit/s)"},
		{"infinite rate", RateBytes(inf), "0 B/s"},
		{"negative rate", RateBytes(-1), "0 B/s"},
		{"never 1000.0 of a unit", RateBytes(999_960), "1.0 MB/s"},
		{"slow", RateBytes(999), "999 B/s"},

		{"seconds", Duration(41 * time.Second), "41s"},
		{"rounded down", Duration(59*time.Second + 999*time.Millisecond), "59s"},
		{"minutes", Duration(200 * time.Second), "3m20s"},
		{"hours", Duration(26*time.Hour + 3*time.Minute), "26h03m"},
		{"days", Duration(12*24*time.Hour + 4*time.Hour), "12d04h"},
		{"many days", Duration(120 * 24 * time.Hour), "120d"},
		{"years", Duration(math.MaxInt64), "292y"},
		{"negative", Duration(-time.Hour), "0s"},

		{"round trip", roundTrip(0.038), "38 ms"},
		{"long round trip", roundTrip(0.1004), "100 ms"},
		{"NaN round trip", roundTrip(nan), "0 ms"},
		{"short stall", Seconds(0.038), "38 ms"},
		{"stall", Seconds(0.414), "0.41 s"},
		{"long stall", Seconds(21.6), "21.6 s"},
		{"longer stall", Seconds(200), "3m20s"},
		{"NaN seconds", Seconds(nan), "0 ms"},
		{"endless seconds", Seconds(inf), "290y"},

		{"ago", Ago(now.Add(-41*time.Second), now), "41s ago"},
		{"never", Ago(time.Time{}, now), "never"},
		{"in the future", Ago(now.Add(time.Hour), now), "0s ago"},

		{"ETA", ETA(3418), "56m58s"},
		{"unknown", ETA(-1), "-"},
		{"NaN ETA", ETA(nan), "-"},
		{"infinite", ETA(inf), "-"},
		{"endless", ETA(1e12), ">999d"},

		{"percent", Percent(0.437), "43.7 %"},
		{"not yet all", Percent(0.99999), "99.9 %"},
		{"all", Percent(1), "100.0 %"},
		{"more than all", Percent(734.4), "100.0 %"},
		{"less than nothing", Percent(-1), "0.0 %"},
		{"NaN percent", Percent(nan), "0.0 %"},
	}
	for _, tt := range tests {
		if tt.got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, tt.got, tt.want)
		}
	}
}

// No duration is wider than its column.
func TestDurationWidth(t *testing.T) {
	for d := time.Duration(0); d < 2000*24*time.Hour; d += 7*time.Minute + 13*time.Second {
		if s := Duration(d); len(s) > 6 {
			t.Fatalf("%v prints as %q", d, s)
		}
	}
}
