package dp

import (
	"cmp"
	"math"
	"slices"
)

// A mixture is a composition of losses on few points, beside one Gaussian or nothing: δ(ε) is
// then a finite sum
//
//	δ(ε) = Σ pᵢ·δ₀(ε − lᵢ)
//
// with δ₀ that of the Gaussian, or (1 − e^ε)₊. Next to a point it is as narrow as elsewhere, where a
// spectrum would have to take ever less smoothing.
type mixture struct {
	losses, p []float64
	mu        float64 // of the Gaussian; 0 if there is none
	rest      float64 // at most this mass was left out
	relative  float64 // rounding error of the masses
	reach     float64 // the largest loss met on the way
	sums      float64 // of losses, each rounded
	// Without a Gaussian, from atom j up: Σ pᵢ·(1 − e^{lⱼ−lᵢ}) and Σ pᵢ·e^{lⱼ−lᵢ}.
	value, decay []float64
}

const (
	// maxAtoms is for sums of steps. Normal tails take far longer: maxMixed is for one
	// answer, maxSearch for the hundred that a search asks for.
	maxAtoms  = 1 << 17
	maxMixed  = 1 << 14
	maxSearch = 1 << 8
	mostSums  = 1 << 12 // of the uses of one kind
	// tooLight is the mass of an atom that is left out.
	tooLight = 1e-30
)

// mixture returns the law of the whole, if it has few atoms: at most mixed of them beside a Gaussian.
func (p pld) mixture(mixed int) (m mixture, ok bool) {
	m = mixture{losses: []float64{0}, p: []float64{1}}
	most := maxAtoms
	for _, u := range p.uses {
		if u.kind == Gaussian {
			m.mu, most = u.a, mixed // the only one: whole has merged them
		}
	}
	size := 1.0
	for _, u := range p.uses {
		if u.kind == Gaussian {
			continue
		}
		if size *= u.atoms(); !(u.atoms() <= mostSums && size <= 64*float64(most)) { // light ones fall away
			return m, false
		}
		if !m.times(u.sum(), most) {
			return m, false
		}
	}
	if m.mu == 0 {
		m.accumulate()
	}
	return m, true
}

// accumulate sorts the atoms and sums them up from the top: no term is negative.
func (m *mixture) accumulate() {
	n := len(m.p)
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(i, j int) int { return cmp.Compare(m.losses[i], m.losses[j]) })
	losses := make([]float64, n)
	m.value, m.decay = make([]float64, n), make([]float64, n)
	for j := n - 1; j >= 0; j-- {
		losses[j], m.decay[j] = m.losses[order[j]], m.p[order[j]]
		if j < n-1 {
			gap := losses[j+1] - losses[j]
			m.value[j] = m.value[j+1] - math.Expm1(-gap)*m.decay[j+1]
			m.decay[j] += math.Exp(-gap) * m.decay[j+1]
		}
	}
	m.losses, m.p = losses, nil
	m.relative += 8 * ulp * float64(n)
}

// atoms returns about how many losses the sum of all uses has, +Inf if they are not on a lattice.
func (u use) atoms() float64 {
	switch u.kind {
	case PureDP:
		return u.count + 1
	case DiscreteLaplace:
		return float64(u.shift)*u.count + 1
	case DiscreteGaussian:
		return 24*u.a*math.Sqrt(u.count) + 24
	}
	return math.Inf(1)
}

// sum returns the law of the sum of all uses. That of n uses of discrete Gaussian noise is a law
// of the sum of the noises: their losses are s·(2x + s)/2σ².
func (u use) sum() mixture {
	n := u.count
	if u.kind == PureDP {
		m := mixture{relative: 1e-12, reach: n * u.a}
		all, _ := math.Lgamma(n + 1)
		m.relative += 8 * ulp * (all + n*(u.a+1))
		logP, logQ := -math.Log1p(math.Exp(-u.a)), -u.a-math.Log1p(math.Exp(-u.a))
		for k := 0.0; k <= n; k++ {
			ways, _ := math.Lgamma(k + 1)
			other, _ := math.Lgamma(n - k + 1)
			m.losses = append(m.losses, u.a*(2*k-n))
			m.p = append(m.p, math.Exp(all-ways-other+k*logP+(n-k)*logQ))
		}
		return m
	}
	t := u.tableAt(0)
	step := 2 * u.a
	m := mixture{rest: n * t.tails(0, t.curve(0))}
	if u.kind == DiscreteGaussian {
		step = float64(u.shift) / (u.a * u.a)
	}
	one := make([]float64, len(t.losses))
	for i, l := range t.logP {
		one[i] = math.Exp(l)
	}
	var cut float64
	first := 0
	m.p, first, cut = power(one, int(n))
	m.rest += cut
	m.relative = 4 * ulp * n * (200 + float64(len(m.p)))
	for i := range m.p {
		m.losses = append(m.losses, n*t.losses[0]+float64(first+i)*step)
	}
	m.reach = n * math.Abs(t.losses[0])
	return m
}

// power convolves n laws on 0, 1, 2, … directly: all terms are positive, so that only
// relative errors add up. It leaves out light ends, with the mass cut in all.
func power(law []float64, n int) (out []float64, first int, cut float64) {
	out = []float64{1}
	lawFirst, lawCut := 0, 0.0
	trim := func(x []float64) (y []float64, skipped int, lost float64) {
		for len(x) > 1 && x[len(x)-1] < tooLight {
			lost += x[len(x)-1]
			x = x[:len(x)-1]
		}
		for len(x) > 1 && x[0] < tooLight {
			lost += x[0]
			x = x[1:]
			skipped++
		}
		return x, skipped, lost
	}
	for ; n > 0; n >>= 1 {
		if n&1 == 1 {
			y, skipped, lost := trim(convolution(out, law))
			out, first, cut = y, first+lawFirst+skipped, cut+lawCut+lost
		}
		if n > 1 {
			y, skipped, lost := trim(convolution(law, law))
			law, lawFirst, lawCut = y, 2*lawFirst+skipped, 2*lawCut+lost
		}
	}
	return out, first, cut * (1 + 1e-6)
}

func convolution(x, y []float64) []float64 {
	out := make([]float64, len(x)+len(y)-1)
	for i, p := range x {
		to := out[i : i+len(y)]
		for j, q := range y {
			to[j] += p * q
		}
	}
	return out
}

// times composes m with another one. It reports false if more than most atoms come out.
func (m *mixture) times(o mixture, most int) bool {
	var losses, p []float64
	light := 0.0
	for i, x := range m.p {
		for j, y := range o.p {
			w := x * y
			if w < tooLight {
				light += w
				continue
			}
			if len(p) == most {
				return false
			}
			losses, p = append(losses, m.losses[i]+o.losses[j]), append(p, w)
		}
	}
	m.losses, m.p = losses, p
	m.rest += o.rest + light*(1+1e-6)
	m.relative += o.relative + ulp
	m.reach += o.reach
	m.sums++
	return true
}

// delta brackets δ(ε).
func (m mixture) delta(epsilon float64) (lo, hi float64) {
	// ε and the losses have been rounded: the answer is between those a little to either side.
	shift := (3 + m.sums/2) * ulp * (m.reach + epsilon)
	if m.mu == 0 {
		lo, hi = m.above(epsilon+shift), m.above(epsilon-shift)
	} else {
		var low, high neumaier
		for i, l := range m.losses {
			a, _ := gaussianAnywhere(m.mu, epsilon-l+shift)
			_, b := gaussianAnywhere(m.mu, epsilon-l-shift)
			low.add(m.p[i] * a)
			high.add(m.p[i] * b)
		}
		lo, hi = low.value(), high.value()
	}
	return lo * (1 - m.relative), hi*(1+m.relative) + m.rest
}

// above is δ(ε) of the atoms alone.
func (m mixture) above(epsilon float64) float64 {
	j, _ := slices.BinarySearch(m.losses, epsilon)
	if j == len(m.losses) {
		return 0
	}
	return m.value[j] - math.Expm1(epsilon-m.losses[j])*m.decay[j]
}

// gaussianAnywhere is δ(ε) at any ε. Below 0 it follows from P and Q being exchangeable: δ(ε) =
// 1 − e^ε + e^ε·δ(−ε).
func gaussianAnywhere(mu, epsilon float64) (lo, hi float64) {
	lo, hi = gaussianDelta(mu, math.Abs(epsilon))
	lo, hi = math.Exp(lo), math.Exp(hi)
	if epsilon >= 0 {
		return lo, hi
	}
	d, e := -math.Expm1(epsilon), math.Exp(epsilon)
	return (d + e*lo) * (1 - 8*ulp), (d + e*hi) * (1 + 8*ulp)
}
