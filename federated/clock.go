package federated

import "time"

// now is the package's only clock.
func now() time.Time { return time.Now() }
