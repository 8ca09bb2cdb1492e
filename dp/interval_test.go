package dp

import (
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// convolve returns P(|X₁ + … + X_n| ≤ h) for all h, by convolving masses: slow and
// plain.
func convolve(l law, n int) []float64 {
	p := masses2(l)
	one := make([]float64, 2*len(p)-1)
	for x, m := range p {
		one[len(p)-1+x], one[len(p)-1-x] = m, m
	}
	sum := one
	for range n - 1 {
		next := make([]float64, len(sum)+len(one)-1)
		for i, a := range sum {
			if a < 1e-25 {
				continue
			}
			for j, b := range one {
				next[i+j] += a * b
			}
		}
		sum = next
	}
	mid := len(sum) / 2
	cover := []float64{sum[mid]}
	for h := 1; h <= mid; h++ {
		cover = append(cover, cover[h-1]+sum[mid+h]+sum[mid-h])
	}
	return cover
}

func noiseOf(l law) Noise { return Noise{mechanism: l.mechanism, scale: l.scale} }

func TestIntervalAgainstConvolution(t *testing.T) {
	scales, terms := []float64{0.05, 0.3, 1, 2.5, 5.3}, []int{1, 2, 3, 8}
	if testing.Short() {
		scales = []float64{0.3, 2.5}
	}
	for _, m := range mechanisms {
		for _, b := range scales {
			for _, n := range terms {
				cover := convolve(law{m, b}, n)
				for _, c := range []float64{0.001, 0.5, 0.8, 0.95, 0.999, 1 - 1e-8} {
					h, got, err := noiseOf(law{m, b}).Interval(n, c)
					require.NoError(t, err)
					what := fmt.Sprint(m, " ", b, " ×", n, " at ", c)
					assert.GreaterOrEqual(t, got, c, what)
					assert.InDelta(t, cover[h], got, 2e-12, what)
					if h > 0 {
						assert.Less(t, cover[h-1], c+2e-12, "%s: not the smallest", what)
					}
				}
			}
		}
	}
}

func TestIntervalAgainstSamples(t *testing.T) {
	const trials = 20_000
	for _, m := range []Mechanism{DiscreteLaplace, DiscreteGaussian} {
		n, err := Calibrate(Params{0.01, 1e-6, m}, benchSensitivity)
		require.NoError(t, err)
		for _, terms := range []int{1, 2, 5} {
			h, coverage, err := n.Interval(terms, 0.9)
			require.NoError(t, err)
			values := make([]int64, trials*terms)
			require.NoError(t, n.Add(t.Context(), values, seeded(11)))
			inside := 0
			for i := range trials {
				sum := int64(0)
				for _, v := range values[i*terms : (i+1)*terms] {
					sum += v
				}
				if max(sum, -sum) <= h {
					inside++
				}
			}
			tolerance := 6.2 * math.Sqrt(coverage*(1-coverage)/trials) // falseAlarm
			assert.InDelta(t, coverage, float64(inside)/trials, tolerance, "%s ×%d", m, terms)
		}
	}
}

// TestIntervalLargeScales: where the law is smooth, the scale cancels out, and many
// terms are normal.
func TestIntervalLargeScales(t *testing.T) {
	for _, m := range mechanisms {
		for _, n := range []int{1, 2, 3, 50} {
			small, _, err := noiseOf(law{m, 3000}).Interval(n, 0.95)
			require.NoError(t, err)
			large, coverage, err := noiseOf(law{m, 3e12}).Interval(n, 0.95)
			require.NoError(t, err)
			assert.InEpsilon(t, float64(small)*1e9, float64(large), 3e-4, "%s ×%d", m, n)
			assert.InDelta(t, 0.95, coverage, 1e-9)
		}
		l := law{m, 1000}
		h, _, err := noiseOf(l).Interval(1_000_000, 0.95)
		require.NoError(t, err)
		assert.InEpsilon(t, 1.959964*math.Sqrt(1e6*l.variance()), float64(h), 1e-4)
	}
}

func TestIntervalOfNothing(t *testing.T) {
	n, err := Calibrate(Params{1e7, 0, DiscreteLaplace}, unit)
	require.NoError(t, err)
	for _, terms := range []int{1, 2, 1000, maxTerms} {
		h, coverage, err := n.Interval(terms, 0.999)
		require.NoError(t, err)
		assert.Zero(t, h)
		assert.InDelta(t, 1, coverage, 1e-12)
	}
}

func TestIntervalRefuses(t *testing.T) {
	n := noiseOf(law{DiscreteLaplace, 20})
	for _, c := range []struct {
		terms      int
		confidence float64
	}{
		{1, 0},
		{1, 1},
		{1, -0.1},
		{1, 1.1},
		{1, math.NaN()},
		{1, math.Inf(1)},
		{0, 0.9},
		{-1, 0.9},
		{maxTerms + 1, 0.9},
		{2, 1 - 1e-12},
	} {
		_, _, err := n.Interval(c.terms, c.confidence)
		assert.ErrorContains(t, err, "compute interval", "%+v", c)
	}
	h, coverage, err := n.Interval(1, math.Nextafter(1, 0))
	require.NoError(t, err)
	assert.Greater(t, h, int64(700))
	assert.GreaterOrEqual(t, coverage, math.Nextafter(1, 0))
}

// TestIntervalWorstCase bounds the work for the heaviest tails and all sizes.
func TestIntervalWorstCase(t *testing.T) {
	for _, m := range mechanisms {
		for _, b := range []float64{0.06, 0.5, 20, 1 << 30} {
			for _, n := range []int{2, 3, 100, 1 << 20} {
				h, coverage, err := noiseOf(law{m, b}).Interval(n, 0.95)
				require.NoError(t, err)
				assert.GreaterOrEqual(t, coverage, 0.95)
				assert.LessOrEqual(t, float64(h), 3*math.Sqrt(float64(n)*(law{m, b}).variance())+1)
			}
		}
	}
}
