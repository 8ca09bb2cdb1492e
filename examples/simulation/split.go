package main

import (
	"math"

	"github.com/larder-dp/larder/dp"
)

// A part is one use of the run's budget.
type part string

// The parts of a run. Net demand gets four fifths of the budget and the member
// count one fifth, as a count of members needs far less noise than a sum of
// pieces. Where products are selected, net demand's part is shared by the chain
// totals, the selection of the per-store cells, and their values.
const (
	partDemand    part = "demand"    // net demand per store
	partTotals    part = "totals"    // net demand of the chain, noised on its own
	partSelection part = "selection" // which per-store cells are published
	partMembers   part = "members"
)

// weights returns the share of each part, in hundredths of net demand's part
// and the member count's together.
func weights(selects, members bool) map[part]int64 {
	w := map[part]int64{partDemand: 80}
	if selects {
		w = map[part]int64{partTotals: 30, partDemand: 30, partSelection: 20}
	}
	if members {
		w[partMembers] = 20
	}
	return w
}

// partOrder is the order in which split hands out; the last one gets the rest.
var partOrder = []part{partTotals, partSelection, partMembers, partDemand}

// split shares total in proportion to the weights. The shares add up to total
// exactly, as a ledger adds that takes nothing over its budget: each is a
// multiple of total's last binary digit, so that the last share, total − the
// others, is computed without rounding. (A share below that digit is 0, which
// the privacy parameters then refuse; a total has 53 digits.)
//
// values and selection of one query are charged as one sum, which federated
// rounds up by one digit: where there is a selection, it gives that digit.
func split(total float64, w map[part]int64) map[part]float64 {
	_, exponent := math.Frexp(total)
	digit := max(math.Ldexp(1, exponent-53), math.SmallestNonzeroFloat64)
	var sum int64
	for _, v := range w {
		sum += v
	}
	out, left, last := map[part]float64{}, total, part("")
	for _, p := range partOrder {
		if _, ok := w[p]; ok {
			last = p
		}
	}
	for _, p := range partOrder {
		v, ok := w[p]
		switch {
		case !ok:
		case p == last:
			out[p] = left
		default:
			// The quotient rounds to at most total/digit, an integer below 2⁵³.
			out[p] = math.Floor(total/digit*(float64(v)/float64(sum))) * digit
			left -= out[p]
		}
	}
	if s, ok := out[partSelection]; ok && s > digit {
		out[partSelection] = s - digit
	}
	return out
}

// budgets splits both numbers of a budget.
func budgets(total dp.Budget, w map[part]int64) map[part]dp.Budget {
	epsilon, delta := split(total.Epsilon, w), split(total.Delta, w)
	out := map[part]dp.Budget{}
	for p := range w {
		out[p] = dp.Budget{Epsilon: epsilon[p], Delta: delta[p]}
	}
	return out
}
