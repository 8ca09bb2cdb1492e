package source_test

import (
	"runtime"
	"testing"

	"github.com/larder-dp/larder/federated"
	"github.com/larder-dp/larder/federated/source"
)

// Memory does not grow with the file, except by what the documentation says:
// some 50 bytes for each different list without an id.
func TestMemory(t *testing.T) {
	total := 100 << 20 // bytes of each file
	if testing.Short() || raceEnabled {
		total = 10 << 20
	}
	const allowance = 4 << 20
	for name, row := range map[string]struct {
		read  reader[federated.Record]
		make  func(n int) generated
		extra int // bytes for each record
	}{
		"transactions":       {source.Transactions, generatedTransactions, 0},
		"lists":              {source.Lists, func(n int) generated { return generatedLists(n, true) }, 0},
		"lists without ids":  {source.Lists, func(n int) generated { return generatedLists(n, false) }, 64},
		"flat lists":         {source.ListsCSV, generatedFlat, 128},
		"one line, no break": {source.Transactions, func(n int) generated { g := generatedTransactions(0); g.n, g.part = n, noise; return g }, 0},
		"one broken list":    {source.Lists, func(n int) generated { return generated{head: "[{\"", n: n, part: noise} }, 40 << 10},
	} {
		t.Run(name, func(t *testing.T) {
			size := len(row.make(100).bytes()) / 100
			n := total / size
			seq, err := row.read(row.make(n).file(), source.Options{ListKey: listKey, Reject: func(source.Exception) {}})
			if err != nil {
				t.Fatal(err)
			}
			before, most, i := heap(), uint64(0), 0
			for _, err := range seq {
				if err != nil {
					t.Fatal(err)
				}
				if i++; i%(n/3) == 0 {
					most = max(most, heap())
				}
			}
			most = max(most, heap())
			extra := uint64(row.extra * n)
			if name == "one broken list" {
				extra = 40 << 20 // the longest element that is held
			}
			if most > before+allowance+extra {
				t.Errorf("%d records of %d bytes took %d MB of memory", n, size, (most-before)>>20)
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
