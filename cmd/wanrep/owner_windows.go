package main

import (
	"fmt"
	"io/fs"
	"os"
)

// keepOwner does nothing: a new file has the access rights of its directory.
func keepOwner(string, fs.FileInfo) error { return nil }

// strangeOwner tells nothing: what an account may do, the access rights say.
func strangeOwner(fs.FileInfo) string { return "" }

// grant is the command that lets this account read a path, or write below it.
func grant(path string, write bool) string {
	if write {
		return ownCommand(path)
	}
	return fmt.Sprintf(`let the account read it and its parents: icacls %s /grant "%s:R"`, quoted(path), os.Getenv("USERNAME"))
}

// ownCommand is the command that gives this account all rights below a directory.
func ownCommand(path string) string {
	return fmt.Sprintf(`icacls %s /grant "%s:(OI)(CI)F" /T`, quoted(path), os.Getenv("USERNAME"))
}

// quoted is a word of a command as the shell takes it.
func quoted(word string) string { return `"` + word + `"` }
