package metrics

import (
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"wanrep/replicate/progress"
)

const roleSource = "source"

// A collector makes metrics of a board whenever it is asked.
type collector struct {
	board *progress.Board
	facts Facts
}

func newCollector(board *progress.Board, facts Facts) *collector {
	return &collector{board: board, facts: facts}
}

// Describe sends nothing, which makes it an unchecked collector: which metrics there
// are depends on the role.
func (c *collector) Describe(chan<- *prometheus.Desc) {}

// Collect sends the metrics of this moment.
func (c *collector) Collect(to chan<- prometheus.Metric) {
	o := out{to}
	s, counters := c.board.Snapshot(), c.board.Counters()
	o.gauge(buildInfo, 1, s.Role, c.facts.Version, c.facts.Go)
	o.gauge(configGood, 1)
	o.gauge(configRead, seconds(c.facts.ConfigRead))
	o.gauge(certificate, seconds(c.facts.CertificateEnds))
	o.gauge(rateLimit, float64(s.MaxRate))
	for stage, spent := range counters.Stages {
		o.counter(stageBusy, spent, stage)
	}
	for _, l := range s.Links {
		o.link(l)
	}
	for _, p := range counters.Peers {
		o.peer(p)
	}
	jobs := map[string]progress.Job{}
	for _, j := range s.Jobs {
		jobs[j.Job] = j
	}
	peers := map[string]string{} // whom a source sends its VMs to
	for _, v := range s.VMs {
		job := jobs[v.Job]
		peers[v.VM] = job.Peer
		o.vm(s.Role, v, job, s.Paused || job.Paused)
	}
	for _, d := range counters.Disks {
		peer := d.Source
		if s.Role == roleSource {
			peer = peers[d.VM]
		}
		o.counts(s.Role, d, []string{s.Role, peer, d.VM, d.Disk})
	}
	if s.Store.Total > 0 {
		o.gauge(storeFree, float64(s.Store.Free))
		o.gauge(storeSize, float64(s.Store.Total))
	}
}

// out is where metrics go.
type out struct{ to chan<- prometheus.Metric }

func (o out) gauge(d *prometheus.Desc, value float64, labels ...string) {
	o.to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, valid(labels)...)
}

func (o out) counter(d *prometheus.Desc, value float64, labels ...string) {
	o.to <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, value, valid(labels)...)
}

// valid makes labels fit for Prometheus, which takes nothing but UTF-8.
func valid(labels []string) []string {
	for i := range labels {
		labels[i] = strings.ToValidUTF8(labels[i], "?")
	}
	return labels
}

func (o out) link(l progress.Link) {
	up := 1.0
	if l.State == progress.LinkRedial || l.State == progress.LinkDown {
		up = 0
	}
	o.gauge(peerUp, up, l.Peer)
	o.gauge(peerRTT, l.RTT, l.Peer)
	o.gauge(peerQueue, l.Queue, l.Peer)
	o.gauge(peerWindow, float64(l.Window), l.Peer)
	o.gauge(peerLanes, float64(l.Lanes), l.Peer)
	o.gauge(peerLineRate, l.LineRate, l.Peer)
}

func (o out) peer(p progress.PeerCounters) {
	o.counter(peerSent, float64(p.PacketsSent), p.Peer)
	o.counter(peerLost, float64(p.PacketsLost), p.Peer)
	o.counter(peerMigrations, float64(p.Migrations), p.Peer)
	o.counter(peerConnects, float64(p.Connects), p.Peer)
	o.counter(peerRedials, float64(p.Redials), p.Peer)
	o.counter(peerGiveUps, float64(p.GiveUps), p.Peer)
	buckets := map[float64]uint64{}
	for i, bound := range progress.ReattachBounds {
		buckets[bound] = p.Reattached.AtMost[i]
	}
	o.to <- prometheus.MustNewConstHistogram(peerReattach, p.Reattached.Count, p.Reattached.Sum, buckets, valid([]string{p.Peer})...)
}

func (o out) vm(role string, v progress.VM, job progress.Job, held bool) {
	peer := v.Source
	if role == roleSource {
		peer = job.Peer
	}
	for _, d := range v.Disks {
		labels := []string{role, peer, v.VM, d.Disk} // as in perDisk
		o.gauge(diskState, 1, append([]string{d.State}, labels...)...)
		o.gauge(diskSize, float64(d.VirtualSize), labels...)
		if role == roleSource {
			o.gauge(diskPending, float64(max(0, d.Left)), labels...)
		}
		o.gauge(diskReplicated, float64(d.Durable), labels...)
		o.gauge(diskPaused, oneIf(held), labels...)
		o.protection(role, v, labels)
	}
	if len(v.Disks) == 0 {
		// Nothing is known of its disks, and that should be told all the more.
		o.protection(role, v, []string{role, peer, v.VM, ""})
	}
}

// protection tells what a VM has, with the labels of one of its disks.
func (o out) protection(role string, v progress.VM, labels []string) {
	o.gauge(diskNewest, seconds(v.Newest), labels...)
	if v.RPO > 0 {
		o.gauge(diskRPO, v.RPO, labels...)
	}
	o.gauge(diskSeen, seconds(v.FirstSeen), labels...)
	if role == roleSource {
		return
	}
	o.gauge(diskVerified, seconds(v.Verified), labels...)
	o.gauge(diskTested, seconds(v.Tested), labels...)
	o.gauge(diskSuspect, oneIf(v.Damage != ""), labels...)
	o.gauge(diskHeld, oneIf(v.Held != ""), labels...)
}

func oneIf(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

func (o out) counts(role string, d progress.DiskCounters, labels []string) {
	if role == roleSource {
		o.counter(diskRead, float64(d.Read), labels...)
		o.counter(diskSent, float64(d.Wire), labels...)
		o.counter(diskSkipped, float64(d.SkippedZero), append([]string{"zero"}, labels...)...)
		o.counter(diskSkipped, float64(d.SkippedSame), append([]string{"same"}, labels...)...)
	} else {
		o.counter(diskReceived, float64(d.Wire), labels...)
		o.counter(diskWritten, float64(d.Data), labels...)
		o.gauge(diskDamaged, float64(d.Damaged), labels...)
		o.counter(diskFound, float64(d.Found), labels...)
		o.counter(diskHealed, float64(d.Healed), labels...)
	}
	o.counter(diskErrors, float64(d.Failures), labels...)
	o.counter(diskResyncs, float64(d.Restarts), labels...)
}

// seconds is a time as Prometheus has it; zero stays zero.
func seconds(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1000
}
