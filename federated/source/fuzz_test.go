package source_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/larder-dp/larder/federated"
	"github.com/larder-dp/larder/federated/source"
)

// What an exception may say: nothing else can carry a value.
var (
	fixedFields = regexp.MustCompile(`^(list_id|membership_number|date|store_location_preferences(\[\d+\])?|sale_id|sale_datetime|store_location|list_idx|` +
		`(list_items|items)(\[\d+\](\.(item_id|quantity|item|category))?)?|store_id|item_id|item|category|quantity|` +
		`household_id|basket_id|product_id|sales_value|transaction_timestamp|department|product_category)?$`)
	fixedProblems = []source.Problem{
		source.Missing, source.WrongType, source.NotNumber, source.NotWhole, source.OutOfRange, source.Zero, source.Negative,
		source.UnknownItem, source.Malformed, source.Repeated, source.Empty, source.NotEqual, source.Scattered, source.NotJSON,
		source.NotCSV, source.TooLong, source.CutOff, source.Damaged,
	}
	fixedDropped = []string{"list", "list line", "sale", "sale line", "stock", "transaction", "product", "rest of file"}
)

// law checks what holds for every input, and returns what was read.
func law[T any](t *testing.T, read reader[T], content []byte) ([]T, []source.Exception, error) {
	t.Helper()
	f := text(string(content))
	all, exceptions, err := try(read, f, catalog)
	again, exceptionsAgain, errAgain := try(read, f, catalog)
	if !reflect.DeepEqual(all, again) || !reflect.DeepEqual(exceptions, exceptionsAgain) || (err == nil) != (errAgain == nil) {
		t.Fatal("a second pass differs")
	}
	last := 1 + bytes.Count(content, []byte("\n"))
	for _, e := range exceptions {
		if e.File != "file" || !slices.Contains(fixedDropped, e.Dropped) || len(e.Reasons) == 0 ||
			e.Line < 1 || !bytes.HasPrefix(content, []byte{0x1f, 0x8b}) && e.Line > last {
			t.Fatalf("exception %+v", e)
		}
		for i, r := range e.Reasons {
			if !fixedFields.MatchString(r.Field) || !slices.Contains(fixedProblems, r.Problem) || slices.Contains(e.Reasons[:i], r) {
				t.Fatalf("exception %+v", e)
			}
		}
	}
	return all, exceptions, err
}

func goodRecords(t *testing.T, all []federated.Record, listLike bool) {
	t.Helper()
	for _, r := range all {
		if r.ID == "" || len(r.Lines) == 0 || len(r.Stores) == 0 || !listLike && (len(r.Stores) != 1 || r.Time.IsZero()) {
			t.Fatal("a record lacks a part")
		}
		for _, s := range r.Stores {
			if len(s) < 1 || len(s) > 64 || strings.ContainsFunc(string(s), func(c rune) bool { return c <= ' ' || c > '~' || c == ',' || c == '*' }) {
				t.Fatal("a store is malformed")
			}
		}
		for _, l := range r.Lines {
			if l.Quantity <= 0 || l.Spend < 0 || l.Item == "" || l.Item == "unknown" || l.Item == "99" {
				t.Fatal("a line is bad")
			}
		}
	}
}

func dropped(exceptions []source.Exception, what string) int {
	n := 0
	for _, e := range exceptions {
		n += count(e.Dropped == what)
	}
	return n
}

// wholeArray says that encoding/json reads an array, of n elements.
func wholeArray(content []byte) (all []json.RawMessage, ok bool) {
	return all, json.Unmarshal(bytes.TrimPrefix(content, []byte("\ufeff")), &all) == nil && all != nil
}

// otherKind says that a file is no JSON array by its first sign, and checks that
// this is the one error there is, and nothing else comes of it.
func otherKind(t *testing.T, content []byte, n int, exceptions []source.Exception, err error) bool {
	t.Helper()
	first := bytes.TrimLeft(bytes.TrimPrefix(content, []byte("\ufeff")), " \t\r\n")
	want := len(first) > 0 && first[0] != '['
	if bytes.HasPrefix(content, []byte{0x1f, 0x8b}) {
		want = err != nil // what is within decides
	}
	if want != (err != nil) {
		t.Fatalf("error %v", err)
	}
	if err != nil && (n > 0 || len(exceptions) > 0 || !strings.HasPrefix(err.Error(), "read file: not a JSON array: is it CSV? use ")) {
		t.Fatalf("%d read, %d exceptions, error %v", n, len(exceptions), err)
	}
	return err != nil
}

// everyElement checks that of a JSON array each element was read or reported,
// and each line of it too unless its record was.
func everyElement(t *testing.T, content []byte, n int, exceptions []source.Exception, what string) {
	t.Helper()
	if all, ok := wholeArray(content); ok && n+dropped(exceptions, what) != len(all) {
		t.Fatalf("%d read and %d reported of %d", n, dropped(exceptions, what), len(all))
	} else if ok && dropped(exceptions, "rest of file") > 0 {
		t.Fatal("the array is whole")
	} else if !ok && len(exceptions) == 0 {
		t.Fatal("this is not a JSON array, and nobody was told")
	}
}

// everyLine does so for lines, where no record was dropped.
func everyLine(t *testing.T, content []byte, field, record, line string, all []federated.Record, exceptions []source.Exception) {
	t.Helper()
	raw, ok := wholeArray(content)
	if !ok || dropped(exceptions, record) > 0 {
		return
	}
	want, got := 0, dropped(exceptions, line)
	for _, r := range raw {
		var m map[string]json.RawMessage
		var lines []json.RawMessage
		if json.Unmarshal(r, &m) != nil || json.Unmarshal(m[field], &lines) != nil {
			t.Fatal("a record was read that is none")
		}
		want += len(lines)
	}
	for _, r := range all {
		got += len(r.Lines)
	}
	if got != want {
		t.Fatalf("%d lines of %d", got, want)
	}
}

// everyRow checks that of a CSV file each row was read or reported.
func everyRow(t *testing.T, content []byte, n int, exceptions []source.Exception, err error) {
	t.Helper()
	if err != nil || bytes.HasPrefix(content, []byte{0x1f, 0x8b}) {
		return
	}
	rows := -1
	for i, line := range bytes.Split(bytes.TrimPrefix(content, []byte("\ufeff")), []byte("\n")) {
		last := i == bytes.Count(content, []byte("\n"))
		if line = bytes.TrimSuffix(line, []byte("\r")); len(line) > 0 || last && len(line) > 0 {
			rows++
		}
	}
	if n+len(exceptions) != rows {
		t.Fatalf("%d read and %d reported of %d rows", n, len(exceptions), rows)
	}
}

func seed(f *testing.F) {
	f.Helper()
	if files, err := os.ReadDir(filepath.Join("testdata", "fuzz", f.Name())); err != nil || len(files) == 0 {
		f.Fatalf("no seeds for %s: %v", f.Name(), err)
	}
}

func FuzzLists(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, content []byte) {
		all, exceptions, err := law[federated.Record](t, source.Lists, content)
		if otherKind(t, content, len(all), exceptions, err) {
			return
		}
		goodRecords(t, all, true)
		if !bytes.HasPrefix(content, []byte{0x1f, 0x8b}) {
			everyElement(t, content, len(all), exceptions, "list")
			everyLine(t, content, "list_items", "list", "list line", all, exceptions)
		}
	})
}

func FuzzSales(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, content []byte) {
		all, exceptions, err := law[federated.Record](t, source.Sales, content)
		if otherKind(t, content, len(all), exceptions, err) {
			return
		}
		goodRecords(t, all, false)
		if !bytes.HasPrefix(content, []byte{0x1f, 0x8b}) {
			everyElement(t, content, len(all), exceptions, "sale")
			everyLine(t, content, "items", "sale", "sale line", all, exceptions)
		}
	})
}

func FuzzInventory(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, content []byte) {
		all, exceptions, err := law(t, source.Inventory, content)
		stocks, rows, problem := law(t, source.InventoryCSV, content)
		everyRow(t, content, len(stocks), rows, problem)
		if otherKind(t, content, len(all), exceptions, err) {
			return
		}
		for _, s := range append(all, stocks...) {
			if s.Quantity < 0 || s.Item == "" || s.Store == "" {
				t.Fatal("a stock is bad")
			}
		}
		if !bytes.HasPrefix(content, []byte{0x1f, 0x8b}) {
			everyElement(t, content, len(all), exceptions, "stock")
		}
	})
}

func FuzzListsCSV(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, content []byte) {
		all, exceptions, err := law[federated.Record](t, source.ListsCSV, content)
		goodRecords(t, all, true)
		if dropped(exceptions, "list") > 0 {
			return // which stand for all rows of the list that have none
		}
		n := 0
		for _, r := range all {
			n += len(r.Lines) * len(r.Stores)
		}
		everyRow(t, content, n, exceptions, err)
	})
}

func FuzzTransactions(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, content []byte) {
		all, exceptions, err := law[federated.Record](t, source.Transactions, content)
		goodRecords(t, all, false)
		everyRow(t, content, len(all), exceptions, err)
	})
}

func FuzzProducts(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, content []byte) {
		all, exceptions, err := law(t, source.Products, content)
		for _, p := range all {
			if p.ID == "" || p.Department == "" || p.Category == "" {
				t.Fatal("a product lacks a part")
			}
		}
		everyRow(t, content, len(all), exceptions, err)
	})
}
