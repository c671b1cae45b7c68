package quicx

import (
	"context"
	"fmt"
	"os/exec"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The kernel tells of an interface that comes up, without being polled.
func TestKernelTellsOfChanges(t *testing.T) {
	nsenter, err := exec.LookPath("nsenter")
	if err != nil {
		t.Skip("needs nsenter")
	}
	ctx, cancel := context.WithCancel(t.Context())
	changes, ready := make(chan struct{}, 64), make(chan error)
	ended := make(chan error, 1)
	thread := 0
	go func() {
		runtime.LockOSThread() // and never back: the thread ends with its namespace
		thread = unix.Gettid()
		err := unix.Unshare(unix.CLONE_NEWNET)
		ready <- err
		if err == nil {
			ended <- kernelChanges(ctx, func() { changes <- struct{}{} })
		}
	}()
	if err := <-ready; err != nil {
		t.Skipf("needs root for a network namespace: %v", err)
	}
	space := fmt.Sprintf("--net=/proc/%d/ns/net", thread)
	heard := false
	for try := 0; !heard && try < 50; try++ { // at first it does not listen yet
		state := []string{"up", "down"}[try%2]
		if out, err := exec.Command(nsenter, space, "ip", "link", "set", "lo", state).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		select {
		case <-changes:
			heard = true
		case <-time.After(100 * time.Millisecond):
		}
	}
	if !heard {
		t.Error("nothing was heard of an interface that went up and down")
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
