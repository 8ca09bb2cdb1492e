package dp

import (
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// occupied returns the exact law of the number of set bins, for 0 to n members: the
// next member finds a clear bin with probability 1 − w/m.
func occupied(m, n int) [][]float64 {
	out := [][]float64{make([]float64, m+1)}
	out[0][0] = 1
	for range n {
		before, next := out[len(out)-1], make([]float64, m+1)
		for w, p := range before {
			next[w] += p * float64(w) / float64(m)
			if w < m {
				next[w+1] += p * float64(m-w) / float64(m)
			}
		}
		out = append(out, next)
	}
	return out
}

func TestOccupancyLaw(t *testing.T) {
	t.Parallel()
	for _, m := range []int{64, 192, 1024} {
		o := Occupancy{int64(m)}
		for n, law := range occupied(m, 3*m) {
			mean, square := 0.0, 0.0
			for w, p := range law {
				mean += float64(w) * p
			}
			for w, p := range law {
				square += p * (float64(w) - mean) * (float64(w) - mean)
			}
			require.InEpsilon(t, 1+mean, 1+o.Mean(float64(n)), 1e-9)
			require.InDelta(t, square, o.variance(float64(n)), 1e-8*(1+square), "m %d n %d", m, n)
			if n > 0 && mean < float64(m)-0.5 {
				require.InEpsilon(t, float64(n), o.Count(mean), 1e-6)
			}
		}
	}
	// Where differences of numbers near m² would leave nothing.
	assert.InEpsilon(t, 1000.0*999/2/(1<<31), Occupancy{1 << 31}.variance(1000), 1e-3)
	assert.Zero(t, Occupancy{1 << 10}.variance(1e18))
}

// The interval holds the number of members as often as it says: computed, not sampled.
func TestOccupancyInterval(t *testing.T) {
	t.Parallel()
	const m = 256
	o, laws := Occupancy{m}, occupied(m, 4*m)
	for _, confidence := range []float64{0.5, 0.95, 0.999} {
		for _, around := range []int64{0, 3} {
			least, narrow := 1.0, true
			low, high := make([]int64, m+1), make([]int64, m+1)
			for w := range low {
				var err error
				low[w], high[w], err = o.Interval(int64(w)-around, int64(w)+around, confidence)
				require.NoError(t, err)
				narrow = narrow && low[w] <= high[w] && (w == 0 || low[w] >= low[w-1] && high[w] >= high[w-1])
			}
			for n, law := range laws {
				held := 0.0
				for w, p := range law {
					if low[w] <= int64(n) && int64(n) <= high[w] {
						held += p
					}
				}
				least = min(least, held)
			}
			assert.GreaterOrEqual(t, least, confidence, fmt.Sprint(confidence, around))
			assert.True(t, narrow, "an end goes back where more bins are set")
			assert.EqualValues(t, int64(maxSum), high[m], "a full bitmap has no upper end")
		}
	}
	low, high, err := Occupancy{1 << 16}.Interval(2332-5, 2332+5, 0.99) // 2,375 members
	require.NoError(t, err)
	assert.Less(t, high-low, int64(80), "it says something")
	assert.True(t, low < 2375 && 2375 < high)
}

func TestOccupancyRefuses(t *testing.T) {
	for _, bins := range []int64{-1, 0, 63, 1<<31 + 1} {
		o := Occupancy{bins}
		require.Error(t, o.Validate())
		assert.True(t, math.IsNaN(o.Mean(1)) && math.IsNaN(o.Count(1)) && math.IsNaN(o.StdDev(1, 1)))
		_, _, err := o.Interval(1, 2, 0.9)
		require.Error(t, err)
	}
	for _, c := range []float64{0, 1, -1, math.NaN(), math.Inf(1)} {
		_, _, err := Occupancy{64}.Interval(1, 2, c)
		require.Error(t, err)
	}
	o := Occupancy{64}
	assert.Zero(t, o.Count(-5))
	assert.Equal(t, o.Count(64), o.Count(1e9), "more than all bins is all bins")
}

// Bernstein against the exact tail of the binomial law.
func TestBernstein(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 300).Draw(t, "n")
		p, alpha := rapid.Float64Range(0.001, 0.999).Draw(t, "p"), rapid.Float64Range(1e-9, 0.5).Draw(t, "alpha")
		h := bernstein(float64(n)*p*(1-p), 1, alpha)
		tail := 0.0
		for k := n; k >= 0 && float64(k) >= float64(n)*p+h; k-- {
			lg := func(x int) float64 { v, _ := math.Lgamma(float64(x + 1)); return v }
			tail += math.Exp(lg(n) - lg(k) - lg(n-k) + float64(k)*math.Log(p) + float64(n-k)*math.Log1p(-p))
		}
		if tail > alpha*(1+1e-9) {
			t.Fatalf("tail %g above %g", tail, alpha)
		}
	})
}
