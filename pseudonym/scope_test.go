package pseudonym

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func pseudonymOf(t testing.TB, keys Keys, purpose, epoch, member string) [16]byte {
	t.Helper()
	p, err := keys.Scope(purpose, epoch)(member)
	require.NoError(t, err)
	return p
}

func prefix(t testing.TB, purpose, epoch string) []byte {
	t.Helper()
	b, err := AppendScope(nil, purpose, epoch)
	require.NoError(t, err)
	return b
}

// printable is what a purpose and an epoch may hold.
var printable = &unicode.RangeTable{R16: []unicode.Range16{{Lo: 0x20, Hi: 0x7e, Stride: 1}}, LatinOffset: 1}

// A scope goes into a field of this type without a conversion.
type nodeConfig struct {
	Pseudonym func(member string) ([16]byte, error)
}

var _ = nodeConfig{Pseudonym: Keys{}.Scope("demand", "1")}

func TestPseudonymKnownAnswers(t *testing.T) {
	for _, c := range []struct {
		reason                 string
		purpose, epoch, member string
		input                  string // by hand, from the package doc
		want                   string // OpenSSL 3: xxd -r -p | openssl mac -cipher AES-256-CBC -macopt hexkey:603d… CMAC
	}{
		{
			"ASCII", "demand", "2026-W14", "Ada",
			"01 0006 64656d616e64 0008 323032362d573134 616461",
			"611ccd271533e99a31aadeecbc5a3093",
		},
		{
			"not ASCII: the id in NFC", "demand", "2026-W14", "JOSE\u0301",
			"01 0006 64656d616e64 0008 323032362d573134 6a6f73c3a9",
			"acb321063807b3db7ad7c52c3abe2384",
		},
		{
			"a whole number of blocks", "p", "e", "012345678",
			"01 0001 70 0001 65 303132333435363738",
			"3fa104cd1215559cb4ea1bc55d53e08c",
		},
	} {
		t.Run(c.reason, func(t *testing.T) {
			got := pseudonymOf(t, keysOf(t, nistKey, c.purpose, c.epoch), c.purpose, c.epoch, c.member)
			assert.Equal(t, c.want, hex.EncodeToString(got[:]))
			assert.Equal(t, cmac(nistKey, unhex(c.input)), got[:], "the test's own CMAC of the input by hand")
		})
	}
}

func TestPseudonymAgainstOwnCMAC(tt *testing.T) {
	names := rapid.StringOfN(rapid.RuneFrom(nil, printable), 1, 128, -1)
	rapid.Check(tt, func(t *rapid.T) {
		key := rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "key")
		purpose, epoch := names.Draw(t, "purpose"), names.Draw(t, "epoch")
		id := rapid.OneOf(trap, rapid.String(), names).Draw(t, "id")
		keys, err := Keys{}.Import(purpose, epoch, readTink(tt, keysetJSON(key)))
		require.NoError(t, err)
		got, err := keys.Scope(purpose, epoch)(id)
		canonical, canonicalErr := Canonical(id)
		assert.Equal(t, canonicalErr, err)
		if err != nil {
			assert.Zero(t, got)
			return
		}
		input := slices.Concat([]byte{1, 0, byte(len(purpose))}, []byte(purpose), []byte{0, byte(len(epoch))}, []byte(epoch), []byte(canonical))
		assert.Equal(t, cmac(key, input), got[:])
	})
}

// Two different triples never give the same input.
func TestInputIsInjective(tt *testing.T) {
	// A small alphabet, with a byte that is also a length, makes near misses likely.
	name := rapid.StringOfN(rapid.RuneFrom([]rune{'a', 'b', ' '}), 1, 4, -1)
	input := func(p, e, id string) []byte { return append(prefix(tt, p, e), id...) }
	rapid.Check(tt, func(t *rapid.T) {
		p, e, id := name.Draw(t, "p"), name.Draw(t, "e"), name.Draw(t, "id")
		q, f, jd := name.Draw(t, "q"), name.Draw(t, "f"), name.Draw(t, "jd")
		same := p == q && e == f && id == jd
		if bytes.Equal(input(p, e, id), input(q, f, jd)) != same {
			t.Fatalf("(%q, %q, %q) and (%q, %q, %q)", p, e, id, q, f, jd)
		}
	})
	// All ways to cut one text in three.
	seen := map[string]string{}
	const text = "abababababababababababab"
	for i := 1; i < len(text)-1; i++ {
		for j := i + 1; j < len(text); j++ {
			in := string(input(text[:i], text[i:j], text[j:]))
			cut := text[:i] + "|" + text[i:j] + "|" + text[j:]
			assert.Empty(tt, seen[in])
			seen[in] = cut
		}
	}
}

// The input can be read back, for names of every length that is allowed: which is
// why it is injective.
func TestInputReadsBack(tt *testing.T) {
	names := rapid.StringOfN(rapid.RuneFrom(nil, printable), 1, 128, -1)
	rapid.Check(tt, func(t *rapid.T) {
		purpose, epoch, id := names.Draw(t, "purpose"), names.Draw(t, "epoch"), names.Draw(t, "id")
		in := string(append(prefix(tt, purpose, epoch), id...))
		cut := func() string {
			n := int(in[0])<<8 | int(in[1])
			field := in[2 : 2+n]
			in = in[2+n:]
			return field
		}
		require.Equal(t, byte(CanonicalVersion), in[0])
		in = in[1:]
		assert.Equal(t, purpose, cut())
		assert.Equal(t, epoch, cut())
		assert.Equal(t, id, in)
	})
}

// Of many members, over purposes and epochs with a key each: no pseudonym is seen
// twice in two scopes, although the members are the same.
func TestScopesDoNotLink(t *testing.T) {
	var keys Keys
	var err error
	seen := map[[16]byte]string{}
	for _, purpose := range []string{"demand", "insights", "Demand", "demand "} {
		for _, epoch := range []string{"2026-W14", "2026-W15", "1"} {
			keys, err = keys.Create(purpose, epoch)
			require.NoError(t, err)
			scope := keys.Scope(purpose, epoch)
			for i := range 2000 {
				p, err := scope(fmt.Sprint("member-", i))
				require.NoError(t, err)
				require.Empty(t, seen[p], "%q %q %d", purpose, epoch, i)
				seen[p] = purpose
				again, err := scope(fmt.Sprint("member-", i))
				require.NoError(t, err)
				require.Equal(t, p, again, "stable within a scope")
			}
		}
	}
}

// Who holds one epoch's key and all ids names everybody in it, and nobody in the
// other epoch: there its table finds no one, with any scope's encoding. With both
// keys all are joined.
func TestNothingJoinsAcrossEpochsWithoutBothKeys(t *testing.T) {
	const n = 5000
	keys := generate(t, "demand", "1", "2")
	members := make([]string, n)
	for i := range members {
		members[i] = fmt.Sprint("member-", i)
	}
	var released [2]map[[16]byte]bool // what an observer has of each epoch
	for i, epoch := range []string{"1", "2"} {
		dst := make([][16]byte, n)
		require.NoError(t, keys.Scope("demand", epoch).Batch(dst, members, nil))
		released[i] = map[[16]byte]bool{}
		for _, p := range dst {
			released[i][p] = true
		}
		require.Len(t, released[i], n)
	}
	thief, err := keys.Destroy("demand", "2") // holds the key of epoch 1 and no other
	require.NoError(t, err)
	mac, err := newMAC(mustEntry(t, thief, "demand", "1").handle)
	require.NoError(t, err)
	named := [2]int{}
	for _, member := range members {
		for _, epoch := range []string{"1", "2"} {
			p, err := mac(append(prefix(t, "demand", epoch), member...))
			require.NoError(t, err)
			for i := range named {
				if released[i][[16]byte(p)] {
					named[i]++
				}
			}
		}
	}
	assert.Equal(t, [2]int{n, 0}, named)

	joined := 0
	for pair, err := range keys.Migrate("demand", "1", "2", slices.Values(members)) {
		require.NoError(t, err)
		if released[0][pair.From] && released[1][pair.To] {
			joined++
		}
	}
	assert.Equal(t, n, joined)
}

func mustEntry(t testing.TB, keys Keys, purpose, epoch string) entry {
	t.Helper()
	e, err := keys.find(purpose, epoch)
	require.NoError(t, err)
	return e
}

// A pseudonym of one scope is no nearer to the member's own of another scope than to
// a stranger's. The number of equal bits of two independent 16-byte strings is
// binomial(128, 1/2), so the mean of n of them is within 5·√32/√n of 64, but for a
// false alarm in about 1.7 million runs; the key is fixed, so there is only one run.
func TestPseudonymsOfOneMemberAgreeInHalfTheirBits(t *testing.T) {
	const n = 2000
	a := keysOf(t, nistKey, "demand", "1").Scope("demand", "1")
	b := keysOf(t, nistKey, "demand", "2").Scope("demand", "2") // even with one key
	total := 0
	for i := range n {
		p, err := a(fmt.Sprint("member-", i))
		require.NoError(t, err)
		q, err := b(fmt.Sprint("member-", i))
		require.NoError(t, err)
		for j := range p {
			for x := ^(p[j] ^ q[j]); x != 0; x &= x - 1 {
				total++
			}
		}
	}
	assert.InDelta(t, 64, float64(total)/n, 5*5.657/44.72)
}

func TestScopeFailsClosed(t *testing.T) {
	keys := generate(t, "demand", "1")
	for _, c := range []struct {
		reason         string
		keys           Keys
		purpose, epoch string
	}{
		{"zero keys", Keys{}, "demand", "1"},
		{"a purpose without a key", keys, "insights", "1"},
		{"an epoch without a key", keys, "demand", "2"},
		{"no purpose", keys, "", "1"},
		{"no epoch", keys, "demand", ""},
		{"nothing at all", Keys{}, "", ""},
		{"a purpose that is too long", keys, strings.Repeat("x", 129), "1"},
		{"an epoch that is too long", keys, "demand", strings.Repeat("x", 129)},
		{"an accent has two spellings", keys, "demand", "\u00e9t\u00e9"},
		{"a line end that a config file left", keys, "demand", "1\n"},
	} {
		t.Run(c.reason, func(t *testing.T) {
			scope := c.keys.Scope(c.purpose, c.epoch)
			for _, member := range []string{"ada", "ada", ""} {
				p, err := scope(member)
				assert.ErrorIs(t, err, ErrScope)
				assert.NotErrorIs(t, err, ErrMalformed)
				assert.Zero(t, p)
			}
		})
	}
	p, err := keys.Scope("demand", "1")("ada\t")
	assert.ErrorIs(t, err, ErrMalformed)
	assert.NotErrorIs(t, err, ErrScope)
	assert.Zero(t, p)
}

func TestConcurrentUse(t *testing.T) {
	scope := generate(t, "demand", "1").Scope("demand", "1")
	ids := []string{"a", "  B ", strings.Repeat("c", 256), "Jose\u0301", "\t", strings.Repeat("d", 300)}
	want := make([][16]byte, len(ids))
	wantErr := make([]error, len(ids))
	for i, id := range ids {
		want[i], wantErr[i] = scope(id)
	}
	var wait sync.WaitGroup
	for g := range 8 {
		wait.Go(func() {
			for n := range 500 {
				i := (n + g) % len(ids)
				p, err := scope(ids[i])
				if p != want[i] || err != wantErr[i] {
					t.Errorf("id %d: another answer under concurrency", i)
				}
			}
		})
	}
	wait.Wait()
}

func TestBatch(t *testing.T) {
	scope := generate(t, "demand", "1").Scope("demand", "1")
	ids := []string{"ada", "\t", "  ADA", "bea", ""}
	dst := slices.Repeat([][16]byte{{1}}, len(ids))
	bad := map[int]error{}
	require.NoError(t, scope.Batch(dst, ids, func(i int, err error) { bad[i] = err }))
	for i, id := range ids {
		want, err := scope(id)
		assert.Equal(t, want, dst[i], i)
		assert.Equal(t, err, bad[i], i)
	}
	assert.Len(t, bad, 2)

	dst = slices.Repeat([][16]byte{{1}}, len(ids))
	assert.ErrorIs(t, scope.Batch(dst, ids, nil), ErrMalformed)
	assert.Equal(t, make([][16]byte, len(ids)), dst, "an error leaves no pseudonym")

	assert.Error(t, scope.Batch(dst[1:], ids, nil))
	assert.Error(t, scope.Batch(dst, nil, nil))
	assert.NoError(t, scope.Batch(nil, nil, nil))
	err := Keys{}.Scope("demand", "1").Batch(dst, ids, func(int, error) { t.Error("this is no bad id") })
	assert.ErrorIs(t, err, ErrScope)
}

func TestMigrate(t *testing.T) {
	keys := generate(t, "demand", "1", "2")
	ids := []string{"ada", "\t", " ADA", "bea"}
	i := 0
	for pair, err := range keys.Migrate("demand", "1", "2", slices.Values(ids)) {
		from, wantErr := keys.Scope("demand", "1")(ids[i])
		to, _ := keys.Scope("demand", "2")(ids[i])
		assert.Equal(t, Pair{from, to}, pair)
		assert.Equal(t, wantErr, err)
		i++
	}
	assert.Equal(t, len(ids), i)
	for range keys.Migrate("demand", "1", "2", slices.Values(ids)) {
		break // stops early without a panic
	}

	disabled, err := keys.Disable("demand", "1")
	require.NoError(t, err)
	for _, c := range []struct {
		reason            string
		keys              Keys
		purpose, from, to string
	}{
		{"to itself", keys, "demand", "1", "1"},
		{"from an epoch without a key", keys, "demand", "0", "1"},
		{"to an epoch without a key", keys, "demand", "1", "3"},
		{"of another purpose", keys, "insights", "1", "2"},
		{"from a disabled key", disabled, "demand", "1", "2"},
		{"without keys", Keys{}, "demand", "1", "2"},
	} {
		t.Run(c.reason, func(t *testing.T) {
			yielded := 0
			for pair, err := range c.keys.Migrate(c.purpose, c.from, c.to, slices.Values(ids)) {
				assert.Zero(t, pair)
				assert.ErrorIs(t, err, ErrScope)
				yielded++
			}
			assert.Equal(t, 1, yielded)
		})
	}
}

func nistMAC(t testing.TB) func([]byte) ([]byte, error) {
	t.Helper()
	mac, err := newMAC(readTink(t, keysetJSON(nistKey)))
	require.NoError(t, err)
	return mac
}

func TestScopeAllocatesWhatTinkDoes(t *testing.T) {
	scope := keysOf(t, nistKey, "demand", "2026-W14").Scope("demand", "2026-W14")
	mac := nistMAC(t)
	input := append(prefix(t, "demand", "2026-W14"), "member-000042"...)
	tink := testing.AllocsPerRun(2000, func() { _, _ = mac(input) })
	dst := make([][16]byte, 100)
	for _, id := range []string{"member-000042", "  MEMBER-000042 "} {
		ours := testing.AllocsPerRun(2000, func() { _, _ = scope(id) })
		assert.LessOrEqual(t, ours, tink)
		ids := slices.Repeat([]string{id}, len(dst))
		ours = testing.AllocsPerRun(100, func() { _ = scope.Batch(dst, ids, nil) })
		assert.Less(t, ours/100, tink+1, "under the race detector a sync.Pool forgets at random")
	}
}

func BenchmarkPseudonym(b *testing.B) {
	scope := generate(b, "demand", "2026-W14").Scope("demand", "2026-W14")
	perSecond := func(b *testing.B, n int) { b.ReportMetric(float64(b.N*n)/b.Elapsed().Seconds(), "ids/s") }
	for _, c := range []struct{ name, id string }{
		{"ascii", "member-000042"},
		{"upper", "MEMBER-000042"},
		{"email", "ada.lovelace@example.com"},
		{"unicode", "jos\u00e9-000042"},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := scope(c.id); err != nil {
					b.Fatal(err)
				}
			}
			perSecond(b, 1)
		})
	}
	b.Run("batch", func(b *testing.B) { // of 4,096 ids that differ
		ids := make([]string, 4096)
		for i := range ids {
			ids[i] = fmt.Sprintf("member-%06d", i)
		}
		dst := make([][16]byte, len(ids))
		b.ReportAllocs()
		for b.Loop() {
			if err := scope.Batch(dst, ids, nil); err != nil {
				b.Fatal(err)
			}
		}
		perSecond(b, len(ids))
	})
	b.Run("parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if _, err := scope("member-000042"); err != nil {
					b.Error(err)
				}
			}
		})
		perSecond(b, 1)
	})
	b.Run("tink", func(b *testing.B) { // the same input, ComputePRF alone
		mac := nistMAC(b)
		input := append(prefix(b, "demand", "2026-W14"), "member-000042"...)
		b.ReportAllocs()
		for b.Loop() {
			if _, err := mac(input); err != nil {
				b.Fatal(err)
			}
		}
		perSecond(b, 1)
	})
}
