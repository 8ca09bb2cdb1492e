package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/larder-dp/larder/dp"
	"github.com/larder-dp/larder/dp/ledger"
	"github.com/larder-dp/larder/examples/internal/retail"
	"github.com/larder-dp/larder/federated"
)

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitFlags  = 2
)

// run is the program without its process.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, err := parseOptions(args, stdout)
	if errors.Is(err, flag.ErrHelp) {
		return exitOK
	}
	if err == nil {
		err = simulate(ctx, o, stdout, stderr)
	}
	if err == nil {
		return exitOK
	}
	fmt.Fprintln(stderr, "simulation:", oneLine(err))
	if errors.Is(err, errFlags) {
		return exitFlags
	}
	return exitFailed
}

// simulate does what the flags say. It prints nothing before everything that can
// fail is done.
func simulate(ctx context.Context, o options, stdout, stderr io.Writer) (err error) {
	pr := newProgress(stderr)
	if o.data != "" {
		if err := checkData(o); err != nil {
			return err
		}
	}
	if o.out != "" {
		if err := checkOut(o.out); err != nil {
			return err
		}
	}
	w, err := world(ctx, o, pr)
	if err != nil {
		return err
	}
	c, err := newChain(o, w)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	if err := c.ask(ctx, pr); err != nil {
		return err
	}
	var truth *evaluation
	if w.Generated || o.evaluate {
		if truth, err = c.evaluate(ctx, pr); err != nil {
			return err
		}
	}
	if o.out != "" {
		if err := c.write(o.out, truth); err != nil {
			return err
		}
	}
	if err := c.print(stdout, truth); err != nil {
		return err
	}
	if w := c.weak(); w != nil {
		fmt.Fprintf(stderr, "simulation: warning: %s %s\n", w.Head, w.Text)
	}
	return nil
}

// world makes the chain up, or reads it.
func world(ctx context.Context, o options, pr progress) (*retail.World, error) {
	if o.data == "" {
		defer pr.spin("making up the chain")()
		w, err := retail.Generate(retail.Params{
			Stores: o.stores, Members: o.members, Lists: o.lists, Sales: o.lists, Seed: o.seed,
		})
		if err != nil {
			return nil, fmt.Errorf("make up the chain: %w", err)
		}
		return w, nil
	}
	read, done := pr.read("reading " + o.data)
	defer done()
	w, err := retail.Load(ctx, o.data, retail.LoadOptions{Format: o.format, Level: o.level, Demand: o.demand, Epoch: o.epoch, Progress: read})
	if err != nil {
		return nil, fmt.Errorf("-data %s: %w", o.data, cause(err))
	}
	return w, nil
}

// A chain is a world with its nodes and coordinator.
type chain struct {
	*plan
	o           options
	world       *retail.World
	nodes       []*federated.Node // of all stores, in the order of the world
	dropped     map[federated.NodeID]bool
	coordinator *federated.Coordinator
	transport   *countingTransport
	ledger      dp.Ledger
	left        dp.Budget // after all questions
	more        int64     // how many more runs of that cost fit
	items       map[string]retail.Item
	stores      map[federated.NodeID]string // names
	replaced    bool                        // -out held a former result
}

// newChain builds the nodes and the coordinator, and the questions, which are all
// that the nodes allow.
func newChain(o options, w *retail.World) (*chain, error) {
	p, err := newPlan(o, w)
	if err != nil {
		return nil, err
	}
	c := &chain{
		plan: p, o: o, world: w, dropped: drop(w.Stores, o.drop, o.seed),
		items: map[string]retail.Item{}, stores: map[federated.NodeID]string{},
	}
	for _, i := range w.Items {
		c.items[i.ID] = i
	}
	var queries []federated.Query
	for _, a := range p.asks() {
		queries = append(queries, a.query)
	}
	if c.ledger, err = openLedger(o); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.close())
		}
	}()
	keys, secret, err := secrets(o, w.Epoch)
	if err != nil {
		return nil, err
	}
	inventory := federated.Perpetual
	if tellsStock(o, w) {
		inventory = federated.Independent
	}
	var up []*federated.Node
	for _, s := range w.Stores {
		c.stores[s.ID] = s.Name
		n, err := federated.NewNode(federated.NodeConfig{
			ID: s.ID, Epoch: w.Epoch, Lists: s.Lists, Sales: s.Sales, Memberships: s.Memberships,
			Inventory: inventory(s.Inventory),
			Pseudonym: keys.Scope("demand", w.Epoch), // one member, one pseudonym, at all stores
			Secret:    secret,
			Allow:     federated.AllowQueries(queries...),
		})
		if err != nil {
			return nil, err
		}
		c.nodes = append(c.nodes, n)
		if !c.dropped[s.ID] {
			up = append(up, n)
		}
	}
	c.transport = &countingTransport{Transport: federated.InProcess(up...)}
	c.coordinator, err = federated.NewCoordinator(federated.CoordinatorConfig{
		Transport: c.transport, Ledger: c.ledger, Deadline: time.Hour, // the nodes are all here
	})
	return c, err
}

// drop chooses the stores that will not answer: at least one, if any.
func drop(stores []retail.Store, fraction float64, seed uint64) map[federated.NodeID]bool {
	out := map[federated.NodeID]bool{}
	ids := make([]federated.NodeID, len(stores))
	for i, s := range stores {
		ids[i] = s.ID
	}
	slices.Sort(ids)
	n := int(math.Round(fraction * float64(len(ids))))
	if fraction > 0 {
		n = max(n, 1)
	}
	rand.New(rand.NewPCG(seed, 0xd409)).Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
	for _, id := range ids[:n] {
		out[id] = true
	}
	return out
}

// ask runs the rounds, if the budget is enough for all of them.
func (c *chain) ask(ctx context.Context, pr progress) error {
	if err := c.affordable(ctx); err != nil {
		return err
	}
	for _, a := range c.asks() {
		step, done := pr.start("asking for "+a.title, len(c.nodes)-len(c.dropped))
		c.transport.answered = step
		var err error
		a.release, err = c.coordinator.Run(ctx, a.query)
		done()
		if err != nil {
			return c.tooManyDropped(err)
		}
	}
	var err error
	if c.left, err = c.ledger.Left(ctx, c.world.Epoch, string(c.world.Unit)); err != nil {
		return err
	}
	c.more, err = ledger.HowMany(ctx, c.ledger, c.charge(c.asks()))
	return err
}

// tooManyDropped adds to an error that it comes from -drop, if it does.
func (c *chain) tooManyDropped(err error) error {
	stores, dropped := len(c.nodes), len(c.dropped)
	var below *federated.QuorumError
	if most := stores - quorum(stores); errors.As(err, &below) && dropped > most {
		return fmt.Errorf("%w; -drop %g takes %d of %s; at most %d may drop", err, c.o.drop, dropped, count(stores, "store", "stores"), most)
	}
	return err
}

// spent is what all releases cost together, as the ledger adds.
func (c *chain) spent() dp.Budget {
	var b dp.Budget
	for _, a := range c.asks() {
		cost := a.label().Cost
		b = dp.Budget{Epsilon: b.Epsilon + cost.Epsilon, Delta: b.Delta + cost.Delta}
	}
	return b
}

// itemName is an item as people call it.
func (c *chain) itemName(id string) string {
	if name := c.items[id].Name; name != "" {
		return name
	}
	return id
}

// storeName is a store as people call it.
func (c *chain) storeName(id federated.NodeID) string {
	if id == "*" {
		return "whole chain"
	}
	if name := c.stores[id]; name != "" {
		return name
	}
	return string(id)
}

// netDemand says whether the released values are net demand, or demand alone
// because there is no inventory that may be told.
func (c *chain) netDemand() bool { return tellsStock(c.o, c.world) }

func (c *chain) person() string { return person(c.o) }

// unit says what one neighbour more or less means.
func (c *chain) unit() string {
	switch c.world.Unit {
	case federated.UnitMember:
		return "member, with everything she does at all stores"
	case federated.UnitMemberAtNode:
		return c.person() + " at one store (of an anonymous sale: the sale)"
	case federated.UnitList:
		return "shopping list"
	}
	return "sale, the whole basket"
}

// worst returns the n cells of the highest values.
func worst(r *federated.Release, n int) []federated.Cell {
	cells := slices.Collect(r.Cells())
	sortBy(cells, func(c federated.Cell) int64 { return -c.Value })
	return cells[:min(n, len(cells))]
}

// A luck is what noise alone does among many values: with 95 % none of them is
// moved by more than half. Whoever looks for the highest of many values finds
// the luckiest noise, too, which an interval for one value does not say.
type luck struct {
	values int
	half   int64
}

// luck is that of all values of a release, or of its totals.
func (c *chain) luck(a *ask, totals bool) luck {
	cells, terms, known := a.release.Cells(), 1, a.label().Noise.Half
	if totals {
		cells, terms, known = a.release.Totals(), a.label().Coverage.Answered, a.label().Totals.Half
	}
	var l luck
	for range cells {
		l.values++
	}
	l.half = known
	// All noises are independent, so that a union bound is all but exact.
	if half, _, err := a.query.Noise().Interval(terms, 1-(1-federated.Confidence)/float64(max(l.values, 1))); err == nil {
		l.half = half
	}
	return l
}

// luckOfTotals is that of the chain totals, wherever they come from.
func (c *chain) luckOfTotals() luck {
	if c.totals != nil {
		return c.luck(c.totals, false)
	}
	if c.demand.label().Totals == nil {
		return luck{}
	}
	return c.luck(c.demand, true)
}

func chanceWords(l luck) string {
	return fmt.Sprintf("A pale bar may be noise alone: the largest noise of %s exceeds ± %s in one run of twenty.", count(l.values, "value", "values"), group(l.half))
}

// sortBy sorts by a number and leaves equals as they were.
func sortBy[T any](s []T, by func(T) int64) {
	slices.SortStableFunc(s, func(a, b T) int { return cmp.Compare(by(a), by(b)) })
}

// A countingTransport tells of every answer.
type countingTransport struct {
	federated.Transport
	answered func()
}

// Exchange implements federated.Transport.
func (t *countingTransport) Exchange(ctx context.Context, out []federated.Message, deliver func(federated.Message)) error {
	return t.Transport.Exchange(ctx, out, func(m federated.Message) {
		deliver(m)
		t.answered()
	})
}
