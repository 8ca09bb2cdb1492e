package privacyteam

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/larder-dp/larder/dp"
)

// Metrics count what Watched ledgers do. They are public: nothing in them may
// depend on a record. The zero value is ready.
type Metrics struct {
	mu                         sync.Mutex
	charged, refused, released int
}

// Page returns the metrics in the form of Prometheus.
func (m *Metrics) Page() []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	return fmt.Appendf(nil, "charged_total %d\nrefused_total %d\nreleased_total %d\n", m.charged, m.refused, m.released)
}

func (m *Metrics) add(to *int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	*to++
}

// A Watched ledger is any ledger, with metrics.
type Watched struct {
	dp.Ledger
	Metrics *Metrics
}

// Reserve charges, and counts the charge or the refusal.
func (l Watched) Reserve(ctx context.Context, c dp.Charge) (dp.Entry, error) {
	e, err := l.Ledger.Reserve(ctx, c)
	var over *dp.BudgetError
	switch {
	case err == nil:
		l.Metrics.add(&l.Metrics.charged)
	case errors.As(err, &over):
		l.Metrics.add(&l.Metrics.refused)
	}
	return e, err
}

// Commit stores a release, and counts it.
func (l Watched) Commit(ctx context.Context, k dp.Key, release []byte) error {
	err := l.Ledger.Commit(ctx, k, release)
	if err == nil {
		l.Metrics.add(&l.Metrics.released)
	}
	return err
}
