package fedtest

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/larder-dp/larder/dp"
	"github.com/larder-dp/larder/federated"
)

// The builds of Noise: its own for every cell and round.
var noiseSabotages = []sabotage{
	{"an un-noised coordinate", "privacy.md: un-noised coordinates", "Noise", func() Config {
		return editor(func(b *bentCoordinator, q federated.Query, r *wireRelease) {
			if !selects(q) && len(r.Stores) > 0 {
				r.Values[0][0] = b.truth(r.Stores[0])[0]
			}
		})
	}},
	{"noise seed reused across rounds", reuse, "Noise", func() Config {
		return bendCoordinator(func(b *bentCoordinator) {
			b.each = func(b *bentCoordinator) {
				b.c.Random = rand.NewChaCha8([32]byte{1})
				_ = b.renew()
			}
		})
	}},
	{"noise seed reused after a restart", reuse, "Noise", func() Config {
		return bendCoordinator(func(b *bentCoordinator) { b.c.Random = rand.NewChaCha8([32]byte{1}) })
	}},
	{"one draw of noise for all cells", reuse, "Noise", func() Config {
		return editor(func(b *bentCoordinator, q federated.Query, r *wireRelease) {
			if selects(q) || len(r.Stores) == 0 {
				return
			}
			noise := r.Values[0][0] - b.truth(r.Stores[0])[0]
			for i, s := range r.Stores {
				for p, x := range b.truth(s) {
					r.Values[i][p] = x + noise
				}
			}
		})
	}},
	{"σ/n where σ/√n was due", "privacy.md: distributed noise", "Noise", func() Config {
		return editor(func(b *bentCoordinator, q federated.Query, r *wireRelease) {
			if selects(q) {
				return
			}
			for i, s := range r.Stores {
				for p, x := range b.truth(s) {
					r.Values[i][p] = x + (r.Values[i][p]-x)/2
				}
			}
		})
	}},
	{"every key with data published", "selection without a threshold", "Noise", func() Config {
		return editor(func(b *bentCoordinator, q federated.Query, r *wireRelease) {
			if !selects(q) || r.Label.Cells == federated.Chain {
				return
			}
			r.Cells = [][3]int64{}
			for i, s := range r.Stores {
				for p, x := range b.reports[s].units {
					if x > 0 {
						r.Cells = append(r.Cells, [3]int64{int64(i), int64(p), x})
					}
				}
			}
		})
	}},
	{"selected cells without noise", "a threshold taken for privacy", "Noise", func() Config {
		return selected(func(truth, _ int64) int64 { return truth })
	}},
	{"the noise that made a cell pass is its own", "one draw for two mechanisms", "Noise", func() Config {
		return selected(func(truth, noised int64) int64 { return truth + max(noised-truth, truth-noised) })
	}},
	{"empty selection not charged", "a refund that depends on data", "Noise", func() Config {
		return bendCoordinator(func(b *bentCoordinator) { b.c.Ledger = &refunding{Ledger: b.c.Ledger} })
	}},
	{"Laplace noise clamped at zero", "non-negative counts: a bias", "Noise", func() Config {
		return editor(func(_ *bentCoordinator, _ federated.Query, r *wireRelease) {
			for _, row := range r.Values {
				for p := range row {
					row[p] = max(row[p], 0)
				}
			}
		})
	}},
	{"every other round without noise", "a debug switch left on", "Noise", func() Config {
		return bendCoordinator(func(b *bentCoordinator) {
			b.edit = func(b *bentCoordinator, q federated.Query, r *wireRelease) {
				if selects(q) || q.Question().Round%2 == 1 {
					return
				}
				for i, s := range r.Stores {
					copy(r.Values[i], b.truth(s))
				}
			}
		})
	}},
	{"noise that cancels in pairs", "antithetic variates", "Noise", func() Config {
		return noising(func(z []int64) {
			for p := 1; p < len(z); p += 2 {
				z[p] = -z[p-1]
			}
		})
	}},
	{"noise that adds up to nothing", "consistency enforced before the noise: totals kept exact", "Noise", func() Config {
		return noising(func(z []int64) {
			last := len(z) - 1
			z[last] = 0
			for _, x := range z[:last] {
				z[last] -= x
			}
		})
	}},
	{"noise of a cell from that of two", "a hierarchy whose sums have no noise of their own", "Noise", func() Config {
		return noising(func(z []int64) {
			if len(z) > 2 {
				z[2] = z[0] + z[1]
			}
		})
	}},
	{"noise that is nearly shared", reuse, "Noise", func() Config {
		return noising(func(z []int64) {
			for p := 1; p < len(z); p++ {
				z[p] = z[0] + z[p]%2
			}
		})
	}},
	{"the noise of a round negated in the next", "antithetic variates", "Noise", func() Config {
		return editor(func() func(b *bentCoordinator, q federated.Query, r *wireRelease) {
			last := map[string]int64{}
			return func(b *bentCoordinator, q federated.Query, r *wireRelease) {
				if selects(q) {
					return
				}
				for i, s := range r.Stores {
					for p, x := range b.truth(s) {
						key := fmt.Sprint(q.Digest(), s, p)
						if z, ok := last[key]; ok && r.Label.Round%2 == 0 {
							r.Values[i][p] = x - z
						}
						last[key] = r.Values[i][p] - x
					}
				}
			}
		}())
	}},
}

// refunding charges selections when something was published.
type refunding struct {
	dp.Ledger
	owed dp.Charge
}

func (l *refunding) Reserve(ctx context.Context, c dp.Charge) (dp.Entry, error) {
	l.owed = c
	return dp.Entry{Charge: c}, nil
}

func (l *refunding) Commit(ctx context.Context, k dp.Key, b []byte) error {
	var w wireRelease
	_ = json.Unmarshal(b, &w)
	if w.Values == nil && len(w.Cells) == 0 {
		return nil
	}
	if _, err := l.Ledger.Reserve(ctx, l.owed); err != nil {
		return err
	}
	return l.Ledger.Commit(ctx, k, b)
}

// noising changes the noise of all cells of a store together.
func noising(change func(z []int64)) Config {
	return editor(func(b *bentCoordinator, q federated.Query, r *wireRelease) {
		if selects(q) {
			return
		}
		for i, s := range r.Stores {
			truth, z := b.truth(s), slices.Clone(r.Values[i])
			for p := range z {
				z[p] -= truth[p]
			}
			change(z)
			for p := range z {
				r.Values[i][p] = truth[p] + z[p]
			}
		}
	})
}

// selected changes the values of cells that were selected.
func selected(change func(truth, noised int64) int64) Config {
	return editor(func(b *bentCoordinator, q federated.Query, r *wireRelease) {
		if !selects(q) {
			return
		}
		for i, c := range r.Cells {
			r.Cells[i][2] = change(b.truth(r.Stores[c[0]])[c[1]], c[2])
		}
	})
}
