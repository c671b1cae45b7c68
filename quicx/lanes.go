package quicx

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"

	"wanrep/quicx/stripe"
)

const (
	// bulkBytes is from how many bytes on a stream makes lanes. Less is over before one
	// is there.
	bulkBytes = 64 << 10
	// laneDials bounds how many lanes are dialed at once. A target makes those above
	// retryAbove prove their address, which takes them one round trip more; a second
	// wave would take two.
	laneDials = 2 * retryAbove
	// laneDialTimeout bounds the dialing of one. After one that failed it takes
	// laneRetry until the next, and twice as long each time again, up to as long.
	laneDialTimeout = 5 * time.Second
	laneRetry       = 100 * time.Millisecond
	// laneGrace is how much later than its lanes a link may end.
	laneGrace = 3 * time.Second
	// laneTokenBytes is what names the link that a lane belongs to.
	laneTokenBytes = 16
	// tokenLabel is what the token is exported with (RFC 8446, section 7.5).
	tokenLabel = "EXPORTER-wanrep-lane"
)

// errLaneLost ends a link one of whose lanes has ended: what was on its way over
// that lane is lost.
var errLaneLost = errors.New("one of the link's connections was lost")

// A lane is one more connection of a source's link. It is a Link of its own, which
// moves between uplinks by itself and tells nobody.
type lane struct {
	*Link
	leave  chan struct{} // closed when it takes no more segments
	users  int           // streams that have not left it; guarded by laneSet.mu
	moving atomic.Bool   // it goes where the link has gone
}

// A laneSet is the lanes of a source's link besides its own connection. One
// goroutine (run) decides how many there are, and owns what stands above mu.
type laneSet struct {
	link *Link
	most int
	wake chan struct{} // has room for one: a stream has become bulky

	token   []byte
	uplink  string // whose line is counted
	watch   laneWatch
	count   laneCount
	want    int
	dialing int
	dialed  chan *lane    // nil for one that failed
	retry   time.Duration // how long none is dialed since one failed
	failed  time.Time     // when it did
	dials   sync.WaitGroup
	told    bool // that there are many

	mu      sync.Mutex
	lanes   []*lane
	leaving map[*lane]bool
	streams map[*Stream]bool // those that use all lanes
	past    Stats            // the numbers of those that are gone
	line    float64          // what the line was seen to carry, bytes a second
}

func newLaneSet(l *Link, most int) *laneSet {
	return &laneSet{
		link: l, most: most, wake: make(chan struct{}, 1), dialed: make(chan *lane),
		leaving: make(map[*lane]bool), streams: make(map[*Stream]bool),
	}
}

// run lets lanes come and go until the link ends, and then ends them.
func (s *laneSet) run(state quic.ConnectionState) {
	var err error
	if s.token, err = laneToken(state); err != nil || s.most <= 1 {
		return
	}
	defer s.end()
	defer s.dials.Wait()
	ticker := time.NewTicker(glanceEvery)
	defer ticker.Stop()
	s.recall()
	for resting := false; ; {
		s.dialMore()
		select {
		case <-s.wake:
			if resting {
				s.recall()
			}
		case now := <-ticker.C:
			s.look(now)
		case l := <-s.dialed:
			s.took(l)
		case <-s.link.conn.Context().Done():
			return
		}
		if idle := !s.working(); idle != resting {
			if resting = idle; resting {
				ticker.Stop()
				s.remember()
			} else {
				ticker.Reset(glanceEvery)
			}
		}
	}
}

// recall begins with what the last link over the same line has learned. When it is
// called for a new link, the lanes are there before the first disk is.
func (s *laneSet) recall() {
	s.uplink = s.link.path.carrier.Load().Name
	known := s.link.endpoint.lines.of(s.link.pin, s.uplink)
	s.watch = laneWatch{began: time.Now()}
	s.count, s.want = known.count(), min(known.first(), s.most)
}

// remember keeps what was learned for the next link.
func (s *laneSet) remember() {
	if s.count.last.lanes > 0 {
		s.link.endpoint.lines.note(s.link.pin, s.uplink, s.count.line())
	}
}

// look decides anew how many lanes there should be, once enough was seen.
func (s *laneSet) look(now time.Time) {
	s.gather()
	s.watch.glance(s.conns(), s.link.blocked.Load() > 0)
	sight, ok := s.watch.sight(now)
	if !ok {
		return
	}
	if uplink := s.link.path.carrier.Load().Name; uplink != s.uplink {
		s.remember()
		s.uplink, s.count = uplink, s.link.endpoint.lines.of(s.link.pin, uplink).count()
	}
	s.want = min(s.count.want(now, sight), s.most)
	if s.want > calmLanes && !s.told {
		s.told = true
		s.link.say(Event{Kind: EventLanes, Peer: s.link.peer, Path: s.link.path.carrier.Load().Name,
			Text: fmt.Sprintf("the line loses %.1f %% of the packets at random, the link spreads over several connections", 100*s.count.loss())})
	}
	s.mu.Lock()
	s.line = s.count.carries()
	s.mu.Unlock()
	s.shed(s.want)
}

// gather moves lanes to the uplink that the link itself has moved to. When an
// uplink dies each lane finds out for itself; a planned move is the link's alone.
func (s *laneSet) gather() {
	s.mu.Lock()
	defer s.mu.Unlock()
	to := s.link.path.carrier.Load()
	for _, l := range s.lanes {
		if l.path.carrier.Load() == to || l.moving.Swap(true) {
			continue
		}
		s.dials.Go(func() {
			defer l.moving.Store(false)
			ctx, cancel := context.WithTimeout(s.link.conn.Context(), laneDialTimeout)
			defer cancel()
			_ = l.Migrate(ctx, to.Name) // if it could not, the next look tries again
		})
	}
}

func (s *laneSet) took(l *lane) {
	s.dialing--
	if l != nil {
		s.retry = 0
		s.add(l)
	} else if time.Since(s.failed) >= s.retry { // else it was dialed with the one that failed
		s.failed, s.retry = time.Now(), min(max(laneRetry, 2*s.retry), laneDialTimeout)
	}
}

func (s *laneSet) dialMore() {
	if time.Since(s.failed) < s.retry {
		return
	}
	for ; s.dialing < laneDials && len(s.conns())+s.dialing < s.want; s.dialing++ {
		s.dials.Go(func() {
			l := s.dial()
			select {
			case s.dialed <- l:
			case <-s.link.conn.Context().Done():
				if l != nil {
					s.add(l)
				}
			}
		})
	}
}

// working reports whether there is anything to look at.
func (s *laneSet) working() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.streams) > 0 || len(s.lanes) > 0
}

func (s *laneSet) conns() []*quic.Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	conns := []*quic.Conn{s.link.conn}
	for _, l := range s.lanes {
		conns = append(conns, l.conn)
	}
	return conns
}

// add takes a lane into use.
func (s *laneSet) add(l *lane) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lanes = append(s.lanes, l)
	for stream := range s.streams {
		s.join(stream, l)
	}
	context.AfterFunc(l.conn.Context(), func() { s.lost(l) })
}

// loseLane ends a link one of whose lanes has ended, and returns why it ended.
func (l *Link) loseLane(why error) error {
	var closed *quic.ApplicationError
	if errors.As(why, &closed) && closed.Remote {
		// The peer ends the lanes with their link, and that tells why.
		select {
		case <-l.conn.Context().Done():
		case <-time.After(laneGrace):
		}
	}
	if l.conn.Context().Err() == nil { // else its lanes end with it
		l.failWith(CodeLaneLost, why)
	}
	<-l.finished
	return context.Cause(l.conn.Context())
}

// ofLane marks an error that ended a lane.
func ofLane(err error) error {
	if err == nil || !endsLink(err) {
		return err
	}
	return fmt.Errorf("%w: %w", errLaneLost, err)
}

// lost ends the link if the lane was in use.
func (s *laneSet) lost(l *lane) {
	s.mu.Lock()
	used := slices.Contains(s.lanes, l) || l.users > 0
	s.mu.Unlock()
	if used {
		s.link.loseLane(ofLane(context.Cause(l.conn.Context())))
	}
}

// join lets a stream use a lane.
func (s *laneSet) join(stream *Stream, l *lane) {
	left := func(c stripe.Channel) {
		if c != nil {
			c.(*branch).drain()
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		l.users--
		s.closeUnused(l)
	}
	l.users++
	if !stream.out.Join(func() (stripe.Channel, error) { return stream.branchTo(l.Link) }, l.leave, left) {
		l.users--
	}
}

// shed takes lanes out of use until there are no more than want.
func (s *laneSet) shed(want int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.lanes) > max(0, want-1) {
		l := s.lanes[len(s.lanes)-1]
		s.lanes = s.lanes[:len(s.lanes)-1]
		s.leaving[l] = true
		close(l.leave)
		s.closeUnused(l)
	}
}

// closeUnused ends a lane that is out of use once everything has arrived that was
// sent over it.
func (s *laneSet) closeUnused(l *lane) {
	if s.leaving[l] && l.users == 0 {
		delete(s.leaving, l)
		s.past.count(l.conn.ConnectionStats())
		s.link.endpoint.wg.Go(func() { l.Close(CodeDone, "") })
	}
}

// bulk is from how many bytes on a stream uses all lanes: at once behind its first
// words, if there are lanes.
func (s *laneSet) bulk() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.lanes) > 0 {
		return 1
	}
	return bulkBytes
}

// use lets a stream that has become bulky use all lanes.
func (s *laneSet) use(stream *Stream) {
	s.mu.Lock()
	s.streams[stream] = true
	for _, l := range s.lanes {
		s.join(stream, l)
	}
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// grant lets a stream go on up to an offset.
func (s *laneSet) grant(id quic.StreamID, offset int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for stream := range s.streams {
		if stream.s.StreamID() == id {
			stream.out.Grant(offset)
		}
	}
}

// forget is called when a stream has ended.
func (s *laneSet) forget(stream *Stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.streams, stream)
}

// end ends all lanes with their link.
func (s *laneSet) end() {
	s.remember()
	s.mu.Lock()
	lanes := slices.Clone(s.lanes)
	for l := range s.leaving {
		lanes = append(lanes, l)
	}
	s.lanes, s.leaving = nil, make(map[*lane]bool)
	for stream := range s.streams {
		stream.out.Fail(context.Cause(s.link.conn.Context())) // it may wait for a grant
	}
	s.mu.Unlock()
	for _, l := range lanes {
		l.Close(CodeDone, "")
	}
}

// addTo adds what the lanes did to a link's numbers, those that are gone too.
func (s *laneSet) addTo(st *Stats) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st.Lanes, st.LineRate = 1+len(s.lanes), s.line
	st.BytesSent += s.past.BytesSent
	st.BytesReceived += s.past.BytesReceived
	st.PacketsSent += s.past.PacketsSent
	st.PacketsLost += s.past.PacketsLost
	for _, l := range s.lanes {
		c := l.conn.ConnectionStats()
		st.count(c)
		st.Window += c.CongestionWindow
	}
	for l := range s.leaving {
		st.count(l.conn.ConnectionStats())
	}
}

// count adds the numbers of a connection.
func (s *Stats) count(c quic.ConnectionStats) {
	s.BytesSent += c.BytesSent
	s.BytesReceived += c.BytesReceived
	s.PacketsSent += c.PacketsSent
	s.PacketsLost += c.PacketsLost
}
