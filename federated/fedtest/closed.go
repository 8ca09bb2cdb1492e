package fedtest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/larder-dp/larder/dp"
	"github.com/larder-dp/larder/federated"
)

// FailsClosed fails t if the federation gives a number where it must give none,
// charges what it must not, or does not charge what it must: when a budget is
// spent, a policy says no, the epoch, roster, key, quorum, ledger or randomness is
// missing or fails, a question was changed on its way or is asked again, many ask
// at once, or sums are too large.
func FailsClosed(t testing.TB, c Config) { t.Helper(); failsClosed.in(t, c) }

// CheckFailsClosed is FailsClosed outside a test.
func CheckFailsClosed(c Config) error { return failsClosed.over(c) }

var failsClosed = check{"FailsClosed", 22, func(c Config, seed uint64) error {
	for _, k := range closedCases {
		w := c.drawWorld(seed)
		b := &bench{c: c, w: w}
		k.run(b)
		if b.err != nil {
			return fmt.Errorf("%s: %w", k.name, b.err)
		}
		if b.got != "" {
			return &Violation{Rule: k.rule, Got: k.name + ": " + b.got, Input: w.String(), Means: k.means}
		}
	}
	return nil
}}

// A closedCase is a rule of failing closed.
type closedCase struct {
	name, rule, means string
	run               func(*bench)
}

const (
	meansOverspent = "answers go on when the loss that was allowed is used up; averages take the noise away"
	meansVeto      = "whoever can ask gets what the store's owner did not allow"
	meansNumber    = "a number comes out that nobody paid for, or that is not what it says"
	meansTwice     = "two draws of noise for one answer can be averaged; a second charge spends what is others'"
)

// exact asks for noise that rounds to nothing.
var exact = dp.Params{Epsilon: 1e6, Mechanism: dp.DiscreteLaplace}

var closedCases = []closedCase{
	{"a spent budget", "what the budget does not cover is refused with a *dp.BudgetError: no noise is drawn, nothing is charged", meansOverspent, func(b *bench) {
		first, second := b.query(ordinary, 1), b.query(ordinary, 2)
		if b.err != nil || !b.start(setup{budget: times(first.Cost(), 1.5)}) {
			return
		}
		_, err := b.run(first)
		b.want(err == nil, "the first question, which the budget covers, is refused: %v", err)
		before := b.left()
		rel, err := b.run(second)
		b.silent(second, rel, err)
		var over *dp.BudgetError
		b.want(errors.As(err, &over), "the error is no *dp.BudgetError: %v", err)
		b.want(b.left() == before, "what is left changed from %v to %v", before, b.left())
	}},
	{"a node's own spent budget", "a node whose own budget does not cover the question reports nothing", meansOverspent, func(b *bench) {
		first, second := b.query(ordinary, 1), b.query(ordinary, 2)
		own := times(first.Cost(), 1.5)
		if b.err != nil || !b.start(setup{nodeBudget: &own}) {
			return
		}
		_, err := b.run(first)
		b.want(err == nil, "the first question, which the budgets cover, is refused: %v", err)
		reports := len(b.f.reports(second))
		rel, err := b.run(second)
		b.silent(second, rel, err)
		b.want(len(b.f.reports(second)) == reports, "a node reported")
	}},
	{"a policy by question", "a node reports only about the very questions that its policy names", meansVeto, func(b *bench) {
		allowed := b.query(ordinary, 1)
		if b.err != nil || !b.start(setup{allow: func(federated.NodeID) federated.Policy { return federated.AllowQueries(allowed) }}) {
			return
		}
		for name, change := range otherQuestions {
			asked := allowed.Question()
			asked.Round = 1
			change(&asked)
			q, err := b.w.tpl.New(asked)
			if err != nil || q.Digest() == allowed.Digest() {
				continue
			}
			rel, err := b.run(q)
			b.unanswered(name, q)
			b.silent(q, rel, err)
			b.raw(askOf(q, 3), name)
		}
		_, err := b.run(allowed)
		b.want(err == nil, "the question that it names is refused: %v", err)
		for name, change := range otherQuestions { // what was answered opens nothing else
			asked := allowed.Question()
			change(&asked)
			if q, err := b.w.tpl.New(asked); err == nil && q.Digest() != allowed.Digest() {
				b.raw(askOf(q, 3), name+", when the other was answered")
			}
		}
		// Digests that are alike: of 2,000 one begins as the other does, but for 0.04 %.
		asked := allowed.Question()
		for i := range 2000 {
			asked.Window = federated.Window{To: monday.Add(time.Duration(i) * time.Second)}
			q, err := b.w.tpl.New(asked)
			if err != nil {
				break
			}
			if d, e := q.Digest(), allowed.Digest(); d != e && d[0] == e[0] {
				b.raw(askOf(q, 3), "a question whose digest begins alike")
				break
			}
		}
	}},
	{"a policy by limits", "a node reports only within the budget, units and quorum that its policy names; an empty policy allows nothing", meansVeto, func(b *bench) {
		q := b.query(ordinary, 1)
		if b.err != nil {
			return
		}
		mine, others := federated.TrustedCoordinator, federated.Local
		if local(q) {
			mine, others = others, mine
		}
		fits := federated.Limits{Budget: times(q.Cost(), 1), Units: []federated.Unit{b.w.tpl.Unit}, Trusts: []federated.Trust{mine}, MinQuorum: len(b.w.stores)}
		dear, unit, trust, quorum, none := fits, fits, fits, fits, fits
		dear.Budget.Epsilon *= 0.99
		broken := map[string]*federated.Limits{}
		for _, x := range []float64{math.NaN(), math.Inf(1), 0, -1} {
			l := fits
			l.Budget.Epsilon = x
			broken[fmt.Sprintf("a budget of ε %g", x)] = &l
			if l := fits; math.IsNaN(x) || x < 0 {
				l.Budget.Delta = x
				broken[fmt.Sprintf("a budget of δ %g", x)] = &l
			}
		}
		unit.Units = nil
		trust.Trusts = []federated.Trust{others}
		quorum.MinQuorum++
		none.MinQuorum = 0
		for name, l := range map[string]*federated.Limits{"costs too much": &dear, "another unit": &unit, "another trust model": &trust, "too small a quorum": &quorum, "no quorum set": &none, "an empty policy": nil} {
			p := federated.Policy{}
			if l != nil {
				p.Names = map[string]federated.Limits{q.Name(): *l}
			}
			if !b.start(setup{allow: func(federated.NodeID) federated.Policy { return p }}) {
				return
			}
			rel, err := b.run(q)
			b.unanswered(name, q)
			b.silent(q, rel, err)
		}
		for name, l := range broken {
			p := federated.Policy{Names: map[string]federated.Limits{q.Name(): *l}}
			b.refused(name, q, setup{allow: func(federated.NodeID) federated.Policy { return p }})
		}
		b.selective(fits)
		b.versions(fits)
	}},
	{"another epoch, roster, function or format", "a node reports only about its own epoch, where it is on the roster, for a function and parameters that it knows, asked in the documented format", meansVeto, func(b *bench) {
		q := b.query(ordinary, 1)
		if b.err != nil || !b.start(setup{}) {
			return
		}
		epoch := q.Question()
		epoch.Epoch += "x"
		if other, err := b.w.tpl.New(epoch); err == nil {
			rel, err := b.run(other)
			b.unanswered("another epoch", other)
			b.silent(other, rel, err)
		}
		raw := askOf(q, 3)
		for name, change := range map[string]func(*ask){
			"a store that is not on the roster": func(a *ask) {
				for _, s := range b.w.stores {
					a.query = bytes.ReplaceAll(a.query, fmt.Appendf(nil, "%q", s), fmt.Appendf(nil, "%q", s+"x"))
				}
			},
			"an unknown function": func(a *ask) {
				a.query = bytes.Replace(a.query, []byte(`"name":"`), []byte(`"name":"zz`), 1)
			},
			"unknown parameters": func(a *ask) {
				a.query = bytes.Replace(a.query, []byte(`"params":null`), []byte(`"params":{"all":true}`), 1)
				for _, stock := range []string{"bins", "recency_days"} {
					a.query = bytes.Replace(a.query, fmt.Appendf(nil, `"params":{%q`, stock), fmt.Appendf(nil, `"params":{"all":true,%q`, stock), 1)
				}
			},
			"bins that are none": func(a *ask) {
				a.query = bytes.Replace(a.query, []byte(`{"bins":`), []byte(`{"bins":1`), 1)
			},
			"bounds that are none": func(a *ask) {
				a.query = bytes.Replace(a.query, []byte(`"max_nodes":`), []byte(`"max_nodes":-`), 1)
			},
			"no ε": func(a *ask) {
				a.query = bytes.Replace(a.query, []byte(`"epsilon":1,`), []byte(`"epsilon":0,`), 1)
			},
			"a query with white space": func(a *ask) { a.query = append(slices.Clone(a.query), ' ') },
			"a query with another field": func(a *ask) {
				a.query = bytes.Replace(a.query, []byte(`{"name"`), []byte(`{"debug":true,"name"`), 1)
			},
			"round 0":          func(a *ask) { a.round = 0 },
			"a negative round": func(a *ask) { a.round = -1 },
		} {
			changed := raw
			change(&changed)
			if changed.round == raw.round && bytes.Equal(changed.query, raw.query) {
				continue
			}
			b.raw(changed, name)
		}
	}},
	{"a missing key or membership service", "a node without what the unit needs to be known reports nothing", meansNumber, func(b *bench) {
		if b.w.tpl.Unit != federated.UnitMember && b.w.tpl.Unit != federated.UnitMemberAtNode {
			return
		}
		q := b.query(ordinary, 1)
		lacking := map[string]func(*federated.NodeConfig){
			"no pseudonym key": func(n *federated.NodeConfig) { n.Pseudonym = nil },
			"no memberships": func(n *federated.NodeConfig) {
				if b.w.tpl.Unit == federated.UnitMember && (binsOf(q) == 0 || local(q)) { // which a union does without
					n.Memberships = nil
				} else {
					n.Pseudonym, n.Memberships = nil, nil
				}
			},
		}
		if local(q) {
			lacking["no ledger for flipped answers"] = func(n *federated.NodeConfig) { n.Ledger = nil }
			if b.w.tpl.Unit == federated.UnitMember {
				lacking["another number of homes in the epoch"] = func(n *federated.NodeConfig) { n.MaxNodes++ }
				lacking["no number of homes"] = func(n *federated.NodeConfig) { n.MaxNodes = 0 }
			}
		}
		for name, change := range lacking {
			b.refused(name, q, setup{node: change})
		}
	}},
	{"what was asked", "nodes are asked the very query, in its round; label and charge are of it; what nodes report is about it", "what is paid for and published is not what was answered", func(b *bench) {
		q := b.query(ordinary, 3)
		if b.err != nil || !b.start(setup{}) {
			return
		}
		rel, err := b.run(q)
		if b.want(err == nil, "it is refused: %v", err); err != nil {
			return
		}
		raw, _ := q.MarshalJSON()
		for _, x := range b.f.lane.rounds {
			for _, m := range x.sent {
				a, err := parseAsk(m.Body)
				b.want(err == nil && a.round == 3 && bytes.Equal(a.query, raw), "%s was asked something else", m.To)
			}
			for _, m := range x.heard {
				r, err := parseReport(m.Body)
				why := fmt.Sprint(err)
				if err == nil {
					why = r.answers(q, m.From)
				}
				b.want(why == "", "%s answered something else: %s", m.From, why)
			}
		}
		l, asked := rel.Label(), q.Question()
		b.want(l.Digest == q.Digest() && l.Round == 3 && l.Epoch == asked.Epoch && l.Query == q.Name() && l.Unit == asked.Unit &&
			l.Cells == asked.Cells && l.Window == asked.Window && l.Trust == asked.Trust, "the label names another question")
		b.want(l.Bounds == asked.Bounds && l.Cost == q.Cost() && l.Sensitivity == sensitivity(q) && l.Bins == int64(binsOf(q)), "the label has other bounds, costs or bins than the query")
		if local(q) {
			b.want(l.Noise.Mechanism == dp.RandomizedResponse && math.Abs(l.Noise.Scale-flipRate(asked.Privacy.Epsilon)) < 1e-12 &&
				l.Cost.Epsilon == asked.Privacy.Epsilon*float64(asked.Bounds.MaxNodes), "the label has other flips than the query, or their cost at one node for that at all")
		} else {
			b.want(l.Noise.StdDev == q.Noise().StdDev() && l.Noise.Mechanism == q.Noise().Mechanism(), "the label has other noise than the query")
		}
		e, err := b.f.coordinator.ledger.Lookup(context.Background(), keyOf(q))
		b.want(err == nil && e.Charge.Cost == q.Cost() && e.Charge.Unit == string(asked.Unit) && e.Charge.Count <= 1, "the charge is %v, and the query costs %v", e.Charge, q.Cost())
		b.want(bytes.Equal(e.Release, []byte(asJSON(rel))), "the release that was told is not the one that was stored")
	}},
	{"below the quorum", "too few answers end in a *QuorumError: no noise is drawn, nothing is charged", meansNumber, func(b *bench) {
		q := b.query(ordinary, 1)
		if b.err != nil || !b.start(setup{}) {
			return
		}
		b.f.Faults(Fault{Lose, b.w.stores[0]})
		rel, err := b.run(q)
		b.silent(q, rel, err)
		var below *federated.QuorumError
		b.want(errors.As(err, &below), "the error is no *QuorumError: %v", err)
	}},
	{"a ledger that fails", "when the ledger cannot be read or written there is no number; what was reserved stays spent and is never noised again", meansTwice, func(b *bench) {
		q := b.query(ordinary, 1)
		for _, call := range []string{"lookup", "check", "left", "reserve", "commit"} {
			if b.err != nil || !b.start(setup{}) {
				return
			}
			before := b.left()
			g := b.f.coordinator.gate
			g.fail = map[string]error{call: errors.New("the disk is full")}
			rel, err := b.run(q)
			if b.f.h.count("*", call) == 0 {
				continue // it does without
			}
			b.want(rel == nil && err != nil, "a release was given when %s failed", call)
			if call != "commit" {
				b.want(!b.f.drew(q), "randomness was drawn when %s failed", call)
				b.want(b.left() == before, "it was charged when %s failed", call)
				continue
			}
			b.interrupted(q)
		}
	}},
	{"randomness that fails", "without randomness there is no number; the charge stays spent", meansNumber, func(b *bench) {
		q := b.query(ordinary, 1)
		if b.err != nil || !b.start(setup{}) {
			return
		}
		if local(q) {
			b.unflippable(q)
			return
		}
		b.f.coordinator.coins.fail = errors.New("no entropy")
		rel, err := b.run(q)
		b.want(rel == nil && err != nil, "a release was given")
		if selects(q) && err == nil {
			return
		}
		b.f.coordinator.coins.fail = nil
		b.interrupted(q)
	}},
	{"the same question again", "the same question in the same round gets the stored bytes: no node is asked, no noise drawn, nothing charged; a new round is a new charge", meansTwice, func(b *bench) {
		q, next := b.query(ordinary, 1), b.query(ordinary, 2)
		if b.err != nil || !b.start(setup{}) {
			return
		}
		first, err := b.run(q)
		if b.want(err == nil, "it is refused: %v", err); err != nil {
			return
		}
		left, asked, random := b.left(), b.f.h.count("*", "ask"), b.f.h.count("*", "random")
		for range 2 {
			again, err := b.run(q)
			b.want(err == nil && asJSON(again) == asJSON(first), "other bytes the second time (%v)", err)
			b.want(b.left() == left, "it was charged again")
			b.want(b.f.h.count("*", "ask") == asked, "nodes were asked again")
			b.want(b.f.h.count("*", "random") == random, "randomness was drawn again")
			if b.c.Ledger.Reopen != nil { // and by a coordinator that was restarted
				if !b.must(b.f.Restart(federated.CoordinatorID)) {
					return
				}
				random = b.f.h.count("*", "random") // its session is random, too
			}
		}
		_, err = b.run(next)
		b.want(err == nil && b.left() != left, "a new round is not charged (%v)", err)
	}},
	{"another question", "a question gets its own answer, for a charge of its own, whatever was asked before", "what is paid for and published is not what was answered", func(b *bench) {
		q := b.query(ordinary, 1)
		if b.err != nil || !b.start(setup{budget: dp.Budget{Epsilon: 1e6, Delta: 0.5}}) {
			return
		}
		if _, err := b.run(q); err != nil {
			b.want(false, "it is refused: %v", err)
			return
		}
		for name, change := range otherQuestions {
			asked := q.Question()
			change(&asked)
			other, err := b.w.tpl.New(asked)
			if err != nil || other.Digest() == q.Digest() {
				continue
			}
			rel, err := b.run(other)
			b.want(err != nil || rel.Label().Digest == other.Digest(), "%s: it gets the release of the question before", name)
			b.want(err != nil || b.f.charged(other), "%s: it is not charged", name)
		}
	}},
	{"a coordinator without a ledger", "without a ledger, or a way to the nodes, there is no coordinator, or no number from it", meansNumber, func(b *bench) {
		q := b.query(ordinary, 1)
		if b.err != nil || !b.start(setup{}) {
			return
		}
		for name, cc := range map[string]federated.CoordinatorConfig{
			"no ledger":    {Transport: b.f.lane, Deadline: b.f.deadline, Random: b.f.coordinator.coins},
			"no transport": {Ledger: b.f.coordinator.gate, Deadline: b.f.deadline, Random: b.f.coordinator.coins},
		} {
			given := false
			func() {
				defer func() { _ = recover() }() // which gives no number either
				if c, err := b.c.Coordinator(cc); err == nil {
					rel, err := c.Run(context.Background(), q)
					given = rel != nil || err == nil
				}
			}()
			b.want(!given, "%s: a release was given", name)
		}
	}},
	{"many ask at once", "one question asked by many at once is charged once and has one release", meansTwice, func(b *bench) {
		q := b.query(ordinary, 1)
		if b.err != nil || !b.start(setup{}) {
			return
		}
		before := b.left()
		out := make([]string, 8)
		var wg sync.WaitGroup
		for i := range out {
			wg.Go(func() {
				rel, err := b.f.coordinator.c.Run(context.Background(), q)
				if err == nil {
					out[i] = asJSON(rel)
				} else if !errors.Is(err, federated.ErrInterrupted) { // it may say that another is at it
					out[i] = "error " + err.Error()
				}
			})
		}
		wg.Wait()
		out = slices.DeleteFunc(out, func(s string) bool { return s == "" })
		b.want(len(slices.Compact(out)) == 1, "they got %d different answers", len(slices.Compact(out)))
		one, err := b.reference(q, b.f.setup.budget)
		b.want(b.must(err) && near(b.left(), one), "left %v of %v, and one charge leaves %v", b.left(), before, one)
	}},
	{"the order of effects", "the charge is durable before noise is drawn, and the release before it is told; a node's charge and report before it is sent", "a crash in between leaves a number out in the world that no budget knows of", func(b *bench) {
		q := b.query(ordinary, 1)
		ample := times(q.Cost(), 4)
		if b.err != nil || !b.start(setup{nodeBudget: &ample}) {
			return
		}
		_, err := b.run(q)
		b.want(err == nil, "it is refused: %v", err)
		b.want(inOrder(b.f.h.events) == "", "%s", inOrder(b.f.h.events))
		asked := askOf(q, 200)
		if local(q) { // it is noised: anybody may have the same again
			for _, m := range b.f.lane.rounds[0].answers {
				again, err := b.f.nodes[m.From].Answer(context.Background(), asked.encode())
				b.want(err == nil && bytes.Equal(again, m.Body), "%s tells another session another answer (%v)", m.From, err)
			}
			return
		}
		b.raw(asked, "another session of the coordinator, in a round that was answered")
	}},
	{"a node that is asked twice", "a node with a ledger charges a question once and answers it in one way", meansTwice, func(b *bench) {
		q := b.query(ordinary, 1)
		own := dp.Budget{Epsilon: 64, Delta: 0.25}
		if b.err != nil || !b.start(setup{nodeBudget: &own}) {
			return
		}
		one, err := b.reference(q, own)
		if !b.must(err) {
			return
		}
		for _, s := range b.w.stores {
			n := b.f.nodes[s]
			var said [][]byte
			for range 3 {
				body, err := n.Answer(context.Background(), askOf(q, 1).encode())
				b.want(err == nil, "it did not answer: %v", err)
				said = append(said, body)
			}
			b.want(bytes.Equal(said[0], said[1]) && bytes.Equal(said[1], said[2]), "it answers the same question in two ways")
			left, err := n.ledger.Left(context.Background(), b.w.epoch, string(b.w.tpl.Unit))
			b.want(err == nil && near(left, one), "left %v, and one charge leaves %v", left, one)
		}
	}},
	{"a caller who is gone", "a context that has ended before the charge ends the round without one", meansNumber, func(b *bench) {
		q := b.query(ordinary, 1)
		if b.err != nil || !b.start(setup{}) {
			return
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		rel, err := b.f.Run(ctx, q)
		b.silent(q, rel, err)
		rel, err = b.run(federated.Query{})
		b.want(rel == nil && err != nil, "the zero query was answered")
	}},
	{"sums that are too large", "a sum never wraps: it grows with what it sums, or sticks", "one more unit turns a large number into a negative one: its effect has no bound", func(b *bench) {
		b.w.selects = false
		q := b.query(exact, 1)
		if b.err != nil || !b.start(setup{budget: dp.Budget{Epsilon: 1e9, Delta: 0.5}}) {
			return
		}
		asked := q.Question()
		for i, s := range b.w.stores {
			r := report{digest: q.Digest(), round: 1, epoch: asked.Epoch, node: s, amounts: make([]int64, len(asked.Partitions))}
			for p := range r.amounts {
				r.amounts[p] = maxCell - int64(i)
			}
			if bins := binsOf(q); bins > 0 { // a sketch ends at its bins
				r.amounts, r.bitmap = nil, bytes.Repeat([]byte{0xff}, bins/8)
			}
			b.f.nodes[s].node = saying(r.encode())
		}
		rel, err := b.run(q)
		if b.want(err == nil, "it is refused: %v", err); err != nil {
			return
		}
		for cell := range rel.Cells() {
			if bins := int64(binsOf(q)); bins > 0 {
				b.want(cell.Noised == bins, "%d bins are set of %d, and every store has all of them", cell.Noised, bins)
				continue
			}
			b.want(cell.Noised >= maxCell-8, "%s %s is %d where every store has 2⁶²", cell.Store, cell.Partition, cell.Noised)
		}
		for cell := range rel.Totals() {
			b.want(cell.Noised >= maxCell-8, "the total of %s is %d where every store has 2⁶²", cell.Partition, cell.Noised)
		}
	}},
}

// selective asks for what costs more δ than the limits have.
func (b *bench) selective(fits federated.Limits) {
	asked := b.w.question(dp.Params{Epsilon: 1, Delta: 1e-6, Mechanism: dp.DiscreteGaussian})
	asked.Quorum = len(asked.Stores)
	q, err := b.w.tpl.New(asked)
	if err != nil || q.Cost().Delta == 0 {
		return // a template with other noise
	}
	fits.Budget = q.Cost()
	fits.Budget.Delta *= 0.99
	p := federated.Policy{Names: map[string]federated.Limits{q.Name(): fits}}
	if b.start(setup{allow: func(federated.NodeID) federated.Policy { return p }}) {
		rel, err := b.run(q)
		b.unanswered("costs too much δ", q)
		b.silent(q, rel, err)
	}
}

// versions asks for the other version of a function that a policy names.
func (b *bench) versions(fits federated.Limits) {
	const name = "of_two_versions"
	probe := func(version int) federated.Function {
		return federated.Function{Name: name, Version: version, From: []federated.Kind{b.w.tpl.From}, Prepare: func(params json.RawMessage) (federated.Contribute, error) {
			if string(params) != "null" {
				return nil, errors.New("takes no parameters")
			}
			return func(*federated.Record, func(string, int64)) {}, nil
		}}
	}
	fits.Budget = dp.Budget{Epsilon: 1e9, Delta: 0.5}
	p := federated.Policy{Names: map[string]federated.Limits{name + "/1": fits}}
	q, err := federated.Custom(name, 2, nil, b.query(ordinary, 1).Question())
	if err != nil || !b.start(setup{allow: func(federated.NodeID) federated.Policy { return p }, node: func(n *federated.NodeConfig) {
		n.Functions = append(slices.Clone(n.Functions), probe(1), probe(2))
	}}) {
		return
	}
	b.raw(askOf(q, 3), "another version than the policy names")
}

// otherQuestions each change one thing of a question.
var otherQuestions = map[string]func(*federated.Question){
	"a larger ε":        func(q *federated.Question) { q.Privacy.Epsilon *= 2 },
	"a smaller ε":       func(q *federated.Question) { q.Privacy.Epsilon /= 2 },
	"another δ":         func(q *federated.Question) { q.Privacy.Delta *= 2 },
	"another mechanism": func(q *federated.Question) { q.Privacy.Mechanism = dp.DiscreteGaussian },
	"a larger LInf":     func(q *federated.Question) { q.Bounds.LInf++ },
	"a larger L0":       func(q *federated.Question) { q.Bounds.L0++ },
	"a smaller L1":      func(q *federated.Question) { q.Bounds.L1-- },
	"more nodes":        func(q *federated.Question) { q.Bounds.MaxNodes++ },
	"a smaller quorum":  func(q *federated.Question) { q.Quorum-- },
	"fewer partitions":  func(q *federated.Question) { q.Partitions = q.Partitions[1:] },
	"another partition": func(q *federated.Question) { q.Partitions[0] += "x" },
	"another window":    func(q *federated.Question) { q.Window.To = monday.AddDate(0, 0, 1) },
	"another unit":      func(q *federated.Question) { q.Unit, q.Bounds.MaxNodes = federated.UnitMemberAtNode, 1 },
	"other cells": func(q *federated.Question) {
		q.Cells = map[federated.Cells]federated.Cells{federated.Chain: federated.PerStore}[q.Cells]
	},
	"other kind": func(q *federated.Question) {
		q.From, q.Unit, q.Bounds.MaxNodes = federated.Sales, federated.UnitSale, 1
	},
	"another trust model": func(q *federated.Question) {
		if q.Trust == federated.Local {
			q.Trust, q.Privacy.Mechanism, q.Bounds.MaxNodes = federated.TrustedCoordinator, dp.DiscreteLaplace, 1
		} else {
			q.Trust, q.Privacy.Mechanism, q.Privacy.Delta = federated.Local, dp.Auto, 0
		}
	},
	"another selection": func(q *federated.Question) {
		q.Select = dp.Params{Epsilon: 3, Delta: 1e-6, Mechanism: dp.DiscreteLaplace}
	},
	"one more store":       func(q *federated.Question) { q.Stores = append(q.Stores, "zz") },
	"one partition in two": func(q *federated.Question) { q.Partitions = append(q.Partitions, "zz") },
}
