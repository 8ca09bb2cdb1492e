package oprf

import (
	"crypto/rand"
	"errors"
	"io"

	"github.com/cloudflare/circl/group"
)

// This file is the package's only door to real randomness: circl's RandomScalar takes a
// reader and does not read it.

// source is the caller's randomness, or the system's if there is none.
func source(random io.Reader) io.Reader {
	if random == nil {
		return rand.Reader
	}
	return random
}

func newSeed() (seed [seedSize]byte) {
	_, _ = rand.Read(seed[:]) // never fails: it ends the program before it does
	return seed
}

// errRandom wraps nothing: what a reader says may be what it read.
var errRandom = errors.New("the randomness ends, or repeats one byte: leave Random nil")

// maxTries is how often randomScalar tries: all fail with a chance of 2⁻²⁵⁶.
const maxTries = 256

// randomScalar is RandomScalar by rejection sampling (RFC 9497 §4.7.1): 32 bytes without
// their 3 highest bits, again until they encode a scalar and not 0, which is every other
// time. It is uniform if random is.
func randomScalar(random io.Reader) (group.Scalar, error) {
	var b [elementSize]byte
	s := group.Ristretto255.NewScalar()
	for range maxTries {
		if _, err := io.ReadFull(random, b[:]); err != nil {
			break
		}
		b[elementSize-1] &= 0x1f
		if s.UnmarshalBinary(b[:]) == nil && !s.IsZero() {
			return s, nil
		}
	}
	return nil, errRandom
}
