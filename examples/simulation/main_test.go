package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/larder-dp/larder/federated"
)

// start runs the program.
func start(args ...string) (code int, stdout, stderr string) {
	var out, err bytes.Buffer
	code = run(context.Background(), args, &out, &err)
	return code, out.String(), err.String()
}

// shared is the folder of sample data.
func shared(t *testing.T, name string) string {
	t.Helper()
	dir := os.Getenv("LARDER_SHARED")
	if dir == "" {
		t.Skip("set LARDER_SHARED to the folder of shared data")
	}
	return filepath.Join(dir, "data", name)
}

// readCSV returns the rows below the header.
func readCSV(t *testing.T, header, name string) [][]string {
	t.Helper()
	b, err := os.ReadFile(name)
	require.NoError(t, err)
	rows, err := csv.NewReader(bytes.NewReader(b)).ReadAll()
	require.NoError(t, err)
	require.Equal(t, header, strings.Join(rows[0], ","))
	return rows[1:]
}

const (
	releaseHeader = "store_id,item_id,demand,inventory,net_demand,stddev,low,high"
	membersHeader = "store_id,segment,members,stddev,low,high"
)

var small = []string{"-stores", "4", "-members", "3000", "-lists", "3000"}

func TestGeneratedChain(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "out")
	code, out, errs := start(append(small, "-out", dir)...)
	require.Zero(t, code, errs)
	assert.Empty(t, errs, "nothing on stderr in a pipe")
	for _, want := range []string{
		"4 stores, 133 items in 23 categories", "Ten worst shortages", "95 % interval", "Members per store",
		"4 of 4 stores answered; the quorum is 3", "(ε\u00a0=\u00a01,", "-epsilon 1  -delta 1e-06", "-max-total 80",
		"Only a simulation can know this", "by law",
	} {
		assert.Contains(t, out, want)
	}
	for line := range strings.Lines(out) {
		assert.LessOrEqual(t, len([]rune(line)), 101, line)
	}

	rows := readCSV(t, releaseHeader, filepath.Join(dir, "release.csv"))
	require.Len(t, rows, 4*133+133)
	var total, sum int64
	for _, r := range rows {
		net, err := strconv.ParseInt(r[4], 10, 64)
		require.NoError(t, err)
		if r[0] == "*" {
			total += net
		} else {
			sum += net
		}
		low, _ := strconv.ParseInt(r[6], 10, 64)
		high, _ := strconv.ParseInt(r[7], 10, 64)
		assert.True(t, low <= net && net <= high)
	}
	assert.Equal(t, sum, total, "chain totals are sums of released cells")
	assert.NotEmpty(t, readCSV(t, membersHeader, filepath.Join(dir, "members.csv")))

	b, err := os.ReadFile(filepath.Join(dir, "release.json"))
	require.NoError(t, err)
	var document struct{ Releases []json.RawMessage }
	require.NoError(t, json.Unmarshal(b, &document))
	require.Len(t, document.Releases, 2)
	for _, raw := range document.Releases {
		r, err := federated.ParseRelease(raw)
		require.NoError(t, err)
		assert.Equal(t, federated.UnitMember, r.Label().Unit)
	}
	assert.FileExists(t, filepath.Join(dir, "report.html"))
	assert.FileExists(t, filepath.Join(dir, "nodes", rows[0][0], "exceptions.csv"))

	// A second run replaces the first.
	assert.NotContains(t, out, "Replaced")
	assert.Contains(t, out, "members' noise needs no δ")
	assert.Contains(t, out, "release.csv, members.csv")
	code, out, errs = start(append(small, "-out", dir, "-demand", "sales")...)
	require.Zero(t, code, errs)
	assert.Contains(t, out, "Replaced the former result in "+dir)
	assert.Contains(t, out, "demand is what was sold, from")
	for _, r := range readCSV(t, releaseHeader, filepath.Join(dir, "release.csv")) {
		require.Empty(t, r[3]+r[4], "stock that moves with sales is not told")
	}
}

// TestTruthStaysApart: everything true is under simulation-only, stamped, and
// readable by the owner alone.
func TestTruthStaysApart(t *testing.T) {
	o := defaults
	o.stores, o.members, o.lists, o.maxTotal = 4, 3000, 3000, 80
	w, err := world(t.Context(), o, progress{})
	require.NoError(t, err)
	c, err := newChain(o, w)
	require.NoError(t, err)
	require.NoError(t, c.ask(t.Context(), progress{}))
	truth, err := c.evaluate(t.Context(), progress{})
	require.NoError(t, err)
	// Canaries: true sums that no noise will hit.
	truth.clipping.full, truth.clipping.kept, truth.clipping.capped = 987654321012, 987654320012, 987654321011
	for _, withTruth := range []bool{true, false} {
		dir := filepath.Join(t.TempDir(), "out")
		told := truth
		if !withTruth {
			told = nil
		}
		require.NoError(t, c.write(dir, told))
		stamped := 0
		require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			b, err := os.ReadFile(path)
			if strings.Contains(path, "simulation-only") {
				stamped++
				assert.True(t, strings.HasPrefix(string(b), "DO NOT SHARE"), path)
				assert.Contains(t, string(b), "987,654,321,012")
				return err
			}
			for _, canary := range []string{"98765432", "987,654", "by law", "bounded truth"} {
				assert.NotContains(t, string(b), canary, path)
			}
			return err
		}))
		assert.Equal(t, withTruth, stamped == 1)
	}
}

// TestSeedFixesTheWorldAndNotTheNoise runs one seed twice.
func TestSeedFixesTheWorldAndNotTheNoise(t *testing.T) {
	type once struct {
		epoch   string
		truth   [][]int64
		noised  []int64
		dropped map[federated.NodeID]bool
	}
	runs := map[string]once{}
	for name, seed := range map[string]uint64{"a": 7, "b": 7, "other": 8} {
		o := defaults
		o.stores, o.members, o.lists, o.maxTotal, o.seed, o.drop = 5, 500, 500, 80, seed, 0.2
		w, err := world(t.Context(), o, progress{})
		require.NoError(t, err)
		c, err := newChain(o, w)
		require.NoError(t, err)
		require.NoError(t, c.ask(t.Context(), progress{}))
		r := once{epoch: w.Epoch, dropped: c.dropped}
		q := c.demand.query.Question()
		for _, s := range w.Stores {
			v, err := exact(s, q, index(q.Partitions))
			require.NoError(t, err)
			r.truth = append(r.truth, v)
		}
		for cell := range c.demand.release.Cells() {
			r.noised = append(r.noised, cell.Noised)
		}
		runs[name] = r
	}
	assert.Equal(t, runs["a"].truth, runs["b"].truth)
	assert.Equal(t, runs["a"].epoch, runs["b"].epoch)
	assert.Equal(t, runs["a"].dropped, runs["b"].dropped)
	assert.NotEqual(t, runs["a"].noised, runs["b"].noised, "532 values of noise cannot agree")
	assert.NotEqual(t, runs["a"].truth, runs["other"].truth)
	assert.NotEqual(t, runs["a"].epoch, runs["other"].epoch)
}

// TestSmallestChain: one store is one home, and needs the noise of one.
func TestSmallestChain(t *testing.T) {
	code, out, errs := start("-stores", "1", "-members", "1", "-lists", "1")
	require.Zero(t, code, errs)
	assert.Contains(t, out, "-max-nodes 1")
	assert.Contains(t, out, "1 member, 1 list, 1 sale")
	assert.Contains(t, out, "1 of 1 store answered")
	caveat := strings.Index(out, "All of these may be noise alone: the largest noise of 133 values")
	assert.Positive(t, caveat)
	assert.Less(t, caveat, strings.Index(out, "net demand  95 %"), "above the table")
}

// TestWarnings: a budget that protects nobody is said to, at each place.
func TestWarnings(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "out")
	page := func() string {
		b, err := os.ReadFile(filepath.Join(dir, "report.html"))
		require.NoError(t, err)
		return string(b)
	}
	few := []string{"-stores", "2", "-members", "9", "-lists", "9", "-out", dir}
	code, out, errs := start(append(few, "-epsilon", "1e6")...)
	require.Zero(t, code, errs)
	assert.Contains(t, out, "this protects nobody")
	assert.Contains(t, errs, "this protects nobody")
	assert.Equal(t, 1, strings.Count(errs, "\n"), errs)
	assert.Contains(t, page(), "This page protects nobody")
	assert.NotContains(t, page(), "no single customer can be seen")
	assert.Contains(t, out, "(unused: this noise needs no δ)")

	code, out, errs = start(append(few, "-delta", "0.01")...)
	require.Zero(t, code, errs)
	assert.Empty(t, errs)
	assert.Regexp(t, `(?m)^WARNING: δ.=.0.01 is high: .* members, such as 1e-6\.$`, out)
	assert.Contains(t, page(), "is high:")

	code, out, errs = start(append(few, "-delta", "0.01", "-mechanism", "laplace")...)
	require.Zero(t, code, errs)
	assert.NotContains(t, out, "WARNING", "this δ is not spent")
	assert.Contains(t, page(), "no single customer can be seen")
}

func TestDrop(t *testing.T) {
	code, out, errs := start(append(small, "-drop", "0.25")...)
	require.Zero(t, code, errs)
	assert.Contains(t, out, "3 of 4 stores answered")
	assert.Contains(t, out, "Not in the numbers: S")

	dir := filepath.Join(t.TempDir(), "out")
	code, out, errs = start(append(small, "-drop", "0.5", "-out", dir)...)
	assert.Equal(t, exitFailed, code)
	assert.Empty(t, out, "no number below the quorum")
	assert.Equal(t, 1, strings.Count(errs, "\n"), errs)
	assert.Contains(t, errs, "2 of 4 nodes answered, the quorum is 3")
	assert.True(t, strings.HasSuffix(errs, "; -drop 0.5 takes 2 of 4 stores; at most 1 may drop\n"), errs)
	assert.NoDirExists(t, dir)
}

// TestListsWithoutNoise: at this ε the noise rounds to nothing, so that the whole
// way of the data is compared with the result of the program it grew from.
func TestListsWithoutNoise(t *testing.T) {
	data := shared(t, "lists")
	flags := []string{
		"-data", data, "-format", "lists", "-epsilon", "1e6", "-delta", "1e-9",
		"-max-items", "30", "-max-quantity", "20", "-max-nodes", "2",
	}
	want := map[[2]string]string{}
	for _, r := range readCSV(t, "store_id,item_id,quantity", filepath.Join(data, "expected_final_result.csv")) {
		n, err := strconv.ParseInt(r[2], 10, 64)
		require.NoError(t, err)
		want[[2]string{r[0], r[1]}] = whole(-n)
	}
	require.Len(t, want, 399)
	for _, mechanism := range []string{"auto", "laplace", "discrete_laplace", "discrete_gaussian"} {
		dir := filepath.Join(t.TempDir(), "out")
		code, out, errs := start(append(flags, "-mechanism", mechanism, "-out", dir)...)
		require.Zero(t, code, errs)
		assert.NotContains(t, out, "simulation can know")
		assert.NoDirExists(t, filepath.Join(dir, "simulation-only"))
		got := map[[2]string]string{}
		for _, r := range readCSV(t, releaseHeader, filepath.Join(dir, "release.csv")) {
			if r[0] != "*" {
				got[[2]string{r[0], r[1]}] = r[4]
			}
		}
		assert.Equal(t, want, got, mechanism)
	}
	code, _, errs := start(append(flags, "-mechanism", "gaussian")...)
	assert.Equal(t, exitFlags, code)
	assert.Contains(t, errs, "gaussian")
	assert.Equal(t, 1, strings.Count(errs, "\n"), errs)
}

// TestCompleteJourney runs the real transactions at each level, and counts how
// often the intervals hold the bounded truth.
//
// At the level of categories those are 89,072 independent draws. The law's own
// coverage is at least 95 %, so a share has a standard deviation of at most
// √(0.95·0.05/89,072) = 0.073 points: 0.4 points are 5.4 of them, a false alarm in
// less than 10⁻⁷ of the runs. The other levels get the same false-alarm rate.
func TestCompleteJourney(t *testing.T) {
	data := shared(t, "completejourney")
	if testing.Short() {
		return // 75,000 rows, one after the other
	}
	rows := []struct {
		level    string
		cells    int
		distance int // whose coverage is counted
	}{
		{"department", 293 * 32, 0},
		{"category", 293 * 304, 0},
		{levelProduct, 92_331, 1}, // the chain totals; per store, only selected cells
	}
	if raceDetector {
		// A minute for the others, which have no concurrency of their own.
		rows = rows[:1]
	}
	for _, row := range rows {
		t.Run(row.level, func(t *testing.T) {
			o, err := parseOptions([]string{"-data", data, "-format", "completejourney", "-demand", "sales", "-level", row.level}, nil)
			require.NoError(t, err)
			w, err := world(t.Context(), o, progress{})
			require.NoError(t, err)
			c, err := newChain(o, w)
			require.NoError(t, err)
			require.NoError(t, c.ask(t.Context(), progress{}))

			var out strings.Builder
			dir := filepath.Join(t.TempDir(), "out")
			require.NoError(t, c.write(dir, nil))
			require.NoError(t, c.print(&out, nil))
			assert.Contains(t, out.String(), "one household at one store")
			assert.NotContains(t, out.String(), "by law")
			assert.NoDirExists(t, filepath.Join(dir, "simulation-only"))
			cells := 0
			for _, r := range readCSV(t, releaseHeader, filepath.Join(dir, "release.csv")) {
				require.Empty(t, r[3]+r[4], "there is no inventory")
				if (r[0] == "*") == (row.level == levelProduct) {
					cells++
				}
			}
			assert.Equal(t, row.cells, cells)
			assertLabels(t, filepath.Join(dir, "release.json"), row.level)
			assertExceptions(t, filepath.Join(dir, "nodes"))

			truth, err := c.evaluate(t.Context(), progress{})
			require.NoError(t, err)
			d := truth.distances[row.distance]
			require.Equal(t, row.cells, d.cells)
			assert.GreaterOrEqual(t, d.law, 0.95)
			const sigmas = 5.4
			assert.InDelta(t, d.law, d.share(), sigmas*math.Sqrt(d.law*(1-d.law)/float64(d.cells)))
			if row.level == "category" {
				assert.InDelta(t, d.law, d.share(), 0.004)
			}
		})
	}
}

// TestEvaluate: with data, the truth is told under -evaluate only, and apart.
func TestEvaluate(t *testing.T) {
	data := shared(t, "lists")
	dir := filepath.Join(t.TempDir(), "out")
	code, out, errs := start("-data", data, "-format", "lists", "-evaluate", "-out", dir)
	require.Zero(t, code, errs)
	assert.NotContains(t, out, "by law")
	b, err := os.ReadFile(filepath.Join(dir, "simulation-only", "evaluation.txt"))
	require.NoError(t, err)
	assert.True(t, strings.HasPrefix(string(b), "DO NOT SHARE"))
	assert.Regexp(t, `net demand per store +399 .* %\n`, string(b))

	// The next run in the same folder takes the truth away.
	code, _, errs = start("-data", data, "-format", "lists", "-out", dir)
	require.Zero(t, code, errs)
	assert.NoDirExists(t, filepath.Join(dir, "simulation-only"))
}

// assertLabels checks that all releases protect a household at one store, and
// that they cost no more than the run's budget.
func assertLabels(t *testing.T, name, level string) {
	t.Helper()
	b, err := os.ReadFile(name)
	require.NoError(t, err)
	var document struct {
		Releases []struct{ Label federated.Label }
	}
	require.NoError(t, json.Unmarshal(b, &document))
	want := 2
	if level == levelProduct {
		want = 3
	}
	require.Len(t, document.Releases, want)
	var epsilon, delta float64
	for _, r := range document.Releases {
		assert.Equal(t, federated.UnitMemberAtNode, r.Label.Unit)
		assert.NotEmpty(t, r.Label.Reach)
		epsilon += r.Label.Cost.Epsilon
		delta += r.Label.Cost.Delta
	}
	assert.InDelta(t, 1, epsilon, 1e-9)
	assert.LessOrEqual(t, delta, 1e-6*(1+1e-9))
}

// assertExceptions: 416 rows of quantity 0 and one sales value that is no plain
// number, each once.
func assertExceptions(t *testing.T, dir string) {
	t.Helper()
	places, reasons := map[string]int{}, 0
	require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".csv" {
			return err
		}
		for _, r := range readCSV(t, "file,line,dropped,reasons", path) {
			places[r[0]+":"+r[1]]++
			reasons += 1 + strings.Count(r[3], "; ")
			assert.NotEmpty(t, r[3])
		}
		return nil
	}))
	assert.Len(t, places, 417)
	assert.GreaterOrEqual(t, reasons, 417)
	for place, n := range places {
		assert.Equal(t, 1, n, place)
	}
}
