package replicate

import (
	"fmt"
	"slices"

	"wanrep/replicate/wire"
	"wanrep/resume"
)

// A source can be there twice: its machine was cloned, or its state directory was
// restored from an old copy while the source goes on elsewhere. Both have the key of
// the source, and would take its VMs from each other for ever.
//
// So each process of a source has a random number, and tells in its Hello also
// those of the processes it goes on from. A target remembers the last process that
// it has let in, and lets in another only if that one goes on from it. Of two
// copies the first that attaches wins, for good: the other does not descend from
// it, however often it starts. The count of starts makes the reason readable.
//
// Nothing is remembered before the handshake is complete: an attacker can play a
// recorded Hello again.

// judge returns why a process may not attach after the last that was let in, or
// nil.
func judge(last resume.Process, hello *wire.Hello) *RefusedError {
	switch {
	case last == (resume.Process{}), last.Nonce == hello.Process:
		return nil
	case hello.Process == [16]byte{}:
		return &RefusedError{wire.CodeCopy, "this source does not tell which process it is, as it did before: it is of an older version, or a copy"}
	case hello.Starts > last.Starts && slices.Contains(hello.Before, last.Nonce):
		return nil
	case hello.Starts > last.Starts:
		return &RefusedError{wire.CodeCopy, fmt.Sprintf("this source (start %d) does not go on from the one that this target has seen last (start %d): "+
			"it was restored from an old copy, or a copy of it runs elsewhere", hello.Starts, last.Starts)}
	}
	return &RefusedError{wire.CodeCopy, fmt.Sprintf("this source's state is older than what this target has seen (start %d, seen %d): "+
		"it was restored from an old copy, or a copy of it runs elsewhere", hello.Starts, last.Starts)}
}

// examine tells whether a process may attach. It changes nothing.
func (t *Target) examine(peer string, hello *wire.Hello) error {
	t.admission.Lock()
	defer t.admission.Unlock()
	last, err := t.cfg.Store.LastProcess(peer)
	if err != nil {
		return err
	}
	if no := judge(last, hello); no != nil {
		return no
	}
	return nil
}

// admit lets a process in: it is remembered, and the links of those before it end.
// Its handshake is complete.
func (t *Target) admit(l *targetLink, hello *wire.Hello) error {
	t.admission.Lock()
	defer t.admission.Unlock()
	peer := l.link.Peer()
	last, err := t.cfg.Store.LastProcess(peer)
	if err != nil {
		return err
	}
	if no := judge(last, hello); no != nil {
		return no
	}
	if process := (resume.Process{Starts: hello.Starts, Nonce: hello.Process}); process != last && process.Nonce != [16]byte{} {
		if err := t.cfg.Store.RememberProcess(peer, process); err != nil {
			return err
		}
	}
	for other := range t.admitted {
		if other.link.Peer() == peer && other.process != hello.Process {
			other.link.Close(CloseSuperseded, fmt.Sprintf("a newer process of this source (start %d) has attached", hello.Starts))
		}
	}
	l.process = hello.Process
	t.admitted[l] = struct{}{}
	return nil
}

// dismiss takes a link that has ended off the list.
func (t *Target) dismiss(l *targetLink) {
	t.admission.Lock()
	defer t.admission.Unlock()
	delete(t.admitted, l)
}

// Forget lets any process of a source attach next. Its points stay. A pairing does
// that: who has the code decides which of two copies is the source.
func (t *Target) Forget(source string) error {
	t.admission.Lock()
	defer t.admission.Unlock()
	return t.cfg.Store.ForgetProcess(source)
}
