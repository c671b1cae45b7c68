package replicate

import (
	"fmt"
	"strings"
	"time"
)

// A Disk is one disk of a VM at the source.
type Disk struct {
	Name string
	Path string
}

// A VM is a set of disks that belong together.
type VM struct {
	Name  string
	Disks []Disk
}

// A Job says which VMs go to which peer, and when.
type Job struct {
	Name     string
	Peer     string
	VMs      []string
	Schedule Schedule
	// Retries is how often a scheduled run that failed is tried again, for the
	// VMs that failed only, and RetryWait the pause before each.
	Retries   int
	RetryWait time.Duration
	// RPO is how old the newest point of each VM may become; 0 is any age.
	RPO time.Duration
}

// pause is the rest between two runs of a continuous job, so that one that fails
// at once does not spin.
const pause = 15 * time.Second

// A Schedule says when a job runs. The zero value is "manual".
type Schedule struct {
	text       string // as ParseSchedule read it
	every      time.Duration
	daily      bool
	at         time.Duration // after midnight, for daily
	continuous bool
}

// ParseSchedule reads "manual", "continuous", "every 1h" or "daily 22:00".
func ParseSchedule(s string) (Schedule, error) {
	word, rest, _ := strings.Cut(strings.TrimSpace(s), " ")
	rest = strings.TrimSpace(rest)
	switch {
	case s == "", word == "manual" && rest == "":
		return Schedule{}, nil
	case word == "continuous" && rest == "":
		return Schedule{text: word, continuous: true}, nil
	case word == "every":
		d, err := time.ParseDuration(rest)
		if err != nil || d < time.Minute {
			return Schedule{}, fmt.Errorf("schedule %q: write a time of one minute or more, as in \"every 1h\"", s)
		}
		return Schedule{text: word + " " + rest, every: d}, nil
	case word == "daily":
		t, err := time.Parse("15:04", rest)
		if err != nil {
			return Schedule{}, fmt.Errorf("schedule %q: write a time of day, as in \"daily 22:00\"", s)
		}
		at := time.Duration(t.Hour())*time.Hour + time.Duration(t.Minute())*time.Minute
		return Schedule{text: word + " " + rest, daily: true, at: at}, nil
	}
	return Schedule{}, fmt.Errorf("schedule %q: write \"every 1h\", \"daily 22:00\", \"continuous\" or \"manual\"", s)
}

func (s Schedule) String() string {
	if s.text == "" {
		return "manual"
	}
	return s.text
}

// Next returns when a run is due after now; ok is false for "manual". Periods
// count from midnight, so that "every 4h" is at 0, 4, 8 … o'clock, in now's zone.
func (s Schedule) Next(now time.Time) (next time.Time, ok bool) {
	midnight := time.Date(now.Year(), now.Month(), now.Day(), 0, 0, 0, 0, now.Location())
	switch {
	case s.continuous:
		return now.Add(pause), true
	case s.daily:
		next = timeOfDay(midnight, s.at)
		if !next.After(now) {
			next = timeOfDay(midnight.AddDate(0, 0, 1), s.at)
		}
		return next, true
	case s.every > 0:
		tomorrow := midnight.AddDate(0, 0, 1)
		next = midnight.Add((now.Sub(midnight)/s.every + 1) * s.every)
		if next.After(tomorrow) && s.every < 24*time.Hour {
			next = tomorrow
		}
		return next, true
	}
	return time.Time{}, false
}

// Period is the time between two runs. It is 0 where there is none: a manual job
// runs when somebody wants, and a continuous one as long as it takes.
func (s Schedule) Period() time.Duration {
	if s.daily {
		return 24 * time.Hour
	}
	return s.every
}

// timeOfDay is the wall clock's time of day, also on days with 23 or 25 hours.
func timeOfDay(midnight time.Time, at time.Duration) time.Time {
	return time.Date(midnight.Year(), midnight.Month(), midnight.Day(),
		int(at/time.Hour), int(at%time.Hour/time.Minute), 0, 0, midnight.Location())
}
