package dptest

import (
	"fmt"
	"io"
	"math"
	"testing"
)

// An IntervalKit makes estimates with error bars, of truths that it knows.
type IntervalKit struct {
	// Run makes one estimate, independent of all others, and its half width.
	// Required.
	Run func(random io.Reader) (truth, estimate, half float64, err error)
	// Confidence is the probability that is claimed for |estimate − truth| ≤ half.
	// Required: above 0 and below 1.
	Confidence float64
	// Samples is how many estimates are made; 0 means 20,000.
	Samples int
	// Seed fixes random.
	Seed uint64
}

// Intervals fails t if intervals cover less than they claim; see CheckIntervals.
func Intervals(t testing.TB, kit IntervalKit) {
	t.Helper()
	report(t, CheckIntervals(kit))
}

// CheckIntervals counts the estimates outside their intervals and holds the number to
// the claimed confidence, by an exact one-sided binomial test at α = 1e-9. Intervals that
// are too wide pass; but a half width is finite and not negative.
//
// It cannot see intervals that are right on average over the truths of Run and wrong
// for some of them: make a kit for each kind of truth that matters.
func CheckIntervals(kit IntervalKit) error {
	const check = "interval coverage"
	n := int64(kit.Samples)
	if n == 0 {
		n = 20_000
	}
	if kit.Run == nil || n < 0 || !(kit.Confidence > 0 && kit.Confidence < 1) {
		return fmt.Errorf("%s: give Run, a Confidence above 0 and below 1, and Samples of at least 0", check)
	}
	fault := func(rule, means, format string, args ...any) *Fault {
		return &Fault{Check: check, Rule: rule, Found: fmt.Sprintf(format, args...), Input: fmt.Sprintf("confidence %g, seed %d", kit.Confidence, kit.Seed), Means: means}
	}
	if upperTail(n, n, 1-kit.Confidence) > alpha {
		return fault("an audit that cannot fail shows nothing", "the claim is as unproved as before", "%d samples refute no coverage of %g: take more", n, kit.Confidence)
	}
	random := stream(kit.Seed, 0, 0, 1)
	missed := int64(0)
	for range n {
		truth, estimate, half, err := kit.Run(random)
		switch {
		case err != nil:
			return fault("an estimate has an error bar", "nothing was shown", "%v", err)
		case !(half >= 0 && half <= math.MaxFloat64) || math.IsNaN(estimate) || math.IsNaN(truth):
			return fault("a half width is finite and not negative, an estimate a number", "a number without an error bar is published", "%g ± %g", estimate, half)
		case math.Abs(estimate-truth) > half:
			missed++
		}
	}
	if p := upperTail(n, missed, 1-kit.Confidence); p <= alpha {
		return fault("an interval covers the truth as often as it claims", "an analyst takes noise for a finding",
			"%d of %d were outside, %.4g covered: coverage is at most %.6g (p=%.2g)", missed, n, 1-float64(missed)/float64(n), 1-lowerBound(n, missed, alpha), p)
	}
	return nil
}
