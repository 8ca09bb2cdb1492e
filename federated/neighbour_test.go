package federated

import (
	"context"
	"crypto/sha256"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/larder-dp/larder/dp"
)

// The proof that the bounding holds: whatever the world, and whichever unit is
// added or removed in whichever stores, the recorded vectors of all nodes
// together move by no more than what the noise pays for. Vectors are taken from
// the bytes that the nodes send.

// A breakage is a way to get bounding wrong: it changes what a node is made of,
// or which bounds it enforces. The healthy one changes nothing.
type breakage struct {
	name   string
	node   func(w world, c NodeConfig) NodeConfig
	bounds func(declared dp.Bounds) dp.Bounds
}

var healthy = breakage{name: "healthy"}

type askable struct {
	make func(Question) (Query, error)
	from Kind
	unit Unit
	cell Cells
}

func neighbourQueries() []askable {
	return []askable{
		{NetDemand, Lists, UnitMember, PerStore},
		{NetDemand, Lists, UnitMember, Chain},
		{NetDemand, Sales, UnitMember, PerStore},
		{countMembers, Memberships, UnitMember, PerStore},
		{NetDemand, Lists, UnitList, PerStore},
		{NetDemand, Lists, UnitList, Chain},
		{NetDemand, Sales, UnitMemberAtNode, PerStore},
		{NetDemand, Lists, UnitMemberAtNode, PerStore},
		{countMembers, Sales, UnitMemberAtNode, Chain},
		{NetDemand, Sales, UnitSale, PerStore},
		{NetDemand, Sales, UnitSale, Chain},
	}
}

// countMembers asks for a member count within the bounds that it needs.
func countMembers(q Question) (Query, error) {
	q.Bounds.LInf, q.Bounds.L1 = 1, min(q.Bounds.L1, q.Bounds.L0)
	return MemberCount(q)
}

// checkNeighbours draws a world, removes one unit and compares. It returns what
// was broken, or "".
func checkNeighbours(t *rapid.T, b breakage) string {
	kind := rapid.SampledFrom(neighbourQueries()).Draw(t, "query")
	w := drawWorld(t, kind.unit)
	bounds := drawBounds(t, kind.unit)
	question := question(w.stores, w.items)
	question.From, question.Unit, question.Cells, question.Bounds = kind.from, kind.unit, kind.cell, bounds
	question.Select = dp.Params{Epsilon: 1, Delta: 1e-6, Mechanism: dp.DiscreteLaplace}
	declared, err := kind.make(question)
	require.NoError(t, err)
	bounds = declared.q.Bounds
	asked := declared
	if b.bounds != nil {
		question.Bounds = b.bounds(bounds)
		asked, err = kind.make(question)
		require.NoError(t, err)
	}
	neighbour := w.without(rapid.IntRange(0, len(w.units)-1).Draw(t, "removed"))
	amounts, units := recordVectors(t, w, asked, b), []int64(nil)
	amounts, units = amounts[:len(amounts)/2], amounts[len(amounts)/2:]
	other := recordVectors(t, neighbour, asked, b)
	otherAmounts, otherUnits := other[:len(other)/2], other[len(other)/2:]

	s, err := bounds.Sensitivity(declared.shape())
	require.NoError(t, err)
	if broken := within(amounts, otherAmounts, s); broken != "" {
		return "amounts: " + broken
	}
	s, err = dp.Bounds{L0: bounds.L0, LInf: 1, L1: bounds.L0, MaxNodes: bounds.MaxNodes}.Sensitivity(declared.shape())
	require.NoError(t, err)
	if broken := within(units, otherUnits, s); broken != "" {
		return "units: " + broken
	}
	return ""
}

// recordVectors asks all nodes of the world and returns what is noised: the
// cells of all stores side by side or their sum, first amounts, then units.
func recordVectors(t *rapid.T, w world, q Query, b breakage) []int64 {
	var amounts, units []int64
	for i, id := range w.stores {
		c := w.config(id, AllowQueries(q))
		if b.node != nil {
			c = b.node(w, c)
		}
		n, err := NewNode(c)
		require.NoError(t, err)
		body, err := n.Answer(context.Background(), ask{q: q}.encode())
		require.NoError(t, err)
		r, err := parseReport(body)
		require.NoError(t, err)
		require.True(t, r.fits(q, id))
		if q.q.Cells == PerStore || i == 0 {
			amounts, units = append(amounts, r.amounts...), append(units, r.units...)
			continue
		}
		for p := range amounts {
			amounts[p] += r.amounts[p]
			units[p] += r.units[p]
		}
	}
	return append(amounts, units...)
}

// within compares two vectors with a sensitivity, in exact integers.
func within(x, y []int64, s dp.Sensitivity) string {
	var l0, l1, l2, most int64
	for i := range x {
		d := max(x[i]-y[i], y[i]-x[i])
		if d > 0 {
			l0++
		}
		l1, l2, most = l1+d, l2+d*d, max(most, d)
	}
	switch {
	case l0 > s.L0:
		return fmt.Sprintf("L0 %d > %d", l0, s.L0)
	case l1 > s.L1:
		return fmt.Sprintf("L1 %d > %d", l1, s.L1)
	case l2 > s.L2Squared:
		return fmt.Sprintf("L2² %d > %d", l2, s.L2Squared)
	case most > s.LInf:
		return fmt.Sprintf("L∞ %d > %d", most, s.LInf)
	}
	return ""
}

func TestNeighboursStayWithinSensitivity(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		if broken := checkNeighbours(t, healthy); broken != "" {
			t.Fatal(broken)
		}
	})
}

// Each of these is a bug that real libraries had. The property must find it.
func TestNeighboursFindBrokenBounding(t *testing.T) {
	broken := []breakage{
		{name: "bounding per row and not per unit", node: func(_ world, c NodeConfig) NodeConfig {
			rows := 0
			c.Lists, c.Sales = eachRecord(c.Lists, func(r *Record) { rows++; r.ID = fmt.Sprint("row", rows) }),
				eachRecord(c.Sales, func(r *Record) { rows++; r.ID = fmt.Sprint("row", rows) })
			c.Pseudonym = func(string) (p [16]byte, err error) {
				rows++
				copy(p[:], fmt.Sprint(rows))
				return p, nil
			}
			return c
		}},
		{name: "homes ignored: a member counts wherever she appears", node: func(_ world, c NodeConfig) NodeConfig {
			c.Memberships = eachRecord(c.Memberships, func(r *Record) { r.Stores = []NodeID{c.ID} })
			return c
		}},
		{name: "preferences beyond MaxNodes counted", node: func(_ world, c NodeConfig) NodeConfig {
			c.Lists = eachRecord(c.Lists, func(r *Record) { r.Stores = []NodeID{c.ID} })
			return c
		}},
		{name: "total not trimmed to L1", bounds: func(b dp.Bounds) dp.Bounds {
			b.L1 = b.L0 * b.LInf
			return b
		}},
		{name: "amounts not clipped to LInf", bounds: func(b dp.Bounds) dp.Bounds {
			b.LInf *= 2
			return b
		}},
		{name: "partitions not limited to L0", bounds: func(b dp.Bounds) dp.Bounds {
			b.L0 += 5
			return b
		}},
		{name: "choice drawn from a stream that all units share", node: func(w world, c NodeConfig) NodeConfig {
			c.Secret = sha256.Sum256(fmt.Append(nil, w.units))
			return c
		}},
	}
	for _, b := range broken {
		t.Run(b.name, func(t *testing.T) {
			found := ""
			// A failure is what is wanted here, so it is noted and the rest of
			// the draws pass through.
			for try := 0; try < 100 && found == ""; try++ {
				rapid.Check(t, func(t *rapid.T) {
					if found == "" {
						found = checkNeighbours(t, b)
					}
				})
			}
			require.NotEmpty(t, found, "the property test passes a node that is broken")
			t.Log("found:", found)
		})
	}
}

func eachRecord(rs Records, change func(*Record)) Records {
	return func(yield func(Record, error) bool) {
		for r, err := range rs {
			change(&r)
			if !yield(r, err) {
				return
			}
		}
	}
}

// What a node sends must not change with the order of its rows.
func TestReportIgnoresRowOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		kind := rapid.SampledFrom(neighbourQueries()).Draw(t, "query")
		w := drawWorld(t, kind.unit)
		question := question(w.stores, w.items)
		question.From, question.Unit, question.Bounds = kind.from, kind.unit, drawBounds(t, kind.unit)
		question.Select = dp.Params{Epsilon: 1, Delta: 1e-6, Mechanism: dp.DiscreteLaplace}
		q, err := kind.make(question)
		require.NoError(t, err)
		reversed := breakage{node: func(_ world, c NodeConfig) NodeConfig {
			for _, rs := range []*Records{&c.Lists, &c.Sales, &c.Memberships} {
				var all []Record
				for r := range *rs {
					lines := make([]Line, len(r.Lines))
					for i, l := range r.Lines {
						lines[len(lines)-1-i] = l
					}
					r.Lines = lines
					all = append([]Record{r}, all...)
				}
				*rs = slice(all)
			}
			return c
		}}
		require.Equal(t, recordVectors(t, w, q, healthy), recordVectors(t, w, q, reversed))
	})
}
