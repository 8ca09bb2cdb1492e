package fedtest

import (
	"bytes"
	"context"
	"fmt"
	"math"

	"github.com/larder-dp/larder/dp"
	"github.com/larder-dp/larder/federated"
)

// flipRounds is how often each of two questions is asked.
const flipRounds = 12

// flips are the bits that one node flipped in one answer.
type flips struct {
	of   string
	bits []byte
}

// weighFlips looks at the noise that nodes draw themselves, under Local. Sent and true
// bitmaps differ in the flips: what the records come to is known. They must be of the
// rate that ε names, among bits that are set as among those that are clear, at every
// node; those of two answers, by node, question, round or epoch, must have nothing to do
// with each other; and the release must be what the flipped bitmaps tell of their union.
func (c Config) weighFlips(w *world) (string, error) {
	next := w.copied()
	next.epoch += "x"
	var seen []flips
	for i, w := range []*world{w, next} {
		got, more, err := c.flipRounds(w, uint64(7+i))
		if got != "" || err != nil {
			return got, err
		}
		seen = append(seen, more...)
	}
	return apart(seen), nil
}

// flipRates are those of the two questions: ε by the number of the round.
var flipRates = [2]float64{1, 1.25}

func flipRate(ε float64) float64 { return 1 / (1 + math.Exp(ε)) }

func (c Config) flipRounds(w *world, seed uint64) (string, []flips, error) {
	f, err := c.federation(w, setup{seed: seed, budget: dp.Budget{Epsilon: 1e6, Delta: 0.5}})
	if err != nil {
		return "", nil, err
	}
	pseudonym, err := c.Pseudonym(w.epoch)
	if err != nil {
		return "", nil, fmt.Errorf("make pseudonym: %w", err)
	}
	type group struct {
		store federated.NodeID
		ε     float64
		set   bool
	}
	flipped, of := map[group]int64{}, map[group]int64{}
	var seen []flips
	for n := range 2 * flipRounds {
		ε := flipRates[n%2]
		q, err := f.Query(ordinary, func(q *federated.Question) {
			q.Round, q.Quorum, q.Privacy.Epsilon = int64(n/2+1), len(q.Stores), ε
		})
		if err != nil {
			return "", nil, fmt.Errorf("ask: %w", err)
		}
		rel, err := f.Run(context.Background(), q)
		if err != nil {
			return fmt.Sprintf("round %d is refused: %v", n/2+1, err), nil, nil
		}
		v := judge(q, f.lane.rounds[len(f.lane.rounds)-1].heard)
		if got := unflipped(v, ε, rel); got != "" {
			return got, nil, nil
		}
		for _, s := range w.stores {
			sent := v.answered[s].bitmap
			truth, err := w.bitmap(q, s, pseudonym)
			if err != nil {
				return "", nil, err
			}
			if len(sent) != len(truth) {
				return fmt.Sprintf("%s sent no sketch of %d bins", s, 8*len(truth)), nil, nil
			}
			diff := xor(sent, truth)
			both := ones(diff) - (ones(sent) - ones(truth)) // twice those that were set and are not
			set, clear := group{s, ε, true}, group{s, ε, false}
			flipped[set], of[set] = flipped[set]+both/2, of[set]+ones(truth)
			flipped[clear], of[clear] = flipped[clear]+ones(diff)-both/2, of[clear]+8*int64(len(truth))-ones(truth)
			seen = append(seen, flips{fmt.Sprintf("%s in round %d of ε %g, %s", s, n/2+1, ε, w.epoch), diff})
			if n%5 == 0 && c.Ledger.Reopen != nil {
				if err := f.Restart(s); err != nil {
					return "", nil, err
				}
			}
			again, err := f.nodes[s].Answer(context.Background(), askOf(q, byte(n)).encode())
			if r, bad := parseReport(again); err != nil || bad != nil || !bytes.Equal(r.bitmap, sent) {
				return fmt.Sprintf("%s, asked again in round %d, does not send the bitmap that it sent before (%v)", s, n/2+1, err), nil, nil
			}
		}
	}
	for g, n := range of {
		if x, mean, reach := float64(flipped[g]), float64(n)*flipRate(g.ε), bernstein(n, flipRate(g.ε), 4*len(w.stores)); math.Abs(x-mean) > reach {
			return fmt.Sprintf("%s flipped %.0f of %d bits (set: %v) at ε %g, and it should be %.0f ± %.0f", g.store, x, n, g.set, g.ε, mean, reach), nil, nil
		}
	}
	return "", seen, nil
}

// bernstein is how far the number of n events of probability p strays from its mean, in one
// of so many looks, but for a probability below 10⁻¹⁰ for all of them.
func bernstein(n int64, p float64, looks int) float64 {
	l := math.Log(2 * float64(looks) / 1e-10)
	return math.Sqrt(2*float64(n)*p*(1-p)*l) + l
}

// apart wants flips of different answers to differ in as many bits as chance has it.
func apart(seen []flips) string {
	p, q := flipRate(flipRates[0]), flipRate(flipRates[1])
	least := 2 * q * (1 - q)
	least = min(least, 2*p*(1-p), p*(1-q)+q*(1-p))
	for i, a := range seen {
		n := int64(8 * len(a.bits))
		bound := float64(n)*least - bernstein(n, least, len(seen)*len(seen))
		for _, b := range seen[:i] {
			if d := ones(xor(a.bits, b.bits)); float64(d) < bound {
				return fmt.Sprintf("the flips of %s differ from those of %s in %d of %d bits only, and at least %.0f are due", a.of, b.of, d, n, bound)
			}
		}
	}
	return ""
}

// unflipped compares a release with what flipped bitmaps tell of their union: with p = 1−q,
// a bin is clear in all with the expectation of Π (p − t)/(p − q) over what is seen of it.
func unflipped(v verdict, ε float64, rel *federated.Release) string {
	q := flipRate(ε)
	var rows []report
	for _, r := range v.answered {
		rows = append(rows, r)
	}
	if len(rows) == 0 {
		return "nobody answered"
	}
	bins := 8 * len(rows[0].bitmap)
	set := float64(bins)
	for at := range bins {
		clear := 1.0
		for _, r := range rows {
			clear *= (1 - q - float64(r.bitmap[at/8]>>(at%8)&1)) / (1 - 2*q)
		}
		set -= clear
	}
	for cell := range rel.Cells() {
		if math.Abs(float64(cell.Noised)-set) > 1 {
			return fmt.Sprintf("the release has %d bins set, and the flipped bitmaps tell of %.1f", cell.Noised, set)
		}
	}
	return ""
}
