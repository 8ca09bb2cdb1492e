package federated_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"

	"github.com/larder-dp/larder/dp"
	"github.com/larder-dp/larder/federated"
)

// Three stores count the members whom they have together, each of them once. The noise of an
// example is seeded; leave Random out.
func ExampleDistinctMembers() {
	stores := []federated.NodeID{"east", "north", "west"}
	q, err := federated.DistinctMembers(federated.Question{
		Stores: stores, From: federated.Sales, Unit: federated.UnitMember,
		Trust: federated.TrustedCoordinator, Epoch: "2026-W14",
		Privacy: dp.Params{Epsilon: 1, Mechanism: dp.DiscreteLaplace}, Quorum: 3,
	}, 1<<14)
	if err != nil {
		panic(err)
	}
	var nodes []*federated.Node
	for i, s := range stores {
		n, err := federated.NewNode(federated.NodeConfig{
			ID: s, Epoch: "2026-W14", Allow: federated.AllowQueries(q), Pseudonym: fixedPseudonym,
			Sales: func(yield func(federated.Record, error) bool) {
				for m := range 500 { // members 0–499, 250–749 and 500–999
					if !yield(federated.Record{ID: "1", Member: fmt.Sprint("member ", 250*i+m)}, nil) {
						return
					}
				}
			},
		})
		if err != nil {
			panic(err)
		}
		nodes = append(nodes, n)
	}
	ledger, err := dp.NewMemoryLedger(dp.Budget{Epsilon: 1})
	if err != nil {
		panic(err)
	}
	c, err := federated.NewCoordinator(federated.CoordinatorConfig{
		Transport: federated.InProcess(nodes...), Ledger: ledger, Random: rand.NewChaCha8([32]byte{1}),
	})
	if err != nil {
		panic(err)
	}
	release, err := c.Run(context.Background(), q)
	if err != nil {
		panic(err)
	}
	for cell := range release.Cells() {
		fmt.Printf("%d %s (%d to %d), from %d bins after noise\n", cell.Value, cell.Partition, cell.Low, cell.High, cell.Noised)
	}
	fmt.Println("cost:", release.Label().Cost.Epsilon)
	// Output:
	// 1005 members (980 to 1031), from 975 bins after noise
	// cost: 1
}

// fixedPseudonym stands in for pseudonym.Keys.Scope, whose keys are random.
func fixedPseudonym(member string) ([16]byte, error) {
	sum := sha256.Sum256([]byte(member))
	return [16]byte(sum[:]), nil
}

// A member moves: the running epoch refuses it, the next one takes it.
func ExampleHomes() {
	book := &federated.Homes{Epoch: "2026-W14", MaxNodes: 2, Pseudonym: fixedPseudonym}
	ada := federated.Record{Member: "ada", Stores: []federated.NodeID{"north", "east"}, Segment: "family"}
	if err := book.Register(ada); err != nil {
		panic(err)
	}
	rows := func(book *federated.Homes, at federated.NodeID) (n int) {
		for range book.At(at) { // NodeConfig.Memberships
			n++
		}
		return n
	}
	fmt.Println("east has", rows(book, "east"))

	ada.Stores = []federated.NodeID{"west"}
	var refused *federated.HomesError
	fmt.Println("refused:", errors.As(book.Register(ada), &refused) && refused.Fixed)

	next, err := book.Next("2026-W15", fixedPseudonym)
	if err != nil {
		panic(err)
	}
	if err := next.Register(ada); err != nil {
		panic(err)
	}
	fmt.Println("east has", rows(next, "east"), "and west", rows(next, "west"))
	// Output:
	// east has 1
	// refused: true
	// east has 0 and west 1
}
