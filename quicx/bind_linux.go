package quicx

import (
	"context"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

var errTooLong error = unix.EMSGSIZE

// openOnInterface pins a socket to an interface (SO_BINDTODEVICE; no privilege is
// needed since Linux 5.7). It has no local address of its own, so a new DHCP
// lease does not break it, and no policy routing is needed.
func openOnInterface(ifi *net.Interface) (net.PacketConn, error) {
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var bindErr error
		if err := c.Control(func(fd uintptr) {
			bindErr = unix.BindToDevice(int(fd), ifi.Name)
		}); err != nil {
			return err
		}
		return bindErr
	}}
	return lc.ListenPacket(context.Background(), "udp", ":0")
}
