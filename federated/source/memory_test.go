package source_test

import (
	"runtime"
	"testing"

	"github.com/larder-dp/larder/federated"
	"github.com/larder-dp/larder/federated/source"
)

// Memory does not grow with the file, except by what the documentation says:
// 16 bytes and a counter, with the map around them, for each different list
// without an id and each flat list.
func TestMemory(t *testing.T) {
	total := 64 << 20 // bytes of each file
	if testing.Short() || raceEnabled {
		total = 4 << 20
	}
	const allowance = 4 << 20
	unbroken := func(head string) func(n int) generated {
		return func(n int) generated { return generated{head: head, n: n, part: noise} }
	}
	for name, row := range map[string]struct {
		read  reader[federated.Record]
		make  func(n int) generated
		extra int // bytes for each record
		held  int // bytes for the longest element
	}{
		"transactions":      {read: source.Transactions, make: generatedTransactions},
		"lists":             {read: source.Lists, make: func(n int) generated { return generatedLists(n, true) }},
		"lists without ids": {read: source.Lists, make: func(n int) generated { return generatedLists(n, false) }, extra: 64},
		"flat lists":        {read: source.ListsCSV, make: generatedFlat, extra: 64},
		"one endless line":  {read: source.Transactions, make: unbroken(transactionHeader)},
		"one endless list":  {read: source.Lists, make: unbroken(`[{"x":`), held: 40 << 20},
	} {
		t.Run(name, func(t *testing.T) {
			size := len(row.make(100).bytes()) / 100
			g := row.make(total / size)
			before, most, parts := heap(), uint64(0), 0
			part := g.part
			g.part = func(b []byte, i int) []byte {
				if parts++; parts%(g.n/4) == 0 {
					most = max(most, heap())
				}
				return part(b, i)
			}
			records, err := row.read(g.file(), source.Options{ListKey: listKey, Reject: func(source.Exception) {}})
			if err != nil {
				t.Fatal(err)
			}
			for _, err := range records {
				if err != nil {
					t.Fatal(err)
				}
			}
			if parts != g.n {
				t.Errorf("%d of %d parts were read", parts, g.n)
			}
			if limit := before + allowance + uint64(row.extra*g.n+row.held); most > limit {
				t.Errorf("a file of %d MB took %d MB of memory", total>>20, (most-before)>>20)
			}
		})
	}
}

func noise(b []byte, _ int) []byte {
	for range 100 {
		b = append(b, "{\"x\": [1, 2,"...)
	}
	return b
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
