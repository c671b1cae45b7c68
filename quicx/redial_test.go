package quicx

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quic-go/quic-go"
)

// ladder returns a redialer whose dials take a second each, fail with failure, and
// succeed once heals has passed since now (0: never). made counts the dials.
func ladder(heals time.Duration, failure error) (r *Redialer, made *int, network chan struct{}) {
	began := time.Now()
	made, network = new(int), make(chan struct{}, 1)
	r = &Redialer{
		redial: Redial{}.withDefaults(), peer: "dr-paris",
		on: func(Attempt) {}, say: func(Event) {},
		subscribe: func() (<-chan struct{}, func()) { return network, func() {} },
		dial: func(ctx context.Context) (*Link, error) {
			*made++
			if heals > 0 && time.Since(began) >= heals {
				return &Link{}, nil
			}
			select {
			case <-time.After(time.Second):
				return nil, wrap("dial", "dr-paris", failure)
			case <-ctx.Done():
				return nil, wrap("dial", "dr-paris", ctx.Err())
			}
		},
		dialed: true, // the link was there once
	}
	return r, made, network
}

func TestRedialLadder(t *testing.T) {
	dropped, refused := &quic.IdleTimeoutError{}, &quic.TransportError{ErrorCode: quic.ConnectionRefused, Remote: true}
	auth := &quic.TransportError{ErrorCode: 0x100 + 42, Remote: true}
	tests := []struct {
		name     string
		healsIn  time.Duration // when the peer answers again; 0 is never
		failure  error
		attempts int
		took     time.Duration
		want     Class // 0: a link
	}{
		{name: "at once", healsIn: time.Nanosecond, failure: dropped, attempts: 2, took: 15 * time.Second},
		{name: "after two minutes", healsIn: 2 * time.Minute, failure: dropped, attempts: 9, took: 2 * time.Minute},
		{name: "just in time", healsIn: 29*time.Minute + 45*time.Second, failure: dropped, attempts: 120, took: 29*time.Minute + 45*time.Second},
		{name: "just too late", healsIn: 29*time.Minute + 46*time.Second, failure: dropped, attempts: 120, took: 30 * time.Minute, want: Spent},
		{name: "never", failure: dropped, attempts: 120, took: 30 * time.Minute, want: Spent},
		{name: "refused", failure: refused, attempts: 1, took: time.Second, want: Refused},
		{name: "not paired", failure: auth, attempts: 1, took: time.Second, want: Auth},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				r, made, _ := ladder(test.healsIn, test.failure)
				_, err := r.Attach(t.Context(), true)
				if classOf(err) != test.want {
					t.Errorf("got %v, want class %v", err, test.want)
				}
				if errors.Is(err, ErrRedialSpent) != (test.want == Spent) {
					t.Errorf("ErrRedialSpent: %v", err)
				}
				if *made != test.attempts || time.Since(began) != test.took {
					t.Errorf("%d attempts in %v, want %d in %v", *made, time.Since(began), test.attempts, test.took)
				}
			})
		})
	}
}

// Only proven progress begins a new window: a link that comes back again and again
// and moves nothing is given up 30 min after the first loss.
func TestRedialWindowNeedsProgress(t *testing.T) {
	for _, progressed := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			r, made, _ := ladder(time.Nanosecond, &quic.IdleTimeoutError{})
			time.Sleep(time.Nanosecond)
			var err error
			for err == nil && time.Since(began) < time.Hour {
				if _, err = r.Attach(t.Context(), progressed); err == nil {
					time.Sleep(20 * time.Second) // the link lives so long
				}
			}
			switch {
			case progressed && err != nil:
				t.Errorf("progress did not begin a new window: %v after %v", err, time.Since(began))
			case !progressed && (!errors.Is(err, ErrRedialSpent) || time.Since(began) > 31*time.Minute):
				t.Errorf("without progress: %v after %v and %d attempts", err, time.Since(began), *made)
			}
		})
	}
}

// A link that dies as soon as it is up must not be dialed in a tight loop.
func TestRedialPausesBetweenFlaps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, made, _ := ladder(time.Nanosecond, nil)
		time.Sleep(time.Nanosecond)
		began := time.Now()
		for time.Since(began) < 5*time.Minute {
			if _, err := r.Attach(t.Context(), false); err != nil {
				t.Fatal(err)
			}
		}
		if *made != 21 {
			t.Errorf("%d attempts in five minutes, want 21", *made)
		}
	})
}

// A network event gives one more attempt at once, beside the timer, and breaks off
// an attempt that may be waiting on a path that is gone.
func TestRedialOnNetworkEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		r, made, network := ladder(7*time.Second, &quic.IdleTimeoutError{})
		var extra []bool
		r.on = func(a Attempt) {
			if a.Err == nil {
				extra = append(extra, a.Extra)
			}
		}
		time.AfterFunc(8*time.Second, func() { network <- struct{}{} })
		if _, err := r.Attach(t.Context(), true); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took != 8*time.Second || *made != 2 {
			t.Errorf("%d attempts, attached after %v, want 2 and 8s", *made, took)
		}
		if len(extra) != 2 || extra[0] || !extra[1] {
			t.Errorf("extra: %v, want [false true]", extra)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		r, made, network := ladder(0, &quic.IdleTimeoutError{})
		flood := time.NewTicker(10 * time.Millisecond)
		defer flood.Stop()
		stop := make(chan struct{})
		defer close(stop)
		go func() {
			for {
				select {
				case <-flood.C:
					select {
					case network <- struct{}{}:
					default:
					}
				case <-stop:
					return
				}
			}
		}()
		_, err := r.Attach(t.Context(), true)
		if !errors.Is(err, ErrRedialSpent) {
			t.Fatal(err)
		}
		if most := int(DefaultRedialFor/eventGap) + 120; *made > most {
			t.Errorf("%d attempts under a flood of events, want at most %d", *made, most)
		}
	})
}

func TestRedialEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		began := time.Now()
		r, _, _ := ladder(0, &quic.IdleTimeoutError{})
		if _, err := r.Attach(ctx, true); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != 20*time.Second {
			t.Errorf("got %v after %v", err, time.Since(began))
		}
	})
}

// The whole way, over real QUIC: the line is cut, the link dies of its idle timeout,
// redialing goes on for a while, and the session is resumed.
func TestReattachAfterOutage(t *testing.T) {
	tests := []struct {
		name   string
		outage time.Duration
		want   Class
	}{
		{name: "ten minutes", outage: 10 * time.Minute},
		{name: "too long", outage: time.Hour, want: Spent},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				src := testIdentity(t, "branch-lyon")
				l := w.target(src)
				echo(l)
				cfg := w.sourceConfig(src, 2)
				cfg.TicketDir = t.TempDir()
				e := w.endpoint(cfg)
				var last Attempt
				r := e.Redialer(w.peer(), Redial{}, func(a Attempt) { last = a })
				link, err := r.Attach(t.Context(), false)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := say(t.Context(), link, "hello"); err != nil {
					t.Fatal(err)
				}
				w.wan.set(true, uplinkIP(0), uplinkIP(1))
				cut := time.Now()
				<-link.Done()
				if silent := time.Since(cut); silent > DefaultIdleTimeout+5*time.Second {
					t.Errorf("the link died after %v", silent)
				}
				time.AfterFunc(test.outage-time.Since(cut), func() { w.wan.set(false, uplinkIP(0), uplinkIP(1)) })
				link, err = r.Attach(t.Context(), true)
				if classOf(err) != test.want {
					t.Fatalf("got %v, want class %v; last attempt %+v", err, test.want, last)
				}
				if test.want == Spent {
					if last.Number != 120 || last.Of != 120 || !last.Next.IsZero() {
						t.Errorf("last attempt: %+v", last)
					}
				} else {
					if got := time.Since(cut) - test.outage; got > DefaultRedialEvery+time.Second {
						t.Errorf("attached %v after the line was back", got)
					}
					if err := link.Confirmed(t.Context()); err != nil {
						t.Fatal(err)
					}
					asked := time.Now()
					if got, err := say(t.Context(), link, "again"); got != "again" {
						t.Errorf("echo: %q, %v", got, err)
					}
					s := link.Stats()
					if !s.Resumed || s.Used0RTT {
						t.Errorf("the session was not resumed, or not carefully: %+v", s)
					}
					if took := s.Handshake + time.Since(asked); took > 4*oneWay {
						t.Errorf("from the dial to the first answer it took %v, want two round trips", took)
					}
				}
			})
		})
	}
}
