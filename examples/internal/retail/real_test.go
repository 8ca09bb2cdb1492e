package retail

import (
	"cmp"
	"compress/gzip"
	"encoding/csv"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/larder-dp/larder/federated"
)

// shared is a folder of data that is not in the repository.
func shared(t *testing.T, name string) string {
	t.Helper()
	root := os.Getenv("LARDER_SHARED")
	if root == "" {
		t.Skip("LARDER_SHARED is not set: it names the folder that has data/lists and data/completejourney")
	}
	return filepath.Join(root, "data", name)
}

// table reads columns of a CSV file with package encoding/csv.
func table(t *testing.T, path string, columns ...string) [][]string {
	t.Helper()
	f, err := os.Open(path)
	require.NoError(t, err)
	defer func() { _ = f.Close() }()
	var in io.Reader = f
	if filepath.Ext(path) == ".gz" {
		in, err = gzip.NewReader(f)
		require.NoError(t, err)
	}
	rows, err := csv.NewReader(in).ReadAll()
	require.NoError(t, err)
	out := make([][]string, len(rows)-1)
	for _, name := range columns {
		k := slices.Index(rows[0], name)
		require.GreaterOrEqual(t, k, 0, name)
		for i, row := range rows[1:] {
			out[i] = append(out[i], row[k])
		}
	}
	return out
}

// The sample lists: every cell is what their author printed (inventory −
// demand).
func TestRealLists(t *testing.T) {
	dir := shared(t, "lists")
	w := load(t, dir, LoadOptions{Format: FormatLists})
	assert.Equal(t, []string{"4936", "8040", "9916"}, ids(w))
	assert.Len(t, w.Items, 133)
	assert.Equal(t, federated.UnitList, w.Unit)
	assert.Empty(t, w.Unassigned)
	lists, cells, net := map[string]int{}, 0, map[string]int64{}
	for i, s := range w.Stores {
		assert.Empty(t, s.Exceptions)
		for _, r := range all(t, s.Lists) {
			lists[r.ID]++
			assert.Len(t, r.Stores, 2)
		}
		wanted, have := demand(t, s.Lists), stock(t, s)
		assert.Equal(t, []int64{135, 76, 59}[i], sum(wanted))
		assert.Equal(t, []int64{263, 281, 276}[i], sum(have))
		cells += len(have)
		for item, n := range have {
			net[string(s.ID)+" "+item] = n - wanted[item]
		}
	}
	assert.Equal(t, 399, cells)
	assert.Len(t, lists, 5)
	for _, n := range lists {
		assert.Equal(t, 2, n)
	}
	for _, row := range table(t, filepath.Join(dir, "expected_final_result.csv"), "store_id", "item_id", "quantity") {
		want, err := strconv.ParseInt(row[2], 10, 64)
		require.NoError(t, err)
		cell := row[0] + " " + row[1]
		assert.Equal(t, want, net[cell], cell)
		delete(net, cell)
	}
	assert.Empty(t, net)

	w = load(t, dir, LoadOptions{Format: FormatLists, Level: LevelCategory})
	assert.Len(t, w.Items, 23)
	w = load(t, dir, LoadOptions{Format: FormatLists, Demand: federated.Sales})
	sales := 0
	for _, s := range w.Stores {
		sales += len(all(t, s.Sales))
	}
	assert.Equal(t, 1, sales, "one of the five sales is in a store with an inventory")
	assert.Len(t, w.Unassigned, 4)
	assert.Len(t, w.Stores, 3)
}

// The Complete Journey, against package encoding/csv.
func TestRealJourney(t *testing.T) {
	dir := shared(t, "completejourney")
	if testing.Short() {
		return // 75,000 rows, one after the other
	}
	category := map[string]string{}
	for _, row := range table(t, filepath.Join(dir, "products.csv.gz"), "product_id", "product_category") {
		category[row[0]] = cmp.Or(row[1], noCategory)
	}
	type pair struct{ household, store string }
	good, seen := map[pair]bool{}, map[pair]bool{}
	rows, rejected := map[string]int{}, map[int]string{} // by store; line → store
	wanted, pieces := map[string]map[string]int64{}, int64(0)
	for i, row := range table(t, filepath.Join(dir, "transactions_sample.csv.gz"),
		"household_id", "store_id", "quantity", "product_id") {
		at := pair{row[0], row[1]}
		seen[at] = true
		n, err := strconv.ParseInt(row[2], 10, 64)
		require.NoError(t, err)
		to, known := category[row[3]]
		if n <= 0 || !known {
			rejected[i+2] = at.store
			continue
		}
		good[at] = true
		rows[at.store]++
		if wanted[at.store] == nil {
			wanted[at.store] = map[string]int64{}
		}
		wanted[at.store][to] += n
		pieces += n
	}
	require.Equal(t, 6_363, len(seen))
	require.Equal(t, 6_342, len(good))
	require.Equal(t, 417, len(rejected))

	w := load(t, dir, LoadOptions{Format: FormatCompleteJourney, Level: LevelCategory})
	assert.Len(t, w.Stores, 293)
	assert.Equal(t, 304, len(w.Items)) // assert.Len would print them all
	assert.Empty(t, w.Unassigned)
	assert.Equal(t, federated.UnitMemberAtNode, w.Unit)
	total, goodRows := int64(0), 0
	for _, s := range w.Stores {
		records := all(t, s.Sales)
		assert.Equal(t, rows[string(s.ID)], len(records), "store %s", s.ID)
		goodRows += len(records)
		for _, r := range records {
			delete(good, pair{r.Member, string(s.ID)})
			if r.Segment != allMembers || len(r.Lines) != 1 {
				t.Errorf("store %s: a record of segment %q and %d lines", s.ID, r.Segment, len(r.Lines))
			}
		}
		got := demand(t, s.Sales)
		assert.Equal(t, wanted[string(s.ID)], got, "store %s", s.ID)
		total += sum(got)
		for _, e := range s.Exceptions {
			assert.Equal(t, rejected[e.Line], string(s.ID), "line %d", e.Line)
			delete(rejected, e.Line)
		}
	}
	assert.Equal(t, 74_583, goodRows)
	assert.Equal(t, int64(7_784_693), total, "the file has 7,784,694; one piece is of a product that is not in the table")
	assert.Equal(t, pieces, total)
	assert.Empty(t, good, "pairs of household and store that were lost")
	assert.Empty(t, rejected, "exceptions that were lost")

	assert.Equal(t, 92_331, len(load(t, dir, LoadOptions{Format: FormatCompleteJourney}).Items))
	assert.Equal(t, 32, len(load(t, dir, LoadOptions{Format: FormatCompleteJourney, Level: LevelDepartment}).Items))
}
