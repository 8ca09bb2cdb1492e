package dptest_test

import (
	"testing"

	"github.com/larder-dp/larder/dp"
	"github.com/larder-dp/larder/dp/dptest"
)

func TestMemoryLedger(t *testing.T) {
	dptest.LedgerConformance(t, dptest.LedgerKit{New: newMemory})
}

func newMemory(b dp.Budget) (dp.Ledger, error) { return dp.NewMemoryLedger(b) }
