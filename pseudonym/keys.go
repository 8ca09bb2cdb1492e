package pseudonym

import (
	"errors"
	"fmt"
	"slices"

	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/prf"
	"github.com/tink-crypto/tink-go/v2/prf/aescmacprf"
)

// keySize is the only AES key size that Tink's PRF accepts, in bytes.
const keySize = 32

// Keys holds one key for each scope, a random AES key. The zero Keys holds none. Get
// others from Generate, Parse or Open, or by the methods that change one: they leave
// the receiver as it was and return the changed value, so a Keys is safe for
// concurrent use, and to destroy a key is to let go of every value that still has it.
// It never prints its keys. It cannot be compared.
type Keys struct {
	// A function and not a slice: reflection cannot look into a closure, while it
	// follows pointers (as testify's diffs do) down to the key bytes without
	// calling any method of ours.
	entries func() []entry
}

// An entry is one scope's. handle is set unless the status is Destroyed.
type entry struct {
	ScopeInfo
	handle *keyset.Handle
}

// A ScopeInfo is what may be known of a scope without its key.
type ScopeInfo struct {
	Purpose, Epoch string
	Status         Status
}

// A Status says what a scope's key does.
type Status string

// What a scope's key can be. Destroyed is for ever: the scope is kept without a
// key so that it never gets another one, under which its members would be new
// people.
const (
	Enabled   Status = "enabled"   // makes pseudonyms
	Disabled  Status = "disabled"  // makes none until it is enabled again
	Destroyed Status = "destroyed" // is gone
)

// Generate returns Keys with one new random key, for one purpose and epoch. Add
// those of other scopes with Create.
func Generate(purpose, epoch string) (Keys, error) {
	return Keys{}.Create(purpose, epoch)
}

// Create adds a new random AES-256 key for a scope that has never had one.
func (k Keys) Create(purpose, epoch string) (Keys, error) {
	handle, err := keyset.NewHandle(prf.AESCMACPRFKeyTemplate())
	if err != nil {
		return Keys{}, fmt.Errorf("create key: %w", err)
	}
	return k.add("create key", entry{ScopeInfo{purpose, epoch, Enabled}, handle})
}

// Import adds the primary key of a Tink keyset for a scope that has never had
// one. It must be an AES-CMAC PRF key of 32 bytes (Tink's template AES_CMAC_PRF)
// that no other scope has; the keyset's other keys are left out. Read the handle
// as Tink reads keysets: with keyset.Read if a KMS or another AEAD encrypts it.
func (k Keys) Import(purpose, epoch string, handle *keyset.Handle) (Keys, error) {
	single, err := singleKey(handle)
	if err != nil {
		return Keys{}, fmt.Errorf("import keyset: %w", err)
	}
	return k.add("import keyset", entry{ScopeInfo{purpose, epoch, Enabled}, single})
}

// Disable stops a scope's key until Enable: to see who still needs an epoch
// before its key is destroyed.
func (k Keys) Disable(purpose, epoch string) (Keys, error) {
	return k.change("disable key", entry{ScopeInfo: ScopeInfo{purpose, epoch, Disabled}})
}

// Enable lets a disabled key make pseudonyms again.
func (k Keys) Enable(purpose, epoch string) (Keys, error) {
	return k.change("enable key", entry{ScopeInfo: ScopeInfo{purpose, epoch, Enabled}})
}

// Destroy leaves out a scope's key, and keeps the scope so that it gets no other.
// Write the result over every copy of the old Export or Seal, and start anew the
// processes that hold a Scope of it: then, and not before, nobody can say any
// more whose the scope's pseudonyms are. See the package doc for what remains.
func (k Keys) Destroy(purpose, epoch string) (Keys, error) {
	return k.change("destroy key", entry{ScopeInfo: ScopeInfo{purpose, epoch, Destroyed}})
}

// Scopes lists the scopes in the order in which they were added.
func (k Keys) Scopes() []ScopeInfo {
	var infos []ScopeInfo
	for _, e := range k.list() {
		infos = append(infos, e.ScopeInfo)
	}
	return infos
}

func (k Keys) list() []entry {
	if k.entries == nil {
		return nil
	}
	return k.entries()
}

func newKeys(entries []entry) Keys {
	return Keys{func() []entry { return entries }}
}

// find returns the entry of a scope, whatever its status.
func (k Keys) find(purpose, epoch string) (entry, error) {
	if _, err := AppendScope(nil, purpose, epoch); err != nil {
		return entry{}, err
	}
	for _, e := range k.list() {
		if e.Purpose == purpose && e.Epoch == epoch {
			return e, nil
		}
	}
	return entry{}, fmt.Errorf("%w: it has no key here: Create one, or Parse the keys that have it", ErrScope)
}

// add adds the entry of a new scope, or refuses what would break a rule.
func (k Keys) add(verb string, e entry) (Keys, error) {
	refuse := func(why string) (Keys, error) {
		return Keys{}, fmt.Errorf("%s: %w: %s", verb, ErrScope, why)
	}
	if _, err := AppendScope(nil, e.Purpose, e.Epoch); err != nil {
		return Keys{}, fmt.Errorf("%s: %w", verb, err)
	}
	for _, other := range k.list() {
		switch {
		case other.Purpose != e.Purpose || other.Epoch != e.Epoch:
		case other.Status == Destroyed:
			return refuse("its key was destroyed: choose another epoch")
		default:
			return refuse("it has a key: a scope gets one key only")
		}
		if sameKey(other.handle, e.handle) {
			return refuse("another scope has this key: make one of its own")
		}
	}
	return newKeys(append(slices.Clone(k.list()), e)), nil
}

// change gives a scope's key another status.
func (k Keys) change(verb string, to entry) (Keys, error) {
	e, err := k.find(to.Purpose, to.Epoch)
	switch {
	case err != nil:
	case e.Status == Destroyed && to.Status != Destroyed:
		err = fmt.Errorf("%w: its key was destroyed", ErrScope)
	}
	if err != nil {
		return Keys{}, fmt.Errorf("%s: %w", verb, err)
	}
	entries := slices.Clone(k.list())
	for i := range entries {
		if entries[i].Purpose != to.Purpose || entries[i].Epoch != to.Epoch {
			continue
		}
		if to.Status != Destroyed {
			to.handle = entries[i].handle
		}
		entries[i] = to
	}
	return newKeys(entries), nil
}

// What a keyset can be. The texts are fixed and wrap nothing: an error of Tink's
// or of a JSON parser may quote its input, and the input is a key.
var (
	errNotKeyset = errors.New("not a Tink keyset with one enabled primary key: make it with Tink's template AES_CMAC_PRF")
	errNotPRF    = errors.New("its primary key is not an AES-CMAC PRF key of 32 bytes: make it with Tink's template AES_CMAC_PRF")
)

// singleKey returns a keyset of the primary key alone.
func singleKey(handle *keyset.Handle) (*keyset.Handle, error) {
	key, err := primaryKey(handle)
	if err != nil {
		return nil, err
	}
	manager := keyset.NewManager()
	id, err := manager.AddKey(key)
	if err != nil {
		return nil, errNotPRF
	}
	if err := manager.SetPrimary(id); err != nil {
		return nil, errNotPRF
	}
	single, err := manager.Handle()
	if err != nil {
		return nil, errNotPRF
	}
	return single, nil
}

func primaryKey(handle *keyset.Handle) (*aescmacprf.Key, error) {
	if handle == nil {
		return nil, errNotKeyset
	}
	primary, err := handle.Primary()
	if err != nil {
		return nil, errNotKeyset
	}
	key, ok := primary.Key().(*aescmacprf.Key)
	if !ok || key.KeyBytes().Len() != keySize {
		return nil, errNotPRF
	}
	return key, nil
}

// sameKey compares in constant time.
func sameKey(a, b *keyset.Handle) bool {
	if a == nil || b == nil {
		return false
	}
	x, errX := primaryKey(a)
	y, errY := primaryKey(b)
	return errX == nil && errY == nil && x.Equal(y)
}

// newMAC returns the PRF of a keyset's one key.
func newMAC(handle *keyset.Handle) (func(input []byte) ([]byte, error), error) {
	set, err := prf.NewPRFSet(handle)
	if err != nil {
		return nil, errNotPRF
	}
	primary, ok := set.PRFs[set.PrimaryID]
	if !ok {
		return nil, errNotPRF
	}
	return func(input []byte) ([]byte, error) { return primary.ComputePRF(input, size) }, nil
}
