package dp

import (
	"errors"
	"fmt"
	"math"
)

const (
	// sumError is the error of each of the two approximations of a sum's law:
	// folding it onto a circle and leaving out small frequencies.
	sumError = 1e-13
	// maxSumConfidence keeps 1 − confidence far above that.
	maxSumConfidence = 1 - 1e-9
	maxTerms         = 1 << 30
)

// Interval returns the half-width h of the two-sided interval for the sum of
// terms independent noise values: the smallest h with
// P(|noise| ≤ h) ≥ confidence, and that probability.
//
// It is computed from the law on the integers that is really sampled: in closed
// form or by summation for one term, by inverting the characteristic function
// for more. The probability for more terms is a lower bound, 1e-12 below the truth at most,
// and confidence is then at most 1 − 1e-9. It is an error if confidence is not in
// (0, 1) or terms not in [1, 2³⁰].
func (n Noise) Interval(terms int, confidence float64) (half int64, coverage float64, err error) {
	switch {
	case n.mechanism == "":
		err = errZeroNoise
	case !(confidence > 0 && confidence < 1):
		err = errors.New("give a confidence above 0 and below 1")
	case terms < 1 || terms > maxTerms:
		err = fmt.Errorf("give between 1 and %d terms", maxTerms)
	case terms > 1 && confidence > maxSumConfidence:
		err = errors.New("give a confidence of at most 1 - 1e-9 for a sum")
	}
	if err != nil {
		return 0, 0, fmt.Errorf("compute interval: %w", err)
	}
	cover := func(h float64) float64 { return 1 - n.law().tail(h) }
	if terms > 1 {
		cover = n.law().sum(float64(terms))
	}
	// Every law has some finite h: double, then bisect.
	lo, hi := -1.0, 0.0
	for cover(hi) < confidence {
		lo, hi = hi, 2*hi+1
		if hi > maxSum {
			return 0, 0, errors.New("compute interval: the sum leaves int64: give fewer terms")
		}
	}
	for hi-lo > 1 {
		mid := math.Floor(lo + (hi-lo)/2)
		if mid == lo || mid == hi {
			break // neighbouring float64, above 2⁵³
		}
		if cover(mid) >= confidence {
			hi = mid
		} else {
			lo = mid
		}
	}
	return int64(hi), cover(hi), nil
}

// sum returns a lower bound of P(|X₁ + … + X_n| ≤ h) as a function of h.
//
// With N odd and θⱼ = πj/N, the discrete Fourier transform of the sum's law folded
// onto the integers modulo N gives
//
//	(2h+1)/N + (2/N)·Σ_{j=1}^{(N−1)/2} cf(2θⱼ)ⁿ · sin((2h+1)θⱼ)/sin θⱼ
//
// for h < N/2, which is above P(|S| ≤ h) by at most P(|S| ≥ N−h). N = 2H+3 with
// P(|S| > H) < sumError by Chernoff's bound.
//
// The sum may end early, at J. Laplace family: cf ≤ 1/(A·sin²θ) and sin θⱼ ≥ 2j/N,
// so what is left out is at most ∫ A^{−n}·x^{−2n−1} dx from X = 2J/N, which is
// A^{−n}·X^{−2n}/2n. Gaussian family: the discrete Gaussian's cf (a theta function)
// falls on [0, π], so what is left out is at most cfⁿ·ln N; a rounded Gaussian's
// is below the discrete one's for the same σ but for a factor 1 + 6e-9 (σ ≥ 1).
func (l law) sum(n float64) func(h float64) float64 {
	if p := n * l.tail(0); p < sumError {
		return func(float64) float64 { return 1 - p } // union bound
	}
	reach := math.Inf(1)
	for i := range 140 {
		theta := l.maxTheta() * 0.999 * math.Exp(-float64(i)/8)
		reach = min(reach, (n*l.logMGF(theta)-math.Log(sumError/2))/theta)
	}
	reach = math.Ceil(reach)
	size := 2*reach + 3
	last := reach + 1 // (N−1)/2
	gauss := l.mechanism == Gaussian || l.mechanism == DiscreteGaussian
	if !gauss {
		cut := math.Pow(2*n*sumError, -0.5/n) / math.Sqrt(l.spread())
		last = min(last, math.Ceil(cut*size/2))
	}
	bound := law{DiscreteGaussian, l.scale}
	var weights, angles []float64
	for j := 1.0; j <= last; j++ {
		theta := math.Pi * j / size
		c := l.cf(2 * theta)
		weights = append(weights, 2/size*math.Pow(c, n)/math.Sin(theta))
		angles = append(angles, theta)
		if gauss && (l.scale >= 1 || l.mechanism == DiscreteGaussian) && n*math.Log(bound.cf(2*theta)) < -42 {
			break
		}
	}
	return func(h float64) float64 {
		if h > reach {
			return 1 - sumError
		}
		p := (2*h + 1) / size
		for j, w := range weights {
			p += w * math.Sin((2*h+1)*angles[j])
		}
		return p - 3*sumError
	}
}
