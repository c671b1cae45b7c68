// Package ladder tests what happens when the line drops, with two whole appliances
// and real QUIC in fake time: half an hour of outage takes milliseconds.
package ladder
