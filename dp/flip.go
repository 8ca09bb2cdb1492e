package dp

import (
	"errors"
	"fmt"
	"io"
	"math"
	"math/bits"
)

// A Flip is randomized response on a bitmap (Warner 1965): every bit is flipped
// with probability q = 1/(1+exp(ε)), independently. A unit that decides one bit
// moves the probability of any output by a factor of at most (1−q)/q ≤ exp(ε): pure
// ε-differential privacy for the whole bitmap, released as often as the same
// flipped bits are sent. A unit in M bitmaps pays M·ε.
//
// Many bitmaps flipped on their own still tell of their union (Hehir, Ting, Cormode:
// Sketch-Flip-Merge, ICML 2023, arXiv 2302.02056). For one bin let tᵢ be what is seen
// of it in the bitmap i of k and p = 1−q. Then (p − tᵢ)/(p − q) is 1 in expectation if
// the true bit is 0, and 0 if it is 1, so that the product over i is an unbiased
// estimate of whether the bin is clear in all k. Union sums it up over the bins. The
// paper merges two flipped bits into one by drawing another; the mean of that draw,
// given both bits, is this product (four equations, four unknowns), so that keeping
// the bitmaps and multiplying has the smaller variance.
//
// Of a bin set in j of k bitmaps the product has the second moment (1+v)^(k−j)·v^j
// with v = pq/(p−q)², so its variance is at most (1+v)^k − 1 whatever j is. That is
// the stated error, which depends on no bit: it grows by a factor √(1+v) a bitmap,
// 1.39 at ε = 1 and 2.2 at ε = 0.5. Good for few bitmaps only.
//
// Make one with NewFlip; the zero value refuses to work. It is a value, safe for
// concurrent use.
type Flip struct {
	epsilon   float64
	threshold uint64 // a bit is flipped if a uniform word is below: q = threshold/2⁶⁴
}

var errZeroFlip = errors.New("the flip is not calibrated: take it from NewFlip")

// NewFlip returns the flip for ε. Its probability is a multiple of 2⁻⁶⁴, rounded up.
func NewFlip(epsilon float64) (Flip, error) {
	if err := (Params{Epsilon: epsilon, Mechanism: Auto}).Validate(); err != nil {
		return Flip{}, fmt.Errorf("calibrate flip: %w", err)
	}
	// Both roundings of the quotient are far below 1e-15; q < 1/2 stays, as ε ≥ 2⁻⁴⁰.
	q := math.Ceil(math.Ldexp(1/(1+math.Exp(epsilon))*(1+1e-15), 64))
	return Flip{epsilon, uint64(max(q, 1))}, nil
}

// Probability returns q, with which a bit is flipped.
func (f Flip) Probability() float64 { return math.Ldexp(float64(f.threshold), -64) }

// Cost returns what a unit pays that decides one bit in each of that many bitmaps.
func (f Flip) Cost(bitmaps int64) Budget {
	return Budget{Epsilon: timesUp(float64(bitmaps), f.epsilon)}
}

// Add flips the bits of a bitmap in place, bit i of word j being bin 64j+i. random
// gives 32 bytes as for Noise.Add, and nil means crypto/rand; bins 4096i … 4096i+4095
// take one word each of stream i. After an error all bits are clear.
func (f Flip) Add(bitmap []uint64, random io.Reader) error {
	st, err := newStreams(random)
	if f.threshold == 0 {
		err = errZeroFlip
	}
	if err != nil {
		clear(bitmap)
		return fmt.Errorf("flip bits: %w", err)
	}
	const words = chunk / 64
	for i := 0; i*words < len(bitmap); i++ {
		s := st.chunk(i)
		part := bitmap[i*words : min((i+1)*words, len(bitmap))]
		for j := range part {
			var mask uint64
			for b := range 64 {
				if s.word() < f.threshold {
					mask |= 1 << b
				}
			}
			part[j] ^= mask
		}
	}
	return nil
}

// Union returns an unbiased estimate of the number of bins that are set in at least
// one of the bitmaps as they were before the flips, rounded to a whole number. It may
// be below 0 or above the number of bins. The bitmaps are of one length; check with
// Interval that they are not too many.
func (f Flip) Union(bitmaps ...[]uint64) int64 {
	if f.threshold == 0 || len(bitmaps) == 0 {
		return 0
	}
	seen := make([]int64, len(bitmaps)+1) // bins by the number of bitmaps that show them set
	for w := range bitmaps[0] {
		var count [64]int
		for _, b := range bitmaps {
			for rest := b[w]; rest != 0; rest &= rest - 1 {
				count[bits.TrailingZeros64(rest)]++
			}
		}
		for _, c := range count {
			seen[c]++
		}
	}
	empty := 0.0
	for c, n := range seen {
		empty += float64(n) * f.product(c, len(bitmaps))
	}
	return int64(min(max(math.Round(float64(64*len(bitmaps[0]))-empty), -maxSum), maxSum))
}

// product is Π (p − tᵢ)/(p − q) of a bin that shown of k bitmaps show as set.
func (f Flip) product(shown, k int) float64 {
	q := f.Probability()
	return math.Pow(-q/(1-2*q), float64(shown)) * math.Pow((1-q)/(1-2*q), float64(k-shown))
}

// Interval returns the stated error of Union over that many bitmaps: an upper bound of
// its standard deviation, and a half width that holds the true number with at least the
// given confidence, by Bernstein's inequality: the products of different bins are
// independent. It is an error if the standard deviation exceeds the number of bins, where
// the answer would say nothing.
func (f Flip) Interval(bitmaps int, o Occupancy, confidence float64) (half int64, stdDev float64, err error) {
	switch {
	case f.threshold == 0:
		err = errZeroFlip
	case o.Validate() != nil:
		err = o.Validate()
	case bitmaps < 1:
		err = errors.New("give at least one bitmap")
	case !(confidence > 0 && confidence < 1):
		err = errors.New("give a confidence above 0 and below 1")
	}
	if err != nil {
		return 0, 0, fmt.Errorf("compute interval: %w", err)
	}
	q, k, m := f.Probability(), float64(bitmaps), float64(o.Bins)
	v := q * (1 - q) / ((1 - 2*q) * (1 - 2*q))
	variance := m*math.Expm1(k*math.Log1p(v)) + 1.0/4 // rounding moves by 1/2 at most
	if !(math.Sqrt(variance) <= m) {
		return 0, 0, fmt.Errorf("compute interval: the error of %d flipped bitmaps at ε = %g exceeds their %d bins: take fewer, or a larger Epsilon", bitmaps, f.epsilon, o.Bins)
	}
	reach := math.Pow((1-q)/(1-2*q), k) + 1 // of one product from its mean
	h := bernstein(variance, reach, (1-confidence)/2) + 0.5
	return int64(math.Ceil(h)), math.Sqrt(variance), nil
}
