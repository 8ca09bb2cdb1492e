package federated

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/larder-dp/larder/dp"
)

// benchItems, benchMembers: one store's window, as large as it gets.
const (
	benchLines   = 1_000_000
	benchMembers = 100_000
	benchItems   = 10_000
)

// benchLists makes a million lines of a hundred thousand members over ten
// thousand items, in memory.
func benchLists() (Records, []string) {
	_, names := testIndex(benchItems)
	r := rand.New(rand.NewPCG(1, 2))
	perList := benchLines / benchMembers
	lines := make([]Line, benchLines)
	for i := range lines {
		lines[i] = Line{Item: names[r.IntN(benchItems)], Quantity: 1 + r.Int64N(4)}
	}
	members := make([]string, benchMembers)
	for i := range members {
		members[i] = fmt.Sprintf("M%07d", i)
	}
	stores := []NodeID{"a"}
	return func(yield func(Record, error) bool) {
		for i := range benchMembers {
			if !yield(Record{Member: members[i], Stores: stores, Lines: lines[i*perList : (i+1)*perList]}, nil) {
				return
			}
		}
	}, names
}

// BenchmarkAggregate is a node's whole work on one query, from records to
// vector. "binding" has bounds that cut every unit, "loose" bounds that cut
// none; one member is one record.
func BenchmarkAggregate(b *testing.B) {
	lists, names := benchLists()
	for _, c := range []struct {
		name   string
		bounds dp.Bounds
	}{
		{"loose", dp.Bounds{L0: 20, LInf: 4, L1: 80, MaxNodes: 1}},
		{"binding", dp.Bounds{L0: 5, LInf: 4, L1: 10, MaxNodes: 1}},
	} {
		b.Run(c.name, func(b *testing.B) {
			question := question([]NodeID{"a"}, names)
			question.Unit, question.Bounds = UnitMemberAtNode, c.bounds
			q := must(NetDemand(question))(b)
			n := must(NewNode(NodeConfig{Epoch: "e", ID: "a", Lists: lists, Pseudonym: func(m string) (p [16]byte, err error) {
				copy(p[:], m)
				return p, nil
			}}))(b)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := n.aggregate(context.Background(), q); err != nil {
					b.Fatal(err)
				}
			}
			perOp := float64(b.Elapsed().Nanoseconds()) / float64(b.N)
			b.ReportMetric(benchLines/perOp*1e3, "Mlines/s")
		})
	}
}

// BenchmarkRound is a whole round in process: stores × items cells, ten thousand
// lines a store in a hundred lists, noised, encoded and stored. Peak memory is the process's, so run it
// alone: go test -bench Round/1000x10000 -benchtime 1x ./federated
func BenchmarkRound(b *testing.B) {
	for _, size := range []struct{ stores, items int }{{10, 1000}, {1000, 10_000}} {
		for _, m := range []dp.Mechanism{dp.DiscreteLaplace, dp.DiscreteGaussian} {
			b.Run(fmt.Sprintf("%dx%d/%s", size.stores, size.items, m), func(b *testing.B) {
				benchRound(b, size.stores, size.items, m)
			})
		}
	}
}

func benchRound(b *testing.B, stores, items int, m dp.Mechanism) {
	_, names := testIndex(items)
	ids := make([]NodeID, stores)
	for i := range ids {
		ids[i] = NodeID(fmt.Sprintf("store-%04d", i))
	}
	question := question(ids, names)
	question.Privacy.Mechanism, question.Quorum = m, stores
	question.Bounds = dp.Bounds{L0: 100, LInf: 4, L1: 400, MaxNodes: 1}
	r := rand.New(rand.NewPCG(3, 4))
	lines := make([]Line, 100*1000)
	for i := range lines {
		lines[i] = Line{Item: names[r.IntN(items)], Quantity: 1 + r.Int64N(4)}
	}
	var lists [100]string
	for i := range lists {
		lists[i] = fmt.Sprint("list ", i)
	}
	of := func(store NodeID) Records {
		stores := []NodeID{store}
		return func(yield func(Record, error) bool) {
			for i, id := range lists {
				if !yield(Record{ID: id, Stores: stores, Lines: lines[1000*i : 1000*i+100]}, nil) {
					return
				}
			}
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		question.Round++
		q := must(NetDemand(question))(b)
		nodes := make([]*Node, stores)
		for i, id := range ids {
			nodes[i] = must(NewNode(NodeConfig{Epoch: "e", ID: id, Lists: of(id), Allow: AllowQueries(q)}))(b)
		}
		c, _ := coordinate(b, dp.Budget{Epsilon: 1, Delta: 1e-3}, nil, nodes...)
		rel := must(c.Run(context.Background(), q))(b)
		if len(rel.values) != stores*items {
			b.Fatal("cells are missing")
		}
	}
	b.ReportMetric(peakMB(), "peak-MB")
}

// peakMB returns the most memory that the process ever had resident.
func peakMB() float64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return float64(m.Sys) / 1e6
	}
	for line := range strings.Lines(string(status)) {
		var kb float64
		if _, err := fmt.Sscanf(line, "VmHWM: %f kB", &kb); err == nil {
			return kb / 1e3
		}
	}
	return 0
}
