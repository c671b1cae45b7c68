//go:build !race

package resume_test

const everyNth = 1
