package replicate

import (
	"context"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"wanrep/replicate/wire"
)

// pipeLink is a Link of one stream.
type pipeLink struct {
	Link
	conn net.Conn
}

func (l pipeLink) OpenStream(context.Context) (Stream, error) { return pipeStream{l.conn}, nil }

type pipeStream struct{ net.Conn }

func (s pipeStream) Abort() { s.Conn.Close() }

func TestAskClock(t *testing.T) {
	tests := []struct {
		name   string
		answer func(now time.Time) any // nil is none
		want   time.Duration
		fails  bool
	}{
		{name: "ahead", answer: func(now time.Time) any { return &wire.Clock{Time: now.Add(90 * time.Second).UnixMilli()} }, want: 90 * time.Second},
		{name: "behind", answer: func(now time.Time) any { return &wire.Clock{Time: now.Add(-time.Hour).UnixMilli()} }, want: -time.Hour},
		{name: "of another kind", answer: func(time.Time) any { return &wire.Committed{} }, fails: true},
		{name: "none", fails: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				defer cancel()
				here, there := net.Pipe()
				defer there.Close()
				go func() {
					message, err := wire.Read(there)
					if _, ok := message.(*wire.Clock); !ok || err != nil {
						t.Errorf("was asked %T: %v", message, err)
					}
					if tt.answer == nil {
						return
					}
					time.Sleep(200 * time.Millisecond)
					answer := tt.answer(time.Now())
					time.Sleep(200 * time.Millisecond)
					wire.Write(there, answer)
				}()
				ahead, took, err := AskClock(ctx, pipeLink{conn: here})
				if tt.fails {
					if err == nil {
						t.Errorf("got %v, want an error", ahead)
					}
					return
				}
				if err != nil || ahead != tt.want || took != 400*time.Millisecond {
					t.Errorf("got %v in %v, %v; want %v in 400ms", ahead, took, err, tt.want)
				}
			})
		})
	}
}
