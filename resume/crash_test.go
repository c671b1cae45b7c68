package resume_test

import (
	"testing"
)

func TestPlayWithoutFaults(t *testing.T) {
	ops := record(t, plain{})
	changes := 0
	for _, op := range ops {
		if op.Changes {
			changes++
		}
	}
	t.Logf("%d operations, %d of them change something", len(ops), changes)
}
