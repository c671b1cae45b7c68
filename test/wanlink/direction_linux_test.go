package wanlink

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// newDirection is one that carries nothing by itself. What it hands over is lost.
func newDirection(s Shape, roundTrip time.Duration) *direction {
	return &direction{
		shape: s, limit: s.queueBytes(roundTrip), random: rand.New(rand.NewPCG(1, 2)),
		write: func(head, body []byte) error { return nil },
	}
}

// plain is a packet of some bytes that says nothing.
func plain(bytes int) []byte { return make([]byte, virtioHeader+bytes) }

// offer lets a packet arrive.
func (d *direction) offer(bytes int, now time.Duration) {
	b := d.buffers.take(plain(bytes))
	d.admit(b, 0, bytes, now)
	d.buffers.release(b)
}

func TestRateAndDelay(t *testing.T) {
	d := newDirection(Shape{Rate: 8_000_000, Delay: 10 * time.Millisecond}, 20*time.Millisecond)
	for range 3 {
		d.offer(1000, time.Second) // takes 1 ms
	}
	d.offer(1000, 2*time.Second)
	var due []time.Duration
	for len(d.underway) > 0 {
		due = append(due, d.underway.pop().due)
	}
	ms := time.Millisecond
	want := []time.Duration{time.Second + 11*ms, time.Second + 12*ms, time.Second + 13*ms, 2*time.Second + 11*ms}
	if !slices.Equal(due, want) {
		t.Errorf("packets are due at %v, want %v", due, want)
	}
}

func TestQueue(t *testing.T) {
	tests := []struct {
		name      string
		shape     Shape
		roundTrip time.Duration
		packets   int // of 1000 bytes that find room at once
	}{
		{"a round trip", Shape{Rate: 8_000_000}, 80 * time.Millisecond, 80},
		{"at least 50 ms", Shape{Rate: 8_000_000}, 10 * time.Millisecond, 50},
		{"a quarter of a round trip", Shape{Rate: 8_000_000, Queue: 0.25}, 80 * time.Millisecond, 20},
		{"at least two packets", Shape{Rate: 8_000_000, Queue: 0.25}, time.Millisecond, 3},
		{"no rate, no queue", Shape{}, 80 * time.Millisecond, 100},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := newDirection(tt.shape, tt.roundTrip)
			for range 100 {
				d.offer(1000, time.Second)
			}
			if got := len(d.underway); got != tt.packets {
				t.Errorf("%d packets found room, want %d", got, tt.packets)
			}
			if got := d.count.Full; got != uint64(100-tt.packets) {
				t.Errorf("%d were dropped, want %d", got, 100-tt.packets)
			}
		})
	}
}

func TestLoss(t *testing.T) {
	tests := []struct {
		name  string
		shape Shape
		share float64
	}{
		{"none", Shape{}, 0},
		{"random", Shape{Loss: 0.02}, 0.02},
		// Bad for Enter/(Enter+Leave) of the packets.
		{"bursts", Shape{Burst: Burst{Enter: 0.01, Leave: 0.1, Loss: 0.8}}, 0.8 * 0.01 / 0.11},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := newDirection(tt.shape, 0)
			const packets = 100_000
			for range packets {
				d.offer(1000, time.Second)
				if len(d.underway) > 0 {
					d.buffers.release(d.underway.pop().buf)
				}
			}
			if got := float64(d.count.Lost) / packets; math.Abs(got-tt.share) > 0.05*tt.share {
				t.Errorf("%.4f of the packets are lost, want %.4f", got, tt.share)
			}
		})
	}
}

func TestOnlyHeldPacketsAreOvertaken(t *testing.T) {
	d := newDirection(Shape{Delay: 30 * time.Millisecond, Jitter: 10 * time.Millisecond}, 60*time.Millisecond)
	late := func() (overtaken int) {
		var last uint64
		for len(d.underway) > 0 {
			p := d.underway.pop()
			if p.number < last {
				overtaken++
			}
			last = max(last, p.number)
		}
		return overtaken
	}
	most := time.Duration(0)
	for i := range 10_000 {
		now := time.Duration(i) * time.Millisecond / 10
		d.offer(100, now)
		most = max(most, d.lastDue-now)
	}
	if most < 35*time.Millisecond || most > 40*time.Millisecond {
		t.Errorf("with a delay of 30 ms and a jitter of 10 ms packets take up to %v", most)
	}
	if got := late(); got != 0 {
		t.Errorf("jitter lets %d packets be overtaken", got)
	}
	d.shape.Held, d.shape.HeldFor = 0.01, 5*time.Millisecond
	for i := range 10_000 {
		d.offer(100, time.Second+time.Duration(i)*time.Millisecond/10)
	}
	if got := late(); got < 50 || got > 150 {
		t.Errorf("of 10000 packets %d are overtaken, want about 100", got)
	}
}

func TestCutLosesWhatIsUnderWay(t *testing.T) {
	d := newDirection(Shape{Delay: time.Second}, 0)
	d.offer(100, 0)
	d.setCut(true)
	d.offer(100, 0)
	d.setCut(false)
	d.offer(100, 0)
	if got := d.count.Cut; got != 2 || len(d.underway) != 1 {
		t.Errorf("%d packets were lost and %d are under way, want 2 and 1", got, len(d.underway))
	}
}
