package oprf

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/big"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cloudflare/circl/group"
	circl "github.com/cloudflare/circl/oprf"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/larder-dp/larder/pseudonym"
)

var noon = time.Date(2026, 4, 1, 12, 0, 0, 0, time.UTC)

// fixedKey is the same in every run.
func fixedKey(t testing.TB, purpose, epoch string) Key {
	t.Helper()
	key, err := newKey(purpose, epoch, rfcSeed)
	require.NoError(t, err)
	return key
}

func rosterOf(t testing.TB, keys ...Key) (roster pseudonym.Roster) {
	t.Helper()
	for _, key := range keys {
		public, err := key.PublicKey()
		require.NoError(t, err)
		s := key.secret()
		roster, err = roster.Oblivious(s.purpose, s.epoch, public)
		require.NoError(t, err)
	}
	return roster
}

func serve(t testing.TB, keys ...Key) *Server {
	t.Helper()
	server, err := NewServer(ServerConfig{Keys: keys, Clients: []string{"store-7"}, IDs: 1 << 20, Window: time.Hour})
	require.NoError(t, err)
	return server
}

func clientOf(t testing.TB, key Key) *Client {
	t.Helper()
	s := key.secret()
	client, err := NewClient(ClientConfig{Roster: rosterOf(t, key), Purpose: s.purpose, Epoch: s.epoch})
	require.NoError(t, err)
	return client
}

func evaluated(t testing.TB, server *Server, client *Client, members ...string) [][16]byte {
	t.Helper()
	batch, request, err := client.Blind(members)
	require.NoError(t, err)
	response, err := server.Evaluate(noon, "store-7", request)
	require.NoError(t, err)
	pseudonyms, err := batch.Finalize(response)
	require.NoError(t, err)
	return pseudonyms
}

// What the store computes blindly is what the key's holder computes openly.
func TestBlindAgainstOpen(t *testing.T) {
	key := fixedKey(t, "insights", "2026-W14")
	server, client := serve(t, key), clientOf(t, key)
	scope, err := pseudonym.AppendScope(nil, "insights", "2026-W14")
	require.NoError(t, err)
	private, err := circl.DeriveKey(suite, circl.VerifiableMode, rfcSeed[:], scope)
	require.NoError(t, err)
	open := circl.NewVerifiableServer(suite, private)
	rapid.Check(t, func(r *rapid.T) {
		ids := rapid.SliceOfN(rapid.StringMatching(`[a-zA-Z0-9@é -]{0,8}[a-z]`), 1, 4).Draw(r, "ids")
		for i, p := range evaluated(t, server, client, ids...) {
			id, err := pseudonym.Canonical(ids[i])
			require.NoError(t, err)
			prefix, err := pseudonym.AppendScope(nil, "insights", "2026-W14")
			require.NoError(t, err)
			want, err := open.FullEvaluate(append(prefix, id...))
			require.NoError(t, err)
			assert.Equal(t, want[:16], p[:])
		}
	})
}

func TestOneMemberOnePseudonym(t *testing.T) {
	key := fixedKey(t, "insights", "2026-W14")
	server := serve(t, key)
	one, other := clientOf(t, key), clientOf(t, key) // two stores
	a := evaluated(t, server, one, "Ada@Example.com", "bea", "ada@example.com ")
	b := evaluated(t, server, other, "ada@example.com")
	assert.Equal(t, a[0], a[2])
	assert.Equal(t, a[0], b[0])
	assert.NotEqual(t, a[0], a[1])

	_, first, err := one.Blind([]string{"ada"})
	require.NoError(t, err)
	_, second, err := one.Blind([]string{"ada"})
	require.NoError(t, err)
	assert.NotEqual(t, first, second, "the server cannot tell that both are about one member")
}

// Even one seed in every scope links nothing, and other seeds do neither.
func TestScopesDoNotLink(t *testing.T) {
	seen, publics := map[[16]byte]bool{}, map[[32]byte]bool{}
	for _, purpose := range []string{"insights", "insights ", "demand"} {
		for _, epoch := range []string{"1", "2"} {
			random, err := Generate(purpose, epoch)
			require.NoError(t, err)
			public, err := fixedKey(t, purpose, epoch).PublicKey()
			require.NoError(t, err)
			assert.False(t, publics[public], "one seed, two scopes, two keys")
			publics[public] = true
			for _, key := range []Key{fixedKey(t, purpose, epoch), random} {
				for _, p := range evaluated(t, serve(t, key), clientOf(t, key), "ada", "bea", "1") {
					assert.False(t, seen[p])
					seen[p] = true
				}
			}
		}
	}
	// A pseudonym that a key of pseudonym's own makes for the same scope is none of these.
	keys, err := pseudonym.Generate("insights", "1")
	require.NoError(t, err)
	p, err := keys.Scope("insights", "1")("ada")
	require.NoError(t, err)
	assert.False(t, seen[p])
}

func TestKeyedOrOblivious(t *testing.T) {
	key := fixedKey(t, "insights", "1")
	client := func(roster pseudonym.Roster, purpose, epoch string) error {
		c, err := NewClient(ClientConfig{Roster: roster, Purpose: purpose, Epoch: epoch})
		assert.Equal(t, err == nil, c != nil)
		return err
	}
	roster, err := rosterOf(t, key).Keyed("demand", "1")
	require.NoError(t, err)
	require.NoError(t, client(roster, "insights", "1"))
	assert.ErrorIs(t, client(roster, "demand", "1"), pseudonym.ErrScope, "a keyed scope has no client")
	assert.ErrorIs(t, client(roster, "insights", "2"), pseudonym.ErrScope, "an epoch that is not in the roster")
	assert.ErrorIs(t, client(pseudonym.Roster{}, "insights", "1"), pseudonym.ErrScope)

	keys, err := pseudonym.Generate("insights", "1")
	require.NoError(t, err)
	p, err := roster.Scope(keys, "insights", "1")("ada")
	assert.ErrorIs(t, err, pseudonym.ErrScope, "an oblivious scope has no key, though the store has one")
	assert.Zero(t, p)

	for reason, junk := range map[string][]byte{ // RFC 9496 §4.3.1
		"odd, so negative":             slices.Concat([]byte{1}, make([]byte, 31)),
		"p itself, which is another 0": unhex("edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
		"not reduced":                  slices.Concat([]byte{0}, slices.Repeat([]byte{0xff}, 31)),
		"no point: x² is not a square": unhex("26948d35ca62e643e26a83177332e6b6afeb9d08e4268b650f1f5bbd8d81d371"),
	} {
		roster, err := roster.Oblivious("insights", "3", [32]byte(junk))
		require.NoError(t, err, "pseudonym knows no groups")
		assert.ErrorIs(t, client(roster, "insights", "3"), pseudonym.ErrScope, reason)
	}
}

// Any change of any byte of a response gives no pseudonym at all, of any id.
func TestProofFailsClosed(t *testing.T) {
	key := fixedKey(t, "insights", "1")
	server, client := serve(t, key), clientOf(t, key)
	batch, request, err := client.Blind([]string{"ada", "bea", "cyd"})
	require.NoError(t, err)
	response, err := server.Evaluate(noon, "store-7", request)
	require.NoError(t, err)
	refused := func(what string, response []byte, want ...error) {
		t.Helper()
		got, err := batch.Finalize(response)
		assert.Nil(t, got, what)
		assert.True(t, slices.ContainsFunc(want, func(w error) bool { return errors.Is(err, w) }), "%s: %v", what, err)
	}
	for i := range response {
		bad := slices.Clone(response)
		bad[i] ^= 1 << (i % 8)
		refused(fmt.Sprint("byte ", i), bad, ErrMessage, ErrProof)
	}
	element := func(b []byte, i int) []byte { return b[3+32*i : 3+32*(i+1)] }
	swapped := slices.Clone(response)
	copy(element(swapped, 0), element(response, 1))
	copy(element(swapped, 1), element(response, 0))
	refused("two answers changed places", swapped, ErrProof)
	same := slices.Clone(response)
	copy(element(same, 1), element(response, 0))
	refused("one answer twice", same, ErrProof)

	identity := slices.Clone(response)
	copy(element(identity, 1), make([]byte, 32))
	refused("the identity", identity, ErrMessage)
	// Both scalars have one encoding only: s and s + the order are two of one number.
	for i := range 2 {
		unreduced := slices.Clone(response)
		scalar := unreduced[len(unreduced)-proofSize:][32*i : 32*i+32]
		big := new(big.Int).Add(order, fromLittleEndian(scalar))
		copy(scalar, littleEndian(big))
		refused("a scalar that is not reduced", unreduced, ErrMessage)
	}

	_, again, err := client.Blind([]string{"ada", "bea", "cyd"})
	require.NoError(t, err)
	replay, err := server.Evaluate(noon, "store-7", again)
	require.NoError(t, err)
	refused("the answer to another request about the same ids", replay, ErrProof)
	_, two, err := client.Blind([]string{"ada", "bea"})
	require.NoError(t, err)
	short, err := server.Evaluate(noon, "store-7", two)
	require.NoError(t, err)
	refused("fewer answers than ids", short, ErrMessage)

	// A server that uses a key of its own for this store, to know it again.
	marked, err := Generate("insights", "1")
	require.NoError(t, err)
	other, err := serve(t, marked).Evaluate(noon, "store-7", request)
	require.NoError(t, err)
	refused("another key than the roster's", other, ErrProof)
	// Or for one member only: three true evaluations, one by the other key.
	mixed := slices.Clone(response)
	copy(element(mixed, 2), element(other, 2))
	refused("another key for one member", mixed, ErrProof)

	got, err := batch.Finalize(response)
	require.NoError(t, err, "the true response still holds")
	assert.Len(t, got, 3)
}

// Names that read the same when they are written one after the other are two scopes.
func TestScopesAreNotConfused(t *testing.T) {
	one, other := fixedKey(t, "a", "bc"), fixedKey(t, "ab", "c")
	a, err := one.PublicKey()
	require.NoError(t, err)
	b, err := other.PublicKey()
	require.NoError(t, err)
	assert.NotEqual(t, a, b, "of one seed")
	_, request, err := clientOf(t, other).Blind([]string{"d"})
	require.NoError(t, err)
	_, err = serve(t, one).Evaluate(noon, "store-7", request)
	assert.ErrorIs(t, err, pseudonym.ErrScope)
	both := serve(t, one, other)
	assert.NotEqual(t, evaluated(t, both, clientOf(t, one), "d"), evaluated(t, both, clientOf(t, other), "d"))

	// Even under one key, the input of the function says which scope it is of.
	public, err := pseudonym.Roster{}.Oblivious("ab", "c", a)
	require.NoError(t, err)
	client, err := NewClient(ClientConfig{Roster: public, Purpose: "ab", Epoch: "c"})
	require.NoError(t, err)
	batch, request, err := client.Blind([]string{"d"})
	require.NoError(t, err)
	relabelled := append([]byte{1, 0, 1, 'a', 0, 2, 'b', 'c'}, request[8:]...)
	response, err := serve(t, one).Evaluate(noon, "store-7", relabelled)
	require.NoError(t, err)
	p, err := batch.Finalize(response)
	require.NoError(t, err)
	assert.NotEqual(t, evaluated(t, serve(t, one), clientOf(t, one), "d"), p)
}

func TestBlindRefuses(t *testing.T) {
	client := clientOf(t, fixedKey(t, "insights", "1"))
	for _, ids := range [][]string{nil, {}, slices.Repeat([]string{"ada"}, MaxBatch+1), {"ada", "b\tea"}, {""}} {
		batch, request, err := client.Blind(ids)
		require.Error(t, err)
		assert.Nil(t, batch)
		assert.Nil(t, request)
		assert.NotContains(t, err.Error(), "ea", "no part of an id")
	}
	_, _, err := client.Blind([]string{"ada", "b\tea"})
	assert.ErrorIs(t, err, pseudonym.ErrMalformed)
	assert.Contains(t, err.Error(), "id 1")
	_, err = new(Batch).Finalize(nil)
	assert.Error(t, err)
}

func TestServerRefuses(t *testing.T) {
	key := fixedKey(t, "insights", "1")
	server, client := serve(t, key), clientOf(t, key)
	_, good, err := client.Blind([]string{"ada", "bea"})
	require.NoError(t, err)
	head := len(good) - 2*elementSize
	replaced := func(element []byte) []byte {
		return slices.Concat(good[:head+elementSize], element)
	}
	for _, c := range []struct {
		reason, client string
		request        []byte
		want           error
	}{
		{"nothing", "store-7", nil, ErrMessage},
		{"a store that is not enrolled", "store-8", good, ErrClient},
		{"no name", "", good, ErrClient},
		{"another version", "store-7", slices.Concat([]byte{2}, good[1:]), ErrMessage},
		{"one byte more", "store-7", slices.Concat(good, []byte{0}), ErrMessage},
		{"one byte less", "store-7", good[:len(good)-1], ErrMessage},
		{"no elements", "store-7", slices.Concat(good[:head-2], []byte{0, 0}), ErrMessage},
		{"too many elements", "store-7", slices.Concat(good[:head-2], []byte{4, 1}, slices.Repeat(good[head:head+32], MaxBatch+1)), ErrMessage},
		{"the identity", "store-7", replaced(make([]byte, 32)), ErrMessage},
		// RFC 9496 §A.3, one of each kind.
		{"a field element that is not reduced", "store-7", replaced(slices.Concat([]byte{0}, slices.Repeat([]byte{0xff}, 31))), ErrMessage},
		{"p itself, which is another 0", "store-7", replaced(unhex("edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f")), ErrMessage},
		{"a negative field element", "store-7", replaced(slices.Concat([]byte{1}, make([]byte, 31))), ErrMessage},
		{"no point: x² is not a square", "store-7", replaced(unhex("26948d35ca62e643e26a83177332e6b6afeb9d08e4268b650f1f5bbd8d81d371")), ErrMessage},
		{"no point: xy is negative", "store-7", replaced(unhex("3eb858e78f5a7254d8c9731174a94f76755fd3941c0ac93735c07ba14579630e")), ErrMessage},
		{"no point: s is −1, so y is 0", "store-7", replaced(unhex("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f")), ErrMessage},
		{"an epoch that has no key here", "store-7", slices.Concat(good[:head-3], []byte("2"), good[head-2:]), pseudonym.ErrScope},
		{"a scope that is none", "store-7", slices.Concat([]byte{1, 0, 0, 0, 1, '1'}, good[head-2:]), ErrMessage},
		{"a name longer than the message", "store-7", []byte{1, 0xff, 0xff, 'a'}, ErrMessage},
	} {
		t.Run(c.reason, func(t *testing.T) {
			response, err := server.Evaluate(noon, c.client, c.request)
			assert.Nil(t, response)
			assert.ErrorIs(t, err, c.want)
		})
	}
	response, err := new(Server).Evaluate(noon, "store-7", good)
	assert.Error(t, err)
	assert.Nil(t, response)
	_, err = server.Evaluate(noon, "store-7", good)
	assert.NoError(t, err, "the good one passes")
}

func TestServerConfig(t *testing.T) {
	key := fixedKey(t, "insights", "1")
	good := ServerConfig{Keys: []Key{key}, Clients: []string{"a"}, IDs: 1, Window: time.Second}
	_, err := NewServer(good)
	require.NoError(t, err)
	for reason, change := range map[string]func(*ServerConfig){
		"no keys":             func(c *ServerConfig) { c.Keys = nil },
		"a zero key":          func(c *ServerConfig) { c.Keys = []Key{{}} },
		"two keys of a scope": func(c *ServerConfig) { c.Keys = []Key{key, fixedKey(t, "insights", "1")} },
		"no clients":          func(c *ServerConfig) { c.Clients = nil },
		"a client twice":      func(c *ServerConfig) { c.Clients = []string{"a", "a"} },
		"a client unnamed":    func(c *ServerConfig) { c.Clients = []string{""} },
		"no limit":            func(c *ServerConfig) { c.IDs = 0 },
		"a negative limit":    func(c *ServerConfig) { c.IDs = -1 },
		"no window":           func(c *ServerConfig) { c.Window = 0 },
		"a negative window":   func(c *ServerConfig) { c.Window = -time.Hour },
	} {
		bad := good
		change(&bad)
		server, err := NewServer(bad)
		assert.Error(t, err, reason)
		assert.Nil(t, server, reason)
	}
}

func TestLimitIsPerClientAndCountsNoRefusal(t *testing.T) {
	key := fixedKey(t, "insights", "1")
	server, err := NewServer(ServerConfig{Keys: []Key{key}, Clients: []string{"a", "b"}, IDs: 3, Window: time.Hour})
	require.NoError(t, err)
	client := clientOf(t, key)
	request := func(n int) []byte {
		_, request, err := client.Blind(slices.Repeat([]string{"ada"}, n))
		require.NoError(t, err)
		return request
	}
	two := request(2)
	bad := slices.Concat(two[:len(two)-32], make([]byte, 32))
	for range 5 {
		_, err = server.Evaluate(noon, "a", bad)
		require.ErrorIs(t, err, ErrMessage)
	}
	_, err = server.Evaluate(noon, "a", two)
	require.NoError(t, err, "malformed batches were not counted")

	var limited *LimitError
	for range 5 {
		_, err = server.Evaluate(noon.Add(time.Minute), "a", two)
		require.ErrorAs(t, err, &limited)
		assert.Equal(t, LimitError{59 * time.Minute, 3, time.Hour}, *limited)
	}
	_, err = server.Evaluate(noon.Add(time.Minute), "a", request(1))
	require.NoError(t, err, "refused batches were not counted")
	_, err = server.Evaluate(noon.Add(time.Minute), "b", two)
	require.NoError(t, err, "b has a limit of its own")
	_, err = server.Evaluate(noon.Add(time.Hour), "a", two)
	require.NoError(t, err, "after RetryAfter the same request passes")

	_, err = server.Evaluate(noon, "b", request(4))
	require.ErrorAs(t, err, &limited)
	assert.Zero(t, limited.RetryAfter, "it never passes")
	assert.Contains(t, err.Error(), "send smaller ones")
}

// The law of a limit against a log of all that it let through: no span of a window
// has more than IDs, and after RetryAfter the refused batch passes.
func TestLimitLaws(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		// A grain is 10 ns: steps fall within one and over several.
		l := &limit{ids: rapid.IntRange(1, 50).Draw(r, "ids"), window: grain * 10}
		type passed struct {
			at  time.Time
			ids int
		}
		var log []passed
		now, latest := noon, time.Time{}
		steps := rapid.OneOf(rapid.IntRange(0, 9), rapid.IntRange(-200, 300))
		for range rapid.IntRange(1, 150).Draw(r, "steps") {
			now = now.Add(time.Duration(steps.Draw(r, "step")))
			if now.After(latest) {
				latest = now
			}
			ids := rapid.OneOf(rapid.IntRange(1, 5), rapid.IntRange(1, 60)).Draw(r, "batch")
			err := l.take(now, ids)
			if err == nil {
				log = append(log, passed{latest, ids})
			}
			total := 0
			for _, p := range log {
				if latest.Sub(p.at) < l.window {
					total += p.ids
				}
			}
			if total > l.ids {
				r.Fatalf("%d ids in one window, limit %d", total, l.ids)
			}
			var limited *LimitError
			if errors.As(err, &limited) {
				if (limited.RetryAfter == 0) != (ids > l.ids) || limited.RetryAfter < 0 {
					r.Fatalf("%d ids of %d: retry after %v", ids, l.ids, limited.RetryAfter)
				}
				if l.check(now, ids) == nil {
					r.Fatalf("check passes what take refuses")
				}
				later := &limit{ids: l.ids, window: l.window, now: l.now, uses: slices.Clone(l.uses)}
				if limited.RetryAfter > 0 && later.check(now.Add(limited.RetryAfter), ids) != nil {
					r.Fatalf("refused again after RetryAfter")
				}
				later = &limit{ids: l.ids, window: l.window, now: l.now, uses: slices.Clone(l.uses)}
				if limited.RetryAfter > 1 && later.check(now.Add(limited.RetryAfter-1), ids) == nil {
					r.Fatalf("RetryAfter is too long")
				}
				if total+ids <= l.ids && limited.RetryAfter > l.window/grain+latest.Sub(now) {
					r.Fatalf("%d + %d of %d refused for %v, longer than the grain", total, ids, l.ids, limited.RetryAfter)
				}
			}
			if len(l.uses) > grain+1 {
				r.Fatalf("%d uses are remembered", len(l.uses))
			}
		}
	})
}

// A client that asks steadily, just below its limit, is never refused: uses that
// are remembered as one do not keep each other in the window.
func TestLimitLetsSteadyUsePass(t *testing.T) {
	l := &limit{ids: 640/5 + 2, window: grain * 10}
	for i := range 2000 {
		require.NoError(t, l.take(noon.Add(time.Duration(5*i)), 1), i)
	}
	assert.LessOrEqual(t, len(l.uses), grain+1)
}

// The largest limit there can be does not overflow into none.
func TestLargestLimit(t *testing.T) {
	l := &limit{ids: math.MaxInt, window: math.MaxInt64}
	require.NoError(t, l.take(noon, math.MaxInt-1))
	require.NoError(t, l.take(noon.Add(time.Hour), 1))
	for _, now := range []time.Time{noon.Add(time.Hour), noon, {}, noon.AddDate(200, 0, 0)} {
		var limited *LimitError
		require.ErrorAs(t, l.take(now, 1), &limited)
		assert.Positive(t, limited.RetryAfter)
		require.ErrorAs(t, l.take(now, MaxBatch), &limited)
	}
	require.NoError(t, l.take(noon.AddDate(293, 0, 0), math.MaxInt), "292 years later")
}

func TestLimitHoldsUnderConcurrency(t *testing.T) {
	l := &limit{ids: 1000, window: time.Hour}
	var wait sync.WaitGroup
	var mu sync.Mutex
	total := 0
	for range 8 {
		wait.Go(func() {
			for range 100 {
				if l.take(noon, 3) == nil {
					mu.Lock()
					total += 3
					mu.Unlock()
				}
			}
		})
	}
	wait.Wait()
	assert.Equal(t, 999, total)
}

func TestServerIsSafeForConcurrentUse(t *testing.T) {
	key, err := Generate("insights", "1")
	require.NoError(t, err)
	server, client := serve(t, key), clientOf(t, key)
	want := evaluated(t, server, client, "ada")
	var wait sync.WaitGroup
	for range 4 {
		wait.Go(func() {
			for range 3 {
				assert.Equal(t, want, evaluated(t, server, client, "ada"))
				_, err := key.PublicKey()
				assert.NoError(t, err)
			}
		})
	}
	wait.Wait()
}

func TestExportAndParse(t *testing.T) {
	key, err := Generate("insights", "2026-W14")
	require.NoError(t, err)
	secret, err := key.Export()
	require.NoError(t, err)
	again, err := Parse(secret)
	require.NoError(t, err)
	a, err := key.PublicKey()
	require.NoError(t, err)
	b, err := again.PublicKey()
	require.NoError(t, err)
	assert.Equal(t, a, b)

	good := string(secret)
	for reason, bad := range map[string]string{
		"nothing":            "",
		"cut short":          good[:len(good)-1],
		"something after it": good + "{}",
		"another field":      strings.Replace(good, "{", `{"x":1,`, 1),
		"another version":    strings.Replace(good, `"version":1`, `"version":2`, 1),
		"no seed":            `{"version":1,"purpose":"p","epoch":"e"}`,
		"a zero seed":        `{"version":1,"purpose":"p","epoch":"e","seed":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}`,
		"a short seed":       `{"version":1,"purpose":"p","epoch":"e","seed":"AAAA"}`,
		"no scope":           strings.Replace(good, "insights", "", 1),
	} {
		key, err := Parse([]byte(bad))
		assert.Error(t, err, reason)
		assert.Nil(t, key.secret, reason)
	}
	for _, names := range [][2]string{{"", "1"}, {"p", ""}, {"p", "é"}} {
		_, err = Generate(names[0], names[1])
		assert.ErrorIs(t, err, pseudonym.ErrScope)
	}
	_, err = Key{}.Export()
	assert.Error(t, err)
	_, err = Key{}.PublicKey()
	assert.Error(t, err)
}

// Law of both parsers of messages: what is accepted is written the same again.
func FuzzRequest(f *testing.F) {
	key := fixedKey(f, "insights", "1")
	_, good, err := clientOf(f, key).Blind([]string{"ada", "bea"})
	require.NoError(f, err)
	f.Add(good)
	f.Add(good[:20])
	f.Add([]byte{1, 0, 1, 'p', 0, 1, 'e', 0, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := parseRequest(b)
		if err != nil {
			require.ErrorIs(t, err, ErrMessage)
			require.Equal(t, request{}, r)
			return
		}
		elements, err := parseElements(r.elements)
		if err != nil {
			require.ErrorIs(t, err, ErrMessage)
			require.Nil(t, elements)
			return
		}
		scope, err := pseudonym.AppendScope(nil, r.purpose, r.epoch)
		require.NoError(t, err)
		again, err := appendRequest(scope, elements)
		require.NoError(t, err)
		require.Equal(t, b, again)
	})
}

func FuzzResponse(f *testing.F) {
	key := fixedKey(f, "insights", "1")
	_, request, err := clientOf(f, key).Blind([]string{"ada", "bea"})
	require.NoError(f, err)
	good, err := serve(f, key).Evaluate(noon, "store-7", request)
	require.NoError(f, err)
	f.Add(good)
	f.Add(good[:50])
	f.Add(binary.BigEndian.AppendUint16([]byte{1}, 0))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := parseResponse(b)
		if err != nil {
			require.ErrorIs(t, err, ErrMessage)
			require.Nil(t, e)
			return
		}
		for _, x := range e.Elements {
			require.False(t, x.IsIdentity())
			require.Equal(t, group.Ristretto255, x.Group())
		}
		again, err := appendResponse(e)
		require.NoError(t, err)
		require.Equal(t, b, again)
	})
}

func FuzzParse(f *testing.F) {
	secret, err := fixedKey(f, "insights", "1").Export()
	require.NoError(f, err)
	f.Add(secret)
	f.Add([]byte("{}"))
	f.Fuzz(func(t *testing.T, b []byte) {
		key, err := Parse(b)
		if err != nil {
			require.Nil(t, key.secret)
			return
		}
		out, err := key.Export()
		require.NoError(t, err)
		require.True(t, json.Valid(out))
		again, err := Parse(out)
		require.NoError(t, err)
		require.Equal(t, key.secret().seed, again.secret().seed)
	})
}

func BenchmarkOPRF(b *testing.B) {
	key := fixedKey(b, "insights", "1")
	client := clientOf(b, key)
	server, err := NewServer(ServerConfig{Keys: []Key{key}, Clients: []string{"store-7"}, IDs: 1 << 50, Window: time.Hour})
	require.NoError(b, err)
	for _, n := range []int{1, 16, 256, MaxBatch} {
		ids := make([]string, n)
		for i := range ids {
			ids[i] = fmt.Sprint("member-", i)
		}
		batch, request, err := client.Blind(ids)
		require.NoError(b, err)
		response, err := server.Evaluate(noon, "store-7", request)
		require.NoError(b, err)
		for name, step := range map[string]func() error{
			"blind":    func() error { _, _, err := client.Blind(ids); return err },
			"evaluate": func() error { _, err := server.Evaluate(noon, "store-7", request); return err },
			"finalize": func() error { _, err := batch.Finalize(response); return err },
		} {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				for b.Loop() {
					if err := step(); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(b.N*n)/b.Elapsed().Seconds(), "ids/s")
			})
		}
	}
}
