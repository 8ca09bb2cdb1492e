package federated

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/larder-dp/larder/dp"
)

var (
	rfmBegin  = time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)
	rfmWindow = Window{rfmBegin, rfmBegin.AddDate(0, 0, 30)}
	rfmTest   = RFM{RecencyDays: 3, FrequencySteps: 4, MonetarySteps: 2, MinDays: 1}
)

// drawShoppers makes members with sales in a month and around it; a basket may come in
// several records, in any order.
func drawShoppers(t *rapid.T) world {
	w := world{stores: []NodeID{"a", "b", "c"}}
	for i := range rapid.IntRange(1, 6).Draw(t, "members") {
		u := unitRecords{member: fmt.Sprint("m", i), sales: map[NodeID][]Record{}}
		u.homes = rapid.SliceOfNDistinct(rapid.SampledFrom(w.stores), 1, 3, rapid.ID).Draw(t, "homes")
		for range rapid.IntRange(0, 12).Draw(t, "records") {
			s := rapid.SampledFrom(w.stores).Draw(t, "store")
			at := rfmBegin.Add(time.Duration(rapid.IntRange(-5*86400, 35*86400).Draw(t, "second")) * time.Second)
			r := Record{ID: fmt.Sprint("b", rapid.IntRange(0, 5).Draw(t, "basket")), Member: u.member, Time: at.In(time.FixedZone("", 3600*rapid.IntRange(-12, 12).Draw(t, "zone")))}
			if rapid.IntRange(0, 9).Draw(t, "no time") == 0 {
				r.Time = time.Time{}
			}
			for range rapid.IntRange(0, 3).Draw(t, "lines") {
				r.Lines = append(r.Lines, Line{rapid.SampledFrom([]string{"i", "fuel"}).Draw(t, "item"), rapid.Int64Range(0, 2).Draw(t, "quantity"), rapid.OneOf(rapid.Int64Range(-5, 5000), rapid.Just[int64](1<<62)).Draw(t, "spend")})
			}
			u.sales[s] = append(u.sales[s], r)
		}
		w.units = append(w.units, u)
	}
	return w
}

// dumbRFM works out the bins of one member at one store, with maps and floats.
func dumbRFM(m RFM, w Window, sales []Record) (bins [3]int, scored bool) {
	days, baskets, spend, last := map[string]bool{}, map[string]bool{}, 0.0, time.Time{}
	for _, r := range sales {
		bought := false
		for _, l := range r.Lines {
			if l.Quantity > 0 && l.Spend > 0 && !slices.Contains(m.Except, l.Item) {
				bought = true
				spend += float64(l.Spend)
			}
		}
		if !bought || r.Time.IsZero() || r.Time.Before(w.From) || !r.Time.Before(w.To) {
			continue
		}
		days[r.Time.Format(time.DateOnly)] = true
		baskets[r.ID] = true
		if r.Time.After(last) {
			last = r.Time
		}
	}
	if len(days) < m.MinDays || len(days) == 0 {
		return bins, false
	}
	// Not what did not buy in the window.
	spend = 0
	for _, r := range sales {
		if r.Time.IsZero() || r.Time.Before(w.From) || !r.Time.Before(w.To) {
			continue
		}
		for _, l := range r.Lines {
			if l.Quantity > 0 && l.Spend > 0 && !slices.Contains(m.Except, l.Item) {
				spend = min(spend+float64(l.Spend), maxCell)
			}
		}
	}
	recency := int(w.To.Sub(last).Hours()/24) / m.RecencyDays
	frequency := int(math.Floor((float64(len(baskets))/float64(len(days))-1)*float64(m.FrequencySteps) + 1e-9))
	monetary := int(math.Log(spend) * float64(m.MonetarySteps))
	grid, _ := m.grid(w)
	return [3]int{min(recency, grid[0]-1), min(max(frequency, 0), grid[1]-1), min(monetary, grid[2]-1)}, true
}

func rfmQuestion(w world, unit Unit) Question {
	return Question{
		Stores: w.stores, Unit: unit, Trust: TrustedCoordinator, Epoch: "e", Window: rfmWindow, Cells: PerStore,
		Bounds: dp.Bounds{MaxNodes: 1}, Privacy: dp.Params{Epsilon: 1e6, Mechanism: dp.DiscreteLaplace}, Quorum: 1,
	}
}

// Histograms and scores are those of the dumb version, at every store, whatever the order of
// the rows.
func TestRFMAgainstMaps(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m, w := rfmTest, drawShoppers(t)
		m.MinDays = rapid.IntRange(1, 2).Draw(t, "MinDays")
		if rapid.Bool().Draw(t, "except") {
			m.Except = []string{"fuel", "unknown"}
		}
		cut := func() (c [4]int) {
			copy(c[:], rapid.SliceOfN(rapid.IntRange(0, 12), 4, 4).Draw(t, "cuts"))
			slices.Sort(c[:])
			return c
		}
		scored := m
		scored.Cuts = &[3][4]int{cut(), cut(), cut()}
		histograms := must(m.Histograms(rfmQuestion(w, UnitMemberAtNode)))(t)
		scores := must(scored.Scores(rfmQuestion(w, UnitMemberAtNode)))(t)
		sums := must(scored.Bins(rfmQuestion(w, UnitMemberAtNode)))(t)
		want := map[string]int64{}
		for _, u := range w.units {
			for s, sales := range u.sales {
				bins, ok := dumbRFM(m, rfmWindow, sales)
				if !ok {
					continue
				}
				for i, name := range []string{"recency", "frequency", "monetary"} {
					want[fmt.Sprintf("%s %s %04d", s, name, bins[i])]++
				}
				var score [3]int
				for i, cuts := range scored.Cuts {
					for _, c := range cuts {
						if bins[i] >= c {
							score[i]++
						}
					}
				}
				score = [3]int{5 - score[0], 1 + score[1], 1 + score[2]}
				want[fmt.Sprintf("%s %d%d%d", s, score[0], score[1], score[2])]++
				bin, sum := "[15,∞)", score[0]+score[1]+score[2]
				switch {
				case sum < 6:
					bin = "[0,6)"
				case sum < 9:
					bin = "[6,9)"
				case sum < 13:
					bin = "[9,13)"
				case sum < 15:
					bin = "[13,15)"
				}
				want[fmt.Sprintf("%s %s", s, bin)]++
			}
		}
		reversed := rapid.Bool().Draw(t, "reversed")
		for _, q := range []Query{histograms, scores, sums} {
			for _, s := range w.stores {
				c := w.config(s, AllowQueries(q))
				if reversed {
					var rows []Record
					for r := range c.Sales {
						rows = append([]Record{r}, rows...)
					}
					c.Sales = slice(rows)
				}
				a := must(must(NewNode(c))(t).Audit(context.Background(), q))(t)
				for i, p := range q.q.Partitions {
					key := fmt.Sprintf("%s %s", s, p)
					require.Equal(t, want[key], a.Values[i], key)
					delete(want, key)
				}
			}
		}
		require.Empty(t, want, "bins that no query has")
	})
}

// What a unit adds is bounded like everything, through the bytes that the nodes send.
func TestRFMNeighbours(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m, w := rfmTest, drawShoppers(t)
		unit := rapid.SampledFrom([]Unit{UnitMember, UnitMemberAtNode}).Draw(t, "unit")
		question := rfmQuestion(w, unit)
		question.Cells = rapid.SampledFrom([]Cells{PerStore, Chain}).Draw(t, "cells")
		question.Select = dp.Params{Epsilon: 1, Delta: 1e-6, Mechanism: dp.Auto}
		if unit == UnitMember {
			question.Bounds.MaxNodes = rapid.Int64Range(1, 3).Draw(t, "MaxNodes")
		} else {
			for i := range w.units { // a member at one store is the unit
				w.units[i].sales = map[NodeID][]Record{w.units[i].homes[0]: w.units[i].sales[w.units[i].homes[0]]}
			}
		}
		q := must(m.Histograms(question))(t)
		if rapid.Bool().Draw(t, "scores") {
			m.Cuts = &[3][4]int{{1, 2, 3, 4}, {0, 1, 2, 3}, {9, 12, 13, 15}}
			q = must(m.Scores(question))(t)
		}
		neighbour := w.without(rapid.IntRange(0, len(w.units)-1).Draw(t, "removed"))
		broken := within(recordVectors(t, w, q, healthy), recordVectors(t, neighbour, q, healthy), func() dp.Sensitivity {
			s := must(q.q.Bounds.Sensitivity(q.shape()))(t)
			return dp.Sensitivity{L0: 2 * s.L0, L1: 2 * s.L1, L2Squared: 2 * s.L2Squared, LInf: s.LInf} // amounts and units
		}())
		require.Empty(t, broken)
	})
}

// Two steps from end to end: the quintiles of a release without noise are those of the sorted
// values.
func TestRFMCut(t *testing.T) {
	var sales []Record
	for i := range 1000 { // member i: last day i/40, spend e^(5+i/100)
		at := rfmWindow.To.Add(-time.Duration(i/40)*24*time.Hour - time.Hour)
		sales = append(sales, Record{ID: "b", Member: fmt.Sprintf("m%d", i), Time: at, Lines: []Line{{"i", 1, int64(math.Exp(5+float64(i)/100)) + 1}}})
	}
	grid := RFM{RecencyDays: 1, FrequencySteps: 2, MonetarySteps: 10, MinDays: 1}
	question := rfmQuestion(world{stores: []NodeID{"a"}}, UnitMemberAtNode)
	question.Cells = Chain
	histograms := must(grid.Histograms(question))(t)
	node := must(NewNode(NodeConfig{Epoch: "e", ID: "a", Pseudonym: testPseudonym, Sales: slice(sales), Allow: Policy{Names: map[string]Limits{
		"rfm_histograms/1": {dp.Budget{Epsilon: 1e6}, []Unit{UnitMemberAtNode}, []Trust{TrustedCoordinator}, 1}, "rfm_scores/1": {dp.Budget{Epsilon: 1e6}, []Unit{UnitMemberAtNode}, []Trust{TrustedCoordinator}, 1},
	}}}))(t)
	c, ledger := coordinate(t, dp.Budget{Epsilon: 2e6}, nil, node)
	rel := must(c.Run(context.Background(), histograms))(t)
	cut := must(grid.Cut(rel))(t)
	assert.Equal(t, [3][4]int{{5, 10, 15, 20}, {1, 1, 1, 1}, {70, 90, 110, 130}}, *cut.Cuts)
	rel = must(c.Run(context.Background(), must(cut.Bins(question))(t)))(t)
	require.Zero(t, must(ledger.Left(context.Background(), "e", string(UnitMemberAtNode)))(t).Epsilon, "charged twice")
	got := map[string]int64{}
	for cell := range rel.Cells() {
		got[cell.Partition] = cell.Value
	}
	// Who was here last spent least: R and M always add up to 6, and F is 1 for all.
	assert.Equal(t, map[string]int64{"[0,6)": 0, "[6,9)": 1000, "[9,13)": 0, "[13,15)": 0, "[15,∞)": 0}, got)

	again := must(cut.Bins(question))(t)
	parsed := must(ParseQuery(must(again.MarshalJSON())(t)))(t)
	assert.Equal(t, again.Digest(), parsed.Digest(), "cut points are parameters of the query")

	_, err := grid.Cut(nil)
	require.Error(t, err)
	_, err = grid.Cut(rel)
	require.ErrorContains(t, err, "not of RFM.Histograms")
	other := grid
	other.MonetarySteps = 9
	_, err = other.Cut(must(c.Run(context.Background(), histograms))(t))
	require.ErrorContains(t, err, "another grid")
}

func TestRFMRefuses(t *testing.T) {
	question := rfmQuestion(world{stores: []NodeID{"a"}}, UnitMemberAtNode)
	require.NoError(t, second(rfmTest.Histograms(question)))
	for reason, change := range map[string]func(*RFM){
		"no recency":   func(m *RFM) { m.RecencyDays = 0 },
		"no frequency": func(m *RFM) { m.FrequencySteps = 0 },
		"too fine":     func(m *RFM) { m.MonetarySteps = 101 },
		"no MinDays":   func(m *RFM) { m.MinDays = 0 },
	} {
		m := rfmTest
		change(&m)
		require.Error(t, second(m.Histograms(question)), reason)
		require.Error(t, second(m.Scores(question)), reason)
	}
	require.ErrorContains(t, second(rfmTest.Scores(question)), "Cuts are missing")
	m := rfmTest
	m.Cuts = &[3][4]int{{4, 3, 2, 1}}
	require.ErrorContains(t, second(m.Bins(question)), "ascend")
	question.Window.From = time.Time{}
	require.ErrorContains(t, second(rfmTest.Histograms(question)), "both ends")

	_, err := quintiles([]string{"a", "b"}, map[string]int64{"a": -3, "b": 2})
	require.Error(t, err, "nothing is left after noise")
	cuts, err := quintiles([]string{"a", "b", "c"}, map[string]int64{"a": 12, "b": -4, "c": 2})
	require.NoError(t, err)
	require.True(t, slices.IsSorted(cuts[:]), "noise may make a histogram fall")
}

func FuzzParseRFM(f *testing.F) {
	m := rfmTest
	f.Add([]byte(must(json.Marshal(m))(f)))
	m.Cuts = &[3][4]int{{1, 2, 3, 4}, {0, 0, 0, 0}, {1, 1, 2, 2}}
	f.Add([]byte(must(json.Marshal(m))(f)))
	f.Add([]byte(`{"recency_days":1e0}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := parseRFM(b)
		if err == nil {
			require.Equal(t, string(b), string(must(json.Marshal(m))(t)))
		}
		u, err := prepareScores(b)
		require.Equal(t, err == nil, u.note != nil)
	})
}

func TestSpend(t *testing.T) {
	question := exactly(question([]NodeID{"a"}, []string{"dairy", "meat"}))
	question.Unit, question.Bounds = UnitMemberAtNode, dp.Bounds{L0: 2, LInf: 500, L1: 800, MaxNodes: 1}
	q := must(Spend(question))(t)
	n := must(NewNode(NodeConfig{Epoch: "e", ID: "a", Pseudonym: testPseudonym, Allow: AllowQueries(q), Sales: slice([]Record{
		{ID: "1", Member: "ann", Lines: []Line{{"dairy", 1, 300}, {"meat", 2, 100}, {"meat", 1, -50}, {"toys", 1, 900}}},
		{ID: "2", Member: "ann", Lines: []Line{{"dairy", 1, 300}}}, // together 600, of which 500 count
		{ID: "3", Lines: []Line{{"meat", 1, 7}}},
	})}))(t)
	require.Equal(t, []int64{500, 107}, must(n.Audit(context.Background(), q))(t).Values)
	question.From = Lists
	require.Error(t, second(Spend(question)))
}

// A record costs a fold no allocation of its own: ten times the records of the same members,
// baskets and days, the same number of allocations.
func TestFoldAllocatesByUnit(t *testing.T) {
	q := must(rfmTest.Histograms(rfmQuestion(world{stores: []NodeID{"a"}}, UnitMemberAtNode)))(t)
	allocations := func(times int) float64 {
		var sales []Record
		for i := range 100 {
			sales = append(sales, Record{ID: fmt.Sprint("b", i%7), Member: fmt.Sprint("m", i%10), Time: rfmBegin.Add(time.Hour), Lines: []Line{{"i", 1, 100}}})
		}
		n := must(NewNode(NodeConfig{Epoch: "e", ID: "a", Pseudonym: testPseudonym, Sales: func(yield func(Record, error) bool) {
			for range times {
				for i := range sales {
					if !yield(sales[i], nil) {
						return
					}
				}
			}
		}}))(t)
		return testing.AllocsPerRun(5, func() {
			if _, err := n.aggregate(context.Background(), q); err != nil {
				t.Fatal(err)
			}
		})
	}
	require.InDelta(t, allocations(10), allocations(100), 30)
}

func BenchmarkRFM(b *testing.B) {
	const members, each = 10_000, 10
	q := must(rfmTest.Histograms(rfmQuestion(world{stores: []NodeID{"a"}}, UnitMemberAtNode)))(b)
	ids, baskets := make([]string, members), make([]string, members*each)
	for i := range ids {
		ids[i] = fmt.Sprint("m", i)
	}
	for i := range baskets {
		baskets[i] = fmt.Sprint("b", i)
	}
	lines := []Line{{"i", 1, 300}}
	n := must(NewNode(NodeConfig{Epoch: "e", ID: "a", Pseudonym: testPseudonym, Sales: func(yield func(Record, error) bool) {
		for i, id := range baskets {
			if !yield(Record{ID: id, Member: ids[i%members], Time: rfmBegin.Add(time.Duration(i) * time.Second), Lines: lines}, nil) {
				return
			}
		}
	}}))(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := n.aggregate(context.Background(), q); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)*members*each/b.Elapsed().Seconds()/1e6, "Mrecords/s")
}
