package configs

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// A Duration is written with its units: "15s", "30m", "1h30m", "1d". A bare
// number is refused, because nobody agrees on what it counts.
type Duration time.Duration

// day is the one unit that Go's own durations do not have.
const day = 24 * time.Hour

// ParseDuration reads a Duration. It must not be negative.
func ParseDuration(s string) (Duration, error) {
	rest, days := s, time.Duration(0)
	if before, after, found := strings.Cut(s, "d"); found {
		n, err := strconv.ParseUint(before, 10, 16)
		if err != nil {
			return 0, badDuration(s)
		}
		rest, days = after, time.Duration(n)*day
	}
	if rest == "" && days > 0 {
		return Duration(days), nil
	}
	d, err := time.ParseDuration(rest)
	if err != nil || strings.ContainsAny(rest, "+-") || (rest == "0" && days == 0) || d > math.MaxInt64-days {
		return 0, badDuration(s)
	}
	return Duration(days + d), nil
}

func badDuration(s string) error {
	if _, err := strconv.ParseFloat(s, 64); err == nil {
		return fmt.Errorf("%q has no unit; write %q", s, s+"s")
	}
	return fmt.Errorf("%q is not a duration; write it as in \"15s\", \"30m\", \"1h\" or \"1d\"", s)
}

// String returns the shortest form that ParseDuration reads.
func (d Duration) String() string {
	if d != 0 && time.Duration(d)%day == 0 {
		return strconv.FormatInt(int64(time.Duration(d)/day), 10) + "d"
	}
	s := time.Duration(d).String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// UnmarshalText reads a Duration from a config. An error leaves d as it was.
func (d *Duration) UnmarshalText(text []byte) error {
	parsed, err := ParseDuration(string(text))
	if err == nil {
		*d = parsed
	}
	return err
}

// MarshalText writes it as a config has it.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// MarshalJSON writes seconds, as all of wanrep's JSON does.
func (d Duration) MarshalJSON() ([]byte, error) {
	return json.Marshal(time.Duration(d).Seconds())
}

// An Interval is a Duration, or "off", which is 0.
type Interval Duration

func (i Interval) String() string {
	if i == 0 {
		return "off"
	}
	return Duration(i).String()
}

// UnmarshalText reads an Interval from a config. An error leaves i as it was.
func (i *Interval) UnmarshalText(text []byte) error {
	if string(text) == "off" {
		*i = 0
		return nil
	}
	return (*Duration)(i).UnmarshalText(text)
}

// MarshalText writes it as a config has it.
func (i Interval) MarshalText() ([]byte, error) { return []byte(i.String()), nil }

// MarshalJSON writes seconds; 0 is off.
func (i Interval) MarshalJSON() ([]byte, error) { return Duration(i).MarshalJSON() }

// A Share is a part of all, written in percent: "5%".
type Share float64

// ParseShare reads a Share, which is above 0 and at most 1.
func ParseShare(s string) (Share, error) {
	number, percent := strings.CutSuffix(s, "%")
	n, err := strconv.ParseFloat(number, 64)
	if err != nil || !percent || !(n > 0 && n <= 100) {
		return 0, fmt.Errorf("%q is not a share; write it as in \"5%%\"", s)
	}
	return Share(n / 100), nil
}

func (s Share) String() string { return strconv.FormatFloat(float64(s)*100, 'f', -1, 64) + "%" }

// UnmarshalText reads a Share from a config. An error leaves s as it was.
func (s *Share) UnmarshalText(text []byte) error {
	parsed, err := ParseShare(string(text))
	if err == nil {
		*s = parsed
	}
	return err
}

// MarshalText writes it as a config has it.
func (s Share) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// MarshalJSON writes a number from 0 to 1.
func (s Share) MarshalJSON() ([]byte, error) { return json.Marshal(float64(s)) }

// A Size is a number of bytes, written with its unit: "64MiB" or "2TB".
type Size int64

// A unit is a name and how many bytes, or bytes a second, it stands for.
type unit struct {
	name  string
	bytes float64
}

// The units of a Size, the one to print with first.
var sizeUnits = []unit{
	{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1},
	{"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3},
}

// The units of a Rate; each may be followed by "/s".
var rateUnits = []unit{
	{"Gbit", 1e9 / 8}, {"Mbit", 1e6 / 8}, {"kbit", 1e3 / 8},
	{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10},
	{"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}, {"B", 1},
}

// ParseSize reads a Size.
func ParseSize(s string) (Size, error) {
	n, ok := parseUnit(s, sizeUnits)
	if !ok {
		if isNumber(s) {
			return 0, fmt.Errorf("%q has no unit; write %q or %q", s, s+"MiB", s+"B")
		}
		return 0, fmt.Errorf("%q is not a size; write it as in \"64MiB\", \"2TiB\" or \"500GB\"", s)
	}
	return Size(n), nil
}

func (s Size) String() string { return formatUnit(int64(s), sizeUnits) }

// UnmarshalText reads a Size from a config. An error leaves s as it was.
func (s *Size) UnmarshalText(text []byte) error {
	parsed, err := ParseSize(string(text))
	if err == nil {
		*s = parsed
	}
	return err
}

// MarshalText writes it as a config has it.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// MarshalJSON writes bytes.
func (s Size) MarshalJSON() ([]byte, error) { return json.Marshal(int64(s)) }

// A Rate is a number of bytes a second, written as bits or bytes with the unit:
// "200Mbit" or "25MiB". "off" is 0 and means no limit.
type Rate int64

// ParseRate reads a Rate.
func ParseRate(s string) (Rate, error) {
	if s == "off" {
		return 0, nil
	}
	n, ok := parseUnit(strings.TrimSuffix(s, "/s"), rateUnits)
	if !ok {
		if isNumber(s) {
			return 0, fmt.Errorf("%q has no unit; write %q (bits) or %q (bytes)", s, s+"Mbit", s+"MiB")
		}
		return 0, fmt.Errorf("%q is not a rate; write it as in \"200Mbit\" (bits), \"25MiB\" (bytes) or \"off\"", s)
	}
	if n == 0 {
		return 0, fmt.Errorf("a rate of %q would stop everything; \"off\" means no limit", s)
	}
	return Rate(n), nil
}

func (r Rate) String() string {
	if r == 0 {
		return "off"
	}
	return formatUnit(int64(r), rateUnits)
}

// UnmarshalText reads a Rate from a config. An error leaves r as it was.
func (r *Rate) UnmarshalText(text []byte) error {
	parsed, err := ParseRate(string(text))
	if err == nil {
		*r = parsed
	}
	return err
}

// MarshalText writes it as a config has it.
func (r Rate) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// MarshalJSON writes bytes a second; 0 is no limit.
func (r Rate) MarshalJSON() ([]byte, error) { return json.Marshal(int64(r)) }

func isNumber(s string) bool {
	_, err := strconv.ParseFloat(s, 64)
	return err == nil
}

// parseUnit reads a number that is not negative and one of the units behind it.
func parseUnit(s string, units []unit) (int64, bool) {
	number := strings.TrimRight(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
	for _, u := range units {
		if s[len(number):] != u.name {
			continue
		}
		n, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		n *= u.bytes
		// Written so that it is false for a NaN.
		if err != nil || !(n >= 0 && n < 1<<62) {
			return 0, false
		}
		return int64(n), true
	}
	return 0, false
}

// formatUnit writes n with the first unit that divides it.
func formatUnit(n int64, units []unit) string {
	for _, u := range units {
		if v := float64(n) / u.bytes; v >= 1 && v == math.Trunc(v) {
			return strconv.FormatInt(int64(v), 10) + u.name
		}
	}
	return strconv.FormatInt(n, 10) + "B"
}
