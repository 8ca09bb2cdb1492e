package main

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the golden files anew")

// start runs the program.
func start(args ...string) (code int, stdout, stderr string) {
	var out, err bytes.Buffer
	code = run(args, &out, &err)
	return code, out.String(), err.String()
}

// TestGolden: the whole output, which has no randomness in it.
func TestGolden(t *testing.T) {
	for name, flags := range map[string]string{
		"year":       "",
		"mechanisms": "-plan plans/mechanisms.json",
		"lists":      "-plan plans/lists.json",
		"season":     "-season weeks=52 -peaks 47,51 -epsilon 1 -delta 1e-6 -weeks-per-unit 4",
		"short":      "-season weeks=3 -epsilon 1 -delta 1e-6 -weeks-per-unit 3 -max-items 1 -max-quantity 1 -max-nodes 1",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			code, out, errs := start(strings.Fields(flags)...)
			require.Zero(t, code, errs)
			assert.Empty(t, errs, "nothing on stderr in a pipe")
			for line := range strings.Lines(out) {
				assert.LessOrEqual(t, len([]rune(line)), 112, line)
			}
			file := filepath.Join("testdata", name+".txt")
			if *update {
				require.NoError(t, os.WriteFile(file, []byte(out), 0o644))
			}
			want, err := os.ReadFile(file)
			require.NoError(t, err)
			assert.Equal(t, string(want), out, "-update writes %s anew", file)
		})
	}
}

func TestRefusals(t *testing.T) {
	file := filepath.Join(t.TempDir(), "plan.json")
	require.NoError(t, os.WriteFile(file, []byte("{\"name\": \"p\",\n\"delta\": 2, \"lines\": []}"), 0o644))
	const season = "-season weeks=10 -epsilon 1 -delta 1e-6 -weeks-per-unit 2 "
	for _, row := range []struct{ flags, want string }{
		{"-plan=", "-plan is empty"},
		{"-plan a -season weeks=3", "-plan and -season are different jobs: give one of them"},
		{"-plan a -cases b", "-plan and -cases are different jobs"},
		{"-cases a -out b", "leave -out out"},
		{"-plan " + filepath.Join(filepath.Dir(file), "gone.json"), "no such file"},
		{"-plan " + file, file + ": line 2: delta: give a number from 0 to below 1"},
		{"-cases " + filepath.Join(filepath.Dir(file), "gone.json"), "no such file"},
		{"-peaks 3", "-peaks describes a season: give -season weeks=N too"},
		{"-epsilon 3", "-epsilon describes a season"},
		{"-season 52", "-season needs -epsilon: it has no default"},
		{"-season weeks=52 -epsilon 1", "-season needs -delta"},
		{"-season weeks=52 -epsilon 1 -delta 1e-6", "-season needs -weeks-per-unit"},
		{"-season 52 -epsilon 1 -delta 1e-6 -weeks-per-unit 2", "-season 52: give weeks=N, with N from 1 to 520"},
		{"-season weeks=521 -epsilon 1 -delta 1e-6 -weeks-per-unit 2", "with N from 1 to 520"},
		{season + "-peaks 11", "-peaks 11: give weeks from 1 to 10"},
		{season + "-peaks 3,x", "-peaks 3,x: give weeks"},
		{season + "-peaks 3,3", "week 3 is there twice"},
		{season + "-peak-weight 3", "give -peaks too"},
		{season + "-peaks 3 -peak-weight 0.5", "give a number from 1 to 1000"},
		{season + "-peaks 3 -peak-weight NaN", "give a number from 1 to 1000"},
		{season + "-weeks-per-unit 11", "-weeks-per-unit 11: give 1 to 10 weeks"},
		{season + "-epsilon NaN", "-epsilon NaN: give a finite number above 0"},
		{season + "-delta 0", "-delta 0: give a number above 0 and below 1"},
		{season + "-epsilon 1e-300", "no noise keeps them"},
		{season + "-max-items 0", "-max-items is 0: give a whole number from 1"},
		{season + "-max-total 81", "-max-total is 81: give a whole number from 1 to 80"},
		{"now", `"now" is not a flag`},
		{"-v", "flag provided but not defined"},
	} {
		code, out, errs := start(strings.Fields(row.flags)...)
		assert.Equal(t, exitFlags, code, row.flags)
		assert.Empty(t, out, row.flags)
		assert.Contains(t, errs, row.want, row.flags)
		assert.Equal(t, 1, strings.Count(errs, "\n"), "one line: %q", errs)
		assert.True(t, strings.HasPrefix(errs, "planner: "))
	}
}

func TestHelp(t *testing.T) {
	code, out, errs := start("-help")
	assert.Zero(t, code)
	assert.Empty(t, errs)
	for _, flag := range append([]string{"plan", "out", "cases", "season"}, seasonFlags...) {
		assert.Contains(t, out, "  -"+flag)
	}
}

// TestNothingFinite: a δ that the lines give away by themselves is an answer, not a failure.
func TestNothingFinite(t *testing.T) {
	file := filepath.Join(t.TempDir(), "plan.json")
	require.NoError(t, os.WriteFile(file, []byte(`{"name": "p", "delta": 1e-9, "epsilon": 1, "lines": [
		{"name": "x", "event": {"mechanism": "approx_dp", "epsilon": 0.1, "delta": 1e-6, "count": 3}}]}`), 0o644))
	code, out, errs := start("-plan", file, "-out", t.TempDir())
	assert.Equal(t, exitFailed, code, "a script must see it")
	assert.Contains(t, errs, "its budget of ε = 1 does not hold it: it takes ε = ∞")
	assert.Contains(t, out, "No finite ε at δ = 1e-09")
	assert.Contains(t, out, "does NOT hold it")

	require.NoError(t, os.WriteFile(file, []byte(`{"name": "p", "delta": 0, "lines": [
		{"name": "x", "event": {"mechanism": "gaussian", "scale": 9, "sensitivity": 1, "count": 3}},
		{"name": "y", "event": {"mechanism": "gaussian", "scale": 5, "sensitivity": 1, "count": 3}}]}`), 0o644))
	code, out, errs = start("-plan", file, "-out", t.TempDir())
	require.Zero(t, code, errs)
	assert.NotContains(t, out, "NaN", "what either has of ∞")
	assert.Regexp(t, `x +3 +∞ +– `, out)
}

func TestOutThatCannotBe(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o644))
	code, out, errs := start("-out", file)
	assert.Equal(t, exitFailed, code)
	assert.Empty(t, out)
	assert.Contains(t, errs, "write -out")
}
