package dp

import (
	"math"
	"math/big"
)

// Spent is an exact sum of charges (basic composition), of which rounding never
// lets one slip through or refuses one that fits: it is what a Ledger adds with.
// The zero value is nothing spent. Not safe for concurrent use; do not copy it.
type Spent struct{ epsilon, delta big.Rat }

// Add adds what c costs in all.
func (s *Spent) Add(c Charge) {
	epsilon, delta := c.total()
	s.epsilon.Add(&s.epsilon, epsilon)
	s.delta.Add(&s.delta, delta)
}

// AddSpent adds what another sum has.
func (s *Spent) AddSpent(other *Spent) {
	s.epsilon.Add(&s.epsilon, &other.epsilon)
	s.delta.Add(&s.delta, &other.delta)
}

// Check returns nil if allowed covers what was spent and c, and else a
// *BudgetError that says what it would cover. It adds nothing.
func (s *Spent) Check(c Charge, allowed Budget) error {
	if err := c.Validate(); err != nil {
		return err
	}
	epsilon, delta := c.total()
	restE, restD := rest(allowed.Epsilon, &s.epsilon), rest(allowed.Delta, &s.delta)
	// Written as "fits", so that nothing passes by not being comparable.
	if epsilon.Cmp(restE) <= 0 && delta.Cmp(restD) <= 0 {
		return nil
	}
	n := c.times()
	share := func(asked float64, rest *big.Rat) float64 {
		return min(asked, down(rest.Quo(rest, new(big.Rat).SetInt64(n))))
	}
	e := &BudgetError{
		Epoch: c.Key.Epoch, Unit: c.Unit, Asked: c.Cost, Count: n, Left: s.Left(allowed),
		Repetitions: min(repetitions(restE, c.Cost.Epsilon), repetitions(restD, c.Cost.Delta)),
	}
	e.Largest = Budget{Epsilon: share(c.Cost.Epsilon, restE), Delta: share(c.Cost.Delta, restD)}
	return e
}

// Left returns what allowed has left, rounded down: a charge of it fits.
func (s *Spent) Left(allowed Budget) Budget {
	return Budget{Epsilon: down(rest(allowed.Epsilon, &s.epsilon)), Delta: down(rest(allowed.Delta, &s.delta))}
}

// Total returns what was spent, rounded up.
func (s *Spent) Total() Budget { return Budget{Epsilon: up(&s.epsilon), Delta: up(&s.delta)} }

// Reaches says whether what was spent of ε or of δ is at least that fraction of
// allowed, of which there is some.
func (s *Spent) Reaches(fraction float64, allowed Budget) bool {
	reaches := func(spent *big.Rat, allowed float64) bool {
		part := new(big.Rat).SetFloat64(fraction)
		return allowed > 0 && part != nil && spent.Cmp(part.Mul(part, new(big.Rat).SetFloat64(allowed))) >= 0
	}
	return reaches(&s.epsilon, allowed.Epsilon) || reaches(&s.delta, allowed.Delta)
}

// rest is at least 0.
func rest(allowed float64, spent *big.Rat) *big.Rat {
	r := new(big.Rat).SetFloat64(allowed)
	if r == nil || r.Cmp(spent) <= 0 { // a budget that is no number allows nothing
		return new(big.Rat)
	}
	return r.Sub(r, spent)
}

func repetitions(rest *big.Rat, cost float64) int64 {
	if cost == 0 {
		return math.MaxInt64
	}
	q := new(big.Rat).Quo(rest, new(big.Rat).SetFloat64(cost))
	n := new(big.Int).Quo(q.Num(), q.Denom())
	if !n.IsInt64() {
		return math.MaxInt64
	}
	return n.Int64()
}

// total is what all repetitions cost. The charge is valid.
func (c Charge) total() (epsilon, delta *big.Rat) {
	n := new(big.Rat).SetInt64(c.times())
	epsilon, delta = new(big.Rat).SetFloat64(c.Cost.Epsilon), new(big.Rat).SetFloat64(c.Cost.Delta)
	return epsilon.Mul(epsilon, n), delta.Mul(delta, n)
}

func (c Charge) times() int64 { return max(c.Count, 1) }

// down is the largest float64 that is at most r ≥ 0.
func down(r *big.Rat) float64 {
	f, exact := r.Float64()
	if !exact && (math.IsInf(f, 1) || new(big.Rat).SetFloat64(f).Cmp(r) > 0) {
		f = math.Nextafter(f, math.Inf(-1))
	}
	return f
}

// up is the smallest float64 that is at least r ≥ 0.
func up(r *big.Rat) float64 {
	f, exact := r.Float64()
	if !exact && !math.IsInf(f, 1) && new(big.Rat).SetFloat64(f).Cmp(r) < 0 {
		f = math.Nextafter(f, math.Inf(1))
	}
	return f
}
