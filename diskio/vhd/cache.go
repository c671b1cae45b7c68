package vhd

import "sync"

// A cache keeps the pieces of a file that were used last. It may be used by
// several goroutines at once.
type cache struct {
	keep int
	read func(n int64) ([]byte, error)

	mu     sync.Mutex
	pieces []piece // the one used last is the first
}

type piece struct {
	n    int64
	data []byte
}

// get returns piece n, which the caller must not change.
func (c *cache) get(n int64) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, p := range c.pieces {
		if p.n == n {
			copy(c.pieces[1:i+1], c.pieces[:i])
			c.pieces[0] = p
			return p.data, nil
		}
	}
	data, err := c.read(n)
	if err != nil {
		return nil, err
	}
	if len(c.pieces) < c.keep {
		c.pieces = append(c.pieces, piece{})
	}
	copy(c.pieces[1:], c.pieces)
	c.pieces[0] = piece{n, data}
	return data, nil
}
