package fedtest_test

import (
	"errors"
	"fmt"
	"log"
	"testing"

	"github.com/larder-dp/larder/federated"
	"github.com/larder-dp/larder/federated/fedtest"
)

// In a test of one's own repository: one line a property.
func ExampleNeighbours() {
	_ = func(t *testing.T) { // TestOurs
		c := fedtest.Config{Node: ourNode}
		fedtest.Neighbours(t, c)
		fedtest.DataIndependence(t, c)
		fedtest.NoLeaks(t, c)
	}
}

// ourNode is a team's node: Larder's, with homes that it looks up elsewhere and
// forgets.
func ourNode(c federated.NodeConfig) (fedtest.Node, error) {
	homes := c.Memberships
	c.Memberships = func(yield func(federated.Record, error) bool) {
		for r, err := range homes {
			r.Stores = []federated.NodeID{c.ID}
			if !yield(r, err) {
				return
			}
		}
	}
	return federated.NewNode(c)
}

// Outside of a test a check returns what was broken.
func ExampleCheckNeighbours() {
	err := fedtest.CheckNeighbours(fedtest.Config{Node: ourNode})
	var broken *fedtest.Violation
	if errors.As(err, &broken) {
		fmt.Println(broken.Check, "found it; it means:", broken.Means)
	}
	// Output:
	// Neighbours found it; it means: the noise is too small for what it hides: the release tells more of the unit than its ε says
}

// A wiretap on anything that can write.
func ExampleWiretap() {
	tap, err := fedtest.NewWiretap(
		fedtest.Canary{Name: "member", Value: "quillfeather_5f3a1", Near: "quillfeather"},
		fedtest.Canary{Name: "pieces", Value: int64(73_404_003_301)},
	)
	if err != nil {
		log.Fatal(err)
	}
	tap.Hear("metric", "basket", []byte("basket_max 7.3404003301e+10"))
	fmt.Println(tap.Leaks())
	// Output:
	// [metric (basket): the canary "pieces", decimal with exponent]
}
