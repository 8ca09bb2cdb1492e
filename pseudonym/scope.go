package pseudonym

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
)

const (
	size         = 16  // bytes of a pseudonym
	maxScopeName = 128 // bytes of a purpose, and of an epoch
)

// ErrScope is matched by what a scope's function returns when it can never make
// a pseudonym: the keys are zero, or the purpose or the epoch is not usable. It
// is a programmer's or an operator's mistake, not a bad record.
var ErrScope = errors.New("scope is not usable")

// Scope returns the function that makes the pseudonyms of one purpose and one
// epoch: a member has the same pseudonym each time within them, and unlinkable
// ones in any other scope. It is a plain function, so that it can be assigned to
// any field of type func(string) ([16]byte, error).
//
// The function puts the id through Canonical, and returns a MalformedError if
// that does. It is safe for concurrent use. Make it once and keep it.
//
// A purpose and an epoch are 1 to 128 printable ASCII characters each. If they
// are not, or k is the zero Keys, every call returns an error that matches
// ErrScope and no pseudonym. On any error the pseudonym is zero.
func (k Keys) Scope(purpose, epoch string) func(member string) ([16]byte, error) {
	if err := k.checkScope(purpose, epoch); err != nil {
		return func(string) ([16]byte, error) { return [16]byte{}, err }
	}
	mac := k.mac
	prefix := appendScope(nil, purpose, epoch)
	// The input escapes to the heap in Tink's interface call, so it is kept for
	// the next one, with the prefix in place.
	inputs := sync.Pool{New: func() any {
		b := make([]byte, len(prefix), len(prefix)+maxCanonical)
		copy(b, prefix)
		return &b
	}}
	return func(member string) ([16]byte, error) {
		buf := inputs.Get().(*[]byte)
		defer inputs.Put(buf)
		input, err := appendCanonical((*buf)[:len(prefix)], member)
		if err != nil {
			return [16]byte{}, err
		}
		out, err := mac(input)
		if err != nil || len(out) != size {
			return [16]byte{}, errors.New("pseudonymize member: Tink computes no PRF with this keyset: make it again")
		}
		return [16]byte(out), nil
	}
}

func (k Keys) checkScope(purpose, epoch string) error {
	const hint = "pass 1 to 128 printable ASCII characters"
	switch {
	case k.mac == nil:
		return fmt.Errorf("pseudonymize member: %w: there are no keys: make them with Generate or Parse", ErrScope)
	case !scopeName(purpose):
		return fmt.Errorf("pseudonymize member: %w: purpose: %s", ErrScope, hint)
	case !scopeName(epoch):
		return fmt.Errorf("pseudonymize member: %w: epoch: %s", ErrScope, hint)
	}
	return nil
}

// scopeName holds names to ASCII: two spellings of an accent would be two scopes
// that look like one.
func scopeName(s string) bool {
	if len(s) < 1 || len(s) > maxScopeName {
		return false
	}
	for i := range len(s) {
		if s[i] < 0x20 || s[i] > 0x7e {
			return false
		}
	}
	return true
}

// appendScope appends all of the PRF's input that comes before the id; see the
// package doc for the format.
func appendScope(dst []byte, purpose, epoch string) []byte {
	dst = append(dst, CanonicalVersion)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(purpose)))
	dst = append(dst, purpose...)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(epoch)))
	return append(dst, epoch...)
}
