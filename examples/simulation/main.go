// Simulation runs a whole chain in one process: stores with members, shopping
// lists, sales and inventory, each a real node, and a real coordinator that asks
// them for net demand and for the number of members. It prints the worst
// shortages with their error bars, what they cost in privacy, and, as only a
// simulation can, how far the noised answer is from the truth.
//
//	go run ./examples/simulation
//	go run ./examples/simulation -stores 30 -epsilon 0.5 -out result
//	go run ./examples/simulation -data DIR -format lists
//
// Without -data the chain is made up from -seed, which fixes the world and
// never the noise. With -data it reads a folder of real or sample data, and the
// truth is then told only under -evaluate, into OUT/simulation-only.
//
// The privacy budget (-epsilon, -delta) is that of the whole run. split.go says
// how the releases share it, and the output repeats it. With -ledger FILE the
// budget of the data outlives the run: the same question again is answered from
// the file, with the same bytes and at no cost, and what is spent is refused.
//
// Exit codes: 0, done; 1, the run failed and no number was released (such as
// below the quorum); 2, the flags make no sense, or -data lacks a file.
package main

import (
	"context"
	"os"
	"os/signal"

	"github.com/larder-dp/larder/dp"
	"github.com/larder-dp/larder/federated"
)

// The defaults. Each is printed with the answer.
var defaults = options{
	demand:    federated.Lists,
	stores:    12,
	members:   20_000,
	lists:     20_000,
	seed:      1,
	epsilon:   1,
	delta:     1e-6,
	mechanism: dp.Auto,
	maxItems:  20,
	// The quantities of a list line are 1 to 4, so this clips only repeated
	// items.
	maxQuantity: 4,
	round:       1,
	// maxTotal 0 stands for maxItems × maxQuantity, and maxNodes 0 for two, or
	// one where the privacy unit is a member at one store.
}

// quorum is the least number of nodes that must answer: two thirds, rounded up.
func quorum(stores int) int { return (2*stores + 2) / 3 }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}
