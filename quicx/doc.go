// Package quicx is one link between two appliances: a QUIC connection that
// survives what a WAN does to it, and the way back when it does not.
//
// The source dials, because only a QUIC client may move a connection to another
// path. An [Endpoint] is the source's end: it keeps one UDP socket per uplink for
// its whole life, dials, migrates, and revives links. A [Listener] is the
// target's end. Either way the result is a [Link], which opens and accepts
// streams. A [Redialer] brings a lost link back.
//
// Who may talk to whom is decided by pins: both ends show a self-signed
// certificate, and each accepts only the public key it was paired with. Pairing
// ([Listener.Offer] and [Endpoint.Join]) takes one pasted code.
//
// The package knows nothing of disks, jobs or what the streams carry. It is the
// only importer of quic-go; several of its rules exist because of how quic-go
// v0.65.0 behaves, and facts_test.go and its neighbours check that it still does:
//
//   - any send error kills a connection, so every socket is wrapped (socket.go);
//   - a path cannot be probed once the active one is dead under load, so exactly
//     one standby path is kept validated (paths.go);
//   - a target answers no probe from the address in use, so an uplink has a second
//     socket (uplink.go);
//   - a switch to another path wakes nothing, so a heartbeat follows it (paths.go);
//   - after an outage it waits about as long again, so a silent link is sent anew
//     twice a second (watch.go);
//   - stateless resets are not recognised after a migration, so a link is dialed
//     beside a silent one (spare.go);
//   - closing the transport a connection was dialed on kills it even after it
//     migrated, so transports live as long as the endpoint (uplink.go);
//   - after a rejected 0-RTT attempt a connection can never migrate, so it is
//     given up and dialed afresh (link.go);
//   - it takes the target's parameters without a lock while a stream may be opened
//     early, so that the first one is opened before anything is sent (early.go);
//   - it runs NewReno, which random loss holds at a fixed few Mbit/s, so a link
//     spreads over several connections, its lanes (lanes.go, lanecount.go);
//   - crypto/tls forgets a ticket after any failed handshake, so the ticket
//     store ignores that (tickets.go).
//
// A link that is dialed after a blackout does not use 0-RTT, though its ticket would
// allow it. What is sent early belongs to one connection. A dial that races several
// ways would have to return before anybody knows which of them leads to the peer,
// and what the engine then writes would have to go out over each. With a single way
// it would return at once over a line that is most likely still dead, and redialing
// would take for an attempt that succeeded what hears nothing for five seconds. It
// would save one round trip of a reattach that waits for its turn for up to 15 s:
// TestReattachAfterOutage measures two of them, with 0-RTT it is one.
//
// Start reading at endpoint.go and link.go; paths.go holds the moving of a live
// link, redial.go the way back, and stripe, the package below, how one stream
// travels over several connections.
package quicx
