package wanlink

import (
	"os"
	"runtime"
	"runtime/debug"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// quantum is by how much packets may leave early, so that several leave at once.
	quantum = 50 * time.Microsecond
	// mostTaken is how many reads go before packets that are due.
	mostTaken = 512
	// longestWait is how long a direction with nothing to do does not look whether it
	// is to end.
	longestWait = 100 * time.Millisecond
	// priority is above that of the programs that use the line.
	priority = 2
	// mostMemory is when the garbage collector, which would delay packets, begins.
	mostMemory = 2 << 30
)

// Prompt starts the process again with real-time priority, and lets it neither be
// preempted nor collect garbage, as far as it may; then it returns.
func Prompt() {
	const done = "WANLINK_PROMPT"
	if os.Getenv(done) == "" {
		runtime.LockOSThread() // exec keeps the priority of this thread
		defer runtime.UnlockOSThread()
		attr := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: priority}
		self, err := os.Executable()
		if err == nil && unix.SchedSetAttr(0, &attr, 0) == nil {
			_ = syscall.Exec(self, os.Args, append(os.Environ(), done+"=1", "GODEBUG=asyncpreemptoff=1"))
		}
	}
	// Both directions sit in system calls; there is always one more to run on.
	runtime.GOMAXPROCS(8)
	debug.SetGCPercent(-1)
	debug.SetMemoryLimit(mostMemory)
}

// run carries packets until the direction is to end.
func (d *direction) run() {
	// The thread ends with this goroutine because it stays locked.
	runtime.LockOSThread()
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	in := []unix.PollFd{{Fd: int32(d.in), Events: unix.POLLIN}}
	for {
		d.mu.Lock()
		taken := d.takeIn()
		now := d.clock()
		given := d.giveOut(now)
		wait := longestWait
		if len(d.underway) > 0 {
			// A little early, so that errors are around zero.
			wait = min(wait, max(0, d.underway[0].due-now-quantum/2))
		}
		ended := d.ended
		d.mu.Unlock()
		watched := in
		switch {
		case ended:
			return
		case taken == mostTaken:
			continue
		case taken > 0 || given > 0:
			// More is likely to come: let some gather.
			watched, wait = nil, quantum
		}
		limit := unix.NsecToTimespec(int64(wait))
		_, _ = unix.Ppoll(watched, &limit, nil)
	}
}

// takeIn reads what the device has, and returns how often it read.
func (d *direction) takeIn() int {
	for taken := range mostTaken {
		n, err := unix.Read(d.in, d.scratch)
		if err != nil || n <= virtioHeader {
			return taken
		}
		now := d.clock()
		b := d.buffers.take(d.scratch[:n])
		for part := range b.parts {
			d.admit(b, part, b.partBytes(part), now)
		}
		d.buffers.release(b)
	}
	return mostTaken
}

// giveOut hands over what is due, and returns how many packets that were. Packets
// that are in one buffer one after the other go together.
func (d *direction) giveOut(now time.Duration) (given int) {
	var b *buffer
	var from, to int
	for len(d.underway) > 0 && d.underway[0].due <= now+quantum {
		p := d.underway.pop()
		given++
		late := max(0, now-p.due)
		d.late += late
		d.count.LateMost = max(d.count.LateMost, late)
		if bytes := uint64(p.buf.partBytes(p.part)); p.buf.udp() {
			d.count.UDPBytes += bytes
		} else {
			d.count.TCPBytes += bytes
		}
		if p.buf == b && p.part == to {
			to++
			continue
		}
		if b != nil {
			d.handOver(b, from, to)
		}
		b, from, to = p.buf, p.part, p.part+1
	}
	if b != nil {
		d.handOver(b, from, to)
	}
	d.given += uint64(given)
	return given
}
