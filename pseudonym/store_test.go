package pseudonym

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/larder-dp/larder/pseudonym/internal/secrets"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/prf"
	"github.com/tink-crypto/tink-go/v2/testing/fakekms"
	"github.com/tink-crypto/tink-go/v2/tink"
)

// fakeKMS is Tink's own: an AEAD behind a key URI.
func fakeKMS(t testing.TB) tink.AEAD {
	t.Helper()
	uri, err := fakekms.NewKeyURI()
	require.NoError(t, err)
	master, err := fakekms.NewAEAD(uri)
	require.NoError(t, err)
	return master
}

func TestExportAndParse(t *testing.T) {
	keys, other := generate(t, "demand", "2026-W14", "2026-W15"), generate(t, "demand", "2026-W14")
	again := reparsed(t, keys)
	for _, epoch := range []string{"2026-W14", "2026-W15"} {
		assert.Equal(t, pseudonymOf(t, keys, "demand", epoch, "ada"), pseudonymOf(t, again, "demand", epoch, "ada"))
	}
	assert.NotEqual(t, pseudonymOf(t, keys, "demand", "2026-W14", "ada"), pseudonymOf(t, other, "demand", "2026-W14", "ada"))

	secret, err := keys.Export()
	require.NoError(t, err)
	assert.NotContains(t, string(secret), "\n", "one line: an environment can hold it")
	secret, err = Keys{}.Export()
	assert.Error(t, err)
	assert.Nil(t, secret)
}

func TestParseByHand(t *testing.T) {
	k := string(keysetJSON(nistKey))
	keys, err := Parse([]byte(`{"version":1,"scopes":[
		{"purpose":"demand","epoch":"2026-W14","status":"enabled","keyset":` + k + `},
		{"purpose":"demand","epoch":"2026-W13","status":"destroyed"}
	]} `))
	require.NoError(t, err)
	assert.Equal(t, []ScopeInfo{{"demand", "2026-W14", Enabled}, {"demand", "2026-W13", Destroyed}}, keys.Scopes())
	p := pseudonymOf(t, keys, "demand", "2026-W14", "Ada")
	assert.Equal(t, "611ccd271533e99a31aadeecbc5a3093", hex.EncodeToString(p[:]), "see TestPseudonymKnownAnswers")
}

func TestParseRefuses(t *testing.T) {
	hmac, err := keyset.NewHandle(prf.HMACSHA256PRFKeyTemplate())
	require.NoError(t, err)
	k := string(keysetJSON(nistKey))
	two := strings.Replace(k, `"key":[`, `"key":[`+k[strings.Index(k, `[`)+1:strings.LastIndex(k, `]`)]+`,`, 1)
	two = strings.Replace(two, `"keyId":42`, `"keyId":43`, 1)
	public := `"publicKey":"` + base64.StdEncoding.EncodeToString(nistKey) + `"`
	doc := func(scopes ...string) string { return `{"version":1,"scopes":[` + strings.Join(scopes, ",") + `]}` }
	scope := func(p, e, s, rest string) string {
		return `{"purpose":"` + p + `","epoch":"` + e + `","status":"` + s + `"` + rest + `}`
	}
	good := scope("demand", "1", "enabled", `,"keyset":`+k)
	_, err = Parse([]byte(doc(good)))
	require.NoError(t, err)
	for _, c := range []struct {
		reason, in string
		want       error
	}{
		{"nothing", "", errNotExport},
		{"not JSON", string(nistKey), errNotExport},
		{"null", "null", errNotExport},
		{"an empty object", "{}", errNotExport},
		{"no scopes", doc(), errNotExport},
		{"cut short", doc(good)[:50], errNotExport},
		{"something after it", doc(good) + doc(good), errNotExport},
		{"a bare Tink keyset", k, errNotExport},
		{"another field", strings.Replace(doc(good), "{", `{"x":1,`, 1), errNotExport},
		{"a later version", strings.Replace(doc(good), "1", "2", 1), errVersion},
		{"no version", strings.Replace(doc(good), "1", "0", 1), errNotExport},
		{"a status that is none", doc(scope("demand", "1", "primary", `,"keyset":`+k)), errEntry},
		{"no status", doc(scope("demand", "1", "", `,"keyset":`+k)), errEntry},
		{"enabled without a key", doc(scope("demand", "1", "enabled", "")), errEntry},
		{"destroyed with its key", doc(scope("demand", "1", "destroyed", `,"keyset":`+k)), errEntry},
		{"a public key, which is in the roster", doc(scope("demand", "1", "destroyed", ","+public)), errNotExport},
		{"a scope twice", doc(good, scope("demand", "1", "destroyed", "")), ErrScope},
		{"a key twice", doc(good, scope("demand", "2", "enabled", `,"keyset":`+k)), ErrScope},
		{"a disabled key twice", doc(good, scope("demand", "2", "disabled", `,"keyset":`+k)), ErrScope},
		{"no purpose", doc(scope("", "1", "enabled", `,"keyset":`+k)), ErrScope},
		{"an epoch with a line end", doc(scope("demand", `1\n`, "enabled", `,"keyset":`+k)), ErrScope},
		{"a keyset that is none", doc(scope("demand", "1", "enabled", `,"keyset":{}`)), errBadKeyset},
		{"a keyset of text", doc(scope("demand", "1", "enabled", `,"keyset":"`+hex.EncodeToString(nistKey)+`"`)), errBadKeyset},
		{"an encrypted keyset", doc(scope("demand", "1", "enabled", `,"keyset":{"encryptedKeyset":"AAAA"}`)), errBadKeyset},
		{"a keyset of two keys", doc(scope("demand", "1", "enabled", `,"keyset":`+two)), errBadKeyset},
		{"a keyset with its key disabled", doc(scope("demand", "1", "enabled", `,"keyset":`+strings.Replace(k, "ENABLED", "DISABLED", 1))), errBadKeyset},
		{"AES-128, which Tink's PRF refuses", doc(scope("demand", "1", "enabled", `,"keyset":`+string(keysetJSON(nistKey[:16])))), errBadKeyset},
		{"HMAC", doc(scope("demand", "1", "enabled", `,"keyset":`+string(tinkJSON(t, hmac)))), errBadKeyset},
	} {
		t.Run(c.reason, func(t *testing.T) {
			keys, err := Parse([]byte(c.in))
			assert.ErrorIs(t, err, c.want)
			assert.Nil(t, keys.entries, "no key comes with an error")
			assert.Empty(t, secrets.Find(err.Error(), nistKey))
		})
	}
}

func FuzzParse(f *testing.F) {
	k := string(keysetJSON(nistKey))
	good := `{"version":1,"scopes":[{"purpose":"demand","epoch":"1","status":"enabled","keyset":` + k + `},{"purpose":"demand","epoch":"0","status":"destroyed"}]}`
	f.Add([]byte(good))
	f.Add([]byte(good[:len(good)/2]))
	f.Add([]byte(strings.Replace(good, "enabled", "disabled", 1)))
	f.Add([]byte(`{"version":1,"scopes":[null]}`))
	f.Add([]byte(`"` + hex.EncodeToString(nistKey) + `"`))
	f.Add(nistKey)
	f.Fuzz(func(t *testing.T, in []byte) {
		keys, err := Parse(in)
		if err != nil {
			assert.Nil(t, keys.entries)
			assert.Empty(t, secrets.Find(err.Error(), nistKey))
			return
		}
		again := reparsed(t, keys)
		for _, s := range keys.Scopes() {
			p, err := keys.Scope(s.Purpose, s.Epoch)("ada")
			q, againErr := again.Scope(s.Purpose, s.Epoch)("ada")
			assert.Equal(t, p, q)
			assert.Equal(t, err, againErr)
			assert.Equal(t, s.Status == Enabled, err == nil)
		}
	})
}

func TestSealAndOpen(t *testing.T) {
	keys, master := generate(t, "demand", "1"), fakeKMS(t)
	sealed, err := keys.Seal(master)
	require.NoError(t, err)
	secret, err := keys.Export()
	require.NoError(t, err)
	var doc document
	require.NoError(t, json.Unmarshal(secret, &doc))
	key, err := primaryKey(readTink(t, doc.Scopes[0].Keyset))
	require.NoError(t, err)
	assert.Empty(t, secrets.Find(string(sealed), rawKey(key)))

	again, err := Open(sealed, master)
	require.NoError(t, err)
	assert.Equal(t, pseudonymOf(t, keys, "demand", "1", "ada"), pseudonymOf(t, again, "demand", "1", "ada"))

	for i := range sealed {
		bad := bytes.Clone(sealed)
		bad[i] ^= 1
		if i%7 == 0 || i < 20 {
			again, err = Open(bad, master)
			assert.Error(t, err, i)
			assert.Nil(t, again.entries)
		}
	}
	_, err = Open(sealed, fakeKMS(t))
	assert.Error(t, err, "another master key")
	foreign, err := master.Encrypt(secret, nil)
	require.NoError(t, err)
	_, err = Open(foreign, master)
	assert.Error(t, err, "what another program encrypted with the same master key")
	_, err = Keys{}.Seal(master)
	assert.Error(t, err)
}

// A KMS client whose errors say all that it was given.
type indiscreet struct{}

func (indiscreet) Encrypt(plaintext, _ []byte) ([]byte, error) {
	return nil, errors.New(string(plaintext))
}
func (indiscreet) Decrypt([]byte, []byte) ([]byte, error) { return nil, errors.New("no such key") }

func TestSealDoesNotRepeatTheError(t *testing.T) {
	keys := keysOf(t, nistKey, "demand", "1")
	sealed, err := keys.Seal(indiscreet{})
	require.Error(t, err)
	assert.Nil(t, sealed)
	assert.NotContains(t, err.Error(), "keyset\"")
	assert.Empty(t, secrets.Find(err.Error(), nistKey))
	_, err = Open(nil, indiscreet{})
	assert.ErrorContains(t, err, "no such key", "of Open it says what the KMS says")
}

func TestReadSecret(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "keys")
	require.NoError(t, os.WriteFile(name, []byte("secret"), 0o600))
	read := func() ([]byte, error) {
		f, err := os.Open(name)
		require.NoError(t, err)
		defer f.Close()
		return ReadSecret(f)
	}
	for mode := range fs.FileMode(0o1000) {
		if mode&0o400 == 0 && os.Getuid() != 0 {
			continue // not even we can open it
		}
		require.NoError(t, os.Chmod(name, mode))
		secret, err := read()
		if mode == 0o600 || mode == 0o400 || mode == 0o200 || mode == 0 {
			require.NoError(t, err, mode)
			assert.Equal(t, "secret", string(secret))
			continue
		}
		require.Error(t, err, mode)
		assert.Nil(t, secret)
	}
	d, err := os.Open(dir)
	require.NoError(t, err)
	_, err = ReadSecret(d)
	assert.ErrorContains(t, err, "not a regular file")

	large := fstest.MapFS{"at": {Data: make([]byte, maxSecret), Mode: 0o600}, "over": {Data: make([]byte, maxSecret+1), Mode: 0o600}}
	f, err := large.Open("at")
	require.NoError(t, err)
	secret, err := ReadSecret(f)
	require.NoError(t, err)
	assert.Len(t, secret, maxSecret)
	f, err = large.Open("over")
	require.NoError(t, err)
	secret, err = ReadSecret(f)
	assert.Error(t, err)
	assert.Nil(t, secret)
	require.NoError(t, d.Close())
	_, err = ReadSecret(d)
	assert.Error(t, err, "a closed file")
}
