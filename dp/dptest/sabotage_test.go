package dptest_test

import (
	"testing"

	"github.com/larder-dp/larder/dp"
	"github.com/larder-dp/larder/dp/dptest"
)

// TestSabotage re-creates known bugs and sees each caught. The kit would be worth
// nothing if it passed everything.
func TestSabotage(t *testing.T) {
	t.Parallel()
	var all []dptest.Sabotage
	for _, builds := range [][]dptest.Sabotage{
		samplers(), mechanisms(), audits(), sensitivities(), thresholds(), intervals(), accountants(), ledgers(t),
	} {
		if raceEnabled {
			builds = builds[:min(len(builds), 2)]
		}
		all = append(all, builds...)
	}
	dptest.KillMatrix(t, all)
}

// TestToysAreSound: what the builds above are made of is right without its fault, and so are
// designs that are unusual: a kit that cries wolf is switched off.
func TestToysAreSound(t *testing.T) {
	t.Parallel()
	if raceEnabled {
		return // nothing in it is concurrent but what TestMechanism runs, too
	}
	for seed := range uint64(rounds(1, 1000)) {
		for _, design := range []string{"", "the sum of two noises", "Δ/ε rounded up to a power of two", "saturates at 2⁶¹"} {
			dptest.Mechanism(t, dptest.MechanismKit{New: toyLaplace(design), Mechanism: dp.DiscreteLaplace, Samples: 5000, Seed: seed})
		}
		for _, design := range []string{"", "one in four is left out"} {
			dptest.Selection(t, dptest.SelectionKit{New: toySelection(design), Samples: 6000, Seed: seed})
		}
		for _, design := range []string{"", "a mean, a ring and a NaN of the answers beside", "its input clipped in place"} {
			dptest.Sensitivity(t, dptest.SensitivityKit[member]{World: drawMembers, Run: demand(design), Seed: seed})
		}
		dptest.Sensitivity(t, dptest.SensitivityKit[member]{World: drawMembers, Run: spending(""), Seed: seed})
		kit := toyAccountant("")
		kit.Seed = seed
		dptest.Accountant(t, kit)
	}
	for _, design := range []string{"", "deaf to its context", "errors are wrapped", "a count is written out", "no events are some"} {
		if err := checkNaive(t, design); err != nil {
			t.Errorf("ledger %q: %v", design, err)
		}
	}
}
