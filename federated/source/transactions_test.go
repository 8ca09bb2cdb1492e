package source_test

import (
	"strings"
	"testing"

	"github.com/larder-dp/larder/federated/source"
)

const transactionHeader = "household_id,store_id,basket_id,product_id,quantity,sales_value,retail_disc,coupon_disc,coupon_match_disc,week,transaction_timestamp\n"

func TestTransactions(t *testing.T) {
	tx := func(quantity, value string) string {
		return "h,7,b,p," + quantity + "," + value + ",0,0,0,1,2017-01-28T14:06:53-0500\n"
	}
	const when = " 2017-01-28T14:06:53-05:00"
	checkRows(t, source.Transactions, []row{
		{
			name: "sample form", reason: "offsets are kept", text: transactionHeader + "2261,309,31625220889,940996,1,3.86,0.43,0,0,5,2017-01-28T14:06:53-0500\r\n",
			records: []string{`31625220889 "2261" [309] 940996×1/386c` + when},
		},
		{
			name: "other order", reason: "columns are found by name, and those not read may be left out", text: "transaction_timestamp,sales_value,quantity,product_id,basket_id,store_id,household_id\n2017-07-01,1,2,p,b,7,h",
			records: []string{`b "h" [7] p×2/100c 2017-07-01T00:00:00Z`},
		},
		{
			name: "amounts", reason: "amounts are rounded to cents, half away from zero", text: transactionHeader +
				tx("1", "0") + tx("1", "4.440892e-16") + tx("1", "-4.4e-16") + tx("1", "0.005") + tx("1", "0.0049999999999999999999") + tx("1", "1.005") + tx("1", "1e2") + tx("1", "12.5E-1") + tx("1", "92233720368547758.07") + tx("1", "0.05"),
			records: []string{
				`b "h" [7] p×1` + when, `b "h" [7] p×1` + when, `b "h" [7] p×1` + when, `b "h" [7] p×1/1c` + when, `b "h" [7] p×1` + when,
				`b "h" [7] p×1/101c` + when, `b "h" [7] p×1/10000c` + when, `b "h" [7] p×1/125c` + when, `b "h" [7] p×1/9223372036854775807c` + when, `b "h" [7] p×1/5c` + when,
			},
		},
		{
			name: "gasoline", reason: "the bounds clip, not the source", text: transactionHeader + tx("32623", "55.02"),
			records: []string{`b "h" [7] p×32623/5502c` + when},
		},
		{
			name: "bad amounts", reason: "no amount is guessed", text: transactionHeader +
				tx("1", "-0.01") + tx("1", "NaN") + tx("1", "Inf") + tx("1", "1e400") + tx("1", "92233720368547758.08") + tx("1", "1e17") + tx("1", "") + tx("1", "1.") + tx("1", "0x10") + tx("1", strings.Repeat("1", 65)) + tx("1", "-1e99999999999999999999"),
			exceptions: []string{
				"2: transaction dropped: sales_value: negative", "3: transaction dropped: sales_value: not a number", "4: transaction dropped: sales_value: not a number",
				"5: transaction dropped: sales_value: beyond int64", "6: transaction dropped: sales_value: beyond int64", "7: transaction dropped: sales_value: beyond int64",
				"8: transaction dropped: sales_value: missing", "9: transaction dropped: sales_value: not a number", "10: transaction dropped: sales_value: not a number",
				"11: transaction dropped: sales_value: too long", "12: transaction dropped: sales_value: negative",
			},
		},
		{
			name: "bad quantities", reason: "as in JSON", text: transactionHeader + tx("0", "1") + tx("-1", "1") + tx("1.0", "1") + tx("1e+05", "1") + tx("", "1") + tx("NA", "1") + tx(" 1", "1") + tx("9223372036854775808", "1"),
			exceptions: []string{
				"2: transaction dropped: quantity: zero", "3: transaction dropped: quantity: negative", "4: transaction dropped: quantity: not a whole number", "5: transaction dropped: quantity: not a whole number",
				"6: transaction dropped: quantity: missing", "7: transaction dropped: quantity: not a number", "8: transaction dropped: quantity: not a number", "9: transaction dropped: quantity: beyond int64",
			},
		},
		{
			name: "all reasons", reason: "one exception for a row", text: transactionHeader + ",*,,unknown,0,x,0,0,0,1,2017-13-01\n" + tx("1", "1") + " h,a b,\x00,,1,1,,,,,\n" + "\n" + "h,7,b,99,0,1,0,0,0,1,2017-01-01\n",
			records: []string{`b "h" [7] p×1/100c` + when},
			exceptions: []string{
				"2: transaction dropped: household_id: missing; store_id: malformed; basket_id: missing; product_id: unknown item; quantity: zero; sales_value: not a number; transaction_timestamp: malformed",
				"4: transaction dropped: household_id: malformed; store_id: malformed; basket_id: malformed; product_id: missing; transaction_timestamp: missing",
				"6: transaction dropped: product_id: unknown item; quantity: zero",
			},
		},
		{
			name: "bad rows", reason: "each spoils itself only", text: transactionHeader + "1,2,3\n" + tx("1", "1") + "\"h,7\n" + `"h"x,` + "\n" + `h"h,` + "\n" + tx("2", "1") + strings.Repeat("x", 300<<10) + "\n" + tx("3", "1") + tx(`"4"`, `"1"`),
			records: []string{`b "h" [7] p×1/100c` + when, `b "h" [7] p×2/100c` + when, `b "h" [7] p×3/100c` + when, `b "h" [7] p×4/100c` + when},
			exceptions: []string{
				"2: transaction dropped: not CSV", "4: transaction dropped: not CSV", "5: transaction dropped: not CSV",
				"6: transaction dropped: not CSV", "8: transaction dropped: too long",
			},
		},
		{name: "header only", reason: "no sales are fine", text: transactionHeader},
	})
}

func TestTimes(t *testing.T) {
	for when, want := range map[string]string{
		"2016-02-29":                     "2016-02-29T00:00:00Z",
		"2017-01-28 14:06:53":            "2017-01-28T14:06:53Z",
		"2017-01-28T14:06:53.123456789Z": "2017-01-28T14:06:53.123456789Z",
		"2017-01-28T14:06:53+05:30":      "2017-01-28T14:06:53+05:30",
		"9999-12-31T23:59:59-1800":       "9999-12-31T23:59:59-18:00",
		"2017-02-29":                     "", "1900-02-29": "", "2017-04-31": "", "2017-00-01": "", "2017-01-00": "", "2017-1-28": "",
		"2017-01-28T24:00:00": "", "2017-01-28T14:60:00": "", "2017-01-28T14:06:60": "", "2017-01-28T14:06": "",
		"2017-01-28T14:06:53.": "", "2017-01-28T14:06:53.1234567891": "", "2017-01-28T14:06:53+19:00": "", "2017-01-28T14:06:53ZZ": "",
		"0000-12-31": "", "0001-01-01": "", "0001-01-01T01:00:00+01:00": "", "2017-01-28T14:06:53 -0500": "", "2017-01-28x14:06:53": "", "20170128": "", "2017-01-2/": "",
	} {
		got, exceptions := records(t, source.Transactions, text(transactionHeader+"h,7,b,p,1,1,0,0,0,1,"+when+"\n"))
		switch {
		case want == "" && lines(exceptions) != "file:2: transaction dropped: transaction_timestamp: malformed\n":
			t.Errorf("%s: %v %s", when, got, lines(exceptions))
		case want != "" && (len(got) != 1 || got[0].Time.Format("2006-01-02T15:04:05.999999999Z07:00") != want):
			t.Errorf("%s: %v %s", when, got, lines(exceptions))
		}
	}
}

func TestProducts(t *testing.T) {
	got, exceptions := collect(t, source.Products, text("\ufeff"+`"product_id","manufacturer_id","department","brand","product_category","product_type","package_size"`+"\n"+
		`"26081","2","MISCELLANEOUS","National",,,`+"\n"+`,,"a`+"\t"+`"," ",,,`+"\n"+`"1","2","","","BREAD ""X"", Y",,`), catalog)
	if len(got) != 2 || got[0] != (source.Product{ID: "26081", Department: "MISCELLANEOUS", Category: "(none)"}) ||
		got[1] != (source.Product{ID: "1", Department: "(none)", Category: `BREAD "X", Y`}) ||
		lines(exceptions) != "file:3: product dropped: product_id: missing; department: malformed\n" {
		t.Errorf("%q\n%s", got, lines(exceptions))
	}
}
