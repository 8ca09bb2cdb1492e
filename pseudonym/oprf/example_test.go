package oprf_test

import (
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/larder-dp/larder/pseudonym"
	"github.com/larder-dp/larder/pseudonym/oprf"
)

func Example() {
	// The key server, once for a scope:
	key, err := oprf.Generate("insights", "2026-W14")
	if err != nil {
		log.Fatal(err)
	}
	public, err := key.PublicKey()
	if err != nil {
		log.Fatal(err)
	}
	server, err := oprf.NewServer(oprf.ServerConfig{
		Keys: []oprf.Key{key}, Clients: []string{"store-7"}, IDs: 5000, Window: 24 * time.Hour,
	})
	if err != nil {
		log.Fatal(err)
	}

	// Head office, which publishes it:
	roster, err := pseudonym.Roster{}.Oblivious("insights", "2026-W14", public)
	if err != nil {
		log.Fatal(err)
	}

	// The store:
	client, err := oprf.NewClient(oprf.ClientConfig{Roster: roster, Purpose: "insights", Epoch: "2026-W14"})
	if err != nil {
		log.Fatal(err)
	}
	members := []string{"Ada@Example.com", "bea@example.com", "ada@example.com"}
	batch, request, err := client.Blind(members)
	if err != nil {
		log.Fatal(err)
	}
	// request ──▶ the key server, which knows by mutual TLS who asks
	response, err := server.Evaluate(time.Now(), "store-7", request)
	if err != nil {
		log.Fatal(err)
	}
	// ◀── response
	pseudonyms, err := batch.Finalize(response)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("one member:", pseudonyms[0] == pseudonyms[2])
	fmt.Println("two members:", pseudonyms[0] == pseudonyms[1])
	fmt.Println(key, batch)
	// Output:
	// one member: true
	// two members: false
	// oprf(redacted) oprf(redacted)
}

func ExampleBatch_Finalize() {
	server, client := setup(100)
	batch, request, err := client.Blind([]string{"Ada", "Bea"})
	if err != nil {
		log.Fatal(err)
	}
	response, err := server.Evaluate(time.Now(), "store-7", request)
	if err != nil {
		log.Fatal(err)
	}
	response[100] ^= 1 // a key server, or a wire, that is not honest
	pseudonyms, err := batch.Finalize(response)
	fmt.Println(errors.Is(err, oprf.ErrProof) || errors.Is(err, oprf.ErrMessage), len(pseudonyms))
	// Output: true 0
}

func ExampleLimitError() {
	server, client := setup(2)
	now := time.Date(2026, 4, 1, 12, 0, 0, 0, time.UTC)
	_, request, err := client.Blind([]string{"ada", "bea"})
	if err != nil {
		log.Fatal(err)
	}
	_, err = server.Evaluate(now, "store-7", request)
	fmt.Println(err)
	_, err = server.Evaluate(now.Add(time.Hour), "store-7", request)
	var limit *oprf.LimitError
	if errors.As(err, &limit) {
		fmt.Println("wait", limit.RetryAfter)
	}
	fmt.Println(err)
	// Output:
	// <nil>
	// wait 23h0m0s
	// evaluate batch: limit of 2 ids in 24h0m0s is reached: try again in 23h0m0s
}

func ExampleKey_Export() {
	key, err := oprf.Generate("insights", "2026-W14")
	if err != nil {
		log.Fatal(err)
	}
	secret, err := key.Export() // into a file of mode 0600 at the key server, and nowhere else
	if err != nil {
		log.Fatal(err)
	}
	again, err := oprf.Parse(secret)
	if err != nil {
		log.Fatal(err)
	}
	a, _ := key.PublicKey()
	b, _ := again.PublicKey()
	fmt.Println(a == b)
	// Output: true
}

func setup(ids int) (*oprf.Server, *oprf.Client) {
	key, err := oprf.Generate("insights", "2026-W14")
	if err != nil {
		log.Fatal(err)
	}
	public, err := key.PublicKey()
	if err != nil {
		log.Fatal(err)
	}
	roster, err := pseudonym.Roster{}.Oblivious("insights", "2026-W14", public)
	if err != nil {
		log.Fatal(err)
	}
	client, err := oprf.NewClient(oprf.ClientConfig{Roster: roster, Purpose: "insights", Epoch: "2026-W14"})
	if err != nil {
		log.Fatal(err)
	}
	server, err := oprf.NewServer(oprf.ServerConfig{
		Keys: []oprf.Key{key}, Clients: []string{"store-7"}, IDs: ids, Window: 24 * time.Hour,
	})
	if err != nil {
		log.Fatal(err)
	}
	return server, client
}
