package oprf

import "crypto/rand"

// newSeed is random. Blinds and proofs take their own randomness, from crypto/rand
// too, inside circl.
func newSeed() (seed [seedSize]byte) {
	_, _ = rand.Read(seed[:]) // never fails: it ends the program before it does
	return seed
}
