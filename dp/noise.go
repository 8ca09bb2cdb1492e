package dp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"runtime"

	"github.com/google/differential-privacy/go/v3/noise"
	"golang.org/x/sync/errgroup"
)

// Noise is a mechanism calibrated to one sensitivity: it knows its scale, what
// it costs, and how wide its intervals are. Make one with Calibrate; the zero
// value refuses to work. It is a value, safe for concurrent use.
type Noise struct {
	mechanism   Mechanism // never Auto
	params      Params
	sensitivity Sensitivity
	scale       float64 // b or σ of what is really sampled
	exact       scale   // the same, of the discrete mechanisms
	askDelta    float64 // the delta that Google's Gaussian is called with
}

var errZeroNoise = errors.New("the noise is not calibrated: take it from Calibrate")

// Calibrate returns the noise of p.Mechanism that makes a vector of
// sensitivity s (ε, δ)-differentially private. Auto takes the mechanism of the
// smallest standard deviation; one within a billionth of it counts as equal,
// and of equals the exact discrete ones come first.
//
// It refuses parameters that do not validate, and those at which the mechanism
// does not work or cannot be shown to keep its promise; the error says which
// mechanism to take instead.
func Calibrate(p Params, s Sensitivity) (Noise, error) {
	if err := errors.Join(p.Validate(), s.validate()); err != nil {
		return Noise{}, fmt.Errorf("calibrate noise: %w", err)
	}
	candidates := []Mechanism{p.Mechanism}
	if p.Mechanism == Auto {
		candidates = []Mechanism{DiscreteLaplace, DiscreteGaussian, Laplace, Gaussian}
		if p.Delta == 0 {
			candidates = []Mechanism{DiscreteLaplace, Laplace}
		}
	}
	var best Noise
	var errs []error
	for _, m := range candidates {
		n, err := calibrate(m, p, s)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", m, err))
			continue
		}
		if best.mechanism == "" || n.StdDev() < best.StdDev()*(1-1e-9) {
			best = n
		}
	}
	if best.mechanism == "" {
		return Noise{}, fmt.Errorf("calibrate noise: %w", errors.Join(errs...))
	}
	return best, nil
}

func calibrate(m Mechanism, p Params, s Sensitivity) (Noise, error) {
	n := Noise{mechanism: m, params: p, sensitivity: s}
	var err error
	switch m {
	case Laplace:
		n.scale, err = laplaceScale(p, s)
	case Gaussian:
		n.scale, n.askDelta, err = gaussianSigma(p, s)
	case DiscreteLaplace:
		n.exact, err = laplaceRational(p, s)
		n.scale = n.exact.float()
	case DiscreteGaussian:
		n.exact, err = gaussianRational(p, s)
		n.scale = n.exact.float()
	}
	return n, err
}

// Mechanism returns the mechanism in force; never Auto.
func (n Noise) Mechanism() Mechanism { return n.mechanism }

// Sensitivity returns the sensitivity that the noise is scaled to.
func (n Noise) Sensitivity() Sensitivity { return n.sensitivity }

// Scale returns the parameter of the distribution: b for the Laplace
// mechanisms, σ for the Gaussian ones; rounded up to what is really sampled.
func (n Noise) Scale() float64 { return n.scale }

// StdDev returns the standard deviation of the noise on one value, of the
// distribution on the integers that is really sampled: it differs from σ or b·√2
// where the scale is small.
func (n Noise) StdDev() float64 { return math.Sqrt(n.law().variance()) }

// Cost returns what one use costs: (ε, 0) for the Laplace mechanisms, (ε, δ)
// for the Gaussian ones. One use is one Add on one vector.
func (n Noise) Cost() Budget {
	b := Budget{Epsilon: n.params.Epsilon, Delta: n.params.Delta}
	if n.pure() {
		b.Delta = 0
	}
	return b
}

func (n Noise) pure() bool { return n.mechanism == Laplace || n.mechanism == DiscreteLaplace }

// GroupCost returns the (ε, δ) that holds for a unit that reaches m times as far as
// the declared one: in m disjoint vectors (Disjoint), or m times as much in the same
// cells (Summed). Both numbers are rounded up. The Laplace mechanisms cost m·ε.
// The Gaussian ones keep δ and convert the larger loss at it: the discrete one by
// ρ·m or ρ·m² (Canonne, Kamath, Steinke 2020, Proposition 12), Google's by
// μ·√m or μ·m (Balle and Wang 2018). Where the reach leaves the cut tails
// of Google's noise, δ rises; δ = 1 means that nothing is left to claim.
//
// It is an error if m is below 1, shape is none, or ε is no longer finite.
func (n Noise) GroupCost(m int, s Shape) (Budget, error) {
	if n.mechanism == "" {
		return Budget{}, fmt.Errorf("compute group cost: %w", errZeroNoise)
	}
	if err := checkGroup(m, s); err != nil {
		return Budget{}, err
	}
	cost := n.Cost()
	if m == 1 {
		return cost, nil
	}
	times := float64(m)
	switch {
	case n.pure():
		cost.Epsilon = timesUp(times, cost.Epsilon)
	case n.mechanism == DiscreteGaussian:
		rho := float64(n.sensitivity.L2Squared) / (2 * n.scale * n.scale) * times
		if s == Summed {
			rho *= times
		}
		cost.Epsilon = max(cost.Epsilon, epsilonFor(rho*(1+1e-15), cost.Delta))
	default:
		mu := math.Sqrt(float64(n.sensitivity.L2Squared)) / n.scale * (1 + 1e-15)
		cells, by := float64(n.sensitivity.L0), float64(n.sensitivity.LInf)
		if s == Disjoint {
			mu, cells = mu*math.Sqrt(times), cells*times
		} else {
			mu, cells, by = mu*times, cells*times, by*times
		}
		cut, left := cutDelta(cells, by, n.scale), cost.Delta
		if cut <= cost.Delta/2 {
			left -= cut
		} else {
			cost.Delta = min(cost.Delta+cut, 1)
		}
		cost.Epsilon = max(cost.Epsilon, gaussianEpsilon(mu, left))
	}
	if !(cost.Epsilon <= math.MaxFloat64) {
		return Budget{}, fmt.Errorf("compute group cost: no finite epsilon holds for %d times the reach", m)
	}
	return cost, nil
}

func checkGroup(m int, s Shape) error {
	if m < 1 {
		return errors.New("compute group cost: give a group size of at least 1")
	}
	if s != Disjoint && s != Summed {
		return fmt.Errorf("compute group cost: shape %d is neither Disjoint nor Summed", s)
	}
	return nil
}

// Add adds independent noise to every value, in place. Values, noise and sums
// saturate at ±2⁶² and never wrap; no error depends on a value.
//
// random gives the 32 bytes that seed the discrete mechanisms: the same bytes
// give the same noise, whatever the number of processors. nil means crypto/rand
// and is right everywhere but in tests: whoever knows the seed knows the noise.
// Laplace and Gaussian take no seed: Google's library reads crypto/rand itself.
//
// If random fails or ctx ends, Add returns the error and all values are zero: a
// vector noised in part is never left behind.
func (n Noise) Add(ctx context.Context, values []int64, random io.Reader) (err error) {
	defer func() {
		if err != nil {
			clear(values)
			err = fmt.Errorf("add noise: %w", err)
		}
	}()
	fill, err := n.filler(random)
	if err != nil {
		return err
	}
	g, group := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i := 0; i*chunk < len(values); i++ {
		if group.Err() != nil {
			break
		}
		part := values[i*chunk : min((i+1)*chunk, len(values))]
		g.Go(func() error { return fill(group, i, part) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return ctx.Err()
}

// filler returns the function that adds noise to chunk number i.
func (n Noise) filler(random io.Reader) (func(ctx context.Context, i int, part []int64) error, error) {
	discrete := func(sample func(scale, draws) int64) (func(context.Context, int, []int64) error, error) {
		st, err := newStreams(random)
		return func(ctx context.Context, i int, part []int64) error {
			d := st.chunk(i)
			for k := range part {
				part[k] = addSaturated(part[k], sample(n.exact, d))
			}
			return ctx.Err()
		}, err
	}
	// Google's noise goes on zero, so that its own unchecked sum cannot wrap.
	google := func(sample func() (int64, error)) (func(context.Context, int, []int64) error, error) {
		return func(ctx context.Context, _ int, part []int64) error {
			for k := range part {
				if err := ctx.Err(); err != nil {
					return err
				}
				x, err := sample()
				if err != nil {
					return err
				}
				part[k] = addSaturated(part[k], x)
			}
			return nil
		}, nil
	}
	p, s := n.params, n.sensitivity
	switch n.mechanism {
	case DiscreteLaplace:
		return discrete(discreteLaplace)
	case DiscreteGaussian:
		return discrete(discreteGaussian)
	case Laplace:
		// One "partition" that moves by Δ₁: their product is Δ₁ and cannot overflow.
		return google(func() (int64, error) { return noise.Laplace().AddNoiseInt64(0, 1, s.L1, p.Epsilon, 0) })
	case Gaussian:
		// Δ₂² "partitions" that move by 1: √Δ₂²·1 = Δ₂.
		return google(func() (int64, error) {
			return noise.Gaussian().AddNoiseInt64(0, s.L2Squared, 1, p.Epsilon, n.askDelta)
		})
	}
	return nil, errZeroNoise
}

// addSaturated returns x + y, with both and the sum cut to ±2⁶². Cutting x never
// moves two values further apart, so the sensitivity holds; cutting the sum is
// post-processing.
func addSaturated(x, y int64) int64 {
	return saturate(saturate(x) + min(saturate(y), maxSum-1)) // at most 2⁶³−1
}

func saturate(x int64) int64 { return min(max(x, -maxSum), maxSum) }
