package pseudonym

import (
	"bytes"
	"crypto/aes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/mac"
	"github.com/tink-crypto/tink-go/v2/prf"
)

// The key of the AES-256 examples of NIST SP 800-38B, appendix D.3.
var nistKey = unhex("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4")

func unhex(s string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		panic(err)
	}
	return b
}

// keysetJSON writes a Tink keyset by hand: the protobuf AesCmacPrfKey is field 1,
// a varint version that is left out for 0, and field 2, the key's bytes.
func keysetJSON(key []byte) []byte {
	value := append([]byte{0x12, byte(len(key))}, key...)
	return fmt.Appendf(nil, `{"primaryKeyId":42,"key":[{"keyData":{"typeUrl":"type.googleapis.com/google.crypto.tink.AesCmacPrfKey",
		"value":%q,"keyMaterialType":"SYMMETRIC"},"status":"ENABLED","keyId":42,"outputPrefixType":"RAW"}]}`,
		base64.StdEncoding.EncodeToString(value))
}

func mustParse(t testing.TB, jsonKeyset []byte) Keys {
	t.Helper()
	keys, err := Parse(jsonKeyset)
	require.NoError(t, err)
	return keys
}

// cmac is AES-CMAC written once more, from RFC 4493 §2.3 and §2.4, to check Tink's.
func cmac(key, message []byte) []byte {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err)
	}
	double := func(in []byte) []byte { // one bit to the left; const_Rb if one falls out
		out, carry := make([]byte, 16), byte(0)
		for i := 15; i >= 0; i-- {
			out[i] = in[i]<<1 | carry
			carry = in[i] >> 7
		}
		if carry == 1 {
			out[15] ^= 0x87
		}
		return out
	}
	l := make([]byte, 16)
	block.Encrypt(l, l)
	subkey := double(l)
	padded := bytes.Clone(message)
	if len(message) == 0 || len(message)%16 != 0 {
		subkey = double(subkey)
		padded = append(padded, 0x80)
		for len(padded)%16 != 0 {
			padded = append(padded, 0)
		}
	}
	x := make([]byte, 16)
	for i := 0; i < len(padded); i += 16 {
		for j := range x {
			x[j] ^= padded[i+j]
			if i+16 == len(padded) {
				x[j] ^= subkey[j]
			}
		}
		block.Encrypt(x, x)
	}
	return x
}

const vectorMessage = "6bc1bee22e409f96e93d7e117393172a ae2d8a571e03ac9c9eb76fac45af8e51" +
	"30c81c46a35ce411e5fbc1191a0a52ef f69f2445df4f9b17ad2b417be66c3710"

func TestCMACKnownAnswers(t *testing.T) {
	rfcKey := unhex("2b7e151628aed2a6abf7158809cf4f3c")
	nist := mustParse(t, keysetJSON(nistKey))
	for _, c := range []struct {
		reason string
		length int
		aes128 string // RFC 4493 §4
		aes256 string // NIST SP 800-38B, appendix D.3
	}{
		{"no block", 0, "bb1d6929e95937287fa37d129b756746", "028962f61b7bf89efc6b551f4667d983"},
		{"one whole block", 16, "070a16b46b4d4144f79bdd9dd04a287c", "28a7023f452e8f82bd4bf28d8c37c35c"},
		{"a padded last block", 40, "dfa66747de9ae63030ca32611497c827", "aaf3d8f1de5640c232f5b169b9c911e6"},
		{"four whole blocks", 64, "51f0bebf7e3b9d92fc49741779363cfe", "e1992190549f6ed5696a2c056c315410"},
	} {
		t.Run(c.reason, func(t *testing.T) {
			message := unhex(vectorMessage)[:c.length]
			assert.Equal(t, unhex(c.aes128), cmac(rfcKey, message), "the test's own CMAC, AES-128")
			assert.Equal(t, unhex(c.aes256), cmac(nistKey, message), "the test's own CMAC, AES-256")
			got, err := nist.mac(message)
			require.NoError(t, err)
			assert.Equal(t, unhex(c.aes256), got, "a parsed keyset")
		})
	}
}

func TestExportAndParse(t *testing.T) {
	keys, err := Generate()
	require.NoError(t, err)
	other, err := Generate()
	require.NoError(t, err)
	secret, err := keys.Export()
	require.NoError(t, err)
	again := mustParse(t, secret)

	want := pseudonymOf(t, keys, "demand", "2026-W14", "ada")
	assert.Equal(t, want, pseudonymOf(t, again, "demand", "2026-W14", "ada"))
	assert.NotEqual(t, want, pseudonymOf(t, other, "demand", "2026-W14", "ada"))

	secret, err = Keys{}.Export()
	assert.Error(t, err)
	assert.Nil(t, secret)
}

// Keysets come from Tink's own tools as well, and go back to them.
func TestKeysetsOfTink(t *testing.T) {
	manager := keyset.NewManager()
	first, err := manager.Add(prf.AESCMACPRFKeyTemplate())
	require.NoError(t, err)
	second, err := manager.Add(prf.AESCMACPRFKeyTemplate())
	require.NoError(t, err)

	var made [2]Keys
	for i, primary := range []uint32{first, second} {
		require.NoError(t, manager.SetPrimary(primary))
		handle, err := manager.Handle()
		require.NoError(t, err)
		made[i] = mustParse(t, tinkJSON(t, handle))

		set, err := prf.NewPRFSet(handle)
		require.NoError(t, err)
		want, err := set.PRFs[primary].ComputePRF(append(appendScope(nil, "demand", "1"), "ada"...), 16)
		require.NoError(t, err)
		got := pseudonymOf(t, made[i], "demand", "1", "ada")
		assert.Equal(t, want, got[:], "the primary key makes the pseudonyms")
	}
	assert.NotEqual(t, pseudonymOf(t, made[0], "demand", "1", "ada"), pseudonymOf(t, made[1], "demand", "1", "ada"),
		"another primary key, other pseudonyms")

	require.NoError(t, manager.Disable(first))
	handle, err := manager.Handle()
	require.NoError(t, err)
	withDisabled := mustParse(t, tinkJSON(t, handle))
	assert.Equal(t, pseudonymOf(t, made[1], "demand", "1", "ada"), pseudonymOf(t, withDisabled, "demand", "1", "ada"))

	secret, err := withDisabled.Export()
	require.NoError(t, err)
	back, err := insecurecleartextkeyset.Read(keyset.NewJSONReader(bytes.NewReader(secret)))
	require.NoError(t, err)
	assert.Equal(t, 2, back.Len(), "keys that are not used are carried along")
}

func tinkJSON(t testing.TB, handle *keyset.Handle) []byte {
	t.Helper()
	var out bytes.Buffer
	require.NoError(t, insecurecleartextkeyset.Write(handle, keyset.NewJSONWriter(&out)))
	return out.Bytes()
}

func TestParseRefuses(t *testing.T) {
	hmacPRF, err := keyset.NewHandle(prf.HMACSHA256PRFKeyTemplate())
	require.NoError(t, err)
	cmacMAC, err := keyset.NewHandle(mac.AESCMACTag128KeyTemplate())
	require.NoError(t, err)
	mixed := keyset.NewManagerFromHandle(hmacPRF)
	id, err := mixed.Add(prf.AESCMACPRFKeyTemplate())
	require.NoError(t, err)
	require.NoError(t, mixed.SetPrimary(id))
	mixedHandle, err := mixed.Handle()
	require.NoError(t, err)

	good := string(keysetJSON(nistKey))
	entry := good[strings.Index(good, `[`)+1 : strings.LastIndex(good, `]`)]
	for _, c := range []struct {
		reason string
		keyset string
		want   error
	}{
		{"nothing", "", errNotKeyset},
		{"not JSON", string(nistKey), errNotKeyset},
		{"an empty object", "{}", errNotKeyset},
		{"cut short", good[:len(good)-10], errNotKeyset},
		{"something after it", good + good, errNotKeyset},
		{"no primary key", strings.Replace(good, `"primaryKeyId":42`, `"primaryKeyId":43`, 1), errNotKeyset},
		{"the primary key is disabled", strings.Replace(good, "ENABLED", "DISABLED", 1), errNotKeyset},
		{"two keys under the primary's id: which one is it?", strings.Replace(good, entry, entry+","+entry, 1), errNotKeyset},
		{"AES-128, which Tink's PRF refuses", string(keysetJSON(nistKey[:16])), errNotPRF},
		{"HMAC: a PRF, but not this one", string(tinkJSON(t, hmacPRF)), errNotPRF},
		{"AES-CMAC as a MAC: its keys serve to sign something else", string(tinkJSON(t, cmacMAC)), errNotPRF},
		{"one foreign key beside a good primary", string(tinkJSON(t, mixedHandle)), errNotPRF},
		{"an encrypted keyset", `{"encryptedKeyset":"AAAA"}`, errNotKeyset},
	} {
		t.Run(c.reason, func(t *testing.T) {
			keys, err := Parse([]byte(c.keyset))
			assert.Equal(t, c.want, err)
			assert.True(t, keys.mac == nil && keys.export == nil, "no key comes with an error")
		})
	}
}

// The error texts are constants, so they carry nothing of the input.
func parseErrors() []error { return []error{errNotKeyset, errNotPRF, errNoPRF} }

func FuzzParse(f *testing.F) {
	good := keysetJSON(nistKey)
	f.Add(good)
	f.Add(good[:len(good)/2])
	f.Add(keysetJSON(nistKey[:16]))
	f.Add([]byte(`{"primaryKeyId":1,"key":[null]}`))
	f.Add([]byte(`{"primaryKeyId":1,"key":[{"keyId":1,"status":"ENABLED"}]}`))
	f.Add([]byte(`"` + hex.EncodeToString(nistKey) + `"`))
	f.Add(nistKey)
	f.Fuzz(func(t *testing.T, in []byte) {
		keys, err := Parse(in)
		if err != nil {
			assert.Contains(t, parseErrors(), err)
			assert.True(t, keys.mac == nil && keys.export == nil)
			return
		}
		secret, err := keys.Export()
		require.NoError(t, err)
		require.True(t, json.Valid(secret))
		again := mustParse(t, secret)
		assert.Equal(t, pseudonymOf(t, keys, "demand", "1", "ada"), pseudonymOf(t, again, "demand", "1", "ada"))
	})
}
