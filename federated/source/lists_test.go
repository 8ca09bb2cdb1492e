package source_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/larder-dp/larder/federated"
	"github.com/larder-dp/larder/federated/source"
)

func catalog(id string) (string, bool) { return id, id != "unknown" && id != "99" }

// show writes a record as text: id member [stores] item×quantity … time.
func show(r federated.Record) string {
	id := r.ID
	if len(id) > 32 && id[32] == '-' {
		id = "hash" + r.ID[32:]
	}
	s := fmt.Sprintf("%s %q %v", id, r.Member, r.Stores)
	for _, l := range r.Lines {
		s += fmt.Sprintf(" %s×%d", l.Item, l.Quantity)
		if l.Spend != 0 {
			s += fmt.Sprintf("/%dc", l.Spend)
		}
	}
	if !r.Time.IsZero() {
		s += r.Time.Format(" 2006-01-02T15:04:05.999999999Z07:00")
	}
	return s
}

// A row of a table: what a text gives.
type row struct {
	name, reason, text string
	records            []string
	exceptions         []string
}

func checkRows(t *testing.T, read reader[federated.Record], rows []row) {
	t.Helper()
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Helper()
			got, exceptions := collect(t, read, text(row.text), catalog)
			var records, why []string
			for _, r := range got {
				records = append(records, show(r))
			}
			for _, e := range exceptions {
				why = append(why, strings.TrimPrefix(e.String(), "file:"))
			}
			if !slices.Equal(records, row.records) || !slices.Equal(why, row.exceptions) {
				t.Errorf("got\n  %q\n  %q\nwant\n  %q\n  %q\nbecause %s", records, why, row.records, row.exceptions, row.reason)
			}
		})
	}
}

const (
	good   = `{"list_id":"g","list_items":[{"item_id":1,"quantity":2}],"store_location_preferences":[7]}`
	isGood = `g "" [7] 1×2`
)

func TestLists(t *testing.T) {
	const stores = `"store_location_preferences":[7,8]}`
	one := func(items string) string {
		return "[\n{\"list_id\":\"a\",\n\"list_items\":[\n" + items + "\n]," + stores + ",\n" + good + "]"
	}
	checkRows(t, source.Lists, []row{
		{
			name: "sample form", reason: "ids are numbers there, and texts elsewhere", text: `[{"list_items":[{"category":"c","item":"i","item_id":1,"quantity":2},{"item_id":"x y","quantity":1}],` + stores + "]",
			records: []string{`hash-1 "" [7 8] 1×2 x y×1`},
		},
		{
			name: "all fields", reason: "offsets are kept", text: `[{"date":"2017-01-28T14:06:53.25-0500","membership_number":856,"list_id":-3,` + stores[:len(stores)-1] + `,"list_items":[{"quantity":1,"item_id":0}]}]`,
			records: []string{`-3 "856" [7 8] 0×1 2017-01-28T14:06:53.25-05:00`},
		},
		{
			name: "a day", reason: "a date alone is midnight UTC", text: `[{"date":"2024-02-29","list_id":1,"list_items":[{"quantity":1,"item_id":1}],` + stores + `]`,
			records: []string{`1 "" [7 8] 1×1 2024-02-29T00:00:00Z`},
		},
		{
			name: "repeated item", reason: "repeated items add up later", text: one(`{"item_id":1,"quantity":2},{"item_id":1,"quantity":3}`),
			records: []string{`a "" [7 8] 1×2 1×3`, isGood},
		},
		{
			name: "one and three preferences", reason: "the bounds decide, not the source", text: `[{"list_id":1,"list_items":[{"item_id":1,"quantity":2}],"store_location_preferences":["A","B","A","C"]}]`,
			records: []string{`1 "" [A B C] 1×2`},
		},
		{
			name: "unknown field", reason: "what is not read may be anything that is JSON", text: `[{"x":{"y":[1,{"z":null}]},"list_id":1,"list_items":[{"item_id":1,"quantity":2,"more":[true]}],` + stores + `]`,
			records: []string{`1 "" [7 8] 1×2`},
		},
		{
			name: "escapes", reason: "names and texts may be escaped", text: `[{"list\u005fid":"\ud83d\ude00\u00e9\n\u00e9","list_items":[{"item_id":"a\/b","quantity":2}],` + stores + ",{\"list_id\":\"\\u00e9\",\"list_items\":[{\"item_id\":\"a\\/b\",\"quantity\":2}]," + stores + `]`,
			records: []string{`é "" [7 8] a/b×2`}, exceptions: []string{`1: list dropped: list_id: malformed`},
		},
		{
			name: "no member", reason: "an empty member is nobody, as in sales", text: `[{"membership_number":"","list_id":1,"list_items":[{"item_id":1,"quantity":2}],` + stores + `]`,
			records: []string{`1 "" [7 8] 1×2`},
		},

		{
			name: "bad quantities", reason: "each bad line drops itself", text: one(`{"item_id":1,"quantity":0},` + "\n" + `{"item_id":1,"quantity":-1},{"item_id":1,"quantity":"3"},{"item_id":1,"quantity":2.0},{"item_id":1,"quantity":1e400},{"item_id":1,"quantity":NaN},{"item_id":1,"quantity":-Infinity},{"item_id":1,"quantity":9223372036854775808},{"item_id":1,"quantity":null},{"item_id":1},{"item_id":1,"quantity":[]},{"item_id":5,"quantity":9223372036854775807}`),
			records: []string{`a "" [7 8] 5×9223372036854775807`, isGood},
			exceptions: []string{
				"4: list line dropped: list_items[0].quantity: zero",
				"5: list line dropped: list_items[1].quantity: negative",
				"5: list line dropped: list_items[2].quantity: wrong type",
				"5: list line dropped: list_items[3].quantity: not a whole number",
				"5: list line dropped: list_items[4].quantity: not a whole number",
				"5: list line dropped: list_items[5].quantity: not a number",
				"5: list line dropped: list_items[6].quantity: not a number",
				"5: list line dropped: list_items[7].quantity: beyond int64",
				"5: list line dropped: list_items[8].quantity: wrong type",
				"5: list line dropped: list_items[9].quantity: missing",
				"5: list line dropped: list_items[10].quantity: wrong type",
			},
		},
		{
			name: "bad items", reason: "all reasons of a line in one exception", text: one(`{"item_id":99,"quantity":0},{"item_id":"unknown","quantity":1},{"item_id":1.5,"quantity":1},{"quantity":1},{},{"item_id":"","quantity":1},{"item_id":" 1","quantity":1},{"item_id":"\u0007","quantity":1},{"item_id":"1","quantity":1,"item_id":"1"},7,[],"s",{"item_id":3,"quantity":1}`),
			records: []string{`a "" [7 8] 3×1`, isGood},
			exceptions: []string{
				"4: list line dropped: list_items[0].item_id: unknown item; list_items[0].quantity: zero",
				"4: list line dropped: list_items[1].item_id: unknown item",
				"4: list line dropped: list_items[2].item_id: not a whole number",
				"4: list line dropped: list_items[3].item_id: missing",
				"4: list line dropped: list_items[4].item_id: missing; list_items[4].quantity: missing",
				"4: list line dropped: list_items[5].item_id: malformed",
				"4: list line dropped: list_items[6].item_id: malformed",
				"4: list line dropped: list_items[7].item_id: malformed",
				"4: list line dropped: list_items[8].item_id: given twice",
				"4: list line dropped: list_items[9]: wrong type",
				"4: list line dropped: list_items[10]: wrong type",
				"4: list line dropped: list_items[11]: wrong type",
			},
		},
		{
			name: "broken lines", reason: "a line that is not JSON spoils itself only", text: one(`{"item_id" 1},{"item_id":1,"quantity":},{"item_id":1 "quantity":2},` + "{\"item_id\":\"1,\n\"quantity\":2}" + `,{"item_id":1,"quantity":2,},,{"item_id":1,"quantity":1,"item":nul},{"item_id":1,"quantity":1,"x":+1},{"item_id":3,"quantity":1}`),
			records: []string{`a "" [7 8] 3×1`, isGood},
			exceptions: []string{
				"4: list line dropped: list_items[0]: not JSON",
				"4: list line dropped: list_items[1]: not JSON",
				"4: list line dropped: list_items[2]: not JSON",
				"4: list line dropped: list_items[3]: not JSON",
				"5: list line dropped: list_items[4]: not JSON",
				"5: list line dropped: list_items[5]: not JSON",
				"5: list line dropped: list_items[6].item: not JSON",
				"5: list line dropped: list_items[7]: not JSON",
			},
		},
		{
			name: "bad heads", reason: "a bad head drops the list, with all its reasons", text: "[" + strings.Join([]string{
				`{"list_id":null,"membership_number":" 1","date":"2017-02-29","list_items":[],"store_location_preferences":[]}`,
				`{}`,
				`{"list_id":1,"list_items":3,"store_location_preferences":3}`,
				`{"list_id":1,"list_items":[{"item_id":1,"quantity":0}],"store_location_preferences":[1,"a b","*",null,2.5,""]}`,
				`{"list_id":1,"list_items":[{"item_id":99,"quantity":1}],` + stores,
				`{"list_id":1,"list_id":1,"list_items":[{"item_id":1,"quantity":1}],"list_items":[],` + stores,
				`{"list_id":1,"membership_number":null,"date":3,"list_items":[{"item_id":1,"quantity":1}],` + stores,
				`{"list_id":1,"date":"0001-01-01","list_items":[{"item_id":1,"quantity":1}],` + stores,
				`null`, `NaN`, `[]`, good,
			}, ",\n") + "]",
			records: []string{isGood},
			exceptions: []string{
				"1: list dropped: store_location_preferences: empty; list_id: wrong type; membership_number: malformed; date: malformed; list_items: empty",
				"2: list dropped: list_items: missing; store_location_preferences: missing",
				"3: list dropped: store_location_preferences: wrong type; list_items: wrong type",
				"4: list line dropped: list_items[0].quantity: zero",
				"4: list dropped: store_location_preferences[1]: malformed; store_location_preferences[2]: malformed; store_location_preferences[3]: wrong type; store_location_preferences[4]: not a whole number; store_location_preferences[5]: malformed; list_items: empty",
				"5: list line dropped: list_items[0].item_id: unknown item",
				"5: list dropped: list_items: empty",
				"6: list dropped: list_id: given twice; list_items: given twice",
				"7: list dropped: membership_number: wrong type; date: wrong type",
				"8: list dropped: date: malformed",
				"9: list dropped: wrong type",
				"10: list dropped: not JSON",
				"11: list dropped: wrong type",
			},
		},
		{
			name: "lost brackets", reason: "what follows is not lost with it", text: "[\n{\"list_id\":1,\"list_items\":[{\"item_id\":1,\"quantity\":1]," + stores + ",\n" +
				`{"list_id":2,"list_items":[{"item_id":1,"quantity":1}],` + stores[:len(stores)-1] + ",\n" + good + ",\n" +
				`{"list_id":3,"list_items":[{"item_id":1,"quantity":1}},{"item_id":2,"quantity":1}],` + stores + ",\n" + good + "]",
			records: []string{isGood, isGood},
			exceptions: []string{
				"2: list line dropped: list_items[0]: not JSON",
				"2: list dropped: not JSON",
				"3: list dropped: not JSON",
				"5: list dropped: not JSON",
				"5: list dropped: list_items: missing; store_location_preferences: missing",
				"5: list dropped: not JSON",
				"5: list dropped: not JSON",
			},
		},
		{
			name: "commas", reason: "an element that is not there is an exception", text: "[" + good + ",\n," + good + ",\n]",
			records: []string{isGood, isGood}, exceptions: []string{"2: list dropped: not JSON", "3: list dropped: not JSON"},
		},
		{
			name: "cut in a list", reason: "the exception is at the last line", text: "[\n" + good + ",\n{\"list_id\":\n",
			records: []string{isGood}, exceptions: []string{"3: rest of file dropped: cut off"},
		},
		{
			name: "cut between lists", reason: "the array does not end", text: "[\n" + good + ",",
			records: []string{isGood}, exceptions: []string{"2: rest of file dropped: cut off"},
		},
		{name: "no file", reason: "an empty file is a cut one", exceptions: []string{"1: rest of file dropped: cut off"}},
		{name: "no lists", reason: "an empty array is fine", text: "\ufeff [ ]\r\n"},
		{
			name: "text after the array", reason: "it is not lost silently", text: "[" + good + "]\nx", records: []string{isGood},
			exceptions: []string{"2: list dropped: not JSON", "2: rest of file dropped: cut off"},
		},
		{
			name: "deep", reason: "nesting is bounded", text: `[{"x":` + strings.Repeat("[", 200) + strings.Repeat("]", 200) + "}," + good + "]",
			records: []string{isGood}, exceptions: []string{"1: list dropped: not JSON"},
		},
		{
			name: "very deep", reason: "so is what the splitter remembers", text: `[{"x":` + strings.Repeat("[{", 5000) + strings.Repeat("}]", 5000) + "}," + good + "]",
			records: []string{isGood}, exceptions: []string{"1: list dropped: not JSON"},
		},
	})
}

// A list that is too long is dropped; those around it are not.
func TestListsTooLong(t *testing.T) {
	long := `{"list_id":1,"list_items":[` + strings.Repeat(`{"item_id":1,"quantity":1},`, 700_000) + `{}],"store_location_preferences":[1]}`
	got, exceptions := collect(t, source.Lists, text("["+good+",\n"+long+",\n"+good+"]"), nil)
	if len(got) != 2 || lines(exceptions) != "file:2: list dropped: too long\n" {
		t.Errorf("%d lists; %s", len(got), lines(exceptions))
	}
	stores := `{"list_id":1,"list_items":[{"item_id":1,"quantity":1}],"store_location_preferences":[` + strings.Repeat(`"x x",`, 2000) + `1]}`
	_, exceptions = collect(t, source.Lists, text("["+stores+"]"), nil)
	if n := len(exceptions[0].Reasons); n != 1025 {
		t.Errorf("%d reasons: they must not grow with the list", n)
	}
}

// world makes random lists, many of them the same.
func world(r *rand.Rand, n int) []string {
	var all []string
	for range n {
		items := []string{}
		for range 1 + r.IntN(2) {
			items = append(items, fmt.Sprintf(`{"item_id":%d,"quantity":%d}`, 98+r.IntN(2), r.IntN(3)))
		}
		all = append(all, fmt.Sprintf(`{"list_items":[%s],"store_location_preferences":[%d]}`, strings.Join(items, ","), r.IntN(2)))
	}
	return all
}

// Removing one list removes one record and changes no other.
func TestListIDsRemoval(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	sorted := func(lists []string) []string {
		got, _ := collect(t, source.Lists, text("["+strings.Join(lists, ",\n")+"]"), catalog)
		var all []string
		for _, x := range got {
			slices.SortFunc(x.Lines, func(a, b federated.Line) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
			all = append(all, x.ID+show(x))
		}
		slices.Sort(all)
		return all
	}
	for range 300 {
		lists := world(r, 12)
		all := sorted(lists)
		i := r.IntN(len(lists))
		rest := sorted(slices.Delete(slices.Clone(lists), i, i+1))
		if len(all)-len(rest) > 1 {
			t.Fatalf("%d records became %d", len(all), len(rest))
		}
		for _, x := range rest {
			k, ok := slices.BinarySearch(all, x)
			if !ok {
				t.Fatalf("removing list %d made a record that was not there: %s", i, x)
			}
			all = slices.Delete(all, k, k+1)
		}
	}
}

// Nodes with other catalogs call a list by the same id.
func TestListIDsCatalog(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 100 {
		file := text("[" + strings.Join(world(r, 30), ",\n") + "]")
		large, _ := collect(t, source.Lists, file, nil)
		small, _ := collect(t, source.Lists, file, catalog)
		ids := map[string]bool{}
		for _, x := range large {
			if ids[x.ID] {
				t.Fatal("two lists have one id")
			}
			ids[x.ID] = true
		}
		for _, x := range small {
			if !ids[x.ID] {
				t.Fatal("the catalog changed an id")
			}
		}
	}
}

func TestListsConfiguration(t *testing.T) {
	reject := func(source.Exception) {}
	for _, row := range []struct {
		reason  string
		file    source.File
		options source.Options
		want    string
	}{
		{"no key", text(""), source.Options{Reject: reject}, "open source file: Options.ListKey: at least 16 random bytes, the same at all stores"},
		{"short key", text(""), source.Options{Reject: reject, ListKey: make([]byte, 15)}, "open source file: Options.ListKey: at least 16 random bytes, the same at all stores"},
		{"all at once", text(""), source.Options{}, "open source file: Options.Reject is required; Options.ListKey: at least 16 random bytes, the same at all stores"},
		{"exceptions would be lost", text(""), source.Options{ListKey: listKey}, "open source file: Options.Reject is required"},
		{"no name", source.File{Open: text("").Open}, source.Options{Reject: reject, ListKey: listKey}, "open source: File.Name is required"},
		{"nothing to open", source.File{Name: "x"}, source.Options{Reject: reject, ListKey: listKey}, "open source x: File.Open is required"},
	} {
		if _, err := source.Lists(row.file, row.options); err == nil || err.Error() != row.want {
			t.Errorf("%s: %v, want %s", row.reason, err, row.want)
		}
		if _, err := source.ListsCSV(row.file, row.options); err == nil || err.Error() != row.want {
			t.Errorf("%s: %v, want %s", row.reason, err, row.want)
		}
	}
}
