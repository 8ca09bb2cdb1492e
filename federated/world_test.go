package federated

import (
	"context"
	"fmt"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/larder-dp/larder/dp"
)

// A world is a small federation's records, as a list of privacy units, so that
// a test can add or remove one.
type world struct {
	stores []NodeID
	items  []string
	units  []unitRecords
}

// unitRecords is everything that one privacy unit left behind.
type unitRecords struct {
	homes   []NodeID
	lists   map[NodeID][]Record
	sales   map[NodeID][]Record
	segment string
	member  string
}

// without returns the world less its unit i.
func (w world) without(i int) world {
	out := w
	out.units = append(append([]unitRecords{}, w.units[:i]...), w.units[i+1:]...)
	return out
}

// config is the node of one store of the world.
func (w world) config(id NodeID, allow Policy) NodeConfig {
	collect := func(of func(unitRecords) []Record) Records {
		var all []Record
		for _, u := range w.units {
			all = append(all, of(u)...)
		}
		return slice(all)
	}
	return NodeConfig{
		Epoch: "e", ID: id, Allow: allow, Pseudonym: testPseudonym, Secret: [32]byte{1, 2, 3},
		Lists: collect(func(u unitRecords) []Record { return u.lists[id] }),
		Sales: collect(func(u unitRecords) []Record { return u.sales[id] }),
		Memberships: collect(func(u unitRecords) []Record {
			if u.member == "" {
				return nil
			}
			return []Record{{Member: u.member, Stores: u.homes, Segment: u.segment}}
		}),
	}
}

// drawWorld makes a world whose units are those of the given kind: members with
// several lists and sales in several stores, single lists, members at one
// store, or single sales.
func drawWorld(t *rapid.T, unit Unit) world {
	w := world{
		stores: []NodeID{"a", "b", "c", "d"}[:rapid.IntRange(1, 4).Draw(t, "stores")],
		items:  []string{"i", "j", "k", "l", "m"}[:rapid.IntRange(1, 5).Draw(t, "items")],
	}
	lines := func() []Line {
		return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Line {
			return Line{
				Item:     rapid.SampledFrom(append([]string{"unknown"}, w.items...)).Draw(t, "item"),
				Quantity: rapid.OneOf(rapid.Int64Range(-1, 6), rapid.Just[int64](1<<62)).Draw(t, "quantity"),
			}
		}), 0, 8).Draw(t, "lines")
	}
	someStores := func(most int) []NodeID {
		return rapid.SliceOfN(rapid.SampledFrom(w.stores), 1, most).Draw(t, "stores of")
	}
	list := func(id, member string) map[NodeID][]Record {
		r := Record{ID: id, Member: member, Stores: someStores(5), Lines: lines()}
		out := map[NodeID][]Record{}
		for _, s := range w.stores { // every node may hold every list: it must see which are its own
			out[s] = append(out[s], r)
		}
		return out
	}
	for i := range rapid.IntRange(1, 5).Draw(t, "units") {
		u := unitRecords{lists: map[NodeID][]Record{}, sales: map[NodeID][]Record{}}
		switch unit {
		case UnitMember:
			u.member, u.segment = fmt.Sprintf("m%d", i), rapid.SampledFrom(w.items).Draw(t, "segment")
			u.homes = someStores(4)
			for j := range rapid.IntRange(0, 4).Draw(t, "lists") {
				for s, rs := range list(fmt.Sprintf("l%d.%d", i, j), u.member) {
					u.lists[s] = append(u.lists[s], rs...)
				}
			}
			for j := range rapid.IntRange(0, 4).Draw(t, "sales") {
				s := rapid.SampledFrom(w.stores).Draw(t, "store")
				u.sales[s] = append(u.sales[s], Record{ID: fmt.Sprint("s", i, ".", j), Member: u.member, Segment: u.segment, Lines: lines()})
			}
		case UnitList:
			u.lists = list(fmt.Sprint("l", i), "")
		case UnitMemberAtNode:
			u.member, u.segment = fmt.Sprintf("m%d", i), rapid.SampledFrom(w.items).Draw(t, "segment")
			s := rapid.SampledFrom(w.stores).Draw(t, "store")
			u.homes = []NodeID{s}
			for j := range rapid.IntRange(1, 4).Draw(t, "records") {
				u.lists[s] = append(u.lists[s], Record{ID: fmt.Sprint("l", i, ".", j), Member: u.member, Stores: []NodeID{s}, Lines: lines()})
				u.sales[s] = append(u.sales[s], Record{ID: fmt.Sprint("s", i, ".", j), Member: u.member, Segment: u.segment, Lines: lines()})
			}
		case UnitSale:
			s := rapid.SampledFrom(w.stores).Draw(t, "store")
			for range rapid.IntRange(1, 3).Draw(t, "rows") { // one basket may come in several records
				u.sales[s] = append(u.sales[s], Record{ID: fmt.Sprint("s", i), Lines: lines()})
			}
		}
		w.units = append(w.units, u)
	}
	return w
}

// A breakage changes what a node is made of; the healthy one changes nothing.
type breakage struct {
	name string
	node func(w world, c NodeConfig) NodeConfig
}

var healthy = breakage{name: "healthy"}

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
