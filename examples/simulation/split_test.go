package main

import (
	"math"
	"math/big"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestSplitAddsUpExactly adds the shares up as a ledger does, in exact
// arithmetic.
func TestSplitAddsUpExactly(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	totals := []float64{1, 0.1, 1e-6, 1e-9, 1e6, 0.3, math.Pi, 1e-300, math.MaxFloat64, math.Nextafter(1, 0), math.Nextafter(1, 2)}
	for range 1_000 {
		totals = append(totals, math.Exp(random.Float64()*60-40))
	}
	for _, total := range totals {
		for _, selects := range []bool{false, true} {
			for _, members := range []bool{false, true} {
				w := weights(selects, members)
				shares := split(total, w)
				require.Len(t, shares, len(w))
				sum := new(big.Rat)
				for p, s := range shares {
					require.Positive(t, s, "%s of %g", p, total)
					assert.InEpsilon(t, float64(w[p])/float64(sumOf(w)), s/total, 1e-9, "%s of %g", p, total)
					sum.Add(sum, new(big.Rat).SetFloat64(s))
				}
				if selects {
					// federated charges the two as one sum, rounded up.
					pair := shares[partDemand] + shares[partSelection]
					sum.Sub(sum, new(big.Rat).SetFloat64(shares[partDemand]))
					sum.Sub(sum, new(big.Rat).SetFloat64(shares[partSelection]))
					sum.Add(sum, new(big.Rat).SetFloat64(math.Nextafter(pair, math.Inf(1))))
				}
				limit := new(big.Rat).SetFloat64(total)
				require.LessOrEqual(t, sum.Cmp(limit), 0, "over %g, selection %t, members %t", total, selects, members)
				if !selects {
					require.Zero(t, sum.Cmp(limit), "less than %g, members %t", total, members)
				}
			}
		}
	}
}

func TestSplitOfNothing(t *testing.T) {
	for p, s := range split(0, weights(true, true)) {
		assert.Zero(t, s, p)
	}
}

func sumOf(w map[part]int64) (sum int64) {
	for _, v := range w {
		sum += v
	}
	return sum
}
