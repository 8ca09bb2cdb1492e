package dp

import (
	"fmt"
	"math"
	"math/big"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestJustBelowALoss: where ε is a few ulp below a loss and what lies above is far lighter, δ hangs on
// the difference of the two, which is taken of exact fractions here.
func TestJustBelowALoss(t *testing.T) {
	ratio := func(x float64) *big.Rat { return new(big.Rat).SetFloat64(x) }
	whole := func(x int64) *big.Rat { return new(big.Rat).SetInt64(x) }
	type law struct {
		event  Event
		losses []*big.Rat // ascending
		p      []float64
		rel    float64 // of p
	}
	laplace := law{event: Event{Mechanism: DiscreteLaplace, Scale: 10, Sensitivity: 7, Count: 1}, rel: 1e-14}
	for j := int64(7); j >= 0; j-- {
		q := math.Exp(-0.1)
		p := (1 - q) / (1 + q) * math.Pow(q, float64(j))
		if j == 0 || j == 7 {
			p = math.Pow(q, float64(j)) / (1 + q)
		}
		laplace.losses, laplace.p = append(laplace.losses, big.NewRat(7-2*j, 10)), append(laplace.p, p)
	}
	response := law{event: Event{Mechanism: PureDP, Epsilon: 0.01, Count: 1000}, rel: 1e-10}
	logP, ways := -math.Log1p(math.Exp(-0.01)), 0.0
	for k := int64(1000); k >= 900; k-- { // from the top
		response.losses = append([]*big.Rat{new(big.Rat).Mul(ratio(0.01), whole(2*k-1000))}, response.losses...)
		response.p = append([]float64{math.Exp(ways + 1000*logP - 0.01*float64(1000-k))}, response.p...)
		ways += math.Log(float64(k) / float64(1001-k))
	}
	laws := []law{laplace, response}
	for _, sigma := range []float64{0.2, 0.3, 1} {
		l := law{event: Event{Mechanism: DiscreteGaussian, Scale: sigma, Sensitivity: 1, Count: 1}, rel: 1e-12}
		for x := int64(0); x < 90; x++ {
			twice := new(big.Rat).Mul(ratio(sigma), ratio(2*sigma))
			l.losses = append(l.losses, new(big.Rat).Quo(whole(2*x+1), twice))
			l.p = append(l.p, math.Exp(-square(float64(x)/sigma)/2)/theta(sigma, 0))
		}
		laws = append(laws, l)
	}
	for _, l := range laws {
		a, err := Compose(l.event)
		require.NoError(t, err)
		for _, loss := range l.losses {
			at, _ := loss.Float64()
			if at <= 0 || at > 60 {
				continue
			}
			for _, below := range []float64{1e-9, 1e-12, 1e-14, 3e-16} {
				epsilon := at * (1 - below)
				truth := 0.0
				for i := len(l.losses) - 1; i >= 0; i-- {
					over, _ := new(big.Rat).Sub(l.losses[i], ratio(epsilon)).Float64()
					truth += l.p[i] * max(-math.Expm1(-over), 0)
				}
				b, err := a.Delta(epsilon)
				require.NoError(t, err)
				what := fmt.Sprintf("%+v at %.17g: [%g, %g] about %g", l.event, epsilon, b.Lo, b.Hi, truth)
				require.LessOrEqual(t, b.Lo, truth*(1+l.rel), what)
				require.GreaterOrEqual(t, b.Hi, truth*(1-l.rel), what)
				if below == 1e-9 && truth > 1e-280 {
					require.Less(t, b.Hi-b.Lo, 1e-4*truth, what)
				}
			}
		}
	}
}

// TestSkellamLosses: under a large variance v the loss at x is (2x + 1)/2v·(1 + 1/2v), but for (x/v)³, for a
// shift of 1, and adds up over larger ones.
func TestSkellamLosses(t *testing.T) {
	const v = 1e8
	for _, s := range []int64{1, 3, 100} {
		table := skellamTable(v, s)
		middle, _ := slices.BinarySearch(table.losses, 0)
		for x := range 1000 {
			// Counted from where both laws are alike.
			y := float64(x)
			if s%2 == 1 {
				y += 0.5
			}
			l := y * float64(s) / v * (1 + 1/(2*v))
			assert.InDelta(t, l, table.losses[middle+x], 1e-18*float64(s)+1e-10*l, "shift %d, %g from the middle", s, y)
		}
	}
}
