package retail

import (
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/larder-dp/larder/federated"
)

var small = Params{Stores: 5, Members: 100, Lists: 150, Sales: 120, Seed: 7}

func generate(t testing.TB, p Params) *World {
	t.Helper()
	w, err := Generate(p)
	require.NoError(t, err)
	return w
}

// A seed gives this world on every machine. If it is to give another one, raise
// generation, which is in the epoch, and write down the new digests.
func TestGolden(t *testing.T) {
	for _, row := range []struct {
		p             Params
		epoch, digest string
	}{
		{small, "world-2d0d3041f7df68b9", "db658b72e4bd3593d1b66bcdccf9490051b489551f790f28788c96c661703935"},
		{Params{Stores: 1, Members: 3, Sales: 9}, "world-44fe7f07e2c64d03", "1331a0e70af69d278f920404f8f3901c66e449b8349895a23b1cb9a439af3b91"}, // one home, no lists
	} {
		w := generate(t, row.p)
		assert.Equal(t, row.epoch, w.Epoch)
		assert.Equal(t, row.digest, digest(t, w))
	}
}

// Each parameter matters, to the epoch and to the records.
func TestOtherParams(t *testing.T) {
	w := generate(t, small)
	for _, change := range []func(*Params){
		func(p *Params) { p.Stores++ },
		func(p *Params) { p.Members++ },
		func(p *Params) { p.Lists++ },
		func(p *Params) { p.Sales++ },
		func(p *Params) { p.Seed++ },
	} {
		p := small
		change(&p)
		other := generate(t, p)
		assert.NotEqual(t, w.Epoch, other.Epoch, "%+v", p)
		other.Epoch = w.Epoch
		assert.NotEqual(t, digest(t, w), digest(t, other), "%+v", p)
	}
}

func TestGenerateRefuses(t *testing.T) {
	for _, row := range []struct {
		p    Params
		want string
	}{
		{Params{}, "Stores must be from 1 to 1000\nMembers must be from 1"},
		{Params{Stores: 1001, Members: 1}, "Stores must be from 1 to 1000"},
		{Params{Stores: 1, Members: 1, Lists: -1}, "Lists must be from 0"},
		{Params{Stores: 1, Members: 1, Sales: mostRecords + 1}, "Sales must be from 0"},
	} {
		_, err := Generate(row.p)
		assert.ErrorContains(t, err, row.want)
	}
}

// A member has the same homes, in the same order, at each of them and nowhere
// else, and the one segment.
func TestHomes(t *testing.T) {
	w := generate(t, Params{Stores: 12, Members: 2_000, Seed: 1})
	assert.Equal(t, 3, w.Homes)
	members, rows := map[string]federated.Record{}, map[string]int{}
	for _, s := range w.Stores {
		for _, r := range all(t, s.Memberships) {
			assert.Contains(t, r.Stores, s.ID)
			assert.Contains(t, w.Segments, r.Segment)
			if before, ok := members[r.Member]; ok {
				assert.Equal(t, before, r)
			}
			members[r.Member] = r
			rows[r.Member]++
		}
	}
	assert.Len(t, members, 2_000)
	homes, inSegment := make([]int, 4), map[string]int{}
	for id, r := range members {
		assert.Len(t, r.Stores, rows[id])
		assert.Len(t, slices.Compact(slices.Sorted(slices.Values(r.Stores))), len(r.Stores), "a home twice")
		homes[len(r.Stores)]++
		inSegment[r.Segment]++
	}
	for i, percent := range homesShare {
		drawn(t, fmt.Sprint(i+1, " homes"), homes[i+1], 2_000, float64(percent)/100, 7)
	}
	for _, s := range segments {
		drawn(t, s.name, inSegment[s.name], 2_000, float64(s.percent)/100, 7)
	}
}

// A list is at exactly the stores that it names: the first two homes of its
// member. Members write in turns.
func TestLists(t *testing.T) {
	p := Params{Stores: 12, Members: 500, Lists: 1_200, Seed: 2}
	w := generate(t, p)
	homes := map[string][]federated.NodeID{}
	for _, s := range w.Stores {
		for _, r := range all(t, s.Memberships) {
			homes[r.Member] = r.Stores
		}
	}
	lists, found := map[string]federated.Record{}, map[string]int{}
	for _, s := range w.Stores {
		for _, r := range all(t, s.Lists) {
			assert.Contains(t, r.Stores, s.ID)
			if before, ok := lists[r.ID]; ok {
				assert.Equal(t, before, r)
			}
			lists[r.ID] = r
			found[r.ID]++
		}
	}
	assert.Len(t, lists, p.Lists)
	wrote := map[string]int{}
	for id, r := range lists {
		assert.Len(t, r.Stores, found[id])
		assert.Equal(t, homes[r.Member][:min(2, len(homes[r.Member]))], r.Stores)
		assert.False(t, r.Time.Before(w.Window.From) || !r.Time.Before(w.Window.To))
		wrote[r.Member]++
	}
	for _, n := range wrote {
		assert.True(t, n == 2 || n == 3, "1,200 lists in turns of 500")
	}
	assert.Len(t, wrote, p.Members)
}

// A sale is in one store; a member's is at one of her homes; half are
// anonymous.
func TestSales(t *testing.T) {
	p := Params{Stores: 12, Members: 500, Sales: 2_000, Seed: 3}
	w := generate(t, p)
	ids, anonymous := map[string]bool{}, 0
	for _, s := range w.Stores {
		members := map[string]string{}
		for _, r := range all(t, s.Memberships) {
			members[r.Member] = r.Segment
		}
		for _, r := range all(t, s.Sales) {
			assert.False(t, ids[r.ID], "sale %s twice", r.ID)
			ids[r.ID] = true
			assert.Empty(t, r.Stores, "it is the node's own")
			assert.False(t, r.Time.Before(w.Window.From) || !r.Time.Before(w.Window.To))
			assert.True(t, r.Time.Hour() >= 7 && r.Time.Hour() < 22, "the shops are shut at %v", r.Time)
			if r.Member == "" {
				anonymous++
				continue
			}
			segment, ok := members[r.Member]
			assert.True(t, ok, "a sale away from home")
			assert.Equal(t, segment, r.Segment)
		}
	}
	assert.Len(t, ids, p.Sales)
	assert.Equal(t, p.Sales/2, anonymous)
}

// Baskets have the shape that is promised.
func TestBaskets(t *testing.T) {
	p := Params{Stores: 1, Members: 1, Lists: 3_000, Sales: 3_000, Seed: 4}
	w := generate(t, p)
	category := map[string]string{}
	for _, i := range w.Items {
		category[i.ID] = i.Category
	}
	price := map[string]int64{}
	sizes, quantities := make([]int, mostLines+1), make([]int, 5)
	inCategory, ofItem, lines := map[string]int{}, map[string]int{}, 0
	for _, r := range all(t, w.Stores[0].Lists) {
		sizes[len(r.Lines)]++
		for _, l := range r.Lines {
			quantities[l.Quantity]++
			inCategory[category[l.Item]]++
			ofItem[l.Item]++
			assert.Zero(t, l.Spend)
			lines++
		}
	}
	for _, r := range all(t, w.Stores[0].Sales) {
		for _, l := range r.Lines {
			each := l.Spend / l.Quantity
			if before, ok := price[l.Item]; ok {
				assert.Equal(t, before, each)
			}
			price[l.Item] = each
			assert.True(t, each >= 50 && each <= 1500 && each*l.Quantity == l.Spend, "%d cents", l.Spend)
		}
	}
	tests := mostLines - fewestLines + 1 + len(quantityWeights) + len(aisles) + len(w.Items)
	for n := fewestLines; n <= mostLines; n++ {
		drawn(t, fmt.Sprint(n, " lines"), sizes[n], p.Lists, 1./27, tests)
	}
	for i, of := range quantityWeights {
		drawn(t, fmt.Sprint("quantity ", i+1), quantities[i+1], lines, float64(of)/90, tests)
	}
	next := 0
	for _, a := range aisles {
		drawn(t, a.name, inCategory[a.name], lines, float64(a.weight)/100, tests)
		for range a.items {
			i := w.Items[next]
			drawn(t, i.Name, ofItem[i.ID], lines, float64(a.weight)/float64(100*len(a.items)), tests)
			next++
		}
	}
}

// Sequences may be left early, begun again, and ranged over side by side.
func TestRestart(t *testing.T) {
	w := generate(t, small)
	for _, s := range w.Stores {
		for range s.Lists {
			break
		}
		for range s.Inventory {
			break
		}
	}
	want := digest(t, w)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() { assert.Equal(t, want, digest(t, w)) })
	}
	all.Wait()
}

// A world works with the library as it is: nodes answer with it.
func TestNode(t *testing.T) {
	w := generate(t, small)
	assert.Equal(t, federated.UnitMember, w.Unit)
	for _, s := range w.Stores {
		_, err := federated.NewNode(federated.NodeConfig{
			ID: s.ID, Epoch: w.Epoch, Pseudonym: func(string) ([16]byte, error) { return [16]byte{}, nil }, Lists: s.Lists, Sales: s.Sales, Memberships: s.Memberships,
			Inventory: federated.Independent(s.Inventory),
		})
		assert.NoError(t, err)
	}
}

func BenchmarkGenerate(b *testing.B) {
	for _, p := range []Params{
		{Stores: 12, Members: 20_000, Lists: 20_000, Sales: 20_000},
		{Stores: 30, Members: 5_000, Lists: 50_000, Sales: 50_000},
	} {
		b.Run(fmt.Sprint(p.Stores, "stores", p.Lists, "lists"), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				w, err := Generate(p)
				if err != nil {
					b.Fatal(err)
				}
				runtime.KeepAlive(w)
			}
		})
	}
}

// Whether a node answers must not depend on who is registered: a store that is nobody's home
// has an empty sequence of memberships and not none.
func TestNobodysHomeHasMemberships(t *testing.T) {
	empty := 0
	for _, s := range generate(t, Params{Stores: 20, Members: 2, Seed: 1}).Stores {
		require.NotNil(t, s.Memberships, s.ID)
		rows := 0
		for range s.Memberships {
			rows++
		}
		if rows == 0 {
			empty++
		}
	}
	assert.GreaterOrEqual(t, empty, 14)
}
