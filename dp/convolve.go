package dp

import (
	"math"
	"math/cmplx"

	"gonum.org/v1/gonum/dsp/fourier"
)

// A folded law is the law of the sum of all losses, tilted: fⱼ is the mass at
// at + j·h times e^{θ·(at+jh)−K}, so that
//
//	δ(ε) = e^{K−θε}·Σ fⱼ·e^{−θx}·(1 − e^{−x}), x = at + jh − ε > 0
//
// Tilting (Alghamdi et al. 2022, arXiv 2208.09595) puts the middle of f near ε: the
// rounding error of a Fourier transform is relative to the peak of f, and the
// tail of the law that matters is now that peak.
type folded struct {
	at, h, theta float64
	logMass      float64   // K
	value, decay []float64 // Σ over i ≥ j of fᵢ·e^{−θx}(1−e^{−x}) and fᵢ·e^{−(θ+1)x}, x from point j
	// extra is added to the sum: what aliasing and truncation can change, and
	// with which sign. relative is what rounding can change.
	extra, relative float64
	// shift bounds how far rounding moved the points.
	shift float64
}

// A term is one kind of loss on a lattice, with the number of its uses.
type term struct {
	law   lattice
	count float64
	moved float64 // how far an atom may be from its point
	lost  float64 // tilted mass that the lattice leaves out, relative to what it holds
}

const (
	ulp = 0x1p-52
	// negligible is the logarithm of a coefficient that is left out.
	negligible = -90.0
)

// peakWeight is the largest e^{−θx}·(1−e^{−x}): θ^θ/(1+θ)^{1+θ}.
func peakWeight(theta float64) float64 {
	if theta <= 0 {
		return 1
	}
	return math.Exp(-logPlain(theta))
}

// A window is where the tilted sum is: but for about tail, between lo and hi.
type window struct {
	lo, hi      float64
	left, right float64 // the tilts that bound the mass beyond
	theta, h    float64
	size        int // of the transform
	// of the upper law, for the proof
	outside, rounding float64
}

// fold returns the law of the sum. The transform is cyclic: point j holds the
// mass of all j + k·N. Mass beyond the window is bounded by Chernoff's bound from
// the very masses that are transformed.
//
// An upper law keeps aliased mass where it landed, and adds what left the window to
// the right (at most T₊·max e^{−θx}(1−e^{−x})) and what the lattices left out. A
// lower law subtracts all that can have come from elsewhere.
//
// Floating point. Every coefficient of a transform of length N is a sum over a tree of depth
// log₂ N, of masses whose absolute sum is 1: its error is at most η = c·log₂N·ulp. So
// |Ĝ − G| ≤ Π(|Fᵢ|+η)^nᵢ − Π|Fᵢ|^nᵢ and a few ulp nᵢ for the power; an entry of the
// inverse is off by at most the mean of that over all frequencies, and η times the mean
// of |G|. The bound E is added to every entry, or taken from it.
func fold(fft *fourier.FFT, terms []term, w window, upper bool) folded {
	n := w.size
	eta := 8 * (math.Log2(float64(n)) + 1) * ulp
	f := folded{theta: w.theta, h: w.h}
	var base, leftTail, rightTail, lost neumaier
	steps, moved, support := 0.0, 0.0, 0.0
	logs := make([]float64, n/2+1) // Σ nᵢ·ln|Fᵢ|
	more := make([]float64, n/2+1) // Σ nᵢ·ln(|Fᵢ|+η)
	angle := make([]float64, n/2+1)
	seq := make([]float64, n)
	var coeff []complex128
	for i, t := range terms {
		logM := tilt(seq, t.law, w)
		f.logMass += t.count * logM
		base.add(t.count * t.law.at)
		mid := t.law.at + float64(len(t.law.w)/2)*w.h
		leftTail.add(t.count * (shifted(t.law, w, mid, -w.left, logM) - w.left*mid))
		rightTail.add(t.count * (shifted(t.law, w, mid, w.right, logM) + w.right*mid))
		lost.add(t.count * t.lost)
		support += t.count * float64(len(t.law.w)-1)
		moved += t.count * t.moved
		reach := max(math.Abs(t.law.at), math.Abs(t.law.at+float64(len(t.law.w))*w.h))
		steps += t.count * (512 + 8*(w.theta+1)*reach)
		coeff = fft.Coefficients(coeff, seq)
		for k, c := range coeff {
			if more[k] < -200 {
				continue
			}
			r := math.Sqrt(real(c)*real(c) + imag(c)*imag(c))
			more[k] += t.count * math.Log(r+eta)
			switch {
			case i == len(terms)-1 && more[k] < negligible: // as most are: no phase is needed
			case r > 0:
				logs[k] += t.count * math.Log(r)
				angle[k] += math.Remainder(t.count*math.Atan2(imag(c), real(c)), 2*math.Pi)
			default:
				logs[k] = math.Inf(-1)
			}
		}
	}
	counts := 0.0
	for _, t := range terms {
		counts += t.count
	}
	var off, size neumaier
	for k := range coeff {
		weight := 2.0
		if k == 0 || 2*k == n {
			weight = 1
		}
		if more[k] < negligible {
			coeff[k] = 0
			off.add(weight * math.Exp(negligible))
			continue
		}
		bound := math.Exp(more[k])
		g := math.Exp(logs[k])
		off.add(weight * (max(bound-g, 0) + g*counts*8*ulp*math.Pi + g*math.Abs(max(logs[k], -1e3))*4*ulp))
		size.add(weight * g)
		coeff[k] = cmplx.Rect(g, angle[k])
	}
	e := (off.value() + eta*size.value()) / float64(n)
	seq = fft.Sequence(seq, coeff)

	// Unroll the cycle: the first point at or below the window.
	first := math.Floor((w.lo - base.value()) / w.h)
	f.at = base.value() + first*w.h
	start := int(math.Mod(first, float64(n)))
	if start < 0 {
		start += n
	}
	end := f.at + float64(n)*w.h
	f.value, f.decay = make([]float64, n+1), make([]float64, n+1)
	down, down1, width := math.Exp(-w.theta*w.h), math.Exp(-(w.theta+1)*w.h), -math.Expm1(-w.h)
	sign := 1.0
	if !upper {
		sign = -1
	}
	e *= sign
	for j := n - 1; j >= 0; j-- {
		i := start + j
		if i >= n {
			i -= n
		}
		m := max(seq[i]/float64(n)+e, 0)
		f.value[j] = down * (f.value[j+1] + width*f.decay[j+1])
		f.decay[j] = m + down1*f.decay[j+1]
	}
	left := math.Exp(min(leftTail.value()+w.left*f.at, 0))
	right := math.Exp(min(rightTail.value()-w.right*end, 0))
	if first <= 0 { // nothing lies below the lowest point
		left = 0
	}
	if first+float64(n-1) >= support {
		right = 0
	}
	if upper {
		f.extra = peakWeight(w.theta) * (right + math.Expm1(min(lost.value(), 700)))
	} else {
		f.extra = -peakWeight(w.theta) * (left + right)
	}
	f.extra *= 1 + 1e-6
	f.relative = sign * (steps*ulp + 8*float64(n)*ulp + 1e-12)
	f.shift = sign * (moved + 8*ulp*(math.Abs(base.value())+math.Abs(f.at)+float64(n)*w.h))
	return f
}

// tilt writes the tilted law, normalised, folded to the length of seq, and returns
// the logarithm of its mass before.
func tilt(seq []float64, l lattice, w window) (logM float64) {
	clear(seq)
	// Exponents are counted from the heaviest point, so that nothing overflows.
	top := l.heaviest(w.theta, w.h)
	var sum neumaier
	n, j := len(seq), 0
	step := math.Exp(w.theta * w.h)
	grow := 0.0
	for i, m := range l.w {
		if i&15 == 0 {
			grow = math.Exp(w.theta*(l.at+float64(i)*w.h) - top)
		} else {
			grow *= step
		}
		if m > 0 {
			m *= grow
			sum.add(m)
			seq[j] += m
		}
		if j++; j == n {
			j = 0
		}
	}
	total := sum.value()
	for i := range seq {
		seq[i] /= total
	}
	return math.Log(total) + top
}

// shifted returns ln Σ (tilted, normalised mass at l)·e^{s(l−mid)}, rounded up.
func shifted(l lattice, w window, mid, s, logM float64) float64 {
	slope := w.theta + s
	top := l.heaviest(slope, w.h)
	sum := 0.0
	step := math.Exp(slope * w.h)
	grow := 0.0
	for i, m := range l.w {
		if i&63 == 0 || step > 2 || step < 0.5 {
			grow = math.Exp(slope*(l.at+float64(i)*w.h) - top)
		} else {
			grow *= step
		}
		if m > 0 {
			sum += m * grow
		}
	}
	return math.Log(sum) + 1e-10 + top - logM - s*mid
}

// heaviest returns about the largest ln w + slope·l.
func (l lattice) heaviest(slope, h float64) float64 {
	top := math.Inf(-1)
	at := func(i int) {
		if m := l.w[i]; m > 0 {
			top = max(top, math.Log(m)+slope*(l.at+float64(i)*h))
		}
	}
	last := len(l.w) - 1
	for i := 0; i <= last; i += 1 + len(l.w)/512 {
		at(i)
	}
	for i := range min(3, len(l.w)) {
		at(i)
		at(last - i)
	}
	if math.IsInf(top, -1) {
		for i := range l.w {
			at(i)
		}
	}
	return top
}

// delta returns the bound on δ(ε).
func (f folded) delta(epsilon float64) float64 {
	epsilon -= f.shift
	k := math.Ceil((epsilon - f.at) / f.h)
	if !(k >= 0) { // below the window
		if f.relative > 0 {
			return 1
		}
		k = 0
	}
	sum := 0.0
	if j := int(min(k, float64(len(f.value)-1))); j < len(f.value)-1 {
		x := max(f.at+float64(j)*f.h-epsilon, 0)
		sum = math.Exp(-f.theta*x) * (f.value[j] - math.Expm1(-x)*f.decay[j])
	}
	sum = max(sum*(1+f.relative)+f.extra, 0)
	return min(sum*math.Exp(f.logMass-f.theta*epsilon), 1)
}
