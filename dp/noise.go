package dp

import (
	"context"
	"errors"
	"io"
)

// Noise is a mechanism calibrated to one sensitivity: it knows its scale, what
// it costs, and how wide its intervals are. Make one with Calibrate. It is a
// value, safe for concurrent use.
type Noise struct {
	mechanism   Mechanism // never Auto
	params      Params
	sensitivity Sensitivity
}

// Calibrate returns the noise of p.Mechanism that makes a vector of
// sensitivity s (ε, δ)-differentially private.
func Calibrate(p Params, s Sensitivity) (Noise, error) {
	return Noise{}, errors.New("calibrate noise: not built yet")
}

// Mechanism returns the mechanism in force; never Auto.
func (n Noise) Mechanism() Mechanism { return n.mechanism }

// Sensitivity returns the sensitivity that the noise is scaled to.
func (n Noise) Sensitivity() Sensitivity { return n.sensitivity }

// Scale returns the parameter of the distribution: b for the Laplace
// mechanisms, σ for the Gaussian ones; rounded up to what is really sampled.
func (n Noise) Scale() float64 { return 0 }

// StdDev returns the standard deviation of the noise on one value.
func (n Noise) StdDev() float64 { return 0 }

// Cost returns what one use costs: (ε, 0) for the Laplace mechanisms, (ε, δ)
// for the Gaussian ones.
func (n Noise) Cost() Budget { return Budget{} }

// GroupCost returns the (ε, δ) that holds for a unit that reaches m times as far as
// the declared one: in m disjoint vectors (Disjoint), or m times as much in the same
// cells (Summed).
func (n Noise) GroupCost(m int, s Shape) (Budget, error) { return Budget{}, nil }

// Interval returns the half-width h of the two-sided interval for the sum of
// terms independent noise values: the smallest h with
// P(|noise| ≤ h) ≥ confidence, and that probability.
func (n Noise) Interval(terms int, confidence float64) (half int64, coverage float64, err error) {
	return 0, 0, errors.New("compute interval: not built yet")
}

// Add adds independent noise to every value, in place.
func (n Noise) Add(ctx context.Context, values []int64, random io.Reader) error {
	return errors.New("add noise: not built yet")
}
