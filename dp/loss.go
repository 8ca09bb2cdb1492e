package dp

import "math"

// A loss is the privacy loss L = ln(P(y)/Q(y)), y ~ P, of one use of a mechanism,
// P being its output with the privacy unit and Q without. All losses here are
// symmetric: the one with P and Q exchanged has the same law, so one direction
// answers for both neighbouring relations.
//
// Its curve is K(z) = ln E exp(zL), which is z·D_{z+1}(P‖Q), the Rényi
// divergence of order z+1.
type loss struct {
	kind  Mechanism // Laplace, Gaussian, DiscreteLaplace, DiscreteGaussian, Skellam or PureDP
	a     float64   // ε of PureDP, s/b of Laplace, μ = s/σ of Gaussian, 1/b of DiscreteLaplace, σ, variance
	shift int64     // the sensitivity of a discrete mechanism, else 0
}

// A use is a loss with the number of its uses.
type use struct {
	loss
	count float64
	law   *table // of DiscreteLaplace and Skellam
}

const (
	// maxSteps and maxSpread keep the tables of the discrete laws below some
	// millions of entries. Beyond, a Rényi bound covers the mechanism.
	maxSteps  = 1 << 20
	maxSpread = 1e5
)

func newUse(l loss, count float64) use {
	u := use{loss: l, count: count}
	switch l.kind {
	case DiscreteLaplace:
		u.law = discreteLaplaceTable(l.a, l.shift)
	case Skellam:
		u.law = skellamTable(l.a, l.shift)
	}
	return u
}

// sup returns the largest value of L.
func (l loss) sup() float64 {
	switch l.kind {
	case Laplace, PureDP:
		return l.a
	case DiscreteLaplace:
		return l.a * float64(l.shift)
	}
	return math.Inf(1)
}

// logAdd returns ln(eˣ + eʸ).
func logAdd(x, y float64) float64 {
	if x < y {
		x, y = y, x
	}
	return x + math.Log1p(math.Exp(y-x))
}

// curve returns K(z). The closed forms, with α = z+1:
//
//	Gaussian     z·(z+1)·μ²/2
//	PureDP       ln((e^{αε} + e^{−zε})/(1 + e^ε))       (randomised response)
//	Laplace      ln(α/(2α−1)·e^{zε} + z/(2α−1)·e^{−αε})   (Mironov 2017, Proposition 6)
//
// DiscreteLaplace, with s steps and q = e^{−a}: P(L = as) = 1/(1+q), P(L = −as) =
// q^s/(1+q), and P(L = a(s−2j)) = (1−q)/(1+q)·q^j for 0 < j < s. DiscreteGaussian,
// with Θ(c) = Σ exp(−(x−c)²/2σ²): z(z+1)s²/2σ² + ln Θ(zs)/Θ(0). Skellam is summed.
func (l use) curve(z float64) float64 {
	switch l.kind {
	case Gaussian:
		return z * (z + 1) * l.a * l.a / 2
	case PureDP:
		return logAdd((z+1)*l.a, -z*l.a) - logAdd(l.a, 0)
	case Laplace:
		e := l.a
		// Of the continuous part, ∫ ¼·exp(−(ε−L)/2)·exp(zL) dL.
		c := z + 0.5
		middle := math.Log(e / 2)
		if v := math.Abs(c * e); v > 1e-8 {
			middle += v + math.Log(-math.Expm1(-2*v)/(2*v))
		}
		return logAdd(logAdd(z*e, -(z+1)*e)-math.Ln2, middle-e/2)
	case DiscreteLaplace:
		return l.discreteLaplaceCurve(z)
	case DiscreteGaussian:
		s := float64(l.shift)
		m := square(s / l.a)
		return z*(z+1)*m/2 + math.Log(theta(l.a, z*s)/theta(l.a, 0))
	}
	return l.law.curve(z)
}

// discreteLaplaceCurve is K(z), see discreteLaplaceAt.
func (l loss) discreteLaplaceCurve(z float64) float64 {
	s, c := float64(l.shift), -(2*z+1)*l.a
	if z < -0.5 { // K(z) = K(−1−z)
		return l.discreteLaplaceCurve(-1 - z)
	}
	c = min(c, -1e-9*l.a) // from z = −1/2 on
	middle := -math.Expm1(-l.a) * math.Exp(c) * math.Expm1(c*(s-1)) / math.Expm1(c)
	return z*l.a*s + math.Log1p(math.Exp(c*s)+middle) - math.Log1p(math.Exp(-l.a))
}

// theta returns Σ exp(−(x−c)²/2σ²) over the integers x; by Poisson summation that
// is σ√2π but for a factor 1 ± 3·exp(−2π²σ²) < 1e-34 if σ ≥ 2.
func theta(sigma, c float64) float64 {
	if sigma >= 2 {
		return sigma * math.Sqrt(2*math.Pi)
	}
	c -= math.Round(c)
	var sum neumaier
	for x := -80.0; x <= 80; x++ {
		sum.add(math.Exp(-square((x-c)/sigma) / 2))
	}
	return sum.value()
}

// A table holds a law on finitely many losses, ascending, with ln P of each. What
// it leaves out has, under every tilt, at most what tails returns.
type table struct {
	losses, logP []float64
	bounded      bool // nothing is left out
}

func (t *table) curve(z float64) float64 {
	top := math.Inf(-1)
	for i, x := range t.losses {
		top = max(top, t.logP[i]+z*x)
	}
	var sum neumaier
	for i, x := range t.losses {
		sum.add(math.Exp(t.logP[i] + z*x - top))
	}
	return top + math.Log(sum.value())
}

// tails bounds the mass that the table leaves out under the tilt z, with k = curve(z), relative to what
// it holds. The tilted weights of both laws fall faster and faster outwards, so
// that a geometric series bounds them. Its ratio is 1 − 11/σ at the ends of a discrete
// Gaussian, and known to 1e-10: the guard is for laws that do not fall at all.
func (t *table) tails(z, k float64) float64 {
	if t.bounded {
		return 0
	}
	at := func(i int) float64 { return t.logP[i] + z*t.losses[i] - k }
	n := len(t.losses)
	end := func(last, before float64) float64 {
		if last < -690 {
			return 1e-299
		}
		r := math.Exp(last - before)
		if !(r < 1-1e-6) {
			return math.Inf(1)
		}
		return math.Exp(last) * r / (1 - r)
	}
	return end(at(n-1), at(n-2)) + end(at(0), at(1))
}

// tableAt returns the law of a discrete loss, at least where the tilt z puts it.
func (l use) tableAt(z float64) *table {
	switch l.kind {
	case PureDP:
		return &table{
			losses:  []float64{-l.a, l.a},
			logP:    []float64{-l.a - math.Log1p(math.Exp(-l.a)), -math.Log1p(math.Exp(-l.a))},
			bounded: true,
		}
	case DiscreteGaussian:
		return discreteGaussianTable(l.a, l.shift, z)
	}
	return l.law
}

func discreteLaplaceTable(a float64, s int64) *table {
	t := &table{bounded: true}
	ends := -math.Log1p(math.Exp(-a))
	middle := math.Log(-math.Expm1(-a)) + ends
	for j := s; j >= 0; j-- {
		p := middle - a*float64(j)
		switch j {
		case s:
			p = ends - a*float64(s)
		case 0:
			p = ends
		}
		t.losses = append(t.losses, a*float64(s-2*j))
		t.logP = append(t.logP, p)
	}
	return t
}

// discreteGaussianTable: P(x) ∝ exp(−x²/2σ²) moved by s has L(x) = s(2x+s)/2σ² at x,
// counted from the centre of P, with the sign of x chosen so that L rises. The
// tilt z moves the law by zs.
func discreteGaussianTable(sigma float64, s int64, z float64) *table {
	d := float64(s)
	centre := math.Round(z * d)
	reach := math.Ceil(11*sigma + 4)
	t := &table{}
	norm := math.Log(theta(sigma, 0))
	for i := -reach; i <= reach; i++ {
		x := centre + i
		t.losses = append(t.losses, d*(2*x+d)/(2*sigma*sigma))
		t.logP = append(t.logP, -square(x/sigma)/2-norm)
	}
	return t
}

// skellamTable: P(x) = e^{−v}·I_x(v), so L(x) = ln I_x(v) − ln I_{x+s}(v). The ratios r_x = I_{x−1}/I_x =
// 2x/v + 1/r_{x+1} come from the top down, which is the stable direction (Abramowitz and Stegun 9.12, Miller),
// and as logarithms: under a large v they are 1 but for x/v, of which no digit is to be lost.
func skellamTable(v float64, s int64) *table {
	sd := math.Sqrt(v)
	reach := int(math.Ceil(20*sd)) + 4*int(s) + 200
	top := reach + int(s) + 64 + int(sd)
	falls := make([]float64, top+2) // ln I_{x−1}/I_x
	falls[top+1] = math.Inf(1)
	for x := top; x >= 1; x-- {
		falls[x] = math.Log1p(2*float64(x)/v + math.Expm1(-falls[x+1]))
	}
	logs := make([]neumaier, top+1) // ln I_x/I_0
	var sum, all neumaier
	all.add(1)
	for x := 1; x <= top; x++ {
		sum.add(-falls[x])
		logs[x] = sum
		all.add(2 * math.Exp(sum.value()))
	}
	norm := math.Log(all.value())
	t := &table{}
	for x := -reach; x <= reach; x++ {
		i, j := logs[max(x, -x)], logs[max(x+int(s), -x-int(s))]
		p, q := i.value()-norm, j.value()-norm
		if p < -740 && q < -740 {
			continue
		}
		// p − q loses the digits that their sums keep.
		t.losses = append(t.losses, (i.sum-j.sum)+(i.rest-j.rest))
		t.logP = append(t.logP, p)
	}
	return t
}

// neumaier is a compensated sum.
type neumaier struct{ sum, rest float64 }

func (n *neumaier) add(x float64) {
	t := n.sum + x
	if math.Abs(n.sum) >= math.Abs(x) {
		n.rest += (n.sum - t) + x
	} else {
		n.rest += (x - t) + n.sum
	}
	n.sum = t
}

func (n *neumaier) value() float64 { return n.sum + n.rest }
