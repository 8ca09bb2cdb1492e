package main

import (
	"fmt"
	"math"

	"github.com/larder-dp/larder/dp"
)

// confidence is that of every interval here.
const confidence = 0.95

// events returns the plan as the accountant sees it, one event a line, with every ε at factor times
// what it is.
func (p plan) events(factor float64) ([]dp.Event, error) {
	var events []dp.Event
	for _, l := range p.Lines {
		e, err := l.at(factor)
		if err != nil {
			return nil, fmt.Errorf("line %q: %w", l.Name, err)
		}
		events = append(events, e)
	}
	return events, nil
}

// at returns the line's event with ε at factor times what it is: noise in inverse proportion, ρ
// with the square. A Rényi curve has no ε, and stays.
func (l line) at(factor float64) (dp.Event, error) {
	if q := l.asked(); q != nil {
		n, err := q.noise(factor)
		if err != nil {
			return dp.Event{}, err
		}
		e := n.Event()
		e.Count = q.Count
		return e, nil
	}
	e := *l.Event
	e.Scale /= factor
	e.Epsilon *= factor
	e.Rho *= factor * factor
	return e, nil
}

// asked is the line as a question, nil if it is an event.
func (l line) asked() *question {
	if l.Season != nil {
		q := l.Season.question()
		return &q
	}
	return l.Question
}

// A noiseLevel is the noise on one value, in pieces.
type noiseLevel struct {
	Mechanism dp.Mechanism
	Scale     float64
	StdDev    float64
	Half      float64 // of the interval
}

// level returns the noise of a line with ε at factor times what it is; ok is false where only its cost
// is known, or no noise is.
func (l line) level(factor float64) (n noiseLevel, ok bool) {
	if q := l.asked(); q != nil {
		noise, err := q.noise(factor)
		if err != nil {
			return n, false
		}
		return levelOf(noise, 1)
	}
	e := *l.Event
	n = noiseLevel{Mechanism: e.Mechanism, Scale: e.Scale / factor}
	n.StdDev, n.Half, ok = spread(n.Mechanism, n.Scale)
	return n, ok
}

// levelOf is the noise of a sum of terms values, each with noise.
func levelOf(noise dp.Noise, terms int) (noiseLevel, bool) {
	half, _, err := noise.Interval(terms, confidence)
	if err != nil {
		return noiseLevel{}, false
	}
	return noiseLevel{noise.Mechanism(), noise.Scale(), noise.StdDev() * math.Sqrt(float64(terms)), float64(half)}, true
}

// spread returns the standard deviation and the half-width of the interval of a mechanism of the
// accountant: of the continuous law, or by summing the law on the integers.
func spread(m dp.Mechanism, scale float64) (stdDev, half float64, ok bool) {
	const normal = 1.959963984540054 // Φ⁻¹(0.975)
	switch m {
	case dp.Laplace:
		return scale * math.Sqrt2, -scale * math.Log(1-confidence), true
	case dp.Gaussian:
		return scale, scale * normal, true
	case dp.Skellam: // nearly normal: its excess kurtosis is 1/variance
		return scale, math.Ceil(scale * normal), true
	case dp.DiscreteLaplace:
		stdDev, half = onIntegers(scale, func(x float64) float64 { return math.Exp(-x / scale) })
		return stdDev, half, true
	case dp.DiscreteGaussian:
		stdDev, half = onIntegers(scale, func(x float64) float64 { return math.Exp(-x * x / (2 * scale * scale)) })
		return stdDev, half, true
	}
	return 0, 0, false
}

// onIntegers is of the law on the integers with mass in proportion to weight(|x|). Above a scale of
// 10⁴ it sums steps of many integers.
func onIntegers(scale float64, weight func(x float64) float64) (stdDev, half float64) {
	step := max(math.Floor(scale/1e4), 1)
	end := 45*scale + 1
	all, square := weight(0), 0.0
	for x := step; x <= end; x += step {
		all += 2 * weight(x)
		square += 2 * x * x * weight(x)
	}
	inside := weight(0)
	for inside < confidence*all {
		half += step
		inside += 2 * weight(half)
	}
	return math.Sqrt(square / all), half
}

// A bill is what a plan costs.
type bill struct {
	plan  plan
	total dp.Bracket
	added float64 // every use's ε by itself, added up
	lines []lineBill
	other []variant // at half and at twice the ε of each line
}

type lineBill struct {
	line
	uses    int64
	alone   float64 // ε of this line and nothing else
	share   float64 // what ε falls by if it is left out; NaN if it is infinite without it, too
	level   noiseLevel
	noisy   bool
	summed  noiseLevel // a season's chain total of one item
	largest float64    // no noise of a season's week exceeds it, with confidence
}

// A variant is the plan with every ε at factor times what it is.
type variant struct {
	factor float64
	total  float64 // +Inf where the noise cannot be calibrated
	levels []noiseLevel
}

// epsilonAt is the smallest ε proved for some events at δ; of none it is 0.
func epsilonAt(delta float64, events []dp.Event) (float64, error) {
	if len(events) == 0 {
		return 0, nil
	}
	a, err := dp.Compose(events...)
	if err != nil {
		return 0, err
	}
	b, err := a.Epsilon(delta)
	return b.Hi, err
}

// cost adds a plan up. step is called after each part of the work, of which there are
// work(p).
func (p plan) cost(step func()) (bill, error) {
	b := bill{plan: p}
	events, err := p.events(1)
	if err != nil {
		return b, err
	}
	a, err := dp.Compose(events...)
	if err != nil {
		return b, err
	}
	if b.total, err = a.Epsilon(p.Delta); err != nil {
		return b, err
	}
	step()
	if b.added, err = addedUp(p.Delta, events); err != nil {
		return b, err
	}
	for i, l := range p.Lines {
		lb, err := l.bill(i, p, events, b.total.Hi)
		if err != nil {
			return b, err
		}
		b.lines = append(b.lines, lb)
		step()
	}
	for _, factor := range []float64{0.5, 2} {
		b.other = append(b.other, p.variant(factor))
		step()
	}
	return b, nil
}

func (p plan) work() int { return len(p.Lines) + 3 }

func (l line) bill(i int, p plan, events []dp.Event, total float64) (lineBill, error) {
	b := lineBill{line: l, uses: events[i].Count}
	var err error
	if b.alone, err = epsilonAt(p.Delta, events[i:i+1]); err != nil {
		return b, err
	}
	others := append(append([]dp.Event{}, events[:i]...), events[i+1:]...)
	without, err := epsilonAt(p.Delta, others)
	if err != nil {
		return b, err
	}
	switch b.share = total - without; {
	case math.IsInf(without, 1): // of ∞, nobody can tell which part
		b.share = math.NaN()
	case math.IsInf(total, 1):
		b.share = math.Inf(1)
	}
	b.level, b.noisy = l.level(1)
	if s := l.Season; s != nil {
		noise, err := s.question().noise(1)
		if err != nil {
			return b, err
		}
		b.summed, _ = levelOf(noise, int(s.Stores))
		// All of n independent values are within it with 95 % if each is with 0.95^{1/n}.
		each := math.Exp(math.Log(confidence) / (float64(s.Stores) * float64(s.Items)))
		if half, _, err := noise.Interval(1, each); err == nil {
			b.largest = float64(half)
		}
	}
	return b, nil
}

// addedUp is what the plan costs without an accountant: Σ count·ε of one use. A use keeps the δ
// that it has of its own, and what is left of δ is shared equally by the uses that need some.
func addedUp(delta float64, events []dp.Event) (float64, error) {
	sum, left, uses := 0.0, delta, 0.0
	var needing []dp.Event // some δ
	for _, e := range events {
		n := float64(e.Count)
		left -= n * e.Delta
		if e.Mechanism == dp.ApproxDP || e.Mechanism == dp.PartitionSelection {
			sum += n * e.Epsilon
			continue
		}
		e.Count = 1
		epsilon, err := epsilonAt(0, []dp.Event{e})
		if err != nil {
			return 0, err
		}
		e.Count = int64(n)
		if math.IsInf(epsilon, 1) {
			needing, uses = append(needing, e), uses+n
			continue
		}
		sum += n * epsilon
	}
	if left < 0 || left == 0 && uses > 0 {
		return math.Inf(1), nil
	}
	for _, e := range needing {
		n := float64(e.Count)
		e.Count = 1
		epsilon, err := epsilonAt(max(left/uses+e.Delta, 1e-300), []dp.Event{e})
		if err != nil {
			return 0, err
		}
		sum += n * epsilon
	}
	return sum, nil
}

func (p plan) variant(factor float64) variant {
	v := variant{factor: factor, total: math.Inf(1)}
	events, err := p.events(factor)
	if err == nil {
		if total, err := epsilonAt(p.Delta, events); err == nil {
			v.total = total
		}
	}
	for _, l := range p.Lines {
		n, _ := l.level(factor)
		v.levels = append(v.levels, n)
	}
	return v
}

// A point is one of a curve.
type point struct{ x, y float64 }

// curves are what the page draws.
type curves struct {
	byDelta  []point   // ε at δ
	byFactor []variant // the plan at several factors
	spent    []point   // ε spent after a share of the plan, from 0 to 1
}

const (
	factorSteps = 13
	spentSteps  = 26
)

func (curves) work() int { return 14 + factorSteps + spentSteps }

// curves computes what the page shows; step is called after each of curves.work parts.
func (p plan) curves(step func()) (c curves, err error) {
	events, err := p.events(1)
	if err != nil {
		return c, err
	}
	for k := 1; k <= 14; k++ {
		delta := math.Pow(10, -float64(k))
		epsilon, err := epsilonAt(delta, events)
		if err != nil {
			return c, err
		}
		if !math.IsInf(epsilon, 1) {
			c.byDelta = append(c.byDelta, point{delta, epsilon})
		}
		step()
	}
	for i := range factorSteps {
		c.byFactor = append(c.byFactor, p.variant(math.Pow(2, float64(i-factorSteps/2)/3)))
		step()
	}
	for i := 1; i <= spentSteps; i++ {
		part := float64(i) / spentSteps
		var sofar []dp.Event
		for _, e := range events {
			if e.Count = int64(math.Floor(float64(e.Count)*part + 1e-9)); e.Count > 0 {
				sofar = append(sofar, e)
			}
		}
		epsilon, err := epsilonAt(p.Delta, sofar)
		if err != nil {
			return c, err
		}
		c.spent = append(c.spent, point{part, epsilon})
		step()
	}
	return c, nil
}
