package pseudonym

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"
)

// maxSecret is the most that ReadSecret reads, in bytes: some thousand keys.
const maxSecret = 1 << 20

// keysVersion numbers the format of Export.
const keysVersion = 1

// sealContext is the associated data of Seal: what another program encrypted
// under the same key of a KMS does not open here.
var sealContext = []byte("larder pseudonym keys v1")

// ReadSecret reads a file that holds keys, for Parse or Open. It refuses a file
// that any other user may read, write or run: its mode must be 0600 or less. It
// judges the open file, not its name, so that nobody can exchange it in between:
//
//	f, err := os.Open(path)
//	…
//	defer f.Close()
//	secret, err := pseudonym.ReadSecret(f)
//	…
//	keys, err := pseudonym.Parse(secret)
func ReadSecret(f fs.File) ([]byte, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("read secret: %w", err)
	}
	switch mode := info.Mode(); {
	case !mode.IsRegular():
		return nil, errors.New("read secret: it is not a regular file")
	case mode.Perm()&^0o600 != 0:
		return nil, fmt.Errorf("read secret: its mode is %#o: chmod 600, and replace the keys if others could read them", mode.Perm())
	}
	secret, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err != nil {
		return nil, fmt.Errorf("read secret: %w", err)
	}
	if len(secret) > maxSecret {
		return nil, errors.New("read secret: it is larger than 1 MiB: it holds no keys")
	}
	return secret, nil
}

// What Parse can say, but for what Create and Import say. The texts are fixed
// and wrap nothing: see errNotKeyset.
var (
	errNotExport = errors.New("parse keys: not what Export wrote: for a Tink keyset take Import, for sealed keys Open")
	errVersion   = errors.New("parse keys: a later version of this package wrote them: take that one")
	errEntry     = errors.New("parse keys: a scope has something else than its status says: take an unchanged copy")
	errBadKeyset = errors.New("parse keys: a scope's keyset is not one AES-CMAC PRF key of 32 bytes: take an unchanged copy")
)

// A document is what Export writes, in JSON. The package doc has the format.
type document struct {
	Version int             `json:"version"`
	Scopes  []documentScope `json:"scopes"`
}

type documentScope struct {
	Purpose string          `json:"purpose"`
	Epoch   string          `json:"epoch"`
	Status  Status          `json:"status"`
	Keyset  json.RawMessage `json:"keyset,omitempty"`
}

// Export returns the keys in cleartext JSON, on one line, for Parse.
//
// The bytes are the secret: whoever reads them can name every member. Export is
// the only way to get at them, so a search for it finds every place that does.
// Put them into a secret store, an environment or a new file of mode 0600, and
// never into a log, a repository, or a file beside the data. Where there is a
// KMS, take Seal.
func (k Keys) Export() ([]byte, error) {
	if len(k.list()) == 0 {
		return nil, errors.New("export keys: there are none: make some with Generate")
	}
	doc := document{Version: keysVersion}
	for _, e := range k.list() {
		s := documentScope{Purpose: e.Purpose, Epoch: e.Epoch, Status: e.Status}
		if e.handle != nil {
			var secret bytes.Buffer
			if err := insecurecleartextkeyset.Write(e.handle, keyset.NewJSONWriter(&secret)); err != nil {
				return nil, errors.New("export keys: Tink does not write a keyset: make the key again")
			}
			s.Keyset = secret.Bytes()
		}
		doc.Scopes = append(doc.Scopes, s)
	}
	secret, err := json.Marshal(doc)
	if err != nil {
		return nil, errors.New("export keys: a keyset of Tink's is not JSON: make the key again")
	}
	return secret, nil
}

// Parse reads what Export wrote. It refuses what Create and Import would
// refuse, and never quotes its input.
func Parse(exported []byte) (Keys, error) {
	var doc document
	dec := json.NewDecoder(bytes.NewReader(exported))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&doc); err != nil {
		return Keys{}, errNotExport
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return Keys{}, errNotExport
	}
	switch {
	case doc.Version > keysVersion:
		return Keys{}, errVersion
	case doc.Version != keysVersion || len(doc.Scopes) == 0:
		return Keys{}, errNotExport
	}
	var keys Keys
	for _, s := range doc.Scopes {
		e, err := s.entry()
		if err != nil {
			return Keys{}, err
		}
		if keys, err = keys.add("parse keys", e); err != nil {
			return Keys{}, err
		}
	}
	return keys, nil
}

func (s documentScope) entry() (entry, error) {
	e := entry{ScopeInfo: ScopeInfo{s.Purpose, s.Epoch, s.Status}}
	keyed := s.Status == Enabled || s.Status == Disabled
	switch {
	case !keyed && s.Status != Destroyed, keyed != (s.Keyset != nil):
		return entry{}, errEntry
	case keyed:
		handle, err := insecurecleartextkeyset.Read(keyset.NewJSONReader(bytes.NewReader(s.Keyset)))
		if err != nil || handle.Len() != 1 {
			return entry{}, errBadKeyset
		}
		if e.handle, err = singleKey(handle); err != nil {
			return entry{}, errBadKeyset
		}
	}
	return e, nil
}

// Seal returns the keys encrypted, for Open. Master is a key of a KMS in Tink's
// interface, which every KMS client of Tink's gives; one that encrypts some
// kilobytes only has to be wrapped with aead.NewKMSEnvelopeAEAD2. Destroying
// master destroys whatever was sealed with it, backups too.
func (k Keys) Seal(master tink.AEAD) ([]byte, error) {
	secret, err := k.Export()
	if err != nil {
		return nil, err
	}
	sealed, err := master.Encrypt(secret, sealContext)
	if err != nil { // not wrapped: it was made by code that saw the keys
		return nil, errors.New("seal keys: the master key does not encrypt them: try another key of the same KMS, and one that is wrapped if the KMS limits the length")
	}
	return sealed, nil
}

// Open reads what Seal wrote.
func Open(sealed []byte, master tink.AEAD) (Keys, error) {
	secret, err := master.Decrypt(sealed, sealContext)
	if err != nil {
		return Keys{}, fmt.Errorf("open keys: %w", err)
	}
	return Parse(secret)
}
