//go:build !linux

package quicx

import (
	"fmt"
	"net"
)

// openOnInterface binds to the first address of the interface that can reach
// another site: pinning a socket to an interface is Linux's.
func openOnInterface(ifi *net.Interface) (net.PacketConn, error) {
	addrs, err := ifi.Addrs()
	if err != nil {
		return nil, err
	}
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.IsGlobalUnicast() {
			return net.ListenUDP("udp", &net.UDPAddr{IP: n.IP})
		}
	}
	return nil, fmt.Errorf("the interface %s has no address", ifi.Name)
}
