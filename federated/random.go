package federated

import "crypto/rand"

// This file is the package's only door to real randomness. Package dp has its
// own, for where a Noise is given none.

var realRandom = rand.Reader

func freshSecret() (s [32]byte) {
	rand.Read(s[:]) // never fails
	return s
}
