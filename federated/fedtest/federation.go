package fedtest

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/larder-dp/larder/dp"
	"github.com/larder-dp/larder/federated"
)

// A Federation is a coordinator and its nodes in memory, over a made-up world,
// with faults as a script and a wiretap on everything. The same seed gives the
// same bytes. Not safe for concurrent use, but for Run.
type Federation struct {
	t     testing.TB // nil in checks, whose scripts are right
	c     Config
	w     *world
	setup setup
	h     *history
	tap   *Wiretap
	lane  *lane

	nodes       map[federated.NodeID]*nodeProcess
	coordinator *coordinatorProcess
	deadline    time.Duration
}

// setup is what one check wants of a federation.
type setup struct {
	seed       uint64
	budget     dp.Budget
	nodeBudget *dp.Budget // nodes have ledgers of their own
	allow      func(federated.NodeID) federated.Policy
	deadline   time.Duration
	node       func(*federated.NodeConfig) // last changes
	noTransit  bool                        // call nodes directly, whatever Config.Transport
}

type nodeProcess struct {
	f       *Federation
	id      federated.NodeID
	p       *process
	node    Node
	ledger  dp.Ledger
	coins   *coins // of the noise that the node draws itself
	mu      sync.Mutex
	records int // that were read since it started
}

type coordinatorProcess struct {
	p      *process
	c      Coordinator
	ledger dp.Ledger
	gate   *gate
	coins  *coins
}

// NewFederation returns the federation of a seed, of so many stores, s000001, s000002
// and on, and privacy units; 0 stores means as drawn, of other names. A question under
// federated.Local is for few stores only. LARDER_SEED overrides seed, and a test that
// fails prints the command that replays it. Its coordinator's budget is ε 1,000 an
// epoch, δ 0.5.
func NewFederation(t testing.TB, c Config, seed uint64, stores, units int) *Federation {
	t.Helper()
	c, err := c.filled()
	if err != nil {
		t.Fatal(err)
	}
	if s := os.Getenv("LARDER_SEED"); s != "" {
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatalf("read LARDER_SEED: %v", err)
		}
	}
	w := c.drawWorld(seed)
	if stores > 0 {
		w = c.grown(seed, stores, units)
	}
	f, err := c.federation(w, setup{seed: seed, budget: dp.Budget{Epsilon: 1000, Delta: 0.5}})
	if err != nil {
		t.Fatal(err)
	}
	f.t = t
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("replay  %s", replay(t, seed))
		}
	})
	return f
}

// federation starts all processes.
func (c Config) federation(w *world, s setup) (*Federation, error) {
	f := &Federation{
		c: c, w: w, setup: s, h: &history{}, tap: &Wiretap{}, nodes: map[federated.NodeID]*nodeProcess{},
		deadline: s.deadline,
	}
	if f.deadline == 0 {
		f.deadline = time.Minute
	}
	for _, id := range w.stores {
		f.nodes[id] = &nodeProcess{f: f, id: id}
		if err := f.startNode(id); err != nil {
			return nil, err
		}
	}
	f.lane = &lane{f: f, inner: direct{f}}
	if c.Transport != nil && !s.noTransit {
		nodes := map[federated.NodeID]Node{}
		for id, n := range f.nodes {
			nodes[id] = n
		}
		var err error
		if f.lane.inner, err = c.Transport(nodes); err != nil {
			return nil, fmt.Errorf("make transport: %w", err)
		}
	}
	f.coordinator = &coordinatorProcess{}
	return f, f.startCoordinator()
}

// open returns the ledger of a process that starts: a new one, or what the last
// life left.
func (f *Federation) open(before dp.Ledger, b dp.Budget) (l dp.Ledger, err error) {
	if before != nil && f.c.Ledger.Reopen == nil {
		return nil, errors.New("restart: Config.Ledger has no Reopen")
	}
	make := func() {
		if before == nil {
			l, err = f.c.Ledger.New(b)
		} else {
			l, err = f.c.Ledger.Reopen(before)
		}
	}
	if f.c.outside != nil {
		f.c.outside(make)
	} else {
		make()
	}
	return l, err
}

func (f *Federation) startNode(id federated.NodeID) error {
	n := f.nodes[id]
	life := 0
	if n.p != nil {
		life = n.p.life + 1
	}
	n.p = &process{h: f.h, name: string(id), life: life}
	nc := federated.NodeConfig{
		ID: id, Epoch: f.w.epoch, Inventory: f.w.stock(id), Functions: f.c.Functions,
		Secret: secretOf(id), Log: slogTo(f.tap),
	}
	var err error
	if nc.Pseudonym, err = f.c.Pseudonym(f.w.epoch); err != nil {
		return fmt.Errorf("make pseudonym: %w", err)
	}
	for kind, to := range map[federated.Kind]*federated.Records{
		federated.Lists: &nc.Lists, federated.Sales: &nc.Sales, federated.Memberships: &nc.Memberships,
	} {
		rs, err := f.c.Source(id, kind, f.w.records(id, kind))
		if err != nil {
			return fmt.Errorf("make source: %w", err)
		}
		*to = n.counted(rs)
	}
	if f.setup.allow != nil {
		nc.Allow = f.setup.allow(id)
	} else {
		nc.Allow = anything(f.c.Functions)
	}
	n.coins = newCoins(n.p, f.setup.seed)
	nc.Random, nc.MaxNodes = n.coins, f.w.bounds.MaxNodes
	own := f.setup.nodeBudget
	if own == nil && f.w.tpl.Trust == federated.Local { // which takes one
		own = &f.setup.budget
	}
	if own != nil {
		if n.ledger, err = f.open(n.ledger, *own); err != nil {
			return fmt.Errorf("open ledger of a node: %w", err)
		}
		nc.Ledger, _ = newGate(n.ledger, n.p)
	}
	if f.setup.node != nil {
		f.setup.node(&nc)
	}
	if n.node, err = f.c.Node(nc); err != nil {
		f.tap.HearError("make node", err)
		return fmt.Errorf("make node: %w", err)
	}
	n.records = 0
	return nil
}

// anything is a policy that allows every function in every unit.
func anything(functions []federated.Function) federated.Policy {
	p := federated.Policy{Names: map[string]federated.Limits{}}
	l := federated.Limits{
		Budget:    dp.Budget{Epsilon: 1e9, Delta: 0.5},
		Units:     []federated.Unit{federated.UnitMember, federated.UnitList, federated.UnitMemberAtNode, federated.UnitSale},
		Trusts:    []federated.Trust{federated.TrustedCoordinator, federated.Local},
		MinQuorum: 1,
	}
	for _, name := range []string{"net_demand/1", "member_count/1", "spend/1", "rfm_histograms/1", "rfm_scores/1", "distinct_members/1"} {
		p.Names[name] = l
	}
	for _, fn := range functions {
		p.Names[fmt.Sprintf("%s/%d", fn.Name, fn.Version)] = l
	}
	return p
}

func (n *nodeProcess) counted(rs federated.Records) federated.Records {
	if rs == nil {
		return nil
	}
	return func(yield func(federated.Record, error) bool) {
		for r, err := range rs {
			n.mu.Lock()
			n.records++
			n.mu.Unlock()
			if !yield(r, err) {
				return
			}
		}
	}
}

// Answer runs the node as a process that may crash, and whose panics are heard.
func (n *nodeProcess) Answer(ctx context.Context, body []byte) (out []byte, err error) {
	p := n.p
	if err := p.step(); err != nil {
		return nil, err
	}
	func() {
		defer func() {
			if x := recover(); x != nil {
				n.f.tap.Hear("panic", "of a node", fmt.Appendf(nil, "%+v", x))
				err = errors.New("the node panicked")
			}
		}()
		out, err = n.node.Answer(ctx, body)
	}()
	if crash := p.step(); crash != nil {
		return nil, crash
	}
	if n.f.lane != nil && n.f.lane.faulty(Crash, n.id) {
		if err := n.f.startNode(n.id); err != nil {
			return nil, err
		}
		return nil, errCrashed
	}
	if err != nil {
		n.f.tap.HearError("of a node", err)
		p.note("no reply", dp.Key{}, 0, nil)
		return nil, err
	}
	n.f.tap.message(federated.Message{From: n.id, To: federated.CoordinatorID, Body: out})
	p.note("reply", dp.Key{}, len(out), nil)
	return out, nil
}

func (f *Federation) startCoordinator() (err error) {
	c := f.coordinator
	life := 0
	if c.p != nil {
		life = c.p.life + 1
	}
	c.p = &process{h: f.h, name: string(federated.CoordinatorID), life: life}
	if c.ledger, err = f.open(c.ledger, f.setup.budget); err != nil {
		return fmt.Errorf("open ledger of the coordinator: %w", err)
	}
	var l dp.Ledger
	l, c.gate = newGate(c.ledger, c.p)
	c.gate.after = func(call string) {
		if call == "reserve" && f.lane.ghosts != nil {
			f.lane.ghosts()
		}
	}
	c.coins = newCoins(c.p, f.setup.seed)
	c.c, err = f.c.Coordinator(federated.CoordinatorConfig{
		Transport: f.lane, Ledger: l, Random: c.coins, Deadline: f.deadline,
	})
	f.tap.HearError("make coordinator", err)
	return err
}

// Query fills in the question of the federation's world.
func (f *Federation) Query(p dp.Params, change func(*federated.Question)) (federated.Query, error) {
	q := f.w.question(p)
	if change != nil {
		change(&q)
	}
	return f.w.tpl.New(q)
}

// Faults sets the script of the rounds to come; none clears it. A node that the
// federation does not have, or a fault that is none, fails the test: nothing would
// happen, and it would pass.
func (f *Federation) Faults(script ...Fault) {
	for _, s := range script {
		if f.t == nil {
			break
		}
		f.t.Helper()
		if s.Do != Skew && !slices.Contains(networkFaults, s.Do) {
			f.t.Fatalf("set fault %s: %q is none: take a constant, such as fedtest.Late", s, s.Do)
		}
		if f.nodes[s.Node] == nil {
			f.t.Fatalf("set fault %s: there is no node %q: the %d are %s to %s", s, s.Node, len(f.w.stores), f.w.stores[0], f.w.stores[len(f.w.stores)-1])
		}
	}
	f.lane.script = script
	f.w.skew = map[federated.NodeID]time.Duration{}
	for _, s := range script {
		if s.Do == Skew {
			f.w.skew[s.Node] = 48 * time.Hour
			_ = f.startNode(s.Node)
		}
	}
}

// Run asks q, with everything that comes back on the wiretap. A panic of the
// coordinator is an error here.
func (f *Federation) Run(ctx context.Context, q federated.Query) (rel *federated.Release, err error) {
	c := f.coordinator
	key := keyOf(q)
	c.coins.setKey(key)
	defer c.coins.setKey(dp.Key{})
	defer func() {
		if x := recover(); x != nil {
			f.tap.Hear("panic", "of the coordinator", fmt.Appendf(nil, "%+v", x))
			rel, err = nil, errors.New("the coordinator panicked")
		}
	}()
	rel, err = c.c.Run(ctx, q)
	if c.p.step() != nil {
		return nil, errCrashed
	}
	if err != nil {
		f.tap.HearError("of a round", err)
		return rel, err
	}
	c.p.note("told", key, 0, nil)
	f.tap.HearRelease(rel)
	return rel, nil
}

func (c *coins) setKey(k dp.Key) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.key = k
}

// keyOf is the key of a query in the coordinator's ledger.
func keyOf(q federated.Query) dp.Key {
	asked := q.Question()
	return dp.Key{Epoch: asked.Epoch, Round: asked.Round, Digest: q.Digest()}
}

// Restart kills a node, or the coordinator by its name "*", and starts it anew on
// the ledger that it left.
func (f *Federation) Restart(id federated.NodeID) error {
	if id == federated.CoordinatorID {
		f.coordinator.p.dead = true
		return f.startCoordinator()
	}
	if f.nodes[id] == nil {
		return fmt.Errorf("restart %s: no such node", id)
	}
	f.nodes[id].p.dead = true
	return f.startNode(id)
}

// Wiretap returns what left so far, ready to be searched for the world's members,
// ids, times, items and keys.
func (f *Federation) Wiretap() (*Wiretap, error) {
	search, err := f.c.secrets(f.w)
	if err != nil {
		return nil, err
	}
	return f.tapped(search)
}

// tapped adds metrics and files to what was heard.
func (f *Federation) tapped(search *searcher) (*Wiretap, error) {
	if f.c.Metrics != nil {
		f.tap.Hear("metric", "all", f.c.Metrics())
	}
	for _, fsys := range f.c.Files {
		if err := f.tap.HearFiles(fsys); err != nil {
			return nil, fmt.Errorf("read what was written: %w", err)
		}
	}
	f.tap.search = search
	return f.tap, nil
}

// secrets returns a search for all that must not leave a world.
func (c Config) secrets(w *world) (*searcher, error) {
	canaries := w.planted()
	pseudonym, err := c.Pseudonym(w.epoch)
	if err != nil {
		return nil, fmt.Errorf("make pseudonym: %w", err)
	}
	for _, s := range canaries {
		if s.Name == "member id" {
			if p, err := pseudonym(s.Value.(string)); err == nil {
				canaries = append(canaries, Canary{Name: "pseudonym", Value: p[:]})
			}
		}
	}
	for _, id := range w.stores {
		secret := secretOf(id)
		canaries = append(canaries, Canary{Name: "key of a node", Value: secret[:]})
	}
	return newSearcher(canaries)
}

func secretOf(id federated.NodeID) [32]byte { return sha256.Sum256([]byte("secret of " + id)) }
