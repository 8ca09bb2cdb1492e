package dp

import "math"

// A spectrum answers for the sum S of all losses by its transform: no lattice of losses, so that
// scales without a common divisor cost nothing. With M(z) = e^{K(z)} = E e^{zS},
//
//	∫ e^{zx}·δ(x) dx = M(z)/(z(z+1)), Re z > 0
//
// over all real x (Zhu, Dong, Wang 2022, arXiv 2106.08567; Chourasia, Javaid, Sikdar 2025, arXiv
// 2411.09142). On the line z = θ + it this is the Fourier transform of e^{θx}δ(x): θ is the tilt
// of Alghamdi et al. 2023, arXiv 2208.09595, which makes rounding errors relative to the tail
// that is asked for.
//
// Smoothing. Let δₛ(ε) be δ(ε) of S and one Gaussian of variance s besides, and ρₛ the density of that
// sum. One more mechanism never costs less, so δ ≤ δₛ. The other way round, with g(x) =
// (1 − e^{−x})₊ we have (g″ + g′)/2 = half a unit mass at 0, so that the derivative of δₛ by s
// is ρₛ(ε)/2. The density of the Gaussian part, of mean r/2 and variance r, at y is
// e^{−y²/2r + y/2 − r/8}/√(2πr): for r ≤ s at most √(s/r)·e^{s/8} times that of s. Hence
//
//	δₛ(ε) − s·e^{s/8}·ρₛ(ε) ≤ δ(ε) ≤ δₛ(ε)
//
// Aliasing. Mₛ(z) = M(z)·e^{sz(z+1)/2} falls like a Gaussian along the line. By Poisson's
// summation formula the sum over tₖ = kτ, for any τ = 2π/P, is that over all aliases:
//
//	A = 1/P·Σₖ e^{−zₖε}·Mₛ(zₖ)/(zₖ(zₖ+1)) = Σₘ e^{θmP}·δₛ(ε+mP)
//	R = 1/P·Σₖ e^{−zₖε}·Mₛ(zₖ)           = Σₘ e^{θmP}·ρₛ(ε+mP)
//
// No alias is negative: A is above δₛ as it is, R above ρₛ, and what Lo takes off for the
// aliases is bounded by Chernoff's bound δₛ(x) ≤ e^{Kₛ(φ)−φx}·max e^{−φy}(1−e^{−y}), at a φ above
// θ for those on the right and at one from 0 to θ for those on the left: geometric series.
//
// Cut. |Mₛ(zₖ)| is at most Mₛ(θ)·e^{−stₖ²/2}, which bounds what the sums leave out beyond the last k.
// Between, terms below e^negligible are counted as that.
//
// Rounding. A factor ψ of modulus at most 1 has an absolute error of at most η, so that
// q = |ψ| + η is at least the computed modulus and the true one. Then for all factors with their counts
// |Πψ̂ⁿ − Πψⁿ| ≤ Πqⁿ·Σ n·η/q (change one at a time), and Πqⁿ in place of the modulus is
// within as much again.
type spectrum struct {
	plan
	logM   float64 // Kₛ(θ)
	centre float64 // the frequencies are those of S − centre
	waves  []wave
	// sumErr and densityErr bound what A and R are off by, relative to e^{Kₛ(θ)−θε}: cut and
	// rounding. phaseErr is what an error of one in tₖ(ε − centre), for one in tₖ, does to A;
	// waveErr to R.
	sumErr, densityErr, phaseErr, waveErr float64
	// aliasRight and aliasLeft are the logarithms of the bounds on the aliases, at ε = 0.
	aliasRight, aliasLeft float64
	// extra is the tilted mass that the laws left out; Hi has it, as if it all counted most.
	extra float64
	// relative and shift are the rounding of the laws: of δ, and of the place of the losses.
	relative, shift float64
}

// A wave is one term of the sums: a of A, and r of R, as complex amplitudes.
type wave struct{ t, aRe, aIm, rRe, rIm float64 }

// A plan says how to sum. Every choice gives right brackets; a good one narrow ones, fast.
type plan struct {
	theta  float64 // the tilt
	smooth float64 // s
	period float64 // P
	// right and left are the steps from θ at which the aliases are bounded.
	right, left float64
	tail        float64 // tilted mass that a use may leave out
}

const (
	ulp = 0x1p-52
	// negligible is the logarithm of a term that is left out.
	negligible = -45.0
	// blockSize is how many frequencies are computed together.
	blockSize = 64
)

// peakWeight is the largest e^{−φx}·(1−e^{−x}): φ^φ/(1+φ)^{1+φ}.
func peakWeight(phi float64) float64 {
	if phi <= 0 {
		return 1
	}
	return math.Exp(-logPlain(phi))
}

// A factor is one kind of loss under the tilt.
type factor struct {
	count float64
	// centre is a loss; at is E exp(it(L − centre)) of the tilted law, reach about how far losses are from
	// centre: at is off by at most (16 + 4·t·reach) ulp.
	centre, reach float64
	at            func(t float64) (re, im float64)
	// Without at, the losses and their tilted masses, and what is left out, relative to that.
	losses, masses []float64
	lost           float64
	curve          func(z float64) float64 // K of one use
}

// points returns how many frequencies the plan has: from there on e^{−st²/2} is below 2e-16.
func (w plan) points() float64 { return math.Ceil(math.Sqrt(72/w.smooth)*w.period/(2*math.Pi)) + 1 }

// spectra returns those that bound δ(ε) from below and from above: the same one, unless
// there are laws on too many points.
func (p pld) spectra(w plan) (lower, upper *spectrum) {
	below, above, merged := p.factors(w)
	upper = newSpectrum(above, p.variance(), w)
	if !merged {
		return upper, upper
	}
	return newSpectrum(below, p.variance(), w), upper
}

// variance is that of all Gaussians together.
func (p pld) variance() float64 {
	var sum neumaier
	for _, u := range p.uses {
		if u.kind == Gaussian {
			sum.add(u.count * u.a * u.a)
		}
	}
	return sum.value()
}

func newSpectrum(parts []factor, variance float64, w plan) *spectrum {
	s := &spectrum{plan: w}
	step := 2 * math.Pi / w.period
	n := int(w.points())
	curve := func(z float64) float64 {
		var sum neumaier
		sum.add((variance + w.smooth) * z * (z + 1) / 2)
		for _, f := range parts {
			sum.add(f.count * f.curve(z))
		}
		return sum.value()
	}
	var centre neumaier
	centre.add((variance + w.smooth) * (w.theta + 0.5))
	lost, moved, size := 0.0, math.Abs(centre.value()), 64.0+8*(w.theta+1)*math.Abs(centre.value())
	for _, f := range parts {
		centre.add(f.count * f.centre)
		lost += f.count * f.lost
		far := math.Abs(f.centre) + f.reach
		moved += f.count * far
		size += f.count * (512 + 8*(w.theta+1)*far)
	}
	s.centre, s.logM = centre.value(), curve(w.theta)
	s.relative = size*ulp + 1e-12
	s.shift = 8 * ulp * moved
	s.extra = peakWeight(w.theta) * math.Expm1(lost) * (1 + 1e-6)
	s.aliasRight = curve(w.theta+w.right) - s.logM - logPlain(w.theta+w.right) - w.right*w.period - math.Log(-math.Expm1(-w.right*w.period))
	s.aliasLeft = curve(w.theta-w.left) - s.logM - w.left*w.period - math.Log(-math.Expm1(-w.left*w.period))
	if phi := w.theta - w.left; phi > 0 {
		s.aliasLeft -= logPlain(phi)
	}

	var sumErr, densityErr, phaseErr, waveErr neumaier
	var b block
	for first := 0; first < n; first += blockSize {
		b.reset(first, min(blockSize, n-first), step, variance+w.smooth)
		for i := range parts {
			b.multiply(&parts[i])
		}
		for i := range b.size {
			t := b.t[i]
			// 1/(z(z+1)) with z = θ + it.
			x, y := w.theta*(w.theta+1)-t*t, (2*w.theta+1)*t
			square := x*x + y*y
			weight := 2 / w.period
			if first+i == 0 {
				weight /= 2
			}
			each := weight / math.Sqrt(square)
			if b.log[i] < negligible {
				g := math.Exp(negligible)
				sumErr.add(g * each)
				densityErr.add(g * weight)
				continue
			}
			g := math.Exp(b.log[i])
			e := g * (2*b.err[i] + 100*ulp)
			sumErr.add(e * each)
			densityErr.add(e * weight)
			phaseErr.add(g * each * t)
			waveErr.add(g * weight * t)
			sin, cos := math.Sincos(b.arg[i])
			re, im := g*weight*cos, g*weight*sin
			s.waves = append(s.waves, wave{t, (re*x + im*y) / square, (im*x - re*y) / square, re, im})
		}
	}
	// Σ e^{−st²/2} from t = nτ on, of which the first term is apart.
	t := float64(n) * step
	cut := 2 / w.period * math.Exp(-w.smooth*t*t/2) * (1 + 1/(step*w.smooth*t))
	s.sumErr = (sumErr.value() + cut/(t*t)) * (1 + 1e-6)
	s.densityErr = (densityErr.value() + cut) * (1 + 1e-6)
	s.phaseErr, s.waveErr = phaseErr.value(), waveErr.value()
	return s
}

// A block is the product of all factors at some frequencies, in logarithms: the bound Πqⁿ on its modulus,
// the argument, and Σ n·η/q.
type block struct {
	size             int
	step             float64
	alive            bool // some are not negligible
	t, log, arg, err [blockSize]float64
	re, im           [blockSize]float64 // of one factor
}

func (b *block) reset(first, size int, step, variance float64) {
	b.size, b.step, b.alive = size, step, false
	for i := range size {
		t := float64(first+i) * step
		b.t[i], b.log[i], b.arg[i], b.err[i] = t, -variance*t*t/2, 0, 0
		b.alive = b.alive || b.log[i] >= negligible
	}
}

func (b *block) multiply(f *factor) {
	if !b.alive {
		return
	}
	base := 16.0
	if f.at == nil {
		b.sum(f)
		base += 4*blockSize + float64(len(f.losses))
	}
	b.alive = false
	for i := range b.size {
		if b.log[i] < negligible {
			continue
		}
		var re, im float64
		if f.at != nil {
			re, im = f.at(b.t[i])
		} else {
			re, im = b.re[i], b.im[i]
		}
		eta := ulp * (base + 4*b.t[i]*f.reach)
		q := math.Sqrt(re*re+im*im) + eta
		b.log[i] += f.count * math.Log(q)
		b.err[i] += f.count * eta / q
		b.arg[i] += math.Remainder(f.count*math.Atan2(im, re), 2*math.Pi)
		b.alive = b.alive || b.log[i] >= negligible
	}
}

// sum is the transform of a law on few points, all frequencies at once: from one to the next
// every atom turns by the same angle.
func (b *block) sum(f *factor) {
	for i := range b.size {
		b.re[i], b.im[i] = 0, 0
	}
	const together = 4 // so that the products do not wait for each other
	var re, im, turnRe, turnIm [together]float64
	for j := 0; j < len(f.losses); j += together {
		for k := range together {
			re[k], im[k] = 0, 0
			if j+k < len(f.losses) {
				x, p := f.losses[j+k]-f.centre, f.masses[j+k]
				sin, cos := math.Sincos(b.t[0] * x)
				re[k], im[k] = p*cos, p*sin
				turnIm[k], turnRe[k] = math.Sincos(b.step * x)
			}
		}
		re0, re1, re2, re3 := re[0], re[1], re[2], re[3]
		im0, im1, im2, im3 := im[0], im[1], im[2], im[3]
		for i := range b.size {
			b.re[i] += (re0 + re1) + (re2 + re3)
			b.im[i] += (im0 + im1) + (im2 + im3)
			re0, im0 = re0*turnRe[0]-im0*turnIm[0], re0*turnIm[0]+im0*turnRe[0]
			re1, im1 = re1*turnRe[1]-im1*turnIm[1], re1*turnIm[1]+im1*turnRe[1]
			re2, im2 = re2*turnRe[2]-im2*turnIm[2], re2*turnIm[2]+im2*turnRe[2]
			re3, im3 = re3*turnRe[3]-im3*turnIm[3], re3*turnIm[3]+im3*turnRe[3]
		}
	}
}

// sums returns A and R at ε, relative to e^{Kₛ(θ)−θε}, and the errors of both.
func (s *spectrum) sums(epsilon float64) (a, r, aErr, rErr float64) {
	y := epsilon - s.centre
	var sumA, sumR neumaier
	for i := range s.waves {
		w := &s.waves[i]
		sin, cos := math.Sincos(w.t * y)
		sumA.add(w.aRe*cos + w.aIm*sin)
		sumR.add(w.rRe*cos + w.rIm*sin)
	}
	turn := 4 * ulp * (math.Abs(epsilon) + math.Abs(s.centre))
	return sumA.value(), sumR.value(), s.sumErr + turn*s.phaseErr, s.densityErr + turn*s.waveErr
}

// scale returns e^{Kₛ(θ)−θε}.
func (s *spectrum) scale(epsilon float64) float64 { return math.Exp(s.logM - s.theta*epsilon) }

// rounding is about the relative width that rounding alone gives a bracket of δ.
func (s *spectrum) rounding() float64 { return s.relative + 2*s.theta*s.shift }

// above returns a bound on δ(ε) from above.
func (s *spectrum) above(epsilon float64) float64 {
	epsilon -= s.shift
	a, _, err, _ := s.sums(epsilon)
	v := (max(a+err, 0) + s.extra) * s.scale(epsilon) * (1 + s.relative)
	if !(v <= 1) { // and not a number
		return 1
	}
	return v
}

// below returns a bound on δ(ε) from below.
func (s *spectrum) below(epsilon float64) float64 {
	epsilon += s.shift
	a, r, aErr, rErr := s.sums(epsilon)
	alias := math.Exp(s.aliasRight-s.right*epsilon) + math.Exp(s.aliasLeft+s.left*epsilon)
	v := a - aErr - alias*1.01 - s.smooth*math.Exp(s.smooth/8)*max(r+rErr, 0)*(1+1e-9)
	if v *= s.scale(epsilon) * max(1-s.relative, 0); !(v >= 0) {
		return 0
	}
	return v
}
