package quicx

import (
	"fmt"
	"net"
	"net/netip"
)

// openUplink opens a UDP socket that sends over u: bound to the local address,
// pinned to the interface, or to nothing in particular.
func openUplink(u Uplink) (net.PacketConn, error) {
	if u.Bind == "" {
		return net.ListenUDP("udp", nil)
	}
	if addr, err := netip.ParseAddr(u.Bind); err == nil {
		return net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(addr, 0)))
	}
	ifi, err := net.InterfaceByName(u.Bind)
	if err != nil {
		return nil, fmt.Errorf("%q is neither a local address nor an interface: %w", clip(u.Bind), err)
	}
	return openOnInterface(ifi)
}

// reaches reports whether a socket that openUplink opened can send to addr.
func (u Uplink) reaches(addr netip.Addr) bool {
	local, err := netip.ParseAddr(u.Bind)
	return err != nil || local.Is4() == addr.Is4()
}
