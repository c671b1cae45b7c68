package progress

import (
	"context"
	"fmt"
	"reflect"
	"testing"
	"testing/synctest"
	"time"
)

func TestRatesAndETA(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		b := NewBoard("source", "branch", "1.0")
		go b.Run(ctx)
		time.Sleep(time.Second / 2) // between two ticks
		const perSecond = 1 << 20
		for range 120 {
			b.Disk("", "sql01", "os", func(d *Disk) {
				d.State = Sending
				d.Read += perSecond
				d.Data += perSecond
				d.Wire += perSecond / 2
				d.Left = 10 * perSecond
			})
			time.Sleep(time.Second)
			if d := b.Status().VMs[0].Disks[0]; d.WireRate < 0.9*perSecond/2 {
				t.Fatalf("wire rate %v after seconds of %v", d.WireRate, perSecond/2)
			}
		}
		d := b.Status().VMs[0].Disks[0]
		if d.ReadRate < 0.99*perSecond || d.ReadRate > 1.01*perSecond {
			t.Errorf("read rate %v, want about %v", d.ReadRate, perSecond)
		}
		if d.ETA < 9.9 || d.ETA > 10.1 {
			t.Errorf("ETA %v s, want about 10", d.ETA)
		}

		b.Disk("", "sql01", "os", func(d *Disk) { d.DiskTotals = DiskTotals{}; d.State = Stalled })
		time.Sleep(2 * time.Second)
		s := b.Status()
		if d := s.VMs[0].Disks[0]; d.WireRate != 0 || d.ETA != -1 {
			t.Errorf("a stalled disk has wire rate %v and ETA %v, want 0 and -1", d.WireRate, d.ETA)
		}
		if last := s.Samples[len(s.Samples)-1]; last.Wire != 0 {
			t.Errorf("sample of a stalled second: %v", last)
		}
		cancel()
		synctest.Wait()
	})
}

func TestStatusIsACopy(t *testing.T) {
	b := NewBoard("source", "branch", "1.0")
	b.Disk("", "sql01", "os", func(d *Disk) { d.Durable = 1 })
	b.Link("dr", func(l *Link) { l.Uplinks = []Uplink{{Name: "fibre", State: UplinkActive}} })
	s := b.Status()
	b.Disk("", "sql01", "os", func(d *Disk) { d.Durable = 2 })
	b.Link("dr", func(l *Link) { l.Uplinks[0].State = UplinkDown })
	if got := s.VMs[0].Disks[0].Durable; got != 1 {
		t.Errorf("a copy changed with the board: durable %d, want 1", got)
	}
	if got := s.Links[0].Uplinks[0].State; got != UplinkActive {
		t.Errorf("a copy changed with the board: uplink %s, want %s", got, UplinkActive)
	}
}

func TestLagAgainstRPO(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBoard("source", "branch", "1.0")
		b.VM("", "never", func(v *VM) { v.RPO = 3600 })
		b.VM("", "sql01", func(v *VM) { v.RPO, v.Newest = 3600, time.Now().UTC() })
		b.VM("", "any", func(v *VM) { v.Newest = time.Now().UTC() })
		time.Sleep(time.Hour)
		s := b.Status()
		for _, v := range s.VMs {
			if want := v.VM == "never"; v.Late() != want {
				t.Errorf("VM %s after an hour: late %v, want %v", v.VM, v.Late(), want)
			}
		}
		if got := s.VMs[1].Lag; got != 3600 {
			t.Errorf("lag %v, want 3600", got)
		}
		time.Sleep(time.Second)
		s = b.Status()
		if !s.VMs[1].Late() || s.VMs[2].Late() {
			t.Errorf("late with an RPO of an hour %v, without one %v; want true, false", s.VMs[1].Late(), s.VMs[2].Late())
		}
	})
}

func TestEventsAreLimited(t *testing.T) {
	b := NewBoard("source", "branch", "1.0")
	for i := range 3 * maxEvents {
		b.Event(Event{Text: fmt.Sprint(i)})
	}
	events := b.Status().Events
	if len(events) != maxEvents || events[maxEvents-1].Text != fmt.Sprint(3*maxEvents-1) {
		t.Errorf("%d events, the last is %q", len(events), events[len(events)-1].Text)
	}
}

func TestALostLinkIsLostSinceTheLoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBoard("source", "branch", "1.0")
		enter := func(state string) {
			b.Link("dr", func(l *Link) { l.State = state })
			time.Sleep(time.Minute)
		}
		enter(LinkUp)
		lost := time.Now()
		enter(LinkDialing)
		enter(LinkRedial)
		if got := b.Status().Links[0].Since; !got.Equal(lost) {
			t.Errorf("redialed since %v, want %v", got, lost)
		}
		back := time.Now()
		enter(LinkUp)
		if got := b.Status().Links[0].Since; !got.Equal(back) {
			t.Errorf("up since %v, want %v", got, back)
		}
	})
}

func TestSnapshots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		b := NewBoard("source", "branch", "1.0")
		go b.Run(ctx)
		time.Sleep(time.Second / 2) // between two ticks
		b.Disk("", "sql01", "os", func(d *Disk) { d.State, d.Durable = Sending, 1 })
		first := b.Snapshot()
		if len(first.VMs) != 1 || first.VMs[0].Disks[0].Durable != 1 {
			t.Fatalf("a new disk is not in the snapshot: %+v", first.VMs)
		}
		b.Disk("", "sql01", "os", func(d *Disk) { d.Durable = 2 })
		if got := b.Snapshot().VMs[0].Disks[0].Durable; got != 1 {
			t.Errorf("a number moved on and a snapshot was taken for it: durable %d", got)
		}
		time.Sleep(time.Second)
		if got := b.Snapshot().VMs[0].Disks[0].Durable; got != 2 {
			t.Errorf("a second later durable is %d, want 2", got)
		}
		for name, change := range map[string]func(){
			"disk":  func() { b.Disk("", "sql01", "os", func(d *Disk) { d.State = Stalled }) },
			"VM":    func() { b.VM("", "sql01", func(v *VM) { v.Points = 3 }) },
			"job":   func() { b.Job("nightly", func(j *Job) { j.Outcome = Parked }) },
			"link":  func() { b.Link("dr", func(l *Link) { l.State = LinkUp }) },
			"event": func() { b.Event(Event{Text: "something"}) },
			"pause": func() { b.SetPause(Pause{Paused: true}) },
			"rate":  func() { b.SetMaxRate(1) },
		} {
			before := b.Snapshot()
			change()
			if reflect.DeepEqual(before, b.Snapshot()) {
				t.Errorf("%s: the change is not seen at once", name)
			}
		}
		if first.VMs[0].Disks[0].Durable != 1 {
			t.Error("a snapshot changed")
		}
		cancel()
		synctest.Wait()
	})
}
