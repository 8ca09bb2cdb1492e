package ledger

import "time"

// This file is the package's only clock.

func now() time.Time { return time.Now() }
