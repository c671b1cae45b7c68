package main

import (
	"bytes"
	"strings"
	"testing"
)

// TestKills kills a few times, so that the benchmark works when it is wanted.
func TestKills(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), []string{"kills", "-n", "4", "-size", "32", "-rate", "20MiB/s", "-v"}, &out); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	t.Log(out.String())
	for _, want := range []string{"seed ", "| 4 kills at random moments |", "equals its source\n", "| of that lost, bytes | 0 |"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("it did not print %q", want)
		}
	}
}
