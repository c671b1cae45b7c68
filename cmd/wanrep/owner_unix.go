//go:build !windows

package main

import (
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"strconv"
	"strings"
	"syscall"
)

// keepOwner gives a new file the owner and the group that the old one had.
func keepOwner(path string, like fs.FileInfo) error {
	old, ok := like.Sys().(*syscall.Stat_t)
	if !ok || int(old.Uid) == os.Geteuid() && int(old.Gid) == os.Getegid() {
		return nil
	}
	return os.Chown(path, int(old.Uid), int(old.Gid))
}

// strangeOwner returns the account that a file belongs to, if it is another than
// this process has.
func strangeOwner(info fs.FileInfo) string {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || int(st.Uid) == os.Geteuid() {
		return ""
	}
	uid := strconv.Itoa(int(st.Uid))
	if u, err := user.LookupId(uid); err == nil {
		return u.Username
	}
	return "uid " + uid
}

// account is what this process runs as.
func account() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return strconv.Itoa(os.Geteuid())
}

// grant is the command that lets this account read a path, or write below it.
func grant(path string, write bool) string {
	if write {
		return ownCommand(path)
	}
	return fmt.Sprintf("let the account read it and its parents: sudo setfacl -m u:%s:r %s", account(), quoted(path))
}

// ownCommand is the command that makes a directory this account's own.
func ownCommand(path string) string {
	return fmt.Sprintf("sudo chown -R %s %s", account(), quoted(path))
}

// quoted is a word of a command as a shell takes it.
func quoted(word string) string {
	special := func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-:@%+,", r))
	}
	if word != "" && !strings.ContainsFunc(word, special) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
