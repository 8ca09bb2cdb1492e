package fedtest

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"

	"github.com/larder-dp/larder/dp"
	"github.com/larder-dp/larder/federated"
)

// The builds of FailsClosed and Crashes: policy, protocol, budget, ledger.
var closedSabotages = []sabotage{
	{"node policy ignored", "fail-open authorisation", "FailsClosed", func() Config {
		return bend(func(n *bentNode) { n.c.Allow = everything() })
	}},
	{"digest not checked", "policy looks at the name alone", "FailsClosed", func() Config {
		return bend(func(n *bentNode) {
			if len(n.c.Allow.Digests) > 0 {
				n.c.Allow = everything()
			}
		})
	}},
	{"limits without the quorum", "fail-open on a zero field", "FailsClosed", func() Config {
		return bend(func(n *bentNode) {
			for name, l := range n.c.Allow.Names {
				l.MinQuorum = min(max(l.MinQuorum, 1), 1)
				n.c.Allow.Names[name] = l
			}
		})
	}},
	{"wrong epoch answered", "a fresh budget for old records", "FailsClosed", func() Config {
		return askingFor(func(n *bentNode, q *federated.Question) { q.Epoch = n.c.Epoch })
	}},
	{"roster not checked", "queries to one store alone", "FailsClosed", func() Config {
		return askingFor(func(n *bentNode, q *federated.Question) {
			if !slices.Contains(q.Stores, n.c.ID) {
				q.Stores = append(q.Stores, n.c.ID)
			}
		})
	}},
	{"node reports before it charges", wal, "FailsClosed", func() Config {
		return bend(func(n *bentNode) {
			l := n.c.Ledger
			n.c.Ledger = nil
			var owed []dp.Charge
			if l == nil {
				return
			}
			n.before = func(b []byte) ([]byte, error) {
				for _, c := range owed {
					_, _ = l.Reserve(context.Background(), c)
				}
				if a, err := parseAsk(b); err == nil {
					if q, err := federated.ParseQuery(a.query); err == nil {
						owed = append(owed, dp.Charge{Key: dp.Key{Epoch: n.c.Epoch, Round: a.round, Digest: q.Digest()}, Unit: string(q.Question().Unit), Cost: q.Cost()})
					}
				}
				return b, nil
			}
		})
	}},
	{"node answers a coordinator that was restarted", "two noisings of one report", "FailsClosed", func() Config {
		return bend(func(n *bentNode) {
			n.before = func(b []byte) ([]byte, error) {
				if a, err := parseAsk(b); err == nil {
					a.session = [16]byte{}
					return a.encode(), nil
				}
				return b, nil
			}
		})
	}},
	{"sums in 32 bits", cwe190, "FailsClosed", func() Config {
		return hearer(func(_ *bentCoordinator, q federated.Query, ms []federated.Message) []federated.Message {
			for i, m := range ms {
				if r, err := parseReport(m.Body); err == nil {
					for p := range r.amounts {
						r.amounts[p] = int64(uint32(r.amounts[p]))
					}
					ms[i].Body = r.encode()
				}
			}
			return ms
		})
	}},
	{"question changed after its digest", "time of check, time of use", "FailsClosed", func() Config {
		c := Config{Coordinator: func(cc federated.CoordinatorConfig) (Coordinator, error) {
			cc.Transport = swapping{cc.Transport}
			return federated.NewCoordinator(cc)
		}}
		return c
	}},
	{"charge after release", wal, "FailsClosed", func() Config {
		return bendCoordinator(func(b *bentCoordinator) { b.c.Ledger = &chargesLast{Ledger: b.c.Ledger} })
	}},
	{"refund on failure", "a reservation that expires", "FailsClosed", func() Config {
		return ledgers(func(l *bentLedger) {
			l.reserve = func(l *bentLedger, ctx context.Context, c dp.Charge) (dp.Entry, error) {
				e, err := l.MemoryLedger.Reserve(ctx, c)
				if errors.Is(err, dp.ErrAlreadyCharged) {
					if was, _ := l.MemoryLedger.Lookup(ctx, c.Key); was.Release == nil {
						return was, nil
					}
				}
				return e, err
			}
			l.lookup = func(l *bentLedger, ctx context.Context, k dp.Key) (dp.Entry, error) {
				e, err := l.MemoryLedger.Lookup(ctx, k)
				if err == nil && e.Release == nil {
					return dp.Entry{}, dp.ErrNotCharged
				}
				return e, err
			}
		}, nil)
	}},
	{"noise drawn again for a retry", "privacy.md: noise added twice", "FailsClosed", func() Config {
		return runner(func(b *bentCoordinator, ctx context.Context, q federated.Query) (*federated.Release, error) {
			rel, err := b.inner.Run(ctx, q)
			if !errors.Is(err, federated.ErrInterrupted) {
				return rel, err
			}
			return b.unbounded(ctx, q)
		})
	}},
	{"stored release recomputed", "a cache that is not asked", "FailsClosed", func() Config {
		known := map[dp.Key]bool{}
		return runner(func(b *bentCoordinator, ctx context.Context, q federated.Query) (*federated.Release, error) {
			rel, err := b.inner.Run(ctx, q)
			if err != nil || !known[keyOf(q)] || selects(q) {
				known[keyOf(q)] = true
				return rel, err
			}
			var w wireRelease
			if err := json.Unmarshal([]byte(asJSON(rel)), &w); err != nil {
				return nil, err
			}
			w.Values[0][0] += 1 + rand.Int64N(9)
			return federated.ParseRelease([]byte(asJSON(w)))
		})
	}},
	{"told before it is stored", wal, "FailsClosed", func() Config {
		return bendCoordinator(func(b *bentCoordinator) { b.c.Ledger = &forgetful{Ledger: b.c.Ledger} })
	}},
	{"half of the cost charged", "count ignored", "FailsClosed", func() Config {
		return bendCoordinator(func(b *bentCoordinator) { b.c.Ledger = cheap{b.c.Ledger} })
	}},
	{"budget not asked", "fail-open on an error of the ledger", "FailsClosed", func() Config {
		return runner(func(b *bentCoordinator, ctx context.Context, q federated.Query) (*federated.Release, error) {
			rel, err := b.inner.Run(ctx, q)
			var over *dp.BudgetError
			if !errors.As(err, &over) {
				return rel, err
			}
			return b.unbounded(ctx, q)
		})
	}},
	{"sums kept from round to round", "an accumulator that is not reset", "FailsClosed", func() Config {
		total := map[*bentNode][]int64{}
		return reporting(func(n *bentNode, r *report) []byte {
			if len(total[n]) != len(r.amounts) {
				total[n] = make([]int64, len(r.amounts))
			}
			for p := range r.amounts {
				total[n][p] += r.amounts[p]
				r.amounts[p] = total[n][p]
			}
			return nil
		})
	}},
	{"release cached by question and not by round", "a cache key that lacks a field", "FailsClosed", func() Config {
		return bendCoordinator(func(b *bentCoordinator) {
			cache := map[federated.Digest]*federated.Release{}
			b.run = func(b *bentCoordinator, ctx context.Context, q federated.Query) (*federated.Release, error) {
				if rel := cache[q.Digest()]; rel != nil {
					return rel, nil
				}
				rel, err := b.inner.Run(ctx, q)
				cache[q.Digest()] = rel
				return rel, err
			}
		})
	}},
	{"partial release beside an error", "a value beside an error", "FailsClosed", func() Config {
		return runner(func(b *bentCoordinator, ctx context.Context, q federated.Query) (*federated.Release, error) {
			rel, err := b.inner.Run(ctx, q)
			if err != nil && rel == nil {
				return &federated.Release{}, err
			}
			return rel, err
		})
	}},
	{"charge lost at a crash", wal, "Crashes", func() Config {
		return ledgers(func(*bentLedger) {}, func(l *bentLedger) (dp.Ledger, error) {
			m, err := dp.NewMemoryLedger(dp.Budget{Epsilon: 64, Delta: 0.25})
			return &bentLedger{MemoryLedger: m, open: map[dp.Key]dp.Charge{}}, err
		})
	}},
	{"release lost at a crash", wal, "Crashes", func() Config {
		return ledgers(func(l *bentLedger) {
			l.commit = func(l *bentLedger, ctx context.Context, k dp.Key, release []byte) error { return nil }
		}, nil)
	}},
	{"charge doubled by a retry", "no idempotence key", "Crashes", func() Config {
		return ledgers(func(l *bentLedger) {
			l.reserve = func(l *bentLedger, ctx context.Context, c dp.Charge) (dp.Entry, error) {
				e, err := l.MemoryLedger.Reserve(ctx, c)
				if errors.Is(err, dp.ErrAlreadyCharged) {
					c.Key.Round += 1 << 40
					_, _ = l.MemoryLedger.Reserve(ctx, c)
				}
				return e, err
			}
		}, nil)
	}},
	{"node's ledger keyed by session", "two noisings of one report", "Crashes", func() Config {
		return bend(func(n *bentNode) {
			if n.c.Ledger == nil {
				return
			}
			l := &bySession{Ledger: n.c.Ledger}
			n.c.Ledger = l
			n.before = func(b []byte) ([]byte, error) {
				if a, err := parseAsk(b); err == nil {
					l.session = a.session
				}
				return b, nil
			}
		})
	}},
	{"limits without δ", "δ=0 read as unset", "FailsClosed", func() Config {
		return limiting(func(l *federated.Limits) {
			if l.Budget.Validate() == nil {
				l.Budget.Delta = 0.999
			}
		})
	}},
	{"limits that are no numbers allow all", "CWE-1077: comparisons with NaN", "FailsClosed", func() Config {
		return limiting(func(l *federated.Limits) {
			if l.Budget.Validate() != nil {
				l.Budget = dp.Budget{Epsilon: 1e9, Delta: 0.5}
			}
		})
	}},
	{"any version of a function", "policy looks at the name alone", "FailsClosed", func() Config {
		return rules(func(n *bentNode, q federated.Query) {
			for name, l := range n.c.Allow.Names {
				if strings.Split(name, "/")[0] == strings.Split(q.Name(), "/")[0] {
					n.c.Allow.Names = map[string]federated.Limits{q.Name(): l}
				}
			}
		})
	}},
	{"digests compared by their beginning", "CWE-697: a hash compared in part", "FailsClosed", func() Config {
		return rules(func(n *bentNode, q federated.Query) {
			for _, d := range n.c.Allow.Digests {
				if d[0] == q.Digest()[0] {
					n.c.Allow = federated.AllowQueries(q)
				}
			}
		})
	}},
	{"a question that was answered opens others", "a session authorised once", "FailsClosed", func() Config {
		return bend(func(n *bentNode) {
			open := false
			n.before = func(body []byte) ([]byte, error) {
				if open {
					n.c.Allow = everything()
					inner, err := federated.NewNode(n.c)
					n.inner = inner
					return body, err
				}
				return body, nil
			}
			n.after = func(_, answer []byte, err error) ([]byte, error) {
				if _, bad := parseReport(answer); bad == nil && err == nil && len(n.c.Allow.Digests) > 0 {
					open = true
				}
				return answer, err
			}
		})
	}},
	{"a ledger made up where there is none", "an in-memory default", "FailsClosed", func() Config {
		return Config{Coordinator: func(c federated.CoordinatorConfig) (Coordinator, error) {
			if c.Ledger == nil {
				c.Ledger, _ = dp.NewMemoryLedger(dp.Budget{Epsilon: 1000, Delta: 0.5})
			}
			return federated.NewCoordinator(c)
		}}
	}},
	{"release cached without bounds and cost", "a cache key that lacks a field", "FailsClosed", func() Config {
		return bendCoordinator(func(b *bentCoordinator) {
			cached := map[string]*federated.Release{}
			b.run = func(b *bentCoordinator, ctx context.Context, q federated.Query) (*federated.Release, error) {
				asked := q.Question()
				key := fmt.Sprint(q.Name(), asked.Stores, asked.Partitions, asked.Epoch, asked.Window, asked.Unit, asked.Round)
				if cached[key] != nil {
					return cached[key], nil
				}
				rel, err := b.inner.Run(ctx, q)
				if err == nil {
					cached[key] = rel
				}
				return rel, err
			}
		})
	}},
}

// swapping sends nodes another question than the one that was charged, and
// makes their answers look like answers to it.
type swapping struct{ federated.Transport }

func (s swapping) Exchange(ctx context.Context, out []federated.Message, deliver func(federated.Message)) error {
	var was federated.Query
	out = slices.Clone(out)
	for i, m := range out {
		a, err := parseAsk(m.Body)
		if err != nil {
			continue
		}
		if was, err = federated.ParseQuery(a.query); err != nil {
			continue
		}
		asked := was.Question()
		asked.Bounds.L0 += 3
		if other, err := remake(was, asked); err == nil {
			a.query, _ = other.MarshalJSON()
			out[i].Body = a.encode()
		}
	}
	return s.Transport.Exchange(ctx, out, func(m federated.Message) {
		if r, err := parseReport(m.Body); err == nil {
			r.digest = was.Digest()
			m.Body = r.encode()
		}
		deliver(m)
	})
}

// chargesLast reserves when it commits.
type chargesLast struct {
	dp.Ledger
	mu   sync.Mutex
	owed map[dp.Key]dp.Charge
}

func (l *chargesLast) Reserve(ctx context.Context, c dp.Charge) (dp.Entry, error) {
	if _, err := l.Ledger.Lookup(ctx, c.Key); err == nil {
		return dp.Entry{}, dp.ErrAlreadyCharged
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.owed == nil {
		l.owed = map[dp.Key]dp.Charge{}
	}
	l.owed[c.Key] = c
	return dp.Entry{Charge: c}, nil
}

func (l *chargesLast) Commit(ctx context.Context, k dp.Key, release []byte) error {
	l.mu.Lock()
	c := l.owed[k]
	l.mu.Unlock()
	if _, err := l.Ledger.Reserve(ctx, c); err != nil {
		return err
	}
	return l.Ledger.Commit(ctx, k, release)
}

// forgetful keeps releases in memory and stores them when the next is asked for.
type forgetful struct {
	dp.Ledger
	mu    sync.Mutex
	later map[dp.Key][]byte
}

func (l *forgetful) Commit(_ context.Context, k dp.Key, release []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.later == nil {
		l.later = map[dp.Key][]byte{}
	}
	l.later[k] = release
	return nil
}

func (l *forgetful) Lookup(ctx context.Context, k dp.Key) (dp.Entry, error) {
	l.mu.Lock()
	for k, r := range l.later {
		_ = l.Ledger.Commit(ctx, k, r)
	}
	l.later = nil
	l.mu.Unlock()
	return l.Ledger.Lookup(ctx, k)
}

// cheap charges half.
type cheap struct{ dp.Ledger }

func (l cheap) Reserve(ctx context.Context, c dp.Charge) (dp.Entry, error) {
	c.Cost.Epsilon /= 2
	return l.Ledger.Reserve(ctx, c)
}

// bySession forgets which session asked first.
type bySession struct {
	dp.Ledger
	session [16]byte
}

func (l *bySession) key(k dp.Key) dp.Key {
	k.Digest = sha256.Sum256(append(k.Digest[:], l.session[:]...))
	return k
}

func (l *bySession) Reserve(ctx context.Context, c dp.Charge) (dp.Entry, error) {
	c.Key = l.key(c.Key)
	return l.Ledger.Reserve(ctx, c)
}

func (l *bySession) Lookup(ctx context.Context, k dp.Key) (dp.Entry, error) {
	return l.Ledger.Lookup(ctx, l.key(k))
}

func (l *bySession) Commit(ctx context.Context, k dp.Key, b []byte) error {
	return l.Ledger.Commit(ctx, l.key(k), b)
}

// limiting changes all limits of a node's policy.
func limiting(change func(*federated.Limits)) Config {
	return bend(func(n *bentNode) {
		names := map[string]federated.Limits{}
		for name, l := range n.c.Allow.Names {
			change(&l)
			names[name] = l
		}
		n.c.Allow.Names = names
	})
}

// rules lets a node change its policy once it knows what is asked.
func rules(change func(n *bentNode, q federated.Query)) Config {
	return bend(func(n *bentNode) {
		n.before = func(body []byte) ([]byte, error) {
			if a, err := parseAsk(body); err == nil {
				if q, err := federated.ParseQuery(a.query); err == nil {
					changed := bentNode{c: n.c}
					change(&changed, q)
					inner, err := federated.NewNode(changed.c)
					n.inner = inner
					return body, err
				}
			}
			return body, nil
		}
	})
}

// unbounded asks with another coordinator, whose ledger allows anything.
func (b *bentCoordinator) unbounded(ctx context.Context, q federated.Query) (*federated.Release, error) {
	c := b.c
	c.Ledger, _ = dp.NewMemoryLedger(dp.Budget{Epsilon: 1e9, Delta: 0.5})
	again, err := federated.NewCoordinator(c)
	if err != nil {
		return nil, err
	}
	return again.Run(ctx, q)
}
