package fedtest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/larder-dp/larder/dp"
	"github.com/larder-dp/larder/federated"
)

// A Fault is one thing that goes wrong in a round, at one node.
type Fault struct {
	Do   FaultKind
	Node federated.NodeID
}

// String writes the fault as a script does.
func (f Fault) String() string { return string(f.Do) + " " + string(f.Node) }

// A FaultKind is what goes wrong. All but Crash and Skew are things that a
// network does.
type FaultKind string

// The kinds of faults.
const (
	Drop      FaultKind = "drop"      // the node is never asked
	Lose      FaultKind = "lose"      // its answer is lost
	Retry     FaultKind = "retry"     // it is asked twice
	Duplicate FaultKind = "duplicate" // its answer comes twice
	Reorder   FaultKind = "reorder"   // its answer comes after the others
	Slow      FaultKind = "slow"      // its answer takes half of the time there is
	Late      FaultKind = "late"      // its answer comes after the deadline
	Ghost     FaultKind = "ghost"     // its answer comes while the round is being charged
	Corrupt   FaultKind = "corrupt"   // its answer is damaged so that it is no answer
	Conflict  FaultKind = "conflict"  // another answer comes besides its own
	Replay    FaultKind = "replay"    // its answers to earlier rounds come, too
	Forge     FaultKind = "forge"     // another node's answer comes under its name
	Stranger  FaultKind = "stranger"  // its answer comes from a node that nobody asked, too
	Refuse    FaultKind = "refuse"    // a refusal comes in place of its answer
	Crash     FaultKind = "crash"     // it crashes while it answers, and restarts
	Skew      FaultKind = "skew"      // its clock is wrong by two days; for NewFederation only
)

var networkFaults = []FaultKind{
	Drop, Lose, Retry, Duplicate, Reorder, Slow, Late, Ghost, Corrupt, Conflict, Replay, Forge, Stranger, Refuse, Crash,
}

// A lane is the transport of a Federation: it takes messages to the nodes and
// the answers back as its script says, and keeps what it delivered.
type lane struct {
	f      *Federation
	inner  federated.Transport
	mu     sync.Mutex
	script []Fault
	past   []federated.Message // answers to earlier rounds
	rounds []exchange
	ghosts func() // delivers what comes too late for anybody
}

// An exchange is what passed in one round.
type exchange struct {
	sent    []federated.Message
	answers []federated.Message // what left the nodes
	heard   []federated.Message // what the coordinator was given in time, in that order
}

func (l *lane) faulty(k FaultKind, s federated.NodeID) bool {
	return slices.Contains(l.script, Fault{k, s})
}

func (l *lane) Exchange(ctx context.Context, out []federated.Message, deliver func(federated.Message)) error {
	p := l.f.coordinator.p
	over := time.After(l.f.deadline + time.Millisecond) // whatever deadline ctx has
	if err := p.step(); err != nil {
		return err
	}
	l.rounds = append(l.rounds, exchange{sent: out})
	var asks []federated.Message
	for _, m := range out {
		l.f.tap.message(m)
		p.note("ask", dp.Key{}, len(m.Body), nil)
		if l.faulty(Drop, m.To) {
			continue
		}
		asks = append(asks, m)
		if l.faulty(Retry, m.To) {
			asks = append(asks, m)
		}
	}
	var answers []federated.Message
	err := l.inner.Exchange(ctx, asks, func(m federated.Message) {
		l.mu.Lock()
		defer l.mu.Unlock()
		answers = append(answers, federated.Message{From: m.From, To: m.To, Body: slices.Clone(m.Body)})
	})
	if err != nil {
		return err
	}
	slices.SortStableFunc(answers, func(a, b federated.Message) int { return strings.Compare(string(a.From), string(b.From)) })
	inTime, slow, late, ghosts := l.plan(answers)
	l.past = append(l.past, answers...)
	l.rounds[len(l.rounds)-1].answers = answers
	hand := func(ms []federated.Message, counts bool) error {
		for _, m := range ms {
			if err := p.step(); err != nil {
				return err
			}
			if counts {
				last := &l.rounds[len(l.rounds)-1]
				last.heard = append(last.heard, m)
			}
			deliver(federated.Message{From: m.From, To: m.To, Body: slices.Clone(m.Body)})
		}
		return nil
	}
	l.ghosts = func() { _ = hand(ghosts, false) }
	if err := hand(inTime, true); err != nil {
		return err
	}
	if len(slow) > 0 {
		select {
		case <-time.After(l.f.deadline / 2):
		case <-ctx.Done():
		}
		if err := hand(slow, ctx.Err() == nil); err != nil {
			return err
		}
	}
	if len(late) > 0 {
		select {
		case <-over:
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				<-over
			}
		}
		return hand(late, false)
	}
	return nil
}

// plan says in which order, how often and when answers arrive.
func (l *lane) plan(answers []federated.Message) (inTime, slow, late, ghosts []federated.Message) {
	var last []federated.Message
	for i, m := range answers {
		s := m.From
		if l.faulty(Lose, s) {
			continue
		}
		to := &inTime
		switch {
		case l.faulty(Slow, s):
			to = &slow
		case l.faulty(Late, s):
			to = &late
		case l.faulty(Ghost, s):
			to = &ghosts
		case l.faulty(Reorder, s):
			to = &last
		}
		if l.faulty(Replay, s) {
			for _, old := range l.past {
				if old.From == s {
					*to = append(*to, old)
				}
			}
		}
		if l.faulty(Refuse, s) {
			m.Body = append([]byte(refusalMagic), asJSON(refusal{s, "allow list", "this", "nothing"})...)
		}
		if l.faulty(Corrupt, s) {
			m.Body = damage(m.Body, i+len(l.rounds)*7)
		}
		if l.faulty(Stranger, s) {
			*to = append(*to, federated.Message{From: s + "x", To: m.To, Body: m.Body})
		}
		if l.faulty(Forge, s) {
			*to = append(*to, federated.Message{From: s, To: m.To, Body: answers[(i+1)%len(answers)].Body})
		}
		*to = append(*to, m)
		if l.faulty(Duplicate, s) {
			*to = append(*to, m)
		}
		if l.faulty(Conflict, s) {
			*to = append(*to, another(m))
		}
	}
	return append(inTime, last...), slow, late, ghosts
}

// another is a well-formed answer that differs.
func another(m federated.Message) federated.Message {
	if r, err := parseReport(m.Body); err == nil && len(r.amounts) > 0 {
		r.amounts[0]++
		m.Body = r.encode()
	} else if err == nil && r.bitmap != nil {
		r.bitmap[0] ^= 1
		m.Body = r.encode()
	}
	return m
}

// damage makes an answer into none.
func damage(b []byte, how int) []byte {
	b = slices.Clone(b)
	r, err := parseReport(b)
	if err != nil { // a refusal
		return b[:len(b)-1]
	}
	if r.bitmap != nil && how%12 > 6 {
		return damageSketch(b, r, how%12)
	}
	switch how % 12 {
	case 0:
		return b[:len(b)-1]
	case 1:
		return append(b, 0)
	case 2:
		b[3] ^= 4
		return b
	case 3:
		r.digest[5] ^= 1
	case 4:
		r.round += 1 << 40
	case 5:
		r.epoch += "x"
	case 6:
		r.node += "x"
	case 7:
		r.amounts[len(r.amounts)-1] = -1
	case 8:
		r.amounts[0] = maxCell + 1
	case 9: // one partition more
		r.amounts = append(r.amounts, 0)
	case 10: // counts of units where there should be none, or the other way round
		if r.units == nil {
			r.units = make([]int64, len(r.amounts))
		} else {
			r.units = nil
		}
	case 11:
		binary.BigEndian.PutUint32(b[len(b)-8*len(slices.Concat(r.amounts, r.units, r.inventory))-4:], 1<<31)
		return b
	}
	return r.encode()
}

func damageSketch(b []byte, r report, how int) []byte {
	switch how {
	case 7: // fewer bins
		r.bitmap = r.bitmap[:len(r.bitmap)-8]
	case 8: // more
		r.bitmap = append(r.bitmap, make([]byte, 8)...)
	case 9: // a sum in place of a sketch
		r.amounts, r.bitmap = []int64{1}, nil
	case 10: // no whole number of words
		r.bitmap = r.bitmap[:len(r.bitmap)-1]
	default:
		binary.BigEndian.PutUint32(b[len(b)-len(r.bitmap)-4:], 1<<31)
		return b
	}
	return r.encode()
}

// direct calls the nodes one after the other, in the order of the messages.
type direct struct{ f *Federation }

func (d direct) Exchange(ctx context.Context, out []federated.Message, deliver func(federated.Message)) error {
	for _, m := range out {
		n := d.f.nodes[m.To]
		if n == nil {
			continue
		}
		if body, err := n.Answer(ctx, m.Body); err == nil {
			deliver(federated.Message{From: m.To, To: m.From, Body: body})
		}
	}
	return nil
}

// A verdict is what a round comes to by the rules of package federated's doc.
type verdict struct {
	answered map[federated.NodeID]report
	absent   map[federated.NodeID]string
}

// judge is the rule of a round, written down plainly.
func judge(q federated.Query, heard []federated.Message) verdict {
	v := verdict{map[federated.NodeID]report{}, map[federated.NodeID]string{}}
	bodies := map[federated.NodeID]string{}
	stores := q.Question().Stores
	for _, m := range heard {
		if len(v.answered)+len(v.absent) == len(stores) {
			break // all are in: the round does not listen any more
		}
		if !slices.Contains(stores, m.From) {
			continue
		}
		reason := ""
		r, err := parseReport(m.Body)
		if err == nil && r.answers(q, m.From) != "" {
			continue
		}
		if err != nil {
			no, err := parseRefusal(m.Body)
			if err != nil || no.Node != m.From {
				continue
			}
			reason = fmt.Sprintf("refused by %s", no.Rule)
		}
		switch before, again := bodies[m.From]; {
		case again && before != string(m.Body):
			delete(v.answered, m.From)
			v.absent[m.From] = "sent two different answers"
		case again:
		case reason != "":
			v.absent[m.From] = reason
		default:
			v.answered[m.From] = r
		}
		bodies[m.From] = string(m.Body)
	}
	for _, s := range stores {
		if _, ok := v.answered[s]; !ok && v.absent[s] == "" {
			v.absent[s] = "no answer"
		}
	}
	return v
}
