package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/larder-dp/larder/dp/ledger"
)

// TestLedger: a file that allows ε = 1.5 is asked for 1, for the same again, and
// for more than it has.
func TestLedger(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "ledger")
	flags := append(small, "-ledger", file, "-ledger-epsilon", "1.5")
	code, first, errs := start(flags...)
	require.Zero(t, code, errs)
	assert.Contains(t, first, "ledger has ε = 0.5")
	assert.Contains(t, first, "no other run like this one fits")
	before, err := ledger.Verify(file)
	require.NoError(t, err)

	code, again, errs := start(append(small, "-ledger", file)...)
	require.Zero(t, code, errs)
	assert.Equal(t, first, again, "the same question, the same bytes")
	after, err := ledger.Verify(file, before)
	require.NoError(t, err)
	assert.Equal(t, before, after, "and no charge")

	refused := append(small, "-ledger", file, "-epsilon", "0.8")
	code, out, errs := start(refused...)
	assert.Equal(t, exitFailed, code)
	assert.Empty(t, out)
	assert.Equal(t, 1, strings.Count(errs, "\n"), errs)
	assert.Contains(t, errs, "asked for ε=0.8")
	remedy := regexp.MustCompile(`(-epsilon \S+ -delta \S+) would pass`).FindStringSubmatch(errs)
	require.NotNil(t, remedy, errs)
	after, err = ledger.Verify(file)
	require.NoError(t, err)
	assert.Equal(t, before, after, "a refusal spends nothing")

	code, out, errs = start(append(flags[:len(flags):len(flags)], strings.Fields(remedy[1])...)...)
	require.Zero(t, code, "in place of the flags that were refused, and nothing else changed: %s", errs)
	assert.Contains(t, out, "ledger has ε = 0,")

	code, out, errs = start(append(small, "-ledger", file, "-epsilon", "0.01")...)
	assert.Equal(t, exitFailed, code)
	assert.Empty(t, out)
	assert.Contains(t, errs, "it is spent")
	code, again, errs = start(append(small, "-ledger", file)...)
	require.Zero(t, code, errs)
	assert.Equal(t, strings.Split(first, "\nPrivacy\n")[0], strings.Split(again, "\nPrivacy\n")[0], "old questions are answered for ever")

	code, _, errs = start(append(small, "-ledger", file, "-round", "2")...)
	assert.Equal(t, exitFailed, code)
	assert.Contains(t, errs, "it is spent", "asking anew costs")

	code, _, errs = start(append(small, "-ledger", file, "-seed", "2")...)
	assert.Zero(t, code, "another world is another epoch, with a budget of its own: %s", errs)
	code, _, errs = start(append(small, "-ledger", file, "-ledger-epsilon", "9")...)
	assert.Equal(t, exitFailed, code, "no flag raises the budget of a ledger")
	assert.Contains(t, errs, "-ledger-epsilon is not what it was created with")

	info, err := os.Stat(file + ".keys")
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())
}

// TestLedgerRule: by zcdp a ledger holds many more runs, and its remedy is accepted.
func TestLedgerRule(t *testing.T) {
	left := func(flags ...string) (runs string, file string) {
		file = filepath.Join(t.TempDir(), "ledger")
		flags = append(flags, "-mechanism", "discrete_gaussian", "-epsilon", "0.1", "-delta", "1e-7", "-ledger", file, "-ledger-epsilon", "1", "-ledger-delta", "1e-6")
		code, out, errs := start(append(small, flags...)...)
		require.Zero(t, code, errs)
		found := regexp.MustCompile(`(\d+) more like this one fit`).FindStringSubmatch(out)
		require.NotNil(t, found, out)
		return found[1], file
	}
	runs, _ := left()
	assert.Equal(t, "8", runs)
	runs, file := left("-ledger-rule", "zcdp", "-ledger-delta-apart", "0.01")
	assert.Equal(t, "139", runs)
	again := append(small, "-mechanism", "discrete_gaussian", "-ledger", file, "-round", "2")
	code, _, errs := start(append(again, "-epsilon", "5", "-delta", "1e-7")...)
	assert.Equal(t, exitFailed, code)
	passes := regexp.MustCompile(`-epsilon (\S+) -delta (\S+) would pass`)
	remedy := passes.FindStringSubmatch(errs)
	require.NotNil(t, remedy, errs)
	code, _, errs = start(append(again, "-epsilon", remedy[1], "-delta", remedy[2])...)
	assert.Zero(t, code, errs)
	// Each remedy is accepted, until it leaves less than any question takes.
	again = append(small, "-mechanism", "discrete_laplace", "-ledger", file, "-round", "3")
	for range 4 {
		code, _, errs = start(again...)
		require.Equal(t, exitFailed, code)
		if remedy = passes.FindStringSubmatch(errs); remedy == nil {
			break
		}
		code, _, errs = start(append(again, "-epsilon", remedy[1], "-delta", remedy[2])...)
		require.Zero(t, code, errs)
	}
	assert.Contains(t, errs, "it is spent")

	for _, bad := range [][]string{{"-ledger-rule", "renyi"}, {"-ledger-delta-apart", "0.1"}, {"-ledger-rule", "zcdp", "-ledger-delta-apart", "1"}} {
		code, _, errs := start(append(small, append(bad, "-ledger", file)...)...)
		assert.Equal(t, 2, code, errs)
	}
}
