package oprf

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cloudflare/circl/group"
	circl "github.com/cloudflare/circl/oprf"
	"github.com/cloudflare/circl/zk/dleq"

	"github.com/larder-dp/larder/pseudonym"
)

// MaxBatch is the most ids that one request can hold.
const MaxBatch = 1024

// responseVersion begins a response. A request begins with the scope's encoding,
// which has a version of its own.
const responseVersion = 1

// ErrMessage is matched by what says that a request or a response is not one. It
// carries nothing of the message.
var ErrMessage = errors.New("message is malformed")

func badMessage(why string) error { return fmt.Errorf("%w: %s", ErrMessage, why) }

// A request is one that a store sends: a scope and its blinded elements.
type request struct {
	purpose, epoch string
	elements       []byte // 32 each, 1 to MaxBatch of them, not decoded yet
}

// appendRequest writes a request; see the package doc for the format.
func appendRequest(scope []byte, elements []circl.Blinded) ([]byte, error) {
	out := binary.BigEndian.AppendUint16(scope, uint16(len(elements)))
	return appendElements(out, elements)
}

func parseRequest(b []byte) (request, error) {
	var r request
	var ok bool
	rest := b
	if len(rest) < 1 || rest[0] != pseudonym.CanonicalVersion {
		return request{}, badMessage("its version is another than 1: use the same release at both ends")
	}
	rest = rest[1:]
	if r.purpose, rest, ok = cutName(rest); ok {
		r.epoch, rest, ok = cutName(rest)
	}
	if !ok {
		return request{}, badMessage("it ends inside the scope")
	}
	if _, err := pseudonym.AppendScope(nil, r.purpose, r.epoch); err != nil {
		return request{}, badMessage("it has no usable scope")
	}
	if r.elements, ok = cutElements(rest, 0); !ok {
		return request{}, badMessage("its length is not that of 1 to 1024 elements")
	}
	return r, nil
}

func cutName(b []byte) (name string, rest []byte, ok bool) {
	if len(b) < 2 {
		return "", nil, false
	}
	n := int(binary.BigEndian.Uint16(b))
	if len(b) < 2+n {
		return "", nil, false
	}
	return string(b[2 : 2+n]), b[2+n:], true
}

// cutElements takes a count, as many elements, and after them extra bytes more.
func cutElements(b []byte, extra int) ([]byte, bool) {
	if len(b) < 2 {
		return nil, false
	}
	n := int(binary.BigEndian.Uint16(b))
	if n < 1 || n > MaxBatch || len(b) != 2+n*elementSize+extra {
		return nil, false
	}
	return b[2 : 2+n*elementSize], true
}

// appendResponse writes a response; see the package doc for the format.
func appendResponse(e *circl.Evaluation) ([]byte, error) {
	out := binary.BigEndian.AppendUint16([]byte{responseVersion}, uint16(len(e.Elements)))
	out, err := appendElements(out, e.Elements)
	if err != nil {
		return nil, err
	}
	proof, err := e.Proof.MarshalBinary()
	if err != nil || len(proof) != proofSize {
		return nil, errors.New("the proof has no encoding")
	}
	return append(out, proof...), nil
}

func parseResponse(b []byte) (*circl.Evaluation, error) {
	if len(b) < 1 || b[0] != responseVersion {
		return nil, badMessage("its version is another than 1: use the same release at both ends")
	}
	encoded, ok := cutElements(b[1:], proofSize)
	if !ok {
		return nil, badMessage("its length is not that of 1 to 1024 elements and a proof")
	}
	elements, err := parseElements(encoded)
	if err != nil {
		return nil, err
	}
	proof := new(dleq.Proof)
	if err := proof.UnmarshalBinary(group.Ristretto255, b[len(b)-proofSize:]); err != nil {
		return nil, badMessage("its proof is not two scalars in the one encoding of each")
	}
	return &circl.Evaluation{Elements: elements, Proof: proof}, nil
}

func appendElements(dst []byte, elements []group.Element) ([]byte, error) {
	for _, e := range elements {
		b, err := e.MarshalBinaryCompress()
		if err != nil || len(b) != elementSize {
			return nil, errors.New("a group element has no encoding")
		}
		dst = append(dst, b...)
	}
	return dst, nil
}

// parseElements is DeserializeElement of RFC 9497 §4.1, of each 32 bytes: only
// the one valid encoding of an element (RFC 9496 §4.3.1), and never the identity.
func parseElements(b []byte) ([]group.Element, error) {
	elements := make([]group.Element, 0, len(b)/elementSize)
	for ; len(b) > 0; b = b[elementSize:] {
		e := group.Ristretto255.NewElement()
		if err := e.UnmarshalBinary(b[:elementSize]); err != nil {
			return nil, badMessage("an element is not of ristretto255, or not in its one encoding")
		}
		if e.IsIdentity() {
			return nil, badMessage("an element is the identity")
		}
		elements = append(elements, e)
	}
	return elements, nil
}
