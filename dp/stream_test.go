package dp

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"io"
	"math/big"
	"math/rand/v2"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// seeded returns a reader that gives the same bytes in every run.
func seeded(s uint64) io.Reader {
	var seed [32]byte
	binary.BigEndian.PutUint64(seed[:], s)
	return rand.NewChaCha8(seed)
}

func seededStream(t testing.TB, s uint64) *stream {
	t.Helper()
	st, err := newStreams(seeded(s))
	require.NoError(t, err)
	return st.chunk(0)
}

// TestStreamFormat writes the format of the package doc down a second time.
func TestStreamFormat(t *testing.T) {
	key := bytes.Repeat([]byte{7}, 32)
	st, err := newStreams(bytes.NewReader(key))
	require.NoError(t, err)
	block, err := aes.NewCipher(key)
	require.NoError(t, err)
	for _, i := range []int{0, 1, 255, 256, 1 << 40} {
		d := st.chunk(i)
		for word := range 1000 { // several buffers
			var counter, out [16]byte
			binary.BigEndian.PutUint64(counter[:8], uint64(i))
			binary.BigEndian.PutUint64(counter[8:], uint64(word/2))
			block.Encrypt(out[:], counter[:])
			want := binary.LittleEndian.Uint64(out[word%2*8:])
			require.Equal(t, want, d.word(), "stream %d, word %d", i, word)
		}
	}
}

func TestStreamReadsSeedOnly(t *testing.T) {
	r := bytes.NewReader(make([]byte, 40))
	_, err := newStreams(r)
	require.NoError(t, err)
	assert.Equal(t, 8, r.Len())
}

func TestStreamReaderFails(t *testing.T) {
	broken := errors.New("broken")
	_, err := newStreams(iotest.ErrReader(broken))
	assert.ErrorIs(t, err, broken)
	_, err = newStreams(bytes.NewReader(make([]byte, 31)))
	assert.ErrorIs(t, err, io.ErrUnexpectedEOF)
	_, err = newStreams(nil)
	assert.NoError(t, err, "nil is crypto/rand")
}

// tape is a cipher.Stream that writes given words.
type tape struct{ words []uint64 }

func (t *tape) XORKeyStream(dst, _ []byte) {
	for i := 0; i+8 <= len(dst); i += 8 {
		w := uint64(0)
		if len(t.words) > 0 {
			w, t.words = t.words[0], t.words[1:]
		}
		binary.LittleEndian.PutUint64(dst[i:], w)
	}
}

var _ cipher.Stream = (*tape)(nil)

// TestBelowIsExact counts how many of the 2⁶⁴ words give x, for a few n and x:
// as many for every x. The words with ⌊w·n/2⁶⁴⌋ = x are an interval, found by
// division; only its first word or two can be rejected.
func TestBelowIsExact(t *testing.T) {
	for _, n := range []uint64{2, 3, 5, 7, 10, 1 << 20, 3 << 61, 1<<63 + 1, 1<<64 - 1} {
		N := new(big.Int).SetUint64(n)
		want := new(big.Int).Div(two64, N).Uint64()
		for _, x := range []uint64{0, 1, n / 2, n - 1} {
			first := firstWord(x, N)
			size := new(big.Int).Sub(firstWord(x+1, N), first).Uint64()
			got := size
			for i := range min(size, 3) {
				if rejects(first.Uint64()+i, n) {
					got--
				} else {
					s := &stream{ctr: &tape{[]uint64{first.Uint64() + i}}}
					s.next = len(s.buf)
					assert.Equal(t, x, s.below(n))
				}
			}
			assert.Equal(t, want, got, "n = %d, x = %d", n, x)
		}
	}
	assert.Zero(t, (&stream{ctr: &tape{}}).below(1))
}

var two64 = new(big.Int).Lsh(big.NewInt(1), 64)

// firstWord returns ⌈x·2⁶⁴/n⌉.
func firstWord(x uint64, n *big.Int) *big.Int {
	e := new(big.Int).Mul(new(big.Int).SetUint64(x), two64)
	e.Add(e, n).Sub(e, big.NewInt(1))
	return e.Div(e, n)
}

// rejects reports whether below needs a second word.
func rejects(w, n uint64) bool {
	s := &stream{ctr: &tape{[]uint64{w, 1<<64 - 1, 1<<64 - 1}}}
	s.next = len(s.buf)
	s.below(n)
	return s.next > 8
}
