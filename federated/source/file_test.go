package source_test

import (
	"bytes"
	"compress/gzip"
	"encoding/csv"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/larder-dp/larder/federated"
	"github.com/larder-dp/larder/federated/source"
)

func zip(s string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write([]byte(s))
	_ = w.Close()
	return b.String()
}

// A gzip file is read by its content, and damage ends it with an exception.
func TestGzip(t *testing.T) {
	tx := transactionHeader + "h,7,b,p,1,1,0,0,0,1,2017-01-01\nh,7,b,p,2,1,0,0,0,1,2017-01-01\n"
	list := "[\n" + good + ",\n" + good + "]\n"
	flip := func(s string, i int) string { b := []byte(s); b[len(b)-i] ^= 1; return string(b) }
	for _, row := range []struct {
		name, reason, text string
		read               reader[federated.Record]
		n                  int
		want               string
	}{
		{"rows", "whatever the name", zip(tx), source.Transactions, 2, ""},
		{"lists", "whatever the name", zip(list), source.Lists, 2, ""},
		{"two members", "RFC 1952: members may follow each other", zip(tx[:180]) + zip(tx[180:]), source.Transactions, 2, ""},
		{"byte order mark", "also within gzip", zip("\ufeff" + list), source.Lists, 2, ""},
		{"rows, no end", "what came before is read", zip(tx)[:len(zip(tx))-8], source.Transactions, 2, "file:3: rest of file dropped: cut off\n"},
		{"lists, no end", "what came before is read", zip(list)[:len(zip(list))-8], source.Lists, 2, "file:3: rest of file dropped: cut off\n"},
		{"rows, checksum", "the sum is at the end", flip(zip(tx), 8), source.Transactions, 2, "file:3: rest of file dropped: damaged compression\n"},
		{"lists, checksum", "the sum is at the end", flip(zip(list), 8), source.Lists, 2, "file:3: rest of file dropped: damaged compression\n"},
		{"rows, garbage", "what follows is no member", zip(tx) + "garbage that is long enough", source.Transactions, 2, "file:3: rest of file dropped: damaged compression\n"},
		{"row cut", "a row without its end is not a row", zip(tx[:len(tx)-3])[:len(zip(tx[:len(tx)-3]))-4], source.Transactions, 1, "file:3: rest of file dropped: cut off\n"},
		{"flat list cut", "the last list may lack rows", zip("list_idx,store_id,item_id,quantity\n0,A,1,1\n1,A,1,1\n")[:60], source.ListsCSV, 1, "file:3: rest of file dropped: cut off\nfile:3: list dropped: cut off\n"},
		{"magic only", "nothing to read", "\x1f\x8b", source.Transactions, 0, "file:1: rest of file dropped: cut off\n"},
		{"bad header", "nothing to read", "\x1f\x8b" + strings.Repeat("x", 20), source.Lists, 0, "file:1: rest of file dropped: damaged compression\n"},
	} {
		got, exceptions, err := try(row.read, text(row.text), nil)
		if len(got) != row.n || lines(exceptions) != row.want || err != nil {
			t.Errorf("%s: %d records, error %v, exceptions\n%swant %d\n%s, because %s", row.name, len(got), err, lines(exceptions), row.n, row.want, row.reason)
		}
	}
}

// Wherever a file is cut off, what came before is read, and there is an
// exception, except where the rest is a whole file.
func TestCutAnywhere(t *testing.T) {
	list := "[" + good + ",\n" + good + "]"
	for i := range len(list) {
		got, exceptions := records(t, source.Lists, text(list[:i]))
		if want := strings.Count(list[:i], good+","); len(got) != want || len(exceptions) != 1 || exceptions[0].Reasons[0].Problem != source.CutOff {
			t.Errorf("cut at %d: %d lists, want %d; %s", i, len(got), want, lines(exceptions))
		}
	}
	z := zip(list)
	for i := 2; i < len(z); i++ {
		if _, exceptions := records(t, source.Lists, text(z[:i])); len(exceptions) != 1 || exceptions[0].Reasons[0].Problem != source.CutOff {
			t.Errorf("gzip cut at %d: %s", i, lines(exceptions))
		}
	}
}

var errDisk = errors.New("disk on fire")

// A failing storage is an error and not an exception, at any byte.
func TestStorageFails(t *testing.T) {
	tx := transactionHeader + "h,7,b,p,1,1,0,0,0,1,2017-01-01\n"
	for content, read := range map[string]reader[federated.Record]{
		tx: source.Transactions, zip(tx): source.Transactions, "[" + good + "]": source.Lists, zip("[" + good + "]"): source.Lists,
		"list_idx,store_id,item_id,quantity\n0,A,1,1\n": source.ListsCSV,
	} {
		for i := range len(content) + 1 {
			closed := 0
			f := source.File{Name: "file", Open: func() (io.ReadCloser, error) {
				return &disk{Reader: io.MultiReader(strings.NewReader(content[:i]), broken{}), closed: &closed}, nil
			}}
			_, exceptions, err := try(read, f, nil)
			if !errors.Is(err, errDisk) || len(exceptions) != 0 || closed != 1 {
				t.Fatalf("after %d bytes: error %v, %d exceptions, closed %d times", i, err, len(exceptions), closed)
			}
		}
	}
	for _, name := range []string{filepath.Join(t.TempDir(), "none"), t.TempDir()} { // the folder opens and cannot be read
		_, _, err := try(source.Lists, source.Path(name), nil)
		if err == nil || strings.Count(err.Error(), name) != 1 {
			t.Errorf("the path must stand once: %v", err)
		}
	}
	_, _, err := try(source.Lists, source.Path(filepath.Join(t.TempDir(), "none")), nil)
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errDisk }

type disk struct {
	io.Reader
	closed *int
}

func (d *disk) Close() error { *d.closed++; return nil }

// A header that does not fit is an error that gives nothing of the file away.
func TestHeaders(t *testing.T) {
	for _, row := range []struct{ reason, header, want string }{
		{"empty file", "", "read file: the header with column household_id is missing"},
		{"no header", "2261,309,31625220889,940996,1,3.86,0.43,0,0,5,2017-01-28T14:06:53-0500", "read file: column household_id is missing"},
		{"a column is missing", strings.Replace(transactionHeader, "quantity,", "", 1), "read file: column quantity is missing"},
		{"a column is strange", strings.Replace(transactionHeader, "week", "canary", 1), "read file: column number 10 is not one of this format"},
		{"a column is there twice", strings.Replace(transactionHeader, "week", "quantity", 1), "read file: column quantity is there twice"},
		{"quotes", `"` + transactionHeader, "read file: the header with column household_id is missing"},
	} {
		_, exceptions, err := try(source.Transactions, text(row.header), nil)
		if err == nil || err.Error() != row.want || len(exceptions) != 0 {
			t.Errorf("%s: %v, want %s", row.reason, err, row.want)
		}
	}
}

// A file of another kind is an error that gives nothing of the file away, where
// JSON is read too. Only the first sign decides.
func TestNotAnArray(t *testing.T) {
	const csv = "list_idx,store_id,item_id,quantity\ncanary,A,1,1\n"
	check := func(content, want string, exceptions []source.Exception, n int, err error) {
		t.Helper()
		if err == nil || err.Error() != "read file: not a JSON array: "+want || len(exceptions) != 0 || n != 0 {
			t.Errorf("%q: %v, %d exceptions, %d read", content, err, len(exceptions), n)
		}
	}
	for _, content := range []string{csv, "\ufeff" + csv, " \n" + csv, zip(csv), "\n" + good, "{", "0", "]", "\x00["} {
		all, exceptions, err := try[federated.Record](source.Lists, text(content), nil)
		check(content, "is it CSV? use ListsCSV", exceptions, len(all), err)
		all, exceptions, err = try[federated.Record](source.Sales, text(content), nil)
		check(content, "is it CSV? use Transactions, if it is of that format", exceptions, len(all), err)
		stocks, exceptions, err := try(source.Inventory, text(content), nil)
		check(content, "is it CSV? use InventoryCSV", exceptions, len(stocks), err)
	}
	for _, content := range []string{"[", "[x", " [,", "[[", "", " \n", "\ufeff"} {
		if _, exceptions, err := try[federated.Record](source.Lists, text(content), nil); err != nil || len(exceptions) == 0 {
			t.Errorf("%q: %v, %d exceptions", content, err, len(exceptions))
		}
	}
}

// Breaking off closes the file and yields no more.
func TestBreak(t *testing.T) {
	tx := transactionHeader + strings.Repeat("h,7,b,p,1,1,0,0,0,1,2017-01-01\n", 3)
	flat := "list_idx,store_id,item_id,quantity\n0,A,1,1\n1,A,1,1\n2,A,1,1\n"
	for content, read := range map[string]reader[federated.Record]{tx: source.Transactions, "[" + good + "," + good + "]": source.Lists, flat: source.ListsCSV} {
		for stop := 1; stop <= 3; stop++ {
			closed, n := 0, 0
			seq, err := read(source.File{Name: "file", Open: func() (io.ReadCloser, error) {
				return &disk{Reader: strings.NewReader(content), closed: &closed}, nil
			}}, source.Options{ListKey: listKey, Reject: func(source.Exception) {}})
			if err != nil {
				t.Fatal(err)
			}
			for range seq {
				if n++; n == stop {
					break
				}
			}
			if closed != 1 {
				t.Errorf("closed %d times", closed)
			}
		}
	}
}

// The parser of rows against encoding/csv, on lines of all kinds of quotes.
func TestRowsAgainstEncodingCSV(t *testing.T) {
	signs := []byte(`a",b`)
	for n := range 1 << 12 {
		line := []byte{}
		for i := n; i > 0; i /= len(signs) {
			line = append(line, signs[i%len(signs)])
		}
		c := csv.NewReader(strings.NewReader(string(line)))
		c.FieldsPerRecord = -1
		want, err := c.Read()
		if err == io.EOF {
			continue
		}
		// The row becomes the fields of a product, as many as there are.
		got, exceptions := collect(t, source.Products, text("product_id,department,product_category\n"+string(line)+"\n"), nil)
		switch {
		case err != nil:
			if len(exceptions) != 1 || exceptions[0].Reasons[0].Problem != source.NotCSV {
				t.Errorf("%s: %v %s", line, got, lines(exceptions))
			}
		case len(want) != 3:
			if len(exceptions) != 1 || exceptions[0].Reasons[0].Problem != source.NotCSV {
				t.Errorf("%s: %v %s", line, got, lines(exceptions))
			}
		case want[0] == "":
		default:
			for i := range want {
				if want[i] == "" {
					want[i] = "(none)"
				}
			}
			if len(got) != 1 || !slices.Equal(want, []string{got[0].ID, got[0].Department, got[0].Category}) {
				t.Errorf("%s: %v, want %q", line, got, want)
			}
		}
	}
}
