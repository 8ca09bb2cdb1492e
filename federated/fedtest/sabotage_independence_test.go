package fedtest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/larder-dp/larder/federated"
)

// The builds of DataIndependence: what depends on records and has no noise.
var independenceSabotages = []sabotage{
	{"the first rows are kept", "bounding by row order", "DataIndependence", func() Config {
		return bend(func(n *bentNode) {
			for _, rs := range []*federated.Records{&n.c.Lists, &n.c.Sales} {
				inner := *rs
				*rs = func(yield func(federated.Record, error) bool) {
					kept := map[string]int{}
					for r, err := range inner {
						if kept[r.Member+r.ID]++; kept[r.Member+r.ID] > 1 {
							continue
						}
						r.Lines = r.Lines[:min(len(r.Lines), 2)]
						if !yield(r, err) {
							return
						}
					}
				}
			}
		})
	}},
	{"an error only when some member is there", cwe203, "DataIndependence", func() Config {
		return bend(func(n *bentNode) {
			bad := slices.ContainsFunc(all(n.c.Lists, n.c.Sales), func(r federated.Record) bool { return r.Member+r.ID > "r" })
			n.after = func(_, b []byte, err error) ([]byte, error) {
				if bad {
					return nil, errors.New("cannot answer")
				}
				return b, err
			}
		})
	}},
	{"records read before the refusal", haeberle, "DataIndependence", func() Config {
		return bend(func(n *bentNode) {
			n.before = func(b []byte) ([]byte, error) { all(n.c.Lists, n.c.Sales); return b, nil }
		})
	}},
	{"a store without data says nothing", cwe203, "DataIndependence", func() Config {
		return bend(func(n *bentNode) {
			rows := len(all(n.c.Lists, n.c.Sales, n.c.Memberships))
			n.after = func(_, b []byte, err error) ([]byte, error) {
				if rows == 0 {
					return nil, errors.New("nothing to report")
				}
				return b, err
			}
		})
	}},
	{"length of a message depends on data", "varint encoding of counts", "DataIndependence", func() Config {
		return reporting(func(n *bentNode, r *report) []byte {
			return append(r.encode(), make([]byte, len(all(n.c.Lists, n.c.Sales))%7)...)
		})
	}},
	{"empty groups omitted", "privacy.md: key set leaked through empty groups", "DataIndependence", func() Config {
		return editor(func(b *bentCoordinator, q federated.Query, r *wireRelease) {
			if selects(q) {
				return
			}
			var stores []federated.NodeID
			var values, inventory [][]int64
			for i, s := range r.Stores {
				if slices.ContainsFunc(b.truth(s), func(x int64) bool { return x != 0 }) {
					stores, values, inventory = append(stores, s), append(values, r.Values[i]), append(inventory, r.Inventory[i])
				}
			}
			r.Stores, r.Values, r.Inventory = append([]federated.NodeID{}, stores...), append([][]int64{}, values...), append([][]int64{}, inventory...)
		})
	}},
	{"keys in the order of a map", "privacy.md: key set leaked through map order", "DataIndependence", func() Config {
		return editor(func(b *bentCoordinator, q federated.Query, r *wireRelease) {
			if selects(q) {
				return
			}
			order := map[int]bool{}
			for p := range r.Partitions {
				order[p] = true
			}
			was := *r
			r.Partitions = nil
			values := make([][]int64, len(r.Values))
			for p := range order {
				r.Partitions = append(r.Partitions, was.Partitions[p])
				for s := range values {
					values[s] = append(values[s], was.Values[s][p])
				}
			}
			r.Values = values
		})
	}},
	{"number of skipped rows in the reply", "exception counts are true counts", "DataIndependence", func() Config {
		rows := map[*bentNode]int{}
		c := refusing(func(n *bentNode, r *refusal) { r.Accepts += fmt.Sprintf(" (%d rows skipped)", rows[n]) })
		return alsoBend(c, func(n *bentNode) { rows[n] = len(all(n.c.Lists, n.c.Sales)) })
	}},
	{"true count in a log", cwe532, "DataIndependence", func() Config {
		return observing(func(n *bentNode) { n.c.Log.Info("answered", "rows", len(all(n.c.Lists, n.c.Sales))) })
	}},
	{"true count in a metric", owasp, "DataIndependence", func() Config {
		return metered(func(r *registry) Config {
			return observing(func(n *bentNode) { r.set("rows %d", len(all(n.c.Lists, n.c.Sales))) })
		})
	}},
	{"perpetual inventory told", "sales by subtraction of two inventories", "DataIndependence", func() Config {
		return reporting(func(n *bentNode, r *report) []byte {
			if r.inventory != nil {
				for _, s := range all(n.c.Sales) {
					r.inventory[0] -= int64(len(s.Lines))
				}
			}
			return nil
		})
	}},
	{"the number of reports in the error", "CWE-209", "DataIndependence", func() Config {
		return runner(func(b *bentCoordinator, ctx context.Context, q federated.Query) (*federated.Release, error) {
			rel, err := b.inner.Run(ctx, q)
			if err != nil {
				return nil, fmt.Errorf("%w; so far %v", err, b.reports)
			}
			return rel, nil
		})
	}},
	{"inventory less demand, told as inventory", "sales by subtraction of two inventories", "DataIndependence", func() Config {
		return reporting(func(_ *bentNode, r *report) []byte {
			for p := range r.inventory {
				r.inventory[p] -= r.amounts[p]
			}
			return nil
		})
	}},
	{"stores without demand left out of the round", "privacy.md: empty groups", "DataIndependence", func() Config {
		return hearer(func(_ *bentCoordinator, q federated.Query, ms []federated.Message) []federated.Message {
			return slices.DeleteFunc(ms, func(m federated.Message) bool {
				r, err := parseReport(m.Body)
				return err == nil && !slices.ContainsFunc(r.amounts, func(x int64) bool { return x != 0 })
			})
		})
	}},
	{"observed maximum in the label", "metadata computed from the data", "DataIndependence", func() Config {
		return editor(func(b *bentCoordinator, q federated.Query, r *wireRelease) {
			for _, s := range r.Stores {
				r.Label.Coverage.Absent = append(r.Label.Coverage.Absent, federated.Absence{Node: s, Reason: fmt.Sprint(slices.Max(b.truth(s)))})
			}
		})
	}},
	{"a refusal takes longer where there are more rows", haeberle, "DataIndependence", func() Config {
		return waiting(func(rows int, _ *bentNode) time.Duration { return time.Duration(rows) * time.Microsecond })
	}},
	{"a refusal waits for what the last question left", haeberle, "DataIndependence", func() Config {
		return bend(func(n *bentNode) {
			queue := int64(0)
			n.after = func(_, answer []byte, err error) ([]byte, error) {
				if r, bad := parseReport(answer); err == nil && bad == nil {
					queue = slices.Max(r.amounts)
				} else {
					<-time.After(time.Duration(min(queue, 1000)) * time.Microsecond) // of virtual time
				}
				return answer, err
			}
		})
	}},
	{"a panic over a member ends the answer", "recovery middleware: one bad row, one 500", "DataIndependence", func() Config {
		return bend(func(n *bentNode) {
			bad, inner := false, n.c.Pseudonym
			if inner == nil {
				return
			}
			n.c.Pseudonym = func(m string) (p [16]byte, err error) {
				defer func() {
					if recover() != nil {
						bad, err = true, errors.New("no pseudonym")
					}
				}()
				return inner(m)
			}
			n.after = func(_, answer []byte, err error) ([]byte, error) {
				if bad {
					return nil, errors.New("internal error")
				}
				return answer, err
			}
		})
	}},
	{"a panic of a function ends the answer", "recovery middleware: one bad row, one 500", "DataIndependence", func() Config {
		c := bend(func(n *bentNode) {
			bad := false
			n.c.Functions = slices.Clone(n.c.Functions)
			for i := range n.c.Functions {
				prepare := n.c.Functions[i].Prepare
				n.c.Functions[i].Prepare = func(params json.RawMessage) (federated.Contribute, error) {
					inner, err := prepare(params)
					return func(r *federated.Record, emit func(string, int64)) {
						defer func() { bad = recover() != nil || bad }()
						inner(r, emit)
					}, err
				}
			}
			n.after = func(_, answer []byte, err error) ([]byte, error) {
				if bad {
					return nil, errors.New("internal error")
				}
				return answer, err
			}
		})
		c.Questions = []Template{{
			New:  func(q federated.Question) (federated.Query, error) { return federated.Custom("lines", 1, nil, q) },
			From: federated.Lists, Unit: federated.UnitList,
		}}
		c.Functions = []federated.Function{{Name: "lines", Version: 1, From: []federated.Kind{federated.Lists}, Prepare: func(json.RawMessage) (federated.Contribute, error) {
			return func(r *federated.Record, emit func(string, int64)) {
				for _, l := range r.Lines {
					emit(l.Item, 1)
				}
			}, nil
		}}}
		return c
	}},
}

// waiting makes refusals take as long as pause says of the number of rows, which it knows
// from the start.
func waiting(pause func(rows int, n *bentNode) time.Duration) Config {
	return bend(func(n *bentNode) {
		rows := len(all(n.c.Lists, n.c.Sales))
		n.after = func(_, answer []byte, err error) ([]byte, error) {
			if _, bad := parseRefusal(answer); bad == nil {
				<-time.After(pause(rows, n)) // of virtual time
			}
			return answer, err
		}
	})
}
