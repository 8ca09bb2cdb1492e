package federated

import (
	"cmp"
	"compress/gzip"
	"context"
	"encoding/csv"
	"fmt"
	"math"
	"math/bits"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/larder-dp/larder/dp"
)

// households are who bought in which store of the Complete Journey, every row of it.
func households(t *testing.T) map[NodeID]map[string]bool {
	root := os.Getenv("LARDER_SHARED")
	if root == "" {
		t.Skip("LARDER_SHARED is not set: it names the folder that has data/completejourney")
	}
	f, err := os.Open(filepath.Join(root, "data", "completejourney", "transactions_sample.csv.gz"))
	require.NoError(t, err)
	defer func() { _ = f.Close() }()
	in, err := gzip.NewReader(f)
	require.NoError(t, err)
	rows, err := csv.NewReader(in).ReadAll()
	require.NoError(t, err)
	household, store := slices.Index(rows[0], "household_id"), slices.Index(rows[0], "store_id")
	out := map[NodeID]map[string]bool{}
	for _, row := range rows[1:] {
		s := NodeID(row[store])
		if out[s] == nil {
			out[s] = map[string]bool{}
		}
		out[s][row[household]] = true
	}
	return out
}

// Real households: the unions of 3, 10, 100 and all 293 stores at ε = 1, by the sketch of a
// trusted coordinator and by flipped ones, beside the sum of noised counts. The noise is
// seeded, so that nothing here is left to chance.
func TestRealHouseholds(t *testing.T) {
	ctx := context.Background()
	seen := households(t)
	var stores []NodeID
	small, alone := 0, 0
	for s, who := range seen {
		stores = append(stores, s)
		if len(who) < 5 {
			small++
		}
		if len(who) == 1 {
			alone++
		}
	}
	slices.SortFunc(stores, func(a, b NodeID) int {
		return cmp.Or(cmp.Compare(len(seen[b]), len(seen[a])), cmp.Compare(a, b))
	})
	require.Equal(t, []int{293, 180, 148}, []int{len(stores), small, alone})

	ask := func(trust Trust, bins, n int) Cell {
		q := distinctQuestion(stores[:n], UnitMemberAtNode, Sales)
		q.Trust, q.Privacy = trust, dp.Params{Epsilon: 1, Mechanism: dp.Auto}
		query := must(DistinctMembers(q, bins))(t)
		var nodes []*Node
		for i, s := range stores[:n] {
			nodes = append(nodes, must(NewNode(NodeConfig{
				Epoch: "e", ID: s, Pseudonym: hashed, Allow: AllowQueries(query),
				Random: rand.NewChaCha8([32]byte{byte(i), byte(i >> 8)}),
				Ledger: must(dp.NewMemoryLedger(dp.Budget{Epsilon: 1}))(t),
				Sales: func(yield func(Record, error) bool) {
					for m := range seen[s] {
						if !yield(Record{ID: "b", Member: m}, nil) {
							return
						}
					}
				},
			}))(t))
		}
		c, _ := coordinate(t, dp.Budget{Epsilon: 1}, seeded(7), nodes...)
		return onlyCell(t, must(c.Run(ctx, query))(t))
	}
	noise := must(dp.Calibrate(dp.Params{Epsilon: 1, Mechanism: dp.DiscreteLaplace}, dp.Sensitivity{L0: 1, L1: 1, L2Squared: 1, LInf: 1}))(t)
	for n, want := range map[int]int{3: 347, 10: 729, 100: 2268, 293: 2377} {
		union, sum := map[string]bool{}, make([]int64, n)
		for i, s := range stores[:n] {
			sum[i] = int64(len(seen[s]))
			for m := range seen[s] {
				union[m] = true
			}
		}
		require.Len(t, union, want)
		cell := ask(TrustedCoordinator, 1<<16, n)
		assert.True(t, cell.Low <= int64(want) && int64(want) <= cell.High, "%d stores: %+v", n, cell)
		assert.Less(t, cell.High-cell.Low, int64(60))
		assert.Less(t, cell.StdDev, 8.0)
		require.NoError(t, noise.Add(ctx, sum, seeded(8)))
		naive := int64(0)
		for _, x := range sum {
			naive += x
		}
		assert.Greater(t, naive-int64(want), 5*max(cell.Value-int64(want), int64(want)-cell.Value), "a sum counts households once a store")
		flipped := "refused"
		if n == 3 {
			local := ask(Local, 1<<10, n)
			assert.True(t, local.Low <= int64(want) && int64(want) <= local.High, "%+v", local)
			flipped = fmt.Sprintf("%d ± %.0f", local.Value, local.StdDev)
		} else if n > 10 {
			q := localQuestion(stores[:n], UnitMemberAtNode, Sales, 1)
			require.Error(t, second(DistinctMembers(q, 1<<10)), "its error would say nothing")
		}
		t.Logf("%3d stores: truth %4d, sketch %4d ± %.1f [%d, %d], flipped %s, sum of noised counts %d ± %.1f",
			n, want, cell.Value, cell.StdDev, cell.Low, cell.High, flipped, naive, noise.StdDev()*math.Sqrt(float64(n)))
	}
}

// The comparison in the doc of DistinctMembers, at its first row: a HyperLogLog that is merged as
// exactly and noised as little as its sensitivity allows is more than ten times as far off. The
// seed is fixed; the limits are 5 standard errors of a root mean square over 200 trials.
func TestHyperLogLogIsWorse(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		return // arithmetic
	}
	const n, registers, trials, f = 2377, 512, 200, 40
	r := rand.New(rand.NewPCG(5, 6))
	noise := must(dp.Calibrate(dp.Params{Epsilon: 1, Mechanism: dp.DiscreteLaplace}, dp.Sensitivity{L0: 1, L1: 1 << f, L2Squared: 1 << 62, LInf: 1 << f}))(t)
	squares := 0.0
	for i := range trials {
		var m [registers]int
		for range n {
			x := r.Uint64()
			j := x % registers
			before := m[j]
			m[j] = max(m[j], min(bits.LeadingZeros64(x)+1, f))
			// What the noise pays for: one member moves one term, by less than 2^f.
			require.Less(t, 1<<(f-before)-1<<(f-m[j]), 1<<f)
		}
		z := []int64{0}
		for _, v := range m {
			z[0] += 1 << (f - v)
		}
		require.NoError(t, noise.Add(context.Background(), z, seeded(byte(i))))
		off := 0.7213/(1+1.079/registers)*registers*registers*(1<<f)/float64(z[0])/n - 1
		squares += off * off
	}
	rms := math.Sqrt(squares / trials)
	assert.InDelta(t, math.Hypot(0.046, 0.017), rms, 5*0.05/math.Sqrt(2*trials))
	bitmap := dp.Occupancy{Bins: 1 << 16}.StdDev(n, 1.357) / n
	assert.InDelta(t, math.Hypot(0.0028, 0.0006), bitmap, 1e-4)
}
