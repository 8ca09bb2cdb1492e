package dp

import (
	"math"
	"math/big"
)

// Spent is an exact sum of charges by a Rule, of which rounding never
// lets one slip through or refuses one that fits: it is what a Ledger adds with.
// The zero value is nothing spent, by the rule "sum"; Rule.Spent makes others. Not safe
// for concurrent use; do not copy it.
type Spent struct {
	rule           Rule
	epsilon, delta big.Rat // of the rule zcdp, epsilon is ρ
}

// Add adds what c costs in all.
func (s *Spent) Add(c Charge) {
	epsilon, delta := total(s.rule.price(c), c.times())
	s.epsilon.Add(&s.epsilon, epsilon)
	s.delta.Add(&s.delta, delta)
}

// AddSpent adds what another sum by the same rule has.
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
	price, capacity, n := s.rule.price(c), s.rule.capacity(allowed), c.times()
	epsilon, delta := total(price, n)
	restE, restD := rest(capacity.Epsilon, &s.epsilon), rest(capacity.Delta, &s.delta)
	// Written as "fits", so that nothing passes by not being comparable.
	if epsilon.Cmp(restE) <= 0 && delta.Cmp(restD) <= 0 {
		return nil
	}
	share := func(rest *big.Rat) float64 { return down(new(big.Rat).Quo(rest, new(big.Rat).SetInt64(n))) }
	return &BudgetError{
		Epoch: c.Key.Epoch, Unit: c.Unit, Asked: c.Cost, Count: n, Left: s.Left(allowed),
		Largest:     s.rule.largest(c, amount{Epsilon: share(restE), Delta: share(restD)}),
		Repetitions: min(repetitions(restE, price.Epsilon), repetitions(restD, price.Delta)),
	}
}

// Left returns what allowed has left, rounded down: a charge of it fits. By the rule zcdp
// that is for one of which nothing is known but its Cost; others cost less.
func (s *Spent) Left(allowed Budget) Budget {
	c := s.rule.capacity(allowed)
	return s.rule.leftBudget(amount{Epsilon: down(rest(c.Epsilon, &s.epsilon)), Delta: down(rest(c.Delta, &s.delta))})
}

// Total returns what was spent, rounded up. By the rule zcdp that is (ε, δ) of all of it
// together, at the δ that allowed has for it; by sum, allowed does not matter.
func (s *Spent) Total(allowed Budget) Budget {
	return s.rule.spentBudget(&s.epsilon, &s.delta, allowed)
}

// Reaches says whether what was spent of ε or of δ (of ρ or of the δ set apart, by zcdp) is
// at least that fraction of allowed, of which there is some.
func (s *Spent) Reaches(fraction float64, allowed Budget) bool {
	capacity := s.rule.capacity(allowed)
	reaches := func(spent *big.Rat, allowed float64) bool {
		part := new(big.Rat).SetFloat64(fraction)
		return allowed > 0 && part != nil && spent.Cmp(part.Mul(part, new(big.Rat).SetFloat64(allowed))) >= 0
	}
	return reaches(&s.epsilon, capacity.Epsilon) || reaches(&s.delta, capacity.Delta)
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

// total is what n repetitions of an amount are, exactly.
func total(each amount, n int64) (epsilon, delta *big.Rat) {
	times := new(big.Rat).SetInt64(n)
	epsilon, delta = new(big.Rat).SetFloat64(each.Epsilon), new(big.Rat).SetFloat64(each.Delta)
	return epsilon.Mul(epsilon, times), delta.Mul(delta, times)
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
