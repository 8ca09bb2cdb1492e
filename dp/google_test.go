package dp

import (
	"bytes"
	"encoding/gob"
	"encoding/json"
	"errors"
	"io"
	"math"
	"os"
	"os/exec"
	"testing"
	"testing/iotest"
	_ "unsafe" // for go:linkname

	"github.com/google/differential-privacy/go/v3/dpagg"
	"github.com/google/differential-privacy/go/v3/noise"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Each of these tests first shows a fault of
// github.com/google/differential-privacy/go/v3 v3.0.0, and then that package dp is
// proof against it. A test that fails in its first half says that the fault is
// mended and the guard may go.

var unit = Sensitivity{L0: 1, L1: 1, L2Squared: 1, LInf: 1}

// Fault 1: a Gaussian threshold at a small δ a partition is infinite; as an int64
// it is the smallest, and every partition is released.
func TestGoogleFault1(t *testing.T) {
	th, err := noise.Gaussian().Threshold(9009, 1, 1, 0.5e-12, 0.5e-12)
	require.NoError(t, err)
	require.True(t, math.IsInf(th, 1), "the fault")
	sel, err := dpagg.NewPreAggSelectPartition(&dpagg.PreAggSelectPartitionOptions{Epsilon: 1, Delta: 1e-12, MaxPartitionsContributed: 9009})
	require.NoError(t, err)
	require.NoError(t, sel.Increment())
	keep, err := sel.ShouldKeepPartition()
	require.NoError(t, err)
	require.True(t, keep, "the fault: a partition of one unit is released")

	for _, delta := range []float64{1e-12, 1e-18, 1e-300, 5e-324} {
		s, err := NewSelection(Params{Epsilon: 1, Delta: delta, Mechanism: Auto}, Sensitivity{L0: 9009, L1: 9009, L2Squared: 9009, LInf: 1})
		require.NoError(t, err)
		want := 1 + 9009*(math.Log(9009)-math.Log(delta)-math.Log(2))
		assert.InDelta(t, want, float64(s.Threshold()), 3, "delta %g", delta)
		kept, err := s.Select([]int64{1}, seeded(1))
		require.NoError(t, err)
		assert.Equal(t, []bool{false}, kept)
	}
}

// Fault 2: Laplace multiplies l0·lInf without a check.
func TestGoogleFault2(t *testing.T) {
	// 274177 · 67280421310721 = 2⁶⁴ + 1, the sixth Fermat number.
	for range 20 {
		x, err := noise.Laplace().AddNoiseInt64(0, 274177, 67280421310721, 1, 0)
		require.NoError(t, err)
		require.Less(t, max(x, -x), int64(1000), "the fault: noise of scale 1, not 2⁶⁴")
	}

	_, err := Bounds{L0: 274177, LInf: maxLInf, L1: 274177 * maxLInf, MaxNodes: 65536}.Sensitivity(Summed)
	assert.Error(t, err, "bounds are multiplied with a check")
	_, err = Calibrate(Params{Epsilon: 1, Mechanism: Laplace}, Sensitivity{L0: 1 << 40, L1: 1 << 61, L2Squared: 1, LInf: 1 << 40})
	assert.Error(t, err, "a scale where the library does not work is refused")
	n, err := Calibrate(Params{Epsilon: 1, Mechanism: Laplace}, Sensitivity{L0: 1 << 40, L1: 1 << 38, L2Squared: 1, LInf: 1 << 40})
	require.NoError(t, err)
	assert.InEpsilon(t, 1<<38, n.Scale(), 1e-9, "L1 alone sets the scale")
}

// Fault 3: at ε ≥ 710 the Gaussian σ is 0 and AddNoiseInt64 never returns.
func TestGoogleFault3(t *testing.T) {
	require.Less(t, noise.SigmaForGaussian(1, 1, 710, 1e-5), 1e-300, "the fault")

	for _, epsilon := range []float64{257, 709, 710, 1e7, math.MaxFloat64} {
		_, err := Calibrate(Params{Epsilon: epsilon, Delta: 1e-5, Mechanism: Gaussian}, unit)
		assert.ErrorContains(t, err, "take")
		n, err := Calibrate(Params{Epsilon: epsilon, Delta: 1e-5, Mechanism: Auto}, unit)
		require.NoError(t, err)
		assert.NotEqual(t, Gaussian, n.Mechanism())
		assert.NoError(t, n.Add(t.Context(), make([]int64, 10), nil), "and it ends")
	}
}

// Fault 4: sums wrap.
func TestGoogleFault4(t *testing.T) {
	wrapped := false
	for range 100 { // misses with probability 2⁻¹⁰⁰ or so
		x, err := noise.Laplace().AddNoiseInt64(math.MaxInt64, 1, 1000, 1, 0)
		require.NoError(t, err)
		wrapped = wrapped || x < 0
	}
	require.True(t, wrapped, "the fault")

	for _, m := range []Mechanism{Laplace, Gaussian, DiscreteLaplace, DiscreteGaussian} {
		n, err := Calibrate(Params{Epsilon: 1, Delta: 1e-5, Mechanism: m}, Sensitivity{L0: 1, L1: 1000, L2Squared: 1000_000, LInf: 1000})
		require.NoError(t, err)
		values := make([]int64, 400)
		for i := range values {
			values[i] = []int64{math.MaxInt64, math.MinInt64, maxSum, -maxSum}[i%4]
		}
		require.NoError(t, n.Add(t.Context(), values, nil))
		for i, v := range values {
			assert.Equal(t, i%2 == 1, v < 0, "%s: value %d changed its sign", m, i)
			assert.LessOrEqual(t, max(v, -v), int64(maxSum))
		}
	}
}

// Fault 5: an aggregation with a nil Noise adds Laplace noise but skips the check
// of its bounds.
func TestGoogleFault5(t *testing.T) {
	opt := dpagg.BoundedSumInt64Options{Epsilon: 1, MaxPartitionsContributed: 1, Lower: math.MinInt64, Upper: 1, Noise: noise.Laplace()}
	_, err := dpagg.NewBoundedSumInt64(&opt)
	require.Error(t, err)
	opt.Noise = nil
	_, err = dpagg.NewBoundedSumInt64(&opt)
	require.NoError(t, err, "the fault")

	_, err = Calibrate(Params{Epsilon: 1}, unit)
	assert.ErrorContains(t, err, "Mechanism is missing", "no mechanism is no default")
	values := []int64{5, 6}
	assert.Error(t, Noise{}.Add(t.Context(), values, nil), "the zero value adds nothing")
	assert.Equal(t, []int64{0, 0}, values)
}

const failingRNG = "LARDER_TEST_FAILING_RNG"

//go:linkname googleRandBuf github.com/google/differential-privacy/go/v3/rand.randBuf
var googleRandBuf io.Reader

func drawFromFailingGoogle() {
	googleRandBuf = iotest.ErrReader(errors.New("broken"))
	_, _ = noise.Laplace().AddNoiseInt64(0, 1, 1, 1, 0)
	os.Exit(0) // never reached
}

// Fault 6: the process ends where the random generator fails.
func TestGoogleFault6(t *testing.T) {
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^$")
	child.Env = append(os.Environ(), failingRNG+"=1")
	var exit *exec.ExitError
	require.ErrorAs(t, child.Run(), &exit, "the fault")

	for _, m := range []Mechanism{DiscreteLaplace, DiscreteGaussian} {
		n, err := Calibrate(Params{Epsilon: 1, Delta: 1e-5, Mechanism: m}, unit)
		require.NoError(t, err)
		values := []int64{5, 6}
		assert.Error(t, n.Add(t.Context(), values, iotest.ErrReader(errors.New("broken"))))
		assert.Equal(t, []int64{0, 0}, values)
	}
	// Google's two mechanisms read crypto/rand, which since Go 1.24 never returns
	// an error: it stops the process itself. There is nothing to pass on.
}

// Fault 7: gob state is the raw sum, without a type: a Count decodes as a sum.
func TestGoogleFault7(t *testing.T) {
	count, err := dpagg.NewCount(&dpagg.CountOptions{Epsilon: 1, MaxPartitionsContributed: 1})
	require.NoError(t, err)
	require.NoError(t, count.IncrementBy(42))
	raw, err := count.GobEncode()
	require.NoError(t, err)
	require.NoError(t, new(dpagg.BoundedSumInt64).GobDecode(raw), "the fault")

	n, err := Calibrate(Params{Epsilon: 1, Delta: 1e-5, Mechanism: Auto}, unit)
	require.NoError(t, err)
	s, err := NewSelection(Params{Epsilon: 1, Delta: 1e-5, Mechanism: Auto}, unit)
	require.NoError(t, err)
	for _, v := range []any{n, s} {
		assert.Error(t, gob.NewEncoder(new(bytes.Buffer)).Encode(v), "no state to send")
		text, err := json.Marshal(v)
		require.NoError(t, err)
		assert.Equal(t, "{}", string(text))
	}
}

// Fault 8: the Gaussian ends at 8.8 σ. Where σ is small against the sensitivity,
// the outputs of neighbours hardly meet, and δ is near 1 instead of 1e-5.
func TestGoogleFault8(t *testing.T) {
	const epsilon, delta, step = 150, 1e-5, 1_000_000
	sigma := noise.SigmaForGaussian(1, step, epsilon, delta)
	apart := 0
	const draws = 300
	for range draws {
		x, err := noise.Gaussian().AddNoiseInt64(0, 1, step, epsilon, delta)
		require.NoError(t, err)
		// From 1·step further the same output needs noise beyond the cut.
		if math.Abs(float64(x)-step) > 8.9*sigma {
			apart++
		}
	}
	require.Greater(t, apart, draws/2, "the fault: a neighbour never gives these outputs, which have probability δ at most")

	s := Sensitivity{L0: 1, L1: step, L2Squared: step * step, LInf: step}
	_, err := Calibrate(Params{Epsilon: epsilon, Delta: delta, Mechanism: Gaussian}, s)
	assert.ErrorContains(t, err, "take discrete_gaussian")
	n, err := Calibrate(Params{Epsilon: 10, Delta: delta, Mechanism: Gaussian}, s)
	require.NoError(t, err)
	assert.Less(t, cutDelta(1, step, n.Scale()), delta/100)
}

// TestGoogleFitsItsLaw checks Google's two mechanisms in distribution, against the
// closed forms that StdDev and Interval use.
func TestGoogleFitsItsLaw(t *testing.T) {
	count := 6000
	if testing.Short() {
		count = 2000
	}
	s := Sensitivity{L0: 2, L1: 6, L2Squared: 18, LInf: 3} // no two alike, so none stands in for another
	for _, m := range []Mechanism{Laplace, Gaussian} {
		for _, epsilon := range []float64{0.2, 3} {
			n, err := Calibrate(Params{Epsilon: epsilon, Delta: 1e-3, Mechanism: m}, s)
			require.NoError(t, err)
			values := make([]int64, count)
			require.NoError(t, n.Add(t.Context(), values, nil))
			chiSquare(t, n.law(), values)
		}
	}
}
