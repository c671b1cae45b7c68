package main

import "io/fs"

// keepOwner does nothing: a new file has the access rights of its directory.
func keepOwner(string, fs.FileInfo) error { return nil }
