package retail

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/larder-dp/larder/federated"
	"github.com/larder-dp/larder/federated/source"
)

const (
	inventoryJSON = `[
{"category": "Drinks", "item": "tea", "item_id": 1, "quantity": 5, "store_id": 10},
{"category": "Drinks", "item": "milk", "item_id": 2, "quantity": 6, "store_id": 10},
{"category": "Bread", "item": "bun", "item_id": 3, "quantity": 7, "store_id": 10},
{"category": "Drinks", "item": "tea", "item_id": 1, "quantity": 8, "store_id": 11},
{"category": "Bread", "item": "bun", "item_id": 3, "quantity": -1, "store_id": 11}
]`
	// A repeated item, an unknown one, three preferences of which one has no
	// inventory; an empty list; a list of nothing known; and damage.
	listsJSON = `[
{"list_items": [{"item_id": 1, "quantity": 2}, {"item_id": 1, "quantity": 3}, {"item_id": 9, "quantity": 1}],
 "store_location_preferences": [11, 10, 12]},
{"list_items": [], "store_location_preferences": [10]},
{"list_items": [{"item_id": 9, "quantity": 1}], "store_location_preferences": [12]},
{"list_items": [{"item_id": 3, "quantity": 4}], "store_location_preferences": ["no store"]},
{"list_items": [{"item_id": 3, "quantity": 4}], "store_location_preferences": [10]},
5, {`
	salesJSON = `[
{"sale_id": 1, "membership_number": "m1", "sale_datetime": "2026-03-02T09:30:00", "store_id": 10, "store_location": "A",
 "items": [{"item_id": 1, "quantity": 2}, {"item_id": 3, "quantity": 0}]},
{"sale_id": 2, "membership_number": "", "sale_datetime": "2026-03-02T10:30:00", "store_id": 13, "store_location": "B",
 "items": [{"item_id": 2, "quantity": 1}]},
{"sale_id": 3, "membership_number": "m2", "sale_datetime": "never", "store_id": 11, "store_location": "C",
 "items": [{"item_id": 2, "quantity": 1}]}
]`
	productsCSV = `"product_id","manufacturer_id","department","brand","product_category","product_type","package_size"
"p1","1","GROCERY","National","TEA",,
"p2","1","GROCERY","National",,,
"p3","1","BAKERY","National","BUNS",,
`
	transactionsCSV = `household_id,store_id,basket_id,product_id,quantity,sales_value,transaction_timestamp
h1,20,b1,p1,2,1.50,2026-03-02T09:30:00-0500
h1,20,b1,p3,1,0.005,2026-03-02T09:30:00-0500
h2,21,b2,p2,3,3,2026-03-02T21:30:00-0500
h2,22,b3,p9,0,3,2026-03-02T21:30:00-0500
h2,,b4,p1,1,3,2026-03-02T21:30:00-0500
h2,21
`
)

// folder makes a folder of files.
func folder(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600))
	}
	return dir
}

func gzipped(t testing.TB, content string) string {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, err := z.Write([]byte(content))
	require.NoError(t, err)
	require.NoError(t, z.Close())
	return b.String()
}

func load(t testing.TB, dir string, o LoadOptions) *World {
	t.Helper()
	w, err := Load(context.Background(), dir, o)
	require.NoError(t, err)
	return w
}

func ids(w *World) (out []string) {
	for _, s := range w.Stores {
		out = append(out, string(s.ID))
	}
	return out
}

// texts say what was dropped; why is a matter of package source.
func texts(exceptions []source.Exception) (out []string) {
	for _, e := range exceptions {
		what, _, _ := strings.Cut(e.String(), " dropped: ")
		out = append(out, what)
	}
	return out
}

func TestLoadLists(t *testing.T) {
	dir := folder(t, map[string]string{"inventory.json": inventoryJSON, "lists.json": listsJSON, "notes.txt": "?"})
	w := load(t, dir, LoadOptions{Format: FormatLists})
	assert.Equal(t, []string{"10", "11"}, ids(w), "12 is named by lists only, and must not be seen for it")
	assert.Equal(t, []Item{{"1", "tea", "Drinks"}, {"2", "milk", "Drinks"}, {"3", "bun", "Bread"}}, w.Items)
	assert.Equal(t, []string{"all"}, w.Segments)
	assert.Equal(t, federated.UnitList, w.Unit)
	assert.Equal(t, 2, w.Homes)
	assert.Equal(t, federated.Window{}, w.Window)
	assert.False(t, w.Generated)
	assert.False(t, w.HasMembers, "lists name no member")

	first := all(t, w.Stores[1].Lists)
	require.Len(t, first, 1)
	assert.Equal(t, []federated.NodeID{"11", "10", "12"}, first[0].Stores, "in the order written")
	assert.Equal(t, []federated.Line{{Item: "1", Quantity: 2}, {Item: "1", Quantity: 3}}, first[0].Lines)
	assert.Equal(t, "all", first[0].Segment)
	assert.Equal(t, first[0], all(t, w.Stores[0].Lists)[0])
	assert.Equal(t, map[string]int64{"1": 5, "3": 4}, demand(t, w.Stores[0].Lists))

	assert.Equal(t, map[string]int64{"1": 5, "2": 6, "3": 7}, stock(t, w.Stores[0]))
	assert.Nil(t, w.Stores[0].Sales)
	assert.Nil(t, w.Stores[0].Memberships)

	unknown := "lists.json:2: list line"
	assert.Equal(t, []string{unknown, "lists.json:4: list"}, texts(w.Stores[0].Exceptions))
	assert.Equal(t, []string{"inventory.json:6: stock", unknown}, texts(w.Stores[1].Exceptions))
	assert.Equal(t, []string{
		"lists.json:5: list line",
		"lists.json:5: list",
		"lists.json:6: list",
		"lists.json:8: list",
		"lists.json:8: rest of file",
	}, texts(w.Unassigned))
}

func TestLoadListsByCategory(t *testing.T) {
	dir := folder(t, map[string]string{"inventory.json": inventoryJSON, "lists.json": listsJSON})
	w := load(t, dir, LoadOptions{Format: FormatLists, Level: LevelCategory, Demand: federated.Lists})
	assert.Equal(t, []Item{{"Drinks", "Drinks", "Drinks"}, {"Bread", "Bread", "Bread"}}, w.Items)
	assert.Equal(t, map[string]int64{"Drinks": 5, "Bread": 4}, demand(t, w.Stores[0].Lists))
	assert.Equal(t, map[string]int64{"Drinks": 11, "Bread": 7}, stock(t, w.Stores[0]))
}

func TestLoadSales(t *testing.T) {
	dir := folder(t, map[string]string{"inventory.json": inventoryJSON, "lists.json": "[", "sales_week.json": salesJSON})
	w := load(t, dir, LoadOptions{Format: FormatLists, Demand: federated.Sales})
	assert.Equal(t, []string{"10", "11"}, ids(w))
	assert.Equal(t, federated.UnitMemberAtNode, w.Unit)
	assert.Equal(t, 1, w.Homes)
	assert.True(t, w.HasMembers)
	assert.Equal(t, federated.Sales, w.MembersFrom)
	sale := all(t, w.Stores[0].Sales)
	require.Len(t, sale, 1)
	assert.Equal(t, "m1", sale[0].Member)
	assert.Equal(t, 9, sale[0].Time.Hour())
	assert.Nil(t, w.Stores[0].Lists)
	assert.Equal(t, []string{"sales_week.json:3: sale line"}, texts(w.Stores[0].Exceptions))
	assert.Equal(t, []string{
		"inventory.json:6: stock",
		"sales_week.json:6: sale",
	}, texts(w.Stores[1].Exceptions))
	assert.Equal(t, []string{"sales_week.json:0: sale"}, texts(w.Unassigned), "of a store that has no inventory")
}

func TestLoadJourney(t *testing.T) {
	plain := folder(t, map[string]string{"products.csv": productsCSV, "transactions.csv": transactionsCSV})
	zipped := folder(t, map[string]string{
		"products.csv.gz": gzipped(t, productsCSV), "transactions_2026.csv.gz": gzipped(t, transactionsCSV),
	})
	for dir, file := range map[string]string{plain: "transactions.csv", zipped: "transactions_2026.csv.gz"} {
		w := load(t, dir, LoadOptions{Format: FormatCompleteJourney})
		assert.Equal(t, []string{"20", "21", "22"}, ids(w), "22 is in a bad row only")
		assert.Equal(t, []Item{{"p1", "p1", "TEA"}, {"p2", "p2", "(none)"}, {"p3", "p3", "BUNS"}}, w.Items)
		assert.Equal(t, federated.UnitMemberAtNode, w.Unit)
		assert.True(t, w.HasMembers)
		assert.Equal(t, federated.Sales, w.MembersFrom)
		rows := all(t, w.Stores[0].Sales)
		require.Len(t, rows, 2)
		assert.Equal(t, "b1", rows[0].ID)
		assert.Equal(t, "h1", rows[0].Member)
		assert.Equal(t, "all", rows[0].Segment)
		assert.Equal(t, 9, rows[0].Time.Hour(), "the shop's hour")
		assert.Equal(t, []federated.Line{{Item: "p1", Quantity: 2, Spend: 150}}, rows[0].Lines)
		assert.Equal(t, []federated.Line{{Item: "p3", Quantity: 1, Spend: 1}}, rows[1].Lines)
		assert.Nil(t, w.Stores[2].Sales)
		assert.Equal(t, []string{file + ":5: transaction"},
			texts(w.Stores[2].Exceptions))
		assert.Equal(t, []string{
			file + ":6: transaction",
			file + ":7: transaction",
		}, texts(w.Unassigned))
	}
	w := load(t, plain, LoadOptions{Format: FormatCompleteJourney, Level: LevelCategory})
	assert.Equal(t, []Item{{"TEA", "TEA", "TEA"}, {"(none)", "(none)", "(none)"}, {"BUNS", "BUNS", "BUNS"}}, w.Items)
	assert.Equal(t, map[string]int64{"(none)": 3}, demand(t, w.Stores[1].Sales))
	w = load(t, plain, LoadOptions{Format: FormatCompleteJourney, Level: LevelDepartment, Demand: federated.Sales})
	assert.Equal(t, []Item{{"GROCERY", "GROCERY", "GROCERY"}, {"BAKERY", "BAKERY", "BAKERY"}}, w.Items)
	assert.Equal(t, map[string]int64{"GROCERY": 2, "BAKERY": 1}, demand(t, w.Stores[0].Sales))
}

func TestLoadRefuses(t *testing.T) {
	gone := filepath.Join(t.TempDir(), "gone")
	lists := folder(t, map[string]string{"inventory.json": inventoryJSON, "lists.json": listsJSON})
	with := func(inventory string) string {
		return folder(t, map[string]string{"inventory.json": inventory, "lists.json": listsJSON})
	}
	journey := folder(t, map[string]string{
		"products.csv": productsCSV, "transactions_a.csv": transactionsCSV, "transactions_b.csv.gz": transactionsCSV,
	})
	for _, row := range []struct {
		reason, dir string
		o           LoadOptions
		want        string
	}{
		{"no format", lists, LoadOptions{}, "Format must be lists or completejourney"},
		{"no folder", gone, LoadOptions{Format: FormatLists}, "open folder"},
		{
			"lists have no departments", lists,
			LoadOptions{Format: FormatLists, Level: LevelDepartment},
			"Level must be one of product, category for format lists",
		},
		{
			"no such level", journey,
			LoadOptions{Format: FormatCompleteJourney, Level: "brand"},
			"Level must be one of product, category, department for format completejourney",
		},
		{
			"the journey has no lists", journey,
			LoadOptions{Format: FormatCompleteJourney, Demand: federated.Lists},
			"Demand must be one of [sales] for format completejourney",
		},
		{
			"memberships are no demand", lists,
			LoadOptions{Format: FormatLists, Demand: federated.Memberships},
			"Demand must be one of [lists sales] for format lists",
		},
		{"no sales", lists, LoadOptions{Format: FormatLists, Demand: federated.Sales}, "no file sales*.json in "},
		{
			"no lists", folder(t, map[string]string{"inventory.json": "[]"}),
			LoadOptions{Format: FormatLists},
			"no file lists.json in ",
		},
		{
			"no inventory", folder(t, map[string]string{"lists.json": "[]"}),
			LoadOptions{Format: FormatLists},
			"no file inventory.json in ",
		},
		{
			"a sample and the whole would count twice", journey,
			LoadOptions{Format: FormatCompleteJourney},
			"transactions_a.csv and transactions_b.csv.gz in ",
		},
		{"no products", lists, LoadOptions{Format: FormatCompleteJourney}, "no file products.csv or products.csv.gz in "},
		{
			"a table without products",
			folder(t, map[string]string{"products.csv": strings.SplitAfter(productsCSV, "\n")[0], "transactions.csv": transactionsCSV}),
			LoadOptions{Format: FormatCompleteJourney},
			"read the catalog from products.csv: there are no products in it",
		},
		{
			"a table of something else",
			folder(t, map[string]string{"products.csv": transactionsCSV, "transactions.csv": transactionsCSV}),
			LoadOptions{Format: FormatCompleteJourney},
			"column department is missing",
		},
		{"not JSON", with("?"), LoadOptions{Format: FormatLists}, "read the catalog from inventory.json: not a JSON array"},
		{"half a catalog", with(inventoryJSON[:200]), LoadOptions{Format: FormatLists}, "not a JSON array"},
		{"more than a catalog", with("[] []"), LoadOptions{Format: FormatLists}, "not a JSON array"},
		{"an element that is no object", with(`[{"item_id": 1}, 7]`), LoadOptions{Format: FormatLists}, "not a JSON array"},
		{"no items", with(`[{"item": "tea"}]`), LoadOptions{Format: FormatLists}, "there are no items in it"},
	} {
		t.Run(row.reason, func(t *testing.T) {
			w, err := Load(context.Background(), row.dir, row.o)
			assert.Nil(t, w)
			assert.ErrorContains(t, err, row.want)
			assert.NotContains(t, fmt.Sprint(err), "\n", "one line")
		})
	}
	_, err := Load(context.Background(), gone, LoadOptions{Format: FormatLists})
	assert.ErrorIs(t, err, fs.ErrNotExist)
	_, err = Load(context.Background(), lists, LoadOptions{Format: FormatCompleteJourney})
	assert.ErrorIs(t, err, fs.ErrNotExist)

	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = Load(ctx, lists, LoadOptions{Format: FormatLists})
	assert.ErrorIs(t, err, context.Canceled)
}

// The context ends a load at any read.
func TestLoadCanceled(t *testing.T) {
	dir := folder(t, map[string]string{"inventory.json": inventoryJSON, "lists.json": listsJSON})
	reads := 0
	load(t, dir, LoadOptions{Format: FormatLists, Progress: func(int64, int64) { reads++ }})
	for stop := range reads - 1 { // the last is told after the last read
		ctx, cancel := context.WithCancel(context.Background())
		n := 0
		_, err := Load(ctx, dir, LoadOptions{Format: FormatLists, Progress: func(int64, int64) {
			if n++; n > stop {
				cancel()
			}
		}})
		cancel()
		assert.ErrorIs(t, err, context.Canceled, "after read %d", stop+1)
	}
}

func TestLoadProgress(t *testing.T) {
	dir := folder(t, map[string]string{"products.csv": productsCSV, "transactions.csv": transactionsCSV})
	var last, of int64
	load(t, dir, LoadOptions{Format: FormatCompleteJourney, Progress: func(done, total int64) {
		assert.GreaterOrEqual(t, done, last)
		assert.LessOrEqual(t, done, total)
		last, of = done, total
	}})
	assert.Equal(t, int64(len(productsCSV)+len(transactionsCSV)), of)
	assert.Equal(t, of, last)
}

// The epoch is of the folder and the format, and never of a record, a level or a
// kind of demand.
func TestLoadEpoch(t *testing.T) {
	files := map[string]string{"inventory.json": inventoryJSON, "lists.json": listsJSON, "sales.json": salesJSON}
	dir := folder(t, files)
	epoch := func(dir string, o LoadOptions) string {
		o.Format = FormatLists
		return load(t, dir, o).Epoch
	}
	first := epoch(dir, LoadOptions{})
	assert.Regexp(t, "^data-[0-9a-f]{16}$", first)
	assert.Equal(t, first, epoch(dir, LoadOptions{Level: LevelCategory, Demand: federated.Sales}))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "lists.json"), []byte("[]"), 0o600))
	assert.Equal(t, first, epoch(dir, LoadOptions{}))
	assert.NotEqual(t, first, epoch(folder(t, files), LoadOptions{}))
}
