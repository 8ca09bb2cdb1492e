//go:build unix

package register

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// BenchmarkApplications is the whole way of a file of 200,000 rows: read, digest,
// check, pseudonyms, parts, store, and the three outputs, all synced.
func BenchmarkApplications(b *testing.B) {
	const rows = 200_000
	for _, mix := range []Mix{{Seed: 1, Rows: rows}, {Seed: 1, Rows: rows, AllGood: true}} {
		name := "one in seven successful"
		if mix.AllGood {
			name = "all successful"
		}
		path := filepath.Join(b.TempDir(), "in.csv")
		writeMix(b, path, mix)
		for _, kind := range []string{"SQLite", "PostgreSQL", "nothing stored"} {
			b.Run(fmt.Sprintf("%s/%s", name, kind), func(b *testing.B) {
				var cpu time.Duration
				for b.Loop() {
					b.StopTimer()
					r := benchRegister(b, kind)
					b.StartTimer()
					before := cpuTime(b)
					if kind == "nothing stored" {
						processOnly(b, r, path)
					} else {
						_, known, err := r.Add(context.Background(), path)
						require.NoError(b, err)
						require.False(b, known)
						require.NoError(b, r.Publish(context.Background()))
					}
					cpu += cpuTime(b) - before
					b.StopTimer()
					require.NoError(b, r.Close())
					b.StartTimer()
				}
				b.ReportMetric(float64(rows*b.N)/b.Elapsed().Seconds(), "rows/s")
				// On a busy machine the steadier figure; without the server's share.
				b.ReportMetric(float64(rows*b.N)/cpu.Seconds(), "rows/cpu-s")
			})
		}
	}
}

// cpuTime is what this process has used.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func benchRegister(b *testing.B, kind string) *Register {
	dir := b.TempDir()
	var store *Store
	var err error
	if kind == "PostgreSQL" {
		store, err = Postgres(postgresDSN(b))
	} else {
		store, err = SQLite(filepath.Join(dir, "members.db"))
	}
	require.NoError(b, err)
	asOf, err := ParseDay("2022-01-01")
	require.NoError(b, err)
	r, err := Open(context.Background(), Config{Dir: dir, Store: store, Scope: testScope(b), AsOf: asOf, Now: time.Now})
	require.NoError(b, err)
	return r
}

// processOnly parses, checks and makes pseudonyms and rows.
func processOnly(b *testing.B, r *Register, path string) {
	content, _, err := readFile(path)
	require.NoError(b, err)
	order, rows, err := readHeader(content)
	require.NoError(b, err)
	p := processor{file: "in.csv", order: order, asOf: r.AsOf, scope: r.Scope}
	require.NoError(b, p.each(context.Background(), rows, func(outcome) error { return nil }))
}

func BenchmarkPseudonym(b *testing.B) {
	s := testScope(b)
	a := application{raw: [4]string{"Ada Vega", "ada_vega@example.com", "12/31/1980", "4060 1711"}}
	var id []byte
	b.ReportAllocs()
	for b.Loop() {
		a.check(20220101)
		var err error
		if _, id, err = a.pseudonym(s, id); err != nil {
			b.Fatal(err)
		}
	}
}

func writeMix(tb testing.TB, path string, mix Mix) {
	tb.Helper()
	f, err := os.Create(path)
	require.NoError(tb, err)
	require.NoError(tb, Generate(f, mix))
	require.NoError(tb, f.Close())
}
