package oprf

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/larder-dp/larder/pseudonym"
)

// ErrClient says that a request's client is not among those that the key server
// knows.
var ErrClient = errors.New("client is not known")

// A ServerConfig says what a key server does.
type ServerConfig struct {
	// Keys are those of the scopes that are served, one for each. Required.
	Keys []Key
	// Clients are the names of the stores that may ask. Required.
	Clients []string
	// IDs is how many ids one client may ask for within any span of Window, over
	// all scopes. Required: at least 1. It is the speed of a corrupt store's
	// dictionary attack, so let it be what a store needs: each member once an
	// epoch, and as many again where an epoch is migrated. Table.Fill sends up to
	// MaxBatch at once, and never succeeds if IDs is less.
	IDs int
	// Window is the span of time that IDs is for. Required: at least a second.
	Window time.Duration
	// Random is where the randomness of proofs comes from, 32 bytes each; nil means
	// crypto/rand. One that is known or repeats itself makes proofs repeat, and does not
	// give the key away.
	Random io.Reader
}

// A Server holds keys and evaluates blinded ids for those who must not hold them.
// Get one from NewServer. It is safe for concurrent use if its Random is.
type Server struct {
	redacted
	// A function, so that reflection cannot look into it.
	evaluate func(now time.Time, client string, message []byte) ([]byte, error)
}

// NewServer returns a key server. It counts what clients asked for in memory: one
// that is started anew has forgotten it, so whoever can make it start can ask
// faster.
func NewServer(c ServerConfig) (*Server, error) {
	type scope struct{ purpose, epoch string }
	keys := map[scope]keySecret{}
	for _, k := range c.Keys {
		if k.secret == nil {
			return nil, fmt.Errorf("make key server: %w", errNoKey)
		}
		s := k.secret()
		at := scope{s.purpose, s.epoch}
		if _, ok := keys[at]; ok {
			return nil, fmt.Errorf("make key server: %w: two keys are for the same one: a scope gets one key only", pseudonym.ErrScope)
		}
		keys[at] = s
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("make key server: Keys: %w", errNoKey)
	}
	limits, err := newLimits(c)
	if err != nil {
		return nil, fmt.Errorf("make key server: %w", err)
	}
	random := source(c.Random)
	return &Server{evaluate: func(now time.Time, client string, message []byte) ([]byte, error) {
		limit, ok := limits[client]
		if !ok {
			return nil, ErrClient
		}
		r, err := parseRequest(message)
		if err != nil {
			return nil, err
		}
		key, ok := keys[scope{r.purpose, r.epoch}]
		if !ok {
			return nil, fmt.Errorf("%w: this server has no key for it", pseudonym.ErrScope)
		}
		n := len(r.elements) / elementSize
		if err := limit.check(now, n); err != nil { // before the work of decoding
			return nil, err
		}
		elements, err := parseElements(r.elements)
		if err != nil {
			return nil, err
		}
		var fresh [seedSize]byte
		if _, err := io.ReadFull(random, fresh[:]); err != nil {
			return nil, errRandom
		}
		if err := limit.take(now, n); err != nil {
			return nil, err
		}
		evaluation, err := key.evaluate(elements, fresh)
		if err != nil {
			return nil, errors.New("it cannot be proved")
		}
		return appendResponse(evaluation)
	}}, nil
}

// Evaluate answers a request that client sent, at the time now. Who the client is
// the caller has made sure of, by mutual TLS or the like.
//
// An error matches ErrClient, ErrMessage, pseudonym.ErrScope, or is a LimitError; or
// Random has failed. What is refused is not counted, so how many requests that are
// malformed a client may send is for the transport to limit: one of MaxBatch elements
// takes some milliseconds to refuse. The error may be sent to the client.
func (s *Server) Evaluate(now time.Time, client string, request []byte) (response []byte, err error) {
	if s.evaluate == nil {
		return nil, fmt.Errorf("evaluate batch: %w", errNoKey)
	}
	if response, err = s.evaluate(now, client, request); err != nil {
		return nil, fmt.Errorf("evaluate batch: %w", err)
	}
	return response, nil
}
