package oprf

import (
	"bytes"
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/cloudflare/circl/group"
	circl "github.com/cloudflare/circl/oprf"
	"github.com/cloudflare/circl/zk/dleq"

	"github.com/larder-dp/larder/pseudonym"
)

// suite is ristretto255-SHA512 of RFC 9497 §4.1.
var suite = circl.SuiteRistretto255

// prover makes the suite's proofs; DST is the contextString of RFC 9497 §3.1 for the mode
// VOPRF, 0x01.
var prover = dleq.Prover{Params: dleq.Params{
	G: group.Ristretto255, H: crypto.SHA512, DST: []byte("OPRFV1-\x01-ristretto255-SHA512"),
}}

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
	private        group.Scalar
	public         group.Element
}

var errNoKey = errors.New("there is no key: make one with Generate or Parse")

// Generate returns a new random key for a scope. It belongs to the key server
// and nobody else; give its PublicKey to the roster. The seed comes from crypto/rand; one
// that is given is what Parse reads.
func Generate(purpose, epoch string) (Key, error) {
	return newKey(purpose, epoch, newSeed())
}

func newKey(purpose, epoch string, seed [seedSize]byte) (Key, error) {
	info, err := pseudonym.AppendScope(nil, purpose, epoch)
	if err != nil {
		return Key{}, fmt.Errorf("make key: %w", err)
	}
	private, public, err := derive(seed, info)
	if err != nil {
		return Key{}, fmt.Errorf("make key: %w", err)
	}
	s := keySecret{purpose, epoch, seed, private, public}
	return Key{secret: func() keySecret { return s }}, nil
}

// derive is DeriveKeyPair of RFC 9497 §3.2.1.
func derive(seed [seedSize]byte, info []byte) (group.Scalar, group.Element, error) {
	errDerive := errors.New("none can be derived from this seed: generate another")
	key, err := circl.DeriveKey(suite, circl.VerifiableMode, seed[:], info)
	if err != nil {
		return nil, nil, errDerive
	}
	// circl shows the scalar by its encoding only.
	encoded, err := key.MarshalBinary()
	private := group.Ristretto255.NewScalar()
	if err != nil || private.UnmarshalBinary(encoded) != nil {
		return nil, nil, errDerive
	}
	return private, group.Ristretto255.NewElement().MulGen(private), nil
}

// evaluate is BlindEvaluate of RFC 9497 §3.3.2. circl's own draws the randomness of
// proofs itself, so it is put together here of circl's multiplication and circl's proof.
func (s keySecret) evaluate(elements []group.Element, random [seedSize]byte) (*circl.Evaluation, error) {
	nonce, err := s.nonce(elements, random)
	if err != nil {
		return nil, err
	}
	return s.evaluateWith(elements, nonce)
}

func (s keySecret) evaluateWith(elements []group.Element, nonce group.Scalar) (*circl.Evaluation, error) {
	evaluated := make([]group.Element, len(elements))
	for i, e := range elements {
		evaluated[i] = group.Ristretto255.NewElement().Mul(e, s.private)
	}
	proof, err := prover.ProveBatchWithRandomnessRFC9497(s.private, s.public, elements, evaluated, nonce)
	if err != nil {
		return nil, err
	}
	return &circl.Evaluation{Elements: evaluated, Proof: proof}, nil
}

// nonce is the random scalar r of a proof. Two proofs of different batches with one r
// would give the key away, k = (s₁−s₂)/(c₂−c₁), so it is a hash of the randomness with
// the key and the batch: it differs where the batches do, even if the randomness is
// known or comes twice.
func (s keySecret) nonce(elements []group.Element, random [seedSize]byte) (group.Scalar, error) {
	private, err := s.private.MarshalBinary()
	if err != nil {
		return nil, err
	}
	input, err := appendElements(append(random[:], private...), elements)
	if err != nil {
		return nil, err
	}
	return group.Ristretto255.HashToScalar(input, []byte("larder oprf proof nonce v1")), nil
}

// PublicKey returns what the stores check the key server's answers with: for
// Roster.Oblivious of package pseudonym.
func (k Key) PublicKey() ([32]byte, error) {
	if k.secret == nil {
		return [32]byte{}, fmt.Errorf("find public key: %w", errNoKey)
	}
	public, err := k.secret().public.MarshalBinary()
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
