package dptest_test

import (
	"testing"

	"github.com/larder-dp/larder/dp"
	"github.com/larder-dp/larder/dp/dptest"
)

func compose(events ...dp.Event) (dptest.Curve, error) {
	a, err := dp.Compose(events...)
	if err != nil {
		return dptest.Curve{}, err
	}
	bracket := func(f func(float64) (dp.Bracket, error)) func(float64) (float64, float64, error) {
		return func(x float64) (float64, float64, error) {
			b, err := f(x)
			if !b.Proof.Tight {
				b.Lo = 0 // it brackets the bound, and not what is lost
			}
			return b.Lo, b.Hi, err
		}
	}
	return dptest.Curve{Epsilon: bracket(a.Epsilon), Delta: bracket(a.Delta)}, nil
}

func smallestScale(e dp.Event, target dp.Budget) (float64, error) {
	s, _, err := dp.SmallestScale(e, target)
	return s, err
}

func TestAccountant(t *testing.T) {
	t.Parallel()
	if raceEnabled {
		return
	}
	for seed := range rounds(1, 20) {
		dptest.Accountant(t, dptest.AccountantKit{Compose: compose, SmallestScale: smallestScale, Draws: rounds(3, 20), Seed: uint64(seed)})
	}
}
