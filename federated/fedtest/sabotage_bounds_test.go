package fedtest

import (
	"crypto/sha256"
	"fmt"
	"slices"

	"github.com/larder-dp/larder/federated"
)

// The builds of Neighbours: whose contributions are not bounded.
var boundSabotages = []sabotage{
	{"rows bounded and not units", google, "Neighbours", func() Config {
		return bend(func(n *bentNode) {
			rows := 0
			eachRecord(n, func(r *federated.Record) bool { rows++; r.ID = fmt.Sprint("row", rows); return true })
			n.c.Pseudonym = func(string) (p [16]byte, err error) { rows++; copy(p[:], fmt.Sprint(rows)); return p, nil }
		})
	}},
	{"home stores ignored", "a unit that spans stores bounded at each", "Neighbours", func() Config {
		return bend(func(n *bentNode) {
			rows := n.c.Memberships
			n.c.Memberships = func(yield func(federated.Record, error) bool) {
				for r, err := range rows {
					if r.Stores = []federated.NodeID{n.c.ID}; !yield(r, err) {
						return
					}
				}
			}
		})
	}},
	{"preferences beyond MaxNodes counted", "a unit that spans stores bounded at each", "Neighbours", func() Config {
		return bend(func(n *bentNode) {
			eachRecord(n, func(r *federated.Record) bool { r.Stores = []federated.NodeID{n.c.ID}; return true })
		})
	}},
	{"L0 not enforced", "Wilson et al. 2020, §3: contribution bounding left out", "Neighbours", func() Config {
		return askingFor(func(_ *bentNode, q *federated.Question) {
			q.Bounds.L0 += 5
			q.Bounds.L1 = min(q.Bounds.L1, q.Bounds.L0*q.Bounds.LInf)
		})
	}},
	{"L1 not trimmed", "amplified sums: L0·LInf spent where L1 was paid", "Neighbours", func() Config {
		return askingFor(func(_ *bentNode, q *federated.Question) { q.Bounds.L1 = q.Bounds.L0 * q.Bounds.LInf })
	}},
	{"LInf doubled", "add/remove and replace-one confused: the factor 2", "Neighbours", func() Config {
		return askingFor(func(_ *bentNode, q *federated.Question) {
			if q.Bounds.LInf > 1 {
				q.Bounds.LInf, q.Bounds.L1 = 2*q.Bounds.LInf, 2*q.Bounds.L1
			}
		})
	}},
	{"rows deduplicated before bounding", "privacy.md: dedupe before bounding", "Neighbours", func() Config {
		return bend(func(n *bentNode) {
			for _, rs := range []*federated.Records{&n.c.Lists, &n.c.Sales} {
				inner := *rs
				*rs = func(yield func(federated.Record, error) bool) {
					seen := map[string]bool{}
					for r, err := range inner {
						r.Lines = slices.DeleteFunc(slices.Clone(r.Lines), func(l federated.Line) bool {
							known := seen[l.Item]
							seen[l.Item] = true
							return known
						})
						if !yield(r, err) {
							return
						}
					}
				}
			}
		})
	}},
	{"choice from a stream that all units share", "reservoir sampling over all rows", "Neighbours", func() Config {
		return bend(func(n *bentNode) {
			n.c.Secret = sha256.Sum256(fmt.Append(nil, all(n.c.Lists, n.c.Sales)))
		})
	}},
	{"members flagged in a high bit", "a covert channel in what is noised", "Neighbours", func() Config {
		flag := map[*bentNode]int64{}
		c := reporting(func(n *bentNode, r *report) []byte { r.amounts[0] += flag[n] << 40; return nil })
		return alsoBend(c, func(n *bentNode) { flag[n] = int64(len(n.members())) })
	}},
	{"unit counts are row counts", "a count of rows for a count of units", "Neighbours", func() Config {
		return reporting(func(n *bentNode, r *report) []byte {
			for p := range r.units {
				if r.units[p] > 0 {
					r.units[p] = r.amounts[p]
				}
			}
			return nil
		})
	}},
}
