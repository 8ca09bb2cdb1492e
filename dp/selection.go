package dp

import (
	"errors"
	"fmt"
	"io"
	"math"
)

// Selection decides which keys of a key set that depends on the data may be
// published. Make one with NewSelection; the zero value refuses to work. It is a
// value, safe for concurrent use.
//
// A key is published if its unit count plus discrete Laplace noise of scale
// b = Δ₁/ε is at least the threshold τ. A key whose count is 0 is never published.
// Let D′ be D and one more unit. Let A be the keys of count above 0 in D, and B
// those of count above 0 in D′ only. For a set S of outputs, let S₀ be those that
// publish no key of B, a the outcome on A under D, and a′ that under D′.
//
//   - On A the counts of D and D′ differ by at most Δ₁ in total, so
//     P(a ∈ S₀) ≤ exp(ε)·P(a′ ∈ S₀) and the other way round.
//   - B has at most L0 keys, each of a count of at most LInf. Each is published
//     under D′ with probability at most P(LInf + X ≥ τ) ≤ δ/L0, so some key of B is
//     with probability p ≤ δ, independently of a′. Under D none is.
//
// D′ against D: P(M(D′) ∈ S) ≤ P(a′ ∈ S₀) + p ≤ exp(ε)·P(M(D) ∈ S) + δ.
// D against D′: let y = min(1, exp(ε)·P(a′ ∈ S₀)). Then P(M(D) ∈ S) = P(a ∈ S₀) ≤ y =
// (1−p)·y + p·y ≤ exp(ε)·(1−p)·P(a′ ∈ S₀) + p ≤ exp(ε)·P(M(D′) ∈ S) + δ.
type Selection struct {
	params      Params
	sensitivity Sensitivity
	exact       scale // r = 0 only in the zero value
	threshold   int64
}

var errZeroSelection = errors.New("the selection is not calibrated: take it from NewSelection")

// NewSelection calibrates a selection over per-key unit counts of sensitivity s:
// L0 is how many keys one unit can touch and LInf how far it moves one count (1,
// or MaxNodes if counts of several nodes are summed). p.Delta must be above 0, and
// p.Mechanism Auto or DiscreteLaplace.
func NewSelection(p Params, s Sensitivity) (Selection, error) {
	err := errors.Join(p.Validate(), s.validate())
	switch {
	case err != nil:
	case p.Mechanism != Auto && p.Mechanism != DiscreteLaplace:
		err = fmt.Errorf("selection has no %s mechanism: take %s", p.Mechanism, DiscreteLaplace)
	case p.Delta == 0:
		err = errors.New("selection needs a Delta above 0: give one, or publish a key set fixed in advance")
	}
	if err != nil {
		return Selection{}, fmt.Errorf("calibrate selection: %w", err)
	}
	p.Mechanism = DiscreteLaplace
	sel := Selection{params: p, sensitivity: s}
	if sel.exact, err = laplaceRational(p, s); err != nil {
		return Selection{}, fmt.Errorf("calibrate selection: %w", err)
	}
	b := sel.exact.float()
	above := thresholdAbove(b, math.Log(p.Delta)-math.Log(float64(s.L0)))
	if !(float64(s.LInf)+above < maxSum) {
		return Selection{}, errors.New("calibrate selection: the threshold would exceed 2^62: raise Epsilon or Delta, or lower the bounds")
	}
	sel.threshold = s.LInf + int64(above)
	return sel, nil
}

// thresholdAbove returns the smallest integer k with ln P(X ≥ k) ≤ logDelta < 0 for
// a discrete Laplace X of scale b. It errs upwards by at most one in 10¹² where
// float64 cannot tell.
//
// P(X ≥ k) = q^k/(1+q) for k ≥ 0, with q = exp(−1/b), so k ≥ b·(−ln δ − ln(1+q)).
// That is negative where δ > 1/(1+q); then P(X ≥ k) = 1 − q^(1−k)/(1+q) for k ≤ 0 (both
// agree on k = 0). In logarithms no δ is too small.
func thresholdAbove(b, logDelta float64) float64 {
	q := math.Exp(-1 / b)
	k := b * (-logDelta - math.Log1p(q))
	if k < 0 {
		// q^(1−k) ≥ (1−δ)·(1+q), so k ≥ 1 + b·ln((1−δ)·(1+q)).
		k = 1 + b*(math.Log(-math.Expm1(logDelta))+math.Log1p(q))
		return min(math.Ceil(k+math.Abs(k)*1e-12), 0)
	}
	return math.Ceil(k + (math.Abs(k)+b)*1e-12)
}

// Threshold returns the smallest noised count that is published; of the zero
// value, the largest int64.
func (s Selection) Threshold() int64 {
	if s.exact.r == 0 {
		return math.MaxInt64
	}
	return s.threshold
}

// Cost returns (ε, δ).
func (s Selection) Cost() Budget { return Budget{Epsilon: s.params.Epsilon, Delta: s.params.Delta} }

// Event returns how the selection is accounted: as (ε, δ), whatever it selects.
func (s Selection) Event() Event {
	return Event{Mechanism: PartitionSelection, Epsilon: s.params.Epsilon, Delta: s.params.Delta, Count: 1}
}

// GroupCost is Noise.GroupCost for a selection. It costs m·ε. Disjoint: m times as
// many keys, so m·δ. Summed: m·L0 hits of LInf each, where t ≤ m of them may fall on the
// same key, which is then published with probability g(t) = P(t·LInf + X ≥ τ): at most
// m·L0·max g(t)/t. δ = 1 means that nothing is left to claim.
func (s Selection) GroupCost(m int, shape Shape) (Budget, error) {
	if s.exact.r == 0 {
		return Budget{}, fmt.Errorf("compute group cost: %w", errZeroSelection)
	}
	if err := checkGroup(m, shape); err != nil {
		return Budget{}, err
	}
	cost := s.Cost()
	if m == 1 {
		return cost, nil
	}
	times := float64(m)
	cost.Epsilon = timesUp(times, cost.Epsilon)
	if shape == Disjoint {
		cost.Delta = min(timesUp(times, cost.Delta), 1)
	} else {
		cost.Delta = s.summedDelta(times)
	}
	if !(cost.Epsilon <= math.MaxFloat64) {
		return Budget{}, fmt.Errorf("compute group cost: no finite epsilon holds for %d times the reach", m)
	}
	return cost, nil
}

// summedDelta returns m·L0·max_t g(t)/t. Up to the threshold g(t) = q^(τ−t·LInf)/(1+q)
// is convex, so g(t)/t is largest at t = 1 or at the end; above, g < 1 and g(t)/t ≤
// 1/t is largest at the first t there.
func (s Selection) summedDelta(m float64) float64 {
	b, reach := s.exact.float(), float64(s.sensitivity.LInf)
	g := func(t float64) float64 {
		k := float64(s.threshold) - t*reach
		if k < 0 {
			return 1
		}
		return math.Exp(-k/b-math.Log1p(math.Exp(-1/b))) * (1 + 1e-12)
	}
	first := math.Floor(float64(s.threshold)/reach) + 1 // the first t past the threshold
	worst := g(1)
	for _, t := range []float64{first - 1, first} {
		if t = min(t, m); t >= 1 {
			worst = max(worst, g(t)/t)
		}
	}
	return min(max(timesUp(m*float64(s.sensitivity.L0), worst), s.params.Delta), 1)
}

// Select reports for every key whether it may be published. A count of 0 or less
// never is. Noise is drawn for every key, in the order given, whatever the
// counts; random is as in Noise.Add.
func (s Selection) Select(counts []int64, random io.Reader) ([]bool, error) {
	if s.exact.r == 0 {
		return nil, fmt.Errorf("select partitions: %w", errZeroSelection)
	}
	st, err := newStreams(random)
	if err != nil {
		return nil, fmt.Errorf("select partitions: %w", err)
	}
	published := make([]bool, len(counts))
	var d *stream
	for i, c := range counts {
		if i%chunk == 0 {
			d = st.chunk(i / chunk)
		}
		x := discreteLaplace(s.exact, d)
		published[i] = c > 0 && addSaturated(c, x) >= s.threshold
	}
	return published, nil
}
