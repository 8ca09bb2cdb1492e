package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"github.com/larder-dp/larder/dp"
)

// A knownCase is a question to the accountant, as files of known answers put it. Fields that hold
// the answer are ignored. A case has an id, a kind, and
//
//	kinds that end in _eps, _delta    mechanisms, and delta (to ask for ε) or epsilon (for δ)
//	calibrate_gaussian, calibrate_gaussian_n, calibrate_laplace, calibrate_dlaplace
//	                                  epsilon, delta, sensitivity, count (1 if left out); the
//	                                  answer is the smallest σ, or scale b
//	zcdp_to_eps                       rho, delta
//	rdp_to_eps, rdp_to_delta          orders, rdp, and delta or epsilon
//	skellam_rdp_to_eps                variance, l1, l2, count, delta, orders ("2..128", or a list)
//	rdp, skellam_rdp, partition_selection_*
//	                                  have lists for answers and are passed over
//
// A mechanism has a type, a count, a sensitivity and its parameter: gaussian and discrete_gaussian
// sigma, laplace scale, discrete_laplace a = 1/scale, skellam variance, pure_dp epsilon,
// approx_dp epsilon and delta.
type knownCase struct {
	ID         string
	Kind       string
	Mechanisms []struct {
		Type                                            string
		Sigma, Sensitivity, Scale, A, Variance, Epsilon float64
		Delta                                           float64
		Count                                           int64
	}
	Epsilon, Delta, Sensitivity, Rho, Variance, L1, L2 float64
	Count                                              int64
	Orders                                             json.RawMessage
	RDP                                                []float64
}

// answerCases writes a line for every case whose answer is one number. A case that
// cannot be answered is left out, and is in the error.
func answerCases(file io.Reader, out io.Writer) error {
	var cases struct{ Cases []knownCase }
	if err := json.NewDecoder(file).Decode(&cases); err != nil {
		return fmt.Errorf("read cases: %w", err)
	}
	if len(cases.Cases) == 0 {
		return errors.New(`read cases: there is none: give {"cases": […]}, as examples/planner/cases.go describes`)
	}
	var failed []error
	for i, c := range cases.Cases {
		if c.isList() {
			continue
		}
		b, err := c.answer()
		if err != nil {
			failed = append(failed, fmt.Errorf("case %d (%s): %w", i, c.ID, err))
			continue
		}
		id, err := json.Marshal(c.ID)
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(out, "{\"id\":%s,\"lo\":%s,\"hi\":%s}\n", id, jsonNumber(b.Lo), jsonNumber(b.Hi)); err != nil {
			return fmt.Errorf("print answers: %w", err)
		}
	}
	return errors.Join(failed...)
}

// jsonNumber writes a number so that it reads back as the same one, null for +Inf.
func jsonNumber(x float64) string {
	if math.IsInf(x, 0) {
		return "null"
	}
	return strconv.FormatFloat(x, 'g', -1, 64)
}

func (c knownCase) isList() bool {
	return c.Kind == "rdp" || c.Kind == "skellam_rdp" || strings.HasPrefix(c.Kind, "partition_selection")
}

func (c knownCase) events() []dp.Event {
	var events []dp.Event
	for _, m := range c.Mechanisms {
		e := dp.Event{Mechanism: dp.Mechanism(m.Type), Sensitivity: m.Sensitivity, Count: m.Count}
		switch e.Mechanism {
		case dp.Gaussian, dp.DiscreteGaussian:
			e.Scale = m.Sigma
		case dp.Laplace:
			e.Scale = m.Scale
		case dp.DiscreteLaplace:
			e.Scale = 1 / m.A
		case dp.Skellam:
			e.Scale = math.Sqrt(m.Variance)
		default:
			e.Epsilon, e.Delta, e.Sensitivity = m.Epsilon, m.Delta, 0
		}
		events = append(events, e)
	}
	return events
}

// answer returns the bracket of a case whose answer is one number.
func (c knownCase) answer() (dp.Bracket, error) {
	events := c.events()
	switch c.Kind {
	case "calibrate_gaussian", "calibrate_gaussian_n":
		return c.calibrated(dp.Gaussian)
	case "calibrate_laplace":
		return c.calibrated(dp.Laplace)
	case "calibrate_dlaplace":
		return c.calibrated(dp.DiscreteLaplace)
	case "zcdp_to_eps":
		events = []dp.Event{{Mechanism: dp.ZCDP, Rho: c.Rho, Count: 1}}
	case "rdp_to_eps", "rdp_to_delta":
		orders, err := c.orders()
		if err != nil {
			return dp.Bracket{}, err
		}
		events = []dp.Event{{Mechanism: dp.Renyi, Orders: orders, Divergences: c.RDP, Count: 1}}
	case "skellam_rdp_to_eps":
		curve, err := c.skellamCurve()
		if err != nil {
			return dp.Bracket{}, err
		}
		events = []dp.Event{curve}
	default:
		if !strings.HasSuffix(c.Kind, "_eps") && !strings.HasSuffix(c.Kind, "_delta") {
			return dp.Bracket{}, fmt.Errorf("kind %q is none that the planner knows: examples/planner/cases.go lists them", c.Kind)
		}
	}
	a, err := dp.Compose(events...)
	switch {
	case err != nil:
		return dp.Bracket{}, err
	case strings.HasSuffix(c.Kind, "_eps"):
		return a.Epsilon(c.Delta)
	}
	return a.Delta(c.Epsilon)
}

// orders reads a list, or a range of whole orders as "2..128".
func (c knownCase) orders() ([]float64, error) {
	var list []float64
	if json.Unmarshal(c.Orders, &list) == nil && list != nil {
		return list, nil
	}
	var text string
	var from, to int
	if json.Unmarshal(c.Orders, &text) == nil {
		if _, err := fmt.Sscanf(text, "%d..%d", &from, &to); err == nil && from > 1 && from <= to && to < 1e6 {
			for o := from; o <= to; o++ {
				list = append(list, float64(o))
			}
			return list, nil
		}
	}
	return nil, errors.New(`orders: give a list of numbers, or a range such as "2..128"`)
}

// skellamCurve is the Rényi bound of Skellam noise on a vector at the case's own orders: a
// conversion over others could be better than what was asked.
func (c knownCase) skellamCurve() (dp.Event, error) {
	orders, err := c.orders()
	if err != nil {
		return dp.Event{}, err
	}
	a, err := dp.Compose(dp.Event{Mechanism: dp.Skellam, Scale: math.Sqrt(c.Variance), L1: c.L1, L2: c.L2, Count: max(c.Count, 1)})
	if err != nil {
		return dp.Event{}, err
	}
	curve := dp.Event{Mechanism: dp.Renyi, Orders: orders, Count: 1}
	for _, o := range orders {
		b, err := a.RDP(o)
		if err != nil {
			return dp.Event{}, err
		}
		curve.Divergences = append(curve.Divergences, b.Hi)
	}
	return curve, nil
}

// calibrated brackets the smallest parameter: at Hi the target is proved to be kept, at Lo to be
// missed.
func (c knownCase) calibrated(m dp.Mechanism) (dp.Bracket, error) {
	target := dp.Budget{Epsilon: c.Epsilon, Delta: c.Delta}
	e := dp.Event{Mechanism: m, Sensitivity: c.Sensitivity, Count: max(c.Count, 1)}
	scale, proof, err := dp.SmallestScale(e, target)
	if err != nil {
		return dp.Bracket{}, err
	}
	proof.Hi = scale
	for step := 1e-6; step < 1; step *= 2 {
		proof.Lo = scale * (1 - step)
		e.Scale = proof.Lo
		a, err := dp.Compose(e)
		if err != nil {
			return dp.Bracket{}, err
		}
		missed := false
		if target.Delta > 0 {
			b, err := a.Delta(target.Epsilon)
			missed = err == nil && b.Lo > target.Delta
		} else {
			b, err := a.Epsilon(0)
			missed = err == nil && b.Lo > target.Epsilon
		}
		if missed {
			return proof, nil
		}
	}
	proof.Lo = 0
	return proof, nil
}
