package source_test

import (
	"bytes"
	"compress/gzip"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/larder-dp/larder/federated"
	"github.com/larder-dp/larder/federated/source"
)

// shared is a file of the data that is not in the repository.
func shared(t *testing.T, path ...string) string {
	t.Helper()
	root := os.Getenv("LARDER_SHARED")
	if root == "" {
		t.Skip("LARDER_SHARED is not set: it names the folder that has data/lists and data/completejourney")
	}
	return filepath.Join(slices.Concat([]string{root, "data"}, path)...)
}

// The sample lists, against encoding/json.
func TestRealLists(t *testing.T) {
	path := shared(t, "lists", "lists.json")
	var dumb []struct {
		Items []struct {
			ID       int64 `json:"item_id"`
			Quantity int64 `json:"quantity"`
		} `json:"list_items"`
		Stores []int64 `json:"store_location_preferences"`
	}
	decode(t, path, &dumb)
	got, exceptions := records(t, source.Lists, source.Path(path))
	if len(exceptions) != 0 {
		t.Fatalf("exceptions: %v", exceptions)
	}
	var want []federated.Record
	sizes := []int{}
	for _, l := range dumb {
		var r federated.Record
		for _, s := range l.Stores {
			r.Stores = append(r.Stores, federated.NodeID(strconv.FormatInt(s, 10)))
		}
		for _, x := range l.Items {
			r.Lines = append(r.Lines, federated.Line{Item: strconv.FormatInt(x.ID, 10), Quantity: x.Quantity})
		}
		sizes = append(sizes, len(r.Lines))
		want = append(want, r)
	}
	if !slices.Equal(sizes, []int{25, 4, 17, 7, 11}) {
		t.Errorf("lines per list = %v", sizes)
	}
	flat, exceptions := records(t, source.ListsCSV, source.Path(shared(t, "lists", "lists.csv")))
	if len(exceptions) != 0 {
		t.Fatalf("exceptions of the flat form: %v", exceptions)
	}
	same(t, "lists.csv and lists.json", flat, got)
	for i := range got {
		got[i].ID = ""
	}
	same(t, "lists.json", got, want)
}

func TestRealSales(t *testing.T) {
	path := shared(t, "lists", "sales_sample5.json")
	var dumb []struct {
		ID     int64  `json:"sale_id"`
		Member string `json:"membership_number"`
		Time   string `json:"sale_datetime"`
		Store  int64  `json:"store_id"`
		Items  []struct {
			ID       int64 `json:"item_id"`
			Quantity int64 `json:"quantity"`
		} `json:"items"`
	}
	decode(t, path, &dumb)
	var want []federated.Record
	for _, s := range dumb {
		when, err := time.Parse("2006-01-02T15:04:05.999999", s.Time)
		if err != nil {
			t.Fatal(err)
		}
		r := federated.Record{
			ID: strconv.FormatInt(s.ID, 10), Member: s.Member, Time: when,
			Stores: []federated.NodeID{federated.NodeID(strconv.FormatInt(s.Store, 10))},
		}
		for _, x := range s.Items {
			r.Lines = append(r.Lines, federated.Line{Item: strconv.FormatInt(x.ID, 10), Quantity: x.Quantity})
		}
		want = append(want, r)
	}
	got, exceptions := records(t, source.Sales, source.Path(path))
	if len(exceptions) != 0 || len(got) != 5 {
		t.Fatalf("%d sales, exceptions: %v", len(got), exceptions)
	}
	same(t, "sales", got, want)
}

func TestRealInventory(t *testing.T) {
	var dumb []struct {
		Store    int64 `json:"store_id"`
		ID       int64 `json:"item_id"`
		Quantity int64 `json:"quantity"`
	}
	decode(t, shared(t, "lists", "inventory.json"), &dumb)
	var want []source.StoreStock
	var sum int64
	for _, s := range dumb {
		want = append(want, source.StoreStock{
			Store: federated.NodeID(strconv.FormatInt(s.Store, 10)),
			Stock: federated.Stock{Item: strconv.FormatInt(s.ID, 10), Quantity: s.Quantity},
		})
		sum += s.Quantity
	}
	if len(want) != 399 || sum != 820 {
		t.Errorf("%d rows, sum %d", len(want), sum)
	}
	for name, read := range map[string]func(source.File, source.Options) (iter.Seq2[source.StoreStock, error], error){
		"inventory.json": source.Inventory, "inventory.csv": source.InventoryCSV,
	} {
		got, exceptions := collect(t, read, source.Path(shared(t, "lists", name)), nil)
		if len(exceptions) != 0 {
			t.Errorf("%s: exceptions: %v", name, exceptions)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s differs from what encoding/json reads", name)
		}
	}
}

// The Complete Journey, against encoding/csv and floats.
func TestRealTransactions(t *testing.T) {
	products := map[string]string{}
	empty := 0
	all, exceptions := collect(t, source.Products, source.Path(shared(t, "completejourney", "products.csv.gz")), nil)
	for _, p := range all {
		products[p.ID] = p.Department
		if p.Category == "(none)" {
			empty++
		}
	}
	if len(all) != 92_331 || len(products) != 92_331 || empty != 540 || len(exceptions) != 0 {
		t.Errorf("%d products, %d without a category, %d exceptions", len(all), empty, len(exceptions))
	}
	item := func(id string) (string, bool) { d, ok := products[id]; return d, ok }
	path := shared(t, "completejourney", "transactions_sample.csv.gz")
	got, exceptions := collect(t, source.Transactions, source.Path(path), item)

	var want []federated.Record
	var wantExceptions []string
	rows := table(t, path)
	for i, x := range rows[1:] {
		quantity, err := strconv.ParseInt(x[4], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		spend, err := strconv.ParseFloat(x[5], 64)
		if err != nil {
			t.Fatal(err)
		}
		when, err := time.Parse("2006-01-02T15:04:05-0700", x[10])
		if err != nil {
			t.Fatal(err)
		}
		department, known := products[x[3]]
		var why []string
		if !known {
			why = append(why, "product_id: unknown item")
		}
		if quantity == 0 {
			why = append(why, "quantity: zero")
		}
		if why != nil {
			wantExceptions = append(wantExceptions, fmt.Sprintf("%s:%d: transaction dropped: %s", path, i+2, strings.Join(why, "; ")))
			continue
		}
		want = append(want, federated.Record{
			ID: x[2], Member: x[0], Stores: []federated.NodeID{federated.NodeID(x[1])}, Time: when,
			Lines: []federated.Line{{Item: department, Quantity: quantity, Spend: int64(math.Round(spend * 100))}},
		})
	}
	same(t, "transactions", got, want)
	var zero, unknown, both int
	var texts []string
	for _, e := range exceptions {
		texts = append(texts, e.String())
		problems := e.String()
		z, u := strings.Contains(problems, string(source.Zero)), strings.Contains(problems, string(source.UnknownItem))
		zero, unknown, both = zero+count(z), unknown+count(u), both+count(z && u)
	}
	if !slices.Equal(texts, wantExceptions) {
		t.Error("exceptions differ from those of encoding/csv")
	}
	if len(exceptions) != 417 || zero != 416 || unknown != 222 || both != 221 || len(got) != 74_583 {
		t.Errorf("%d exceptions, %d zero, %d unknown, %d both, %d good", len(exceptions), zero, unknown, both, len(got))
	}
	var most int64
	for _, r := range got {
		most = max(most, r.Lines[0].Quantity)
	}
	if most != 32_623 {
		t.Errorf("the largest quantity = %d: the source does not clip", most)
	}
}

func count(b bool) int {
	if b {
		return 1
	}
	return 0
}

func decode(t *testing.T, path string, into any) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(b, into)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func table(t *testing.T, path string) [][]string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(bytes.NewReader(plain)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	return rows
}
