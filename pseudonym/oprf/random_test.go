package oprf

import (
	"bytes"
	"errors"
	"io"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/iotest"
	"time"

	"github.com/cloudflare/circl/group"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// order is that of the group, RFC 9496 §4.
var order, _ = new(big.Int).SetString("7237005577332262213973186563042994240857116359379907606001950938285454250989", 10)

// littleEndian is n in 32 bytes.
func littleEndian(n *big.Int) []byte {
	b := n.FillBytes(make([]byte, 32))
	slices.Reverse(b)
	return b
}

func fromLittleEndian(b []byte) *big.Int {
	b = slices.Clone(b)
	slices.Reverse(b)
	return new(big.Int).SetBytes(b)
}

// repeating yields its bytes for ever.
type repeating []byte

func (r repeating) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = r[i%len(r)]
	}
	return len(b), nil
}

func TestRandomScalar(t *testing.T) {
	blind := unhex(blind1)
	high := slices.Clone(blind)
	high[31] |= 0xe0
	for reason, in := range map[string][]byte{
		"a scalar":                        blind,
		"its 3 highest bits do not count": high,
		"0, and again":                    slices.Concat(make([]byte, 32), blind),
		"the order, and again":            slices.Concat(littleEndian(order), blind),
		"the largest, and again":          slices.Concat(bytes.Repeat([]byte{0xff}, 32), blind),
	} {
		s, err := randomScalar(iotest.OneByteReader(bytes.NewReader(in)))
		require.NoError(t, err, reason)
		b, err := s.MarshalBinary()
		require.NoError(t, err)
		assert.Equal(t, blind, b, reason)
	}
	most := new(big.Int).Sub(order, big.NewInt(1))
	s, err := randomScalar(bytes.NewReader(littleEndian(most)))
	require.NoError(t, err, "the largest scalar is one")
	assert.False(t, s.IsZero())

	for reason, random := range map[string]io.Reader{
		"too short":      bytes.NewReader(blind[:31]),
		"nothing":        bytes.NewReader(nil),
		"failing":        iotest.ErrReader(errors.New("zyxwvu")),
		"zeros for ever": repeating{0},
		"ones for ever":  repeating{0xff},
	} {
		s, err := randomScalar(random)
		assert.Nil(t, s, reason)
		assert.Equal(t, errRandom, err, reason)
	}
}

// With the randomness given, a whole exchange is the same byte for byte; with another it
// differs in all but the pseudonyms.
func TestReplay(t *testing.T) {
	key := fixedKey(t, "insights", "1")
	exchange := func(blinds, proofs byte) (request, response []byte, pseudonyms [][16]byte) {
		client, err := NewClient(ClientConfig{
			Roster: rosterOf(t, key), Purpose: "insights", Epoch: "1", Random: rand.NewChaCha8([32]byte{blinds}),
		})
		require.NoError(t, err)
		server, err := NewServer(ServerConfig{
			Keys: []Key{key}, Clients: []string{"store-7"}, IDs: 10, Window: time.Hour, Random: rand.NewChaCha8([32]byte{proofs}),
		})
		require.NoError(t, err)
		batch, request, err := client.Blind([]string{"ada", "bea", "ada"})
		require.NoError(t, err)
		response, err = server.Evaluate(noon, "store-7", request)
		require.NoError(t, err)
		pseudonyms, err = batch.Finalize(response)
		require.NoError(t, err)
		return request, response, pseudonyms
	}
	request, response, pseudonyms := exchange(1, 2)
	again, same, _ := exchange(1, 2)
	assert.Equal(t, request, again)
	assert.Equal(t, response, same)
	proof := len(response) - proofSize
	again, other, _ := exchange(1, 3)
	assert.Equal(t, request, again)
	assert.Equal(t, response[:proof], other[:proof])
	assert.NotEqual(t, response[proof:], other[proof:])
	again, other, samePseudonyms := exchange(4, 2)
	assert.NotEqual(t, request, again)
	assert.NotEqual(t, response, other)
	assert.Equal(t, pseudonyms, samePseudonyms)

	// The same member twice in a request is two elements.
	r, err := parseRequest(request)
	require.NoError(t, err)
	assert.NotEqual(t, r.elements[:32], r.elements[64:])
}

func TestRandomFails(t *testing.T) {
	key := fixedKey(t, "insights", "1")
	client, err := NewClient(ClientConfig{Roster: rosterOf(t, key), Purpose: "insights", Epoch: "1", Random: repeating{0}})
	require.NoError(t, err)
	batch, request, err := client.Blind([]string{"ada"})
	assert.ErrorIs(t, err, errRandom)
	assert.Nil(t, batch)
	assert.Nil(t, request)

	_, request, err = clientOf(t, key).Blind([]string{"ada"})
	require.NoError(t, err)
	server, err := NewServer(ServerConfig{
		Keys: []Key{key}, Clients: []string{"store-7"}, IDs: 1, Window: time.Hour,
		Random: io.MultiReader(bytes.NewReader(make([]byte, 20)), iotest.ErrReader(errors.New("once")), repeating{7}),
	})
	require.NoError(t, err)
	response, err := server.Evaluate(noon, "store-7", request)
	assert.ErrorIs(t, err, errRandom)
	assert.Nil(t, response)
}

// Two proofs with one nonce give the key away to who sees both. A server whose randomness
// is stuck, as of a machine that was copied, makes no two of different batches.
func TestStuckRandomnessDoesNotGiveTheKeyAway(t *testing.T) {
	key := fixedKey(t, "insights", "1")
	solved := func(prove func(elements []group.Element) []byte) bool {
		client := clientOf(t, key)
		scalars := [2][2]group.Scalar{}
		for i, id := range []string{"ada", "bea"} {
			_, request, err := client.Blind([]string{id})
			require.NoError(t, err)
			r, err := parseRequest(request)
			require.NoError(t, err)
			elements, err := parseElements(r.elements)
			require.NoError(t, err)
			response := prove(elements)
			proof := response[len(response)-proofSize:]
			for j := range 2 {
				scalars[i][j] = group.Ristretto255.NewScalar()
				require.NoError(t, scalars[i][j].UnmarshalBinary(proof[32*j:32*j+32]))
			}
		}
		// s = r − c·k, so k = (s₁−s₂)/(c₂−c₁) if r was the same.
		new := group.Ristretto255.NewScalar
		c := new().Inv(new().Sub(scalars[1][0], scalars[0][0]))
		k := new().Mul(new().Sub(scalars[0][1], scalars[1][1]), c)
		return k.IsEqual(key.secret().private)
	}
	assert.False(t, solved(func(elements []group.Element) []byte {
		e, err := key.secret().evaluate(elements, [seedSize]byte{})
		require.NoError(t, err)
		b, err := appendResponse(e)
		require.NoError(t, err)
		return b
	}))
	nonce, err := randomScalar(bytes.NewReader(unhex(blind1)))
	require.NoError(t, err)
	assert.True(t, solved(func(elements []group.Element) []byte {
		e, err := key.secret().evaluateWith(elements, nonce)
		require.NoError(t, err)
		b, err := appendResponse(e)
		require.NoError(t, err)
		return b
	}), "the attack works where the nonce is one")
}
