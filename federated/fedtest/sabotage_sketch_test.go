package fedtest

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/larder-dp/larder/dp"
	"github.com/larder-dp/larder/dp/dptest"
	"github.com/larder-dp/larder/federated"
)

// Broken builds of spend, RFM and distinct members. Each is bent for the questions of its
// family alone, so that no other question gives it away.

const (
	sketches = "Desfontaines, Lochbihler, Basin 2019: sketches of cardinality do not preserve privacy"
	warner   = "Warner 1965; Erlingsson, Pihur, Korolova 2014: answers memoized, or averaged away"
	hehir    = "Hehir, Ting, Cormode 2023: sketches merged after their flips"
)

var sketchSabotages = []sabotage{
	// Spend.
	{"spend bounded by basket and not by unit", google, "Neighbours", func() Config {
		return only("spend", "", perUnit(func(r *federated.Record, _ int) { r.Member += r.ID }))
	}},
	{"prices that wrap before they are clipped", cwe190, "Rounds", func() Config {
		return only("spend", "", wrapping(func(item string) string { return item }))
	}},
	{"spend in whole euros", "units confused: cents and euros", "Rounds", func() Config { return only("spend", "", euros()) }},
	{"spend bounded at twice its LInf", "add/remove and replace-one confused: the factor 2", "Neighbours", func() Config {
		return only("spend", "", askingFor(func(_ *bentNode, q *federated.Question) {
			q.Bounds.LInf, q.Bounds.L1 = 2*q.Bounds.LInf, 2*q.Bounds.L1
		}))
	}},
	{"baskets priced in a log", cwe532, "NoLeaks", func() Config {
		return only("spend", "", observing(func(n *bentNode) {
			for _, r := range all(n.c.Sales) {
				for _, l := range r.Lines {
					n.c.Log.Info("line", "cents", l.Spend)
				}
			}
		}))
	}},
	// RFM.
	{"RFM folded by row and not by unit", google, "Neighbours", func() Config {
		return only("rfm", "", perUnit(func(r *federated.Record, n int) { r.Member += fmt.Sprint("-", n) }))
	}},
	{"baskets of RFM counted by row", "a count of rows for a count of baskets", "Rounds", func() Config {
		return only("rfm", "", perUnit(func(r *federated.Record, n int) { r.ID += fmt.Sprint("-", n) }))
	}},
	{"recency to the day after the window", "off by one: the end of an interval", "Rounds", func() Config {
		return only("rfm", "", perUnit(func(r *federated.Record, _ int) {
			if !r.Time.IsZero() {
				r.Time = r.Time.Add(-24 * time.Hour)
			}
		}))
	}},
	{"monetary value that wraps", cwe190, "Rounds", func() Config {
		return only("rfm", "", wrapping(func(string) string { return "all" }))
	}},
	{"monetary value in whole euros", "units confused: cents and euros", "Rounds", func() Config { return only("rfm", "", euros()) }},
	{"items that RFM excepts counted", "a filter lost in a rewrite", "Rounds", func() Config {
		return only("rfm", "", perUnit(func(r *federated.Record, _ int) {
			for i := range r.Lines {
				r.Lines[i].Item = strings.ReplaceAll(r.Lines[i].Item, "coffee", "tea")
			}
		}))
	}},
	// Sketches, trusted.
	{"sketches summed and not joined", "a member of two stores counted twice", "Neighbours", func() Config {
		return joining(federated.TrustedCoordinator, func(rows []report, noised int64) int64 {
			for _, r := range rows {
				noised += ones(r.bitmap)
			}
			return noised - ones(union(rows))
		})
	}},
	{"sketches of which one is forgotten", "a merge that overwrites", "Rounds", func() Config {
		return joining(federated.TrustedCoordinator, func(rows []report, noised int64) int64 {
			return noised - ones(union(rows)) + ones(rows[0].bitmap)
		})
	}},
	{"bins counted in 8 bits", cwe190, "FailsClosed", func() Config {
		return joining(federated.TrustedCoordinator, func(rows []report, noised int64) int64 {
			set := ones(union(rows))
			return noised - set + int64(uint8(set))
		})
	}},
	{"a member in two bins", "a Bloom filter of two hashes, calibrated as of one", "Neighbours", func() Config {
		return only("distinct", federated.TrustedCoordinator, twins())
	}},
	{"bins of a hash without a key", sketches, "Rounds", func() Config {
		return only("distinct", federated.TrustedCoordinator, hashing(func(*bentNode) string { return "" }))
	}},
	{"bins that differ by store", "a salt of its own at every store", "Neighbours", func() Config {
		return only("distinct", federated.TrustedCoordinator, hashing(func(n *bentNode) string { return string(n.c.ID) }))
	}},
	{"a store without members sends no sketch", cwe203, "DataIndependence", func() Config {
		return only("distinct", "", reporting(func(_ *bentNode, r *report) []byte {
			if ones(r.bitmap) == 0 {
				return []byte{}
			}
			return nil
		}))
	}},
	{"members of a sketch in a log", cwe532, "DataIndependence", func() Config {
		return only("distinct", "", observing(func(n *bentNode) {
			n.c.Log.Info("sketched", "members", len(all(n.c.Memberships, n.c.Sales, n.c.Lists)))
		}))
	}},
	// Sketches, local.
	{"a member in two bins that are flipped", "a Bloom filter of two hashes, calibrated as of one", "Neighbours", func() Config {
		return only("distinct", federated.Local, twins())
	}},
	{"homes ignored where nodes flip", "a unit that spans stores bounded at each", "Neighbours", func() Config {
		return only("distinct", federated.Local, bend(func(n *bentNode) {
			rows := n.c.Memberships
			n.c.Memberships = func(yield func(federated.Record, error) bool) {
				for r, err := range rows {
					if r.Stores = []federated.NodeID{n.c.ID}; !yield(r, err) {
						return
					}
				}
			}
		}))
	}},
	{"flips of a seed that all nodes have", reuse, "Noise", func() Config {
		return only("distinct", federated.Local, bend(func(n *bentNode) { n.c.Random = rand.NewChaCha8([32]byte{1}) }))
	}},
	{"the same flips in every round", reuse, "Noise", func() Config {
		return only("distinct", federated.Local, seeded(func(n *bentNode, _ ask) string { return string(n.c.ID) }))
	}},
	{"the same flips for every question of a round", reuse, "Noise", func() Config {
		return only("distinct", federated.Local, seeded(func(n *bentNode, a ask) string { return fmt.Sprint(n.c.ID, a.round, n.c.Epoch) }))
	}},
	{"the same flips in the next epoch", reuse, "Noise", func() Config {
		return only("distinct", federated.Local, seeded(func(n *bentNode, a ask) string {
			q, _ := federated.ParseQuery(a.query)
			return fmt.Sprint(n.c.ID, a.round, q.Question().Privacy)
		}))
	}},
	{"a quarter of the flips from a stream of all nodes", reuse, "Noise", func() Config {
		return only("distinct", federated.Local, wholly(func(_ *bentNode, truth, sent []byte) {
			mask := make([]byte, len(truth)/4)
			fill(rand.NewChaCha8([32]byte{2}), mask, 1)
			copy(sent, xor(truth[:len(mask)], mask))
		}))
	}},
	{"ε doubled by the node that flips", "ε/2 where ε was due: add/remove and replace-one confused", "Noise", func() Config {
		return only("distinct", federated.Local, askingFor(func(_ *bentNode, q *federated.Question) { q.Privacy.Epsilon *= 2 }))
	}},
	{"one node that forgets to flip", "a debug switch left on", "Noise", func() Config {
		return only("distinct", federated.Local, wholly(func(n *bentNode, truth, sent []byte) {
			if strings.HasSuffix(string(n.c.ID), "1") {
				copy(sent, truth)
			}
		}))
	}},
	{"bits that are set never flipped", warner, "Noise", func() Config {
		return only("distinct", federated.Local, wholly(func(_ *bentNode, truth, sent []byte) {
			for i := range sent {
				sent[i] |= truth[i]
			}
		}))
	}},
	{"flipped sketches joined by OR", hehir, "Noise", func() Config {
		return joining(federated.Local, func(rows []report, _ int64) int64 { return ones(union(rows)) })
	}},
	{"fresh flips for who asks again", warner, "Crashes", func() Config {
		return only("distinct", federated.Local, ledgered(func(_ *bentNode, l dp.Ledger) dp.Ledger { return amnesiac{l} }))
	}},
	{"flipped answers that are not stored", wal, "Crashes", func() Config {
		return only("distinct", federated.Local, ledgered(func(_ *bentNode, l dp.Ledger) dp.Ledger { return storesNothing{l} }))
	}},
	{"nodes that flip and charge nothing", "fail-open where no ledger is", "FailsClosed", func() Config {
		return only("distinct", federated.Local, ledgered(func(n *bentNode, l dp.Ledger) dp.Ledger {
			free, err := dp.NewMemoryLedger(dp.Budget{Epsilon: 1e9, Delta: 0.5})
			if err != nil {
				panic(err)
			}
			return free
		}))
	}},
	{"one of a member's homes charged for all", "a unit that spans stores charged at one", "FailsClosed", func() Config {
		return only("distinct", federated.Local, ledgered(func(_ *bentNode, l dp.Ledger) dp.Ledger { return oneHome{l} }))
	}},
	{"any number of homes in an epoch", "loss that is added up by the wrong factor", "FailsClosed", func() Config {
		return only("distinct", federated.Local, bend(func(n *bentNode) {
			n.before = func(b []byte) ([]byte, error) {
				a, err := parseAsk(b)
				if err != nil {
					return b, nil
				}
				q, err := federated.ParseQuery(a.query)
				if err != nil {
					return b, nil
				}
				c := n.c
				c.MaxNodes = q.Question().Bounds.MaxNodes
				n.inner, err = federated.NewNode(c)
				return b, err
			}
		}))
	}},
}

// A fork is a node that is bent for some questions only.
type fork struct {
	asks          func(federated.Query) bool
	healthy, bent Node
}

func (f fork) Answer(ctx context.Context, body []byte) ([]byte, error) {
	if a, err := parseAsk(body); err == nil {
		if q, err := federated.ParseQuery(a.query); err == nil && f.asks(q) {
			return f.bent.Answer(ctx, body)
		}
	}
	return f.healthy.Answer(ctx, body)
}

// only bends nodes for one family of questions, under one trust model or any.
func only(family string, trust federated.Trust, bent Config) Config {
	return Config{Node: func(c federated.NodeConfig) (Node, error) {
		healthy, err := federated.NewNode(c)
		if err != nil {
			return nil, err
		}
		n, err := bent.Node(c)
		return fork{func(q federated.Query) bool {
			return strings.HasPrefix(q.Name(), family) && (trust == "" || trust == q.Question().Trust)
		}, healthy, n}, err
	}}
}

// perUnit changes sales; n is the number of the row.
func perUnit(change func(r *federated.Record, n int)) Config {
	return bend(func(n *bentNode) {
		rows := 0
		eachRecord(n, func(r *federated.Record) bool {
			rows++
			r.Lines = append([]federated.Line(nil), r.Lines...)
			if r.Member != "" {
				change(r, rows)
			}
			return true
		})
	})
}

// euros drop the cents.
func euros() Config {
	return perUnit(func(r *federated.Record, _ int) {
		for i := range r.Lines {
			r.Lines[i].Spend /= 100
		}
	})
}

// wrapping adds the prices of a record's lines up in 64 bits, by item or by what it is made to.
func wrapping(item func(string) string) Config {
	return perUnit(func(r *federated.Record, _ int) {
		sums := map[string]int64{}
		for _, l := range r.Lines {
			if l.Quantity > 0 && l.Spend > 0 && l.Item != "coffee" {
				sums[item(l.Item)] += l.Spend
			}
		}
		r.Lines = nil
		for item, spend := range sums {
			r.Lines = append(r.Lines, federated.Line{Item: item, Quantity: 1, Spend: spend})
		}
	})
}

// twins give every member a second id.
func twins() Config {
	return bend(func(n *bentNode) {
		for _, rs := range []*federated.Records{&n.c.Lists, &n.c.Sales, &n.c.Memberships} {
			inner := *rs
			*rs = func(yield func(federated.Record, error) bool) {
				for r, err := range inner {
					if !yield(r, err) {
						return
					}
					if r.Member != "" {
						r.Member += "-2"
						if !yield(r, err) {
							return
						}
					}
				}
			}
		}
	})
}

// hashing makes pseudonyms of an unkeyed hash and a salt.
func hashing(salt func(*bentNode) string) Config {
	return bend(func(n *bentNode) {
		keyed := n.c.Pseudonym
		if keyed == nil {
			return
		}
		n.c.Pseudonym = func(m string) ([16]byte, error) {
			sum := sha256.Sum256([]byte(salt(n) + m))
			_, err := keyed(m)
			return [16]byte(sum[:16]), err
		}
	})
}

// joining changes what the coordinator makes of sketches.
func joining(trust federated.Trust, of func(rows []report, noised int64) int64) Config {
	return editor(func(b *bentCoordinator, q federated.Query, r *wireRelease) {
		if binsOf(q) == 0 || q.Question().Trust != trust {
			return
		}
		var rows []report
		for _, s := range q.Question().Stores {
			if r, ok := b.reports[s]; ok && r.answers(q, s) == "" {
				rows = append(rows, r)
			}
		}
		if len(rows) > 0 {
			r.Values[0][0] = of(rows, r.Values[0][0])
		}
	})
}

// A seed is randomness that begins anew with every message.
type seed struct {
	mu   sync.Mutex
	from io.Reader
}

func (s *seed) Read(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.from.Read(b)
}

// seeded has a node flip by a seed that it makes of the message.
func seeded(of func(n *bentNode, a ask) string) Config {
	return bend(func(n *bentNode) {
		s := &seed{from: n.c.Random}
		n.c.Random = s
		n.before = func(b []byte) ([]byte, error) {
			if a, err := parseAsk(b); err == nil {
				s.mu.Lock()
				s.from = rand.NewChaCha8(sha256.Sum256([]byte(of(n, a))))
				s.mu.Unlock()
			}
			return b, nil
		}
	})
}

// fill sets bits of b at the rate of ε.
func fill(r *rand.ChaCha8, b []byte, ε float64) {
	from := rand.New(r)
	for i := range 8 * len(b) {
		if from.Float64() < flipRate(ε) {
			b[i/8] |= 1 << (i % 8)
		}
	}
}

// wholly changes what a node sends where it also knows its bitmap before the flips, which
// another node on its records tells, asked at an ε at which no bit is flipped. What was changed is
// sent again as it was.
func wholly(change func(n *bentNode, truth, sent []byte)) Config {
	return bend(func(n *bentNode) {
		said := map[string][]byte{}
		var mu sync.Mutex
		n.after = func(asked, answer []byte, err error) ([]byte, error) {
			r, bad := parseReport(answer)
			a, bad2 := parseAsk(asked)
			if err != nil || bad != nil || bad2 != nil {
				return answer, err
			}
			mu.Lock()
			defer mu.Unlock()
			key := fmt.Sprint(a.round, string(a.query))
			if said[key] != nil {
				return said[key], nil
			}
			q, err := federated.ParseQuery(a.query)
			if err != nil {
				return nil, err
			}
			c, question := n.c, q.Question()
			question.Privacy.Epsilon = 1e6
			if q, err = remake(q, question); err != nil {
				return nil, err
			}
			c.Ledger, err = dp.NewMemoryLedger(dp.Budget{Epsilon: 1e12, Delta: 0.5})
			if err != nil {
				return nil, err
			}
			other, err := federated.NewNode(c)
			if err != nil {
				return nil, err
			}
			b, err := other.Answer(context.Background(), askOf(q, 1).encode())
			if err != nil {
				return nil, err
			}
			truth, err := parseReport(b)
			if err != nil {
				return nil, err
			}
			change(n, truth.bitmap, r.bitmap)
			said[key] = r.encode()
			return said[key], nil
		}
	})
}

// ledgered gives nodes that have a ledger another.
func ledgered(of func(n *bentNode, l dp.Ledger) dp.Ledger) Config {
	return bend(func(n *bentNode) {
		if n.c.Ledger != nil {
			n.c.Ledger = of(n, n.c.Ledger)
		}
	})
}

// amnesiac has a charge once, and no answer to it.
type amnesiac struct{ dp.Ledger }

func (l amnesiac) Reserve(ctx context.Context, c dp.Charge) (dp.Entry, error) {
	e, err := l.Ledger.Reserve(ctx, c)
	if errors.Is(err, dp.ErrAlreadyCharged) {
		return dp.Entry{Charge: c}, nil
	}
	return e, err
}

func (l amnesiac) Commit(ctx context.Context, k dp.Key, b []byte) error {
	_ = l.Ledger.Commit(ctx, k, b) // it may have stored another
	return nil
}

// storesNothing loses answers.
type storesNothing struct{ dp.Ledger }

func (storesNothing) Commit(context.Context, dp.Key, []byte) error { return nil }

// oneHome charges what one bitmap costs.
type oneHome struct{ dp.Ledger }

func (l oneHome) Reserve(ctx context.Context, c dp.Charge) (dp.Entry, error) {
	if len(c.Events) == 1 && c.Events[0].Mechanism == dp.PureDP {
		c.Cost.Epsilon, c.Events[0].Count = c.Events[0].Epsilon, 1
	}
	return l.Ledger.Reserve(ctx, c)
}

func TestSabotageSpendRFMAndSketches(t *testing.T) {
	var builds []dptest.Sabotage
	for i, s := range sketchSabotages {
		if testing.Short() && i%12 != 0 {
			continue
		}
		builds = append(builds, dptest.Sabotage{Name: s.name, Source: s.source, Check: func() error {
			c := s.build()
			for _, k := range append(allChecks, virtualRounds) {
				if k.name == s.by { // as many as by default, whatever -short says
					c.Runs = k.runs
				}
			}
			return caught(t, s.by, c)
		}})
	}
	dptest.KillMatrix(t, builds)
}
