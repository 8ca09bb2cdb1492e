package fedtest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/larder-dp/larder/dp"
	"github.com/larder-dp/larder/federated"
)

// A bench is where one case runs; the first thing that is wrong counts.
type bench struct {
	c   Config
	w   *world
	f   *Federation
	got string
	err error
}

func (b *bench) want(ok bool, format string, a ...any) {
	if !ok && b.got == "" {
		b.got = fmt.Sprintf(format, a...)
	}
}

func (b *bench) must(err error) bool {
	if err != nil && b.err == nil {
		b.err = err
	}
	return b.err == nil
}

func (b *bench) start(s setup) bool {
	f, err := b.federation(s)
	b.f = f
	return b.must(err)
}

func (b *bench) federation(s setup) (*Federation, error) {
	s.seed = 7
	if s.budget == (dp.Budget{}) {
		s.budget = dp.Budget{Epsilon: 100, Delta: 0.5}
	}
	return b.c.federation(b.w, s)
}

// refused wants that such a federation cannot be made, or gives nothing for q.
func (b *bench) refused(what string, q federated.Query, s setup) {
	f, err := b.federation(s)
	if err != nil {
		return
	}
	b.f = f
	rel, err := b.run(q)
	b.unanswered(what, q)
	b.silent(q, rel, err)
}

// query asks in a round, with a quorum of all stores.
func (b *bench) query(p dp.Params, round int64) federated.Query {
	q := b.w.question(p)
	q.Round, q.Quorum = round, len(q.Stores)
	out, err := b.w.tpl.New(q)
	b.must(err)
	return out
}

func (b *bench) run(q federated.Query) (*federated.Release, error) {
	return b.f.Run(context.Background(), q)
}

func (b *bench) left() dp.Budget {
	left, err := b.f.coordinator.ledger.Left(context.Background(), b.w.epoch, string(b.w.tpl.Unit))
	b.must(err)
	return left
}

// drew says whether randomness was read for q.
func (f *Federation) drew(q federated.Query) bool {
	f.h.mu.Lock()
	defer f.h.mu.Unlock()
	return slices.ContainsFunc(f.h.events, func(e event) bool { return e.what == "random" && e.key == keyOf(q) })
}

// charged says whether the coordinator's ledger holds q.
func (f *Federation) charged(q federated.Query) bool {
	_, err := f.coordinator.ledger.Lookup(context.Background(), keyOf(q))
	return err == nil
}

// reports returns what nodes reported about q, as it left them.
func (f *Federation) reports(q federated.Query) (out []report) {
	f.tap.mu.Lock()
	defer f.tap.mu.Unlock()
	for _, u := range f.tap.heard {
		if u.channel != "message" {
			continue
		}
		if r, err := parseReport(u.b); err == nil && r.digest == q.Digest() {
			out = append(out, r)
		}
	}
	return out
}

func times(b dp.Budget, f float64) dp.Budget {
	return dp.Budget{Epsilon: b.Epsilon * f, Delta: b.Delta * f}
}

// silent wants no number and no charge for q.
func (b *bench) silent(q federated.Query, rel *federated.Release, err error) {
	b.want(rel == nil && err != nil, "a release was given, and no error")
	b.want(!b.f.drew(q), "randomness was drawn")
	b.want(!b.f.charged(q), "it was charged")
}

// unanswered wants that no node reported about q.
func (b *bench) unanswered(what string, q federated.Query) {
	if q.Digest() != (federated.Digest{}) {
		b.want(len(b.f.reports(q)) == 0, "%s: a node reported", what)
	}
}

// saying is a node that says one thing.
type saying []byte

func (s saying) Answer(context.Context, []byte) ([]byte, error) { return slices.Clone(s), nil }

// raw sends every node a message and wants no report.
func (b *bench) raw(a ask, what string) {
	for _, s := range b.w.stores {
		body, err := b.f.nodes[s].Answer(context.Background(), a.encode())
		b.want(err != nil || !strings.HasPrefix(string(body), reportMagic), "%s: a node reported", what)
	}
}

// interrupted wants of a charge without a release that it stays spent and is
// never noised again, whoever asks.
func (b *bench) interrupted(q federated.Query) {
	if !b.f.charged(q) {
		b.want(!b.f.drew(q), "noise was drawn, and the charge is gone")
		return
	}
	random := len(b.f.draws(q))
	b.f.coordinator.gate.fail = nil
	for range 2 {
		rel, err := b.run(q)
		b.want(rel == nil && err != nil, "a release was given for a charge that was interrupted")
		b.want(len(b.f.draws(q)) == random, "randomness was drawn again")
		one, err := b.reference(q, b.f.setup.budget)
		b.want(b.must(err) && near(b.left(), one), "left %v, and one charge leaves %v", b.left(), one)
		if b.c.Ledger.Reopen == nil || !b.must(b.f.Restart(federated.CoordinatorID)) {
			return
		}
	}
}

// unflippable takes the nodes' randomness away: nothing is sent, and when it is back they
// answer for the charge that they have.
func (b *bench) unflippable(q federated.Query) {
	for _, n := range b.f.nodes {
		n.coins.fail = errors.New("no entropy")
	}
	rel, err := b.run(q)
	b.silent(q, rel, err)
	b.unanswered("without randomness", q)
	for _, n := range b.f.nodes {
		n.coins.fail = nil
	}
	_, err = b.run(q)
	b.want(err == nil, "it is refused when randomness is back: %v", err)
	one, err := b.reference(q, b.f.setup.budget)
	b.must(err)
	for id, n := range b.f.nodes {
		left, err := n.ledger.Left(context.Background(), b.w.epoch, string(b.w.tpl.Unit))
		b.want(err == nil && left == one, "%s has %v left, and one charge leaves %v", id, left, one)
	}
}

// draws are the reads of randomness for q.
func (f *Federation) draws(q federated.Query) (out []event) {
	f.h.mu.Lock()
	defer f.h.mu.Unlock()
	for _, e := range f.h.events {
		if e.what == "random" && e.key == keyOf(q) {
			out = append(out, e)
		}
	}
	return out
}

// near says whether two budgets are the same but for rounding: a ledger may add up in floating point.
func near(a, b dp.Budget) bool {
	return math.Abs(a.Epsilon-b.Epsilon) <= 1e-9*(1+b.Epsilon) && math.Abs(a.Delta-b.Delta) <= 1e-12
}

// reference is what one charge for q leaves of a budget.
func (b *bench) reference(q federated.Query, budget dp.Budget) (dp.Budget, error) {
	return b.c.afterOne(q, budget)
}

func (c Config) afterOne(q federated.Query, budget dp.Budget) (dp.Budget, error) {
	l, err := dp.NewMemoryLedger(budget)
	if err != nil {
		return dp.Budget{}, err
	}
	asked := q.Question()
	if _, err := l.Reserve(context.Background(), dp.Charge{Key: keyOf(q), Unit: string(asked.Unit), Cost: q.Cost()}); err != nil {
		return dp.Budget{}, fmt.Errorf("charge the ledger to compare with: %w", err)
	}
	return l.Left(context.Background(), asked.Epoch, string(asked.Unit))
}

// inOrder says which effect came too early, or "".
func inOrder(events []event) string {
	type at struct {
		who string
		key dp.Key
	}
	reserved, committed := map[at]bool{}, map[at]bool{}
	own := map[string][2]bool{} // a node's last question: reserved, committed
	for _, e := range events {
		k := at{e.who, e.key}
		switch {
		case e.what == "reserve" && (e.err == nil || errors.Is(e.err, dp.ErrAlreadyCharged)):
			reserved[k] = true
			own[e.who] = [2]bool{true, false}
		case e.what == "commit" && e.err == nil:
			if !reserved[k] {
				return fmt.Sprintf("%s stored a release that it had not reserved", e.who)
			}
			committed[k] = true
			own[e.who] = [2]bool{true, true}
		case e.what == "lookup" && e.err == nil:
			reserved[k], committed[k] = true, true // by an earlier life
			own[e.who] = [2]bool{true, true}
		case e.what == "random" && e.who != "*" && !own[e.who][0]:
			return fmt.Sprintf("%s flipped bits before its own charge was durable", e.who)
		case e.what == "random" && e.key != (dp.Key{}) && !reserved[k]:
			return "noise was drawn before its charge was durable"
		case e.what == "told" && !committed[k]:
			return "a release was told before it was durable"
		case e.what == "reply" && !own[e.who][1]:
			return fmt.Sprintf("%s sent its report before its own charge and report were durable", e.who)
		}
	}
	return ""
}
