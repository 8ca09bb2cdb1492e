package dp

import (
	"errors"
	"fmt"
	"math"
)

// A Mechanism names a noise distribution. The zero value names none and is
// refused.
type Mechanism string

const (
	// Auto stands for the mechanism of the four below that has the smallest
	// variance at the same (ε, δ). That is often Gaussian, which takes some 13 µs
	// a value and cannot be replayed from a seed: for a million values and more
	// name DiscreteGaussian, whose σ is a few per cent larger.
	Auto Mechanism = "auto"
	// Laplace is continuous Laplace noise, rounded, by Google's library. Pure ε.
	Laplace Mechanism = "laplace"
	// Gaussian is Gaussian noise, rounded, by Google's library. Needs δ > 0 and
	// ε of at most 256.
	Gaussian Mechanism = "gaussian"
	// DiscreteLaplace is exact integer noise with P(x) ∝ exp(−|x|·ε/Δ₁). Pure ε.
	DiscreteLaplace Mechanism = "discrete_laplace"
	// DiscreteGaussian is exact integer noise with P(x) ∝ exp(−x²/2σ²)
	// (Canonne, Kamath, Steinke 2020). Needs δ > 0.
	DiscreteGaussian Mechanism = "discrete_gaussian"
)

// Params are the privacy parameters of one use of one mechanism. None of them
// has a default.
type Params struct {
	// Epsilon is the privacy loss ε, finite and above 0.
	Epsilon float64 `json:"epsilon"`
	// Delta is the probability δ, in [0, 1). 0 means pure ε-differential
	// privacy and leaves only the Laplace mechanisms.
	Delta float64 `json:"delta"`
	// Mechanism is the noise; Auto takes the best one.
	Mechanism Mechanism `json:"mechanism"`
}

// Validate reports every field that is out of range.
func (p Params) Validate() error {
	var errs []error
	// Written as "not inside" so that NaN is refused.
	if !(p.Epsilon > 0 && p.Epsilon <= math.MaxFloat64) {
		errs = append(errs, errors.New("Epsilon must be finite and above 0"))
	} else if p.Epsilon < minEpsilon {
		errs = append(errs, fmt.Errorf("Epsilon must be at least %g: below it no useful noise fits an int64", minEpsilon))
	}
	if !(p.Delta >= 0 && p.Delta < 1) {
		errs = append(errs, errors.New("Delta must be in [0, 1)"))
	}
	switch p.Mechanism {
	case Auto, Laplace, DiscreteLaplace:
	case Gaussian, DiscreteGaussian:
		if p.Delta == 0 {
			errs = append(errs, fmt.Errorf("Delta must be above 0 for %s: give one, or take %s", p.Mechanism, DiscreteLaplace))
		}
	case "":
		errs = append(errs, fmt.Errorf("Mechanism is missing: give %s or a mechanism's name", Auto))
	default:
		errs = append(errs, errors.New("Mechanism is none that dp knows"))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("check privacy parameters: %w", err)
	}
	return nil
}

const minEpsilon = 0x1p-40
