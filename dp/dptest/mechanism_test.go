package dptest_test

import (
	"context"
	"io"
	"testing"

	"github.com/larder-dp/larder/dp"
	"github.com/larder-dp/larder/dp/dptest"
)

func newMechanism(p dp.Params, s dp.Sensitivity) (func([]int64, io.Reader) error, error) {
	n, err := dp.Calibrate(p, s)
	return func(values []int64, random io.Reader) error { return n.Add(context.Background(), values, random) }, err
}

func TestMechanism(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		m       dp.Mechanism
		delta   float64
		samples int
	}{{dp.DiscreteLaplace, 0, 5000}, {dp.DiscreteGaussian, 1e-2, 5000}, {dp.Laplace, 0, 400}, {dp.Gaussian, 1e-2, 400}} {
		if raceEnabled {
			c.samples = 400
		}
		if raceEnabled && c.m != dp.DiscreteLaplace || c.samples < 1000 && testing.Short() && !raceEnabled {
			continue // Google's noise takes 13 µs a value
		}
		t.Run(string(c.m), func(t *testing.T) {
			for seed := range rounds(1, 20) {
				dptest.Mechanism(t, dptest.MechanismKit{New: newMechanism, Mechanism: c.m, Delta: c.delta, Samples: rounds(c.samples, 20_000), Seed: uint64(seed)})
			}
		})
	}
}
