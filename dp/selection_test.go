package dp

import (
	"errors"
	"math"
	"math/big"
	"slices"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// tailByHand returns P(X ≥ k) by adding masses up.
func tailByHand(b float64, k int64) float64 {
	sum := 0.0
	for x := k; x < int64(40*b)+max(k, 0)+10; x++ {
		sum += pmf(law{DiscreteLaplace, b}, x)
	}
	return sum
}

// TestThresholdIsTheSmallest compares with δ summed by brute force: the threshold
// keeps δ/L0, and one less does not.
func TestThresholdIsTheSmallest(t *testing.T) {
	for _, s := range []Sensitivity{unit, {L0: 20, L1: 20, L2Squared: 20, LInf: 1}, {L0: 6, L1: 12, L2Squared: 24, LInf: 3}} {
		for _, epsilon := range []float64{0.3, 1, 4, 30} {
			for _, delta := range []float64{0.99, 0.7, 0.4, 1e-2, 1e-6, 1e-9} {
				sel, err := NewSelection(Params{epsilon, delta, Auto}, s)
				require.NoError(t, err)
				b, share := sel.exact.float(), delta/float64(s.L0)
				k := sel.Threshold() - s.LInf
				assert.LessOrEqual(t, tailByHand(b, k), share*(1+1e-9), "%+v ε %g δ %g", s, epsilon, delta)
				assert.Greater(t, tailByHand(b, k-1), share*(1-1e-9), "%+v ε %g δ %g", s, epsilon, delta)
			}
		}
	}
}

// TestSelectionIsPrivate computes, for one unit more on one key, the exact
// probabilities of publication on both sides and holds them against (ε, δ).
func TestSelectionIsPrivate(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		linf := rapid.Int64Range(1, 5).Draw(t, "LInf")
		s := Sensitivity{L0: 1, L1: linf, L2Squared: linf * linf, LInf: linf}
		p := Params{rapid.Float64Range(0.1, 3).Draw(t, "ε"), rapid.Float64Range(1e-6, 0.9).Draw(t, "δ"), DiscreteLaplace}
		sel, err := NewSelection(p, s)
		if err != nil {
			t.Fatal(err)
		}
		publish := func(count int64) float64 {
			if count <= 0 {
				return 0
			}
			return tailByHand(sel.exact.float(), sel.Threshold()-count)
		}
		for count := range int64(15) {
			for d := int64(1); d <= linf; d++ {
				a, b := publish(count), publish(count+d)
				for _, q := range [][2]float64{{a, b}, {b, a}, {1 - a, 1 - b}, {1 - b, 1 - a}} {
					if q[0] > math.Exp(p.Epsilon)*q[1]+p.Delta+1e-12 {
						t.Fatalf("count %d + %d: %g > e^ε·%g + δ", count, d, q[0], q[1])
					}
				}
			}
		}
	})
}

// TestThresholdTinyDelta checks the closed form with 200 bits where no sum can.
func TestThresholdTinyDelta(t *testing.T) {
	for _, c := range []struct {
		delta float64
		l0    int64
	}{{1e-12, 1_000_000}, {1e-300, 1}, {1e-300, 1 << 30}, {5e-324, 9009}} {
		s := Sensitivity{L0: c.l0, L1: c.l0, L2Squared: c.l0, LInf: 1}
		sel, err := NewSelection(Params{1, c.delta, Auto}, s)
		require.NoError(t, err)
		b := float64(c.l0)
		k := float64(sel.Threshold() - 1)
		got := -k/b - math.Log1p(math.Exp(-1/b))
		want := math.Log(c.delta) - math.Log(b)
		assert.LessOrEqual(t, got, want)
		assert.InEpsilon(t, want, got, 1e-9+2/(b*math.Abs(want)))
	}
}

func TestSelectBoundary(t *testing.T) {
	sel, err := NewSelection(Params{1, 1e-3, Auto}, unit)
	require.NoError(t, err)
	// Reads the noise first and then places counts just at and below the threshold.
	const n = 1000
	d := seededStream(t, 5)
	counts, want := make([]int64, n), make([]bool, n)
	for i := range counts {
		x := discreteLaplace(sel.exact, d)
		counts[i] = sel.Threshold() - x - int64(i%2)
		want[i] = i%2 == 0 && counts[i] > 0
	}
	got, err := sel.Select(counts, seeded(5))
	require.NoError(t, err)
	assert.Equal(t, want, got)
}

func TestSelectNeverPublishesEmptyKeys(t *testing.T) {
	// δ so large that the threshold is below 0.
	sel, err := NewSelection(Params{0.1, 0.999, Auto}, unit)
	require.NoError(t, err)
	require.Negative(t, sel.Threshold())
	got, err := sel.Select(slices.Repeat([]int64{0, -1, math.MinInt64}, 3000), nil)
	require.NoError(t, err)
	assert.NotContains(t, got, true)
	got, err = sel.Select([]int64{math.MaxInt64, maxSum}, nil)
	require.NoError(t, err)
	assert.Equal(t, []bool{true, true}, got, "saturates, never wraps")
}

func TestSelectRate(t *testing.T) {
	sel, err := NewSelection(Params{0.5, 1e-2, Auto}, unit)
	require.NoError(t, err)
	const n = 50_000
	for _, count := range []int64{1, 5, 10} {
		got, err := sel.Select(slices.Repeat([]int64{count}, n), seeded(uint64(count)))
		require.NoError(t, err)
		published := 0
		for _, p := range got {
			if p {
				published++
			}
		}
		want := tailByHand(sel.exact.float(), sel.Threshold()-count)
		tolerance := 6.2*math.Sqrt(want*(1-want)/n) + 20.0/n // falseAlarm, and Poisson for rare keys
		assert.InDelta(t, want, float64(published)/n, tolerance, "count %d", count)
	}
}

func TestSelectNoiseDoesNotDependOnCounts(t *testing.T) {
	sel, err := NewSelection(Params{1, 1e-3, Auto}, unit)
	require.NoError(t, err)
	a, b := make([]int64, 2*chunk), make([]int64, 2*chunk)
	for i := range a {
		a[i], b[i] = sel.Threshold(), sel.Threshold()*int64(i%2)
	}
	pa, err := sel.Select(a, seeded(6))
	require.NoError(t, err)
	pb, err := sel.Select(b, seeded(6))
	require.NoError(t, err)
	for i := 1; i < len(a); i += 2 {
		require.Equal(t, pa[i], pb[i])
	}
}

func TestSelectionRefuses(t *testing.T) {
	for _, p := range []Params{
		{1, 0, Auto},
		{1, 0, DiscreteLaplace},
		{1, 1e-6, Laplace},
		{1, 1e-6, Gaussian},
		{1, 1e-6, DiscreteGaussian},
		{1, 1e-6, ""},
		{0, 1e-6, Auto},
		{math.NaN(), 1e-6, Auto},
		{math.Inf(1), 1e-6, Auto},
		{1, math.NaN(), Auto},
		{1, 1, Auto},
		{1, -1, Auto},
	} {
		s, err := NewSelection(p, unit)
		assert.ErrorContains(t, err, "calibrate selection", "%+v", p)
		assert.Equal(t, Selection{}, s)
	}
	_, err := NewSelection(Params{1, 1e-6, Auto}, Sensitivity{})
	assert.Error(t, err)
	_, err = NewSelection(Params{minEpsilon, 1e-300, Auto}, Sensitivity{L0: 1 << 30, L1: 1 << 30, L2Squared: 1 << 30, LInf: 1})
	assert.Error(t, err, "scale above 2⁵⁰")

	_, err = Selection{}.Select([]int64{100}, nil)
	assert.Error(t, err, "the zero value selects nothing")
	assert.Equal(t, int64(math.MaxInt64), Selection{}.Threshold())
	_, err = Selection{}.GroupCost(1, Disjoint)
	assert.Error(t, err)

	sel, err := NewSelection(Params{1, 1e-6, Auto}, unit)
	require.NoError(t, err)
	got, err := sel.Select([]int64{100}, iotest.ErrReader(errors.New("broken")))
	assert.Error(t, err)
	assert.Nil(t, got)
}

func TestSelectionGroupCost(t *testing.T) {
	s := Sensitivity{L0: 5, L1: 5, L2Squared: 5, LInf: 1}
	sel, err := NewSelection(Params{1, 1e-6, Auto}, s)
	require.NoError(t, err)
	assert.Equal(t, Budget{1, 1e-6}, sel.Cost())
	for _, m := range []int{1, 2, 4, 8, 100, 1000} {
		g, err := sel.GroupCost(m, Disjoint)
		require.NoError(t, err)
		assert.Equal(t, float64(m), g.Epsilon)
		assert.InEpsilon(t, float64(m)*1e-6, g.Delta, 1e-12)

		g, err = sel.GroupCost(m, Summed)
		require.NoError(t, err)
		assert.Equal(t, float64(m), g.Epsilon)
		// All m·L0 hits on as few or as many keys as they like.
		worst := 0.0
		for hits := 1; hits <= m; hits++ {
			keys := float64(m*5) / float64(hits)
			worst = max(worst, keys*tailByHand(sel.exact.float(), sel.Threshold()-int64(hits)))
		}
		assert.GreaterOrEqual(t, g.Delta, min(worst, 1)*(1-1e-9), "m = %d", m)
		assert.LessOrEqual(t, g.Delta, min(max(worst, 1e-6)*(1+1e-6), 1), "m = %d", m)
	}
	for _, shape := range []Shape{0, 3} {
		_, err = sel.GroupCost(2, shape)
		assert.Error(t, err)
	}
	_, err = sel.GroupCost(0, Disjoint)
	assert.Error(t, err)
}

func TestThresholdAboveRoundsUp(t *testing.T) {
	// k·(1/b) and the logarithm agree to the last bit only by chance: whatever the
	// scale, the tail at k in exact rationals of the exponent is never above δ.
	rapid.Check(t, func(t *rapid.T) {
		b := math.Exp(rapid.Float64Range(-3, 34).Draw(t, "ln b"))
		logDelta := -math.Exp(rapid.Float64Range(-3, 6).Draw(t, "ln −ln δ"))
		k := thresholdAbove(b, logDelta)
		if k <= 0 {
			return
		}
		exponent, _ := new(big.Rat).Quo(new(big.Rat).SetFloat64(k), new(big.Rat).SetFloat64(b)).Float64()
		if got := -exponent - math.Log1p(math.Exp(-1/b)); got > logDelta {
			t.Fatalf("ln P(X ≥ %g) = %g > %g", k, got, logDelta)
		}
		if got := -(exponent - 1/b) - math.Log1p(math.Exp(-1/b)); got < logDelta-1e-9*(1-logDelta)-1e-11 && k > 1 {
			t.Fatalf("%g is too far: %g < %g", k, got, logDelta)
		}
	})
}
