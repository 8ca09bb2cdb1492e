package dp

import (
	"fmt"
	"math"
	"math/cmplx"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// drawUse returns one use of a loss with its δ(ε) by other means.
func drawUse(r *rand.Rand) (u use, exact func(epsilon float64) (lo, hi float64)) {
	switch r.IntN(6) {
	case 0:
		u = newUse(loss{kind: Laplace, a: logUniform(r, 1e-3, 5)}, 1)
		return u, func(e float64) (float64, float64) { return laplaceDelta(u.a, e) }
	case 1:
		u = newUse(loss{kind: Gaussian, a: logUniform(r, 1e-3, 5)}, 1)
		return u, func(e float64) (float64, float64) {
			lo, hi := gaussianDelta(u.a, e)
			return math.Exp(lo), math.Exp(hi)
		}
	case 2:
		u = newUse(loss{DiscreteGaussian, logUniform(r, 0.3, 30), 1 + r.Int64N(4)}, 1)
	case 3:
		u = newUse(loss{Skellam, logUniform(r, 0.5, 300), 1 + r.Int64N(4)}, 1)
	case 4:
		u = newUse(loss{DiscreteLaplace, logUniform(r, 0.01, 3), 2 + r.Int64N(8)}, 1)
	case 5:
		n := float64(1 + r.IntN(50))
		u = newUse(loss{kind: PureDP, a: logUniform(r, 1e-3, 3)}, n)
		return u, func(e float64) (float64, float64) { return binomialDelta(u.a, n, e) }
	}
	return u, u.tableDelta
}

// TestSpectrumUnderAnyPlan: no choice of tilt, smoothing and period, sensible or not, makes a wrong
// bracket, at any ε.
func TestSpectrumUnderAnyPlan(t *testing.T) {
	r := rand.New(rand.NewPCG(41, 42))
	narrow := 0
	for range rounds(400) {
		u, exact := drawUse(r)
		p := pld{uses: []use{u}}
		epsilon := logUniform(r, 1e-3, 1) * min(u.sup()*u.count, 4*u.a+u.a*u.a)
		if u.kind == DiscreteGaussian || u.kind == Skellam {
			epsilon = logUniform(r, 0.01, 3)
		}
		w := p.plan(p.saddle(epsilon)*logUniform(r, 0.3, 3), epsilon, logUniform(r, 1e-6, 1))
		w.smooth *= logUniform(r, 0.1, 10)
		w.period *= logUniform(r, 0.3, 2)
		w.right *= logUniform(r, 0.3, 2)
		w.left *= logUniform(r, 0.3, 1)
		if w.points() > 1e5 {
			continue
		}
		lower, upper := p.spectra(w)
		for range 4 {
			lo, hi := exact(epsilon)
			below, above := lower.below(epsilon), upper.above(epsilon)
			require.LessOrEqual(t, below, hi*(1+1e-11)+1e-300, "%+v ε %g under %+v", u.loss, epsilon, w)
			require.GreaterOrEqual(t, above, lo*(1-1e-11), "%+v ε %g under %+v", u.loss, epsilon, w)
			if above-below < 0.01*above {
				narrow++
			}
			epsilon *= logUniform(r, 0.7, 1.3)
		}
	}
	assert.True(t, raceEnabled || narrow > rounds(400)/4, "brackets that say something")
}

// TestTransforms: the closed forms of the factors against plain sums and integrals over the tilted law.
func TestTransforms(t *testing.T) {
	r := rand.New(rand.NewPCG(43, 44))
	for range rounds(100) {
		theta := logUniform(r, 1e-3, 30)
		u := newUse(loss{kind: Laplace, a: logUniform(r, 1e-3, 3)}, 1)
		switch r.IntN(4) {
		case 0:
			u = newUse(loss{DiscreteGaussian, logUniform(r, 0.2, 20), 1 + r.Int64N(5)}, 1)
		case 1:
			u = newUse(loss{DiscreteLaplace, logUniform(r, 1e-3, 3), 2 + r.Int64N(8)}, 1)
		case 2:
			u = newUse(loss{kind: PureDP, a: logUniform(r, 1e-3, 3)}, 1)
		}
		f, _, _ := pld{uses: []use{u}}.factors(plan{theta: theta})
		var losses, logs []float64
		if u.kind == Laplace {
			losses, logs = []float64{-u.a, u.a}, []float64{-u.a - math.Ln2, -math.Ln2}
			const pieces = 400
			h := 2 * u.a / pieces
			for i := range pieces {
				for j, g := range gauss4 {
					l := -u.a + (float64(i)+g)*h
					losses, logs = append(losses, l), append(logs, math.Log(weight4[j]*h/4)-(u.a-l)/2)
				}
			}
		} else {
			table := u.tableAt(theta)
			losses, logs = table.losses, table.logP
		}
		k := u.curve(theta)
		for range 5 {
			x := logUniform(r, 0.01, 100) / u.a
			if u.kind == DiscreteGaussian {
				x *= u.a * u.a / float64(u.shift)
			}
			var sum complex128
			for i, l := range losses {
				sum += cmplx.Rect(math.Exp(logs[i]+theta*l-k), x*(l-f[0].centre))
			}
			re, im := f[0].at(x)
			require.InDelta(t, 0, cmplx.Abs(sum-complex(re, im)), 1e-10+1e-14*x*f[0].reach, "%+v θ %g t %g", u.loss, theta, x)
		}
	}
}

// TestMerge: the merged laws keep the mass and E e^{−L}, and lie on both sides of the law.
func TestMerge(t *testing.T) {
	r := rand.New(rand.NewPCG(45, 46))
	for range rounds(20) {
		u := newUse(loss{Skellam, logUniform(r, 1, 1e4), 1 + r.Int64N(5)}, 1)
		h := logUniform(r, 0.01, 1) * float64(u.shift) / math.Sqrt(u.a)
		below, above := u.law.merge(h, false), u.law.merge(h, true)
		moments := func(t *table) (mass, drop float64) {
			for i, l := range t.losses {
				mass += math.Exp(t.logP[i])
				drop += math.Exp(t.logP[i] - l)
			}
			return mass, drop
		}
		delta := func(t *table, epsilon float64) (sum float64) {
			for i, l := range t.losses {
				sum += math.Exp(t.logP[i]) * step(l, epsilon)
			}
			return sum
		}
		// E e^{zL} is that of a convex function of e^{−L}.
		w := plan{theta: logUniform(r, 0.1, 3) * math.Sqrt(u.a), smooth: h * h, tail: 1e-30}
		lower, upper, _ := pld{uses: []use{u}}.factors(w)
		k := u.curve(w.theta)
		assert.LessOrEqual(t, lower[0].curve(w.theta), k+1e-12)
		assert.GreaterOrEqual(t, upper[0].curve(w.theta), k-1e-12)
		mass, drop := moments(u.law)
		for _, m := range []*table{below, above} {
			assert.LessOrEqual(t, len(m.losses), len(u.law.losses))
			a, b := moments(m)
			assert.InEpsilon(t, mass, a, 1e-12)
			assert.InEpsilon(t, drop, b, 1e-12)
		}
		for range 10 {
			epsilon := (2*r.Float64() - 1) * 5 * float64(u.shift) / math.Sqrt(u.a)
			d := delta(u.law, epsilon)
			assert.LessOrEqual(t, delta(below, epsilon), d*(1+1e-12))
			assert.GreaterOrEqual(t, delta(above, epsilon), d*(1-1e-12))
		}
	}
}

// TestCross: both sides of the crossing of a falling function, with jumps and where it is 0.
func TestCross(t *testing.T) {
	r := rand.New(rand.NewPCG(47, 48))
	for range rounds(400) {
		rate, at := logUniform(r, 1e-3, 1e3), logUniform(r, 1e-6, 1e3)
		jump := logUniform(r, 1e-9, 1)
		f := func(x float64) float64 {
			v := math.Exp(-rate * (x - at))
			if x > at*(1+jump) {
				v = 0
			}
			return min(v, 1e3)
		}
		delta, sup := logUniform(r, 1e-12, 10), at*logUniform(r, 1, 1e6)
		guess, slope := min(at*logUniform(r, 1e-3, 1e3), sup), rate*logUniform(r, 0.01, 100)
		for _, upper := range []bool{false, true} {
			lo, hi := cross(delta, guess, slope, sup, f, upper)
			what := fmt.Sprintf("δ %g rate %g at %g jump %g sup %g: %g, %g", delta, rate, at, jump, sup, lo, hi)
			root := min(at-math.Log(delta)/rate, at*(1+jump))
			if f(0) <= delta {
				require.Zero(t, hi, what)
				require.Equal(t, -1.0, lo, what)
				continue
			}
			require.Greater(t, f(lo), delta, what)
			if f(sup) > delta {
				require.True(t, math.IsInf(hi, 1), what)
				continue
			}
			require.LessOrEqual(t, f(hi), delta, what)
			near := lo
			if upper {
				near = hi
			}
			require.InDelta(t, root, near, 1e-9*root+1e-9/rate, what)
		}
	}
}

// TestTinyGaussian: where the two tails of the closed form are the same to 10 digits and more. At ε = 0,
// δ is erf(μ/√8), and 1/μ times larger scales have the same δ(εμ)/μ.
func TestTinyGaussian(t *testing.T) {
	truth := gaussianTruth(2e-6)
	for _, mu := range []float64{9.9e-7, 1e-9, 1e-12, 1e-18} {
		lo, hi := gaussianDelta(mu, 0)
		want := math.Erf(mu / math.Sqrt(8))
		checkBracket(t, Bracket{Lo: math.Exp(lo), Hi: math.Exp(hi)}, want, 1e-14, fmt.Sprintf("μ %g", mu))
		for _, b := range []float64{0.1, 1, 5, 12, 29, 31, 36} {
			lo, hi := gaussianDelta(mu, b*mu)
			d, _ := truth(b * 2e-6)
			checkBracket(t, Bracket{Lo: math.Exp(lo), Hi: math.Exp(hi)}, d*mu/2e-6, 1e-4, fmt.Sprintf("μ %g, ε %g μ", mu, b))
		}
	}
	b := epsilonOf(t, 1e-13, Event{Mechanism: Gaussian, Scale: 1e12, Sensitivity: 1, Count: 1})
	assert.Less(t, b.Hi-b.Lo, 1e-6*b.Hi)
	assert.Greater(t, b.Lo, 0.0)
}

// TestBeyondFloats: losses that float64 cannot hold give wide brackets, and neither panics nor hours nor
// what is no number.
func TestBeyondFloats(t *testing.T) {
	for _, events := range [][]Event{
		{{Mechanism: Skellam, Scale: 1e-3, Sensitivity: 1, Count: 17}, {Mechanism: PureDP, Epsilon: 1e30, Count: 1000}},
		{{Mechanism: Gaussian, Scale: 1e-12, Sensitivity: 1e30, Count: 1000}, {Mechanism: DiscreteLaplace, Scale: 1e-6, Sensitivity: 3, Count: 1}},
		{{Mechanism: ApproxDP, Epsilon: 1e30, Delta: 1e-15, Count: 17}, {Mechanism: Gaussian, Scale: 1e6, Sensitivity: 1e-30, Count: 10000}},
		{{Mechanism: PureDP, Epsilon: 1e30, Count: 1}, {Mechanism: DiscreteLaplace, Scale: 1, Sensitivity: 1000, Count: 1}},
		{{Mechanism: PureDP, Epsilon: 1e-30, Count: 3}, {Mechanism: ZCDP, Rho: 1e-30, Count: 17}},
	} {
		a, err := Compose(events...)
		require.NoError(t, err)
		if raceEnabled {
			continue
		}
		for _, x := range []float64{0, 1e-6, 1 - 1e-15} {
			for _, ask := range []func(float64) (Bracket, error){a.Epsilon, a.Delta} {
				b, err := ask(x)
				require.NoError(t, err)
				require.GreaterOrEqual(t, b.Lo, 0.0, "%+v at %g", events, x)
				require.GreaterOrEqual(t, b.Hi, b.Lo, "%+v at %g", events, x)
			}
		}
	}
}

// TestFarTail: where δ is below the smallest float64 Hi is not 0 before the largest loss, by any rule, and laws
// whose tables end before ε still have a small δ.
func TestFarTail(t *testing.T) {
	for _, events := range [][]Event{
		{{Mechanism: Skellam, Scale: 3, Sensitivity: 1, Count: 3}, {Mechanism: Laplace, Scale: 2, Sensitivity: 1, Count: 4}},
		{{Mechanism: Gaussian, Scale: 1, Sensitivity: 1, Count: 1}},
		{{Mechanism: PureDP, Epsilon: 0.01, Count: 200_000}},
		{{Mechanism: PureDP, Epsilon: 1, Count: 1}, {Mechanism: Gaussian, Scale: 1, Sensitivity: 1, Count: 1}},
		{{Mechanism: ZCDP, Rho: 0.1, Count: 1}},
	} {
		a, err := Compose(events...)
		require.NoError(t, err)
		b, err := a.Delta(1000)
		require.NoError(t, err)
		assert.Zero(t, b.Lo, "%+v", events)
		assert.Greater(t, b.Hi, 0.0, "%+v by %s", events, b.Rule)
		assert.Less(t, b.Hi, 1e-299, "%+v", events)
	}
}
