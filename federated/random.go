package federated

import (
	"crypto/rand"
	"io"
)

// This file is the package's only door to real randomness.

// random returns r, or crypto/rand where r is nil.
func random(r io.Reader) io.Reader {
	if r == nil {
		return rand.Reader
	}
	return r
}

func freshSecret() (s [32]byte, err error) {
	_, err = io.ReadFull(rand.Reader, s[:])
	return s, err
}
