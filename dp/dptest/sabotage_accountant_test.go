package dptest_test

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/larder-dp/larder/dp"
	"github.com/larder-dp/larder/dp/dptest"
)

// toyAccountant adds ε and δ up, and composes Gaussians exactly: right until one of its
// faults is switched on.
func toyAccountant(fault string) dptest.AccountantKit {
	remembered := map[string]float64{}
	compose := func(events ...dp.Event) (dptest.Curve, error) {
		var epsilon, delta, mu2 float64
		if fault == "events that are equal are one" {
			events = slices.CompactFunc(slices.Clone(events), func(a, b dp.Event) bool { return fmt.Sprint(a) == fmt.Sprint(b) })
		}
		for i, e := range events {
			switch fault {
			case "open on NaN":
				if e.Scale < 0 || e.Epsilon < 0 || e.Delta < 0 || e.Delta >= 1 || e.Count < 1 || math.IsInf(e.Scale+e.Epsilon+e.Sensitivity+e.Delta, 0) || e.Sensitivity < 0 {
					return dptest.Curve{}, errors.New("out of range")
				}
			case "a negative count is a refund":
				if e.Count < 1 {
					break
				}
				fallthrough
			default:
				if err := e.Validate(); err != nil {
					return dptest.Curve{}, err
				}
			}
			n := float64(e.Count)
			switch {
			case fault == "count ignored",
				fault == "count ignored for Gaussians" && e.Mechanism == dp.Gaussian,
				fault == "count ignored for selections" && e.Mechanism == dp.PartitionSelection:
				n = 1
			case fault == "count squared":
				n *= n
			case fault == "advanced composition without its square root" && n > 4:
				n = math.Sqrt(n)
			case fault == "parallel composition of the same data" && i > 0 && events[i-1].Mechanism == e.Mechanism:
				n = 0
			case fault == "the last event is not counted" && i > 0 && i == len(events)-1:
				n = 0
			case fault == "of equal events the last one's count" && slices.ContainsFunc(events[i+1:], func(o dp.Event) bool {
				return o.Mechanism == e.Mechanism && o.Scale == e.Scale && o.Epsilon == e.Epsilon
			}):
				n = 1
			case fault == "a count above 32 is cut":
				n = min(n, 32)
			case fault == "counts in 32 bits":
				n = float64(uint32(e.Count))
			case fault == "scales are rounded up to the next tenth":
				e.Scale = math.Ceil(e.Scale*10.001) / 10
			case fault == "remembered without its sensitivity" && e.Mechanism == dp.Gaussian:
				key := fmt.Sprint(e.Scale, e.Count)
				if _, ok := remembered[key]; !ok {
					remembered[key] = e.Sensitivity + e.L2
				}
				e.Sensitivity, e.L2 = remembered[key], 0
			case fault == "what a Gaussian's cut gives away is forgotten" && e.Mechanism == dp.Gaussian:
				e.Delta = 0
			}
			switch e.Mechanism {
			case dp.Gaussian:
				d := e.Sensitivity + e.L2
				switch fault {
				case "σ² taken as σ":
					mu2 += n * d * d / e.Scale
				case "Gaussians are added by σ":
					mu2 = math.Pow(math.Sqrt(mu2)+math.Sqrt(n)*d/e.Scale/2, 2)
				case "sensitivity ignored":
					mu2 += n / (e.Scale * e.Scale)
				default:
					mu2 += n * d * d / (e.Scale * e.Scale)
				}
				delta += n * e.Delta
			case dp.PureDP:
				epsilon += n * e.Epsilon
			case dp.ApproxDP, dp.PartitionSelection:
				epsilon += n * e.Epsilon
				if fault == "δ of composed claims is the largest" {
					delta = max(delta, e.Delta)
				} else {
					delta += n * e.Delta
				}
			default:
				return dptest.Curve{}, errors.New("unknown mechanism")
			}
		}
		curve := func(eps float64) float64 {
			if mu2 == 0 {
				if eps >= epsilon*(1-1e-15) {
					return delta
				}
				return min(delta-math.Expm1(eps-epsilon), 1)
			}
			d := delta + gaussianDelta(math.Sqrt(mu2), eps-epsilon)*(1+1e-12)
			if fault == "the second term of the Gaussian's δ is forgotten" {
				d = delta + math.Exp(-(eps-epsilon)*(eps-epsilon)/2/mu2)/100
			}
			return min(d, 1)
		}
		return dptest.Curve{
			Delta: func(eps float64) (float64, float64, error) {
				if !(eps >= 0) && (fault != "open on NaN" || !math.IsNaN(eps)) {
					return 0, 0, errors.New("out of range")
				}
				return 0, curve(eps), nil
			},
			Epsilon: func(at float64) (lo, hi float64, err error) {
				if !(at >= 0 && at < 1) && (fault != "open on NaN" || !math.IsNaN(at)) {
					return 0, 0, errors.New("out of range")
				}
				if at == 0 {
					switch {
					case fault == "δ = 0 read as unset":
						at = 1e-5
					case mu2 > 0 || delta > 0:
						return 0, math.Inf(1), nil
					default:
						return 0, epsilon, nil
					}
				}
				if at < delta {
					return 0, math.Inf(1), nil
				}
				lo, hi = 0, 1e6
				for range 200 {
					if mid := (lo + hi) / 2; curve(mid) > at {
						lo = mid
					} else {
						hi = mid
					}
				}
				switch fault {
				case "rounded to three digits":
					hi = math.Round(hi*1000) / 1000
				case "optimistic by 10⁻⁷":
					hi *= 1 - 1e-7
				case "a bracket that is turned round":
					return hi, hi * (1 - 1e-6), nil
				case "at most what a default allows":
					hi = min(hi, 1)
				case "nothing is lost from δ = 0.1":
					if at >= 0.1 {
						hi = 0
					}
				case "advanced composition without its second term":
					if len(events) == 1 && events[0].Mechanism == dp.PureDP {
						hi = min(hi, events[0].Epsilon*math.Sqrt(2*float64(events[0].Count)*math.Log(1/at)))
					}
				}
				return 0, hi, nil
			},
		}, nil
	}
	return dptest.AccountantKit{
		Compose: compose, Mechanisms: []dp.Mechanism{dp.Gaussian, dp.PureDP, dp.ApproxDP, dp.PartitionSelection},
		SmallestScale: func(e dp.Event, target dp.Budget) (float64, error) {
			open := fault == "a target that is NaN is kept" && (math.IsNaN(target.Epsilon) || math.IsNaN(target.Delta))
			if (!(target.Epsilon > 0 && target.Epsilon < 1e9) || !(target.Delta > 0 && target.Delta < 1)) && !open {
				return 0, errors.New("out of range")
			}
			lo, hi := 1e-3, 1e6
			for hi-lo > 1e-9*hi {
				mid := (lo + hi) / 2
				mu := e.Sensitivity / mid * math.Sqrt(float64(e.Count))
				if fault == "calibrated for one of all uses" {
					mu = e.Sensitivity / mid
				}
				if gaussianDelta(mu, target.Epsilon) > target.Delta {
					lo = mid
				} else {
					hi = mid
				}
			}
			switch fault {
			case "the bisection returns the side that fails":
				return lo * (1 - 1e-9), nil
			case "the scale is rounded to three digits":
				return math.Round(hi*1000) / 1000, nil
			case "the classic formula beyond its range":
				return e.Sensitivity * math.Sqrt(float64(e.Count)) * math.Sqrt(2*math.Log(1.25/target.Delta)) / target.Epsilon, nil
			}
			return hi, nil
		},
	}
}

func gaussianDelta(mu, epsilon float64) float64 {
	phi := func(x float64) float64 { return math.Erfc(-x/math.Sqrt2) / 2 }
	return math.Max(phi(mu/2-epsilon/mu)-math.Exp(epsilon)*phi(-mu/2-epsilon/mu), 0)
}

func accountants() (builds []dptest.Sabotage) {
	for _, row := range [][2]string{
		{"count ignored", "known bugs"},
		{"count ignored for Gaussians", "known bugs"},
		{"count ignored for selections", "known bugs"},
		{"the last event is not counted", "off by one"},
		{"parallel composition of the same data", "known bugs"},
		{"advanced composition without its square root", "a formula of another regime"},
		{"δ of composed claims is the largest", "known bugs"},
		{"σ² taken as σ", "known bugs"},
		{"Gaussians are added by σ", "known bugs: variances add up"},
		{"sensitivity ignored", "known bugs"},
		{"the second term of the Gaussian's δ is forgotten", "a tail bound for the law"},
		{"rounded to three digits", "known bugs: optimistic rounding"},
		{"optimistic by 10⁻⁷", "Google's and Microsoft's upper bounds at δ below 1e-12"},
		{"a bracket that is turned round", "known bugs"},
		{"at most what a default allows", "known bugs"},
		{"events that are equal are one", "parallel composition of the same data"},
		{"a count above 32 is cut", "known bugs"},
		{"of equal events the last one's count", "merged by their parameters"},
		{"counts in 32 bits", "known bugs"},
		{"scales are rounded up to the next tenth", "known bugs: optimistic rounding"},
		{"remembered without its sensitivity", "a cache whose key lacks a field"},
		{"what a Gaussian's cut gives away is forgotten", "Google's library v3.0.0, fault 8"},
		{"nothing is lost from δ = 0.1", "a shortcut"},
		{"advanced composition without its second term", "Dwork, Rothblum, Vadhan 2010, for many uses"},
		{"δ = 0 read as unset", "known bugs"},
		{"open on NaN", "known bugs: NaN > budget is false"},
		{"a negative count is a refund", "known bugs: fail-open on negative"},
		{"a target that is NaN is kept", "known bugs"},
		{"calibrated for one of all uses", "known bugs"},
		{"the bisection returns the side that fails", "known bugs"},
		{"the scale is rounded to three digits", "known bugs"},
		{"the classic formula beyond its range", "Balle, Wang 2018: Dwork, Roth 2014, Theorem A.1 for ε above 1"},
	} {
		builds = append(builds, dptest.Sabotage{Name: "accountant: " + row[0], Source: row[1], Check: func() error {
			return dptest.CheckAccountant(toyAccountant(row[0]))
		}})
	}
	return append(builds, dptest.Sabotage{Name: "accountant: a discrete Gaussian taken as a Gaussian", Source: "at σ=1, δ=1e-5 the truth is 4.430, the formula says 4.377", Check: func() error {
		kit := toyAccountant("")
		gaussians := kit.Compose
		kit.Compose = func(events ...dp.Event) (dptest.Curve, error) {
			events = slices.Clone(events)
			for i, e := range events {
				if e.Mechanism != dp.DiscreteGaussian {
					return dptest.Curve{}, fmt.Errorf("no %s", e.Mechanism)
				}
				events[i].Mechanism = dp.Gaussian
			}
			return gaussians(events...)
		}
		kit.SmallestScale, kit.Mechanisms = nil, []dp.Mechanism{dp.DiscreteGaussian}
		return dptest.CheckAccountant(kit)
	}})
}
