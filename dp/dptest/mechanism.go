package dptest

import (
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/iotest"
	"time"

	"github.com/larder-dp/larder/dp"
)

// A MechanismKit is a mechanism that adds noise to vectors of integers.
type MechanismKit struct {
	// New calibrates the mechanism and returns what adds its noise to every value,
	// in place; independently at each call. Sums are cut at the ends of int64, and on an error
	// of random all values are zeroed: CheckMechanism has all that it owes. Required.
	New func(p dp.Params, s dp.Sensitivity) (func(values []int64, random io.Reader) error, error)
	// Mechanism is passed to New. Noise that is named Gaussian or DiscreteGaussian is held
	// to that law's variance.
	Mechanism dp.Mechanism
	// Delta is at what δ it is audited: 0 for a mechanism that claims pure ε; for
	// others take 0.01.
	Delta float64
	// Samples is how many runs a side each audit judges; 0 means 20,000.
	Samples int
	// Seed fixes random and all coins.
	Seed uint64
	// Patience is how long a first call may take; 0 means 10 seconds.
	Patience time.Duration
}

// Mechanism fails t for each broken rule; see CheckMechanism.
func Mechanism(t testing.TB, kit MechanismKit) {
	t.Helper()
	report(t, CheckMechanism(kit))
}

// CheckMechanism points the statistical audit at a mechanism, in settings of its own,
// and holds it to what any mechanism on vectors promises. It stops after the first group
// of rules, the cheap ones first, that is broken:
//
//	(ε, δ)   audits for several ε up to 6, and sensitivities of which no two numbers
//	         are alike: of one cell, of the sum of all that one unit moves, of a
//	         difference, of cells of long vectors, about 0 and where a float64 rounds
//	law      noise that is named Gaussian has at least the variance that a Gaussian needs
//	         at δ of 1e-6 and 1e-10 and ε up to 40, where no audit sees anything
//	extremes bounds whose product leaves int64, ε of 1000 and of 1e-300: right, or refused
//	additive the noise does not depend on the value: exactly, where the same random
//	         gives the same noise, and else on average
//	fresh    every cell gets noise, and noise of its own: over cells, calls and builds, in
//	         vectors of several lengths
//	range    values at the ends of int64 do not wrap
//	failure  where the randomness fails no number is left behind, nor noise that
//	         everybody knows; it is read in full, however it comes
//	refusal  NaN, ±Inf, negative and missing numbers: an error
//	end      it returns
//
// Noise that is too large passes. Clamping what comes out, at 0 say, is no leak but for the
// caller to do: here it breaks two rules, for it hides what they look for. A large ε is as hard
// to see as a small δ: about 20·e^ε samples refute it. What passes has been audited at Samples a side: see
// AuditKit.Samples for what that can tell.
func CheckMechanism(kit MechanismKit) error {
	if kit.New == nil || !(kit.Delta >= 0 && kit.Delta < 1) {
		return errors.New("mechanism audit: give New, and a Delta in [0, 1)")
	}
	if kit.Samples == 0 {
		kit.Samples = 20_000
	}
	if kit.Patience == 0 {
		kit.Patience = 10 * time.Second
	}
	m := &mechanisms{kit: kit, broken: map[string]bool{}}
	for _, rule := range []func(){m.refusals, m.fails, m.ends, m.additive, m.fresh, m.law, m.audits, m.extremes} {
		if rule(); len(m.faults) > 0 {
			break // what is dear to find comes last
		}
	}
	return errors.Join(m.faults...)
}

type mechanisms struct {
	kit    MechanismKit
	broken map[string]bool
	faults []error
}

func (m *mechanisms) want(ok bool, rule, means, input, format string, args ...any) bool {
	if !ok && !m.broken[rule] {
		m.broken[rule] = true
		m.faults = append(m.faults, &Fault{Check: "mechanism audit", Rule: rule, Found: fmt.Sprintf(format, args...), Input: input, Means: means})
	}
	return ok
}

type mechanismCase struct {
	epsilon float64
	s       dp.Sensitivity
	move    []int64 // what one unit adds to the cells
}

func (c mechanismCase) String() string {
	return fmt.Sprintf("ε=%g, %+v, moved by %d", c.epsilon, c.s, c.move)
}

// Each move reaches the sensitivity of the case. Scales are small and their fractions
// spread, so that what is rounded is seen.
var mechanismCases = []mechanismCase{
	{1, dp.Sensitivity{L0: 1, L1: 1, L2Squared: 1, LInf: 1}, []int64{1}},
	{0.55, dp.Sensitivity{L0: 1, L1: 1, L2Squared: 1, LInf: 1}, []int64{1}},
	{2.6, dp.Sensitivity{L0: 1, L1: 5, L2Squared: 25, LInf: 5}, []int64{5}},
	{1.5, dp.Sensitivity{L0: 3, L1: 6, L2Squared: 14, LInf: 3}, []int64{3, 2, 1}},
	{1, dp.Sensitivity{L0: 9, L1: 9, L2Squared: 9, LInf: 1}, []int64{1, 1, 1, 1, 1, 1, 1, 1, 1}},
}

const auditRule = "the noise keeps (ε, δ) for what one unit can move"

// A view is what an attacker makes of a noised vector: of Gaussian noise the
// likelihood ratio is a function of the first one below, of Laplace noise of the second.
type view struct {
	name string
	of   func(values []int64, base int64) int64
}

func (m *mechanisms) audits() {
	for i, c := range mechanismCases {
		m.auditCase(i, c)
	}
	// The largest claim that so many samples refute. It sees little but noise that is missing.
	if e := min(6, math.Log(float64(m.kit.Samples)/40)); e > 3 {
		m.auditCase(len(mechanismCases), mechanismCase{e, dp.Sensitivity{L0: 2, L1: 5, L2Squared: 13, LInf: 3}, []int64{3, 2}})
	}
	m.auditLong()
}

// auditLong audits the cells of long vectors, each as a run of its own: additive and
// fresh have seen that their noise is that of any value, and their own.
func (m *mechanisms) auditLong() {
	c := mechanismCases[0]
	add, ok := m.build(dp.Params{Epsilon: c.epsilon, Delta: m.kit.Delta, Mechanism: m.kit.Mechanism}, c.s, c.String())
	if !ok || m.broken[auditRule] {
		return
	}
	for _, cells := range []int{20, 100, 700, 5000} {
		var pool []int64
		m.judge(AuditKit[int64]{
			Claim: dp.Budget{Epsilon: c.epsilon, Delta: m.kit.Delta}, Samples: m.kit.Samples, Seed: m.kit.Seed, Serial: true,
			Run: func(neighbour bool, random io.Reader) (int64, error) {
				if len(pool) == 0 {
					pool = make([]int64, cells)
					if err := add(pool, random); err != nil {
						return 0, err
					}
				}
				x := pool[0]
				if pool = pool[1:]; neighbour {
					x++
				}
				return x, nil
			},
		}, c, fmt.Sprintf("%v; seen: a cell of %d", c, cells))
	}
}

func (m *mechanisms) auditCase(i int, c mechanismCase) {
	p := dp.Params{Epsilon: c.epsilon, Delta: m.kit.Delta, Mechanism: m.kit.Mechanism}
	add, ok := m.build(p, c.s, c.String())
	if !ok {
		return
	}
	views := []view{{"the cells weighted by the move", func(v []int64, base int64) (sum int64) {
		for i, d := range c.move {
			sum += d * (v[i] - base)
		}
		return sum
	}}}
	if len(c.move) > 1 {
		views = append(views, view{"the distances from both vectors", func(v []int64, base int64) (sum int64) {
			for i, d := range c.move {
				x := v[i] - base
				sum += max(x, -x) - max(x-d, d-x)
			}
			return sum
		}})
	}
	if i == 0 {
		views = append(views, view{"the difference of two cells", func(v []int64, _ int64) int64 { return v[0] - v[1] }})
	}
	bases := []int64{0}
	if i == 0 {
		bases = []int64{0, -1000, 1<<53 + 1, 1<<60 + 128} // the last two are ties of float64
	}
	for _, base := range bases {
		for _, view := range views {
			m.audit(add, c, base, view)
		}
	}
}

// build calibrates and runs once, in time.
func (m *mechanisms) build(p dp.Params, s dp.Sensitivity, input string) (func([]int64, io.Reader) error, bool) {
	add, err := m.kit.New(p, s)
	if !m.want(err == nil && add != nil, "a valid claim is calibrated", "nothing was shown", input, "%v", err) {
		return nil, false
	}
	return add, m.returns(add, input)
}

func (m *mechanisms) returns(add func([]int64, io.Reader) error, input string) bool {
	err, late := m.inTime(add, make([]int64, 2), stream(m.kit.Seed, 9, 0, 1), input)
	return !late && m.want(err == nil, "what is calibrated adds noise", "nothing was shown", input, "%v", err)
}

type panicked struct{ with any }

func (p panicked) Error() string { return fmt.Sprint("panic: ", p.with) }

// inTime adds noise, or notes that it was waited for too long: then the values are
// still in use.
func (m *mechanisms) inTime(add func([]int64, io.Reader) error, values []int64, random io.Reader, input string) (err error, late bool) {
	done := make(chan error, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				done <- panicked{p}
			}
		}()
		done <- add(values, random)
	}()
	timer := time.NewTimer(m.kit.Patience)
	defer timer.Stop()
	select {
	case err = <-done:
		var p panicked
		m.want(!errors.As(err, &p), "a mechanism does not panic", "one value stops the release, and who sees it stop knows of the value", input, "%v", err)
		return err, false
	case <-timer.C:
		m.want(false, "a mechanism returns", "one query stops the server, and its processor is lost", input, "no answer in %v", m.kit.Patience)
		return nil, true
	}
}

func (m *mechanisms) audit(add func([]int64, io.Reader) error, c mechanismCase, base int64, v view) {
	m.judge(AuditKit[int64]{
		Claim: dp.Budget{Epsilon: c.epsilon, Delta: m.kit.Delta}, Samples: m.kit.Samples, Seed: m.kit.Seed,
		Run: func(neighbour bool, random io.Reader) (int64, error) {
			values := make([]int64, len(c.move)+1)
			for i := range values {
				values[i] = base
			}
			if neighbour {
				for i, d := range c.move {
					values[i] += d
				}
			}
			if err := add(values, random); err != nil {
				return 0, err
			}
			return v.of(values, base), nil
		},
	}, c, fmt.Sprintf("%v, about %d; seen: %s", c, base, v.name))
}

func (m *mechanisms) judge(kit AuditKit[int64], c mechanismCase, input string) {
	if m.broken[auditRule] {
		return
	}
	r, err := CheckAudit(kit)
	if r.Outcome == Invalid {
		m.want(false, "an audit that cannot fail shows nothing", "the claim is as unproved as before", c.String(), "%v", r)
		return
	}
	m.want(err == nil, auditRule, "the scale, the law or the precision of the noise is wrong", input, "%v", r)
}

// extremes are claims that may be refused, and must else be kept.
func (m *mechanisms) extremes() {
	var cases []mechanismCase
	for _, l0 := range []int64{3, 1000, 274177} {
		linf := int64(math.MaxUint64/uint64(l0)) + 1 // l0·linf = 2⁶⁴ + a little
		cases = append(cases, mechanismCase{1, dp.Sensitivity{L0: l0, L1: math.MaxInt64, L2Squared: math.MaxInt64, LInf: linf}, []int64{linf}})
	}
	one := dp.Sensitivity{L0: 1, L1: 1, L2Squared: 1, LInf: 1}
	cases = append(cases, mechanismCase{1000, one, []int64{1}}, mechanismCase{math.MaxFloat64, one, []int64{1}}, mechanismCase{0x1p-30, one, []int64{1}}, mechanismCase{0x1p-40, one, []int64{1}}, mechanismCase{1e-300, one, []int64{1}})
	for _, c := range cases {
		add, err := m.kit.New(dp.Params{Epsilon: c.epsilon, Delta: m.kit.Delta, Mechanism: m.kit.Mechanism}, c.s)
		if err != nil || add == nil || !m.returns(add, c.String()) || c.epsilon > 100 {
			continue // refused; or too dear a claim to be refuted
		}
		m.audit(add, c, 0, view{"the cell", func(v []int64, _ int64) int64 { return v[0] }})
	}
}

// additive adds noise to values of every size, from the same randomness where the
// mechanism takes it.
func (m *mechanisms) additive() {
	const rule = "the noise does not depend on the value"
	const means = "values are rounded, clamped or scaled beside the noise: near a step one unit moves the output by the whole step"
	c := mechanismCase{epsilon: 1, s: dp.Sensitivity{L0: 1, L1: 1, L2Squared: 1, LInf: 1}}
	add, ok := m.build(dp.Params{Epsilon: c.epsilon, Delta: m.kit.Delta, Mechanism: m.kit.Mechanism}, c.s, c.String())
	if !ok {
		return
	}
	rng := rand.New(stream(m.kit.Seed, 5, 0, 0))
	draw := func() int64 {
		v := rng.Int64N(1<<61) >> rng.IntN(61)
		if rng.IntN(2) == 0 {
			return -v
		}
		return v
	}
	const cells = 256
	for try := range 64 {
		values := slices.Repeat([]int64{draw()}, cells)
		// noise is what is added to values, or to zeros.
		noise := func(to []int64) (x []int64, sum, squares float64) {
			x = slices.Clone(to)
			input := fmt.Sprintf("values such as %d", to[0])
			err, late := m.inTime(add, x, stream(m.kit.Seed, 5, try, 1), input)
			if late || !m.want(err == nil, "what is calibrated adds noise", "an error that depends on a value is published without noise", input, "an error") {
				return nil, 0, 0
			}
			for i := range x {
				x[i] -= to[i]
				sum += float64(x[i])
				squares += float64(x[i]) * float64(x[i])
			}
			return x, sum, squares
		}
		zero, zeroSum, zeroSquares := noise(make([]int64, cells))
		again, _, _ := noise(make([]int64, cells))
		if zero == nil || again == nil {
			return
		}
		replays := slices.Equal(zero, again)
		for i := range values {
			if replays && i > 0 { // where each cell is compared, each may have a value of its own
				values[i] = draw()
			}
		}
		at, sum, squares := noise(values)
		if at == nil {
			return
		}
		if replays {
			for i := range at {
				if !m.want(at[i] == zero[i], rule, means, fmt.Sprintf("value %d", values[i]), "the same randomness gives 0 the noise %d, and this value %d", zero[i], at[i]) {
					return
				}
			}
			continue
		}
		// Ten standard deviations of the difference of two means over 256 cells.
		off, room := math.Abs(sum-zeroSum)/cells, 10*math.Sqrt(2*zeroSquares)/cells+0.01
		m.want(off <= room && squares <= 20*zeroSquares+100*cells, rule, means, fmt.Sprintf("value %d", values[0]), "the mean of %d noises is off by %.3g, their squares are %.3g against %.3g", cells, off, squares, zeroSquares)
	}
}

// fresh looks at noise of a large scale, where two cells seldom agree.
func (m *mechanisms) fresh() {
	const cells, calls = 5000, 4
	const rule, means = "every cell of every call gets noise of its own", "a difference of two outputs has no noise left: the true numbers, or how far they are apart"
	c := mechanismCase{epsilon: 0.01, s: dp.Sensitivity{L0: 1, L1: 1, L2Squared: 1, LInf: 1}}
	var all [][]int64
	for call := range calls {
		add, ok := m.build(dp.Params{Epsilon: c.epsilon, Delta: m.kit.Delta, Mechanism: m.kit.Mechanism}, c.s, c.String())
		if !ok {
			return
		}
		for again := range 2 { // twice by the same build
			values := make([]int64, cells)
			if err := add(values, stream(m.kit.Seed, 8, call, again)); !m.want(err == nil, "what is calibrated adds noise", "nothing was shown", c.String(), "%v", err) {
				return
			}
			all = append(all, values)
		}
	}
	once := func(all [][]int64) bool {
		for i := range all[0] {
			same := true
			for _, v := range all {
				same = same && v[i] == all[0][i]
			}
			if !m.want(!same, rule, means, c.String(), "cell %d of %d has the same noise in %d calls: %d", i+1, len(all[0]), len(all), all[0][i]) {
				return false
			}
		}
		return true
	}
	if !once(all) {
		return
	}
	add, ok := m.build(dp.Params{Epsilon: c.epsilon, Delta: m.kit.Delta, Mechanism: m.kit.Mechanism}, c.s, c.String())
	if !ok {
		return
	}
	for _, length := range []int{1, 2, 3, 7, 33, 127, 1021} { // of no worker, block or buffer a multiple
		var short [][]int64
		for again := range 8 {
			values := make([]int64, length)
			if err := add(values, stream(m.kit.Seed, 10, length, again)); !m.want(err == nil, "what is calibrated adds noise", "nothing was shown", c.String(), "%v", err) {
				return
			}
			short = append(short, values)
		}
		if !once(short) {
			return
		}
	}
	equal := func(x, y []int64) (n int) {
		for i := range x {
			if x[i] == y[i] {
				n++
			}
		}
		return n
	}
	for i, v := range all {
		for j := range i {
			if n := equal(v, all[j]); !m.want(2*n < cells, rule, means, c.String(), "calls %d and %d agree in %d of %d cells", j+1, i+1, n, cells) {
				return
			}
		}
	}
	for lag := 1; lag <= cells-64; lag++ {
		n := equal(all[0][:cells-lag], all[0][lag:])
		if !m.want(2*n < cells-lag, rule, means, c.String(), "%d of %d cells have the noise of the cell %d before them", n, cells-lag, lag) {
			return
		}
	}
}

// law compares variances where audits are blind. Of n Gaussian numbers of deviation σ the
// mean of the squares is below r·σ², r < 1, with probability exp(−n·(r−1−ln r)/2) at most
// (Chernoff's bound). Scales are so large that rounding to integers does not count.
func (m *mechanisms) law() {
	if m.kit.Mechanism != dp.Gaussian && m.kit.Mechanism != dp.DiscreteGaussian || m.kit.Delta == 0 {
		return
	}
	const move = 10_000
	s := dp.Sensitivity{L0: 1, L1: move, L2Squared: move * move, LInf: move}
	for i, b := range []dp.Budget{{Epsilon: 0.5, Delta: 1e-6}, {Epsilon: 2, Delta: 1e-10}, {Epsilon: 10, Delta: 1e-6}, {Epsilon: 40, Delta: 1e-10}} {
		input := fmt.Sprintf("ε=%g δ=%g, %+v", b.Epsilon, b.Delta, s)
		add, err := m.kit.New(dp.Params{Epsilon: b.Epsilon, Delta: b.Delta, Mechanism: m.kit.Mechanism}, s)
		if err != nil || add == nil {
			continue // refused
		}
		values := make([]int64, m.kit.Samples)
		err, late := m.inTime(add, values, stream(m.kit.Seed, 11, i, 1), input)
		if late || !m.want(err == nil, "what is calibrated adds noise", "nothing was shown", input, "%v", err) {
			return
		}
		squares := 0.0
		for _, x := range values {
			squares += float64(x) * float64(x)
		}
		n := float64(len(values))
		// The largest σ that such squares do not refute.
		lo, hi := 0.0, 1.0
		for range 60 {
			if r := (lo + hi) / 2; n*(r-1-math.Log(r))/2 > -math.Log(alpha) {
				lo = r
			} else {
				hi = r
			}
		}
		sigma := math.Sqrt(squares / n / lo)
		m.want(normalDelta(move/sigma, b.Epsilon) <= b.Delta, "noise that is named Gaussian has the variance of one that keeps (ε, δ)",
			"the noise is calibrated by a formula that is wrong here, or by another δ", input, "the deviation is %.4g at most, and Gaussian noise of it has δ(ε) = %.3g", sigma, normalDelta(move/sigma, b.Epsilon))
	}
}

// ends adds noise of a small scale to the ends of int64.
func (m *mechanisms) ends() {
	c := mechanismCase{epsilon: 1, s: dp.Sensitivity{L0: 1, L1: 1, L2Squared: 1, LInf: 1}}
	add, ok := m.build(dp.Params{Epsilon: c.epsilon, Delta: m.kit.Delta, Mechanism: m.kit.Mechanism}, c.s, c.String())
	if !ok {
		return
	}
	random := stream(m.kit.Seed, 7, 0, 1)
	for _, v := range []int64{math.MaxInt64, math.MaxInt64 - 1, 1 << 62, -1 << 62, math.MinInt64 + 1, math.MinInt64} {
		values := make([]int64, 200)
		for i := range values {
			values[i] = v
		}
		err, late := m.inTime(add, values, random, fmt.Sprintf("value %d", v))
		if late {
			return
		}
		if err != nil {
			continue // refused is not wrapped, but see fails: no number is left
		}
		for _, got := range values {
			if !m.want((got < 0) == (v < 0) && got != 0, "values at the ends of int64 do not wrap", "the largest number is published as the smallest", fmt.Sprintf("value %d", v), "with noise it is %d", got) {
				return
			}
		}
	}
}

// fails breaks the randomness, at once or on the way. Noise of this scale leaves one of 64
// values bare now and then, and 13 of them by chance less than once in 10¹⁵.
func (m *mechanisms) fails() {
	const rule = "where the randomness fails there is an error and no number"
	c := mechanismCase{epsilon: 0.01, s: dp.Sensitivity{L0: 1, L1: 1, L2Squared: 1, LInf: 1}}
	add, ok := m.build(dp.Params{Epsilon: c.epsilon, Delta: m.kit.Delta, Mechanism: m.kit.Mechanism}, c.s, c.String())
	if !ok {
		return
	}
	noised := func(random io.Reader) ([]int64, error) {
		values := slices.Repeat([]int64{1 << 40}, 64)
		err := add(values, random)
		return values, err
	}
	for _, after := range []int64{0, 7, 40, 100, 300} {
		broken := func() io.Reader {
			return io.MultiReader(io.LimitReader(stream(m.kit.Seed, 6, 0, 1), after), iotest.ErrReader(errors.New("broken")))
		}
		values, err := noised(broken())
		bare, left := 0, 0
		for _, v := range values {
			if v == 1<<40 {
				bare++
			}
			if v != 0 {
				left++
			}
		}
		m.want(err != nil || bare < 13, rule, "un-noised numbers are published when the generator fails", c.String(), "no error after %d bytes, and %d of 64 values are bare", after, bare)
		m.want(err == nil || left == 0, rule, "a caller that overlooks the error publishes un-noised numbers", c.String(), "an error after %d bytes, and %d of 64 numbers left behind", after, left)
		if err == nil && after < 8 { // right for a mechanism that has randomness of its own
			again, err := noised(broken())
			m.want(err != nil || !slices.Equal(values, again), rule, "everybody can compute the noise that is drawn when the generator fails", c.String(), "no error, and the same noise twice")
		}
	}
	whole, err := noised(stream(m.kit.Seed, 6, 1, 1))
	again, err2 := noised(stream(m.kit.Seed, 6, 1, 1))
	bytewise, err3 := noised(iotest.OneByteReader(stream(m.kit.Seed, 6, 1, 1)))
	if err := errors.Join(err, err2, err3); m.want(err == nil, "what is calibrated adds noise", "nothing was shown", c.String(), "%v", err) && slices.Equal(whole, again) {
		m.want(slices.Equal(whole, bytewise), "the randomness is read in full", "a seed that came in pieces is mostly zeros: whoever tries the rest knows the noise", c.String(), "the same bytes, given one by one, make another noise")
	}
}

func (m *mechanisms) refusals() {
	nan, inf := math.NaN(), math.Inf(1)
	one := dp.Sensitivity{L0: 1, L1: 1, L2Squared: 1, LInf: 1}
	for _, p := range []dp.Params{
		{Epsilon: nan, Delta: m.kit.Delta},
		{Epsilon: inf, Delta: m.kit.Delta},
		{Epsilon: -1, Delta: m.kit.Delta},
		{Delta: m.kit.Delta},
		{Epsilon: 1, Delta: nan},
		{Epsilon: 1, Delta: -0.1},
		{Epsilon: 1, Delta: 1},
		{Epsilon: 1, Delta: inf},
	} {
		p.Mechanism = m.kit.Mechanism
		_, err := m.kit.New(p, one)
		m.want(err != nil, refusal, refusalMeans, fmt.Sprintf("ε=%g δ=%g", p.Epsilon, p.Delta), "accepted")
	}
	if m.kit.Delta > 0 {
		p := dp.Params{Epsilon: 1, Mechanism: m.kit.Mechanism}
		if add, err := m.kit.New(p, one); err == nil && m.returns(add, "ε=1 δ=0") {
			// It says that it keeps pure ε: then it must.
			zero := *m
			zero.kit.Delta = 0
			zero.audit(add, mechanismCase{1, one, []int64{1}}, 0, view{"the cell", func(v []int64, _ int64) int64 { return v[0] }})
			m.faults = zero.faults
		}
	}
	for _, s := range []dp.Sensitivity{{}, {L0: 1, L1: -1, L2Squared: 1, LInf: 1}, {L0: 1, L1: 1, L2Squared: -1, LInf: 1}, {L0: 1, L1: 0, L2Squared: 0, LInf: 1}, {L0: -1, L1: 1, L2Squared: 1, LInf: 1}, {L0: 1, L1: 1, L2Squared: 1, LInf: -1}, {L0: 0, L1: 1, L2Squared: 1, LInf: 1}, {L0: 1, L1: 1, L2Squared: 1, LInf: 0}} {
		_, err := m.kit.New(dp.Params{Epsilon: 1, Delta: m.kit.Delta, Mechanism: m.kit.Mechanism}, s)
		m.want(err != nil, refusal, refusalMeans, fmt.Sprintf("%+v", s), "accepted")
	}
}
