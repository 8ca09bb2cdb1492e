package register

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/larder-dp/larder/pseudonym"
)

// This file is all that knows of keys.

const (
	purpose = "membership"
	// checkID is no member's id: from its pseudonym a register knows its key again.
	checkID = "larder: check of the key"
)

// A Scope makes the pseudonyms of one epoch, with its key.
type Scope struct {
	of    func(id string) ([16]byte, error)
	check [16]byte
	epoch string
}

// NewScope is the scope of a keyset in an epoch that it has a key for.
func NewScope(keys pseudonym.Keys, epoch string) (Scope, error) {
	s := Scope{of: keys.Scope(purpose, epoch), epoch: epoch}
	var err error
	if s.check, err = s.of(checkID); err != nil {
		return Scope{}, fmt.Errorf("make a scope of epoch %q: %w (add the key of a new -epoch with -new-key)", epoch, err)
	}
	return s, nil
}

// FreshScope has a key of its own, which nobody keeps.
func FreshScope(epoch string) (Scope, error) {
	keys, err := pseudonym.Generate(purpose, epoch)
	if err != nil {
		return Scope{}, err
	}
	return NewScope(keys, epoch)
}

// OpenKeys reads a keyset from a file that nobody but its owner may read.
func OpenKeys(path string) (pseudonym.Keys, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return pseudonym.Keys{}, fmt.Errorf("%w: make it with -new-key, if this register never had one", err)
	}
	if err != nil {
		return pseudonym.Keys{}, err
	}
	defer func() { _ = f.Close() }() // nothing was written
	b, err := pseudonym.ReadSecret(f)
	if err != nil {
		return pseudonym.Keys{}, fmt.Errorf("open key file %s: %w", path, err)
	}
	defer clear(b)
	keys, err := pseudonym.Parse(b)
	if err != nil {
		return pseudonym.Keys{}, fmt.Errorf("read key file %s: %w", path, err)
	}
	return keys, nil
}

// CreateKeys makes a key for an epoch, in a file of mode 0600: a new file, or one that has
// keys of other epochs. A key that is there is never replaced.
func CreateKeys(path, epoch string) (pseudonym.Keys, error) {
	keys, err := OpenKeys(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return pseudonym.Keys{}, err
	}
	if keys, err = keys.Create(purpose, epoch); err != nil {
		return pseudonym.Keys{}, fmt.Errorf("make a key of epoch %q in %s: %w: a key that is there is used without -new-key", epoch, path, err)
	}
	b, err := keys.Export()
	if err != nil {
		return pseudonym.Keys{}, err
	}
	defer clear(b)
	next := path + ".new"
	f, err := os.OpenFile(next, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return pseudonym.Keys{}, fmt.Errorf("%w: somebody else is making a key, or was interrupted: then remove it", err)
	}
	if err != nil {
		return pseudonym.Keys{}, err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(next, path)
	}
	if err != nil {
		return pseudonym.Keys{}, errors.Join(err, os.Remove(next))
	}
	return keys, syncDir(path)
}
