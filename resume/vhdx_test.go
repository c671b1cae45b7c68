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
	sweep(t, everyOther(ks, 2), func(k int) error { return crashAt(s, honest, k, 1) })
}

// TestErrorWithVHDX takes every third operation: there are many that only read.
func TestErrorWithVHDX(t *testing.T) {
	s := story{vhdxstore.Format{}, increments}
	operations := len(record(t, s))
	var ks []int
	for k := 1; k <= operations; k += 3 {
		ks = append(ks, k)
	}
	sweep(t, ks, func(k int) error { return failAt(s, honest, crashfs.Fault{At: k}, 1) })
}

func TestErrorWithVHDXThatChange(t *testing.T) {
	s := story{vhdxstore.Format{}, changes}
	ks := changing(layered(record(t, s)))
	sweep(t, everyOther(ks, 2), func(k int) error { return failAt(s, honest, crashfs.Fault{At: k}, 1) })
}

// everyOther returns each n-th of ks.
func everyOther(ks []int, n int) (some []int) {
	for i := 0; i < len(ks); i += n {
		some = append(some, ks[i])
	}
	return some
}
