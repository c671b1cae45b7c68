package resume_test

import (
	"testing"

	"wanrep/diskio/durable/crashfs"
	"wanrep/resume/vhdxstore"
)

func TestCrashWithVHDX(t *testing.T) {
	s := story{vhdxstore.Format{}, increments}
	sweep(t, changing(record(t, s)), func(k int) error { return crashAt(s, honest, k, 1) })
}

func TestCrashWithVHDXThatChange(t *testing.T) {
	s := story{vhdxstore.Format{}, changes}
	ks := changing(layered(record(t, s)))
	sweep(t, everyOther(ks, 3), func(k int) error { return crashAt(s, honest, k, 1) })
}

// TestErrorWithVHDX takes every third operation: there are many that only read.
func TestErrorWithVHDX(t *testing.T) {
	s := story{vhdxstore.Format{}, increments}
	var ks []int
	for _, op := range record(t, s) {
		ks = append(ks, op.N)
	}
	sweep(t, everyOther(ks, 3), func(k int) error { return failAt(s, honest, crashfs.Fault{At: k}, 1) })
}

func TestErrorWithVHDXThatChange(t *testing.T) {
	s := story{vhdxstore.Format{}, changes}
	ks := changing(layered(record(t, s)))
	sweep(t, everyOther(ks, 2), func(k int) error { return failAt(s, honest, crashfs.Fault{At: k}, 1) })
}
