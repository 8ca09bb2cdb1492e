package source_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"strings"

	"github.com/larder-dp/larder/dp"
	"github.com/larder-dp/larder/federated"
	"github.com/larder-dp/larder/federated/source"
)

// Lists go on past a bad line, which is an exception without its values.
func ExampleLists() {
	file := source.File{Name: "lists.json", Open: func() (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader(`[
  {
    "list_id": "l1",
    "list_items": [
      {"category": "Fruit", "item": "pears", "item_id": 11, "quantity": 2},
      {"category": "Fruit", "item": "plums", "item_id": 77, "quantity": 0},
      {"category": "Fruit", "item": "pears", "item_id": 11, "quantity": 1}
    ],
    "store_location_preferences": [501, 502]
  }
]`)), nil
	}}
	catalog := map[string]string{"11": "pears", "12": "figs"}
	exceptions := source.NewExceptionWriter(os.Stdout)
	lists, err := source.Lists(file, source.Options{
		Item:    func(id string) (string, bool) { p, ok := catalog[id]; return p, ok },
		ListKey: []byte("32 secret bytes, the same at all"), // from the chain's key store
		Reject:  exceptions.Write,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for list, err := range lists {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(list.ID, list.Stores, list.Lines)
	}
	if err := exceptions.Flush(); err != nil {
		fmt.Println(err)
	}
	// Output:
	// l1 [501 502] [{pears 2 0} {pears 1 0}]
	// file,line,dropped,reasons
	// lists.json,6,list line,list_items[1].item_id: unknown item; list_items[1].quantity: zero
}

// From the files of a chain to its nodes: every store reads its own part of the
// same two files.
func ExampleStockOf() {
	memory := func(name, content string) source.File { // source.Path is a file on disk
		return source.File{Name: name, Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(content)), nil }}
	}
	options := source.Options{
		ListKey: []byte("32 secret bytes, the same at all"), // from the chain's key store
		Reject:  func(e source.Exception) { fmt.Println(e) },
	}
	lists, err := source.ListsCSV(memory("lists.csv", `list_idx,store_id,item_id,quantity
0,north,pears,5
0,south,pears,5
1,south,figs,2
`), options)
	if err != nil {
		log.Fatal(err)
	}
	inventory, err := source.InventoryCSV(memory("inventory.csv", `store_id,item_id,quantity
north,pears,1
south,pears,9
`), options)
	if err != nil {
		log.Fatal(err)
	}

	question := federated.Question{
		Stores: []federated.NodeID{"north", "south"}, Partitions: []string{"figs", "pears"},
		From: federated.Lists, Unit: federated.UnitList, Trust: federated.TrustedCoordinator, Epoch: "spring-2026",
		Bounds:  dp.Bounds{L0: 10, LInf: 5, L1: 50, MaxNodes: 2},
		Privacy: dp.Params{Epsilon: 1e6, Mechanism: dp.DiscreteLaplace}, // so large that the example has no noise
		Quorum:  2,
	}
	q, err := federated.NetDemand(question)
	if err != nil {
		log.Fatal(err)
	}
	var nodes []*federated.Node
	for _, store := range question.Stores {
		n, err := federated.NewNode(federated.NodeConfig{
			ID: store, Epoch: question.Epoch, Allow: federated.AllowQueries(q),
			Lists:     lists, // a node counts those that name it
			Inventory: federated.Counted(source.StockOf(store, inventory)),
		})
		if err != nil {
			log.Fatal(err)
		}
		nodes = append(nodes, n)
	}

	ledger, err := dp.NewMemoryLedger(dp.Budget{Epsilon: 1e6})
	if err != nil {
		log.Fatal(err)
	}
	c, err := federated.NewCoordinator(federated.CoordinatorConfig{Transport: federated.InProcess(nodes...), Ledger: ledger})
	if err != nil {
		log.Fatal(err)
	}
	release, err := c.Run(context.Background(), q)
	if err != nil {
		log.Fatal(err)
	}
	for cell := range release.Cells() {
		fmt.Println(cell.Store, cell.Partition, cell.Noised, "-", cell.Inventory, "=", cell.Value)
	}
	// Output:
	// north figs 0 - 0 = 0
	// north pears 5 - 1 = 4
	// south figs 2 - 0 = 2
	// south pears 5 - 9 = -4
}

// Products say which department an item of a transaction belongs to.
func ExampleTransactions() {
	memory := func(name, content string) source.File {
		return source.File{Name: name, Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(content)), nil }}
	}
	options := source.Options{Reject: func(e source.Exception) { fmt.Println(e) }}
	products, err := source.Products(memory("products.csv", `product_id,department,product_category
100,BAKERY,ROLLS
101,GARDEN,
`), options)
	if err != nil {
		fmt.Println(err)
		return
	}
	departments := map[string]string{}
	for p, err := range products {
		if err != nil {
			fmt.Println(err)
			return
		}
		departments[p.ID] = p.Department
	}

	options.Item = func(id string) (string, bool) { d, ok := departments[id]; return d, ok }
	sales, err := source.Transactions(memory("transactions.csv", `household_id,store_id,basket_id,product_id,quantity,sales_value,transaction_timestamp
h1,501,b1,100,3,2.97,2017-06-01T09:30:00-0400
h1,501,b1,999,0,1.00,2017-06-01T09:30:00-0400
h2,502,b2,101,1,4.440892e-16,2017-06-01T23:10:00-0400
`), options)
	if err != nil {
		fmt.Println(err)
		return
	}
	for sale, err := range sales {
		if err != nil {
			fmt.Println(err)
			return
		}
		line := sale.Lines[0]
		fmt.Println(sale.Member, sale.Stores[0], line.Item, line.Quantity, line.Spend, sale.Time.Hour())
	}
	// Output:
	// h1 501 BAKERY 3 297 9
	// transactions.csv:3: transaction dropped: product_id: unknown item; quantity: zero
	// h2 502 GARDEN 1 0 23
}
