package federated

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/larder-dp/larder/dp"
)

// CoordinatorConfig is what a coordinator works with.
type CoordinatorConfig struct {
	// Transport reaches the nodes. Required.
	Transport Transport
	// Ledger holds the budgets and the releases. Required.
	Ledger dp.Ledger
	// Deadline is how long nodes have to answer; the context may end a round
	// sooner. 0 means one minute.
	Deadline time.Duration
	// Random is where noise comes from; nil means crypto/rand, which is what
	// production uses, always. The exact mechanisms draw all of their
	// randomness from it.
	Random io.Reader
}

// A Coordinator asks the nodes of a federation and publishes noised answers. A
// trusted one sees each node's exact bounded sums. Safe for concurrent use if
// its Random is.
type Coordinator struct {
	c       CoordinatorConfig
	session [16]byte // tells nodes this coordinator from one that was restarted
	mu      sync.Mutex
	running map[dp.Key]*flight
}

// NewCoordinator checks c and returns a coordinator.
func NewCoordinator(c CoordinatorConfig) (*Coordinator, error) {
	var errs []error
	if c.Transport == nil {
		errs = append(errs, errors.New("Transport is missing: InProcess is one"))
	}
	if c.Ledger == nil {
		errs = append(errs, errors.New("Ledger is missing: dp.NewMemoryLedger makes one"))
	}
	if c.Deadline < 0 {
		errs = append(errs, errors.New("Deadline must not be negative"))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("make coordinator: %w", err)
	}
	if c.Deadline == 0 {
		c.Deadline = time.Minute
	}
	if c.Random == nil {
		c.Random = realRandom
	}
	out := &Coordinator{c: c, running: map[dp.Key]*flight{}}
	if _, err := io.ReadFull(c.Random, out.session[:]); err != nil {
		return nil, fmt.Errorf("make coordinator: draw session: %w", err)
	}
	return out, nil
}

// ErrInterrupted says that the charge of the round is reserved and no release
// stored: by a run that failed, here or before a restart, or by one of another
// coordinator that is still at it. Noise may have been drawn, so the charge
// stays spent and no other is drawn.
var ErrInterrupted = errors.New("the charge of this round is reserved and no release is stored: unless another coordinator is still at it, the charge is spent: ask again as a new round")

// A QuorumError says that too few nodes answered; why one did not is in its own
// log (NodeConfig.Log). The coordinator's ledger was
// not charged; a node's own was, and answers the same coordinator again for
// nothing.
type QuorumError struct {
	Need     int
	Coverage Coverage
}

// Error says how many answered and why the first that refused did not, or else the first of
// the others.
func (e *QuorumError) Error() string {
	s := fmt.Sprintf("%d of %d nodes answered, the quorum is %d: the coordinator charged nothing: ",
		e.Coverage.Answered, e.Coverage.Asked, e.Need)
	why, next := e.Coverage.Absent, "ask the same again when more are up; the log of a node says why it did not"
	if i := slices.IndexFunc(why, func(a Absence) bool { return strings.HasPrefix(a.Reason, refusedBy) }); i >= 0 {
		why, next = why[i:], "a node that refuses does so again: ask what it accepts"
	}
	s += next
	if len(why) > 0 {
		s += fmt.Sprintf(" (%s: %s)", why[0].Node, why[0].Reason)
	}
	return s
}

// Run asks q and returns the release. The same question in the same round is
// answered from the ledger: the same bytes, no second charge, no node asked.
//
// The order is: collect, reserve the charge, draw the noise, commit and store,
// tell. Errors that a caller acts on: *QuorumError, *dp.BudgetError,
// *dp.UnitError, ErrInterrupted.
func (c *Coordinator) Run(ctx context.Context, q Query) (*Release, error) {
	if q.query == nil {
		return nil, fmt.Errorf("run round: %w", errZeroQuery)
	}
	if c.running == nil {
		return nil, errors.New("run round: the coordinator is the zero one: make it with NewCoordinator")
	}
	rel, err := c.alone(ctx, q)
	if err != nil {
		return nil, fmt.Errorf("run round %d of %s: %w", q.q.Round, q.Name(), err)
	}
	return rel, nil
}

// A flight is a run that others who ask the same wait for.
type flight struct {
	done chan struct{}
	rel  *Release
	err  error
}

// alone lets one run of a key go at a time, and gives the others what it gets.
func (c *Coordinator) alone(ctx context.Context, q Query) (*Release, error) {
	for {
		c.mu.Lock()
		other, busy := c.running[q.key()]
		if !busy {
			break
		}
		c.mu.Unlock()
		select {
		case <-other.done:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if !errors.Is(other.err, context.Canceled) && !errors.Is(other.err, context.DeadlineExceeded) {
			return other.rel, other.err
		} // that caller gave up, this one did not
	}
	f := &flight{done: make(chan struct{})}
	c.running[q.key()] = f
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		delete(c.running, q.key())
		c.mu.Unlock()
		close(f.done)
	}()
	f.rel, f.err = c.run(ctx, q)
	return f.rel, f.err
}

func (c *Coordinator) run(ctx context.Context, q Query) (*Release, error) {
	if rel, err := c.stored(ctx, q); rel != nil || err != nil {
		return rel, err
	}
	if err := c.affordable(ctx, q); err != nil {
		return nil, err
	}
	deadline := now().Add(c.c.Deadline)
	r, out := newRound(q, c.session, deadline)
	if err := c.collect(ctx, r, out); err != nil {
		return nil, err
	}
	return c.finish(ctx, r)
}

// stored returns the release of a question that was answered before, or nil.
func (c *Coordinator) stored(ctx context.Context, q Query) (*Release, error) {
	e, err := c.c.Ledger.Lookup(ctx, q.key())
	switch {
	case errors.Is(err, dp.ErrNotCharged):
		return nil, nil
	case err != nil:
		return nil, err
	case e.Release == nil:
		return nil, ErrInterrupted
	}
	return ParseRelease(e.Release)
}

// affordable refuses a question that the budget does not cover before any node
// works on it. It binds nobody: Reserve decides.
func (c *Coordinator) affordable(ctx context.Context, q Query) error {
	charge := q.charge(q.key())
	if l, ok := c.c.Ledger.(interface {
		Check(context.Context, dp.Charge) error
	}); ok {
		err := l.Check(ctx, charge)
		if errors.Is(err, dp.ErrAlreadyCharged) { // by another run since we looked
			return ErrInterrupted
		}
		return err
	}
	left, err := c.c.Ledger.Left(ctx, q.q.Epoch, string(q.q.Unit))
	if err != nil {
		return err
	}
	return new(dp.Spent).Check(charge, left)
}

// collect drives the round through the transport until its collection ended.
func (c *Coordinator) collect(ctx context.Context, r *round, out []Message) error {
	waiting, cancel := context.WithDeadline(ctx, r.deadline)
	defer cancel()
	var mu sync.Mutex
	over := false
	err := c.c.Transport.Exchange(waiting, out, func(m Message) {
		mu.Lock()
		defer mu.Unlock()
		if over {
			return
		}
		if r.receive(now(), m); r.state != asking {
			over = true
			cancel()
		}
	})
	mu.Lock()
	defer mu.Unlock()
	over = true
	if ctx.Err() != nil { // ended by the caller, not by the deadline
		return ctx.Err()
	}
	if err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("exchange messages: %w", err)
	}
	r.close()
	return nil
}

// finish takes a round whose collection ended to its terminal state.
func (c *Coordinator) finish(ctx context.Context, r *round) (*Release, error) {
	if r.state == belowQuorum {
		return nil, &QuorumError{r.q.q.Quorum, r.coverage()}
	}
	head, err := c.reserve(ctx, r)
	if err != nil {
		return nil, err
	}
	// From here on the charge is spent. A caller who gives up now would only
	// lose the release that it paid for.
	ctx = context.WithoutCancel(ctx)
	rel, err := c.noise(ctx, r, head)
	if err != nil {
		return nil, err
	}
	return c.store(ctx, r, rel)
}

// reserve makes the charge durable: reserving → noising, refused or aborted.
func (c *Coordinator) reserve(ctx context.Context, r *round) (head [32]byte, err error) {
	e, err := c.c.Ledger.Reserve(ctx, r.q.charge(r.q.key()))
	if errors.Is(err, dp.ErrAlreadyCharged) { // by another coordinator since we looked
		err = ErrInterrupted
	}
	r.effect(err)
	return e.Head, err
}

// noise draws the noise: noising → storing or aborted.
func (c *Coordinator) noise(ctx context.Context, r *round, head [32]byte) (*Release, error) {
	rel, err := newRelease(ctx, r, head, c.c.Random)
	if r.effect(err); err != nil {
		return nil, fmt.Errorf("%w (%w)", ErrInterrupted, err)
	}
	return rel, nil
}

// store commits the charge together with the release: storing → released or
// aborted. What it returns is what was stored.
func (c *Coordinator) store(ctx context.Context, r *round, rel *Release) (*Release, error) {
	err := c.c.Ledger.Commit(ctx, r.q.key(), rel.raw)
	if r.effect(err); err != nil {
		return nil, fmt.Errorf("%w (%w)", ErrInterrupted, err)
	}
	return rel, nil
}
