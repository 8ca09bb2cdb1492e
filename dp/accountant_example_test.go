package dp_test

import (
	"errors"
	"fmt"

	"github.com/larder-dp/larder/dp"
)

// A year of weekly releases: counts under Laplace noise, a total under Gaussian noise, and
// one survey of which only (ε, δ) is known.
func ExampleCompose() {
	a, err := dp.Compose(
		dp.Event{Mechanism: dp.Laplace, Scale: 40, Sensitivity: 1, Count: 52},
		dp.Event{Mechanism: dp.Gaussian, Scale: 30, Sensitivity: 1, Count: 52},
		dp.Event{Mechanism: dp.ApproxDP, Epsilon: 0.1, Delta: 1e-9, Count: 1},
	)
	if err != nil {
		panic(err)
	}
	b, err := a.Epsilon(1e-6)
	if err != nil {
		panic(err)
	}
	fmt.Printf("ε is between %.3f and %.3f, by the rule %s\n", b.Lo, b.Hi, b.Rule)
	fmt.Println("adding up the ε of the Laplace uses alone:", 52.0/40)
	fmt.Println("events in the proof:", len(b.Proof.Composed))
	// Output:
	// ε is between 1.347 and 1.347, by the rule pld
	// adding up the ε of the Laplace uses alone: 1.3
	// events in the proof: 3
}

// The least noise for 52 weekly releases of a vector within one budget.
func ExampleSmallestScale() {
	weekly := dp.Event{Mechanism: dp.Gaussian, L2: 4, Count: 52}
	sigma, proof, err := dp.SmallestScale(weekly, dp.Budget{Epsilon: 2, Delta: 1e-6})
	if err != nil {
		panic(err)
	}
	fmt.Printf("σ = %.2f\n", sigma)
	fmt.Println("verified:", proof.Hi <= 1e-6)
	// Output:
	// σ = 64.34
	// verified: true
}

// An analyst who chooses the next query after seeing the last answer needs a filter.
func ExampleFilter() {
	f, err := dp.NewFilter(dp.Budget{Epsilon: 1, Delta: 1e-6}, 0)
	if err != nil {
		panic(err)
	}
	query := dp.Event{Mechanism: dp.Gaussian, Scale: 20, Sensitivity: 1, Count: 1}
	for asked := 1; ; asked++ {
		if _, err := f.Spend(query); errors.Is(err, dp.ErrOverspent) {
			fmt.Println("refused: query", asked)
			return
		}
	}
	// Output:
	// refused: query 20
}
