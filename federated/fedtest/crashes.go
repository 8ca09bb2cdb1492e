package fedtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/larder-dp/larder/dp"
	"github.com/larder-dp/larder/federated"
)

// Crashes fails t if a crash loses or repeats what must happen once. It runs a
// round as often as it has steps, and each time the coordinator or the node that
// is at work dies at another one: before and after every call to a ledger, every
// read of randomness, every message and answer, and the return to the caller. What
// died is started on the ledger that it left and asked again, and
// then:
//
//   - the question was charged once or not at all, at the coordinator and at every
//     node, and once if anything was told;
//   - noise was drawn once at most;
//   - a release that was told or stored is what is told for ever;
//   - no two different reports about the question left a node, and none went to
//     two lives of the coordinator, unless it was noised, under Local, by the node itself;
//   - a new round is answered.
//
// Nodes have ledgers of their own. Config.Ledger says what survives.
func Crashes(t testing.TB, c Config) { t.Helper(); crashes.in(t, c) }

// CheckCrashes is Crashes outside a test.
func CheckCrashes(c Config) error { return crashes.over(c) }

var crashes = check{"Crashes", 6, func(c Config, seed uint64) error {
	if c.Ledger.Reopen == nil {
		return errors.New("Config.Ledger needs Reopen: it says what a crash leaves")
	}
	w := c.drawWorld(seed)
	for at := 1; ; at++ {
		got, done, err := c.crashAt(w, at)
		if err != nil {
			return fmt.Errorf("crash at step %d: %w", at, err)
		}
		if got != "" {
			return &Violation{
				Rule:  "a crash at any step leaves at most one charge, one draw of noise and one release of a question, and none of them is lost once somebody could have seen it",
				Got:   fmt.Sprintf("crash at step %d: %s", at, got),
				Input: w.String(),
				Means: meansTwice,
			}
		}
		if done {
			return nil
		}
	}
}}

// maxSteps is more than a round has.
const maxSteps = 100_000

// A tale is what happened to one question over several lives.
type tale struct {
	f    *Federation
	q    federated.Query
	told []string
}

// ask runs the question, and restarts who dies of it.
func (s *tale) ask() (died bool, err error) {
	h := s.f.h
	rel, err := s.f.Run(context.Background(), s.q)
	h.mu.Lock()
	who := h.died
	h.died = ""
	h.mu.Unlock()
	if err == nil {
		s.told = append(s.told, asJSON(rel))
	}
	if who == "" {
		return false, err
	}
	return true, s.f.Restart(federated.NodeID(who))
}

func (c Config) crashAt(w *world, at int) (got string, done bool, err error) {
	budget := dp.Budget{Epsilon: 64, Delta: 0.25}
	f, err := c.federation(w, setup{seed: 7, budget: budget, nodeBudget: &budget, noTransit: c.Transport == nil})
	if err != nil {
		return "", false, err
	}
	all := func(round int64) (federated.Query, error) {
		return f.Query(ordinary, func(q *federated.Question) { q.Round, q.Quorum = round, len(q.Stores) })
	}
	q, err := all(1)
	if err != nil {
		return "", false, fmt.Errorf("ask: %w", err)
	}
	f.h.mu.Lock()
	f.h.crashAt = f.h.steps + at
	f.h.mu.Unlock()
	s := &tale{f: f, q: q}
	died, err := s.ask()
	if died && err != nil {
		return "", false, fmt.Errorf("restart: %w", err)
	}
	// Asked again by those who live on, and by a coordinator that was restarted
	// right after it told.
	for range 2 {
		if again, err := s.ask(); again && err != nil {
			return "", false, fmt.Errorf("restart: %w", err)
		}
		if err := f.Restart(federated.CoordinatorID); err != nil {
			return "", false, err
		}
	}
	_, last := s.ask()
	if got, err := s.check(budget, last); got != "" || err != nil {
		return got, false, err
	}
	next, err := all(2)
	if err != nil {
		return "", false, err
	}
	if _, err := f.Run(context.Background(), next); err != nil {
		return fmt.Sprintf("a new round is refused: %v", err), false, nil
	}
	return "", !died || at > maxSteps, nil
}

func (s *tale) check(budget dp.Budget, last error) (string, error) {
	ctx, f, q := context.Background(), s.f, s.q
	one, err := f.c.afterOne(q, budget)
	if err != nil {
		return "", err
	}
	unit := string(q.Question().Unit)
	left, err := f.coordinator.ledger.Left(ctx, f.w.epoch, unit)
	if err != nil {
		return "", fmt.Errorf("read budget: %w", err)
	}
	e, err := f.coordinator.ledger.Lookup(ctx, keyOf(q))
	charged := err == nil
	draws := f.draws(q)
	lives := map[int]bool{}
	for _, d := range draws {
		lives[d.in] = true
	}
	for _, t := range s.told {
		if t != s.told[0] {
			return "two different releases were told", nil
		}
	}
	if order := inOrder(f.h.events); order != "" {
		return order, nil
	}
	switch {
	case !near(left, one) && !near(left, budget):
		return fmt.Sprintf("left %v of %v, and one charge leaves %v", left, budget, one), nil
	case charged != near(left, one):
		return fmt.Sprintf("the key is charged: %v, and left is %v", charged, left), nil
	case (len(s.told) > 0 || len(draws) > 0) && !charged:
		return "noise was drawn or a release told, and nothing is charged", nil
	case len(lives) > 1:
		return "noise was drawn in two lives of the coordinator", nil
	case len(s.told) > 0 && string(e.Release) != s.told[0]:
		return "the release that was told is not the one that is stored", nil
	case e.Release != nil && last != nil:
		return fmt.Sprintf("a release is stored, and asking again fails: %v", last), nil
	case e.Release != nil && !bytes.Equal(e.Release, []byte(s.told[len(s.told)-1])):
		return "what is told is not what is stored", nil
	}
	return s.checkNodes(budget, one)
}

// checkNodes looks at what each node charged and sent.
func (s *tale) checkNodes(budget, one dp.Budget) (string, error) {
	f, q := s.f, s.q
	sent := map[federated.NodeID]string{}
	to := map[federated.NodeID]map[[16]byte]bool{}
	for _, x := range f.lane.rounds {
		if len(x.sent) == 0 {
			continue
		}
		a, err := parseAsk(x.sent[0].Body)
		if err != nil {
			continue
		}
		for _, m := range x.answers {
			r, err := parseReport(m.Body)
			if err != nil || r.digest != q.Digest() || r.round != q.Question().Round {
				continue
			}
			if before, ok := sent[m.From]; ok && before != string(m.Body) {
				return fmt.Sprintf("%s sent two different reports", m.From), nil
			}
			if to[m.From] == nil {
				to[m.From] = map[[16]byte]bool{}
			}
			sent[m.From], to[m.From][a.session] = string(m.Body), true
			if len(to[m.From]) > 1 && !local(q) { // what is flipped anybody may have again
				return fmt.Sprintf("%s reported to two lives of the coordinator, of which the first may have released it", m.From), nil
			}
		}
	}
	for id, n := range f.nodes {
		left, err := n.ledger.Left(context.Background(), f.w.epoch, string(q.Question().Unit))
		if err != nil {
			return "", fmt.Errorf("read budget of a node: %w", err)
		}
		switch {
		case !near(left, one) && !near(left, budget):
			return fmt.Sprintf("%s has %v left of %v, and one charge leaves %v", id, left, budget, one), nil
		case sent[id] != "" && !near(left, one):
			return fmt.Sprintf("%s reported and charged nothing", id), nil
		}
	}
	return "", nil
}
