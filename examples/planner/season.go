package main

import (
	"errors"
	"fmt"
	"math"

	"github.com/larder-dp/larder/dp"
)

// A season is figures of T weeks, and running totals of them, under one budget.
//
// # Who touches what
//
// Week t adds up a vector v_t over its privacy units. One unit is in at most W of the T weeks,
// whichever they are, and moves the vector of each of these by some x with ‖x‖₂ ≤ s,
// where s² is the L2Squared of the bounds. Neighbouring seasons differ in one unit. All noise is
// Gaussian, so that a release of vectors with changes Δ_v and noise σ_v is as
// private as one Gaussian of μ² = Σ ‖Δ_v‖²/σ_v² (Balle and Wang 2018; Dong, Roth, Su 2019, Corollary 3.3).
// What has to be found is the largest μ² over all sets A of at most W weeks, and all changes.
//
// # Independent weeks
//
// The release is v_t + N(0, σ_t²) for every t. A unit in the weeks A has
//
//	μ² = Σ_{t∈A} ‖x_t‖²/σ_t² ≤ s²·Σ_{t∈A} 1/σ_t²
//
// with equality if every ‖x_t‖ = s: so the largest is s² times the sum of the W largest of the
// 1/σ_t². A peak week has noise σ/g for a peak weight g ≥ 1, and the W largest are peaks first:
//
//	μ² = s²/σ²·(g²·min(W, P) + max(W − P, 0)) for P peaks
//
// The running total up to t is the sum of the released weeks: its variance is Σ_{i≤t} σ_i².
//
// # The tree
//
// Dwork, Naor, Pitassi, Rothblum 2010 and Chan, Shi, Song 2011: the nodes are the dyadic intervals
// [a·2ʲ, (a+1)·2ʲ) that lie within the T weeks, and each node v is released, when its last week is
// over, as Σ_{t∈v} v_t + N(0, σ_v²). A running total is the sum of the at most ⌊log₂ T⌋+1
// nodes that the binary digits of t name. A unit in the weeks A moves node v by Σ_{t∈A∩v} x_t, so by
// the triangle inequality
//
//	μ² ≤ s²·Σ_v |A∩v|²/σ_v²
//
// with equality if all x_t are the same vector of length s: the weeks of one unit add up in the
// nodes that they share. Largest over A by dynamic programming, for with B(v, k) the
// largest Σ over v and the nodes below it, for k weeks in v,
//
//	B(v, k) = k²/σ_v² + max_{i+j=k} B(left, i) + B(right, j)
//
// (the sets in the two halves can be chosen apart) and B(leaf, k) = k²/σ²_leaf for k ≤ 1, −∞ above. Where v is not
// within the T weeks it is not released, and its own term is 0. More weeks never cost
// less, so that exactly min(W, T) of them are the worst.
//
// A week's figure is its leaf. What is published is better used: the sum of a node's two halves is a
// second estimate of it, of independent noise. Weighted by the inverses of their variances
// (Honaker 2015, "from below": it needs only what is known when the node is released) the
// two have
//
//	e(leaf) = σ²_leaf,  1/e(v) = 1/σ_v² + 1/(e(left) + e(right))
//
// and a running total has the sum of e over its nodes, whose noises are independent as
// the nodes share no week. This is post-processing and costs nothing.
//
// # What decides
//
// With equal noise and W = 1, independent weeks have μ² = s²/σ² and a last total of variance
// Tσ²; the tree pays for ⌊log₂ T⌋+1 levels and has at most that many terms: it wins for long
// seasons. With W = T the tree's shared nodes cost Σ_v |v|² ≈ 2T², against T: its noise must be √(2T)
// times as large, and independent weeks win at everything. The figures of single weeks are always
// better from independent weeks: the tree's leaves are among its nodes.
type season struct {
	weeks        int
	weeksPerUnit int
	peaks        []int // 1 is the first week
	peakWeight   float64
	budget       dp.Budget
	bounds       dp.Bounds // of a week
	sensitivity  float64   // s, by them
}

// weight returns 1/σ_t² of a week, in units of 1/σ².
func (s season) weight(week int) float64 {
	for _, p := range s.peaks {
		if p == week {
			return s.peakWeight * s.peakWeight
		}
	}
	return 1
}

// independentLoss is the largest Σ_{t∈A} 1/σ_t², in units of 1/σ².
func (s season) independentLoss(weeksPerUnit int) float64 {
	peaks := min(weeksPerUnit, len(s.peaks))
	return float64(peaks)*s.peakWeight*s.peakWeight + float64(weeksPerUnit-peaks)
}

// A span is the weeks from+1 … from+size of a node.
type span struct{ from, size int }

// released reports whether the node lies within the season.
func (s season) released(v span) bool { return v.from+v.size <= s.weeks }

// nodeWeight is 1/σ_v² in units of 1/σ². The leaf of a peak week has its weight.
func (s season) nodeWeight(v span) float64 {
	switch {
	case !s.released(v):
		return 0
	case v.size == 1:
		return s.weight(v.from + 1)
	}
	return 1
}

func (s season) root() span {
	size := 1
	for size < s.weeks {
		size *= 2
	}
	return span{0, size}
}

// treeLosses returns B(root, k) for k = 0 … most: the largest Σ_v |A∩v|²/σ_v² over sets A of k weeks,
// in units of 1/σ².
func (s season) treeLosses(most int) []float64 { return s.nodeLosses(s.root(), most) }

func (s season) nodeLosses(v span, most int) []float64 {
	weeks := min(v.size, s.weeks-v.from, most) // that can be in v
	if weeks <= 0 {
		return []float64{0}
	}
	if v.size == 1 {
		return []float64{0, s.nodeWeight(v)}
	}
	half := v.size / 2
	left := s.nodeLosses(span{v.from, half}, most)
	right := s.nodeLosses(span{v.from + half, half}, most)
	own := s.nodeWeight(v)
	best := make([]float64, weeks+1)
	for k := range best {
		best[k] = math.Inf(-1)
		for i := max(0, k-len(right)+1); i <= min(k, len(left)-1); i++ {
			best[k] = max(best[k], left[i]+right[k-i])
		}
		best[k] += own * float64(k) * float64(k)
	}
	return best
}

// estimate returns e(v), in units of σ².
func (s season) estimate(v span) float64 {
	direct := 1 / s.nodeWeight(v)
	if v.size == 1 {
		return direct
	}
	half := v.size / 2
	below := s.estimate(span{v.from, half}) + s.estimate(span{v.from + half, half})
	return 1 / (1/direct + 1/below)
}

// treeVariance is of the running total up to a week, in units of σ²: over the nodes that the
// binary digits of week name.
func (s season) treeVariance(week int) float64 {
	sum, from := 0.0, 0
	for size := s.root().size; size > 0; size /= 2 {
		if from+size <= week {
			sum += s.estimate(span{from, size})
			from += size
		}
	}
	return sum
}

// independentVariance is of the running total up to a week, in units of σ².
func (s season) independentVariance(week int) float64 {
	sum := 0.0
	for t := 1; t <= week; t++ {
		sum += 1 / s.weight(t)
	}
	return sum
}

// sigma returns the smallest σ that keeps the budget for a release whose largest Σ‖Δ_v‖²/σ_v² is
// loss·s²/σ².
func (s season) sigma(loss float64) (float64, error) {
	sigma, _, err := dp.SmallestScale(dp.Event{Mechanism: dp.Gaussian, L2: up(s.sensitivity * math.Sqrt(loss)), Count: 1}, s.budget)
	return sigma, err
}

// up covers the rounding of a product, of a root and of sums of up to 2·mostWeeks terms.
func up(x float64) float64 { return x * (1 + 1e-12) }

// A release is one way to publish a season.
type release struct {
	name         string
	sigma        float64
	ordinary     float64   // standard deviation of an ordinary week's figure
	peak         float64   // of a peak week's
	totals       []float64 // of the running total up to each week
	last, middle float64   // of the last total; root of the mean square over all
	worst        dp.Bracket
	byWeek       []float64 // ε of the worst unit after each week
}

// A forecast compares the ways to publish a season.
type forecast struct {
	season
	independent, tree release
	addedUp           float64     // σ of a week if ε and δ were divided by W
	middles           [][]float64 // by W − 1: middle of both
	ordinaries        [][]float64 // by W − 1: ordinary of both
}

// compare works a season out.
func (s season) compare(step func()) (f forecast, err error) {
	f.season = s
	independent, tree, err := s.releases(s.weeksPerUnit)
	if err != nil {
		return f, err
	}
	f.independent, f.tree = independent, tree
	if err := f.prove(); err != nil {
		return f, err
	}
	step()
	share := s
	share.budget = dp.Budget{Epsilon: s.budget.Epsilon / float64(s.weeksPerUnit), Delta: s.budget.Delta / float64(s.weeksPerUnit)}
	if f.addedUp, err = share.sigma(1); err != nil {
		return f, err
	}
	losses := s.treeLosses(s.weeks)
	for w := 1; w <= s.weeks; w++ {
		a, b, err := s.withLosses(s.independentLoss(w), losses[w])
		if err != nil {
			return f, err
		}
		f.middles = append(f.middles, []float64{a.middle, b.middle})
		f.ordinaries = append(f.ordinaries, []float64{a.ordinary, b.ordinary})
		step()
	}
	return f, nil
}

func (s season) work() int { return s.weeks + 1 }

func (s season) releases(weeksPerUnit int) (independent, tree release, err error) {
	losses := s.treeLosses(weeksPerUnit)
	return s.withLosses(s.independentLoss(weeksPerUnit), losses[weeksPerUnit])
}

func (s season) withLosses(independentLoss, treeLoss float64) (independent, tree release, err error) {
	build := func(name string, loss float64, variance func(week int) float64) (release, error) {
		r := release{name: name}
		r.sigma, err = s.sigma(loss)
		r.ordinary, r.peak = r.sigma, r.sigma/s.peakWeight
		sum := 0.0
		for t := 1; t <= s.weeks; t++ {
			v := variance(t) * r.sigma * r.sigma
			sum += v
			r.totals = append(r.totals, math.Sqrt(v))
		}
		r.last, r.middle = r.totals[s.weeks-1], math.Sqrt(sum/float64(s.weeks))
		return r, err
	}
	if independent, err = build("independent weeks", independentLoss, s.independentVariance); err != nil {
		return independent, tree, err
	}
	tree, err = build("binary tree", treeLoss, s.treeVariance)
	return independent, tree, err
}

// prove composes what the worst unit sees, and checks it against the budget: for independent weeks
// event by event, for the tree as one vector. byWeek is what has been spent of it after each week.
func (f *forecast) prove() (err error) {
	s := f.season
	peaks, ordinary := min(s.weeksPerUnit, len(s.peaks)), 0
	ordinary = s.weeksPerUnit - peaks
	f.independent.worst, err = s.composed(f.independent, peaks, ordinary)
	if err != nil {
		return err
	}
	loss := s.treeLosses(s.weeksPerUnit)[s.weeksPerUnit]
	a, err := dp.Compose(dp.Event{Mechanism: dp.Gaussian, L2: up(s.sensitivity * math.Sqrt(loss)), Scale: f.tree.sigma, Count: 1})
	if err != nil {
		return err
	}
	if f.tree.worst, err = a.Epsilon(s.budget.Delta); err != nil {
		return err
	}
	for _, r := range []release{f.independent, f.tree} {
		if !(r.worst.Lo <= s.budget.Epsilon*(1+1e-9)) {
			return fmt.Errorf("%s: the noise found does not keep the budget", r.name)
		}
	}
	return f.spendByWeek()
}

// composed is ε of so many peak and ordinary weeks.
func (s season) composed(r release, peaks, ordinary int) (dp.Bracket, error) {
	var events []dp.Event
	if peaks > 0 {
		events = append(events, dp.Event{Mechanism: dp.Gaussian, L2: up(s.sensitivity), Scale: r.peak, Count: int64(peaks)})
	}
	if ordinary > 0 {
		events = append(events, dp.Event{Mechanism: dp.Gaussian, L2: up(s.sensitivity), Scale: r.ordinary, Count: int64(ordinary)})
	}
	if events == nil {
		return dp.Bracket{}, errors.New("no week at all")
	}
	a, err := dp.Compose(events...)
	if err != nil {
		return dp.Bracket{}, err
	}
	return a.Epsilon(s.budget.Delta)
}

// spendByWeek finds what the worst unit has lost after each week: the season so far, as if it
// ended there.
func (f *forecast) spendByWeek() error {
	for t := 1; t <= f.weeks; t++ {
		sofar := f.season
		sofar.weeks, sofar.weeksPerUnit, sofar.peaks = t, min(t, f.weeksPerUnit), nil
		for _, p := range f.peaks {
			if p <= t {
				sofar.peaks = append(sofar.peaks, p)
			}
		}
		independent := sofar.independentLoss(sofar.weeksPerUnit)
		tree := sofar.treeLosses(sofar.weeksPerUnit)[sofar.weeksPerUnit]
		for _, x := range []struct {
			r    *release
			loss float64
		}{{&f.independent, independent}, {&f.tree, tree}} {
			epsilon, err := epsilonAt(f.budget.Delta, []dp.Event{{
				Mechanism: dp.Gaussian, L2: up(f.sensitivity * math.Sqrt(x.loss)), Scale: x.r.sigma, Count: 1,
			}})
			if err != nil {
				return err
			}
			x.r.byWeek = append(x.r.byWeek, epsilon)
		}
	}
	return nil
}

// treeWinsUpTo returns the largest W at which the tree's running totals are better (by the
// root mean square over the weeks), 0 if at none. better reports whether it is so at the season's
// own W.
func (f forecast) treeWinsUpTo() (most int, better bool) {
	for w, m := range f.middles {
		if m[1] < m[0] {
			most = w + 1
		}
	}
	return most, f.tree.middle < f.independent.middle
}
