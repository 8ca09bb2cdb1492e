package privacyteam

import (
	"context"
	"fmt"
	"io"

	"github.com/larder-dp/larder/dp"
)

// Days are the public keys of Visits.
var Days = []string{"Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"}

// A Member is all that one member did in a week: the day (0 to 6) of each visit.
type Member struct{ Visits []int }

// VisitBounds say how much of a member counts: two visits a day, on three days.
var VisitBounds = dp.Bounds{L0: 3, LInf: 2, L1: 6, MaxNodes: 1}

// Visits is one shop's footfall by day, a computation beside the federation with
// a mechanism of package dp.
type Visits struct {
	Noise dp.Noise
	// Half is half the width of the error bars.
	Half int64
}

// NewVisits calibrates it.
func NewVisits(p dp.Params, confidence float64) (Visits, error) {
	s, err := VisitBounds.Sensitivity(dp.Disjoint)
	if err != nil {
		return Visits{}, fmt.Errorf("bound visits: %w", err)
	}
	n, err := dp.Calibrate(p, s)
	if err != nil {
		return Visits{}, fmt.Errorf("calibrate visits: %w", err)
	}
	half, _, err := n.Interval(1, confidence)
	return Visits{n, half}, err
}

// Sum adds up the members, each bounded on its own.
func (v Visits) Sum(members []Member) []int64 {
	sums := make([]int64, len(Days))
	for _, m := range members {
		days := make([]int64, len(Days))
		for _, day := range m.Visits {
			if day >= 0 && day < len(days) {
				days[day]++
			}
		}
		VisitBounds.Clip(days)
		for i, n := range days {
			sums[i] += n
		}
	}
	return sums
}

// Publish sums up and has add put noise on the sums: Noised in production, a
// recorder in a test.
func (v Visits) Publish(members []Member, add func(sums []int64) error) ([]int64, error) {
	sums := v.Sum(members)
	if err := add(sums); err != nil {
		return nil, fmt.Errorf("publish visits: %w", err)
	}
	return sums, nil
}

// Noised returns what adds the noise of v. Give it crypto/rand.Reader.
func (v Visits) Noised(random io.Reader) func(sums []int64) error {
	return func(sums []int64) error { return v.Noise.Add(context.Background(), sums, random) }
}
