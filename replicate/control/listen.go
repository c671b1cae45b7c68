package control

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"time"
)

// probeTimeout bounds the question whether somebody still answers on a socket
// that is there already.
const probeTimeout = 2 * time.Second

// maxPathBytes is the longest path the kernel takes for a unix socket:
// sockaddr_un.sun_path without its closing zero (unix(7); 104 bytes on BSD).
func maxPathBytes() int {
	switch runtime.GOOS {
	case "linux", "windows":
		return 107
	}
	return 103
}

// checkPath explains what bind would only call "invalid argument".
func checkPath(path string) error {
	if path == "" {
		return errors.New("control socket: the path is empty")
	}
	if n, limit := len(path), maxPathBytes(); n > limit {
		return &pathError{path: path, reason: fmt.Sprintf("the path has %d bytes, and the system allows %d for a socket", n, limit)}
	}
	return nil
}

// A pathError says that a path cannot be a socket's.
type pathError struct{ path, reason string }

func (e *pathError) Error() string { return "control socket " + e.path + ": " + e.reason }
func (e *pathError) Hint() string {
	return `set a shorter one: [control] socket = "/run/wanrep/wanrep.sock"`
}

// Listen makes the socket with mode 0660, and its directory with 0750 if there
// is none. A socket that a dead process left is replaced; a live one gives an
// [InUseError], and a file that is no socket is left alone. Closing the listener
// removes the socket.
//
// Two processes that replace a stale socket in the same moment are not told
// apart here: the lock on the state directory does that, and is taken first.
func Listen(ctx context.Context, path string) (net.Listener, error) {
	if err := checkPath(path); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return nil, fmt.Errorf("make the control socket's directory: %w", err)
	}
	if err := removeStale(ctx, path); err != nil {
		return nil, err
	}
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("make the control socket: %w", err)
	}
	if err := os.Chmod(path, 0o660); err != nil && runtime.GOOS != "windows" {
		ln.Close()
		return nil, fmt.Errorf("set the control socket's mode: %w", err)
	}
	return ln, nil
}

// removeStale removes a socket on which nobody answers.
func removeStale(ctx context.Context, path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look at the control socket: %w", err)
	}
	// Windows has no mode bit for sockets: it calls them irregular.
	if info.Mode()&(fs.ModeSocket|fs.ModeIrregular) == 0 {
		return &pathError{path: path, reason: "there is a file of another kind"}
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", path)
	if err != nil && isRefused(err) {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("replace the stale control socket: %w", err)
		}
		return nil
	}
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) && ctx.Err() == nil {
		return fmt.Errorf("look at the control socket: %w", err)
	}
	if err == nil {
		conn.Close()
	}
	inUse := &InUseError{Socket: path}
	if s, err := (&Client{Socket: path}).Status(ctx); err == nil {
		inUse.Name, inUse.Role = s.Name, s.Role
	}
	return inUse
}
