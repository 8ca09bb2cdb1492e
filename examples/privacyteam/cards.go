package privacyteam

import (
	"slices"
	"sync"

	"github.com/larder-dp/larder/pseudonym"
)

// Cards make pseudonyms of loyalty cards, under a key of its own for each epoch.
// The zero value has no key yet. Safe for concurrent use.
type Cards struct {
	mu   sync.Mutex
	keys pseudonym.Keys
}

// Scope returns the function of an epoch, and makes its key if it is new.
func (c *Cards) Scope(epoch string) (func(card string) ([16]byte, error), error) {
	const purpose = "demand"
	c.mu.Lock()
	defer c.mu.Unlock()
	if !slices.ContainsFunc(c.keys.Scopes(), func(s pseudonym.ScopeInfo) bool { return s.Purpose == purpose && s.Epoch == epoch }) {
		keys, err := c.keys.Create(purpose, epoch)
		if err != nil {
			return nil, err
		}
		c.keys = keys
	}
	return c.keys.Scope(purpose, epoch), nil
}
