package federated

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"time"
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

// A round is one query asked once, as a step machine: messages, ticks and the
// outcomes of effects go in; messages and the state, which names the next
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
}

// newRound starts a round and returns the messages that ask the nodes.
func newRound(q Query, deadline time.Time) (*round, []Message) {
	r := &round{
		q: q, deadline: deadline,
		reports: map[NodeID]*heldReport{}, absent: map[NodeID]Absence{},
	}
	body := encodeAsk(q)
	out := make([]Message, len(q.q.Stores))
	for i, s := range q.q.Stores {
		out[i] = Message{From: CoordinatorID, To: s, Body: body}
	}
	return r, out
}

// receive takes a message from a node. Whatever comes after the collection
// ended is late and is not read.
//
// The first answer of a node counts. The same bytes again change nothing. A
// different answer means that one of the two is not to be trusted, and which
// came first is the network's choice: the node is left out.
func (r *round) receive(now time.Time, m Message) {
	r.tick(now)
	if r.state != asking {
		return
	}
	sum := sha256.Sum256(m.Body)
	if held, ok := r.reports[m.From]; ok {
		if held.sum != sum {
			delete(r.reports, m.From)
			r.absent[m.From] = Absence{m.From, "sent two different answers"}
		}
		return
	}
	if a, ok := r.absent[m.From]; ok {
		if refusal, err := parseRefusal(m.Body, m.From); err != nil || a.Reason != refusalReason(refusal) {
			r.absent[m.From] = Absence{m.From, "sent two different answers"}
		}
		return
	}
	if refusal, err := parseRefusal(m.Body, m.From); err == nil && r.asked(m.From) {
		r.absent[m.From] = Absence{m.From, refusalReason(refusal)}
		r.tick(now)
		return
	}
	// A message that is no answer to this question may be one of another round,
	// or forged: it says nothing about the node.
	report, err := parseReport(m.Body)
	if err != nil || !report.fits(r.q, m.From) {
		return
	}
	r.reports[m.From] = hold(report, sum)
	r.tick(now)
}

func (r *round) asked(id NodeID) bool {
	for _, s := range r.q.q.Stores {
		if s == id {
			return true
		}
	}
	return false
}

// refusalReason cuts the node's words to what a label may carry.
func refusalReason(r *Refusal) string {
	words := fmt.Sprintf("refused by %s: asked for %s: accepts %s", r.Rule, r.Asked, r.Accepts)
	return strings.ToValidUTF8(words[:min(len(words), 1024)], "")
}

func hold(r report, sum [32]byte) *heldReport {
	h := &heldReport{sum: sum, inventory: r.inventory}
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
			r.absent[s] = Absence{s, "no answer by the deadline"}
		}
	}
	r.state = belowQuorum
	if len(r.reports) >= r.q.q.Quorum {
		r.state = reserving
	}
}

// close ends the collection: nothing more can come.
func (r *round) close() { r.tick(r.deadline) }

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
