package dptest_test

import (
	"io"
	"testing"

	"github.com/larder-dp/larder/dp"
	"github.com/larder-dp/larder/dp/dptest"
)

func newSelection(b dp.Budget, s dp.Sensitivity) (func([]int64, io.Reader) ([]bool, error), error) {
	sel, err := dp.NewSelection(dp.Params{Epsilon: b.Epsilon, Delta: b.Delta, Mechanism: dp.Auto}, s)
	return sel.Select, err
}

func TestSelection(t *testing.T) {
	t.Parallel()
	if raceEnabled {
		return
	}
	for seed := range rounds(1, 30) {
		dptest.Selection(t, dptest.SelectionKit{New: newSelection, Seed: uint64(seed), Samples: rounds(4000, 20_000)})
	}
}
