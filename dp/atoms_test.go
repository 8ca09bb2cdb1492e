package dp

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestNearTheLargestLoss: two lattices without a common step, where δ hangs on the last of the
// atoms. A lattice of losses had brackets of half their height here, after seconds.
func TestNearTheLargestLoss(t *testing.T) {
	a, err := Compose(
		Event{Mechanism: PureDP, Epsilon: 1.9811033658321497, Count: 21},
		Event{Mechanism: DiscreteLaplace, Scale: 22.313151105726696, Sensitivity: 2, Count: 5},
	)
	require.NoError(t, err)
	sup := 21*1.9811033658321497 + 5*2/22.313151105726696
	q, r := math.Exp(-1.9811033658321497), math.Exp(-1/22.313151105726696)
	top := math.Pow(1+q, -21) * math.Pow(1+r, -5) // all losses at their largest
	for _, below := range []float64{1e-3, 1e-5, 1e-8} {
		b, err := a.Delta(sup - below)
		require.NoError(t, err)
		assert.Equal(t, "atoms", b.Rule)
		checkBracket(t, b, -math.Expm1(-below)*top, 1e-5, fmt.Sprintf("%g below", below))
		e, err := a.Epsilon(-math.Expm1(-below) * top)
		require.NoError(t, err)
		checkBracket(t, e, sup-below, 1e-12, fmt.Sprintf("ε, %g below", below))
	}
	b, err := a.Delta(sup * (1 + 1e-15))
	require.NoError(t, err)
	assert.Zero(t, b.Lo)
	assert.LessOrEqual(t, b.Hi, 1e-15)
}

// TestAtomsAgainstTransform: the sum over atoms and the transform share no code but the laws.
func TestAtomsAgainstTransform(t *testing.T) {
	r := rand.New(rand.NewPCG(31, 32))
	for range rounds(3) {
		a, err := Compose(
			Event{Mechanism: Gaussian, Scale: logUniform(r, 1, 10), Sensitivity: 1, Count: 3},
			Event{Mechanism: PureDP, Epsilon: logUniform(r, 0.05, 1), Count: 1 + r.Int64N(6)},
			Event{Mechanism: DiscreteGaussian, Scale: logUniform(r, 0.5, 3), Sensitivity: 2, Count: 1 + r.Int64N(3)},
		)
		require.NoError(t, err)
		b, err := a.Epsilon(logUniform(r, 1e-12, 1e-3))
		require.NoError(t, err)
		epsilon := b.Hi * r.Float64()
		m, ok := a.whole().mixture(maxMixed)
		require.True(t, ok)
		lo, hi := m.delta(epsilon)
		assert.LessOrEqual(t, hi-lo, 1e-9*hi+m.rest)
		other := bracket(a.whole().delta(epsilon))
		assert.LessOrEqual(t, other.Lo, hi)
		assert.GreaterOrEqual(t, other.Hi, lo)
	}
}

// TestNoEndlessSearch: at an ε that rounding puts just below the largest loss no step is fine
// enough, and the search must not go through them all.
func TestNoEndlessSearch(t *testing.T) {
	if raceEnabled {
		return // one long transform
	}
	a, err := Compose(Event{Mechanism: Laplace, Scale: 10, Sensitivity: 1, Count: 3})
	require.NoError(t, err)
	steps := 0
	p := a.whole()
	p.refine(aim, func(want float64) plan { return p.plan(p.saddle(0.3), 0.3, want) }, func(lower, upper *spectrum) (lo, hi float64) {
		steps++
		return lower.below(0.3), upper.above(0.3)
	})
	assert.LessOrEqual(t, steps, 2)
	b, err := a.Delta(0.3)
	require.NoError(t, err)
	assert.Zero(t, b.Lo)
	assert.LessOrEqual(t, b.Hi, 1e-15)
}
