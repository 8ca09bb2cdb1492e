package dp

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

var mechanisms = []Mechanism{Laplace, Gaussian, DiscreteLaplace, DiscreteGaussian}

func drawSensitivity(t *rapid.T) Sensitivity {
	b := Bounds{
		L0:       rapid.Int64Range(1, 100).Draw(t, "L0"),
		LInf:     rapid.Int64Range(1, 1000).Draw(t, "LInf"),
		MaxNodes: rapid.Int64Range(1, 20).Draw(t, "MaxNodes"),
	}
	b.L1 = rapid.Int64Range(1, b.L0*b.LInf).Draw(t, "L1")
	s, err := b.Sensitivity(rapid.SampledFrom([]Shape{Disjoint, Summed}).Draw(t, "shape"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func drawParams(t *rapid.T) Params {
	p := Params{Epsilon: math.Exp(rapid.Float64Range(-10, 7).Draw(t, "ln ε")), Mechanism: Auto}
	if rapid.Bool().Draw(t, "approximate") {
		p.Delta = math.Exp(rapid.Float64Range(-40, -1).Draw(t, "ln δ"))
	}
	return p
}

func TestAutoIsNeverBeaten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, s := drawParams(t), drawSensitivity(t)
		auto, err := Calibrate(p, s)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range mechanisms {
			p.Mechanism = m
			n, err := Calibrate(p, s)
			if err != nil {
				continue
			}
			if auto.StdDev() > n.StdDev()*(1+1e-9) {
				t.Fatalf("auto took %s of %g, %s has %g", auto.Mechanism(), auto.StdDev(), m, n.StdDev())
			}
			if p.Delta == 0 && (m == Gaussian || m == DiscreteGaussian) {
				t.Fatal("Gaussian noise at δ = 0")
			}
		}
	})
}

func TestAutoTakesBothFamilies(t *testing.T) {
	p := Params{Epsilon: 1, Delta: 1e-6, Mechanism: Auto}
	for _, c := range []struct {
		reason string
		delta  float64
		s      Sensitivity
		want   []Mechanism
	}{
		{"one cell", 1e-6, unit, []Mechanism{DiscreteLaplace}},
		{"pure ε leaves no choice", 0, Sensitivity{L0: 1000, L1: 1000, L2Squared: 1000, LInf: 1}, []Mechanism{DiscreteLaplace}},
		{"many cells: Δ₂ is far below Δ₁", 1e-6, Sensitivity{L0: 1000, L1: 1000, L2Squared: 1000, LInf: 1}, []Mechanism{Gaussian, DiscreteGaussian}},
	} {
		p.Delta = c.delta
		n, err := Calibrate(p, c.s)
		require.NoError(t, err)
		assert.Contains(t, c.want, n.Mechanism(), c.reason)
	}
}

func TestCalibrateRefuses(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	for _, m := range append([]Mechanism{Auto}, mechanisms...) {
		for _, e := range []float64{0, math.Copysign(0, -1), -1, nan, inf, -inf, minEpsilon / 2} {
			_, err := Calibrate(Params{e, 1e-6, m}, unit)
			assert.Error(t, err, "ε = %g", e)
		}
		for _, d := range []float64{-1e-9, 1, 2, nan, inf, -inf} {
			_, err := Calibrate(Params{1, d, m}, unit)
			assert.Error(t, err, "δ = %g", d)
		}
		for _, s := range []Sensitivity{{}, {1, 1, 1, 0}, {0, 1, 1, 1}, {1, -1, 1, 1}, {1, 1, math.MaxInt64, 1}} {
			_, err := Calibrate(Params{1, 1e-6, m}, s)
			assert.Error(t, err, "%+v", s)
		}
	}
	for _, m := range []Mechanism{"", "skellam", "Laplace"} {
		_, err := Calibrate(Params{1, 1e-6, m}, unit)
		assert.Error(t, err)
	}
}

func TestScaleAndCost(t *testing.T) {
	p := Params{Epsilon: 0.5, Delta: 1e-6}
	for _, c := range []struct {
		m     Mechanism
		scale float64 // approximately
		cost  Budget
	}{
		{DiscreteLaplace, 40, Budget{Epsilon: 0.5}},
		{Laplace, 40, Budget{Epsilon: 0.5}},
		{Gaussian, 72, Budget{0.5, 1e-6}},
		{DiscreteGaussian, 79, Budget{0.5, 1e-6}},
	} {
		p.Mechanism = c.m
		n, err := Calibrate(p, benchSensitivity)
		require.NoError(t, err)
		assert.Equal(t, c.m, n.Mechanism())
		assert.Equal(t, benchSensitivity, n.Sensitivity())
		assert.InEpsilon(t, c.scale, n.Scale(), 0.05, c.m)
		assert.Equal(t, c.cost, n.Cost())
	}
}

// TestScaleIsNeverBelow holds for every mechanism: Δ₁/ε, or ρ from σ, on the safe side.
func TestScaleIsNeverBelow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, s := drawParams(t), drawSensitivity(t)
		p.Delta = max(p.Delta, 1e-30)
		for _, m := range []Mechanism{Laplace, DiscreteLaplace} {
			p.Mechanism = m
			n, err := Calibrate(p, s)
			if err != nil {
				t.Fatal(err)
			}
			if n.Scale()*p.Epsilon < float64(s.L1)*(1-1e-15) {
				t.Fatalf("%s: %g·%g < %d", m, n.Scale(), p.Epsilon, s.L1)
			}
		}
		p.Mechanism = DiscreteGaussian
		s.L0 = max(s.L0, 2) // of one value the accountant knows better: TestSingleValueNeedsLess
		n, err := Calibrate(p, s)
		if err != nil {
			t.Fatal(err)
		}
		if rho := float64(s.L2Squared) / (2 * n.Scale() * n.Scale()); rho > rhoFor(p.Epsilon, p.Delta)*(1+1e-15) {
			t.Fatal("ρ is above what ε and δ allow")
		}
	})
}

func TestStdDevMatchesSamples(t *testing.T) {
	for _, m := range []Mechanism{DiscreteLaplace, DiscreteGaussian} {
		for _, e := range []float64{0.1, 2, 6} {
			n, err := Calibrate(Params{e, 1e-3, m}, unit)
			require.NoError(t, err)
			values := make([]int64, 50_000)
			require.NoError(t, n.Add(t.Context(), values, seeded(3)))
			var sum float64
			for _, v := range values {
				sum += float64(v) * float64(v)
			}
			// Kurtosis is at most 6 + 1/variance; 6.2 deviations are falseAlarm.
			tolerance := 6.2 * math.Sqrt((6+1/square(n.StdDev()))/float64(len(values)))
			assert.InEpsilon(t, square(n.StdDev()), sum/float64(len(values)), tolerance, "%s %g", m, e)
		}
	}
}

func TestAddIsDeterministic(t *testing.T) {
	for _, m := range []Mechanism{DiscreteLaplace, DiscreteGaussian} {
		n, err := Calibrate(Params{1, 1e-6, m}, benchSensitivity)
		require.NoError(t, err)
		var first []int64
		for _, procs := range []int{1, 2, 7} {
			before := runtime.GOMAXPROCS(procs)
			values := make([]int64, 5*chunk+17)
			require.NoError(t, n.Add(t.Context(), values, seeded(9)))
			runtime.GOMAXPROCS(before)
			if first == nil {
				first = values
			}
			assert.Equal(t, first, values, "%d processors", procs)
		}
		shorter := make([]int64, chunk+1)
		require.NoError(t, n.Add(t.Context(), shorter, seeded(9)))
		assert.Equal(t, first[:len(shorter)], shorter, "a shorter vector gets the same noise")
		assert.NotEqual(t, first[:chunk], first[chunk:2*chunk], "chunks have streams of their own")
		other := make([]int64, chunk)
		require.NoError(t, n.Add(t.Context(), other, seeded(10)))
		assert.NotEqual(t, first[:chunk], other)
	}
}

func TestAddIsAdditive(t *testing.T) {
	n, err := Calibrate(Params{1, 1e-6, DiscreteGaussian}, benchSensitivity)
	require.NoError(t, err)
	bare, shifted := make([]int64, 100), make([]int64, 100)
	for i := range shifted {
		shifted[i] = int64(i * i)
	}
	require.NoError(t, n.Add(t.Context(), bare, seeded(4)))
	require.NoError(t, n.Add(t.Context(), shifted, seeded(4)))
	for i := range bare {
		assert.Equal(t, bare[i]+int64(i*i), shifted[i], "noise does not depend on values")
	}
}

func TestAddFailsClosed(t *testing.T) {
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	broken := errors.New("broken")
	secret := func() []int64 { return slices.Repeat([]int64{7}, 3*chunk) }
	zero := make([]int64, 3*chunk)
	for _, m := range mechanisms {
		n, err := Calibrate(Params{1, 1e-6, m}, benchSensitivity)
		require.NoError(t, err)
		v := secret()
		assert.ErrorIs(t, n.Add(cancelled, v, nil), context.Canceled, m)
		assert.Equal(t, zero, v, m)
		if m == DiscreteLaplace || m == DiscreteGaussian {
			v = secret()
			assert.ErrorIs(t, n.Add(t.Context(), v, iotest.ErrReader(broken)), broken, m)
			assert.Equal(t, zero, v, m)
		}
	}
	v := secret()
	assert.Error(t, Noise{}.Add(t.Context(), v, nil))
	assert.Equal(t, zero, v)
	_, _, err := Noise{}.Interval(1, 0.9)
	assert.Error(t, err)
	_, err = Noise{}.GroupCost(1, Disjoint)
	assert.Error(t, err)
}

// TestAddCancelledMidway ends the context while Google's slow noise is drawn.
func TestAddCancelledMidway(t *testing.T) {
	n, err := Calibrate(Params{1, 1e-6, Laplace}, benchSensitivity)
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
	defer cancel()
	v := slices.Repeat([]int64{7}, 20_000) // 200 ms or more
	assert.ErrorIs(t, n.Add(ctx, v, nil), context.DeadlineExceeded)
	assert.Equal(t, make([]int64, len(v)), v)
}

func TestAddOfNothing(t *testing.T) {
	n, err := Calibrate(Params{1, 0, Auto}, unit)
	require.NoError(t, err)
	assert.NoError(t, n.Add(t.Context(), nil, nil))
}

func TestAddSaturated(t *testing.T) {
	for _, c := range []struct{ x, y, want int64 }{
		{0, 0, 0},
		{1, -2, -1},
		{maxSum, maxSum, maxSum},
		{-maxSum, -maxSum, -maxSum},
		{math.MaxInt64, math.MaxInt64, maxSum},
		{math.MinInt64, math.MinInt64, -maxSum},
		{math.MaxInt64, math.MinInt64, 0},
		{math.MinInt64, math.MaxInt64, -1},
		{math.MaxInt64, -5, maxSum - 5},
	} {
		assert.Equal(t, c.want, addSaturated(c.x, c.y), "%d + %d", c.x, c.y)
	}
	rapid.Check(t, func(t *rapid.T) {
		x, y := rapid.Int64().Draw(t, "x"), rapid.Int64().Draw(t, "y")
		d := rapid.Int64Range(0, 1000).Draw(t, "d")
		moved := x + min(d, math.MaxInt64-max(x, 0))
		if got := addSaturated(moved, y) - addSaturated(x, y); got < 0 || got > d {
			t.Fatal("saturation raised the sensitivity")
		}
	})
}

func TestGroupCost(t *testing.T) {
	for _, m := range mechanisms {
		n, err := Calibrate(Params{1, 1e-6, m}, benchSensitivity)
		require.NoError(t, err)
		for _, shape := range []Shape{Disjoint, Summed} {
			one, err := n.GroupCost(1, shape)
			require.NoError(t, err)
			assert.Equal(t, n.Cost(), one)
			last := one
			for _, k := range []int{2, 3, 4, 8} {
				g, err := n.GroupCost(k, shape)
				require.NoError(t, err)
				assert.Greater(t, g.Epsilon, last.Epsilon, "%s: more reach costs more", m)
				assert.GreaterOrEqual(t, g.Delta, last.Delta)
				last = g
				if n.pure() {
					assert.Equal(t, Budget{Epsilon: float64(k)}, g)
					continue
				}
				// Calibrating for the larger sensitivity at the group's ε must give
				// about the noise that we have.
				s := n.Sensitivity()
				s.L2Squared *= int64(k)
				if shape == Summed {
					s.L2Squared *= int64(k)
				}
				again, err := Calibrate(Params{g.Epsilon, 1e-6, m}, s)
				require.NoError(t, err)
				assert.InEpsilon(t, n.Scale(), again.Scale(), 2e-3, "%s %d", m, k)
			}
		}
		_, err = n.GroupCost(0, Disjoint)
		assert.Error(t, err)
		_, err = n.GroupCost(-1, Summed)
		assert.Error(t, err)
		_, err = n.GroupCost(2, 0)
		assert.Error(t, err)
		big, err := n.GroupCost(math.MaxInt64, Summed)
		if err == nil {
			assert.NoError(t, Budget{Epsilon: big.Epsilon}.Validate(), fmt.Sprint(m))
		}
	}
	n, err := Calibrate(Params{math.MaxFloat64, 0, DiscreteLaplace}, unit)
	require.NoError(t, err)
	_, err = n.GroupCost(2, Disjoint)
	assert.Error(t, err, "ε overflows")
}

// TestGroupCostExact compares with the exact δ(ε) of a discrete Gaussian shifted by m.
func TestGroupCostExact(t *testing.T) {
	n, err := Calibrate(Params{1, 1e-6, DiscreteGaussian}, unit)
	require.NoError(t, err)
	for _, m := range []int{2, 5} {
		g, err := n.GroupCost(m, Summed)
		require.NoError(t, err)
		s := n.Scale()
		var all, delta float64
		for x := -60 * s; x <= 60*s; x++ {
			x := math.Round(x)
			all += math.Exp(-x * x / (2 * s * s))
			delta += max(0, math.Exp(-x*x/(2*s*s))-math.Exp(g.Epsilon-square(x-float64(m))/(2*s*s)))
		}
		assert.LessOrEqual(t, delta/all, g.Delta, "m = %d", m)
	}
}
