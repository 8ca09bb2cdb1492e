package dptest_test

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/differential-privacy/go/v3/dpagg"
	"github.com/google/differential-privacy/go/v3/noise"
	"github.com/larder-dp/larder/dp"
	"github.com/larder-dp/larder/dp/dptest"
)

// google adapts Google's noise as its documentation says. With saturate, sums are cut
// as package dp cuts them.
func google(n noise.Noise, saturate bool) func(p dp.Params, s dp.Sensitivity) (func([]int64, io.Reader) error, error) {
	return func(p dp.Params, s dp.Sensitivity) (func([]int64, io.Reader) error, error) {
		if s.L1 < 1 || s.L2Squared < 1 { // which the library does not take
			return nil, errors.New("out of range")
		}
		if !(p.Epsilon >= 700 && p.Epsilon <= math.MaxFloat64) { // may not return
			if _, err := n.AddNoiseInt64(0, s.L0, s.LInf, p.Epsilon, p.Delta); err != nil {
				return nil, err
			}
		}
		return func(values []int64, _ io.Reader) error {
			for i, v := range values {
				at := v
				if saturate {
					at = 0
				}
				x, err := n.AddNoiseInt64(at, s.L0, s.LInf, p.Epsilon, p.Delta)
				if err != nil {
					return err
				}
				if saturate {
					switch sum := v + x; {
					case v > 0 && x > 0 && sum < 0:
						x = math.MaxInt64
					case v < 0 && x < 0 && sum >= 0:
						x = math.MinInt64
					default:
						x = sum
					}
				}
				values[i] = x
			}
			return nil
		}, nil
	}
}

// googleSelection adapts pre-aggregation partition selection: of units, so that a count of
// LInf a unit is divided by it.
func googleSelection(b dp.Budget, s dp.Sensitivity) (func([]int64, io.Reader) ([]bool, error), error) {
	if s.LInf < 1 || s.L0 < 1 {
		return nil, errors.New("out of range")
	}
	options := dpagg.PreAggSelectPartitionOptions{Epsilon: b.Epsilon, Delta: b.Delta, MaxPartitionsContributed: s.L0}
	if _, err := dpagg.NewPreAggSelectPartition(&options); err != nil {
		return nil, err
	}
	return func(counts []int64, _ io.Reader) ([]bool, error) {
		published := make([]bool, len(counts))
		for i, c := range counts {
			sel, err := dpagg.NewPreAggSelectPartition(&options)
			if err != nil {
				return nil, err
			}
			if c <= 0 {
				continue
			}
			if err := sel.IncrementBy(c/s.LInf + min(c%s.LInf, 1)); err != nil {
				return nil, err
			}
			if published[i], err = sel.ShouldKeepPartition(); err != nil {
				return nil, err
			}
		}
		return published, nil
	}, nil
}

const googleChild = "LARDER_TEST_GOOGLE"

func googleGaussian() error {
	return dptest.CheckMechanism(dptest.MechanismKit{New: google(noise.Gaussian(), true), Mechanism: dp.Gaussian, Delta: 1e-2, Samples: 400, Patience: 2 * time.Second})
}

// TestGoogleGaussianChild is run by TestGoogleUnaided in a process of its own, which a
// mechanism that never returns may keep busy until it ends.
func TestGoogleGaussianChild(t *testing.T) {
	if os.Getenv(googleChild) != "" {
		fmt.Println(googleGaussian())
	}
}

// TestGoogleUnaided points the kit at Google's library v3.0.0 and at its faults as the
// design notes number them, and says what it finds without being told where to look.
func TestGoogleUnaided(t *testing.T) {
	t.Parallel()
	laplace := func(saturate bool) error {
		return dptest.CheckMechanism(dptest.MechanismKit{New: google(noise.Laplace(), saturate), Mechanism: dp.Laplace, Samples: 400})
	}
	inChild := func() error {
		child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestGoogleGaussianChild$")
		child.Env = append(os.Environ(), googleChild+"=1")
		out, err := child.Output()
		if err != nil || strings.HasPrefix(string(out), "<nil>") {
			return err
		}
		return errors.New(strings.TrimSpace(strings.SplitN(string(out), "\nPASS", 2)[0]))
	}
	if testing.Short() {
		return // Google's noise takes 13 µs a value
	}
	for _, row := range []struct {
		fault string
		check func() error
		finds string // part of the finding; empty where there is none
		why   string
	}{
		{"1: an infinite Gaussian threshold releases every partition", func() error {
			return dptest.CheckSelection(dptest.SelectionKit{New: googleSelection, Samples: 400})
		}, "new keys", ""},
		{"2: l0·lInf wraps", func() error { return laplace(true) }, "L0:", ""},
		{"3: σ = 0 at a large ε, and no return", inChild, "no answer in", ""},
		{"4: sums wrap", func() error { return laplace(false) }, "ends of int64", ""},
		{"5: a nil Noise skips the check of bounds", nil, "", "a check of an aggregation's options: the kit sees mechanisms, and gives them all they ask for"},
		{"6: a failing generator ends the process", nil, "", "the library takes no generator, so that the kit cannot break it; and a process that has ended reports nothing"},
		{"7: gob state has neither type nor sender", nil, "", "a format, not a mechanism: nothing is noised there"},
		{"8: the Gaussian ends at 8.8 σ", nil, "", "at the settings of the kit the cut is below 1e-17, and no sample shows that; the sampler audit would, but the library takes no tape (it reads crypto/rand, in words of 64 bits)"},
	} {
		if row.check == nil {
			t.Logf("fault %-60s not found: %s", row.fault, row.why)
			continue
		}
		err := row.check()
		if err == nil {
			t.Errorf("fault %s: not found", row.fault)
			continue
		}
		t.Logf("fault %-60s found: %v", row.fault, err)
		if !strings.Contains(err.Error(), row.finds) {
			t.Errorf("fault %s: found something else", row.fault)
		}
	}
}
