package oprf

import (
	"bytes"
	"encoding/hex"
	"slices"
	"strings"
	"testing"

	"github.com/cloudflare/circl/group"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/larder-dp/larder/pseudonym"
)

func unhex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

func unhexAll(list string) (all [][]byte) {
	for s := range strings.SplitSeq(list, ",") {
		all = append(all, unhex(s))
	}
	return all
}

// RFC 9497, appendix A.1.2: ristretto255-SHA512, VOPRF mode.
var (
	rfcSeed   = [seedSize]byte(unhex(strings.Repeat("a3", 32)))
	rfcInfo   = unhex("74657374206b6579")
	rfcSecret = unhex("e6f73f344b79b379f1a0dd37e07ff62e38d9f71345ce62ae3a9bc60b04ccd909")
	rfcPublic = unhex("c803e2cc6b05fc15064549b5920659ca4a77b2cca6f04f6b357009335476ad4e")
)

type vector struct {
	name, inputs, blinds, blinded, evaluated, proof, proofRandom, outputs string
}

const (
	blind1  = "64d37aed22a27f5191de1c1d69fadb899d8862b58eb4220029e036ec4c1f6706"
	blind2  = "222a5e897cf59db8145db8d16e597e8facb80ae7d4e26d9881aa6f61d645fc0e"
	eval1   = "aa8fa048764d5623868679402ff6108d2521884fa138cd7f9c7669a9a014267e"
	output1 = "b58cfbe118e0cb94d79b5fd6a6dafb98764dff49c14e1770b566e42402da1a7da4d8527693914139caee5bd03903af43a491351d23b430948dd50cde10d32b3c"
	output2 = "8a9a2f3c7f085b65933594309041fc1898d42d0858e59f90814ae90571a6df60356f4610bf816f27afdd84f47719e480906d27ecd994985890e5f539e7ea74b6"
)

var vectors = []vector{
	{
		"A.1.2.1 batch of one", "00", blind1,
		"863f330cc1a1259ed5a5998a23acfd37fb4351a793a5b3c090b642ddc439b945", eval1,
		"ddef93772692e535d1a53903db24367355cc2cc78de93b3be5a8ffcc6985dd066d4346421d17bf5117a2a1ff0fcb2a759f58a539dfbe857a40bce4cf49ec600d",
		blind2, output1,
	},
	{
		"A.1.2.2 batch of one", strings.Repeat("5a", 17), blind1,
		"cc0b2a350101881d8a4cba4c80241d74fb7dcbfde4a61fde2f91443c2bf9ef0c",
		"60a59a57208d48aca71e9e850d22674b611f752bed48b36f7a91b372bd7ad468",
		"401a0da6264f8cf45bb2f5264bc31e109155600babb3cd4e5af7d181a2c9dc0a67154fabf031fd936051dec80b0b6ae29c9503493dde7393b722eafdf5a50b02",
		blind2, output2,
	},
	{
		"A.1.2.3 batch of two", "00," + strings.Repeat("5a", 17), blind1 + "," + blind2,
		"863f330cc1a1259ed5a5998a23acfd37fb4351a793a5b3c090b642ddc439b945,90a0145ea9da29254c3a56be4fe185465ebb3bf2a1801f7124bbbadac751e654",
		eval1 + ",cc5ac221950a49ceaa73c8db41b82c20372a4c8d63e5dded2db920b7eee36a2a",
		"cc203910175d786927eeb44ea847328047892ddf8590e723c37205cb74600b0a5ab5337c8eb4ceae0494c2cf89529dcf94572ed267473d567aeed6ab873dee08",
		"419c4f4f5052c53c45f3da494d2b67b220d02118e0857cdbcf037f9ea84bbe0c",
		output1 + "," + output2,
	},
}

func TestVectorsOfRFC9497(t *testing.T) {
	private, public, err := derive(rfcSeed, rfcInfo)
	require.NoError(t, err)
	secret, err := private.MarshalBinary()
	require.NoError(t, err)
	assert.Equal(t, rfcSecret, secret, "DeriveKeyPair, secret")
	encoded, err := public.MarshalBinary()
	require.NoError(t, err)
	assert.Equal(t, rfcPublic, encoded, "DeriveKeyPair, public")
	key := keySecret{"p", "e", rfcSeed, private, public}
	roster, err := pseudonym.Roster{}.Oblivious("p", "e", [32]byte(rfcPublic))
	require.NoError(t, err)

	for _, v := range vectors {
		t.Run(v.name, func(t *testing.T) {
			blinds := bytes.NewReader(slices.Concat(unhexAll(v.blinds)...))
			client, err := NewClient(ClientConfig{Roster: roster, Purpose: "p", Epoch: "e", Random: blinds})
			require.NoError(t, err)
			batch, message, err := client.begin(unhexAll(v.inputs))
			require.NoError(t, err)
			assert.Zero(t, blinds.Len(), "all that was given is used")
			count := []byte{0, byte(len(unhexAll(v.inputs)))}
			assert.Equal(t, slices.Concat([]byte{1, 0, 1, 'p', 0, 1, 'e'}, count, slices.Concat(unhexAll(v.blinded)...)), message, "Blind")

			r, err := parseRequest(message)
			require.NoError(t, err)
			elements, err := parseElements(r.elements)
			require.NoError(t, err)
			nonce := group.Ristretto255.NewScalar()
			require.NoError(t, nonce.UnmarshalBinary(unhex(v.proofRandom)))
			evaluation, err := key.evaluateWith(elements, nonce)
			require.NoError(t, err)
			response, err := appendResponse(evaluation)
			require.NoError(t, err)
			assert.Equal(t, slices.Concat([]byte{1}, count, slices.Concat(unhexAll(v.evaluated)...), unhex(v.proof)), response, "BlindEvaluate and GenerateProof")

			pseudonyms, err := batch.Finalize(response)
			require.NoError(t, err, "the RFC's own proof holds")
			for i, want := range unhexAll(v.outputs) {
				assert.Equal(t, want[:16], pseudonyms[i][:], "Finalize, the first 16 bytes")
			}
		})
	}
}
