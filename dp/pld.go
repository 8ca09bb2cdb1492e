package dp

import (
	"math"
	"slices"

	"gonum.org/v1/gonum/dsp/fourier"
)

// pld answers by privacy loss distributions: from below and from above, on one lattice.
type pld struct {
	uses []use
}

// curve returns K of the whole composition.
func (p pld) curve(z float64) float64 {
	sum := 0.0
	for _, u := range p.uses {
		sum += u.count * u.curve(z)
	}
	return sum
}

// sup and spread: the largest loss, and the standard deviation of the loss.
func (p pld) sup() float64 {
	sum := 0.0
	for _, u := range p.uses {
		sum += u.count * u.sup()
	}
	return sum
}

// deviation returns √K″ at z, by a second difference.
func (p pld) deviation(z float64) float64 {
	// K(d) ≈ K″d²/2 about 0 gives a first idea of the width of a useful step.
	d := 1e-2 * max(z, 1e-3)
	if v := p.curve(1) - 0; v > 0 {
		d = max(min(0.1/math.Sqrt(v), 1), d)
	}
	v := (p.curve(z+d) - 2*p.curve(z) + p.curve(z-d)) / (d * d)
	if !(v > 0) {
		return 0
	}
	return math.Sqrt(v)
}

// saddle returns the tilt θ > 0 that makes Chernoff's bound of δ(ε),
// e^{K(θ)−θε}·max e^{−θx}(1−e^{−x}), smallest: K and the logarithm of the weight
// are convex or nearly so, and nothing rests on finding the exact place.
func (p pld) saddle(epsilon float64) float64 {
	return minimise(func(theta float64) float64 {
		return p.curve(theta) - theta*epsilon - logPlain(theta)
	})
}

// saddleFor is the same for the smallest ε that Chernoff's bound allows at δ.
func (p pld) saddleFor(delta float64) (theta, epsilon float64) {
	logDelta := math.Log(delta)
	bound := func(theta float64) float64 { return (p.curve(theta) - logPlain(theta) - logDelta) / theta }
	theta = minimise(bound)
	return theta, bound(theta)
}

const (
	minTilt = 1e-7
	maxTilt = 1e5
)

// minimise searches the tilts for the least value of a function with one valley.
func minimise(f func(float64) float64) float64 {
	const ratio = 0.6180339887498949
	lo, hi := math.Log(minTilt), math.Log(maxTilt)
	x, y := hi-ratio*(hi-lo), lo+ratio*(hi-lo)
	fx, fy := f(math.Exp(x)), f(math.Exp(y))
	for hi-lo > 1e-2 {
		if !(fx > fy) {
			hi, y, fy = y, x, fx
			x = hi - ratio*(hi-lo)
			fx = f(math.Exp(x))
		} else {
			lo, x, fx = x, y, fy
			y = lo + ratio*(hi-lo)
			fy = f(math.Exp(y))
		}
	}
	return math.Exp((lo + hi) / 2)
}

// plan chooses the window and the step for answers about ε near epsilon under the
// tilt theta. A want of 1e-5 asks for δ from below and above within about that factor.
func (p pld) plan(theta, epsilon, want float64) window {
	w := window{theta: theta}
	k := p.curve(theta)
	// Near the largest loss the tilted law is about one point: 1/θ is then the scale.
	dev := max(p.deviation(theta), 0.3/(1+theta))
	// Mass beyond the window, relative to what the sum is worth.
	tail := 1e-7 * peakWeight(theta) / (1 + theta*dev)
	tail = max(tail, 1e-25)
	logTail := math.Log(tail)
	reach := func(sign float64) (edge, s float64) {
		edge = math.Inf(1)
		for i := -12.0; i <= 12; i++ {
			t := math.Sqrt(-2*logTail) / dev * math.Exp(i/4)
			if e := (p.curve(theta+sign*t) - k - logTail) / t; e < edge {
				edge, s = e, t
			}
		}
		return edge, s
	}
	w.hi, w.right = reach(1)
	left, s := reach(-1)
	w.lo, w.left = -left, s
	sup := p.sup()
	w.hi = min(w.hi, sup*(1+1e-12))
	w.lo = max(min(w.lo, epsilon), -sup*(1+1e-12))

	// Spreading by h²/6 or so a use on one side and narrowing by h²/12 on the other
	// moves ln δ by n·θ(θ+1)/2 times that.
	smooth := 0.0
	for _, u := range p.uses {
		if u.kind == Laplace || u.kind == Gaussian || u.kind == Skellam {
			smooth += u.count
		}
	}
	h := math.Sqrt(8 * want / (max(smooth, 0.1) * max(theta*(theta+1), 1/(dev*dev))))
	if w.hi-w.lo > firstPoints*h {
		h = (w.hi - w.lo) / probePoints
	}
	return p.step(w, h)
}

// step sets the step to about h, where the length of the transform allows it.
func (p pld) step(w window, h float64) window {
	span := max(w.hi-w.lo, 1e-300)
	least := span / maxPoints
	w.h = p.align(min(max(h, least), span/1024), least)
	w.size = smoothSize(span/w.h + 4)
	return w
}

// align returns a step of at most h, not much smaller, of which the distances
// between atoms are multiples: an atom off the lattice costs the lower law the
// first power of h, one on it nothing. Distances below least, of which the lattice
// would be too long, stay off it.
func (p pld) align(h, least float64) float64 {
	type step struct{ size, weight float64 }
	var steps []step
	for _, u := range p.uses {
		switch u.kind {
		case Laplace, PureDP:
			steps = append(steps, step{2 * u.a, u.count})
		case DiscreteLaplace:
			steps = append(steps, step{2 * u.a * float64(u.shift), u.count})
			if 2*u.a > h/2 {
				steps = append(steps, step{2 * u.a, u.count / 100})
			}
		case DiscreteGaussian:
			if d := float64(u.shift) / (u.a * u.a); d > h/2 {
				steps = append(steps, step{d, u.count / 100})
			}
		}
	}
	steps = slices.DeleteFunc(steps, func(s step) bool { return s.size < least })
	if len(steps) == 0 {
		return h
	}
	for _, s := range steps {
		if s.weight >= 1 {
			h = min(h, s.size)
		}
	}
	best, bestCost := h, math.Inf(1)
	try := func(c float64) {
		cost := 0.0
		for _, s := range steps {
			q := s.size / c
			frac := q - math.Floor(q*(1+1e-13))
			if q < 0.99 {
				frac = 1
			}
			cost += s.weight * max(frac, 0)
			if cost >= bestCost {
				return
			}
		}
		if cost < bestCost*(1-1e-9) {
			best, bestCost = c, cost
		}
	}
	for _, s := range steps {
		k := math.Ceil(s.size / h * (1 - 1e-13))
		for i := 0.0; i <= min(max(k/2, 1), 4000) && bestCost > 1e-9; i++ {
			try(s.size / (k + i))
		}
	}
	return best
}

// smoothSize returns the least 2ᵃ, 3·2ᵃ or 5·2ᵃ from x up.
func smoothSize(x float64) int {
	best := math.Inf(1)
	for _, m := range []float64{1, 3, 5} {
		n := m
		for n < x || n < 16 {
			n *= 2
		}
		best = min(best, n)
	}
	return int(best)
}

// terms discretises every use from above or below.
func (p pld) terms(w window, upper bool) []term {
	dev := 0.0
	for _, u := range p.uses {
		dev += u.count
	}
	tail := 1e-10 * peakWeight(w.theta) / (1 + w.theta*p.deviation(w.theta)) / dev
	out := make([]term, len(p.uses))
	for i, u := range p.uses {
		out[i] = u.term(w, max(tail, 1e-30), upper)
	}
	return out
}

func (u use) term(w window, tail float64, upper bool) term {
	out := term{count: u.count}
	var c *cells
	h := w.h
	switch u.kind {
	case Gaussian:
		// The tilted loss is normal with mean μ²/2 + θμ² and variance μ².
		mid := u.a * u.a * (0.5 + w.theta)
		z := math.Sqrt(-2 * math.Log(tail))
		at, end := mid-z*u.a, mid+z*u.a
		c = gaussianCells(u.a, at, end, h)
		out.lost = math.Erfc(z/math.Sqrt2) * 1.001 // what is held is 1 but for this
	case Laplace:
		e, at, n := u.a, 0.0, 0
		if upper {
			n = int(math.Ceil(2 * e / h * (1 - 1e-13)))
			at = e - float64(n)*h
		} else {
			n = max(int(math.Floor(2*e/h*(1+1e-13))), 1)
			at = -float64(n) * h / 2
			e = min(-at, e)
		}
		c = laplaceCells(e, at, h, n)
	default:
		t := u.tableAt(w.theta)
		var at float64
		if u.kind == PureDP || u.kind == DiscreteLaplace {
			// The atoms at ±ε matter most. From above the topmost is on the lattice, from
			// below both are: a smaller ε is more private.
			e := t.losses[len(t.losses)-1]
			n := math.Ceil(2 * e / h * (1 - 1e-13))
			at = e - n*h
			if !upper {
				n = max(math.Floor(2*e/h*(1+1e-13)), 1)
				if l := (loss{u.kind, n * h / 2 / float64(max(u.shift, 1)), u.shift}); l.a < u.a {
					t = newUse(l, 1).tableAt(w.theta)
				}
				at = t.losses[0]
			}
		} else {
			t, out.lost = t.trim(w.theta, tail)
			at = t.losses[0]
		}
		c = t.cells(at, h)
	}
	out.moved = c.moved
	if upper {
		out.law = c.upper()
	} else {
		out.law, out.lost = c.lower(), 0
	}
	return out
}

// trim leaves out ends of a tilted mass of at most tail each, and returns a bound on
// all that is left out, relative to what is kept.
func (t *table) trim(theta, tail float64) (*table, float64) {
	k := t.curve(theta)
	at := func(i int) float64 { return math.Exp(t.logP[i] + theta*t.losses[i] - k) }
	lo, hi, cut := 0, len(t.losses), 0.0
	for sum := 0.0; lo < hi-2; lo++ {
		if sum += at(lo); sum > tail {
			break
		}
		cut += at(lo)
	}
	for sum := 0.0; hi > lo+2; hi-- {
		if sum += at(hi - 1); sum > tail {
			break
		}
		cut += at(hi - 1)
	}
	return &table{losses: t.losses[lo:hi], logP: t.logP[lo:hi]}, (cut + t.tails(theta)) / (1 - cut)
}

// both folds the composition from below and from above.
func (p pld) both(w window) (lower, upper folded) {
	fft := fourier.NewFFT(w.size)
	return fold(fft, p.terms(w, false), w, false), fold(fft, p.terms(w, true), w, true)
}

const (
	maxPoints = 1 << 21
	// A search that would begin with more than firstPoints begins with probePoints. Near the
	// largest loss θ is large, and a step that is fine beside 1/θ is far finer than atoms need.
	firstPoints = 1 << 17
	probePoints = 1 << 15
	// aim is the relative width of a bracket that ends the search for a finer step, and
	// enough what ends it after a transform of manyPoints or more.
	aim        = 9e-5
	enough     = 7e-4
	manyPoints = 1 << 17
	maxTries   = 6
)

// refine answers on finer and finer lattices until the bracket is narrow. An error of
// the order of h² shrinks with the square of the step, one of atoms off the
// lattice with the step.
func (p pld) refine(w window, answer func(lower, upper folded) (lo, hi float64)) (window, float64, float64) {
	lo, hi := 0.0, math.Inf(1)
	power := 0.5
	last := math.Inf(1)
	for range maxTries {
		lower, upper := p.both(w)
		w.outside, w.rounding = upper.extra, upper.relative
		l, h := answer(lower, upper)
		lo, hi = max(lo, l), min(hi, h)
		gap := (h - l) / h
		target := aim
		if w.size >= manyPoints {
			target = enough
		}
		if !(hi-lo > target*hi) || hi < 1e-300 || w.size >= maxPoints/2 {
			break
		}
		if gap > 0.99 && last < math.Inf(1) && last > 0.99 {
			break // so near the largest loss that ε itself is too coarse
		}
		if gap > last/2 {
			power = 1
		}
		last = gap
		next := func(target float64) window { return p.step(w, w.h*max(math.Pow(0.6*target/gap, power), 1.0/16)) }
		if fine := next(aim); fine.size < manyPoints || gap <= enough {
			w = fine
		} else {
			w = next(enough)
		}
	}
	return w, lo, hi
}

// delta brackets δ(ε).
func (p pld) delta(epsilon float64) (lo, hi float64, w window) {
	if epsilon >= p.sup() {
		return 0, 0, window{}
	}
	w = p.plan(p.saddle(epsilon), epsilon, aim*0.9)
	w, lo, hi = p.refine(w, func(l, u folded) (lo, hi float64) { return l.delta(epsilon), u.delta(epsilon) })
	return lo, min(hi, 1), w
}

// epsilon brackets ε(δ).
func (p pld) epsilon(delta float64) (lo, hi float64, w window) {
	theta, guess := p.saddleFor(delta)
	// δ(ε) falls by θ for one ε, so an error of ln δ is 1/θ of that in ε.
	w = p.plan(theta, guess, aim*0.7*max(min(theta*guess, 100), 1e-3))
	end := min(p.sup(), w.hi)
	w, lo, hi = p.refine(w, func(l, u folded) (lo, hi float64) {
		hi = bisect(delta, end, u.delta)
		if hi > end { // nothing verified
			hi = p.sup()
		}
		return bisectLower(delta, min(hi, end), l.delta), hi
	})
	return lo * (1 - 1e-13), min(hi, p.sup()) * (1 + 1e-13), w
}

// bisect returns a verified ε with f(ε) ≤ delta, the smallest up to 1e-12, or +Inf if
// there is none in [0, end].
func bisect(delta, end float64, f func(float64) float64) float64 {
	if f(0) <= delta {
		return 0
	}
	lo, hi := 0.0, end
	if !(f(hi) <= delta) {
		return math.Inf(1)
	}
	for hi-lo > 1e-12*hi {
		mid := lo + (hi-lo)/2
		if f(mid) <= delta {
			hi = mid
		} else {
			lo = mid
		}
	}
	return hi
}

// bisectLower returns a verified ε ≤ end with f(ε) > delta, about the largest, or 0. A
// bound from below is good only near the ε that it was made for, so the search
// goes down from end.
func bisectLower(delta, end float64, f func(float64) float64) float64 {
	hi, lo := end, end
	for d := 1e-6 * end; ; d *= 2 {
		if lo = end - d; !(lo > 0) {
			lo = 0
			if !(f(lo) > delta) {
				return 0
			}
			break
		}
		if f(lo) > delta {
			break
		}
		hi = lo
	}
	for hi-lo > 1e-12*hi {
		mid := lo + (hi-lo)/2
		if f(mid) > delta {
			lo = mid
		} else {
			hi = mid
		}
	}
	return lo
}
