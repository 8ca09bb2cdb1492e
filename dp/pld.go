package dp

import "math"

// pld answers by the transform of the privacy loss distribution, see spectrum.
type pld struct {
	uses []use
	most float64 // the largest tilt that the tables bear, in plans; 0 if there are none
}

// curve returns K of the whole composition.
func (p pld) curve(z float64) float64 {
	sum := 0.0
	for _, u := range p.uses {
		sum += u.count * u.curve(z)
	}
	return sum
}

// sup is the largest loss.
func (p pld) sup() float64 {
	sum := 0.0
	for _, u := range p.uses {
		sum += u.count * u.sup()
	}
	return sum
}

// coarse is p with laws of few points, for plans.
func (p pld) coarse() pld {
	out := pld{uses: make([]use, len(p.uses))}
	for i, u := range p.uses {
		if u.kind == Skellam {
			whole := u.law
			if all := whole.losses; len(all) > coarsePoints {
				u.law = whole.merge((all[len(all)-1]-all[0])/coarsePoints, true)
			}
			// Under a larger tilt the law is beyond the table.
			lo, hi := math.Log(minTilt), math.Log(maxTilt)
			for hi-lo > 1e-2 {
				mid := (lo + hi) / 2
				if z := math.Exp(mid); whole.tails(z, u.law.curve(z))*u.count < 1e-20 {
					lo = mid
				} else {
					hi = mid
				}
			}
			if most := math.Exp(lo); out.most == 0 || most < out.most {
				out.most = most
			}
		}
		out.uses[i] = u
	}
	return out
}

// shape returns K′ and √K″ at z > 0, about.
func (p pld) shape(z float64) (slope, deviation float64) {
	d := z / 64
	up, mid, down := p.curve(z+d), p.curve(z), p.curve(z-d)
	return (up - down) / (2 * d), math.Sqrt(max(up-2*mid+down, 0)) / d
}

// saddle returns the tilt θ > 0 at which the transform of δ, e^{K(θ)−θε}/(θ(θ+1)), is smallest: there
// a line through θ has the least cancellation. Its logarithm is convex, and nothing
// rests on finding the exact place.
func (p pld) saddle(epsilon float64) float64 {
	return minimise(p.maxLogTilt(), func(theta float64) float64 {
		return p.curve(theta) - theta*epsilon - math.Log(theta) - math.Log1p(theta)
	})
}

// saddlePoint is the approximation named after it: for ε with the saddle θ, δ(ε) is about
// e^{K(θ)−θε}/(θ(θ+1)·√2π·dev), dev² = K″ + 1/θ² + 1/(θ+1)².
func (p pld) saddlePoint(theta float64) (epsilon, logDelta, deviation float64) {
	slope, dev := p.shape(theta)
	deviation = math.Sqrt(dev*dev + 1/(theta*theta) + 1/square(theta+1))
	epsilon = slope - 1/theta - 1/(theta+1)
	logDelta = p.curve(theta) - theta*epsilon - math.Log(theta) - math.Log1p(theta) - math.Log(2.5*deviation)
	return epsilon, logDelta, deviation
}

// saddleFor is the saddle of about the ε that has δ.
func (p pld) saddleFor(delta float64) (theta, epsilon float64) {
	lo, hi := math.Log(minTilt), p.maxLogTilt()
	logDelta := math.Log(delta)
	for hi-lo > 1e-3 {
		mid := (lo + hi) / 2
		if _, v, _ := p.saddlePoint(math.Exp(mid)); v > logDelta {
			lo = mid
		} else {
			hi = mid
		}
	}
	theta = math.Exp((lo + hi) / 2)
	epsilon, _, _ = p.saddlePoint(theta)
	return theta, epsilon
}

const (
	minTilt = 1e-15
	maxTilt = 1e15
	// maxPower is the largest tilt times the largest loss: e^{θL} still has some digits.
	maxPower = 1e12
	// coarsePoints is how many points a law has in plans.
	coarsePoints = 400
)

func (p pld) maxLogTilt() float64 {
	most := maxTilt
	if p.most > 0 {
		most = p.most
	}
	if sup := p.sup(); sup < math.Inf(1) {
		most = min(most, maxPower/sup)
	}
	return math.Log(most)
}

// minimise searches the tilts for the least value of a function with one valley.
func minimise(hi float64, f func(float64) float64) float64 {
	const ratio = 0.6180339887498949
	lo := math.Log(minTilt)
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

// plan is for answers about ε under the tilt theta. A want of 1e-5 asks for δ from below and
// above within about that factor.
func (p pld) plan(theta, epsilon, want float64) plan {
	w := plan{theta: theta}
	_, dev := p.shape(theta)
	all := math.Sqrt(dev*dev + 1/(theta*theta) + 1/square(theta+1))
	// Where the density is smooth, ρ is about θ(θ+1)·δ.
	w.smooth = min(want/(theta*(theta+1)), maxSmooth)
	k := p.curve(theta)
	worth := -math.Log(theta) - math.Log1p(theta) - math.Log(2.5*all) // the sum A, about
	logTail := worth + math.Log(want) - 7                             // the aliases are to be far less than want
	uses := 1.0
	for _, u := range p.uses {
		uses += u.count
	}
	w.tail = max(math.Exp(logTail)/peakWeight(theta)/uses/10, 1e-30)
	// reach returns the least period at which the aliases on one side are small enough.
	reach := func(sign, most float64) (period, step float64) {
		period = math.Inf(1)
		for i := -16.0; i <= 12; i++ {
			t := min(math.Sqrt(max(-2*logTail, 1))/all*math.Exp(i/4), most)
			phi := theta + sign*t
			weight := 0.0
			if phi > 0 {
				weight = logPlain(phi)
			}
			v := (p.curve(phi) + w.smooth*(phi*(phi+1)-theta*(theta+1))/2 - k - weight - sign*t*epsilon - logTail) / t
			if v < period {
				period, step = v, t
			}
		}
		return period, step
	}
	var left, right float64
	right, w.right = reach(1, math.Inf(1))
	left, w.left = reach(-1, theta)
	// An alias in a geometric series counts little more than the first.
	w.period = max(left, right, 1/w.left, 1/w.right)
	if n := w.points(); n > maxPoints {
		w.smooth *= square(n / maxPoints)
	}
	return w
}

// possible is false for losses so large or so small that float64 has no numbers for them.
func (w plan) possible() bool {
	return w.points() <= 2*maxPoints && w.smooth > 0 && w.left > 0 && w.right > 0
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
	return &table{losses: t.losses[lo:hi], logP: t.logP[lo:hi]}, (cut + t.tails(theta, k)) / (1 - cut)
}

const (
	// aim is the relative width of a bracket that ends the search for a narrower one, tableAim that
	// where laws on many points are summed, and enough what ends it where that takes manyPoints or more.
	aim        = 2e-5
	tableAim   = 8e-5
	enough     = 4e-4
	manyPoints = 1 << 16
	maxPoints  = 1 << 19
	maxTries   = 6
	// maxSmooth keeps the e^{s/8} of the bound on the smoothing small.
	maxSmooth = 4
	// rough is the width that is enough to find about where ε(δ) is.
	rough = 1e-3
)

// refine answers with less and less smoothing until the bracket is narrow. The width shrinks with the variance
// of the smoothing where the law of the losses is smooth, and with its root at an atom.
func (p pld) refine(want float64, planned func(want float64) plan, answer func(lower, upper *spectrum) (lo, hi float64)) (used *spectrum, lo, hi float64) {
	hi = math.Inf(1)
	aim := p.aim()
	power, last := 1.0, 0.0
	for range maxTries {
		w := planned(want)
		if !w.possible() {
			break
		}
		lower, upper := p.spectra(w)
		used = upper
		rounding := upper.rounding()
		if rounding > 1 {
			break
		}
		l, h := answer(lower, upper)
		stuck := last > 0.99 && h > 0.99*hi
		lo, hi = max(lo, l), min(hi, h)
		gap := (h - l) / h
		if !(hi-lo > aim*hi) || hi < 1e-300 || w.points() > maxPoints/2 || w.points() > manyPoints && hi-lo < enough*hi {
			break
		}
		if gap < 8*rounding || gap > 0.99 && (rounding > 0.1 || stuck) {
			break // less smoothing does not help
		}
		if last > 0 && gap > last/3 {
			power = 2
		}
		last = gap
		next := func(target float64) float64 { return want * max(math.Pow(0.6*target/gap, power), 1.0/256) }
		more := next(aim)
		if gap > enough && planned(more).points() > manyPoints {
			more = next(enough)
		}
		want = more
	}
	return used, lo, hi
}

func (p pld) aim() float64 {
	for _, u := range p.uses {
		if u.kind == Skellam && len(u.law.losses) > coarsePoints {
			return tableAim
		}
	}
	return aim
}

// delta brackets δ(ε).
func (p pld) delta(epsilon float64) (lo, hi float64, s *spectrum) {
	if epsilon >= p.sup() {
		return 0, 0, nil
	}
	c := p.coarse()
	if c.missing(epsilon) < aim/2 {
		if missing := p.missing(epsilon); missing < aim {
			return 1 - missing, 1, nil
		}
	}
	theta := c.saddle(epsilon)
	want := p.aim() * 0.9
	if c.curve(theta)-theta*epsilon-logPlain(theta) < -690 {
		want = 1 // too small for a float64
	}
	s, lo, hi = p.refine(want, func(want float64) plan { return c.plan(theta, epsilon, want) },
		func(l, u *spectrum) (lo, hi float64) { return l.below(epsilon), u.above(epsilon) })
	return lo, min(notZero(hi), 1), s
}

// missing bounds 1 − δ(ε) = E min(1, e^{ε−S}) ≤ e^{uε+K(−u)}, 0 < u < 1, and what tables leave out.
func (p pld) missing(epsilon float64) float64 {
	best := math.Inf(1)
	for u := 1.0 / 16; u < 1; u += 1.0 / 16 {
		best = min(best, u*epsilon+p.curve(-u))
	}
	v := math.Exp(best)
	for _, u := range p.uses {
		if u.kind == Skellam {
			v += u.count * u.law.tails(0, u.law.curve(0))
		}
	}
	return v * (1 + 1e-6)
}

// epsilon brackets ε(δ).
func (p pld) epsilon(delta float64) (lo, hi float64, s *spectrum) {
	c := p.coarse()
	sup := p.sup()
	theta, guess := c.saddleFor(delta)
	if guess <= 0 {
		theta, guess = c.saddle(0), 0
	}
	guess = min(guess, sup)
	for range 3 {
		w := c.plan(theta, guess, rough)
		if n := w.points(); n > manyPoints {
			w.smooth *= square(n / manyPoints)
		}
		if !w.possible() {
			break
		}
		_, upper := p.spectra(w)
		if upper.rounding() > 1 {
			break
		}
		_, at := cross(delta, guess, theta, sup, upper.above, true)
		if at == 0 {
			return 0, 0, upper
		}
		if at = min(at, sup); math.IsInf(at, 1) {
			break
		}
		done := math.Abs(at-guess)*theta < 1
		if guess = at; done {
			break
		}
		theta = c.saddle(guess)
	}
	// δ(ε) falls by θ for one ε, so an error of ln δ is 1/θ of that in ε.
	want := p.aim() * 0.9 * max(min(theta*guess, 100), 1e-6)
	s, lo, hi = p.refine(want, func(want float64) plan { return c.plan(theta, guess, want) },
		func(l, u *spectrum) (lo, hi float64) {
			return crossings(delta, guess, theta, sup, l.below, u.above)
		})
	return lo * (1 - 1e-13), min(hi, sup) * (1 + 1e-13), s
}

// crossings returns a verified lo with below(lo) > delta, or 0, and a verified hi with above(hi) ≤ delta, or sup.
func crossings(delta, guess, slope, sup float64, below, above func(float64) float64) (lo, hi float64) {
	if _, hi = cross(delta, guess, slope, sup, above, true); hi <= sup {
		guess = hi
	}
	lo, _ = cross(delta, guess, slope, sup, below, false)
	return max(lo, 0), min(hi, sup)
}

// cross searches where a falling f, at first about f(guess)·e^{−slope·(ε−guess)}, crosses delta. It returns lo and hi
// with f(lo) > delta ≥ f(hi): lo is −1 if f(0) ≤ delta, and hi +Inf if no ε up to sup was found. The
// side asked for, hi if upper, is close.
func cross(delta, guess, slope, sup float64, f func(float64) float64, upper bool) (lo, hi float64) {
	lo, hi = -1, math.Inf(1)
	over, under := 0.0, 0.0 // ln f/delta at both, halved where the other end alone moves (Illinois)
	x, step := guess, 0.0
	for i := 0; i < 100; i++ {
		v := f(x)
		d := math.Log(v / delta)
		good := 1e-11 * min(max(slope*x, 1e-5), 1) // of ln f
		close := math.Abs(d) < good
		if v <= delta {
			hi, under, over = x, d, over/2
			close = close && upper
		} else {
			lo, over, under = x, d, under/2
			close = close && !upper
		}
		if found := lo >= 0 && !math.IsInf(hi, 1); hi == 0 || lo >= sup || found && (close || hi-lo <= 1e-13*hi) {
			break
		}
		off := good / slope / 4
		step = max(2*step, min(math.Abs(d), 4)/slope, 2*off, 1e-15*x)
		switch {
		case lo < 0:
			x = max(hi-step, 0)
		case math.IsInf(hi, 1):
			x = min(lo+step, sup)
		default:
			if upper {
				off = -off
			}
			if x = lo + (hi-lo)*over/(over-under) - off; !(x > lo && x < hi) || math.IsInf(under, -1) || i%8 == 7 {
				x = lo + (hi-lo)/2
			}
		}
	}
	return lo, hi
}
