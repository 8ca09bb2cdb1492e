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

// printable is what a purpose and an epoch may hold.
var printable = &unicode.RangeTable{R16: []unicode.Range16{{Lo: 0x20, Hi: 0x7e, Stride: 1}}, LatinOffset: 1}

// A scope goes into a field of this type without a conversion.
type nodeConfig struct {
	Pseudonym func(member string) ([16]byte, error)
}

var _ = nodeConfig{Pseudonym: Keys{}.Scope("demand", "1")}

func TestPseudonymKnownAnswers(t *testing.T) {
	keys := mustParse(t, keysetJSON(nistKey))
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
			got := pseudonymOf(t, keys, c.purpose, c.epoch, c.member)
			assert.Equal(t, c.want, hex.EncodeToString(got[:]))
			assert.Equal(t, cmac(nistKey, unhex(c.input)), got[:], "the test's own CMAC of the input by hand")
		})
	}
}

func TestPseudonymAgainstOwnCMAC(t *testing.T) {
	names := rapid.StringOfN(rapid.RuneFrom(nil, printable), 1, 128, -1)
	rapid.Check(t, func(t *rapid.T) {
		key := rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "key")
		purpose, epoch := names.Draw(t, "purpose"), names.Draw(t, "epoch")
		id := rapid.OneOf(trap, rapid.String(), names).Draw(t, "id")
		keys, err := Parse(keysetJSON(key))
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
func TestInputIsInjective(t *testing.T) {
	// A small alphabet, with a byte that is also a length, makes near misses likely.
	name := rapid.StringOfN(rapid.RuneFrom([]rune{'a', 'b', ' '}), 1, 4, -1)
	input := func(p, e, id string) []byte { return append(appendScope(nil, p, e), id...) }
	rapid.Check(t, func(t *rapid.T) {
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
			assert.Empty(t, seen[in])
			seen[in] = cut
		}
	}
}

// The input can be read back, for names of every length that is allowed: which is
// why it is injective.
func TestInputReadsBack(t *testing.T) {
	names := rapid.StringOfN(rapid.RuneFrom(nil, printable), 1, 128, -1)
	rapid.Check(t, func(t *rapid.T) {
		purpose, epoch, id := names.Draw(t, "purpose"), names.Draw(t, "epoch"), names.Draw(t, "id")
		in := string(append(appendScope(nil, purpose, epoch), id...))
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

func TestScopesDoNotLink(t *testing.T) {
	keys, err := Generate()
	require.NoError(t, err)
	seen := map[[16]byte]string{}
	for _, purpose := range []string{"demand", "insights", "Demand", "demand "} {
		for _, epoch := range []string{"2026-W14", "2026-W15", "1"} {
			for _, member := range []string{"ada", "bea", "1"} {
				what := fmt.Sprintf("%q %q %q", purpose, epoch, member)
				p := pseudonymOf(t, keys, purpose, epoch, member)
				assert.Empty(t, seen[p], what)
				seen[p] = what
				assert.Equal(t, p, pseudonymOf(t, keys, purpose, epoch, member), "stable within a scope")
			}
		}
	}
}

// A pseudonym of one scope is no nearer to the member's own of another scope than to
// a stranger's. The number of equal bits of two independent 16-byte strings is
// binomial(128, 1/2), so the mean of n of them is within 5·√32/√n of 64, but for a
// false alarm in about 1.7 million runs; the key is fixed, so there is only one run.
func TestPseudonymsOfOneMemberAgreeInHalfTheirBits(t *testing.T) {
	const n = 2000
	keys := mustParse(t, keysetJSON(nistKey))
	a, b := keys.Scope("demand", "1"), keys.Scope("demand", "2")
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
	keys, err := Generate()
	require.NoError(t, err)
	for _, c := range []struct {
		reason         string
		keys           Keys
		purpose, epoch string
	}{
		{"zero keys", Keys{}, "demand", "1"},
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
	keys, err := Generate()
	require.NoError(t, err)
	scope := keys.Scope("demand", "1")
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

func TestScopeAllocatesWhatTinkDoes(t *testing.T) {
	keys := mustParse(t, keysetJSON(nistKey))
	scope := keys.Scope("demand", "2026-W14")
	input := append(appendScope(nil, "demand", "2026-W14"), "member-000042"...)
	tink := testing.AllocsPerRun(2000, func() { _, _ = keys.mac(input) })
	for _, id := range []string{"member-000042", "  MEMBER-000042 "} {
		ours := testing.AllocsPerRun(2000, func() { _, _ = scope(id) })
		assert.LessOrEqual(t, ours, tink)
	}
}

func BenchmarkPseudonym(b *testing.B) {
	keys, err := Generate()
	require.NoError(b, err)
	scope := keys.Scope("demand", "2026-W14")
	perSecond := func(b *testing.B) { b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "ids/s") }
	for _, c := range []struct{ name, id string }{
		{"ascii", "member-000042"},
		{"upper", "MEMBER-000042"},
		{"unicode", "jos\u00e9-000042"},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := scope(c.id); err != nil {
					b.Fatal(err)
				}
			}
			perSecond(b)
		})
	}
	b.Run("parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if _, err := scope("member-000042"); err != nil {
					b.Error(err)
				}
			}
		})
		perSecond(b)
	})
	b.Run("tink", func(b *testing.B) { // the same input, ComputePRF alone
		input := append(appendScope(nil, "demand", "2026-W14"), "member-000042"...)
		b.ReportAllocs()
		for b.Loop() {
			if _, err := keys.mac(input); err != nil {
				b.Fatal(err)
			}
		}
		perSecond(b)
	})
}
