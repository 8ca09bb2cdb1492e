package retail

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/larder-dp/larder/federated"
)

// falseAlarm is the probability with which a statistical test here may fail
// with a sound generator and another seed.
const falseAlarm = 1e-9

// drawn checks that a count of n independent draws of probability p is not
// further from n·p than one of tests may be. Bernstein's inequality: a sum of
// variance v leaves ±t with probability at most 2·exp(−t²/(2v + 2t/3)).
func drawn(t *testing.T, what string, count, n int, p float64, tests int) {
	t.Helper()
	mean, variance := float64(n)*p, float64(n)*p*(1-p)
	l := math.Log(2 * float64(tests) / falseAlarm)
	most := l/3 + math.Sqrt(l*l/9+2*l*variance)
	if off := math.Abs(float64(count) - mean); off > most {
		t.Errorf("%s: %d of %d drawn, %.1f expected: off by more than %.1f", what, count, n, mean, most)
	}
}

// all copies what a sequence yields.
func all(t testing.TB, records federated.Records) (out []federated.Record) {
	t.Helper()
	if records == nil {
		return nil
	}
	for r, err := range records {
		require.NoError(t, err)
		r.Stores, r.Lines = slices.Clone(r.Stores), slices.Clone(r.Lines)
		out = append(out, r)
	}
	return out
}

func stock(t testing.TB, s Store) map[string]int64 {
	t.Helper()
	out := map[string]int64{}
	if s.Inventory == nil {
		return out
	}
	for x, err := range s.Inventory {
		require.NoError(t, err)
		out[x.Item] += x.Quantity
	}
	return out
}

func demand(t testing.TB, records federated.Records) map[string]int64 {
	t.Helper()
	out := map[string]int64{}
	for _, r := range all(t, records) {
		for _, l := range r.Lines {
			out[l.Item] += l.Quantity
		}
	}
	return out
}

func sum(m map[string]int64) (total int64) {
	for _, n := range m {
		total += n
	}
	return total
}

// digest is of everything in a world.
func digest(t testing.TB, w *World) string {
	t.Helper()
	h := sha256.New()
	fmt.Fprintln(h, w.Epoch, w.Segments, w.Window, w.Unit, w.Homes, w.Generated, w.HasMembers, w.MembersFrom)
	fmt.Fprintf(h, "%q\n%v\n", w.Items, w.Unassigned)
	for _, s := range w.Stores {
		fmt.Fprintf(h, "%q %q %v\n", s.ID, s.Name, s.Exceptions)
		for _, records := range []federated.Records{s.Lists, s.Sales, s.Memberships} {
			write(t, h, records)
		}
		if s.Inventory != nil {
			for x := range s.Inventory {
				fmt.Fprintln(h, x.Item, x.Quantity)
			}
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}

func write(t testing.TB, w io.Writer, records federated.Records) {
	for _, r := range all(t, records) {
		fmt.Fprintf(w, "%q %q %q %q %v %v\n", r.ID, r.Member, r.Stores, r.Segment, r.Time, r.Lines)
	}
	fmt.Fprintln(w)
}

func at(t testing.TB, w *World, id federated.NodeID) Store {
	t.Helper()
	i := slices.IndexFunc(w.Stores, func(s Store) bool { return s.ID == id })
	require.GreaterOrEqual(t, i, 0, "there is no store %s", id)
	return w.Stores[i]
}
