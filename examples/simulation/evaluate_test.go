package main

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/larder-dp/larder/federated"
)

func TestKeepWorst(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 200 {
		var all, kept []spot
		for range random.IntN(40) {
			s := spot{federated.NodeID(fmt.Sprint(random.IntN(5))), fmt.Sprint(random.IntN(100_000)), random.Int64N(8)}
			all, kept = append(all, s), keepWorst(kept, s)
		}
		slices.SortFunc(all, func(a, b spot) int {
			return cmp.Or(cmp.Compare(b.value, a.value), cmp.Compare(a.store, b.store), cmp.Compare(a.partition, b.partition))
		})
		assert.Equal(t, all[:min(ten, len(all))], kept)
	}
}

// TestTruthByTwoWays: where no bound binds, what the nodes bound and what exact
// adds up are the same.
func TestTruthByTwoWays(t *testing.T) {
	for _, demand := range []federated.Kind{federated.Lists, federated.Sales} {
		o := defaults
		o.stores, o.members, o.lists, o.demand = 3, 200, 400, demand
		o.maxItems, o.maxQuantity, o.maxNodes = 200, 1000, 3
		o.maxTotal = o.maxItems * o.maxQuantity
		w, err := world(t.Context(), o, progress{})
		require.NoError(t, err)
		c, err := newChain(o, w)
		require.NoError(t, err)
		require.NoError(t, c.ask(t.Context(), progress{}))
		e, err := c.evaluate(t.Context(), progress{})
		require.NoError(t, err)
		assert.Equal(t, e.clipping.full, e.clipping.kept, demand)
		assert.Equal(t, e.distances[0].fromBounded, e.distances[0].fromFull)
		assert.Equal(t, e.hits, e.hitsBounded)
		assert.Zero(t, e.clipping.cutOff)
		assert.Positive(t, e.clipping.full)
	}
}
