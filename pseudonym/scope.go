package pseudonym

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"sync"
)

const (
	size         = 16  // bytes of a pseudonym
	maxScopeName = 128 // bytes of a purpose, and of an epoch
)

// ErrScope is matched by what says that a scope can make no pseudonym, or cannot
// be changed as asked: it has no key here, its key is disabled or destroyed, the
// roster has something else of it, or its purpose or epoch is not usable. It is a
// programmer's or an operator's mistake, not a bad record.
var ErrScope = errors.New("scope is not usable")

// A Scope makes the pseudonyms of one purpose and one epoch. It is a plain
// function, so that it can be assigned to any field of type
// func(string) ([16]byte, error).
//
// It puts the id through Canonical, and returns a MalformedError if that does. On
// any error the pseudonym is zero. It is safe for concurrent use.
type Scope func(member string) ([16]byte, error)

// Scope returns the function that makes the pseudonyms of a scope: a member has
// the same pseudonym each time within it, and unlinkable ones in any other. Make
// it once and keep it: it keeps its key, whatever is done to k later.
//
// Where a chain has a Roster, take Roster.Scope, which asks it first.
//
// If the scope has no enabled key here, every call returns an error that matches
// ErrScope and no pseudonym.
func (k Keys) Scope(purpose, epoch string) Scope {
	mac, prefix, err := k.enabled(purpose, epoch)
	if err != nil {
		return refused(err)
	}
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
			return [16]byte{}, errors.New("pseudonymize member: Tink computes no PRF with this key: make it again")
		}
		return [16]byte(out), nil
	}
}

// refused is the scope that makes no pseudonym, and says why.
func refused(err error) Scope {
	err = fmt.Errorf("pseudonymize member: %w", err)
	return func(string) ([16]byte, error) { return [16]byte{}, err }
}

// enabled returns the PRF of a scope and what its input begins with.
func (k Keys) enabled(purpose, epoch string) (mac func([]byte) ([]byte, error), prefix []byte, err error) {
	e, err := k.find(purpose, epoch)
	switch {
	case err != nil:
		return nil, nil, err
	case e.Status == Destroyed:
		return nil, nil, fmt.Errorf("%w: its key was destroyed", ErrScope)
	case e.Status != Enabled:
		return nil, nil, fmt.Errorf("%w: its key is disabled: Enable it", ErrScope)
	}
	if mac, err = newMAC(e.handle); err != nil {
		return nil, nil, err
	}
	prefix, err = AppendScope(nil, purpose, epoch)
	return mac, prefix, err
}

// Batch writes the pseudonyms of members to dst, which must be as long. It
// allocates what Tink does, 16 bytes for each, and no more.
//
// For an id that breaks the rules it calls malformed with its index and the
// MalformedError, leaves its pseudonym zero, and goes on. If malformed is nil, and
// on any other error, it returns the error, and all of dst is zero.
func (s Scope) Batch(dst [][16]byte, members []string, malformed func(i int, err error)) error {
	if len(dst) != len(members) {
		return fmt.Errorf("pseudonymize batch: there is room for %d pseudonyms of %d members: make dst as long", len(dst), len(members))
	}
	for i, member := range members {
		p, err := s(member)
		dst[i] = p
		switch {
		case err == nil:
		case malformed != nil && errors.Is(err, ErrMalformed):
			malformed(i, err)
		default:
			clear(dst)
			return err
		}
	}
	return nil
}

// A Pair is one member's pseudonyms in two epochs: the link between them, as
// sensitive as both keys are for this member.
type Pair struct {
	From, To [16]byte
}

// Migrate yields for each member her pseudonyms in two epochs of one purpose, in
// the order of members: pseudonyms are not invertible, so what is stored under the
// old ones moves by computing both anew, from the ids, where the ids and both keys
// are. Rewrite the node's own records with the pairs and forget them: a pair that
// leaves the node links the epochs for whoever sees it.
//
// A bad id yields a MalformedError and no Pair, and the next id follows. If one of
// the scopes has no enabled key here, or both are the same, all that is yielded is
// one error that matches ErrScope.
func (k Keys) Migrate(purpose, from, to string, members iter.Seq[string]) iter.Seq2[Pair, error] {
	return func(yield func(Pair, error) bool) {
		if from == to {
			yield(Pair{}, fmt.Errorf("migrate members: %w: both epochs are the same", ErrScope))
			return
		}
		for _, epoch := range []string{from, to} {
			if _, _, err := k.enabled(purpose, epoch); err != nil {
				yield(Pair{}, fmt.Errorf("migrate members: %w", err))
				return
			}
		}
		before, after := k.Scope(purpose, from), k.Scope(purpose, to)
		for member := range members {
			var pair Pair
			var err error
			if pair.From, err = before(member); err == nil {
				pair.To, err = after(member)
			}
			if err != nil {
				pair = Pair{}
			}
			if !yield(pair, err) {
				return
			}
		}
	}
}

// AppendScope appends the one encoding of a scope to dst: what the input of its
// PRF begins with, before the id; see the package doc for the format. A protocol
// that binds a message to a scope uses the same bytes.
//
// A purpose and an epoch are 1 to 128 printable ASCII characters each; of others
// AppendScope returns an error that matches ErrScope.
func AppendScope(dst []byte, purpose, epoch string) ([]byte, error) {
	const hint = "pass 1 to 128 printable ASCII characters"
	switch {
	case !scopeName(purpose):
		return nil, fmt.Errorf("%w: purpose: %s", ErrScope, hint)
	case !scopeName(epoch):
		return nil, fmt.Errorf("%w: epoch: %s", ErrScope, hint)
	}
	dst = append(dst, CanonicalVersion)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(purpose)))
	dst = append(dst, purpose...)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(epoch)))
	return append(dst, epoch...), nil
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
