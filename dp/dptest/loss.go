package dptest

import (
	"math"

	"github.com/larder-dp/larder/dp"
)

// A loss is what an event truly loses, or a lower bound of that.
type loss struct {
	exact   bool
	largest float64 // ε at δ = 0
	delta   func(epsilon float64) float64
}

// lossOf computes the loss of a scalar event from its definition, by closed forms and
// plain sums, none of them shared with package dp. Of more than one use of Laplace noise
// it is a bound from below (laplaceBelow); of zCDP and Rényi curves it is that of a
// Gaussian which they cover; of a Gaussian with cut tails it is what is lost by the law or by
// the cut alone; of Skellam noise that of one use.
func lossOf(e dp.Event) loss {
	n := float64(e.Count)
	switch e.Mechanism {
	case dp.Gaussian:
		mu, lost := e.Sensitivity/e.Scale*math.Sqrt(n), -math.Expm1(n*math.Log1p(-e.Delta))
		return loss{e.Delta == 0, math.Inf(1), func(eps float64) float64 { return max(normalDelta(mu, eps), lost) }}
	case dp.ZCDP: // a Gaussian of ρ = μ²/2 is one of those it covers
		mu := math.Sqrt(2 * e.Rho * n)
		return loss{false, math.Inf(1), func(eps float64) float64 { return normalDelta(mu, eps) }}
	case dp.Renyi:
		mu := math.Sqrt(2 * e.Divergences[0] / e.Orders[0] * n)
		return loss{false, math.Inf(1), func(eps float64) float64 { return normalDelta(mu, eps) }}
	case dp.PureDP:
		return loss{true, n * e.Epsilon, func(eps float64) float64 { return responseDelta(e.Epsilon, e.Count, eps) }}
	case dp.ApproxDP, dp.PartitionSelection:
		// Kairouz, Oh, Viswanath 2015, Theorem 3.3: 1 − (1−δ)ⁿ·(1 − δ′).
		kept := n * math.Log1p(-e.Delta)
		return loss{true, math.Inf(1), func(eps float64) float64 {
			return -math.Expm1(kept) + math.Exp(kept)*responseDelta(e.Epsilon, e.Count, eps)
		}}
	case dp.Laplace:
		a := e.Sensitivity / e.Scale
		if e.Count == 1 {
			return loss{true, a, func(eps float64) float64 { return max(-math.Expm1((eps-a)/2), 0) }}
		}
		return loss{false, n * a, laplaceBelow(a, int(e.Count))}
	}
	return loss{e.Mechanism == dp.DiscreteLaplace || e.Mechanism == dp.DiscreteGaussian, largestOf(e), integerDelta(e)}
}

func largestOf(e dp.Event) float64 {
	if e.Mechanism == dp.DiscreteLaplace {
		return float64(e.Count) * e.Sensitivity / e.Scale
	}
	return math.Inf(1)
}

// normalDelta is Balle and Wang 2018, Theorem 8.
func normalDelta(mu, epsilon float64) float64 {
	x := epsilon/mu - mu/2
	upper := math.Erfc(x/math.Sqrt2) / 2
	lower := math.Erfc((x+mu)/math.Sqrt2) / 2
	if lower == 0 {
		return upper
	}
	return max(upper-math.Exp(epsilon+math.Log(lower)), 0)
}

// responseDelta is the δ of n randomised responses of a, the worst that are a-DP.
func responseDelta(a float64, n int64, epsilon float64) float64 {
	p, sum := odds(a), 0.0
	for k := int64(0); k <= n; k++ {
		l := a * float64(2*k-n)
		if l <= epsilon {
			continue
		}
		lg := func(x int64) float64 { v, _ := math.Lgamma(float64(x) + 1); return v }
		ways := math.Exp(lg(n) - lg(k) - lg(n-k) + float64(k)*math.Log(p) + float64(n-k)*math.Log1p(-p))
		sum += ways * -math.Expm1(epsilon-l)
	}
	return sum
}

// composeLattice convolves n times the masses of losses on a lattice.
func composeLattice(one []float64, n int) []float64 {
	all := []float64{1}
	for range n {
		next := make([]float64, len(all)+len(one)-1)
		for i, x := range all {
			if x == 0 {
				continue
			}
			for j, y := range one {
				next[i+j] += x * y
			}
		}
		all = next
	}
	return all
}

func latticeDelta(masses []float64, first, step float64) func(float64) float64 {
	return func(epsilon float64) float64 {
		sum := 0.0
		for i := len(masses) - 1; i >= 0; i-- {
			l := first + float64(i)*step
			if l <= epsilon {
				break
			}
			sum += masses[i] * -math.Expm1(epsilon-l)
		}
		return sum
	}
}

// laplaceBelow: the loss of Laplace noise is a for P(X ≤ 0) = 1/2, −a for e^{−a}/2, and
// between a − 2x/b. An attacker who is told only which of the 2k cells of that middle was
// hit knows less, so that the δ of this is below the truth.
func laplaceBelow(a float64, n int) func(float64) float64 {
	const k = 40
	h := 2 * a / (2 * k)
	// Cell i of the middle is l in (a−(i+1)h, a−ih): under P its mass is the integral of
	// e^{−(a−l)/2}/4, and under Q e^{−l} times the density. Its loss, the logarithm of
	// the ratio of its masses, is rounded down to the lattice a − (i+1)·h.
	cells := make([]float64, 2*k+1)
	cells[2*k] = 0.5 // at a
	for i := range 2 * k {
		from, to := float64(i)*h, float64(i+1)*h
		cells[2*k-1-i] += (math.Exp(-from/2) - math.Exp(-to/2)) / 2
	}
	cells[0] += math.Exp(-a) / 2
	return latticeDelta(composeLattice(cells, n), -float64(n)*a, h)
}

// integerDelta sums over the integers. Of a discrete Gaussian the loss depends on the
// sum of the noises only: (2Δx + nΔ²)/2σ² at P = the noise less Δ each. Of a discrete
// Laplace it is a multiple of 1/b. Of Skellam noise one use is summed: n uses lose no
// less.
func integerDelta(e dp.Event) func(float64) float64 {
	n, d := int(e.Count), int(e.Sensitivity)
	reach := int(14*e.Scale) + 12 + d
	if e.Mechanism == dp.DiscreteLaplace {
		reach = int(40*e.Scale) + d
	}
	if e.Mechanism == dp.Skellam {
		pmf := skellam(e.Scale*e.Scale, reach)
		return func(epsilon float64) float64 {
			sum := 0.0
			for x := d; x < len(pmf); x++ {
				sum += max(pmf[x-d]-math.Exp(epsilon)*pmf[x], 0)
			}
			return sum
		}
	}
	pmf, all := make([]float64, 2*reach+1), 0.0
	for i := range pmf {
		x := float64(i - reach)
		if e.Mechanism == dp.DiscreteLaplace {
			pmf[i] = math.Exp(-math.Abs(x) / e.Scale)
		} else {
			pmf[i] = math.Exp(-x * x / (2 * e.Scale * e.Scale))
		}
		all += pmf[i]
	}
	for i := range pmf {
		pmf[i] /= all
	}
	if e.Mechanism == dp.DiscreteGaussian {
		s2, D := e.Scale*e.Scale, float64(d)
		return latticeDelta(composeLattice(pmf, n), float64(n)*(D*D-2*D*float64(reach))/(2*s2), D/s2)
	}
	losses := make([]float64, 2*d+1) // in units of 1/b, from −d
	for i, m := range pmf {
		x := i - reach
		l := max(x+d, -x-d) - max(x, -x) // |x+d| − |x|: P is the noise, Q the noise less d
		losses[l+d] += m
	}
	return latticeDelta(composeLattice(losses, n), -float64(n*d)/e.Scale, 1/e.Scale)
}

// skellam returns P(X = x − reach) of a Skellam of the given variance: the difference of
// two Poisson of half of it, convolved.
func skellam(variance float64, reach int) []float64 {
	poisson := make([]float64, 2*reach+int(variance)+1)
	for k := range poisson {
		lg, _ := math.Lgamma(float64(k) + 1)
		poisson[k] = math.Exp(-variance/2 + float64(k)*math.Log(variance/2) - lg)
	}
	pmf := make([]float64, 2*reach+1)
	for i := range pmf {
		x := i - reach
		for k := max(x, 0); k < len(poisson) && k-x < len(poisson); k++ {
			pmf[i] += poisson[k] * poisson[k-x]
		}
	}
	return pmf
}
