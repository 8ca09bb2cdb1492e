package oprf

import (
	"errors"
	"fmt"

	circl "github.com/cloudflare/circl/oprf"

	"github.com/larder-dp/larder/pseudonym"
)

// ErrProof says that a key server's answer was not made with the key that the
// roster names, or is not the answer to this request: use none of it, and find
// out why.
var ErrProof = errors.New("proof does not hold")

// A Client makes the pseudonyms of one oblivious scope with the help of its key
// server. Get one from NewClient. It is safe for concurrent use.
type Client struct {
	redacted
	scope  []byte
	public *circl.PublicKey
}

// NewClient returns the client of a scope that keys declare oblivious: see
// pseudonym.Keys.Pin. Of a scope that is not it returns an error that matches
// pseudonym.ErrScope.
func NewClient(keys pseudonym.Keys, purpose, epoch string) (*Client, error) {
	pinned, err := keys.PublicKey(purpose, epoch)
	if err != nil {
		return nil, fmt.Errorf("make client: %w", err)
	}
	scope, err := pseudonym.AppendScope(nil, purpose, epoch)
	if err != nil {
		return nil, fmt.Errorf("make client: %w", err)
	}
	public := new(circl.PublicKey)
	if err := public.UnmarshalBinary(suite, pinned[:]); err != nil {
		return nil, fmt.Errorf("make client: %w: its public key is none: take it from the roster", pseudonym.ErrScope)
	}
	return &Client{scope: scope, public: public}, nil
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
	inputs, err := c.inputs(members)
	if err != nil {
		return nil, nil, fmt.Errorf("blind batch: %w", err)
	}
	return c.begin(circl.NewVerifiableClient(suite, c.public).Blind(inputs))
}

// inputs are what the function is evaluated at: the scope and the canonical id,
// as the input of a keyed pseudonym.
func (c *Client) inputs(members []string) ([][]byte, error) {
	if len(members) < 1 || len(members) > MaxBatch {
		return nil, fmt.Errorf("it has %d ids: pass 1 to %d", len(members), MaxBatch)
	}
	inputs := make([][]byte, len(members))
	for i, m := range members {
		id, err := pseudonym.Canonical(m)
		if err != nil {
			return nil, fmt.Errorf("id %d: %w", i, err)
		}
		inputs[i] = append(c.scope[:len(c.scope):len(c.scope)], id...)
	}
	return inputs, nil
}

func (c *Client) begin(data *circl.FinalizeData, req *circl.EvaluationRequest, err error) (*Batch, []byte, error) {
	if err != nil { // a hash met the identity: 1 in 2²⁵²
		return nil, nil, errors.New("blind batch: an id cannot be blinded")
	}
	message, err := appendRequest(c.scope[:len(c.scope):len(c.scope)], req.Elements)
	if err != nil {
		return nil, nil, fmt.Errorf("blind batch: %w", err)
	}
	client := circl.NewVerifiableClient(suite, c.public)
	return &Batch{
		finalize: func(e *circl.Evaluation) ([][]byte, error) { return client.Finalize(data, e) },
		size:     len(req.Elements),
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
