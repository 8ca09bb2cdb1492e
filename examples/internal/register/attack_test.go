package register

import (
	"context"
	"crypto/sha256"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestAttack(t *testing.T) {
	t.Parallel()
	f := sqliteFixture(t)
	f.alter = func(c *Config) { c.LegacyID = true }
	in := filepath.Join(t.TempDir(), "in.csv")
	writeMix(t, in, Mix{Seed: 1, Rows: 12, AllGood: true})
	f.add(t, in)
	path := filepath.Join(f.dir, "successful.csv")
	other := testScope(t)
	a, err := RunAttack(context.Background(), path, f.scope, other)
	require.NoError(t, err)
	assert.Equal(t, Attack{
		Rows: 12, Guesses: 44_925, LegacyIDs: 12, GiveUp: a.GiveUp, Right: a.GiveUp,
		WithKey: 12, Tried: 12 * (2*44_925 + 1), Given: true,
	}, a)
	assert.Greater(t, a.GiveUp, 8)

	// With another key than that of the file, nothing is found: it is the key
	// that finds, not the attack.
	a, err = RunAttack(context.Background(), path, other, testScope(t))
	require.NoError(t, err)
	assert.Zero(t, a.WithKey)

	// The attack without the key is a real one: it finds what is a mere hash.
	b, err := RunAttack(context.Background(), path, f.scope, f.scope)
	require.NoError(t, err)
	assert.Equal(t, 12, b.WithoutKey, "when the attacker's own key is the right one")

	const header = "first_name,last_name,birthday,email,pseudonym\n"
	for bad, want := range map[string]string{
		"": ": line 1 is no header", "a,b\n": ": line 1: give a file with the columns",
		"first_name,last_name,birthday,email\nAda,Vega,1974,a@b.com\n":             ": line 2: birthday: not YYYYMMDD",
		header + "Ada,Vega,19740203,a@b.com,zz\n":                                  ": line 2: pseudonym: not 32 hex digits",
		header + "Ada,Vega,19740203\n":                                             ": line 2: not CSV",
		header + "\nAda \"Vega,19740203,a@b.com,zz\n":                              ": line 3: not CSV",
		header + "Ada\x01,Vega,19740203,a@b.com," + strings.Repeat("0", 32) + "\n": ": line 2: email, birthday and name: ",
	} {
		require.NoError(t, os.WriteFile(in, []byte(bad), 0o600))
		_, err := RunAttack(context.Background(), in, f.scope, other)
		require.ErrorContains(t, err, in+want)
		for _, secret := range []string{"Ada", "Vega", "1974", "zz"} {
			assert.NotContains(t, strings.TrimPrefix(err.Error(), "read "+in), secret)
		}
	}
	_, err = RunAttack(context.Background(), filepath.Dir(in), f.scope, other)
	require.ErrorContains(t, err, "not a regular file")
	require.NoError(t, os.WriteFile(in, []byte("\ufefffirst_name,last_name,birthday,email\r\nAda,Vega,19740203,a@b.com\r\n"), 0o600))
	a, err = RunAttack(context.Background(), in, f.scope, other)
	require.NoError(t, err, "as a spreadsheet saves it")
	assert.Equal(t, 1, a.WithKey)
}

// A pseudonym that were a hash without a key would be found.
func TestAttackFindsUnkeyedHashes(t *testing.T) {
	t.Parallel()
	v := victim{application: application{first: "Ada", last: "Vega", email: "a@b.com", birthday: 19740203}}
	days := guesses()
	other := testScope(t)
	for name, p := range map[string][16]byte{"of the birthday": sha16("19740203"), "of the id": sha16("a@b.com 19740203 ada vega")} {
		v.pseudonym = p
		var a Attack
		found, err := a.guessWithoutKey(&v, days, map[[16]byte]Date{sha16("19740203"): 19740203}, other)
		require.NoError(t, err)
		assert.True(t, found, name)
	}
	seen := map[Date]bool{}
	for _, d := range days {
		seen[d] = true
	}
	assert.Len(t, seen, 44_925, "days from 1900 to 2022, once each")
}

func sha16(s string) [16]byte {
	sum := sha256.Sum256([]byte(s))
	return [16]byte(sum[:16])
}
