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
		{"-epsilon much", "-epsilon"},
		{"-delta 1", "-delta 1: give a number from 0 to below 1"},
		{"-delta NaN", "-delta NaN"},
		{"-delta 0 -mechanism gaussian", "-mechanism gaussian needs a -delta above 0"},
		{"-mechanism gauss", "-mechanism gauss: it is auto"},
		{"-epsilon 1000 -mechanism gaussian", "discrete_gaussian"},
		{"-max-items 0", "-max-items 0: give 1 to"},
		{"-max-quantity 9999999999", "-max-quantity 9999999999: give 1 to"},
		{"-max-items 3 -max-quantity 2 -max-total 7", "give 1 to max-items × max-quantity = 6"},
		{"-max-total 0", "-max-total 0"},
		{"-max-nodes 0", "-max-nodes 0"},
		{"-drop 1", "-drop 1: give a fraction from 0 to below 1"},
		{"-drop -0.1", "-drop -0.1"},
		{"-stores 0", "-stores 0: give 1 to"},
		{"-members -3", "-members -3: give 1 to"},
		{"-lists 0", "-lists 0: give 1 to"},
		{"-seed -1", "-seed"},
		{"-demand wishes", "-demand wishes: it is lists or sales"},
		{"-level category", "-level describes the files of -data"},
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
		{"-v", "flag provided but not defined"},
		{"now", `"now" is not a flag`},
		{"-out " + used, "did not write: choose another folder"},
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
	for _, flag := range strings.Fields("data format level demand stores members lists seed epsilon delta max-items max-quantity max-total max-nodes mechanism drop evaluate out") {
		assert.Contains(t, out, "-"+flag)
	}
}

func TestDataThatIsNotThere(t *testing.T) {
	code, out, errs := start("-data", filepath.Join(t.TempDir(), "gone"), "-format", "lists")
	assert.Equal(t, exitFailed, code)
	assert.Empty(t, out)
	assert.Equal(t, 1, strings.Count(errs, "\n"), errs)
}
