package federated

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"math"
	"math/big"
	"math/bits"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/larder-dp/larder/dp"
)

// hashed stands in for a PRF where pseudonyms must look uniform.
func hashed(member string) (p [16]byte, err error) {
	sum := sha256.Sum256([]byte(member))
	return [16]byte(sum[:]), nil
}

// binOf is the bin of a pseudonym, worked out with big integers.
func binOf(p [16]byte, bins int64) int64 {
	block, _ := aes.NewCipher([]byte("larder sketch 1\x00"))
	var out [16]byte
	block.Encrypt(out[:], p[:])
	x := new(big.Int).SetBytes(out[:8])
	x.Mul(x, big.NewInt(bins))
	return x.Rsh(x, 64).Int64()
}

// distinctQuestion asks for distinct members, with noise that rounds to nothing.
func distinctQuestion(stores []NodeID, unit Unit, from Kind) Question {
	return Question{
		Stores: stores, Unit: unit, From: from, Trust: TrustedCoordinator, Epoch: "e",
		Privacy: dp.Params{Epsilon: 1e6, Mechanism: dp.DiscreteLaplace}, Quorum: 1,
	}
}

func localQuestion(stores []NodeID, unit Unit, from Kind, maxNodes int64) Question {
	q := distinctQuestion(stores, unit, from)
	q.Trust, q.Privacy, q.Bounds.MaxNodes = Local, dp.Params{Epsilon: 1, Mechanism: dp.Auto}, maxNodes
	return q
}

var sketchKinds = []struct {
	unit Unit
	from Kind
}{
	{UnitMember, Memberships},
	{UnitMember, Sales},
	{UnitMember, Lists},
	{UnitMemberAtNode, Memberships},
	{UnitMemberAtNode, Sales},
	{UnitMemberAtNode, Lists},
}

// seenMembers is the dumb version: who is seen where, by the records alone.
func seenMembers(w world, from Kind, store NodeID) map[string]bool {
	out := map[string]bool{}
	for _, u := range w.units {
		if u.member == "" {
			continue
		}
		here := false
		switch from {
		case Memberships:
			for _, s := range u.homes {
				here = here || s == store
			}
		case Sales:
			here = len(u.sales[store]) > 0
		case Lists:
			for _, r := range u.lists[store] {
				for _, s := range r.Stores {
					here = here || s == store
				}
			}
		}
		if here {
			out[u.member] = true
		}
	}
	return out
}

// Without noise the release is the number of different bins of all who were seen anywhere.
func TestDistinctMembersAgainstMaps(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		kind := rapid.SampledFrom(sketchKinds).Draw(t, "kind")
		w := drawWorld(t, UnitMember)
		if kind.from == Sales { // one that nobody is behind
			w.units = append(w.units, unitRecords{sales: map[NodeID][]Record{w.stores[0]: {{ID: "anonymous"}}}})
		}
		bins := 64 * rapid.IntRange(1, 40).Draw(t, "bins")
		q := must(DistinctMembers(distinctQuestion(w.stores, kind.unit, kind.from), bins))(t)
		set, nodes := map[int64]bool{}, []*Node(nil)
		for _, s := range w.stores {
			nodes = append(nodes, must(NewNode(w.config(s, AllowQueries(q))))(t))
			for m := range seenMembers(w, kind.from, s) {
				set[binOf(must(testPseudonym(m))(t), int64(bins))] = true
			}
			a := must(nodes[len(nodes)-1].Audit(context.Background(), q))(t)
			require.LessOrEqual(t, a.Values[0], int64(len(seenMembers(w, kind.from, s))))
		}
		ledger, err := dp.NewMemoryLedger(dp.Budget{Epsilon: 1e6})
		require.NoError(t, err)
		c := must(NewCoordinator(CoordinatorConfig{Transport: InProcess(nodes...), Ledger: ledger}))(t)
		rel := must(c.Run(context.Background(), q))(t)
		cells := collectCells(rel.Cells())
		require.Len(t, cells, 1)
		require.EqualValues(t, len(set), cells["* members"].Noised)
		require.Equal(t, rel, must(ParseRelease(must(rel.MarshalJSON())(t)))(t))
	})
}

// sketches are the bitmaps in the reports of all nodes, from their bytes.
func sketches(t *rapid.T, w world, q Query) (out [][]uint64) {
	for _, id := range w.stores {
		c := w.config(id, AllowQueries(q))
		c.Random = seeded(id[0])
		if q.local() {
			c.Ledger, c.MaxNodes = must(dp.NewMemoryLedger(dp.Budget{Epsilon: 100}))(t), q.q.Bounds.MaxNodes
		}
		body, err := must(NewNode(c))(t).Answer(context.Background(), ask{q: q}.encode())
		require.NoError(t, err)
		r, err := parseReport(body)
		require.NoError(t, err)
		require.True(t, r.fits(q, id))
		require.Nil(t, r.amounts, "only the sketch leaves the node")
		out = append(out, r.bitmap)
	}
	return out
}

// The proof of DistinctMembers, played: remove a unit with all that it left at any number
// of stores, and the set bits of the OR drop by one or none.
func TestDistinctMembersSensitivity(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		kind := rapid.SampledFrom(sketchKinds).Draw(t, "kind")
		w := drawWorld(t, kind.unit)
		q := must(DistinctMembers(distinctQuestion(w.stores, kind.unit, kind.from), 64))(t)
		count := func(w world) int64 {
			all := make([]uint64, 1)
			for _, b := range sketches(t, w, q) {
				merge(all, b)
			}
			return setBits(all)
		}
		change := count(w) - count(w.without(rapid.IntRange(0, len(w.units)-1).Draw(t, "removed")))
		s := must(q.q.Bounds.Sensitivity(q.shape()))(t)
		require.Equal(t, dp.Sensitivity{L0: 1, L1: 1, L2Squared: 1, LInf: 1}, s)
		require.Contains(t, []int64{0, 1}, change)
	})
}

// Under Local the same seed flips the same bits, so that two reports differ exactly where the
// bitmaps do: in one bit a node, at MaxNodes nodes.
func TestLocalSketchesSensitivity(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		kind := rapid.SampledFrom(sketchKinds).Draw(t, "kind")
		w, most := drawWorld(t, kind.unit), int64(1)
		if kind.unit == UnitMember {
			most = rapid.Int64Range(1, 3).Draw(t, "MaxNodes")
		}
		q := must(DistinctMembers(localQuestion(w.stores, kind.unit, kind.from, most), 1<<10))(t)
		with, without := sketches(t, w, q), sketches(t, w.without(rapid.IntRange(0, len(w.units)-1).Draw(t, "removed")), q)
		nodes := int64(0)
		for i := range with {
			n := 0
			for j := range with[i] {
				n += bits.OnesCount64(with[i][j] ^ without[i][j])
			}
			require.LessOrEqual(t, n, 1, "bits of one node")
			nodes += int64(n)
		}
		require.LessOrEqual(t, nodes, most)
	})
}

// chainOf makes nodes that saw these members, in a sale each.
func chainOf(t testing.TB, q []Query, ledger func() dp.Ledger, members ...[]int) []*Node {
	var nodes []*Node
	for i, at := range members {
		c := NodeConfig{
			Epoch: "e", ID: NodeID(fmt.Sprint("s", i)), Pseudonym: hashed, Allow: AllowQueries(q...), MaxNodes: q[0].q.Bounds.MaxNodes,
			Sales: func(yield func(Record, error) bool) {
				for _, m := range at {
					if !yield(Record{ID: fmt.Sprint("b", m), Member: fmt.Sprint("m", m)}, nil) {
						return
					}
				}
			},
		}
		if ledger != nil {
			c.Ledger = ledger()
		}
		nodes = append(nodes, must(NewNode(c))(t))
	}
	return nodes
}

func upTo(from, to int) (out []int) {
	for i := from; i < to; i++ {
		out = append(out, i)
	}
	return out
}

func onlyCell(t testing.TB, r *Release) Cell {
	cells := collectCells(r.Cells())
	require.Len(t, cells, 1)
	return cells["* members"]
}

// The published interval holds the true number as often as it says, over rounds with fresh
// members and fresh noise. The stated error is near the one that is seen. A false alarm has
// probability 1e-9: at most 24 of 120 misses at 5 % (binomial), and the ratio of the two
// errors within 1/2 … 2 (χ² with 120 degrees).
func TestDistinctMembersStatedError(t *testing.T) {
	t.Parallel()
	const trials, misses = 120, 24
	stores := []NodeID{"s0", "s1", "s2"}
	for _, c := range []struct {
		trust   Trust
		epsilon float64
		bins    int
	}{{TrustedCoordinator, 0.2, 1 << 12}, {TrustedCoordinator, 1, 1 << 10}, {Local, 2, 1 << 12}} {
		if testing.Short() && c.trust != Local {
			continue
		}
		question := distinctQuestion(stores, UnitMemberAtNode, Sales)
		question.Trust, question.Privacy = c.trust, dp.Params{Epsilon: c.epsilon, Mechanism: dp.Auto}
		q := must(DistinctMembers(question, c.bins))(t)
		missed, squares, stated := 0, 0.0, 0.0
		for i := range trials {
			from := 10_000 * i
			n := 900
			nodes := chainOf(t, []Query{q}, func() dp.Ledger { return must(dp.NewMemoryLedger(dp.Budget{Epsilon: 9}))(t) },
				upTo(from, from+500), upTo(from+300, from+800), upTo(from+100, from+n))
			random := rand.NewChaCha8([32]byte{byte(i), byte(c.bins >> 8)})
			for j, node := range nodes {
				node.c.Random = rand.NewChaCha8([32]byte{byte(i), byte(j), 1})
			}
			coordinator, _ := coordinate(t, dp.Budget{Epsilon: 9}, random, nodes...)
			cell := onlyCell(t, must(coordinator.Run(context.Background(), q))(t))
			off := float64(cell.Value) - float64(n)
			squares, stated = squares+off*off, stated+cell.StdDev*cell.StdDev
			if cell.Low > int64(n) || cell.High < int64(n) {
				missed++
			}
		}
		name := fmt.Sprint(c.trust, c.epsilon)
		assert.LessOrEqual(t, missed, misses, name)
		ratio := math.Sqrt(squares / stated)
		assert.Less(t, ratio, 2.0, name)
		if c.trust == TrustedCoordinator { // the error of Local is an upper bound
			assert.Greater(t, ratio, 0.5, name)
		}
	}
}

// Of the same members, what is published is the number of set bins with the noise that the
// label says: over 400 rounds its mean and deviation are off by 7 standard errors at most
// (a false alarm below 1e-9 for the mean; the deviation of Laplace noise has the error
// √((6−1)/4/400)), and no two nodes' bitmaps are in the release.
func TestDistinctMembersNoise(t *testing.T) {
	const rounds = 400
	question := distinctQuestion([]NodeID{"s0", "s1"}, UnitMember, Sales)
	question.Privacy.Epsilon = 0.1
	q := must(DistinctMembers(question, 1<<10))(t)
	nodes := chainOf(t, []Query{q}, nil, upTo(0, 300), upTo(200, 400))
	all := make([]uint64, 1<<4)
	for _, n := range nodes {
		merge(all, must(n.aggregate(context.Background(), q))(t).bitmap)
	}
	c, _ := coordinate(t, dp.Budget{Epsilon: 0.1 * (rounds + 1)}, rand.NewChaCha8([32]byte{4}), nodes...)
	sum, squares, stdDev := 0.0, 0.0, 0.0
	for i := range rounds {
		rel := must(c.Run(context.Background(), q.withRound(int64(i+1))))(t)
		off := float64(onlyCell(t, rel).Noised - setBits(all))
		sum, squares, stdDev = sum+off, squares+off*off, rel.Label().Noise.StdDev
		require.Less(t, len(must(rel.MarshalJSON())(t)), 2000, "one number and its label")
	}
	assert.InDelta(t, 10*math.Sqrt2, stdDev, 0.1)
	assert.Less(t, math.Abs(sum/rounds), 7*stdDev/math.Sqrt(rounds))
	assert.InEpsilon(t, stdDev, math.Sqrt(squares/rounds), 7*math.Sqrt(5.0/4/rounds))
}

func TestOverlap(t *testing.T) {
	ctx := context.Background()
	ask := func(stores ...NodeID) Query {
		q := distinctQuestion(stores, UnitMemberAtNode, Sales)
		q.Privacy.Epsilon = 2
		return must(DistinctMembers(q, 1<<14))(t)
	}
	qa, qb, both := ask("s0"), ask("s1"), ask("s0", "s1")
	nodes := chainOf(t, []Query{qa, qb, both}, nil, upTo(0, 1000), upTo(700, 1900))
	c, ledger := coordinate(t, dp.Budget{Epsilon: 6}, seeded(3), nodes...)
	a, b, u := must(c.Run(ctx, qa))(t), must(c.Run(ctx, qb))(t), must(c.Run(ctx, both))(t)
	require.Zero(t, must(ledger.Left(ctx, "e", string(UnitMemberAtNode)))(t).Epsilon, "charged as three")
	cell := must(u.Overlap(a, b))(t)
	require.InDelta(t, 300, cell.Value, 60)
	require.Equal(t, onlyCell(t, a).Value+onlyCell(t, b).Value-onlyCell(t, u).Value, cell.Value)
	require.True(t, cell.Low <= 300 && 300 <= cell.High, "%+v", cell)
	require.Less(t, cell.High-cell.Low, int64(500))
	require.Less(t, cell.StdDev, 100.0)

	require.Greater(t, cell.StdDev, onlyCell(t, u).StdDev)
	for reason, f := range map[string]func() (Cell, error){
		"nil":              func() (Cell, error) { return u.Overlap(nil, b) },
		"the union is one": func() (Cell, error) { return a.Overlap(u, b) },
		"other bins": func() (Cell, error) {
			x := *a
			x.label.Bins = 64
			return u.Overlap(&x, b)
		},
		"as many stores, but others": func() (Cell, error) {
			x, y := *a, *u
			x.label.Coverage = Coverage{2, 1, []Absence{{Node: "s2", Reason: "no answer"}}}
			y.label.Coverage = Coverage{3, 2, []Absence{{Node: "s0", Reason: "no answer"}}}
			return y.Overlap(&x, b)
		},
	} {
		_, err := f()
		require.Error(t, err, reason)
	}
}

// Where the noise is as large as the bitmap, or the bitmap full, the numbers have no upper end, and
// an overlap has none either: its ends must not wrap.
func TestOverlapOfNothingKnown(t *testing.T) {
	ctx := context.Background()
	ask := func(stores ...NodeID) Query {
		q := distinctQuestion(stores, UnitMemberAtNode, Sales)
		q.Privacy.Epsilon = 0.01
		return must(DistinctMembers(q, 64))(t)
	}
	qa, qb, both := ask("s0"), ask("s1"), ask("s0", "s1")
	nodes := chainOf(t, []Query{qa, qb, both}, nil, upTo(0, 300), upTo(0, 300))
	for seed := range byte(20) {
		c, _ := coordinate(t, dp.Budget{Epsilon: 6}, seeded(seed), nodes...)
		a, b, u := must(c.Run(ctx, qa))(t), must(c.Run(ctx, qb))(t), must(c.Run(ctx, both))(t)
		cell := must(u.Overlap(a, b))(t)
		require.True(t, cell.Low <= 300 && 300 <= cell.High, "%+v", cell)
	}
}

// A node under Local is a releaser: it charges its ledger, keeps the flipped bitmap, and sends
// the same bytes to whoever asks the same, even a coordinator that was restarted.
func TestLocalSketchIsStored(t *testing.T) {
	ctx := context.Background()
	q := must(DistinctMembers(localQuestion([]NodeID{"s0"}, UnitMemberAtNode, Sales, 1), 1<<10))(t)
	ledger := must(dp.NewMemoryLedger(dp.Budget{Epsilon: 2}))(t)
	n := chainOf(t, []Query{q}, func() dp.Ledger { return ledger }, upTo(0, 100))[0]
	first := must(n.Answer(ctx, ask{q: q}.encode()))(t)
	require.Equal(t, first, must(n.Answer(ctx, ask{q: q}.encode()))(t))
	require.Equal(t, first, must(n.Answer(ctx, ask{q, [16]byte{9}}.encode()))(t), "another session")
	require.EqualValues(t, 1, must(ledger.Left(ctx, "e", string(UnitMemberAtNode)))(t).Epsilon)

	second := must(parseReport(must(n.Answer(ctx, ask{q: q.withRound(2)}.encode()))(t)))(t)
	require.NotEqual(t, must(parseReport(first))(t).bitmap, second.bitmap, "a new round, fresh flips")
	refusal := must(parseRefusal(must(n.Answer(ctx, ask{q: q.withRound(3)}.encode()))(t), "s0"))(t)
	require.Equal(t, "ledger", refusal.Rule, "its budget is spent")

	// It flips about a quarter of the bits at ε = 1, and never sends them as they are.
	exact := must(n.aggregate(ctx, q))(t).bitmap
	flipped := 0
	for i := range exact {
		flipped += bits.OnesCount64(exact[i] ^ second.bitmap[i])
	}
	require.InDelta(t, 0.269*1024, flipped, 7*math.Sqrt(1024*0.2))

	bare := chainOf(t, []Query{q}, nil, upTo(0, 9))[0]
	refusal = must(parseRefusal(must(bare.Answer(ctx, ask{q: q}.encode()))(t), "s0"))(t)
	require.Equal(t, "ledger", refusal.Rule, "a node without a ledger cannot keep its flips")

	broken := chainOf(t, []Query{q}, func() dp.Ledger { return must(dp.NewMemoryLedger(dp.Budget{Epsilon: 2}))(t) }, upTo(0, 9))[0]
	broken.c.Random, broken.c.Log = failing{}, slog.New(slog.DiscardHandler)
	_, err := broken.Answer(ctx, ask{q: q}.encode())
	require.Error(t, err)
}

// What is charged and what the label says, for every kind of sketch.
func TestSketchCostAndLabel(t *testing.T) {
	run := func(question Question) Label {
		q := must(DistinctMembers(question, 1<<12))(t)
		nodes := chainOf(t, []Query{q}, func() dp.Ledger { return must(dp.NewMemoryLedger(dp.Budget{Epsilon: 9}))(t) }, upTo(0, 50), upTo(20, 90))
		for _, n := range nodes {
			n.c.Memberships = slice(nil)
		}
		c, ledger := coordinate(t, dp.Budget{Epsilon: 9}, seeded(1), nodes...)
		l := must(c.Run(context.Background(), q))(t).Label()
		require.Equal(t, q.Cost(), l.Cost)
		require.InDelta(t, 9-l.Cost.Epsilon, must(ledger.Left(context.Background(), "e", string(question.Unit)))(t).Epsilon, 1e-12)
		require.EqualValues(t, 1<<12, l.Bins)
		require.Contains(t, l.String(), "sketch      4096 bins")
		return l
	}
	stores := []NodeID{"s0", "s1"}
	question := distinctQuestion(stores, UnitMember, Sales)
	question.Privacy.Epsilon = 1
	l := run(question)
	assert.Equal(t, dp.Budget{Epsilon: 1}, l.Cost)
	assert.Empty(t, l.Reach)
	assert.Equal(t, dp.DiscreteLaplace, l.Noise.Mechanism)

	question.Unit = UnitMemberAtNode
	one := dp.Budget{Epsilon: 1}
	assert.Equal(t, []Reach{{2, one}, {4, one}, {8, one}}, run(question).Reach, "the union has her once wherever she is")

	l = run(localQuestion(stores, UnitMemberAtNode, Sales, 1))
	assert.Equal(t, one, l.Cost)
	assert.Equal(t, []Reach{{2, dp.Budget{Epsilon: 2}}, {4, dp.Budget{Epsilon: 4}}, {8, dp.Budget{Epsilon: 8}}}, l.Reach)
	assert.Equal(t, dp.RandomizedResponse, l.Noise.Mechanism)
	assert.InDelta(t, 1/(1+math.E), l.Noise.Scale, 1e-12)
	assert.Contains(t, l.String(), "flipped sketch")

	l = run(localQuestion(stores, UnitMember, Sales, 2))
	assert.Equal(t, dp.Budget{Epsilon: 2}, l.Cost, "a member in two stores pays twice")
	assert.Equal(t, dp.Sensitivity{L0: 2, L1: 2, L2Squared: 2, LInf: 1}, l.Sensitivity)
}

func TestSketchQuestionsThatAreRefused(t *testing.T) {
	good := func() Question { return distinctQuestion([]NodeID{"a"}, UnitMember, Sales) }
	require.NoError(t, second(DistinctMembers(good(), 64)))
	for reason, f := range map[string]func(q *Question) int{
		"no bins":              func(*Question) int { return 0 },
		"bins not whole words": func(*Question) int { return 100 },
		"too many bins":        func(*Question) int { return 1<<26 + 64 },
		"a list is no member":  func(q *Question) int { q.From, q.Unit = Lists, UnitList; return 64 },
		"nor is a sale":        func(q *Question) int { q.Unit = UnitSale; return 64 },
		"more than one node":   func(q *Question) int { q.Bounds.MaxNodes = 2; return 64 },
		"select":               func(q *Question) int { q.Select = dp.Params{Epsilon: 1, Delta: 1e-6, Mechanism: dp.Auto}; return 64 },
		"unknown trust":        func(q *Question) int { q.Trust = "nobody"; return 64 },
		"local with laplace":   func(q *Question) int { q.Trust, q.Bounds.MaxNodes = Local, 1; return 64 },
		"local with delta": func(q *Question) int {
			q.Trust, q.Bounds.MaxNodes, q.Privacy = Local, 1, dp.Params{Epsilon: 1, Delta: 1e-9, Mechanism: dp.Auto}
			return 64
		},
		"local without MaxNodes": func(q *Question) int {
			*q = localQuestion(q.Stores, UnitMember, Sales, 0)
			return 64
		},
		"an error above the bins": func(q *Question) int {
			*q = localQuestion(nil, UnitMemberAtNode, Sales, 1)
			for i := range 40 {
				q.Stores = append(q.Stores, NodeID(fmt.Sprint(i)))
			}
			return 1 << 12
		},
	} {
		q := good()
		bins := f(&q)
		require.Error(t, second(DistinctMembers(q, bins)), reason)
	}
	// By hand, past DistinctMembers.
	q := good()
	q.Partitions, q.Cells, q.Bounds = []string{"members"}, Chain, dp.Bounds{L0: 1, LInf: 1, L1: 1, MaxNodes: 1}
	require.NoError(t, second(Custom("distinct_members", 1, map[string]int{"bins": 64}, q)))
	for reason, f := range map[string]func(*Question){
		"bounds":     func(q *Question) { q.Bounds.LInf, q.Bounds.L1 = 2, 2 },
		"partitions": func(q *Question) { q.Partitions = []string{"a"} },
		"cells":      func(q *Question) { q.Cells = PerStore },
	} {
		bad := q
		f(&bad)
		require.Error(t, second(Custom("distinct_members", 1, map[string]int{"bins": 64}, bad)), reason)
	}
	require.Error(t, second(Custom("distinct_members", 1, nil, q)), "no parameters")
	// No other query is asked of nodes that noise their own answers.
	demand := question([]NodeID{"a"}, []string{"milk"})
	demand.Trust = Local
	require.ErrorContains(t, second(NetDemand(demand)), "distinct_members")
}

func second[T any](_ T, err error) error { return err }

// A flag, a length or a bit too many is no report of this query.
func TestSketchReportFits(t *testing.T) {
	q := must(DistinctMembers(distinctQuestion([]NodeID{"a"}, UnitMember, Sales), 128))(t)
	good := report{node: "a", digest: q.digest, epoch: "e", round: 1, bitmap: []uint64{1, 1 << 63}}
	require.True(t, good.fits(q, "a"))
	require.Equal(t, good, must(parseReport(good.encode()))(t))
	for reason, r := range map[string]report{
		"short":           {bitmap: []uint64{1}},
		"long":            {bitmap: []uint64{1, 2, 3}},
		"none":            {amounts: []int64{1}},
		"a vector beside": {bitmap: []uint64{1, 2}, inventory: []int64{1}},
	} {
		r.node, r.digest, r.epoch, r.round = good.node, good.digest, good.epoch, good.round
		require.False(t, r.fits(q, "a"), reason)
	}
	other := sampleQuery(t)
	good.digest = other.digest
	require.False(t, good.fits(other, "a"), "a sketch answers no other query")
}

func FuzzParseSketchReport(f *testing.F) {
	r := report{node: "a", digest: Digest{7}, epoch: "e", round: 1, bitmap: []uint64{1, 1 << 63}}
	f.Add(r.encode())
	f.Add(bytes.Replace(r.encode(), []byte{hasBitmap, 0, 0, 0, 128}, []byte{hasBitmap | hasUnits, 0, 0, 0, 128}, 1))
	f.Add(r.encode()[:len(r.encode())-1])
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := parseReport(b)
		if err != nil {
			require.Equal(t, report{}, r)
			return
		}
		require.Equal(t, b, r.encode())
	})
}

func FuzzParseBins(f *testing.F) {
	f.Add([]byte(`{"bins":128}`))
	f.Add([]byte(`{"bins":1e3}`))
	f.Add([]byte(`{"bins":64,"bins":128}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		bins, err := parseBins(b)
		if err != nil {
			require.Zero(t, bins)
			return
		}
		require.Equal(t, b, []byte(appendBins(nil, bins)))
	})
}

func BenchmarkSketchInsert(b *testing.B) {
	bin, bitmap := newBinning(1<<20), make([]uint64, 1<<14)
	var p [16]byte
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		p[0], p[1], p[2] = byte(i), byte(i>>8), byte(i>>16)
		at := bin.of(p)
		bitmap[at/64] |= 1 << (at % 64)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds()/1e6, "Mmembers/s")
}

// BenchmarkSketchMerge merges two bitmaps of a million bins.
func BenchmarkSketchMerge(b *testing.B) {
	into, from := make([]uint64, 1<<14), make([]uint64, 1<<14)
	b.SetBytes(8 << 14)
	for b.Loop() {
		merge(into, from)
	}
}

// Under Local a member's loss is what all her homes charge together. If each question had a
// MaxNodes of its own, two homes of budget 2 could be made to spend 3 on her.
func TestLocalHasOneMaxNodes(t *testing.T) {
	node := func(id NodeID, maxNodes int64) *Node {
		return must(NewNode(NodeConfig{
			Epoch: "e", ID: id, MaxNodes: maxNodes, Pseudonym: testPseudonym, Sales: slice(nil), Memberships: slice(nil),
			Ledger: must(dp.NewMemoryLedger(dp.Budget{Epsilon: 2}))(t),
			Allow: Policy{Names: map[string]Limits{"distinct_members/1": {
				Budget: dp.Budget{Epsilon: 2}, Units: []Unit{UnitMember}, Trusts: []Trust{Local}, MinQuorum: 1,
			}}},
		}))(t)
	}
	asked := func(n *Node, maxNodes int64, trust Trust) string {
		question := localQuestion([]NodeID{n.c.ID}, UnitMember, Sales, maxNodes)
		question.Trust = trust
		q := must(DistinctMembers(question, 1<<10))(t)
		refused, err := parseRefusal(must(n.Answer(context.Background(), ask{q: q}.encode()))(t), n.c.ID)
		if err != nil {
			return "answered"
		}
		return refused.Rule
	}
	require.Equal(t, "homes", asked(node("a", 2), 1, Local))
	require.Equal(t, "answered", asked(node("a", 2), 2, Local))
	require.Equal(t, "homes", asked(node("a", 0), 1, Local), "a node that was told nothing")
	require.Equal(t, "distinct_members/1: trust", asked(node("a", 2), 1, TrustedCoordinator), "no exact bits where only flipped ones are allowed")
}
