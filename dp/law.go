package dp

import "math"

// law is the distribution on the integers that a mechanism really samples, in
// closed form: symmetric about 0, of parameter b (the Laplace ones) or σ.
//
// Google's noise is a continuous law rounded to the nearest integer: P(|X| > h) is
// that of |x| ≥ h + 1/2 (its own lattice is finer than 2⁻³⁹ of the scale).
type law struct {
	mechanism Mechanism
	scale     float64
}

func (n Noise) law() law { return law{n.mechanism, n.scale} }

// variance returns E X².
func (l law) variance() float64 {
	b := l.scale
	switch l.mechanism {
	case DiscreteLaplace:
		// q = exp(−1/b): 2q/(1−q)².
		p := -math.Expm1(-1 / b)
		return 2 * math.Exp(-1/b) / (p * p)
	case Laplace:
		// Σ (2h+1)·P(|X| > h) = √q·(1+q)/(1−q)².
		p := -math.Expm1(-1 / b)
		return math.Exp(-0.5/b) * (2 - p) / (p * p)
	case DiscreteGaussian:
		if b >= 2 { // Poisson summation: σ² but for exp(−2π²σ²) < 1e-34
			return b * b
		}
		var sum, all float64
		for x, p := range l.masses() {
			sum += 2 * float64(x) * float64(x) * p
			all += 2 * p
		}
		return sum / (all - l.masses()[0])
	case Gaussian:
		if b >= 2 { // Sheppard: σ² + 1/12 but for exp(−2π²σ²)
			return b*b + 1.0/12
		}
		sum := 0.0
		for x, p := range l.masses() {
			sum += 2 * float64(x) * float64(x) * p
		}
		return sum
	}
	return 0
}

// masses returns P(X = 0), P(X = 1), … of a Gaussian law of small σ, as far as
// they matter; for DiscreteGaussian not normalised.
func (l law) masses() []float64 {
	p := make([]float64, int(20*l.scale)+3)
	for x := range p {
		if l.mechanism == DiscreteGaussian {
			p[x] = math.Exp(-square(float64(x)/l.scale) / 2)
		} else {
			p[x] = (math.Erfc((float64(x)-0.5)/l.scale/math.Sqrt2) - math.Erfc((float64(x)+0.5)/l.scale/math.Sqrt2)) / 2
		}
	}
	return p
}

// tail returns P(|X| > h), h ≥ 0.
func (l law) tail(h float64) float64 {
	switch l.mechanism {
	case DiscreteLaplace:
		return 2 * math.Exp(-(h+1)/l.scale) / (1 + math.Exp(-1/l.scale))
	case Laplace:
		return math.Exp(-(h + 0.5) / l.scale)
	case Gaussian:
		return math.Erfc((h + 0.5) / l.scale / math.Sqrt2)
	}
	s := l.scale
	if s >= 100 {
		// Euler–Maclaurin about the midpoints, with f the normal density and
		// z = (h+1/2)/σ: ∫f + f′/24 − 7·f‴/5760, f′ = −z·φ/σ², f‴ = −(z³−3z)·φ/σ⁴.
		// The next term is below 1e-15.
		z := (h + 0.5) / s
		phi := math.Exp(-z*z/2) / math.Sqrt(2*math.Pi)
		return math.Erfc(z/math.Sqrt2) + 2*phi*(-z/(24*s*s)+7*(z*z*z-3*z)/(5760*s*s*s*s))
	}
	var out, in float64
	for x := 0.0; x <= 40*s+2; x++ { // exp(−800) is nothing
		p := 2 * math.Exp(-square(x/s)/2)
		if x == 0 {
			p = 1
		}
		if x > h {
			out += p
		} else {
			in += p
		}
	}
	return out / (in + out)
}

// spread is A = 4q/(1−q)², q = exp(−1/b): the variance of a discrete Laplace,
// doubled.
func (l law) spread() float64 { return 1 / square(math.Sinh(0.5/l.scale)) }

// cf returns the characteristic function E cos(tX), 0 ≤ t ≤ π.
//
// Discrete Laplace: 1/(1 + A·sin²(t/2)). Rounded Laplace, with w = √q:
// ((1+w)² − 2w·sin²(t/2)) / ((1+w)²·(1 + A·sin²(t/2))), from summing the
// geometric series of its masses exp(−x/b)·sinh(1/2b). The Gaussian ones by Poisson
// summation of exp(−σ²u²/2), times sin(u/2)/(u/2) where rounded, over
// u = t + 2πk; or, for small σ, by summing the masses.
func (l law) cf(t float64) float64 {
	switch l.mechanism {
	case DiscreteLaplace:
		return 1 / (1 + l.spread()*square(math.Sin(t/2)))
	case Laplace:
		s2, w := square(math.Sin(t/2)), math.Exp(-0.5/l.scale)
		return (1 - 2*w*s2/square(1+w)) / (1 + l.spread()*s2)
	}
	if l.scale < 1 {
		var sum, all float64
		for x, p := range l.masses() {
			if x > 0 {
				p *= 2
			}
			sum += p * math.Cos(float64(x)*t)
			all += p
		}
		return sum / all
	}
	var sum, all float64
	for k := -2.0; k <= 2; k++ {
		u := t + 2*math.Pi*k
		g := math.Exp(-square(l.scale*u) / 2)
		if l.mechanism == DiscreteGaussian {
			all += math.Exp(-square(l.scale*2*math.Pi*k) / 2)
		} else if u != 0 {
			g *= math.Sin(u/2) / (u / 2)
		}
		sum += g
	}
	if l.mechanism == DiscreteGaussian {
		sum /= all
	}
	return sum
}

// logMGF returns an upper bound of ln E exp(θX), 0 < θ < maxTheta.
func (l law) logMGF(theta float64) float64 {
	switch l.mechanism {
	case DiscreteLaplace, Laplace:
		s2, w := square(math.Sinh(theta/2)), math.Exp(-0.5/l.scale)
		m := -math.Log1p(-l.spread() * s2)
		if l.mechanism == Laplace {
			m += math.Log1p(2 * w * s2 / square(1+w))
		}
		return m
	}
	if l.scale < 4 {
		var sum, all float64
		for x, p := range l.masses() {
			if x > 0 {
				p *= 2
			}
			sum += p * math.Cosh(theta*float64(x))
			all += p
		}
		return math.Log(sum / all)
	}
	m := square(l.scale*theta) / 2 // discrete Gaussians are sub-Gaussian: CKS 2020, Fact 25
	if l.mechanism == Gaussian {
		m += theta / 2 // rounding moves by at most 1/2
	}
	return m
}

func (l law) maxTheta() float64 {
	if l.mechanism == DiscreteLaplace || l.mechanism == Laplace {
		return 1 / l.scale
	}
	return 10 / l.scale
}

func square(x float64) float64 { return x * x }
