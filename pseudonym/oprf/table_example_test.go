package oprf_test

import (
	"context"
	"fmt"
	"iter"
	"log"
	"math/rand/v2"
	"time"

	"github.com/larder-dp/larder/dp"
	"github.com/larder-dp/larder/federated"
	"github.com/larder-dp/larder/pseudonym"
	"github.com/larder-dp/larder/pseudonym/oprf"
)

// Three stores count the members whom they have together, each of them once, by
// pseudonyms whose key neither they nor the coordinator ever have. So that an example
// prints the same each time, its key and its noise are fixed: take oprf.Generate, and leave
// Random out.
func ExampleTable() {
	stores := []federated.NodeID{"east", "north", "west"}

	// The key server:
	key, err := oprf.Parse([]byte(`{"version":1,"purpose":"insights","epoch":"2026-W14",` +
		`"seed":"bm90IGEgc2VjcmV0OiBpdCBpcyBhbiBleGFtcGxlISE="}`))
	if err != nil {
		log.Fatal(err)
	}
	server, err := oprf.NewServer(oprf.ServerConfig{
		Keys: []oprf.Key{key}, Clients: []string{"east", "north", "west"}, IDs: 10_000, Window: 24 * time.Hour,
	})
	if err != nil {
		log.Fatal(err)
	}
	public, err := key.PublicKey()
	if err != nil {
		log.Fatal(err)
	}

	// Head office publishes the roster:
	roster, err := pseudonym.Roster{}.Oblivious("insights", "2026-W14", public)
	if err != nil {
		log.Fatal(err)
	}
	published := roster.String()

	// Every store:
	q, err := federated.DistinctMembers(federated.Question{
		Stores: stores, From: federated.Sales, Unit: federated.UnitMember,
		Trust: federated.TrustedCoordinator, Epoch: "2026-W14",
		Privacy: dp.Params{Epsilon: 1, Mechanism: dp.DiscreteLaplace}, Quorum: 3,
	}, 1<<12)
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	var nodes []*federated.Node
	for i, store := range stores {
		sales := salesTo(25*i, 50) // members 0–49, 25–74 and 50–99
		roster, err := pseudonym.ParseRoster([]byte(published))
		if err != nil {
			log.Fatal(err)
		}
		client, err := oprf.NewClient(oprf.ClientConfig{Roster: roster, Purpose: "insights", Epoch: "2026-W14"})
		if err != nil {
			log.Fatal(err)
		}
		table := oprf.NewTable(client)
		err = table.Fill(ctx, members(sales), func(_ context.Context, request []byte) ([]byte, error) {
			return server.Evaluate(time.Now(), string(store), request) // over mutual TLS, by which the server knows the store
		})
		if err != nil {
			log.Fatal(err)
		}
		node, err := federated.NewNode(federated.NodeConfig{
			ID: store, Epoch: "2026-W14", Allow: federated.AllowQueries(q),
			Sales: sales, Pseudonym: table.Pseudonym,
		})
		if err != nil {
			log.Fatal(err)
		}
		nodes = append(nodes, node)
	}

	// The coordinator:
	ledger, err := dp.NewMemoryLedger(dp.Budget{Epsilon: 1})
	if err != nil {
		log.Fatal(err)
	}
	coordinator, err := federated.NewCoordinator(federated.CoordinatorConfig{
		Transport: federated.InProcess(nodes...), Ledger: ledger, Random: rand.NewChaCha8([32]byte{1}),
	})
	if err != nil {
		log.Fatal(err)
	}
	release, err := coordinator.Run(ctx, q)
	if err != nil {
		log.Fatal(err)
	}
	for cell := range release.Cells() {
		fmt.Printf("%d %s (%d to %d), in truth 100\n", cell.Value, cell.Partition, cell.Low, cell.High)
	}
	// Output:
	// 101 members (95 to 112), in truth 100
}

// members are the ids of records, for Fill, which skips those that are empty.
func members(records federated.Records) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for r, err := range records {
			if !yield(r.Member, err) {
				return
			}
		}
	}
}

// salesTo are two sales to each of n members.
func salesTo(first, n int) federated.Records {
	return func(yield func(federated.Record, error) bool) {
		for i := range 2 * n {
			r := federated.Record{ID: fmt.Sprint(i), Member: fmt.Sprint("member ", first+i%n)}
			if !yield(r, nil) {
				return
			}
		}
	}
}
