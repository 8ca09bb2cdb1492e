package ledger_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	_ "modernc.org/sqlite" // the caller chooses the driver

	"github.com/larder-dp/larder/dp"
	"github.com/larder-dp/larder/dp/ledger"
)

// Two processes keep one budget in one database. With PostgreSQL the driver is
// github.com/jackc/pgx/v5/stdlib, and the rest is the same.
func ExampleOpenSQL() {
	dir := must(os.MkdirTemp("", "ledger"))
	defer os.RemoveAll(dir)
	ctx, dsn := context.Background(), "file:"+filepath.Join(dir, "ledger.db")+"?_pragma=journal_mode(WAL)"
	db := must(sql.Open("sqlite", dsn))
	defer db.Close()
	one := must(ledger.CreateSQL(ctx, db, ledger.SQLite, ledger.Config{Budget: dp.Budget{Epsilon: 1}}))

	elsewhere := must(sql.Open("sqlite", dsn))
	defer elsewhere.Close()
	other := must(ledger.OpenSQL(ctx, elsewhere, ledger.SQLite, ledger.Config{}))

	must(one.Reserve(ctx, charge(1)))
	fmt.Println("stored:", one.Commit(ctx, charge(1).Key, []byte("417 members, ± 8")))
	fmt.Printf("the other finds: %s\n", must(other.Lookup(ctx, charge(1).Key)).Release)
	must(other.Reserve(ctx, charge(2)))
	_, err := one.Reserve(ctx, charge(3))
	var refused *dp.BudgetError
	if errors.As(err, &refused) {
		fmt.Printf("refused: at most ε = %.3g would pass\n", refused.Largest.Epsilon)
	}
	h, err := ledger.VerifySQL(ctx, db, ledger.SQLite, other.Head())
	fmt.Println("verified:", h == other.Head(), err)
	// Output:
	// stored: <nil>
	// the other finds: 417 members, ± 8
	// refused: at most ε = 0.25 would pass
	// verified: true <nil>
}
