package fedtest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/larder-dp/larder/dp"
	"github.com/larder-dp/larder/federated"
)

// Rounds fails t if a release is not what the answers that came in time add up
// to, counted once each, with the coverage that says so. It runs rounds under
// random faults, with noise that rounds to nothing, and compares with the rules of
// package federated's doc, written down plainly: who counts, who is left out and
// why, when the quorum is reached, what the sums are, and what reports of
// nodes come to where nothing is cut. Time is virtual in a *testing.T.
func Rounds(t testing.TB, c Config) {
	t.Helper()
	if c = c.virtual(t); c.bubble == nil {
		rounds.in(t, c)
		return
	}
	var err error
	c.timed(func(c Config) { err = virtualRounds.over(c) })
	reportViolation(t, err)
}

// CheckRounds is Rounds outside a test, in real time.
func CheckRounds(c Config) error { return rounds.over(c) }

var (
	rounds        = check{"Rounds", 44, func(c Config, seed uint64) error { return c.tryRounds(seed, 300*time.Millisecond) }}
	virtualRounds = check{"Rounds", 660, func(c Config, seed uint64) error { return c.tryRounds(seed, time.Minute) }}
)

func (c Config) tryRounds(seed uint64, deadline time.Duration) error {
	w := c.drawWorld(seed)
	r := rand.New(rand.NewPCG(seed, 11))
	w.selects = false
	if r.IntN(2) == 0 { // so wide that nothing is cut
		w.bounds.L0, w.bounds.LInf = int64(len(w.items)), 1<<10
		w.bounds.L1 = w.bounds.L0 * w.bounds.LInf
	}
	script := make([][]Fault, 3)
	for i := range script {
		for _, s := range w.stores {
			for range r.IntN(3) {
				script[i] = append(script[i], Fault{networkFaults[r.IntN(len(networkFaults))], s})
			}
		}
	}
	quorum := 1 + r.IntN(len(w.stores))
	got, err := c.playRounds(w, script, quorum, deadline)
	if err != nil || got == "" {
		return err
	}
	// The smallest script that still shows it.
	for again := true; again; {
		again = false
		for i := range script {
			for j := range script[i] {
				less := slices.Clone(script)
				less[i] = slices.Delete(slices.Clone(script[i]), j, j+1)
				if g, err := c.playRounds(w, less, quorum, deadline); err == nil && g != "" {
					script, got, again = less, g, true
					break
				}
			}
		}
	}
	small, found := shrink(w, 0, func(w *world) string {
		g, err := c.playRounds(w, script, quorum, deadline)
		if err != nil {
			return ""
		}
		return g
	})
	if found == "" {
		small, found = w, got
	}
	return &Violation{
		Rule:  "a release is the sum of the answers that came in time, each counted once; others are absent and named; below the quorum there is none",
		Got:   found,
		Input: fmt.Sprintf("rounds with faults %v, quorum %d, of: %v", script, quorum, small),
		Means: "one unit counts more often than its bound says, or numbers are published that are not what the label claims",
	}
}

func (c Config) playRounds(w *world, script [][]Fault, quorum int, deadline time.Duration) (string, error) {
	f, err := c.federation(w, setup{seed: 7, budget: dp.Budget{Epsilon: 1e9, Delta: 0.5}, deadline: deadline})
	if err != nil {
		return "", err
	}
	for i, faults := range script {
		q, err := f.Query(exact, func(q *federated.Question) { q.Quorum, q.Round = quorum, int64(i+1) })
		if err != nil {
			return "", fmt.Errorf("ask: %w", err)
		}
		f.Faults(faults...)
		exchanges := len(f.lane.rounds)
		rel, err := f.Run(context.Background(), q)
		if who := f.lane.wavers(exchanges); who != "" {
			return fmt.Sprintf("round %d: %s answers the same question in two ways", i+1, who), nil
		}
		v := judge(q, f.lane.heard(exchanges))
		if got := v.compare(q, rel, err); got != "" {
			return fmt.Sprintf("round %d: %s", i+1, got), nil
		}
		if charged := f.charged(q); charged != (err == nil) {
			return fmt.Sprintf("round %d: charged %v, with error %v", i+1, charged, err), nil
		}
		if got, err := f.truthful(q, v); got != "" || err != nil {
			return fmt.Sprintf("round %d: %s", i+1, got), err
		}
	}
	return "", nil
}

// heard is what the coordinator was given in time, in the exchanges from one on: one that
// asks again is free to.
func (l *lane) heard(from int) (out []federated.Message) {
	for _, x := range l.rounds[from:] {
		out = append(out, x.heard...)
	}
	return out
}

// wavers names a node that gave two different answers to the same message.
func (l *lane) wavers(from int) federated.NodeID {
	said := map[string]string{}
	for _, x := range l.rounds[from:] {
		for _, m := range x.answers {
			for _, a := range x.sent {
				key := string(m.From) + "\x00" + string(a.Body)
				if a.To != m.From {
					continue
				}
				if before, ok := said[key]; ok && before != string(m.Body) {
					return m.From
				}
				said[key] = string(m.Body)
			}
		}
	}
	return ""
}

// compare says how what a coordinator made of a round differs from the verdict.
func (v verdict) compare(q federated.Query, rel *federated.Release, err error) string {
	asked := q.Question()
	var coverage federated.Coverage
	if len(v.answered) < asked.Quorum {
		var below *federated.QuorumError
		if rel != nil || !errors.As(err, &below) {
			return fmt.Sprintf("%d answers count, the quorum is %d, and there is no *QuorumError: %v", len(v.answered), asked.Quorum, err)
		}
		coverage = below.Coverage
	} else {
		if err != nil || rel == nil {
			return fmt.Sprintf("%d answers count, the quorum is %d, and there is no release: %v", len(v.answered), asked.Quorum, err)
		}
		coverage = rel.Label().Coverage
	}
	if coverage.Asked != len(asked.Stores) || coverage.Answered != len(v.answered) {
		return fmt.Sprintf("the coverage says %d of %d, and it is %d of %d", coverage.Answered, coverage.Asked, len(v.answered), len(asked.Stores))
	}
	said := map[federated.NodeID]string{}
	for _, a := range coverage.Absent {
		said[a.Node] = a.Reason
	}
	for s, why := range v.absent {
		if !strings.HasPrefix(said[s], why) {
			return fmt.Sprintf("the coverage says of %s %q, and it is %q", s, said[s], why)
		}
	}
	if len(said) != len(v.absent) {
		return fmt.Sprintf("the coverage names %v absent, and %v are", slices.Sorted(maps.Keys(said)), slices.Sorted(maps.Keys(v.absent)))
	}
	if rel == nil {
		return ""
	}
	return v.values(q, rel)
}

// values compares the cells of a release.
func (v verdict) values(q federated.Query, rel *federated.Release) string {
	asked := q.Question()
	rows, names := []report{}, []federated.NodeID{}
	for _, s := range asked.Stores {
		if r, ok := v.answered[s]; ok {
			rows, names = append(rows, r), append(names, s)
		}
	}
	if asked.Cells == federated.Chain {
		rows, names = []report{summed(rows)}, []federated.NodeID{"*"}
	}
	i := 0
	for cell := range rel.Cells() {
		if i >= len(rows)*len(asked.Partitions) {
			return "there are more cells than stores and partitions"
		}
		s, p := i/len(asked.Partitions), i%len(asked.Partitions)
		i++
		if cell.Store != names[s] || cell.Partition != asked.Partitions[p] {
			return fmt.Sprintf("cell %d is of %s %s, and should be of %s %s", i, cell.Store, cell.Partition, names[s], asked.Partitions[p])
		}
		if cell.Noised != rows[s].amounts[p] {
			return fmt.Sprintf("%s %s is %d, and what came in time is %d", cell.Store, cell.Partition, cell.Noised, rows[s].amounts[p])
		}
		stock := rows[s].inventory
		if cell.HasInventory != (stock != nil) || stock != nil && cell.Inventory != stock[p] {
			return fmt.Sprintf("%s %s has an inventory of %d (%v), and what was told is %v", cell.Store, cell.Partition, cell.Inventory, cell.HasInventory, stock)
		}
	}
	if i != len(rows)*len(asked.Partitions) {
		return fmt.Sprintf("there are %d cells, and should be %d", i, len(rows)*len(asked.Partitions))
	}
	return ""
}

// summed is what reports come to for the chain: their sum, or of sketches the number of
// bins that are set in any.
func summed(rows []report) report {
	if rows[0].bitmap != nil {
		return report{amounts: []int64{ones(union(rows))}}
	}
	out := report{amounts: slices.Clone(rows[0].amounts), units: slices.Clone(rows[0].units), inventory: slices.Clone(rows[0].inventory)}
	for _, r := range rows[1:] {
		for p := range out.amounts {
			out.amounts[p] += r.amounts[p]
		}
		for p := range out.units {
			out.units[p] += r.units[p]
		}
		if r.inventory == nil {
			out.inventory = nil
		}
		for p := range out.inventory {
			out.inventory[p] += r.inventory[p]
		}
	}
	return out
}

// truthful compares what nodes reported with their records, where nothing is cut.
func (f *Federation) truthful(q federated.Query, v verdict) (string, error) {
	of := f.c.tally(q)
	if of == nil && binsOf(q) == 0 {
		return "", nil
	}
	pseudonym, err := f.c.Pseudonym(f.w.epoch)
	if err != nil {
		return "", fmt.Errorf("make pseudonym: %w", err)
	}
	for s, r := range v.answered {
		truth := f.w.truth(q, s, of, pseudonym)
		said := r.amounts
		if binsOf(q) > 0 { // no bit is flipped at this ε
			sketch, err := f.w.bitmap(q, s, pseudonym)
			if err != nil {
				return "", err
			}
			truth, said = places(sketch), places(r.bitmap)
		}
		if truth == nil || slices.Equal(truth, said) {
			continue
		}
		if slices.ContainsFunc(f.lane.script, func(x Fault) bool { return x.Node == s && (x.Do == Conflict || x.Do == Replay || x.Do == Forge) }) {
			continue // it is not its own
		}
		return fmt.Sprintf("%s reports %v, and its records come to %v", s, said, truth), nil
	}
	return "", nil
}

// places are the bins that are set.
func places(bitmap []byte) []int64 {
	out := []int64{}
	for i := range 8 * len(bitmap) {
		if bitmap[i/8]>>(i%8)&1 != 0 {
			out = append(out, int64(i))
		}
	}
	return out
}

// Noise fails t if what is published is not noised as the label says: if a
// cell goes without noise, two cells or two rounds share it, a restart repeats
// it, or its mean or variance is off (by less than a third of the variance it does
// not see: dptest audits a mechanism), if selection publishes a cell
// behind which no or one unit stands, and if the noise of cells that it selects is
// missing, or has to do with that of the selection. The false-alarm rate is below 10⁻⁹ a seed.
func Noise(t testing.TB, c Config) { t.Helper(); noise.in(t, c) }

// CheckNoise is Noise outside a test.
func CheckNoise(c Config) error { return noise.over(c) }

var noise = check{"Noise", 9, func(c Config, seed uint64) error {
	w := c.drawWorld(seed)
	weigh := c.weighNoise
	switch {
	case w.tpl.Trust == federated.Local:
		w, weigh = c.grown(seed, 3, 100), c.weighFlips // whose members are set bits enough
	case w.tpl.Cells != federated.Chain:
		w = c.grown(seed, 24, 12)
	}
	w.selects = false
	got, err := weigh(w)
	if err == nil && got == "" {
		got, err = c.trySelection(seed)
	}
	if err == nil && got == "" {
		got, err = c.weighSelected(seed)
	}
	if err != nil || got == "" {
		return err
	}
	return &Violation{
		Rule:  "every published cell, and under Local every bit that a node sends, has noise of its own, fresh in every round and life of the coordinator, of the declared deviation",
		Got:   got,
		Input: fmt.Sprintf("%d stores, %s from %s, %s, %v", len(w.stores), w.tpl.Unit, w.tpl.From, w.tpl.Cells, boundsWords(w.bounds)),
		Means: "subtracting two cells or two rounds, or averaging a few, gives the exact sums",
	}
}}

// strong are privacy parameters of so much noise that it is seldom 0: the scale
// is at least 20, and P(0) = tanh(1/40) < 0.025.
var strong = dp.Params{Epsilon: 0.05, Mechanism: dp.DiscreteLaplace}

const (
	noiseSamples = 1000
	fewestRounds = 12
)

func (c Config) weighNoise(w *world) (string, error) {
	f, err := c.federation(w, setup{seed: 7, budget: dp.Budget{Epsilon: 1e6, Delta: 0.5}})
	if err != nil {
		return "", err
	}
	var draws [][]int64 // by round and cell
	sd := 0.0
	for n := 0; n < noiseSamples || len(draws) < fewestRounds; n += len(draws[0]) {
		q, err := f.Query(strong, func(q *federated.Question) { q.Round, q.Quorum = int64(len(draws)+1), len(q.Stores) })
		if err != nil {
			return "", fmt.Errorf("ask: %w", err)
		}
		sd = q.Noise().StdDev()
		exchanges := len(f.lane.rounds)
		rel, err := f.Run(context.Background(), q)
		if err != nil {
			return fmt.Sprintf("round %d is refused: %v", len(draws)+1, err), nil
		}
		v := judge(q, f.lane.heard(exchanges))
		var rows []report
		for _, s := range w.stores {
			if r, ok := v.answered[s]; ok {
				rows = append(rows, r)
			}
		}
		truth, _ := noised(q, rows)
		var row []int64
		for cell := range rel.Cells() {
			if len(row) == len(truth) {
				break
			}
			row = append(row, cell.Noised-truth[len(row)])
		}
		if len(row) != len(truth) || len(row) == 0 {
			return fmt.Sprintf("%d cells were released of %d", len(row), len(truth)), nil
		}
		draws = append(draws, row)
		if len(draws)%3 == 0 && c.Ledger.Reopen != nil {
			if err := f.Restart(federated.CoordinatorID); err != nil {
				return "", err
			}
		}
	}
	stores := len(w.stores)
	if w.tpl.Cells == federated.Chain {
		stores = 1
	}
	return weigh(draws, stores, sd), nil
}

// upToSign is v or −v, whichever has its first number above 0.
func upToSign(v []int64) []int64 {
	out := slices.Clone(v)
	if i := slices.IndexFunc(v, func(x int64) bool { return x != 0 }); i >= 0 && v[i] < 0 {
		for j := range out {
			out[j] = -out[j]
		}
	}
	return out
}

// cancels says whether the cells have sums, each cell in its own multiple, that go
// without noise in every round: whether the columns depend on each other. It takes fewer
// cells than rounds. Elimination is over the integers modulo 2³¹ − 1, where a small
// multiple is one as it is among integers; that draws at random depend on each other has
// about the probability that some column repeats another.
func cancels(draws [][]int64, cells []int) bool {
	const p = 1<<31 - 1
	var rows [][]int64
	for _, d := range draws {
		row := make([]int64, len(cells))
		for i, c := range cells {
			row[i] = ((d[c] % p) + p) % p
		}
		rows = append(rows, row)
	}
	for c := range cells {
		at := slices.IndexFunc(rows, func(row []int64) bool { return row[c] != 0 })
		if at < 0 {
			return true
		}
		pivot := rows[at]
		rows = slices.Delete(rows, at, at+1)
		inverse := int64(1)
		for e, b := p-2, pivot[c]; e > 0; e, b = e>>1, b*b%p { // Fermat
			if e&1 == 1 {
				inverse = inverse * b % p
			}
		}
		for _, row := range rows {
			if f := row[c] * inverse % p; f != 0 {
				for j := c; j < len(row); j++ {
					row[j] = (row[j] + (p-f)*pivot[j]) % p
				}
			}
		}
	}
	return false
}

// weigh looks at draws of noise, by round and cell, of so many stores.
func weigh(draws [][]int64, stores int, sd float64) string {
	cells := len(draws[0])
	columns := map[string]int{}
	for p := range cells {
		var column []int64
		for _, row := range draws[:fewestRounds] {
			column = append(column, row[p])
		}
		if !slices.ContainsFunc(column, func(x int64) bool { return x != 0 }) {
			return fmt.Sprintf("cell %d of %d has no noise in %d rounds", p+1, cells, fewestRounds)
		}
		key := fmt.Sprint(upToSign(column))
		if before, ok := columns[key]; ok {
			return fmt.Sprintf("cells %d and %d have the same noise in %d rounds, but perhaps for its sign", before+1, p+1, fewestRounds)
		}
		columns[key] = p
	}
	partitions := cells / stores
	for s := range stores {
		var own []int
		for p := range partitions {
			own = append(own, s*partitions+p)
		}
		if 2*partitions <= fewestRounds && partitions > 1 && cancels(draws[:fewestRounds], own) {
			return fmt.Sprintf("the noise of the %d cells of store %d of %d adds up to nothing, each cell in a multiple of its own, in %d rounds", partitions, s+1, stores, fewestRounds)
		}
	}
	for p := range partitions {
		if stores > 1 && !slices.ContainsFunc(draws, func(row []int64) bool {
			sum := int64(0)
			for s := range stores {
				sum += row[s*partitions+p]
			}
			return sum != 0
		}) {
			return fmt.Sprintf("the total of partition %d has no noise in %d rounds", p+1, len(draws))
		}
	}
	for p := range cells {
		for q := range p {
			if r := correlation(draws, q, p); math.Abs(r) > 0.999 {
				return fmt.Sprintf("the noise of cells %d and %d is nearly the same: correlation %.4f in %d rounds", q+1, p+1, r, len(draws))
			}
		}
	}
	// Rounds that share noise, wherever they stand: of 8 cells at random, chance
	// repeats all, or all negated, with a probability below 2 · 0.0125⁸. Fewer cells are taken with
	// those of the rounds that follow.
	block := (8 + cells - 1) / cells
	seen := map[string]int{}
	for r := 0; r+block <= len(draws); r++ {
		key := fmt.Sprint(upToSign(slices.Concat(draws[r : r+block]...)))
		if before, ok := seen[key]; ok {
			return fmt.Sprintf("round %d has the noise of round %d", r+1, before+1)
		}
		seen[key] = r
	}
	same := 0
	for r := 1; r < len(draws); r++ {
		if slices.Equal(draws[r], draws[r-1]) {
			same++
		}
	}
	if same == len(draws)-1 {
		return "every round has the same noise"
	}
	n, sum, squares := 0.0, 0.0, 0.0
	for _, row := range draws {
		for _, x := range row {
			n, sum, squares = n+1, sum+float64(x), squares+float64(x)*float64(x)
		}
	}
	if mean := sum / n; math.Abs(mean) > 7*sd/math.Sqrt(n) {
		return fmt.Sprintf("the mean noise is %.3g, %.1f standard errors from 0", mean, math.Abs(mean)/(sd/math.Sqrt(n)))
	}
	// The sample variance of n ≥ 1,000 Laplace draws has a relative deviation of
	// √(5/n) ≤ 0.071: 6 of them below and 10 above.
	if ratio := squares / n / (sd * sd); ratio < 0.57 || ratio > 1.7 {
		return fmt.Sprintf("the variance of the noise is %.2f times what the label says", ratio)
	}
	return ""
}

// correlation is that of the noise of two cells. Of 12 rounds of independent noise it is beyond
// ±0.999 with a probability of about (1 − 0.999²)⁵ < 10⁻¹³.
func correlation(draws [][]int64, p, q int) float64 {
	var xx, yy, xy float64
	for _, row := range draws {
		x, y := float64(row[p]), float64(row[q])
		xx, yy, xy = xx+x*x, yy+y*y, xy+x*y
	}
	return xy / math.Sqrt(xx*yy)
}

// trySelection has one unit ask for the publication of its cells, with a
// probability of 10⁻¹².
func (c Config) trySelection(seed uint64) (string, error) {
	w := c.drawWorld(seed)
	w.selects, w.units = true, w.units[:1]
	f, err := c.federation(w, setup{seed: 7, budget: dp.Budget{Epsilon: 1e6, Delta: 0.5}})
	if err != nil {
		return "", err
	}
	for round := range 5 {
		q, err := f.Query(dp.Params{Epsilon: 1, Delta: 1e-12, Mechanism: dp.DiscreteLaplace}, func(q *federated.Question) { q.Round = int64(round + 1) })
		if err != nil || !selects(q) {
			return "", nil // a question that selects nothing
		}
		rel, err := f.Run(context.Background(), q)
		if err != nil {
			return fmt.Sprintf("a question that selects cells is refused: %v", err), nil
		}
		if !f.charged(q) {
			return "a selection that publishes nothing was not charged", nil
		}
		for cell := range rel.Cells() {
			return fmt.Sprintf("the selection published %s %s, behind which at most one unit stands", cell.Store, cell.Partition), nil
		}
	}
	return "", nil
}

// weighSelected looks at the noise of cells of fewer units than the threshold, which passed a
// selection by its noise alone, above 0. Theirs has either sign, unless both are drawn from
// one stream, which at one scale makes them the same.
func (c Config) weighSelected(seed uint64) (string, error) {
	const lives, rounds, enough = 3, 24, 80 // of that δ one budget covers 24 rounds
	w := c.grown(seed, 4, 60)
	w.selects = true
	w.bounds = dp.Bounds{L0: 1, LInf: 1, L1: 1, MaxNodes: 1}
	var f *Federation
	above, below, bare := 0, 0, 0
	for i := 0; i < lives*rounds && above+below < enough; i++ {
		if i%rounds == 0 {
			next, err := c.federation(w, setup{seed: 7 + uint64(i), budget: dp.Budget{Epsilon: 1e6, Delta: 0.99}})
			if err != nil {
				return "", err
			}
			f = next
		}
		q, err := f.Query(dp.Params{Epsilon: 1, Mechanism: dp.DiscreteLaplace}, func(q *federated.Question) {
			q.Round, q.Quorum = int64(i%rounds+1), len(q.Stores)
			q.Select.Delta = 0.04
		})
		if err != nil || !selects(q) {
			return "", nil // a question that selects nothing
		}
		exchanges := len(f.lane.rounds)
		rel, err := f.Run(context.Background(), q)
		if err != nil {
			return fmt.Sprintf("a question that selects cells is refused: %v", err), nil
		}
		v := judge(q, f.lane.heard(exchanges))
		var rows []report
		at := map[federated.NodeID]int{} // of the chain's one row, 0
		for _, s := range w.stores {
			at[s] = len(rows)
			if r, ok := v.answered[s]; ok {
				rows = append(rows, r)
			}
		}
		truth, units := noised(q, rows)
		partitions, label := q.Question().Partitions, rel.Label()
		for cell := range rel.Cells() {
			p := at[cell.Store]*len(partitions) + slices.Index(partitions, cell.Partition)
			switch {
			case label.Selection == nil || p < 0 || p >= len(units) || units[p] >= label.Selection.Threshold:
			case cell.Noised > truth[p]:
				above++
			case cell.Noised < truth[p]:
				below++
			default:
				bare++
			}
		}
	}
	// A draw is 0 with a probability below 0.47, and as often above as below.
	if above+below == 0 && bare >= 34 {
		return fmt.Sprintf("%d cells that were selected have no noise", bare), nil
	}
	if n, few := above+below, min(above, below); n > 0 && 2*binomialBelow(n, few) < 1e-10 {
		return fmt.Sprintf("of %d cells that noise made pass a selection, %d have noise above 0 and %d below: the one has to do with the other", n+bare, above, below), nil
	}
	return "", nil
}

// binomialBelow is the probability of at most k heads of n coins.
func binomialBelow(n, k int) float64 {
	sum, term := 0.0, math.Exp2(-float64(n))
	for i := range k + 1 {
		sum += term
		term *= float64(n-i) / float64(i+1)
	}
	return sum
}
