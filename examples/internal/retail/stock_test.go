package retail

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
)

// A plan that depended on a record would give it away: it is released without
// noise.
func TestInventoryDependsOnNoRecord(t *testing.T) {
	w := generate(t, small)
	g := &generator{Params: small, book: newBook(catalog())}
	for _, s := range w.Stores {
		g.ids = append(g.ids, s.ID)
	}
	g.stockUp() // nobody was registered, nothing was written or sold
	for _, s := range g.book.close(nil) {
		assert.Equal(t, stock(t, at(t, w, s.ID)), stock(t, s))
	}
}

// Stores get the share of the lists that their inventory is planned for.
func TestDemandShares(t *testing.T) {
	for _, stores := range []int{1, 2, 12, 40} {
		// In one turn each member writes once, so lists are independent draws.
		p := Params{Stores: stores, Members: 4_000, Lists: 4_000, Seed: 5}
		w := generate(t, p)
		for i, share := range demandShares(p) {
			drawn(t, fmt.Sprint("lists at store ", i), len(all(t, w.Stores[i].Lists)), p.Lists,
				float64(share)/billion, 4*stores)
		}
	}
	p := Params{Stores: 12, Members: 1, Sales: 1}
	var all int64
	for _, share := range demandShares(p) {
		all += share
	}
	assert.InDelta(t, billion, all, 12, "a sale is in one store")
}

// A visible minority of the items is short, and the worst so much that noise of
// a standard deviation of 100 pieces cannot hide it: ten of them stand clear by
// five deviations.
func TestShortages(t *testing.T) {
	w := generate(t, Params{Stores: 12, Members: 20_000, Lists: 20_000, Sales: 20_000, Seed: 1})
	var net []int64
	for _, s := range w.Stores {
		wanted, have := demand(t, s.Lists), stock(t, s)
		for _, i := range w.Items {
			net = append(net, wanted[i.ID]-have[i.ID])
		}
	}
	slices.SortFunc(net, func(a, b int64) int { return cmp.Compare(b, a) })
	short := 0
	for _, n := range net {
		if n > 0 {
			short++
		}
	}
	assert.Len(t, net, 12*133)
	assert.InDelta(t, 0.15, float64(short)/float64(len(net)), 0.05)
	assert.Greater(t, net[9], int64(500), "%v", net[:20])
}

// Without lists the plan is for the sales.
func TestShortagesOfSales(t *testing.T) {
	w := generate(t, Params{Stores: 12, Members: 5_000, Sales: 50_000, Seed: 1})
	for _, s := range w.Stores {
		ratio := float64(sum(stock(t, s))) / float64(sum(demand(t, s.Sales)))
		assert.InDelta(t, 1.35, ratio, 0.2, "store %s", s.ID)
		assert.Len(t, slices.Collect(maps.Keys(stock(t, s))), 133)
	}
}
