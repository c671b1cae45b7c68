package resume_test

import (
	"testing"

	"wanrep/diskio/durable/crashfs"
	"wanrep/resume/vhdxstore"
)

func TestCrashWithVHDX(t *testing.T) {
	sweep(t, changing(record(t, vhdxstore.Format{})), func(k int) error { return crashAt(vhdxstore.Format{}, honest, k, 1) })
}

// TestErrorWithVHDX takes every third operation: there are many that only read.
func TestErrorWithVHDX(t *testing.T) {
	operations := len(record(t, vhdxstore.Format{}))
	var ks []int
	for k := 1; k <= operations; k += 3 {
		ks = append(ks, k)
	}
	sweep(t, ks, func(k int) error { return failAt(vhdxstore.Format{}, honest, crashfs.Fault{At: k}, 1) })
}
