//go:build race

package dptest_test

// Single-threaded arithmetic is ten times as slow under the race detector and has
// nothing to show it: there it runs a few cases.
const raceEnabled = true
