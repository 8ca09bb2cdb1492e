package dp

import (
	"errors"
	"fmt"
	"math"
	"math/bits"
)

// Limits of a Bounds. They keep every sum and every sensitivity inside int64:
// a node holds at most 2³² units, so that units · LInf < 2⁶².
const (
	maxLInf = 1 << 30
	maxL0   = 1 << 30
	maxSum  = 1 << 62 // no cell of a vector ever exceeds it
)

// Bounds limits what one privacy unit contributes. The same value clips the
// contributions at a node and scales the noise at the coordinator: nobody
// passes a sensitivity by hand.
//
// All four are counts, at least 1; zero is an error, never a default.
type Bounds struct {
	// L0 is the largest number of partitions that one unit touches at one node.
	L0 int64 `json:"l0"`
	// LInf is the largest amount, in the query's unit of measure, that one unit
	// adds to one partition at one node. At most 2³⁰.
	LInf int64 `json:"linf"`
	// L1 is the largest total that one unit adds over all partitions at one
	// node. At most L0·LInf (a larger one would be a bound that never binds).
	L1 int64 `json:"l1"`
	// MaxNodes is the largest number of nodes at which one unit counts.
	MaxNodes int64 `json:"max_nodes"`
}

// A Shape says how the vectors of several nodes meet in what is noised.
type Shape int

const (
	// Disjoint: every node has cells of its own (one cell a store and item).
	Disjoint Shape = iota + 1
	// Summed: the vectors are added up before the noise, so that one unit may
	// hit the same cell at every one of its nodes.
	Summed
)

// Sensitivity is how far one privacy unit can move a vector of int64: the
// largest change over all pairs of neighbouring datasets (add or remove one
// unit).
type Sensitivity struct {
	// L0 is the number of cells that can change.
	L0 int64 `json:"l0"`
	// L1 is the largest sum of absolute changes.
	L1 int64 `json:"l1"`
	// L2Squared is the largest sum of squared changes; kept squared because it
	// is an integer.
	L2Squared int64 `json:"l2_squared"`
	// LInf is the largest change of one cell.
	LInf int64 `json:"linf"`
}

// Validate reports every field that is out of range.
func (b Bounds) Validate() error {
	var errs []error
	check := func(name string, v, max int64) {
		if v < 1 || v > max {
			errs = append(errs, fmt.Errorf("%s is %d: give a whole number from 1 to %d", name, v, max))
		}
	}
	check("L0", b.L0, maxL0)
	check("LInf", b.LInf, maxLInf)
	check("MaxNodes", b.MaxNodes, math.MaxInt32)
	if len(errs) == 0 {
		check("L1", b.L1, b.L0*b.LInf)
	}
	if len(errs) == 0 {
		if _, err := b.sensitivity(Summed); err != nil {
			errs = append(errs, err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("check bounds: %w", err)
	}
	return nil
}

// Clip bounds one unit's amounts at one node, in place: every amount to
// [0, LInf], the first L0 that are not zero kept and the others set to zero,
// then the total cut to L1 from the front. The order of amounts is the order
// of preference; a node orders them by a keyed pseudorandom function, never by
// row order. A negative amount counts as zero.
func (b Bounds) Clip(amounts []int64) {
	kept, left := int64(0), b.L1
	for i, a := range amounts {
		a = min(max(a, 0), b.LInf, left)
		if a == 0 || kept == b.L0 {
			amounts[i] = 0
			continue
		}
		amounts[i] = a
		kept++
		left -= a
	}
}

// Sensitivity returns how far one unit can move the vectors of all nodes
// together.
//
// One node. The clipped contribution x of one unit has at most L0 entries that
// are not zero, each in [0, LInf], of total at most L1. Adding or removing the
// unit changes the node's vector by exactly x, so the L1 change is at most
// min(L1, L0·LInf). Σx² is convex, so over this polytope it is largest at a
// vertex: q entries of LInf and one of the rest r, with q = ⌊L1/LInf⌋ and
// r = L1 − q·LInf (q ≤ L0 because L1 ≤ L0·LInf), which gives q·LInf² + r².
//
// MaxNodes nodes. The unit counts at no more than MaxNodes of them. If their
// cells are Disjoint, the changes stand side by side: L1, L0 and L2Squared
// grow by the factor MaxNodes. If the vectors are Summed, all changes may fall
// on the same cells: L1 and LInf grow by MaxNodes, and L2 by MaxNodes, so
// L2Squared by MaxNodes². The nodes choose their L0 partitions independently,
// so up to L0·MaxNodes cells can change in either shape.
func (b Bounds) Sensitivity(s Shape) (Sensitivity, error) {
	if err := b.Validate(); err != nil {
		return Sensitivity{}, err
	}
	if s != Disjoint && s != Summed {
		return Sensitivity{}, fmt.Errorf("compute sensitivity: shape %d is neither Disjoint nor Summed", s)
	}
	return b.sensitivity(s)
}

func (b Bounds) sensitivity(s Shape) (Sensitivity, error) {
	l1 := min(b.L1, b.L0*b.LInf)
	q, r := l1/b.LInf, l1%b.LInf
	hi, full := bits.Mul64(uint64(q), uint64(b.LInf*b.LInf))
	if hi != 0 || full > maxSum {
		return Sensitivity{}, fmt.Errorf("L1·LInf overflows: lower LInf or L1")
	}
	m, over := b.MaxNodes, false
	times := func(x, y int64) int64 {
		hi, lo := bits.Mul64(uint64(x), uint64(y))
		over = over || hi != 0 || lo > maxSum
		return int64(lo)
	}
	out := Sensitivity{
		L0:        times(b.L0, m),
		L1:        times(l1, m),
		L2Squared: times(int64(full)+r*r, m),
		LInf:      min(b.LInf, l1),
	}
	if s == Summed {
		out.LInf = times(out.LInf, m)
		out.L2Squared = times(out.L2Squared, m)
	}
	if over {
		return Sensitivity{}, fmt.Errorf("the sensitivity over %d nodes overflows: lower LInf, L1 or MaxNodes", m)
	}
	return out, nil
}

// validate refuses a sensitivity that no Bounds yields.
func (s Sensitivity) validate() error {
	for _, f := range []struct {
		name string
		v    int64
	}{{"L0", s.L0}, {"L1", s.L1}, {"L2Squared", s.L2Squared}, {"LInf", s.LInf}} {
		if f.v < 1 || f.v > maxSum {
			return fmt.Errorf("check sensitivity: %s is out of range: take it from Bounds.Sensitivity", f.name)
		}
	}
	return nil
}
