package dp

import (
	"errors"
	"fmt"
	"math"
	"slices"
)

// Mechanisms that Calibrate does not offer. An Accountant knows them, RandomizedResponse as
// PureDP.
const (
	// Skellam is X−Y with X, Y Poisson of the same mean; its Scale is the
	// standard deviation of X−Y.
	Skellam Mechanism = "skellam"
	// PureDP is any mechanism of which only ε is known.
	PureDP Mechanism = "pure_dp"
	// ApproxDP is any mechanism of which only (ε, δ) is known.
	ApproxDP Mechanism = "approx_dp"
	// ZCDP is any mechanism of which only its zero-concentrated ρ is known.
	ZCDP Mechanism = "zcdp"
	// Renyi is any mechanism of which some points of its Rényi curve are known.
	Renyi Mechanism = "renyi"
	// PartitionSelection is a choice of keys of which (ε, δ) is known.
	PartitionSelection Mechanism = "partition_selection"
	// RandomizedResponse is that of a Flip, which acts on bits.
	RandomizedResponse Mechanism = "randomized_response"
)

// An Event is one mechanism, used Count times, as an Accountant sees it. It is
// data: it has no behaviour but Validate. Only the fields that its mechanism
// needs are set; others must be zero.
//
//	laplace, discrete_laplace     Scale b, and Sensitivity or L1
//	gaussian, discrete_gaussian   Scale σ, and Sensitivity or L2; gaussian also Delta,
//	                              the probability that its cut tails give the unit away
//	skellam                       Scale √variance, and Sensitivity or L1 and L2
//	pure_dp                       Epsilon
//	approx_dp, partition_selection  Epsilon and Delta
//	zcdp                          Rho
//	renyi                         Orders and Divergences
type Event struct {
	Mechanism Mechanism `json:"mechanism"`
	// Scale is b or σ of the noise; of Skellam the standard deviation.
	Scale float64 `json:"scale,omitempty"`
	// Sensitivity is how far one privacy unit moves a single number. With the
	// discrete mechanisms it is whole.
	Sensitivity float64 `json:"sensitivity,omitempty"`
	// L1 and L2 are, for a vector, the sum of absolute changes and the root of
	// the sum of squared changes. They exclude Sensitivity.
	L1 float64 `json:"l1,omitempty"`
	L2 float64 `json:"l2,omitempty"`

	Epsilon float64 `json:"epsilon,omitempty"`
	Delta   float64 `json:"delta,omitempty"`
	Rho     float64 `json:"rho,omitempty"`

	// Orders, above 1, and the Rényi divergence at each.
	Orders      []float64 `json:"orders,omitempty"`
	Divergences []float64 `json:"divergences,omitempty"`

	// Count is the number of uses, from 1 to 2⁴⁰.
	Count int64 `json:"count"`
}

const maxCount = 1 << 40

// Validate reports every field that is out of range, missing, or foreign to the
// mechanism.
func (e Event) Validate() error {
	var errs []error
	if e.Count < 1 || e.Count > maxCount {
		errs = append(errs, errors.New("Count must be from 1 to 2^40"))
	}
	fields := []struct {
		name    string
		v       float64
		allowed bool
	}{
		{"Scale", e.Scale, false},
		{"Sensitivity", e.Sensitivity, false},
		{"L1", e.L1, false},
		{"L2", e.L2, false},
		{"Epsilon", e.Epsilon, false},
		{"Delta", e.Delta, false},
		{"Rho", e.Rho, false},
	}
	allow := func(is ...int) {
		for _, i := range is {
			fields[i].allowed = true
		}
	}
	switch e.Mechanism {
	case Laplace, DiscreteLaplace:
		allow(0, 1, 2)
	case Gaussian:
		allow(0, 1, 3, 5)
	case DiscreteGaussian:
		allow(0, 1, 3)
	case Skellam:
		allow(0, 1, 2, 3)
	case PureDP:
		allow(4)
	case ApproxDP, PartitionSelection:
		allow(4, 5)
	case ZCDP:
		allow(6)
	case Renyi:
	default:
		return errors.New("check event: Mechanism is none that an accountant knows: it is one of laplace, gaussian, discrete_laplace, discrete_gaussian, skellam, pure_dp, approx_dp, zcdp, renyi and partition_selection")
	}
	for _, f := range fields {
		switch {
		case !(f.v >= 0 && f.v <= math.MaxFloat64): // NaN is refused here
			errs = append(errs, fmt.Errorf("%s must be finite and not negative", f.name))
		case f.v > 0 && !f.allowed:
			errs = append(errs, fmt.Errorf("%s has no meaning for %s", f.name, e.Mechanism))
		case f.v > 0 && (f.v < 1e-30 || f.v > 1e30) && f.name != "Delta":
			errs = append(errs, fmt.Errorf("%s must be between 1e-30 and 1e30", f.name))
		}
	}
	if e.Mechanism != Renyi && (len(e.Orders) > 0 || len(e.Divergences) > 0) {
		errs = append(errs, fmt.Errorf("Orders and Divergences have no meaning for %s", e.Mechanism))
	}
	if len(errs) == 0 {
		errs = append(errs, e.validateShape())
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("check event: %w", err)
	}
	return nil
}

func (e Event) validateShape() error {
	if e.Delta >= 1 {
		return errors.New("Delta must be below 1")
	}
	switch e.Mechanism {
	case PureDP:
		if e.Epsilon == 0 {
			return errors.New("Epsilon is missing")
		}
		return nil
	case ApproxDP, PartitionSelection:
		if e.Epsilon == 0 && e.Delta == 0 {
			return errors.New("Epsilon and Delta are missing")
		}
		return nil
	case ZCDP:
		if e.Rho == 0 {
			return errors.New("Rho is missing")
		}
		return nil
	}
	if e.Mechanism == Renyi {
		if len(e.Orders) == 0 || len(e.Orders) != len(e.Divergences) {
			return errors.New("give Orders, and as many Divergences")
		}
		for i, o := range e.Orders {
			if d := e.Divergences[i]; !(o > 1 && o <= 1e9) || !(d >= 0 && d <= math.MaxFloat64) {
				return errors.New("Orders must be above 1 and of at most 1e9, and Divergences finite and not negative")
			}
		}
		return nil
	}
	if e.Scale == 0 {
		return errors.New("Scale is missing")
	}
	vector := e.L1 > 0 || e.L2 > 0
	switch {
	case e.Sensitivity > 0 && vector:
		return errors.New("give Sensitivity, or the norms of a vector, and not both")
	case e.Sensitivity > 0:
		if e.discrete() && (e.Sensitivity != math.Floor(e.Sensitivity) || e.Sensitivity > 1<<30) {
			return fmt.Errorf("Sensitivity of %s must be a whole number of at most 2^30", e.Mechanism)
		}
	case !vector:
		return errors.New("Sensitivity is missing")
	case e.Mechanism == Skellam && (e.L1 == 0 || e.L2 == 0 || e.L2 > e.L1*(1+1e-12)):
		return errors.New("a vector under skellam needs L1 and L2, with L2 of at most L1")
	}
	return nil
}

func (e Event) discrete() bool {
	return e.Mechanism == DiscreteLaplace || e.Mechanism == DiscreteGaussian || e.Mechanism == Skellam
}

// Event returns how one use of the noise on one vector is accounted. Laplace
// noise on a vector is pure ε = Δ₁/b. Google's Gaussian is a Gaussian of Δ₂/σ,
// and its Delta is what the cut of its tails adds. Discrete Gaussian noise on
// a vector is Δ₂²/2σ²-zCDP (Canonne, Kamath, Steinke 2020, Section 2.2): a loss
// distribution of one number covers it only where a unit moves no other. The zero Noise yields an Event
// that does not validate.
func (n Noise) Event() Event {
	s := n.sensitivity
	l2 := math.Nextafter(math.Sqrt(float64(s.L2Squared)), math.Inf(1))
	switch n.mechanism {
	case Laplace, DiscreteLaplace:
		return Event{Mechanism: PureDP, Epsilon: n.params.Epsilon, Count: 1}
	case DiscreteGaussian:
		if s.L0 == 1 {
			return Event{Mechanism: DiscreteGaussian, Scale: n.scale, Sensitivity: float64(s.LInf), Count: 1}
		}
		return Event{Mechanism: DiscreteGaussian, Scale: n.scale, L2: l2, Count: 1}
	case Gaussian:
		// Doubled, so that it also covers the laws' being normalised after the cut.
		cut := 2 * cutDelta(float64(s.L0), float64(s.LInf), n.scale)
		return Event{Mechanism: Gaussian, Scale: n.scale, L2: l2, Delta: cut, Count: 1}
	}
	return Event{}
}

// same reports whether two events differ in nothing but their count.
func (e Event) same(f Event) bool {
	return e.Mechanism == f.Mechanism && e.Scale == f.Scale && e.Sensitivity == f.Sensitivity && e.L1 == f.L1 && e.L2 == f.L2 &&
		e.Epsilon == f.Epsilon && e.Delta == f.Delta && e.Rho == f.Rho &&
		slices.Equal(e.Orders, f.Orders) && slices.Equal(e.Divergences, f.Divergences)
}
