//go:build !linux

package quicx

import "net"

func gathering(s *udpSocket) net.PacketConn { return s }
