package federated_test

import (
	"context"
	"fmt"
	"iter"
	"log"
	"time"

	"github.com/larder-dp/larder/dp"
	"github.com/larder-dp/larder/federated"
	"github.com/larder-dp/larder/pseudonym"
)

// The importer's way through the library: three stores, one private question.
func Example() {
	monday := time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)
	if err := shortages(
		context.Background(), []federated.NodeID{"north", "south", "west"}, []string{"apples", "bread", "milk"},
		"spring-2026", federated.Window{From: monday, To: monday.AddDate(0, 0, 7)},
	); err != nil {
		log.Fatal(err)
	}
	// Output:
	// 9 cells, each with an error bar
	// coverage: 3 of 3
	// protects: add or remove one shopping list
}

func shortages(ctx context.Context, stores []federated.NodeID, catalog []string, epoch string, week federated.Window) error {
	cells := 0
	show := func(c federated.Cell) {
		if c.Low <= c.Value && c.Value <= c.High && c.StdDev > 0 {
			cells++
		}
	}
	keys, err := pseudonym.Generate("demand", epoch) // once for the chain: Export, and Parse at every store
	if err != nil {
		return err
	}
	q, err := federated.NetDemand(federated.Question{
		Stores: stores, Partitions: catalog, Unit: federated.UnitList,
		Trust: federated.TrustedCoordinator, Epoch: epoch, Window: week,
		// One list counts at most 20 items, 4 pieces of each, 40 in all, at 2 stores.
		Bounds:  dp.Bounds{L0: 20, LInf: 4, L1: 40, MaxNodes: 2},
		Privacy: dp.Params{Epsilon: 1, Delta: 1e-6, Mechanism: dp.Auto},
		Quorum:  2,
	})
	if err != nil {
		return err
	}
	var nodes []*federated.Node
	for _, s := range stores {
		n, err := federated.NewNode(federated.NodeConfig{
			ID: s, Epoch: epoch, Lists: lists(s), Inventory: federated.Independent(inventory(s)),
			Pseudonym: keys.Scope("demand", epoch), Allow: federated.AllowQueries(q),
		})
		if err != nil {
			return err
		}
		nodes = append(nodes, n)
	}
	ledger, err := dp.NewMemoryLedger(dp.Budget{Epsilon: 1, Delta: 1e-6})
	if err != nil {
		return err
	}
	c, err := federated.NewCoordinator(federated.CoordinatorConfig{
		Transport: federated.InProcess(nodes...), Ledger: ledger,
	})
	if err != nil {
		return err
	}
	release, err := c.Run(ctx, q)
	if err != nil {
		return err
	}
	for cell := range release.Cells() {
		show(cell) // cell.Store, cell.Partition, cell.Value, cell.StdDev, cell.Low, cell.High, …
	}

	again, err := c.Run(ctx, q) // the stored answer; it costs nothing
	if err != nil {
		return err
	}
	fmt.Println(cells, "cells, each with an error bar")
	fmt.Println("coverage:", again.Label().Coverage.Answered, "of", again.Label().Coverage.Asked)
	fmt.Println("protects:", again.Label().Relation)
	return nil
}

// lists yields one store's shopping lists, here two made-up ones.
func lists(s federated.NodeID) federated.Records {
	return func(yield func(federated.Record, error) bool) {
		for i, item := range []string{"milk", "bread"} {
			r := federated.Record{
				ID: fmt.Sprintf("%s-%d", s, i), Stores: []federated.NodeID{s},
				Lines: []federated.Line{{Item: item, Quantity: 2}},
			}
			if !yield(r, nil) {
				return
			}
		}
	}
}

func inventory(federated.NodeID) iter.Seq2[federated.Stock, error] {
	return func(yield func(federated.Stock, error) bool) {
		_ = yield(federated.Stock{Item: "milk", Quantity: 1}, nil) &&
			yield(federated.Stock{Item: "bread", Quantity: 3}, nil)
	}
}

// A custom query: how many lists name a perishable. Only name, version and
// parameters cross the wire; the function is registered at the node.
func ExampleCustom() {
	perishable := federated.Function{
		Name: "lists_with", Version: 1, From: []federated.Kind{federated.Lists},
		Prepare: listsWith,
	}
	q, err := federated.Custom("lists_with", 1, map[string]string{"item": "milk"}, federated.Question{
		Stores: []federated.NodeID{"north"}, Partitions: []string{"yes"},
		From: federated.Lists, Unit: federated.UnitList, Trust: federated.TrustedCoordinator,
		Epoch: "spring-2026", Bounds: dp.Bounds{L0: 1, LInf: 1, L1: 1, MaxNodes: 1},
		Privacy: dp.Params{Epsilon: 1e6, Mechanism: dp.DiscreteLaplace}, // so large that the example has no noise
		Quorum:  1,
	})
	if err != nil {
		log.Fatal(err)
	}
	n, err := federated.NewNode(federated.NodeConfig{
		ID: "north", Epoch: "spring-2026", Lists: lists("north"), Allow: federated.AllowQueries(q),
		Functions: []federated.Function{perishable},
	})
	if err != nil {
		log.Fatal(err)
	}
	ledger, err := dp.NewMemoryLedger(dp.Budget{Epsilon: 1e6})
	if err != nil {
		log.Fatal(err)
	}
	c, err := federated.NewCoordinator(federated.CoordinatorConfig{Transport: federated.InProcess(n), Ledger: ledger})
	if err != nil {
		log.Fatal(err)
	}
	release, err := c.Run(context.Background(), q)
	if err != nil {
		log.Fatal(err)
	}
	for cell := range release.Cells() {
		fmt.Println(q.Name(), cell.Partition, cell.Value)
	}
	// Output:
	// lists_with/1 yes 1
}
