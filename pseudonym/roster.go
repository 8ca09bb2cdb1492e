package pseudonym

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// rosterVersion numbers the format of a roster.
const rosterVersion = 1

// A Roster is the public list of a chain's scopes, the same at every store. It says
// of each how its pseudonyms are made, by one way for all epochs of a purpose: keyed,
// with a key of Keys, or oblivious, with a key server that package oprf checks by the
// public key that stands here. Head office publishes it as JSON; a store keeps ("pins")
// the one that it follows and takes another only if that Extends it.
//
// It holds no secret. Who may write it is for the chain to see to: take it from head
// office, and never from a key server, which is to be checked by it. The zero Roster
// lists nothing. It is a value, which the methods that add to it leave as it was, and
// safe for concurrent use.
type Roster struct {
	scopes []rosterScope // in the order of purpose and epoch
}

// A rosterScope is the JSON of a scope; the package doc has the format.
type rosterScope struct {
	Purpose   string `json:"purpose"`
	Epoch     string `json:"epoch"`
	Kind      string `json:"kind"`
	PublicKey []byte `json:"publicKey,omitempty"` // 32 bytes if oblivious
}

type rosterDocument struct {
	Version int           `json:"version"`
	Scopes  []rosterScope `json:"scopes"`
}

const (
	kindKeyed     = "keyed"
	kindOblivious = "oblivious"
)

// Keyed returns the roster with one scope more, whose pseudonyms come from Keys. The
// error matches ErrScope.
func (r Roster) Keyed(purpose, epoch string) (Roster, error) {
	return r.add(rosterScope{purpose, epoch, kindKeyed, nil})
}

// Oblivious returns the roster with one scope more, whose pseudonyms come from package
// oprf, with the public key that its Key.PublicKey returned at the key server. The error
// matches ErrScope.
func (r Roster) Oblivious(purpose, epoch string, publicKey [32]byte) (Roster, error) {
	return r.add(rosterScope{purpose, epoch, kindOblivious, publicKey[:]})
}

func (r Roster) add(s rosterScope) (Roster, error) {
	at, err := r.check(s)
	if err != nil {
		return Roster{}, fmt.Errorf("add to roster: %w", err)
	}
	return Roster{slices.Insert(slices.Clone(r.scopes), at, s)}, nil
}

// check holds a scope that is to be added to the rules, and says where it belongs.
func (r Roster) check(s rosterScope) (at int, err error) {
	if _, err := AppendScope(nil, s.Purpose, s.Epoch); err != nil {
		return 0, err
	}
	switch {
	case s.Kind == kindKeyed && s.PublicKey == nil:
	case s.Kind != kindOblivious || len(s.PublicKey) != 32:
		return 0, fmt.Errorf("%w: it is neither keyed, without a public key, nor oblivious, with one of 32 bytes", ErrScope)
	case [32]byte(s.PublicKey) == [32]byte{}: // the group's identity: every proof would hold
		return 0, fmt.Errorf("%w: its public key is zero: take the one that the key server's Key has", ErrScope)
	}
	at, listed := r.search(s.Purpose, s.Epoch)
	if listed {
		return 0, fmt.Errorf("%w: it is listed: a scope gets one key only", ErrScope)
	}
	for _, other := range r.scopes {
		switch {
		case other.Purpose == s.Purpose && other.Kind != s.Kind:
			return 0, fmt.Errorf("%w: its purpose is keyed in one epoch and oblivious in another: choose another purpose", ErrScope)
		case s.PublicKey != nil && bytes.Equal(other.PublicKey, s.PublicKey):
			return 0, fmt.Errorf("%w: another scope has this public key: make a key of its own", ErrScope)
		}
	}
	return at, nil
}

func (r Roster) search(purpose, epoch string) (at int, listed bool) {
	return slices.BinarySearchFunc(r.scopes, rosterScope{Purpose: purpose, Epoch: epoch}, func(a, b rosterScope) int {
		return cmp.Or(cmp.Compare(a.Purpose, b.Purpose), cmp.Compare(a.Epoch, b.Epoch))
	})
}

// find returns what is listed of a scope, if it is of that kind.
func (r Roster) find(purpose, epoch, kind string) (rosterScope, error) {
	if _, err := AppendScope(nil, purpose, epoch); err != nil {
		return rosterScope{}, err
	}
	at, listed := r.search(purpose, epoch)
	switch {
	case !listed:
		return rosterScope{}, fmt.Errorf("%w: the roster does not list it: take a newer one", ErrScope)
	case r.scopes[at].Kind == kind:
		return r.scopes[at], nil
	case kind == kindKeyed:
		return rosterScope{}, fmt.Errorf("%w: the roster lists it as oblivious: its pseudonyms come from package oprf", ErrScope)
	default:
		return rosterScope{}, fmt.Errorf("%w: the roster lists it as keyed: its pseudonyms come from Roster.Scope", ErrScope)
	}
}

// Scope is Keys.Scope for a scope that the roster lists as keyed. Of one that it lists
// as oblivious, or not at all, every call of the result returns an error that matches
// ErrScope, though k has a key for it.
func (r Roster) Scope(k Keys, purpose, epoch string) Scope {
	if _, err := r.find(purpose, epoch, kindKeyed); err != nil {
		return refused(err)
	}
	return k.Scope(purpose, epoch)
}

// PublicKey returns that of a scope which the roster lists as oblivious. Of another the
// error matches ErrScope.
func (r Roster) PublicKey(purpose, epoch string) ([32]byte, error) {
	s, err := r.find(purpose, epoch, kindOblivious)
	if err != nil {
		return [32]byte{}, fmt.Errorf("find public key: %w", err)
	}
	return [32]byte(s.PublicKey), nil
}

// Extends returns nil if r lists all that the pinned roster does, in the same way and
// with the same public keys, and perhaps more: a store that takes no other is not moved to
// another key within an epoch, under which its members would be new people.
func (r Roster) Extends(pinned Roster) error {
	for _, s := range pinned.scopes {
		now, err := r.find(s.Purpose, s.Epoch, s.Kind)
		if err != nil || !bytes.Equal(now.PublicKey, s.PublicKey) {
			return fmt.Errorf("extend roster: %w: a scope of the pinned roster is missing in the other, or has another key there: keep the pinned one and ask head office", ErrScope)
		}
	}
	return nil
}

// Digest is the SHA-256 of the roster's text, which MarshalJSON writes. Stores with the
// same digest follow the same roster: compare it by another way than the one the roster
// came by.
func (r Roster) Digest() [32]byte { return sha256.Sum256([]byte(r.String())) }

// String returns the roster's text.
func (r Roster) String() string {
	text, err := json.Marshal(rosterDocument{rosterVersion, append([]rosterScope{}, r.scopes...)})
	if err != nil {
		panic("pseudonym: a roster of strings is not JSON") // and never was
	}
	return string(text)
}

// MarshalJSON returns the roster's text, for ParseRoster.
func (r Roster) MarshalJSON() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalJSON is ParseRoster, for a roster inside another document.
func (r *Roster) UnmarshalJSON(text []byte) (err error) {
	*r, err = ParseRoster(text)
	return err
}

var errNotRoster = errors.New("parse roster: not the text of one, in its one spelling: take an unchanged copy")

// ParseRoster reads the text of a roster, and no other spelling of it, but for space
// between the tokens of JSON: two readers cannot understand one text in two ways. It
// refuses what Keyed and Oblivious would refuse.
func ParseRoster(text []byte) (Roster, error) {
	var compact bytes.Buffer
	var doc rosterDocument
	if json.Compact(&compact, text) != nil || json.Unmarshal(text, &doc) != nil {
		return Roster{}, errNotRoster
	}
	if doc.Version > rosterVersion {
		return Roster{}, errors.New("parse roster: a later version of this package wrote it: take that one")
	}
	var r Roster
	for _, s := range doc.Scopes {
		at, err := r.check(s)
		if err != nil {
			return Roster{}, fmt.Errorf("parse roster: %w", err)
		}
		r.scopes = slices.Insert(r.scopes, at, s)
	}
	if compact.String() != r.String() {
		return Roster{}, errNotRoster
	}
	return r, nil
}
