package progress

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestLimit(t *testing.T) {
	// A sender that its stream keeps waiting, as in most cases below.
	blocked := load{read: 0.2, digest: 0.1, compress: 0.1, network: 0.9, blocked: 0.9}
	tests := []struct {
		name string
		load load
		at   circumstances
		want string
	}{
		{name: "nothing moves", want: LimitNone},
		{name: "a disk that is slow", load: load{read: 0.95, starved: 0.9, network: 0.05, blocked: 0.05}, want: LimitRead},
		{name: "a busy disk that nobody waits for", load: load{read: 0.85, starved: 0.1, network: 0.8, blocked: 0.8}, want: LimitNetwork},
		{name: "digesting", load: load{read: 0.3, digest: 0.6, compress: 0.3, encoding: 0.7, starved: 0.1}, want: LimitDigest},
		{name: "compressing", load: load{read: 0.3, digest: 0.3, compress: 0.6, encoding: 0.7, blocked: 0.1}, want: LimitCompress},
		{name: "the line", load: blocked, want: LimitNetwork},
		{name: "eight disks over one line", load: load{network: 1, blocked: 7.5, starved: 0.5, read: 0.5}, want: LimitNetwork},
		{name: "the configured rate", load: blocked, at: circumstances{maxRate: 1e6, wireRate: 0.97e6, loss: 0.2, targetBusy: 1}, want: LimitThrottle},
		{name: "below the configured rate", load: blocked, at: circumstances{maxRate: 1e6, wireRate: 0.5e6}, want: LimitNetwork},
		{name: "the target's disk", load: blocked, at: circumstances{targetBusy: 0.93, loss: 0.2}, want: LimitReceiver},
		{name: "a target with time to spare", load: blocked, at: circumstances{targetBusy: 0.5}, want: LimitNetwork},
		{name: "loss", load: blocked, at: circumstances{loss: 0.02}, want: LimitLoss},
		{name: "loss that more connections make up for", load: blocked, at: circumstances{loss: 0.02, lineRate: 12e6, wireRate: 11e6}, want: LimitNetwork},
		{name: "loss, and less than the line was seen to carry", load: blocked, at: circumstances{loss: 0.02, lineRate: 12e6, wireRate: 5e6}, want: LimitLoss},
		{name: "loss on a line that nobody waits for", load: load{read: 0.95, starved: 0.9}, at: circumstances{loss: 0.02}, want: LimitRead},
		{name: "waiting for what the target holds", load: load{read: 0.1, starved: 0.9, baseline: 0.85}, want: LimitNetwork},
		{name: "waiting for the digests of a target that is busy", load: load{starved: 0.9, baseline: 0.85}, at: circumstances{targetBusy: 1}, want: LimitReceiver},
		{name: "held by the operator", load: load{starved: 1}, want: LimitNone},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.load.pipeline(tt.at).Limit; got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
	if got := (load{write: 0.9}).receiving(); got.Limit != LimitWrite || got.Write != 0.9 {
		t.Errorf("a target that writes most of the time: %+v", got)
	}
	if got := (load{write: 0.3}).receiving(); got.Limit != LimitNone {
		t.Errorf("a target with time to spare: %+v", got)
	}
}

func TestSharesOfStages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBoard("source", "branch", "1.0")
		s := b.Stages()
		// Two disks: one is always blocked, the other every second half second. In
		// between the second is read.
		s.Network.Begin()
		for range 60 {
			s.Network.Begin()
			time.Sleep(time.Second / 2)
			s.Network.End()
			s.Read.Begin()
			s.Starved.Begin()
			time.Sleep(time.Second / 2)
			s.Read.End()
			s.Starved.End()
			b.measure()
		}
		p := b.Status().Pipeline
		if p.Network < 0.999 || p.Network > 1 || p.Read < 0.499 || p.Read > 0.501 || p.Digest != 0 {
			t.Errorf("got %+v, want the network always busy and the disk half of the time", p)
		}
		if p.Limit != LimitNetwork {
			t.Errorf("limit %q, want %q", p.Limit, LimitNetwork)
		}
		if got := s.Network.Spent(); got.Any != time.Minute || got.All != 90*time.Second {
			t.Errorf("spent %+v, want 1m and 1m30s", got)
		}

		b.TargetBusy(0.9)
		b.measure()
		if got := b.Status().Pipeline; got.Limit != LimitReceiver || got.Write != 0.9 {
			t.Errorf("with a busy target: %+v", got)
		}
		time.Sleep(toldFor)
		b.measure()
		if got := b.Status().Pipeline; got.Limit != LimitNetwork || got.Write != 0 {
			t.Errorf("long after the target told anything: %+v", got)
		}
	})
}
