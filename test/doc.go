// Package test holds what needs two appliances, and the check of the layers. The
// scenarios run the built binary as two processes; package test/wan is the line
// that may stand between them.
//
// The layers are in layers_test.go, what wanrep promises, and the tests of each promise
// in all packages, in promises_test.go; for the scenarios start with rig_test.go.
package test
