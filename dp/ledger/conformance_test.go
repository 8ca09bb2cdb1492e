package ledger

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/larder-dp/larder/dp"
	"github.com/larder-dp/larder/dp/dptest"
)

func TestFileConformance(t *testing.T) {
	dptest.LedgerConformance(t, dptest.LedgerKit{
		New: func(b dp.Budget) (dp.Ledger, error) {
			l, err := Create(filepath.Join(t.TempDir(), "ledger"), Config{Budget: b})
			if err == nil {
				t.Cleanup(func() { require.NoError(t, l.Close()) })
			}
			return l, err
		},
		Reopen: func(l dp.Ledger) (dp.Ledger, error) {
			next, err := Open(copied(t, l.(*File)), Config{})
			if err == nil {
				t.Cleanup(func() { require.NoError(t, next.Close()) })
			}
			return next, err
		},
	})
}
