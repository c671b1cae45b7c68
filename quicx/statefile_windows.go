package quicx

import "os"

// syncDir does nothing: NTFS journals a rename by itself.
func syncDir(string) error { return nil }

// checkPrivate only checks that the file is there: who may read it is the
// directory's access control list on Windows, which the mode bits do not show.
func checkPrivate(path string) error {
	_, err := os.Stat(path)
	return err
}
