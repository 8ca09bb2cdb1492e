package federated

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/larder-dp/larder/dp"
)

func slice(records []Record) Records {
	return func(yield func(Record, error) bool) {
		for _, r := range records {
			if !yield(r, nil) {
				return
			}
		}
	}
}

// testPseudonym stands in for a PRF: it only has to be injective here.
func testPseudonym(member string) (p [16]byte, err error) {
	if len(member) > 16 {
		return p, fmt.Errorf("malformed")
	}
	copy(p[:], member)
	return p, nil
}

func drawBounds(t *rapid.T, unit Unit) dp.Bounds {
	b := dp.Bounds{
		L0: rapid.Int64Range(1, 5).Draw(t, "L0"), LInf: rapid.Int64Range(1, 7).Draw(t, "LInf"),
		MaxNodes: 1,
	}
	b.L1 = rapid.Int64Range(1, b.L0*b.LInf).Draw(t, "L1")
	if unit == UnitMember || unit == UnitList {
		b.MaxNodes = rapid.Int64Range(1, 4).Draw(t, "MaxNodes")
	}
	return b
}

// question is one with nothing left out, for tests to change.
func question(stores []NodeID, partitions []string) Question {
	return Question{
		Stores: stores, Partitions: partitions, Unit: UnitList, Trust: TrustedCoordinator, Epoch: "e",
		Bounds:  dp.Bounds{L0: 2, LInf: 3, L1: 5, MaxNodes: 1},
		Privacy: dp.Params{Epsilon: 1, Delta: 1e-6, Mechanism: dp.DiscreteLaplace},
		Quorum:  1,
	}
}

func must[T any](v T, err error) func(require.TestingT) T {
	return func(t require.TestingT) T {
		if h, ok := t.(testing.TB); ok {
			h.Helper()
		}
		require.NoError(t, err)
		return v
	}
}
