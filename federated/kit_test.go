package federated_test

import (
	"testing"

	"github.com/larder-dp/larder/federated"
	"github.com/larder-dp/larder/federated/fedtest"
)

// The promises of the package doc, as any federation has to keep them.

func TestNeighboursStayWithinSensitivity(t *testing.T) { fedtest.Neighbours(t, fedtest.Config{}) }

func TestOnlyNoisedValuesDependOnRecords(t *testing.T) {
	fedtest.DataIndependence(t, fedtest.Config{})
}

func TestNothingThatLeavesNamesARecord(t *testing.T) { fedtest.NoLeaks(t, fedtest.Config{Runs: 11}) }

func TestFailsClosed(t *testing.T) { fedtest.FailsClosed(t, fedtest.Config{}) }

func TestEachAnswerInTimeCountsOnce(t *testing.T) { fedtest.Rounds(t, fedtest.Config{}) }

func TestEveryCellHasItsOwnNoise(t *testing.T) { fedtest.Noise(t, fedtest.Config{}) }

func TestACrashAtAnyStepChargesOnce(t *testing.T) { fedtest.Crashes(t, fedtest.Config{}) }

func TestInProcessIsATransport(t *testing.T) {
	fedtest.TestTransport(t, func(nodes map[federated.NodeID]fedtest.Node) (federated.Transport, error) {
		var all []*federated.Node
		for _, n := range nodes {
			all = append(all, n.(*federated.Node))
		}
		return federated.InProcess(all...), nil
	})
}
