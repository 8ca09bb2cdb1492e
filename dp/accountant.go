package dp

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
)

// An Accountant knows what a set of mechanisms, declared in advance, loses together.
// Make one with Compose. It is a value that never changes, safe for concurrent use.
//
// Every answer is a bracket [Lo, Hi]. Hi is a bound: composed adaptively, and for
// both neighbouring relations (all losses here are symmetric), the mechanisms are
// (ε, δ)-differentially private with it. Lo says how good the bound is.
type Accountant struct {
	uses   []use // sorted, one a kind and parameter; Gaussians too
	renyi  []renyi
	events []Event
	// lostLo and lostHi bracket the probability 1 − Π(1−δᵢ) of losing everything.
	lostLo, lostHi float64
}

// A Bracket holds a number between Lo and Hi. Its JSON has null for an infinite end.
type Bracket struct {
	Lo float64 `json:"lo"`
	Hi float64 `json:"hi"`
	// Rule names what produced it: gaussian, binomial and single are closed forms, atoms a sum
	// over all losses, sum the largest loss, pld the transform of a privacy loss distribution, renyi a conversion, pld+renyi
	// the sum of both, closed and infinite say 0 and +Inf.
	Rule  string `json:"rule"`
	Proof Proof  `json:"proof"`
}

// A Proof is the record of how a bracket came about, enough to compute it again.
type Proof struct {
	// Composed is what was composed, equal events merged, in a fixed order.
	Composed []Event `json:"composed"`
	// Tight says that Lo bounds the loss of the mechanisms themselves. If it is
	// false, a rule that is only a bound was used, and Lo and Hi bracket its value.
	Tight bool `json:"tight"`
	// Order is the Rényi order of the rule renyi.
	Order float64 `json:"order,omitempty"`
	// Lost is a bound on the probability of losing everything: the sum of the δ.
	Lost float64 `json:"lost,omitempty"`
	// Split is the part of δ that went to the rule pld in pld+renyi.
	Split float64 `json:"split,omitempty"`
	// Tilt, Smoothing, Period and Points are θ, s, P and the number of frequencies of the last sums over the
	// transform of the losses; Lo and Hi are the best of all. Hi is right under any of them.
	Tilt      float64 `json:"tilt,omitempty"`
	Smoothing float64 `json:"smoothing,omitempty"`
	Period    float64 `json:"period,omitempty"`
	Points    int     `json:"points,omitempty"`
	// Rounding is what rounding of the losses and their counts added, relative to δ.
	Rounding float64 `json:"rounding,omitempty"`
}

// MarshalJSON writes infinite ends as null.
func (b Bracket) MarshalJSON() ([]byte, error) {
	finite := func(x float64) *float64 {
		if math.IsInf(x, 0) {
			return nil
		}
		return &x
	}
	return json.Marshal(struct {
		Lo    *float64 `json:"lo"`
		Hi    *float64 `json:"hi"`
		Rule  string   `json:"rule"`
		Proof Proof    `json:"proof"`
	}{finite(b.Lo), finite(b.Hi), b.Rule, b.Proof})
}

// Compose returns the accountant of all events together. Neither their order nor how
// uses are split over events matters.
func Compose(events ...Event) (*Accountant, error) {
	if len(events) == 0 {
		return nil, errors.New("compose events: give at least one")
	}
	a := &Accountant{}
	counts := map[loss]float64{}
	var lost neumaier
	for i, e := range events {
		if err := e.Validate(); err != nil {
			return nil, fmt.Errorf("compose events: event %d: %w", i, err)
		}
	}
	a.events = merge(events)
	for _, e := range a.events {
		n := float64(e.Count)
		if e.Delta > 0 {
			lost.add(n * math.Log1p(-e.Delta))
		}
		if l, ok := e.loss(); ok {
			if l.a > 0 {
				counts[l] += n
			}
			continue
		}
		a.renyi = append(a.renyi, e.renyi())
	}
	for l, n := range counts {
		a.uses = append(a.uses, newUse(l, n))
	}
	slices.SortFunc(a.uses, func(x, y use) int {
		return cmp.Or(cmp.Compare(x.kind, y.kind), cmp.Compare(x.a, y.a), cmp.Compare(x.shift, y.shift))
	})
	slices.SortFunc(a.renyi, func(x, y renyi) int {
		return cmp.Or(cmp.Compare(x.rho, y.rho), cmp.Compare(x.variance, y.variance), cmp.Compare(x.l1, y.l1),
			cmp.Compare(x.l2, y.l2), slices.Compare(x.orders, y.orders), slices.Compare(x.bounds, y.bounds), cmp.Compare(x.count, y.count))
	})
	if v := -math.Expm1(lost.value()); v > 0 {
		a.lostLo, a.lostHi = v*(1-1e-14), min(v*(1+1e-14), 1)
	}
	return a, nil
}

// merge adds up the counts of equal events and sorts them.
func merge(events []Event) []Event {
	out := slices.Clone(events)
	slices.SortStableFunc(out, func(x, y Event) int {
		return cmp.Or(cmp.Compare(x.Mechanism, y.Mechanism), cmp.Compare(x.Scale, y.Scale), cmp.Compare(x.Sensitivity, y.Sensitivity),
			cmp.Compare(x.L1, y.L1), cmp.Compare(x.L2, y.L2), cmp.Compare(x.Epsilon, y.Epsilon), cmp.Compare(x.Delta, y.Delta),
			cmp.Compare(x.Rho, y.Rho), slices.Compare(x.Orders, y.Orders), slices.Compare(x.Divergences, y.Divergences))
	})
	merged := out[:0]
	for _, e := range out {
		if k := len(merged) - 1; k >= 0 && merged[k].same(e) {
			merged[k].Count += e.Count
			continue
		}
		merged = append(merged, e)
	}
	return merged
}

// loss returns the privacy loss of one use, if it is known exactly. Its Delta is
// apart: mass at an infinite loss (for (ε, δ), Kairouz, Oh, Viswanath 2015, Theorem 3.4).
func (e Event) loss() (loss, bool) {
	s := e.Sensitivity
	vector := s == 0
	switch e.Mechanism {
	case Laplace:
		if vector {
			return loss{kind: PureDP, a: e.L1 / e.Scale}, true
		}
		return loss{kind: Laplace, a: s / e.Scale}, true
	case DiscreteLaplace:
		switch {
		case vector:
			return loss{kind: PureDP, a: e.L1 / e.Scale}, true
		case s == 1:
			return loss{kind: PureDP, a: 1 / e.Scale}, true // it has the losses ±a alone
		case s > maxSteps:
			return loss{kind: PureDP, a: s / e.Scale}, true
		}
		return loss{DiscreteLaplace, 1 / e.Scale, int64(s)}, true
	case Gaussian:
		return loss{kind: Gaussian, a: max(s, e.L2) / e.Scale}, true
	case DiscreteGaussian:
		if vector || e.Scale > maxSpread || e.Scale < 0.05 || s > maxSteps {
			return loss{}, false
		}
		return loss{DiscreteGaussian, e.Scale, int64(s)}, true
	case Skellam:
		if vector || e.Scale > maxSpread || s > 1000+e.Scale {
			return loss{}, false
		}
		return loss{Skellam, e.Scale * e.Scale, int64(s)}, true
	case PureDP, ApproxDP, PartitionSelection:
		return loss{kind: PureDP, a: e.Epsilon}, true
	}
	return loss{}, false
}

// renyi returns the Rényi bound of an event that has no exact loss.
func (e Event) renyi() renyi {
	r := renyi{count: float64(e.Count)}
	d := e.Sensitivity
	switch e.Mechanism {
	case ZCDP:
		r.rho = e.Rho
	case DiscreteGaussian: // Canonne, Kamath, Steinke 2020, Theorem 4 and Section 2.2
		r.rho = square(max(d, e.L2)/e.Scale) / 2
	case Skellam:
		r.l1, r.l2, r.variance = max(d, e.L1), max(d, e.L2), e.Scale*e.Scale
	case Renyi:
		r.orders, r.bounds = e.Orders, e.Divergences
	}
	return r
}

// whole returns the uses with all Gaussians as one: their losses add up to
// one of μ² = Σ n·(s/σ)².
func (a *Accountant) whole() pld {
	var p pld
	var square neumaier
	for _, u := range a.uses {
		if u.kind == Gaussian {
			square.add(u.count * u.a * u.a)
		} else {
			p.uses = append(p.uses, u)
		}
	}
	if v := square.value(); v > 0 {
		p.uses = append(p.uses, newUse(loss{kind: Gaussian, a: math.Sqrt(v)}, 1))
	}
	return p
}

// closed returns δ(ε) in closed form, with the name of the rule, if there is one.
func (a *Accountant) closed() (rule string, sup float64, f func(epsilon float64) (lo, hi float64)) {
	p := a.whole()
	if len(p.uses) == 0 {
		return "closed", 0, func(float64) (float64, float64) { return 0, 0 }
	}
	if len(p.uses) != 1 {
		return "", 0, nil
	}
	u := p.uses[0]
	switch {
	case u.kind == Gaussian:
		return "gaussian", math.Inf(1), func(epsilon float64) (float64, float64) {
			lo, hi := gaussianDelta(u.a, epsilon)
			return math.Exp(lo), math.Exp(hi)
		}
	case u.kind == PureDP && u.count <= 1e6:
		return "binomial", u.sup() * u.count, func(epsilon float64) (float64, float64) { return binomialDelta(u.a, u.count, epsilon) }
	case u.count != 1:
		return "", 0, nil
	case u.kind == Laplace:
		return "single", u.sup(), func(epsilon float64) (float64, float64) { return laplaceDelta(u.a, epsilon) }
	case u.kind == Skellam || u.kind == DiscreteLaplace || u.kind == DiscreteGaussian:
		return "single", u.sup(), u.tableDelta
	}
	return "", 0, nil
}

func (a *Accountant) bracket(lo, hi float64, rule string, p Proof, tight bool) Bracket {
	p.Composed, p.Tight, p.Lost = a.events, tight, a.lostHi
	// Losses of 1e20 and more leave float64: what is then no number is no bound.
	if !(lo >= 0) {
		lo = 0
	}
	if math.IsNaN(hi) {
		hi = math.Inf(1)
	}
	return Bracket{Lo: lo, Hi: hi, Rule: rule, Proof: p}
}

// Epsilon brackets the smallest ε at the given δ, in [0, 1). It is +Inf where no
// finite ε exists.
func (a *Accountant) Epsilon(delta float64) (Bracket, error) {
	if !(delta >= 0 && delta < 1) {
		return Bracket{}, errors.New("compute epsilon: Delta must be in [0, 1)")
	}
	// δ = lost + (1 − lost)·δ′
	rest := func(lost, down float64) float64 { return (delta - lost) / (1 - lost) * down }
	restLo, restHi := delta, delta // for Lo a larger δ′, for Hi a smaller one
	if a.lostHi > 0 {
		restLo, restHi = rest(a.lostLo, 1+1e-15), rest(a.lostHi, 1-1e-15)
	}
	if restLo < 0 {
		return a.bracket(math.Inf(1), math.Inf(1), "infinite", Proof{}, true), nil
	}
	lo, hi, rule, proof := a.epsilonAt(restLo)
	if restHi < 0 {
		return a.bracket(lo, math.Inf(1), "infinite", Proof{}, true), nil
	}
	if restHi != restLo {
		_, hi, rule, proof = a.epsilonAt(restHi)
	}
	return a.bracket(lo, hi, rule, proof, !a.boundOnly()), nil
}

// wide reports a sum of so many points that it is worth one answer, and not the hundred
// that a search for ε asks for.
func (p pld) wide() bool {
	return len(p.uses) == 1 && p.uses[0].kind == DiscreteGaussian && p.uses[0].a >= 1e3
}

// boundOnly reports whether some events have only a Rényi bound, or so many uses that no
// transform of a sensible length holds the sum of their losses: its length grows with
// the root of the count. Then only the Rényi curve answers.
func (a *Accountant) boundOnly() bool { return len(a.renyi) > 0 || a.tooMany() }

func (a *Accountant) tooMany() bool {
	_, _, closed := a.closed()
	n := 0.0
	for _, u := range a.whole().uses {
		n += u.count
	}
	return closed == nil && n > maxUses
}

const maxUses = 1e8

// epsilonAt ignores what is lost altogether.
func (a *Accountant) epsilonAt(delta float64) (lo, hi float64, rule string, proof Proof) {
	if a.boundOnly() {
		return a.renyiEpsilon(delta)
	}
	return a.lossEpsilon(delta)
}

// lossEpsilon answers for the uses with a known loss.
func (a *Accountant) lossEpsilon(delta float64) (lo, hi float64, rule string, proof Proof) {
	p := a.whole()
	if sup := p.sup(); delta < 1e-300 {
		return sup, sup * (1 + 1e-12), "sum", proof
	}
	if rule, sup, f := a.closed(); f != nil && !p.wide() {
		lo, hi = invert(delta, sup, f)
		return lo * (1 - 1e-13), hi * (1 + 1e-13), rule, proof
	}
	if m, ok := p.mixture(maxSearch); ok {
		if lo, hi = invert(delta, p.sup(), m.delta); m.rest <= enough*delta {
			return lo * (1 - 1e-13), hi * (1 + 1e-13), "atoms", proof
		}
	}
	lo, hi, s := p.epsilon(delta)
	return lo, hi, "pld", s.proof()
}

func (s *spectrum) proof() Proof {
	if s == nil {
		return Proof{}
	}
	return Proof{Tilt: s.theta, Smoothing: s.smooth, Period: s.period, Points: int(s.points()), Rounding: s.relative}
}

// renyiEpsilon answers where some events have only a Rényi bound: by the Rényi
// bounds of all, or by ε₁(δ₁) of those with a known loss plus ε₂(δ₂) of the others
// (basic composition), whichever is smaller.
func (a *Accountant) renyiEpsilon(delta float64) (lo, hi float64, rule string, proof Proof) {
	if sup := a.whole().sup(); delta == 0 && len(a.renyi) == 0 {
		return sup, sup * (1 + 1e-12), "sum", proof
	} else if delta == 0 {
		return math.Inf(1), math.Inf(1), "infinite", proof
	}
	whole := *a
	whole.lostLo, whole.lostHi = 0, 0
	hi, order := whole.best(func(alpha, d float64) float64 { return renyiEpsilon(alpha, d, delta) })
	rule, proof = "renyi", Proof{Order: order}
	d, err := whole.divergence(order)
	lo = renyiEpsilon(order, d-err, delta)
	if len(a.uses) > 0 && !a.tooMany() {
		only := Accountant{renyi: a.renyi}
		for _, share := range []float64{0.5, 0.9, 0.1, 0.99, 0.01} {
			_, first, _, p := a.lossEpsilon(delta * share)
			second, order := only.best(func(alpha, d float64) float64 { return renyiEpsilon(alpha, d, delta*(1-share)*(1-1e-15)) })
			if sum := first + second; sum < hi {
				hi, rule, proof = sum, "pld+renyi", p
				proof.Order, proof.Split = order, share
			}
		}
	}
	return min(lo, hi) * (1 - 1e-11), hi * (1 + 1e-11), rule, proof
}

// Delta brackets the smallest δ at the given ε, finite and not negative.
func (a *Accountant) Delta(epsilon float64) (Bracket, error) {
	if !(epsilon >= 0 && epsilon <= math.MaxFloat64) {
		return Bracket{}, errors.New("compute delta: Epsilon must be finite and at least 0")
	}
	lo, hi, rule, proof := a.deltaAt(epsilon)
	if a.lostHi > 0 {
		lo = (a.lostLo + (1-a.lostLo)*lo) * (1 - 1e-15)
		hi = min((a.lostHi+(1-a.lostHi)*hi)*(1+1e-15), 1)
	}
	if !(hi <= 1) {
		hi = 1
	}
	return a.bracket(lo, hi, rule, proof, !a.boundOnly()), nil
}

func (a *Accountant) deltaAt(epsilon float64) (lo, hi float64, rule string, proof Proof) {
	if a.boundOnly() {
		return a.renyiDelta(epsilon)
	}
	if rule, sup, f := a.closed(); f != nil {
		if epsilon >= sup {
			return 0, 0, rule, proof
		}
		lo, hi = f(epsilon)
		return max(lo, 0), min(notZero(hi), 1), rule, proof
	}
	p := a.whole()
	if epsilon >= p.sup() {
		return 0, 0, "sum", proof
	}
	if m, ok := p.mixture(maxMixed); ok {
		if lo, hi = m.delta(epsilon); m.rest <= enough*hi {
			return lo, min(notZero(hi), 1), "atoms", proof
		}
	}
	lo, hi, s := p.delta(epsilon)
	return lo, hi, "pld", s.proof()
}

// notZero is a bound on a δ that is not 0, but may be below the smallest float64.
func notZero(hi float64) float64 { return max(hi, math.SmallestNonzeroFloat64) }

// renyiDelta is renyiEpsilon for δ(ε).
func (a *Accountant) renyiDelta(epsilon float64) (lo, hi float64, rule string, proof Proof) {
	whole := *a
	whole.lostLo, whole.lostHi = 0, 0
	hi, order := whole.best(func(alpha, d float64) float64 { return renyiDelta(alpha, d, epsilon) })
	rule, proof = "renyi", Proof{Order: order}
	d, err := whole.divergence(order)
	lo = renyiDelta(order, d-err, epsilon)
	if len(a.uses) > 0 && !a.tooMany() {
		known := Accountant{uses: a.uses}
		only := Accountant{renyi: a.renyi}
		for _, share := range []float64{0.5, 0.9, 0.1} {
			_, first, _, p := known.deltaAt(epsilon * share)
			second, order := only.best(func(alpha, d float64) float64 { return renyiDelta(alpha, d, epsilon*(1-share)*(1-1e-15)) })
			if sum := first + second; sum < hi {
				hi, rule, proof = sum, "pld+renyi", p
				proof.Order, proof.Split = order, share
			}
		}
	}
	return min(lo, hi) * (1 - 1e-10), min(notZero(hi*(1+1e-10)), 1), rule, proof
}
