//go:build !unix

package vhdx

// openFlags is empty where a pipe can't stand in for a file. On Windows package os
// shares reading and writing with others, so that Hyper-V may hold the file open.
const openFlags = 0
