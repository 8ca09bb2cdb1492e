package dptest_test

import (
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/larder-dp/larder/dp"
	"github.com/larder-dp/larder/dp/dptest"
)

// unseen are builds that were written after the checks, to see what those catch that
// they were not written for.
func unseen() []dptest.Sabotage {
	mechanism := func(name string, change func(values, noised []int64)) dptest.Sabotage {
		return dptest.Sabotage{Name: "unseen: " + name, Source: "written after the checks", Check: func() error {
			return dptest.CheckMechanism(dptest.MechanismKit{Mechanism: dp.DiscreteLaplace, Samples: 5000, New: func(p dp.Params, s dp.Sensitivity) (func([]int64, io.Reader) error, error) {
				add, err := toyLaplace("")(p, s)
				if err != nil {
					return nil, err
				}
				return func(values []int64, random io.Reader) error {
					was := slices.Clone(values)
					if err := add(values, random); err != nil {
						return err
					}
					change(was, values)
					return nil
				}, nil
			}})
		}}
	}
	replay := func(name string, run func(members []member, rec *dptest.Recorder) (any, error)) dptest.Sabotage {
		return dptest.Sabotage{Name: "unseen: " + name, Source: "written after the checks", Check: func() error {
			return dptest.CheckSensitivity(dptest.SensitivityKit[member]{World: drawMembers, Run: run})
		}}
	}
	selection := func(name string, change func(counts []int64, published []bool)) dptest.Sabotage {
		return dptest.Sabotage{Name: "unseen: " + name, Source: "written after the checks", Check: func() error {
			return dptest.CheckSelection(dptest.SelectionKit{Samples: 6000, New: func(b dp.Budget, s dp.Sensitivity) (func([]int64, io.Reader) ([]bool, error), error) {
				sel, err := toySelection("")(b, s)
				if err != nil {
					return nil, err
				}
				return func(counts []int64, random io.Reader) ([]bool, error) {
					got, err := sel(counts, random)
					change(counts, got)
					return got, err
				}, nil
			}})
		}}
	}
	accountant := func(name string, change func(events []dp.Event) []dp.Event) dptest.Sabotage {
		return dptest.Sabotage{Name: "unseen: " + name, Source: "written after the checks", Check: func() error {
			kit := toyAccountant("")
			compose := kit.Compose
			kit.Compose = func(events ...dp.Event) (dptest.Curve, error) {
				if _, err := compose(events...); err != nil {
					return dptest.Curve{}, err
				}
				return compose(change(slices.Clone(events))...)
			}
			return dptest.CheckAccountant(kit)
		}}
	}
	return []dptest.Sabotage{
		mechanism("published numbers made even", func(_, noised []int64) {
			for i := range noised {
				noised[i] &^= 1
			}
		}),
		mechanism("noise pulled half way back to the truth", func(was, noised []int64) {
			for i := range noised {
				if was[i] < 1<<60 && was[i] > -1<<60 {
					noised[i] = was[i] + (noised[i]-was[i])/2
				}
			}
		}),
		mechanism("totals kept: the last cell takes back all noise", func(was, noised []int64) {
			sum := int64(0)
			for i, v := range was {
				if v > 1<<60 || v < -1<<60 {
					return
				}
				sum += noised[i] - v
			}
			noised[len(noised)-1] -= sum
		}),
		mechanism("small values published as they are", func(was, noised []int64) {
			for i, v := range was {
				if v == 1 {
					noised[i] = 1
				}
			}
		}),
		mechanism("odd cells take the noise of their neighbour", func(was, noised []int64) {
			for i := 1; i < len(noised); i += 2 {
				if was[i] < 1<<60 && was[i] > -1<<60 {
					noised[i] = was[i] + noised[i-1] - was[i-1]
				}
			}
		}),
		mechanism("an output that equals the truth is drawn again", func(was, noised []int64) {
			for i := range noised {
				if noised[i] == was[i] && was[i] < 1<<60 {
					noised[i]++
				}
			}
		}),
		selection("a key that passes opens the next one", func(counts []int64, published []bool) {
			for i := 1; i < len(published); i++ {
				published[i] = published[i] || published[i-1] && counts[i] > 0
			}
		}),
		selection("one key in a thousand is published for nothing", func(counts []int64, published []bool) {
			for i := range published {
				if counts[i] > 0 && rand.IntN(1000) == 0 {
					published[i] = true
				}
			}
		}),
		selection("the largest new key is always published", func(counts []int64, published []bool) {
			if len(counts) > 1 {
				if i := slices.Index(counts, slices.Max(counts)); counts[i] > 0 {
					published[i] = true
				}
			}
		}),
		accountant("events that are equal are one", func(events []dp.Event) []dp.Event {
			return slices.CompactFunc(events, func(a, b dp.Event) bool {
				return a.Mechanism == b.Mechanism && a.Scale == b.Scale && a.Epsilon == b.Epsilon && a.Count == b.Count
			})
		}),
		accountant("a count above 32 is cut", func(events []dp.Event) []dp.Event {
			for i := range events {
				events[i].Count = min(events[i].Count, 32)
			}
			return events
		}),
		accountant("scales are rounded up to the next tenth", func(events []dp.Event) []dp.Event {
			for i := range events {
				events[i].Scale = math.Ceil(events[i].Scale*10.001) / 10
			}
			return events
		}),
		replay("a unit's largest row alone is clipped", func(members []member, rec *dptest.Recorder) (any, error) {
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
		}),
		replay("the median of members, at the sensitivity of a count", func(members []member, rec *dptest.Recorder) (any, error) {
			var n []int64
			for _, m := range members {
				n = append(n, int64(len(m.Rows)))
			}
			slices.Sort(n)
			median := []int64{0}
			if len(n) > 0 {
				median[0] = n[len(n)/2]
			}
			rec.Add("median", []string{"all"}, median, dp.Sensitivity{L0: 1, L1: 1, L2Squared: 1, LInf: 1})
			return median, nil
		}),
		replay("capped at the first three members", func(members []member, rec *dptest.Recorder) (any, error) {
			sum := make([]int64, items)
			for _, m := range members[:min(len(members), 3)] {
				one := make([]int64, items)
				for _, r := range m.Rows {
					one[r.Item] = min(one[r.Item]+min(max(r.Amount, 0), 3), 3)
				}
				bounds.Clip(one)
				for i, a := range one {
					sum[i] += a
				}
			}
			s, err := bounds.Sensitivity(dp.Disjoint)
			rec.Add("sum", itemKeys, sum, s)
			return sum, err
		}),
		replay("retried where noise is negative and data is not", func(members []member, rec *dptest.Recorder) (any, error) {
			n := []int64{int64(len(members))}
			truth := n[0]
			rec.Add("count", []string{"all"}, n, unit)
			if n[0] < 0 && truth > 2 {
				return nil, errors.New("try again")
			}
			return n, nil
		}),
	}
}
