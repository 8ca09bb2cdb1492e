package oprf

import (
	"errors"
	"fmt"
	"io"

	circl "github.com/cloudflare/circl/oprf"

	"github.com/larder-dp/larder/pseudonym"
)

// ErrProof says that a key server's answer was not made with the key that the
// roster names, or is not the answer to this request: use none of it, and find
// out why.
var ErrProof = errors.New("proof does not hold")

// A ClientConfig says whose pseudonyms a store makes.
type ClientConfig struct {
	// Roster is the chain's, as the store has pinned it. Required.
	Roster pseudonym.Roster
	// Purpose and Epoch name a scope that Roster lists as oblivious. Required.
	Purpose, Epoch string
	// Random is where blinds come from, 64 bytes an id on average; nil means
	// crypto/rand, which is what production uses, always. Whoever can tell what it
	// yields can try ids on a request, as with a key.
	Random io.Reader
}

// A Client makes the pseudonyms of one oblivious scope with the help of its key
// server. Get one from NewClient. It is safe for concurrent use if its Random is.
type Client struct {
	redacted
	scope  []byte // its encoding
	pinned [elementSize]byte
	client circl.VerifiableClient
	random func() io.Reader // a function, so that reflection cannot look into it
}

// NewClient returns the client of a scope. Of one that the roster does not list as
// oblivious it returns an error that matches pseudonym.ErrScope.
func NewClient(c ClientConfig) (*Client, error) {
	pinned, err := c.Roster.PublicKey(c.Purpose, c.Epoch)
	if err != nil {
		return nil, fmt.Errorf("make client: %w", err)
	}
	scope, err := pseudonym.AppendScope(nil, c.Purpose, c.Epoch)
	if err != nil {
		return nil, fmt.Errorf("make client: %w", err)
	}
	public := new(circl.PublicKey)
	if err := public.UnmarshalBinary(suite, pinned[:]); err != nil {
		return nil, fmt.Errorf("make client: %w: its public key in the roster is none: list the one that Key.PublicKey returns", pseudonym.ErrScope)
	}
	random := source(c.Random)
	return &Client{
		scope: scope, pinned: pinned, client: circl.NewVerifiableClient(suite, public),
		random: func() io.Reader { return random },
	}, nil
}

// A Batch is what a store keeps between Blind and Finalize: ids and blinds. It
// never leaves the store. It is safe for concurrent use.
type Batch struct {
	redacted
	finalize func(*circl.Evaluation) ([][]byte, error)
	size     int
}

// Blind begins a batch of 1 to MaxBatch member ids and returns the request for
// the key server, which tells it how many ids there are and nothing else of them:
// every blind is fresh. The ids go through pseudonym.Canonical; if one is
// malformed the error says which by its index and nothing is begun.
func (c *Client) Blind(members []string) (*Batch, []byte, error) {
	batch, request, err := c.blind(members)
	if err != nil {
		return nil, nil, fmt.Errorf("blind batch: %w", err)
	}
	return batch, request, nil
}

func (c *Client) blind(members []string) (*Batch, []byte, error) {
	if c.random == nil {
		return nil, nil, errors.New("there is no client: make one with NewClient")
	}
	if len(members) < 1 || len(members) > MaxBatch {
		return nil, nil, fmt.Errorf("it has %d ids: pass 1 to %d", len(members), MaxBatch)
	}
	inputs := make([][]byte, len(members))
	for i, m := range members {
		id, err := pseudonym.Canonical(m)
		if err != nil {
			return nil, nil, fmt.Errorf("id %d: %w", i, err)
		}
		inputs[i] = append(c.scope[:len(c.scope):len(c.scope)], id...)
	}
	return c.begin(inputs)
}

// begin blinds inputs of the function: the scope and the canonical id, as the input of
// a keyed pseudonym.
func (c *Client) begin(inputs [][]byte) (*Batch, []byte, error) {
	blinds := make([]circl.Blind, len(inputs))
	for i := range blinds {
		var err error
		if blinds[i], err = randomScalar(c.random()); err != nil {
			return nil, nil, err
		}
	}
	data, req, err := c.client.DeterministicBlind(inputs, blinds)
	if err != nil { // a hash met the identity: 1 in 2²⁵²
		return nil, nil, errors.New("an id cannot be blinded")
	}
	message, err := appendRequest(c.scope[:len(c.scope):len(c.scope)], req.Elements)
	if err != nil {
		return nil, nil, err
	}
	return &Batch{
		finalize: func(e *circl.Evaluation) ([][]byte, error) { return c.client.Finalize(data, e) },
		size:     len(inputs),
	}, message, nil
}

// Finalize checks the key server's response against the roster's public key and
// returns the pseudonyms of the ids, in their order. Where it does not hold, for
// one id or for all, the error matches ErrMessage or ErrProof and there is no
// pseudonym.
func (b *Batch) Finalize(response []byte) ([][16]byte, error) {
	if b.finalize == nil {
		return nil, errors.New("finalize batch: there is none: begin one with Blind")
	}
	evaluation, err := parseResponse(response)
	if err == nil && len(evaluation.Elements) != b.size {
		err = badMessage("it answers another number of ids")
	}
	if err != nil {
		return nil, fmt.Errorf("finalize batch: %w", err)
	}
	outputs, err := b.finalize(evaluation)
	if err != nil {
		return nil, fmt.Errorf("finalize batch: %w: the key server used another key than the roster's, or answered another request", ErrProof)
	}
	pseudonyms := make([][16]byte, len(outputs))
	for i, out := range outputs {
		pseudonyms[i] = [16]byte(out[:16])
	}
	return pseudonyms, nil
}
