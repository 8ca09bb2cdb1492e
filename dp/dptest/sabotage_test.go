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
		samplers(), mechanisms(), audits(), sensitivities(), thresholds(), intervals(), accountants(), ledgers(t), unseen(),
	} {
		if raceEnabled {
			builds = builds[:min(len(builds), 2)]
		}
		all = append(all, builds...)
	}
	dptest.KillMatrix(t, all)
}

// TestToysAreSound: what the builds above are made of is right without its fault.
func TestToysAreSound(t *testing.T) {
	t.Parallel()
	if raceEnabled {
		return // nothing in it is concurrent but what TestMechanism runs, too
	}
	for seed := range uint64(rounds(1, 1000)) {
		dptest.Mechanism(t, dptest.MechanismKit{New: toyLaplace(""), Mechanism: dp.DiscreteLaplace, Samples: 5000, Seed: seed})
		dptest.Selection(t, dptest.SelectionKit{New: toySelection(""), Samples: 6000, Seed: seed})
		dptest.Sensitivity(t, dptest.SensitivityKit[member]{World: drawMembers, Run: demand(""), Seed: seed})
		dptest.Sensitivity(t, dptest.SensitivityKit[member]{World: drawMembers, Run: spending(""), Seed: seed})
		kit := toyAccountant("")
		kit.Seed = seed
		dptest.Accountant(t, kit)
	}
}
