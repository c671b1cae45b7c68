package main

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Commands that the doctor tells to run.
const (
	setClock = "timedatectl set-ntp true"
	setMTU   = "sudo ip link set dev DEVICE mtu %d"
	openPort = "sudo nft insert rule inet filter input udp dport %s accept"
)

func askName(host string) string    { return "getent ahosts " + quoted(host) }
func showRoute(a netip.Addr) string { return "ip route get " + a.String() }

// pathMTU returns the largest IP packet that gets to an address, as far as the
// kernel has found out, and ok false if it does not tell.
func pathMTU(a netip.AddrPort) (mtu int, ok bool) {
	conn, err := net.Dial("udp", a.String())
	if err != nil {
		return 0, false
	}
	defer conn.Close()
	raw, err := conn.(*net.UDPConn).SyscallConn()
	if err != nil {
		return 0, false
	}
	level, option := unix.IPPROTO_IP, unix.IP_MTU
	if !a.Addr().Is4() {
		level, option = unix.IPPROTO_IPV6, unix.IPV6_MTU
	}
	asked := raw.Control(func(fd uintptr) { mtu, err = unix.GetsockoptInt(int(fd), level, option) })
	return mtu, errors.Join(asked, err) == nil && mtu > 0
}

// maxSocketBuffer returns the largest receive buffer that a process may ask for,
// in bytes, and the command that sets it, with %d for the bytes. ok is false
// where the system does not tell.
func maxSocketBuffer() (size int64, set string, ok bool) {
	text, err := os.ReadFile("/proc/sys/net/core/rmem_max")
	if err != nil {
		return 0, "", false
	}
	size, err = strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	return size, "sudo sysctl -w net.core.rmem_max=%d", err == nil
}

// isAddrInUse tells a port that somebody has from one that cannot be had.
func isAddrInUse(err error) bool { return errors.Is(err, syscall.EADDRINUSE) }
