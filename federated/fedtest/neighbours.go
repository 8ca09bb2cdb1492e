package fedtest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/larder-dp/larder/dp"
	"github.com/larder-dp/larder/federated"
)

// Neighbours fails t if adding or removing one privacy unit, with all its
// records at all stores, moves what is noised by more than the sensitivity that
// the noise is scaled to. It compares the vectors of all nodes together, as they
// stand on the wire, and the releases under the same coins, in exact integers:
// L0, L1, L2 and L∞, by shape. It draws random worlds and shrinks what fails.
func Neighbours(t testing.TB, c Config) { t.Helper(); neighbours.in(t, c) }

// CheckNeighbours is Neighbours outside a test.
func CheckNeighbours(c Config) error { return neighbours.over(c) }

var neighbours = check{"Neighbours", 660, func(c Config, seed uint64) error {
	w := c.drawWorld(seed)
	i := rand.New(rand.NewPCG(seed, 2)).IntN(len(w.units))
	got, err := c.compareNeighbours(w, i)
	if err != nil || got == "" {
		return err
	}
	small, found := shrink(w, i, func(w *world) string {
		got, err := c.compareNeighbours(w, 0)
		if err != nil {
			return ""
		}
		return got
	})
	if found == "" {
		found, small = got, w
	} else {
		i = 0
	}
	return &Violation{
		Rule:  "all of one privacy unit, added or removed, moves what is noised by no more than the declared sensitivity, and no node's willingness to answer",
		Got:   found,
		Input: fmt.Sprintf("without unit %d of: %v", i+1, small),
		Means: "the noise is too small for what it hides: the release tells more of the unit than its ε says",
	}
}}

// ordinary are privacy parameters with noise worth the name.
var ordinary = dp.Params{Epsilon: 1, Delta: 1e-6, Mechanism: dp.DiscreteLaplace}

// An observation is what a federation noises, and what it releases.
type observation struct {
	amounts, units []int64
	values         []int64 // released; nil where cells are selected
	outcome        string
}

// observe runs one round with coins that depend on the seed alone.
func (c Config) observe(w *world, q federated.Query) (observation, error) {
	f, err := c.federation(w, setup{seed: 7, budget: dp.Budget{Epsilon: 100, Delta: 0.5}})
	if err != nil {
		return observation{}, err
	}
	rel, err := f.Run(context.Background(), q)
	o := observation{outcome: "released"}
	if err != nil {
		o.outcome = "failed: " + err.Error()
	}
	if len(f.lane.rounds) == 0 {
		return o, nil
	}
	v := judge(q, f.lane.rounds[0].heard)
	var rows []report
	for _, s := range w.stores {
		if r, ok := v.answered[s]; ok {
			rows = append(rows, r)
		} else {
			o.outcome += fmt.Sprintf(", %s %s", s, v.absent[s])
		}
	}
	o.amounts, o.units = noised(q, rows)
	if rel != nil && !selects(q) && !local(q) { // what flipped bits tell is no sum of them
		for cell := range rel.Cells() {
			o.values = append(o.values, cell.Noised)
		}
	}
	return o, nil
}

// noised are the numbers of reports that noise goes on, and the counts of units behind
// them: of every store, or of the chain. Under Local they are all bits, flipped: two worlds
// under the same coins flip the same ones, so that they differ where they do before the flips.
func noised(q federated.Query, rows []report) (amounts, units []int64) {
	chain := q.Question().Cells == federated.Chain
	switch {
	case len(rows) == 0:
	case local(q):
		for _, r := range rows {
			for _, b := range r.bitmap {
				for i := range 8 {
					amounts = append(amounts, int64(b>>i&1))
				}
			}
		}
	case chain:
		all := summed(rows)
		return all.amounts, all.units
	default:
		for _, r := range rows {
			amounts, units = append(amounts, r.amounts...), append(units, r.units...)
		}
	}
	return amounts, units
}

// sensitivity is how far one unit may move what is noised.
func sensitivity(q federated.Query) dp.Sensitivity {
	if !local(q) {
		return q.Noise().Sensitivity()
	}
	s, err := q.Question().Bounds.Sensitivity(dp.Disjoint) // one bit at each of her nodes
	if err != nil {
		return dp.Sensitivity{}
	}
	return s
}

func (c Config) compareNeighbours(w *world, i int) (string, error) {
	q, err := w.tpl.New(w.question(ordinary))
	if err != nil {
		return "", fmt.Errorf("ask: %w", err)
	}
	with, err := c.observe(w, q)
	if err != nil {
		return "", err
	}
	without, err := c.observe(w.without(i), q)
	if err != nil {
		return "", err
	}
	if with.outcome != without.outcome {
		return fmt.Sprintf("the round %s with the unit, and %s without it", cut(with.outcome), cut(without.outcome)), nil
	}
	s := sensitivity(q)
	for _, v := range []struct {
		what string
		x, y []int64
		s    dp.Sensitivity
	}{
		{"the vectors of the nodes", with.amounts, without.amounts, s},
		{"the counts of units behind the cells", with.units, without.units, unitSensitivity(q)},
		{"the released values under the same coins", with.values, without.values, s},
	} {
		if broken := within(v.x, v.y, v.s); broken != "" {
			return fmt.Sprintf("%s differ by %s", v.what, broken), nil
		}
	}
	return "", nil
}

func cut(s string) string {
	if len(s) > 300 {
		return s[:300] + "…"
	}
	return s
}

// unitSensitivity is how far one unit moves the numbers of units behind cells.
func unitSensitivity(q federated.Query) dp.Sensitivity {
	b, shape := q.Question().Bounds, dp.Disjoint
	if q.Question().Cells == federated.Chain {
		shape = dp.Summed
	}
	s, err := dp.Bounds{L0: b.L0, LInf: 1, L1: b.L0, MaxNodes: b.MaxNodes}.Sensitivity(shape)
	if err != nil {
		return dp.Sensitivity{}
	}
	return s
}

// within compares two vectors with a sensitivity, in exact integers.
func within(x, y []int64, s dp.Sensitivity) string {
	if len(x) != len(y) {
		return fmt.Sprintf("their length: %d and %d cells", len(x), len(y))
	}
	var l0, l1, l2, most int64
	for i := range x {
		d := max(x[i]-y[i], y[i]-x[i])
		if d < 0 || d > 1<<31 { // no bound allows it, and its square would wrap
			return fmt.Sprintf("L∞ of more than 2³¹, and the sensitivity has %d", s.LInf)
		}
		if d > 0 {
			l0++
		}
		l1, l2, most = l1+d, l2+d*d, max(most, d)
	}
	for _, n := range []struct {
		name     string
		got, has int64
	}{{"L0", l0, s.L0}, {"L1", l1, s.L1}, {"L2²", l2, s.L2Squared}, {"L∞", most, s.LInf}} {
		if n.got > n.has {
			return fmt.Sprintf("%s %d, and the sensitivity has %d (%d too many)", n.name, n.got, n.has, n.got-n.has)
		}
	}
	return ""
}

// DataIndependence fails t if anything but the noised values depends on the
// records: errors, refusals, coverage, logs, metrics, ledger calls, the number,
// order, headers and lengths of messages, the keys of a release, the inventory. It
// compares neighbouring worlds and an empty one, when all goes well, when
// policy, budget, quorum or a source says no, and when a function or Pseudonym panics, and
// requires that the order of rows changes nothing, that the same coins give the same bytes, and that a refusal
// reads no record. In a *testing.T time is virtual, and a refusal must take as long
// whatever the records are.
func DataIndependence(t testing.TB, c Config) { t.Helper(); independence.in(t, c.virtual(t)) }

// CheckDataIndependence is DataIndependence outside a test, in real time, which it does not
// compare.
func CheckDataIndependence(c Config) error { return independence.over(c) }

// A scenario is a way for a round to go.
type scenario struct {
	name    string
	setup   func(*setup)
	ask     func(*federated.Question)
	faults  func(*world) []Fault
	again   bool // ask twice
	next    bool // then ask in a new round, which is refused
	refused bool // and no record may be read
	// operator: a node's own operator may read in her log what went wrong with
	// its records; nobody else may.
	operator bool
}

func scenarios() []scenario {
	nothing := func(federated.NodeID) federated.Policy { return federated.Policy{} }
	limits := func(federated.NodeID) federated.Policy {
		p := anything(nil)
		for name, l := range p.Names {
			l.Budget = dp.Budget{Epsilon: 0.25}
			p.Names[name] = l
		}
		return p
	}
	little, enough := dp.Budget{Epsilon: 0.5}, dp.Budget{Epsilon: 1.5, Delta: 0.1}
	ample := dp.Budget{Epsilon: 10, Delta: 0.1}
	return []scenario{
		{name: "all goes well", again: true},
		{name: "the policy refuses", setup: func(s *setup) { s.allow = nothing }, refused: true},
		{name: "the policy has limits that refuse", setup: func(s *setup) { s.allow = limits }, refused: true},
		{name: "a node's own budget is spent", setup: func(s *setup) { s.nodeBudget = &little }, refused: true},
		{name: "a first question spends a node's own budget", setup: func(s *setup) { s.nodeBudget = &enough }, next: true},
		{name: "nodes have ledgers", setup: func(s *setup) { s.nodeBudget = &ample }, again: true},
		{name: "the budget is spent", setup: func(s *setup) { s.budget = little }, refused: true},
		{name: "another epoch is asked for", ask: func(q *federated.Question) { q.Epoch += "x" }, refused: true},
		{name: "below the quorum", ask: func(q *federated.Question) { q.Quorum = len(q.Stores) }, faults: func(w *world) []Fault {
			return []Fault{{Lose, w.stores[0]}}
		}},
		{name: "sources break", setup: func(s *setup) {
			s.node = func(n *federated.NodeConfig) {
				for _, rs := range []*federated.Records{&n.Lists, &n.Sales, &n.Memberships} {
					*rs = breaking(*rs, errBroken)
				}
			}
		}},
		// NodeConfig.Pseudonym and Function say what counts of a record at which they panic:
		// the node answers, as it does where no record makes them.
		{name: "Pseudonym panics", operator: true, setup: func(s *setup) {
			s.node = func(n *federated.NodeConfig) { n.Pseudonym = panics(n.Pseudonym, "no key for this id") }
		}},
		{name: "functions panic", operator: true, setup: func(s *setup) {
			s.node = func(n *federated.NodeConfig) {
				n.Functions = slices.Clone(n.Functions)
				for i, f := range n.Functions {
					n.Functions[i].Prepare = panicking(f.Prepare, func(*federated.Record) string { return "no rule for this record" })
				}
			}
		}},
	}
}

// panics is of that panics for every member.
func panics(of func(string) ([16]byte, error), why string) func(string) ([16]byte, error) {
	if of == nil {
		return nil
	}
	return func(member string) ([16]byte, error) {
		if len(member) > 1 {
			panic(why)
		}
		return of(member)
	}
}

var errBroken = fmt.Errorf("read records: the disk is gone")

// breaking is rs with an error as its last.
func breaking(rs federated.Records, err error) federated.Records {
	return func(yield func(federated.Record, error) bool) {
		if rs != nil {
			for r, err := range rs {
				if !yield(r, err) {
					return
				}
			}
		}
		yield(federated.Record{}, err)
	}
}

var independence = check{"DataIndependence", 44, func(c Config, seed uint64) error {
	w := c.drawWorld(seed)
	var err error
	if c.ownHeads, err = c.headsVary(w); err != nil {
		return err
	}
	i := rand.New(rand.NewPCG(seed, 3)).IntN(len(w.units))
	for _, s := range scenarios() {
		got, err := c.compareTranscripts(w, i, s)
		if err != nil {
			return err
		}
		if got == "" {
			continue
		}
		small, found := shrink(w, i, func(w *world) string {
			got, err := c.compareTranscripts(w, 0, s)
			if err != nil {
				return ""
			}
			return got
		})
		if found == "" {
			small, found = w, got
		} else {
			i = 0
		}
		return &Violation{
			Rule:  "nothing but noised values depends on the records",
			Got:   "when " + s.name + ", " + found,
			Input: fmt.Sprintf("with or without unit %d of: %v", i+1, small),
			Means: "whoever sees the difference learns something of the records for nothing: no noise is on it and no budget pays for it",
		}
	}
	return nil
}}

func (c Config) compareTranscripts(w *world, i int, s scenario) (string, error) {
	base, err := c.transcript(w, s)
	if err != nil {
		return "", err
	}
	if s.refused && base.read > 0 {
		return fmt.Sprintf("%d records were read to refuse", base.read), nil
	}
	empty, reversed := w.copied(), w.copied()
	empty.units, reversed.reverse = nil, true
	for _, other := range []struct {
		what  string
		w     *world
		bytes bool // even the noised values must be the same
	}{
		{"the same once more", w, true},
		{"the same rows in the opposite order", reversed, true},
		{"without the unit", w.without(i), false},
		{"without any records", empty, false},
	} {
		t, err := c.transcript(other.w, s)
		if err != nil {
			return "", err
		}
		a, b := base.masked, t.masked
		if other.bytes {
			a, b = base.full, t.full
		}
		if d := difference(a, b); d != "" {
			return fmt.Sprintf("%s: %s", other.what, d), nil
		}
	}
	return "", nil
}

// difference is the first one of two transcripts.
func difference(a, b []string) string {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return fmt.Sprintf("%s\n  became  %s", around(a[i], b[i]), around(b[i], a[i]))
		}
	}
	if len(a) != len(b) {
		longer := a
		if len(b) > len(a) {
			longer = b
		}
		return fmt.Sprintf("%d things left and not %d, such as %s", len(b), len(a), cut(longer[min(len(a), len(b))]))
	}
	return ""
}

// around cuts s to where it differs from t.
func around(s, t string) string {
	i := 0
	for i < min(len(s), len(t)) && s[i] == t[i] {
		i++
	}
	from := max(0, i-100)
	return fmt.Sprintf("%q", s[from:min(len(s), i+100)])
}

// A transcript is all that left, in order: in full, and with what noise protects,
// or is for the coordinator alone, masked.
type transcript struct {
	full, masked []string
	read         int
}

func (c Config) transcript(w *world, s scenario) (t transcript, err error) {
	c.timed(func(c Config) { t, err = c.transcribe(w, s) })
	return t, err
}

func (c Config) transcribe(w *world, s scenario) (transcript, error) {
	st := setup{seed: 7, budget: dp.Budget{Epsilon: 100, Delta: 0.5}}
	if s.setup != nil {
		s.setup(&st)
	}
	f, err := c.federation(w, st)
	if err != nil {
		return transcript{}, err
	}
	var before []byte
	if c.Metrics != nil {
		before = c.Metrics()
	}
	began := time.Now()
	q, err := f.Query(ordinary, s.ask)
	if err != nil {
		return transcript{}, fmt.Errorf("ask: %w", err)
	}
	if s.faults != nil {
		f.Faults(s.faults(w)...)
	}
	_, _ = f.Run(context.Background(), q) // errors are in the transcript
	if s.again {
		_, _ = f.Run(context.Background(), q)
	}
	timed := 0 // from here on, time counts
	if s.next {
		second, err := f.Query(ordinary, func(q *federated.Question) { q.Round = 2 })
		if err != nil {
			return transcript{}, fmt.Errorf("ask: %w", err)
		}
		began, timed = time.Now(), len(f.tap.heard)
		_, _ = f.Run(context.Background(), second)
	}
	t := transcript{}
	for i, u := range f.tap.heard {
		if u.channel == "release" && u.what == "printed" || s.operator && u.channel == "log" {
			continue
		}
		if c.ownHeads {
			u.b = ledgerHead.ReplaceAll(u.b, []byte(`"ledger_head":""`))
		}
		head := u.channel + " " + u.what + " "
		if (s.refused || s.next && i >= timed) && c.outside != nil {
			head = fmt.Sprintf("%safter %v ", head, u.at.Sub(began))
		}
		t.full = append(t.full, head+string(u.b))
		t.masked = append(t.masked, head+mask(u, q))
	}
	for _, e := range f.h.events {
		line := fmt.Sprintf("effect %s %s failed=%v", e.who, e.what, e.err != nil)
		if e.what == "random" && selects(q) {
			continue // noise is drawn for the cells that pass
		}
		t.full, t.masked = append(t.full, line), append(t.masked, line)
	}
	if c.Metrics != nil {
		if after := string(c.Metrics()); after != string(before) {
			grew := "metrics " + growth(string(before), after)
			t.full, t.masked = append(t.full, grew), append(t.masked, grew)
		}
	}
	for _, n := range f.nodes {
		t.read += n.records
	}
	return t, nil
}

var ledgerHead = regexp.MustCompile(`"ledger_head":"[0-9a-f]*"`)

// headsVary says whether two new ledgers have different heads after the same charge: the team's
// then have names or times of their own, which say nothing of records.
func (c Config) headsVary(w *world) (bool, error) {
	q, err := w.tpl.New(w.question(ordinary))
	if err != nil {
		return false, fmt.Errorf("ask: %w", err)
	}
	var heads [2][32]byte
	for i := range heads {
		l, err := c.Ledger.New(q.Cost())
		if err != nil {
			return false, fmt.Errorf("open ledger: %w", err)
		}
		charge := q.Charge()
		charge.Key = keyOf(q)
		e, err := l.Reserve(context.Background(), charge)
		if err != nil {
			return false, fmt.Errorf("charge a new ledger: %w", err)
		}
		heads[i] = e.Head
	}
	return heads[0] != heads[1], nil
}

// growth is what metrics show after and did not before: a number that stands where one
// stood is told by how much it grew, so that a counter that counts both worlds says the
// same of both.
func growth(before, after string) string {
	was, is := number.FindAllString(before, -1), number.FindAllString(after, -1)
	if number.ReplaceAllString(before, "#") == number.ReplaceAllString(after, "#") {
		i := -1
		return number.ReplaceAllStringFunc(after, func(s string) string {
			i++
			x, err := strconv.ParseFloat(was[i], 64)
			y, err2 := strconv.ParseFloat(is[i], 64)
			if err != nil || err2 != nil {
				return s
			}
			return fmt.Sprintf("%+g", y-x)
		})
	}
	i := 0
	for i < min(len(before), len(after)) && before[i] == after[i] {
		i++
	}
	return after[i:]
}

var number = regexp.MustCompile(`\b\d+(?:\.\d+)?(?:[eE][+-]?\d+)?\b`)

// mask leaves of a message what must not depend on records.
func mask(u utterance, q federated.Query) string {
	if r, err := parseReport(u.b); err == nil {
		return fmt.Sprintf("%d bytes: %v %d %s %s %d amounts, %d units, inventory %v, %d bins",
			len(u.b), r.digest, r.round, r.epoch, r.node, len(r.amounts), len(r.units), r.inventory, 8*len(r.bitmap))
	}
	if u.channel != "release" {
		return string(u.b)
	}
	var out []byte
	for _, f := range fieldsOf(u.b) {
		switch {
		case f.name == "values" && string(f.b) != "null":
			out = append(out, maskNumbers(f.b)...)
		case f.name == "cells" && selects(q):
		default:
			out = append(append(out, f.name...), f.b...)
		}
	}
	return string(out)
}

// maskNumbers keeps the brackets and commas around numbers.
func maskNumbers(b []byte) []byte {
	return slices.DeleteFunc(slices.Clone(b), func(c byte) bool { return c == '-' || '0' <= c && c <= '9' })
}
