package main

import (
	"context"
	"testing"

	"wanrep/quicx"
	"wanrep/replicate/progress"
)

// Two runs of a source have a link each. While one of them lives, the board of the
// target shows it.
func TestLinkWatchShowsTheOneThatLives(t *testing.T) {
	source, target := newIdentity(t, "branch-lyon"), newIdentity(t, "dr-paris")
	listener, peer := newListener(t, source, target)
	defer listener.Close()
	endpoint, err := quicx.NewEndpoint(quicx.Config{Identity: source, TicketDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer endpoint.Close()

	board := progress.NewBoard("target", target.Name, "")
	watch := newLinkWatch(board)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	type followed struct {
		link *quicx.Link // the source's end
		over chan struct{}
	}
	begin := func() followed {
		link, err := endpoint.Dial(ctx, peer)
		if err != nil {
			t.Fatal(err)
		}
		got, err := listener.Accept(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if err := got.Confirmed(ctx); err != nil {
			t.Fatal(err)
		}
		f := followed{link, make(chan struct{})}
		watch.begin(got)
		watch.show(got.Peer())
		go func() {
			defer close(f.over)
			<-got.Done()
			watch.end(got)
		}()
		return f
	}
	older, newer := begin(), begin()
	for _, step := range []struct {
		ends followed
		want string
	}{{newer, progress.LinkUp}, {older, progress.LinkIdle}} {
		step.ends.link.Close(quicx.CodeDone, "")
		<-step.ends.over
		watch.show(source.Name)
		if l := board.Status().Links[0]; l.State != step.want || (l.Lanes > 0) != (step.want == progress.LinkUp) {
			t.Errorf("the link is %s with %d connections, want %s", l.State, l.Lanes, step.want)
		}
	}
}
