package main

import (
	"bytes"
	"context"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// start runs the program.
func start(args ...string) (code int, stdout, stderr string) {
	var out, err bytes.Buffer
	code = run(context.Background(), args, &out, &err)
	return code, out.String(), err.String()
}

func number(t *testing.T, s string) float64 {
	t.Helper()
	x, err := strconv.ParseFloat(strings.ReplaceAll(s, ",", ""), 64)
	require.NoError(t, err)
	return x
}

// unionRow finds the row of the table of unions for that many stores: the sketch's answer, its σ,
// the truth and the true sum.
func unionRow(t *testing.T, out string, stores string) (sketch, sigma, truth, sum float64) {
	t.Helper()
	row := regexp.MustCompile(`(?m)^` + stores + ` +(\S+)  +\S+ to \S+ +(\S+) .* (\S+) +(\S+)$`).FindStringSubmatch(out)
	require.NotNil(t, row, out)
	return number(t, row[1]), number(t, row[2]), number(t, row[3]), number(t, row[4])
}

// The noise is the real one, so that every limit here is one that it passes with a
// probability below 1e-9: nine standard deviations, or a count of rare events.
func TestGeneratedChain(t *testing.T) {
	t.Parallel()
	code, out, errs := start("-stores", "12", "-members", "3000")
	require.Zero(t, code, errs)
	assert.Empty(t, errs, "nothing on stderr in a pipe")
	for _, want := range []string{
		"12 stores; the privacy unit is one member with all that she does", "that pass the selection", "flipped: 95 %",
		"Members whom the two largest stores share", "[15,∞)", "quintiles, found privately", "Spend per section", "What it cost", "together",
	} {
		assert.Contains(t, out, want)
	}
	for line := range strings.Lines(out) {
		assert.LessOrEqual(t, len([]rune(line)), 111, line)
	}
	sketch, sigma, truth, sum := unionRow(t, out, "12")
	assert.EqualValues(t, 3000, truth, "everyone buys")
	assert.Greater(t, sum, truth)
	assert.Less(t, math.Abs(sketch-truth), 9*sigma+20)
	assert.Contains(t, out, "13  1e-06", "twelve questions, one of which a member pays at each of two homes")
}

// The Complete Journey. The program reads it through package source, which rejects rows of
// quantity 0: of 2,377 households 2,373 are left, of 6,363 pairs 6,342.
func TestCompleteJourney(t *testing.T) {
	dir := os.Getenv("LARDER_SHARED")
	if dir == "" {
		t.Skip("set LARDER_SHARED to the folder of shared data")
	}
	if testing.Short() {
		return // 75,000 rows, one after the other
	}
	dir = filepath.Join(dir, "data", "completejourney")
	code, out, errs := start("-data", dir, "-evaluate")
	require.Zero(t, code, errs)
	assert.Empty(t, errs)
	assert.Contains(t, out, "The stores are those that the records name, which is not private.")
	assert.Contains(t, out, "The δ of who is seen at 2, 4, 8 stores is 2e-06, 4e-06, 8e-06.")
	assert.Contains(t, out, "another run over the same data spends again")
	sketch, sigma, truth, sum := unionRow(t, out, "293")
	assert.Equal(t, [2]float64{2373, 6342}, [2]float64{truth, sum})
	assert.Less(t, sigma, 8.0)
	assert.Less(t, math.Abs(sketch-2377), 80.0)
	for _, n := range []string{"3", "10", "100"} {
		sketch, sigma, truth, sum := unionRow(t, out, n)
		assert.Less(t, math.Abs(sketch-truth), 9*sigma+20, n)
		assert.Greater(t, sum, truth, n)
	}
	told := regexp.MustCompile(`Truth: 180 stores have fewer than 5\. Selected: (\d+) of them\.`).FindStringSubmatch(out)
	require.NotNil(t, told, out)
	assert.LessOrEqual(t, number(t, told[1]), 3.0, "each with a probability of 1e-6 to 1e-5")
	assert.Contains(t, out, "DO NOT SHARE")

	code, out, errs = start("-data", dir)
	require.Zero(t, code, errs)
	for _, not := range []string{"ruth", "DO NOT SHARE"} {
		assert.NotContains(t, out, not)
	}
}

func TestFlags(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		"-x":                               "not defined",
		"data":                             "not a flag",
		"-data=":                           "is empty",
		"-data a -stores 4":                "generated chain",
		"-evaluate":                        "for -data",
		"-epsilon 0":                       "0.001",
		"-epsilon NaN":                     "0.001",
		"-delta 1":                         "below 1",
		"-stores 2":                        "3 to 1000",
		"-data " + "testdata-is-not-there": "no such",
	} {
		code, out, errs := start(strings.Fields(args)...)
		assert.Equal(t, 2, code, args)
		assert.Contains(t, errs, want, args)
		assert.Equal(t, 1, strings.Count(errs, "\n"), errs)
		assert.Empty(t, out, args)
	}
	code, out, errs := start("-help")
	assert.Zero(t, code, errs)
	assert.Contains(t, out, "-evaluate")
}
