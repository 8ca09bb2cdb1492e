package fedtest

import (
	"slices"
	"testing"

	"github.com/larder-dp/larder/dp/dptest"
	"github.com/larder-dp/larder/federated"
)

// A sabotage is a bug that somebody had, built in: where it comes from, and the
// check that has to find it.
type sabotage struct {
	name, source, by string
	build            func() Config
}

const (
	google   = "google/differential-privacy: contributions bounded by row"
	owasp    = "OWASP Logging Cheat Sheet: data to exclude"
	cwe209   = "CWE-209: error messages with sensitive information"
	cwe532   = "CWE-532: sensitive information in log files"
	cwe203   = "CWE-203: observable discrepancy"
	cwe759   = "CWE-759: one-way hash without a salt"
	cwe294   = "CWE-294: capture and replay"
	cwe190   = "CWE-190: integer overflow"
	haeberle = "Haeberlen, Pierce, Narayan 2011: budget and timing channels"
	wal      = "write-ahead logging: effects before their record is durable"
	reuse    = "privacy-on-beam, OpenDP: noise from a shared or reused seed"
)

var sabotages = slices.Concat(boundSabotages, leakSabotages, independenceSabotages, closedSabotages, roundSabotages, noiseSabotages)

// caught runs one check on a build.
func caught(t *testing.T, by string, c Config) (err error) {
	for _, k := range allChecks {
		if k.name != by {
			continue
		}
		switch by {
		case "Rounds":
			c.virtual(t).timed(func(c Config) { err = virtualRounds.over(c) })
			return err
		case "DataIndependence":
			c = c.virtual(t)
		}
		return k.over(c)
	}
	t.Fatalf("no check %s", by)
	return nil
}

func TestSabotage(t *testing.T) {
	var builds []dptest.Sabotage
	for i, s := range sabotages {
		if testing.Short() && i%4 != 0 {
			continue
		}
		builds = append(builds, dptest.Sabotage{Name: s.name, Source: s.source, Check: func() error { return caught(t, s.by, s.build()) }})
	}
	dptest.KillMatrix(t, builds)
}

// The bent parts are the healthy ones where nothing is bent.
func TestBentPartsAreHealthy(t *testing.T) {
	for name, c := range map[string]Config{
		"node":        bend(func(*bentNode) {}),
		"reports":     reporting(func(*bentNode, *report) []byte { return nil }),
		"refusals":    refusing(func(*bentNode, *refusal) {}),
		"question":    bend(func(*bentNode) {}),
		"coordinator": bendCoordinator(func(*bentCoordinator) {}),
		"edits":       editor(func(*bentCoordinator, federated.Query, *wireRelease) {}),
		"ledgers":     ledgers(func(*bentLedger) {}, nil),
	} {
		if testing.Short() && name != "edits" && name != "ledgers" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if c.Runs = 3; testing.Short() {
				c.Runs = 1
			}
			Run(t, c)
		})
	}
}
