package federated

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"

	"golang.org/x/sync/errgroup"
)

// InProcess is the Transport that calls nodes in this process: for
// simulations, tests, and a coordinator that sits with its nodes. The bytes are
// those of any other transport.
func InProcess(nodes ...*Node) Transport {
	t := inProcess{}
	for _, n := range nodes {
		if n != nil { // a nil one drops out
			t[n.c.ID] = n
		}
	}
	return t
}

type inProcess map[NodeID]*Node

// Exchange implements Transport. As many nodes work at a time as there are
// processors. It returns when those at work have seen that ctx is done, which
// they look at between two records.
func (t inProcess) Exchange(ctx context.Context, out []Message, deliver func(Message)) error {
	var g errgroup.Group
	g.SetLimit(runtime.GOMAXPROCS(0))
	var body []byte
	var a ask
	for _, m := range out {
		node, ok := t[m.To]
		if !ok {
			continue
		}
		if body == nil || !bytes.Equal(body, m.Body) { // most often all are asked the same
			var err error
			if a, err = parseAsk(m.Body); err != nil {
				return errors.Join(fmt.Errorf("exchange in process: %w", err), g.Wait())
			}
			body = m.Body
		}
		a := a
		g.Go(func() error {
			if ctx.Err() != nil {
				return nil
			}
			answer, err := node.answer(ctx, a)
			if err != nil {
				return nil // the node has dropped out; its operator knows why
			}
			if ctx.Err() == nil {
				deliver(Message{From: m.To, To: m.From, Body: answer})
			}
			return nil
		})
	}
	return g.Wait()
}
