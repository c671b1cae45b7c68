// Package stripe carries one ordered sequence of bytes over several ordered
// channels, such as streams of several connections.
//
// A Writer cuts the sequence into segments and gives each to whichever channel
// can take it; a Reader puts them together again. Each segment says where in the
// sequence it belongs, and within one channel offsets only grow, so a Reader
// needs no buffer of its own: what comes too early waits in its channel, whose
// flow control holds the Writer back.
//
// Nothing is sent twice, and no channel may fail: a channel that ends before its
// time ends the sequence. The package knows nothing of connections, of how many
// channels are good, and of who opens them.
package stripe
