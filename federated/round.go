package federated

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
)

// A state is where a round stands. It moves only downwards in this list.
type state int

const (
	asking      state = iota // collecting reports until all are in or the deadline
	reserving                // quorum reached: reserve the charge
	noising                  // charge reserved: draw the noise
	storing                  // noised: commit and store
	released                 // terminal: the release is stored and may be told
	belowQuorum              // terminal: nothing was charged
	refused                  // terminal: the ledger refused; nothing was charged
	aborted                  // terminal: reserved and interrupted; the charge stays spent
)

func (s state) String() string {
	return [...]string{"asking", "reserving", "noising", "storing", "released", "below quorum", "refused", "aborted"}[s]
}

// A round is one query asked once, as a step machine: messages, ticks and how
// an effect came out go in; messages and the state, which names the next
// effect, come out. It has no clock, goroutine or socket.
type round struct {
	q        Query
	deadline time.Time
	state    state
	reports  map[NodeID]*heldReport
	absent   map[NodeID]Absence
}

// A heldReport is a report, packed where most cells are empty.
type heldReport struct {
	sum       [32]byte // of the body, to tell a duplicate from a conflict
	amounts   []int64  // dense; nil if packed
	keys      []uint32 // packed: the cells that any unit touched
	packed    []int64  // their amounts
	units     []int64  // and units
	inventory []int64
	bitmap    []uint64 // of a sketch, in place of all the rest
}

// newRound starts a round and returns the messages that ask the nodes.
func newRound(q Query, session [16]byte, deadline time.Time) (*round, []Message) {
	r := &round{
		q: q, deadline: deadline,
		reports: map[NodeID]*heldReport{}, absent: map[NodeID]Absence{},
	}
	body := ask{q, session}.encode()
	out := make([]Message, len(q.q.Stores))
	for i, s := range q.q.Stores {
		out[i] = Message{From: CoordinatorID, To: s, Body: body}
	}
	return r, out
}

// receive takes a message from a node. Whatever comes after the collection
// ended is late and is not read. A message that is no answer to this question
// may be one of another round, or forged: it says nothing about the node.
//
// The first answer of a node counts. The same again changes nothing. A
// different one means that one of the two is not to be trusted, and which came
// first is the network's choice: the node is left out.
func (r *round) receive(now time.Time, m Message) {
	r.tick(now)
	if r.state != asking || !slices.Contains(r.q.q.Stores, m.From) {
		return
	}
	held, absent := r.reports[m.From], r.absent[m.From]
	sum := sha256.Sum256(m.Body)
	if held != nil && held.sum == sum {
		return
	}
	var answer *heldReport
	reason := ""
	if refusal, err := parseRefusal(m.Body, m.From); err == nil {
		reason = refusalReason(refusal)
	} else if report, err := parseReport(m.Body); err == nil && report.fits(r.q, m.From) {
		answer = hold(report, sum)
	} else {
		return
	}
	switch {
	case held != nil || absent.Node != "" && absent.Reason != reason:
		delete(r.reports, m.From)
		r.absent[m.From] = Absence{m.From, "sent two different answers"}
	case answer != nil:
		r.reports[m.From] = answer
	default:
		r.absent[m.From] = Absence{m.From, reason}
	}
	r.tick(now)
}

// refusedBy begins the reason of a node that refused, and of no other.
const refusedBy = "refused by "

// refusalReason cuts the node's words to what a label may carry: one line, of signs that can be
// seen, so that no node writes lines of its own into it.
func refusalReason(r *refusal) string {
	words := fmt.Sprintf(refusedBy+"%s: asked for %s: accepts %s", r.Rule, r.Asked, r.Accepts)
	words = strings.ToValidUTF8(words[:min(len(words), maxRefusal)], "")
	return strings.Map(func(c rune) rune {
		if !unicode.IsPrint(c) {
			return ' '
		}
		return c
	}, words)
}

func hold(r report, sum [32]byte) *heldReport {
	h := &heldReport{sum: sum, inventory: r.inventory, bitmap: r.bitmap}
	if r.units == nil {
		h.amounts = r.amounts
		return h
	}
	for i, u := range r.units {
		if u > 0 {
			h.keys = append(h.keys, uint32(i))
			h.packed = append(h.packed, r.amounts[i])
			h.units = append(h.units, u)
		}
	}
	return h
}

// tick tells the time. Collection ends when every node has answered or refused,
// and at the deadline.
func (r *round) tick(now time.Time) {
	if r.state != asking {
		return
	}
	late := !now.Before(r.deadline)
	if !late && len(r.reports)+len(r.absent) < len(r.q.q.Stores) {
		return
	}
	for _, s := range r.q.q.Stores {
		if _, ok := r.absent[s]; !ok && r.reports[s] == nil {
			r.absent[s] = Absence{s, "no answer"}
		}
	}
	r.state = belowQuorum
	if len(r.reports) >= r.q.q.Quorum {
		r.state = reserving
	}
}

// close ends the collection: nothing more can come.
func (r *round) close() { r.tick(r.deadline) }

// effect tells how the effect that the state names came out.
func (r *round) effect(err error) {
	next := map[state]state{reserving: noising, noising: storing, storing: released}
	switch {
	case err == nil:
		r.state = next[r.state]
	case r.state == reserving && !errors.Is(err, ErrInterrupted):
		r.state = refused
	default:
		r.state = aborted
	}
}

// coverage says who answered.
func (r *round) coverage() Coverage {
	c := Coverage{Asked: len(r.q.q.Stores), Answered: len(r.reports)}
	for _, s := range r.q.q.Stores {
		if a, ok := r.absent[s]; ok {
			c.Absent = append(c.Absent, a)
		}
	}
	return c
}
