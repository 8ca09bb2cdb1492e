package oprf_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/larder-dp/larder/pseudonym"
	"github.com/larder-dp/larder/pseudonym/oprf"
)

// The spellings of one id are one pseudonym, and two ids are two: with a key and with a
// key server, in the rules of pseudonym.CanonicalVersion 1.
func TestSpellings(t *testing.T) {
	singapore := pseudonym.PhonePlan{Code: "65", MinDigits: 8, MaxDigits: 8}
	london := pseudonym.PhonePlan{Code: "44", TrunkZero: true, MinDigits: 9, MaxDigits: 10}
	as := func(canonical func(string) (string, error), spellings ...string) (out []string) {
		for _, s := range spellings {
			id, err := canonical(s)
			require.NoError(t, err, s)
			out = append(out, id)
		}
		return out
	}
	phone := func(plan pseudonym.PhonePlan) func(string) (string, error) {
		return func(s string) (string, error) { return pseudonym.Phone(s, plan) }
	}
	people := map[string][]string{
		"case and spaces":   {"Ada Lovelace", " ada  lovelace ", "ADA\u00a0LOVELACE", "ada\u3000lovelace"},
		"no space":          {"adalovelace"},
		"accents":           {"Jose\u0301", "JOS\u00c9", "jos\u00e9", "jose\u0301 "},
		"no accent":         {"jose"},
		"sharp s":           {"Groß", "GROSS", "GROẞ", "gross"},
		"final sigma":       {"ΟΔΥΣΣΕΥΣ", "οδυσσευς", "οδυσσευσ"},
		"Hangul":            {"\uac01", "\u1100\u1161\u11a8"},
		"full width":        {"１２"},
		"narrow":            {"12"},
		"zeros":             {"0012"},
		"e-mail":            as(pseudonym.Email, "Ada.B@Example.COM", " ada.b@example.com", "ADA.B@EXAMPLE.COM "),
		"an e-mail, tagged": as(pseudonym.Email, "ada.b+shop@example.com"),
		"phone":             append(as(phone(singapore), "9123 4567", "(9123)4567", "+65 9123-4567"), as(phone(london), "+65.9123.4567")...),
		"a phone at home":   append(as(phone(london), "020 7946 0018", "(020) 7946-0018", "20 7946 0018"), as(phone(singapore), "+44 20 7946 0018")...),
	}

	key, err := oprf.Generate("insights", "1")
	require.NoError(t, err)
	public, err := key.PublicKey()
	require.NoError(t, err)
	roster, err := pseudonym.Roster{}.Oblivious("insights", "1", public)
	require.NoError(t, err)
	roster, err = roster.Keyed("demand", "1")
	require.NoError(t, err)
	keys, err := pseudonym.Generate("demand", "1")
	require.NoError(t, err)
	client, err := oprf.NewClient(oprf.ClientConfig{Roster: roster, Purpose: "insights", Epoch: "1"})
	require.NoError(t, err)
	server, err := oprf.NewServer(oprf.ServerConfig{Keys: []oprf.Key{key}, Clients: []string{"a"}, IDs: len(people) + 1, Window: time.Hour})
	require.NoError(t, err)
	table := oprf.NewTable(client)
	require.NoError(t, table.Fill(t.Context(), func(yield func(string, error) bool) {
		for _, spellings := range people {
			for _, s := range spellings {
				if !yield(s, nil) {
					return
				}
			}
		}
	}, func(_ context.Context, request []byte) ([]byte, error) {
		return server.Evaluate(time.Now(), "a", request)
	}),
		"the limit is one evaluation for each person, and for the id 0")

	seen := map[[16]byte]string{}
	for way, member := range map[string]pseudonym.Scope{"keyed": roster.Scope(keys, "demand", "1"), "oblivious": table.Pseudonym} {
		for who, spellings := range people {
			want, err := member(spellings[0])
			require.NoError(t, err)
			assert.Empty(t, seen[want], "%s, %s", way, who)
			seen[want] = way + ", " + who
			for _, s := range spellings {
				p, err := member(s)
				require.NoError(t, err)
				assert.Equal(t, want, p, "%s, %s: %q", way, who, s)
			}
		}
	}
}
