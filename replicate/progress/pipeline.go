package progress

import (
	"runtime"
	"time"
)

const (
	// shareSmoothing is the weight of the newest second in a busy share: about
	// three seconds of memory.
	shareSmoothing = 0.3
	// busyShare is from which share on a stage is what the others wait for.
	busyShare = 0.8
	// idleShare is below which share nothing to speak of happens.
	idleShare = 0.05
	// lossyShare of packets lost is more than a line without trouble loses, and
	// enough to keep a congestion controller down.
	lossyShare = 0.01
	// fullShare of what the line was seen to carry is a full line: the rest are
	// headers, and what is sent again.
	fullShare = 0.8
	// toldFor is how long what the target told of itself counts: it tells at least
	// every 15 s while a transfer is under way.
	toldFor = 20 * time.Second
)

// load is the share of time that each stage took, smoothed. The waits of the
// senders add up over the disks, so they may be above 1.
type load struct {
	read, digest, compress, network, write float64
	starved, baseline, encoding, blocked   float64
}

// circumstances are what a network that is the limit is told apart by.
type circumstances struct {
	wireRate, maxRate float64 // bytes a second; no maxRate is 0
	targetBusy        float64 // the share of time that the target writes, as it tells
	loss              float64 // of the worst line
	// lineRate is what the lines were seen to carry when they were full, in bytes a
	// second; 0 if that is not known of all of them.
	lineRate float64
}

// pipeline tells how busy the stages are and which one limits a source.
//
// The sender of a disk is the only one that must do things in order, and it is
// always in one of three states: it waits for content to be read, it waits for
// content to be encoded, or its stream takes no more. Whatever it is in most of
// the time is the limit: a stage that is busy without anybody waiting for it is
// none. If it waits for content and the reader waits for the digests of what the
// target holds, that is the network's or the target's doing as well.
//
// A network that is the limit has a reason, and the first of these that holds is
// told: the rate is at the configured one; the target says that it is busy
// writing; the line loses packets. A line that loses packets and carries what it was
// seen to carry when it was full is full: more connections made up for the loss.
func (l load) pipeline(c circumstances) Pipeline {
	p := Pipeline{
		Read: min(l.read, 1), Digest: min(l.digest, 1), Compress: min(l.compress, 1),
		Network: min(l.network, 1), Write: min(c.targetBusy, 1),
	}
	starved, blocked := l.starved, l.blocked
	if l.baseline > l.read {
		starved, blocked = 0, blocked+starved
	}
	switch most := max(starved, l.encoding, blocked); {
	case most < idleShare:
	case most == blocked:
		p.Limit = c.network()
	case most == l.encoding && l.digest > l.compress:
		p.Limit = LimitDigest
	case most == l.encoding:
		p.Limit = LimitCompress
	case l.read >= idleShare: // else the reader is held
		p.Limit = LimitRead
	}
	return p
}

func (c circumstances) network() string {
	switch {
	case c.maxRate > 0 && c.wireRate >= 0.9*c.maxRate:
		return LimitThrottle
	case c.targetBusy >= busyShare:
		return LimitReceiver
	case c.loss >= lossyShare && (c.lineRate == 0 || c.wireRate < fullShare*c.lineRate):
		return LimitLoss
	}
	return LimitNetwork
}

// receiving tells how busy a target's disk is. What else limits it is not seen
// from there.
func (l load) receiving() Pipeline {
	p := Pipeline{Write: min(l.write, 1)}
	if l.write >= busyShare {
		p.Limit = LimitWrite
	}
	return p
}

// A meter turns what stages have spent into shares.
type meter struct {
	stages Stages
	at     time.Time
	load   load
}

// measure looks at the stages once more.
func (m *meter) measure() {
	now := time.Now()
	passed := now.Sub(m.at)
	m.at = now
	fold := func(share *float64, now float64) { *share += shareSmoothing * (now - *share) }
	s, l := &m.stages, &m.load
	processors := float64(runtime.GOMAXPROCS(0))

	read, _ := s.Read.step(passed)
	fold(&l.read, read)
	_, digesting := s.Digest.step(passed)
	fold(&l.digest, digesting/processors)
	_, compressing := s.Compress.step(passed)
	fold(&l.compress, compressing/processors)
	network, blocked := s.Network.step(passed)
	fold(&l.network, network)
	fold(&l.blocked, blocked)
	write, _ := s.Write.step(passed)
	fold(&l.write, write)

	_, starved := s.Starved.step(passed)
	fold(&l.starved, starved)
	_, baseline := s.Baseline.step(passed)
	fold(&l.baseline, baseline)
	_, encoding := s.Encoding.step(passed)
	fold(&l.encoding, encoding)
}
