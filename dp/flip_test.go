package dp

import (
	"errors"
	"math"
	"math/big"
	"math/bits"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// exp is eˣ for x ≥ 0 to 200 bits, by its series at x/2⁴⁰.
func exp(x float64) *big.Float {
	f := func(v float64) *big.Float { return new(big.Float).SetPrec(400).SetFloat64(v) }
	z := f(math.Ldexp(x, -40))
	sum, term := f(1), f(1)
	for i := 1; i < 40; i++ {
		term.Mul(term, z).Quo(term, f(float64(i)))
		sum.Add(sum, term)
	}
	for range 40 {
		sum.Mul(sum, sum)
	}
	return sum
}

// The odds of a bit never exceed exp(ε), and hardly stay below it.
func TestFlipOdds(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 2000 {
		epsilon := math.Exp(60*r.Float64() - 27)
		if i < 3 {
			epsilon = []float64{minEpsilon, 1, 700}[i]
		}
		f, err := NewFlip(epsilon)
		require.NoError(t, err)
		q := new(big.Float).SetPrec(400).SetUint64(f.threshold)
		p := new(big.Float).SetPrec(400).Sub(new(big.Float).SetPrec(400).SetMantExp(big.NewFloat(1), 64), q)
		odds := p.Quo(p, q)
		require.LessOrEqual(t, odds.Cmp(exp(min(epsilon, 700))), 0, "ε %g", epsilon)
		require.Positive(t, f.threshold)
		require.Less(t, f.Probability(), 0.5)
		if epsilon < 30 {
			near := exp(epsilon)
			near.Sub(near, odds).Quo(near, exp(epsilon))
			excess, _ := near.Float64()
			require.Less(t, excess, 1e-3*max(epsilon, 1e-11/epsilon), "ε %g: more noise than needed", epsilon)
		}
	}
}

// Of a bin set in j of k bitmaps the products have the moments that the doc says, summed
// over all 2ᵏ outcomes.
func TestFlipMoments(t *testing.T) {
	for _, epsilon := range []float64{0.1, 0.5, 1, 3} {
		f, err := NewFlip(epsilon)
		require.NoError(t, err)
		q := f.Probability()
		v := q * (1 - q) / ((1 - 2*q) * (1 - 2*q))
		for k := 1; k <= 5; k++ {
			for j := 0; j <= k; j++ {
				mean, square := 0.0, 0.0
				for shown := range 1 << k {
					p := 1.0
					for i := range k {
						if (shown>>i&1 == 1) == (i < j) { // as it was
							p *= 1 - q
						} else {
							p *= q
						}
					}
					x := f.product(bits.OnesCount(uint(shown)), k)
					mean, square = mean+p*x, square+p*x*x
				}
				want := 0.0
				if j == 0 {
					want = 1
				}
				moment := math.Pow(1+v, float64(k-j)) * math.Pow(v, float64(j))
				require.InDelta(t, want, mean, 1e-9*moment)
				require.InEpsilon(t, moment, square, 1e-9)
				require.LessOrEqual(t, square-want, math.Pow(1+v, float64(k))-1+1e-9*moment, "the stated error covers it")
			}
		}
	}
}

// binomialLimit is the number that a binomial count exceeds with probability alpha at
// most, by Bernstein.
func binomialLimit(n, p, alpha float64) float64 {
	return n*p + bernstein(n*p*(1-p), 1, alpha)
}

// Flips come with their probability, and Union with its stated error. False alarm 1e-9
// for each of the three checks; the seed is fixed.
func TestFlipUnion(t *testing.T) {
	t.Parallel()
	const words, trials, alarm = 64, 400, 1e-9
	o := Occupancy{64 * words}
	for _, c := range []struct {
		epsilon float64
		k       int
	}{{1, 1}, {1, 3}, {0.5, 2}, {3, 5}} {
		f, err := NewFlip(c.epsilon)
		require.NoError(t, err)
		half, stdDev, err := f.Interval(c.k, o, 0.95)
		require.NoError(t, err)
		random := rand.NewChaCha8([32]byte{byte(c.k), byte(10 * c.epsilon)})
		fill := rand.New(rand.NewPCG(3, 4))
		missed, flipped, sum := 0.0, 0.0, 0.0
		for range trials {
			bitmaps := make([][]uint64, c.k)
			union := make([]uint64, words)
			for i := range bitmaps {
				bitmaps[i] = make([]uint64, words)
				for w := range bitmaps[i] {
					bitmaps[i][w] = fill.Uint64() & fill.Uint64() & fill.Uint64()
					union[w] |= bitmaps[i][w]
				}
			}
			truth := 0
			for _, w := range union {
				truth += bits.OnesCount64(w)
			}
			for _, b := range bitmaps {
				before := append([]uint64(nil), b...)
				require.NoError(t, f.Add(b, random))
				for w := range b {
					flipped += float64(bits.OnesCount64(b[w] ^ before[w]))
				}
			}
			off := float64(f.Union(bitmaps...) - int64(truth))
			sum += off
			if math.Abs(off) > float64(half) {
				missed++
			}
		}
		n := float64(trials * c.k * 64 * words)
		assert.Less(t, math.Abs(flipped-n*f.Probability()), bernstein(n*f.Probability(), 1, alarm/2), "flips")
		assert.LessOrEqual(t, missed, binomialLimit(trials, 0.05, alarm), "ε %g k %d: outside ±%d", c.epsilon, c.k, half)
		q := f.Probability()
		reach := math.Pow((1-q)/(1-2*q), float64(c.k)) + 2
		assert.Less(t, math.Abs(sum), bernstein(trials*stdDev*stdDev, reach, alarm/2), "ε %g k %d: biased", c.epsilon, c.k)
	}
}

func TestFlipIsReplayed(t *testing.T) {
	f, err := NewFlip(1)
	require.NoError(t, err)
	a, b := make([]uint64, 200), make([]uint64, 200)
	require.NoError(t, f.Add(a, rand.NewChaCha8([32]byte{1})))
	require.NoError(t, f.Add(b, rand.NewChaCha8([32]byte{1})))
	require.Equal(t, a, b)
	// A stream for every 4,096 bins: the first do not depend on how many follow.
	require.NoError(t, f.Add(a[:70], rand.NewChaCha8([32]byte{1})))
	require.Equal(t, make([]uint64, 70), a[:70], "the same flips twice are none")
	require.NotEqual(t, b[:64], b[64:128])
	require.NoError(t, f.Add(a, nil))
}

type noRandom struct{}

func (noRandom) Read([]byte) (int, error) { return 0, errors.New("no entropy") }

func TestFlipFailsClosed(t *testing.T) {
	for _, epsilon := range []float64{0, -1, math.NaN(), math.Inf(1), minEpsilon / 2} {
		f, err := NewFlip(epsilon)
		require.Error(t, err)
		b := []uint64{1, 2}
		require.Error(t, f.Add(b, nil))
		require.Equal(t, []uint64{0, 0}, b)
		require.Zero(t, f.Union([]uint64{1}))
		_, _, err = f.Interval(1, Occupancy{64}, 0.95)
		require.Error(t, err)
	}
	f, err := NewFlip(1)
	require.NoError(t, err)
	b := []uint64{1, 2}
	require.Error(t, f.Add(b, noRandom{}))
	require.Equal(t, []uint64{0, 0}, b, "a bitmap that is not flipped is not left behind")
	for reason, call := range map[string]func() (int64, float64, error){
		"no bitmap":               func() (int64, float64, error) { return f.Interval(0, Occupancy{64}, 0.95) },
		"no bins":                 func() (int64, float64, error) { return f.Interval(1, Occupancy{}, 0.95) },
		"no confidence":           func() (int64, float64, error) { return f.Interval(1, Occupancy{64}, 1) },
		"says nothing":            func() (int64, float64, error) { return f.Interval(30, Occupancy{1 << 12}, 0.95) },
		"overflows and is no NaN": func() (int64, float64, error) { return f.Interval(1<<40, Occupancy{1 << 12}, 0.95) },
	} {
		_, _, err := call()
		require.Error(t, err, reason)
	}
	assert.Equal(t, Budget{Epsilon: 8}, f.Cost(8))
}

func BenchmarkFlip(b *testing.B) {
	f, _ := NewFlip(1)
	bitmap := make([]uint64, 1<<10)
	random := rand.NewChaCha8([32]byte{})
	for b.Loop() {
		_ = f.Add(bitmap, random)
	}
	b.ReportMetric(float64(b.N)*64*1024/b.Elapsed().Seconds()/1e6, "Mbins/s")
}
