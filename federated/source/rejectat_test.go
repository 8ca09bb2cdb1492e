package source_test

import (
	"fmt"
	"iter"
	"testing"

	"github.com/larder-dp/larder/federated"
	"github.com/larder-dp/larder/federated/source"
)

// What is dropped is told once: to RejectAt with the stores that it names, or
// to Reject if it is a part of a record or of no record.
func TestRejectAt(t *testing.T) {
	known := func(id string) (string, bool) { return id, id != "0" }
	for _, row := range []struct {
		reason, content string
		read            func(source.File, source.Options) error
		want            []string
	}{
		{
			"a list goes to the stores it names; its lines and damage to none",
			`[{"list_items":[{"item_id":0,"quantity":1}],"store_location_preferences":[7,"b c",8,7]},
			{"list_items":[{"item_id":1,"quantity":1},{"item_id":1,"quantity":0}],"store_location_preferences":[7]}, 5`,
			drain(source.Lists),
			[]string{"list line", "[7 8] list", "list line", "rest of file"},
		},
		{
			"a sale goes to its store, if it can be read",
			`[{"sale_id":1,"store_id":9,"sale_datetime":"2026-03-02","items":[]},
			{"sale_id":2,"sale_datetime":"2026-03-02","items":[]}]`,
			drain(source.Sales),
			[]string{"[9] sale", "[] sale"},
		},
		{
			"a good record in between leaves no store behind",
			"household_id,store_id,basket_id,product_id,quantity,sales_value,transaction_timestamp\n" +
				"h,1,b,p,1,1,2026-03-02\nh,,b,p,1,1,2026-03-02\nh,2,b,p,0,1,2026-03-02\nh,2\n",
			drain(source.Transactions),
			[]string{"[] transaction", "[2] transaction", "transaction"},
		},
		{
			"a stock", `[{"store_id":3,"item_id":1,"quantity":-1}]`, drain(source.Inventory),
			[]string{"[3] stock"},
		},
		{
			"a row of a flat list, one that is not at every store, and the list",
			"list_idx,store_id,item_id,quantity\n1,4,1,0\n1,5,1,1\n1,6,1,2\n", drain(source.ListsCSV),
			[]string{"[4] list line", "[5] list line", "[6] list line", "[5 6] list"},
		},
	} {
		t.Run(row.reason, func(t *testing.T) {
			var got []string
			err := row.read(text(row.content), source.Options{
				Item: known, ListKey: listKey,
				Reject: func(e source.Exception) { got = append(got, e.Dropped) },
				RejectAt: func(stores []federated.NodeID, e source.Exception) {
					got = append(got, fmt.Sprint(stores, " ", e.Dropped))
				},
			})
			if err != nil {
				t.Fatal(err)
			}
			if fmt.Sprint(got) != fmt.Sprint(row.want) {
				t.Errorf("told %q, want %q", got, row.want)
			}
		})
	}
}

func drain[T any](read reader[T]) func(source.File, source.Options) error {
	return func(f source.File, o source.Options) error {
		var all iter.Seq2[T, error]
		all, err := read(f, o)
		if err != nil {
			return err
		}
		for _, err := range all {
			if err != nil {
				return err
			}
		}
		return nil
	}
}
