package dp

import "math"

// factors returns every loss but the Gaussian ones under the plan's tilt, from below and from above: both are
// the same unless laws on many points were merged.
func (p pld) factors(w plan) (lower, upper []factor, merged bool) {
	uses := 0.0
	for _, u := range p.uses {
		if u.kind == Skellam {
			uses += u.count
		}
	}
	for _, u := range p.uses {
		f := factor{count: u.count, reach: u.a, curve: u.curve}
		switch u.kind {
		case Gaussian:
			continue
		case PureDP:
			f.centre, f.at = u.a, u.pureAt(w.theta)
		case Laplace:
			f.centre, f.at = u.a, u.laplaceAt(w.theta)
		case DiscreteLaplace:
			f.centre, f.reach, f.at = u.sup(), 2*u.sup(), u.discreteLaplaceAt(w.theta)
		case DiscreteGaussian:
			s := float64(u.shift)
			f.centre, f.reach, f.at = (w.theta+0.5)*square(s/u.a), 6*s/u.a, u.discreteGaussianAt(w.theta)
		default:
			var t *table
			t, f.lost = u.law.trim(w.theta, w.tail)
			// A stretch of h adds less than h²/4 to the variance, or takes as much away.
			h := math.Sqrt(w.smooth / uses)
			below, above := t.merge(h, false), t.merge(h, true)
			merged = merged || len(above.losses) < len(t.losses)
			lower, upper = append(lower, f.tilted(below, w.theta)), append(upper, f.tilted(above, w.theta))
			continue
		}
		lower, upper = append(lower, f), append(upper, f)
	}
	return lower, upper, merged
}

// tilted is f with the tilted law of a table.
func (f factor) tilted(t *table, theta float64) factor {
	k := t.curve(theta)
	f.curve = t.curve
	f.losses, f.masses = t.losses, make([]float64, len(t.losses))
	f.centre, f.reach = 0, 0
	for i, l := range t.losses {
		f.masses[i] = math.Exp(t.logP[i] + theta*l - k)
		f.centre += f.masses[i] * l
	}
	for i, l := range t.losses {
		f.reach += f.masses[i] * math.Abs(l-f.centre)
	}
	return f
}

// pureAt: e^{−za}·M(z) = (1 + e^{−(2z+1)a})/(1 + e^{−a}).
func (l loss) pureAt(theta float64) func(t float64) (re, im float64) {
	x := math.Exp(-(2*theta + 1) * l.a)
	return func(t float64) (re, im float64) {
		sin, cos := math.Sincos(-2 * t * l.a)
		return (1 + x*cos) / (1 + x), x * sin / (1 + x)
	}
}

// laplaceAt: e^{−za}·M(z) = ((z+1) + z·e^{−(2z+1)a})/(2z+1).
func (l loss) laplaceAt(theta float64) func(t float64) (re, im float64) {
	c := 2*theta + 1
	x := math.Exp(-c * l.a)
	norm := c / (theta + 1 + theta*x)
	return func(t float64) (re, im float64) {
		sin, cos := math.Sincos(-2 * t * l.a)
		sin, cos = x*sin, x*cos
		nRe, nIm := theta+1+theta*cos-t*sin, t+theta*sin+t*cos
		k := norm / (c*c + 4*t*t)
		return (nRe*c + 2*nIm*t) * k, (nIm*c - 2*nRe*t) * k
	}
}

// discreteLaplaceAt: with q = e^{−a} and X = e^{−(2z+1)a}, e^{−zas}·M(z) is
// (1 + X^s)/(1+q) + (1−q)/(1+q)·(X − X^s)/(1 − X).
func (l loss) discreteLaplaceAt(theta float64) func(t float64) (re, im float64) {
	s := float64(l.shift)
	c := -(2*theta + 1) * l.a
	middle := -math.Expm1(-l.a)
	x, xs := math.Exp(c), math.Exp(c*s)
	norm := 1 / (1 + xs + middle*x*math.Expm1(c*(s-1))/math.Expm1(c))
	return func(t float64) (re, im float64) {
		angle := -2 * t * l.a
		// (1 − X^{s−1})/(1 − X)
		nRe, nIm := complexExpm1(c*(s-1), angle*(s-1))
		dRe, dIm := complexExpm1(c, angle)
		k := 1 / (dRe*dRe + dIm*dIm)
		nRe, nIm = (nRe*dRe+nIm*dIm)*k, (nIm*dRe-nRe*dIm)*k
		sin, cos := math.Sincos(angle)
		sinS, cosS := math.Sincos(angle * s)
		re = 1 + xs*cosS + middle*x*(nRe*cos-nIm*sin)
		im = xs*sinS + middle*x*(nRe*sin+nIm*cos)
		return re * norm, im * norm
	}
}

// complexExpm1 returns e^{x+iy} − 1, without cancellation near 0.
func complexExpm1(x, y float64) (re, im float64) {
	sin, cos := math.Sincos(y)
	half := math.Sin(y / 2)
	return math.Expm1(x)*cos - 2*half*half, math.Exp(x) * sin
}

// discreteGaussianAt: the tilted law is that of x − b with weights e^{−(x−b)²/2σ²}, b = zs, x whole, in
// steps of s/σ². With v = ts/σ² its transform is Σ e^{−(x−b)²/2σ² + iv(x−b)}, by Poisson's
// summation σ√2π·Σ e^{−σ²(2πk−v)²/2 − 2πikb}.
func (l loss) discreteGaussianAt(theta float64) func(t float64) (re, im float64) {
	sigma, b := l.a, theta*float64(l.shift)
	b -= math.Floor(b)
	step := float64(l.shift) / (sigma * sigma)
	if sigma < 1 {
		var at, weight []float64
		sum := 0.0
		for x := math.Ceil(b - 1 - 10*sigma); x <= b+1+10*sigma; x++ { // others are below e^{−50} of the largest
			w := math.Exp((square(math.Min(b, 1-b)) - square(x-b)) / (2 * sigma * sigma))
			at, weight, sum = append(at, x-b), append(weight, w), sum+w
		}
		return func(t float64) (re, im float64) {
			for i, x := range at {
				sin, cos := math.Sincos(t * step * x)
				re += weight[i] * cos
				im += weight[i] * sin
			}
			return re / sum, im / sum
		}
	}
	sum := func(v float64) (re, im float64) {
		near := math.Round(v / (2 * math.Pi))
		for k := near - 2; k <= near+2; k++ { // beyond: below e^{−σ²(5π)²/2}
			g := math.Exp(-square(sigma*(2*math.Pi*k-v)) / 2)
			if g < 1e-22 {
				continue
			}
			turn := k * b
			sin, cos := math.Sincos(-2 * math.Pi * (turn - math.Floor(turn)))
			re += g * cos
			im += g * sin
		}
		return re, im
	}
	norm, _ := sum(0)
	return func(t float64) (re, im float64) {
		re, im = sum(t * step)
		return re / norm, im / norm
	}
}

// merge joins the atoms of each stretch of at most h. From above their mass is moved to the ends of
// the stretch so that E e^{−L} is kept too: a spread of e^{−L}, of which (1 − e^ε·e^{−L})₊ is
// a convex function. From below they are moved to the one place that keeps it (Jensen).
func (t *table) merge(h float64, upper bool) *table {
	out := &table{}
	add := func(x, logP float64) {
		if !math.IsInf(logP, -1) {
			out.losses, out.logP = append(out.losses, x), append(out.logP, logP)
		}
	}
	for i := 0; i < len(t.losses); {
		j := i + 1
		for j < len(t.losses) && t.losses[j]-t.losses[i] <= h {
			j++
		}
		first, width := t.losses[i], t.losses[j-1]-t.losses[i]
		if j-i < 3 {
			for k := i; k < j; k++ {
				add(t.losses[k], t.logP[k])
			}
			i = j
			continue
		}
		mass, drop := 0.0, 0.0 // Σp and Σp·(1 − e^{first−L}), relative to the first
		for k := i; k < j; k++ {
			p := math.Exp(t.logP[k] - t.logP[i])
			mass += p
			drop -= p * math.Expm1(first-t.losses[k])
		}
		if upper {
			up := min(drop/-math.Expm1(-width), mass)
			add(first, t.logP[i]+math.Log(mass-up))
			add(first+width, t.logP[i]+math.Log(up))
		} else {
			add(first-math.Log1p(-drop/mass), t.logP[i]+math.Log(mass))
		}
		i = j
	}
	return out
}
