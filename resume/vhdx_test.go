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
	sweep(t, changing(layered(record(t, s))), func(k int) error { return crashAt(s, honest, k, 1) })
}

func TestErrorWithVHDX(t *testing.T) {
	s := story{vhdxstore.Format{}, increments}
	sweep(t, places(record(t, s)), func(k int) error { return failAt(s, honest, crashfs.Fault{At: k}, 1) })
}

func TestErrorWithVHDXThatChange(t *testing.T) {
	s := story{vhdxstore.Format{}, changes}
	sweep(t, places(layered(record(t, s))), func(k int) error { return failAt(s, honest, crashfs.Fault{At: k}, 1) })
}
