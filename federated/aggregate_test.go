package federated

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/larder-dp/larder/dp"
)

// dumbVector is the bounding rule written down plainly, with maps.
func dumbVector(b dp.Bounds, index map[string]uint32, prf boundingPRF, contributions []contribution) []int64 {
	sums := map[[16]byte]map[uint32]int64{}
	for _, c := range contributions {
		p, ok := index[c.partition]
		if !ok || c.amount < 1 {
			continue
		}
		if sums[c.unit] == nil {
			sums[c.unit] = map[uint32]int64{}
		}
		if sums[c.unit][p] += c.amount; sums[c.unit][p] < 0 {
			sums[c.unit][p] = 1<<63 - 1
		}
	}
	out := make([]int64, len(index))
	for unit, of := range sums {
		var partitions []uint32
		for p, x := range of {
			of[p] = min(x, b.LInf)
			partitions = append(partitions, p)
		}
		prf.begin(unit)
		slices.SortFunc(partitions, func(x, y uint32) int {
			xhi, xlo := prf.rank(x)
			yhi, ylo := prf.rank(y)
			return cmp.Or(cmp.Compare(xhi, yhi), cmp.Compare(xlo, ylo))
		})
		left := b.L1
		for _, p := range partitions[:min(len(partitions), int(b.L0))] {
			a := min(of[p], left)
			out[p] += a
			left -= a
		}
	}
	return out
}

type contribution struct {
	unit      [16]byte
	partition string
	amount    int64
}

func testIndex(n int) (map[string]uint32, []string) {
	index, names := map[string]uint32{}, make([]string, n)
	for i := range n {
		names[i] = fmt.Sprintf("item-%05d", i)
		index[names[i]] = uint32(i)
	}
	return index, names
}

func TestAggregateIsTheRule(t *testing.T) {
	index, names := testIndex(6)
	prf := must(newBoundingPRF([32]byte{9}, "e", Digest{1}))(t)
	rapid.Check(t, func(t *rapid.T) {
		b := drawBounds(t, UnitList)
		a := newAggregator(b, index, prf)
		a.limit = rapid.IntRange(1, 20).Draw(t, "compact at")
		var all []contribution
		for range rapid.IntRange(0, 60).Draw(t, "contributions") {
			c := contribution{
				unit:      [16]byte{byte(rapid.IntRange(0, 3).Draw(t, "unit"))},
				partition: rapid.SampledFrom(append([]string{"other"}, names...)).Draw(t, "partition"),
				amount:    rapid.OneOf(rapid.Int64Range(-2, 9), rapid.Int64()).Draw(t, "amount"),
			}
			all = append(all, c)
			a.begin(c.unit)
			a.emit(c.partition, c.amount)
		}
		require.Equal(t, dumbVector(b, index, prf, all), a.vector(false).amounts)
	})
}

// Enough contributions to compact several times on the way.
func TestAggregateIsTheRuleAtScale(t *testing.T) {
	index, names := testIndex(200)
	prf := must(newBoundingPRF([32]byte{9}, "e", Digest{1}))(t)
	b := dp.Bounds{L0: 20, LInf: 30, L1: 300, MaxNodes: 1}
	a := newAggregator(b, index, prf)
	r := rand.New(rand.NewPCG(1, 2))
	var all []contribution
	for range 400_000 {
		c := contribution{partition: names[r.IntN(len(names))], amount: 1 + r.Int64N(9)}
		binary.LittleEndian.PutUint16(c.unit[:], uint16(r.IntN(3000)))
		all = append(all, c)
		a.begin(c.unit)
		a.emit(c.partition, c.amount)
	}
	v := a.vector(true)
	require.Equal(t, dumbVector(b, index, prf, all), v.amounts)
	require.EqualValues(t, 3000, v.Units)
	require.EqualValues(t, 3000, v.UnitsCut)
	total := int64(0)
	for _, x := range v.amounts {
		total += x
	}
	require.Equal(t, total, v.Kept)
}

// The choice of what is kept differs between epochs, queries, units and nodes.
func TestBoundingChoiceIsKeyed(t *testing.T) {
	choice := func(secret [32]byte, epoch string, d Digest, unit [16]byte) string {
		p := must(newBoundingPRF(secret, epoch, d))(t)
		p.begin(unit)
		return fmt.Sprint(p.rank(3))
	}
	seen := map[string]bool{}
	for _, c := range []string{
		choice([32]byte{1}, "e", Digest{1}, [16]byte{1}),
		choice([32]byte{2}, "e", Digest{1}, [16]byte{1}),
		choice([32]byte{1}, "f", Digest{1}, [16]byte{1}),
		choice([32]byte{1}, "e", Digest{2}, [16]byte{1}),
		choice([32]byte{1}, "e", Digest{1}, [16]byte{2}),
	} {
		require.False(t, seen[c])
		seen[c] = true
	}
	require.Equal(t, choice([32]byte{1}, "e", Digest{1}, [16]byte{1}), choice([32]byte{1}, "e", Digest{1}, [16]byte{1}))
}

// Cells stick at 2⁶² instead of wrapping.
func TestCellsDoNotWrap(t *testing.T) {
	require.EqualValues(t, maxCell, clampAdd(maxCell, 1))
	require.EqualValues(t, -maxCell, clampAdd(-maxCell, -1<<63))
	require.EqualValues(t, maxCell, clampAdd(maxCell, 1<<63-1))
	require.EqualValues(t, 5, clampAdd(2, 3))
}
