package dp

import (
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
)

func laws() (all []law) {
	for _, m := range mechanisms {
		for _, b := range []float64{0.05, 0.3, 0.9, 1, 1.7, 2, 3.9, 4.1, 30, 99, 100.5, 400} {
			all = append(all, law{m, b})
		}
	}
	return all
}

// masses2 returns P(X = 0), P(X = 1), … summed by hand from pmf.
func masses2(l law) (p []float64) {
	z := 1.0
	if l.mechanism == DiscreteGaussian { // pmf sums for every x: do it once
		z = pmf(l, 0)
	}
	for x := int64(0); float64(x) < 60*l.scale+3; x++ {
		if l.mechanism == DiscreteGaussian {
			p = append(p, z*math.Exp(-square(float64(x)/l.scale)/2))
		} else {
			p = append(p, pmf(l, x))
		}
	}
	return p
}

func TestLawAgainstItsMasses(t *testing.T) {
	for _, l := range laws() {
		t.Run(fmt.Sprint(l), func(t *testing.T) {
			p := masses2(l)
			sum := func(f func(x float64) float64) float64 {
				s := p[0] * f(0)
				for x := 1; x < len(p); x++ {
					s += p[x] * (f(float64(x)) + f(-float64(x)))
				}
				return s
			}
			assert.InDelta(t, 1, sum(func(float64) float64 { return 1 }), 1e-9)
			if v := sum(func(x float64) float64 { return x * x }); v > 1e-12 {
				assert.InEpsilon(t, v, l.variance(), 1e-9)
			}
			for _, h := range []float64{0, 1, math.Floor(l.scale), math.Floor(4 * l.scale)} {
				want := sum(func(x float64) float64 {
					if math.Abs(x) > h {
						return 1
					}
					return 0
				})
				assert.InDelta(t, want, l.tail(h), 1e-12, "h = %g", h)
			}
			for _, u := range []float64{0, 0.01, 0.5, 2, math.Pi} {
				for _, w := range []float64{u, u / l.scale} {
					if w > math.Pi {
						continue
					}
					want := sum(func(x float64) float64 { return math.Cos(w * x) })
					assert.InDelta(t, want, l.cf(w), 1e-12, "t = %g", w)
				}
			}
			for _, f := range []float64{0.01, 0.3, 0.6} {
				theta := f * l.maxTheta()
				want := math.Log(sum(func(x float64) float64 { return math.Exp(theta * x) }))
				got := l.logMGF(theta)
				assert.GreaterOrEqual(t, got, want-1e-9, "θ = %g", theta)
				assert.LessOrEqual(t, got, want+theta/2+1e-6*(1+math.Abs(want)), "θ = %g", theta)
			}
		})
	}
}

func TestTailFarOut(t *testing.T) {
	assert.InEpsilon(t, 2*math.Exp(-500)/(1+math.Exp(-1)), law{DiscreteLaplace, 1}.tail(499), 1e-12, "no cancellation")
	assert.InEpsilon(t, math.Erfc(30.05/math.Sqrt2), law{Gaussian, 10}.tail(300), 1e-12)
	a, b := law{DiscreteGaussian, 99.9999}, law{DiscreteGaussian, 100}
	for _, h := range []float64{0, 10, 200, 500} {
		assert.InEpsilon(t, a.tail(h), b.tail(h), 1e-4, "the two ways to sum meet")
	}
}
