package dp

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
)

// A Filter answers for queries whose mechanisms are chosen one after the other, each
// in view of all earlier answers. Compose covers mechanisms that are declared in
// advance; an accountant of the events seen so far says nothing for sure when the
// choice of events depended on the answers. Safe for concurrent use.
//
// The rule: Feldman and Zrnic 2021 (arXiv 2008.11193), Theorem 3.2. Fix an order α and an
// amount B before the first query, and stop before the sum of the divergences of order α
// would pass B: then the whole interaction has Rényi divergence B at α, and so is
// (ε, δ)-differentially private by the usual conversion. It holds for one α. Here α
// and B are those at which the conversion gives exactly the budget: B = ε − ln(1 − 1/α) +
// ln(αδ)/(α−1). Under zCDP the same holds for ρ = B/α. With δ = 0 the rule is the
// sum of the pure ε (α = ∞).
//
// A Filter's budget and one of mechanisms declared in advance meet only as the sum of
// both.
type Filter struct {
	budget   Budget
	order    float64 // +Inf if δ = 0
	capacity float64

	mu    sync.Mutex
	spent float64
}

// ErrOverspent says that an event does not fit what a Filter has left.
var ErrOverspent = errors.New("the event does not fit the filter")

// A Spend records one event that a Filter or an Odometer accepted.
type Spend struct {
	Event Event `json:"event"`
	// Rule is the rule in force: renyi-filter, pure-filter or renyi-odometer.
	Rule string `json:"rule"`
	// Order is the Rényi order; 0 for the rule pure-filter.
	Order float64 `json:"order,omitempty"`
	// Divergence is the event's divergence of that order (or ε), and Total the sum so
	// far, of at most Capacity.
	Divergence float64 `json:"divergence"`
	Total      float64 `json:"total"`
	Capacity   float64 `json:"capacity,omitempty"`
}

// NewFilter returns a filter that never lets the whole interaction pass the budget. An
// order of 0 takes the one that allows the largest ρ: the best for Gaussian noise.
func NewFilter(budget Budget, order float64) (*Filter, error) {
	if err := budget.Validate(); err != nil {
		return nil, fmt.Errorf("open filter: %w", err)
	}
	if budget.Epsilon == 0 {
		return nil, errors.New("open filter: Epsilon must be above 0")
	}
	if order != 0 && !(order >= 1.0001 && order <= 1e9) {
		return nil, errors.New("open filter: give an order from 1.0001 to 1e9, or 0")
	}
	f := &Filter{budget: budget, order: math.Inf(1), capacity: budget.Epsilon}
	if budget.Delta == 0 {
		if order != 0 {
			return nil, errors.New("open filter: an order needs a Delta above 0")
		}
		return f, nil
	}
	capacity := func(alpha float64) float64 {
		return (budget.Epsilon - math.Log1p(-1/alpha) + math.Log(alpha*budget.Delta)/(alpha-1)) * (1 - 1e-12)
	}
	if order == 0 {
		best := math.Inf(-1)
		for u := -8.0; u < 18; u += 1e-3 {
			alpha := 1 + math.Exp(u)
			if v := capacity(alpha) / alpha; v > best {
				best, order = v, alpha
			}
		}
		// Skellam's bound is known at whole orders.
		if whole := math.Ceil(order); order > 2 && capacity(whole) > 0 {
			order = whole
		}
	}
	f.order, f.capacity = order, capacity(order)
	if !(f.capacity > 0) {
		return nil, fmt.Errorf("open filter: nothing fits the budget at order %g: take a larger order", order)
	}
	return f, nil
}

// Spend charges an event, or refuses it with ErrOverspent and charges nothing. Only
// after it has returned without an error may the event's answer be computed.
func (f *Filter) Spend(e Event) (Spend, error) {
	d, err := divergenceOf(e, f.order)
	if err != nil {
		return Spend{}, fmt.Errorf("spend event: %w", err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	total := math.Nextafter(f.spent+d, math.Inf(1))
	if !(total <= f.capacity) {
		return Spend{}, fmt.Errorf("spend event: %w: asked for a divergence of %g at order %g, left %g", ErrOverspent, d, f.order, f.capacity-f.spent)
	}
	f.spent = total
	s := Spend{Event: e, Rule: "renyi-filter", Order: f.order, Divergence: d, Total: total, Capacity: f.capacity}
	if math.IsInf(f.order, 1) {
		s.Rule, s.Order = "pure-filter", 0
	}
	return s, nil
}

// Left returns how much divergence of the filter's order still fits.
func (f *Filter) Left() (divergence, order float64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return max(f.capacity-f.spent, 0), f.order
}

// divergenceOf returns a bound on the divergence of order α of all uses of an event; at
// α = ∞ that is ε.
func divergenceOf(e Event, order float64) (float64, error) {
	a, err := Compose(e)
	if err != nil {
		return 0, err
	}
	d := a.whole().sup() * (1 + 1e-12)
	if math.IsInf(order, 1) {
		if len(a.renyi) > 0 || a.lostHi > 0 {
			d = math.Inf(1)
		}
	} else {
		b, err := a.RDP(order)
		if err != nil {
			return 0, err
		}
		d = b.Hi
	}
	if !(d <= math.MaxFloat64) {
		return 0, fmt.Errorf("%s has no finite divergence of order %g: declare it in advance, or take zCDP noise", e.Mechanism, order)
	}
	return d, nil
}

// An Odometer reports what adaptively chosen queries have cost so far, with no
// budget fixed in advance. Safe for concurrent use.
//
// The rule: a filter with the capacity Bₖ = 2ᵏ·B₀ at an order αₖ runs for every k = 0, 1, …,
// all at once, each at its own δₖ = δ/((k+1)(k+2)) (these add up to δ). When the sum of the
// divergences passes Bₖ, the k-th has stopped, and the next one speaks. Filter k
// says that with probability 1 − δₖ over the answers the loss up to its stop is within
// ±εₖ; by the union bound all of them hold together, whatever the stopping time: an
// odometer in the sense of Rogers, Roth, Ullman, Vadhan 2016 (arXiv 1605.08294),
// Definition 3.6. What is claimed is a bound on the privacy loss that
// holds with probability 1 − δ at all times at once:
//
//	P(L > ε) ≤ exp((α−1)·(B − ε)) for divergence B at α (Markov), so εₖ = Bₖ + ln(2/δₖ)/(αₖ−1)
//
// where P(L < −ε) is no larger: it is at most e^{−ε} times the probability of L < −ε under
// the neighbour, whose loss −L is bounded in the same way. It implies
// (ε, δ)-differential privacy at each stopping time whose report is bounded by ε.
type Odometer struct {
	delta  float64
	levels []level

	mu    sync.Mutex
	spent []float64 // by level
}

type level struct{ order, capacity, epsilon float64 }

// NewOdometer returns an odometer that claims its reports with probability 1 − delta.
func NewOdometer(delta float64) (*Odometer, error) {
	if !(delta > 0 && delta < 1) {
		return nil, errors.New("open odometer: Delta must be above 0 and below 1")
	}
	o := &Odometer{delta: delta}
	for k := range 48 {
		// Level k is for ρ of 2ᵏ⁻²⁴; its order is the best for a Gaussian of that ρ.
		rho := math.Ldexp(1, k-24)
		log := math.Log(2*float64(k+1)*float64(k+2)) - math.Log(delta)
		order := min(math.Ceil(1+math.Sqrt(log/rho)), 1e6)
		capacity := rho * order
		o.levels = append(o.levels, level{order, capacity, (capacity + log/(order-1)) * (1 + 1e-12)})
	}
	o.spent = make([]float64, len(o.levels))
	return o, nil
}

// Spend charges an event. It refuses one that has no
// finite divergence. The record names the level that covers the total.
func (o *Odometer) Spend(e Event) (Spend, error) {
	ds := make([]float64, len(o.levels))
	for i, l := range o.levels {
		d, err := divergenceOf(e, l.order)
		if err != nil {
			return Spend{}, fmt.Errorf("spend event: %w", err)
		}
		ds[i] = d
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	next := slices.Clone(o.spent)
	for i, d := range ds {
		next[i] = math.Nextafter(next[i]+d, math.Inf(1))
	}
	k := o.level(next)
	if k == len(o.levels) {
		return Spend{}, errors.New("spend event: the total leaves the odometer's scale")
	}
	o.spent = next
	return Spend{Event: e, Rule: "renyi-odometer", Order: o.levels[k].order, Divergence: ds[k], Total: next[k], Capacity: o.levels[k].capacity}, nil
}

// level returns the first level that has not stopped, of the smallest ε.
func (o *Odometer) level(spent []float64) int {
	for i, l := range o.levels {
		if spent[i] <= l.capacity {
			return i
		}
	}
	return len(o.levels)
}

// Spent returns the ε that holds for everything charged so far, with the odometer's δ. 0
// means that nothing was charged.
func (o *Odometer) Spent() Budget {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.spent[0] == 0 {
		return Budget{Delta: o.delta}
	}
	return Budget{Epsilon: o.levels[o.level(o.spent)].epsilon, Delta: o.delta}
}
