package vhdx

import "math/bits"

// bits returns how many bits from bit on, below end, have the value of the first,
// and that value. The sector bitmap block lies at off of the file; its bits count
// from the lowest of each byte up (MS-VHDX 2.4).
func (l *layer) bits(off, bit, end int64) (n int64, set bool, err error) {
	for at := bit; at < end; {
		b, err := l.pages.at(off + at/8)
		if err != nil {
			return 0, false, err
		}
		if at == bit {
			set = b[0]>>(bit%8)&1 != 0
		}
		stop := min(end, (at/8+int64(len(b)))*8)
		same := sameBits(b, at%8, stop-at/8*8, set)
		at = at/8*8 + same
		if at < stop {
			return at - bit, set, nil
		}
	}
	return end - bit, set, nil
}

// sameBits returns the first bit of b at or after from, below end, that is not set,
// or end. All are bits of b.
func sameBits(b []byte, from, end int64, set bool) int64 {
	flip := byte(0)
	if set {
		flip = 0xff
	}
	for at := from; at < end; {
		if at%64 == 0 && at+64 <= end {
			w := le.Uint64(b[at/8:])
			if set {
				w = ^w
			}
			if w == 0 {
				at += 64
				continue
			}
			return at + int64(bits.TrailingZeros64(w))
		}
		if x := (b[at/8] ^ flip) >> (at % 8); x != 0 {
			return min(end, at+int64(bits.TrailingZeros8(x)))
		}
		at = (at/8 + 1) * 8
	}
	return end
}
