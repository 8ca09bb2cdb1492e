package dp

import (
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// contributions returns every vector that Clip can leave of n cells.
func contributions(b Bounds, n int) (all [][]int64) {
	raw := make([]int64, n)
	seen := map[string]bool{}
	for {
		x := slices.Clone(raw)
		b.Clip(x)
		key := ""
		for _, v := range x {
			key += string(rune('0' + v))
		}
		if !seen[key] {
			seen[key] = true
			all = append(all, x)
		}
		i := 0
		for ; i < n; i++ {
			if raw[i]++; raw[i] <= b.LInf+1 { // one more than allowed
				break
			}
			raw[i] = 0
		}
		if i == n {
			return all
		}
	}
}

func norms(x []int64) (s Sensitivity) {
	for _, v := range x {
		if v != 0 {
			s.L0++
		}
		s.L1 += v
		s.L2Squared += v * v
		s.LInf = max(s.LInf, v)
	}
	return s
}

func larger(a, b Sensitivity) Sensitivity {
	return Sensitivity{max(a.L0, b.L0), max(a.L1, b.L1), max(a.L2Squared, b.L2Squared), max(a.LInf, b.LInf)}
}

// TestSensitivityByBruteForce tries all that one unit can contribute at two nodes
// of three cells, and compares the largest change with Sensitivity.
func TestSensitivityByBruteForce(t *testing.T) {
	const cells = 3
	for l0 := int64(1); l0 <= cells; l0++ {
		for linf := int64(1); linf <= 3; linf++ {
			for l1 := int64(1); l1 <= l0*linf; l1++ {
				b := Bounds{l0, linf, l1, 2}
				var disjoint, summed Sensitivity
				all := contributions(b, cells)
				for _, x := range all {
					for _, y := range all {
						disjoint = larger(disjoint, norms(slices.Concat(x, y)))
						sum := make([]int64, cells)
						for i := range sum {
							sum[i] = x[i] + y[i]
						}
						summed = larger(summed, norms(sum))
					}
				}
				for shape, got := range map[Shape]Sensitivity{Disjoint: disjoint, Summed: summed} {
					want, err := b.Sensitivity(shape)
					require.NoError(t, err)
					assert.Equal(t, want, larger(want, got), "%+v %d: a unit can change more", b, shape)
					assert.Equal(t, want.L1, got.L1, "%+v %d: L1 is tight", b, shape)
					assert.Equal(t, want.L2Squared, got.L2Squared, "%+v %d: L2 is tight", b, shape)
					if l1 >= linf {
						assert.Equal(t, want.LInf, got.LInf, "%+v %d: LInf is tight", b, shape)
					}
					if l1 >= l0 && shape == Disjoint {
						assert.Equal(t, want.L0, got.L0, "%+v: L0 is tight", b)
					}
				}
			}
		}
	}
}

// TestSensitivityBuysAccuracy: a bound on the total is worth more than L0·LInf.
func TestSensitivityBuysAccuracy(t *testing.T) {
	s, err := Bounds{L0: 40, LInf: 4, L1: 20, MaxNodes: 1}.Sensitivity(Disjoint)
	require.NoError(t, err)
	assert.Equal(t, Sensitivity{L0: 40, L1: 20, L2Squared: 80, LInf: 4}, s) // √80 = 8.9, not √640 = 25.3
}

func TestSensitivityLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawSensitivity(t)
		if err := s.validate(); err != nil {
			t.Fatal(err)
		}
		if s.L2Squared < s.L1 && s.LInf == 1 || s.L2Squared > s.L1*s.LInf || s.L2Squared > s.L1*s.L1 {
			t.Fatalf("norms contradict each other: %+v", s)
		}
	})
}

func TestClipLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := Bounds{
			L0:       rapid.Int64Range(1, 6).Draw(t, "L0"),
			LInf:     rapid.Int64Range(1, 1000).Draw(t, "LInf"),
			MaxNodes: 1,
		}
		b.L1 = rapid.Int64Range(1, b.L0*b.LInf).Draw(t, "L1")
		raw := rapid.SliceOfN(rapid.OneOf(rapid.Int64(), rapid.Int64Range(-2, 2000)), 0, 12).Draw(t, "amounts")
		x := slices.Clone(raw)
		b.Clip(x)
		n := norms(x)
		if n.L0 > b.L0 || n.L1 > b.L1 || n.LInf > b.LInf {
			t.Fatalf("bounds broken: %+v by %v", b, x)
		}
		s, err := b.Sensitivity(Disjoint)
		if err != nil {
			t.Fatal(err)
		}
		if n.L2Squared > s.L2Squared {
			t.Fatalf("L2² is %d, sensitivity says %d", n.L2Squared, s.L2Squared)
		}
		for i := range x {
			if x[i] < 0 || x[i] > max(raw[i], 0) {
				t.Fatal("an amount grew or became negative")
			}
		}
		again := slices.Clone(x)
		b.Clip(again)
		if !slices.Equal(again, x) {
			t.Fatal("clipping twice is not clipping once")
		}
	})
}

func TestClipOrder(t *testing.T) {
	for _, c := range []struct {
		reason     string
		b          Bounds
		from, want []int64
	}{
		{"zeros and negatives use up no partition", Bounds{2, 5, 10, 1}, []int64{0, -3, 2, 3, 4}, []int64{0, 0, 2, 3, 0}},
		{"L1 is cut from the front", Bounds{3, 5, 7, 1}, []int64{9, 9, 9}, []int64{5, 2, 0}},
		{"extremes", Bounds{2, 5, 10, 1}, []int64{math.MinInt64, math.MaxInt64}, []int64{0, 5}},
	} {
		b := slices.Clone(c.from)
		c.b.Clip(b)
		assert.Equal(t, c.want, b, c.reason)
	}
}

func TestBoundsRefuse(t *testing.T) {
	ok := Bounds{10, 10, 10, 10}
	require.NoError(t, ok.Validate())
	for _, b := range []Bounds{
		{},
		{0, 1, 1, 1},
		{1, 0, 1, 1},
		{1, 1, 0, 1},
		{1, 1, 1, 0},
		{-1, 1, 1, 1},
		{2, 2, 5, 1},
		{maxL0 + 1, 1, 1, 1},
		{1, maxLInf + 1, 1, 1},
		{1, 1, 1, math.MaxInt32 + 1},
		{maxL0, maxLInf, maxL0 * maxLInf, 1},
		{1, maxLInf, maxLInf, 5},
	} {
		assert.ErrorContains(t, b.Validate(), "check bounds", "%+v", b)
		s, err := b.Sensitivity(Disjoint)
		assert.Error(t, err)
		assert.Zero(t, s)
	}
	_, err := ok.Sensitivity(0)
	assert.Error(t, err)
}

// TestSensitivityNeverWraps recomputes in floating point.
func TestSensitivityNeverWraps(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		power := func(name string, max float64) int64 {
			return int64(math.Exp2(rapid.Float64Range(0, max).Draw(t, name)))
		}
		b := Bounds{L0: power("L0", 30), LInf: power("LInf", 30), MaxNodes: power("MaxNodes", 30.9)}
		b.L1 = rapid.Int64Range(1, b.L0*b.LInf).Draw(t, "L1")
		s, err := b.Sensitivity(Summed)
		q := float64(b.L1 / b.LInf)
		r := float64(b.L1 % b.LInf)
		m := float64(b.MaxNodes)
		want := (q*float64(b.LInf)*float64(b.LInf) + r*r) * m * m
		if err == nil && (math.Abs(want/float64(s.L2Squared)-1) > 1e-9 || s.validate() != nil) {
			t.Fatalf("%+v: %+v, want L2² of %g", b, s, want)
		}
		if err != nil && want < maxSum*(1-1e-9) && m*float64(b.L1) < maxSum && m*float64(b.L0) < maxSum {
			t.Fatalf("%+v refused: %v", b, err)
		}
	})
}
