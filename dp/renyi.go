package dp

import (
	"errors"
	"math"
)

// A renyi is a mechanism of which only a bound on its Rényi divergence is known:
// zCDP, a vector under discrete Gaussian or Skellam noise, or a list of points.
type renyi struct {
	rho              float64 // ε(α) ≤ ρα, Bun and Steinke 2016, Definition 1.1
	l1, l2, variance float64 // Skellam, if variance > 0
	orders, bounds   []float64
	count            float64
}

// at returns the bound on the Rényi divergence of order α of one use, +Inf where
// none is known.
//
// Skellam, Agarwal, Kairouz, Liu 2021 (arXiv 2110.04995), Theorem 3.5 and Corollary
// 3.6, at whole α > 1, with μ the variance:
//
//	αΔ₂²/(2μ) + min(((2α−1)Δ₂² + 6Δ₁)/(4μ²), 3Δ₁/(2μ))
//
// The divergence does not fall as α grows: between known orders the next one holds.
func (r renyi) at(alpha float64) float64 {
	switch {
	case r.variance > 0:
		a, v, d2 := math.Ceil(max(alpha, 2)), r.variance, r.l2*r.l2
		return a*d2/(2*v) + min(((2*a-1)*d2+6*r.l1)/(4*v*v), 3*r.l1/(2*v))
	case r.orders != nil:
		best := math.Inf(1)
		for i, o := range r.orders {
			if o >= alpha {
				best = min(best, r.bounds[i])
			}
		}
		return best
	}
	return r.rho * alpha
}

// renyiEpsilon returns the ε that a Rényi divergence of d at order α gives at δ.
//
// Canonne, Kamath, Steinke 2020, Proposition 12:
// ε = d + ln(1 − 1/α) − ln(αδ)/(α−1), not below 0. And if the total variation distance, by
// Bretagnolle and Huber 1979 at most √(1 − e^{−d}), is at most δ, then ε = 0.
func renyiEpsilon(alpha, d, delta float64) float64 {
	if delta > 0 && delta*delta >= -math.Expm1(-d) {
		return 0
	}
	if !(alpha > 1) || math.IsInf(d, 1) {
		return math.Inf(1)
	}
	return max(d+math.Log1p(-1/alpha)-math.Log(alpha*delta)/(alpha-1), 0)
}

// renyiDelta is Proposition 12 solved for δ, or the bound on the total variation.
func renyiDelta(alpha, d, epsilon float64) float64 {
	if math.IsInf(d, 1) {
		return 1
	}
	tv := math.Sqrt(-math.Expm1(-d))
	a := alpha - 1
	if !(a > 0) {
		return tv
	}
	return min(math.Exp(a*(d-epsilon)-logPlain(a)), tv)
}

// divergence bounds the Rényi divergence of order α of the whole composition from above;
// err is twice what rounding may have added.
func (a *Accountant) divergence(alpha float64) (d, err float64) {
	if a.lostHi > 0 {
		return math.Inf(1), 0
	}
	// For tiny z = α − 1, K(z)/z is nearly K′(0), and rounding grows: a larger order
	// bounds a smaller one.
	z := max(alpha-1, 1e-4)
	for _, u := range a.whole().uses {
		d += u.count * max(u.curve(z), 0) / z
		err += u.count * 8 * ulp / z
	}
	for _, r := range a.renyi {
		d += r.count * r.at(alpha)
	}
	err += d * 1e-13
	return d + err, 2 * err
}

// RDP brackets the Rényi divergence of the given order, from 1.0001 up. Where only a
// bound is known (zCDP, vectors under discrete Gaussian or Skellam noise) it is the
// bound. It is infinite if any event has a δ.
func (a *Accountant) RDP(order float64) (Bracket, error) {
	if !(order >= 1.0001 && order <= 1e9) {
		return Bracket{}, errors.New("compute Rényi divergence: give an order from 1.0001 to 1e9")
	}
	d, err := a.divergence(order)
	return a.bracket(max(d-err, 0), d, "renyi", Proof{Order: order}, len(a.renyi) == 0), nil
}

// orders are those tried in a conversion: whole ones for Skellam, those of the lists
// where there is one, and all others from a grid, refined later.
func (a *Accountant) orders() []float64 {
	var orders []float64
	for _, r := range a.renyi {
		orders = append(orders, r.orders...)
	}
	if orders != nil {
		return orders
	}
	for i := 2.0; i <= 256; i++ {
		orders = append(orders, i)
	}
	for i := 256.0; i < 1e7; i *= 1.05 {
		orders = append(orders, math.Ceil(i))
	}
	for u := -9.0; u < 8; u += 0.05 {
		orders = append(orders, 1+math.Exp(u))
	}
	return orders
}

// best returns the least value of f over the orders, with its order. Where any order is
// allowed it closes in on the best one.
func (a *Accountant) best(f func(alpha, d float64) float64) (value, order float64) {
	at := func(order float64) float64 { d, _ := a.divergence(order); return f(order, d) }
	value = math.Inf(1)
	for _, o := range a.orders() {
		if v := at(o); v < value || order == 0 {
			value, order = v, o
		}
	}
	for _, r := range a.renyi {
		if r.orders != nil {
			return value, order
		}
	}
	for step := 0.05; step > 1e-9; step /= 2 {
		for _, u := range []float64{-step, step} {
			o := 1 + (order-1)*math.Exp(u)
			if v := at(o); v < value {
				value, order = v, o
			}
		}
	}
	return value, order
}
