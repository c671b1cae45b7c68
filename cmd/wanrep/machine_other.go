//go:build !linux

package main

import (
	"errors"
	"net"
	"net/netip"
	"runtime"
	"syscall"
)

// Commands that the doctor tells to run.
const (
	setClock      = "w32tm /resync"
	setMTU        = `netsh interface ipv4 set subinterface "NAME" mtu=%d`
	openPort      = `netsh advfirewall firewall add rule name=wanrep dir=in action=allow protocol=UDP localport=%s`
	showListeners = "netstat -ano -p udp"
)

func askName(host string) string    { return "nslookup " + quoted(host) }
func showRoute(a netip.Addr) string { return "route print" }

// pathMTU tells nothing: only Linux says what it has found out.
func pathMTU(netip.AddrPort) (mtu int, ok bool) { return 0, false }

// hearAll changes nothing: what a socket hears is the system's matter.
func hearAll(net.Conn) {}

// setBuffers is of no use where no limit is told.
const setBuffers = "%[1]d"

// maxSocketBuffer tells nothing: only Linux has one limit for all processes.
func maxSocketBuffer() (receive, send int64, ok bool) { return 0, 0, false }

// wsaeAddrInUse is what Windows answers for a port that somebody has (WinSock2.h).
const wsaeAddrInUse = syscall.Errno(10048)

// isAddrInUse tells a port that somebody has from one that cannot be had.
func isAddrInUse(err error) bool {
	if runtime.GOOS == "windows" {
		return errors.Is(err, wsaeAddrInUse)
	}
	return errors.Is(err, syscall.EADDRINUSE)
}
