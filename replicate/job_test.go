package replicate

import (
	"testing"
	"time"
	_ "time/tzdata" // the machine may have none
)

func TestScheduleNext(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, schedule, now, want string
	}{
		{"every hour", "every 1h", "2026-11-24 10:20", "2026-11-24 11:00"},
		{"on the hour", "every 1h", "2026-11-24 11:00", "2026-11-24 12:00"},
		{"counts from midnight", "every 4h", "2026-11-24 21:00", "2026-11-25 00:00"},
		{"an odd period starts anew each day", "every 5h", "2026-11-24 21:00", "2026-11-25 00:00"},
		{"daily, today", "daily 22:00", "2026-11-24 10:00", "2026-11-24 22:00"},
		{"daily, tomorrow", "daily 22:00", "2026-11-24 22:00", "2026-11-25 22:00"},
		{"daily over the change to winter", "daily 22:00", "2026-10-24 23:00", "2026-10-25 22:00"},
		{"daily over the change to summer", "daily 22:00", "2027-03-27 23:00", "2027-03-28 22:00"},
		{"manual", "manual", "2026-11-24 10:00", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s, err := ParseSchedule(test.schedule)
			if err != nil {
				t.Fatal(err)
			}
			if s.String() != test.schedule {
				t.Errorf("prints as %q, want %q", s, test.schedule)
			}
			now, err := time.ParseInLocation("2006-01-02 15:04", test.now, berlin)
			if err != nil {
				t.Fatal(err)
			}
			next, ok := s.Next(now)
			got := ""
			if ok {
				got = next.Format("2006-01-02 15:04")
			}
			if got != test.want {
				t.Errorf("next after %s: got %q, want %q", test.now, got, test.want)
			}
		})
	}
}

func TestSchedulePeriod(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"every 15m": 15 * time.Minute, "every 48h": 48 * time.Hour, "daily 22:00": 24 * time.Hour, "continuous": 0, "manual": 0,
	} {
		s, err := ParseSchedule(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.Period(); got != want {
			t.Errorf("%s: period %v, want %v", text, got, want)
		}
	}
}

func TestBadSchedules(t *testing.T) {
	for _, s := range []string{"every", "every 5", "every 1s", "every -1h", "daily", "daily 25:00", "hourly", "manual now"} {
		if got, err := ParseSchedule(s); err == nil {
			t.Errorf("%q is accepted as %v", s, got)
		}
	}
}
