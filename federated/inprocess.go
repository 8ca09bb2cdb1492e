package federated

import (
	"bytes"
	"context"
	"fmt"
	"runtime"
	"sync"

	"golang.org/x/sync/errgroup"
)

// InProcess is the Transport that calls nodes in this process: for
// simulations, tests, and a coordinator that sits with its nodes. The bytes are
// those of any other transport.
func InProcess(nodes ...*Node) Transport {
	t := inProcess{}
	for _, n := range nodes {
		t[n.c.ID] = n
	}
	return t
}

type inProcess map[NodeID]*Node

// Exchange implements Transport. As many nodes work at a time as there are
// processors.
func (t inProcess) Exchange(ctx context.Context, out []Message, deliver func(Message)) error {
	var mu sync.Mutex
	var g errgroup.Group
	g.SetLimit(runtime.GOMAXPROCS(0))
	var body []byte
	var q Query
	for _, m := range out {
		node, ok := t[m.To]
		if !ok {
			continue
		}
		if body == nil || !bytes.Equal(body, m.Body) { // most often all are asked the same
			var err error
			if q, err = parseAsk(m.Body); err != nil {
				return fmt.Errorf("exchange in process: %w", err)
			}
			body = m.Body
		}
		q := q
		g.Go(func() error {
			if ctx.Err() != nil {
				return nil
			}
			answer, err := node.answer(ctx, q)
			if err != nil {
				return nil // ctx ended: the node has dropped out
			}
			mu.Lock()
			defer mu.Unlock()
			if ctx.Err() == nil {
				deliver(Message{From: m.To, To: m.From, Body: answer})
			}
			return nil
		})
	}
	return g.Wait()
}
