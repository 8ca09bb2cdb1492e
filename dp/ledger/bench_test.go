package ledger

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/larder-dp/larder/dp"
)

// BenchmarkFile charges durably. Writers share an fsync, so that 64 of them get
// far more charges into a second than one.
func BenchmarkFile(b *testing.B) {
	for _, writers := range []int{1, 64} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			l := newFile(b, Config{Budget: pure(1e6)})
			benchmark(b, l, writers)
		})
	}
}

func benchmark(b *testing.B, l dp.Ledger, writers int) {
	var next atomic.Int64
	var all sync.WaitGroup
	b.ResetTimer()
	for range writers {
		all.Go(func() {
			for {
				n := next.Add(1)
				if n > int64(b.N) {
					return
				}
				if _, err := l.Reserve(b.Context(), charge(n, pure(1.0/1024))); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "charges/s")
}

// BenchmarkOpen verifies a ledger of a thousand charges with releases of 10 kB.
func BenchmarkOpen(b *testing.B) {
	l := newFile(b, Config{Budget: pure(1e6)})
	release := make([]byte, 10_000)
	for n := range int64(1000) {
		c := charge(n+1, pure(1.0/1024))
		if _, err := l.Reserve(b.Context(), c); err != nil {
			b.Fatal(err)
		}
		if err := l.Commit(b.Context(), c.Key, release); err != nil {
			b.Fatal(err)
		}
	}
	b.SetBytes(l.Head().Size)
	for b.Loop() {
		if _, err := Verify(l.path); err != nil {
			b.Fatal(err)
		}
	}
}
