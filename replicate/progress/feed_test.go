package progress

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
)

func TestFeed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := NewFeed[int](3)
		for i := range 5 {
			f.Add(i)
		}
		ctx, cancel := context.WithCancel(t.Context())
		recent, next := f.Follow(ctx)
		if !slices.Equal(recent, []int{2, 3, 4}) {
			t.Errorf("remembered %v, want the last three", recent)
		}
		f.Add(5)
		if got := <-next; got != 5 {
			t.Errorf("got %d, want 5", got)
		}
		cancel()
		synctest.Wait()
		f.Add(6)
		if got, ok := <-next; ok {
			t.Errorf("after the end of its context a reader gets %d", got)
		}
	})
}

func TestFeedCutsOffWhoDoesNotRead(t *testing.T) {
	f := NewFeed[int](3)
	_, slow := f.Follow(t.Context())
	_, quick := f.Follow(t.Context())
	for i := range readerBuffer + 1 {
		f.Add(i)
		if got := <-quick; got != i {
			t.Fatalf("the reader that keeps up got %d, want %d", got, i)
		}
	}
	n := 0
	for range slow {
		n++
	}
	if n != readerBuffer {
		t.Errorf("the slow reader got %d things and then the end, want %d", n, readerBuffer)
	}
}
