package dptest_test

import (
	"errors"
	"maps"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/larder-dp/larder/dp"
	"github.com/larder-dp/larder/dp/dptest"
)

// A row is one line of a member's list.
type row struct {
	Item   int
	Amount int64
	Price  float64
}

type node struct {
	Value float64
	Next  *node
}

// A member is a privacy unit with all rows.
type member struct{ Rows []row }

const items = 5

var (
	itemKeys = []string{"0", "1", "2", "3", "4"}
	bounds   = dp.Bounds{L0: 2, LInf: 3, L1: 5, MaxNodes: 1}
)

func drawMembers(r *rand.Rand) []member {
	members := make([]member, r.IntN(5))
	for i := range members {
		for range r.IntN(6) {
			x := row{r.IntN(items), dptest.Int64(r), dptest.Float64(r)}
			if r.IntN(2) == 0 { // as others have
				x = row{r.IntN(items), 1, 1}
			}
			members[i].Rows = append(members[i].Rows, x)
		}
	}
	return members
}

// demand is a bounded sum by item, right until one of its faults is switched on.
func demand(fault string) func(members []member, rec *dptest.Recorder) (any, error) {
	largest := make([]int64, items)
	return func(members []member, rec *dptest.Recorder) (any, error) {
		s, err := bounds.Sensitivity(dp.Disjoint)
		if err != nil {
			return nil, err
		}
		sums, counts := make([]int64, items), map[string]int64{}
		bounded := members
		switch fault {
		case "bounded by row, not by unit":
			bounded = nil
			for _, m := range members {
				for _, r := range m.Rows {
					bounded = append(bounded, member{[]row{r}})
				}
			}
		case "equal rows of different units are one":
			seen := map[row]bool{}
			bounded = nil
			for _, m := range members {
				var own []row
				for _, r := range m.Rows {
					if !seen[r] {
						own = append(own, r)
					}
					seen[r] = true
				}
				bounded = append(bounded, member{own})
			}
		}
		for i, m := range bounded {
			if fault == "every second member, by place" && i%2 == 1 {
				continue
			}
			amounts := make([]int64, items)
			for _, r := range m.Rows {
				amounts[r.Item] += min(max(r.Amount, 0), bounds.LInf)
			}
			switch fault {
			case "LInf is not enforced":
			case "L0 is not enforced":
				for i, a := range amounts {
					amounts[i] = min(max(a, 0), bounds.LInf)
				}
			case "clipped from above only":
				for _, r := range m.Rows {
					amounts[r.Item] = min(r.Amount, bounds.LInf)
				}
			case "clipped before the sum only":
			case "an amount of the unit decides who is counted":
				if slices.Max(amounts) > 100 {
					bounded = nil
				}
				bounds.Clip(amounts)
			case "the item that most have is kept":
				bounds.Clip(amounts)
				best := 0
				for i, a := range amounts {
					if a > 0 && (amounts[best] == 0 || counts[itemKeys[i]] > counts[itemKeys[best]]) {
						best = i
					}
				}
				kept := amounts[best]
				clear(amounts)
				amounts[best] = kept
			default:
				bounds.Clip(amounts)
			}
			for i, a := range amounts {
				sums[i] += a
				if a > 0 {
					counts[itemKeys[i]]++
				}
			}
		}
		keys := itemKeys
		declared := s
		switch fault {
		case "declared by LInf alone":
			declared.L1 = bounds.LInf
		case "L2 declared where its square is due":
			declared.L2Squared = int64(math.Ceil(math.Sqrt(float64(s.L2Squared))))
		case "L0 declared for one item":
			declared.L0 = 1
		case "the item that most have is kept":
			declared = dp.Sensitivity{L0: 1, L1: bounds.LInf, L2Squared: bounds.LInf * bounds.LInf, LInf: bounds.LInf}
		case "shares of the true total":
			total := int64(1)
			for _, v := range sums {
				total += v
			}
			for i, v := range sums {
				sums[i] = 100 * v / total
			}
		case "the largest totals of all runs":
			for i, v := range sums {
				largest[i] = max(largest[i], v)
			}
			copy(sums, largest)
		case "declared by the largest member":
			declared.L1 = max(slices.Max(sums), 1)
		case "keys of the data alone":
			keys = nil
			var some []int64
			for i, v := range sums {
				if v > 0 {
					keys, some = append(keys, itemKeys[i]), append(some, v)
				}
			}
			sums = some
		case "keys in the order of a map":
			at := map[string]int64{}
			for i, k := range itemKeys {
				at[k] = sums[i]
			}
			keys, sums = nil, nil
			for k, v := range at {
				keys, sums = append(keys, k), append(sums, v)
			}
		case "an error where there is no data":
			if slices.Max(sums) == 0 {
				return nil, errors.New("no demand")
			}
		case "an error for a bad record":
			for _, m := range members {
				for _, r := range m.Rows {
					if math.IsNaN(r.Price) {
						return nil, errors.New("bad record")
					}
				}
			}
		case "a panic on a large amount":
			for _, m := range members {
				for _, r := range m.Rows {
					_ = make([]byte, min(max(r.Amount, 0), 1<<40)>>39)[min(max(r.Amount, 0), 1<<40)>>40:]
					if r.Amount == math.MaxInt64 {
						panic("overflow")
					}
				}
			}
		case "a second question where the first is large":
			if sums[0] > 4 {
				rec.Add("detail", itemKeys, slices.Clone(sums), s)
			}
		}
		truth := slices.Clone(sums)
		switch fault {
		case "one cell misses the noise":
			rec.Add("demand", keys[1:], sums[1:], declared)
		case "zeros stay zeros":
			rec.Add("demand", keys, sums, declared)
			for i := range sums {
				if truth[i] == 0 {
					sums[i] = 0
				}
			}
		default:
			rec.Add("demand", keys, sums, declared)
		}
		offered := slices.Sorted(maps.Keys(counts))
		if fault == "selection over keys in the order of a map" {
			offered = slices.Collect(maps.Keys(counts))
		}
		unit := dp.Sensitivity{L0: bounds.L0, L1: bounds.L0, L2Squared: bounds.L0, LInf: 1}
		if fault == "selection counts amounts" {
			for i, k := range itemKeys {
				counts[k] = truth[i]
			}
			offered = itemKeys
		}
		n := make([]int64, len(offered))
		for i, k := range offered {
			n[i] = counts[k]
		}
		var published []string
		for i, ok := range rec.Select("items", offered, n, unit) {
			if ok {
				published = append(published, offered[i])
			}
		}
		type release struct {
			Keys   []string
			Values []int64
			Extra  any
		}
		out := release{Keys: published, Values: sums}
		switch fault {
		case "the number of members beside":
			out.Extra = len(members)
		case "what clipping removed beside":
			clipped := 0
			for _, m := range members {
				for _, r := range m.Rows {
					if r.Amount > bounds.LInf {
						clipped++
					}
				}
			}
			out.Extra = clipped
		case "the sign of a zero beside":
			out.Extra = math.Copysign(0, float64(truth[0])-2.5)
		case "keys that did not pass published as zeros":
			at := map[string]int64{}
			for _, k := range offered {
				at[k] = 0
			}
			out.Extra = at
		case "a mean, a ring and a NaN of the answers beside": // sound
			mean, ring := float64(sums[0])/float64(min(sums[1], 0)), &node{Value: math.NaN()}
			ring.Next = &node{Value: mean, Next: ring}
			out.Extra = ring
		case "its input clipped in place": // sound
			for _, m := range members {
				for i := range m.Rows {
					m.Rows[i].Amount = min(max(m.Rows[i].Amount, 0), bounds.LInf)
				}
			}
		case "the capacity of a slice beside":
			out.Extra = cap(published) > 2 && len(offered) > 3
		case "all offered keys published":
			out.Keys = offered
		case "no release where noise is far off":
			if max(sums[0]-truth[0], truth[0]-sums[0]) > 20 {
				return nil, errors.New("the answer is not accurate")
			}
		}
		return out, nil
	}
}

// spending is a bounded sum of prices, clipped to [lower, upper] in whole numbers.
func spending(fault string) func(members []member, rec *dptest.Recorder) (any, error) {
	return func(members []member, rec *dptest.Recorder) (any, error) {
		lower, upper := int64(-8), int64(3)
		limit := max(lower, -lower, upper, -upper)
		switch fault {
		case "the width of the range for its far end":
			limit = (upper - lower) / 2
		case "|L| for max(|L|, |U|)":
			lower, upper = -3, 8
			limit = 3
		}
		clip := func(x float64) float64 {
			if fault == "NaN through a clamp" {
				if x < float64(lower) {
					return float64(lower)
				}
				if x > float64(upper) {
					return float64(upper)
				}
				return x
			}
			if !(x >= float64(lower)) {
				return float64(lower)
			}
			return math.Min(x, float64(upper))
		}
		var sum, whole float64
		total := int64(0)
		for _, m := range members {
			x := 0.0
			for _, r := range m.Rows {
				if !math.IsNaN(r.Price) && !math.IsInf(r.Price, 0) || fault == "NaN through a clamp" {
					x += r.Price
				}
			}
			x = clip(x)
			sum += x
			whole += math.Round(x)
			switch fault {
			case "rounded away from zero after the clip":
				total += int64(math.Copysign(math.Ceil(math.Abs(x)+0.5), x))
			default:
				total += int64(math.Round(x))
			}
		}
		s := dp.Sensitivity{L0: 1, L1: limit, L2Squared: limit * limit, LInf: limit}
		switch fault {
		case "rounded in steps of ten after the sum":
			total = int64(math.Round(sum/10)) * 10
		case "NaN through a clamp":
			total = int64(sum)
		case "a mean, at the sensitivity of a sum over n":
			if len(members) > 0 {
				total = 1000 * total / int64(len(members))
				s.L1 = 1000 * limit / int64(len(members))
				s.LInf, s.L2Squared = s.L1, s.L1*s.L1
			}
		}
		value := []int64{total}
		rec.Add("spending", []string{"all"}, value, s)
		return value, nil
	}
}

func sensitivities() (builds []dptest.Sabotage) {
	for _, row := range [][2]string{
		{"bounded by row, not by unit", "known bugs"},
		{"equal rows of different units are one", "known bugs: dedupe before bounding"},
		{"LInf is not enforced", "known bugs"},
		{"L0 is not enforced", "known bugs"},
		{"clipped from above only", "known bugs"},
		{"clipped before the sum only", "known bugs"},
		{"declared by LInf alone", "known bugs"},
		{"L2 declared where its square is due", "known bugs: missing square"},
		{"L0 declared for one item", "known bugs"},
		{"declared by the largest member", "known bugs: the scale follows the data"},
		{"keys of the data alone", "known bugs: the key set"},
		{"keys in the order of a map", "known bugs"},
		{"an error where there is no data", "known bugs: errors that depend on data"},
		{"an error for a bad record", "known bugs: errors that depend on data"},
		{"a panic on a large amount", "known bugs"},
		{"a second question where the first is large", "adaptive queries by the true data"},
		{"one cell misses the noise", "known bugs: un-noised coordinates"},
		{"zeros stay zeros", "known bugs: empty groups"},
		{"selection over keys in the order of a map", "known bugs"},
		{"selection counts amounts", "known bugs: rows counted for units"},
		{"the number of members beside", "known bugs: true counts"},
		{"what clipping removed beside", "true facts about records"},
		{"all offered keys published", "known bugs: the key set"},
		{"keys that did not pass published as zeros", "known bugs: the key set"},
		{"every second member, by place", "bounding that depends on other units"},
		{"the item that most have is kept", "bounding that depends on other units"},
		{"shares of the true total", "normalised by the un-noised total"},
		{"the largest totals of all runs", "state that outlives a run"},
		{"the sign of a zero beside", "known bugs: un-noised coordinates"},
		{"no release where noise is far off", "accuracy checked against the truth"},
	} {
		builds = append(builds, dptest.Sabotage{Name: "sensitivity: " + row[0], Source: row[1], Check: func() error {
			return dptest.CheckSensitivity(dptest.SensitivityKit[member]{World: drawMembers, Run: demand(row[0])})
		}})
	}
	for _, row := range [][2]string{
		{"|L| for max(|L|, |U|)", "known bugs"},
		{"the width of the range for its far end", "replace-one taken for add-or-remove"},
		{"NaN through a clamp", "known bugs"},
		{"rounded away from zero after the clip", "known bugs: rounding that inflates the norm"},
		{"rounded in steps of ten after the sum", "Casacuberta et al. 2022, Widespread Underestimation of Sensitivity"},
		{"a mean, at the sensitivity of a sum over n", "known bugs: the scale follows the data"},
	} {
		builds = append(builds, dptest.Sabotage{Name: "sensitivity: " + row[0], Source: row[1], Check: func() error {
			return dptest.CheckSensitivity(dptest.SensitivityKit[member]{World: drawMembers, Run: spending(row[0])})
		}})
	}
	replay := func(name, source string, run func(members []member, rec *dptest.Recorder) (any, error)) {
		builds = append(builds, dptest.Sabotage{Name: "sensitivity: " + name, Source: source, Check: func() error {
			return dptest.CheckSensitivity(dptest.SensitivityKit[member]{World: drawMembers, Run: run})
		}})
	}
	replay("a unit's largest row alone is clipped", "bounded by row, for the others", func(members []member, rec *dptest.Recorder) (any, error) {
		sum := []int64{0}
		for _, m := range members {
			largest := 0
			for i, r := range m.Rows {
				if r.Amount > m.Rows[largest].Amount {
					largest = i
				}
			}
			for i, r := range m.Rows {
				if i == largest {
					sum[0] += min(max(r.Amount, 0), 3)
				} else {
					sum[0] += min(max(r.Amount, 0), 4)
				}
			}
		}
		rec.Add("sum", []string{"all"}, sum, dp.Sensitivity{L0: 1, L1: 3, L2Squared: 9, LInf: 3})
		return sum, nil
	})
	replay("the median of members, at the sensitivity of a count", "a formula of another statistic", func(members []member, rec *dptest.Recorder) (any, error) {
		var n []int64
		for _, m := range members {
			n = append(n, int64(len(m.Rows)))
		}
		slices.Sort(n)
		median := []int64{0}
		if len(n) > 0 {
			median[0] = n[len(n)/2]
		}
		rec.Add("median", []string{"all"}, median, unit)
		return median, nil
	})
	replay("capped at the first three members", "bounding that depends on other units", func(members []member, rec *dptest.Recorder) (any, error) {
		return demand("")(members[:min(len(members), 3)], rec)
	})
	replay("retried where noise is negative and data is not", "accuracy checked against the truth", func(members []member, rec *dptest.Recorder) (any, error) {
		n := []int64{int64(len(members))}
		truth := n[0]
		rec.Add("count", []string{"all"}, n, unit)
		if n[0] < 0 && truth > 2 {
			return nil, errors.New("try again")
		}
		return n, nil
	})
	builds = append(builds, dptest.Sabotage{Name: "sensitivity: sums wrap", Source: "Google's library v3.0.0, fault 4", Check: func() error {
		const most = 1 << 62
		return dptest.CheckSensitivity(dptest.SensitivityKit[member]{World: drawMembers, Run: func(members []member, rec *dptest.Recorder) (any, error) {
			sum := []int64{0}
			for _, m := range members {
				for _, r := range m.Rows[:min(len(m.Rows), 1)] {
					sum[0] += min(max(r.Amount, 0), most)
				}
			}
			rec.Add("sum", []string{"all"}, sum, dp.Sensitivity{L0: 1, L1: most, L2Squared: math.MaxInt64, LInf: most})
			return sum, nil
		}})
	}})
	return append(builds, dptest.Sabotage{Name: "sensitivity: a replaced unit, at the price of an added one", Source: "known bugs: the factor 2", Check: func() error {
		return dptest.CheckSensitivity(dptest.SensitivityKit[member]{World: drawMembers, Run: spending(""), Replace: true})
	}})
}
