package main

import (
	"fmt"
	"math"
	"slices"

	"github.com/larder-dp/larder/dp"
	"github.com/larder-dp/larder/examples/internal/retail"
	"github.com/larder-dp/larder/federated"
)

// An ask is one question of the run, and its answer.
type ask struct {
	title   string
	query   federated.Query
	release *federated.Release // nil until it was asked
}

func (a *ask) label() federated.Label { return a.release.Label() }

// A plan is what is asked, all under one privacy unit, so that the costs add up
// to one claim.
type plan struct {
	demand  *ask // per store and item
	totals  *ask // chain totals; nil where they are sums of released cells
	members *ask // per store and segment; nil where nobody has a name
	maxNode int64
}

// asks are the questions in the order in which they are asked.
func (p *plan) asks() []*ask {
	var out []*ask
	for _, a := range []*ask{p.demand, p.totals, p.members} {
		if a != nil {
			out = append(out, a)
		}
	}
	return out
}

// newPlan makes the questions. What it refuses comes from the flags.
func newPlan(o options, w *retail.World) (*plan, error) {
	p := &plan{maxNode: o.maxNodes}
	oneNode := w.Unit == federated.UnitMemberAtNode || w.Unit == federated.UnitSale
	switch {
	case p.maxNode == 0: // no more than a unit can have: each one more is more noise
		p.maxNode = int64(min(2, max(w.Homes, 1)))
	case p.maxNode != 1 && oneNode:
		return nil, fmt.Errorf("-max-nodes %d: the privacy unit of this data is %s, which lives at one store: give 1 or leave it out (%w)", p.maxNode, w.Unit, errFlags)
	}
	// Data may name stores that are not in the roster: then the first two that a
	// list prefers are more than there are.
	if p.maxNode > int64(w.Homes) {
		if err := checkMaxNodes(p.maxNode, len(w.Stores)); err != nil {
			return nil, fmt.Errorf("%w (%w)", err, errFlags)
		}
	}
	selects := o.level == levelProduct
	share := budgets(dp.Budget{Epsilon: o.epsilon, Delta: o.delta}, weights(selects, w.HasMembers))
	params := func(p part) dp.Params {
		return dp.Params{Epsilon: share[p].Epsilon, Delta: share[p].Delta, Mechanism: o.mechanism}
	}
	question := federated.Question{
		Unit: w.Unit, Trust: federated.TrustedCoordinator, Epoch: w.Epoch, Window: w.Window,
		Round:  o.round,
		Quorum: quorum(len(w.Stores)),
	}
	for _, s := range w.Stores {
		question.Stores = append(question.Stores, s.ID)
	}

	demand := question
	for _, i := range w.Items {
		demand.Partitions = append(demand.Partitions, i.ID)
	}
	demand.From, demand.Privacy = o.demand, params(partDemand)
	demand.Bounds = dp.Bounds{L0: o.maxItems, LInf: o.maxQuantity, L1: o.maxTotal, MaxNodes: p.maxNode}
	totals := demand
	if selects {
		demand.Select = params(partSelection)
		demand.Select.Mechanism = dp.Auto // selection has one of its own
		totals.Cells, totals.Privacy = federated.Chain, params(partTotals)
	}
	var err error
	what := "net demand"
	if !tellsStock(o, w) {
		what = "demand"
	}
	p.demand = &ask{title: what + " per store"}
	if p.demand.query, err = federated.NetDemand(demand); err != nil {
		return nil, o.refusal(err)
	}
	if selects {
		p.totals = &ask{title: what + " of the chain"}
		if p.totals.query, err = federated.NetDemand(totals); err != nil {
			return nil, o.refusal(err)
		}
	}
	if !w.HasMembers {
		return p, nil
	}
	members := question
	members.Partitions, members.From, members.Privacy = w.Segments, w.MembersFrom, params(partMembers)
	// A member has one segment and counts once in it.
	members.Bounds = dp.Bounds{L0: 1, LInf: 1, L1: 1, MaxNodes: p.maxNode}
	p.members = &ask{title: person(o) + "s per store"}
	if p.members.query, err = federated.MemberCount(members); err != nil {
		return nil, o.refusal(err)
	}
	return p, nil
}

// tellsStock says whether the stores have an inventory that a release may carry.
// Beside sales, made-up stock is what stands on the shelf: every sale moves it,
// and two releases of it would give exact sales away. That of -data is declared
// independent by whoever runs this.
func tellsStock(o options, w *retail.World) bool {
	if w.Generated && o.demand == federated.Sales {
		return false
	}
	return slices.ContainsFunc(w.Stores, func(s retail.Store) bool { return s.Inventory != nil })
}

// person is what a privacy unit's owner is called.
func person(o options) string {
	if o.format == formatJourney {
		return "household"
	}
	return "member"
}

// reach is what holds, over all releases of the run, for a member who is seen
// at several stores, where the unit is a member at one store.
func (p *plan) reach() []federated.Reach {
	var out []federated.Reach
	for _, a := range p.asks() {
		for i, r := range a.label().Reach {
			if i == len(out) {
				out = append(out, federated.Reach{Nodes: r.Nodes})
			}
			out[i].Cost.Epsilon = addUp(out[i].Cost.Epsilon, r.Cost.Epsilon)
			out[i].Cost.Delta = min(addUp(out[i].Cost.Delta, r.Cost.Delta), 1)
		}
	}
	return out
}

// addUp adds amounts of privacy loss, rounded up.
func addUp(a, b float64) float64 {
	if a == 0 || b == 0 {
		return a + b
	}
	return math.Nextafter(a+b, math.Inf(1))
}
