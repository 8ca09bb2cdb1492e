package dptest

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/larder-dp/larder/dp"
)

// A Curve is what an accountant knows of composed events. Each answer is a bracket
// of the truth: an accountant that gives one number returns it as hi, and as lo 0.
type Curve struct {
	Epsilon func(delta float64) (lo, hi float64, err error)
	Delta   func(epsilon float64) (lo, hi float64, err error) // nil if there is none
}

// An AccountantKit is an accountant to be checked.
type AccountantKit struct {
	// Compose composes events. Required.
	Compose func(events ...dp.Event) (Curve, error)
	// SmallestScale calibrates: the smallest scale at which e keeps the target. Nil
	// leaves its laws out.
	SmallestScale func(e dp.Event, target dp.Budget) (float64, error)
	// Mechanisms are those that it knows; nil means all of package dp.
	Mechanisms []dp.Mechanism
	// Tolerance is the relative error that is its own; 0 means 1e-9. Even a tolerant
	// accountant errs upwards: hi is held to 1e-9 whatever is said here.
	Tolerance float64
	// Draws is how many random compositions are tried; 0 means 20.
	Draws int
	// Seed fixes them.
	Seed uint64
}

// Accountant fails t for each broken law; see CheckAccountant.
func Accountant(t testing.TB, kit AccountantKit) {
	t.Helper()
	report(t, CheckAccountant(kit))
}

// CheckAccountant holds an accountant to its laws, for every mechanism by itself and
// for random compositions:
//
//	bound      hi is not below what the mechanism, or one that it covers, truly
//	           loses, from closed forms and sums of their own; lo not above it
//	           for every number of an event, and for uses beyond any narrow integer
//	count      n uses in one event are n events of one use, and cost more than one
//	order      does not matter
//	monotone   more events and a smaller δ never cost less, and lo ≤ hi
//	inverse    δ(ε(δ)) is δ, as far as the brackets tell
//	zero       at δ = 0 the answer is the largest loss, +Inf where there is none
//	refusal    NaN, ±Inf, negative numbers, no count: an error
//	calibrate  what SmallestScale returns keeps its target
//
// The truth is known for compositions of one mechanism (of Skellam, zCDP and Rényi a
// lower bound of it; of a vector that of a unit which moves one number only); for mixed ones
// only the laws are. It is computed in ranges where float64 sums are good to 1e-9.
func CheckAccountant(kit AccountantKit) error {
	if kit.Compose == nil {
		return errors.New("accountant laws: give Compose")
	}
	a := &accounts{kit: kit, rng: rand.New(stream(kit.Seed, 0, 0, 0))}
	if kit.Tolerance == 0 {
		a.kit.Tolerance = exactly
	}
	if kit.Draws == 0 {
		a.kit.Draws = 20
	}
	if kit.Mechanisms == nil {
		a.kit.Mechanisms = []dp.Mechanism{
			dp.Laplace, dp.DiscreteLaplace, dp.Gaussian, dp.DiscreteGaussian, dp.Skellam, dp.PureDP, dp.ApproxDP, dp.ZCDP, dp.Renyi, dp.PartitionSelection,
		}
	}
	for _, m := range a.kit.Mechanisms {
		for _, e := range slices.Concat(plainEvents(m), changedEvents(m), manyEvents(m)) {
			a.bound(e, lossOf(e))
		}
		for _, e := range vectorEvents(m) {
			e.Count = 1
			one := e // all of the change in one number
			one.L1, one.L2, one.Sensitivity = 0, 0, e.L2
			if e.L2 == 0 {
				one.Sensitivity = e.L1
			}
			truth := lossOf(one)
			truth.exact = false
			a.bound(e, truth)
		}
		a.count(m)
		a.refusals(m)
		a.calibrates(m)
	}
	for range a.kit.Draws {
		a.laws()
	}
	return errors.Join(a.faults...)
}

// exactly is the relative error of the truth here.
const exactly = 1e-9

type accounts struct {
	kit    AccountantKit
	rng    *rand.Rand
	broken map[string]bool
	faults []error
}

// want notes the first break of each law.
func (a *accounts) want(ok bool, rule, means, input, format string, args ...any) {
	if ok || a.broken[rule] {
		return
	}
	if a.broken == nil {
		a.broken = map[string]bool{}
	}
	a.broken[rule] = true
	a.faults = append(a.faults, &Fault{Check: "accountant laws", Rule: rule, Found: fmt.Sprintf(format, args...), Input: input, Means: means})
}

const tooLittle = "the ledger charges less than is lost: the budget ends later than the privacy"

func show(events ...dp.Event) string {
	s := ""
	for i, e := range events {
		if i > 0 {
			s += " and "
		}
		s += fmt.Sprintf("%d × %s", e.Count, e.Mechanism)
		for _, f := range []struct {
			name string
			v    float64
		}{{"scale", e.Scale}, {"sensitivity", e.Sensitivity}, {"L1", e.L1}, {"L2", e.L2}, {"ε", e.Epsilon}, {"δ", e.Delta}, {"ρ", e.Rho}} {
			if f.v != 0 {
				s += fmt.Sprintf(" %s=%g", f.name, f.v)
			}
		}
	}
	return s
}

// compose returns the curve, or one that is nowhere and a fault.
func (a *accounts) compose(events ...dp.Event) (Curve, bool) {
	c, err := a.kit.Compose(events...)
	a.want(err == nil, "events that are valid are composed", "a mechanism that cannot be charged is used without", show(events...), "%v", err)
	return c, err == nil && c.Epsilon != nil
}

func (a *accounts) epsilon(c Curve, delta float64, events ...dp.Event) (lo, hi float64) {
	lo, hi, err := c.Epsilon(delta)
	a.want(err == nil && lo >= 0 && lo <= hi, "ε(δ) is a bracket 0 ≤ lo ≤ hi", "an answer that is no number is compared with a budget, and may pass", show(events...),
		"at δ=%g: [%g, %g], %v", delta, lo, hi, err)
	return lo, hi
}

// bound checks one event against the truth.
func (a *accounts) bound(e dp.Event, truth loss) {
	c, ok := a.compose(e)
	if !ok {
		return
	}
	a.want(a.zeroDelta(c, truth), "at δ = 0 ε is the largest loss", "δ = 0 was read as not set, and a mechanism without pure ε passes for one with", show(e), "%s", a.seen(c, 0))
	for _, delta := range []float64{1e-9, 1e-5, 0.01, 0.3} {
		lo, hi := a.epsilon(c, delta, e)
		at := truth.delta(hi * (1 + exactly))
		a.want(math.IsInf(hi, 1) || at <= delta*(1+exactly)+1e-14, "hi is not below the truth", tooLittle, show(e),
			"ε(%g) ≤ %.9g is claimed, and δ is %.6g there", delta, hi, at)
		if truth.exact && lo > 0 {
			at = truth.delta(lo * (1 - a.kit.Tolerance))
			a.want(at >= delta*(1-a.kit.Tolerance)-1e-14, "lo is not above the truth", "budget is refused that is not spent", show(e),
				"ε(%g) ≥ %.9g is claimed, and δ is already %.6g there", delta, lo, at)
		}
	}
	for _, epsilon := range []float64{0, 0.5, 3} {
		if c.Delta == nil {
			break
		}
		lo, hi, err := c.Delta(epsilon)
		at := truth.delta(epsilon)
		a.want(err == nil && lo >= 0 && lo <= hi && hi <= 1+exactly, "δ(ε) is a bracket 0 ≤ lo ≤ hi ≤ 1", "an answer that is no number is compared with a budget, and may pass", show(e), "at ε=%g: [%g, %g], %v", epsilon, lo, hi, err)
		a.want(hi >= at*(1-exactly)-1e-14, "hi is not below the truth", tooLittle, show(e), "δ(%g) ≤ %.9g is claimed, and is %.9g", epsilon, hi, at)
		a.want(!truth.exact || lo <= at*(1+a.kit.Tolerance)+1e-14, "lo is not above the truth", "budget is refused that is not spent", show(e), "δ(%g) ≥ %.9g is claimed, and is %.9g", epsilon, lo, at)
	}
}

func (a *accounts) seen(c Curve, delta float64) string {
	lo, hi, err := c.Epsilon(delta)
	return fmt.Sprintf("ε(%g) in [%g, %g], %v", delta, lo, hi, err)
}

func (a *accounts) zeroDelta(c Curve, truth loss) bool {
	_, hi, err := c.Epsilon(0)
	if err != nil {
		return true // a refusal is a safe answer
	}
	return hi >= truth.largest*(1-exactly)
}

// count: for every mechanism, and with every field that it may have.
func (a *accounts) count(m dp.Mechanism) {
	const delta = 1e-6
	for _, e := range append(plainEvents(m), vectorEvents(m)...) {
		one := e
		one.Count = 1
		each := make([]dp.Event, e.Count)
		for i := range each {
			each[i] = one
		}
		c, ok := a.compose(e)
		d, ok2 := a.compose(each...)
		s, ok3 := a.compose(one)
		if !ok || !ok2 || !ok3 {
			return
		}
		lo, hi := a.epsilon(c, delta, e)
		lo2, hi2 := a.epsilon(d, delta, each...)
		_, single := a.epsilon(s, delta, one)
		a.want(a.meet(lo, hi, lo2, hi2), "n uses in one event are n events of one use", tooLittle, show(e), "ε(%g) is in [%g, %g], and one by one in [%g, %g]", delta, lo, hi, lo2, hi2)
		if e.Count > 2 {
			few, rest := e, e
			few.Count, rest.Count = e.Count/3, e.Count-e.Count/3
			if split, ok := a.compose(few, rest); ok {
				lo2, hi2 = a.epsilon(split, delta, few, rest)
				a.want(a.meet(lo, hi, lo2, hi2), "n uses in one event are n events of one use", tooLittle, show(e), "ε(%g) is in [%g, %g], and in two events in [%g, %g]", delta, lo, hi, lo2, hi2)
			}
		}
		a.want(e.Count == 1 || single == 0 || hi > single || math.IsInf(single, 1), "n uses cost more than one", tooLittle, show(e), "ε(%g) ≤ %g, as for one use", delta, hi)
	}
}

// meet says whether two brackets of one truth can both be right.
func (a *accounts) meet(lo, hi, lo2, hi2 float64) bool {
	slack := 1 + a.kit.Tolerance
	return lo <= hi2*slack && lo2 <= hi*slack && (lo > 0 || lo2 > 0 || near(hi, hi2, max(a.kit.Tolerance, 0.1)))
}

func near(x, y, tolerance float64) bool {
	return x == y || math.Abs(x-y) <= tolerance*math.Max(math.Abs(x), math.Abs(y))
}

// laws checks what holds of any composition.
func (a *accounts) laws() {
	var events []dp.Event
	for range 2 + a.rng.IntN(2) {
		events = append(events, a.draw())
	}
	delta := math.Exp(-3 - 17*a.rng.Float64())
	c, ok := a.compose(events...)
	fewer, ok2 := a.compose(events[1:]...)
	turned := slices.Clone(events)
	slices.Reverse(turned)
	r, ok3 := a.compose(turned...)
	if !ok || !ok2 || !ok3 {
		return
	}
	lo, hi := a.epsilon(c, delta, events...)
	rlo, rhi := a.epsilon(r, delta, turned...)
	a.want(a.meet(lo, hi, rlo, rhi), "the order of events does not matter", tooLittle, show(events...), "ε(%g) is in [%g, %g], and turned round in [%g, %g]", delta, lo, hi, rlo, rhi)
	flo, _ := a.epsilon(fewer, delta, events[1:]...)
	a.want(hi >= flo*(1-exactly), "one event more never costs less", tooLittle, show(events...), "ε(%g) ≤ %g, and without the first one it is at least %g", delta, hi, flo)
	_, less := a.epsilon(c, delta/10, events...)
	a.want(less >= lo*(1-exactly), "a smaller δ never costs less", tooLittle, show(events...), "ε(%g) ≥ %g, and ε(%g) ≤ %g", delta, lo, delta/10, less)
	if c.Delta == nil || math.IsInf(hi, 1) {
		return
	}
	dlo, dhi, err := c.Delta(hi)
	a.want(err == nil && dlo <= delta*(1+a.kit.Tolerance)+1e-14, "δ(ε(δ)) is δ", tooLittle, show(events...), "ε(%g) ≤ %g, and δ(%g) is in [%g, %g], %v", delta, hi, hi, dlo, dhi, err)
	flo, fhi, err := c.Delta(hi / 2)
	a.want(err == nil && fhi >= dlo*(1-exactly) && flo <= fhi, "a smaller ε never has a smaller δ", tooLittle, show(events...), "δ(%g) ≥ %g, and δ(%g) ≤ %g, %v", hi, dlo, hi/2, fhi, err)
}

func (a *accounts) draw() dp.Event {
	all := plainEvents(a.kit.Mechanisms[a.rng.IntN(len(a.kit.Mechanisms))])
	e := all[a.rng.IntN(len(all))]
	e.Count = 1 + a.rng.Int64N(12)
	return e
}

// refusals spoils one number after the other.
func (a *accounts) refusals(m dp.Mechanism) {
	const rule, means = refusal, refusalMeans
	good := plainEvents(m)[0]
	bad := []float64{math.NaN(), math.Inf(1), math.Inf(-1), -1}
	refused := func(e dp.Event, what string) {
		c, err := a.kit.Compose(e)
		if err != nil {
			return
		}
		if c.Epsilon == nil {
			return
		}
		lo, hi, err := c.Epsilon(1e-6)
		a.want(err != nil || math.IsInf(hi, 1), rule, means, show(e), "%s: accepted, and ε(1e-6) in [%g, %g]", what, lo, hi)
	}
	for _, x := range bad {
		for _, f := range []struct {
			name string
			at   func(*dp.Event) *float64
		}{
			{"scale", func(e *dp.Event) *float64 { return &e.Scale }},
			{"sensitivity", func(e *dp.Event) *float64 { return &e.Sensitivity }},
			{"ε", func(e *dp.Event) *float64 { return &e.Epsilon }},
			{"δ", func(e *dp.Event) *float64 { return &e.Delta }},
			{"ρ", func(e *dp.Event) *float64 { return &e.Rho }},
		} {
			e := good
			if p := f.at(&e); *p != 0 {
				*p = x
				refused(e, f.name)
				if x == -1 { // and none at all
					*p = 0
					if f.name != "δ" && e.Delta == 0 { // (0, δ) is a claim like any other
						refused(e, "no "+f.name)
					}
				}
			}
		}
		if len(good.Divergences) > 0 {
			e := good
			e.Divergences = append([]float64{x}, e.Divergences[1:]...)
			refused(e, "a divergence")
		}
	}
	for _, n := range []int64{0, -1, math.MinInt64} {
		e := good
		e.Count = n
		refused(e, fmt.Sprintf("count %d", n))
	}
	c, ok := a.compose(good)
	if !ok {
		return
	}
	for _, x := range append(bad, 1, 1.5) {
		lo, hi, err := c.Epsilon(x)
		a.want(err != nil, rule, means, show(good), "ε(%g) is in [%g, %g]", x, lo, hi)
	}
	if c.Delta != nil {
		for _, x := range []float64{math.NaN(), -1, math.Inf(-1)} {
			lo, hi, err := c.Delta(x)
			a.want(err != nil, rule, means, show(good), "δ(%g) is in [%g, %g]", x, lo, hi)
		}
	}
}

// calibrates checks the scale that is returned, not the one before rounding.
func (a *accounts) calibrates(m dp.Mechanism) {
	e := plainEvents(m)[0]
	if a.kit.SmallestScale == nil || e.Scale == 0 {
		return
	}
	for i, target := range []dp.Budget{{Epsilon: 1, Delta: 1e-6}, {Epsilon: 0.3, Delta: 1e-4}, {Epsilon: 4, Delta: 1e-3}, {Epsilon: 0.7, Delta: 1e-9}, {Epsilon: 30, Delta: 1e-3}, {Epsilon: 2}} {
		truth := lossOf(e)
		if target.Delta == 0 && math.IsInf(truth.largest, 1) {
			continue
		}
		for _, n := range []int64{1, 7} {
			if n > 1 && (i > 0 || !truth.exact || m == dp.Laplace) {
				continue // slow, and against a bound only
			}
			ask := e
			ask.Scale, ask.Count = 0, n
			s, err := a.kit.SmallestScale(ask, target)
			got := ask
			got.Scale = s
			if err != nil || !(s > 0 && s <= math.MaxFloat64) {
				a.want(false, "a target that can be kept gets a scale", "there is no noise", show(ask), "scale %g, %v", s, err)
				continue
			}
			// The truth is good to 1e-12 here, and a failing side of any bisection is worse.
			at := lossOf(got).delta(target.Epsilon * (1 + 1e-12))
			a.want(at <= target.Delta*(1+2e-11)+1e-15, "what SmallestScale returns keeps its target", "every release is a little dearer than its label: the bisection returned the side that fails", show(got),
				"δ(%g) is %.12g, and %g was asked for", target.Epsilon, at, target.Delta)
		}
	}
	for _, bad := range []dp.Budget{{Epsilon: math.NaN(), Delta: 1e-6}, {Epsilon: -1, Delta: 1e-6}, {Epsilon: math.Inf(1), Delta: 1e-6}, {Epsilon: 1, Delta: math.NaN()}, {Epsilon: 1, Delta: -1}, {Epsilon: 1, Delta: 1}, {}} {
		ask := e
		ask.Scale = 0
		s, err := a.kit.SmallestScale(ask, bad)
		a.want(err != nil, refusal, refusalMeans, show(ask), "scale %g for ε=%g δ=%g", s, bad.Epsilon, bad.Delta)
	}
}

// plainEvents are scalars whose loss is known.
func plainEvents(m dp.Mechanism) []dp.Event {
	switch m {
	case dp.Laplace:
		return []dp.Event{{Mechanism: m, Scale: 3, Sensitivity: 1, Count: 1}, {Mechanism: m, Scale: 0.6, Sensitivity: 1, Count: 1}, {Mechanism: m, Scale: 8, Sensitivity: 2, Count: 4}, {Mechanism: m, Scale: 30, Sensitivity: 1, Count: 9}}
	case dp.DiscreteLaplace:
		return []dp.Event{{Mechanism: m, Scale: 3, Sensitivity: 1, Count: 1}, {Mechanism: m, Scale: 0.6, Sensitivity: 1, Count: 2}, {Mechanism: m, Scale: 7, Sensitivity: 2, Count: 4}, {Mechanism: m, Scale: 20, Sensitivity: 1, Count: 30}}
	case dp.Gaussian:
		return []dp.Event{{Mechanism: m, Scale: 4, Sensitivity: 1, Count: 1}, {Mechanism: m, Scale: 0.6, Sensitivity: 1, Count: 2}, {Mechanism: m, Scale: 9, Sensitivity: 2, Count: 5}, {Mechanism: m, Scale: 30, Sensitivity: 1, Count: 40}, {Mechanism: m, Scale: 4, Sensitivity: 1, Delta: 1e-4, Count: 3}}
	case dp.DiscreteGaussian:
		return []dp.Event{{Mechanism: m, Scale: 2, Sensitivity: 1, Count: 1}, {Mechanism: m, Scale: 0.8, Sensitivity: 1, Count: 2}, {Mechanism: m, Scale: 9, Sensitivity: 2, Count: 5}}
	case dp.Skellam:
		return []dp.Event{{Mechanism: m, Scale: 4, Sensitivity: 1, Count: 1}, {Mechanism: m, Scale: 9, Sensitivity: 2, Count: 6}}
	case dp.PureDP:
		return []dp.Event{{Mechanism: m, Epsilon: 0.5, Count: 1}, {Mechanism: m, Epsilon: 0.1, Count: 30}, {Mechanism: m, Epsilon: 1.5, Count: 3}}
	case dp.ApproxDP, dp.PartitionSelection:
		return []dp.Event{{Mechanism: m, Epsilon: 0.5, Delta: 1e-7, Count: 1}, {Mechanism: m, Epsilon: 0.1, Delta: 1e-8, Count: 30}, {Mechanism: m, Epsilon: 0.2, Delta: 1e-3, Count: 5}}
	case dp.ZCDP:
		return []dp.Event{{Mechanism: m, Rho: 0.02, Count: 1}, {Mechanism: m, Rho: 0.01, Count: 20}}
	case dp.Renyi: // a Gaussian's: α/32 is that of σ = 4
		orders, divergences := []float64{1.5, 2, 4, 8, 16, 32, 64}, []float64{}
		for _, o := range orders {
			divergences = append(divergences, o/32)
		}
		return []dp.Event{{Mechanism: m, Orders: orders, Divergences: divergences, Count: 1}, {Mechanism: m, Orders: orders, Divergences: divergences, Count: 9}}
	}
	return nil
}

// changedEvents are the first plain one with one number changed after the other: who
// leaves a number out, or remembers by the others, answers for the wrong event.
func changedEvents(m dp.Mechanism) (all []dp.Event) {
	for _, change := range []func(*dp.Event) bool{
		func(e *dp.Event) bool { e.Scale /= 2; return e.Scale != 0 },
		func(e *dp.Event) bool { e.Sensitivity *= 2; return e.Sensitivity != 0 },
		func(e *dp.Event) bool { e.Epsilon *= 2; return e.Epsilon != 0 },
		func(e *dp.Event) bool { e.Delta *= 1e4; return e.Delta != 0 },
		func(e *dp.Event) bool { e.Rho *= 2; return e.Rho != 0 },
		func(e *dp.Event) bool {
			e.Divergences = slices.Clone(e.Divergences)
			for i := range e.Divergences {
				e.Divergences[i] *= 2
			}
			return len(e.Divergences) > 0
		},
	} {
		if e := plainEvents(m)[0]; change(&e) {
			all = append(all, e)
		}
	}
	return all
}

// manyEvents are used more often than a narrow integer counts, or than a formula for a few
// uses holds, where the truth has a closed form.
func manyEvents(m dp.Mechanism) []dp.Event {
	switch m {
	case dp.Gaussian:
		return []dp.Event{{Mechanism: m, Scale: 3e5, Sensitivity: 1, Count: 1<<33 + 1}}
	case dp.ZCDP:
		return []dp.Event{{Mechanism: m, Rho: 1e-11, Count: 1<<33 + 1}}
	case dp.PureDP:
		return []dp.Event{{Mechanism: m, Epsilon: 0.05, Count: 5000}}
	case dp.ApproxDP, dp.PartitionSelection:
		return []dp.Event{{Mechanism: m, Epsilon: 0.05, Delta: 1e-7, Count: 5000}}
	}
	return nil
}

// vectorEvents are checked against what is lost where a unit moves one number alone.
func vectorEvents(m dp.Mechanism) []dp.Event {
	switch m {
	case dp.Laplace, dp.DiscreteLaplace:
		return []dp.Event{{Mechanism: m, Scale: 50, L1: 7, Count: 12}}
	case dp.Gaussian, dp.DiscreteGaussian:
		return []dp.Event{{Mechanism: m, Scale: 50, L2: 7, Count: 12}}
	case dp.Skellam:
		return []dp.Event{{Mechanism: m, Scale: 50, L1: 9, L2: 7, Count: 12}}
	}
	return nil
}
