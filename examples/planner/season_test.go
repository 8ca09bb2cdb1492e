package main

import (
	"fmt"
	"math"
	"math/bits"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/larder-dp/larder/dp"
)

func smallSeason(weeks int, peaks ...int) season {
	return season{
		weeks: weeks, weeksPerUnit: weeks, peaks: peaks, peakWeight: 1.7, sensitivity: 3,
		budget: dp.Budget{Epsilon: 1, Delta: 1e-6},
	}
}

// nodes lists the tree's released nodes plainly: every dyadic interval within the season.
func (s season) nodes() (nodes []span) {
	for size := 1; size <= s.weeks; size *= 2 {
		for from := 0; from+size <= s.weeks; from += size {
			nodes = append(nodes, span{from, size})
		}
	}
	return nodes
}

func drawSeason(t *rapid.T) season {
	s := smallSeason(rapid.IntRange(1, 13).Draw(t, "weeks"))
	s.peakWeight = rapid.Float64Range(1, 4).Draw(t, "peak weight")
	for week := 1; week <= s.weeks; week++ {
		if rapid.IntRange(0, 3).Draw(t, "peak") == 0 {
			s.peaks = append(s.peaks, week)
		}
	}
	return s
}

// TestLossesAgainstEverySet: the worst set of weeks, among all sets.
func TestLossesAgainstEverySet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawSeason(t)
		independent, tree := make([]float64, s.weeks+1), make([]float64, s.weeks+1)
		for set := range 1 << s.weeks {
			size := bits.OnesCount(uint(set))
			a, b := 0.0, 0.0
			for week := 1; week <= s.weeks; week++ {
				if set>>(week-1)&1 == 1 {
					a += s.weight(week)
				}
			}
			for _, v := range s.nodes() {
				n := bits.OnesCount(uint(set >> v.from & (1<<v.size - 1)))
				b += s.nodeWeight(v) * float64(n*n)
			}
			for k := size; k <= s.weeks; k++ { // at most k weeks
				independent[k], tree[k] = max(independent[k], a), max(tree[k], b)
			}
		}
		losses := s.treeLosses(s.weeks)
		require.Len(t, losses, s.weeks+1)
		for k := 1; k <= s.weeks; k++ {
			require.InEpsilon(t, independent[k], s.independentLoss(k), 1e-12, "independent weeks, W %d", k)
			require.InEpsilon(t, tree[k], losses[k], 1e-12, "tree, W %d", k)
			require.InEpsilon(t, tree[k], s.treeLosses(k)[k], 1e-12, "no matter how far the table goes")
		}
	})
}

// TestLossesBoundVectors: no change of the vectors of W weeks, each of length s at most, moves the
// release further; the same vector in the worst weeks moves it as far.
func TestLossesBoundVectors(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	const cells = 3
	for range 300 {
		s := smallSeason(1+r.IntN(16), 1)
		w := 1 + r.IntN(s.weeks)
		x := make([][cells]float64, s.weeks)
		for _, week := range r.Perm(s.weeks)[:w] {
			norm := 0.0
			for i := range cells {
				x[week][i] = r.NormFloat64()
				norm += x[week][i] * x[week][i]
			}
			for i := range cells {
				x[week][i] *= s.sensitivity / math.Sqrt(norm)
			}
		}
		moved := func(nodes []span) (sum float64) {
			for _, v := range nodes {
				var total [cells]float64
				for week := v.from; week < v.from+v.size; week++ {
					for i := range cells {
						total[i] += x[week][i]
					}
				}
				for i := range cells {
					sum += s.nodeWeight(v) * total[i] * total[i]
				}
			}
			return sum
		}
		square := s.sensitivity * s.sensitivity
		assert.LessOrEqual(t, moved(s.nodes()), square*s.treeLosses(w)[w]*(1+1e-12))
		var leaves []span
		for week := range s.weeks {
			leaves = append(leaves, span{week, 1})
		}
		assert.LessOrEqual(t, moved(leaves), square*s.independentLoss(w)*(1+1e-12))
	}
}

// TestTreeOfOneWeekIsItsDepth: one week is in at most ⌊log₂ T⌋+1 nodes, and in so many if T is a
// power of two.
func TestTreeOfOneWeekIsItsDepth(t *testing.T) {
	for weeks := 1; weeks <= 130; weeks++ {
		assert.EqualValues(t, bits.Len(uint(weeks)), smallSeason(weeks).treeLosses(1)[1], "%d weeks", weeks)
	}
	// All 52 weeks: 52 leaves, 26 pairs, 13 fours, 6 eights, 3 of sixteen, 1 of thirty-two.
	assert.EqualValues(t, 52+26*4+13*16+6*64+3*256+1024, smallSeason(52).treeLosses(52)[52])
}

// TestVarianceBySampling draws the tree's noises and makes the estimates bottom up.
// The mean of n squares is off by more than 6·√(2/n) of it with probability 2e-9; 24 of them are looked at.
func TestVarianceBySampling(t *testing.T) {
	s := smallSeason(12, 5)
	r := rand.New(rand.NewPCG(3, 4))
	const draws = 20000
	squares, leaves := make([]float64, s.weeks+1), make([]float64, s.weeks+1)
	for range draws {
		noise := map[span]float64{}
		for _, v := range s.nodes() {
			noise[v] = r.NormFloat64() / math.Sqrt(s.nodeWeight(v))
		}
		var estimate func(v span) (value, variance float64)
		estimate = func(v span) (float64, float64) {
			direct := 1 / s.nodeWeight(v)
			if v.size == 1 {
				return noise[v], direct
			}
			a, va := estimate(span{v.from, v.size / 2})
			b, vb := estimate(span{v.from + v.size/2, v.size / 2})
			return (noise[v]/direct + (a+b)/(va+vb)) / (1/direct + 1/(va+vb)), 1 / (1/direct + 1/(va+vb))
		}
		for week := 1; week <= s.weeks; week++ {
			total, from := 0.0, 0
			for size := 16; size > 0; size /= 2 {
				if week&size != 0 {
					x, _ := estimate(span{from, size})
					total, from = total+x, from+size
				}
			}
			squares[week] += total * total
			x := 0.0
			for i := 1; i <= week; i++ {
				x += r.NormFloat64() / math.Sqrt(s.weight(i))
			}
			leaves[week] += x * x
		}
	}
	tolerance := 6 * math.Sqrt(2.0/draws)
	for week := 1; week <= s.weeks; week++ {
		assert.InEpsilon(t, s.treeVariance(week), squares[week]/draws, tolerance, "tree, week %d", week)
		assert.InEpsilon(t, s.independentVariance(week), leaves[week]/draws, tolerance, "independent, week %d", week)
	}
}

// TestSeasonKeepsItsBudget: the noise found costs the worst unit the budget, and not more.
func TestSeasonKeepsItsBudget(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawSeason(t)
		s.weeksPerUnit = rapid.IntRange(1, s.weeks).Draw(t, "W")
		s.budget = dp.Budget{
			Epsilon: math.Exp(rapid.Float64Range(-3, 2).Draw(t, "ln ε")),
			Delta:   math.Exp(rapid.Float64Range(-28, -5).Draw(t, "ln δ")),
		}
		f, err := s.compare(func() {})
		require.NoError(t, err)
		for _, r := range []release{f.independent, f.tree} {
			require.LessOrEqual(t, r.worst.Hi, s.budget.Epsilon*(1+1e-9), r.name)
			require.GreaterOrEqual(t, r.worst.Hi, s.budget.Epsilon*(1-1e-5), "%s: more noise than needed", r.name)
			require.Len(t, r.byWeek, s.weeks)
			for i := 1; i < s.weeks; i++ {
				require.GreaterOrEqual(t, r.byWeek[i], r.byWeek[i-1]*(1-1e-12))
			}
			require.InEpsilon(t, r.worst.Hi, r.byWeek[s.weeks-1], 1e-6)
		}
		require.LessOrEqual(t, f.independent.ordinary, f.tree.ordinary*(1+1e-9), "weekly figures are better from independent weeks")
		require.LessOrEqual(t, f.independent.ordinary, f.addedUp*(1+1e-9)*s.peakWeight, "dividing ε and δ by W never needs less noise")
	})
}

// TestWhoWins: the number of weeks of one unit decides.
func TestWhoWins(t *testing.T) {
	s := smallSeason(52)
	s.weeksPerUnit = 1
	f, err := s.compare(func() {})
	require.NoError(t, err)
	most, better := f.treeWinsUpTo()
	assert.True(t, better, "one week a unit, 52 weeks: the tree wins")
	assert.Equal(t, 3, most)
	for w, m := range f.middles {
		assert.Equal(t, w+1 <= most, m[1] < m[0], "one crossing, at W %d", w+1)
	}
	s.weeksPerUnit = 52
	f, err = s.compare(func() {})
	require.NoError(t, err)
	_, better = f.treeWinsUpTo()
	assert.False(t, better)
	// Nobody can do better: a unit in all weeks moves the last total by 52·s.
	assert.InEpsilon(t, math.Sqrt(52)*f.independent.sigma, f.independent.last, 1e-12)
	for _, short := range []int{1, 2, 3} {
		f, err := smallSeason(short).compare(func() {})
		require.NoError(t, err)
		most, _ := f.treeWinsUpTo()
		assert.Zero(t, most, fmt.Sprint(short))
	}
}
