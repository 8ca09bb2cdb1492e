package pseudonym

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// rosterText is a roster as the package doc spells it.
const rosterText = `{"version":1,"scopes":[` +
	`{"purpose":"demand","epoch":"2026-W14","kind":"keyed"},` +
	`{"purpose":"insights","epoch":"2026-W14","kind":"oblivious","publicKey":"AwAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="},` +
	`{"purpose":"insights","epoch":"2026-W15","kind":"oblivious","publicKey":"BAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}]}`

func exampleRoster(t testing.TB) Roster {
	t.Helper()
	r, err := ParseRoster([]byte(rosterText))
	require.NoError(t, err)
	return r
}

func TestRoster(t *testing.T) {
	r := exampleRoster(t)
	assert.Equal(t, rosterText, r.String())
	assert.Equal(t, sha256.Sum256([]byte(rosterText)), r.Digest())
	public, err := r.PublicKey("insights", "2026-W15")
	require.NoError(t, err)
	assert.Equal(t, [32]byte{4}, public)

	// Made by hand, in another order.
	var made Roster
	made, err = made.Oblivious("insights", "2026-W15", [32]byte{4})
	require.NoError(t, err)
	made, err = made.Oblivious("insights", "2026-W14", [32]byte{3})
	require.NoError(t, err)
	before := made
	made, err = made.Keyed("demand", "2026-W14")
	require.NoError(t, err)
	assert.Equal(t, r, made)
	assert.NotEqual(t, r.Digest(), before.Digest(), "Keyed leaves its receiver alone")

	one, err := made.Keyed("z", "1")
	require.NoError(t, err)
	text := one.String()
	other, err := made.Keyed("a", "1")
	require.NoError(t, err)
	assert.NotEqual(t, text, other.String())
	assert.Equal(t, text, one.String(), "two rosters that begin as one")

	// Space between tokens is free, inside another document too.
	var indented bytes.Buffer
	require.NoError(t, json.Indent(&indented, []byte(rosterText), "", "  "))
	again, err := ParseRoster(append(indented.Bytes(), '\n'))
	require.NoError(t, err)
	assert.Equal(t, r, again)
	odd, err := r.Keyed("a <b> & \\c\"", "\u007e")
	require.NoError(t, err)
	document, err := json.MarshalIndent(struct{ Roster Roster }{odd}, "", "\t")
	require.NoError(t, err)
	var read struct{ Roster Roster }
	require.NoError(t, json.Unmarshal(document, &read))
	assert.Equal(t, odd, read.Roster)

	empty, err := ParseRoster([]byte(Roster{}.String()))
	require.NoError(t, err)
	assert.Equal(t, Roster{}, empty)
}

func TestRosterRules(t *testing.T) {
	r := exampleRoster(t)
	refused := func(what string, got Roster, err error) {
		t.Helper()
		assert.ErrorIs(t, err, ErrScope, what)
		assert.Equal(t, Roster{}, got, what)
	}
	got, err := r.Keyed("demand", "2026-W14")
	refused("a scope twice", got, err)
	got, err = r.Keyed("insights", "2026-W16")
	refused("an oblivious purpose made keyed", got, err)
	got, err = r.Keyed("insights", "2026-W14")
	refused("an oblivious scope made keyed", got, err)
	got, err = r.Oblivious("demand", "2026-W15", [32]byte{9})
	refused("a keyed purpose made oblivious", got, err)
	got, err = r.Oblivious("demand", "2026-W14", [32]byte{9})
	refused("a keyed scope made oblivious", got, err)
	got, err = r.Oblivious("insights", "2026-W14", [32]byte{9})
	refused("another key for a scope", got, err)
	got, err = r.Oblivious("insights", "2026-W16", [32]byte{4})
	refused("the key of another epoch", got, err)
	got, err = r.Oblivious("prices", "1", [32]byte{4})
	refused("the key of another purpose", got, err)
	got, err = r.Oblivious("prices", "1", [32]byte{})
	refused("the identity", got, err)
	got, err = r.Keyed("", "1")
	refused("no purpose", got, err)
	got, err = r.Keyed("p", "é")
	refused("an epoch that is not ASCII", got, err)

	for _, at := range [][2]string{{"demand", "2026-W14"}, {"insights", "2026-W16"}, {"nothing", "1"}, {"", ""}} {
		public, err := r.PublicKey(at[0], at[1])
		assert.ErrorIs(t, err, ErrScope, at)
		assert.Zero(t, public)
	}
}

// A store that has a key nevertheless makes nothing with it where the roster does not
// list the scope as keyed.
func TestRosterScope(t *testing.T) {
	r := exampleRoster(t)
	keys := generate(t, "demand", "2026-W14", "2026-W15")
	keys, err := keys.Create("insights", "2026-W14")
	require.NoError(t, err)
	p, err := r.Scope(keys, "demand", "2026-W14")("ada")
	require.NoError(t, err)
	assert.Equal(t, pseudonymOf(t, keys, "demand", "2026-W14", "ada"), p)
	for _, c := range []struct {
		keys  Keys
		scope [2]string
		says  string
	}{
		{keys, [2]string{"insights", "2026-W14"}, "oblivious"},
		{keys, [2]string{"demand", "2026-W15"}, "does not list it"},
		{keys, [2]string{"", "1"}, "purpose"},
		{Keys{}, [2]string{"demand", "2026-W14"}, "no key"},
	} {
		p, err := r.Scope(c.keys, c.scope[0], c.scope[1])("ada")
		assert.ErrorIs(t, err, ErrScope, c.says)
		assert.ErrorContains(t, err, c.says)
		assert.Zero(t, p)
	}
}

func TestRosterExtends(t *testing.T) {
	r := exampleRoster(t)
	parsed := func(old, new string) Roster {
		t.Helper()
		require.Contains(t, rosterText, old)
		r, err := ParseRoster([]byte(strings.Replace(rosterText, old, new, 1)))
		require.NoError(t, err)
		return r
	}
	next, err := r.Oblivious("insights", "2026-W16", [32]byte{5})
	require.NoError(t, err)
	require.NoError(t, next.Extends(r))
	require.NoError(t, r.Extends(r))
	require.NoError(t, r.Extends(Roster{}))
	assert.ErrorIs(t, r.Extends(next), ErrScope, "an older one")
	assert.ErrorIs(t, Roster{}.Extends(r), ErrScope)
	assert.ErrorIs(t, parsed(`"AwAA`, `"BwAA`).Extends(r), ErrScope, "another public key")
	assert.ErrorIs(t, parsed(`{"purpose":"demand","epoch":"2026-W14","kind":"keyed"},`, "").Extends(r), ErrScope, "a scope that is gone")
	assert.ErrorIs(t, parsed(`"kind":"keyed"`, `"kind":"oblivious","publicKey":"BwAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="`).Extends(r), ErrScope, "of the other kind")
}

func TestParseRosterRefuses(t *testing.T) {
	for _, c := range []struct{ reason, old, new string }{
		{"nothing", rosterText, ""},
		{"null", rosterText, "null"},
		{"an empty object", rosterText, "{}"},
		{"no list of scopes", rosterText, `{"version":1,"scopes":null}`},
		{"cut short", `]}`, ""},
		{"something after it", `]}`, `]}{}`},
		{"another field", `{"version":1,`, `{"version":1,"x":1,`},
		{"a field twice, of which readers take the first or the last", `"epoch":"2026-W15",`, `"epoch":"2026-W15","epoch":"2026-W15",`},
		{"a public key twice", `"publicKey":"BA`, `"publicKey":"CAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=","publicKey":"BA`},
		{"a field in capitals", `"purpose":"demand"`, `"Purpose":"demand"`},
		{"fields in another order", `"version":1,`, ``},
		{"a later version", `"version":1`, `"version":2`},
		{"no version", `"version":1`, `"version":0`},
		{"scopes in another order", `"insights","epoch":"2026-W14"`, `"insights","epoch":"2026-W16"`},
		{"a scope twice", `"2026-W15"`, `"2026-W14"`},
		{"a purpose of both kinds", `"purpose":"demand"`, `"purpose":"insights"`},
		{"a kind that is none", `"keyed"`, `"tink"`},
		{"no kind", `"keyed"`, `""`},
		{"keyed, with a public key", `"keyed"`, `"keyed","publicKey":"CAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="`},
		{"keyed, with null", `"keyed"`, `"keyed","publicKey":null`},
		{"oblivious, without a public key", `,"publicKey":"AwAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="`, ""},
		{"a public key of 31 bytes", `"AwAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="`, `"AwAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=="`},
		{"base64 whose last bits are not 0", `AAA="},`, `AAB="},`},
		{"base64 with a line end", `"AwAA`, `"\nAwAA`},
		{"the identity", `"AwAA`, `"AAAA`},
		{"a letter escaped", `"demand"`, `"\u0064emand"`},
		{"a purpose that is not ASCII", `"demand"`, `"démand"`},
		{"no purpose", `"demand"`, `""`},
	} {
		t.Run(c.reason, func(t *testing.T) {
			require.Contains(t, rosterText, c.old)
			text := strings.Replace(rosterText, c.old, c.new, 1)
			r, err := ParseRoster([]byte(text))
			assert.Error(t, err)
			assert.Equal(t, Roster{}, r)
			read := exampleRoster(t)
			assert.Error(t, json.Unmarshal([]byte(text), &read))
		})
	}
}

// Any sequence of additions keeps the rules, held against a list of all that was added.
func TestRosterLaws(t *testing.T) {
	type scope struct {
		purpose, epoch string
		key            byte // 0: keyed
	}
	rapid.Check(t, func(r *rapid.T) {
		var roster Roster
		var added []scope
		for range rapid.IntRange(1, 12).Draw(r, "steps") {
			s := scope{
				rapid.SampledFrom([]string{"p", "pq", "q"}).Draw(r, "purpose"),
				rapid.SampledFrom([]string{"1", "10", "q1"}).Draw(r, "epoch"),
				rapid.SampledFrom([]byte{0, 0, 1, 2, 3, 4}).Draw(r, "key"),
			}
			clash := slices.ContainsFunc(added, func(o scope) bool {
				samePurpose := o.purpose == s.purpose
				return samePurpose && (o.epoch == s.epoch || (o.key == 0) != (s.key == 0)) || s.key != 0 && o.key == s.key
			})
			next, err := roster.Oblivious(s.purpose, s.epoch, [32]byte{s.key})
			if s.key == 0 {
				next, err = roster.Keyed(s.purpose, s.epoch)
			}
			if (err != nil) != clash || err != nil && !errors.Is(err, ErrScope) {
				r.Fatalf("%v after %v: %v", s, added, err)
			}
			if err != nil {
				continue
			}
			if next.Extends(roster) != nil || roster.Extends(next) == nil {
				r.Fatalf("%v after %v: Extends", s, added)
			}
			roster, added = next, append(added, s)
			again, err := ParseRoster([]byte(roster.String()))
			if err != nil || again.Digest() != roster.Digest() {
				r.Fatalf("%v reads back as %v: %v", roster, again, err)
			}
		}
		for _, s := range added {
			public, err := roster.PublicKey(s.purpose, s.epoch)
			if (err == nil) != (s.key != 0) || public != [32]byte{s.key} {
				r.Fatalf("%v of %v has %v, %v", s, roster, public, err)
			}
		}
	})
}

func FuzzParseRoster(f *testing.F) {
	f.Add([]byte(rosterText))
	f.Add([]byte(rosterText[:len(rosterText)/2]))
	f.Add([]byte(`{"version":1,"scopes":[]}`))
	f.Add([]byte(`{"version":1,"scopes":[null]}`))
	f.Add(fmt.Appendf(nil, `{"version":1,"scopes":[{"purpose":"p","epoch":"1","kind":"oblivious","publicKey":%q}]}`, base64.StdEncoding.EncodeToString(nistKey)))
	f.Fuzz(func(t *testing.T, in []byte) {
		r, err := ParseRoster(in)
		if err != nil {
			require.Equal(t, Roster{}, r)
			return
		}
		var compact bytes.Buffer
		require.NoError(t, json.Compact(&compact, in))
		require.Equal(t, compact.String(), r.String())
		require.NoError(t, r.Extends(r))
	})
}
