package oprf

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/larder-dp/larder/pseudonym"
)

func idsOf(ids ...string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for _, id := range ids {
			if !yield(id, nil) {
				return
			}
		}
	}
}

// An asker carries requests to a server, and counts.
type asker struct {
	server *Server
	sizes  []int // of the batches
	fail   map[int]error
}

func (a *asker) ask(_ context.Context, request []byte) ([]byte, error) {
	r, err := parseRequest(request)
	if err != nil {
		return nil, err
	}
	a.sizes = append(a.sizes, len(r.elements)/elementSize)
	if err := a.fail[len(a.sizes)]; err != nil {
		return nil, err
	}
	return a.server.Evaluate(noon, "store-7", request)
}

func (a *asker) asked() (n int) {
	for _, size := range a.sizes {
		n += size
	}
	return n
}

// A table against a plain map of what the server gives for each id alone.
func TestTableLaws(t *testing.T) {
	key := fixedKey(t, "insights", "1")
	server, client := serve(t, key), clientOf(t, key)
	plain := map[string][16]byte{} // by the id as it is written, kept over all runs
	for _, id := range []string{"ada", "ADA ", "bea", "0", " 0", "Cyd", "jose\u0301", "JOSÉ"} {
		plain[id] = evaluated(t, server, client, id)[0]
	}
	rapid.Check(t, func(r *rapid.T) {
		table := NewTable(client)
		if _, err := table.Pseudonym("0"); !errors.Is(err, ErrUnknown) {
			r.Fatalf("an empty table knows 0: %v", err)
		}
		met := map[string]bool{}
		for range rapid.IntRange(1, 3).Draw(r, "fills") {
			ids := rapid.SliceOfN(rapid.SampledFrom([]string{"ada", "ADA ", "bea", "0", " 0", "Cyd", "jose\u0301", "JOSÉ", "", "b\tea", "\xff"}), 0, 8).Draw(r, "ids")
			before, a := len(met), &asker{server: server}
			for _, id := range append(ids, "0") {
				if id, err := pseudonym.Canonical(id); err == nil {
					met[id] = true
				}
			}
			if err := table.Fill(t.Context(), idsOf(ids...), a.ask); err != nil {
				r.Fatal(err)
			}
			if a.asked() != len(met)-before || len(a.sizes) > 1 {
				r.Fatalf("asked for %v, where %d are new", a.sizes, len(met)-before)
			}
		}
		exported, err := table.Export()
		if err != nil {
			r.Fatal(err)
		}
		again, err := ParseTable(client, exported)
		if err != nil {
			r.Fatal(err)
		}
		for _, table := range []*Table{table, again} {
			for id, want := range plain {
				canonical, _ := pseudonym.Canonical(id)
				p, err := table.Pseudonym(id)
				switch {
				case met[canonical] && (err != nil || p != want):
					r.Fatalf("%q: %x, %v", id, p, err)
				case !met[canonical] && (!errors.Is(err, ErrUnknown) || p != [16]byte{}):
					r.Fatalf("%q was not asked for: %x, %v", id, p, err)
				}
			}
			for _, id := range []string{"", "b\tea", "\xff"} {
				if p, err := table.Pseudonym(id); !errors.Is(err, pseudonym.ErrMalformed) || p != [16]byte{} {
					r.Fatalf("%q: %x, %v", id, p, err)
				}
			}
		}
	})
}

// Batches are as large as they may be, and what failed is asked for again, alone.
func TestTableFillsInBatches(t *testing.T) {
	key := fixedKey(t, "insights", "1")
	client := clientOf(t, key)
	ids := make([]string, MaxBatch+20)
	for i := range ids {
		ids[i] = fmt.Sprint("member ", i)
	}
	gone := errors.New("the line is gone")
	if testing.Short() { // the first batch alone, and not evaluated
		a := &asker{fail: map[int]error{1: gone}}
		require.ErrorIs(t, NewTable(client).Fill(t.Context(), idsOf(ids...), a.ask), gone)
		assert.Equal(t, []int{MaxBatch}, a.sizes)
		return
	}
	a := &asker{server: serve(t, key), fail: map[int]error{2: gone}}
	table := NewTable(client)
	require.ErrorIs(t, table.Fill(t.Context(), idsOf(ids...), a.ask), gone)
	assert.Equal(t, []int{MaxBatch, 21}, a.sizes, `"0" is one of the last`)
	_, err := table.Pseudonym(ids[MaxBatch-1])
	require.NoError(t, err, "what came before the error is kept")
	_, err = table.Pseudonym("0")
	require.ErrorIs(t, err, ErrUnknown, "the table is not filled to its end")

	require.NoError(t, table.Fill(t.Context(), idsOf(slices.Concat(ids, ids)...), a.ask))
	require.NoError(t, table.Fill(t.Context(), idsOf(ids...), a.ask))
	assert.Equal(t, []int{MaxBatch, 21, 21}, a.sizes)
	seen := map[[16]byte]bool{}
	for _, id := range append(ids, "0") {
		p, err := table.Pseudonym(id)
		require.NoError(t, err)
		seen[p] = true
	}
	assert.Len(t, seen, len(ids)+1)
}

func TestTableFailsClosed(t *testing.T) {
	key := fixedKey(t, "insights", "1")
	server, client := serve(t, key), clientOf(t, key)
	other, err := Generate("insights", "1")
	require.NoError(t, err)
	unreadable := errors.New("disk on fire")
	var none *LimitError
	limited, err := NewServer(ServerConfig{Keys: []Key{key}, Clients: []string{"store-7"}, IDs: 2, Window: time.Hour})
	require.NoError(t, err)
	ended, end := context.WithCancel(t.Context())
	end()
	for _, c := range []struct {
		reason  string
		ctx     context.Context
		members iter.Seq2[string, error]
		ask     func(context.Context, []byte) ([]byte, error)
		holds   func(error) bool
	}{
		{"another key", t.Context(), idsOf("ada"), (&asker{server: serve(t, other)}).ask, func(err error) bool { return errors.Is(err, ErrProof) }},
		{"no answer", t.Context(), idsOf("ada"), func(context.Context, []byte) ([]byte, error) { return nil, nil }, func(err error) bool { return errors.Is(err, ErrMessage) }},
		{"too many at once", t.Context(), idsOf("ada", "bea"), (&asker{server: limited}).ask, func(err error) bool { return errors.As(err, &none) }},
		{"a context that has ended", ended, idsOf("ada"), (&asker{server: server}).ask, func(err error) bool { return errors.Is(err, context.Canceled) }},
		{"records that cannot be read", t.Context(), func(yield func(string, error) bool) {
			_ = yield("ada", nil) && yield("", unreadable) && yield("bea", nil)
		}, (&asker{server: server}).ask, func(err error) bool { return errors.Is(err, unreadable) }},
	} {
		t.Run(c.reason, func(t *testing.T) {
			table := NewTable(client)
			err := table.Fill(c.ctx, c.members, c.ask)
			assert.True(t, c.holds(err), err)
			assert.NotContains(t, err.Error(), "ada")
			for _, id := range []string{"ada", "bea", "0"} {
				p, err := table.Pseudonym(id)
				assert.ErrorIs(t, err, ErrUnknown, id)
				assert.Zero(t, p)
			}
		})
	}

	var zero Table
	assert.Error(t, zero.Fill(t.Context(), idsOf(), nil))
	_, err = zero.Pseudonym("0")
	assert.Error(t, err)
	_, err = zero.Export()
	assert.Error(t, err)
	assert.Error(t, NewTable(new(Client)).Fill(t.Context(), idsOf("ada"), nil))
}

func TestTableIsSafeForConcurrentUse(t *testing.T) {
	key := fixedKey(t, "insights", "1")
	server, client := serve(t, key), clientOf(t, key)
	want := evaluated(t, server, client, "ada")[0]
	table := NewTable(client)
	var wait sync.WaitGroup
	for i := range 3 {
		wait.Go(func() {
			ask := func(_ context.Context, request []byte) ([]byte, error) {
				return server.Evaluate(noon, "store-7", request)
			}
			assert.NoError(t, table.Fill(t.Context(), idsOf("ada", fmt.Sprint(i)), ask))
		})
		wait.Go(func() {
			if p, err := table.Pseudonym("ada"); err == nil {
				assert.Equal(t, want, p)
			}
			_, err := table.Export()
			assert.NoError(t, err)
		})
	}
	wait.Wait()
	p, err := table.Pseudonym("ada")
	require.NoError(t, err)
	assert.Equal(t, want, p)
}

func withSum(b []byte) []byte {
	sum := sha256.Sum256(b)
	return append(slices.Clone(b), sum[:]...)
}

func TestParseTableRefuses(t *testing.T) {
	key := fixedKey(t, "insights", "1")
	client := clientOf(t, key)
	table := NewTable(client)
	require.NoError(t, table.Fill(t.Context(), idsOf("zyxwv", "ada"), (&asker{server: serve(t, key)}).ask))
	good, err := table.Export()
	require.NoError(t, err)
	refused := func(what string, client *Client, b []byte, want error) {
		t.Helper()
		got, err := ParseTable(client, b)
		assert.Nil(t, got, what)
		assert.Equal(t, want, err, what)
	}
	for i := range good {
		bad := slices.Clone(good)
		bad[i] ^= 1 << (i % 8)
		refused(fmt.Sprint("byte ", i), client, bad, errNotTable)
		refused("cut short", client, good[:i], errNotTable)
	}
	refused("something after it", client, append(slices.Clone(good), 0), errNotTable)

	head := client.tableHead()
	entry := func(id string) []byte {
		return slices.Concat(make([]byte, 16), []byte{byte(len(id) >> 8), byte(len(id))}, []byte(id))
	}
	_, err = ParseTable(client, withSum(slices.Concat(head, entry("a"), entry("b"))))
	require.NoError(t, err)
	for what, body := range map[string][]byte{
		"out of order":   slices.Concat(head, entry("b"), entry("a")),
		"an id twice":    slices.Concat(head, entry("a"), entry("a")),
		"an empty id":    slices.Concat(head, entry("")),
		"not canonical":  slices.Concat(head, entry("Ada")),
		"a long id":      slices.Concat(head, entry(strings.Repeat("a", 257))),
		"half an entry":  slices.Concat(head, entry("a")[:10]),
		"half an id":     slices.Concat(head, entry("ada")[:20]),
		"a long length":  slices.Concat(head, make([]byte, 16), []byte{0xff, 0xff, 'a'}),
		"a loose length": slices.Concat(head, entry("a"), []byte{0}),
	} {
		refused(what, client, withSum(body), errNotTable)
	}
	again, err := Generate("insights", "1")
	require.NoError(t, err)
	refused("of another public key", clientOf(t, again), good, errOtherTable)
	refused("of another epoch", clientOf(t, fixedKey(t, "insights", "2")), good, errOtherTable)
	refused("of another purpose", clientOf(t, fixedKey(t, "insight", "1")), good, errOtherTable)
	refused("only half a head", client, withSum(head[:20]), errOtherTable)
}

func FuzzParseTable(f *testing.F) {
	client := clientOf(f, fixedKey(f, "insights", "1"))
	head := client.tableHead()
	f.Add([]byte{})
	f.Add(slices.Concat(make([]byte, 16), []byte{0, 1, 'a'}, make([]byte, 16), []byte{0, 1, 'b'}))
	f.Add(make([]byte, 40))
	f.Fuzz(func(t *testing.T, entries []byte) {
		in := withSum(slices.Concat(head, entries))
		table, err := ParseTable(client, in)
		if err != nil {
			require.Nil(t, table)
			return
		}
		out, err := table.Export()
		require.NoError(t, err)
		require.Equal(t, in, out)
	})
}
