package ledger

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/larder-dp/larder/dp"
)

var zcdp = dp.Rule{Name: "zcdp", DeltaApart: 0.1}

// gaussian is a charge of discrete Gaussian noise on a vector.
func gaussian(t *testing.T, round int64, p dp.Params) dp.Charge {
	p.Mechanism = dp.DiscreteGaussian
	n, err := dp.Calibrate(p, dp.Sensitivity{L0: 10, L1: 20, L2Squared: 40, LInf: 2})
	require.NoError(t, err)
	c := charge(round, n.Cost())
	c.Events = []dp.Event{n.Event()}
	return c
}

// TestRuleOfEveryLedger: the policy's rule adds up, is recorded with each charge, and is
// what a remedy is told by.
func TestRuleOfEveryLedger(t *testing.T) {
	everyLedger(t, func(t *testing.T, open func(Config) reporter) {
		var warned []Warning
		config := Config{Budget: dp.Budget{Epsilon: 1, Delta: 1e-6}, Rule: zcdp, Warn: func(w Warning) { warned = append(warned, w) }}
		l, sum := open(config), newFile(t, Config{Budget: config.Budget})
		c := gaussian(t, 1, dp.Params{Epsilon: 0.2, Delta: 1e-8})
		n, err := HowMany(t.Context(), l, c)
		require.NoError(t, err)
		bySum, err := HowMany(t.Context(), sum, c)
		require.NoError(t, err)
		assert.Greater(t, n, 2*bySum)
		for round := range n {
			c.Key.Round = round + 1
			e, err := l.Reserve(t.Context(), c)
			require.NoError(t, err)
			assert.Equal(t, c.Events, e.Charge.Events)
		}
		again, err := l.Lookup(t.Context(), c.Key)
		require.NoError(t, err)
		again.Charge.Events[0].Scale *= 2 // is its reader's alone
		again, err = l.Lookup(t.Context(), c.Key)
		require.NoError(t, err)
		assert.Equal(t, c.Events, again.Charge.Events)
		c.Key.Round = n + 1
		refused := refusal(t, l.Check(t.Context(), c))
		remedy := gaussian(t, n+1, dp.Params{Epsilon: refused.Largest.Epsilon, Delta: refused.Largest.Delta})
		_, err = l.Reserve(t.Context(), remedy)
		require.NoError(t, err)
		r, err := l.Report(t.Context(), c.Key.Epoch, c.Unit)
		require.NoError(t, err)
		assert.Equal(t, zcdp, r.Rule)
		assert.LessOrEqual(t, r.Spent.Epsilon, 1.0)
		assert.Greater(t, r.Spent.Epsilon, 0.999)
		assert.InDelta(t, 0.9e-6, r.Spent.Delta, 1e-12, "nothing of what was set apart")
		assert.InDelta(t, 1e-7, r.Left.Delta, 1e-12)
		assert.Contains(t, r.String(), "rule zcdp")
		assert.Len(t, warned, 1, "of the fractions 0.8 and 1: a remedy stays a little below all of it")

		selection := charge(n+2, dp.Budget{Epsilon: r.Left.Epsilon / 2, Delta: 1.1e-7})
		assert.InDelta(t, 1e-7, refusal(t, l.Check(t.Context(), selection)).Largest.Delta, 1e-12)
		selection.Cost.Delta = r.Left.Delta
		_, err = l.Reserve(t.Context(), selection)
		require.NoError(t, err)
	})
}

func TestRuleHolds(t *testing.T) {
	l := newFile(t, Config{Budget: dp.Budget{Epsilon: 1, Delta: 1e-6}, Rule: zcdp})
	_, err := l.Reserve(t.Context(), gaussian(t, 1, dp.Params{Epsilon: 0.2, Delta: 1e-8}))
	require.NoError(t, err)
	path := l.path
	require.NoError(t, l.Close())
	_, err = reopened(path, Config{Budget: dp.Budget{Epsilon: 1, Delta: 1e-6}})
	require.ErrorContains(t, err, "zcdp", "a ledger does not change its rule")
	_, err = reopened(path, Config{Budget: dp.Budget{Epsilon: 1, Delta: 1e-6}, Rule: zcdp})
	require.NoError(t, err)

	for _, c := range []Config{
		{Budget: pure(1), Rule: zcdp},
		{Budget: dp.Budget{Epsilon: 1, Delta: 1e-6}, Rule: dp.Rule{Name: "renyi"}},
		{Budget: dp.Budget{Epsilon: 1, Delta: 1e-6}, Rule: dp.Rule{Name: "zcdp", DeltaApart: math.NaN()}},
		{Budget: dp.Budget{Epsilon: 1, Delta: 1e-6}, Rule: zcdp, Windows: []Window{weekly(0.5)}},
	} {
		_, err := Create(t.TempDir()+"/ledger", c)
		assert.Error(t, err, "%+v", c)
	}
}
