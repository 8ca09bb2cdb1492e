package dp

import (
	"errors"
	"math"
	"math/big"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// zcdp is the rule with a hundredth of δ set apart.
var zcdp = Rule{Name: ruleZCDP, DeltaApart: 0.01}

// A sensitivity of every kind of vector.
func drawReach(t *rapid.T) Sensitivity {
	b := Bounds{L0: rapid.Int64Range(1, 40).Draw(t, "L0"), LInf: rapid.Int64Range(1, 9).Draw(t, "LInf"), MaxNodes: rapid.Int64Range(1, 3).Draw(t, "MaxNodes")}
	b.L1 = rapid.Int64Range(b.LInf, b.L0*b.LInf).Draw(t, "L1")
	s, err := b.Sensitivity(Disjoint)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func drawCharge(t *rapid.T, p Params, s Sensitivity) (Charge, error) {
	n, err := Calibrate(p, s)
	if err != nil {
		return Charge{}, err
	}
	c := charge(1, n.Cost())
	c.Events = []Event{n.Event()}
	return c, nil
}

var everyMechanism = []Mechanism{Laplace, Gaussian, DiscreteLaplace, DiscreteGaussian}

// TestRuleAllowsNoMoreThanTheBudget: whatever zcdp accepts keeps the budget by the
// accountant too, which composes the events in another way (privacy loss
// distributions, Balle–Wang) where it can.
func TestRuleAllowsNoMoreThanTheBudget(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		allowed := Budget{
			Epsilon: rapid.Float64Range(0.1, 8).Draw(t, "allowed"),
			Delta:   math.Pow(10, rapid.Float64Range(-12, -3).Draw(t, "delta")),
		}
		spent := zcdp.Spent()
		var events []Event
		for range rapid.IntRange(1, 8).Draw(t, "kinds") {
			p := Params{
				Epsilon:   allowed.Epsilon * rapid.Float64Range(0.01, 0.9).Draw(t, "share"),
				Delta:     allowed.Delta * rapid.Float64Range(1e-4, 0.9).Draw(t, "share of delta"),
				Mechanism: rapid.SampledFrom(everyMechanism).Draw(t, "mechanism"),
			}
			c, err := drawCharge(t, p, drawReach(t))
			if err != nil {
				continue
			}
			if rapid.IntRange(0, 3).Draw(t, "only its cost") == 0 {
				c.Events = nil
			}
			c.Count = rapid.Int64Range(1, 5).Draw(t, "count")
			if spent.Check(c, allowed) != nil {
				continue
			}
			spent.Add(c)
			own := c.Events
			if own == nil {
				own = []Event{{Mechanism: ApproxDP, Epsilon: c.Cost.Epsilon, Delta: c.Cost.Delta, Count: 1}}
			}
			for _, e := range own {
				e.Count = c.Count
				events = append(events, e)
			}
		}
		if len(events) == 0 {
			return
		}
		a, err := Compose(events...)
		if err != nil {
			t.Fatal(err)
		}
		b, err := a.Epsilon(allowed.Delta)
		if err != nil {
			t.Fatal(err)
		}
		if b.Lo > allowed.Epsilon {
			t.Fatalf("accepted what has an epsilon of at least %g, of %g allowed (rule %s)", b.Lo, allowed.Epsilon, b.Rule)
		}
		total := spent.Total(allowed)
		if total.Epsilon > allowed.Epsilon || total.Delta > allowed.Delta {
			t.Fatalf("a total of %v is more than %v", total, allowed)
		}
		if b, err = a.Epsilon(total.Delta); err != nil || b.Lo > total.Epsilon {
			t.Fatalf("the total says %v, and it is at least %g (%v)", total, b.Lo, err)
		}
	})
}

// TestRuleRhoBoundsEveryOrder: D_α ≤ αρ, with the divergence from the accountant's own
// closed forms.
func TestRuleRhoBoundsEveryOrder(t *testing.T) {
	for _, e := range []Event{
		{Mechanism: Laplace, Scale: 3, Sensitivity: 2, Count: 1},
		{Mechanism: Laplace, Scale: 0.1, Sensitivity: 1, Count: 1},
		{Mechanism: Laplace, Scale: 2, L1: 7, Count: 1},
		{Mechanism: DiscreteLaplace, Scale: 2, Sensitivity: 3, Count: 1},
		{Mechanism: DiscreteLaplace, Scale: 0.5, Sensitivity: 1, Count: 1},
		{Mechanism: Gaussian, Scale: 4, Sensitivity: 3, Count: 1},
		{Mechanism: DiscreteGaussian, Scale: 4, Sensitivity: 3, Count: 1},
		{Mechanism: DiscreteGaussian, Scale: 0.7, Sensitivity: 1, Count: 1},
		{Mechanism: DiscreteGaussian, Scale: 4, L2: 2.5, Count: 1},
		{Mechanism: PureDP, Epsilon: 0.3, Count: 1},
		{Mechanism: PureDP, Epsilon: 5, Count: 1},
		{Mechanism: ZCDP, Rho: 0.7, Count: 1},
	} {
		rho, ok := e.rho()
		require.True(t, ok)
		a, err := Compose(e)
		require.NoError(t, err)
		for _, order := range []float64{1.0001, 1.5, 2, 5, 40, 1e4} {
			d, err := a.RDP(order)
			require.NoError(t, err)
			assert.LessOrEqual(t, d.Lo, order*rho, "%v at order %g", e, order)
		}
	}
	for _, m := range []Mechanism{Skellam, Renyi} {
		_, ok := Event{Mechanism: m}.rho()
		assert.False(t, ok, m)
	}
}

// TestRuleRemedyIsAccepted: who asks again with what a refusal says gets it, by either
// rule, and nothing much larger would pass where the mechanism's ρ is known at every ε.
func TestRuleRemedyIsAccepted(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rule := rapid.SampledFrom([]Rule{{}, zcdp, {Name: ruleZCDP}}).Draw(t, "rule")
		allowed := Budget{Epsilon: rapid.Float64Range(0.1, 8).Draw(t, "allowed"), Delta: math.Pow(10, rapid.Float64Range(-12, -3).Draw(t, "delta"))}
		p := Params{
			Epsilon:   allowed.Epsilon * rapid.Float64Range(0.05, 3).Draw(t, "share"),
			Delta:     allowed.Delta * rapid.Float64Range(0.001, 1).Draw(t, "share of delta"),
			Mechanism: rapid.SampledFrom(everyMechanism).Draw(t, "mechanism"),
		}
		s := drawReach(t)
		c, err := drawCharge(t, p, s)
		if err != nil {
			return
		}
		c.Count = rapid.Int64Range(1, 20).Draw(t, "count")
		spent := rule.Spent()
		for spent.Check(c, allowed) == nil {
			spent.Add(c)
		}
		var refused *BudgetError
		if !errors.As(spent.Check(c, allowed), &refused) {
			t.Fatal("the refusal is no BudgetError")
		}
		fewer := c
		fewer.Count = refused.Repetitions
		if fewer.Count > 0 && spent.Check(fewer, allowed) != nil {
			t.Fatalf("%d repetitions do not pass", fewer.Count)
		}
		if fewer.Count++; spent.Check(fewer, allowed) == nil {
			t.Fatalf("%d repetitions pass, and the refusal says less", fewer.Count)
		}
		if spent.Check(charge(2, refused.Left), allowed) != nil && refused.Left != (Budget{}) {
			t.Fatalf("what is left (%v) does not fit", refused.Left)
		}
		if refused.Largest.Epsilon < 1e-9 || refused.Largest.Delta == 0 && c.Cost.Delta > 0 {
			return
		}
		p.Epsilon = refused.Largest.Epsilon
		if c.Cost.Delta > 0 {
			p.Delta = refused.Largest.Delta
		}
		again, err := drawCharge(t, p, s)
		if err != nil {
			return
		}
		again.Count = c.Count
		if err := spent.Check(again, allowed); err != nil {
			t.Fatalf("the remedy is refused: %v", err)
		}
		p.Epsilon *= 1.001
		if larger, err := drawCharge(t, p, s); err == nil && p.Epsilon < c.Cost.Epsilon && p.Mechanism != Gaussian && s.L0 > 1 {
			larger.Count = c.Count
			if spent.Check(larger, allowed) == nil {
				t.Fatalf("a larger epsilon than the largest passes: %g", p.Epsilon)
			}
		}
	})
}

// TestRuleRemedyOfLittle: the remedy is accepted however little is left, where a Gaussian of
// that δ costs more than is left at every ε, and it is the largest ε for Google's Gaussian too.
func TestRuleRemedyOfLittle(t *testing.T) {
	refusals := 0
	rapid.Check(t, func(t *rapid.T) {
		rule := Rule{Name: ruleZCDP, DeltaApart: rapid.SampledFrom([]float64{0, 0.01, 0.9}).Draw(t, "apart")}
		allowed := Budget{Epsilon: rapid.Float64Range(0.1, 8).Draw(t, "allowed"), Delta: math.Pow(10, rapid.Float64Range(-12, -3).Draw(t, "delta"))}
		spent, most := rule.Spent(), rule.capacity(allowed)
		left := math.Pow(10, rapid.Float64Range(-15, 0).Draw(t, "left"))
		spent.epsilon.SetFloat64(most.Epsilon * (1 - left))
		spent.delta.SetFloat64(most.Delta * rapid.SampledFrom([]float64{0, 0.5, 1}).Draw(t, "spent of delta"))
		p := Params{
			Epsilon:   math.Pow(10, rapid.Float64Range(-4, 1).Draw(t, "epsilon")),
			Delta:     math.Pow(10, rapid.Float64Range(-12, -2).Draw(t, "delta of one")),
			Mechanism: rapid.SampledFrom(everyMechanism).Draw(t, "mechanism"),
		}
		s := drawReach(t)
		c, err := drawCharge(t, p, s)
		if err != nil {
			return
		}
		c.Count = rapid.Int64Range(1, 20).Draw(t, "count")
		var refused *BudgetError
		if !errors.As(spent.Check(c, allowed), &refused) {
			return
		}
		refusals++
		if refused.Largest.Epsilon == 0 || refused.Largest.Delta == 0 {
			plain := charge(1, refused.Largest)
			plain.Count = c.Count
			if err := spent.Check(plain, allowed); err != nil {
				t.Fatalf("the remedy is refused: %v", err)
			}
			return
		}
		p.Epsilon, p.Delta = refused.Largest.Epsilon, refused.Largest.Delta
		again, err := drawCharge(t, p, s)
		if err != nil {
			return
		}
		again.Count = c.Count
		if err := spent.Check(again, allowed); err != nil {
			t.Fatalf("the remedy %v is refused: %v", refused.Largest, err)
		}
		// It takes what there is, as far as Google's σ and its cut allow: near the smallest δ it has a
		// σ from which nothing can be told.
		if p.Mechanism == Gaussian && c.Events[0].share(c.Cost) < 1-roundedUp {
			return
		}
		rest, _ := rest(most.Epsilon, &spent.epsilon).Float64()
		if took := rule.price(again).Epsilon * float64(c.Count); p.Mechanism != DiscreteGaussian && p.Epsilon < c.Cost.Epsilon && took < 0.9*rest {
			t.Fatalf("%v is the largest, and takes %g of %g", refused.Largest, took, rest)
		}
	})
	assert.Positive(t, refusals) // of 20 draws under -short four in five refuse
}

func TestRuleRoundsUp(t *testing.T) {
	for _, epsilon := range []float64{5e-324, 1e-200, 1e-162, 1e-10, 1, 2, 1e308} {
		rho := pureRho(epsilon)
		exact := new(big.Rat).SetFloat64(epsilon)
		half := new(big.Rat).Mul(exact, exact)
		if half.Quo(half, big.NewRat(2, 1)); half.Cmp(exact) > 0 {
			half = exact
		}
		assert.GreaterOrEqual(t, new(big.Rat).SetFloat64(rho).Cmp(half), 0, "%g costs %g", epsilon, rho)
	}
	for _, rho := range []float64{5e-324, 1e-310, 1e-300, 1e-200, 1e-20, 0.3, 2, 1e10, 1e300} {
		assert.LessOrEqual(t, pureRho(pureEpsilon(rho)), rho, rho)
	}
}

// TestRuleRemedyOfSeveralMechanisms: all shrunk alike.
func TestRuleRemedyOfSeveralMechanisms(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		allowed := Budget{Epsilon: 1, Delta: 1e-6}
		rule := Rule{Name: ruleZCDP, DeltaApart: rapid.SampledFrom([]float64{0.1, 0.5}).Draw(t, "apart")}
		s := drawReach(t)
		e := rapid.Float64Range(0.1, 6).Draw(t, "epsilon")
		m := rapid.SliceOfN(rapid.SampledFrom(everyMechanism), 1, 3).Draw(t, "mechanisms")
		sel := rapid.Bool().Draw(t, "selection")
		ask := func(shareE, shareD float64) (Charge, bool) {
			c := charge(1, Budget{})
			each := Params{Epsilon: e / 4 * shareE, Delta: 1e-6 / 4 * shareD}
			for _, m := range m {
				p := each
				p.Mechanism = m
				one, err := drawCharge(t, p, s)
				if err != nil {
					return c, false
				}
				c.Cost.Epsilon += one.Cost.Epsilon
				c.Cost.Delta += one.Cost.Delta
				c.Events = append(c.Events, one.Events...)
			}
			if sel {
				p := each
				p.Mechanism = Auto
				one, err := NewSelection(p, s)
				if err != nil {
					return c, false
				}
				c.Cost.Epsilon += one.Cost().Epsilon
				c.Cost.Delta += one.Cost().Delta
				c.Events = append(c.Events, one.Event())
			}
			return c, true
		}
		c, ok := ask(1, 1)
		spent := rule.Spent()
		var refused *BudgetError
		for ok && !errors.As(spent.Check(c, allowed), &refused) {
			spent.Add(c)
		}
		if !ok || refused.Largest.Epsilon < 1e-9 || refused.Largest.Delta == 0 {
			return
		}
		shareD := 1.0
		if c.Cost.Delta > 0 {
			shareD = refused.Largest.Delta / c.Cost.Delta
		}
		again, ok := ask(refused.Largest.Epsilon/c.Cost.Epsilon, shareD)
		if !ok {
			return
		}
		if err := spent.Check(again, allowed); err != nil {
			t.Fatalf("the remedy is refused: %v", err)
		}
	})
}

// TestRuleSaves shows what the rule is for: a year of weekly questions.
func TestRuleSaves(t *testing.T) {
	allowed := Budget{Epsilon: 4, Delta: 1e-6}
	s, err := Bounds{L0: 20, LInf: 4, L1: 40, MaxNodes: 2}.Sensitivity(Disjoint)
	require.NoError(t, err)
	n, err := Calibrate(Params{Epsilon: 0.4, Delta: 1e-8, Mechanism: DiscreteGaussian}, s)
	require.NoError(t, err)
	c := charge(1, n.Cost())
	c.Events = []Event{n.Event()}
	c.Count = 1 << 20
	var sum, rho *BudgetError
	require.ErrorAs(t, new(Spent).Check(c, allowed), &sum)
	require.ErrorAs(t, Rule{Name: ruleZCDP}.Spent().Check(c, allowed), &rho)
	assert.EqualValues(t, 9, sum.Repetitions)
	assert.Greater(t, rho.Repetitions, int64(90), "ten times as many and more")
}

func TestRuleIsChecked(t *testing.T) {
	for _, r := range []Rule{{Name: "renyi"}, {DeltaApart: 0.1}, {Name: "sum", DeltaApart: 0.1}, {Name: "zcdp", DeltaApart: 1}, {Name: "zcdp", DeltaApart: -0.1}, {Name: "zcdp", DeltaApart: math.NaN()}} {
		require.Error(t, r.Validate(), "%v", r)
		assert.Equal(t, Budget{}, r.Spent().Left(Budget{Epsilon: 1, Delta: 1e-6}), "an invalid rule allows nothing")
		assert.Error(t, r.Spent().Check(charge(1, Budget{Epsilon: 1e-9}), Budget{Epsilon: 1, Delta: 1e-6}))
	}
	for _, r := range []Rule{{}, {Name: "sum"}, {Name: "zcdp"}, {Name: "zcdp", DeltaApart: 0.5}} {
		assert.NoError(t, r.Validate())
	}
	assert.Equal(t, Budget{}, zcdp.Spent().Left(Budget{Epsilon: 1}), "zcdp needs a delta")
	apartNothing := Rule{Name: ruleZCDP}.Spent()
	assert.Error(t, apartNothing.Check(charge(1, Budget{Epsilon: 1e-9, Delta: 1e-30}), Budget{Epsilon: 1, Delta: 1e-6}), "nothing was set apart")
}

// TestRuleTotalIsNeverBelow: also of more than was allowed, which no ledger lets happen.
func TestRuleTotalIsNeverBelow(t *testing.T) {
	rule, allowed := Rule{Name: ruleZCDP, DeltaApart: 0.5}, Budget{Epsilon: 4, Delta: 1e-6}
	spent := rule.Spent()
	spent.Add(charge(1, Budget{Epsilon: 0.1, Delta: 0.9e-6}))
	assert.GreaterOrEqual(t, spent.Total(allowed).Delta, 1.4e-6*(1-1e-12))
}
