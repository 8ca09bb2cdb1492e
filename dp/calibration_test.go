package dp

import (
	"fmt"
	"math"
	"math/big"
	"testing"

	"github.com/google/differential-privacy/go/v3/noise"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// logDeltaProp12 is Proposition 12 written as in the paper and minimised over a
// dense grid of α: slow, and apart from rhoFor.
func logDeltaProp12(rho, epsilon float64) float64 {
	best := math.Inf(1)
	for u := -40.0; u < 50; u += 1e-3 {
		a := math.Exp(u) // α − 1
		alpha := 1 + a
		v := a*(alpha*rho-epsilon) - math.Log(a) + alpha*(math.Log(a)-math.Log1p(a))
		best = min(best, v)
	}
	return best
}

func TestRhoForKeepsDelta(t *testing.T) {
	for _, epsilon := range []float64{1e-6, 1e-3, 0.1, 1, 10, 1000, 1e7} {
		for _, delta := range []float64{0.5, 1e-2, 1e-5, 1e-12, 1e-50, 1e-300} {
			rho := rhoFor(epsilon, delta)
			require.Positive(t, rho)
			require.Less(t, rho, epsilon+1, "ρ-zCDP of one Gaussian has ε ≥ ρ nearly everywhere")
			got := logDeltaProp12(rho, epsilon)
			want := math.Log(delta)
			tolerance := 1e-5 * (1 + math.Abs(want))
			assert.LessOrEqual(t, got, want+tolerance, "ε %g δ %g", epsilon, delta)
			assert.GreaterOrEqual(t, got, want-tolerance-1e-3, "ε %g δ %g: more noise than needed", epsilon, delta)
			assert.InEpsilon(t, epsilon, epsilonFor(rho, delta), 1e-6, "inverse, ε %g δ %g", epsilon, delta)
			assert.GreaterOrEqual(t, epsilon*(1+1e-9), epsilonFor(rho, delta))
		}
	}
}

// TestRhoForIsVerified evaluates Proposition 12 at 200 bits for the α that is
// best for the returned ρ: no rounding may lift δ above what was asked.
func TestRhoForIsVerified(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		epsilon := math.Exp(rapid.Float64Range(math.Log(1e-6), math.Log(1e7)).Draw(t, "ln ε"))
		delta := math.Exp(rapid.Float64Range(math.Log(1e-300), math.Log(0.9)).Draw(t, "ln δ"))
		rho := rhoFor(epsilon, delta)
		// With ρ fixed the best a solves 2aρ + ρ − ε = ln(1 + 1/a): bisect.
		lo, hi := -60.0, 60.0
		for range 200 {
			u := (lo + hi) / 2
			if a := math.Exp(u); (2*a+1)*rho-epsilon > math.Log1p(1/a) {
				hi = u
			} else {
				lo = u
			}
		}
		if got := bigLogDelta(rho, epsilon, math.Exp(lo)); got.Cmp(big.NewFloat(math.Log(delta)+1e-13*math.Abs(math.Log(delta)))) > 0 {
			t.Fatalf("ε %g δ %g: ln δ is %v, asked for %v", epsilon, delta, got, math.Log(delta))
		}
	})
}

// bigLogDelta is Proposition 12 with its large, cancelling term at 200 bits.
func bigLogDelta(rho, epsilon, a float64) *big.Float {
	f := func(x float64) *big.Float { return new(big.Float).SetPrec(200).SetFloat64(x) }
	v := f(1)
	v.Add(v, f(a)).Mul(v, f(rho)).Sub(v, f(epsilon)).Mul(v, f(a))
	return v.Sub(v, f(logPlain(a)))
}

// TestDiscreteGaussianIsNotTheGaussian: at σ = 1, Δ₂ = 1 and δ = 1e-5 the discrete
// Gaussian has ε = 4.430, and the formula of the continuous one says 4.377. A
// calibration that uses it gives σ below 1 at ε = 4.40.
func TestDiscreteGaussianIsNotTheGaussian(t *testing.T) {
	truth := discreteGaussianDelta(1, 4.40)
	require.Greater(t, truth, 1e-5, "σ = 1 is not enough")
	require.InDelta(t, 4.377, gaussianEpsilon(1, 1e-5), 5e-4, "the continuous formula")
	require.InEpsilon(t, 1e-5, discreteGaussianDelta(1, 4.430), 5e-3, "the truth")

	n, err := Calibrate(Params{Epsilon: 4.40, Delta: 1e-5, Mechanism: DiscreteGaussian}, unit)
	require.NoError(t, err)
	assert.Greater(t, n.Scale(), 1.0)
	assert.LessOrEqual(t, discreteGaussianDelta(n.Scale(), 4.40), 1e-5)
}

// discreteGaussianDelta is the exact δ(ε) for sensitivity 1: Σ max(0, P(x) − e^ε·P(x−1)).
func discreteGaussianDelta(sigma, epsilon float64) float64 {
	var all, delta float64
	reach := math.Ceil(60 * max(sigma, 1))
	for x := -reach; x <= reach; x++ {
		all += math.Exp(-x * x / (2 * sigma * sigma))
		delta += max(0, math.Exp(-x*x/(2*sigma*sigma))-math.Exp(epsilon-square(x-1)/(2*sigma*sigma)))
	}
	return delta / all
}

func TestDiscreteGaussianKeepsItsPromise(t *testing.T) {
	for _, epsilon := range []float64{0.1, 0.5, 1, 3, 8} {
		for _, delta := range []float64{1e-2, 1e-5, 1e-9} {
			n, err := Calibrate(Params{Epsilon: epsilon, Delta: delta, Mechanism: DiscreteGaussian}, unit)
			require.NoError(t, err)
			assert.LessOrEqual(t, discreteGaussianDelta(n.Scale(), epsilon), delta, "ε %g δ %g", epsilon, delta)
		}
	}
}

// TestSingleValueNeedsLess: where a unit moves one value, σ comes from its exact loss:
// at most that of zCDP, and a σ smaller by a thousandth breaks the promise.
func TestSingleValueNeedsLess(t *testing.T) {
	for _, lInf := range []int64{1, 3} {
		for _, epsilon := range []float64{0.05, 0.5, 1, 4} {
			for _, delta := range []float64{1e-3, 1e-6, 1e-10} {
				p := Params{Epsilon: epsilon, Delta: delta, Mechanism: DiscreteGaussian}
				n, err := Calibrate(p, Sensitivity{L0: 1, L1: lInf, L2Squared: lInf * lInf, LInf: lInf})
				require.NoError(t, err)
				two, err := Calibrate(p, Sensitivity{L0: 2, L1: lInf, L2Squared: lInf * lInf, LInf: lInf})
				require.NoError(t, err)
				assert.Less(t, n.Scale(), two.Scale()*0.98)
				delta := func(scale float64) Bracket {
					e := n.Event()
					e.Scale = scale
					a, err := Compose(e)
					require.NoError(t, err)
					b, err := a.Delta(epsilon)
					require.NoError(t, err)
					return b
				}
				assert.LessOrEqual(t, delta(n.Scale()).Hi, p.Delta)
				assert.Greater(t, delta(n.Scale()*0.999).Lo, p.Delta)
			}
		}
	}
}

func TestMills(t *testing.T) {
	for x := 0.0; x < 37; x += 0.37 {
		phi := math.Exp(-x*x/2) / math.Sqrt(2*math.Pi)
		assert.InEpsilon(t, math.Erfc(x/math.Sqrt2)/2/phi, mills(x), 1e-12, "x = %g", x)
	}
	// Asymptotic series, DLMF 7.12.1.
	x := 1000.0
	assert.InEpsilon(t, 1/x-1/(x*x*x)+3/math.Pow(x, 5), mills(x), 1e-14)
}

// TestLogGaussianDelta integrates δ = ∫ max(0, p − e^ε·q) by hand.
func TestLogGaussianDelta(t *testing.T) {
	for _, mu := range []float64{0.01, 0.3, 1, 4} {
		for _, epsilon := range []float64{0, 0.05, 1, 6} {
			const steps = 200_000
			// Loss above ε is x < (mu/2 − ε/mu) for p = N(0, 1), q = N(mu, 1).
			end := mu/2 - epsilon/mu
			width := 14.0 / steps
			sum := 0.0
			for i := range steps {
				x := end - (float64(i)+0.5)*width
				sum += (math.Exp(-x*x/2) - math.Exp(epsilon-square(x-mu)/2)) * width / math.Sqrt(2*math.Pi)
			}
			if sum < 1e-300 {
				assert.Less(t, logGaussianDelta(mu, epsilon), -690.0)
				continue
			}
			got := math.Exp(logGaussianDelta(mu, epsilon))
			assert.InEpsilon(t, sum, got, 1e-5, "μ %g ε %g", mu, epsilon)
		}
	}
}

func TestGaussianEpsilon(t *testing.T) {
	for _, mu := range []float64{1e-4, 0.1, 1, 10, 300} {
		for _, delta := range []float64{1e-2, 1e-5, 1e-15, 1e-100} {
			e := gaussianEpsilon(mu, delta)
			assert.LessOrEqual(t, logGaussianDelta(mu, e), math.Log(delta))
			if e > 0 {
				assert.Greater(t, logGaussianDelta(mu, e*(1-1e-6)), math.Log(delta), "μ %g δ %g: not tight", mu, delta)
			}
		}
	}
	assert.Zero(t, gaussianEpsilon(1e-9, 0.5))
}

// TestGaussianIsChecked: whatever Calibrate accepts keeps δ, cut included.
func TestGaussianIsChecked(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, p := drawSensitivity(t), drawParams(t)
		if p.Mechanism = Gaussian; p.Delta == 0 {
			p.Delta = 1e-6
		}
		n, err := Calibrate(p, s)
		if err != nil {
			return
		}
		if n.Scale() != noise.SigmaForGaussian(s.L2Squared, 1, p.Epsilon, n.askDelta) {
			t.Fatal("not the σ that the library uses")
		}
		mu := math.Sqrt(float64(s.L2Squared)) / n.Scale()
		total := math.Exp(logGaussianDelta(mu, p.Epsilon)) + cutDelta(float64(s.L0), float64(s.LInf), n.Scale())
		if total > p.Delta*(1+1e-12) {
			t.Fatalf("δ is %g, asked for %g", total, p.Delta)
		}
	})
}

// TestGaussianIsAvailable: the guards do not refuse everyday parameters.
func TestGaussianIsAvailable(t *testing.T) {
	for _, epsilon := range []float64{0.01, 0.1, 1, 5, 10} {
		for _, delta := range []float64{1e-3, 1e-6, 1e-10} {
			_, err := Calibrate(Params{Epsilon: epsilon, Delta: delta, Mechanism: Gaussian}, benchSensitivity)
			assert.NoError(t, err, "ε %g δ %g", epsilon, delta)
		}
	}
}

func TestGoogleGuards(t *testing.T) {
	for _, c := range []struct {
		reason string
		p      Params
		s      Sensitivity
	}{
		{"delta below the mass of the cut tails", Params{1, 1e-19, Gaussian}, unit},
		{"tiny delta", Params{1, 1e-300, Gaussian}, unit},
		{"ε just above the ceiling", Params{256.5, 0.1, Gaussian}, unit},
		{"σ above 2⁵⁰", Params{minEpsilon, 1e-10, Gaussian}, Sensitivity{L0: 1, L1: 1 << 30, L2Squared: 1 << 60, LInf: 1 << 30}},
		{"Laplace scale above 2³⁹", Params{minEpsilon, 0, Laplace}, unit},
		{"Laplace scale below 2⁻⁶⁴", Params{1e30, 0, Laplace}, unit},
		{"discrete Laplace scale above 2⁵⁰", Params{minEpsilon, 0, DiscreteLaplace}, Sensitivity{L0: 1, L1: 1 << 11, L2Squared: 1 << 22, LInf: 1 << 11}},
		{"nothing fits", Params{minEpsilon, 0, Auto}, Sensitivity{L0: 1, L1: 1 << 30, L2Squared: 1 << 60, LInf: 1 << 30}},
	} {
		n, err := Calibrate(c.p, c.s)
		assert.ErrorContains(t, err, "calibrate noise", c.reason)
		assert.Equal(t, Noise{}, n, c.reason)
	}
}

func TestLaplaceGranularity(t *testing.T) {
	for _, c := range []struct{ b, want float64 }{{1 << 40, 1}, {1<<40 + 1, 2}, {1 << 39, 0.5}, {20, math.Exp2(-35)}} {
		assert.Equal(t, c.want, laplaceGranularity(c.b), fmt.Sprint(c.b))
	}
}

func TestTimesUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x, y := float64(rapid.IntRange(1, 1e6).Draw(t, "x")), rapid.Float64Range(1e-9, 1e9).Draw(t, "y")
		exact := new(big.Rat).Mul(new(big.Rat).SetFloat64(x), new(big.Rat).SetFloat64(y))
		if new(big.Rat).SetFloat64(timesUp(x, y)).Cmp(exact) < 0 {
			t.Fatal("rounded down")
		}
	})
}
