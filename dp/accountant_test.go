package dp

import (
	"encoding/json"
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// drawEvent draws one event of every kind that composes, with a loss per use small enough for
// many uses.
func drawEvent(t *rapid.T, label string) Event {
	e := Event{Count: rapid.Int64Range(1, 40).Draw(t, label+" count")}
	scale := math.Exp(rapid.Float64Range(math.Log(3), math.Log(60)).Draw(t, label+" scale"))
	e.Mechanism = rapid.SampledFrom([]Mechanism{
		Laplace, DiscreteLaplace, Gaussian, DiscreteGaussian, Skellam, PureDP, ApproxDP, PartitionSelection, ZCDP,
	}).Draw(t, label+" mechanism")
	switch e.Mechanism {
	case PureDP:
		e.Epsilon = 1 / scale
	case ApproxDP, PartitionSelection:
		e.Epsilon, e.Delta = 1/scale, 1e-12
	case ZCDP:
		e.Rho = 1 / (scale * scale)
	default:
		e.Scale, e.Sensitivity = scale, float64(rapid.IntRange(1, 3).Draw(t, label+" sensitivity"))
	}
	return e
}

func epsilonOf(t require.TestingT, delta float64, events ...Event) Bracket {
	a, err := Compose(events...)
	require.NoError(t, err)
	b, err := a.Epsilon(delta)
	require.NoError(t, err)
	return b
}

// checkLaw runs a property a few times: each one composes several times.
func checkLaw(t *testing.T, property func(*rapid.T)) {
	t.Helper()
	n, most := 0, rounds(4)
	rapid.Check(t, func(t *rapid.T) {
		if n++; n > most {
			return
		}
		property(t)
	})
}

// TestLawNFold: n uses in one event are n events of one use; the order does not
// matter. Both give the very same bits.
func TestLawNFold(t *testing.T) {
	checkLaw(t, func(t *rapid.T) {
		x, y := drawEvent(t, "x"), drawEvent(t, "y")
		x.Count = min(x.Count, 6)
		delta := math.Exp(rapid.Float64Range(math.Log(1e-9), math.Log(1e-3)).Draw(t, "delta"))
		want := epsilonOf(t, delta, x, y)
		events := []Event{y}
		one := x
		one.Count = 1
		for range x.Count {
			events = append(events, one)
		}
		assert.Equal(t, want, epsilonOf(t, delta, events...))
		assert.Equal(t, want, epsilonOf(t, delta, y, x))
	})
}

// TestLawCountHonoured: more uses cost more, for every kind; and each kind's cost
// falls as delta rises.
func TestLawCountHonoured(t *testing.T) {
	checkLaw(t, func(t *rapid.T) {
		x := drawEvent(t, "x")
		const delta = 1e-8
		more := x
		more.Count *= 4
		a, b := epsilonOf(t, delta, x), epsilonOf(t, delta, more)
		assert.Greater(t, b.Lo, a.Hi*1.2, "%+v", x)
		c := epsilonOf(t, delta*10, x)
		assert.LessOrEqual(t, c.Lo, a.Hi, "%+v", x)
	})
}

// TestLawMonotone: one more event never costs less, in ε at δ, and in δ at ε.
func TestLawMonotone(t *testing.T) {
	checkLaw(t, func(t *rapid.T) {
		x, y := drawEvent(t, "x"), drawEvent(t, "y")
		const delta = 1e-7
		one, both := epsilonOf(t, delta, x), epsilonOf(t, delta, x, y)
		if one.Proof.Tight {
			assert.GreaterOrEqual(t, both.Hi, one.Lo)
		}
		a, err := Compose(x)
		require.NoError(t, err)
		near, err := a.Delta(one.Hi * 0.7)
		require.NoError(t, err)
		far, err := a.Delta(one.Hi * 0.8)
		require.NoError(t, err)
		assert.GreaterOrEqual(t, near.Hi, far.Lo)
		assert.LessOrEqual(t, near.Lo, near.Hi)
	})
}

// TestLawInverse: δ(ε(δ)) is δ, as far as the brackets tell.
func TestLawInverse(t *testing.T) {
	checkLaw(t, func(t *rapid.T) {
		x, y := drawEvent(t, "x"), drawEvent(t, "y")
		delta := math.Exp(rapid.Float64Range(math.Log(1e-9), math.Log(1e-4)).Draw(t, "delta"))
		a, err := Compose(x, y)
		require.NoError(t, err)
		b, err := a.Epsilon(delta)
		require.NoError(t, err)
		if b.Hi == 0 || !b.Proof.Tight {
			return
		}
		atHi, err := a.Delta(b.Hi)
		require.NoError(t, err)
		assert.LessOrEqual(t, atHi.Lo, delta*(1+1e-9), "at hi δ(ε) is at most δ")
		atLo, err := a.Delta(b.Lo)
		require.NoError(t, err)
		assert.GreaterOrEqual(t, atLo.Hi, delta*(1-1e-9), "at lo δ(ε) is at least δ")
	})
}

func TestLawRenyiAddsUp(t *testing.T) {
	checkLaw(t, func(t *rapid.T) {
		x, y := drawEvent(t, "x"), drawEvent(t, "y")
		if x.Delta > 0 || y.Delta > 0 {
			return
		}
		order := 1 + math.Exp(rapid.Float64Range(-3, 4).Draw(t, "order"))
		rdp := func(events ...Event) float64 {
			a, err := Compose(events...)
			require.NoError(t, err)
			b, err := a.RDP(order)
			require.NoError(t, err)
			return b.Hi
		}
		assert.InEpsilon(t, rdp(x)+rdp(y), rdp(x, y), 1e-9)
	})
}

func TestLawPureBoundsAll(t *testing.T) {
	for _, c := range []struct {
		event Event
		sup   float64
	}{
		{Event{Mechanism: Laplace, Scale: 10, Sensitivity: 3, Count: 4}, 1.2},
		{Event{Mechanism: DiscreteLaplace, Scale: 10, Sensitivity: 3, Count: 4}, 1.2},
		{Event{Mechanism: Laplace, Scale: 10, L1: 3, Count: 4}, 1.2},
		{Event{Mechanism: PureDP, Epsilon: 0.3, Count: 4}, 1.2},
	} {
		b := epsilonOf(t, 0, c.event)
		assert.InEpsilon(t, c.sup, b.Hi, 1e-9, "%+v", c.event)
		a, err := Compose(c.event)
		require.NoError(t, err)
		d, err := a.Delta(c.sup * (1 + 1e-9))
		require.NoError(t, err)
		assert.Zero(t, d.Hi)
	}
	for _, e := range []Event{
		{Mechanism: Gaussian, Scale: 10, Sensitivity: 1, Count: 1},
		{Mechanism: ApproxDP, Epsilon: 1, Delta: 1e-6, Count: 1},
		{Mechanism: ZCDP, Rho: 1, Count: 1},
	} {
		assert.True(t, math.IsInf(epsilonOf(t, 0, e).Hi, 1), "%+v", e)
	}
	lost := Event{Mechanism: ApproxDP, Epsilon: 0.1, Delta: 1e-6, Count: 10}
	b := epsilonOf(t, 9e-6, lost)
	assert.True(t, math.IsInf(b.Lo, 1) && math.IsInf(b.Hi, 1), "δ below 1 − (1 − 1e-6)¹⁰")
	text, err := json.Marshal(b)
	require.NoError(t, err)
	assert.Contains(t, string(text), `"hi":null`)
}

// TestVectorsAreNotScalars: what a one-dimensional loss does not cover is charged by its
// bound, and never below it.
func TestVectorsAreNotScalars(t *testing.T) {
	scalar := Event{Mechanism: DiscreteGaussian, Scale: 10, Sensitivity: 2, Count: 5}
	vector := Event{Mechanism: DiscreteGaussian, Scale: 10, L2: 2, Count: 5}
	zcdp := Event{Mechanism: ZCDP, Rho: 4.0 / 200, Count: 5}
	s, v, z := epsilonOf(t, 1e-6, scalar), epsilonOf(t, 1e-6, vector), epsilonOf(t, 1e-6, zcdp)
	assert.Less(t, s.Hi, v.Lo)
	assert.InEpsilon(t, z.Hi, v.Hi, 1e-9)
	assert.Equal(t, "renyi", v.Rule)
	assert.False(t, v.Proof.Tight)

	// With events of a known loss, the better of two rules.
	big := Event{Mechanism: Laplace, Scale: 0.2, Sensitivity: 1, Count: 1}
	small := Event{Mechanism: ZCDP, Rho: 1e-6, Count: 1}
	b := epsilonOf(t, 1e-6, big, small)
	assert.LessOrEqual(t, b.Hi, 5.1, "5 for the Laplace and a little for the other")
	assert.Greater(t, b.Hi, epsilonOf(t, 1e-6, big).Lo)
}

func TestNoiseEvent(t *testing.T) {
	s, err := Bounds{L0: 40, LInf: 4, L1: 20, MaxNodes: 1}.Sensitivity(Disjoint)
	require.NoError(t, err)
	for _, m := range []Mechanism{Laplace, DiscreteLaplace, Gaussian, DiscreteGaussian} {
		n, err := Calibrate(Params{Epsilon: 1, Delta: 1e-6, Mechanism: m}, s)
		require.NoError(t, err)
		b := epsilonOf(t, 1e-6, n.Event())
		assert.InEpsilon(t, 1, b.Hi, 1e-3, "%s: one use costs what Cost says", m)
		assert.LessOrEqual(t, b.Hi, 1+1e-9, m)
	}
	require.Error(t, Noise{}.Event().Validate())
}

func TestEventRefuses(t *testing.T) {
	ok := []Event{
		{Mechanism: Laplace, Scale: 1, Sensitivity: 0.5, Count: 1},
		{Mechanism: Skellam, Scale: 10, L1: 4, L2: 2, Count: 3},
		{Mechanism: Renyi, Orders: []float64{2}, Divergences: []float64{0.1}, Count: 1},
		{Mechanism: PartitionSelection, Epsilon: 1, Delta: 1e-9, Count: 1},
	}
	for _, e := range ok {
		require.NoError(t, e.Validate())
		for _, bad := range []float64{math.NaN(), math.Inf(1), math.Inf(-1), -1} {
			for i := range 7 {
				f := e
				field := []*float64{&f.Scale, &f.Sensitivity, &f.L1, &f.L2, &f.Epsilon, &f.Delta, &f.Rho}[i]
				*field = bad
				require.Error(t, f.Validate(), "field %d of %+v", i, f)
				_, err := Compose(e, f)
				require.Error(t, err)
			}
		}
		for _, n := range []int64{0, -1, math.MinInt64, maxCount + 1} {
			f := e
			f.Count = n
			require.Error(t, f.Validate())
		}
	}
	for reason, e := range map[string]Event{
		"no mechanism":       {Count: 1},
		"auto is a wish":     {Mechanism: Auto, Scale: 1, Sensitivity: 1, Count: 1},
		"no scale":           {Mechanism: Gaussian, Sensitivity: 1, Count: 1},
		"no sensitivity":     {Mechanism: Gaussian, Scale: 1, Count: 1},
		"scalar and vector":  {Mechanism: Gaussian, Scale: 1, Sensitivity: 1, L2: 1, Count: 1},
		"wrong norm":         {Mechanism: Laplace, Scale: 1, L2: 1, Count: 1},
		"half a step":        {Mechanism: DiscreteLaplace, Scale: 1, Sensitivity: 0.5, Count: 1},
		"foreign field":      {Mechanism: PureDP, Epsilon: 1, Rho: 1, Count: 1},
		"L1 missing":         {Mechanism: Skellam, Scale: 1, L2: 1, Count: 1},
		"delta of one":       {Mechanism: ApproxDP, Epsilon: 1, Delta: 1, Count: 1},
		"orders alone":       {Mechanism: Renyi, Orders: []float64{2}, Count: 1},
		"order of one":       {Mechanism: Renyi, Orders: []float64{1}, Divergences: []float64{1}, Count: 1},
		"foreign divergence": {Mechanism: ZCDP, Rho: 1, Orders: []float64{2}, Divergences: []float64{1}, Count: 1},
	} {
		require.Error(t, e.Validate(), reason)
	}
	a, err := Compose(ok[0])
	require.NoError(t, err)
	for _, x := range []float64{math.NaN(), math.Inf(1), -1} {
		_, err = a.Epsilon(x)
		require.Error(t, err)
		_, err = a.Delta(x)
		require.Error(t, err)
		_, err = a.RDP(x)
		require.Error(t, err)
	}
	_, err = Compose()
	require.Error(t, err)
}

func TestSmallestScaleIsVerified(t *testing.T) {
	for i, e := range []Event{
		{Mechanism: Laplace, Sensitivity: 2, Count: 20},
		{Mechanism: DiscreteLaplace, Sensitivity: 3, Count: 20},
		{Mechanism: Gaussian, L2: 2, Count: 300},
		{Mechanism: DiscreteGaussian, Sensitivity: 1, Count: 12},
		{Mechanism: DiscreteGaussian, L2: 3, Count: 12},
		{Mechanism: Skellam, Sensitivity: 2, Count: 4},
		{Mechanism: Skellam, L1: 9, L2: 3, Count: 4},
	} {
		if raceEnabled && i > 0 {
			break
		}
		target := Budget{Epsilon: 1.5, Delta: 1e-7}
		scale, proof, err := SmallestScale(e, target)
		require.NoError(t, err)
		assert.LessOrEqual(t, proof.Hi, target.Delta, "%+v", e)
		delta := func(scale float64) Bracket {
			e.Scale = scale
			a, err := Compose(e)
			require.NoError(t, err)
			b, err := a.Delta(target.Epsilon)
			require.NoError(t, err)
			return b
		}
		assert.LessOrEqual(t, delta(scale).Hi, target.Delta)
		assert.Greater(t, delta(scale*0.999).Hi, target.Delta, "%+v: more noise than needed", e)
	}
	_, _, err := SmallestScale(Event{Mechanism: ZCDP, Rho: 1, Count: 1}, Budget{Epsilon: 1, Delta: 1e-6})
	require.Error(t, err, "zCDP has no scale")
	_, _, err = SmallestScale(Event{Mechanism: Gaussian, Sensitivity: 1, Count: 1}, Budget{Epsilon: 1})
	require.Error(t, err, "no Gaussian has δ = 0")
}

// TestTooManyUses: where no transform is long enough, the Rényi curve answers.
func TestTooManyUses(t *testing.T) {
	b := epsilonOf(t, 1e-6, Event{Mechanism: Laplace, Scale: 1e6, Sensitivity: 1, Count: 1 << 40})
	assert.Equal(t, "renyi", b.Rule)
	assert.False(t, b.Proof.Tight)
	g := epsilonOf(t, 1e-6, Event{Mechanism: Gaussian, Scale: 1e6, Sensitivity: 1, Count: 1 << 40})
	assert.Equal(t, "gaussian", g.Rule)
	assert.InEpsilon(t, g.Hi, b.Hi, 0.1, "so many small losses add up to a normal one")
}

// BenchmarkAccountant answers at the default settings; with -cpu 1 it is on one core.
func BenchmarkAccountant(b *testing.B) {
	whole := func(a *Accountant) pld { return a.whole() }
	for _, c := range []struct {
		name   string
		by     func(a *Accountant) pld
		events []Event
	}{
		{"laplace1000", whole, []Event{{Mechanism: Laplace, Scale: 10, Sensitivity: 1, Count: 1000}}},
		{"gaussian1000pld", func(a *Accountant) pld { return pld{uses: a.uses} }, []Event{{Mechanism: Gaussian, Scale: 20, Sensitivity: 1, Count: 1000}}},
		{"hetero", whole, []Event{
			{Mechanism: Laplace, Scale: 10, Sensitivity: 1, Count: 30},
			{Mechanism: Gaussian, Scale: 20, Sensitivity: 1, Count: 12},
			{Mechanism: DiscreteGaussian, Scale: 30, Sensitivity: 1, Count: 5},
			{Mechanism: PureDP, Epsilon: 0.1, Count: 1},
		}},
		{"laplaces", whole, []Event{
			{Mechanism: Laplace, Scale: 70, Sensitivity: 1, Count: 5000},
			{Mechanism: Laplace, Scale: 93.7, Sensitivity: 1, Count: 3333},
			{Mechanism: Laplace, Scale: 41.3, Sensitivity: 1, Count: 2000},
		}},
	} {
		for _, question := range []string{"epsilon", "delta"} {
			b.Run(c.name+"/"+question, func(b *testing.B) {
				epsilon := 0.0
				for b.Loop() {
					a, err := Compose(c.events...)
					if err != nil {
						b.Fatal(err)
					}
					p := c.by(a)
					var x Bracket
					if epsilon == 0 || question == "epsilon" {
						x = bracket(p.epsilon(1e-6))
						epsilon = x.Hi
					} else {
						x = bracket(p.delta(epsilon))
					}
					b.ReportMetric((x.Hi-x.Lo)/x.Hi, "gap")
				}
			})
		}
	}
}

// TestTinyLosses: what loses nearly nothing changes nearly nothing, however small its losses are beside
// the others.
func TestTinyLosses(t *testing.T) {
	t.Parallel()
	others := []Event{{Mechanism: Laplace, Scale: 6, Sensitivity: 1, Count: 3}, {Mechanism: Gaussian, Scale: 9, Sensitivity: 1, Count: 4}}
	alone := epsilonOf(t, 1e-6, others...)
	for _, tiny := range []Event{
		{Mechanism: PureDP, Epsilon: 1e-12, Count: 6},
		{Mechanism: PartitionSelection, Epsilon: 1e-12, Delta: 1e-14, Count: 6},
		{Mechanism: DiscreteLaplace, Scale: 1e12, Sensitivity: 1, Count: 6},
		{Mechanism: Laplace, Scale: 1e12, Sensitivity: 1, Count: 6},
	} {
		b := epsilonOf(t, 1e-6, append([]Event{tiny}, others...)...)
		assert.GreaterOrEqual(t, b.Hi, alone.Lo, "%+v", tiny)
		assert.InEpsilon(t, alone.Hi, b.Hi, 2e-3, "%+v", tiny)
		assert.LessOrEqual(t, b.Lo, alone.Hi+1e-6, "%+v", tiny)
		assert.InEpsilon(t, alone.Lo, b.Lo, 2e-3, "%+v", tiny)
	}
}

// TestWideDiscreteGaussian: on a lattice that is fine beside σ the discrete Gaussian is the
// Gaussian but for a relative 1e-8, up to the σ from which a Rényi bound covers it.
func TestWideDiscreteGaussian(t *testing.T) {
	sigmas := []float64{9_000, 12_000, 40_000, 99_000}
	if raceEnabled {
		sigmas = sigmas[:1]
	}
	for _, sigma := range sigmas {
		e := Event{Mechanism: DiscreteGaussian, Scale: sigma, Sensitivity: sigma / 40, Count: 1}
		a, err := Compose(e)
		require.NoError(t, err)
		e.Mechanism = Gaussian
		whole, err := Compose(e)
		require.NoError(t, err)
		got, err := a.Delta(0.1)
		require.NoError(t, err)
		want, err := whole.Delta(0.1)
		require.NoError(t, err)
		assert.LessOrEqual(t, got.Lo, want.Hi*(1+1e-6), "σ %g", sigma)
		assert.GreaterOrEqual(t, got.Hi, want.Lo*(1-1e-6), "σ %g", sigma)
		assert.Less(t, got.Hi-got.Lo, 1e-3*got.Hi, "σ %g", sigma)
		back, err := a.Epsilon(got.Hi)
		require.NoError(t, err)
		assert.LessOrEqual(t, back.Lo, 0.1)
		assert.InEpsilon(t, 0.1, back.Hi, 1e-3)
	}
}
