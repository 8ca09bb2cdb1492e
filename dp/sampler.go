package dp

import (
	"errors"
	"math"
	"math/big"
	"math/bits"
)

// draws is where a sampler gets its randomness: below returns a uniform integer
// in [0, n), n ≥ 1, independent of all earlier ones. A test enumerates all of
// them and so computes the exact law of a sampler.
type draws interface{ below(n uint64) uint64 }

// A scale is the rational r/2ʲ, with 1 ≤ r ≤ 2⁵⁰ and j ≤ 60: Δ₁/ε of a discrete
// Laplace, σ of a discrete Gaussian. It is always rounded up, so that the noise
// is never less than what privacy needs.
type scale struct {
	r uint64
	j uint
}

const (
	maxR = 1 << 50
	maxJ = 60
	// maxV cuts the geometric variable V of the discrete Laplace sampler. V
	// reaches the cut with probability exp(−8191) < 2⁻¹¹⁸¹⁶, so the law that is
	// sampled is within 2⁻¹¹⁸¹⁶ of the exact one, and U + r·V < r·(maxV+1) ≤
	// 2⁶³ never wraps.
	maxV = 1<<13 - 1
)

var errScale = errors.New("the noise would exceed 2^50: raise Epsilon or lower the bounds")

// ceilScale returns a scale of at least √square, at most a factor 1 + 2⁻⁴⁷ above
// it (below 2⁻¹¹, where the noise is zero but with probability exp(−2048), the
// step is 2⁻⁶⁰). An integer r is at least √x if and only if r² ≥ ⌈x⌉.
func ceilScale(square *big.Rat) (scale, error) {
	// 2^(d−1) < square < 2^(d+1), so with e = ⌈(d+1)/2⌉ the root is in
	// (2^(e−3/2), 2^e) and r = root·2^(50−e) in (2^48.5, 2^50].
	d := square.Num().BitLen() - square.Denom().BitLen()
	e := (d + 2) >> 1
	if e > 50 {
		return scale{}, errScale
	}
	j := uint(min(50-e, maxJ))
	x := new(big.Int).Lsh(square.Num(), 2*j)
	x, rest := x.QuoRem(x, square.Denom(), new(big.Int))
	if rest.Sign() > 0 {
		x.Add(x, big.NewInt(1))
	}
	root := new(big.Int).Sqrt(x)
	if new(big.Int).Mul(root, root).Cmp(x) < 0 {
		root.Add(root, big.NewInt(1))
	}
	s := scale{root.Uint64(), j}
	// Cancel common powers of two: the same number, and a smaller j.
	if z := min(uint(bits.TrailingZeros64(s.r)), s.j); z > 0 {
		s = scale{s.r >> z, s.j - z}
	}
	return s, nil
}

// float returns r/2ʲ, exactly.
func (s scale) float() float64 { return math.Ldexp(float64(s.r), -int(s.j)) }

// discreteLaplace returns an integer x with P(x) ∝ exp(−|x|/s).
//
// Canonne, Kamath, Steinke 2020 (arXiv 2004.00010), Algorithm 2, with t = r and
// s = 2ʲ: U + t·V, with U < t accepted with probability exp(−U/t) and V
// geometric with ratio exp(−1), has P(x) ∝ exp(−x/t). Its quotient by 2ʲ has
// P(y) ∝ exp(−y·2ʲ/t). A random sign doubles every value but 0, so −0 is
// rejected.
func discreteLaplace(s scale, d draws) int64 {
	for {
		u := d.below(s.r)
		if !bernoulliExp(u, s.r, d) {
			continue
		}
		v := uint64(0)
		for v < maxV && bernoulliExp1(d) {
			v++
		}
		y := int64((u + s.r*v) >> s.j)
		if d.below(2) == 0 {
			return y
		}
		if y != 0 {
			return -y
		}
	}
}

// discreteGaussian returns an integer x with P(x) ∝ exp(−x²/2σ²), σ = s.
//
// Canonne, Kamath, Steinke 2020, Algorithm 3: propose y from a discrete Laplace
// of scale t and accept with probability exp(−(|y| − σ²/t)²/2σ²). They take
// t = ⌊σ⌋+1; we take t = σ, which is as good and needs one rational only. Then
//
//	exp(−|y|/σ) · exp(−(|y| − σ)²/2σ²) = exp(−y²/2σ² − 1/2) ∝ exp(−y²/2σ²)
//
// as it must be, and about 0.76 of the proposals are accepted.
func discreteGaussian(s scale, d draws) int64 {
	for {
		y := discreteLaplace(s, d)
		x := uint64(max(y, -y)) << s.j // |y| ≤ (U + r·V)/2ʲ, so x < 2⁶³
		gap := max(x, s.r) - min(x, s.r)
		if bernoulliExpHalfSquare(gap, s.r, d) {
			return y
		}
	}
}

// bernoulliExp is true with probability exp(−a/b), a ≤ b.
//
// Canonne, Kamath, Steinke 2020, Algorithm 1: draw Bernoulli(γ/k) for k = 1, 2, …
// until one fails; the number of the one that fails is odd with probability
// Σ (−γ)ⁿ/n! = exp(−γ). With γ = a/b the k-th is Bernoulli(a/b) and
// Bernoulli(1/k), so that no product can overflow.
func bernoulliExp(a, b uint64, d draws) bool {
	k := uint64(1)
	for d.below(b) < a && (k == 1 || d.below(k) == 0) {
		k++
	}
	return k&1 == 1
}

// bernoulliExp1 is true with probability exp(−1): bernoulliExp with γ = 1, whose
// first draw always succeeds.
func bernoulliExp1(d draws) bool {
	k := uint64(2)
	for d.below(k) == 0 {
		k++
	}
	return k&1 == 1
}

// bernoulliExpHalfSquare is true with probability exp(−(gap/r)²/2).
//
// With gap = n·r + b, b < r, and β = b/r the exponent splits into parts that need
// no number above 2⁶³:
//
//	(n + β)²/2 = n²·(1/2) + n·β + β²/2
//
// Here exp(−β²/2) is Algorithm 1 with γ = β²/2: its k-th draw is Bernoulli(β)
// twice and Bernoulli(1/2k). gap < 2⁶³ and r·n ≤ gap, with n ≤ maxV; large n ends
// early, because the first of the n² factors exp(−1/2) that fails ends it.
func bernoulliExpHalfSquare(gap, r uint64, d draws) bool {
	n := uint64(0)
	for gap >= r {
		gap -= r
		n++
	}
	k := uint64(1)
	for d.below(r) < gap {
		if d.below(r) >= gap || d.below(2*k) != 0 { // the same odds once more, drawn anew
			break
		}
		k++
	}
	if k&1 == 0 {
		return false
	}
	for range n * n {
		if !bernoulliExp(1, 2, d) {
			return false
		}
	}
	for range n {
		if !bernoulliExp(gap, r, d) {
			return false
		}
	}
	return true
}
