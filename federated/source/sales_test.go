package source_test

import (
	"testing"

	"github.com/larder-dp/larder/federated/source"
)

func TestSales(t *testing.T) {
	const items = `"items":[{"category":"c","item":"i","item_id":1,"quantity":2}]`
	checkRows(t, source.Sales, []row{
		{
			name: "sample form", reason: "no zone is UTC; an empty member is anonymous", text: `[{` + items + `,"membership_number":"","sale_datetime":"1990-03-04T03:53:32.827930","sale_id":3000,"store_id":4690,"store_location":"X, Y"},
			{` + items + `,"membership_number":"856","sale_datetime":"1990-03-04T03:53:32Z","sale_id":"b","store_id":"s-1"}]`,
			records: []string{`3000 "" [4690] 1×2 1990-03-04T03:53:32.82793Z`, `b "856" [s-1] 1×2 1990-03-04T03:53:32Z`},
		},
		{
			name: "no member field", reason: "a misspelt field must not make a member anonymous", text: `[{` + items + `,"member":"1","sale_datetime":"1990-03-04","sale_id":1,"store_id":1}]`,
			exceptions: []string{"1: sale dropped: membership_number: missing"},
		},
		{
			name: "bad members", reason: "never taken for anonymous", text: `[{` + items + `,"membership_number":null,"sale_datetime":"1990-03-04","sale_id":1,"store_id":1},
			{` + items + `,"membership_number":"  ","sale_datetime":"1990-03-04","sale_id":1,"store_id":1},
			{` + items + `,"membership_number":"a\u0000","sale_datetime":"1990-03-04","sale_id":1,"store_id":1},
			{` + items + `,"membership_number":1e3,"sale_datetime":"1990-03-04","sale_id":1,"store_id":1},
			{` + items + `,"membership_number":"\ud800","sale_datetime":"1990-03-04","sale_id":1,"store_id":1},
			{` + items + `,"membership_number":"` + "\xff" + `","sale_datetime":"1990-03-04","sale_id":1,"store_id":1}]`,
			exceptions: []string{
				"1: sale dropped: membership_number: wrong type", "2: sale dropped: membership_number: malformed",
				"3: sale dropped: membership_number: malformed", "4: sale dropped: membership_number: not a whole number",
				"5: sale dropped: membership_number: malformed", "6: sale dropped: membership_number: malformed",
			},
		},
		{
			name: "bad heads", reason: "all reasons", text: `[{},
			{"items":[],"membership_number":true,"sale_datetime":"noon","sale_id":[],"store_id":"a,b","store_location":NaN},
			{"items":[{}],"membership_number":"","sale_datetime":"1990-03-04T24:00:00","sale_id":99999999999999999999,"store_id":"ü"}]`,
			exceptions: []string{
				"1: sale dropped: sale_id: missing; membership_number: missing; sale_datetime: missing; store_id: missing; items: missing",
				"2: sale dropped: sale_id: wrong type; membership_number: wrong type; sale_datetime: malformed; store_id: malformed; items: empty; store_location: not JSON",
				"3: sale line dropped: items[0].item_id: missing; items[0].quantity: missing",
				"3: sale dropped: sale_id: beyond int64; sale_datetime: malformed; store_id: malformed; items: empty",
			},
		},
	})
}
