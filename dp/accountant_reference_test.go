package dp

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A referenceCase is a case of accounting.json.
type referenceCase struct {
	ID         string
	Kind       string
	Mechanisms []struct {
		Type                                            string
		Sigma, Sensitivity, Scale, A, Variance, Epsilon float64
		Delta                                           float64
		Count                                           int64
	}
	Epsilon, Delta, Sensitivity, Rho, Variance, L1, L2 float64
	Count                                              int64
	Orders                                             json.RawMessage
	RDP                                                []float64
	Exact                                              json.RawMessage
	ExactScale                                         float64 `json:"exact_scale"`
	ExactRel                                           float64 `json:"exact_rel"`
	Infinite                                           bool
	Lo, Hi                                             json.RawMessage
	GoogleScale                                        float64   `json:"google_scale"`
	BoundAKL                                           []float64 `json:"bound_akl"`
	Users                                              []float64
	KeepProbability                                    json.RawMessage `json:"keep_probability"`
	L0                                                 float64
	Threshold                                          float64
}

func (c referenceCase) events() []Event {
	var events []Event
	for _, m := range c.Mechanisms {
		e := Event{Mechanism: Mechanism(m.Type), Sensitivity: m.Sensitivity, Count: m.Count}
		switch e.Mechanism {
		case Gaussian, DiscreteGaussian:
			e.Scale = m.Sigma
		case Laplace:
			e.Scale = m.Scale
		case DiscreteLaplace:
			e.Scale = 1 / m.A
		case Skellam:
			e.Scale = math.Sqrt(m.Variance)
		default:
			e.Epsilon, e.Delta = m.Epsilon, m.Delta
		}
		if c.Kind == "skellam_rdp" { // the bound for vectors
			e.L1, e.L2, e.Sensitivity = m.Sensitivity, m.Sensitivity, 0
		}
		events = append(events, e)
	}
	return events
}

// answer returns the brackets of a case, one for each of its answers.
func (c referenceCase) answer() ([]Bracket, error) {
	one := func(b Bracket, err error) ([]Bracket, error) { return []Bracket{b}, err }
	compose := func(events ...Event) (*Accountant, error) { return Compose(events...) }
	switch c.Kind {
	case "rdp", "skellam_rdp":
		a, err := compose(c.events()...)
		if err != nil {
			return nil, err
		}
		var orders []float64
		if err := json.Unmarshal(c.Orders, &orders); err != nil {
			return nil, err
		}
		var out []Bracket
		for _, o := range orders {
			b, err := a.RDP(o)
			if err != nil {
				return nil, err
			}
			out = append(out, b)
		}
		return out, nil
	case "zcdp_to_eps":
		a, err := compose(Event{Mechanism: ZCDP, Rho: c.Rho, Count: 1})
		if err != nil {
			return nil, err
		}
		return one(a.Epsilon(c.Delta))
	case "skellam_rdp_to_eps":
		a, err := compose(Event{Mechanism: Skellam, Scale: math.Sqrt(c.Variance), L1: c.L1, L2: c.L2, Count: c.Count})
		if err != nil {
			return nil, err
		}
		return one(a.Epsilon(c.Delta))
	case "rdp_to_eps", "rdp_to_delta":
		var orders []float64
		if err := json.Unmarshal(c.Orders, &orders); err != nil {
			return nil, err
		}
		a, err := compose(Event{Mechanism: Renyi, Orders: orders, Divergences: c.RDP, Count: 1})
		if err != nil {
			return nil, err
		}
		if c.Kind == "rdp_to_delta" {
			return one(a.Delta(c.Epsilon))
		}
		return one(a.Epsilon(c.Delta))
	case "calibrate_gaussian", "calibrate_gaussian_n", "calibrate_laplace", "calibrate_dlaplace":
		m := map[string]Mechanism{"calibrate_laplace": Laplace, "calibrate_dlaplace": DiscreteLaplace}[c.Kind]
		if m == "" {
			m = Gaussian
		}
		scale, _, err := SmallestScale(Event{Mechanism: m, Sensitivity: c.Sensitivity, Count: max(c.Count, 1)}, Budget{Epsilon: c.Epsilon, Delta: c.Delta})
		return []Bracket{{Lo: scale * (1 - 1e-4), Hi: scale}}, err
	case "partition_selection_optimal":
		var out []Bracket
		for _, n := range c.Users {
			p := optimalKeep(c.Epsilon/c.L0, -math.Expm1(math.Log1p(-c.Delta)/c.L0), n)
			out = append(out, Bracket{Lo: p * (1 - 1e-12), Hi: min(p*(1+1e-12), 1)})
		}
		return out, nil
	case "partition_selection_laplace":
		var keep map[string]float64
		if err := json.Unmarshal(c.KeepProbability, &keep); err != nil {
			return nil, err
		}
		var out []Bracket
		for _, k := range sortedKeys(keep) {
			n, _ := strconv.ParseFloat(k, 64)
			p := laplaceKeep(c.L0/c.Epsilon, -math.Expm1(math.Log1p(-c.Delta)/c.L0), n)
			out = append(out, Bracket{Lo: p * (1 - 1e-12), Hi: min(p*(1+1e-12), 1)})
		}
		return out, nil
	}
	a, err := compose(c.events()...)
	if err != nil {
		return nil, err
	}
	if strings.HasSuffix(c.Kind, "_eps") {
		return one(a.Epsilon(c.Delta))
	}
	return one(a.Delta(c.Epsilon))
}

// expected returns the case's answers, and whether they are exact.
func (c referenceCase) expected() (lo, hi []float64, exact bool, err error) {
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
	sort.Strings(keys)
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

// TestReferenceAnswers checks the known answers by the rule of their README.
func TestReferenceAnswers(t *testing.T) {
	shared := os.Getenv("LARDER_SHARED")
	if shared == "" {
		t.Skip("LARDER_SHARED is not set: it names the folder that holds reference/accounting.json")
	}
	data, err := os.ReadFile(filepath.Join(shared, "reference", "accounting.json"))
	require.NoError(t, err)
	var file struct{ Cases []referenceCase }
	require.NoError(t, json.Unmarshal(data, &file))
	require.Len(t, file.Cases, 105)

	type row struct {
		gap  float64
		text string
	}
	var rows []row
	for i, c := range file.Cases {
		if raceEnabled && i%15 != 0 {
			continue
		}
		start := time.Now()
		got, err := c.answer()
		took := time.Since(start)
		if !assert.NoError(t, err, c.ID) {
			continue
		}
		lo, hi, exact, err := c.expected()
		require.NoError(t, err, c.ID)
		require.Len(t, got, len(lo), c.ID)
		worst := 0.0
		for i, b := range got {
			assert.LessOrEqual(t, b.Lo, b.Hi, c.ID)
			switch {
			case c.Infinite:
				assert.True(t, math.IsInf(b.Hi, 1), c.ID)
			case !exact:
				assert.LessOrEqual(t, b.Lo, hi[i], c.ID)
				assert.GreaterOrEqual(t, b.Hi, lo[i], c.ID)
				worst = max(worst, (b.Hi-b.Lo)/b.Hi)
			case lo[i] == 0:
				assert.Zero(t, b.Lo, c.ID)
				assert.LessOrEqual(t, b.Hi, 1e-15, c.ID)
			default:
				assert.LessOrEqual(t, b.Lo, lo[i]*(1+c.ExactRel), "%s: lo of %d", c.ID, i)
				assert.GreaterOrEqual(t, b.Hi, lo[i]*(1-c.ExactRel), "%s: hi of %d", c.ID, i)
				gap := (b.Hi - b.Lo) / lo[i]
				assert.LessOrEqual(t, gap, 1e-3, c.ID)
				worst = max(worst, gap)
			}
		}
		rows = append(rows, row{worst, fmt.Sprintf("%-32s %-12s %.1e %8.1f ms", c.ID, got[0].Rule, worst, took.Seconds()*1e3)})
	}
	sort.Slice(rows, func(i, j int) bool { return rows[i].gap > rows[j].gap })
	for _, r := range rows[:min(len(rows), 60)] {
		t.Log(r.text)
	}
}
