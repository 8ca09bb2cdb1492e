package dptest

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"testing"

	"github.com/larder-dp/larder/dp"
)

// A Tape is the randomness of a sampler under audit: the audit plays every tape.
// A sampler that has a seam for uniform integers takes Below; one that reads an
// io.Reader takes the Tape as that reader.
type Tape struct {
	script []draw
	next   int
	weight uint64 // 1/weight is the probability of what was drawn
	limit  uint64
	moved  bool // the same draws were followed by another question
}

type draw struct{ n, choice uint64 }

type tapeEnds struct{}

// Below returns a uniform integer in [0, n), n ≥ 1.
func (t *Tape) Below(n uint64) uint64 {
	if n == 0 {
		panic("dptest: Below(0)")
	}
	if n > t.limit/t.weight {
		t.script = t.script[:t.next]
		panic(tapeEnds{})
	}
	if t.next == len(t.script) {
		t.script = append(t.script, draw{n: n})
	}
	d := t.script[t.next]
	if d.n != n {
		t.moved = true
		panic(tapeEnds{})
	}
	t.next++
	t.weight *= n
	return d.choice
}

// Read implements io.Reader: every byte is a draw from 256.
func (t *Tape) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(t.Below(256))
	}
	return len(p), nil
}

// forward moves to the next tape, and says whether there is one.
func (t *Tape) forward() bool {
	for len(t.script) > 0 {
		last := &t.script[len(t.script)-1]
		if last.choice++; last.choice < last.n {
			return true
		}
		t.script = t.script[:len(t.script)-1]
	}
	return false
}

// A masses is the exact law of a sampler: how many tapes of which probability
// give each output.
type masses[O comparable] struct {
	of        map[O]*big.Rat
	undecided *big.Rat
}

var errMoved = errors.New("the same tape led elsewhere a second time: something but the tape decides")

// mostTapes limits the work where the kit chooses the length of the tapes.
const mostTapes = 1 << 17

// deepest enumerates on the longest tapes for which there are few enough of them.
func deepest[O comparable](draw func(*Tape) O, bits int) (m masses[O], err error) {
	if bits > 0 {
		m, _, err = enumerate(draw, bits, math.MaxInt)
		return m, err
	}
	for bits = 8; bits <= 60; bits += 4 {
		next, done, err := enumerate(draw, bits, mostTapes)
		if err != nil || !done {
			return m, err
		}
		m = next
		if m.undecided.Sign() == 0 {
			break
		}
	}
	return m, nil
}

func enumerate[O comparable](draw func(*Tape) O, bits, most int) (m masses[O], done bool, err error) {
	counts := map[O]map[uint64]int64{}
	ends := map[uint64]int64{}
	t := &Tape{limit: 1 << bits}
	for runs := 0; ; runs++ {
		if runs == most {
			return m, false, nil
		}
		out, ended := play(t, draw)
		switch {
		case t.moved:
			return m, false, errMoved
		case ended:
			ends[t.weight]++
		default:
			if runs%64 == 0 { // once more, for a sampler with a memory
				weight := t.weight
				if again, _ := play(t, draw); again != out || t.moved || t.weight != weight {
					return m, false, errMoved
				}
			}
			if counts[out] == nil {
				counts[out] = map[uint64]int64{}
			}
			counts[out][t.weight]++
		}
		if !t.forward() {
			break
		}
	}
	m = masses[O]{of: map[O]*big.Rat{}, undecided: total(ends)}
	for o, c := range counts {
		m.of[o] = total(c)
	}
	return m, true, nil
}

func play[O comparable](t *Tape, draw func(*Tape) O) (out O, ended bool) {
	t.next, t.weight = 0, 1
	defer func() {
		switch r := recover().(type) {
		case nil:
		case tapeEnds:
			ended = true
		default:
			panic(r)
		}
	}()
	out = draw(t)
	return out, false
}

func total(counts map[uint64]int64) *big.Rat {
	sum := new(big.Rat)
	for weight, n := range counts {
		sum.Add(sum, new(big.Rat).SetFrac(big.NewInt(n), new(big.Int).SetUint64(weight)))
	}
	return sum
}

// mass returns the mass of o; of what never came, 0.
func (m masses[O]) mass(o O) *big.Rat {
	if r := m.of[o]; r != nil {
		return r
	}
	return new(big.Rat)
}

// deltaAtLeast returns a lower bound of δ(ε) = Σ (P(o) − e^ε·Q(o))₊ that holds
// wherever the undecided tapes lead, and the output that adds most to it.
func deltaAtLeast[O comparable](p, q masses[O], epsilon float64) (delta *big.Rat, worst O) {
	e := new(big.Rat).SetFloat64(math.Nextafter(math.Exp(epsilon)*(1+0x1p-50), math.Inf(1)))
	delta = new(big.Rat)
	most := new(big.Rat)
	for o, m := range p.of {
		gain := new(big.Rat).Sub(m, new(big.Rat).Mul(e, q.mass(o)))
		if gain.Sign() <= 0 {
			continue
		}
		delta.Add(delta, gain)
		if gain.Cmp(most) > 0 {
			most, worst = gain, o
		}
	}
	return delta.Sub(delta, new(big.Rat).Mul(e, q.undecided)), worst
}

// A SamplerKit is a sampler to be audited exactly: on every tape, with no chance
// involved.
//
// The audit needs samplers that decide soon: one that reads a float64's 53 bits
// at once has 2⁵³ tapes. Give it a smaller word where it has that parameter, or
// audit it by chance (Audit).
type SamplerKit[O comparable] struct {
	// Draw returns value with noise, all its randomness taken from the tape.
	// Required.
	Draw func(value int64, tape *Tape) O
	// Sensitivity is how far one privacy unit moves the value. At least 1.
	Sensitivity int64
	// Claim is the (ε, δ) that one draw is said to cost.
	Claim dp.Budget
	// Bits is the length of the tapes: those of a probability below 2^−Bits stay
	// undecided. At most 62; 0 means as many as some 100,000 tapes allow.
	Bits int
	// Values are those at which the sampler is audited. Nil means small ones, one where
	// a float64 rounds, and the ends of int64.
	Values []int64
}

// Sampler fails t if the sampler breaks its claim; see CheckSampler.
func Sampler[O comparable](t testing.TB, kit SamplerKit[O]) {
	t.Helper()
	report(t, CheckSampler(kit))
}

// CheckSampler audits a sampler. With P and Q its exact laws at two values that one
// privacy unit can exchange, Σ (P(o) − e^ε·Q(o))₊ must not be above δ. Masses are
// rationals; what stays undecided on the tapes is counted in favour of the
// sampler, so that a fault is a proof.
//
// It does not see what Draw does not take from the tape (it says so if that
// makes a difference), and no fault smaller than e^ε times the undecided mass.
func CheckSampler[O comparable](kit SamplerKit[O]) error {
	const check = "sampler audit"
	if err := kit.Claim.Validate(); err != nil || kit.Draw == nil || kit.Sensitivity < 1 || kit.Bits < 0 || kit.Bits > 62 {
		return fmt.Errorf("%s: give Draw, a Sensitivity of at least 1, a valid Claim and at most 62 Bits (%v)", check, err)
	}
	laws := map[int64]masses[O]{}
	law := func(v int64) (masses[O], error) {
		m, ok := laws[v]
		var err error
		if !ok {
			m, err = deepest(func(t *Tape) O { return kit.Draw(v, t) }, kit.Bits)
			laws[v] = m
		}
		return m, err
	}
	values := kit.Values
	if values == nil {
		values = []int64{0, 1, -1, 1<<53 + 1, math.MaxInt64 - kit.Sensitivity, math.MinInt64}
	}
	for _, v := range values {
		for _, shift := range shifts(kit.Sensitivity) {
			if v > math.MaxInt64-shift {
				continue
			}
			p, err := law(v)
			q, err2 := law(v + shift)
			if err = errors.Join(err, err2); err != nil {
				return &Fault{
					Check: check, Rule: "a sampler's output is a function of its tape and its value", Found: err.Error(), Input: fmt.Sprintf("value %d", v),
					Means: "the randomness is not the one that was reviewed: a shared or fixed seed, or a memory of earlier draws",
				}
			}
			for _, side := range []struct {
				p, q masses[O]
				name string
			}{{p, q, fmt.Sprintf("%d against %d", v, v+shift)}, {q, p, fmt.Sprintf("%d against %d", v+shift, v)}} {
				if err := judgeSampler(side.p, side.q, kit.Claim, side.name); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func judgeSampler[O comparable](p, q masses[O], claim dp.Budget, input string) error {
	undecided := 1.0
	if p.undecided != nil && q.undecided != nil {
		a, _ := p.undecided.Float64()
		b, _ := q.undecided.Float64()
		undecided = max(a, b)
	}
	if undecided > 0.5 {
		return &Fault{
			Check: "sampler audit", Rule: "invalid: most tapes must decide", Found: fmt.Sprintf("of the mass %.3g is undecided", undecided),
			Input: input, Means: "nothing was shown: raise Bits, give the sampler shorter words or a smaller scale, or audit it by chance",
		}
	}
	delta, worst := deltaAtLeast(p, q, claim.Epsilon)
	if delta.Cmp(new(big.Rat).SetFloat64(claim.Delta)) <= 0 {
		return nil
	}
	f, _ := delta.Float64()
	pm, _ := p.mass(worst).Float64()
	qm, _ := q.mass(worst).Float64()
	return &Fault{
		Check: "sampler audit", Rule: "Σ (P(o) − e^ε·Q(o))₊ ≤ δ over values that one privacy unit can exchange",
		Found: fmt.Sprintf("δ(%g) is at least %.6g, and %g is claimed; undecided %.3g", claim.Epsilon, f, claim.Delta, undecided),
		Input: fmt.Sprintf("value %s: output %v has mass %.6g against %.6g", input, worst, pm, qm),
		Means: "whoever sees such an output learns more of one unit than ε and δ say: the noise is too small, has holes, ends, or leans to one side",
	}
}

// shifts returns the distances at which a sampler is audited: few, and small ones
// first.
func shifts(sensitivity int64) (all []int64) {
	for s := int64(1); s <= min(sensitivity, 4); s++ {
		all = append(all, s)
	}
	if sensitivity > 4 {
		all = append(all, sensitivity)
	}
	return all
}
