package dptest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"

	"github.com/larder-dp/larder/dp"
	"github.com/larder-dp/larder/dp/dptest"
)

// A sum that bounds each row of a member, where the member must be bounded.
func ExampleCheckSensitivity() {
	type member struct{ Amounts []int64 }
	sum := func(members []member, rec *dptest.Recorder) (any, error) {
		total := []int64{0}
		for _, m := range members {
			for _, a := range m.Amounts {
				total[0] += min(max(a, 0), 5)
			}
		}
		rec.Add("demand", []string{"milk"}, total, dp.Sensitivity{L0: 1, L1: 5, L2Squared: 25, LInf: 5})
		return total, nil
	}
	err := dptest.CheckSensitivity(dptest.SensitivityKit[member]{
		Run: sum,
		World: func(r *rand.Rand) (members []member) {
			for range r.IntN(4) {
				members = append(members, member{[]int64{dptest.Int64(r), dptest.Int64(r), dptest.Int64(r)}})
			}
			return members
		},
	})
	var f *dptest.Fault
	if errors.As(err, &f) {
		fmt.Println("broken:", f.Rule)
		fmt.Println("found: ", f.Found)
		fmt.Println("input: ", f.Input)
	}
	// Output:
	// broken: one privacy unit moves what is noised by no more than the declared sensitivity
	// found:  "demand" moved by LInf = 6, and 5 is declared
	// input:  units [{Amounts:[1 5]}], with and without number 1 (shrunk from world 0 of seed 0)
}

// The difference of two geometric draws is discrete Laplace noise, exactly; cut at ±3
// it has ends, and whoever sees one knows where it came from.
func ExampleCheckSampler() {
	geometric := func(t *dptest.Tape) (k int64) {
		for t.Below(2) == 0 {
			k++
		}
		return k
	}
	for _, cut := range []int64{math.MaxInt64, 3} {
		err := dptest.CheckSampler(dptest.SamplerKit[int64]{
			Sensitivity: 1, Claim: dp.Budget{Epsilon: math.Ln2},
			Draw: func(value int64, t *dptest.Tape) int64 {
				up, down := geometric(t), geometric(t)
				return value + min(max(up-down, -cut), cut)
			},
		})
		var f *dptest.Fault
		if errors.As(err, &f) {
			fmt.Printf("cut at %d: %s\n", cut, f.Input)
		} else {
			fmt.Println("not cut:", err)
		}
	}
	// Output:
	// not cut: <nil>
	// cut at 3: value 0 against 1: output -3 has mass 0.0833333 against 0
}

// A mechanism that uses ε = 2 where it claims 1.
func ExampleCheckAudit() {
	noise, err := dp.Calibrate(dp.Params{Epsilon: 2, Mechanism: dp.DiscreteLaplace}, dp.Sensitivity{L0: 1, L1: 1, L2Squared: 1, LInf: 1})
	if err != nil {
		fmt.Println(err)
		return
	}
	r, err := dptest.CheckAudit(dptest.AuditKit[int64]{
		Claim: dp.Budget{Epsilon: 1}, Samples: 20_000, Run: func(neighbour bool, random io.Reader) (int64, error) {
			values := []int64{0}
			if neighbour {
				values[0] = 1
			}
			err := noise.Add(context.Background(), values, random)
			return values[0], err
		},
	})
	fmt.Println(r.Outcome == dptest.Violation, err != nil, r.Epsilon > 1.7 && r.Epsilon <= 2)
	// Output: true true true
}
