package ledger_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/larder-dp/larder/dp"
	"github.com/larder-dp/larder/dp/ledger"
)

// charge is a question that costs ε = 0.375 of the budget of members.
func charge(round int64) dp.Charge {
	return dp.Charge{
		Key:  dp.Key{Epoch: "2026-w14", Round: round, Digest: [32]byte{1}},
		Unit: "member", Cost: dp.Budget{Epsilon: 0.375},
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// A charge is durable before any noise is drawn, the release before anyone sees
// it, and both outlive the process.
func Example() {
	dir := must(os.MkdirTemp("", "ledger"))
	defer os.RemoveAll(dir)
	ctx, path := context.Background(), filepath.Join(dir, "ledger")
	l := must(ledger.Create(path, ledger.Config{Budget: dp.Budget{Epsilon: 1}}))

	c := charge(1)
	must(l.Reserve(ctx, c)) // before the noise
	release := []byte("417 members, ± 8")
	fmt.Println("stored:", l.Commit(ctx, c.Key, release)) // before anyone sees it
	fmt.Println("closed:", l.Close())

	// Later, in another process: the same question costs nothing.
	l = must(ledger.Open(path, ledger.Config{}))
	defer l.Close()
	_, err := l.Reserve(ctx, c)
	fmt.Println("charged again:", !errors.Is(err, dp.ErrAlreadyCharged))
	fmt.Printf("answer: %s\n", must(l.Lookup(ctx, c.Key)).Release)
	fmt.Println("more of these:", must(ledger.HowMany(ctx, l, c)))

	must(l.Reserve(ctx, charge(2)))
	_, err = l.Reserve(ctx, charge(3))
	var refused *dp.BudgetError
	if errors.As(err, &refused) {
		fmt.Printf("refused: at most ε = %.3g would pass\n", refused.Largest.Epsilon)
	}
	// Output:
	// stored: <nil>
	// closed: <nil>
	// charged again: false
	// answer: 417 members, ± 8
	// more of these: 1
	// refused: at most ε = 0.25 would pass
}

// A window limits the pace. That it refills does not undo what was spent, and
// the report says so.
func Example_window() {
	dir := must(os.MkdirTemp("", "ledger"))
	defer os.RemoveAll(dir)
	ctx := context.Background()
	today := time.Date(2026, 4, 1, 9, 0, 0, 0, time.UTC)
	l := must(ledger.Create(filepath.Join(dir, "ledger"), ledger.Config{
		Budget: dp.Budget{Epsilon: 2},
		Windows: []ledger.Window{{
			Name: "week", Start: time.Date(2026, 3, 30, 0, 0, 0, 0, time.UTC), Every: 7 * 24 * time.Hour,
			Budget: dp.Budget{Epsilon: 0.5},
		}},
		Clock: func() time.Time { return today },
	}))
	defer l.Close()
	must(l.Reserve(ctx, charge(1)))
	_, err := l.Reserve(ctx, charge(2))
	var refused *dp.BudgetError
	if errors.As(err, &refused) {
		fmt.Println("the same passes from", refused.After.Format(time.DateOnly))
		today = refused.After
	}
	must(l.Reserve(ctx, charge(2)))
	fmt.Print(must(l.Report(ctx, "2026-w14", "member")))
	// Output:
	// the same passes from 2026-04-06
	// Unit member in epoch "2026-w14": 2 charges spent ε=0.75 δ=0 of ε=2 δ=0. Left now: ε=0.125 δ=0.
	// Without a release: 2 charges, under way or interrupted. What was reserved stays spent.
	//   week from 2026-03-30 00:00:00 to 2026-04-06 00:00:00: ε=0.375 δ=0 of ε=0.5 δ=0
	//   week from 2026-04-06 00:00:00 to 2026-04-13 00:00:00: ε=0.375 δ=0 of ε=0.5 δ=0
	// The window week was refilled 1 time. A refill protects nobody anew: whoever is in the same rows all along has lost ε=0.75 δ=0, the sum of all windows, and not the ε=0.5 δ=0 of one.
}

// A node that keeps the head of every release notices when a coordinator comes
// back with an older ledger.
func ExampleVerify() {
	dir := must(os.MkdirTemp("", "ledger"))
	defer os.RemoveAll(dir)
	ctx, path := context.Background(), filepath.Join(dir, "ledger")
	l := must(ledger.Create(path, ledger.Config{Budget: dp.Budget{Epsilon: 1}}))
	defer l.Close()
	must(l.Reserve(ctx, charge(1)))
	backup := must(os.ReadFile(path))
	e := must(l.Reserve(ctx, charge(2)))
	seen := ledger.Head{Hash: e.Head} // from the label of the release

	_, err := ledger.Verify(path, seen)
	fmt.Println("the ledger:", err)
	old := filepath.Join(dir, "backup")
	if err := os.WriteFile(old, backup, 0o600); err != nil {
		panic(err)
	}
	_, err = ledger.Verify(old, seen)
	fmt.Println("the backup is rolled back:", errors.Is(err, ledger.ErrRolledBack))
	// Output:
	// the ledger: <nil>
	// the backup is rolled back: true
}
