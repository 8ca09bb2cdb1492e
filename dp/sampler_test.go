package dp

import (
	"fmt"
	"math"
	"math/big"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/stat/distuv"
	"pgregory.net/rapid"
)

// script answers below from a list of choices; when it runs out it stops the
// sampler and tells how many branches there are.
type script struct {
	choices []uint64
	next    int
	mass    float64 // exact: a product of 1/n, all sums stay far from 2⁻⁵³ of 1
}

type fork struct{ n uint64 }

func (s *script) below(n uint64) uint64 {
	if s.next == len(s.choices) {
		panic(fork{n})
	}
	c := s.choices[s.next]
	s.next++
	s.mass /= float64(n)
	return c
}

// enumerate runs a sampler on every script whose mass is at least least. It
// returns the mass of each output, and the mass that was left undecided.
func enumerate(sample func(draws) int64, least float64) (mass map[int64]float64, undecided float64) {
	mass = map[int64]float64{}
	todo := [][]uint64{nil}
	for len(todo) > 0 {
		s := &script{choices: todo[len(todo)-1], mass: 1}
		todo = todo[:len(todo)-1]
		var out int64
		branches := func() (n uint64) {
			defer func() {
				if f, ok := recover().(fork); ok {
					n = f.n
				}
			}()
			out = sample(s)
			return 0
		}()
		switch {
		case branches == 0:
			mass[out] += s.mass
		case s.mass < least:
			undecided += s.mass
		default:
			for c := range branches {
				todo = append(todo, append(append([]uint64{}, s.choices...), c))
			}
		}
	}
	return mass, undecided
}

// TestSamplerEnumerated is the sampler audit: it follows every sequence of
// draws and compares the masses with the closed forms. No chance is involved:
// every mass must be in [m, m + undecided].
func TestSamplerEnumerated(t *testing.T) {
	toInt := func(f func(draws) bool) func(draws) int64 {
		return func(d draws) int64 {
			if f(d) {
				return 1
			}
			return 0
		}
	}
	check := func(name string, least, room float64, want func(int64) float64, sample func(draws) int64) {
		t.Run(name, func(t *testing.T) {
			mass, undecided := enumerate(sample, least)
			require.Less(t, undecided, room, "the audit must decide nearly everything")
			for x, m := range mass {
				assert.LessOrEqual(t, m, want(x)+1e-12, "x = %d", x)
				assert.GreaterOrEqual(t, m+undecided, want(x)-1e-12, "x = %d", x)
			}
		})
	}
	bernoulli := func(p float64) func(int64) float64 {
		return func(x int64) float64 { return []float64{1 - p, p}[x] }
	}
	for _, c := range [][2]uint64{{0, 1}, {1, 1}, {1, 2}, {1, 3}, {2, 3}, {3, 4}} {
		a, b := c[0], c[1]
		check(fmt.Sprintf("exp(-%d/%d)", a, b), 1e-9, 1e-4, bernoulli(math.Exp(-float64(a)/float64(b))),
			toInt(func(d draws) bool { return bernoulliExp(a, b, d) }))
	}
	check("exp(-1)", 1e-9, 1e-6, bernoulli(math.Exp(-1)), toInt(bernoulliExp1))
	for _, c := range [][2]uint64{{0, 1}, {1, 1}, {1, 2}, {2, 3}, {3, 2}, {2, 1}, {3, 1}} {
		gap, r := c[0], c[1]
		p := math.Exp(-square(float64(gap)/float64(r)) / 2)
		check(fmt.Sprintf("exp(-(%d/%d)²/2)", gap, r), 1e-6, 0.01, bernoulli(p),
			toInt(func(d draws) bool { return bernoulliExpHalfSquare(gap, r, d) }))
	}
	// The whole samplers have too many scripts to decide all of them.
	for _, s := range []scale{{1, 0}, {1, 1}, {2, 0}} {
		check(fmt.Sprintf("discrete Laplace %d/2^%d", s.r, s.j), 1e-5, 0.15,
			func(x int64) float64 { return pmf(law{DiscreteLaplace, s.float()}, x) },
			func(d draws) int64 { return discreteLaplace(s, d) })
		check(fmt.Sprintf("discrete Gaussian %d/2^%d", s.r, s.j), 1e-5, 0.5,
			func(x int64) float64 { return pmf(law{DiscreteGaussian, s.float()}, x) },
			func(d draws) int64 { return discreteGaussian(s, d) })
	}
}

// pmf is written down a second time, apart from law's tail and cf.
func pmf(l law, x int64) float64 {
	b, y := l.scale, math.Abs(float64(x))
	switch l.mechanism {
	case DiscreteLaplace:
		return math.Tanh(1/(2*b)) * math.Exp(-y/b)
	case DiscreteGaussian:
		if b > 3 { // the sum is the integral but for exp(−2π²·9)
			return math.Exp(-y*y/(2*b*b)) / (math.Sqrt(2*math.Pi) * b)
		}
		all := 1.0
		for k := 1.0; k < 40*b+2; k++ {
			all += 2 * math.Exp(-k*k/(2*b*b))
		}
		return math.Exp(-y*y/(2*b*b)) / all
	case Laplace:
		if x == 0 {
			return -math.Expm1(-0.5 / b)
		}
		return (math.Exp(-(y-0.5)/b) - math.Exp(-(y+0.5)/b)) / 2
	}
	if x == 0 {
		return math.Erf(0.5 / b / math.Sqrt2)
	}
	return (math.Erfc((y-0.5)/b/math.Sqrt2) - math.Erfc((y+0.5)/b/math.Sqrt2)) / 2
}

// falseAlarm is the probability that a statistical test here fails although the
// code is right. The discrete samplers run on fixed seeds, so they always give
// the same answer; Google's cannot be seeded.
const falseAlarm = 1e-9

// chiSquare fails if samples of l are not plausible: Pearson's test with bins of
// at least 20 expected samples each.
func chiSquare(t *testing.T, l law, samples []int64) {
	t.Helper()
	counts := map[int64]int{}
	for _, x := range samples {
		counts[x]++
	}
	n := float64(len(samples))
	var statistic, expected, observed, restE, restO float64
	bins := 0
	restE, restO = n, n
	flush := func() {
		statistic += square(observed-expected) / expected
		restE, restO = restE-expected, restO-observed
		expected, observed = 0, 0
		bins++
	}
	limit := int64(30*l.scale) + 2
	for x := -limit; x <= limit && restE > 60; x++ {
		expected += n * pmf(l, x)
		observed += float64(counts[x])
		if expected >= 20+n/1000 {
			flush()
		}
	}
	expected, observed = restE, restO
	if expected > 0 {
		flush()
	}
	require.Greater(t, bins, 2, "the test would say nothing")
	quantile := distuv.ChiSquared{K: float64(bins - 1)}.Quantile(1 - falseAlarm)
	assert.Less(t, statistic, quantile, "chi-square of %d bins", bins)
}

func TestDiscreteSamplersFitTheirLaws(t *testing.T) {
	n := 30_000
	if testing.Short() {
		n = 10_000
	}
	for i, b := range []float64{0.3, 0.7, 1, 2.5, 20, 1234.5} {
		s, err := ceilScale(new(big.Rat).SetFloat64(b * b))
		require.NoError(t, err)
		for m, sample := range map[Mechanism]func(scale, draws) int64{DiscreteLaplace: discreteLaplace, DiscreteGaussian: discreteGaussian} {
			t.Run(fmt.Sprint(m, b), func(t *testing.T) {
				d := seededStream(t, uint64(i))
				samples := make([]int64, n)
				for k := range samples {
					samples[k] = sample(s, d)
				}
				chiSquare(t, law{m, s.float()}, samples)
			})
		}
	}
}

// TestHugeScales checks the first two moments where no bin is wide enough.
func TestHugeScales(t *testing.T) {
	const n = 20_000
	for _, r := range []uint64{1<<31 - 1, 1 << 40, maxR} {
		for m, sample := range map[Mechanism]func(scale, draws) int64{DiscreteLaplace: discreteLaplace, DiscreteGaussian: discreteGaussian} {
			d := seededStream(t, r)
			var sum, sum2 float64
			for range n {
				x := float64(sample(scale{r, 0}, d))
				sum += x
				sum2 += x * x
			}
			sd := math.Sqrt(law{m, float64(r)}.variance())
			assert.InDelta(t, 0, sum/sd/math.Sqrt(n), 6.2, "%s %d", m, r) // 2Φ(−6.2) < falseAlarm
			assert.InEpsilon(t, 1, sum2/n/sd/sd, 0.12, "%s %d", m, r)     // kurtosis 6: more than 6.2 deviations
		}
	}
}

// extreme answers below so that V reaches its cut: bernoulliExp1 is false
// when k is even, so below(k) is 0 once and then 1.
type extreme struct{ r uint64 }

func (e extreme) below(n uint64) uint64 {
	switch n {
	case e.r:
		return 0 // U = 0, accepted? below(r) < 0 is false: yes
	case 2:
		return 0
	}
	return 1
}

// TestSaturationNeverWraps drives V to its cut at the largest r.
func TestSaturationNeverWraps(t *testing.T) {
	for _, s := range []scale{{maxR, 0}, {maxR, maxJ}, {maxR - 1, 3}} {
		got := discreteLaplace(s, extreme{s.r})
		assert.Equal(t, int64(s.r*maxV>>s.j), got)
		assert.GreaterOrEqual(t, got, int64(0))
	}
}

func TestScaleIsRoundedUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		num := rapid.Int64Range(1, math.MaxInt64).Draw(t, "numerator")
		den := rapid.Int64Range(1, math.MaxInt64).Draw(t, "denominator")
		x := big.NewRat(num, den)
		s, err := ceilScale(new(big.Rat).Mul(x, x))
		if x.Cmp(big.NewRat(maxR, 1)) > 0 {
			if err == nil {
				t.Fatal("accepted a scale above 2^50")
			}
			return
		}
		if err != nil {
			if x.Cmp(big.NewRat(maxR/2, 1)) > 0 {
				return // the bound is within a factor of two of 2⁵⁰
			}
			t.Fatal(err)
		}
		if s.r < 1 || s.r > maxR || s.j > maxJ {
			t.Fatalf("out of range: %+v", s)
		}
		got := new(big.Rat).SetFrac(new(big.Int).SetUint64(s.r), new(big.Int).Lsh(big.NewInt(1), s.j))
		if got.Cmp(x) < 0 {
			t.Fatalf("rounded down: %v < %v", got, x)
		}
		up := new(big.Rat).Mul(x, new(big.Rat).Add(big.NewRat(1, 1), big.NewRat(1, 1<<47)))
		if tiny := new(big.Rat).Add(x, big.NewRat(1, 1<<60)); tiny.Cmp(up) > 0 {
			up = tiny
		}
		if got.Cmp(up) > 0 {
			t.Fatalf("rounded up too far: %v > %v", got, x)
		}
		if f, exact := got.Float64(); !exact || f != s.float() {
			t.Fatalf("float is %v, want %v", s.float(), f)
		}
	})
}

func TestScaleExactWhereItCanBe(t *testing.T) {
	for _, c := range []struct {
		num, den int64
		want     scale
	}{{20, 1, scale{20, 0}}, {1, 2, scale{1, 1}}, {5, 8, scale{5, 3}}} {
		x := big.NewRat(c.num, c.den)
		s, err := ceilScale(x.Mul(x, x))
		require.NoError(t, err)
		assert.Equal(t, c.want, s)
	}
	// Just above 1: the next multiple of 2⁻⁴⁹, not 1.
	hair := new(big.Rat).SetFrac(big.NewInt(1), new(big.Int).Lsh(big.NewInt(1), 300))
	s, err := ceilScale(hair.Add(hair, big.NewRat(1, 1)))
	require.NoError(t, err)
	assert.Equal(t, scale{1<<49 + 1, 49}, s)
}

func TestSamplersDoNotAllocate(t *testing.T) {
	d := seededStream(t, 1)
	s := scale{20, 0}
	assert.Zero(t, testing.AllocsPerRun(1000, func() { discreteLaplace(s, d); discreteGaussian(s, d) }))
}
