package dp

import "math"

// gaussianDelta brackets δ(ε) of a Gaussian of sensitivity/σ = μ, in logarithms. The upper
// side is logGaussianDelta; the lower one is the same formula with the rounding
// errors taken off.
func gaussianDelta(mu, epsilon float64) (lo, hi float64) {
	const ulps = 4e-14
	const argument = 2e-15 // of μ, which a sum and a root have rounded
	if mu < tinyMu {
		v, err := tinyGaussianDelta(mu, epsilon), 1e-10+4*argument*square(epsilon/mu)
		return v - err, v + err
	}
	down, up := mu*(1-argument), mu*(1+argument)
	hi = logGaussianDelta(up, epsilon)
	a, b := down/2, epsilon/down
	x := b - a
	logPhi := -x*x/2 - math.Log(2*math.Pi)/2
	if x < 0 {
		p := math.Erfc(x/math.Sqrt2) / 2
		return math.Log(max(p*(1-ulps)-math.Exp(logPhi)*mills(a+b)*(1+ulps), 0)), hi
	}
	r := mills(x)
	return logPhi + math.Log(max(r-mills(a+b)-r*ulps, 0)) - (1+x)*(a+b)*4e-16, hi
}

const tinyMu = 1e-6

// tinyGaussianDelta is ln δ(ε) for a μ so small that the difference of two tails has few digits left. With
// R(x) = (1 − Φ(x))/φ(x) and b = ε/μ, δ = φ(b−μ/2)·(R(b−μ/2) − R(b+μ/2)). That difference is the integral of
// f = −R′ = 1 − xR, and f″ = (3 + x²)·f − 1 is at most 3f in size: the midpoint rule is right to μ²/8.
func tinyGaussianDelta(mu, epsilon float64) float64 {
	b := epsilon / mu
	f := 1 - b*mills(b)
	if b > 30 { // 1/b² − 3/b⁴ + 15/b⁶ − …, of which every other sum is a bound
		c := 1 / (b * b)
		f = c * (1 - c*(3-c*(15-c*(105-c*(945-c*10395)))))
	}
	return math.Log(mu) + math.Log(f) - square(b-mu/2)/2 - math.Log(2*math.Pi)/2
}

// binomialDelta brackets δ(ε) of n uses of randomised response with the loss ±a.
//
// Kairouz, Oh, Viswanath 2015 (arXiv 1311.0776), Theorem 3.3: no n mechanisms of pure a do
// worse, and the loss of this one is a·(2k − n) with k binomial:
//
//	δ = Σ C(n,k)·p^k·(1−p)^{n−k}·(1 − e^{ε−a(2k−n)})₊, p = e^a/(1+e^a)
//
// The terms of the binomial fall faster and faster above their mode, so that a
// geometric series bounds those left out.
func binomialDelta(a, n, epsilon float64) (lo, hi float64) {
	logP, logQ := -math.Log1p(math.Exp(-a)), -a-math.Log1p(math.Exp(-a))
	first := max(math.Floor((epsilon/a+n)/2), 0)
	all, _ := math.Lgamma(n + 1)
	mode := math.Floor((n + 1) * math.Exp(logP))
	var low, high neumaier
	shift := lossUlps * epsilon
	rest := 0.0
	// Hoeffding: below mode − 20√n there is less than e^{−800}.
	if from := mode - 20*math.Sqrt(n) - 1; from > first {
		first, rest = math.Floor(from), 1e-300
	}
	for k := first; k <= n; k++ {
		ways, _ := math.Lgamma(k + 1)
		other, _ := math.Lgamma(n - k + 1)
		p := math.Exp(all - ways - other + k*logP + (n-k)*logQ)
		low.add(p * hockeyStick(a*(2*k-n), epsilon+shift))
		high.add(p * hockeyStick(a*(2*k-n), epsilon-shift))
		if k > mode && k < n {
			if r := (n - k) / (k + 1) * math.Exp(a); r < 1 && p*r/(1-r) < 1e-17*high.value() {
				rest += p * r / (1 - r)
				break
			}
		}
	}
	rel := 1e-12 + 4*ulp*(all+n*(a+1))
	return low.value() * max(1-rel, 0), high.value()*(1+rel) + rest
}

// lossUlps is how far a loss in closed form is rounded. Just below one δ hangs on its difference from ε where
// those above it are far lighter: so δ is bracketed by what it is a little to either side.
const lossUlps = 4 * ulp

// hockeyStick is (1 − e^{ε−l})₊, δ(ε) of a single loss.
func hockeyStick(l, epsilon float64) float64 { return max(-math.Expm1(epsilon-l), 0) }

// tableDelta brackets δ(ε) of one use of a law on finitely many losses.
func (u use) tableDelta(epsilon float64) (lo, hi float64) {
	p := pld{uses: []use{u}}
	theta := p.saddle(epsilon)
	t := u.tableAt(theta)
	shift := lossUlps * epsilon
	var low, high neumaier
	for i := len(t.losses) - 1; i >= 0 && t.losses[i] > epsilon-shift; i-- {
		p := math.Exp(t.logP[i])
		low.add(p * hockeyStick(t.losses[i], epsilon+shift))
		high.add(p * hockeyStick(t.losses[i], epsilon-shift))
	}
	rest := 0.0
	if n := len(t.losses); !t.bounded {
		// Beyond the right end the masses fall faster than a geometric series.
		r := math.Exp(t.logP[n-1] - t.logP[n-2])
		rest = math.Exp(t.logP[n-1])*r/(1-r) + 1e-300
		if t.losses[0] > epsilon {
			rest = 1
		}
	}
	return low.value() * (1 - 1e-11), high.value()*(1+1e-11) + rest
}

// laplaceDelta: 1 − e^{(ε−a)/2} for one use of Laplace noise with loss at most a.
func laplaceDelta(a, epsilon float64) (lo, hi float64) {
	d := max(-math.Expm1((epsilon-a)/2), 0)
	if epsilon >= a {
		return 0, 0
	}
	err := 4 * ulp * (a + epsilon + d)
	return max(d-err, 0), d + err
}

// invert turns a bracket of δ(ε) into one of ε(δ), below sup.
func invert(delta, sup float64, f func(epsilon float64) (lo, hi float64)) (lo, hi float64) {
	return crossings(delta, min(1, sup), 1, sup,
		func(e float64) float64 { l, _ := f(e); return l }, func(e float64) float64 { _, h := f(e); return h })
}
