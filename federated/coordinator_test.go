package federated

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/larder-dp/larder/dp"
)

// glog, which Google's library logs with, starts a goroutine that never ends.
// LARDER_FULL asks for two hundred times as many worlds of every property.
func TestMain(m *testing.M) {
	if os.Getenv("LARDER_FULL") != "" {
		if err := flag.Set("rapid.checks", "20000"); err != nil {
			panic(err)
		}
	}
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/golang/glog.(*fileSink).flushDaemon"))
}

func seeded(n byte) io.Reader { return rand.NewChaCha8([32]byte{n}) }

// exactly asks for noise that rounds to nothing.
func exactly(q Question) Question {
	q.Privacy = dp.Params{Epsilon: 1e6, Mechanism: dp.DiscreteLaplace}
	return q
}

func coordinate(t testing.TB, budget dp.Budget, random io.Reader, nodes ...*Node) (*Coordinator, dp.Ledger) {
	ledger := must(dp.NewMemoryLedger(budget))(t)
	return must(NewCoordinator(CoordinatorConfig{
		Transport: InProcess(nodes...), Ledger: ledger, Random: random,
	}))(t), ledger
}

func list(id string, stores []NodeID, lines ...Line) Record {
	return Record{ID: id, Stores: stores, Lines: lines}
}

func stock(items ...Stock) func(func(Stock, error) bool) {
	return func(yield func(Stock, error) bool) {
		for _, s := range items {
			if !yield(s, nil) {
				return
			}
		}
	}
}

func collectCells(seq func(func(Cell) bool)) map[string]Cell {
	out := map[string]Cell{}
	for c := range seq {
		out[fmt.Sprintf("%s %s", c.Store, c.Partition)] = c
	}
	return out
}

func TestNetDemandIsDemandMinusInventory(t *testing.T) {
	ctx := context.Background()
	stores := []NodeID{"a", "b"}
	question := exactly(question(stores, []string{"milk", "bread"}))
	question.Bounds = dp.Bounds{L0: 5, LInf: 10, L1: 50, MaxNodes: 2}
	q := must(NetDemand(question))(t)
	lists := slice([]Record{
		list("1", stores, Line{"milk", 3, 0}, Line{"milk", 2, 0}), // a repeated item adds up
		list("2", []NodeID{"b"}, Line{"bread", 4, 0}, Line{"soap", 9, 0}),
		list("3", []NodeID{"a", "a", "b"}, Line{"bread", 99, 0}), // clipped to 10
	})
	node := func(id NodeID, inv Inventory) *Node {
		return must(NewNode(NodeConfig{Epoch: "e", ID: id, Lists: lists, Inventory: inv, Allow: AllowQueries(q)}))(t)
	}
	c, _ := coordinate(t, dp.Budget{Epsilon: 1e6}, nil,
		node("a", Independent(stock(Stock{"milk", 1}, Stock{"soap", 5}, Stock{"milk", 1}))),
		node("b", Perpetual(stock(Stock{"milk", 1}))))
	rel := must(c.Run(ctx, q))(t)
	cells := collectCells(rel.Cells())
	require.Len(t, cells, 4)
	assert.Equal(t, Cell{
		Store: "a", Partition: "milk", Noised: 5, Inventory: 2, HasInventory: true,
		Value: 3, StdDev: cells["a milk"].StdDev, Low: 3, High: 3, Answered: 1, Asked: 1,
	}, cells["a milk"])
	assert.EqualValues(t, 10, cells["a bread"].Value, "no stock of bread is a stock of 0")
	assert.EqualValues(t, 5, cells["b milk"].Value, "a perpetual inventory is never told")
	assert.False(t, cells["b milk"].HasInventory)
	assert.EqualValues(t, 14, cells["b bread"].Noised)

	totals := collectCells(rel.Totals())
	require.Len(t, totals, 2)
	assert.EqualValues(t, 10, totals["* milk"].Noised)
	assert.False(t, totals["* milk"].HasInventory, "not every store told its inventory")
	assert.Equal(t, 2, totals["* milk"].Answered)
	assert.Equal(t, [2]int{1, 2}, [2]int{rel.Label().InventoryTold, rel.Label().InventoryRows})
}

func TestMemberCountIsOfDistinctMembers(t *testing.T) {
	stores := []NodeID{"a", "b", "c"}
	question := exactly(question(stores, []string{"family", "student"}))
	question.Unit, question.Bounds = UnitMember, dp.Bounds{L0: 1, LInf: 1, L1: 1, MaxNodes: 2}
	q := must(MemberCount(question))(t)
	var nodes []*Node
	for _, s := range stores {
		nodes = append(nodes, must(NewNode(NodeConfig{
			Epoch: "e", ID: s, Allow: AllowQueries(q), Pseudonym: testPseudonym, Memberships: slice([]Record{
				{Member: "ann", Segment: "family", Stores: []NodeID{"a", "b", "c"}}, // a and b: the first two homes
				{Member: "ann", Segment: "family", Stores: []NodeID{"a", "b", "c"}}, // registered twice, one member
				{Member: "bob", Segment: "student", Stores: []NodeID{"c"}},
				{Member: "cat", Segment: "student", Stores: []NodeID{"b", "c"}}, // two rows that disagree:
				{Member: "cat", Segment: "student", Stores: []NodeID{"c", "b"}}, // she counts nowhere
				{Member: "a name too long for a pseudonym", Segment: "student", Stores: []NodeID{"a"}},
				{Segment: "student", Stores: []NodeID{"a"}},
			}),
		}))(t))
	}
	c, _ := coordinate(t, dp.Budget{Epsilon: 1e6}, nil, nodes...)
	cells := collectCells(must(c.Run(context.Background(), q))(t).Cells())
	for key, want := range map[string]int64{
		"a family": 1, "b family": 1, "c family": 0, "a student": 0, "b student": 0, "c student": 1,
	} {
		assert.Equal(t, want, cells[key].Value, key)
		assert.False(t, cells[key].HasInventory)
	}
	// By sale or by list it would be no count of members.
	for from, unit := range map[Kind]Unit{Sales: UnitSale, Lists: UnitList} {
		question.From, question.Unit, question.Bounds.MaxNodes = from, unit, 1
		_, err := MemberCount(question)
		assert.ErrorContains(t, err, "as often as she has any", from)
	}
}

func TestUnitsOfSales(t *testing.T) {
	ctx := context.Background()
	sales := slice([]Record{
		{ID: "s1", Member: "ann", Stores: []NodeID{"a"}, Lines: []Line{{"milk", 2, 0}}},
		{ID: "s2", Member: "ann", Lines: []Line{{"milk", 2, 0}}},
		{ID: "s3", Lines: []Line{{"milk", 2, 0}}}, // anonymous
		{ID: "s4", Lines: []Line{{"milk", 2, 0}}},
		{ID: "s4", Lines: []Line{{"milk", 2, 0}}},                         // more of the same basket
		{ID: "s5", Stores: []NodeID{"b"}, Lines: []Line{{"milk", 2, 0}}},  // another store's
		{Lines: []Line{{"milk", 2, 0}}},                                   // no id: whose unit would it be?
		{ID: "s6", Member: "nobody knows", Lines: []Line{{"milk", 2, 0}}}, // registered nowhere
	})
	memberships := slice([]Record{{Member: "ann", Stores: []NodeID{"a"}}})
	for unit, want := range map[Unit]int64{
		UnitSale:         2 + 2 + 2 + 3 + 2, // s1, s2, s3, s4 clipped, s6
		UnitMemberAtNode: 3 + 2 + 3 + 2,     // ann clipped, s3, s4 clipped, s6's member
		UnitMember:       3 + 2 + 3,         // ann, s3, s4
	} {
		question := exactly(question([]NodeID{"a"}, []string{"milk"}))
		question.From, question.Unit, question.Bounds = Sales, unit, dp.Bounds{L0: 1, LInf: 3, L1: 3, MaxNodes: 1}
		q := must(NetDemand(question))(t)
		n := must(NewNode(NodeConfig{Epoch: "e", ID: "a", Sales: sales, Memberships: memberships, Pseudonym: testPseudonym, Allow: AllowQueries(q)}))(t)
		c, _ := coordinate(t, dp.Budget{Epsilon: 1e6}, nil, n)
		rel := must(c.Run(ctx, q))(t)
		assert.Equal(t, want, collectCells(rel.Cells())["a milk"].Value, unit)
		assert.Equal(t, unit == UnitMemberAtNode, len(rel.Label().Reach) == 3)
	}
}

func TestWindow(t *testing.T) {
	day := func(d int) time.Time { return time.Date(2026, 3, d, 0, 0, 0, 0, time.UTC) }
	record := func(id string, when time.Time) Record {
		return Record{ID: id, Stores: []NodeID{"a"}, Time: when, Lines: []Line{{"milk", 1, 0}}}
	}
	lists := slice([]Record{
		record("before", day(1)), record("first", day(2)), record("last", day(9).Add(-1)),
		record("after", day(9)), record("no time", time.Time{}),
	})
	for want, w := range map[int64]Window{
		3: {day(2), day(9)}, 5: {}, 4: {From: day(2)},
	} {
		question := exactly(question([]NodeID{"a"}, []string{"milk"}))
		question.Window = w
		q := must(NetDemand(question))(t)
		c, _ := coordinate(t, dp.Budget{Epsilon: 1e6}, nil, must(NewNode(NodeConfig{Epoch: "e", ID: "a", Lists: lists, Allow: AllowQueries(q)}))(t))
		require.Equal(t, want, collectCells(must(c.Run(context.Background(), q))(t).Cells())["a milk"].Value)
	}
}

// twoNodes are two plain stores for tests of everything around them.
func twoNodes(t testing.TB, q Query) []*Node {
	var nodes []*Node
	for _, id := range []NodeID{"a", "b"} {
		nodes = append(nodes, must(NewNode(NodeConfig{Epoch: "e", ID: id, Allow: AllowQueries(q), Lists: slice([]Record{
			list("1", []NodeID{"a", "b"}, Line{"milk", 2, 0}), list("2", []NodeID{id}, Line{"bread", 1, 0}),
		})}))(t))
	}
	return nodes
}

func TestSameQuestionSameAnswerOneCharge(t *testing.T) {
	ctx := context.Background()
	q := must(NetDemand(question([]NodeID{"a", "b"}, []string{"milk", "bread"})))(t)
	c, ledger := coordinate(t, dp.Budget{Epsilon: 2}, nil, twoNodes(t, q)...)
	first := must(c.Run(ctx, q))(t)

	// Many at once, written down another way, and by a coordinator that can
	// reach nobody.
	again := must(NetDemand(question([]NodeID{"b", "a"}, []string{"bread", "milk"})))(t)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			rel, err := c.Run(ctx, again)
			assert.NoError(t, err)
			assert.Equal(t, first.raw, rel.raw)
		})
	}
	wg.Wait()
	alone := must(NewCoordinator(CoordinatorConfig{Transport: InProcess(), Ledger: ledger}))(t)
	rel := must(alone.Run(ctx, q))(t)
	require.Equal(t, first.raw, rel.raw)
	require.Equal(t, collectCells(first.Cells()), collectCells(rel.Cells()))
	require.Equal(t, first.Label(), rel.Label())
	require.Equal(t, 1.0, must(ledger.Left(ctx, "e", "list"))(t).Epsilon)

	// A new round is a new charge; then the budget is gone.
	question := q.Question()
	question.Round = 2
	must(c.Run(ctx, must(NetDemand(question))(t)))(t)
	question.Round = 3
	_, err := c.Run(ctx, must(NetDemand(question))(t))
	var over *dp.BudgetError
	require.ErrorAs(t, err, &over)
	require.Equal(t, dp.Budget{}, over.Left)
}

// The first time a question is asked, several may ask it: one charge.
func TestConcurrentFirstRunsChargeOnce(t *testing.T) {
	ctx := context.Background()
	q := must(NetDemand(question([]NodeID{"a", "b"}, []string{"milk"})))(t)
	c, ledger := coordinate(t, dp.Budget{Epsilon: 1}, nil, twoNodes(t, q)...)
	releases := make([]*Release, 16)
	var wg sync.WaitGroup
	for i := range releases {
		wg.Go(func() {
			var err error
			releases[i], err = c.Run(ctx, q)
			assert.NoError(t, err)
		})
	}
	wg.Wait()
	for _, r := range releases {
		require.Equal(t, releases[0].raw, r.raw)
	}
	require.Zero(t, must(ledger.Left(ctx, "e", "list"))(t).Epsilon)
}

// With the exact samplers, equal randomness gives equal bytes; in production
// randomness never is.
func TestReleaseIsAFunctionOfReportsAndRandomness(t *testing.T) {
	for _, m := range []dp.Mechanism{dp.DiscreteLaplace, dp.DiscreteGaussian} {
		question := question([]NodeID{"a", "b"}, []string{"milk", "bread"})
		question.Privacy.Mechanism = m
		q := must(NetDemand(question))(t)
		run := func(r io.Reader) []byte {
			c, _ := coordinate(t, dp.Budget{Epsilon: 1, Delta: 1e-6}, r, twoNodes(t, q)...)
			return must(c.Run(context.Background(), q))(t).raw
		}
		require.Equal(t, run(seeded(1)), run(seeded(1)))
		require.NotEqual(t, run(seeded(1)), run(seeded(2)))
		require.NotEqual(t, run(nil), run(nil))
	}
}

func TestChainCells(t *testing.T) {
	question := exactly(question([]NodeID{"a", "b"}, []string{"milk", "bread"}))
	question.Cells, question.Bounds.MaxNodes = Chain, 2
	q := must(NetDemand(question))(t)
	c, _ := coordinate(t, dp.Budget{Epsilon: 1e6}, nil, twoNodes(t, q)...)
	rel := must(c.Run(context.Background(), q))(t)
	cells := collectCells(rel.Cells())
	require.Len(t, cells, 2)
	assert.EqualValues(t, 4, cells["* milk"].Value)
	assert.EqualValues(t, 2, cells["* bread"].Value)
	assert.Equal(t, 2, cells["* milk"].Asked)
	assert.Empty(t, collectCells(rel.Totals()))
	s := rel.Label().Sensitivity
	assert.Equal(t, must(question.Bounds.Sensitivity(dp.Summed))(t), s)
}

// Selection publishes what enough units stand behind, and never what one does.
func TestSelectedCells(t *testing.T) {
	question := exactly(question([]NodeID{"a", "b"}, []string{"rare", "popular", "none"}))
	question.Select = dp.Params{Epsilon: 1, Delta: 1e-9, Mechanism: dp.Auto}
	for _, cells := range []Cells{PerStore, Chain} {
		question.Cells = cells
		q := must(NetDemand(question))(t)
		var nodes []*Node
		for _, id := range []NodeID{"a", "b"} {
			var lists []Record
			for i := range 500 {
				lists = append(lists, list(fmt.Sprint(id, i), []NodeID{id}, Line{"popular", 2, 0}))
			}
			lists = append(lists, list(fmt.Sprint(id, "x"), []NodeID{id}, Line{"rare", 3, 0}))
			nodes = append(nodes, must(NewNode(NodeConfig{Epoch: "e", ID: id, Lists: slice(lists), Allow: AllowQueries(q)}))(t))
		}
		c, ledger := coordinate(t, dp.Budget{Epsilon: 2e6, Delta: 1e-6}, nil, nodes...)
		rel := must(c.Run(context.Background(), q))(t)
		got := collectCells(rel.Cells())
		want := map[Cells][]string{PerStore: {"a popular", "b popular"}, Chain: {"* popular"}}[cells]
		require.Len(t, got, len(want))
		for _, key := range want {
			require.EqualValues(t, 2000/len(want), got[key].Value)
		}
		require.Empty(t, collectCells(rel.Totals()))
		// Both are charged: selection and values.
		left := must(ledger.Left(context.Background(), "e", "list"))(t)
		require.InDelta(t, 1e6-1, left.Epsilon, 1e-6)
		require.Less(t, left.Delta, 1e-6)
		require.Equal(t, q.Cost(), rel.Label().Cost)
		again := must(ParseRelease(rel.raw))(t)
		require.Equal(t, got, collectCells(again.Cells()))
	}
}

func TestBelowQuorumChargesNothing(t *testing.T) {
	question := question([]NodeID{"a", "b", "c"}, []string{"milk"})
	question.Quorum = 3
	q := must(NetDemand(question))(t)
	c, ledger := coordinate(t, dp.Budget{Epsilon: 1}, nil, twoNodes(t, q)...)
	_, err := c.Run(context.Background(), q)
	var below *QuorumError
	require.ErrorAs(t, err, &below)
	require.Equal(t, Coverage{Asked: 3, Answered: 2, Absent: []Absence{{"c", "no answer"}}}, below.Coverage)
	require.Equal(t, 1.0, must(ledger.Left(context.Background(), "e", "list"))(t).Epsilon)
}

// A round reaches its end by its deadline even if a node hangs for ever.
func TestDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		question := question([]NodeID{"a", "b"}, []string{"milk"})
		q := must(NetDemand(question))(t)
		nodes := twoNodes(t, q)
		ledger := must(dp.NewMemoryLedger(dp.Budget{Epsilon: 1}))(t)
		c := must(NewCoordinator(CoordinatorConfig{
			Transport: hanging{InProcess(nodes[0])}, Ledger: ledger, Deadline: time.Hour,
		}))(t)
		start := time.Now()
		rel := must(c.Run(t.Context(), q))(t)
		require.Equal(t, time.Hour, time.Since(start))
		require.Equal(t, 1, rel.Label().Coverage.Answered)

		// A caller who gives up sooner is not charged.
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		question.Epoch = "another"
		_, err := c.Run(ctx, must(NetDemand(question))(t))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, 1.0, must(ledger.Left(t.Context(), "another", "list"))(t).Epsilon)
	})
}

type hanging struct{ Transport }

func (h hanging) Exchange(ctx context.Context, out []Message, deliver func(Message)) error {
	if err := h.Transport.Exchange(ctx, out, deliver); err != nil {
		return err
	}
	<-ctx.Done()
	return ctx.Err()
}

// Randomness that fails after the reservation: no number, and the charge stays.
func TestFailingRandomnessFailsClosed(t *testing.T) {
	q := must(NetDemand(question([]NodeID{"a", "b"}, []string{"milk"})))(t)
	c, ledger := coordinate(t, dp.Budget{Epsilon: 5}, nil, twoNodes(t, q)...)
	c.c.Random = failing{}
	_, err := NewCoordinator(CoordinatorConfig{Transport: InProcess(), Ledger: ledger, Random: failing{}})
	require.Error(t, err)
	for range 2 {
		rel, err := c.Run(context.Background(), q)
		require.ErrorIs(t, err, ErrInterrupted)
		require.Nil(t, rel)
	}
	require.Equal(t, 4.0, must(ledger.Left(context.Background(), "e", "list"))(t).Epsilon)
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("no entropy") }

func TestZeroValuesAreRefused(t *testing.T) {
	ctx := context.Background()
	_, err := NewCoordinator(CoordinatorConfig{})
	require.Error(t, err)
	_, err = NewNode(NodeConfig{})
	require.Error(t, err)
	c, _ := coordinate(t, dp.Budget{Epsilon: 1}, nil)
	_, err = c.Run(ctx, Query{})
	require.Error(t, err)
	n := must(NewNode(NodeConfig{Epoch: "e", ID: "a"}))(t)
	_, err = n.Answer(ctx, []byte("hello"))
	require.Error(t, err)
	_, err = n.Audit(ctx, Query{})
	require.Error(t, err)
	require.Error(t, func() error { _, err := Query{}.MarshalJSON(); return err }())
	require.Zero(t, Query{}.Cost())
	require.Zero(t, Query{}.Digest())
	require.Empty(t, AllowQueries(Query{}).Digests)
	_, err = ParseRelease([]byte(`{"format":"larder-release/1"}`))
	require.Error(t, err)
}

func TestPolicy(t *testing.T) {
	question := question([]NodeID{"a", "b"}, []string{"milk"})
	q := must(NetDemand(question))(t)
	limits := Limits{Budget: dp.Budget{Epsilon: 1}, Units: []Unit{UnitList}, Trusts: []Trust{TrustedCoordinator}, MinQuorum: 1}
	for _, c := range []struct {
		reason string
		policy Policy
		rule   string // "" if allowed
	}{
		{"nothing is allowed by default", Policy{}, "allow list"},
		{"this very question", AllowQueries(q), ""},
		{"another question", AllowQueries(q.withOther(t)), "allow list"},
		{"by name, just within the limits", Policy{Names: map[string]Limits{"net_demand/1": limits}}, ""},
		{"another name", Policy{Names: map[string]Limits{"member_count/1": limits}}, "allow list"},
		{"zero limits accept nothing", Policy{Names: map[string]Limits{"net_demand/1": {}}}, "net_demand/1: units"},
		{"too much ε", Policy{Names: map[string]Limits{"net_demand/1": {dp.Budget{Epsilon: 0.9}, limits.Units, limits.Trusts, 1}}}, "net_demand/1: budget"},
		{"another trust model", Policy{Names: map[string]Limits{"net_demand/1": {limits.Budget, limits.Units, []Trust{Local}, 1}}}, "net_demand/1: trust"},
		{"a quorum that hides too little", Policy{Names: map[string]Limits{"net_demand/1": {limits.Budget, limits.Units, limits.Trusts, 2}}}, "net_demand/1: quorum"},
		{"no quorum set", Policy{Names: map[string]Limits{"net_demand/1": {limits.Budget, limits.Units, limits.Trusts, 0}}}, "net_demand/1: quorum"},
	} {
		n := must(NewNode(NodeConfig{Epoch: "e", ID: "a", Allow: c.policy}))(t)
		body := must(n.Answer(context.Background(), ask{q: q}.encode()))(t)
		refusal, err := parseRefusal(body, "a")
		if c.rule == "" {
			require.Error(t, err, c.reason)
			continue
		}
		require.NoError(t, err, c.reason)
		require.Equal(t, c.rule, refusal.Rule, c.reason)
		require.NotEmpty(t, refusal.Accepts, c.reason)
	}
	for _, misspelt := range []Limits{
		{limits.Budget, []Unit{UnitList, "lists"}, limits.Trusts, 1},
		{limits.Budget, limits.Units, []Trust{"trusted"}, 1},
	} {
		_, err := NewNode(NodeConfig{Epoch: "e", ID: "a", Allow: Policy{Names: map[string]Limits{"net_demand/1": misspelt}}})
		require.ErrorContains(t, err, "is none: give ")
	}
	// Who asks is told that another time will not help, and what would.
	refusing := must(NewNode(NodeConfig{Epoch: "e", ID: "b", Allow: Policy{Names: map[string]Limits{"member_count/1": limits}}}))(t)
	c := must(NewCoordinator(CoordinatorConfig{Transport: InProcess(refusing), Ledger: must(dp.NewMemoryLedger(dp.Budget{Epsilon: 1}))(t)}))(t)
	_, err := c.Run(context.Background(), q)
	require.ErrorContains(t, err, "a node that refuses does so again: ask what it accepts (b: refused by allow list: ")
	// The other reasons to refuse come from what the node is.
	for rule, c := range map[string]NodeConfig{
		"epoch":         {Epoch: "another", ID: "a"},
		"roster":        {Epoch: "e", ID: "z"},
		"functions":     {Epoch: "e", ID: "a"},
		"pseudonym key": {Epoch: "e", ID: "a"},
		"memberships":   {Epoch: "e", ID: "a", Pseudonym: testPseudonym},
	} {
		question := question
		make := NetDemand
		if rule == "pseudonym key" || rule == "memberships" {
			question.Unit = UnitMember
		}
		if rule == "functions" {
			make = func(q Question) (Query, error) { q.From = Lists; return Custom("unheard_of", 1, nil, q) }
		}
		q := must(make(question))(t)
		c.Allow = AllowQueries(q)
		body := must(must(NewNode(c))(t).Answer(context.Background(), ask{q: q}.encode()))(t)
		refusal, err := parseRefusal(body, c.ID)
		require.NoError(t, err)
		require.Equal(t, rule, refusal.Rule)
	}
}

// withOther returns a query that differs from q.
func (q Query) withOther(t *testing.T) Query {
	question := q.Question()
	question.Epoch = "other"
	return must(NetDemand(question))(t)
}

// A node with a ledger of its own charges each question once, sends the same
// report again, and stops when its budget is gone, whatever the coordinator's
// ledger says.
func TestNodeLedger(t *testing.T) {
	ctx := context.Background()
	question := question([]NodeID{"a"}, []string{"milk"})
	q := must(NetDemand(question))(t)
	own := must(dp.NewMemoryLedger(dp.Budget{Epsilon: 1.5}))(t)
	reads := 0
	lists := func(yield func(Record, error) bool) {
		reads++
		yield(list("1", []NodeID{"a"}, Line{"milk", 2, 0}), nil)
	}
	n := must(NewNode(NodeConfig{Epoch: "e", ID: "a", Lists: lists, Ledger: own, Allow: Policy{Names: map[string]Limits{
		"net_demand/1": {dp.Budget{Epsilon: 1}, []Unit{UnitList}, []Trust{TrustedCoordinator}, 1},
	}}}))(t)
	first := must(n.Answer(ctx, ask{q: q}.encode()))(t)
	require.Equal(t, first, must(n.Answer(ctx, ask{q: q}.encode()))(t))
	require.Equal(t, 1, reads)
	require.Equal(t, 0.5, must(own.Left(ctx, "e", "list"))(t).Epsilon)
	refusal, err := parseRefusal(must(n.Answer(ctx, ask{q: q.withRound(2)}.encode()))(t), "a")
	require.NoError(t, err)
	require.Equal(t, "ledger", refusal.Rule)
	require.Contains(t, refusal.Accepts, "ε=0.5")

	// A coordinator that was restarted may have released an answer and forgotten
	// it: it must not get the same report to noise it again.
	refusal, err = parseRefusal(must(n.Answer(ctx, ask{q, [16]byte{1}}.encode()))(t), "a")
	require.NoError(t, err)
	require.Contains(t, refusal.Accepts, "new round")

	// The remedy that the refusal names is accepted.
	question.Privacy.Epsilon, question.Round = 0.5, 2
	_, err = parseReport(must(n.Answer(ctx, ask{q: must(NetDemand(question))(t)}.encode()))(t))
	require.NoError(t, err)
}

// Records that cannot be read make the node answer nothing, not less.
func TestBrokenRecordsFailClosed(t *testing.T) {
	q := must(NetDemand(question([]NodeID{"a"}, []string{"milk"})))(t)
	broken := func(yield func(Record, error) bool) {
		_ = yield(list("1", []NodeID{"a"}, Line{"milk", 2, 0}), nil) && yield(Record{}, io.ErrUnexpectedEOF)
	}
	var log bytes.Buffer
	n := must(NewNode(NodeConfig{
		Epoch: "e", ID: "a", Lists: broken, Allow: AllowQueries(q), Log: slog.New(slog.NewTextHandler(&log, nil)),
	}))(t)
	body, err := n.Answer(context.Background(), ask{q: q}.encode())
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.Nil(t, body)
	require.NotEmpty(t, log.String(), "the operator is told")
	_, err = n.Audit(context.Background(), q)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
}

func TestConfigIsChecked(t *testing.T) {
	_, err := NewNode(NodeConfig{Epoch: "e", ID: "a", Pseudonym: func(string) ([16]byte, error) { return [16]byte{}, errors.New("no key") }})
	require.ErrorContains(t, err, "no key")
	for _, f := range []Function{
		{},
		{Name: "Bad Name", Version: 1, From: []Kind{Lists}, Prepare: netDemand.Prepare},
		{Name: "x", Version: 0, From: []Kind{Lists}, Prepare: netDemand.Prepare},
		{Name: "x", Version: 1, Prepare: netDemand.Prepare},
		netDemand,
	} {
		_, err := NewNode(NodeConfig{Epoch: "e", ID: "a", Functions: []Function{f}})
		require.Error(t, err)
	}
}

func TestParseReleaseRefusesWhatDoesNotFit(t *testing.T) {
	q := must(NetDemand(question([]NodeID{"a", "b"}, []string{"milk", "bread"})))(t)
	c, _ := coordinate(t, dp.Budget{Epsilon: 1}, nil, twoNodes(t, q)...)
	raw := string(must(c.Run(context.Background(), q))(t).raw)
	for _, bad := range [][2]string{
		{`"larder-release/1"`, `"larder-release/2"`},
		{`"inventory":[null,`, `"inventory":[`},
		{`"inventory":[null,`, `"inventory":[[1],`},
		{`"cells":null`, `"cells":[]`},
		{`"cells":null`, `"other":null`},
		{`"values":[[`, `"values":[[1,`},
	} {
		require.Contains(t, raw, bad[0])
		_, err := ParseRelease([]byte(strings.Replace(raw, bad[0], bad[1], 1)))
		require.Error(t, err, bad)
	}
	_, err := ParseRelease([]byte(raw))
	require.NoError(t, err)
}
