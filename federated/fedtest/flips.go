package fedtest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/larder-dp/larder/dp"
	"github.com/larder-dp/larder/federated"
)

// flips are the bits that one node flipped in one answer.
type flips struct {
	store federated.NodeID
	round int // of all that were asked in its epoch, from 0
	epoch string
	rate  float64
	bits  []byte
}

func (f flips) String() string {
	return fmt.Sprintf("%s in epoch %s, question %d", f.store, f.epoch, f.round+1)
}

// weighFlips looks at the noise that nodes draw themselves, under Local. Sent and true
// bitmaps differ in the flips: what the records come to is known. They must be of the
// rate that ε names, at every node, and among bits that are set as among those that are
// clear; those of two answers, by node, question, round or epoch, must have nothing to do
// with each other; and the release must be what the flipped bitmaps tell of their union.
func (c Config) weighFlips(w *world) (string, error) {
	next := w.copied()
	next.epoch += "x"
	var seen []flips
	weighed := scales{}
	for _, w := range []*world{w, next} {
		got, more, err := c.flipRounds(w, weighed)
		if got != "" || err != nil {
			return got, err
		}
		seen = append(seen, more...)
	}
	if alike := apart(seen, weighed); alike != "" {
		return alike, nil
	}
	return weighed.broken(), nil
}

// scales weigh kinds of events: how many there were, and how many there should be.
type scales map[string]*weight

type weight struct{ of, events, mean, variance float64 }

// add takes events of probability p, of so many trials.
func (s scales) add(what string, of, events int64, p float64) {
	w := s[what]
	if w == nil {
		w = &weight{}
		s[what] = w
	}
	n := float64(of)
	w.of, w.events = w.of+n, w.events+float64(events)
	w.mean, w.variance = w.mean+n*p, w.variance+n*p*(1-p)
}

// broken names what is further from its mean than chance takes it.
func (s scales) broken() string {
	for _, what := range slices.Sorted(maps.Keys(s)) {
		w := s[what]
		if reach := bernstein(w.variance, len(s)); math.Abs(w.events-w.mean) > reach {
			return fmt.Sprintf("%s: %.0f of %.0f, and it should be %.0f ± %.0f", what, w.events, w.of, w.mean, reach)
		}
	}
	return ""
}

// bernstein is how far a number of independent events strays from its mean, in one of so
// many looks, but for a probability below 10⁻¹⁰ for all of them.
func bernstein(variance float64, looks int) float64 {
	l := math.Log(2 * float64(looks) / 1e-10)
	return math.Sqrt(2*variance*l) + l
}

// flipRate is the probability of a flip.
func flipRate(epsilon float64) float64 { return 1 / (1 + math.Exp(epsilon)) }

// flipRounds asks two questions in turns, in as many rounds.
func (c Config) flipRounds(w *world, weighed scales) (string, []flips, error) {
	const rounds = 12
	tape := sha256.Sum256([]byte(w.epoch)) // another in every world and epoch
	f, err := c.federation(w, setup{seed: binary.BigEndian.Uint64(tape[:]), budget: dp.Budget{Epsilon: 1e6, Delta: 0.5}})
	if err != nil {
		return "", nil, err
	}
	pseudonym, err := c.Pseudonym(w.epoch)
	if err != nil {
		return "", nil, fmt.Errorf("make pseudonym: %w", err)
	}
	var seen []flips
	for n := range 2 * rounds {
		q, err := f.Query(ordinary, func(q *federated.Question) {
			q.Round, q.Quorum, q.Privacy.Epsilon = int64(n/2+1), len(q.Stores), []float64{1, 1.25}[n%2]
		})
		if err != nil {
			return "", nil, fmt.Errorf("ask: %w", err)
		}
		asked := len(f.lane.rounds)
		rel, err := f.Run(context.Background(), q)
		if err != nil {
			return fmt.Sprintf("question %d is refused: %v", n+1, err), nil, nil
		}
		if len(f.lane.rounds) == asked {
			continue // a Template that does not let the ε be changed: it was asked before
		}
		v := judge(q, f.lane.rounds[asked].heard)
		rate := flipRate(q.Question().Privacy.Epsilon)
		if got := unflipped(v, rate, rel); got != "" {
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
			diff := flips{s, n, w.epoch, rate, xor(sent, truth)}
			bits, set, flipped := 8*int64(len(truth)), ones(truth), ones(diff.bits)
			gone := (flipped - ones(sent) + set) / 2 // which were set and are not
			weighed.add(fmt.Sprintf("bits that %s flipped with probability %.3f", s, rate), bits, flipped, rate)
			weighed.add("flipped bits of those that were set", set, gone, rate)
			weighed.add("flipped bits of those that were clear", bits-set, flipped-gone, rate)
			seen = append(seen, diff)
			if n%5 == 0 && c.Ledger.Reopen != nil {
				if err := f.Restart(s); err != nil {
					return "", nil, err
				}
			}
			again, err := f.nodes[s].Answer(context.Background(), askOf(q, byte(n)).encode())
			if r, bad := parseReport(again); err != nil || bad != nil || !bytes.Equal(r.bitmap, sent) {
				return fmt.Sprintf("%v, asked again, does not send the bitmap that it sent before (%v)", diff, err), nil, nil
			}
		}
	}
	return "", seen, nil
}

// apart wants flips of any two answers to differ in about as many bits as chance has it, and
// weighs exactly those of answers that have most in common.
func apart(seen []flips, weighed scales) string {
	if len(seen) < 2 {
		return ""
	}
	pair := []federated.NodeID{seen[0].store, seen[1].store}
	for i, a := range seen {
		for _, b := range seen[:i] {
			n, p := 8*int64(len(a.bits)), a.rate*(1-b.rate)+b.rate*(1-a.rate)
			d, mean := ones(xor(a.bits, b.bits)), float64(n)*p
			if float64(d) < mean-bernstein(mean*(1-p), len(seen)*len(seen)) {
				return fmt.Sprintf("the flips of %v differ from those of %v in %d of %d bits only, and about %.0f are due", a, b, d, n, mean)
			}
			if what := relation(a, b, pair); what != "" {
				weighed.add("different flips "+what, n, d, p)
			}
		}
	}
	return ""
}

// relation says what two answers share. In no relation is an answer twice, so that the bits of
// all its pairs are independent. b was sent before a.
func relation(a, b flips, pair []federated.NodeID) string {
	switch {
	case a.epoch != b.epoch:
		if a.store == b.store && a.round == b.round {
			return "of one node in two epochs"
		}
	case a.round == b.round:
		if b.store == pair[0] && a.store == pair[1] {
			return "of two nodes in one round"
		}
	case a.store == b.store && a.round == b.round+1 && b.round%2 == 0:
		return "of one node in two questions of one round"
	case a.store == b.store && a.round == b.round+2 && b.round%4 < 2:
		return "of one node in two rounds"
	}
	return ""
}

// unflipped compares a release with what flipped bitmaps tell of their union: with p = 1−q,
// a bin is clear in all with the expectation of Π (p − t)/(p − q) over what is seen of it.
func unflipped(v verdict, q float64, rel *federated.Release) string {
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
