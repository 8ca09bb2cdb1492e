package dp

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"io"
	"math/bits"
)

// chunk is the number of values that share one stream. It is part of the
// format (package doc, "Randomness"): changing it changes replayed noise.
const chunk = 4096

// streams derives one stream a chunk from one master seed, so that the noise of
// a value does not depend on how many workers share the vector.
type streams struct{ block cipher.Block }

// newStreams reads the 32 bytes of the master seed; nil means crypto/rand.
func newStreams(random io.Reader) (streams, error) {
	if random == nil {
		random = rand.Reader
	}
	var seed [32]byte
	if _, err := io.ReadFull(random, seed[:]); err != nil {
		return streams{}, fmt.Errorf("read 32 bytes of randomness: %w", err)
	}
	block, err := aes.NewCipher(seed[:])
	if err != nil {
		return streams{}, fmt.Errorf("key the noise stream: %w", err)
	}
	return streams{block}, nil
}

// chunk returns the stream of chunk number i.
func (s streams) chunk(i int) *stream {
	var iv [aes.BlockSize]byte
	binary.BigEndian.PutUint64(iv[:], uint64(i))
	st := &stream{ctr: cipher.NewCTR(s.block, iv[:])}
	st.next = len(st.buf)
	return st
}

// stream is AES-256 in counter mode, read as little-endian 64-bit words.
type stream struct {
	ctr  cipher.Stream
	next int // offset of the next unread word in buf
	buf  [2048]byte
}

func (s *stream) word() uint64 {
	if s.next == len(s.buf) {
		s.fill()
	}
	w := binary.LittleEndian.Uint64(s.buf[s.next:])
	s.next += 8
	return w
}

func (s *stream) fill() {
	clear(s.buf[:])
	s.ctr.XORKeyStream(s.buf[:], s.buf[:])
	s.next = 0
}

// below returns a uniform integer in [0, n), n ≥ 1, without bias.
//
// Lemire 2019 (arXiv 1805.10941): of the 2⁶⁴ words w, exactly ⌊2⁶⁴/n⌋ have
// ⌊w·n/2⁶⁴⌋ = x and w·n mod 2⁶⁴ ≥ 2⁶⁴ mod n, for each x in [0, n). The other
// words are rejected. The remainder is computed only where it can matter.
func (s *stream) below(n uint64) uint64 {
	hi, lo := bits.Mul64(s.word(), n)
	if lo < n {
		for floor := -n % n; lo < floor; {
			hi, lo = bits.Mul64(s.word(), n)
		}
	}
	return hi
}
