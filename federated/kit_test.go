package federated_test

import (
	"testing"

	"github.com/larder-dp/larder/federated"
	"github.com/larder-dp/larder/federated/fedtest"
)

// The promises of the package doc are held to the kit by TestLarder of fedtest.

func TestInProcessIsATransport(t *testing.T) {
	fedtest.TestTransport(t, func(nodes map[federated.NodeID]fedtest.Node) (federated.Transport, error) {
		var all []*federated.Node
		for _, n := range nodes {
			all = append(all, n.(*federated.Node))
		}
		return federated.InProcess(all...), nil
	})
}
