package dp

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Random cases of the kinds that the known answers have, at counts up to 10,000, δ from 1e-2
// to 1e-14 and sensitivities other than 1, each against a truth that shares nothing
// with the accountant: no lattice of losses but where the losses are on one, no
// tilting, no transform.

// A trueDelta is δ(ε) to about 1e-10 of it. ok is false where it cannot tell.
type trueDelta func(epsilon float64) (delta float64, ok bool)

// An atom is a loss and its probability.
type atom struct{ loss, p float64 }

// step is δ(ε) of a single loss: (1 − e^{ε−l})₊.
func step(l, epsilon float64) float64 {
	if l <= epsilon {
		return 0
	}
	return -math.Expm1(epsilon - l)
}

// gaussianTruth integrates over x = L − ε, with no difference of two tails:
//
//	δ(ε) = φ(z)/μ·∫₀^∞ (1 − e^{−x})·e^{−zx/μ − x²/2μ²} dx, z = (ε − μ²/2)/μ
func gaussianTruth(mu float64) trueDelta {
	return func(epsilon float64) (float64, bool) {
		z := (epsilon - mu*mu/2) / mu
		// In units of μ, y = x/μ: Simpson's rule to where the integrand has fallen by e^{-60} of its peak.
		peak := max(-z, 0)
		end := peak + 12
		if z > 0 {
			end = min(end, 60/z+1)
		}
		const n = 20000
		h := end / n
		var sum neumaier
		for i := 1; i <= n; i++ {
			w := 2.0 + 2*float64(i%2)
			if i == n {
				w = 1
			}
			y := float64(i) * h
			sum.add(w * -math.Expm1(-mu*y) * math.Exp(-square(y+z)/2))
		}
		return sum.value() * h / 3 / math.Sqrt(2*math.Pi), true
	}
}

// repeated returns the law of the sum of n independent draws from a law on 0, 1, 2, …, but
// for masses below 1e-40.
func repeated(law []float64, n int64) []float64 {
	out := []float64{1}
	for ; n > 0; n >>= 1 {
		if n&1 == 1 {
			out = convolved(out, law)
		}
		if n > 1 {
			law = convolved(law, law)
		}
	}
	return out
}

func convolved(x, y []float64) []float64 {
	if len(x) > len(y) {
		x, y = y, x
	}
	first := 0
	for first < len(y)-1 && y[first] < 1e-40 {
		first++
	}
	out := make([]float64, len(x)+len(y)-1)
	for i, p := range x {
		if p < 1e-40 {
			continue
		}
		to := out[i+first:]
		for j, q := range y[first:] {
			to[j] += p * q
		}
	}
	for len(out) > 1 && out[len(out)-1] < 1e-40 {
		out = out[:len(out)-1]
	}
	return out
}

// latticeAtoms are the losses of n uses of an event whose losses are on a lattice: randomised
// response, discrete Laplace and discrete Gaussian noise.
func latticeAtoms(e Event) (atoms []atom) {
	n := float64(e.Count)
	var law []float64
	var first, width float64
	switch e.Mechanism {
	case PureDP, ApproxDP:
		q := math.Exp(-e.Epsilon)
		law, first, width = []float64{q / (1 + q), 1 / (1 + q)}, -e.Epsilon, 2*e.Epsilon
	case DiscreteLaplace:
		a := 1 / e.Scale
		s := int(e.Sensitivity)
		q := math.Exp(-a)
		law, first, width = make([]float64, s+1), -a*e.Sensitivity, 2*a
		for x := -60 * int(e.Scale+1); x <= s+60*int(e.Scale+1); x++ { // x ~ P, the loss a(|x−s| − |x|)
			k := (s + max(min(s-2*x, s), -s)) / 2
			law[k] += (1 - q) / (1 + q) * math.Exp(-a*math.Abs(float64(x)))
		}
	case DiscreteGaussian:
		s := e.Sensitivity
		reach := int(math.Ceil(min(38*e.Scale, 13*e.Scale*math.Sqrt(n)))) + 3
		law = make([]float64, 2*reach+1)
		all := 0.0
		for i := range law {
			law[i] = math.Exp(-square(float64(i-reach)/e.Scale) / 2)
			all += law[i]
		}
		for i := range law {
			law[i] /= all
		}
		width = s / (e.Scale * e.Scale)
		first = -float64(reach)*width + s*s/(2*e.Scale*e.Scale)
	}
	for i, p := range repeated(law, e.Count) {
		if p > 0 {
			atoms = append(atoms, atom{n*first + float64(i)*width, p})
		}
	}
	return atoms
}

// mixed is δ(ε) of independent atoms besides a rest.
func mixed(atoms []atom, rest trueDelta) trueDelta {
	return func(epsilon float64) (float64, bool) {
		var sum neumaier
		sure := true
		for _, a := range atoms {
			if a.p < 1e-27 {
				continue
			}
			d, ok := rest(epsilon - a.loss)
			sum.add(a.p * d)
			sure = sure && ok
		}
		return sum.value(), sure
	}
}

// nothing is δ(ε) of no loss at all; it holds below 0 too.
func nothing(epsilon float64) (float64, bool) { return step(0, epsilon), true }

// laplaceTruth convolves n uses directly on grids of m, 2m and 4m steps between the
// smallest and the largest loss, with the mass and its E e^{−L} of every step kept, and
// extrapolates to steps of no width (Richardson). snap moves ε onto the coarsest grid, where the three agree on
// what is above it.
func laplaceTruth(e Event) (truth trueDelta, snap func(epsilon float64) float64) {
	a, n := e.Sensitivity/e.Scale, float64(e.Count)
	m := int(min(max(64/math.Sqrt(n), 4), 32)) &^ 1
	var grids [3][]float64
	for i := range grids {
		grids[i] = repeated(laplaceSteps(a, m<<i), e.Count)
	}
	h := 2 * a / float64(m)
	snap = func(epsilon float64) float64 { return -n*a + h*math.Round((epsilon+n*a)/h) }
	return func(epsilon float64) (float64, bool) {
		var d [3]float64
		for i, law := range grids {
			step := h / float64(int(1)<<i)
			k := int(math.Round((epsilon+n*a)/h)) << i
			var sum neumaier
			for j := len(law) - 1; j > k; j-- {
				sum.add(law[j] * -math.Expm1(-float64(j-k)*step))
			}
			d[i] = sum.value()
		}
		once, twice := (4*d[1]-d[0])/3, (4*d[2]-d[1])/3
		best := (16*twice - once) / 15
		return best, math.Abs(best-twice) < 1e-9*best
	}, snap
}

// laplaceSteps: atoms at both ends, and between them the density ¼·exp(−(a−L)/2), by Gauss and Legendre.
func laplaceSteps(a float64, m int) []float64 {
	law := make([]float64, m+1)
	law[0], law[m] = math.Exp(-a)/2, 0.5
	h := 2 * a / float64(m)
	for i := range m {
		for part := range 4 {
			for j, g := range gauss4 {
				x := (float64(part) + g) / 4 * h
				p := weight4[j] * h / 4 * math.Exp(-(2*a-float64(i)*h-x)/2) / 4
				up := math.Expm1(-x) / math.Expm1(-h)
				law[i] += p * (1 - up)
				law[i+1] += p * up
			}
		}
	}
	return law
}

// contourTruth is the integral of TestHeterogeneousAgainstContour. A Gaussian
// is among the events, which bounds the integrand far out, or they are many.
func contourTruth(events []Event) trueDelta {
	var curves []func(z complex128) complex128
	mu := 0.0
	for _, e := range events {
		curves = append(curves, complexCurve(e))
		if e.Mechanism == Gaussian {
			mu = math.Hypot(mu, math.Sqrt(float64(e.Count))*e.Sensitivity/e.Scale)
		}
	}
	k := func(z complex128) (sum complex128) {
		for _, c := range curves {
			sum += c(z)
		}
		return sum
	}
	return func(epsilon float64) (float64, bool) {
		// Any tilt is right; the best one has the least cancellation.
		best, theta := math.Inf(1), 1.0
		for u := -9.0; u < 9; u += 0.02 {
			z := math.Exp(u)
			if v := real(k(complex(z, 0))) - z*epsilon - math.Log(z*(z+1)); v < best {
				best, theta = v, z
			}
		}
		d := 1e-3 * theta
		at := func(t float64) float64 { return real(k(complex(theta, t))) - real(k(complex(theta, 0))) }
		dev := math.Sqrt(max(-2*at(d)/(d*d), 1e-12))
		end := math.Sqrt(80)/mu + theta
		if mu == 0 { // many uses: from there on the transform is below 1e-16 for good
			end = 14 / dev
		}
		return contour(k, theta, epsilon, 2*math.Pi/(30*dev+40/theta), end), true
	}
}

// A randomCase is one question with its truth.
type randomCase struct {
	events []Event
	truth  trueDelta
	snap   func(epsilon float64) float64 // to where truth can tell; nil: anywhere
	delta  float64                       // about the one to ask for
}

func drawCase(r *rand.Rand, kind int) randomCase {
	c := randomCase{delta: logUniform(r, 1e-14, 1e-2)}
	count := func(most float64) int64 { return int64(math.Floor(logUniform(r, 1, most+1))) }
	real := func() float64 { return []float64{1, 1, 0.5, 2.5, 3, 17}[r.IntN(6)] }
	whole := func(most int) float64 { return float64(1 + r.IntN(most)) }
	gauss := func(lo, hi float64) Event {
		e := Event{Mechanism: Gaussian, Sensitivity: real(), Count: count(10000)}
		e.Scale = e.Sensitivity * math.Sqrt(float64(e.Count)) / logUniform(r, lo, hi)
		return e
	}
	mu := func(events ...Event) float64 {
		sum := 0.0
		for _, e := range events {
			sum += float64(e.Count) * square(e.Sensitivity/e.Scale)
		}
		return math.Sqrt(sum)
	}
	pure := func(most, lo, hi float64) Event {
		e := Event{Mechanism: PureDP, Count: count(most)}
		e.Epsilon = logUniform(r, lo, hi) / math.Sqrt(float64(e.Count))
		return e
	}
	laplace := func(most, lo, hi float64) Event {
		e := Event{Mechanism: Laplace, Sensitivity: real(), Count: count(most)}
		e.Scale = e.Sensitivity * math.Sqrt(float64(e.Count)) / logUniform(r, lo, hi)
		return e
	}
	discreteLaplace := func(most float64, s int, lo, hi float64) Event {
		e := Event{Mechanism: DiscreteLaplace, Sensitivity: whole(s), Count: count(most)}
		e.Scale = e.Sensitivity * math.Sqrt(float64(e.Count)) / logUniform(r, lo, hi)
		return e
	}
	discreteGaussian := func(size float64) Event {
		e := Event{Mechanism: DiscreteGaussian, Sensitivity: whole(4), Scale: logUniform(r, 0.4, 40)}
		e.Count = int64(max(min(square(size/e.Scale), 10000)*r.Float64(), 1))
		return e
	}
	switch kind {
	case 0: // Gaussians, one or several
		c.events = []Event{gauss(1e-3, 30)}
		if r.IntN(2) == 0 {
			c.events = append(c.events, gauss(1e-2, 5))
		}
		c.truth = gaussianTruth(mu(c.events...))
	case 1:
		c.events = []Event{pure(10000, 0.01, 60)}
		c.truth = mixed(latticeAtoms(c.events[0]), nothing)
	case 2:
		c.events = []Event{discreteLaplace(10000, 1, 0.01, 60)}
		c.truth = mixed(latticeAtoms(c.events[0]), nothing)
	case 3:
		c.events = []Event{discreteLaplace(3000, 9, 0.01, 40)}
		c.truth = mixed(latticeAtoms(c.events[0]), nothing)
	case 4:
		c.events = []Event{discreteGaussian(600)}
		c.truth = mixed(latticeAtoms(c.events[0]), nothing)
	case 5:
		c.events = []Event{laplace(10000, 0.01, 60)}
		c.truth, c.snap = laplaceTruth(c.events[0])
	case 6: // Laplace of several scales
		c.events = []Event{gauss(0.1, 5), laplace(10000, 0.1, 5), laplace(10000, 0.1, 5), laplace(100, 0.1, 5)}
		c.truth = contourTruth(c.events)
	case 7: // a Gaussian, and what is on two lattices without a common step
		c.events = []Event{gauss(0.1, 5), pure(30, 0.1, 10), discreteGaussian(20)}
		c.truth = mixed(latticeAtoms(c.events[1]), mixed(latticeAtoms(c.events[2]), gaussianTail(mu(c.events[0]))))
	case 8: // discrete alone, on two lattices
		c.events = []Event{pure(30, 0.1, 20), discreteLaplace(40, 4, 0.1, 20)}
		c.truth = mixed(latticeAtoms(c.events[0]), mixed(latticeAtoms(c.events[1]), nothing))
	case 9: // all together
		c.events = []Event{gauss(0.1, 3), laplace(10000, 0.1, 5), pure(10000, 0.1, 5), discreteLaplace(300, 5, 0.1, 3)}
		c.truth = contourTruth(c.events)
	case 10: // few uses of a bounded loss beside a discrete Gaussian
		c.events = []Event{pure(5, 0.1, 20), discreteGaussian(20), discreteGaussian(20)}
		c.truth = mixed(latticeAtoms(c.events[0]), mixed(latticeAtoms(c.events[1]), mixed(latticeAtoms(c.events[2]), nothing)))
	case 11: // mechanisms that lose everything with some probability
		e := pure(2000, 0.1, 10)
		e.Mechanism, e.Delta = ApproxDP, c.delta*logUniform(r, 1e-3, 0.9)/float64(e.Count)
		g := gauss(0.1, 5)
		c.events = []Event{e, g}
		inner := mixed(latticeAtoms(e), gaussianTail(mu(g)))
		lost := -math.Expm1(float64(e.Count) * math.Log1p(-e.Delta))
		c.truth = func(epsilon float64) (float64, bool) {
			d, ok := inner(epsilon)
			return lost + (1-lost)*d, ok
		}
	case 12: // Skellam noise on one number, once
		e := Event{Mechanism: Skellam, Sensitivity: whole(6), Scale: math.Sqrt(logUniform(r, 1, 2e3)), Count: 1}
		c.events, c.truth = []Event{e}, skellamTruth(e)
	case 13: // few Laplace beside a Gaussian
		c.events = []Event{gauss(0.3, 5), laplace(10, 0.1, 10)}
		c.truth = contourTruth(c.events)
	case 14: // Laplace alone, of scales without a common divisor, thousands of times
		for range 2 + r.IntN(6) {
			e := laplace(1, 0.1, 5)
			e.Count = 1000 + r.Int64N(9000)
			e.Scale = min(e.Scale*math.Sqrt(float64(e.Count)), e.Sensitivity*float64(e.Count)/100)
			c.events = append(c.events, e)
		}
		c.truth = contourTruth(c.events)
	case 15: // Skellam noise many times, on more points than are summed
		e := Event{Mechanism: Skellam, Sensitivity: whole(6), Scale: math.Sqrt(logUniform(r, 1, 1e4))}
		e.Count = int64(max(min(square(logUniform(r, 0.1, 5)*e.Scale/e.Sensitivity), 10000), 1))
		c.events = []Event{gauss(0.1, 3), e, laplace(10000, 0.1, 3)}
		c.truth = contourTruth(c.events)
	}
	return c
}

var caseKinds = []string{
	"gaussian", "pure", "discrete laplace of one step", "discrete laplace", "discrete gaussian", "laplace", "laplaces",
	"gaussian pure discrete gaussian", "pure discrete laplace", "all", "pure discrete gaussians", "approximate", "skellam", "gaussian few laplace",
	"laplaces alone", "skellam many",
}

// gaussianTail is gaussianTruth by Balle and Wang's formula: faster, for sums over many atoms,
// and for ε below 0 too.
func gaussianTail(mu float64) trueDelta {
	phi := func(x float64) float64 { return math.Erfc(-x/math.Sqrt2) / 2 }
	return func(epsilon float64) (float64, bool) {
		a, b := mu/2, epsilon/mu
		if x := b - a; x > 0 { // by Mills' ratios, of which the difference keeps its digits
			return math.Exp(-x*x/2) / math.Sqrt(2*math.Pi) * (mills(x) - mills(a+b)), true
		}
		return phi(a-b) - math.Exp(epsilon)*phi(-a-b), true
	}
}

// skellamTruth sums over the outcomes, with the law of a difference of Poissons summed up from
// logarithms.
func skellamTruth(e Event) trueDelta {
	logP, s := skellamLaw(e)
	return func(epsilon float64) (float64, bool) {
		var sum neumaier
		for i := range logP {
			if i+s < len(logP) {
				sum.add(math.Exp(logP[i]) * step(logP[i]-logP[i+s], epsilon))
			}
		}
		return sum.value(), true
	}
}

// skellamLaw is ln P of the outcomes in order, of which Q is the same, s places on.
func skellamLaw(e Event) (logP []float64, s int) {
	v := e.Scale * e.Scale
	s = int(e.Sensitivity)
	reach := int(14*e.Scale) + 40 + s
	logP = make([]float64, 2*reach+1)
	for i := range logP {
		x := i - reach
		if x < 0 {
			x = -x
		}
		var sum neumaier
		// Σ_j Poisson(j+x)·Poisson(j), both of mean v/2, relative to its largest term.
		mode := math.Floor((math.Sqrt(float64(x)*float64(x)+v*v) - float64(x)) / 2)
		lg := func(j float64) float64 { y, _ := math.Lgamma(j + 1); return y }
		top := (2*mode+float64(x))*math.Log(v/2) - v - lg(mode) - lg(mode+float64(x))
		term := 1.0
		for j := mode; j >= 0 && term > 1e-22; j-- {
			sum.add(term)
			term *= j * (j + float64(x)) / square(v/2)
		}
		term = 1.0
		for j := mode + 1; ; j++ {
			term *= square(v/2) / (j * (j + float64(x)))
			if sum.add(term); term < 1e-22 {
				break
			}
		}
		logP[i] = top + math.Log(sum.value())
	}
	return logP, s
}

// TestRandomCases holds the rule of the known answers for cases that nobody chose.
func TestRandomCases(t *testing.T) {
	for kind, name := range caseKinds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if raceEnabled && kind > 2 {
				return // the truths take long
			}
			r := rand.New(rand.NewPCG(21, uint64(kind)))
			for range rounds(1) {
				c := drawCase(r, kind)
				c.check(t, fmt.Sprintf("%+v δ %g", c.events, c.delta), r)
			}
		})
	}
}

// check asks for δ at the ε that the accountant has for about c.delta, then for ε at the true δ
// there, and for δ at a smaller ε.
func (c randomCase) check(t *testing.T, what string, r *rand.Rand) {
	const rel = 1e-8
	a, err := Compose(c.events...)
	require.NoError(t, err, what)
	b, err := a.Epsilon(c.delta)
	require.NoError(t, err, what)
	at := func(epsilon float64) (float64, float64, bool) {
		if c.snap != nil {
			epsilon = c.snap(epsilon)
		}
		d, ok := c.truth(epsilon)
		// Near the largest loss δ hangs on the last bits of ε.
		if next, _ := c.truth(epsilon * (1 - 4*ulp)); c.snap == nil && next > d*(1+1e-4) {
			return epsilon, d, false
		}
		return epsilon, d, ok && epsilon > 0 && d > 1e-15
	}
	epsilon, delta, ok := at(b.Hi)
	if !ok {
		if d, ok := c.truth(0); ok && c.snap == nil && b.Hi == 0 {
			require.LessOrEqual(t, d, c.delta*(1+rel), what)
		}
		return
	}
	c.timed(t, what, func() { b, err = a.Epsilon(delta) })
	require.NoError(t, err)
	checkBracket(t, b, epsilon, rel, fmt.Sprintf("%s: ε(%.17g)", what, delta))
	for range 2 {
		c.timed(t, what, func() { b, err = a.Delta(epsilon) })
		require.NoError(t, err)
		checkBracket(t, b, delta, rel, fmt.Sprintf("%s: δ(%.17g)", what, epsilon))
		if epsilon, delta, ok = at(epsilon * (0.3 + 0.7*r.Float64())); !ok {
			return
		}
	}
}

func (c randomCase) timed(t *testing.T, what string, f func()) {
	start := time.Now()
	f()
	if took := time.Since(start); took > 700*time.Millisecond && !raceEnabled {
		t.Logf("SLOW: %s took %v", what, took)
	}
}
