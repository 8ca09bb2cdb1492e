//go:build !race

package dptest_test

const raceEnabled = false
