// Package wanlink lays a wide-area line between two network namespaces of this
// machine, for programs as they are: what they send is carried with a rate, a delay,
// a queue and losses.
//
// It needs root and Linux. The kernel hands over up to 64 KiB at once, as it would to
// a network card that cuts it to packets; here rate, queue and loss act on single
// packets, and what is due together is handed back together. A line for the sockets
// of one process, without root, is in package wan.
//
// A line is only as exact as the process is prompt: give it a process of its own and
// call Prompt first. Start with Lay.
package wanlink
