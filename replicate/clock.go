package replicate

import (
	"context"
	"fmt"
	"time"

	"wanrep/replicate/wire"
)

// AskClock asks the target of a link on which nothing was said yet for its time. It
// returns how far the target's clock is ahead of this machine's, negative if behind,
// and how long the answer took: the first is right to half of that. Afterwards the
// link is good for nothing but to be closed.
func AskClock(ctx context.Context, link Link) (ahead, took time.Duration, err error) {
	stream, err := link.OpenStream(ctx)
	if err != nil {
		return 0, 0, err
	}
	defer stream.Close()
	defer context.AfterFunc(ctx, stream.Abort)()
	asked := time.Now()
	if err := wire.Write(stream, &wire.Clock{}); err != nil {
		return 0, 0, err
	}
	answer, err := wire.Read(stream)
	took = time.Since(asked)
	if err != nil {
		return 0, 0, err
	}
	clock, ok := answer.(*wire.Clock)
	if !ok {
		return 0, 0, &wire.ProtocolError{What: "answer to clock", Reason: fmt.Sprintf("%T", answer)}
	}
	return time.UnixMilli(clock.Time).Sub(asked.Add(took / 2)), took, nil
}
