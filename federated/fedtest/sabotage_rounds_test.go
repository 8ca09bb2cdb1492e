package fedtest

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/larder-dp/larder/dp"
	"github.com/larder-dp/larder/federated"
)

// The builds of Rounds: what counts, and once.
var roundSabotages = []sabotage{
	{"a member's sum wraps before it is clipped", cwe190, "Rounds", func() Config {
		return bend(func(n *bentNode) {
			eachRecord(n, func(r *federated.Record) bool {
				sums := map[string]int64{}
				var lines []federated.Line
				for _, l := range r.Lines {
					sums[l.Item] += l.Quantity
				}
				for item, q := range sums {
					lines = append(lines, federated.Line{Item: item, Quantity: q})
				}
				r.Lines = lines
				return true
			})
		})
	}},
	{"replayed report counted", cwe294, "Rounds", func() Config {
		return hearer(func(_ *bentCoordinator, q federated.Query, ms []federated.Message) []federated.Message {
			for i, m := range ms {
				if r, err := parseReport(m.Body); err == nil && r.round < q.Question().Round {
					ms[i] = stamped(q, m, r)
				}
			}
			return ms
		})
	}},
	{"duplicate counted twice", cwe294, "Rounds", func() Config {
		return hearer(func(_ *bentCoordinator, q federated.Query, ms []federated.Message) []federated.Message {
			at := map[string]int{}
			for i, m := range ms {
				if first, ok := at[string(m.From)+string(m.Body)]; ok {
					if r, err := parseReport(ms[first].Body); err == nil {
						r.amounts = slices.Clone(r.amounts)
						for p := range r.amounts {
							r.amounts[p] *= 2
						}
						ms[first].Body = r.encode()
						ms[i].Body = ms[first].Body
					}
				}
				at[string(m.From)+string(m.Body)] = i
			}
			return ms
		})
	}},
	{"late report counted", "a deadline that is not one", "Rounds", func() Config {
		return bendCoordinator(func(b *bentCoordinator) { b.patient = true })
	}},
	{"corrupt report accepted", "lenient parsing", "Rounds", func() Config {
		return hearer(func(_ *bentCoordinator, q federated.Query, ms []federated.Message) []federated.Message {
			for i, m := range ms {
				if r, err := parseReport(m.Body); err == nil && len(r.amounts) == len(q.Question().Partitions) {
					for p := range r.amounts {
						r.amounts[p] = min(max(r.amounts[p], 0), maxCell)
					}
					ms[i] = stamped(q, m, r)
				}
			}
			return ms
		})
	}},
	{"sender taken from the body", "CWE-290: authentication by what is claimed", "Rounds", func() Config {
		return hearer(func(_ *bentCoordinator, q federated.Query, ms []federated.Message) []federated.Message {
			for i, m := range ms {
				if r, err := parseReport(m.Body); err == nil {
					ms[i].From = r.node
				}
			}
			return ms
		})
	}},
	{"the first of two answers wins", "the network chooses", "Rounds", func() Config {
		return hearer(func(_ *bentCoordinator, q federated.Query, ms []federated.Message) (out []federated.Message) {
			seen := map[federated.NodeID]bool{}
			for _, m := range ms {
				if r, err := parseReport(m.Body); err == nil && r.answers(q, m.From) == "" {
					if seen[m.From] {
						continue
					}
					seen[m.From] = true
				}
				out = append(out, m)
			}
			return out
		})
	}},
	{"quorum ignored", "missing stores counted as zeros", "Rounds", func() Config {
		return hearer(func(_ *bentCoordinator, q federated.Query, ms []federated.Message) []federated.Message {
			asked := q.Question()
			for _, s := range asked.Stores {
				ms = append(ms, stamped(q, federated.Message{From: s, To: "*"}, report{amounts: make([]int64, len(asked.Partitions))}))
				if selects(q) {
					ms = ms[:len(ms)-1]
				}
			}
			seen := map[federated.NodeID]bool{}
			return slices.DeleteFunc(ms, func(m federated.Message) bool {
				r, err := parseReport(m.Body)
				if err != nil || r.answers(q, m.From) != "" {
					return false
				}
				was := seen[m.From]
				seen[m.From] = true
				return was
			})
		})
	}},
	{"coverage says all", "partial results published as complete", "Rounds", func() Config {
		return editor(func(_ *bentCoordinator, _ federated.Query, r *wireRelease) {
			r.Label.Coverage = federated.Coverage{Asked: r.Label.Coverage.Asked, Answered: r.Label.Coverage.Asked}
		})
	}},
	{"window not applied", "a filter lost in a rewrite", "Rounds", func() Config {
		return askingFor(func(_ *bentNode, q *federated.Question) { q.Window = federated.Window{} })
	}},
	{"refused nodes counted as zeros", "missing taken for zero", "Rounds", func() Config {
		return hearer(func(_ *bentCoordinator, q federated.Query, ms []federated.Message) []federated.Message {
			for i, m := range ms {
				if _, err := parseRefusal(m.Body); err == nil && !selects(q) {
					ms[i] = stamped(q, m, report{amounts: make([]int64, len(q.Question().Partitions))})
				}
			}
			return ms
		})
	}},
	{"a round below the quorum is charged", "a charge for nothing", "Rounds", func() Config {
		return runner(func(b *bentCoordinator, ctx context.Context, q federated.Query) (*federated.Release, error) {
			rel, err := b.inner.Run(ctx, q)
			var below *federated.QuorumError
			if errors.As(err, &below) {
				_, _ = b.c.Ledger.Reserve(ctx, dp.Charge{Key: keyOf(q), Unit: string(q.Question().Unit), Cost: q.Cost()})
			}
			return rel, err
		})
	}},
	{"the end of the window counts", "SQL's BETWEEN has both ends", "Rounds", func() Config {
		return bend(func(n *bentNode) {
			eachRecord(n, func(r *federated.Record) bool {
				if r.Time.Equal(oneWeek.To) {
					r.Time = r.Time.Add(-1)
				}
				return true
			})
		})
	}},
	{"the beginning of the window does not count", "an exclusive cursor: records after the last one seen", "Rounds", func() Config {
		return bend(func(n *bentNode) {
			eachRecord(n, func(r *federated.Record) bool {
				if r.Time.Equal(oneWeek.From) {
					r.Time = r.Time.Add(-1)
				}
				return true
			})
		})
	}},
	{"items that are spelled alike are merged", "keys trimmed and folded in case", "Rounds", func() Config {
		return bend(func(n *bentNode) {
			eachRecord(n, func(r *federated.Record) bool {
				r.Lines = slices.Clone(r.Lines)
				for i := range r.Lines {
					r.Lines[i].Item = strings.ToLower(strings.TrimSpace(r.Lines[i].Item))
				}
				return true
			})
		})
	}},
	{"a second of grace", "a deadline that is not one", "Rounds", func() Config {
		return Config{Coordinator: func(c federated.CoordinatorConfig) (Coordinator, error) {
			c.Deadline += time.Second
			return federated.NewCoordinator(c)
		}}
	}},
}
