package source_test

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"testing"

	"github.com/larder-dp/larder/federated/source"
)

// A generated is a file made on the fly: head, n parts, tail.
type generated struct {
	head, tail string
	part       func(b []byte, i int) []byte
	n          int
}

func (g generated) file() source.File {
	return source.File{Name: "generated", Open: func() (io.ReadCloser, error) {
		return io.NopCloser(&generator{generated: g, buf: []byte(g.head)}), nil
	}}
}

func (g generated) bytes() []byte {
	b := []byte(g.head)
	for i := range g.n {
		b = g.part(b, i)
	}
	return append(b, g.tail...)
}

type generator struct {
	generated
	buf  []byte
	rest []byte
	i    int
	over bool
}

func (g *generator) Read(p []byte) (int, error) {
	if g.i == 0 && g.rest == nil {
		g.rest = g.buf
	}
	for len(g.rest) == 0 {
		switch {
		case g.i < g.n:
			g.buf = g.part(g.buf[:0], g.i)
			g.i++
		case !g.over:
			g.over = true
			g.buf = append(g.buf[:0], g.tail...)
		default:
			return 0, io.EOF
		}
		g.rest = g.buf
	}
	n := copy(p, g.rest)
	g.rest = g.rest[n:]
	return n, nil
}

// Generated lists have ten lines and, if named, an id.
func generatedLists(n int, named bool) generated {
	return generated{head: "[\n", tail: "]\n", n: n, part: func(b []byte, i int) []byte {
		if i > 0 {
			b = append(b, ",\n"...)
		}
		b = append(b, "    {\n"...)
		if named {
			b = fmt.Appendf(b, "        \"list_id\": %d,\n", i)
		}
		b = append(b, "        \"list_items\": [\n"...)
		for k := range 10 {
			b = fmt.Appendf(b, "            {\n                \"category\": \"Fruits\",\n                \"item\": \"apples\",\n                \"item_id\": %d,\n                \"quantity\": %d\n            }", 10_000+(i*7+k*13)%133, 1+(i+k)%4)
			if k < 9 {
				b = append(b, ',')
			}
			b = append(b, '\n')
		}
		return fmt.Appendf(b, "        ],\n        \"store_location_preferences\": [\n            %d,\n            %d\n        ]\n    }", 1000+i%30, 1000+(i+1+i/30)%30)
	}}
}

func generatedTransactions(n int) generated {
	return generated{
		head: "household_id,store_id,basket_id,product_id,quantity,sales_value,retail_disc,coupon_disc,coupon_match_disc,week,transaction_timestamp\n",
		n:    n,
		part: func(b []byte, i int) []byte {
			return fmt.Appendf(b, "%d,%d,3162522%04d,%d,%d,%d.%02d,0.4,0,0,5,2017-01-28T14:06:53-0500\n", i%2400, 300+i%290, i/8, 800_000+i*37%20_000, 1+i%3, i%20, i%100)
		},
	}
}

func BenchmarkLists(b *testing.B) {
	for _, named := range []bool{true, false} {
		b.Run(fmt.Sprintf("id=%t", named), func(b *testing.B) {
			benchmark(b, source.Lists, generatedLists(2_000, named))
		})
	}
}

func BenchmarkTransactions(b *testing.B) {
	benchmark(b, source.Transactions, generatedTransactions(100_000))
}

func BenchmarkProducts(b *testing.B) {
	g := generated{
		head: `"product_id","manufacturer_id","department","brand","product_category","product_type","package_size"` + "\n", n: 20_000,
		part: func(b []byte, i int) []byte {
			return fmt.Appendf(b, "\"%d\",\"69\",\"PASTRY\",\"Private\",\"BREAD\",\"BREAD:ITALIAN/FRENCH\",\"%d OZ\"\n", i, i%40)
		},
	}
	benchmark(b, source.Products, g)
}

func BenchmarkListsCSV(b *testing.B) {
	benchmark(b, source.ListsCSV, generatedFlat(2_000))
}

func generatedFlat(n int) generated {
	return generated{head: "list_idx,store_id,item_id,item,category,quantity\n", n: n, part: func(b []byte, i int) []byte {
		for k := range 20 {
			b = fmt.Appendf(b, "%d,%d,%d,apples,\"Fruits\",%d\n", i, 1000+k/10, 10_000+(i*7+k%10*13)%133, 1+(i+k%10)%4)
		}
		return b
	}}
}

func benchmark[T any](b *testing.B, read reader[T], g generated) {
	data := g.bytes()
	f := source.File{Name: "memory", Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil }}
	seq, err := read(f, source.Options{ListKey: listKey, Reject: func(e source.Exception) { b.Error(e) }})
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		for _, err := range seq {
			if err != nil {
				b.Fatal(err)
			}
		}
	}
}

// What the standard library takes to decode the same lists, for comparison. It
// stops at the first bad one.
func BenchmarkListsEncodingJSON(b *testing.B) {
	data := generatedLists(2_000, true).bytes()
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		d := json.NewDecoder(bytes.NewReader(data))
		if _, err := d.Token(); err != nil {
			b.Fatal(err)
		}
		for d.More() {
			var list struct {
				ID    json.Number `json:"list_id"`
				Items []struct {
					ID       json.Number `json:"item_id"`
					Quantity int64       `json:"quantity"`
				} `json:"list_items"`
				Stores []json.Number `json:"store_location_preferences"`
			}
			if err := d.Decode(&list); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// What encoding/csv takes only to cut the same transactions into fields.
func BenchmarkTransactionsEncodingCSV(b *testing.B) {
	data := generatedTransactions(100_000).bytes()
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		r := csv.NewReader(bytes.NewReader(data))
		r.ReuseRecord = true
		for {
			if _, err := r.Read(); err == io.EOF {
				break
			} else if err != nil {
				b.Fatal(err)
			}
		}
	}
}
