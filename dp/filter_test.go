package dp

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// TestFilterNeverPassesBudget: whatever was accepted, composed afterwards by its Rényi
// curve at the filter's order, keeps the budget.
func TestFilterNeverPassesBudget(t *testing.T) {
	checkLaw(t, func(t *rapid.T) {
		budget := Budget{Epsilon: rapid.Float64Range(0.2, 4).Draw(t, "epsilon"), Delta: 1e-6}
		f, err := NewFilter(budget, 0)
		require.NoError(t, err)
		var accepted []Event
		refused := 0
		for i := range 30 {
			e := drawEvent(t, string(rune('a'+i)))
			if e.Delta > 0 {
				_, err := f.Spend(e)
				require.Error(t, err, "no finite divergence")
				continue
			}
			before, order := f.Left()
			s, err := f.Spend(e)
			after, _ := f.Left()
			if err != nil {
				require.ErrorIs(t, err, ErrOverspent)
				assert.Equal(t, before, after, "a refusal charges nothing")
				refused++
				continue
			}
			assert.Equal(t, order, s.Order)
			assert.LessOrEqual(t, s.Total, s.Capacity)
			assert.Less(t, after, before)
			accepted = append(accepted, e)
		}
		if len(accepted) == 0 {
			return
		}
		a, err := Compose(accepted...)
		require.NoError(t, err)
		_, order := f.Left()
		d, err := a.RDP(order)
		require.NoError(t, err)
		assert.LessOrEqual(t, renyiEpsilon(order, d.Lo, budget.Delta), budget.Epsilon)
	})
}

func TestFilterPure(t *testing.T) {
	f, err := NewFilter(Budget{Epsilon: 1}, 0)
	require.NoError(t, err)
	half := Event{Mechanism: Laplace, Scale: 2.1, Sensitivity: 1, Count: 1}
	for range 2 {
		s, err := f.Spend(half)
		require.NoError(t, err)
		assert.Equal(t, "pure-filter", s.Rule)
	}
	_, err = f.Spend(half)
	require.ErrorIs(t, err, ErrOverspent)
	_, err = f.Spend(Event{Mechanism: Gaussian, Scale: 100, Sensitivity: 1, Count: 1})
	require.Error(t, err, "a Gaussian has no pure ε")
}

func TestFilterRefusesParameters(t *testing.T) {
	for _, b := range []Budget{{}, {Epsilon: math.NaN(), Delta: 0.1}, {Epsilon: 1, Delta: math.NaN()}, {Epsilon: -1, Delta: 0.1}, {Epsilon: 1, Delta: 1}} {
		_, err := NewFilter(b, 0)
		require.Error(t, err)
	}
	for _, order := range []float64{1, -2, math.NaN(), math.Inf(1)} {
		_, err := NewFilter(Budget{Epsilon: 1, Delta: 1e-6}, order)
		require.Error(t, err)
	}
	_, err := NewFilter(Budget{Epsilon: 1, Delta: 1e-6}, 2)
	require.Error(t, err, "at order 2 the conversion alone costs more than 1")
}

func TestOdometer(t *testing.T) {
	o, err := NewOdometer(1e-6)
	require.NoError(t, err)
	assert.Zero(t, o.Spent().Epsilon)
	e := Event{Mechanism: Gaussian, Scale: 20, Sensitivity: 1, Count: 10}
	last := 0.0
	for range 30 {
		s, err := o.Spend(e)
		require.NoError(t, err)
		assert.Equal(t, "renyi-odometer", s.Rule)
		assert.GreaterOrEqual(t, o.Spent().Epsilon, last)
		last = o.Spent().Epsilon
	}
	all := e
	all.Count = 300
	b := epsilonOf(t, 1e-6, all)
	assert.Greater(t, last, b.Hi, "an odometer pays for not knowing the end")
	assert.Less(t, last, 4*b.Hi)
	_, err = o.Spend(Event{Mechanism: ApproxDP, Epsilon: 1, Delta: 1e-9, Count: 1})
	require.Error(t, err)
	for _, d := range []float64{0, 1, -1, math.NaN()} {
		_, err := NewOdometer(d)
		require.Error(t, err)
	}
}
