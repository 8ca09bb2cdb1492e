package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestFlagsThatMakeNoSense(t *testing.T) {
	used := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(used, "thesis.txt"), nil, 0o644))
	for _, row := range []struct{ flags, want string }{
		{"-epsilon 0", "-epsilon 0: give a finite number above 0"},
		{"-epsilon -1", "-epsilon -1"},
		{"-epsilon NaN", "-epsilon NaN"},
		{"-epsilon +Inf", "-epsilon +Inf"},
		{"-epsilon 1e999", "-epsilon"},
		{"-epsilon much", "-epsilon much: give a number ("},
		{"-max-items 1.5", "-max-items 1.5: give a whole number ("},
		{"-evaluate=perhaps", "-evaluate perhaps: give true or false"},
		{"-max-total 99999999999999999999", "give a whole number that is not so large"},
		{"-delta 1", "-delta 1: give a number from 0 to below 1"},
		{"-delta NaN", "-delta NaN"},
		{"-delta 0 -mechanism gaussian", "-mechanism gaussian needs a -delta above 0"},
		{"-mechanism gauss", "-mechanism gauss: it is auto"},
		{"-epsilon 1e-12", "-epsilon 1e-12: give at least 1e-11"},
		{"-epsilon 1000 -mechanism gaussian", "simulation: -mechanism gaussian takes -epsilon up to 256: take discrete_laplace or discrete_gaussian"},
		{"-epsilon 300 -mechanism gaussian", "simulation: -mechanism gaussian cannot keep this -delta at this -epsilon"},
		{"-max-items 1073741824 -max-quantity 1073741824", "simulation: -max-total × -max-quantity overflows: lower -max-quantity or -max-total"},
		{"-max-items 0", "-max-items 0: give 1 to"},
		{"-max-quantity 9999999999", "-max-quantity 9999999999: give 1 to"},
		{"-max-items 3 -max-quantity 2 -max-total 7", "give 1 to max-items × max-quantity = 6"},
		{"-max-total 0", "-max-total 0"},
		{"-max-nodes 0", "-max-nodes 0"},
		{"-drop 1", "-drop 1: give a fraction from 0 to below 1"},
		{"-drop -0.1", "-drop -0.1"},
		{"-stores 0", "-stores 0: give 1 to"},
		{"-stores 1001", "-stores 1001: give 1 to 1000"},
		{"-stores abc", "simulation: -stores abc: give a whole number (see -help)"},
		{"-members 10000001", "-members 10000001: give 1 to 10000000"},
		{"-max-nodes 50", "-max-nodes 50: there are 12 stores"},
		{"-max-nodes 2 -stores 1", "-max-nodes 2: there is 1 store"},
		{"-members -3", "-members -3: give 1 to"},
		{"-lists 0", "-lists 0: give 1 to"},
		{"-seed -1", "-seed -1: give a whole number from 0"},
		{"-demand wishes", "-demand wishes: it is lists or sales"},
		{"-level category", "-level is for -data with -format completejourney"},
		{"-format lists", "-format describes the files of -data"},
		{"-evaluate", "a generated chain is always compared"},
		{"-data d", "-data needs -format"},
		{"-data= -format lists", "-data is empty"},
		{"-out=", "-out is empty"},
		{"-data d -format xml", "-format xml: it is lists or completejourney"},
		{"-data d -format lists -level product", "-level is for -format completejourney"},
		{"-data d -format completejourney -level shelf", "-level shelf: it is product"},
		{"-data d -format completejourney -demand lists", "completejourney has sales only"},
		{"-data d -format completejourney -max-nodes 2", "give 1 or leave it out"},
		{"-data d -format completejourney -level product -delta 0", "needs a -delta above 0"},
		{"-data d -format lists -seed 2", "-seed is for a generated chain"},
		{"-data d -format lists -stores 2", "-stores is for a generated chain"},
		{"-data d -format lists -members 2", "-members is for a generated chain"},
		{"-data d -format lists -lists 2", "-lists is for a generated chain"},
		{"-data d -format lists -evaluate", "give -out DIR too"},
		{"-ledger=", "-ledger is empty"},
		{"-round 2", "-round is about the file of -ledger"},
		{"-ledger l -round 0", "-round 0: give 1 or more"},
		{"-ledger-epsilon 2", "-ledger-epsilon is about the file of -ledger"},
		{"-ledger l -ledger-epsilon NaN", "Epsilon must be finite"},
		{"-ledger l -ledger-delta 1", "Delta must be in [0, 1)"},
		{"-v", "flag provided but not defined"},
		{"now", `"now" is not a flag`},
		{"-out " + used, "did not write: choose another folder"},
		{"-out " + filepath.Join(used, "thesis.txt"), "thesis.txt is a file: give a folder"},
		{"-data " + used + " -format lists", "-data " + used + " lacks inventory.json and lists.json"},
		{"-data " + used + " -format lists -demand sales", "lacks inventory.json and sales*.json"},
		{"-data " + used + " -format completejourney", "lacks products.csv and transactions*.csv"},
		{"-data " + filepath.Join(used, "thesis.txt") + " -format lists", "thesis.txt is a file: give a folder"},
	} {
		t.Run(row.flags, func(t *testing.T) {
			code, out, errs := start(strings.Fields(row.flags)...)
			assert.Equal(t, exitFlags, code)
			assert.Empty(t, out)
			assert.Contains(t, errs, row.want)
			assert.Equal(t, 1, strings.Count(errs, "\n"), "one line: %q", errs)
			assert.True(t, strings.HasPrefix(errs, "simulation: "))
		})
	}
	assert.FileExists(t, filepath.Join(used, "thesis.txt"))
}

func TestHelp(t *testing.T) {
	code, out, errs := start("-help")
	assert.Zero(t, code)
	assert.Empty(t, errs)
	for _, flag := range strings.Fields("data format level demand stores members lists seed epsilon delta max-items max-quantity max-total max-nodes mechanism drop evaluate out ledger ledger-epsilon ledger-delta round") {
		assert.Contains(t, out, "-"+flag)
	}
	for _, told := range []string{"inventory.json, and lists.json", "products.csv and one transactions*.csv", "quorum", "is replaced"} {
		assert.Contains(t, out, told)
	}
}

func TestDataThatIsNotThere(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "gone")
	code, out, errs := start("-data", dir, "-format", "lists")
	assert.Equal(t, exitFlags, code)
	assert.Empty(t, out)
	assert.Equal(t, "simulation: -data "+dir+": no such folder (see -help)\n", errs)
}

// TestDataOfAnotherKind: one prefix, and no number.
func TestDataOfAnotherKind(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
	}
	write("inventory.json", `[{"store_id":"a","item_id":"1","item":"milk","category":"dairy","quantity":1}]`)
	write("lists.json", "list_idx,store_id,item_id,quantity\n0,a,1,1\n")
	code, out, errs := start("-data", dir, "-format", "lists")
	assert.Equal(t, exitFailed, code)
	assert.Empty(t, out)
	assert.True(t, strings.HasPrefix(errs, "simulation: -data "+dir+": read lists.json: not a JSON array"), errs)

	write("lists.json", "[]")
	code, _, errs = start("-data", dir, "-format", "lists", "-max-nodes", "3")
	assert.Equal(t, exitFlags, code)
	assert.Contains(t, errs, "-max-nodes 3: there is 1 store")
	code, _, errs = start("-data", dir, "-format", "lists", "-epoch", "é")
	assert.Equal(t, exitFlags, code)
	assert.True(t, strings.HasPrefix(errs, "simulation: -epoch must be 1 to 128"), errs)
	code, out, errs = start("-data", dir, "-format", "lists", "-epoch", "e", "-out", filepath.Join(t.TempDir(), "out"))
	require.Zero(t, code, errs)
	assert.Contains(t, out, "1 item in 1 category")
	assert.NotContains(t, out, "members.csv")
}
