package dptest

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"math/bits"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"

	"github.com/larder-dp/larder/dp"
)

// An AuditKit is a mechanism to be audited by chance, on two neighbouring inputs of
// the auditor's choice: the ones that should be hardest to tell apart.
type AuditKit[O int64 | float64] struct {
	// Run runs the mechanism once, on one input or on its neighbour, and returns
	// what an attacker sees: of an output of many numbers the one (a cell, a
	// difference, a sum) that should give most away. Runs must be independent.
	// random is seeded by the kit; a mechanism may ignore it. Required.
	Run func(neighbour bool, random io.Reader) (O, error)
	// Claim is the (ε, δ) that one run is said to cost. Required.
	Claim dp.Budget
	// Samples is how many runs a side are judged; half as many more choose what is
	// judged. At least 100. For 99 % power ε of 1 that is truly 1.1 takes 65,000;
	// truly 2, 1,200; a Gaussian of 1.1 × its claim takes 1.0M at δ = 1e-2. The
	// power falls with δ: audit a mechanism that is calibrated to δ = 1e-2, and
	// never believe that this certifies a small one.
	Samples int
	// Seed fixes the coins, and random. A mechanism with randomness of its own
	// makes another test of every run.
	Seed uint64
	// Serial keeps Run to one goroutine.
	Serial bool
}

// An Outcome is what an audit came to.
type Outcome int

const (
	// Invalid: the audit shows nothing, see AuditResult.Reason. Its zero value.
	Invalid Outcome = iota
	// NoneFound: the judged event does not refute the claim.
	NoneFound
	// Violation: the claim is refuted, wrongly so with probability 1e-9 at most.
	Violation
)

// An AuditResult is an outcome with its numbers.
type AuditResult struct {
	Outcome Outcome
	Claim   dp.Budget
	// Event describes the set of outputs that was judged, and Hits how many of the
	// Trials on either side fell into it: first the side that should fall into it
	// too often.
	Event        string
	Hits, Trials [2]int64
	// P bounds the probability of such Hits, or worse ones, under the claim.
	P float64
	// Epsilon is what was proved to be lost, at the claimed δ, with the same
	// certainty; 0 if nothing was.
	Epsilon float64
	// Power is the smallest ε which, lost on the judged event, this audit would
	// have refuted with probability 0.99. The claim may be off by as much.
	Power float64
	// Reason says why an audit is Invalid.
	Reason string
}

// String says the outcome in a line.
func (r AuditResult) String() string {
	claim := fmt.Sprintf("claim ε=%g δ=%g", r.Claim.Epsilon, r.Claim.Delta)
	hits := fmt.Sprintf("%s: %d of %d against %d of %d, p=%.2g", r.Event, r.Hits[0], r.Trials[0], r.Hits[1], r.Trials[1], r.P)
	switch r.Outcome {
	case Violation:
		return fmt.Sprintf("violation: %s, and ε is at least %.4g (%s)", claim, r.Epsilon, hits)
	case NoneFound:
		return fmt.Sprintf("none found: %s; ε of %.4g and more would have been refuted (%s)", claim, r.Power, hits)
	}
	return fmt.Sprintf("invalid: %s: %s", claim, r.Reason)
}

// Audit fails t on a violation, and if the audit is invalid; else it logs the
// result with its power. See CheckAudit.
func Audit[O int64 | float64](t testing.TB, kit AuditKit[O]) AuditResult {
	t.Helper()
	r, err := CheckAudit(kit)
	if err != nil {
		t.Error(err)
	} else {
		t.Log(r)
	}
	return r
}

// CheckAudit plays the game that defines differential privacy: a fair coin, drawn
// anew a trial, chooses the input; whoever sees the output must not guess the coin
// too well. In a first split of the trials it learns which outputs speak for which
// input: histograms of the value (its atoms, quantile bins, ends), of its lowest bit and
// of its remainders, half of the split to build them, half to choose the set of
// most evidence. In the second split that one set is judged:
//
//	δ = 0: exact one-sided binomial test of the hits against e^ε/(1+e^ε)
//	δ > 0: the bound of the joint law of the hits that is derived at pValue
//
// at α = 1e-9. There is no second try. The error is nil if nothing was found, and
// else a *Fault: of a violation, or of an audit that shows nothing (too few samples,
// an output that never changes, NaN, an error of the mechanism).
//
// It cannot see a small δ, other inputs than those two, what repeats only between
// processes, nor more than what the learned sets tell apart: a float64 of 53
// random bits may have holes that no sample of this size shows (audit the sampler
// on short words).
func CheckAudit[O int64 | float64](kit AuditKit[O]) (AuditResult, error) {
	r := kit.audit()
	const check = "statistical audit"
	switch r.Outcome {
	case Violation:
		return r, &Fault{
			Check: check, Rule: "no set of outputs tells two neighbours apart by more than (ε, δ)", Found: r.String(),
			Input: "the two inputs of Run, seed " + fmt.Sprint(kit.Seed),
			Means: "an attacker who waits for this set knows which input it was with better odds than promised",
		}
	case NoneFound:
		return r, nil
	}
	return r, &Fault{Check: check, Rule: "an audit that cannot fail shows nothing", Found: r.String(), Means: "the claim is as unproved as before"}
}

// counts are the hits of either side: [0] the input, [1] its neighbour.
type counts = [2]int64

func (kit AuditKit[O]) audit() AuditResult {
	r := AuditResult{Claim: kit.Claim}
	invalid := func(format string, a ...any) AuditResult {
		r.Outcome, r.Reason = Invalid, fmt.Sprintf(format, a...)
		return r
	}
	if err := kit.Claim.Validate(); err != nil || kit.Run == nil || kit.Samples < 100 {
		return invalid("give Run, a valid Claim and 100 Samples or more (%v)", err)
	}
	n := int64(kit.Samples)
	if p := pValue(2*n, n, 0, kit.Claim.Epsilon, kit.Claim.Delta); p > alpha {
		return invalid("%d samples a side refute this claim under no mechanism (p=%.2g at best): take more", n, p)
	}
	build, err := kit.learn(0)
	if err != nil {
		return invalid("%v", err)
	}
	if len(build) == 1 {
		return invalid("the output never changed: the mechanism is a constant, or not run")
	}
	score, err := kit.learn(1)
	if err != nil {
		return invalid("%v", err)
	}
	e := kit.choose(build, score)
	var hits, trials counts
	err = kit.play(2, 2*kit.Samples, func() func(side int, o O) {
		var mine, drawn counts
		return func(side int, o O) {
			if side < 0 { // the block has ended
				hits, trials = add(hits, mine), add(trials, drawn)
				return
			}
			drawn[side]++
			if e.has(ordered(o)) {
				mine[side]++
			}
		}
	})
	if err != nil {
		return invalid("%v", err)
	}
	if e.against == 1 {
		hits[0], hits[1] = hits[1], hits[0]
		trials[0], trials[1] = trials[1], trials[0]
	}
	r.Event, r.Hits, r.Trials = e.String(), hits, trials
	return r.judge()
}

// judge fills in the rest from the hits.
func (r AuditResult) judge() AuditResult {
	n, a, b := r.Trials[0]+r.Trials[1], r.Hits[0], r.Hits[1]
	r.P = pValue(n, a, b, r.Claim.Epsilon, r.Claim.Delta)
	if r.P <= alpha {
		r.Outcome = Violation
		r.Epsilon = bisect(r.Claim.Epsilon, 700, func(e float64) bool { return pValue(n, a, b, e, r.Claim.Delta) > alpha })
		return r
	}
	r.Outcome, r.Power = NoneFound, power(n, a, b, r.Claim)
	return r
}

// power returns the smallest ε′ that would be refuted with probability 0.99: for
// δ = 0 exactly, given the number of hits; for δ > 0 in normal approximation, given B.
func power(n, a, b int64, claim dp.Budget) float64 {
	if claim.Delta == 0 {
		k := a + b
		at := odds(claim.Epsilon)
		if upperTail(k, k, at) > alpha {
			return math.Inf(1)
		}
		// The smallest number of hits that would have been refuted.
		need := bisectInt(0, k, func(c int64) bool { return upperTail(k, c, at) <= alpha })
		p := bisect(at, 1, func(p float64) bool { return upperTail(k, need, p) >= 0.99 })
		return math.Log(p / (1 - p))
	}
	const z = 2.3263478740408408 // P(Z > z) = 0.01
	e, N := math.Exp(claim.Epsilon), float64(n)
	q := (float64(b) + 1) / N
	p := bisect(e*q+claim.Delta/2, 1, func(p float64) bool {
		low := N*p - z*math.Sqrt(N*(p+e*e*q))
		return low > 0 && pValue(n, int64(low), b, claim.Epsilon, claim.Delta) <= alpha
	})
	if p > 1-1e-9 {
		return math.Inf(1)
	}
	return math.Log((2*p - claim.Delta) / (2 * q))
}

// bisectInt returns the smallest k in (lo, hi] for which ok holds; it does for hi.
func bisectInt(lo, hi int64, ok func(int64) bool) int64 {
	for hi-lo > 1 {
		if mid := lo + (hi-lo)/2; ok(mid) {
			hi = mid
		} else {
			lo = mid
		}
	}
	return hi
}

// block is the number of trials that share their coins' stream, so that the coins
// do not depend on how many workers there are.
const block = 1 << 12

// play runs trials of a split. fresh makes the sink of a block; a sink is told the
// end of its block by side −1, under a lock.
func (kit AuditKit[O]) play(split, trials int, fresh func() func(side int, o O)) error {
	workers := runtime.GOMAXPROCS(0)
	if kit.Serial {
		workers = 1
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	var failed error
	next := 0
	for range min(workers, (trials+block-1)/block) {
		wg.Go(func() {
			for {
				mu.Lock()
				i := next
				next++
				stop := failed != nil || i*block >= trials
				mu.Unlock()
				if stop {
					return
				}
				sink := fresh()
				err := kit.playBlock(split, i, min(block, trials-i*block), sink)
				mu.Lock()
				if sink(-1, 0); err != nil {
					failed = err
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return failed
}

func (kit AuditKit[O]) playBlock(split, i, trials int, sink func(side int, o O)) error {
	coins, random := stream(kit.Seed, split, i, 0), stream(kit.Seed, split, i, 1)
	var flips uint64
	for t := range trials {
		if t%64 == 0 {
			flips = coins.Uint64()
		}
		side := int(flips >> (t % 64) & 1)
		o, err := kit.Run(side == 1, random)
		switch {
		case err != nil:
			return fmt.Errorf("the mechanism failed: %w", err)
		case math.IsNaN(float64(o)):
			return errors.New("the mechanism returned NaN")
		}
		sink(side, o)
	}
	return nil
}

// stream returns a generator that is fixed by its four numbers.
func stream(seed uint64, split, i, use int) *rand.ChaCha8 {
	var key [32]byte
	for k, v := range []uint64{seed, uint64(split), uint64(i), uint64(use)} {
		binary.LittleEndian.PutUint64(key[8*k:], v)
	}
	return rand.NewChaCha8(key)
}

// mostLearned limits what a learning split draws, a side.
const mostLearned = 1 << 17

func (kit AuditKit[O]) learn(split int) (map[int64]counts, error) {
	all := map[int64]counts{}
	err := kit.play(split, 2*min(kit.Samples/4+1, mostLearned), func() func(side int, o O) {
		mine := make(map[int64]counts)
		return func(side int, o O) {
			if side < 0 {
				for k, c := range mine {
					all[k] = add(all[k], c)
				}
				return
			}
			k := ordered(o)
			c := mine[k]
			c[side]++
			mine[k] = c
		}
	})
	return all, err
}

// ordered maps an output to an int64 in the same order, −0 below 0: who sees the bits of a
// float64 sees its sign.
func ordered[O int64 | float64](o O) int64 {
	switch o := any(o).(type) {
	case int64:
		return o
	case float64:
		i := int64(math.Float64bits(o))
		return i ^ (i >> 63 & math.MaxInt64)
	}
	return 0
}

// An event is a set of outputs: some bins of a feature, or a list of outputs.
type event struct {
	name    string
	feature func(int64) int64
	edges   []int64 // the last value of each bin but the last one
	in      []bool  // by bin
	list    map[int64]bool
	against int // the side that should fall into it too often
}

func (e event) String() string { return e.name }

func (e event) has(o int64) bool {
	if e.list != nil {
		return e.list[o]
	}
	bin, _ := slices.BinarySearch(e.edges, e.feature(o))
	return e.in[bin]
}

type feature struct {
	name string
	of   func(int64) int64
}

// features are what an output is looked at by. A remainder tells noise that comes in
// steps, and the lowest bit noise that is rounded by its own size, or not at all.
func (kit AuditKit[O]) features() []feature {
	all := []feature{{"value", func(o int64) int64 { return o }}}
	if _, float := any(*new(O)).(float64); float {
		return append(all, feature{"lowest bit", func(o int64) int64 {
			b := uint64(o ^ (o >> 63 & math.MaxInt64)) // undoes ordered
			return int64(b>>52&0x7ff) + int64(bits.TrailingZeros64(b|1<<52))
		}})
	}
	all = append(all, feature{"lowest bit", func(o int64) int64 { return int64(bits.TrailingZeros64(uint64(o))) }})
	for _, m := range []int64{3, 5, 7, 8, 10, 16, 100, 1000} {
		all = append(all, feature{fmt.Sprintf("remainder by %d", m), func(o int64) int64 { return ((o % m) + m) % m }})
	}
	return all
}

const mostBins = 64

// choose builds sets of outputs from one half of the first split and takes the
// one for which the other half has most evidence.
func (kit AuditKit[O]) choose(build, score map[int64]counts) event {
	claim := kit.Claim
	var all counts
	for _, c := range score {
		all = add(all, c)
	}
	// Where nothing speaks against the claim, the best of many sets of chance is a
	// small one, and its audit weak: then the most evidence against a tenth less.
	less := dp.Budget{Epsilon: 0.9 * claim.Epsilon, Delta: 0.9 * claim.Delta}
	var best, strong event
	most, strongest := 3.0, math.Inf(-1)
	try := func(c counts, against int, handicap float64, e func() event) {
		if v := evidence(c[against], c[1-against], all[0]+all[1], claim) - handicap; v > most {
			best, most = e(), v
		}
		if v := evidence(c[against], c[1-against], all[0]+all[1], less) - handicap; v > strongest {
			strong, strongest = e(), v
		}
	}
	for _, f := range kit.features() {
		built := project(build, f.of)
		edges := bin(built)
		b, s := fill(edges, built), fill(edges, project(score, f.of))
		for against := range 2 {
			for _, order := range orders(b, against) {
				in := make([]bool, len(b))
				var c counts
				for i, k := range order.bins {
					in[k] = true
					c = add(c, s[k])
					try(c, against, order.handicap, func() event {
						name := fmt.Sprintf("%s in the %d of %d bins %s", f.name, i+1, len(b), order.name)
						return event{name: name, feature: f.of, edges: edges, in: slices.Clone(in), against: against}
					})
				}
			}
		}
	}
	for against := range 2 {
		list := map[int64]bool{}
		var c counts
		for o, seen := range build {
			if seen[against] > 0 && seen[1-against] == 0 {
				list[o] = true
				c = add(c, score[o])
			}
		}
		try(c, against, 1, func() event {
			return event{name: fmt.Sprintf("one of %d outputs seen on one side only", len(list)), list: list, against: against}
		})
	}
	if most == 3 {
		return strong
	}
	return best
}

func add(a, b counts) counts { return counts{a[0] + b[0], a[1] + b[1]} }

// evidence is the excess of p hits over what the claim allows against q, in
// standard deviations.
func evidence(hits, against, trials int64, claim dp.Budget) float64 {
	p, q, n := float64(hits), float64(against), float64(trials)
	e := math.Exp(claim.Epsilon)
	if claim.Delta == 0 {
		k, at := p+q, odds(claim.Epsilon)
		return (p - k*at) / math.Sqrt(k*at*(1-at)+1)
	}
	return (p - e*q - n*claim.Delta/2) / math.Sqrt(p+e*e*q+1)
}

func project(of map[int64]counts, f func(int64) int64) map[int64]counts {
	out := make(map[int64]counts)
	for o, c := range of {
		k := f(o)
		out[k] = add(out[k], c)
	}
	return out
}

// bin cuts the values into bins of about equally many samples; a value that has as
// many alone stands alone.
func bin(of map[int64]counts) (edges []int64) {
	values := make([]int64, 0, len(of))
	var all int64
	for v, c := range of {
		values = append(values, v)
		all += c[0] + c[1]
	}
	slices.Sort(values)
	full := max(all/mostBins, 1)
	var have int64
	for i, v := range values {
		n := of[v][0] + of[v][1]
		if n >= full && have > 0 {
			edges, have = append(edges, values[i-1]), 0
		}
		if have += n; have >= full && i < len(values)-1 {
			edges, have = append(edges, v), 0
		}
	}
	return edges
}

func fill(edges []int64, of map[int64]counts) []counts {
	bins := make([]counts, len(edges)+1)
	for v, c := range of {
		i, _ := slices.BinarySearch(edges, v)
		bins[i] = add(bins[i], c)
	}
	return bins
}

type order struct {
	name     string
	bins     []int
	handicap float64 // in standard deviations: an order that was learned follows chance, too
}

// orders are those in which bins are added up to sets: from either end, and by the
// likelihood ratio.
func orders(bins []counts, against int) []order {
	up := make([]int, len(bins))
	for i := range up {
		up[i] = i
	}
	down := slices.Clone(up)
	slices.Reverse(down)
	ratio := func(i int) float64 { return (float64(bins[i][against]) + 0.5) / (float64(bins[i][1-against]) + 0.5) }
	likely := slices.SortedStableFunc(slices.Values(up), func(i, j int) int { return cmp.Compare(ratio(j), ratio(i)) })
	return []order{{"from below", up, 0}, {"from above", down, 0}, {"of the largest likelihood ratio", likely, 1}}
}
