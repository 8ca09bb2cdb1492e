package dp

import (
	"errors"
	"fmt"
	"math"
	"math/big"
)

// A Rule says how the costs of charges add up. Both rules hold for questions chosen in
// view of earlier answers, with parameters chosen so too: a ledger cannot know whether
// they were declared in advance. The zero value is "sum".
//
// "sum" is basic composition: Σε ≤ ε and Σδ ≤ δ.
//
// "zcdp" adds up what zero-concentrated differential privacy calls ρ, so that n
// equal questions with Gaussian noise cost about √n times one and not n times. Of a
// budget (ε, δ) the part δ₀ = DeltaApart·δ is set apart. Every charge is δᵢ-approximate
// ρᵢ-zCDP, and is accepted while Σδᵢ ≤ δ₀ and Σρᵢ ≤ ρ, the largest ρ for which ρ-zCDP
// implies (ε, δ−δ₀)-DP (Canonne, Kamath, Steinke 2020, Proposition 12). Stopping there is
// a filter for approximate zCDP (Whitehouse, Ramdas, Rogers, Wu 2023, arXiv
// 2203.05481; of one Rényi order Feldman, Zrnic 2021): everything accepted is together
// δ₀-approximate ρ-zCDP, and so (ε, δ)-DP. The ρᵢ and δᵢ come from the Events of a charge:
//
//	gaussian, discrete_gaussian     ρ = Δ₂²/2σ², and δ of the cut tails (Bun, Steinke 2016, Lemma 2.4;
//	                                of the discrete one Canonne, Kamath, Steinke 2020, Theorem 4)
//	zcdp                            ρ
//	laplace, discrete_laplace, pure_dp, approx_dp, partition_selection
//	                                ρ = min(ε²/2, ε), and δ (Bun, Steinke 2016, Proposition 3.3 and
//	                                Section 8; ε since a divergence of pure ε-DP is at most ε ≤ αε)
//
// A charge without Events, or with one of another mechanism, is an approx_dp of its Cost.
type Rule struct {
	// Name is "sum" or "zcdp"; empty means "sum".
	Name string `json:"name"`
	// DeltaApart, of "zcdp" alone, is the fraction of a budget's δ that is set apart for
	// charges that have a δ of their own, in [0, 1). Partition selection has one, Google's
	// Gaussian (a tiny one), and whatever is known by its Cost alone: with 0 all of these
	// are refused.
	DeltaApart float64 `json:"delta_apart,omitempty"`
}

const (
	ruleSum  = "sum"
	ruleZCDP = "zcdp"
)

// Validate refuses an unknown name and a fraction out of range.
func (r Rule) Validate() error {
	switch r.Name {
	case "", ruleSum:
		if r.DeltaApart != 0 {
			return fmt.Errorf("check rule: DeltaApart belongs to %q alone", ruleZCDP)
		}
	case ruleZCDP:
		if !(r.DeltaApart >= 0 && r.DeltaApart < 1) {
			return errors.New("check rule: DeltaApart must be in [0, 1)")
		}
	default:
		return fmt.Errorf("check rule: Name must be %q or %q", ruleSum, ruleZCDP)
	}
	return nil
}

// String is the Name, "sum" where it is empty.
func (r Rule) String() string {
	if r.Name == "" {
		return ruleSum
	}
	return r.Name
}

// Spent returns nothing spent, to be added up by this rule. An invalid rule allows
// nothing.
func (r Rule) Spent() *Spent { return &Spent{rule: r} }

// An amount is what a rule adds up: of "sum" ε and δ, of "zcdp" ρ and δ. It is kept in a
// Budget, whose Epsilon is then ρ.
type amount = Budget

func (r Rule) concentrated() bool { return r.Name == ruleZCDP }

// capacity is the amount that a budget allows, rounded down.
func (r Rule) capacity(b Budget) amount {
	switch {
	case r.Validate() != nil:
		return amount{}
	case !r.concentrated():
		return b
	}
	convert, apart := r.split(b.Delta)
	a := amount{Delta: apart}
	if b.Epsilon > 0 && convert > 0 {
		a.Epsilon = max(rhoFor(b.Epsilon, convert), 0)
	}
	return a
}

// split cuts δ into the part at which ρ is converted and the one that is set apart, both
// rounded down.
func (r Rule) split(delta float64) (convert, apart float64) {
	if r.DeltaApart == 0 {
		return delta, 0
	}
	apart = math.Nextafter(delta*r.DeltaApart, 0)
	return math.Nextafter(delta-apart, 0), apart
}

// price is the amount of one repetition, rounded up.
func (r Rule) price(c Charge) amount {
	if !r.concentrated() {
		return c.Cost
	}
	var p amount
	for _, e := range c.Events {
		rho, ok := e.rho()
		if !ok {
			p = amount{}
			break
		}
		p.Epsilon = addUp(p.Epsilon, timesUp(rho, float64(e.Count)))
		p.Delta = addUp(p.Delta, timesUp(e.Delta, float64(e.Count)))
	}
	if p == (amount{}) {
		p = amount{Epsilon: pureRho(c.Cost.Epsilon), Delta: c.Cost.Delta}
	}
	return p
}

// rho bounds the ρ of one use of an event from above, if one is known.
func (e Event) rho() (float64, bool) {
	const up = 1 + 1e-14
	switch e.Mechanism {
	case Gaussian, DiscreteGaussian:
		mu := max(e.Sensitivity, e.L2) / e.Scale
		return mu * mu / 2 * up, true
	case ZCDP:
		return e.Rho, true
	case Laplace, DiscreteLaplace:
		return pureRho(max(e.Sensitivity, e.L1) / e.Scale * up), true
	case PureDP, ApproxDP, PartitionSelection:
		return pureRho(e.Epsilon), true
	}
	return 0, false
}

// smallestSquared is an ε below which its square has few digits or none.
const smallestSquared = 1e-150

func pureRho(epsilon float64) float64 {
	if epsilon < smallestSquared {
		return epsilon
	}
	return min(timesUp(epsilon, epsilon/2), epsilon)
}

// pureEpsilon is the largest ε of which pureRho is at most rho, rounded down.
func pureEpsilon(rho float64) float64 {
	if epsilon := max(math.Sqrt(2*rho), rho) * (1 - 1e-15); epsilon >= smallestSquared {
		return epsilon
	}
	return rho
}

// spentBudget is the budget that an amount is, rounded up; allowed has the δ at which ρ is
// converted.
func (r Rule) spentBudget(rho, delta *big.Rat, allowed Budget) Budget {
	b := Budget{Epsilon: up(rho), Delta: up(delta)}
	if !r.concentrated() || b.Epsilon == 0 {
		return b
	}
	convert, _ := r.split(allowed.Delta)
	capacity := r.capacity(allowed)
	within := b.Epsilon <= capacity.Epsilon && b.Delta <= capacity.Delta
	if b.Epsilon = epsilonFor(b.Epsilon, convert); within {
		b.Epsilon = min(b.Epsilon, allowed.Epsilon)
	}
	b.Delta = addUp(b.Delta, convert)
	if within {
		b.Delta = min(b.Delta, allowed.Delta)
	}
	return b
}

// leftBudget is the largest cost of which it is known without its Events that it fits.
func (r Rule) leftBudget(left amount) Budget {
	if r.concentrated() {
		left.Epsilon = pureEpsilon(left.Epsilon)
	}
	return left
}

// largest returns of ε and of δ what c asks, or as much of it as makes one repetition fit
// into the amount given.
func (r Rule) largest(c Charge, fits amount) Budget {
	if !r.concentrated() {
		return Budget{Epsilon: min(c.Cost.Epsilon, fits.Epsilon), Delta: min(c.Cost.Delta, fits.Delta)}
	}
	price, out := r.price(c), c.Cost
	shrink := 1.0 // of δ
	if price.Delta > fits.Delta {
		var tails float64 // of Google's Gaussian: no smaller for a smaller δ
		for _, e := range c.Events {
			if e.Mechanism == Gaussian {
				tails += e.Delta * float64(e.Count)
			}
		}
		if shrink = 0; fits.Delta > tails && price.Delta > tails {
			shrink = min((fits.Delta-tails)/(price.Delta-tails), 1) * (1 - 1e-12)
		}
		out.Delta *= shrink
	}
	cost := r.priceAt(c, shrink)
	if cost(1) <= fits.Epsilon {
		return out
	}
	lo, hi := 0.0, 1.0
	for hi-lo > 1e-12*hi && hi > 1e-200 {
		if mid := lo + (hi-lo)/2; cost(mid) <= fits.Epsilon {
			lo = mid
		} else {
			hi = mid
		}
	}
	if out.Epsilon *= lo * (1 - 1e-9); out.Epsilon == 0 {
		out.Delta = min(out.Delta, fits.Delta) // of which nothing is known but it
	}
	return out
}

// roundedUp is how much smaller a share may be measured than it is, because σ was
// rounded up: Google's calibration stops within a thousandth of the smallest σ.
const roundedUp = 3e-3

// priceAt returns how much ρ a charge costs if all its ε are shrunk to a share t, and all
// its δ to the share given. What is pure costs what its smaller ε does. Gaussian noise costs
// what it would be calibrated to, if its σ shows which part of ε and δ it has: if each has
// the same part w of both, and these w add up to 1. Of anything else nothing is
// known but that ρ(ε) is convex, and for ε = 0 at most what noise of that δ has, which is not 0.
func (r Rule) priceAt(c Charge, shrink float64) func(t float64) float64 {
	if len(c.Events) == 0 || shrink == 0 { // without a δ, what is asked must be pure
		return func(t float64) float64 { return pureRho(t * c.Cost.Epsilon) }
	}
	unknown := func() func(t float64) float64 {
		price, least := r.price(c).Epsilon, gaussianMu(0, shrink*c.Cost.Delta)
		least = min(least*least, price) // twice the ρ, for discrete laws
		return func(t float64) float64 { return least + t*(price-least) }
	}
	rest := c.Cost
	var pure []float64
	var gaussian []Event
	for _, e := range c.Events {
		if _, ok := e.rho(); !ok { // so that the charge is priced by its Cost
			c.Events = nil
			return r.priceAt(c, shrink)
		}
	}
	for _, e := range c.Events {
		switch {
		case e.Count != 1:
			return unknown()
		case e.L2 > 0 && (e.Mechanism == Gaussian || e.Mechanism == DiscreteGaussian):
			gaussian = append(gaussian, e)
			continue
		case e.Epsilon > 0:
			pure = append(pure, e.Epsilon)
			rest.Delta -= e.Delta
		case e.Mechanism == Laplace || e.Mechanism == DiscreteLaplace:
			pure = append(pure, max(e.Sensitivity, e.L1)/e.Scale)
		default:
			return unknown()
		}
		rest.Epsilon -= pure[len(pure)-1]
	}
	shares, missing := make([]float64, len(gaussian)), 1.0
	for i, e := range gaussian {
		shares[i] = e.share(rest)
		missing -= shares[i]
	}
	if len(gaussian) > 0 && !(missing > -1e-5 && missing < roundedUp) {
		return unknown()
	}
	for i := range shares {
		shares[i] += max(missing, 0) // no share is more than that below what it is
	}
	return func(t float64) float64 {
		var rho float64
		for _, epsilon := range pure {
			rho += pureRho(t * epsilon)
		}
		for i, e := range gaussian {
			rho += e.rhoAt(t*shares[i]*rest.Epsilon, shrink*shares[i]*rest.Delta)
		}
		return rho
	}
}

// rhoAt is the ρ of Gaussian noise on a vector as Calibrate makes it.
func (e Event) rhoAt(epsilon, delta float64) float64 {
	if e.Mechanism == Gaussian {
		mu := gaussianMu(epsilon, delta)
		return mu * mu / 2
	}
	return max(rhoFor(epsilon, delta), 0)
}

// share is the part of ε and of δ at which Calibrate would make this noise, up to 1.01; NaN
// if there is none.
func (e Event) share(of Budget) float64 {
	if !(of.Epsilon > 0 && of.Delta > 0 && of.Epsilon <= maxGaussianEpsilon) {
		return math.NaN()
	}
	rho, _ := e.rho()
	lo, hi := 0.0, 1.01
	for hi-lo > 1e-12 {
		if mid := lo + (hi-lo)/2; e.rhoAt(mid*of.Epsilon, min(mid*of.Delta, 0.999)) < rho {
			lo = mid
		} else {
			hi = mid
		}
	}
	return hi
}

// gaussianMu returns the largest sensitivity/σ at which Gaussian noise is (ε, δ)-DP, but
// for rounding.
func gaussianMu(epsilon, delta float64) float64 {
	keeps := func(mu float64) bool { return logGaussianDelta(mu, epsilon) <= math.Log(delta) }
	hi := 1.0
	for keeps(hi) {
		hi *= 2
	}
	for !keeps(hi / 2) {
		if hi /= 2; hi < 1e-100 {
			return 0
		}
	}
	lo := hi / 2
	for hi-lo > 1e-13*hi {
		if mid := lo + (hi-lo)/2; keeps(mid) {
			lo = mid
		} else {
			hi = mid
		}
	}
	return lo
}

func addUp(x, y float64) float64 {
	if x == 0 || y == 0 {
		return x + y
	}
	return math.Nextafter(x+y, math.Inf(1))
}
