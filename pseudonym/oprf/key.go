package oprf

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	circl "github.com/cloudflare/circl/oprf"

	"github.com/larder-dp/larder/pseudonym"
)

// suite is ristretto255-SHA512 of RFC 9497 §4.1.
var suite = circl.SuiteRistretto255

const (
	seedSize    = 32 // bytes
	elementSize = 32 // bytes of a group element, and of a scalar
	proofSize   = 2 * elementSize
)

// A Key is a key server's secret for one scope, a purpose and an epoch. Get one
// from Generate or Parse; of the zero Key everything is refused. It is a value,
// which never changes, and is safe for concurrent use. It never prints its
// secret, and cannot be compared.
type Key struct {
	redacted
	// A function, so that reflection cannot look into it.
	secret func() keySecret
}

type keySecret struct {
	purpose, epoch string
	seed           [seedSize]byte
	private        *circl.PrivateKey
}

var errNoKey = errors.New("there is no key: make one with Generate or Parse")

// Generate returns a new random key for a scope. It belongs to the key server
// and nobody else; give its PublicKey to the roster.
func Generate(purpose, epoch string) (Key, error) {
	return newKey(purpose, epoch, newSeed())
}

func newKey(purpose, epoch string, seed [seedSize]byte) (Key, error) {
	info, err := pseudonym.AppendScope(nil, purpose, epoch)
	if err != nil {
		return Key{}, fmt.Errorf("make key: %w", err)
	}
	private, err := derive(seed, info)
	if err != nil {
		return Key{}, err
	}
	s := keySecret{purpose, epoch, seed, private}
	return Key{secret: func() keySecret { return s }}, nil
}

// derive is DeriveKeyPair of RFC 9497 §3.2.1.
func derive(seed [seedSize]byte, info []byte) (*circl.PrivateKey, error) {
	private, err := circl.DeriveKey(suite, circl.VerifiableMode, seed[:], info)
	if err != nil {
		return nil, errors.New("make key: none can be derived from this seed: generate another")
	}
	private.Public() // circl computes it at the first call, which is not for two at once
	return private, nil
}

// PublicKey returns what the stores check the key server's answers with: for the
// roster, from which they Pin it.
func (k Key) PublicKey() ([32]byte, error) {
	if k.secret == nil {
		return [32]byte{}, fmt.Errorf("find public key: %w", errNoKey)
	}
	public, err := k.secret().private.Public().MarshalBinary()
	if err != nil || len(public) != elementSize {
		return [32]byte{}, errors.New("find public key: it has no encoding: generate another key")
	}
	return [32]byte(public), nil
}

// keyVersion numbers the format of Export.
const keyVersion = 1

// A document is what Export writes, in JSON. The package doc has the format.
type document struct {
	Version int    `json:"version"`
	Purpose string `json:"purpose"`
	Epoch   string `json:"epoch"`
	Seed    []byte `json:"seed"`
}

// Export returns the key in cleartext JSON, on one line, for Parse. The bytes are
// the secret: keep them as pseudonym.Keys.Export says, at the key server only.
func (k Key) Export() ([]byte, error) {
	if k.secret == nil {
		return nil, fmt.Errorf("export key: %w", errNoKey)
	}
	s := k.secret()
	out, err := json.Marshal(document{keyVersion, s.purpose, s.epoch, s.seed[:]})
	if err != nil {
		return nil, errors.New("export key: it cannot be written")
	}
	return out, nil
}

var errNotExport = errors.New("parse key: not what Export wrote")

// Parse reads what Export wrote, from a secret store or a file that
// pseudonym.ReadSecret has read. The error never quotes the input.
func Parse(exported []byte) (Key, error) {
	var doc document
	dec := json.NewDecoder(bytes.NewReader(exported))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&doc); err != nil {
		return Key{}, errNotExport
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) || doc.Version != keyVersion || len(doc.Seed) != seedSize {
		return Key{}, errNotExport
	}
	if seed := [seedSize]byte(doc.Seed); seed != [seedSize]byte{} {
		return newKey(doc.Purpose, doc.Epoch, seed)
	}
	return Key{}, errNotExport
}
