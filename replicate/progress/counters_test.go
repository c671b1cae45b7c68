package progress

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestDiskCountersOnlyGrow(t *testing.T) {
	b := NewBoard("source", "branch", "1.0")
	run := func(point string, totals DiskTotals, durable int64, state string) {
		b.VM("", "sql01", func(v *VM) { v.Point = point })
		b.Disk("", "sql01", "os", func(d *Disk) { d.DiskTotals, d.Durable, d.State = totals, durable, state })
		b.measure()
	}
	run("1", DiskTotals{Read: 10, Data: 8, Wire: 6, SkippedZero: 2}, 5, Sending)
	run("1", DiskTotals{Read: 15, Data: 12, Wire: 9, SkippedZero: 3}, 0, Sending) // it is sent anew
	run("1", DiskTotals{Read: 15, Data: 12, Wire: 9, SkippedZero: 3}, 0, Failed)
	run("2", DiskTotals{}, 0, Sending) // the next run
	run("2", DiskTotals{Read: 4, Data: 4, Wire: 3}, 4, Committed)
	got := b.Counters().Disks
	want := DiskCounters{VM: "sql01", Disk: "os", Failures: 1, Restarts: 1,
		DiskTotals: DiskTotals{Read: 19, Data: 16, Wire: 12, SkippedZero: 3}}
	if len(got) != 1 || got[0] != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestPeerCountersOnlyGrow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBoard("source", "branch", "1.0")
		enter := func(state string, sent, lost int64, totals LinkTotals) {
			b.Link("dr", func(l *Link) { l.State, l.PacketsSent, l.PacketsLost, l.LinkTotals = state, sent, lost, totals })
		}
		enter(LinkDialing, 0, 0, LinkTotals{})
		enter(LinkUp, 100, 1, LinkTotals{})
		enter(LinkUp, 200, 2, LinkTotals{Migrations: 1})
		enter(LinkDialing, 200, 2, LinkTotals{Migrations: 1})
		time.Sleep(10 * time.Second)
		enter(LinkRedial, 200, 2, LinkTotals{Migrations: 1, Redials: 3})
		time.Sleep(30 * time.Second)
		enter(LinkUp, 300, 0, LinkTotals{Migrations: 1, Redials: 3}) // another connection
		enter(LinkDialing, 300, 0, LinkTotals{Migrations: 1, Redials: 3})
		enter(LinkDown, 300, 0, LinkTotals{Migrations: 1, Redials: 123})
		enter(LinkDialing, 300, 0, LinkTotals{}) // the next run
		enter(LinkUp, 10, 0, LinkTotals{})
		got := b.Counters().Peers
		want := PeerCounters{Peer: "dr", Connects: 3, Redials: 123, GiveUps: 1, Migrations: 1, PacketsSent: 510, PacketsLost: 2}
		want.Reattached.add(40)
		if len(got) != 1 || got[0] != want {
			t.Errorf("got  %+v\nwant %+v", got, want)
		}
	})
}
