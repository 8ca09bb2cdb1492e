package pseudonym

import (
	"bytes"
	"crypto/aes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/larder-dp/larder/pseudonym/internal/secrets"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/insecuresecretdataaccess"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/mac"
	"github.com/tink-crypto/tink-go/v2/prf"
	"github.com/tink-crypto/tink-go/v2/prf/aescmacprf"
	"pgregory.net/rapid"
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

// readTink opens a cleartext keyset as Tink does.
func readTink(t testing.TB, jsonKeyset []byte) *keyset.Handle {
	t.Helper()
	handle, err := insecurecleartextkeyset.Read(keyset.NewJSONReader(bytes.NewReader(jsonKeyset)))
	require.NoError(t, err)
	return handle
}

// keysOf has one scope, with the given key.
func keysOf(t testing.TB, key []byte, purpose, epoch string) Keys {
	t.Helper()
	keys, err := Keys{}.Import(purpose, epoch, readTink(t, keysetJSON(key)))
	require.NoError(t, err)
	return keys
}

func generate(t testing.TB, purpose string, epochs ...string) (keys Keys) {
	t.Helper()
	var err error
	for _, epoch := range epochs {
		keys, err = keys.Create(purpose, epoch)
		require.NoError(t, err)
	}
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
	nist, err := newMAC(readTink(t, keysetJSON(nistKey)))
	require.NoError(t, err)
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
			got, err := nist(message)
			require.NoError(t, err)
			assert.Equal(t, unhex(c.aes256), got, "Tink's")
		})
	}
}

// Keysets come from Tink's own tools: from its manager, in clear, or encrypted by an
// AEAD such as a KMS client's.
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
		made[i], err = Keys{}.Import("demand", "1", readTink(t, tinkJSON(t, handle)))
		require.NoError(t, err)

		set, err := prf.NewPRFSet(handle)
		require.NoError(t, err)
		want, err := set.PRFs[primary].ComputePRF(append(prefix(t, "demand", "1"), "ada"...), 16)
		require.NoError(t, err)
		got := pseudonymOf(t, made[i], "demand", "1", "ada")
		assert.Equal(t, want, got[:], "the primary key makes the pseudonyms")
	}
	assert.NotEqual(t, pseudonymOf(t, made[0], "demand", "1", "ada"), pseudonymOf(t, made[1], "demand", "1", "ada"))

	require.NoError(t, manager.Disable(first))
	handle, err := manager.Handle()
	require.NoError(t, err)
	withDisabled, err := Keys{}.Import("demand", "1", handle)
	require.NoError(t, err)
	assert.Equal(t, pseudonymOf(t, made[1], "demand", "1", "ada"), pseudonymOf(t, withDisabled, "demand", "1", "ada"))

	secret, err := withDisabled.Export()
	require.NoError(t, err)
	var doc document
	require.NoError(t, json.Unmarshal(secret, &doc))
	assert.Equal(t, 1, readTink(t, doc.Scopes[0].Keyset).Len(), "what we write Tink opens; the other key is left out")
}

func tinkJSON(t testing.TB, handle *keyset.Handle) []byte {
	t.Helper()
	var out bytes.Buffer
	require.NoError(t, insecurecleartextkeyset.Write(handle, keyset.NewJSONWriter(&out)))
	return out.Bytes()
}

// A keyset that a KMS encrypts, as Tink's tools write it, in both of Tink's encodings.
func TestEncryptedKeysetsOfTink(t *testing.T) {
	master := fakeKMS(t)
	handle, err := keyset.NewHandle(prf.AESCMACPRFKeyTemplate())
	require.NoError(t, err)
	var asJSON, asBinary bytes.Buffer
	require.NoError(t, handle.Write(keyset.NewJSONWriter(&asJSON), master))
	require.NoError(t, handle.WriteWithAssociatedData(keyset.NewBinaryWriter(&asBinary), master, []byte("epoch 1")))

	fromJSON, err := keyset.Read(keyset.NewJSONReader(&asJSON), master)
	require.NoError(t, err)
	fromBinary, err := keyset.ReadWithAssociatedData(keyset.NewBinaryReader(&asBinary), master, []byte("epoch 1"))
	require.NoError(t, err)
	var want [16]byte
	for i, h := range []*keyset.Handle{handle, fromJSON, fromBinary} {
		keys, err := Keys{}.Import("demand", "1", h)
		require.NoError(t, err)
		got := pseudonymOf(t, keys, "demand", "1", "ada")
		if i == 0 {
			want = got
		}
		assert.Equal(t, want, got)
	}
}

func TestImportRefuses(t *testing.T) {
	hmacPRF, err := keyset.NewHandle(prf.HMACSHA256PRFKeyTemplate())
	require.NoError(t, err)
	hkdfPRF, err := keyset.NewHandle(prf.HKDFSHA256PRFKeyTemplate())
	require.NoError(t, err)
	cmacMAC, err := keyset.NewHandle(mac.AESCMACTag128KeyTemplate())
	require.NoError(t, err)
	for _, c := range []struct {
		reason string
		handle *keyset.Handle
		want   error
	}{
		{"no handle", nil, errNotKeyset},
		{"an empty one", &keyset.Handle{}, errNotKeyset},
		{"HMAC: a PRF, but not this one", hmacPRF, errNotPRF},
		{"HKDF: nor this", hkdfPRF, errNotPRF},
		{"AES-CMAC as a MAC: its keys serve to sign something else", cmacMAC, errNotPRF},
	} {
		t.Run(c.reason, func(t *testing.T) {
			keys, err := Keys{}.Import("demand", "1", c.handle)
			assert.ErrorIs(t, err, c.want)
			assert.Nil(t, keys.entries, "no key comes with an error")
		})
	}
}

func TestOneKeyForOneScope(t *testing.T) {
	keys := keysOf(t, nistKey, "demand", "1")
	same := readTink(t, keysetJSON(nistKey))
	refused := func(what string, got Keys, err error) {
		t.Helper()
		assert.ErrorIs(t, err, ErrScope, what)
		assert.Nil(t, got.entries, what)
	}
	got, err := keys.Create("demand", "1")
	refused("a second key for a scope", got, err)
	got, err = keys.Import("demand", "2", same)
	refused("one key for two epochs", got, err)
	got, err = keys.Import("insights", "1", same)
	refused("one key for two purposes", got, err)
	for _, change := range []func(Keys, string, string) (Keys, error){Keys.Disable, Keys.Enable, Keys.Destroy} {
		got, err = change(keys, "nothing", "1")
		refused("a scope that is not there", got, err)
		got, err = change(keys, "", "1")
		refused("a scope that cannot be", got, err)
	}
}

func TestDisableEnableDestroy(t *testing.T) {
	full := generate(t, "demand", "1", "2")
	before := pseudonymOf(t, full, "demand", "1", "ada")
	kept := full.Scope("demand", "1")
	noPseudonym := func(keys Keys) {
		t.Helper()
		p, err := keys.Scope("demand", "1")("ada")
		assert.ErrorIs(t, err, ErrScope)
		assert.Zero(t, p)
		assert.Equal(t, pseudonymOf(t, full, "demand", "2", "ada"), pseudonymOf(t, keys, "demand", "2", "ada"), "the other epoch's key lives")
	}
	disabled, err := full.Disable("demand", "1")
	require.NoError(t, err)
	noPseudonym(disabled)
	disabled = reparsed(t, disabled)
	noPseudonym(disabled)
	enabled, err := disabled.Enable("demand", "1")
	require.NoError(t, err)
	assert.Equal(t, before, pseudonymOf(t, enabled, "demand", "1", "ada"))

	for _, from := range []Keys{full, disabled} {
		destroyed, err := from.Destroy("demand", "1")
		require.NoError(t, err)
		noPseudonym(destroyed)
		destroyed = reparsed(t, destroyed)
		noPseudonym(destroyed)
		assert.Equal(t, []ScopeInfo{{"demand", "1", Destroyed}, {"demand", "2", Enabled}}, destroyed.Scopes())
		_, err = destroyed.Enable("demand", "1")
		assert.ErrorIs(t, err, ErrScope, "it does not come back")
		_, err = destroyed.Disable("demand", "1")
		assert.ErrorIs(t, err, ErrScope)
		_, err = destroyed.Create("demand", "1")
		assert.ErrorIs(t, err, ErrScope, "nor does another take its place")
		_, err = destroyed.Destroy("demand", "1")
		assert.NoError(t, err, "to destroy it again is no mistake")

		// Its bytes are in what was exported before, and in nothing after.
		var old document
		secret, err := full.Export()
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(secret, &old))
		key, err := primaryKey(readTink(t, old.Scopes[0].Keyset))
		require.NoError(t, err)
		raw := rawKey(key)
		assert.NotEmpty(t, secrets.Find(deepBase64(t, secret), raw), "the test sees keys in exports")
		secret, err = destroyed.Export()
		require.NoError(t, err)
		assert.Empty(t, secrets.Find(deepBase64(t, secret), raw))
	}
	// Values are left as they were: what the doc says of copies.
	assert.Equal(t, before, pseudonymOf(t, full, "demand", "1", "ada"))
	p, err := kept("ada")
	require.NoError(t, err)
	assert.Equal(t, before, p)
}

// deepBase64 appends the decoded key values of an export to it.
func deepBase64(t *testing.T, exported []byte) string {
	t.Helper()
	text := string(exported)
	for _, word := range strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(`":,{}[] `, r) }) {
		if raw, err := base64.StdEncoding.DecodeString(word); err == nil {
			text += string(raw)
		}
	}
	return text
}

func reparsed(t testing.TB, keys Keys) Keys {
	t.Helper()
	secret, err := keys.Export()
	require.NoError(t, err)
	again, err := Parse(secret)
	require.NoError(t, err)
	assert.Equal(t, keys.Scopes(), again.Scopes())
	return again
}

// Two changes of one value do not see each other.
func TestKeysAreValues(t *testing.T) {
	for n := range 9 {
		var keys Keys
		for i := range n {
			keys = must(keys.Create("demand", fmt.Sprint(i)))(t)
		}
		a := must(keys.Create("demand", "a"))(t)
		want := pseudonymOf(t, a, "demand", "a", "ada")
		b := must(keys.Create("demand", "b"))(t)
		_, err := a.Scope("demand", "b")("ada")
		assert.ErrorIs(t, err, ErrScope)
		_, err = b.Scope("demand", "a")("ada")
		assert.ErrorIs(t, err, ErrScope)
		assert.Equal(t, want, pseudonymOf(t, a, "demand", "a", "ada"))
		assert.Len(t, keys.Scopes(), n)
	}
}

func must(keys Keys, err error) func(testing.TB) Keys {
	return func(t testing.TB) Keys {
		t.Helper()
		require.NoError(t, err)
		return keys
	}
}

func TestScopesLists(t *testing.T) {
	keys, err := generate(t, "demand", "1", "2").Disable("demand", "2")
	require.NoError(t, err)
	infos := keys.Scopes()
	assert.Equal(t, []ScopeInfo{{"demand", "1", Enabled}, {"demand", "2", Disabled}}, infos)
	infos[0].Status = Destroyed
	assert.Equal(t, Enabled, keys.Scopes()[0].Status, "the list is the caller's own")
	assert.Empty(t, Keys{}.Scopes())
}

// Any sequence of changes keeps the rules, and Export tells all of it.
func TestKeysLaws(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		var keys Keys
		status := map[[2]string]Status{}
		pseudonyms := map[[2]string][16]byte{}
		for range rapid.IntRange(1, 12).Draw(r, "steps") {
			at := [2]string{rapid.SampledFrom([]string{"p", "q"}).Draw(r, "purpose"), rapid.SampledFrom([]string{"1", "2"}).Draw(r, "epoch")}
			now, known := status[at]
			var want bool
			var next Keys
			var err error
			var to Status
			switch step := rapid.SampledFrom([]string{"create", "disable", "enable", "destroy", "export"}).Draw(r, "step"); step {
			case "create":
				next, err = keys.Create(at[0], at[1])
				want, to = !known, Enabled
			case "disable":
				next, err = keys.Disable(at[0], at[1])
				want, to = known && now != Destroyed, Disabled
			case "enable":
				next, err = keys.Enable(at[0], at[1])
				want, to = known && now != Destroyed, Enabled
			case "destroy":
				next, err = keys.Destroy(at[0], at[1])
				want, to = known, Destroyed
			case "export":
				if len(status) > 0 {
					keys = reparsed(t, keys)
				}
				continue
			}
			if (err == nil) != want || err != nil && !errors.Is(err, ErrScope) {
				r.Fatalf("%v after %v: %v", at, status, err)
			}
			if err == nil {
				keys, status[at] = next, to
			}
			for _, info := range keys.Scopes() {
				k := [2]string{info.Purpose, info.Epoch}
				p, err := keys.Scope(k[0], k[1])("ada")
				if info.Status != status[k] || (err == nil) != (info.Status == Enabled) {
					r.Fatalf("%v is %v and not %v: %v", k, info.Status, status[k], err)
				}
				if before, ok := pseudonyms[k]; err == nil && ok && before != p {
					r.Fatalf("%v has another key now", k)
				}
				if err == nil {
					pseudonyms[k] = p
				}
			}
		}
	})
}

func rawKey(key *aescmacprf.Key) []byte {
	return key.KeyBytes().Data(insecuresecretdataaccess.Token{})
}
