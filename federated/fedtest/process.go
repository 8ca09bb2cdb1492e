package fedtest

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"sync"

	"github.com/larder-dp/larder/dp"
)

// A process is a coordinator or a node as the world sees it: it acts only
// through effects, and a crash at one of them is the end of all of them. What it
// computes afterwards reaches nobody.

// An event is an effect that happened, in the order in which they did.
type event struct {
	who  string
	what string // reserve, commit, random, reply, told, …
	key  dp.Key
	n    int
	err  error
	in   int // which life of the process
}

// A history is shared by the processes of a federation.
type history struct {
	mu      sync.Mutex
	events  []event
	steps   int
	crashAt int    // the step at which the process at work dies; 0 is never
	died    string // who did
}

var errCrashed = errors.New("the process has crashed")

type process struct {
	h    *history
	name string
	life int
	dead bool
}

// step is one place at which the process may die.
func (p *process) step() error {
	p.h.mu.Lock()
	defer p.h.mu.Unlock()
	if p.dead {
		return errCrashed
	}
	if p.h.steps++; p.h.steps == p.h.crashAt {
		p.dead, p.h.died = true, p.name
		return errCrashed
	}
	return nil
}

func (p *process) note(what string, key dp.Key, n int, err error) {
	p.h.mu.Lock()
	defer p.h.mu.Unlock()
	if !p.dead {
		p.h.events = append(p.h.events, event{p.name, what, key, n, err, p.life})
	}
}

// count returns how many events of a process are what.
func (h *history) count(who, what string) (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, e := range h.events {
		if e.who == who && e.what == what {
			n++
		}
	}
	return n
}

// A gate is a process's way to its ledger: it may die before and after each
// call, and calls may be made to fail.
type gate struct {
	inner dp.Ledger
	p     *process
	fail  map[string]error // by call
	after func(call string)
}

// checkedGate is a gate to a ledger that has Check.
type checkedGate struct{ *gate }

func newGate(l dp.Ledger, p *process) (dp.Ledger, *gate) {
	g := &gate{inner: l, p: p}
	if _, ok := l.(interface {
		Check(context.Context, dp.Charge) error
	}); ok {
		return checkedGate{g}, g
	}
	return g, g
}

// through makes a call. Only the last step, before the answer, can lose it.
func (g *gate) through(call string, key dp.Key, do func() error) error {
	if err := g.p.step(); err != nil {
		return err
	}
	err := g.fail[call]
	if err == nil {
		err = do()
	}
	g.p.note(call, key, 0, err)
	if g.after != nil {
		g.after(call)
	}
	if crash := g.p.step(); crash != nil {
		return crash
	}
	return err
}

func (g *gate) Lookup(ctx context.Context, k dp.Key) (e dp.Entry, err error) {
	err = g.through("lookup", k, func() error { e, err = g.inner.Lookup(ctx, k); return err })
	if err != nil {
		return dp.Entry{}, err
	}
	return e, nil
}

func (g *gate) Reserve(ctx context.Context, c dp.Charge) (e dp.Entry, err error) {
	err = g.through("reserve", c.Key, func() error { e, err = g.inner.Reserve(ctx, c); return err })
	if err != nil {
		return dp.Entry{}, err
	}
	return e, nil
}

func (g *gate) Commit(ctx context.Context, k dp.Key, release []byte) error {
	return g.through("commit", k, func() error { return g.inner.Commit(ctx, k, release) })
}

func (g *gate) Left(ctx context.Context, epoch, unit string) (b dp.Budget, err error) {
	err = g.through("left", dp.Key{Epoch: epoch}, func() error { b, err = g.inner.Left(ctx, epoch, unit); return err })
	if err != nil {
		return dp.Budget{}, err
	}
	return b, nil
}

// Check is not in dp.Ledger; federated asks for it where there is one.
func (g checkedGate) Check(ctx context.Context, c dp.Charge) error {
	checker := g.inner.(interface {
		Check(context.Context, dp.Charge) error
	})
	return g.through("check", c.Key, func() error { return checker.Check(ctx, c) })
}

// coins are the randomness of a coordinator or a node, from a seed.
type coins struct {
	p    *process
	mu   sync.Mutex
	from io.Reader
	fail error
	key  dp.Key // of the round at hand; zero outside of one
}

func newCoins(p *process, seed uint64) *coins {
	var s [32]byte
	for i := range 8 {
		s[i] = byte(seed >> (8 * i))
	}
	binary.LittleEndian.PutUint32(s[8:], uint32(p.life)) // a check may restart it some hundred times
	copy(s[12:], p.name)
	return &coins{p: p, from: rand.NewChaCha8(s)}
}

func (c *coins) Read(b []byte) (int, error) {
	if err := c.p.step(); err != nil {
		return 0, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fail != nil {
		return 0, c.fail
	}
	c.p.note("random", c.key, len(b), nil)
	return c.from.Read(b)
}
