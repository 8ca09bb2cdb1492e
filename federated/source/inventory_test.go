package source_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/larder-dp/larder/federated"
	"github.com/larder-dp/larder/federated/source"
)

// StockOf is one store's part, and its errors are those of all.
func TestStockOf(t *testing.T) {
	all := func(yield func(source.StoreStock, error) bool) {
		for _, s := range []source.StoreStock{
			{Store: "a", Stock: federated.Stock{Item: "milk", Quantity: 1}},
			{Store: "b", Stock: federated.Stock{Item: "milk", Quantity: 2}},
			{Store: "a", Stock: federated.Stock{Item: "soap", Quantity: 3}},
		} {
			if !yield(s, nil) {
				return
			}
		}
		yield(source.StoreStock{}, errDisk)
	}
	for store, want := range map[federated.NodeID]string{"a": "[{milk 1} {soap 3}]", "b": "[{milk 2}]", "c": "[]"} {
		var got []federated.Stock
		var last error
		for s, err := range source.StockOf(store, all) {
			if last = err; err == nil {
				got = append(got, s)
			}
		}
		if fmt.Sprint(got) != want || !errors.Is(last, errDisk) {
			t.Errorf("%s: %v, %v, want %s", store, got, last, want)
		}
	}
	for range source.StockOf("a", all) {
		break
	}
}

func TestInventory(t *testing.T) {
	for _, row := range []struct {
		name, reason, json, csv string
		want                    []string
		exceptions              string
	}{
		{
			name: "sample form", reason: "an empty shelf is a stock", json: `[{"category":"c","item":"i","item_id":1,"quantity":2,"store_id":7},{"item_id":"1","quantity":0,"store_id":"8"}]`,
			csv: "store_id,item_id,item,category,quantity\n7,1,i,\"C\",2\n8,1,i,\"C \"\"x\"\", y\",0\n", want: []string{"{7 {1 2}}", "{8 {1 0}}"},
		},
		{
			name: "bad", reason: "all reasons, in the order of the fields", json: "[\n{\"item_id\":99,\"quantity\":-1,\"store_id\":\"*\"},\n{\"item_id\":1,\"quantity\":1,\"store_id\":1,\"store_id\":2},\n{\"store_id\":1,\"item_id\":2,\"quantity\":3}]",
			csv:  "quantity,item_id,store_id\n-1,99,*\n1,1\n3,2,1",
			want: []string{"{1 {2 3}}"}, exceptions: "file:2: stock dropped: store_id: malformed; item_id: unknown item; quantity: negative\nfile:3: stock dropped: %s\n",
		},
	} {
		for name, read := range map[string]struct {
			read   reader[source.StoreStock]
			text   string
			reason string
		}{"JSON": {source.Inventory, row.json, "store_id: given twice"}, "CSV": {source.InventoryCSV, row.csv, "not CSV"}} {
			got, exceptions := collect(t, read.read, text(read.text), catalog)
			var stocks []string
			for _, s := range got {
				stocks = append(stocks, fmt.Sprint(s))
			}
			want := row.exceptions
			if want != "" {
				want = fmt.Sprintf(want, read.reason)
			}
			if !slices.Equal(stocks, row.want) || lines(exceptions) != want {
				t.Errorf("%s, %s: %q\n%swant %q\n%s, because %s", row.name, name, stocks, lines(exceptions), row.want, want, row.reason)
			}
		}
	}
}
