package dp

import (
	"errors"
	"fmt"
	"math"
)

// An Occupancy is a bitmap in which every distinct member sets one bin, chosen
// uniformly and independently of the others: linear counting (Whang,
// Vander-Zanden, Taylor 1990). It says how many members a number of set bins
// stands for, with an error that covers both the collisions and the noise on
// that number. It is a value, safe for concurrent use.
//
// With m bins and n members, W of them set,
//
//	E W   = m·(1 − (1−1/m)ⁿ)
//	Var W = m·(1−1/m)ⁿ + m(m−1)·(1−2/m)ⁿ − m²·(1−1/m)²ⁿ
//
// W has the law of a sum of independent indicators (Vatutin, Mikhailov 1982: its
// generating function has real roots only), so Bernstein's inequality holds with
// this variance, which for n well below m is n²/2m and not n.
//
// Make one by its field, from 64 to 2³¹ bins; the methods of any other answer NaN.
type Occupancy struct{ Bins int64 }

const (
	minBins = 1 << 6
	maxBins = 1 << 31
)

// Validate reports a number of bins that is out of range.
func (o Occupancy) Validate() error {
	if o.Bins < minBins || o.Bins > maxBins {
		return fmt.Errorf("check occupancy: Bins is %d: give 2^6 to 2^31", o.Bins)
	}
	return nil
}

// Mean returns E W for n members.
func (o Occupancy) Mean(n float64) float64 {
	if o.Validate() != nil {
		return math.NaN()
	}
	m := float64(o.Bins)
	return -m * math.Expm1(n*math.Log1p(-1/m))
}

// variance returns Var W. With a = (1−1/m)ⁿ and b = (1−2/m)ⁿ it is
// m·(a−b) − m²·(a²−b), each difference written so that nothing cancels in it.
func (o Occupancy) variance(n float64) float64 {
	m := float64(o.Bins)
	a, b := math.Exp(n*math.Log1p(-1/m)), math.Exp(n*math.Log1p(-2/m))
	first := -a * math.Expm1(n*math.Log1p(-1/(m-1)))    // b/a = (1 − 1/(m−1))ⁿ
	second := b * math.Expm1(n*math.Log1p(1/(m*(m-2)))) // a²/b = (1 + 1/(m(m−2)))ⁿ
	if v := m*first - m*m*second; v > 0 {
		return v
	}
	return 0 // every bin is set: 0·∞
}

// Count returns how many members set that many bins in expectation. A noised
// number may be below 0, which stands for no members, and is cut to half a bin
// below m, where the bitmap says no more.
func (o Occupancy) Count(set float64) float64 {
	if o.Validate() != nil {
		return math.NaN()
	}
	m := float64(o.Bins)
	return math.Log1p(-min(max(set, 0), m-0.5)/m) / math.Log1p(-1/m)
}

// StdDev returns the standard deviation of Count for n members, where the number
// of set bins carries noise of the given standard deviation: √(Var W + noise²)
// over the slope of E W, to first order.
func (o Occupancy) StdDev(n, noise float64) float64 {
	if o.Validate() != nil {
		return math.NaN()
	}
	m := float64(o.Bins)
	slope := -m * math.Log1p(-1/m) * math.Exp(n*math.Log1p(-1/m))
	return math.Sqrt(o.variance(n)+noise*noise) / slope
}

// Interval returns the numbers of members, from low to high, under which W lies in
// [least, most] or is nearer to it than what chance moves it by with the given
// confidence: if the true W is in [least, most], the true number is in [low, high]
// with at least that probability. high is 2⁶² where nearly all bins are set.
func (o Occupancy) Interval(least, most int64, confidence float64) (low, high int64, err error) {
	if err := o.Validate(); err != nil {
		return 0, 0, err
	}
	if !(confidence > 0 && confidence < 1) {
		return 0, 0, errors.New("compute interval: give a confidence above 0 and below 1")
	}
	least, most = min(max(least, 0), o.Bins), min(max(most, 0), o.Bins)
	half := func(n float64) float64 { return bernstein(o.variance(n), 1, (1-confidence)/2) }
	// The first n at which chance reaches up to least; W is never above n.
	low = firstWhere(func(n float64) bool { return o.Mean(n)+half(n) >= float64(least) })
	low = max(low, least)
	// The last n at which chance reaches down to most.
	high = firstWhere(func(n float64) bool { return o.Mean(n)-half(n) > float64(most) })
	if high < maxSum {
		high--
	}
	return low, max(high, low), nil
}

// firstWhere returns the first whole number from 0 at which a predicate holds that
// stays true once it is; 2⁶² if it holds nowhere below.
func firstWhere(holds func(n float64) bool) int64 {
	lo, hi := int64(-1), int64(0)
	for !holds(float64(hi)) {
		if hi >= maxSum {
			return maxSum
		}
		lo, hi = hi, min(2*hi+1, maxSum)
	}
	for hi-lo > 1 {
		if mid := lo + (hi-lo)/2; holds(float64(mid)) {
			hi = mid
		} else {
			lo = mid
		}
	}
	return hi
}

// bernstein returns the h with P(S − E S ≥ h) ≤ alpha for a sum S of independent
// terms of that total variance, none of which exceeds its mean by more than reach:
// exp(−h²/(2(variance + reach·h/3))) = alpha.
func bernstein(variance, reach, alpha float64) float64 {
	l := -math.Log(alpha)
	a := reach * l / 3
	return a + math.Sqrt(a*a+2*variance*l)
}
