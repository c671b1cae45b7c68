package quicx

import "crypto/tls"

// ALPN protocols. An unpaired peer can reach the last one only.
const (
	protocolLink = "wanrep/1"
	protocolLane = "wanrep-lane/1"
	protocolPair = "wanrep-pair/1"
)

// serverName is sent in clear by every client, so it must say nothing. Tickets
// are kept apart by pin, not by name.
const serverName = "wanrep"

// clientTLS is how a source dials an appliance whose key accept accepts.
//
// crypto/tls's own chain and name checks are off, because there is no authority
// and no name to check. VerifyConnection takes their place, and not
// VerifyPeerCertificate, which a resumed session does not run.
func clientTLS(id *Identity, protocol string, accept func(Pin) error, tickets tls.ClientSessionCache) *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS13,
		Certificates:       []tls.Certificate{id.cert},
		NextProtos:         []string{protocol},
		ServerName:         serverName,
		ClientSessionCache: tickets,
		InsecureSkipVerify: true,
		VerifyConnection: func(cs tls.ConnectionState) error {
			pin, err := peerPin(cs)
			if err != nil {
				return err
			}
			return accept(pin)
		},
	}
}

// only accepts one pin.
func only(want Pin) func(Pin) error {
	return func(pin Pin) error {
		if pin != want {
			return errWrongPin
		}
		return nil
	}
}

// serverTLS is how a target lets peers in: verify decides, on every connection,
// resumed or not, before any of its data is delivered.
func serverTLS(id *Identity, verify func(tls.ConnectionState) error) *tls.Config {
	return &tls.Config{
		MinVersion:       tls.VersionTLS13,
		Certificates:     []tls.Certificate{id.cert},
		NextProtos:       []string{protocolLink, protocolLane, protocolPair},
		ClientAuth:       tls.RequireAnyClientCert,
		VerifyConnection: verify,
	}
}
