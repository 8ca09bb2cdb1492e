package dp

import (
	"errors"
	"fmt"
	"math"
	"math/big"

	"github.com/google/differential-privacy/go/v3/noise"
)

const (
	// maxGaussianEpsilon is far below ε = 710, where exp(ε) overflows in
	// Google's library, its σ becomes 0 and its sampler never returns.
	maxGaussianEpsilon = 256
	// Google's Laplace noise is a multiple of a granularity of about scale/2⁴⁰.
	// Below a scale of 2³⁹ that is under 1, and the integers are all reached;
	// above 2⁻⁶⁴ none of its powers of two is subnormal.
	maxLaplaceScale = 1 << 39
	minLaplaceScale = 0x1p-64
	// Google's Gaussian noise is a multiple of a granularity of about σ/2⁵⁶.
	maxSigma = 1 << 50
	// gaussianCut is where Google's Gaussian ends, in σ. Its binomial sampler
	// (binomialProbability) gives no mass to |m| > √n·√(ln(√n)/2), and σ = √n/2
	// with √n in [2⁵⁶, 2⁵⁷]: the cut is at least 2·√(56·ln 2/2) = 8.811.
	gaussianCut = 8.81
)

// logPlain is ln((1+a)¹⁺ᵃ/aᵃ) = a·ln(1 + 1/a) + ln(1 + a), stable for all a > 0.
func logPlain(a float64) float64 { return a*math.Log1p(1/a) + math.Log1p(a) }

// rhoFor returns a ρ for which ρ-zCDP implies (ε, δ)-DP, the largest but for
// rounding.
//
// Canonne, Kamath, Steinke 2020, Proposition 12: for every α > 1, ρ-zCDP implies
// (ε, δ)-DP with δ = exp((α−1)(αρ−ε))/(α−1) · (1−1/α)^α. With a = α−1:
//
//	ln δ = a·((1+a)·ρ − ε) − a·ln(1+1/a) − ln(1+a)
//	ρ(a) = (ε + (ln δ + a·ln(1+1/a) + ln(1+a))/a) / (1+a)
//
// Every a gives a valid ρ; we take the largest. ln δ is convex in a (its second
// derivative is 2ρ + 1/(a(1+a))), so {a : ρ(a) ≥ c} = {a : ln δ(a; c) ≤ ln δ} is an
// interval for every c: ρ(a) has one peak. The relative rounding error at the
// peak is a few ulp, because the numerator is then of the order of ε: the last
// factor covers it a thousandfold.
func rhoFor(epsilon, delta float64) float64 {
	logDelta := math.Log(delta)
	rho := peak(func(u float64) float64 {
		a := math.Exp(u)
		return (epsilon + (logDelta+logPlain(a))/a) / (1 + a)
	})
	return rho * (1 - 1e-12)
}

// epsilonFor returns an ε for which ρ-zCDP implies (ε, δ)-DP, the smallest but
// for rounding. It is Proposition 12 solved for ε: one valley, as above.
func epsilonFor(rho, delta float64) float64 {
	logDelta := math.Log(delta)
	eps := -peak(func(u float64) float64 {
		a := math.Exp(u)
		return (logDelta+logPlain(a))/a - (1+a)*rho
	})
	return max(eps*(1+1e-12), 0)
}

// peak returns the largest value of a function with one peak on [−400, 120], by
// golden section search. The value is one that f really took.
func peak(f func(float64) float64) float64 {
	const ratio = 0.6180339887498949
	lo, hi := -400.0, 120.0
	x, y := hi-ratio*(hi-lo), lo+ratio*(hi-lo)
	fx, fy := f(x), f(y)
	best := max(fx, fy)
	for range 100 {
		if fx < fy {
			lo, x, fx = x, y, fy
			y = lo + ratio*(hi-lo)
			fy = f(y)
		} else {
			hi, y, fy = y, x, fx
			x = hi - ratio*(hi-lo)
			fx = f(x)
		}
		best = max(best, fx, fy)
	}
	return best
}

// mills returns (1 − Φ(x))/φ(x) for x ≥ 0, to about 5e-15.
func mills(x float64) float64 {
	if x < 4 {
		return math.Sqrt(math.Pi/2) * math.Exp(x*x/2) * math.Erfc(x/math.Sqrt2)
	}
	// Laplace's continued fraction, Abramowitz and Stegun 26.2.14.
	t := x
	for k := 120.0; k >= 1; k-- {
		t = x + k/t
	}
	return 1 / t
}

// logGaussianDelta returns an upper bound, tight but for rounding, of ln δ(ε) of
// Gaussian noise with sensitivity/σ = mu.
//
// Balle and Wang 2018 (arXiv 1805.06530), Theorem 8, with a = μ/2 and b = ε/μ:
// δ = Φ(a−b) − exp(ε)·Φ(−a−b). Since exp(ε)·φ(a+b) = φ(b−a), this is
// φ(b−a)·(R(b−a) − R(b+a)) with R Mills' ratio; in this form nothing overflows.
func logGaussianDelta(mu, epsilon float64) float64 {
	const ulps = 4e-14
	a, b := mu/2, epsilon/mu
	x := b - a
	logPhi := -x*x/2 - math.Log(2*math.Pi)/2
	if x < 0 {
		p := math.Erfc(x/math.Sqrt2) / 2
		return math.Log(p*(1+ulps) - math.Exp(logPhi)*mills(a+b)*(1-ulps))
	}
	r := mills(x)
	// The error of x itself, about (a+b) ulp, moves the exponent by x times that.
	return logPhi + math.Log(r-mills(a+b)+r*ulps) + (1+x)*(a+b)*4e-16
}

// gaussianEpsilon returns an ε that Gaussian noise of sensitivity/σ = mu has at
// delta: the upper, verified end of a bisection.
func gaussianEpsilon(mu, delta float64) float64 {
	logDelta := math.Log(delta)
	if logGaussianDelta(mu, 0) <= logDelta {
		return 0
	}
	lo, hi := 0.0, mu
	for logGaussianDelta(mu, hi) > logDelta {
		lo, hi = hi, hi*2
		if hi > math.MaxFloat64 {
			return hi
		}
	}
	for hi-lo > 1e-12*hi {
		mid := lo + (hi-lo)/2
		if logGaussianDelta(mu, mid) <= logDelta {
			hi = mid
		} else {
			lo = mid
		}
	}
	return hi
}

// cutDelta bounds what the cut of Google's Gaussian adds to δ for a unit that
// moves cells of n cells by at most by each: if one output is outside of the
// support of the other, there is no ε. One moved cell leaves the other's support
// with probability at most Φ(by/σ − cut); where both supports overlap the ratio
// of the densities is that of two whole Gaussians.
func cutDelta(n, by, sigma float64) float64 {
	if by >= gaussianCut*sigma {
		return 1
	}
	return min(n*math.Erfc((gaussianCut-by/sigma)/math.Sqrt2)/2, 1)
}

// laplaceScale returns the scale that Google's library samples: it rounds Δ₁ up
// by one granularity (laplace_noise.go, addLaplaceInt64).
func laplaceScale(p Params, s Sensitivity) (float64, error) {
	b := float64(s.L1) / p.Epsilon
	if !(b >= minLaplaceScale && b <= maxLaplaceScale) {
		return 0, fmt.Errorf("the scale is outside of [2^-64, 2^39], where %s works: take %s", Laplace, DiscreteLaplace)
	}
	return (float64(s.L1) + laplaceGranularity(b)) / p.Epsilon, nil
}

func laplaceGranularity(b float64) float64 {
	m, e := math.Frexp(b / (1 << 40))
	if m == 0.5 {
		e--
	}
	return math.Ldexp(1, e)
}

// gaussianSigma returns the σ that Google's library samples, and the delta to ask
// it for. The σ is trusted only after an independent check that the whole
// mechanism, with the cut of its tails, stays within p.Delta. Google's bisection
// may end with no room at all, so a little less than p.Delta is tried as well.
func gaussianSigma(p Params, s Sensitivity) (sigma, delta float64, err error) {
	if p.Epsilon > maxGaussianEpsilon {
		return 0, 0, fmt.Errorf("%s takes an Epsilon of at most %d: take %s or %s", Gaussian, maxGaussianEpsilon, DiscreteLaplace, DiscreteGaussian)
	}
	for _, share := range []float64{1, 0.99, 0.75, 0.25} {
		delta = p.Delta * share
		if delta == 0 {
			break
		}
		sigma = noise.SigmaForGaussian(s.L2Squared, 1, p.Epsilon, delta)
		if !(sigma > 0 && sigma <= math.MaxFloat64) {
			continue
		}
		if sigma > maxSigma {
			return 0, 0, errScale
		}
		mu := math.Sqrt(float64(s.L2Squared)) / sigma
		if cut := cutDelta(float64(s.L0), float64(s.LInf), sigma); cut < p.Delta &&
			logGaussianDelta(mu, p.Epsilon) <= math.Log(p.Delta-cut) {
			return sigma, delta, nil
		}
	}
	return 0, 0, fmt.Errorf("%s cannot keep this Delta at this Epsilon (its tails end at %g σ): take %s", Gaussian, gaussianCut, DiscreteGaussian)
}

// laplaceRational returns Δ₁/ε, rounded up.
func laplaceRational(p Params, s Sensitivity) (scale, error) {
	b := new(big.Rat).SetFloat64(p.Epsilon)
	b.Quo(new(big.Rat).SetInt64(s.L1), b)
	return ceilScale(b.Mul(b, b))
}

// gaussianRational returns σ = √(Δ₂²/2ρ), rounded up: discrete Gaussian noise is
// Δ₂²/2σ²-zCDP (Canonne, Kamath, Steinke 2020, Theorem 4 and Section 2.2 for
// vectors). Where a unit moves a single value, the accountant knows the loss of that value
// exactly, and allows a σ that is a few per cent smaller, at ε = 0.01 a tenth and more.
func gaussianRational(p Params, s Sensitivity) (scale, error) {
	rho := rhoFor(p.Epsilon, p.Delta)
	if !(rho > 0 && rho <= math.MaxFloat64) {
		return scale{}, errors.New("no rho keeps this Epsilon and Delta: raise one of them")
	}
	square := new(big.Rat).SetFloat64(rho)
	square.Quo(new(big.Rat).SetFrac64(s.L2Squared, 2), square)
	if sigma, ok := singleSigma(p, s, math.Sqrt(float64(s.L2Squared)/2/rho)); ok {
		square.SetFloat64(sigma)
		square.Mul(square, square)
	}
	return ceilScale(square)
}

// maxSingleSigma is how far the exact loss of one value is searched: the cost of a search
// grows with σ, to some 10 ms here.
const maxSingleSigma = 512

// singleSigma returns the σ of one value of which the accountant verifies δ(ε), if it is
// below that of zCDP. The δ that it is asked for is smaller by more than what rounding
// σ up to a rational, in a law that is monotone in σ, could add.
func singleSigma(p Params, s Sensitivity, zcdp float64) (float64, bool) {
	if s.L0 != 1 || !(zcdp <= maxSingleSigma) {
		return 0, false
	}
	e := Event{Mechanism: DiscreteGaussian, Sensitivity: float64(s.LInf), Count: 1}
	sigma, _, err := SmallestScale(e, Budget{Epsilon: p.Epsilon, Delta: p.Delta * (1 - 1e-9)})
	return sigma, err == nil && sigma < zcdp
}

// timesUp returns x·y rounded up, for x, y > 0.
func timesUp(x, y float64) float64 {
	p := x * y
	if math.FMA(x, y, -p) > 0 {
		p = math.Nextafter(p, math.Inf(1))
	}
	return p
}
