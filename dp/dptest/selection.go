package dptest

import (
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"testing"

	"github.com/larder-dp/larder/dp"
)

// A SelectionKit is a selection of keys (partitions) that depends on the data.
type SelectionKit struct {
	// New returns a selection that costs b where one unit touches s.L0 keys and moves
	// each count by s.LInf at most: it tells for each count whether its key may be
	// published. It serves every valid b and s. Required.
	New func(b dp.Budget, s dp.Sensitivity) (func(counts []int64, random io.Reader) ([]bool, error), error)
	// Samples is how many selections are made in each setting; 0 means 20,000.
	Samples int
	// Seed fixes random.
	Seed uint64
}

// Selection fails t for each broken rule; see CheckSelection.
func Selection(t testing.TB, kit SelectionKit) {
	t.Helper()
	report(t, CheckSelection(kit))
}

// CheckSelection holds a selection to its definition, in settings of its own: δ from
// 0.3 down to 1e-12, up to 10,000 keys a unit, thresholds of every fraction.
//
//	empty     a key that no unit has is never published
//	new       keys that one unit alone has are published with probability δ at most,
//	          all of them together: this is what a threshold is for
//	(ε, δ)    a count that one unit moves, about the threshold, from both sides, and at
//	          the count below it where one unit more seems to change most
//	position  a key's chance depends on its own count only: not on its place, nor on others, nor on
//	          how many there are
//	range     counts at the ends of int64 do not wrap
//	refusal   NaN, ±Inf, negative and missing numbers, δ = 0: an error
//
// Each test has α = 1e-9. It sees a δ that is exceeded by a tenth at 0.1, and below 1e-6
// only one that is missed by orders of magnitude: a δ of 1e-6 is not certified by
// samples, but a threshold that is right at δ = 0.01 for every L0 and ε is right by
// the same formula. What decides the set of keys before the selection is for
// CheckSensitivity.
func CheckSelection(kit SelectionKit) error {
	if kit.New == nil {
		return errors.New("selection audit: give New")
	}
	s := &selections{kit: kit, n: kit.Samples, broken: map[string]bool{}}
	if s.n == 0 {
		s.n = 20_000
	}
	for i, c := range selectionCases {
		s.check(i, c)
	}
	s.refusals()
	return errors.Join(s.faults...)
}

type selectionCase struct {
	b        dp.Budget
	l0, linf int64
}

func (c selectionCase) String() string {
	return fmt.Sprintf("ε=%g δ=%g, L0=%d, LInf=%d", c.b.Epsilon, c.b.Delta, c.l0, c.linf)
}

func (c selectionCase) sensitivity() dp.Sensitivity {
	return dp.Sensitivity{L0: c.l0, L1: c.l0 * c.linf, L2Squared: c.l0 * c.linf * c.linf, LInf: c.linf}
}

// Small scales make one step of the threshold cost much; the thresholds' fractions
// are spread.
var selectionCases = []selectionCase{
	{dp.Budget{Epsilon: 1, Delta: 0.1}, 1, 1},
	{dp.Budget{Epsilon: 3, Delta: 0.011}, 1, 1},
	{dp.Budget{Epsilon: 1.7, Delta: 0.023}, 1, 1},
	{dp.Budget{Epsilon: 0.9, Delta: 0.3}, 1, 1},
	{dp.Budget{Epsilon: 2.3, Delta: 0.05}, 1, 3},
	{dp.Budget{Epsilon: 4, Delta: 0.1}, 3, 1},
	{dp.Budget{Epsilon: 1.3, Delta: 0.01}, 4, 1},
	{dp.Budget{Epsilon: 9, Delta: 0.07}, 4, 2},
	{dp.Budget{Epsilon: 20, Delta: 0.2}, 20, 1},
	{dp.Budget{Epsilon: 0.1, Delta: 0.5}, 1, 1},
	{dp.Budget{Epsilon: 1, Delta: 1e-12}, 1, 1},
	{dp.Budget{Epsilon: 1, Delta: 1e-12}, 10_000, 1},
	{dp.Budget{Epsilon: 0.3, Delta: 1e-300}, 1, 1},
	{dp.Budget{Epsilon: 50, Delta: 1e-6}, 1, 1},
}

type selections struct {
	kit    SelectionKit
	n      int
	broken map[string]bool
	faults []error
}

func (s *selections) want(ok bool, rule, means, input, format string, args ...any) bool {
	if !ok && !s.broken[rule] {
		s.broken[rule] = true
		s.faults = append(s.faults, &Fault{Check: "selection audit", Rule: rule, Found: fmt.Sprintf(format, args...), Input: input, Means: means})
	}
	return ok
}

const mostKeys = 32

func (s *selections) check(i int, c selectionCase) {
	sel, err := s.kit.New(c.b, c.sensitivity())
	if !s.want(err == nil && sel != nil, "a valid claim is calibrated", "keys go out without a selection, or the release fails for everybody", c.String(), "%v", err) {
		return
	}
	random := stream(s.kit.Seed, i, 0, 1)
	decide := func(counts []int64) []bool {
		got, err := sel(counts, random)
		if !s.want(err == nil && len(got) == len(counts), "there is one decision a key, whatever the counts", "an error that depends on counts is published without noise", c.String(), "%d decisions for %d keys, %v", len(got), len(counts), err) {
			return make([]bool, len(counts))
		}
		return got
	}
	s.empty(c, decide)
	keys := int(min(c.l0, mostKeys)) // of more keys these alone must not pass δ
	fresh := make([]int64, keys)
	for k := range fresh {
		fresh[k] = c.linf
	}
	published, chosen, n := int64(0), int64(0), s.n
	if c.b.Delta < 1e-9 {
		s.many(c, decide)
		return
	}
	for range n {
		one := false
		for k, p := range decide(fresh) {
			one = one || p
			if p && k == 0 {
				chosen++
			}
		}
		if one {
			published++
		}
	}
	p := upperTail(int64(n), published, c.b.Delta)
	s.want(p > alpha, newKeys, newKeysMean, c.String(),
		"%d of %d selections published one of %d new keys: probability at least %.4g, δ = %g (p=%.2g)", published, n, keys, lowerBound(int64(n), published, alpha), c.b.Delta, p)
	if c.b.Delta >= 1e-3 {
		s.position(c, decide, chosen)
		s.aroundThreshold(c, sel, i)
	}
}

func (s *selections) empty(c selectionCase, decide func([]int64) []bool) {
	crowd := int64(1) << 40
	for _, counts := range [][]int64{{0}, {0, crowd, 0, 0, crowd}, {-1, 0, crowd, math.MinInt64}, {crowd, 0}, make([]int64, 100)} {
		for range 50 {
			for k, p := range decide(counts) {
				s.want(!p || counts[k] > 0, "a key that no unit has is never published", "a key set that is fixed by nobody's data cannot be told from one that is", c.String(), "counts %v: key %d was published", counts[:min(len(counts), 6)], k+1)
			}
		}
	}
	const runs = 200
	rising := []int64{math.MinInt64, 1 << 12, 1 << 20, 1 << 31, 1 << 33, crowd, 1 << 62, math.MaxInt64 - 1, math.MaxInt64}
	hits := make([]int64, len(rising))
	for range runs {
		for k, p := range decide(rising) {
			if p {
				hits[k]++
			}
		}
	}
	ends, most := hits[0] == 0, int64(0)
	for _, h := range hits {
		ends = ends && lowerBound(runs, most, alpha/18) <= upperBound(runs, h, alpha/18)
		most = max(most, h)
	}
	s.want(ends, "counts at the ends of int64 do not wrap", "the largest key is missing and the smallest is there: sums have wrapped", c.String(),
		"of %d selections counts of %d are published %d times: a larger one less often", runs, rising, hits)
}

// many decides on so many new keys that one published is one too many. One unit has
// L0 of them.
func (s *selections) many(c selectionCase, decide func([]int64) []bool) {
	fresh := make([]int64, 4096)
	for k := range fresh {
		fresh[k] = c.linf
	}
	published, n := int64(0), int64(0)
	for n < int64(s.n)*50 && published < 100 {
		n += int64(len(fresh))
		for _, p := range decide(fresh) {
			if p {
				published++
			}
		}
	}
	p := upperTail(n, published, c.b.Delta/float64(c.l0))
	s.want(p > alpha, newKeys, newKeysMean, c.String(), "%d of %d new keys were published, δ/L0 = %g (p=%.2g)", published, n, c.b.Delta/float64(c.l0), p)
}

const (
	newKeys     = "keys that one unit alone has are published with probability δ at most, together"
	newKeysMean = "whoever sees the key knows that the unit is in the data: the threshold is too low, by one step, by δ/L0, or altogether"
)

// position compares a key that stands first with ones that stand behind a large one,
// and last, behind an empty one, and with the many of a crowd, each as a run of its own.
func (s *selections) position(c selectionCase, decide func([]int64) []bool, first int64) {
	counts := []int64{1 << 40, c.linf, 0, 1 << 40, 0, c.linf}
	var behind, last int64
	for range s.n {
		got := decide(counts)
		if got[1] {
			behind++
		}
		if got[5] {
			last++
		}
	}
	crowd := slices.Repeat([]int64{1 << 40, c.linf}, 4096)
	var among, crowded int64
	for crowded < int64(s.n) {
		for k, p := range decide(crowd) {
			if k%2 == 1 {
				if crowded++; p {
					among++
				}
			}
		}
	}
	n := int64(s.n)
	for _, other := range []struct {
		where   string
		hits, n int64
	}{{"behind a large one", behind, n}, {"as the last", last, n}, {"among 8192", among, crowded}} {
		apart := lowerBound(n, first, alpha/6) > upperBound(other.n, other.hits, alpha/6) || lowerBound(other.n, other.hits, alpha/6) > upperBound(n, first, alpha/6)
		s.want(!apart, "a key's chance depends on its own count only", "noise is shared or drawn by position: one key's decision tells another's count",
			c.String(), "a key of count %d is published %d times of %d as the first, and %d of %d %s", c.linf, first, n, other.hits, other.n, other.where)
	}
}

// aroundThreshold audits what one unit moves where decisions are least sure: all its
// keys, beside one that it does not have.
func (s *selections) aroundThreshold(c selectionCase, sel func([]int64, io.Reader) ([]bool, error), i int) {
	random := stream(s.kit.Seed, i, 1, 1)
	rate := func(count int64) float64 {
		hits := 0
		for range 200 {
			if got, err := sel([]int64{count}, random); err == nil && len(got) == 1 && got[0] {
				hits++
			}
		}
		return float64(hits) / 200
	}
	middle := int64(1)
	for middle < 1<<40 && rate(middle) < 0.5 {
		middle += max(middle/8, 1)
	}
	keys := min(c.l0, 6)
	counts := []int64{max(middle-c.linf, 1), middle}
	// And where a first look, whose randomness judges nothing, finds the largest step.
	var rates []float64
	for count := range min(middle, 64) + c.linf {
		rates = append(rates, rate(count+1))
	}
	step := 0.0
	for k, after := range rates[c.linf:] {
		if up := after - math.Exp(c.b.Epsilon)*rates[k] - c.b.Delta; up > step {
			step, counts = up, append(counts[:2], int64(k)+1)
		}
	}
	for _, count := range counts {
		r, _ := CheckAudit(AuditKit[int64]{
			Claim: c.b, Samples: s.n, Seed: s.kit.Seed + uint64(i), Serial: true,
			Run: func(neighbour bool, random io.Reader) (pattern int64, err error) {
				counts := make([]int64, keys+1)
				for k := range counts {
					counts[k] = count
					if neighbour && int64(k) < keys {
						counts[k] += c.linf
					}
				}
				got, err := sel(counts, random)
				if err != nil || len(got) != len(counts) {
					return 0, fmt.Errorf("no decision: %w", err)
				}
				for k, p := range got {
					if p {
						pattern |= 1 << k
					}
				}
				return pattern, nil
			},
		})
		s.want(r.Outcome != Violation, "publication of keys that others have, too, keeps (ε, δ)", "the decisions show whether one unit more has the keys", c.String(), "%d keys of counts %d and %d: %v", keys, count, count+c.linf, r)
	}
}

func (s *selections) refusals() {
	nan, inf := math.NaN(), math.Inf(1)
	one := selectionCase{l0: 1, linf: 1}.sensitivity()
	for _, b := range []dp.Budget{{Epsilon: nan, Delta: 0.1}, {Epsilon: -1, Delta: 0.1}, {Epsilon: inf, Delta: 0.1}, {Delta: 0.1}, {Epsilon: 1, Delta: nan}, {Epsilon: 1, Delta: -0.1}, {Epsilon: 1, Delta: 1}, {Epsilon: 1, Delta: inf}, {Epsilon: 1}} {
		_, err := s.kit.New(b, one)
		s.want(err != nil, refusal, refusalMeans, fmt.Sprintf("ε=%g δ=%g", b.Epsilon, b.Delta), "accepted")
	}
	for _, bad := range []dp.Sensitivity{{}, {L0: -1, L1: 1, L2Squared: 1, LInf: 1}, {L0: 1, L1: 1, L2Squared: 1, LInf: -1}, {L0: 0, L1: 1, L2Squared: 1, LInf: 1}} {
		_, err := s.kit.New(dp.Budget{Epsilon: 1, Delta: 0.1}, bad)
		s.want(err != nil, refusal, refusalMeans, fmt.Sprintf("%+v", bad), "accepted")
	}
}

const (
	refusal      = "NaN, infinite, negative and missing numbers are refused"
	refusalMeans = "a comparison with NaN is false either way: checks pass, thresholds and scales are anything"
)
