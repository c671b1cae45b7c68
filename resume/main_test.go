package resume_test

import (
	"os"
	"runtime/debug"
	"testing"
)

// TestMain lets more garbage lie: a sweep leaves blocks and files in memory at every step,
// and to collect them as soon as usual takes a third of its time.
func TestMain(m *testing.M) {
	debug.SetGCPercent(400)
	os.Exit(m.Run())
}
