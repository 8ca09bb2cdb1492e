package pseudonym

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/prf"
	"github.com/tink-crypto/tink-go/v2/prf/aescmacprf"
)

// keySize is the only AES key size that Tink's PRF accepts, in bytes.
const keySize = 32

// Keys is a keyset that makes pseudonyms. Get one from Generate or Parse; the
// zero Keys makes none. It is a value: copies share the keyset, which never
// changes, and are safe for concurrent use. It never prints its keys. It cannot
// be compared.
type Keys struct {
	// Functions and not a *keyset.Handle: reflection cannot look into a closure,
	// while it follows pointers (as testify's diffs do) down to the key bytes
	// without calling any method of ours.
	mac    func(input []byte) ([]byte, error)
	export func() ([]byte, error)
}

// Generate returns a new keyset with one random AES-256 key.
func Generate() (Keys, error) {
	handle, err := keyset.NewHandle(prf.AESCMACPRFKeyTemplate())
	if err != nil {
		return Keys{}, fmt.Errorf("generate keyset: %w", err)
	}
	return newKeys(handle)
}

// What Parse can say. The texts are fixed and wrap nothing: a JSON parser's
// error quotes its input, and the input is a key.
var (
	errNotKeyset = errors.New("parse keyset: not a cleartext Tink keyset in JSON with one enabled primary key: pass what Export, or Tink's insecurecleartextkeyset with a JSON writer, wrote")
	errNotPRF    = errors.New("parse keyset: holds a key that is not an AES-CMAC PRF key of 32 bytes: make keysets with Generate or with Tink's template AES_CMAC_PRF")
	errNoPRF     = errors.New("parse keyset: Tink makes no PRF of its primary key: make the keyset again")
)

// Parse reads a cleartext Tink keyset in JSON, as written by Export or by Tink
// itself. It must hold AES-CMAC PRF keys of 32 bytes and nothing else, and have
// an enabled primary key. The error never quotes the input.
func Parse(jsonKeyset []byte) (Keys, error) {
	handle, err := insecurecleartextkeyset.Read(keyset.NewJSONReader(bytes.NewReader(jsonKeyset)))
	if err != nil {
		return Keys{}, errNotKeyset
	}
	return newKeys(handle)
}

func newKeys(handle *keyset.Handle) (Keys, error) {
	for i := range handle.Len() {
		entry, err := handle.Entry(i)
		if err != nil {
			return Keys{}, errNotKeyset
		}
		key, ok := entry.Key().(*aescmacprf.Key)
		if !ok || key.KeyBytes().Len() != keySize {
			return Keys{}, errNotPRF
		}
	}
	set, err := prf.NewPRFSet(handle)
	if err != nil {
		return Keys{}, errNoPRF
	}
	primary, ok := set.PRFs[set.PrimaryID]
	if !ok {
		return Keys{}, errNoPRF
	}
	return Keys{
		mac: func(input []byte) ([]byte, error) { return primary.ComputePRF(input, size) },
		export: func() ([]byte, error) {
			var secret bytes.Buffer
			if err := insecurecleartextkeyset.Write(handle, keyset.NewJSONWriter(&secret)); err != nil {
				return nil, errors.New("export keyset: Tink does not write it: generate a new one")
			}
			return secret.Bytes(), nil
		},
	}, nil
}

// Export returns the keyset in Tink's cleartext JSON, for Parse.
//
// The bytes are the secret: whoever reads them can name every member. It is the
// only way to get at them, so a search for Export finds every place that does.
// Put them into a secret store, or encrypt them, and never into a log, a
// repository, or a file beside the data. The same keyset may be spelled
// differently each time: compare pseudonyms, not exports.
func (k Keys) Export() ([]byte, error) {
	if k.export == nil {
		return nil, errors.New("export keyset: there is none: make one with Generate or Parse")
	}
	return k.export()
}
