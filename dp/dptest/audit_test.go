package dptest_test

import (
	"context"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"sync"
	"testing"

	"github.com/larder-dp/larder/dp"
	"github.com/larder-dp/larder/dp/dptest"
)

// rounds returns n, or all of them with LARDER_FULL.
func rounds(n, all int) int {
	if os.Getenv("LARDER_FULL") != "" {
		return all
	}
	return n
}

// lattice rounds noise to thousandths: float64 noise that is added as it comes is
// truly worse than its claim, and the audit finds it (see "noise at the input's ulp").
func lattice(noise func(r *rand.Rand) float64) func(value int64, random io.Reader) int64 {
	return func(value int64, random io.Reader) int64 {
		return 1000*value + int64(math.Round(1000*noise(rand.New(random.(rand.Source)))))
	}
}

func laplaceOf(b float64) func(r *rand.Rand) float64 {
	return func(r *rand.Rand) float64 {
		up := r.ExpFloat64()
		return b * (up - r.ExpFloat64())
	}
}

func gaussianOf(sigma float64) func(r *rand.Rand) float64 {
	return func(r *rand.Rand) float64 { return sigma * r.NormFloat64() }
}

// pooled draws a vector of noise at once and hands its cells out: every one is noise
// on one value.
func pooled(t testing.TB, n dp.Noise) func(value int64, random io.Reader) int64 {
	pool := sync.Pool{New: func() any { return new([]int64) }}
	return func(value int64, random io.Reader) int64 {
		cells := pool.Get().(*[]int64)
		defer pool.Put(cells)
		if len(*cells) == 0 {
			*cells = make([]int64, 4096)
			if err := n.Add(context.Background(), *cells, random); err != nil {
				t.Error(err)
			}
		}
		x := (*cells)[0]
		*cells = (*cells)[1:]
		return value + x
	}
}

func oneOf[O int64 | float64](draw func(O, io.Reader) O) func(bool, io.Reader) (O, error) {
	return func(neighbour bool, random io.Reader) (O, error) {
		if neighbour {
			return draw(1, random), nil
		}
		return draw(0, random), nil
	}
}

func calibrated(t testing.TB, p dp.Params) dp.Noise {
	n, err := dp.Calibrate(p, unit)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

var unit = dp.Sensitivity{L0: 1, L1: 1, L2Squared: 1, LInf: 1}

// gaussianSigma inverts Balle and Wang 2018, Theorem 8, for sensitivity 1.
func gaussianSigma(epsilon, delta float64) float64 {
	phi := func(x float64) float64 { return math.Erfc(-x/math.Sqrt2) / 2 }
	lo, hi := 0.01, 1000.0
	for range 100 {
		s := (lo + hi) / 2
		if phi(1/(2*s)-epsilon*s)-math.Exp(epsilon)*phi(-1/(2*s)-epsilon*s) > delta {
			lo = s
		} else {
			hi = s
		}
	}
	return hi
}

// discreteSigma returns the smallest σ of discrete Gaussian noise at which one use
// costs at most (ε, δ).
func discreteSigma(t testing.TB, epsilon, delta float64) float64 {
	s, _, err := dp.SmallestScale(dp.Event{Mechanism: dp.DiscreteGaussian, Sensitivity: 1, Count: 1}, dp.Budget{Epsilon: epsilon, Delta: delta})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestAuditPower: what runs at 1.1 × its claim is flagged, and what keeps it passes.
func TestAuditPower(t *testing.T) {
	t.Parallel()
	if raceEnabled {
		return // millions of runs, one after the other
	}
	const claimed, delta = 1.0, 1e-2
	pure, approximate := dp.Budget{Epsilon: claimed}, dp.Budget{Epsilon: claimed, Delta: delta}
	for _, c := range []struct {
		name      string
		samples   int
		claim     dp.Budget
		mechanism func(epsilon float64) func(value int64, random io.Reader) int64
	}{
		{"laplace", 65_000, pure, func(epsilon float64) func(int64, io.Reader) int64 { return lattice(laplaceOf(1 / epsilon)) }},
		{"discrete laplace", 65_000, pure, func(epsilon float64) func(int64, io.Reader) int64 {
			return pooled(t, calibrated(t, dp.Params{Epsilon: epsilon, Mechanism: dp.DiscreteLaplace}))
		}},
		{"gaussian", 1_000_000, approximate, func(epsilon float64) func(int64, io.Reader) int64 {
			return lattice(gaussianOf(gaussianSigma(epsilon, delta)))
		}},
		{"discrete gaussian", 1_000_000, approximate, func(epsilon float64) func(int64, io.Reader) int64 {
			return pooled(t, discreteGaussian(t, discreteSigma(t, epsilon, delta)))
		}},
	} {
		if c.samples > 100_000 && testing.Short() {
			continue // two million runs an audit
		}
		t.Run(c.name, func(t *testing.T) {
			seeds, flagged, passed := rounds(2, 100), 0, 0
			if c.samples > 100_000 {
				seeds = rounds(1, 100)
			}
			dear, right := c.mechanism(1.1*claimed), c.mechanism(claimed)
			for seed := range seeds {
				audit := func(mechanism func(int64, io.Reader) int64) dptest.AuditResult {
					r, _ := dptest.CheckAudit(dptest.AuditKit[int64]{Run: oneOf(mechanism), Claim: c.claim, Samples: c.samples, Seed: uint64(seed)})
					return r
				}
				if r := audit(dear); r.Outcome == dptest.Violation {
					flagged++
				} else {
					t.Log("seed", seed, "at 1.1:", r)
				}
				if r := audit(right); r.Outcome == dptest.NoneFound {
					passed++
					if seed == 0 {
						t.Log("seed", seed, "at 1.0:", r)
					}
				} else {
					t.Error("seed", seed, "at 1.0:", r)
				}
			}
			t.Logf("flagged %d of %d at 1.1 × the claim, passed %d of %d at 1.0", flagged, seeds, passed, seeds)
			if flagged*100 < 97*seeds {
				t.Errorf("the power is below 0.97")
			}
		})
	}
}

// discreteGaussian returns noise of about the wanted σ: the δ of Calibrate is
// searched, as it takes no scale.
func discreteGaussian(t testing.TB, sigma float64) dp.Noise {
	lo, hi := math.Log(1e-3), math.Log(50.0)
	for range 60 {
		if mid := (lo + hi) / 2; calibrated(t, dp.Params{Epsilon: math.Exp(mid), Delta: 1e-2, Mechanism: dp.DiscreteGaussian}).Scale() > sigma {
			lo = mid
		} else {
			hi = mid
		}
	}
	n := calibrated(t, dp.Params{Epsilon: math.Exp(lo), Delta: 1e-2, Mechanism: dp.DiscreteGaussian})
	if math.Abs(n.Scale()/sigma-1) > 1e-9 {
		t.Fatal(fmt.Sprint("no noise of scale ", sigma))
	}
	return n
}
