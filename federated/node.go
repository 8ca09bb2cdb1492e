package federated

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"slices"

	"github.com/larder-dp/larder/dp"
)

// NodeConfig is what a store brings to the federation.
type NodeConfig struct {
	// ID is the node's name in the roster. Required.
	ID NodeID
	// Epoch names the dataset epoch that the records belong to. Required; a
	// query of another epoch is refused, so that nobody opens a fresh budget for
	// the same records by naming them anew.
	Epoch string
	// Lists and Sales are the members' records. A node without records of a kind
	// answers zeros.
	Lists, Sales Records
	// Memberships are the rows of the membership service, an empty sequence if
	// none is of this store. Required for UnitMember, which needs to know who is
	// at home here, and for counting registered members.
	Memberships Records
	// Inventory is the store's own, from Independent, Counted or Perpetual. The
	// zero value is none.
	Inventory Inventory
	// Pseudonym turns a member's id into a pseudonym, the same for the same
	// member within an epoch and scope, at every store; pseudonym.Keys.Scope
	// returns one, for the same epoch, and oprf.Table.Pseudonym is one, where
	// stores must not hold the key.
	// Required where records name members. An error means that the id is
	// malformed, or not known here, and its record counts nowhere; NewNode tries
	// "0", which must be neither.
	Pseudonym func(member string) ([16]byte, error)
	// Secret keys the choice of what bounding keeps. 32 random bytes that stay
	// at this node, the same for a whole epoch. Zero means fresh ones from
	// crypto/rand, which a restart changes.
	Secret [32]byte
	// Allow is the node's policy. The zero value refuses everything.
	Allow Policy
	// Ledger, if not nil, is the node's own: each question is charged to it
	// before its report leaves. It may be asked again in the same round only by
	// the coordinator that asked first, and then sends what it sent: one that was
	// restarted may have forgotten that it released an answer, and would noise
	// it a second time.
	// What it sent is in it: under TrustedCoordinator exact sums, without noise. So it is
	// no release history to hand to an auditor: keep it like the records.
	Ledger dp.Ledger
	// MaxNodes is the number of homes that count, the same at all nodes of an epoch (that of
	// Homes). Under Local a member's loss is what all her homes have charged together: with one
	// MaxNodes for all questions that is at most the budget of one ledger, and else
	// it could be more. So Local by UnitMember is refused with another, and where it is 0.
	MaxNodes int64
	// Random is where the noise comes from that the node itself draws, under Local; nil
	// means crypto/rand, which is what production uses, always.
	Random io.Reader
	// Functions are the custom queries that this node can answer.
	Functions []Function
	// Log is told what only this node's operator may know, such as why its
	// records cannot be read: all that the coordinator sees is that the node did
	// not answer. nil means slog.Default.
	Log *slog.Logger
}

// Inventory is a store's stock, with what its owner declares of it.
type Inventory struct {
	items iter.Seq2[Stock, error]
	told  func(Question) bool
}

// Independent declares an inventory that no member's sale ever moved: a plan. It
// is told un-noised.
func Independent(items iter.Seq2[Stock, error]) Inventory {
	return Inventory{items, func(Question) bool { return true }}
}

// Counted declares a physical count. It moves with the sales: two counts, or a count and the
// deliveries, give exact sales away by subtraction, whatever is asked beside them. So it is told
// un-noised only where the unit has no sales in it, UnitList.
func Counted(items iter.Seq2[Stock, error]) Inventory {
	return Inventory{items, func(q Question) bool { return q.Unit == UnitList }}
}

// Perpetual declares an inventory that moves with every sale. It is never told.
// The release carries demand alone, and net demand is computed where the stock
// is known.
func Perpetual(items iter.Seq2[Stock, error]) Inventory {
	return Inventory{items, func(Question) bool { return false }}
}

// A Node answers queries about its own records. Raw records never leave it.
// Safe for concurrent use if its sources are.
type Node struct {
	c         NodeConfig
	functions map[string]Function
}

// Format hides everything but the name: a node holds a secret.
func (n Node) Format(w fmt.State, _ rune) { io.WriteString(w, "node "+string(n.c.ID)) }

// Format hides everything but the name.
func (c NodeConfig) Format(w fmt.State, _ rune) { io.WriteString(w, "config of node "+string(c.ID)) }

// LogValue hides everything but the name.
func (c NodeConfig) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(c)) }

// MarshalJSON hides everything but the name.
func (c NodeConfig) MarshalJSON() ([]byte, error) { return json.Marshal(fmt.Sprint(c)) }

// NewNode checks c and returns a node.
func NewNode(c NodeConfig) (*Node, error) {
	var errs []error
	if !c.ID.valid() {
		errs = append(errs, errors.New("ID must be 1 to 64 printable ASCII characters without space, comma and *"))
	}
	if !printable(c.Epoch, 128) {
		errs = append(errs, errors.New("Epoch must be 1 to 128 printable ASCII characters: name the dataset epoch of its records"))
	}
	if c.Memberships != nil && c.Pseudonym == nil {
		errs = append(errs, errors.New("Memberships name members: give a Pseudonym"))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("make node: %w", err)
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	n := &Node{c: c, functions: map[string]Function{}}
	for _, f := range append(stockFunctions(), c.Functions...) {
		name := fmt.Sprintf("%s/%d", f.Name, f.Version)
		switch _, taken := n.functions[name]; {
		case !validName(f.Name) || f.Version < 1 || f.Prepare == nil && f.prepareUnit == nil && !f.sketch || len(f.From) == 0:
			return nil, fmt.Errorf("make node %s: register function %q: give a name, a version, what it reads and Prepare", c.ID, name)
		case taken:
			return nil, fmt.Errorf("make node %s: register function %q: the name is taken", c.ID, name)
		}
		n.functions[name] = f
	}
	for name, l := range c.Allow.Names {
		if err := l.validate(); err != nil {
			return nil, fmt.Errorf("make node %s: check limits of %s: %w", c.ID, name, err)
		}
		if _, ok := n.functions[name]; !ok {
			return nil, fmt.Errorf("make node %s: check policy: no function %q is registered: name it with its version, as net_demand/1", c.ID, name)
		}
	}
	// A key that cannot work would otherwise look like malformed ids, one and all.
	if n.c.Pseudonym != nil {
		if _, err := n.c.Pseudonym("0"); err != nil {
			return nil, fmt.Errorf("make node %s: try Pseudonym: %w", c.ID, err)
		}
	}
	if n.c.Secret == ([32]byte{}) {
		n.c.Secret = freshSecret()
	}
	return n, nil
}

// ID returns the node's name.
func (n *Node) ID() NodeID { return n.c.ID }

// Answer takes the body of a message from the coordinator and returns the body
// of the answer: a report, or a refusal. Where there is nothing to answer it
// returns an error, for this node's operator only: the message is not one of
// this protocol, the records or the ledger cannot be read, or ctx ended. The
// node has then dropped out of the round.
func (n *Node) Answer(ctx context.Context, body []byte) ([]byte, error) {
	a, err := parseAsk(body)
	if err != nil {
		return nil, fmt.Errorf("answer: %w", err)
	}
	return n.answer(ctx, a)
}

func (n *Node) answer(ctx context.Context, a ask) ([]byte, error) {
	q := a.q
	if no := n.check(q); no != nil {
		return no.encode(), nil
	}
	body, no, err := n.charge(ctx, a)
	switch {
	case no != nil:
		return no.encode(), nil
	case err == nil && body == nil:
		body, err = n.report(ctx, a)
	}
	if err != nil {
		if ctx.Err() == nil {
			n.c.Log.Error("cannot answer", "node", string(n.c.ID), "query", q.Name(), "error", err)
		}
		return nil, fmt.Errorf("answer: %w", err)
	}
	return body, nil
}

// report sums the records up, and stores the report before it leaves.
func (n *Node) report(ctx context.Context, a ask) ([]byte, error) {
	q := a.q
	v, err := n.aggregate(ctx, q)
	if err != nil {
		return nil, err
	}
	r := report{
		node: n.c.ID, digest: q.digest, epoch: q.q.Epoch, round: q.q.Round,
		amounts: v.amounts, units: v.units, bitmap: v.bitmap,
	}
	if q.local() {
		if err := q.flip.Add(r.bitmap, n.c.Random); err != nil {
			return nil, err
		}
	}
	if r.inventory, err = n.inventory(ctx, q); err != nil {
		return nil, err
	}
	body := r.encode()
	if n.c.Ledger != nil {
		// The charge is spent: a coordinator that hung up must not lose it.
		ctx := context.WithoutCancel(ctx)
		if err := n.c.Ledger.Commit(ctx, n.key(q), append(a.session[:], body...)); err != nil {
			// Two asks at once: what was stored first is the answer to both, where it is noised.
			if e, missed := n.c.Ledger.Lookup(ctx, n.key(q)); missed == nil && q.local() && len(e.Release) > len(a.session) {
				return e.Release[len(a.session):], nil
			}
			return nil, err
		}
	}
	return body, nil
}

// check refuses what policy or the node's make rules out; no record is read.
func (n *Node) check(q Query) *refusal {
	if no := n.c.Allow.check(n.c.ID, q); no != nil {
		return no
	}
	if q.q.Epoch != n.c.Epoch {
		return &refusal{n.c.ID, "epoch", fmt.Sprintf("epoch %q", q.q.Epoch), fmt.Sprintf("epoch %q, which its records belong to", n.c.Epoch)}
	}
	if !slices.Contains(q.q.Stores, n.c.ID) {
		return &refusal{n.c.ID, "roster", "other nodes", "queries that name it among their stores"}
	}
	f, ok := n.functions[q.Name()]
	if !ok {
		return &refusal{n.c.ID, "functions", q.Name(), "queries whose function is registered here"}
	}
	if !slices.Contains(f.From, q.q.From) {
		return &refusal{n.c.ID, "functions", fmt.Sprintf("%s from %s", q.Name(), q.q.From), fmt.Sprintf("it from %v", f.From)}
	}
	if !f.accepts(q.params) {
		return &refusal{n.c.ID, "functions", q.Name() + " with its parameters", "parameters that the function knows"}
	}
	if n.c.Pseudonym == nil && (q.q.Unit == UnitMember || q.q.Unit == UnitMemberAtNode) {
		return &refusal{n.c.ID, "pseudonym key", "unit " + string(q.q.Unit), "units without members: it has no key"}
	}
	if n.c.Memberships == nil && (q.needsHomes() || q.q.From == Memberships) {
		return &refusal{n.c.ID, "memberships", "unit " + string(q.q.Unit), "other units: it has no Memberships, so it knows no home stores"}
	}
	if q.local() && q.q.Unit == UnitMember && q.q.Bounds.MaxNodes != n.c.MaxNodes {
		accepts := fmt.Sprintf("%d, that of its homes in this epoch", n.c.MaxNodes)
		if n.c.MaxNodes == 0 {
			accepts = "units of one node: it is not told of how many homes a member has"
		}
		return &refusal{n.c.ID, "homes", fmt.Sprintf("max_nodes %d under trust local", q.q.Bounds.MaxNodes), accepts}
	}
	if q.local() && n.c.Ledger == nil {
		return &refusal{n.c.ID, "ledger", "trust local", "trust trusted_coordinator: it has no ledger to keep its noised answer in"}
	}
	return nil
}

// charge charges the node's own ledger, if it has one. It returns the stored
// report of a question that this coordinator asked before.
func (n *Node) charge(ctx context.Context, a ask) ([]byte, *refusal, error) {
	if n.c.Ledger == nil {
		return nil, nil, nil
	}
	_, err := n.c.Ledger.Reserve(ctx, a.q.charge(n.key(a.q)))
	var over *dp.BudgetError
	var other *dp.UnitError
	switch {
	case errors.As(err, &over):
		return nil, &refusal{
			n.c.ID, "ledger", fmt.Sprintf("ε=%g δ=%g", over.Asked.Epsilon, over.Asked.Delta),
			fmt.Sprintf("at most ε=%g δ=%g more in this epoch", over.Left.Epsilon, over.Left.Delta),
		}, nil
	case errors.As(err, &other):
		return nil, &refusal{n.c.ID, "ledger", "unit " + other.Asked, "unit " + other.Unit + ", which this epoch's budget protects"}, nil
	case errors.Is(err, dp.ErrAlreadyCharged):
		e, err := n.c.Ledger.Lookup(ctx, n.key(a.q))
		if err != nil {
			return nil, nil, err
		}
		// Reserved and not stored: nothing was sent. The report is a function of
		// the records (under Local, of them and noise that nobody saw), so it is made
		// now and not charged twice.
		if e.Release == nil {
			return nil, nil, nil
		}
		if body, ok := bytes.CutPrefix(e.Release, a.session[:]); ok {
			return body, nil, nil
		}
		if a.q.local() && len(e.Release) > len(a.session) { // it is noised: anyone may have it again
			return e.Release[len(a.session):], nil, nil
		}
		return nil, &refusal{
			n.c.ID, "ledger", fmt.Sprintf("round %d, which another session of the coordinator asked", a.q.q.Round),
			"the question as a new round, with a charge of its own",
		}, nil
	}
	return nil, nil, err
}

// key is the query's in this node's ledger; it differs from the coordinator's.
func (n *Node) key(q Query) dp.Key {
	k := q.key()
	k.Digest = sha256.Sum256(append(k.Digest[:], n.c.ID...))
	return k
}

func (n *Node) inventory(ctx context.Context, q Query) ([]int64, error) {
	if n.c.Inventory.items == nil || !q.hasInventory() || !n.c.Inventory.told(q.q) {
		return nil, nil
	}
	v := make([]int64, len(q.q.Partitions))
	for s, err := range n.c.Inventory.items {
		if err != nil {
			return nil, fmt.Errorf("read inventory: %w", err)
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
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

// aggregate reads the records that the query is about, once, and sums them up.
func (n *Node) aggregate(ctx context.Context, q Query) (vector, error) {
	f := n.functions[q.Name()]
	unitOf, err := n.units(ctx, q)
	if err != nil {
		return vector{}, err
	}
	// each calls visit with every record that counts, and its unit.
	each := func(visit func(unit [16]byte, r *Record)) error {
		return n.each(ctx, q.q.From, func(r *Record) {
			if !q.q.Window.contains(r.Time) {
				return
			}
			if unit, ok := unitOf(r); ok {
				visit(unit, r)
			}
		})
	}
	if f.sketch {
		return sketch(q.bins, each)
	}
	prf, err := newBoundingPRF(n.c.Secret, q.q.Epoch, q.digest)
	if err != nil {
		return vector{}, err
	}
	a := newAggregator(q.q.Bounds, q.index, prf)
	emit := a.emit
	if f.prepareUnit != nil {
		u, err := f.prepareUnit(q.params)
		if err != nil {
			return vector{}, fmt.Errorf("prepare %s: %w", q.Name(), err)
		}
		if err := newFold(u, n.c.Secret, q.q.Window).run(each, a); err != nil {
			return vector{}, err
		}
		return a.vector(q.selects()), nil
	}
	contribute, err := f.Prepare(q.params)
	if err != nil {
		return vector{}, fmt.Errorf("prepare %s: %w", q.Name(), err)
	}
	err = each(func(unit [16]byte, r *Record) {
		a.begin(unit)
		contribute(r, emit)
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
	cut, record := false, Record{} // one record, for no allocation each
	defer func() {
		if cut {
			n.c.Log.Error("records were cut short: a function or Pseudonym panicked", "node", string(n.c.ID), "kind", string(k))
		}
	}()
	for r, err := range records {
		if err != nil {
			return fmt.Errorf("read %s: %w", k, err)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		record = r
		if panicked(f, &record) {
			cut = true
		}
	}
	return ctx.Err()
}

// panicked calls f and says whether it panicked. A function that panics on one
// record must not tell the world so, and not end the round: what it contributed
// until then stays, which depends on this record alone.
func panicked(f func(*Record), r *Record) (yes bool) {
	defer func() { yes = recover() != nil }()
	f(r)
	return false
}
