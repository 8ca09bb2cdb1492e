package federated

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"slices"

	"github.com/larder-dp/larder/dp"
)

// NodeConfig is what a store brings to the federation.
type NodeConfig struct {
	// ID is the node's name in the roster. Required.
	ID NodeID
	// Lists, Sales and Memberships are the members' records. A node without
	// records of a kind answers zeros.
	Lists, Sales, Memberships Records
	// Inventory is the store's own, from Independent or Perpetual. The zero
	// value is none.
	Inventory Inventory
	// Pseudonym turns a member's id into a pseudonym, the same for the same
	// member within an epoch and scope; pseudonym.Keys.Scope returns one.
	// Required where records name members. An error means that the id is
	// malformed; NewNode tries "0", which must not be.
	Pseudonym func(member string) ([16]byte, error)
	// Secret keys the choice of what bounding keeps. 32 random bytes that stay
	// at this node, the same for a whole epoch. Zero means fresh ones from
	// crypto/rand, which a restart changes.
	Secret [32]byte
	// Allow is the node's policy. The zero value refuses everything.
	Allow Policy
	// Ledger, if not nil, is the node's own: each question is charged to it
	// before its report leaves, and the report is stored and sent again as it
	// was.
	Ledger dp.Ledger
	// Functions are the custom queries that this node can answer.
	Functions []Function
	// Log, if not nil, is told what only this node's operator may know, such
	// as why its records cannot be read.
	Log *slog.Logger
}

// Inventory is a store's stock, with what its owner declares of it.
type Inventory struct {
	items     iter.Seq2[Stock, error]
	perpetual bool
}

// Independent declares an inventory that members' sales did not move: a plan,
// or any count where demand comes from lists. It is told un-noised.
func Independent(items iter.Seq2[Stock, error]) Inventory {
	return Inventory{items: items}
}

// Perpetual declares an inventory that moves with every sale. It is never told:
// a later one would give exact sales away by subtraction. The release carries
// demand alone, and net demand is computed where the stock is known.
func Perpetual(items iter.Seq2[Stock, error]) Inventory {
	return Inventory{items: items, perpetual: true}
}

// A Node answers queries about its own records. Raw records never leave it.
// Safe for concurrent use if its sources are.
type Node struct {
	c         NodeConfig
	functions map[string]Function
}

// NewNode checks c and returns a node.
func NewNode(c NodeConfig) (*Node, error) {
	if !c.ID.valid() {
		return nil, errors.New("make node: ID must be 1 to 64 printable ASCII characters without space, comma and *")
	}
	n := &Node{c: c, functions: map[string]Function{}}
	for _, f := range append([]Function{netDemand, memberCount}, c.Functions...) {
		name := fmt.Sprintf("%s/%d", f.Name, f.Version)
		switch _, taken := n.functions[name]; {
		case !validName(f.Name) || f.Version < 1 || f.Prepare == nil || len(f.From) == 0:
			return nil, fmt.Errorf("make node %s: register function %q: give a name, a version, what it reads and Prepare", c.ID, name)
		case taken:
			return nil, fmt.Errorf("make node %s: register function %q: the name is taken", c.ID, name)
		}
		n.functions[name] = f
	}
	// A key that cannot work would otherwise look like malformed ids, one and all.
	if n.c.Pseudonym != nil {
		if _, err := n.c.Pseudonym("0"); err != nil {
			return nil, fmt.Errorf("make node %s: try Pseudonym: %w", c.ID, err)
		}
	}
	if n.c.Secret == ([32]byte{}) {
		var err error
		if n.c.Secret, err = freshSecret(); err != nil {
			return nil, fmt.Errorf("make node %s: draw secret: %w", c.ID, err)
		}
	}
	return n, nil
}

// ID returns the node's name.
func (n *Node) ID() NodeID { return n.c.ID }

// Answer takes the body of a message from the coordinator and returns the body
// of the answer: a report, or a refusal. It returns an error, for this node's
// operator only, where there is nothing to answer: the message is not one of
// this protocol, or ctx ended.
func (n *Node) Answer(ctx context.Context, ask []byte) ([]byte, error) {
	q, err := parseAsk(ask)
	if err != nil {
		return nil, fmt.Errorf("answer: %w", err)
	}
	return n.answer(ctx, q)
}

func (n *Node) answer(ctx context.Context, q Query) ([]byte, error) {
	if refusal := n.check(q); refusal != nil {
		return refusal.encode(), nil
	}
	if stored, refusal := n.charge(ctx, q); refusal != nil {
		return refusal.encode(), nil
	} else if stored != nil {
		return stored, nil
	}
	v, err := n.aggregate(ctx, q)
	if ctx.Err() != nil {
		return nil, fmt.Errorf("answer: %w", ctx.Err())
	}
	r := report{
		node: n.c.ID, digest: q.digest, epoch: q.q.Epoch, round: q.q.Round,
		amounts: v.amounts, units: v.units,
	}
	if err == nil {
		r.inventory, err = n.inventory(q)
	}
	if err != nil {
		return n.unavailable(err).encode(), nil
	}
	body := r.encode()
	if n.c.Ledger != nil {
		if err := n.c.Ledger.Commit(ctx, q.key(), body); err != nil {
			return n.unavailable(err).encode(), nil
		}
	}
	return body, nil
}

// check refuses what policy or the node's make rules out; no record is read.
func (n *Node) check(q Query) *Refusal {
	if q.query == nil {
		return &Refusal{n.c.ID, "query", "the zero query", "a query with a name"}
	}
	if refusal := n.c.Allow.check(n.c.ID, q); refusal != nil {
		return refusal
	}
	if !slices.Contains(q.q.Stores, n.c.ID) {
		return &Refusal{n.c.ID, "roster", "other nodes", "queries that name it among their stores"}
	}
	f, ok := n.functions[q.Name()]
	if !ok {
		return &Refusal{n.c.ID, "functions", q.Name(), "queries whose function is registered here"}
	}
	if !slices.Contains(f.From, q.q.From) {
		return &Refusal{n.c.ID, "functions", fmt.Sprintf("%s from %s", q.Name(), q.q.From), fmt.Sprintf("it from %v", f.From)}
	}
	if _, err := f.Prepare(q.params); err != nil {
		return &Refusal{n.c.ID, "functions", q.Name() + " with its parameters", "parameters that the function knows"}
	}
	if n.c.Pseudonym == nil && (q.q.Unit == UnitMember || q.q.Unit == UnitMemberAtNode) {
		return &Refusal{n.c.ID, "pseudonym key", "unit " + string(q.q.Unit), "units without members: it has no key"}
	}
	return nil
}

// charge charges the node's own ledger, if it has one. It returns the stored
// report of a question that was answered before.
func (n *Node) charge(ctx context.Context, q Query) ([]byte, *Refusal) {
	if n.c.Ledger == nil {
		return nil, nil
	}
	_, err := n.c.Ledger.Reserve(ctx, dp.Charge{Key: q.key(), Unit: string(q.q.Unit), Cost: q.Cost()})
	var over *dp.BudgetError
	switch {
	case errors.As(err, &over):
		return nil, &Refusal{
			n.c.ID, "ledger", fmt.Sprintf("ε=%g δ=%g", over.Asked.Epsilon, over.Asked.Delta),
			fmt.Sprintf("at most ε=%g δ=%g more in this epoch", over.Left.Epsilon, over.Left.Delta),
		}
	case errors.Is(err, dp.ErrAlreadyCharged):
		e, err := n.c.Ledger.Lookup(ctx, q.key())
		if err != nil {
			return nil, n.unavailable(err)
		}
		// Reserved and not stored: the node stopped in between. Its report is a
		// function of its records, so it is made again and not charged twice.
		return e.Release, nil
	case err != nil:
		return nil, n.unavailable(err)
	}
	return nil, nil
}

// unavailable is what the coordinator is told when the node cannot answer; why
// stays here.
func (n *Node) unavailable(err error) *Refusal {
	if n.c.Log != nil {
		n.c.Log.Error("cannot answer", "node", string(n.c.ID), "error", err)
	}
	return &Refusal{n.c.ID, "availability", "an answer", "a later try: the node could not read its records or its ledger"}
}

func (n *Node) inventory(q Query) ([]int64, error) {
	if n.c.Inventory.items == nil || n.c.Inventory.perpetual || q.name != netDemand.Name {
		return nil, nil
	}
	v := make([]int64, len(q.q.Partitions))
	for s, err := range n.c.Inventory.items {
		if err != nil {
			return nil, fmt.Errorf("read inventory: %w", err)
		}
		if p, ok := q.index[s.Item]; ok {
			v[p] = clampAdd(v[p], s.Quantity)
		}
	}
	return v, nil
}

// clampAdd adds and stays inside ±2⁶².
func clampAdd(a, b int64) int64 {
	b = min(max(b, -maxCell), maxCell)
	return min(max(a+b, -maxCell), maxCell) // |a|, |b| < 2⁶²: no overflow
}

// An Audit is what a node's records really come to under a query, before any
// noise: true facts for the node's own operator, or for a simulation. Nothing
// in this package sends it, and it does not print itself.
type Audit struct {
	// Values is the node's exact bounded vector over the query's partitions.
	Values []int64
	// Units is the number of units that contributed, UnitsCut of them more
	// than L0 or L1 allow.
	Units, UnitsCut int64
	// Capped is the total after LInf alone; Kept what L0 and L1 left of it.
	Capped, Kept int64
}

// String hides the values.
func (Audit) String() string { return "audit (not shown: it is not private)" }

// GoString hides the values.
func (a Audit) GoString() string { return a.String() }

// LogValue hides the values.
func (a Audit) LogValue() slog.Value { return slog.StringValue(a.String()) }

// Audit computes what the node would report under q, without asking the policy
// and without a charge. For the node's own operator; its result must not leave
// the node.
func (n *Node) Audit(ctx context.Context, q Query) (Audit, error) {
	if q.query == nil {
		return Audit{}, fmt.Errorf("audit node: %w", errZeroQuery)
	}
	if f, ok := n.functions[q.Name()]; !ok || !slices.Contains(f.From, q.q.From) {
		return Audit{}, fmt.Errorf("audit node: no function %s from %s is registered", q.Name(), q.q.From)
	}
	v, err := n.aggregate(ctx, q)
	if err != nil {
		return Audit{}, fmt.Errorf("audit node: %w", err)
	}
	return Audit{v.amounts, v.Units, v.UnitsCut, v.Capped, v.Kept}, nil
}

// aggregate reads the records that the query is about, once, and sums them up.
func (n *Node) aggregate(ctx context.Context, q Query) (vector, error) {
	contribute, err := n.functions[q.Name()].Prepare(q.params)
	if err != nil {
		return vector{}, fmt.Errorf("prepare %s: %w", q.Name(), err)
	}
	prf, err := newBoundingPRF(n.c.Secret, q.q.Epoch, q.digest)
	if err != nil {
		return vector{}, err
	}
	unitOf, err := n.units(ctx, q)
	if err != nil {
		return vector{}, err
	}
	a := newAggregator(q.q.Bounds, q.index, prf)
	emit := a.emit
	err = n.each(ctx, q.q.From, func(r *Record) {
		if !q.q.Window.contains(r.Time) {
			return
		}
		if unit, ok := unitOf(r); ok {
			a.begin(unit)
			contribute(r, emit)
		}
	})
	if err != nil {
		return vector{}, err
	}
	return a.vector(q.selects()), nil
}

func (n *Node) records(k Kind) Records {
	switch k {
	case Lists:
		return n.c.Lists
	case Sales:
		return n.c.Sales
	default:
		return n.c.Memberships
	}
}

func (n *Node) each(ctx context.Context, k Kind, f func(*Record)) error {
	records := n.records(k)
	if records == nil {
		return nil
	}
	i, record := 0, Record{} // one record, for no allocation each
	for r, err := range records {
		if err != nil {
			return fmt.Errorf("read %s: %w", k, err)
		}
		if i++; i%4096 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		record = r
		f(&record)
	}
	return ctx.Err()
}

// units returns the function that names the privacy unit of a record, or says
// that the record does not count at this node. These are the rules of the
// package doc.
func (n *Node) units(ctx context.Context, q Query) (func(*Record) ([16]byte, bool), error) {
	own := func(kind byte, id string) [16]byte { // a unit that only this node has to know
		var buf [128]byte
		b := append(append(append(buf[:0], n.c.Secret[:]...), kind), id...)
		sum := sha256.Sum256(b)
		return [16]byte(sum[:16])
	}
	member := func(r *Record) ([16]byte, bool) {
		p, err := n.c.Pseudonym(r.Member)
		return p, err == nil
	}
	here := func(r *Record) bool { return len(r.Stores) == 0 || slices.Contains(r.Stores, n.c.ID) }
	anonymousSale := func(r *Record) ([16]byte, bool) { return own('s', r.ID), r.ID != "" }

	switch q.q.Unit {
	case UnitList:
		most := int(q.q.Bounds.MaxNodes)
		return func(r *Record) ([16]byte, bool) {
			return own('l', r.ID), r.ID != "" && amongFirst(r.Stores, n.c.ID, most)
		}, nil
	case UnitSale:
		return func(r *Record) ([16]byte, bool) {
			if !here(r) {
				return [16]byte{}, false
			}
			return anonymousSale(r)
		}, nil
	case UnitMemberAtNode:
		return func(r *Record) ([16]byte, bool) {
			switch {
			case !here(r):
				return [16]byte{}, false
			case r.Member != "":
				return member(r)
			case q.q.From == Sales:
				return anonymousSale(r)
			}
			return [16]byte{}, false
		}, nil
	default: // UnitMember
		homes, err := n.homes(ctx, q, member)
		if err != nil {
			return nil, err
		}
		return func(r *Record) ([16]byte, bool) {
			switch {
			case r.Member == "" && q.q.From == Sales && here(r):
				return anonymousSale(r)
			case r.Member == "" || q.q.From != Memberships && !here(r):
				return [16]byte{}, false
			}
			p, ok := member(r)
			return p, ok && homes[p].counted
		}, nil
	}
}

// A home says whether a member counts at this node.
type home struct {
	counted bool
	set     [16]byte // digest of her home stores, to see rows that disagree
}

// homes reads the membership service's rows. A member counts here if this node
// is among the first MaxNodes of her home stores. Rows of one member that
// disagree make her count nowhere: taking either would let the order decide.
func (n *Node) homes(ctx context.Context, q Query, member func(*Record) ([16]byte, bool)) (map[[16]byte]home, error) {
	out, set := map[[16]byte]home{}, sha256.New()
	err := n.each(ctx, Memberships, func(r *Record) {
		if r.Member == "" {
			return
		}
		p, ok := member(r)
		if !ok {
			return
		}
		set.Reset()
		for _, s := range r.Stores {
			fmt.Fprintf(set, "%s,", s) // no comma in a node id
		}
		h := home{counted: amongFirst(r.Stores, n.c.ID, int(q.q.Bounds.MaxNodes))}
		copy(h.set[:], set.Sum(nil))
		if before, ok := out[p]; ok && before.set != h.set {
			h = home{}
		}
		out[p] = h
	})
	return out, err
}

// amongFirst says whether id is among the first most distinct stores.
func amongFirst(stores []NodeID, id NodeID, most int) bool {
	distinct := 0
	for i, s := range stores {
		if slices.Contains(stores[:i], s) {
			continue
		}
		if distinct++; distinct > most {
			return false
		}
		if s == id {
			return true
		}
	}
	return false
}
