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
	public, err := key.PublicKey() // into the roster
	if err != nil {
		log.Fatal(err)
	}
	server, err := oprf.NewServer(oprf.ServerConfig{
		Keys: []oprf.Key{key}, Clients: []string{"store-7"}, IDs: 5000, Window: 24 * time.Hour,
	})
	if err != nil {
		log.Fatal(err)
	}

	// The store, from the roster:
	keys, err := pseudonym.Keys{}.Pin("insights", "2026-W14", public)
	if err != nil {
		log.Fatal(err)
	}
	client, err := oprf.NewClient(keys, "insights", "2026-W14")
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

// A federated.NodeConfig wants a function: give it the store's table.
func ExampleBatch_Finalize() {
	key, server, client := setup(100)
	table := map[string][16]byte{} // by canonical id, for one epoch
	members := []string{"Ada", "Bea"}
	batch, request, err := client.Blind(members)
	if err != nil {
		log.Fatal(err)
	}
	response, err := server.Evaluate(time.Now(), "store-7", request)
	if err != nil {
		log.Fatal(err)
	}
	pseudonyms, err := batch.Finalize(response)
	if err != nil {
		log.Fatal(err)
	}
	for i, member := range members {
		id, _ := pseudonym.Canonical(member) // Blind has refused what is malformed
		table[id] = pseudonyms[i]
	}
	lookup := func(member string) ([16]byte, error) {
		id, err := pseudonym.Canonical(member)
		if err != nil {
			return [16]byte{}, err
		}
		p, ok := table[id]
		if !ok {
			return [16]byte{}, errors.New("find pseudonym: not asked for yet")
		}
		return p, nil
	}
	p, err := lookup(" ADA ")
	fmt.Println(p == pseudonyms[0], err)

	response[100] ^= 1 // a key server, or a wire, that is not honest
	_, err = batch.Finalize(response)
	fmt.Println(errors.Is(err, oprf.ErrProof) || errors.Is(err, oprf.ErrMessage))
	_ = key
	// Output:
	// true <nil>
	// true
}

func ExampleLimitError() {
	_, server, client := setup(2)
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

func setup(ids int) (oprf.Key, *oprf.Server, *oprf.Client) {
	key, err := oprf.Generate("insights", "2026-W14")
	if err != nil {
		log.Fatal(err)
	}
	public, err := key.PublicKey()
	if err != nil {
		log.Fatal(err)
	}
	keys, err := pseudonym.Keys{}.Pin("insights", "2026-W14", public)
	if err != nil {
		log.Fatal(err)
	}
	client, err := oprf.NewClient(keys, "insights", "2026-W14")
	if err != nil {
		log.Fatal(err)
	}
	server, err := oprf.NewServer(oprf.ServerConfig{
		Keys: []oprf.Key{key}, Clients: []string{"store-7"}, IDs: ids, Window: 24 * time.Hour,
	})
	if err != nil {
		log.Fatal(err)
	}
	return key, server, client
}
