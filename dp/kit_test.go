package dp_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/larder-dp/larder/dp"
	"github.com/larder-dp/larder/dp/dptest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestSamplersOnEveryTape audits the exact samplers behind the seed: they keep their
// claim, and half of that claim is refuted.
func TestSamplersOnEveryTape(t *testing.T) {
	t.Parallel()
	if dp.RaceEnabled {
		return
	}
	for _, c := range []struct {
		r       uint64
		epsilon float64
	}{{1, 1}, {2, 0.5}} {
		kit := dptest.SamplerKit[int64]{Sensitivity: 1, Claim: dp.Budget{Epsilon: c.epsilon}, Draw: func(v int64, tape *dptest.Tape) int64 {
			return v + dp.DrawDiscreteLaplace(c.r, 0, tape.Below)
		}}
		dptest.Sampler(t, kit)
		kit.Claim.Epsilon *= 0.5
		assert.Error(t, dptest.CheckSampler(kit), "scale %d", c.r)
	}
	a, err := dp.Compose(dp.Event{Mechanism: dp.DiscreteGaussian, Scale: 1, Sensitivity: 1, Count: 1})
	require.NoError(t, err)
	delta, err := a.Delta(1)
	require.NoError(t, err)
	dptest.Sampler(t, dptest.SamplerKit[int64]{Sensitivity: 1, Claim: dp.Budget{Epsilon: 1, Delta: delta.Hi}, Draw: func(v int64, tape *dptest.Tape) int64 {
		return v + dp.DrawDiscreteGaussian(1, 0, tape.Below)
	}})
}

// TestBoundsBySensitivityReplay: what Clip leaves of a unit moves a sum over units by no
// more than Sensitivity says, at one node and at several.
func TestBoundsBySensitivityReplay(t *testing.T) {
	t.Parallel()
	const cells = 4
	for _, b := range []dp.Bounds{{L0: 1, LInf: 1, L1: 1, MaxNodes: 1}, {L0: 2, LInf: 3, L1: 5, MaxNodes: 1}, {L0: 3, LInf: 2, L1: 4, MaxNodes: 2}} {
		for _, shape := range []dp.Shape{dp.Disjoint, dp.Summed} {
			t.Run(fmt.Sprint(b, shape), func(t *testing.T) {
				dptest.Sensitivity(t, dptest.SensitivityKit[[][cells]int64]{
					// A unit has one vector at each of its nodes.
					World: func(r *rand.Rand) (units [][][cells]int64) {
						for range r.IntN(4) {
							u := make([][cells]int64, b.MaxNodes)
							for n := range u {
								for i := range u[n] {
									u[n][i] = dptest.Int64(r)
								}
							}
							units = append(units, u)
						}
						return units
					},
					Run: func(units [][][cells]int64, rec *dptest.Recorder) (any, error) {
						sums := make([]int64, cells*b.MaxNodes)
						for _, u := range units {
							for n, v := range u {
								b.Clip(v[:])
								for i, a := range v {
									if shape == dp.Disjoint {
										i += n * cells
									}
									sums[i] += a
								}
							}
						}
						s, err := b.Sensitivity(shape)
						rec.Add("demand", make([]string, len(sums)), sums, s)
						return sums, err
					},
				})
			})
		}
	}
}
