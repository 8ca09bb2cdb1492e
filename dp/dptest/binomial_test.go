package dptest

import (
	"math"
	"math/big"
	"testing"
)

// exactTail sums the binomial's tail in rationals.
func exactTail(n, k int64, num, den int64) float64 {
	p, q := big.NewRat(num, den), big.NewRat(den-num, den)
	power := func(x *big.Rat, n int64) *big.Rat {
		e := big.NewInt(n)
		return new(big.Rat).SetFrac(new(big.Int).Exp(x.Num(), e, nil), new(big.Int).Exp(x.Denom(), e, nil))
	}
	sum := new(big.Rat)
	for i := k; i <= n; i++ {
		term := new(big.Rat).SetInt(new(big.Int).Binomial(n, i))
		sum.Add(sum, term.Mul(term, power(p, i)).Mul(term, power(q, n-i)))
	}
	f, _ := sum.Float64()
	return f
}

func TestUpperTail(t *testing.T) {
	for _, n := range []int64{1, 2, 7, 60} {
		for _, p := range [][2]int64{{1, 2}, {1, 100}, {99, 100}, {3, 7}} {
			for k := range n + 2 {
				got, want := upperTail(n, k, float64(p[0])/float64(p[1])), exactTail(n, k, p[0], p[1])
				if math.Abs(got-want) > 1e-12+1e-10*want*math.Min(1, float64(k)) {
					t.Errorf("P(Bin(%d, %d/%d) ≥ %d) is %g, want %g", n, p[0], p[1], k, got, want)
				}
			}
		}
	}
}

func TestBoundsOfClopperAndPearson(t *testing.T) {
	for _, c := range [][2]int64{{10, 0}, {10, 10}, {50, 7}, {100_000, 40_000}} {
		n, k := c[0], c[1]
		lo, hi := lowerBound(n, k, 1e-3), upperBound(n, k, 1e-3)
		if up := upperTail(n, k, lo); k > 0 && math.Abs(up/1e-3-1) > 1e-6 {
			t.Errorf("%d of %d: P(X ≥ k) is %g at the lower bound", k, n, up)
		}
		if down := 1 - upperTail(n, k+1, hi); k < n && math.Abs(down/1e-3-1) > 1e-6 {
			t.Errorf("%d of %d: P(X ≤ k) is %g at the upper bound", k, n, down)
		}
		if lo > float64(k)/float64(n) || hi < float64(k)/float64(n) {
			t.Errorf("%d of %d: [%g, %g]", k, n, lo, hi)
		}
	}
}

// TestPValueIsValid sums the exact probability that the p-value is small, over all
// outcomes of the game, for mechanisms that just keep their claim: every B, and A at the
// limit.
func TestPValueIsValid(t *testing.T) {
	const n = 40
	for _, c := range [][2]float64{{0, 0.01}, {0.5, 0.1}, {1, 0}, {1, 0.2}, {3, 0.05}, {9, 0.07}, {1, 0.9}} {
		epsilon, delta := c[0], c[1]
		var p [n + 1][n + 1]float64
		for a := range int64(n + 1) {
			for b := range n + 1 - a {
				p[a][b] = pValue(n, a, b, epsilon, delta)
			}
		}
		for _, B := range []float64{0, 1e-4, 0.001, 0.01, 0.05, 0.1, 0.2, 0.3, 0.5} {
			A := math.Min(math.Exp(epsilon)*B+delta/2, 0.5)
			if A+B > 1 {
				continue
			}
			for _, level := range []float64{1e-2, 1e-4, 1e-6, 1e-8, alpha} {
				var wrong float64
				for a := range n + 1 {
					for b := range n + 1 - a {
						if p[a][b] <= level {
							wrong += multinomial(n, a, b, A, B)
						}
					}
				}
				if wrong > level*(1+1e-6) {
					t.Errorf("ε=%g δ=%g, A=%g B=%g: p ≤ %g with probability %g", epsilon, delta, A, B, level, wrong)
				}
			}
		}
	}
}

func multinomial(n, a, b int, A, B float64) float64 {
	lg := func(x int) float64 { v, _ := math.Lgamma(float64(x) + 1); return v }
	power := func(p float64, k int) float64 {
		if k == 0 {
			return 0
		}
		return float64(k) * math.Log(p)
	}
	return math.Exp(lg(n) - lg(a) - lg(b) - lg(n-a-b) + power(A, a) + power(B, b) + power(1-A-B, n-a-b))
}
