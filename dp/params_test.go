package dp

import (
	"encoding/json"
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestParamsValidate(t *testing.T) {
	for _, c := range []struct {
		reason string
		p      Params
		want   string // part of the error; "" for none
	}{
		{"pure ε", Params{1, 0, Auto}, ""},
		{"approximate", Params{1, 1e-6, Gaussian}, ""},
		{"the smallest ε", Params{minEpsilon, 0, DiscreteLaplace}, ""},
		{"the largest ε", Params{math.MaxFloat64, 0, DiscreteLaplace}, ""},
		{"nothing is a default", Params{}, "Epsilon"},
		{"NaN passes no comparison", Params{math.NaN(), 0, Auto}, "Epsilon"},
		{"infinite ε", Params{math.Inf(1), 0, Auto}, "Epsilon"},
		{"negative ε", Params{-1, 0, Auto}, "Epsilon"},
		{"ε without use", Params{minEpsilon / 2, 0, Auto}, "Epsilon must be at least"},
		{"NaN", Params{1, math.NaN(), Auto}, "Delta"},
		{"negative δ", Params{1, -1e-300, Auto}, "Delta"},
		{"δ = 1 promises nothing", Params{1, 1, Auto}, "Delta"},
		{"Gaussian without δ", Params{1, 0, DiscreteGaussian}, "take discrete_laplace"},
		{"no mechanism", Params{1, 0, ""}, "Mechanism is missing"},
		{"unknown mechanism", Params{1, 0, "uniform"}, "Mechanism is none"},
	} {
		err := c.p.Validate()
		if c.want == "" {
			assert.NoError(t, err, c.reason)
		} else {
			assert.ErrorContains(t, err, c.want, c.reason)
		}
	}
	err := Params{math.NaN(), math.NaN(), ""}.Validate()
	for _, f := range []string{"Epsilon", "Delta", "Mechanism"} {
		assert.ErrorContains(t, err, f, "every field is reported")
	}
}

// TestValidMeansCalibrated: whatever validates is noised, or refused with advice.
func TestValidMeansCalibrated(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := Params{
			Epsilon:   rapid.Float64().Draw(t, "ε"),
			Delta:     rapid.OneOf(rapid.Float64(), rapid.Float64Range(0, 1)).Draw(t, "δ"),
			Mechanism: rapid.SampledFrom(append(mechanisms, Auto)).Draw(t, "mechanism"),
		}
		n, err := Calibrate(p, unit)
		switch {
		case p.Validate() != nil:
			if err == nil {
				t.Fatal("calibrated invalid parameters")
			}
		case err == nil:
			if !(n.Scale() > 0 && n.StdDev() >= 0 && n.StdDev() <= math.MaxFloat64) {
				t.Fatalf("scale %g, standard deviation %g", n.Scale(), n.StdDev())
			}
		case p.Mechanism == Auto:
			t.Fatalf("auto refused valid parameters: %v", err)
		}
	})
}

func TestParamsJSON(t *testing.T) {
	text, err := json.Marshal(Params{0.5, 1e-6, Auto})
	require.NoError(t, err)
	assert.JSONEq(t, `{"epsilon": 0.5, "delta": 1e-06, "mechanism": "auto"}`, string(text))
}
