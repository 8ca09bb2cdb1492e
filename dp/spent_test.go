package dp

import (
	"fmt"
	"math"
	"math/big"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// TestSpentRounds: Left never rounds up, Total never down, and both are off by
// less than one float64.
func TestSpentRounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s Spent
		sum := new(big.Rat)
		for _, x := range rapid.SliceOfN(rapid.Float64Range(0, 1e6), 1, 20).Draw(t, "costs") {
			n := rapid.Int64Range(0, 5).Draw(t, "count")
			s.Add(Charge{Cost: Budget{Epsilon: x}, Count: n})
			part := new(big.Rat).SetFloat64(x)
			sum.Add(sum, part.Mul(part, new(big.Rat).SetInt64(max(n, 1))))
		}
		total := s.Total(Budget{}).Epsilon
		if new(big.Rat).SetFloat64(total).Cmp(sum) < 0 || total > 0 && new(big.Rat).SetFloat64(math.Nextafter(total, 0)).Cmp(sum) >= 0 {
			t.Fatalf("total is %v", total)
		}
		allowed := rapid.Float64Range(0, 1e8).Draw(t, "allowed")
		rest := new(big.Rat).Sub(new(big.Rat).SetFloat64(allowed), sum)
		left := s.Left(Budget{Epsilon: allowed}).Epsilon
		if rest.Sign() <= 0 {
			if left != 0 {
				t.Fatalf("left is %v of nothing", left)
			}
			return
		}
		if new(big.Rat).SetFloat64(left).Cmp(rest) > 0 || new(big.Rat).SetFloat64(math.Nextafter(left, math.Inf(1))).Cmp(rest) <= 0 {
			t.Fatalf("left is %v", left)
		}
	})
}

func TestSpentReaches(t *testing.T) {
	var s Spent
	assert.False(t, s.Reaches(0.8, Budget{}), "there is no part of nothing")
	s.Add(charge(1, Budget{Epsilon: 0.5, Delta: 1e-7}))
	assert.True(t, s.Reaches(0.5, Budget{Epsilon: 1}))
	assert.False(t, s.Reaches(0.5, Budget{Epsilon: math.Nextafter(1, 2)}))
	assert.True(t, s.Reaches(0.5, Budget{Epsilon: 100, Delta: 2e-7}), "one of the two is enough")
	assert.False(t, s.Reaches(math.NaN(), Budget{Epsilon: 1}))
}

func TestBudgetErrorSaysWhatPasses(t *testing.T) {
	var s Spent
	s.Add(charge(1, Budget{Epsilon: 0.5}))
	c := charge(2, Budget{Epsilon: 0.125})
	c.Count = 8
	var e *BudgetError
	require.ErrorAs(t, s.Check(c, Budget{Epsilon: 1}), &e)
	assert.Equal(t, int64(4), e.Repetitions)
	assert.Equal(t, 0.0625, e.Largest.Epsilon)
	assert.ErrorContains(t, e, "asked for ε=0.125 δ=0 8 times, left ε=0.5 δ=0: ask for no more than 4 repetitions, or ε=0.0625 δ=0 in each, or wait for the next epoch's data")
	c.Cost.Epsilon = 0.75
	require.ErrorAs(t, s.Check(c, Budget{Epsilon: 1}), &e)
	assert.ErrorContains(t, e, "ask for no more than ε=0.0625 δ=0 in each")
	require.ErrorAs(t, s.Check(charge(3, Budget{Epsilon: 1}), Budget{Epsilon: 1}), &e)
	assert.ErrorContains(t, e, "ask for no more than what is left, or")
	c = charge(3, Budget{Epsilon: 2})
	c.Events = []Event{{Mechanism: Gaussian, Scale: 1, L2: 1, Count: 1}}
	require.ErrorAs(t, Rule{Name: ruleZCDP}.Spent().Check(c, Budget{Epsilon: 1, Delta: 1e-6}), &e)
	assert.ErrorContains(t, e, fmt.Sprintf("ask for no more than ε=%g δ=0, or", e.Largest.Epsilon), "by zcdp what is left is that of another mechanism")
	require.ErrorAs(t, s.Check(charge(3, Budget{Epsilon: 1}), Budget{Epsilon: math.NaN()}), &e, "a budget that is no number allows nothing")
	assert.Error(t, s.Check(charge(3, Budget{Epsilon: math.NaN()}), Budget{Epsilon: 1}))
}
