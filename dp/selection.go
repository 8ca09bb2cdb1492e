package dp

import (
	"errors"
	"io"
)

// Selection decides which keys of a key set that depends on the data may be
// published.
type Selection struct{ _ int }

// NewSelection calibrates a selection over per-key unit counts of sensitivity s.
func NewSelection(p Params, s Sensitivity) (Selection, error) {
	return Selection{}, errors.New("calibrate selection: not built yet")
}

// Threshold returns the smallest noised count that is published.
func (s Selection) Threshold() int64 { return 0 }

// Cost returns (ε, δ).
func (s Selection) Cost() Budget { return Budget{} }

// GroupCost is Noise.GroupCost for a selection.
func (s Selection) GroupCost(m int, shape Shape) (Budget, error) { return Budget{}, nil }

// Select reports for every key whether it may be published.
func (s Selection) Select(counts []int64, random io.Reader) ([]bool, error) {
	return nil, errors.New("select partitions: not built yet")
}
