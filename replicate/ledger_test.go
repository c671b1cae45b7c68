package replicate

import (
	"errors"
	"testing"

	"pgregory.net/rapid"

	"wanrep/diskio"
	"wanrep/diskio/digest"
	"wanrep/replicate/wire"
)

// TestLedgerAgainstTheWholeDisk sends a disk over links that are lost again and
// again, and compares the digest with that of the disk.
func TestLedgerAgainstTheWholeDisk(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		blocks := rapid.Int64Range(1, 60).Draw(rt, "blocks")
		size := blocks*diskio.BlockBytes - rapid.Int64Range(0, 100).Draw(rt, "short")*512
		holes := rapid.SliceOfN(rapid.Bool(), int(blocks), int(blocks)).Draw(rt, "holes")
		sum := func(n int64) digest.Sum { return digest.Block([]byte{byte(n), 1}) }

		whole := digest.NewTree(0)
		for n := range blocks {
			if !holes[n] {
				whole.SkipTo(n)
				whole.Add(sum(n))
			}
		}
		whole.SkipTo(blocks)

		l := newLedger(size)
		var durable int64 // in blocks
		for {
			at := min(durable*diskio.BlockBytes, size)
			if known, err := l.attach(at); err != nil || !known {
				rt.Fatalf("attach at %d: known %v, error %v", at, known, err)
			}
			sent := durable
			for sent < blocks && rapid.IntRange(0, 9).Draw(rt, "cut") > 0 {
				var add []pendingBlock
				if !holes[sent] {
					add = []pendingBlock{{sent, sum(sent)}}
				}
				sent++
				if err := l.add(t.Context(), add, min(sent*diskio.BlockBytes, size)); err != nil {
					rt.Fatal(err)
				}
				if rapid.Bool().Draw(rt, "acknowledge") {
					durable = rapid.Int64Range(durable, sent).Draw(rt, "durable")
					if err := l.durable(min(durable*diskio.BlockBytes, size)); err != nil {
						rt.Fatal(err)
					}
				}
			}
			if sent == blocks {
				break
			}
			// The target may have more than it could tell before the link was lost.
			durable = rapid.Int64Range(durable, sent).Draw(rt, "told")
		}
		l.finish()
		got, err := l.digests().Root(size)
		if err != nil {
			rt.Fatal(err)
		}
		if want, _ := whole.Root(size); got != want {
			rt.Fatalf("root %v, want %v", got, want)
		}
	})
}

func TestLedgerOfARestartedSource(t *testing.T) {
	const size = 10 * diskio.BlockBytes
	l := newLedger(size)
	known, err := l.attach(4 * diskio.BlockBytes)
	if err != nil || known {
		t.Fatalf("known %v, error %v; want unknown", known, err)
	}
	if from := l.digests().From(); from != 4 {
		t.Errorf("the tree begins at block %d, want 4", from)
	}
	// The target dropped what it had and wants the disk from the start.
	if known, err = l.attach(0); err != nil || !known {
		t.Fatalf("known %v, error %v; want known", known, err)
	}
	if from := l.digests().From(); from != 0 {
		t.Errorf("the tree begins at block %d, want 0", from)
	}
}

func TestLedgerRefusesAWrongTarget(t *testing.T) {
	const size = 10*diskio.BlockBytes + 512
	l := newLedger(size)
	for _, offset := range []int64{-1, 100, size + 1, size - 1} {
		if _, err := l.attach(offset); err == nil {
			t.Errorf("attached at offset %d", offset)
		}
	}
	if _, err := l.attach(0); err != nil {
		t.Fatal(err)
	}
	err := l.durable(diskio.BlockBytes)
	var protocol *wire.ProtocolError
	if !errors.As(err, &protocol) {
		t.Errorf("an acknowledgement of what was not sent: %v, want a protocol error", err)
	}
}
