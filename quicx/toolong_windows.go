package quicx

import "golang.org/x/sys/windows"

var errTooLong error = windows.WSAEMSGSIZE
