package retail

import (
	"math/rand/v2"

	"github.com/larder-dp/larder/federated"
)

// All in whole numbers: floating point may round differently on another
// machine, and a seed must give the same world everywhere.

// storeWeights makes the first store about three times as large as the last.
func storeWeights(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = 3*n - 2*i
	}
	return out
}

const billion = 1_000_000_000

// demandShares is for each store how many of a billion lists (or sales) will
// count there, on average.
func demandShares(p Params) []int64 {
	weights := storeWeights(p.Stores)
	var all int64
	for _, w := range weights {
		all += int64(w)
	}
	out := make([]int64, p.Stores)
	for i, w := range weights {
		out[i] = int64(w) * billion / all
		if p.Lists == 0 {
			continue // a sale is in one store
		}
		// The second home is drawn from the stores that are not the first, j:
		// Σ_j w_j/W · w_i/(W − w_j). A list names it if there is one.
		var second int64
		for j, first := range weights {
			if j != i {
				second += int64(first) * int64(w) * billion / (all * (all - int64(first)))
			}
		}
		out[i] += second * int64(100-homesShare[0]) / 100
	}
	return out
}

// stockUp plans the inventory of all stores.
func (g *generator) stockUp() {
	r := g.random("inventory")
	baskets := int64(g.Lists)
	if g.Lists == 0 {
		baskets = int64(g.Sales)
	}
	// Pieces in a basket are 16 lines of 190/90 pieces on average.
	var pieces, weight int64
	for i, w := range quantityWeights {
		pieces += int64((i + 1) * w)
		weight += int64(w)
	}
	total := baskets * (fewestLines + mostLines) / 2 * pieces / weight
	for i, share := range demandShares(g.Params) {
		s, item := g.book.store(g.ids[i]), 0
		for _, a := range aisles {
			for range a.items {
				expected := total * int64(a.weight) / int64(100*len(a.items)) * share / billion
				s.stock = append(s.stock, federated.Stock{
					Item: g.book.items[item].ID, Quantity: planStock(r, expected),
				})
				item++
			}
		}
	}
}

// planStock plans the stock of an item from its expected demand: of 100 items
// 85 are planned with a reserve of 20 to 80 %, 12 with 70 to 94 % of what will be
// asked for, and 3 were forgotten: 5 to 39 %.
func planStock(r *rand.Rand, expected int64) int64 {
	var percent int64
	switch n := r.IntN(100); {
	case n < 85:
		percent = 120 + r.Int64N(61)
	case n < 97:
		percent = 70 + r.Int64N(25)
	default:
		percent = 5 + r.Int64N(35)
	}
	return expected * percent / 100
}
