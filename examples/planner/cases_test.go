package main

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/larder-dp/larder/dp"
)

// A knownAnswer is a case of accounting.json with its answer.
type knownAnswer struct {
	knownCase
	Exact           json.RawMessage
	ExactScale      float64 `json:"exact_scale"`
	ExactRel        float64 `json:"exact_rel"`
	Infinite        bool
	Lo, Hi          json.RawMessage
	GoogleScale     float64   `json:"google_scale"`
	BoundAKL        []float64 `json:"bound_akl"`
	Users           []float64
	KeepProbability json.RawMessage `json:"keep_probability"`
	L0              float64
}

// answers returns the brackets of a case, one for each of its answers.
func (c knownAnswer) answers() ([]dp.Bracket, error) {
	if !c.isList() {
		b, err := c.answer()
		return []dp.Bracket{b}, err
	}
	around := func(p float64) dp.Bracket { return dp.Bracket{Lo: p * (1 - 1e-12), Hi: min(p*(1+1e-12), 1)} }
	perKey := -math.Expm1(math.Log1p(-c.Delta) / c.L0)
	var out []dp.Bracket
	switch c.Kind {
	case "partition_selection_optimal":
		for _, n := range c.Users {
			out = append(out, around(optimalKeep(c.Epsilon/c.L0, perKey, n)))
		}
		return out, nil
	case "partition_selection_laplace":
		var keep map[string]float64
		if err := json.Unmarshal(c.KeepProbability, &keep); err != nil {
			return nil, err
		}
		for _, k := range sortedKeys(keep) {
			n, err := strconv.ParseFloat(k, 64)
			if err != nil {
				return nil, err
			}
			out = append(out, around(laplaceKeep(c.L0/c.Epsilon, perKey, n)))
		}
		return out, nil
	}
	events := c.events()
	if c.Kind == "skellam_rdp" { // the bound for vectors
		for i, e := range events {
			events[i].L1, events[i].L2, events[i].Sensitivity = e.Sensitivity, e.Sensitivity, 0
		}
	}
	a, err := dp.Compose(events...)
	if err != nil {
		return nil, err
	}
	orders, err := c.orders()
	if err != nil {
		return nil, err
	}
	for _, o := range orders {
		b, err := a.RDP(o)
		if err != nil {
			return nil, err
		}
		out = append(out, b)
	}
	return out, nil
}

// expected returns the case's answers, and whether they are exact.
func (c knownAnswer) expected() (lo, hi []float64, exact bool, err error) {
	list := func(raw json.RawMessage) ([]float64, error) {
		var x float64
		if json.Unmarshal(raw, &x) == nil {
			return []float64{x}, nil
		}
		var xs []float64
		err := json.Unmarshal(raw, &xs)
		return xs, err
	}
	switch {
	case c.Kind == "calibrate_laplace":
		return []float64{0.995 * c.GoogleScale}, []float64{1.005 * c.GoogleScale}, false, nil
	case c.ExactScale > 0:
		lo = []float64{c.ExactScale}
	case c.BoundAKL != nil:
		lo = c.BoundAKL
	case c.Kind == "partition_selection_laplace":
		var keep map[string]float64
		err = json.Unmarshal(c.KeepProbability, &keep)
		for _, k := range sortedKeys(keep) {
			lo = append(lo, keep[k])
		}
	case c.KeepProbability != nil:
		lo, err = list(c.KeepProbability)
	case c.Exact != nil:
		lo, err = list(c.Exact)
	default:
		if lo, err = list(c.Lo); err == nil {
			hi, err = list(c.Hi)
		}
		return lo, hi, false, err
	}
	return lo, lo, true, err
}

func sortedKeys(m map[string]float64) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// optimalKeep is the recursion of Desfontaines, Voss, Gipson, Mandayam 2022 (arXiv
// 2006.03684), Theorem 1: π(0) = 0 and
// π(n) = min(e^ε·π(n−1) + δ, 1 − e^{−ε}·(1 − π(n−1) − δ), 1).
func optimalKeep(epsilon, delta, n float64) float64 {
	p := 0.0
	for range int(n) {
		p = min(math.Exp(epsilon)*p+delta, 1-math.Exp(-epsilon)*(1-p-delta), 1)
	}
	return p
}

// laplaceKeep: a key of n units is kept if n + X is at least the threshold that keeps one of a
// single unit with probability δ.
func laplaceKeep(b, delta, n float64) float64 {
	above := -b * math.Log(2*delta) // threshold − 1
	if delta > 0.5 {
		above = b * math.Log(2*(1-delta))
	}
	x := above + 1 - n
	if x > 0 {
		return math.Exp(-x/b) / 2
	}
	return 1 - math.Exp(x/b)/2
}

// knownAnswers reads the shared known answers.
func knownAnswers(t *testing.T) (file string, cases []knownAnswer) {
	t.Helper()
	shared := os.Getenv("LARDER_SHARED")
	if shared == "" {
		t.Skip("LARDER_SHARED is not set: it names the folder that holds reference/accounting.json")
	}
	file = filepath.Join(shared, "reference", "accounting.json")
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	var all struct{ Cases []knownAnswer }
	require.NoError(t, json.Unmarshal(data, &all))
	require.Len(t, all.Cases, 105)
	return file, all.Cases
}

// TestReferenceAnswers checks the known answers by the rule of their README.
func TestReferenceAnswers(t *testing.T) {
	_, cases := knownAnswers(t)
	for i, c := range cases {
		if testing.Short() && i%5 != 0 {
			continue
		}
		got, err := c.answers()
		if !assert.NoError(t, err, c.ID) {
			continue
		}
		lo, hi, exact, err := c.expected()
		require.NoError(t, err, c.ID)
		require.Len(t, got, len(lo), c.ID)
		for i, b := range got {
			assert.LessOrEqual(t, b.Lo, b.Hi, c.ID)
			switch {
			case c.Infinite:
				assert.True(t, math.IsInf(b.Hi, 1), c.ID)
			case !exact:
				assert.LessOrEqual(t, b.Lo, hi[i], c.ID)
				assert.GreaterOrEqual(t, b.Hi, lo[i], c.ID)
			case lo[i] == 0:
				assert.Zero(t, b.Lo, c.ID)
				assert.LessOrEqual(t, b.Hi, 1e-15, c.ID)
			default:
				assert.LessOrEqual(t, b.Lo, lo[i]*(1+c.ExactRel), "%s: lo of %d", c.ID, i)
				assert.GreaterOrEqual(t, b.Hi, lo[i]*(1-c.ExactRel), "%s: hi of %d", c.ID, i)
				assert.LessOrEqual(t, (b.Hi-b.Lo)/lo[i], 1e-3, c.ID)
			}
		}
	}
}

// TestReferenceLines: the program prints a line for every case of one number, with the brackets of
// answer, and nothing else.
func TestReferenceLines(t *testing.T) {
	file, cases := knownAnswers(t)
	if testing.Short() {
		return // TestReferenceAnswers has computed some of them
	}
	code, out, errs := start("-cases", file)
	require.Zero(t, code, errs)
	require.Empty(t, errs)
	lines := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
	for _, c := range cases {
		if c.isList() {
			continue
		}
		require.NotEmpty(t, lines)
		var line struct {
			ID     string
			Lo, Hi *float64
		}
		require.NoError(t, json.Unmarshal([]byte(lines[0]), &line))
		assert.Equal(t, c.ID, line.ID)
		assert.Equal(t, c.Infinite, line.Hi == nil, c.ID)
		lines = lines[1:]
	}
	assert.Empty(t, lines)
}

// TestCases: one case of every kind, written here, against what dp says.
func TestCases(t *testing.T) {
	const file = `{"cases": [
{"id": "a", "kind": "gaussian_eps", "mechanisms": [{"type": "gaussian", "sigma": 20, "sensitivity": 1, "count": 1000}], "delta": 1e-13, "exact": 12.4975616677, "note": "is passed over"},
{"id": "b", "kind": "laplace_delta", "mechanisms": [{"type": "laplace", "scale": 1, "sensitivity": 1, "count": 1}], "epsilon": 0.5},
{"id": "c", "kind": "dlaplace_delta", "mechanisms": [{"type": "discrete_laplace", "a": 0.5, "sensitivity": 1, "count": 1}], "epsilon": 0.5},
{"id": "d", "kind": "generic_eps", "mechanisms": [{"type": "approx_dp", "epsilon": 0.1, "delta": 1e-5, "count": 10}], "delta": 1e-6},
{"id": "e", "kind": "rdp", "mechanisms": [{"type": "gaussian", "sigma": 1, "sensitivity": 1, "count": 1}], "orders": [2, 3]},
{"id": "f", "kind": "calibrate_gaussian", "epsilon": 1, "delta": 1e-6, "sensitivity": 1},
{"id": "g", "kind": "calibrate_laplace", "epsilon": 1, "delta": 0, "sensitivity": 3, "count": 2},
{"id": "h", "kind": "rdp_to_delta", "orders": [1.5, 2, 4, 8, 16, 32], "rdp": [0.3, 0.4, 0.9, 2, 4.5, 10], "epsilon": 3},
{"id": "i", "kind": "skellam_rdp_to_eps", "variance": 1000, "l1": 100, "l2": 10, "count": 1, "delta": 1e-6, "orders": "2..128"},
{"id": "j", "kind": "zcdp_to_eps", "rho": 0.005, "delta": 1e-6}
]}`
	var out strings.Builder
	require.NoError(t, answerCases(strings.NewReader(file), &out))
	want := map[string]float64{
		"a": 12.4975616677, "b": 1 - math.Exp(-0.25), "c": 0, "d": math.Inf(1), "f": 4.224678889326835, "g": 6,
		"h": 4.476153907529486e-05, "i": 1.4725812679107282, "j": 0.4299414688369493,
	}
	for line := range strings.Lines(out.String()) {
		var got struct {
			ID     string
			Lo, Hi *float64
		}
		require.NoError(t, json.Unmarshal([]byte(line), &got))
		x, ok := want[got.ID]
		require.True(t, ok, "%s has a list for an answer", got.ID)
		delete(want, got.ID)
		if math.IsInf(x, 1) {
			assert.Nil(t, got.Lo)
			assert.Nil(t, got.Hi)
			continue
		}
		assert.LessOrEqual(t, *got.Lo, x*(1+1e-10), line)
		assert.GreaterOrEqual(t, *got.Hi, x*(1-1e-10), line)
		assert.LessOrEqual(t, *got.Hi-*got.Lo, 1e-3*x+1e-15, line)
	}
	assert.Empty(t, want)
}

// TestCasesSayWhatIsWrong: what cannot be answered is in the error, and the others are
// answered.
func TestCasesSayWhatIsWrong(t *testing.T) {
	const good = `{"id": "ok", "kind": "zcdp_to_eps", "rho": 0.005, "delta": 1e-6}`
	for bad, want := range map[string]string{
		`{"id": "x", "kind": "riddle_eps", "delta": 1e-6}`:                                           "give at least one",
		`{"id": "x", "kind": "answer"}`:                                                              `case 1 (x): kind "answer" is none`,
		`{"id": "x", "kind": "a_delta", "mechanisms": [{"type": "gaussian", "count": 1}]}`:           "Scale is missing",
		`{"id": "x", "kind": "zcdp_to_eps", "rho": 1, "delta": 2}`:                                   "Delta must be in [0, 1)",
		`{"id": "x", "kind": "rdp_to_eps", "orders": "all", "rdp": [1], "delta": 1e-3}`:              `a range such as "2..128"`,
		`{"id": "x", "kind": "calibrate_laplace", "epsilon": 0, "delta": 1e-6, "sensitivity": 1}`:    "Epsilon must be above 0",
		`{"id": "x", "kind": "calibrate_laplace", "epsilon": 1, "delta": 1e-6, "sensitivity": -0.5}`: "Sensitivity must be finite and not negative",
	} {
		var out strings.Builder
		err := answerCases(strings.NewReader(fmt.Sprintf(`{"cases": [%s, %s]}`, good, bad)), &out)
		require.ErrorContains(t, err, want, bad)
		assert.Equal(t, 1, strings.Count(out.String(), "\n"))
		assert.Contains(t, out.String(), `"ok"`)
	}
	require.ErrorContains(t, answerCases(strings.NewReader(`{"cases": 3}`), &strings.Builder{}), "read cases")
	require.ErrorContains(t, answerCases(strings.NewReader(`{"case": []}`), &strings.Builder{}), "there is none")
}
