//go:build race

package resume_test

// everyNth of the operations is swept. The race detector looks for goroutines
// that meet, and those are the same wherever the power is cut. Without it each of the
// operations is.
const everyNth = 16
