package tui

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Bytes prints a size in binary units with one decimal: "412.0 GiB".
func Bytes(n int64) string {
	if n < 0 {
		n = 0
	}
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	v, unit := float64(n), 0
	// 1023.95 would be rounded up to "1024.0".
	for v >= 1023.95 && unit < len(binaryUnits)-1 {
		v /= 1024
		unit++
	}
	return fmt.Sprintf("%.1f %s", v, binaryUnits[unit])
}

var binaryUnits = []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}

// Rate prints a rate in bytes a second both as disks and as lines count it:
// "22.4 MB/s (179.2 Mbit/s)".
func Rate(bytesPerSecond float64) string {
	return RateBytes(bytesPerSecond) + " (" + rateBits(bytesPerSecond) + ")"
}

// RateBytes prints a rate in bytes a second the short way: "22.4 MB/s".
func RateBytes(bytesPerSecond float64) string { return decimal(bytesPerSecond, "B/s") }

// rateBits prints a rate in bytes a second as bits: "179.2 Mbit/s".
func rateBits(bytesPerSecond float64) string { return decimal(bytesPerSecond*8, "bit/s") }

// aboutBits prints a rate in bytes a second that is known roughly: "96 Mbit/s".
func aboutBits(bytesPerSecond float64) string {
	number, unit, _ := strings.Cut(rateBits(bytesPerSecond), " ")
	whole, _, _ := strings.Cut(number, ".")
	if len(whole) > 1 {
		number = whole
	}
	return number + " " + unit
}

// decimal prints v in the decimal unit that leaves at most three digits before
// the point. What is not a positive number is 0.
func decimal(v float64, unit string) string {
	v = min(positive(v), 999.9e15)
	if v == 0 {
		return "0 " + unit
	}
	prefix := 0
	for v >= 999.95 && prefix < len(decimalPrefixes)-1 {
		v /= 1000
		prefix++
	}
	if prefix == 0 {
		return fmt.Sprintf("%.0f %s", v, unit)
	}
	return fmt.Sprintf("%.1f %s%s", v, decimalPrefixes[prefix], unit)
}

var decimalPrefixes = []string{"", "k", "M", "G", "T", "P"}

// Duration prints how long something lasts in at most two units, rounded down:
// "41s", "3m20s", "26h03m", "12d04h", "120d". It never takes more than six columns.
func Duration(d time.Duration) string {
	if d < 0 {
		d = 0
	}
	s := int64(d / time.Second)
	switch {
	case s < 60:
		return fmt.Sprintf("%ds", s)
	case s < 3600:
		return fmt.Sprintf("%dm%02ds", s/60, s%60)
	case s < 48*3600:
		return fmt.Sprintf("%dh%02dm", s/3600, s/60%60)
	case s < 100*86400:
		return fmt.Sprintf("%dd%02dh", s/86400, s/3600%24)
	case s < 1000*86400:
		return fmt.Sprintf("%dd", s/86400)
	}
	return fmt.Sprintf("%dy", s/(365*86400))
}

// Seconds prints a time that is given in seconds and may be short, such as a
// stall: "38 ms", "0.41 s", "12.3 s", "3m20s".
func Seconds(s float64) string {
	switch {
	case !(s > 0):
		return "0 ms"
	case s < 0.1:
		return fmt.Sprintf("%.0f ms", s*1000)
	case s < 9.995:
		return fmt.Sprintf("%.2f s", s)
	case s < 59.95:
		return fmt.Sprintf("%.1f s", s)
	}
	return Duration(toDuration(s))
}

// roundTrip prints a round trip time given in seconds: "38 ms", "1240 ms".
func roundTrip(s float64) string { return fmt.Sprintf("%.0f ms", min(positive(s), 1e6)*1000) }

// Ago prints how long before now t was: "41s ago", or "never" for the zero time.
func Ago(t, now time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return Duration(now.Sub(t)) + " ago"
}

// ETA prints a remaining time in seconds; "-" if it is not known.
func ETA(seconds float64) string {
	if !(seconds >= 0) || math.IsInf(seconds, 0) {
		return "-"
	}
	if seconds > 999*86400 {
		return ">999d"
	}
	return Duration(toDuration(seconds))
}

// Percent prints a share of 0 to 1: "43.7 %". It rounds down, so that 100 %
// means all of it.
func Percent(share float64) string {
	return percentNumber(share) + " %"
}

// percentNumber is Percent for a column that has the sign in its head.
func percentNumber(share float64) string {
	return fmt.Sprintf("%.1f", math.Floor(clampShare(share)*1000)/10)
}

// plural prints a count with its noun: "1 disk", "3 disks".
func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return strconv.Itoa(n) + " " + noun + "s"
}

// age prints the age of a VM's newest point: "26h03m", or "none".
func age(newest, now time.Time) string {
	if newest.IsZero() {
		return "none"
	}
	return Duration(now.Sub(newest))
}

// since prints how long ago t was, and nothing for the zero time.
func since(t, now time.Time) string {
	if t.IsZero() {
		return ""
	}
	return Duration(now.Sub(t))
}

// positive returns v, or 0 if it is negative or no number.
func positive(v float64) float64 {
	if !(v > 0) || math.IsInf(v, 0) {
		return 0
	}
	return v
}

func clampShare(v float64) float64 {
	if !(v > 0) {
		return 0
	}
	return min(v, 1)
}

// toDuration converts seconds without overflow.
func toDuration(s float64) time.Duration {
	const most = 290 * 365 * 86400 // a Duration ends after 292 years
	if !(s > 0) {
		return 0
	}
	return time.Duration(min(s, most) * float64(time.Second)).Round(time.Millisecond)
}
