package pseudonym

import (
	"crypto/sha256"
	"encoding/hex"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// An unsalted hash of something that can be guessed is no secret. Membership systems
// have used the first 5 hex digits of SHA-256(YYYYMMDD) as part of an id.
func legacyID(birthday string) string {
	sum := sha256.Sum256([]byte(birthday))
	return hex.EncodeToString(sum[:])[:5]
}

func birthdays() []string {
	var days []string
	for d := time.Date(1930, 1, 1, 0, 0, 0, 0, time.UTC); d.Year() < 2004; d = d.AddDate(0, 0, 1) {
		days = append(days, d.Format("20060102"))
	}
	return days
}

func TestLegacyIDInvertsAndPseudonymDoesNot(t *testing.T) {
	days := birthdays()
	var members []string // every 37th day is some member's birthday
	for i := 0; i < len(days); i += 37 {
		members = append(members, days[i])
	}

	// Whoever reads the legacy ids hashes all 27,028 days and looks them up.
	byHash := map[string][]string{}
	for _, day := range days {
		byHash[legacyID(day)] = append(byHash[legacyID(day)], day)
	}
	inverted := 0
	for _, member := range members {
		if found := byHash[legacyID(member)]; len(found) == 1 && found[0] == member {
			inverted++
		}
	}
	assert.Greater(t, float64(inverted), 0.95*float64(len(members)), "legacy ids that give away one birthday")

	// The same attack on pseudonyms, with all that is public and a key of one's own.
	keys, guess := generate(t, "members", "2026", "2025"), generate(t, "members", "2026")
	scope, same, elsewhere := keys.Scope("members", "2026"), guess.Scope("members", "2026"), keys.Scope("members", "2025")
	invert := func(attack func(string) ([16]byte, error)) int {
		table := map[[16]byte]bool{}
		for _, day := range days {
			p, err := attack(day)
			require.NoError(t, err)
			table[p] = true
		}
		inverted := 0
		for _, member := range members {
			p, err := scope(member)
			require.NoError(t, err)
			if table[p] {
				inverted++
			}
		}
		return inverted
	}
	assert.Zero(t, invert(same), "with another key")
	assert.Zero(t, invert(elsewhere), "from a table of another scope's pseudonyms")
	assert.Zero(t, invert(func(day string) ([16]byte, error) {
		sum := sha256.Sum256(append(prefix(t, "members", "2026"), day...))
		return [16]byte(sum[:16]), nil
	}), "without a key")

	// What the package doc says it does not protect against.
	assert.Equal(t, len(members), invert(scope), "with the key every guess can be tested")
}
