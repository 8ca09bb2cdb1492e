package register

import (
	"context"
	"encoding/csv"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// shared is a folder of data that is not in the repository.
func shared(t *testing.T) string {
	t.Helper()
	root := os.Getenv("LARDER_SHARED")
	if root == "" {
		t.Skip("LARDER_SHARED is not set: it names the folder that has data/membership")
	}
	return filepath.Join(root, "data", "membership")
}

func readCSV(t *testing.T, path string) (rows []map[string]string) {
	t.Helper()
	f, err := os.Open(path)
	require.NoError(t, err)
	defer func() { _ = f.Close() }()
	all, err := csv.NewReader(f).ReadAll()
	require.NoError(t, err)
	for _, row := range all[1:] {
		m := map[string]string{}
		for i, column := range all[0] {
			m[column] = row[i]
		}
		rows = append(rows, m)
	}
	return rows
}

// Both files of the sample, beside what its own pipeline made of them.
func TestRealApplications(t *testing.T) {
	t.Parallel()
	dir := shared(t)
	f := sqliteFixture(t)
	f.alter = func(c *Config) { c.LegacyID = true }
	one, two := filepath.Join(dir, "applications_dataset_1.csv"), filepath.Join(dir, "applications_dataset_2.csv")
	var tally Tally
	for _, file := range f.add(t, one, two) {
		tally.Add(file.Tally)
	}
	assert.Equal(t, int64(4999), tally.Rows)
	assert.Equal(t, int64(706), tally.Successful)
	assert.Equal(t, int64(4293), tally.Unsuccessful())
	assert.Equal(t, int64(3758), tally.Failing("mobile_no"))
	assert.Equal(t, int64(1476), tally.Failing("email"))
	assert.Equal(t, int64(1063), tally.Failing("date_of_birth"))
	assert.Zero(t, tally.Failing("name"))
	assert.Zero(t, tally.Failing("row"))

	// By e-mail address, which is different in each row of the old output.
	given, names := map[string]string{}, map[string]string{}
	for _, path := range []string{one, two} {
		for _, row := range readCSV(t, path) {
			given[row["email"]], names[row["email"]] = row["date_of_birth"], row["name"]
		}
	}
	good := map[string]map[string]string{}
	for _, row := range f.table(t, "successful.csv") {
		good[row["email"]] = row
		assert.False(t, strings.HasSuffix(row["email"], ".info"))
	}
	assert.Len(t, good, 706)
	info, swapped, swappedHere, misnamed := 0, 0, 0, 0
	for _, old := range readCSV(t, filepath.Join(dir, "output_successful.csv")) {
		want := byLayout(t, given[old["email"]])
		if old["birthday"] != want {
			swapped++
			assert.Equal(t, want, old["birthday"][:4]+old["birthday"][6:]+old["birthday"][4:6], "month and day are swapped and nothing else")
			assert.Regexp(t, `^\d\d-\d\d-\d{4}$`, given[old["email"]])
		}
		row, ok := good[old["email"]]
		if !ok {
			assert.True(t, strings.HasSuffix(old["email"], ".info"), "what is not taken any more")
			info++
			continue
		}
		delete(good, old["email"])
		assert.Equal(t, want, row["birthday"])
		if words := strings.Fields(names[old["email"]]); isSuffix(old["last_name"]) {
			// The old names of "Ada Vega MD" are Vega and MD.
			misnamed++
			assert.Equal(t, words[len(words)-2:], []string{old["first_name"], old["last_name"]})
			assert.Equal(t, words[len(words)-3:len(words)-1], []string{row["first_name"], row["last_name"]})
			old["first_name"], old["last_name"] = row["first_name"], row["last_name"]
			old["membership_id"] = row["last_name"] + old["membership_id"][len(old["membership_id"])-6:]
		}
		if old["birthday"] != want {
			swappedHere++
		} else {
			assert.Equal(t, old["membership_id"], row["legacy_id"])
		}
		for _, column := range []string{"first_name", "last_name", "mobile_no", "above_18"} {
			assert.Equal(t, old[column], row[column])
		}
	}
	assert.Empty(t, good, "what is taken now and was not")
	assert.Equal(t, 95, info)
	assert.Equal(t, 67, swapped)
	assert.Equal(t, 61, swappedHere, "of those that are still taken")
	assert.Equal(t, 12, misnamed)

	r := f.register(t)
	defer func() { require.NoError(t, r.Close()) }()
	l, err := r.Likeness(context.Background())
	require.NoError(t, err)
	assert.Equal(t, Likeness{Members: 706, SameLegacyID: 1}, l)
}

// byLayout reads a date with package time.
func byLayout(t *testing.T, s string) string {
	t.Helper()
	for _, layout := range []string{"01/02/2006", "02-01-2006", "2006-01-02", "2006/01/02"} {
		if d, err := time.Parse(layout, s); err == nil {
			return d.Format("20060102")
		}
	}
	require.Fail(t, "a date in no known form")
	return ""
}

func TestRealAttack(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		return // it hashes 36 million ids
	}
	a, err := RunAttack(context.Background(), filepath.Join(shared(t), "output_successful.csv"), testScope(t), testScope(t))
	require.NoError(t, err)
	assert.Equal(t, "801 rows, 801 legacy ids, 769 give up one birthday, 769 the right one; pseudonyms: 0 without the key, 801 with it",
		fmt.Sprintf("%d rows, %d legacy ids, %d give up one birthday, %d the right one; pseudonyms: %d without the key, %d with it",
			a.Rows, a.LegacyIDs, a.GiveUp, a.Right, a.WithoutKey, a.WithKey))
}
