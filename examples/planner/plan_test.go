package main

import (
	"io/fs"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/larder-dp/larder/dp"
)

// samples are the plans that come with the program.
func samples(t testing.TB) map[string][]byte {
	t.Helper()
	out := map[string][]byte{}
	names, err := fs.Glob(plans, "plans/*.json")
	require.NoError(t, err)
	require.NotEmpty(t, names)
	for _, name := range names {
		b, err := plans.ReadFile(name)
		require.NoError(t, err)
		out[name] = b
	}
	return out
}

func TestSamplesCanBePaid(t *testing.T) {
	for name, b := range samples(t) {
		p, err := parsePlan(b)
		require.NoError(t, err, name)
		steps := 0
		bill, err := p.cost(func() { steps++ })
		require.NoError(t, err, name)
		assert.Equal(t, p.work(), steps)
		assert.Less(t, bill.total.Hi, bill.added, name)
		assert.False(t, math.IsInf(bill.total.Hi, 1), name)
		if p.Epsilon > 0 {
			assert.LessOrEqual(t, bill.total.Hi, p.Epsilon, name)
		}
		for _, l := range bill.lines {
			assert.Positive(t, l.share, "%s: %s", name, l.Name)
			assert.LessOrEqual(t, l.share, l.alone*(1+1e-3)+1e-9, "%s: %s costs less beside others than alone", name, l.Name)
		}
		assert.Less(t, bill.other[0].total, bill.total.Hi)
		assert.Greater(t, bill.other[1].total, bill.total.Hi)
	}
}

// oneLinePlan is a plan of the given line.
func oneLinePlan(line string) string {
	return "{\"name\": \"p\", \"delta\": 1e-6,\n\"lines\": [\n" + line + "\n]}"
}

// TestPlanSaysWhatIsWrong: the line of the file, the field, and what to give.
func TestPlanSaysWhatIsWrong(t *testing.T) {
	const bounds = `"bounds": {"l0": 20, "linf": 4, "l1": 40, "max_nodes": 2}`
	const privacy = `"privacy": {"epsilon": 1, "delta": 1e-9, "mechanism": "gaussian"}`
	for _, row := range []struct{ plan, want string }{
		{``, "line 1: the file ends too early"},
		{`[]`, "line 1: give an object"},
		{`{"name": "p"}`, "line 1: delta is missing"},
		{"{\n\"name\": \"p\",\n\"name\": \"q\"}", "line 3: name: given twice"},
		{"{\"name\": \"p\", \"delta\": 1e-6, \"lines\": [],\n\"total\": 3}", "line 2: total: no such field: give some of name, delta, lines, epsilon"},
		{`{"name": "p", "delta": 1e-6, "lines": []}`, "lines: give a list of 1 to 100 lines"},
		{`{"name": "p", "delta": 1, "lines": [1]}`, "delta: give a number from 0 to below 1"},
		{`{"name": "p", "delta": 1e-6, "epsilon": 0, "lines": [1]}`, "epsilon: give a number above 0, or leave it out"},
		{`{"name": "p", "delta": "1e-6", "lines": [1]}`, "delta: give a number"},
		{`{"name": "p", "delta": 1e999, "lines": [1]}`, "out of range"},
		{`{"name": " p", "delta": 0, "lines": [1]}`, "name: a name has 1 to 60 characters"},
		{`{"name": "a\u001bb", "delta": 0, "lines": [1]}`, "no control characters"},
		{`{"name": "p", "delta": 0, "lines": [1]} 2`, "there is more after the end"},
		{`{"name": "p", "delta": 0, "lines": [`, "ends too early"},
		{strings.Repeat("[", 20), "nested too deep"},
		{oneLinePlan(`{"name": "x"}`), "line 3: lines[0]: give a name, and one of event, question, season"},
		{oneLinePlan(`{"name": "x", "event": {"mechanism": "laplace", "count": 1, "sensitivity": 1}}`), "line 3: lines[0].event: scale is missing"},
		{oneLinePlan("{\"name\": \"x\", \"event\":\n{\"mechanism\": \"auto\", \"count\": 1}}"), "line 4: lines[0].event: mechanism is none"},
		{oneLinePlan(`{"name": "x", "event": {"mechanism": "laplace", "count": 1.5}}`), "lines[0].event.count: 1.5 is not a whole number"},
		{oneLinePlan(`{"name": "x", "event": {"mechanism": "gauss", "count": 1, "sigma": 2}}`), "lines[0].event.sigma: no such field"},
		{oneLinePlan(`{"name": "x", "question": {` + privacy + `, ` + bounds + `, "shape": "round", "count": 1}}`), "lines[0].question.shape: it is disjoint or summed"},
		{oneLinePlan(`{"name": "x", "question": {` + privacy + `, ` + bounds + `, "shape": "summed", "count": 0}}`), "lines[0].question.count: give a whole number from 1"},
		{oneLinePlan(`{"name": "x", "question": {` + privacy + `, ` + bounds + `, "shape": "summed"}}`), "lines[0].question: count is missing"},
		{oneLinePlan(`{"name": "x", "question": {"privacy": {"epsilon": 1, "mechanism": "laplace"}, ` + bounds + `, "shape": "summed", "count": 1}}`), "lines[0].question.privacy: delta is missing"},
		{oneLinePlan(`{"name": "x", "question": {"privacy": {"epsilon": 0, "delta": 0, "mechanism": "laplace"}, ` + bounds + `, "shape": "summed", "count": 1}}`), "lines[0].question.privacy: epsilon must be finite and above 0"},
		{oneLinePlan(`{"name": "x", "question": {"privacy": {"epsilon": 300, "delta": 1e-9, "mechanism": "gaussian"}, ` + bounds + `, "shape": "summed", "count": 1}}`), "gaussian takes an epsilon of at most 256"},
		{oneLinePlan(`{"name": "x", "season": {` + privacy + `, ` + bounds + `, "weeks": 3, "weeks_per_unit": 4, "stores": 2, "items": 1}}`), "lines[0].season.weeks_per_unit: there are 3 weeks"},
		{oneLinePlan(`{"name": "x", "season": {` + privacy + `, ` + bounds + `, "weeks": 3, "weeks_per_unit": 3, "stores": 1, "items": 1}}`), "lines[0].season.bounds: max_nodes is 2, and there are 1 stores"},
		{oneLinePlan(`{"name": "x", "season": {` + privacy + `, "bounds": {"l0": 2, "linf": 4, "l1": 9, "max_nodes": 1}, "weeks": 3, "weeks_per_unit": 3, "stores": 1, "items": 1}}`), "lines[0].season.bounds: l1 is 9: give a whole number from 1 to 8"},
		{"\xff", "UTF-8"},
		{strings.Repeat(" ", mostBytes+1), "at most"},
	} {
		p, err := parsePlan([]byte(row.plan))
		require.ErrorContains(t, err, row.want, row.plan)
		assert.Empty(t, p)
	}
}

// TestFactorsOfEvents: twice the ε is half the noise, or four times ρ.
func TestFactorsOfEvents(t *testing.T) {
	at := func(e dp.Event) dp.Event {
		out, err := line{Event: &e}.at(2)
		require.NoError(t, err)
		return out
	}
	assert.Equal(t, 5.0, at(dp.Event{Mechanism: dp.Laplace, Scale: 10, Sensitivity: 1, Count: 3}).Scale)
	assert.Equal(t, 0.2, at(dp.Event{Mechanism: dp.PureDP, Epsilon: 0.1, Count: 3}).Epsilon)
	assert.Equal(t, 0.04, at(dp.Event{Mechanism: dp.ZCDP, Rho: 0.01, Count: 3}).Rho)
	renyi := dp.Event{Mechanism: dp.Renyi, Orders: []float64{2}, Divergences: []float64{1}, Count: 1}
	assert.Equal(t, renyi, at(renyi))
}

// TestSpread: against the noise of dp, which is of the laws that are really sampled, and the closed forms.
func TestSpread(t *testing.T) {
	s, err := dp.Bounds{L0: 3, LInf: 2, L1: 5, MaxNodes: 1}.Sensitivity(dp.Disjoint)
	require.NoError(t, err)
	for _, m := range []dp.Mechanism{dp.DiscreteLaplace, dp.DiscreteGaussian} {
		for _, epsilon := range []float64{8, 1, 0.1, 1e-5} {
			n, err := dp.Calibrate(dp.Params{Epsilon: epsilon, Delta: 1e-9, Mechanism: m}, s)
			require.NoError(t, err)
			want, _, err := n.Interval(1, confidence)
			require.NoError(t, err)
			stdDev, half, ok := spread(m, n.Scale())
			require.True(t, ok)
			assert.InDelta(t, float64(want), half, 1+2e-4*float64(want), "%s at ε %g", m, epsilon)
			assert.InEpsilon(t, n.StdDev(), stdDev, 2e-3, "%s at ε %g", m, epsilon)
		}
	}
	_, half, _ := spread(dp.Laplace, 10)
	assert.InEpsilon(t, 1-confidence, math.Exp(-half/10), 1e-12)
	_, half, _ = spread(dp.Gaussian, 10)
	assert.InEpsilon(t, 1-confidence, math.Erfc(half/10/math.Sqrt2), 1e-12)
	_, _, ok := spread(dp.ZCDP, 0)
	assert.False(t, ok)
}

// TestAddedUp: what an officer without an accountant reckons.
func TestAddedUp(t *testing.T) {
	pure := dp.Event{Mechanism: dp.PureDP, Epsilon: 0.1, Count: 52}
	sum, err := addedUp(1e-6, []dp.Event{pure})
	require.NoError(t, err)
	assert.InEpsilon(t, 5.2, sum, 1e-9)
	gauss := dp.Event{Mechanism: dp.Gaussian, Scale: 20, Sensitivity: 1, Count: 48}
	sum, err = addedUp(1e-6, []dp.Event{pure, gauss})
	require.NoError(t, err)
	gauss.Count = 1
	one, err := epsilonAt(1e-6/48, []dp.Event{gauss}) // the pure ones need none
	require.NoError(t, err)
	assert.InEpsilon(t, 5.2+48*one, sum, 1e-9)
	gauss.Count = 48
	selection := dp.Event{Mechanism: dp.PartitionSelection, Epsilon: 0.2, Delta: 2e-7, Count: 3} // more than an equal share each
	sum, err = addedUp(1e-6, []dp.Event{pure, gauss, selection})
	require.NoError(t, err)
	gauss.Count = 1
	one, err = epsilonAt(4e-7/48, []dp.Event{gauss})
	require.NoError(t, err)
	assert.InEpsilon(t, 5.2+48*one+0.6, sum, 1e-9)
	selection.Count = 6
	sum, err = addedUp(1e-6, []dp.Event{selection})
	require.NoError(t, err)
	assert.True(t, math.IsInf(sum, 1), "more than all of it")
	sum, err = addedUp(0, []dp.Event{gauss})
	require.NoError(t, err)
	assert.True(t, math.IsInf(sum, 1))
}

// FuzzPlan: what is accepted is written as a plan that reads back as the same; on an error nothing is returned.
// What it costs is computed elsewhere: a calibration takes longer than thousands of inputs.
func FuzzPlan(f *testing.F) {
	for _, b := range samples(f) {
		f.Add(b)
	}
	f.Add([]byte(oneLinePlan(`{"name": "x", "event": {"mechanism": "renyi", "orders": [2, 4.5], "divergences": [0.1, 0.2], "count": 1e3}}`)))
	f.Add([]byte(oneLinePlan(`{"name": "x", "event": {"mechanism": "skellam", "scale": 30, "l1": 20, "l2": 4, "count": 3}}`)))
	f.Add([]byte(`{"name": "p", "delta": 1e-6, "lines": [{}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := parsePlan(b)
		if err != nil {
			require.Empty(t, p)
			require.NotContains(t, err.Error(), "\n")
			return
		}
		text, err := p.text()
		require.NoError(t, err)
		again, err := parsePlan(text)
		require.NoError(t, err, "%s", text)
		require.Equal(t, p, again)
	})
}
