package dp

import "math"

// A lattice law is a law of L on the points at + i·h, i = 0, 1, …, of total mass
// at most 1.
//
// What it bounds. Composed losses add up, and δ(ε) = E_P (1 − e^{ε−L})₊. As a function
// of u = e^{−L} of any single use this is convex and does not rise. So δ(ε), for
// every ε and composed with anything, does not fall if mass is moved to larger L
// or spread with E u kept; and it does not rise the other way round. With the
// "put" function p(c) = E (c−u)₊ of a law, one law is below another if and only
// if its p is nowhere above (second-order dominance).
type lattice struct {
	at float64
	w  []float64
}

// cells is one use of a mechanism cut into buckets (l, l+h), with l = at + i·h, and
// atoms on the points themselves.
type cells struct {
	at, h float64
	on    []float64 // atoms at the points; one more than there are buckets
	mass  []float64 // P-mass m of a bucket
	up    []float64 // w₊ = (m − e^l·q)/(1 − e^{−h}), the part that moves up
	// gap bounds e^l times the largest distance, in the bucket, between p of the
	// law with the bucket's mass moved to its ends, which is a chord, and p.
	gap []float64
	// massErr and upErr bound the rounding errors of mass and up.
	massErr, upErr []float64
	moved          float64 // how far an atom was moved to be on a point
}

func newCells(at, h float64, n int) *cells {
	if n < 1 {
		n = 1
	}
	block := make([]float64, 6*n+1)
	cut := func(k int) []float64 { b := block[:k:k]; block = block[k:]; return b }
	return &cells{at: at, h: h, on: cut(n + 1), mass: cut(n), up: cut(n), gap: cut(n), massErr: cut(n), upErr: cut(n)}
}

// upper connects the dots (Doroshenko, Ghazi, Kamath, Kumar, Manurangsi 2022,
// arXiv 2207.04380): the mass m of a bucket moves to its ends so that both m and q
// are kept. That is a spread of u, so δ(ε) does not fall.
func (c *cells) upper() lattice {
	w := append([]float64{}, c.on...)
	for i, m := range c.mass {
		if m == 0 && c.massErr[i] == 0 {
			continue
		}
		m += c.massErr[i]
		up := min(max(c.up[i]+c.upErr[i], 0), m)
		w[i] += m - up
		w[i+1] += up
	}
	return lattice{c.at, w}
}

// lower returns a law below the given one.
//
// Let p be the put function at the points uᵢ = e^{−lᵢ}, and let eᵢ be at least the gap
// of both buckets beside i. Then the chords of pᵢ − eᵢ are nowhere above p; so is
// the largest convex function below them, which is the put function of a law on
// the lattice. Its masses are second differences: with Gᵢ = e^{lᵢ}·eᵢ/(1 − e^{−h})
//
//	w′ᵢ = wᵢ + (1 + e^{−h})·Gᵢ − Gᵢ₋₁ − e^{−h}·Gᵢ₊₁
//
// where w is the upper law. Where the loss is smooth w′ is positive, and it is as
// far below the truth as w is above: both err by the order of h². A negative w′ᵢ
// is a point where pᵢ − eᵢ is not convex: leaving the point out hands its mass to
// the points beside it, as above. p must not become negative: the topmost buckets
// are moved whole to their lower ends.
func (c *cells) lower() lattice {
	for floor := 2; ; floor *= 2 {
		if w, ok := c.lowerFrom(floor); ok || floor > len(c.mass) {
			return lattice{c.at, w}
		}
	}
}

func (c *cells) lowerFrom(floor int) ([]float64, bool) {
	n := len(c.mass)
	top := n
	for top > 0 && c.on[top] == 0 && c.mass[top-1] == 0 {
		top--
	}
	below := max(top-floor, 0) // buckets from here up move to their lower ends
	w := append([]float64{}, c.on...)
	gap := make([]float64, n+2)
	eh := math.Exp(c.h)
	for i, m := range c.mass {
		m = max(m-c.massErr[i], 0)
		if i >= below {
			w[i] += m
			continue
		}
		up := min(max(c.up[i]-c.upErr[i], 0), m)
		w[i] += m - up
		w[i+1] += up
		if g := c.gap[i] + 4*c.h*c.massErr[i] + 4*c.h*c.upErr[i]; g > 0 {
			gap[i] = max(gap[i], g)
			gap[i+1] = eh * g
		}
	}
	if below == 0 {
		return w, true
	}
	down := math.Exp(-c.h)
	scale := 1 / -math.Expm1(-c.h)
	negative := false
	before := 0.0
	for i := range w {
		here, after := gap[i]*scale, gap[i+1]*scale
		if i == 0 && here > 0 {
			// The point below the lowest one would have mass −down·here: it is left
			// out, which hands all of it to the lowest.
			w[0] -= down * here
		}
		w[i] += (1+down)*here - before - down*after
		negative = negative || w[i] < 0
		before = here
	}
	if negative {
		return w, c.convex(w)
	}
	return w, true
}

// convex leaves out points of negative mass until none is left. It reports false
// if the topmost one would have to go.
func (c *cells) convex(w []float64) bool {
	var points []int // the points kept so far, ascending; only the last may be negative
	push := func(j int) {
		// Point k = the last one is negative and now has a neighbour on both sides.
		for len(points) > 0 {
			k := points[len(points)-1]
			if w[k] >= 0 {
				break
			}
			points = points[:len(points)-1]
			if len(points) == 0 {
				w[j] += w[k]
			} else {
				i := points[len(points)-1]
				// u is kept: k = share·j + (1−share)·i.
				share := math.Expm1(-float64(k-i)*c.h) / math.Expm1(-float64(j-i)*c.h)
				w[j] += share * w[k]
				w[i] += (1 - share) * w[k]
			}
			w[k] = 0
		}
		points = append(points, j)
	}
	for j := range w {
		if w[j] != 0 {
			push(j)
		}
	}
	return len(points) == 0 || w[points[len(points)-1]] >= 0
}

// snap is how close to a point, in steps, an atom is taken to be on it.
const snap = 1e-9

// cells cuts a table. The gap is exact: between atoms p and the chord are both
// linear, so that their distance is largest at an atom.
func (t *table) cells(at, h float64) *cells {
	last := t.losses[len(t.losses)-1]
	c := newCells(at, h, int(math.Ceil((last-at)/h-snap)))
	width := -math.Expm1(-h)
	first, bucket := 0, -1
	flush := func(end int) {
		if bucket < 0 {
			return
		}
		sum, moment := 0.0, 0.0 // Σp and Σp·v, v = e^{l−L}, of the atoms above
		for i := end - 1; i >= first; i-- {
			x := t.losses[i] - (c.at + float64(bucket)*h)
			v, p := math.Exp(-x), math.Exp(t.logP[i])
			g := c.up[bucket]*(v-math.Exp(-h)) - (sum*v - moment)
			c.gap[bucket] = max(c.gap[bucket], g+1e-15*c.mass[bucket])
			sum += p
			moment += p * v
		}
	}
	for i, x := range t.losses {
		k := math.Floor((x - at) / h)
		frac := (x-at)/h - k
		if frac > 1-snap {
			k, frac = k+1, 0
		}
		b := int(k)
		if b < 0 {
			b, frac = 0, 0
		}
		p := math.Exp(t.logP[i])
		if b != bucket {
			flush(i)
			first, bucket = i, b
		}
		if frac < snap || b >= len(c.mass) {
			c.moved = max(c.moved, math.Abs(x-(at+float64(min(b, len(c.mass)))*h)))
			c.on[min(b, len(c.mass))] += p
			if first == i {
				first = i + 1
			}
			continue
		}
		c.mass[b] += p
		c.up[b] += p * -math.Expm1(-(x - (at + float64(b)*h))) / width
	}
	flush(len(t.losses))
	return c
}

// halves fills the buckets from the mass of, and d = ∫(1 − e^{l−L})dP over, both
// halves of each, given by part for an interval (l, l+w). The two halves as atoms
// have a p that is nowhere above the true one (Jensen), so the gap to it is a
// bound; it is largest at one of the two.
func (c *cells) halves(part func(l, w float64) (m, d, mErr, dErr float64)) {
	h := c.h
	width, half := -math.Expm1(-h), -math.Expm1(-h/2)
	drop := math.Exp(-h / 2)
	for i := range c.mass {
		l := c.at + float64(i)*h
		m1, d1, e1, f1 := part(l, h/2)
		m2, d2, e2, f2 := part(l+h/2, h/2)
		m, d := m1+m2, d1+m2*half+drop*d2
		if !(m > 0) {
			c.massErr[i], c.upErr[i] = e1+e2, e1+e2
			continue
		}
		c.mass[i], c.up[i] = m, d/width
		c.massErr[i] = e1 + e2
		c.upErr[i] = (f1 + f2 + e2*half) / width
		// v = e^{l−L} of both halves, less its least value e^{−h}.
		v1, v2 := width, 0.0
		if m1 > 0 {
			v1 = width - d1/m1
		}
		if m2 > 0 {
			v2 = drop * (half - d2/m2)
		}
		up := c.up[i]
		c.gap[i] = max(up*v2, up*v1-m2*(v1-v2), 0) * (1 + 1e-9)
	}
}

// laplaceCells: for the noise of scale 1/ε on a sensitivity of 1 there are atoms P(L =
// ε) = ½ and P(L = −ε) = e^{−ε}/2, and between them the density ¼·exp(−(ε−L)/2).
func laplaceCells(e, at, h float64, n int) *cells {
	c := newCells(at, h, n)
	top := at + float64(n)*h // ε
	c.on[n] = 0.5
	c.halves(func(l, w float64) (m, d, mErr, dErr float64) {
		lo, hi := max(l, -e), l+w
		if hi <= lo {
			return 0, 0, 0, 0
		}
		s := math.Exp(-(top - lo) / 2)
		width := hi - lo
		m = 0.5 * s * math.Expm1(width/2)
		// ∫₀ʷ (1 − e^{−x})·¼e^{x/2} dx = ½(e^{w/2} + e^{−w/2} − 2) = 2·sinh²(w/4).
		d = 2 * s * square(math.Sinh(width/4))
		if lo > l { // counted from l: 1 − e^{−(lo−l)}·e^{−x}
			k := math.Exp(-(lo - l))
			d = m*(1-k) + k*d
		}
		return m, d, 0, 0
	})
	bottom := 0.5 * math.Exp(-e)
	if x := -e - at; x > snap*h {
		// The lowest atom is inside the first bucket. gap: that of two laws adds.
		up := bottom * -math.Expm1(-x) / -math.Expm1(-h)
		c.mass[0] += bottom
		c.up[0] += up
		c.gap[0] += up * (math.Exp(-x) - math.Exp(-h))
	} else {
		c.on[0] += bottom
		c.moved = math.Max(math.Abs(x), math.Abs(top-e))
	}
	return c
}

// gaussianCells: L is normal with mean μ²/2 and variance μ².
func gaussianCells(mu, lo, hi, h float64) *cells {
	c := newCells(lo, h, int(math.Ceil((hi-lo)/h)))
	norm := 1 / (mu * math.Sqrt(2*math.Pi))
	c.halves(func(l, w float64) (m, d, mErr, dErr float64) {
		z, eta := (l+w/2-mu*mu/2)/mu, w/mu
		bend := (math.Abs(z) + 3) * eta
		if bend < 0.3 {
			// Gauss–Legendre. Its error is (n!)⁴/((2n+1)·(2n)!³) times the 2n-th
			// derivative, at most (|z|+3)²ⁿ: below 1e-13 of the mass.
			nodes, weights := gauss4[:], weight4[:]
			if bend < 0.05 {
				nodes, weights = gauss3[:], weight3[:]
			}
			for j, x := range nodes {
				x = w * x
				p := weights[j] * math.Exp(-square((l+x-mu*mu/2)/mu)/2)
				m += p
				d += p * -math.Expm1(-x)
			}
			m, d = m*w*norm, d*w*norm
			rel := 2e-13 + 4e-16*z*z
			return m, d, m * rel, d * rel
		}
		// Differences of tails, on the side where they are small.
		m, mErr = normalBetween((l-mu*mu/2)/mu, (l+w-mu*mu/2)/mu)
		q, qErr := normalBetween((l+mu*mu/2)/mu, (l+w+mu*mu/2)/mu)
		el := math.Exp(l)
		d = min(max(m-el*q, 0), m)
		return m, d, mErr, mErr + el*qErr + 1e-15*(1+math.Abs(l))*m
	})
	return c
}

func normalBetween(a, b float64) (p, err float64) {
	if a+b < 0 {
		a, b = -b, -a
	}
	x, y := math.Erfc(a/math.Sqrt2)/2, math.Erfc(b/math.Sqrt2)/2
	// The arguments are off by an ulp or two, which moves x by a·φ(a) times that.
	return max(x-y, 0), x*(2e-15+4e-16*(1+a*a)) + 1e-320
}

var (
	gauss3  = [3]float64{0.5 - 0.3872983346207417, 0.5, 0.5 + 0.3872983346207417}
	weight3 = [3]float64{5.0 / 18, 4.0 / 9, 5.0 / 18}
	gauss4  = [4]float64{0.06943184420297371, 0.33000947820757187, 0.6699905217924281, 0.9305681557970262}
	weight4 = [4]float64{0.17392742256872692, 0.3260725774312731, 0.3260725774312731, 0.17392742256872692}
)
