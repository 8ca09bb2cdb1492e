package dptest

import "math"

// alpha is the probability that a statistical check blames code that is right:
// one in 10⁹ a test. It is no option: a team that runs a thousand such tests a
// night for a thousand nights sees one false alarm in a thousand years.
const alpha = 1e-9

// upperTail returns P(X ≥ k) of a binomial X of n trials of probability p, summed
// from k away from the mean, where every term is below the last one.
func upperTail(n, k int64, p float64) float64 {
	switch {
	case k <= 0 || p >= 1:
		return 1
	case k > n || p <= 0:
		return 0
	case float64(k) <= float64(n)*p:
		return 1 - upperTail(n, n-k+1, 1-p)
	}
	lg := func(x int64) float64 { v, _ := math.Lgamma(float64(x) + 1); return v }
	term := math.Exp(lg(n) - lg(k) - lg(n-k) + float64(k)*math.Log(p) + float64(n-k)*math.Log1p(-p))
	sum := 0.0
	for i := k; i <= n && term > sum*1e-17; i++ {
		sum += term
		term *= float64(n-i) / float64(i+1) * p / (1 - p)
	}
	return math.Min(sum, 1)
}

// lowerBound and upperBound are the one-sided limits of Clopper and Pearson 1934 for the
// probability behind k of n: each is wrong with probability a at most.
func lowerBound(n, k int64, a float64) float64 {
	return bisect(0, 1, func(p float64) bool { return upperTail(n, k, p) > a })
}

func upperBound(n, k int64, a float64) float64 { return 1 - lowerBound(n, n-k, a) }

// bisect returns where above turns from false to true; the side where it is false.
func bisect(lo, hi float64, above func(float64) bool) float64 {
	for range 200 {
		mid := lo + (hi-lo)/2
		if mid == lo || mid == hi {
			break
		}
		if above(mid) {
			hi = mid
		} else {
			lo = mid
		}
	}
	return lo
}

// pValue returns a bound on the probability of a hits against b, or worse, in n
// trials of a mechanism that keeps the claim. With a fair coin a trial, A =
// P(E | D)/2 and B = P(E | D′)/2 are the probabilities that a trial hits E on either
// side, and (ε, δ)-DP says A ≤ e^ε·B + δ/2.
//
// δ = 0: given a + b hits, a is binomial of probability A/(A+B) ≤ e^ε/(1+e^ε): exact.
//
// δ > 0: two limits of Clopper and Pearson would do, and would add two errors that do
// not fall together. Instead (Berger and Boos 1994) B is at most its limit B⁺ but for
// α/100, and for such B Chernoff's bound holds of t = a − e^ε·b, for every λ > 0:
//
//	P(T ≥ t) ≤ e^{−λt}·(1 + A·(e^λ − 1) + B·(e^{−λe^ε} − 1))ⁿ
//
// which grows with A, and with B at A = e^ε·B + δ/2 as e^ε·(e^λ−1) + e^{−λe^ε} − 1 ≥ 0. Where
// that A would pass 1 − B, it is 1 − B, and the bound falls with B.
func pValue(n, a, b int64, epsilon, delta float64) float64 {
	if delta == 0 {
		return upperTail(a+b, a, odds(epsilon))
	}
	e := math.Exp(epsilon)
	t := float64(a) - e*float64(b)
	if t <= float64(n)*delta/2 {
		return 1
	}
	hi := math.Min(upperBound(n, b, alpha/100), (1-delta/2)/(1+e))
	at := e*hi + delta/2
	exponent := func(lambda float64) float64 {
		return -lambda*t + float64(n)*math.Log1p(at*math.Expm1(lambda)+hi*math.Expm1(-lambda*e))
	}
	lo, top := 0.0, 50.0 // convex in λ
	for range 100 {
		x, y := lo+(top-lo)/3, top-(top-lo)/3
		if exponent(x) < exponent(y) {
			top = y
		} else {
			lo = x
		}
	}
	return math.Min(alpha/100+math.Exp(exponent(lo)), 1)
}

// odds returns e^ε/(1+e^ε).
func odds(epsilon float64) float64 { return 1 / (1 + math.Exp(-epsilon)) }
