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
	setClock      = "sudo timedatectl set-ntp true"
	setMTU        = "sudo ip link set dev DEVICE mtu %d"
	openPort      = "sudo nft insert rule inet filter input udp dport %s accept"
	showListeners = "sudo ss -ulpn"
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

// hearAll lets a connected socket hear what is not final too, such as that a network
// can't be reached now. Where it can't be had, less is heard.
func hearAll(conn net.Conn) {
	raw, err := conn.(*net.UDPConn).SyscallConn()
	if err != nil {
		return
	}
	raw.Control(func(fd uintptr) {
		unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_RECVERR, 1)
		unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_RECVERR, 1)
	})
}

// setBuffers is how the doctor says to allow larger buffers, of %[1]d bytes.
const setBuffers = "sudo sysctl -w net.core.rmem_max=%[1]d net.core.wmem_max=%[1]d, and the same two in a file below /etc/sysctl.d to keep it"

// maxSocketBuffer returns the largest buffers that a process may ask for, in bytes.
// ok is false where the system does not tell.
func maxSocketBuffer() (receive, send int64, ok bool) {
	read := func(name string) (size int64) {
		text, err := os.ReadFile("/proc/sys/net/core/" + name)
		if err == nil {
			size, err = strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
		}
		ok = ok && err == nil
		return size
	}
	ok = true
	receive, send = read("rmem_max"), read("wmem_max")
	return receive, send, ok
}

// isAddrInUse tells a port that somebody has from one that cannot be had.
func isAddrInUse(err error) bool { return errors.Is(err, syscall.EADDRINUSE) }
