package dp

import (
	"fmt"
	"math"
	"math/cmplx"
	"math/rand/v2"
	"os"
	"sort"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// apart composes without closed forms and without merging Gaussians: by the transform.
func apart(t testing.TB, events ...Event) pld {
	t.Helper()
	a, err := Compose(events...)
	require.NoError(t, err)
	return pld{uses: a.uses}
}

// bracket makes one of an answer of pld.
func bracket(lo, hi float64, s *spectrum) Bracket {
	return Bracket{Lo: lo, Hi: hi, Rule: "pld", Proof: s.proof()}
}

// checkBracket holds a bracket against a value of known relative error.
func checkBracket(t testing.TB, b Bracket, truth, rel float64, what string) {
	t.Helper()
	switch {
	case !(b.Lo <= truth*(1+rel)):
		t.Errorf("%s: lo %.15g is above the truth %.15g (by %.2g)", what, b.Lo, truth, b.Lo/truth-1)
	case !(b.Hi >= truth*(1-rel)):
		t.Errorf("%s: hi %.15g is below the truth %.15g (by %.2g)", what, b.Hi, truth, 1-b.Hi/truth)
	case !(b.Hi-b.Lo <= 1e-3*truth):
		t.Errorf("%s: [%.9g, %.9g] about %.9g is too wide: %.2g", what, b.Lo, b.Hi, truth, (b.Hi-b.Lo)/truth)
	}
}

func logUniform(r *rand.Rand, lo, hi float64) float64 {
	return math.Exp(math.Log(lo) + r.Float64()*(math.Log(hi)-math.Log(lo)))
}

// TestGaussianBelowReferences: Gaussian noise of σ = 20, a thousand times, where
// other accountants fall below the truth.
func TestGaussianBelowReferences(t *testing.T) {
	e := Event{Mechanism: Gaussian, Scale: 20, Sensitivity: 1, Count: 1000}
	for _, c := range []struct{ delta, truth float64 }{{1e-12, 11.9920910549}, {1e-13, 12.4975616677}, {1e-14, 12.9825507278}} {
		a, err := Compose(e)
		require.NoError(t, err)
		b, err := a.Epsilon(c.delta)
		require.NoError(t, err)
		assert.Equal(t, "gaussian", b.Rule)
		checkBracket(t, b, c.truth, 1e-11, fmt.Sprintf("closed form, δ %g", c.delta))
		checkBracket(t, bracket(apart(t, e).epsilon(c.delta)), c.truth, 1e-11, fmt.Sprintf("pld, δ %g", c.delta))
	}
}

// TestGaussianTwoWays: thousands of Gaussians through the transform against the
// closed form of the one that they add up to.
func TestGaussianTwoWays(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range rounds(4) {
		n := math.Floor(logUniform(r, 1, 10000))
		mu := logUniform(r, 0.05, 8)
		delta := logUniform(r, 1e-14, 1e-2)
		e := Event{Mechanism: Gaussian, Scale: math.Sqrt(n) / mu, Sensitivity: 1, Count: int64(n)}
		truth := gaussianEpsilon(mu, delta)
		if truth == 0 {
			continue
		}
		what := fmt.Sprintf("μ %g n %g δ %g", mu, n, delta)
		checkBracket(t, bracket(apart(t, e).epsilon(delta)), truth, 1e-10, what)
		checkBracket(t, bracket(apart(t, e).delta(truth)), math.Exp(logGaussianDelta(mu, truth)), 1e-10, what+" delta")
	}
}

// TestPureTwoWays: randomised response through the transform against the binomial.
func TestPureTwoWays(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range rounds(4) {
		n := math.Floor(logUniform(r, 1, 10000))
		eps := logUniform(r, 0.2, 20) / math.Sqrt(n)
		delta := logUniform(r, 1e-14, 1e-2)
		e := Event{Mechanism: PureDP, Epsilon: eps, Count: int64(n)}
		a, err := Compose(e)
		require.NoError(t, err)
		exact, err := a.Epsilon(delta)
		require.NoError(t, err)
		assert.Equal(t, "binomial", exact.Rule)
		assert.LessOrEqual(t, exact.Hi-exact.Lo, 1e-8*exact.Hi)
		if exact.Hi == 0 {
			continue
		}
		what := fmt.Sprintf("ε %g n %g δ %g", eps, n, delta)
		b := bracket(apart(t, e).epsilon(delta))
		checkBracket(t, b, exact.Hi, 1e-8, what)
		exact, err = a.Delta(b.Hi)
		require.NoError(t, err)
		// Nearer to the largest loss δ hangs on the last bits of ε.
		if exact.Lo > 1e-14 && b.Hi < eps*n*(1-1e-8) {
			checkBracket(t, bracket(apart(t, e).delta(b.Hi)), exact.Hi, 1e-8, what+" delta")
		}
	}
}

// gauss4 and weight4 are the nodes and weights of Gauss and Legendre on [0, 1].
var (
	gauss4  = [4]float64{0.06943184420297371, 0.33000947820757187, 0.6699905217924281, 0.9305681557970262}
	weight4 = [4]float64{0.17392742256872692, 0.3260725774312731, 0.3260725774312731, 0.17392742256872692}
)

// contour is δ(ε) by a numerical inverse Laplace transform (Zhu, Dong, Wang 2022,
// arXiv 2106.08567):
//
//	δ(ε) = 1/2π ∫ exp(K(z) − zε)/(z(z+1)) dt, z = θ + it
//
// from characteristic functions in closed form: no lattice of losses, no tilting
// of masses, no fast transform. The trapezoidal rule converges geometrically in
// 1/step. It needs a K that falls, from a Gaussian or from many uses.
func contour(k func(z complex128) complex128, theta, epsilon, step, end float64) float64 {
	at := func(t float64) float64 {
		z := complex(theta, t)
		return real(cmplx.Exp(k(z)-z*complex(epsilon, 0)) / (z * (z + 1)))
	}
	var sum neumaier
	sum.add(at(0) / 2)
	for i := 1.0; i*step <= end; i++ {
		sum.add(at(i * step))
	}
	return sum.value() * step / math.Pi
}

// complexCurve is K(z) for complex z.
func complexCurve(e Event) func(z complex128) complex128 {
	n := complex(float64(e.Count), 0)
	pure := func(a float64) func(z complex128) complex128 {
		return func(z complex128) complex128 {
			return n * (z*complex(a, 0) + cmplx.Log((1+cmplx.Exp(-(2*z+1)*complex(a, 0)))/complex(1+math.Exp(-a), 0)))
		}
	}
	switch e.Mechanism {
	case PureDP:
		return pure(e.Epsilon)
	case Gaussian:
		m := complex(square(e.Sensitivity/e.Scale), 0)
		return func(z complex128) complex128 { return n * z * (z + 1) * m / 2 }
	case Laplace:
		a := complex(e.Sensitivity/e.Scale, 0)
		return func(z complex128) complex128 {
			w := 2*z + 1
			return n * (z*a + cmplx.Log((z+1)/w+z/w*cmplx.Exp(-w*a)))
		}
	case DiscreteLaplace:
		a, s := 1/e.Scale, int(e.Sensitivity)
		q := math.Exp(-a)
		return func(z complex128) complex128 {
			sum := complex(1/(1+q), 0) * (1 + cmplx.Exp(-(2*z+1)*complex(a*float64(s), 0)))
			for j := 1; j < s; j++ {
				sum += complex((1-q)/(1+q), 0) * cmplx.Exp(-(2*z+1)*complex(a*float64(j), 0))
			}
			return n * (z*complex(a*float64(s), 0) + cmplx.Log(sum))
		}
	}
	if e.Mechanism == Skellam {
		law, s := skellamLaw(e)
		return func(z complex128) complex128 {
			var sum complex128
			for i := range law[:len(law)-s] {
				sum += cmplx.Exp(z*complex(law[i]-law[i+s], 0) + complex(law[i], 0))
			}
			return n * cmplx.Log(sum)
		}
	}
	sigma, s := e.Scale, e.Sensitivity
	var logP, loss []float64
	reach := math.Ceil(38 * sigma)
	for x := -reach; x <= reach; x++ {
		logP = append(logP, -x*x/(2*sigma*sigma))
		loss = append(loss, s*(2*x+s)/(2*sigma*sigma))
	}
	all := 0.0
	for _, p := range logP {
		all += math.Exp(p)
	}
	return func(z complex128) complex128 {
		var sum complex128
		for i, p := range logP {
			sum += cmplx.Exp(z*complex(loss[i], 0) + complex(p, 0))
		}
		return n * cmplx.Log(sum/complex(all, 0))
	}
}

// TestHeterogeneousAgainstContour composes kinds whose lattices have no common step.
func TestHeterogeneousAgainstContour(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for i := range rounds(4) {
		n := func() int64 { return int64(logUniform(r, 1, 300)) }
		gauss := Event{Mechanism: Gaussian, Sensitivity: 1, Count: n()}
		gauss.Scale = math.Sqrt(float64(gauss.Count)) / logUniform(r, 0.3, 2)
		events := []Event{gauss}
		if k := n(); i%2 == 0 {
			events = append(events, Event{Mechanism: Laplace, Scale: math.Sqrt(float64(k)) / logUniform(r, 0.1, 2), Sensitivity: 1, Count: k})
		}
		if k := n(); i%3 == 0 {
			events = append(events, Event{Mechanism: PureDP, Epsilon: logUniform(r, 0.1, 2) / math.Sqrt(float64(k)), Count: k})
		}
		if k := n(); i%3 == 1 {
			s := 1 + r.IntN(6)
			events = append(events, Event{Mechanism: DiscreteLaplace, Scale: float64(s) * math.Sqrt(float64(k)) / logUniform(r, 0.1, 2), Sensitivity: float64(s), Count: k})
		}
		if k := n(); i%4 == 3 {
			s := 1 + r.IntN(3)
			events = append(events, Event{Mechanism: DiscreteGaussian, Scale: max(float64(s)*math.Sqrt(float64(k))/logUniform(r, 0.2, 2), 1), Sensitivity: float64(s), Count: k})
		}
		a, err := Compose(events...)
		require.NoError(t, err)
		delta := logUniform(r, 1e-14, 1e-3)
		what := fmt.Sprintf("%+v δ %g", events, delta)
		b, err := a.Epsilon(delta)
		require.NoError(t, err)
		checkTruth(t, a, b, events, delta, what)
	}
}

// checkTruth holds the ends of a bracket of ε(δ), and brackets of δ there, against
// contour integrals.
func checkTruth(t *testing.T, a *Accountant, b Bracket, events []Event, delta float64, what string) {
	t.Helper()
	if b.Hi == 0 {
		return
	}
	var curves []func(z complex128) complex128
	mu2 := 0.0
	for _, e := range events {
		curves = append(curves, complexCurve(e))
		if e.Mechanism == Gaussian {
			mu2 += float64(e.Count) * square(e.Sensitivity/e.Scale)
		}
	}
	k := func(z complex128) complex128 {
		var sum complex128
		for _, c := range curves {
			sum += c(z)
		}
		return sum
	}
	p := a.whole()
	at := func(epsilon float64) float64 {
		theta := p.saddle(epsilon)
		_, dev := p.shape(theta)
		end := 14 / dev
		if mu2 > 0 {
			end = math.Sqrt(70/mu2) + theta
		}
		return contour(k, theta, epsilon, 2*math.Pi/(30*dev+40/theta), end)
	}
	const rel = 1e-9
	if d := at(b.Hi); d > delta*(1+rel) {
		t.Errorf("%s: at hi %g δ is %g", what, b.Hi, d)
	}
	if d := at(b.Lo); d < delta*(1-rel) {
		t.Errorf("%s: at lo %g δ is %g", what, b.Lo, d)
	}
	if gap := (b.Hi - b.Lo) / b.Hi; gap > 1e-3 {
		t.Errorf("%s: the bracket is %g wide", what, gap)
	}
	c, err := a.Delta(b.Hi)
	require.NoError(t, err)
	checkBracket(t, c, at(b.Hi), rel, what+" delta")
}

// TestManyAgainstContour: many uses of one bounded mechanism, where its characteristic
// function falls below 1e-16 for good: the part of the law that is not at ±a is raised
// to the count.
func TestManyAgainstContour(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	for range rounds(3) {
		n := math.Floor(logUniform(r, 500, 10000))
		a := max(logUniform(r, 1, 20)/math.Sqrt(n), 100/n)
		e := Event{Mechanism: Laplace, Scale: 1 / a, Sensitivity: 1, Count: int64(n)}
		acc, err := Compose(e)
		require.NoError(t, err)
		delta := logUniform(r, 1e-14, 1e-3)
		b, err := acc.Epsilon(delta)
		require.NoError(t, err)
		checkTruth(t, acc, b, []Event{e}, delta, fmt.Sprintf("%+v δ %g", e, delta))
	}
}

// TestFewLaplaceAgainstQuadrature integrates two and three uses: δₙ(ε) = E δₙ₋₁(ε − L), from
// the closed form of one.
func TestFewLaplaceAgainstQuadrature(t *testing.T) {
	one := func(a, x float64) float64 {
		switch {
		case x >= a:
			return 0
		case x > -a:
			return -math.Expm1((x - a) / 2)
		}
		return -math.Expm1(x)
	}
	var delta func(n int, a, x float64) float64
	delta = func(n int, a, x float64) float64 {
		if n == 1 {
			return one(a, x)
		}
		if x >= float64(n)*a {
			return 0
		}
		sum := delta(n-1, a, x-a)/2 + math.Exp(-a)/2*delta(n-1, a, x+a)
		// Kinks of δₙ₋₁(x − l) are at the x − l = (n−1−2j)·a.
		cuts := []float64{-a}
		for j := n - 1; j >= 0; j-- {
			if l := x - float64(2*j-(n-1))*a; l > -a && l < a {
				cuts = append(cuts, l)
			}
		}
		cuts = append(cuts, a)
		sort.Float64s(cuts)
		for i := 1; i < len(cuts); i++ {
			lo, w := cuts[i-1], (cuts[i]-cuts[i-1])/12
			for p := range 12 { // four Gauss points on each of 12 pieces
				for k, g := range gauss4 {
					l := lo + (float64(p)+g)*w
					sum += weight4[k] * w * math.Exp(-(a-l)/2) / 4 * delta(n-1, a, x-l)
				}
			}
		}
		return sum
	}
	r := rand.New(rand.NewPCG(11, 12))
	for range rounds(4) {
		n := 2 + r.IntN(2)
		a := logUniform(r, 0.05, 4)
		e := Event{Mechanism: Laplace, Scale: 1 / a, Sensitivity: 1, Count: int64(n)}
		acc, err := Compose(e)
		require.NoError(t, err)
		epsilon := a * float64(n) * math.Sqrt(r.Float64()) * 0.999
		b, err := acc.Delta(epsilon)
		require.NoError(t, err)
		checkBracket(t, b, delta(n, a, epsilon), 1e-9, fmt.Sprintf("%d of a %g at ε %g", n, a, epsilon))
	}
}

// TestDiscreteAgainstConvolution convolves the laws of the integers directly.
func TestDiscreteAgainstConvolution(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	for i := range rounds(4) {
		n := 1 + r.IntN(3)
		s := 1 + r.IntN(3)
		var e Event
		var mass func(x int) float64
		switch i % 3 {
		case 0:
			sigma := logUniform(r, 0.5, 6)
			e = Event{Mechanism: DiscreteGaussian, Scale: sigma}
			mass = func(x int) float64 { return math.Exp(-square(float64(x)/sigma) / 2) }
		case 1:
			b := logUniform(r, 0.5, 3)
			e = Event{Mechanism: DiscreteLaplace, Scale: b}
			mass = func(x int) float64 { return math.Exp(-math.Abs(float64(x)) / b) }
		case 2:
			v := logUniform(r, 1, 30)
			e = Event{Mechanism: Skellam, Scale: math.Sqrt(v)}
			// Σ_j Poisson(j+x)·Poisson(j), both of mean v/2
			mass = func(x int) float64 {
				sum := 0.0
				for j := max(0, -x); j < 300; j++ {
					lg1, _ := math.Lgamma(float64(j + 1))
					lg2, _ := math.Lgamma(float64(j + x + 1))
					sum += math.Exp(float64(2*j+x)*math.Log(v/2) - v - lg1 - lg2)
				}
				return sum
			}
		}
		e.Sensitivity, e.Count = float64(s), int64(n)
		const reach = 90
		p := make([]float64, 2*reach+1)
		all := 0.0
		for x := range p {
			p[x] = mass(x - reach)
			all += p[x]
		}
		type outcome struct{ p, q float64 }
		one := []outcome{}
		for x := s; x < len(p); x++ {
			if p[x] > 1e-30*all || p[x-s] > 1e-30*all {
				one = append(one, outcome{p[x-s] / all, p[x] / all})
			}
		}
		a, err := Compose(e)
		require.NoError(t, err)
		delta := logUniform(r, 1e-14, 1e-3)
		b, err := a.Epsilon(delta)
		require.NoError(t, err)
		if b.Hi == 0 {
			continue
		}
		what := fmt.Sprintf("%+v δ %g", e, delta)
		at := func(epsilon float64) float64 {
			grow := math.Exp(epsilon)
			var walk func(p, q float64, left int) float64
			walk = func(p, q float64, left int) float64 {
				if left == 0 {
					return max(p-grow*q, 0)
				}
				sum := 0.0
				for _, o := range one {
					if pp := p * o.p; pp > 1e-26 {
						sum += walk(pp, q*o.q, left-1)
					}
				}
				return sum
			}
			return walk(1, 1, n)
		}
		const rel = 1e-8
		// δ may jump by less than the bracket of ε can show, where ε is the largest loss.
		if d := at(b.Hi); d > delta*(1+rel) {
			t.Errorf("%s: at hi %.12g δ is %g", what, b.Hi, d)
		}
		if d := at(b.Lo); d < delta*(1-rel) {
			t.Errorf("%s: at lo %.12g δ is %g", what, b.Lo, d)
		}
		if gap := (b.Hi - b.Lo) / b.Hi; gap > 1e-3 {
			t.Errorf("%s: the bracket is %g wide: %v", what, gap, b)
		}
		epsilon := b.Lo * 0.9
		c, err := a.Delta(epsilon)
		require.NoError(t, err)
		checkBracket(t, c, at(epsilon), rel, what+" delta")
	}
}

// rounds is how many random cases a test tries: n, half as many with -short, or
// twenty times as many with LARDER_FULL.
func rounds(n int) int {
	switch {
	case raceEnabled:
		return 1
	case testing.Short():
		return n / 2
	}
	if os.Getenv("LARDER_FULL") != "" {
		return 20 * n
	}
	return n
}
