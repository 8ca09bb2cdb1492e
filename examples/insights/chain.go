package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"slices"
	"time"

	"github.com/larder-dp/larder/dp"
	"github.com/larder-dp/larder/examples/internal/retail"
	"github.com/larder-dp/larder/federated"
	"github.com/larder-dp/larder/pseudonym"
)

// A chain is a world with its nodes and coordinator.
type chain struct {
	o           options
	world       *retail.World
	window      federated.Window
	stores      []federated.NodeID
	bins        int // of a sketch
	localBins   int // of one that is flipped: twice the members of few stores
	coordinator *federated.Coordinator
	spent       []spending
}

// A spending is one question that was paid for.
type spending struct {
	title string
	label federated.Label
}

// The year of the Complete Journey, in the time of its stores.
var journeyYear = federated.Window{
	From: time.Date(2017, 1, 1, 0, 0, 0, 0, time.FixedZone("", -5*3600)),
	To:   time.Date(2018, 1, 1, 0, 0, 0, 0, time.FixedZone("", -5*3600)),
}

// The chain's own bounds, fixed before the data.
const (
	mostBins  = 1 << 18 // of a sketch
	mostHomes = 2       // stores at which a member counts, where homes are known
	few       = 3       // stores whose sketches are flipped
	questions = 12      // of ε each; under local trust a member pays once more for each home
)

func newChain(ctx context.Context, o options) (*chain, error) {
	c := &chain{o: o, window: journeyYear}
	var err error
	if o.data == "" {
		c.world, err = retail.Generate(retail.Params{Stores: o.stores, Members: o.members, Sales: 8 * o.members, Seed: o.seed})
	} else {
		c.world, err = retail.Load(ctx, o.data, retail.LoadOptions{Format: retail.FormatCompleteJourney, Level: retail.LevelDepartment})
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("-data %s: %w (%w)", o.data, err, errFlags)
	case err != nil:
		return nil, err
	case c.world.Generated:
		c.window = c.world.Window
	}
	c.bins, c.localBins = 1<<16, 1<<10 // for some thousands in all, and some hundreds at three stores
	if c.world.Generated {
		c.bins = min(max(16*o.members/64*64, 1<<10), mostBins)
		c.localBins = max(12*o.members/o.stores/64*64, 1<<10)
	}
	return c, c.start()
}

// start makes the nodes, each with a ledger of its own, and the coordinator.
func (c *chain) start() error {
	keys, err := pseudonym.Generate("insights", c.world.Epoch)
	if err != nil {
		return err
	}
	w := c.world
	scope := keys.Scope("insights", w.Epoch)
	homes := &federated.Homes{Epoch: w.Epoch, MaxNodes: max(w.Homes, 1), Pseudonym: scope}
	if err := register(w, homes); err != nil {
		return err
	}
	all := math.Nextafter((questions+mostHomes)*c.o.epsilon, math.Inf(1)) // a rounded product may be below the sum
	budget := dp.Budget{Epsilon: all, Delta: c.o.delta}
	allowed := federated.Limits{
		Budget: dp.Budget{Epsilon: mostHomes * c.o.epsilon, Delta: c.o.delta},
		Units:  []federated.Unit{w.Unit}, MinQuorum: 1,
		Trusts: []federated.Trust{federated.TrustedCoordinator, federated.Local},
	}
	policy := federated.Policy{Names: map[string]federated.Limits{}}
	for _, name := range []string{"member_count/1", "distinct_members/1", "rfm_histograms/1", "rfm_scores/1", "spend/1"} {
		policy.Names[name] = allowed
	}
	var nodes []*federated.Node
	for _, s := range w.Stores {
		ledger, err := dp.NewMemoryLedger(budget)
		if err != nil {
			return err
		}
		n, err := federated.NewNode(federated.NodeConfig{
			ID: s.ID, Epoch: w.Epoch, Sales: s.Sales, Memberships: homes.At(s.ID),
			Pseudonym: scope, Ledger: ledger, Allow: policy, MaxNodes: mostHomes,
		})
		if err != nil {
			return err
		}
		nodes = append(nodes, n)
		c.stores = append(c.stores, s.ID)
	}
	ledger, err := dp.NewMemoryLedger(budget)
	if err != nil {
		return err
	}
	c.coordinator, err = federated.NewCoordinator(federated.CoordinatorConfig{
		Transport: federated.InProcess(nodes...), Ledger: ledger, Deadline: time.Hour, // the nodes are all here
	})
	return err
}

// register enters everyone that the stores know in the membership service's book.
func register(w *retail.World, homes *federated.Homes) error {
	for _, s := range w.Stores {
		if s.Memberships == nil {
			continue
		}
		for r, err := range s.Memberships {
			if err != nil {
				return err
			}
			if err := homes.Register(r); err != nil {
				return err
			}
		}
	}
	return nil
}

// question is what all questions share.
func (c *chain) question(from federated.Kind, stores []federated.NodeID) federated.Question {
	q := federated.Question{
		Stores: stores, From: from, Unit: c.world.Unit, Trust: federated.TrustedCoordinator,
		Epoch: c.world.Epoch, Window: c.window, Quorum: len(stores),
		Privacy: dp.Params{Epsilon: c.o.epsilon, Mechanism: dp.DiscreteLaplace},
		Bounds:  dp.Bounds{L0: 1, LInf: 1, L1: 1, MaxNodes: 1},
	}
	if q.Unit == federated.UnitMember {
		q.Bounds.MaxNodes = min(mostHomes, int64(c.world.Homes))
	}
	return q
}

// ask runs one round and notes what it cost. The query may come with the error of making
// it.
func (c *chain) ask(ctx context.Context, title string, q federated.Query, err error) (*federated.Release, error) {
	if err != nil {
		return nil, fmt.Errorf("%s: %w (%w)", title, err, errFlags)
	}
	r, err := c.coordinator.Run(ctx, q)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", title, err)
	}
	c.spent = append(c.spent, spending{title, r.Label()})
	return r, nil
}

// distinct asks for the different members who bought at some of the stores.
func (c *chain) distinct(ctx context.Context, title string, stores ...federated.NodeID) (*federated.Release, error) {
	q := c.question(federated.Sales, stores)
	q.Bounds = dp.Bounds{} // wherever she is: no homes are needed
	query, err := federated.DistinctMembers(q, c.bins)
	return c.ask(ctx, title, query, err)
}

// truth is who bought where, for a generated chain or under -evaluate only; else nil.
func (c *chain) truth() (map[federated.NodeID]map[string]bool, error) {
	if !c.world.Generated && !c.o.evaluate {
		return nil, nil
	}
	out := map[federated.NodeID]map[string]bool{}
	for _, s := range c.world.Stores {
		out[s.ID] = map[string]bool{}
		if s.Sales == nil {
			continue
		}
		for r, err := range s.Sales {
			if err != nil {
				return nil, err
			}
			if r.Member != "" {
				out[s.ID][r.Member] = true
			}
		}
	}
	return out, nil
}

// union counts the different members of some stores, and their sum.
func union(seen map[federated.NodeID]map[string]bool, stores []federated.NodeID) (distinct, sum int) {
	all := map[string]bool{}
	for _, s := range stores {
		for m := range seen[s] {
			all[m] = true
		}
		sum += len(seen[s])
	}
	return len(all), sum
}

// A noisedCount is a store's members over all segments.
type noisedCount struct {
	members int64
	stdDev  float64
}

// largest are the stores in the order of their released counts, which is public: to choose
// by the true ones would tell of them without noise.
func largest(counts *federated.Release) ([]federated.NodeID, map[federated.NodeID]noisedCount) {
	var stores []federated.NodeID
	noised := map[federated.NodeID]noisedCount{}
	for cell := range counts.Cells() {
		n, ok := noised[cell.Store]
		if !ok {
			stores = append(stores, cell.Store)
		}
		noised[cell.Store] = noisedCount{n.members + cell.Value, math.Hypot(n.stdDev, cell.StdDev)}
	}
	slices.SortStableFunc(stores, func(a, b federated.NodeID) int { return cmp.Compare(noised[b].members, noised[a].members) })
	return stores, noised
}
