package federated

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/larder-dp/larder/dp"
)

func homesOf(h *Homes, node NodeID) (out []Record) {
	for r := range h.At(node) {
		out = append(out, r)
	}
	return out
}

func TestHomes(t *testing.T) {
	h := &Homes{Epoch: "e1", MaxNodes: 2, Pseudonym: testPseudonym}
	ann := Record{Member: "ann", Stores: []NodeID{"b", "a"}, Segment: "family"}
	require.NoError(t, h.Register(Record{Member: "ann", Stores: []NodeID{"c"}, Segment: "family"}))
	require.NoError(t, h.Register(ann), "before the epoch is fixed the later registration counts")
	require.NoError(t, h.Register(Record{Member: "bob", Stores: []NodeID{"a"}, Segment: "student", ID: "not kept"}))
	require.NoError(t, h.Register(Record{Member: "zoe", Stores: []NodeID{"a"}, Segment: "student"}))
	require.NoError(t, h.Remove("zoe"))
	ann.Stores[0] = "x" // the book has a copy
	bob := Record{Member: "bob", Stores: []NodeID{"a"}, Segment: "student"}
	ann = Record{Member: "ann", Stores: []NodeID{"b", "a"}, Segment: "family"}
	assert.Equal(t, []Record{ann, bob}, homesOf(h, "a"))
	assert.Equal(t, []Record{ann}, homesOf(h, "b"))
	assert.Empty(t, homesOf(h, "c"))
	assert.NotNil(t, h.At("c"), "a store without members still knows homes")

	// Fixed: what is so may be said again, and nothing else.
	require.NoError(t, h.Register(ann))
	for reason, r := range map[string]Record{
		"moved":      {Member: "ann", Stores: []NodeID{"b"}, Segment: "family"},
		"order":      {Member: "ann", Stores: []NodeID{"a", "b"}, Segment: "family"},
		"segment":    {Member: "ann", Stores: []NodeID{"b", "a"}, Segment: "student"},
		"new member": {Member: "cat", Stores: []NodeID{"a"}},
	} {
		err := h.Register(r)
		var refused *HomesError
		require.ErrorAs(t, err, &refused, reason)
		assert.True(t, refused.Fixed)
		assert.Equal(t, "e1", refused.Epoch)
		assert.NotContains(t, err.Error(), r.Member)
		assert.ErrorContains(t, err, "Homes.Next")
	}
	require.Error(t, h.Remove("ann"))
	assert.Equal(t, []Record{ann, bob}, homesOf(h, "a"), "as it was")

	// The next epoch takes it.
	_, err := h.Next("e1", testPseudonym)
	require.Error(t, err, "the same epoch anew would be a change within it")
	next := must(h.Next("e2", testPseudonym))(t)
	require.NoError(t, next.Register(Record{Member: "ann", Stores: []NodeID{"c"}, Segment: "family"}))
	require.NoError(t, next.Register(Record{Member: "cat", Stores: []NodeID{"a"}}))
	require.NoError(t, next.Remove("bob"))
	assert.Equal(t, []Record{{Member: "cat", Stores: []NodeID{"a"}}}, homesOf(next, "a"))
	assert.Len(t, homesOf(next, "c"), 1)
	assert.Equal(t, []Record{ann, bob}, homesOf(h, "a"), "the old epoch is what it was")
}

func TestHomesRefuse(t *testing.T) {
	canonical := func(member string) (p [16]byte, err error) {
		if member == "malformed" {
			return p, errors.New("malformed: " + member)
		}
		copy(p[:], []byte{member[0] | 0x20}) // "Ann" is "ann"
		return p, nil
	}
	h := &Homes{Epoch: "e", MaxNodes: 2, Pseudonym: canonical}
	for reason, r := range map[string]Record{
		"no id":          {Stores: []NodeID{"a"}},
		"no home":        {Member: "ann"},
		"too many homes": {Member: "ann", Stores: []NodeID{"a", "b", "c"}},
		"twice":          {Member: "ann", Stores: []NodeID{"a", "a"}},
		"no store":       {Member: "ann", Stores: []NodeID{"a b"}},
		"malformed":      {Member: "malformed", Stores: []NodeID{"a"}},
	} {
		err := h.Register(r)
		var refused *HomesError
		require.ErrorAs(t, err, &refused, reason)
		assert.False(t, refused.Fixed, reason)
		assert.NotContains(t, err.Error(), "ann", reason)
	}
	good := Record{Member: "ann", Stores: []NodeID{"a"}}
	for reason, bad := range map[string]*Homes{
		"zero":         {},
		"no epoch":     {MaxNodes: 1, Pseudonym: canonical},
		"no MaxNodes":  {Epoch: "e", Pseudonym: canonical},
		"no Pseudonym": {Epoch: "e", MaxNodes: 1},
	} {
		require.Error(t, bad.Register(good), reason)
	}
	require.Error(t, (&Homes{}).Remove("ann"))
	require.Error(t, h.Remove("malformed"))

	// Two spellings of one member are one row, and not two that disagree.
	require.NoError(t, h.Register(good))
	require.NoError(t, h.Register(Record{Member: "Ann", Stores: []NodeID{"b"}}))
	assert.Empty(t, homesOf(h, "a"))
	assert.Len(t, homesOf(h, "b"), 1)
}

// The book is what UnitMember rests on: whatever is registered, moved and registered again,
// even while the epoch runs, one member more or less moves the vectors of all nodes by no more
// than MaxNodes homes can, and no homes but those of the book count.
func TestHomesNeighbours(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t, UnitMember)
		bounds := drawBounds(t, UnitMember)
		question := question(w.stores, w.items)
		question.From, question.Unit, question.Bounds = Lists, UnitMember, bounds
		q := must(NetDemand(question))(t)
		type move struct {
			member string
			stores []NodeID
		}
		homes := rapid.SliceOfNDistinct(rapid.SampledFrom(w.stores), 1, len(w.stores), rapid.ID)
		var before, during []move
		for _, u := range w.units {
			for range rapid.IntRange(1, 2).Draw(t, "registrations") {
				before = append(before, move{u.member, homes.Draw(t, "homes")})
			}
			during = append(during, move{u.member, homes.Draw(t, "new homes")})
		}
		book := func(without string) breakage {
			h := &Homes{Epoch: "e", MaxNodes: len(w.stores), Pseudonym: testPseudonym}
			for _, m := range before {
				if m.member != without {
					require.NoError(t, h.Register(Record{Member: m.member, Stores: m.stores}))
				}
			}
			return breakage{node: func(_ world, c NodeConfig) NodeConfig {
				c.Memberships = h.At(c.ID)
				for _, m := range during { // members move between two nodes' rows
					_ = h.Register(Record{Member: m.member, Stores: m.stores})
				}
				return c
			}}
		}
		removed := rapid.IntRange(0, len(w.units)-1).Draw(t, "removed")
		with := recordVectors(t, w, q, book(""))
		without := recordVectors(t, w.without(removed), q, book(w.units[removed].member))
		require.Empty(t, within(with, without, must(bounds.Sensitivity(q.shape()))(t)))
	})
}

// MemberCount over the book counts everyone at the first MaxNodes homes.
func TestHomesCounted(t *testing.T) {
	stores := []NodeID{"a", "b", "c"}
	h := &Homes{Epoch: "e", MaxNodes: 3, Pseudonym: testPseudonym}
	want := map[NodeID]int64{}
	for i := range 50 {
		order := slices.Concat(stores[i%3:], stores[:i%3])
		require.NoError(t, h.Register(Record{Member: fmt.Sprint("m", i), Stores: order[:1+i%2], Segment: "all"}))
		for _, s := range order[:1+i%2] {
			want[s]++
		}
	}
	question := exactly(question(stores, []string{"all"}))
	question.Unit, question.Bounds = UnitMember, dp.Bounds{L0: 1, LInf: 1, L1: 1, MaxNodes: 2}
	q := must(MemberCount(question))(t)
	var nodes []*Node
	for _, s := range stores {
		nodes = append(nodes, must(NewNode(NodeConfig{Epoch: "e", ID: s, Allow: AllowQueries(q), Pseudonym: testPseudonym, Memberships: h.At(s)}))(t))
	}
	c, _ := coordinate(t, dp.Budget{Epsilon: 1e6}, nil, nodes...)
	for cell := range must(c.Run(context.Background(), q))(t).Cells() {
		assert.Equal(t, want[cell.Store], cell.Value)
	}
}
