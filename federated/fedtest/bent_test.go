package fedtest

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/larder-dp/larder/dp"
	"github.com/larder-dp/larder/dp/dptest"
	"github.com/larder-dp/larder/federated"
)

// The parts of the sabotaged builds: Larder's own node and coordinator, bent at
// one place. Nothing here is known to the checks.

// A bentNode is a *federated.Node with something wrong around it.
type bentNode struct {
	c      federated.NodeConfig
	inner  Node
	before func(body []byte) ([]byte, error)                     // changes what is asked
	after  func(asked, answer []byte, err error) ([]byte, error) // and what is answered
}

func (n *bentNode) Answer(ctx context.Context, body []byte) ([]byte, error) {
	asked := body
	if n.before != nil {
		var err error
		if asked, err = n.before(body); err != nil {
			return nil, err
		}
	}
	out, err := n.inner.Answer(ctx, asked)
	if n.after != nil {
		return n.after(body, out, err)
	}
	return out, err
}

// bend makes nodes that change does something to.
func bend(change func(*bentNode)) Config {
	return Config{Node: func(c federated.NodeConfig) (Node, error) {
		n := &bentNode{c: c}
		change(n)
		inner, err := federated.NewNode(n.c)
		n.inner = inner
		return n, err
	}}
}

// alsoBend changes nodes of c once more.
func alsoBend(c Config, change func(*bentNode)) Config {
	inner := c.Node
	c.Node = func(nc federated.NodeConfig) (Node, error) {
		n, err := inner(nc)
		change(n.(*bentNode))
		return n, err
	}
	return c
}

// reporting changes the reports of a node.
func reporting(change func(n *bentNode, r *report) []byte) Config {
	return bend(func(n *bentNode) {
		n.after = func(_, answer []byte, err error) ([]byte, error) {
			r, bad := parseReport(answer)
			if err != nil || bad != nil {
				return answer, err
			}
			if b := change(n, &r); b != nil {
				return b, nil
			}
			return r.encode(), nil
		}
	})
}

// refusing changes the refusals of a node.
func refusing(change func(n *bentNode, r *refusal)) Config {
	return bend(func(n *bentNode) {
		n.after = func(_, answer []byte, err error) ([]byte, error) {
			r, bad := parseRefusal(answer)
			if err != nil || bad != nil {
				return answer, err
			}
			change(n, &r)
			return append([]byte(refusalMagic), asJSON(r)...), nil
		}
	})
}

// observing does something whenever a node has reported.
func observing(do func(n *bentNode)) Config {
	return reporting(func(n *bentNode, _ *report) []byte { do(n); return nil })
}

// askingFor has a node answer a question other than the one it says it answers.
func askingFor(change func(n *bentNode, q *federated.Question)) Config {
	return bend(func(n *bentNode) {
		digests := map[federated.Digest]federated.Query{}
		var mu sync.Mutex
		n.before = func(body []byte) ([]byte, error) {
			a, err := parseAsk(body)
			if err != nil {
				return body, nil
			}
			q, err := federated.ParseQuery(a.query)
			if err != nil {
				return body, nil
			}
			asked := q.Question()
			change(n, &asked)
			other, err := remake(q, asked)
			if err != nil {
				return body, nil
			}
			mu.Lock()
			digests[other.Digest()] = q
			mu.Unlock()
			a.query, _ = other.MarshalJSON()
			return a.encode(), nil
		}
		n.after = func(_, answer []byte, err error) ([]byte, error) {
			r, bad := parseReport(answer)
			if err != nil || bad != nil {
				return answer, err
			}
			mu.Lock()
			defer mu.Unlock()
			if q, ok := digests[r.digest]; ok {
				r.digest, r.epoch = q.Digest(), q.Question().Epoch
			}
			return r.encode(), nil
		}
	})
}

func everything() federated.Policy {
	return anything(nil)
}

func remake(q federated.Query, asked federated.Question) (federated.Query, error) {
	switch q.Name() {
	case "member_count/1":
		return federated.MemberCount(asked)
	case "net_demand/1":
		return federated.NetDemand(asked)
	case "spend/1":
		return federated.Spend(asked)
	case "distinct_members/1":
		return federated.DistinctMembers(asked, binsOf(q))
	}
	return federated.Query{}, errors.New("no such query")
}

// eachRecord changes all records of a node.
func eachRecord(n *bentNode, change func(*federated.Record) bool) {
	for _, rs := range []*federated.Records{&n.c.Lists, &n.c.Sales} {
		inner := *rs
		*rs = func(yield func(federated.Record, error) bool) {
			for r, err := range inner {
				if err == nil && !change(&r) {
					continue
				}
				if !yield(r, err) {
					return
				}
			}
		}
	}
}

func all(rs ...federated.Records) (out []federated.Record) {
	for _, r := range rs {
		if r != nil {
			for x, err := range r {
				if err == nil {
					out = append(out, x)
				}
			}
		}
	}
	return out
}

func (n *bentNode) members() (out []string) {
	for _, r := range all(n.c.Memberships, n.c.Lists, n.c.Sales) {
		if r.Member != "" {
			out = append(out, r.Member)
		}
	}
	return out
}

// A bentCoordinator is a *federated.Coordinator that hears through one fault and
// stores through another.
type bentCoordinator struct {
	c       federated.CoordinatorConfig
	inner   *federated.Coordinator
	each    func(c *bentCoordinator) // before every run
	hear    func(c *bentCoordinator, q federated.Query, ms []federated.Message) []federated.Message
	edit    func(c *bentCoordinator, q federated.Query, r *wireRelease)
	run     func(c *bentCoordinator, ctx context.Context, q federated.Query) (*federated.Release, error)
	mu      sync.Mutex // one round at a time
	q       federated.Query
	reports map[federated.NodeID]report
	patient bool // keeps listening after the deadline
}

// wireRelease has the fields of a release's format.
type wireRelease struct {
	Format     string             `json:"format"`
	Label      federated.Label    `json:"label"`
	Stores     []federated.NodeID `json:"stores"`
	Partitions []string           `json:"partitions"`
	Inventory  [][]int64          `json:"inventory"`
	Values     [][]int64          `json:"values"`
	Cells      [][3]int64         `json:"cells"`
}

func bendCoordinator(change func(*bentCoordinator)) Config {
	return Config{Coordinator: func(c federated.CoordinatorConfig) (Coordinator, error) {
		b := &bentCoordinator{c: c, reports: map[federated.NodeID]report{}}
		change(b)
		return b, b.renew()
	}}
}

func (b *bentCoordinator) renew() (err error) {
	c := b.c
	c.Transport, c.Ledger = bentTransport{b.c.Transport, b}, editing{b.c.Ledger, b}
	c.Deadline *= 3 // it hears what came in time only when that time is over
	b.inner, err = federated.NewCoordinator(c)
	return err
}

func (b *bentCoordinator) Run(ctx context.Context, q federated.Query) (*federated.Release, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.q = q
	if b.each != nil {
		b.each(b)
	}
	if b.run != nil {
		return b.run(b, ctx, q)
	}
	rel, err := b.inner.Run(ctx, q)
	if err != nil || b.edit == nil {
		return rel, err
	}
	e, err := b.c.Ledger.Lookup(ctx, keyOf(q))
	if err != nil {
		return nil, err
	}
	return federated.ParseRelease(e.Release)
}

type bentTransport struct {
	federated.Transport
	b *bentCoordinator
}

func (t bentTransport) Exchange(ctx context.Context, out []federated.Message, deliver func(federated.Message)) error {
	var mu sync.Mutex
	var ms []federated.Message
	inner, cancel := context.WithTimeout(ctx, t.b.c.Deadline)
	defer cancel()
	err := t.Transport.Exchange(inner, out, func(m federated.Message) {
		mu.Lock()
		defer mu.Unlock()
		if inner.Err() == nil || t.b.patient {
			ms = append(ms, m)
		}
	})
	if err != nil {
		return err
	}
	mu.Lock()
	defer mu.Unlock()
	if t.b.hear != nil {
		ms = t.b.hear(t.b, t.b.q, ms)
	}
	for _, m := range ms {
		if r, err := parseReport(m.Body); err == nil {
			t.b.reports[m.From] = r
		}
		deliver(m)
	}
	return nil
}

type editing struct {
	dp.Ledger
	b *bentCoordinator
}

func (l editing) Commit(ctx context.Context, k dp.Key, release []byte) error {
	if l.b.edit != nil {
		var w wireRelease
		if err := json.Unmarshal(release, &w); err != nil {
			return err
		}
		l.b.edit(l.b, l.b.q, &w)
		var err error
		if release, err = json.Marshal(w); err != nil {
			return err
		}
	}
	return l.Ledger.Commit(ctx, k, release)
}

func (b *bentCoordinator) truth(store federated.NodeID) []int64 {
	if store == "*" {
		var rows []report
		for _, r := range b.reports {
			rows = append(rows, r)
		}
		return summed(rows).amounts
	}
	return b.reports[store].amounts
}

func editor(edit func(*bentCoordinator, federated.Query, *wireRelease)) Config {
	return bendCoordinator(func(b *bentCoordinator) { b.edit = edit })
}

func hearer(hear func(b *bentCoordinator, q federated.Query, ms []federated.Message) []federated.Message) Config {
	return bendCoordinator(func(b *bentCoordinator) { b.hear = hear })
}

func runner(run func(b *bentCoordinator, ctx context.Context, q federated.Query) (*federated.Release, error)) Config {
	return bendCoordinator(func(b *bentCoordinator) { b.run = run })
}

// stamped makes a report one about q, from whoever sent it.
func stamped(q federated.Query, m federated.Message, r report) federated.Message {
	asked := q.Question()
	r.digest, r.epoch, r.round, r.node = q.Digest(), asked.Epoch, asked.Round, m.From
	m.Body = r.encode()
	return m
}

// A bentLedger is a memory ledger with hooks.
type bentLedger struct {
	*dp.MemoryLedger
	reserve func(l *bentLedger, ctx context.Context, c dp.Charge) (dp.Entry, error)
	lookup  func(l *bentLedger, ctx context.Context, k dp.Key) (dp.Entry, error)
	commit  func(l *bentLedger, ctx context.Context, k dp.Key, release []byte) error
	open    map[dp.Key]dp.Charge
}

func (l *bentLedger) Reserve(ctx context.Context, c dp.Charge) (dp.Entry, error) {
	if l.reserve != nil {
		return l.reserve(l, ctx, c)
	}
	return l.MemoryLedger.Reserve(ctx, c)
}

func (l *bentLedger) Lookup(ctx context.Context, k dp.Key) (dp.Entry, error) {
	if l.lookup != nil {
		return l.lookup(l, ctx, k)
	}
	return l.MemoryLedger.Lookup(ctx, k)
}

func (l *bentLedger) Commit(ctx context.Context, k dp.Key, release []byte) error {
	if l.commit != nil {
		return l.commit(l, ctx, k, release)
	}
	return l.MemoryLedger.Commit(ctx, k, release)
}

func ledgers(change func(*bentLedger), reopen func(*bentLedger) (dp.Ledger, error)) Config {
	return Config{Ledger: dptest.LedgerKit{
		New: func(b dp.Budget) (dp.Ledger, error) {
			m, err := dp.NewMemoryLedger(b)
			l := &bentLedger{MemoryLedger: m, open: map[dp.Key]dp.Charge{}}
			change(l)
			return l, err
		},
		Reopen: func(l dp.Ledger) (dp.Ledger, error) {
			if reopen != nil {
				return reopen(l.(*bentLedger))
			}
			return l, nil
		},
	}}
}

// A registry is a team's metrics.
type registry struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (r *registry) set(format string, a ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	fmt.Fprintf(&r.b, format+"\n", a...)
}

func (r *registry) show() []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.b.Bytes())
}

func metered(of func(r *registry) Config) Config {
	r := &registry{}
	c := of(r)
	c.Metrics = r.show
	return c
}

// spool is where a sabotaged build writes files.
func spool(of func(write func(name string, b []byte)) Config) Config {
	dir, err := os.MkdirTemp("", "fedtest")
	if err != nil {
		panic(err)
	}
	c := of(func(name string, b []byte) {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			panic(err)
		}
	})
	c.Files = append(c.Files, os.DirFS(dir))
	return c
}

func zipped(b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, _ = w.Write(b)
	_ = w.Close()
	return out.Bytes()
}
