package dp_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/larder-dp/larder/dp"
)

// A member lists at most 40 items, 4 pieces of each and 20 in all, and counts at 2
// stores. Bounding the total buys accuracy: without L1 the noise would be
// eight times as wide.
func ExampleBounds_Sensitivity() {
	b := dp.Bounds{L0: 40, LInf: 4, L1: 20, MaxNodes: 2}
	perStore, _ := b.Sensitivity(dp.Disjoint)
	chain, _ := b.Sensitivity(dp.Summed)
	fmt.Println(perStore.L1, perStore.L2Squared, perStore.LInf)
	fmt.Println(chain.L1, chain.L2Squared, chain.LInf)
	// Output:
	// 40 160 4
	// 40 320 8
}

func ExampleCalibrate() {
	s, err := dp.Bounds{L0: 40, LInf: 4, L1: 20, MaxNodes: 1}.Sensitivity(dp.Disjoint)
	if err != nil {
		panic(err)
	}
	n, err := dp.Calibrate(dp.Params{Epsilon: 1, Delta: 1e-6, Mechanism: dp.Auto}, s)
	if err != nil {
		panic(err)
	}
	fmt.Printf("%s of scale %g costs ε=%g δ=%g\n", n.Mechanism(), n.Scale(), n.Cost().Epsilon, n.Cost().Delta)

	demand := []int64{120, 75, 0, 310}
	// A fixed seed makes this example repeatable. Use nil: the noise must be secret.
	if err := n.Add(context.Background(), demand, bytes.NewReader(make([]byte, 32))); err != nil {
		panic(err)
	}
	half, coverage, err := n.Interval(1, 0.95)
	if err != nil {
		panic(err)
	}
	fmt.Println(len(demand), "values, each within", half, "of the truth")
	fmt.Printf("with probability %.4f\n", coverage)
	// Output:
	// discrete_laplace of scale 20 costs ε=1 δ=0
	// 4 values, each within 60 of the truth
	// with probability 0.9515
}

// The items that members wrote in by hand are not known in advance. Only those
// that enough members wrote may be named.
func ExampleSelection() {
	s, err := dp.Bounds{L0: 5, LInf: 1, L1: 5, MaxNodes: 1}.Sensitivity(dp.Disjoint)
	if err != nil {
		panic(err)
	}
	sel, err := dp.NewSelection(dp.Params{Epsilon: 1, Delta: 1e-6, Mechanism: dp.DiscreteLaplace}, s)
	if err != nil {
		panic(err)
	}
	fmt.Println("threshold", sel.Threshold())
	published, err := sel.Select([]int64{4000, 1, 0, 2500}, nil)
	if err != nil {
		panic(err)
	}
	fmt.Println(published)
	// Output:
	// threshold 76
	// [true false false true]
}

// Reserve, draw noise, commit, tell.
func ExampleMemoryLedger() {
	ctx := context.Background()
	ledger, err := dp.NewMemoryLedger(dp.Budget{Epsilon: 1, Delta: 1e-6})
	if err != nil {
		panic(err)
	}
	charge := dp.Charge{
		Key:  dp.Key{Epoch: "2026-w01", Round: 1, Digest: [32]byte{1}},
		Unit: "member",
		Cost: dp.Budget{Epsilon: 0.75},
	}
	if _, err := ledger.Reserve(ctx, charge); err != nil {
		panic(err)
	}
	// … the noise is drawn here …
	if err := ledger.Commit(ctx, charge.Key, []byte("release")); err != nil {
		panic(err)
	}

	// The same question again: the stored answer, for nothing.
	_, err = ledger.Reserve(ctx, charge)
	fmt.Println(errors.Is(err, dp.ErrAlreadyCharged))
	entry, _ := ledger.Lookup(ctx, charge.Key)
	fmt.Println(string(entry.Release))

	// A new round is a new charge, and does not fit.
	charge.Key.Round = 2
	_, err = ledger.Reserve(ctx, charge)
	fmt.Println(err)
	// Output:
	// true
	// release
	// charge budget of unit member in epoch "2026-w01": asked for ε=0.75 δ=0, left ε=0.25 δ=1e-06: ask for no more than what is left, or wait for the next epoch's data
}
