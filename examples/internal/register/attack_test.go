package register

import (
	"context"
	"crypto/sha256"
	"os"
	"path/filepath"
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

	for _, bad := range []string{"", "a,b\n", "first_name,last_name,birthday,email\nAda,Vega,1974,a@b.com\n", "first_name,last_name,birthday,email,pseudonym\nAda,Vega,19740203,a@b.com,zz\n", "first_name,last_name,birthday,email\nAda\n"} {
		require.NoError(t, os.WriteFile(in, []byte(bad), 0o600))
		_, err := RunAttack(context.Background(), in, f.scope, other)
		require.Error(t, err)
		assert.NotContains(t, err.Error(), "Ada")
	}
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
