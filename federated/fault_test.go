package federated

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/larder-dp/larder/dp"
)

// A faultLedger is a real ledger with something happening around its calls.
type faultLedger struct {
	dp.Ledger
	reserved func() error // after a reservation
	commit   func() error // before a commit
}

func (l faultLedger) Reserve(ctx context.Context, c dp.Charge) (dp.Entry, error) {
	e, err := l.Ledger.Reserve(ctx, c)
	if err == nil && l.reserved != nil {
		err = l.reserved()
	}
	return e, err
}

func (l faultLedger) Commit(ctx context.Context, k dp.Key, release []byte) error {
	if l.commit != nil {
		if err := l.commit(); err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return l.Ledger.Commit(ctx, k, release)
}

// countingTransport counts who was asked.
type countingTransport struct {
	Transport
	asked *int
}

func (c countingTransport) Exchange(ctx context.Context, out []Message, deliver func(Message)) error {
	*c.asked += len(out)
	return c.Transport.Exchange(ctx, out, deliver)
}

// A caller who gives up once the charge is spent does not lose what it paid for.
func TestCancelAfterReservationStillStores(t *testing.T) {
	q := must(NetDemand(question([]NodeID{"a", "b"}, []string{"milk"})))(t)
	ctx, cancel := context.WithCancel(context.Background())
	memory := must(dp.NewMemoryLedger(dp.Budget{Epsilon: 1}))(t)
	c := must(NewCoordinator(CoordinatorConfig{
		Transport: InProcess(twoNodes(t, q)...),
		Ledger:    faultLedger{Ledger: memory, reserved: func() error { cancel(); return nil }},
	}))(t)
	first := must(c.Run(ctx, q))(t)
	require.Error(t, ctx.Err())
	require.Equal(t, first.raw, must(c.Run(context.Background(), q))(t).raw)
}

// Two coordinators on one ledger: whoever comes second to the reservation draws
// no noise.
func TestSecondCoordinatorDrawsNoNoise(t *testing.T) {
	q := must(NetDemand(question([]NodeID{"a", "b"}, []string{"milk"})))(t)
	memory := must(dp.NewMemoryLedger(dp.Budget{Epsilon: 5}))(t)
	other := must(NewCoordinator(CoordinatorConfig{Transport: InProcess(twoNodes(t, q)...), Ledger: memory}))(t)
	c := must(NewCoordinator(CoordinatorConfig{
		// The other runs while this one collects: it has looked the key up by then.
		Transport: before{InProcess(twoNodes(t, q)...), func() { must(other.Run(context.Background(), q))(t) }},
		Ledger:    memory,
	}))(t)
	c.c.Random = failing{} // would be noticed
	_, err := c.Run(context.Background(), q)
	require.ErrorIs(t, err, ErrInterrupted)
	require.NotContains(t, err.Error(), "no entropy")
	require.Equal(t, 4.0, must(memory.Left(context.Background(), "e", "list"))(t).Epsilon)
	must(c.Run(context.Background(), q))(t) // and now finds the other's release
}

type before struct {
	Transport
	do func()
}

func (b before) Exchange(ctx context.Context, out []Message, deliver func(Message)) error {
	b.do()
	return b.Transport.Exchange(ctx, out, deliver)
}

// What could not be stored is not told.
func TestFailedCommitTellsNothing(t *testing.T) {
	q := must(NetDemand(question([]NodeID{"a", "b"}, []string{"milk"})))(t)
	memory := must(dp.NewMemoryLedger(dp.Budget{Epsilon: 5}))(t)
	broken := faultLedger{Ledger: memory, commit: func() error { return errors.New("disk full") }}
	c := must(NewCoordinator(CoordinatorConfig{Transport: InProcess(twoNodes(t, q)...), Ledger: broken}))(t)
	rel, err := c.Run(context.Background(), q)
	require.ErrorIs(t, err, ErrInterrupted)
	require.Nil(t, rel)

	// The same at a node with a ledger: no report leaves; after a restart it is
	// made again and charged once.
	own := must(dp.NewMemoryLedger(dp.Budget{Epsilon: 1}))(t)
	node := func(l dp.Ledger) *Node {
		return must(NewNode(NodeConfig{
			Epoch: "e", ID: "a", Allow: AllowQueries(q), Ledger: l,
			Lists: slice([]Record{list("1", []NodeID{"a"}, Line{"milk", 2, 0})}),
		}))(t)
	}
	body, err := node(faultLedger{Ledger: own, commit: broken.commit}).Answer(context.Background(), ask{q: q}.encode())
	require.Error(t, err)
	require.Nil(t, body)
	r := must(parseReport(must(node(own).Answer(context.Background(), ask{q: q}.encode()))(t)))(t)
	require.Equal(t, []int64{2}, r.amounts)
	require.Zero(t, must(own.Left(context.Background(), "e", "list"))(t).Epsilon)
}

// No node works for a question that the budget does not cover, and waiters of a
// failed run get its error instead of repeating it.
func TestNobodyIsAskedInVain(t *testing.T) {
	q := must(NetDemand(question([]NodeID{"a", "b"}, []string{"milk"})))(t)
	asked := 0
	c := must(NewCoordinator(CoordinatorConfig{
		Transport: countingTransport{InProcess(twoNodes(t, q)...), &asked},
		Ledger:    must(dp.NewMemoryLedger(dp.Budget{Epsilon: 0.5}))(t),
	}))(t)
	_, err := c.Run(context.Background(), q)
	var over *dp.BudgetError
	require.ErrorAs(t, err, &over)
	require.Zero(t, asked)

	question := q.Question()
	question.Quorum = 2
	q = must(NetDemand(question))(t)
	synctest.Test(t, func(t *testing.T) {
		leave := make(chan struct{})
		c, _ := coordinate(t, dp.Budget{Epsilon: 1}, nil, twoNodes(t, q)[:1]...)
		c.c.Transport = countingTransport{before{c.c.Transport, func() { <-leave }}, &asked}
		var wg sync.WaitGroup
		for range 5 {
			wg.Go(func() {
				_, err := c.Run(t.Context(), q)
				var below *QuorumError
				assert.ErrorAs(t, err, &below)
			})
		}
		synctest.Wait() // one collects, four wait for it
		close(leave)
		wg.Wait()
	})
	require.Equal(t, 2, asked)
}

// A transport that lingers does not hold up a round in which all have answered,
// and what it delivers afterwards is not read.
func TestLingeringTransport(t *testing.T) {
	q := must(NetDemand(question([]NodeID{"a", "b"}, []string{"milk"})))(t)
	memory := must(dp.NewMemoryLedger(dp.Budget{Epsilon: 1}))(t)
	c := must(NewCoordinator(CoordinatorConfig{
		Transport: hanging{InProcess(twoNodes(t, q)...)}, Ledger: memory, Deadline: 24 * time.Hour,
	}))(t)
	require.Equal(t, 2, must(c.Run(context.Background(), q))(t).Label().Coverage.Answered)
}

// An endless source ends with the context.
func TestEndlessRecordsEndWithTheContext(t *testing.T) {
	q := must(NetDemand(question([]NodeID{"a"}, []string{"milk"})))(t)
	ctx, cancel := context.WithCancel(context.Background())
	n := must(NewNode(NodeConfig{Epoch: "e", ID: "a", Allow: AllowQueries(q), Lists: func(yield func(Record, error) bool) {
		for i := 0; yield(Record{}, nil); i++ {
			if i == 100 {
				cancel()
			}
		}
	}}))(t)
	_, err := n.Answer(ctx, ask{q: q}.encode())
	require.ErrorIs(t, err, context.Canceled)
}

// A function or a pseudonym key that panics on a record says nothing of it, and
// does not end the round.
func TestPanicsStayAtTheNode(t *testing.T) {
	prepare := func(r *Record, emit func(string, int64)) {
		emit("milk", 1)
		if r.ID == "bad" {
			panic("canary of " + r.ID)
		}
		emit("milk", 1)
	}
	f := Function{Name: "custom", Version: 1, From: []Kind{Lists}, Prepare: noParams(prepare)}
	question := exactly(question([]NodeID{"a"}, []string{"milk"}))
	question.From = Lists
	q := must(Custom("custom", 1, nil, question))(t)
	var log bytes.Buffer
	n := must(NewNode(NodeConfig{
		Epoch: "e", ID: "a", Allow: AllowQueries(q), Functions: []Function{f}, Log: slog.New(slog.NewTextHandler(&log, nil)),
		Lists: slice([]Record{list("good", []NodeID{"a"}), list("bad", []NodeID{"a"}), list("too", []NodeID{"a"})}),
	}))(t)
	c, _ := coordinate(t, dp.Budget{Epsilon: 1e6}, nil, n)
	rel := must(c.Run(context.Background(), q))(t)
	require.EqualValues(t, 2+1+2, collectCells(rel.Cells())["a milk"].Value)
	require.Contains(t, log.String(), "panicked")
	require.NotContains(t, log.String(), "canary")
}

// One list id sent with two sets of preferences is two lists: else one unit
// would count at more than MaxNodes stores. A sale that names several stores is
// none of them's.
func TestRecordsCannotReachFurtherThanTheirUnit(t *testing.T) {
	stores := []NodeID{"a", "b", "c", "d"}
	for from, records := range map[Kind]Records{
		Lists: slice([]Record{
			list("l", stores[:2], Line{"milk", 3, 0}), list("l", stores[2:], Line{"milk", 3, 0}),
			list("l", []NodeID{"a", "a", "b"}, Line{"milk", 3, 0}), // the first once more
		}),
		Sales: slice([]Record{{ID: "s", Stores: stores, Lines: []Line{{"milk", 3, 0}}}}),
	} {
		question := exactly(question(stores, []string{"milk"}))
		question.From, question.Unit = from, map[Kind]Unit{Lists: UnitList, Sales: UnitSale}[from]
		question.Bounds = dp.Bounds{L0: 1, LInf: 3, L1: 3, MaxNodes: map[Kind]int64{Lists: 2, Sales: 1}[from]}
		q := must(NetDemand(question))(t)
		var nodes []*Node
		for _, s := range stores {
			nodes = append(nodes, must(NewNode(NodeConfig{Epoch: "e", ID: s, Lists: records, Sales: records, Allow: AllowQueries(q)}))(t))
		}
		c, _ := coordinate(t, dp.Budget{Epsilon: 1e6}, nil, nodes...)
		units := 0
		for cell := range must(c.Run(context.Background(), q))(t).Cells() {
			units += int(cell.Value / 3)
		}
		require.Equal(t, map[Kind]int{Lists: 4, Sales: 0}[from], units, from)
	}
}

// A physical count is told where what is protected has no sales in it, and nowhere else: a member's
// would be the difference of two counts, whichever of her records is asked about.
func TestCountedInventory(t *testing.T) {
	for unit, told := range map[Unit]int{UnitList: 1, UnitSale: 0, UnitMember: 0, UnitMemberAtNode: 0} {
		question := exactly(question([]NodeID{"a"}, []string{"milk"}))
		question.Unit, question.Bounds.MaxNodes = unit, 1
		if unit == UnitSale {
			question.From = Sales
		}
		q := must(NetDemand(question))(t)
		n := must(NewNode(NodeConfig{
			Epoch: "e", ID: "a", Inventory: Counted(stock(Stock{"milk", 93})), Allow: AllowQueries(q),
			Memberships: slice(nil), Pseudonym: testPseudonym,
		}))(t)
		c, _ := coordinate(t, dp.Budget{Epsilon: 1e6}, nil, n)
		require.Equal(t, told, must(c.Run(context.Background(), q))(t).Label().InventoryTold, unit)
	}
}

// What bounding keeps is each node's own choice.
func TestNodesChooseIndependently(t *testing.T) {
	_, items := testIndex(64)
	question := question([]NodeID{"a"}, items)
	question.Bounds = dp.Bounds{L0: 8, LInf: 1, L1: 8, MaxNodes: 1}
	q := must(NetDemand(question))(t)
	var lines []Line
	for _, item := range items {
		lines = append(lines, Line{Item: item, Quantity: 1})
	}
	seen := map[string]bool{}
	for i := range 4 {
		n := must(NewNode(NodeConfig{
			Epoch: "e", ID: "a", Secret: [32]byte{byte(i + 1)}, Lists: slice([]Record{list("l", []NodeID{"a"}, lines...)}),
		}))(t)
		a := must(n.Audit(context.Background(), q))(t)
		require.EqualValues(t, 8, a.Kept)
		seen[fmt.Sprint(a.Values)] = true
	}
	require.Len(t, seen, 4)
}

// Long refusals arrive, cut.
func TestLongRefusalArrives(t *testing.T) {
	q := must(NetDemand(question([]NodeID{"a"}, []string{"milk"})))(t)
	r := &refusal{"a", strings.Repeat("r", 5000), strings.Repeat("\x01ä", 5000), "x"}
	again := must(parseRefusal(r.encode(), "a"))(t)
	require.Less(t, len(again.Rule), 1100)
	rd, _ := newRound(q, [16]byte{}, time.Unix(100, 0))
	rd.receive(time.Unix(1, 0), Message{From: "a", Body: r.encode()})
	require.Equal(t, belowQuorum, rd.state)
	require.Less(t, len(rd.absent["a"].Reason), 1100)
}

// The reach in the label grows with the number of stores.
func TestReachGrows(t *testing.T) {
	for _, cells := range []Cells{PerStore, Chain} {
		question := question([]NodeID{"a"}, []string{"milk"})
		question.Unit, question.From, question.Cells = UnitMemberAtNode, Sales, cells
		question.Privacy.Mechanism = dp.DiscreteGaussian
		q := must(NetDemand(question))(t)
		reach := must(q.reach())(t)
		require.Len(t, reach, 3)
		last := dp.Budget{Epsilon: 1}
		for i, r := range reach {
			require.Equal(t, 2<<i, r.Nodes)
			require.Greater(t, r.Cost.Epsilon, last.Epsilon)
			last = r.Cost
		}
	}
}

// One budget protects one unit: sales charged by the sale say nothing of the
// member who made many.
func TestUnitsOfOneEpochDoNotMix(t *testing.T) {
	sale := question([]NodeID{"a"}, []string{"milk"})
	sale.From, sale.Unit = Sales, UnitSale
	member := sale
	member.Unit = UnitMemberAtNode
	s, m := must(NetDemand(sale))(t), must(NetDemand(member))(t)
	n := must(NewNode(NodeConfig{Epoch: "e", ID: "a", Pseudonym: testPseudonym, Allow: AllowQueries(s, m)}))(t)
	c, _ := coordinate(t, dp.Budget{Epsilon: 10}, nil, n)
	must(c.Run(context.Background(), m))(t)
	_, err := c.Run(context.Background(), s)
	var other *dp.UnitError
	require.ErrorAs(t, err, &other)
	require.Equal(t, dp.UnitError{Epoch: "e", Unit: "member_at_node", Asked: "sale"}, *other)
}

// JSON of queries and releases reads back through encoding/json too.
func TestJSONRoundTrip(t *testing.T) {
	q := must(NetDemand(question([]NodeID{"a", "b"}, []string{"R&B ‹é>", "bread"})))(t)
	c, _ := coordinate(t, dp.Budget{Epsilon: 1}, nil, twoNodes(t, q)...)
	rel := must(c.Run(context.Background(), q))(t)
	var q2 Query
	require.NoError(t, q2.UnmarshalJSON(must(q.MarshalJSON())(t)))
	require.Equal(t, q.String(), q2.String())
	var rel2 Release
	require.NoError(t, rel2.UnmarshalJSON(rel.raw))
	require.Equal(t, collectCells(rel.Cells()), collectCells(rel2.Cells()))
	require.Error(t, rel2.UnmarshalJSON(append(rel.raw, " {}"...)))
	require.Error(t, rel2.UnmarshalJSON(append([]byte(" "), rel.raw...)))
}

// A label is read by people. What a node says when it refuses stays on one line of it.
func TestRefusalWritesNoLabel(t *testing.T) {
	q := must(NetDemand(exactly(question([]NodeID{"a"}, []string{"milk"}))))(t)
	r, _ := newRound(q, [16]byte{}, time.Unix(9, 0))
	no := refusal{"a", "budget\nguarantee   (ε = 0, δ = 0)", "\x1b[2Jε=1", "\u2028nothing"}
	r.receive(time.Unix(1, 0), Message{From: "a", To: CoordinatorID, Body: no.encode()})
	require.Equal(t, "refused by budget guarantee   (ε = 0, δ = 0): asked for  [2Jε=1: accepts  nothing", r.coverage().Absent[0].Reason)
}

// What is no node id, such as one with a comma, may stand in a record that did not come from
// package source. It must not make two lists one, or hide that two rows of a member disagree.
func TestNamesThatAreNoNodeIDsStayApart(t *testing.T) {
	stores := []NodeID{"a", "b", "c"}
	question := exactly(question(stores[:1], []string{"milk", "rice"}))
	question.Unit, question.Bounds = UnitList, dp.Bounds{L0: 1, LInf: 1, L1: 1, MaxNodes: 1}
	q := must(NetDemand(question))(t)
	first, second := list("l", stores, Line{"milk", 1, 0}), list("l", []NodeID{"a", "b,c"}, Line{"rice", 1, 0})
	a := must(must(NewNode(NodeConfig{Epoch: "e", ID: "a", Lists: slice([]Record{first, second}), Allow: AllowQueries(q)}))(t).Audit(context.Background(), q))(t)
	require.Equal(t, []int64{1, 1}, a.Values, "two lists")

	question.From, question.Unit, question.Stores = Memberships, UnitMember, stores[2:]
	question.Partitions, question.Bounds.MaxNodes = []string{"s"}, 3
	q = must(MemberCount(question))(t)
	rows := []Record{{Member: "m", Segment: "s", Stores: stores}, {Member: "m", Segment: "s", Stores: []NodeID{"a,b", "c"}}}
	for range 2 {
		n := must(NewNode(NodeConfig{Epoch: "e", ID: "c", Memberships: slice(rows), Pseudonym: testPseudonym, Allow: AllowQueries(q)}))(t)
		require.Equal(t, []int64{0}, must(n.Audit(context.Background(), q))(t).Values, "rows that disagree")
		slices.Reverse(rows)
	}
}
