package main

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/larder-dp/larder/examples/internal/retail"
	"github.com/larder-dp/larder/federated"
)

// An evaluation compares the releases with the truth. All of it is exact facts
// about records: it is for a simulation, or for the owner of all the data, and
// is never published.
type evaluation struct {
	distances []distance
	// hits is how many of the ten cells that are really the worst are among the
	// ten worst of the release; hitsBounded, of those that are the worst after
	// bounding.
	hits, hitsBounded, of int
	clipping              clipping
	// selected of nonEmpty cells were published, where cells are selected.
	selected, nonEmpty int
}

// A distance compares the values of one release with what they stand for.
type distance struct {
	title string
	cells int
	// inside is the number of intervals that contain the bounded truth; law is
	// the probability that the noise's distribution gives to that, exactly.
	inside int
	law    float64
	// fromBounded and fromFull are mean absolute errors: from the truth after
	// contribution bounding, which is what the noise hides, and from the full
	// truth; fromFull is negative where there is none to compare with.
	fromBounded, fromFull float64
}

// share is the share of intervals that contain the bounded truth.
func (d distance) share() float64 { return float64(d.inside) / float64(d.cells) }

// clipping is what the bounds of the demand query took, in pieces over all
// stores that answered.
type clipping struct {
	full          int64 // every line of every record
	capped        int64 // what is left by max-nodes and max-quantity
	kept          int64 // what is left by max-items and max-total on top
	units, cutOff int64 // privacy units; those that max-items or max-total cut
}

// facts are one store's exact vectors over the sorted partitions of a query.
type facts struct {
	bounded, full, inventory []int64
	audit                    federated.Audit
}

// evaluate computes the truth at every store, and compares.
func (c *chain) evaluate(ctx context.Context, pr progress) (*evaluation, error) {
	e := &evaluation{}
	if err := c.evaluateDemand(ctx, pr, e); err != nil {
		return nil, fmt.Errorf("compare with the truth: %w", err)
	}
	if c.totals != nil {
		if err := c.evaluateTotals(ctx, pr, e); err != nil {
			return nil, fmt.Errorf("compare totals with the truth: %w", err)
		}
	}
	if c.members != nil {
		if err := c.evaluateMembers(ctx, pr, e); err != nil {
			return nil, fmt.Errorf("compare members with the truth: %w", err)
		}
	}
	return e, nil
}

// A spot is a cell by its place, with its true value.
type spot struct {
	store     federated.NodeID
	partition string
	value     int64
}

func (c *chain) evaluateDemand(ctx context.Context, pr progress, e *evaluation) error {
	q := c.demand.query
	partitions := q.Question().Partitions
	at := index(partitions)
	rows := map[federated.NodeID][]federated.Cell{}
	for cell := range c.demand.release.Cells() {
		rows[cell.Store] = append(rows[cell.Store], cell)
	}
	net := c.netDemand()
	perStore, totals := meter{title: c.demand.title}, meter{title: "chain totals, added up"}
	sumBounded, sumFull := make([]int64, len(partitions)), make([]int64, len(partitions))
	var spots, boundedSpots []spot
	err := c.each(ctx, pr, q, at, func(i int, f facts) {
		id := c.world.Stores[i].ID
		for p, v := range f.full {
			var stock int64
			if net {
				stock = f.inventory[p]
			}
			spots = keepWorst(spots, spot{id, partitions[p], v - stock})
			boundedSpots = keepWorst(boundedSpots, spot{id, partitions[p], f.bounded[p] - stock})
		}
		if c.dropped[id] {
			return
		}
		for _, cell := range rows[id] {
			p := at[cell.Partition]
			perStore.add(cell, f.bounded[p], f.full[p])
		}
		for p := range partitions {
			sumBounded[p] += f.bounded[p]
			sumFull[p] += f.full[p]
			if f.bounded[p] > 0 {
				e.nonEmpty++
			}
			e.clipping.full += f.full[p]
		}
		e.clipping.capped += f.audit.Capped
		e.clipping.kept += f.audit.Kept
		e.clipping.units += f.audit.Units
		e.clipping.cutOff += f.audit.UnitsCut
	})
	if err != nil {
		return err
	}
	e.selected = perStore.cells
	e.distances = append(e.distances, perStore.done(c.demand.label().Noise.Coverage))
	if bar := c.demand.label().Totals; bar != nil {
		for cell := range c.demand.release.Totals() {
			p := at[cell.Partition]
			totals.add(cell, sumBounded[p], sumFull[p])
		}
		e.distances = append(e.distances, totals.done(bar.Coverage))
	}
	shown := map[spot]bool{}
	for _, cell := range worst(c.demand.release, ten) {
		shown[spot{store: cell.Store, partition: cell.Partition}] = true
	}
	hits := func(spots []spot) (n int) {
		for _, s := range spots {
			if shown[spot{store: s.store, partition: s.partition}] {
				n++
			}
		}
		return n
	}
	e.of, e.hits, e.hitsBounded = len(spots), hits(spots), hits(boundedSpots)
	return nil
}

// ten is how many shortages are printed.
const ten = 10

// keepWorst adds a spot to the ten of the highest values, in order. Ties go by
// place, so that the same world has the same ten.
func keepWorst(s []spot, next spot) []spot {
	order := func(a, b spot) int {
		return cmp.Or(cmp.Compare(b.value, a.value), cmp.Compare(a.store, b.store), cmp.Compare(a.partition, b.partition))
	}
	if len(s) == ten && order(next, s[ten-1]) >= 0 {
		return s
	}
	at, _ := slices.BinarySearchFunc(s, next, order)
	s = slices.Insert(s, at, next)
	return s[:min(ten, len(s))]
}

func (c *chain) evaluateTotals(ctx context.Context, pr progress, e *evaluation) error {
	partitions := c.totals.query.Question().Partitions
	at := index(partitions)
	bounded, full := make([]int64, len(partitions)), make([]int64, len(partitions))
	err := c.each(ctx, pr, c.totals.query, at, func(i int, f facts) {
		if c.dropped[c.world.Stores[i].ID] {
			return
		}
		for p := range partitions {
			bounded[p] += f.bounded[p]
			full[p] += f.full[p]
		}
	})
	m := meter{title: c.totals.title}
	for cell := range c.totals.release.Cells() {
		m.add(cell, bounded[at[cell.Partition]], full[at[cell.Partition]])
	}
	e.distances = append(e.distances, m.done(c.totals.label().Noise.Coverage))
	return err
}

func (c *chain) evaluateMembers(ctx context.Context, pr progress, e *evaluation) error {
	at := index(c.members.query.Question().Partitions)
	rows := map[federated.NodeID][]federated.Cell{}
	for cell := range c.members.release.Cells() {
		rows[cell.Store] = append(rows[cell.Store], cell)
	}
	m := meter{title: c.members.title}
	err := c.each(ctx, pr, c.members.query, at, func(i int, f facts) {
		for _, cell := range rows[c.world.Stores[i].ID] {
			m.add(cell, f.bounded[at[cell.Partition]], -1)
		}
	})
	d := m.done(c.members.label().Noise.Coverage)
	d.fromFull = -1
	e.distances = append(e.distances, d)
	return err
}

// A meter collects a distance.
type meter struct {
	title                    string
	cells, inside            int
	sumFromBounded, sumFully float64
}

// add compares a cell with its true sums. Inventory is in both and cancels out.
func (m *meter) add(cell federated.Cell, bounded, full int64) {
	off := abs(cell.Noised - bounded)
	m.cells++
	if off <= cell.High-cell.Value {
		m.inside++
	}
	m.sumFromBounded += float64(off)
	m.sumFully += float64(abs(cell.Noised - full))
}

func (m *meter) done(law float64) distance {
	n := float64(max(m.cells, 1))
	return distance{m.title, m.cells, m.inside, law, m.sumFromBounded / n, m.sumFully / n}
}

// each calls f with the facts of every store, one call at a time, in any order.
func (c *chain) each(ctx context.Context, pr progress, q federated.Query, at map[string]int, f func(i int, of facts)) error {
	step, done := pr.start("comparing with the truth", len(c.nodes))
	defer done()
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(8)
	turn := make(chan struct{}, 1)
	for i, n := range c.nodes {
		g.Go(func() error {
			a, err := n.Audit(ctx, q)
			if err != nil {
				return err
			}
			of := facts{bounded: a.Values, audit: a}
			if q.Name() == c.demand.query.Name() {
				if of.full, err = exact(c.world.Stores[i], q.Question(), at); err != nil {
					return err
				}
				if of.inventory, err = stock(c.world.Stores[i].Inventory, at); err != nil {
					return err
				}
			}
			turn <- struct{}{}
			f(i, of)
			<-turn
			step()
			return nil
		})
	}
	return g.Wait()
}

// exact sums up the demand that a store's records name, with no bounds, no
// homes and no units: what a chain without privacy would compute. It shares no
// code with the nodes.
func exact(s retail.Store, q federated.Question, at map[string]int) ([]int64, error) {
	out := make([]int64, len(at))
	records := s.Lists
	if q.From == federated.Sales {
		records = s.Sales
	}
	if records == nil {
		return out, nil
	}
	for r, err := range records {
		if err != nil {
			return nil, fmt.Errorf("read %s of %s: %w", q.From, s.ID, err)
		}
		early := !q.Window.From.IsZero() && r.Time.Before(q.Window.From)
		late := !q.Window.To.IsZero() && !r.Time.Before(q.Window.To)
		if !r.Time.IsZero() && (early || late) || len(r.Stores) > 0 && !slices.Contains(r.Stores, s.ID) {
			continue
		}
		for _, l := range r.Lines {
			if p, ok := at[l.Item]; ok {
				out[p] += max(l.Quantity, 0)
			}
		}
	}
	return out, nil
}

func stock(items iter.Seq2[federated.Stock, error], at map[string]int) ([]int64, error) {
	out := make([]int64, len(at))
	if items == nil {
		return out, nil
	}
	for s, err := range items {
		if err != nil {
			return nil, fmt.Errorf("read inventory: %w", err)
		}
		if p, ok := at[s.Item]; ok {
			out[p] += s.Quantity
		}
	}
	return out, nil
}

func index(partitions []string) map[string]int {
	out := make(map[string]int, len(partitions))
	for i, p := range partitions {
		out[p] = i
	}
	return out
}

func abs(x int64) int64 { return max(x, -x) }
