package ledger

import (
	"context"
	"time"
)

// This file is the package's only clock.

func now() time.Time { return time.Now() }

// pause returns after d, or when ctx ends, whose error it returns then.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
