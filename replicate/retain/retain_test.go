package retain

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var now = time.Date(2026, 11, 24, 19, 0, 0, 0, time.UTC)

// every returns n points, gap apart, the newest an hour ago.
func every(gap time.Duration, n int) (points []Point) {
	for i := range n {
		at := now.Add(-time.Hour - time.Duration(n-1-i)*gap)
		points = append(points, Point{Name: fmt.Sprintf("%016x", i+1), Time: at})
	}
	return points
}

const day = 24 * time.Hour

// told returns the plan as lines "number: keep|remove: reasons".
func told(p Plan) string {
	var b strings.Builder
	for _, d := range p.Decisions {
		what := "remove"
		if d.Keep {
			what = "keep"
		}
		fmt.Fprintf(&b, "%s %s: %s\n", strings.TrimLeft(d.Name, "0"), what, strings.Join(d.Reasons, ", "))
	}
	if p.Held != "" {
		fmt.Fprintf(&b, "held: %s\n", p.Held)
	}
	return b.String()
}

func TestPlan(t *testing.T) {
	damaged := every(day, 6)
	for _, i := range []int{1, 4} {
		damaged[i].Damaged = "disk os: 1 block"
	}
	lost := every(day, 3)
	lost[0].Lost, lost[1].Lost, lost[1].Damaged = true, true, "it is missing"
	mostlyDamaged := every(day, 8)
	for i := range 5 {
		mostlyDamaged[i].Damaged = "disk os: 1 block"
	}
	pinned := every(day, 4)
	pinned[1].Pinned = "it is being read"
	tests := []struct {
		name   string
		points []Point
		rules  Rules
		want   string
	}{
		{"no rule", every(day, 2), Rules{MinAge: day}, "1 keep: every point is kept\n2 keep: newest, younger than 1 day\n"},
		{"last", every(day, 4), Rules{Last: 2}, "1 remove: beyond last 2\n2 remove: beyond last 2\n3 keep: last 2 of 2\n4 keep: last 1 of 2\n"},
		{"minimum age", every(day, 4), Rules{Last: 1, MinAge: 2 * day}, `1 remove: beyond last 1
2 remove: beyond last 1
3 keep: younger than 2 days
4 keep: last 1 of 1, younger than 2 days
`},
		{"calendar", every(12*time.Hour, 5), Rules{Daily: 2, Weekly: 2, Monthly: 1}, `1 keep: weekly 2026-W47
2 remove: beyond daily 2, weekly 2, monthly 1
3 keep: daily 2026-11-23
4 remove: beyond daily 2, weekly 2, monthly 1
5 keep: daily 2026-11-24, weekly 2026-W48, monthly 2026-11
`},
		{"damaged points take no place", damaged, Rules{Last: 3}, `1 remove: beyond last 3
2 remove: beyond last 3, damaged: disk os: 1 block
3 keep: last 3 of 3
4 keep: last 2 of 3
5 keep: damaged: disk os: 1 block
6 keep: last 1 of 3
`},
		{"damaged points of days", damaged, Rules{Daily: 5}, `1 keep: daily 2026-11-19
2 keep: damaged: disk os: 1 block
3 keep: daily 2026-11-21
4 keep: daily 2026-11-22
5 keep: damaged: disk os: 1 block
6 keep: daily 2026-11-24
`},
		{"what can't be read stays", lost, Rules{Last: 1}, "1 keep: damaged\n2 keep: damaged: it is missing\n3 keep: last 1 of 1\n"},
		{"most of the good ones", mostlyDamaged, Rules{Last: 1}, `1 remove: beyond last 1, damaged: disk os: 1 block
2 remove: beyond last 1, damaged: disk os: 1 block
3 remove: beyond last 1, damaged: disk os: 1 block
4 remove: beyond last 1, damaged: disk os: 1 block
5 remove: beyond last 1, damaged: disk os: 1 block
6 remove: beyond last 1
7 remove: beyond last 1
8 keep: last 1 of 1
held: 7 of 8 points would go at once, more than half
`},
		{"most of the good ones, and few of all", mostlyDamaged[3:], Rules{Last: 1, MinAge: 2 * day}, `4 remove: beyond last 1, damaged: disk os: 1 block
5 remove: beyond last 1, damaged: disk os: 1 block
6 remove: beyond last 1
7 keep: younger than 2 days
8 keep: last 1 of 1, younger than 2 days
held: 3 of 5 points would go at once, more than half
`},
		{"pinned", pinned, Rules{Last: 2}, "1 remove: beyond last 2\n2 keep: it is being read\n3 keep: last 2 of 2\n4 keep: last 1 of 2\n"},
		{"more than half", every(day, 5), Rules{Last: 2}, `1 remove: beyond last 2
2 remove: beyond last 2
3 remove: beyond last 2
4 keep: last 2 of 2
5 keep: last 1 of 2
held: 3 of 5 points would go at once, more than half
`},
		{"nothing", nil, Rules{Last: 1}, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := told(test.rules.Plan(test.points, now)); got != test.want {
				t.Errorf("got\n%swant\n%s", got, test.want)
			}
		})
	}
}

// The clock of a plan that would remove the oldest of some points.
func TestHeldByTheClock(t *testing.T) {
	tests := []struct {
		name   string
		change func(points []Point) time.Time // returns now
		want   string                         // part of why; empty for not held
	}{
		{"even", func([]Point) time.Time { return now }, ""},
		{"a point missing", func([]Point) time.Time { return now.Add(2 * day) }, ""},
		{"ahead, and no point since", func([]Point) time.Time { return now.AddDate(10, 0, 0) }, "the newest, and never more than 24h0m0s before: the clock may have gone ahead"},
		{"ahead, and a point since", func(points []Point) time.Time {
			at := now.AddDate(10, 0, 0)
			points[len(points)-1].Time = at.Add(-time.Hour)
			return at
		}, "never more than 24h0m0s before: the clock may have gone ahead"},
		{"ahead, a minimum age ago", func(points []Point) time.Time {
			for i := 9; i < len(points); i++ {
				points[i].Time = points[i].Time.AddDate(10, 0, 0)
			}
			return now.AddDate(10, 0, 0)
		}, ""},
		{"back", func([]Point) time.Time { return now.Add(-2 * day) }, "is from the future"},
		{"a second back", func([]Point) time.Time { return now.Add(-time.Hour - time.Second) }, ""},
		{"a point of the future among others", func(points []Point) time.Time {
			points[3].Time = now.AddDate(1, 0, 0)
			return now
		}, "point 0000000000000004 is from the future, 2027-11-24 19:00 UTC: the clock went back"},
		{"set back between two points", func(points []Point) time.Time {
			points[17].Time = points[16].Time.Add(-time.Hour)
			return now
		}, "point 0000000000000012 is older than point 0000000000000011, which was committed before it"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			points := every(day, 20)
			at := test.change(points)
			p := Rules{Last: 11, MinAge: 7 * day}.Plan(points, at)
			if len(p.Remove()) == 0 {
				t.Fatal("nothing would go")
			}
			if (test.want == "") != (p.Held == "") || !strings.Contains(p.Held, test.want) {
				t.Errorf("held: %q, want %q", p.Held, test.want)
			}
		})
	}
}

// Days are those of the calendar: one of 25 hours is one day.
func TestDaysOfTheLocalCalendar(t *testing.T) {
	paris, err := time.LoadLocation("Europe/Paris")
	if err != nil {
		t.Skip("no time zones: ", err)
	}
	at := func(d, hour, minute int) time.Time { return time.Date(2026, 10, d, hour, minute, 0, 0, paris).UTC() }
	points := []Point{
		{Name: "1", Time: at(24, 23, 59)},
		{Name: "2", Time: at(25, 0, 0)}, // a day of 25 hours begins
		{Name: "3", Time: at(25, 23, 59)},
		{Name: "4", Time: at(26, 0, 0)},
	}
	p := Rules{Daily: 3}.Plan(points, time.Date(2026, 10, 26, 1, 0, 0, 0, paris))
	want := "1 keep: daily 2026-10-24\n2 remove: beyond daily 3\n3 keep: daily 2026-10-25\n4 keep: daily 2026-10-26\n"
	if got := told(p); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func drawRules(t *rapid.T, name string) Rules {
	n := rapid.IntRange(0, 5)
	return Rules{
		Last: n.Draw(t, name+" last"), Daily: n.Draw(t, name+" daily"), Weekly: n.Draw(t, name+" weekly"), Monthly: n.Draw(t, name+" monthly"),
		MinAge: time.Duration(rapid.IntRange(0, 20).Draw(t, name+" days")) * day,
	}
}

func drawPoints(t *rapid.T) (points []Point) {
	at := now.Add(-time.Duration(rapid.IntRange(0, 2000).Draw(t, "begin")) * time.Hour)
	for i := range rapid.IntRange(0, 30).Draw(t, "points") {
		// Now and then the clock is set.
		at = at.Add(time.Duration(rapid.IntRange(-10, 72).Draw(t, "hours")) * time.Hour)
		p := Point{Name: fmt.Sprintf("%016x", i+1), Time: at, Lost: rapid.IntRange(0, 19).Draw(t, "lost") == 0}
		if rapid.IntRange(0, 6).Draw(t, "damaged") == 0 {
			p.Damaged = "disk os: 1 block"
		}
		if rapid.IntRange(0, 9).Draw(t, "pinned") == 0 {
			p.Pinned = "it is being read"
		}
		points = append(points, p)
	}
	return points
}

func only(points []Point, want func(Point) bool) (some []Point) {
	for _, p := range points {
		if want(p) {
			some = append(some, p)
		}
	}
	return some
}

func TestPlanProperties(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		points, rules := drawPoints(rt), drawRules(rt, "rules")
		p := rules.Plan(points, now)
		kept := map[string]bool{}
		var left []Point
		newest := ""
		for i, d := range p.Decisions {
			if d.Point != points[i] || len(d.Reasons) == 0 {
				rt.Fatalf("point %d became %+v", i, d)
			}
			if d.good() {
				newest = d.Name
			}
			if !d.Keep && (d.Age < rules.MinAge || d.Lost || d.Pinned != "" || rules.KeepAll()) {
				rt.Fatalf("%+v goes, by %+v", d, rules)
			}
			if !d.Keep && d.Damaged != "" && !strings.Contains(strings.Join(d.Reasons, ", "), d.Damaged) {
				rt.Fatalf("%+v goes, and nobody is told that it is damaged", d)
			}
			if d.Keep {
				kept[d.Name] = true
				left = append(left, d.Point)
			}
		}
		if newest != "" && !kept[newest] {
			rt.Fatalf("the newest point, %s, goes", newest)
		}
		good := func(p Point) bool { return p.good() }
		if want := min(rules.Last, len(only(points, good))); len(only(left, good)) < want {
			rt.Fatalf("%d good points stay, want %d", len(only(left, good)), want)
		}
		removed := p.Remove()
		if p.Held == "" && 2*len(removed) > len(points) || p.Held != "" && len(removed) == 0 {
			rt.Fatalf("%d of %d points go, held: %q", len(removed), len(points), p.Held)
		}
		if again := rules.Plan(left, now).Remove(); len(again) > 0 {
			rt.Fatalf("%v go the second time", again)
		}

		more := rules
		grow := drawRules(rt, "more")
		more.Last, more.Daily, more.Weekly = more.Last+grow.Last, more.Daily+grow.Daily, more.Weekly+grow.Weekly
		more.Monthly, more.MinAge = more.Monthly+grow.Monthly, more.MinAge+grow.MinAge
		for _, name := range more.Plan(points, now).Remove() {
			if kept[name] && !rules.KeepAll() {
				rt.Fatalf("%s goes by %+v and stays by %+v", name, more, rules)
			}
		}
		if !slices.IsSorted(removed) {
			rt.Fatalf("%v go, not the oldest first", removed)
		}
	})
}
