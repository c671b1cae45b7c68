package replicate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"sync"
	"time"

	"wanrep/diskio"
	"wanrep/replicate/progress"
	"wanrep/replicate/wire"
)

// A source can ask its target how its own VMs are there: over a stream of the link of
// a run, or, if no run is under way, over a link that is kept as long as somebody
// looks. A target tells a source what concerns it and nothing of the others.

const (
	// viewTimeout bounds one question, the dialing included.
	viewTimeout = 12 * time.Second
	// viewIdle is how long a link of its own is kept for the next question: longer
	// than the second between two looks of a terminal UI on a bad line.
	viewIdle = 15 * time.Second
	// maxViewText is what is kept of a text from a peer, in bytes. None that an
	// appliance writes is longer.
	maxViewText = 1 << 10
)

// viewOf is what a source may know.
func (t *Target) viewOf(source string) progress.Status {
	s := t.cfg.Board.Snapshot()
	v := progress.Status{
		Schema: s.Schema, Role: s.Role, Name: s.Name, Version: s.Version, Time: s.Time, Started: s.Started,
		Links: []progress.Link{}, Jobs: []progress.Job{}, VMs: []progress.VM{}, Events: []progress.Event{}, Samples: []progress.Sample{},
		Store: progress.Store{Free: s.Store.Free, Total: s.Store.Total},
	}
	for _, l := range s.Links {
		if l.Peer == source {
			v.Links = append(v.Links, l)
		}
	}
	for _, vm := range s.VMs {
		if vm.Source == source {
			v.VMs = append(v.VMs, vm)
		}
	}
	for _, e := range s.Events {
		if e.Peer == source {
			v.Events = append(v.Events, e)
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for key, k := range t.kept {
		if key.source == source {
			v.Store.Points += k.points
			if v.Store.Oldest.IsZero() || k.oldest.Before(v.Store.Oldest) {
				v.Store.Oldest = k.oldest
			}
		}
	}
	return v
}

// view is viewOf as a message. What does not fit is left out, the least important
// first.
func (t *Target) view(source string) (*wire.StatusReply, error) {
	v := t.viewOf(source)
	for _, less := range []func(){
		func() {},
		func() { v.Events = []progress.Event{} },
		func() { v.VMs = withoutDisks(v.VMs, func(state string) bool { return state == progress.Receiving }) },
		func() { v.VMs = withoutDisks(v.VMs, func(string) bool { return false }) },
	} {
		less()
		data, err := json.Marshal(v)
		if err != nil {
			return nil, err
		}
		if len(data) <= wire.MaxStatusBytes {
			return &wire.StatusReply{JSON: data}, nil
		}
	}
	return nil, &RefusedError{Code: wire.CodeStore, Text: fmt.Sprintf("the status of %d VMs is too large to send", len(v.VMs))}
}

// withoutDisks returns VMs without the disks of those whose state is not kept.
func withoutDisks(vms []progress.VM, keep func(state string) bool) []progress.VM {
	var out []progress.VM
	for _, vm := range vms {
		if !keep(vm.State) {
			vm.Disks = []progress.Disk{}
		}
		out = append(out, vm)
	}
	return out
}

// tell answers one question for the status, or for the points of a VM.
func (l *targetLink) tell(stream Stream, asked *wire.StatusRequest) error {
	reply, err := (*wire.StatusReply)(nil), error(nil)
	if asked.PointsOf == "" {
		reply, err = l.target.view(l.link.Peer())
	} else {
		reply, err = l.target.viewPoints(l.link.Peer(), asked.PointsOf)
	}
	var no *RefusedError
	if errors.As(err, &no) {
		return wire.Write(stream, &wire.Refused{Code: no.Code, Text: no.Text})
	}
	if err != nil {
		return err
	}
	return wire.Write(stream, reply)
}

// converseAboutStatus serves a link that a source opened only to ask for the status.
func (l *targetLink) converseAboutStatus(ctx context.Context, asked *wire.StatusRequest) error {
	if err := l.link.Confirmed(ctx); err != nil {
		return err
	}
	for {
		if err := l.tell(l.control, asked); err != nil {
			return err
		}
		message, err := wire.Read(l.control)
		if err != nil {
			return err
		}
		var ok bool
		if asked, ok = message.(*wire.StatusRequest); !ok {
			return &wire.ProtocolError{What: "link for the status", Reason: fmt.Sprintf("%T is not allowed on it", message)}
		}
	}
}

// An onlyLooksError is a source that asks for the status in place of Hello.
type onlyLooksError struct{ first *wire.StatusRequest }

func (onlyLooksError) Error() string { return "the source only looks" }

// PeerStatus asks a target how this source's VMs are there. What it returns is fit to
// be shown.
func (s *Source) PeerStatus(ctx context.Context, peer string) (progress.Status, error) {
	data, err := s.askPeer(ctx, peer, &wire.StatusRequest{})
	if err != nil {
		return progress.Status{}, err
	}
	return readView(peer, data)
}

// askPeer asks a target one question and returns its answer.
func (s *Source) askPeer(ctx context.Context, peer string, question *wire.StatusRequest) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, viewTimeout)
	defer cancel()
	if link, busy := s.linkTo(peer); link != nil {
		stream, err := link.OpenStream(ctx)
		if err != nil {
			return nil, fmt.Errorf("ask %s: %w", peer, err)
		}
		defer stream.Close()
		return askOn(ctx, peer, stream, question)
	} else if busy {
		return nil, fmt.Errorf("ask %s: %w", peer, ErrNoLink)
	}
	s.mu.Lock()
	v := s.viewers[peer]
	if v == nil {
		v = &viewer{}
		s.viewers[peer] = v
	}
	s.mu.Unlock()
	return v.ask(ctx, peer, question, func(ctx context.Context) (Link, error) { return s.cfg.Dial(ctx, peer) })
}

// linkTo returns the link that a run has to a peer, and whether a run needs one.
func (s *Source) linkTo(peer string) (link Link, busy bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for r, has := range s.runs {
		if r.job.Peer == peer {
			busy = true
			if has != nil {
				link = has
			}
		}
	}
	return link, busy
}

// A viewer is the link of its own over which one target is asked.
type viewer struct {
	mu     sync.Mutex
	link   Link
	stream Stream
	idle   *time.Timer
}

// viewDials is how often a question is asked: the link that is kept may have died, and
// a new one with a session ticket ends if the target was restarted meanwhile.
const viewDials = 3

func (v *viewer) ask(ctx context.Context, peer string, question *wire.StatusRequest, dial func(context.Context) (Link, error)) ([]byte, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for try := 1; ; try++ {
		if v.link == nil {
			if err := v.open(ctx, dial); err != nil {
				return nil, err
			}
		}
		data, err := askOn(ctx, peer, v.stream, question)
		if err == nil {
			v.idle.Reset(viewIdle)
			return data, nil
		}
		v.close()
		if try == viewDials || !retryable(err) {
			return nil, err
		}
	}
}

func (v *viewer) open(ctx context.Context, dial func(context.Context) (Link, error)) error {
	link, err := dial(ctx)
	if err != nil {
		return err
	}
	stream, err := link.OpenStream(ctx)
	if err != nil {
		link.Close(CloseDone, "no stream")
		return err
	}
	v.link, v.stream = link, stream
	v.idle = time.AfterFunc(viewIdle, func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		if v.link == link {
			v.close()
		}
	})
	return nil
}

func (v *viewer) close() {
	if v.link == nil {
		return
	}
	v.idle.Stop()
	v.stream.Abort()
	v.link.Close(CloseDone, "nobody looks any more")
	v.link, v.stream = nil, nil
}

// askOn asks on a stream on which nothing else is said. A stream that does not answer
// in time is given up.
func askOn(ctx context.Context, peer string, stream Stream, question *wire.StatusRequest) ([]byte, error) {
	defer context.AfterFunc(ctx, stream.Abort)()
	if err := wire.Write(stream, question); err != nil {
		return nil, fmt.Errorf("ask %s: %w", peer, err)
	}
	answer, err := wire.Read(stream)
	if errors.Is(err, io.EOF) {
		err = errStreamEnded
	}
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", peer, err)
	}
	switch m := answer.(type) {
	case *wire.Refused:
		return nil, refused(m)
	case *wire.StatusReply:
		return m.JSON, nil
	}
	return nil, &wire.ProtocolError{What: "answer to a question for the status", Reason: fmt.Sprintf("%T", answer)}
}

// readView makes a status of what a peer sent. Whatever it says, it is the status of
// that target, and every text in it is short and fit to be shown.
func readView(peer string, data []byte) (progress.Status, error) {
	var s progress.Status
	if err := json.Unmarshal(data, &s); err != nil {
		return s, &wire.ProtocolError{What: "status of " + peer, Reason: err.Error()}
	}
	clean(reflect.ValueOf(&s).Elem())
	s.Schema, s.Role, s.Name = progress.Schema, "target", peer
	return s, nil
}

// clean makes every string in v, which holds nothing but what JSON can, fit to be
// shown.
func clean(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		text := v.String()
		if len(text) > maxViewText {
			text = text[:maxViewText]
		}
		v.SetString(diskio.Printable(text))
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			return
		}
		for _, field := range v.Fields() {
			clean(field)
		}
	case reflect.Slice:
		for i := range v.Len() {
			clean(v.Index(i))
		}
	}
}
