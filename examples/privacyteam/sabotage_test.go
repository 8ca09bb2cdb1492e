package privacyteam_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/larder-dp/larder/dp"
	"github.com/larder-dp/larder/dp/dptest"
	. "github.com/larder-dp/larder/examples/privacyteam"
	"github.com/larder-dp/larder/federated"
	"github.com/larder-dp/larder/federated/fedtest"
)

// A broken build has a fault in one part, and a test that must go red.
type broken struct {
	name, red, what string
	do              func(*parts)
}

// sabotages are the bugs that this team fears.
var sabotages = []broken{
	// The ledger.
	{"half-price", "TestFailsClosed", "the ledger is charged half of what a release costs", func(p *parts) {
		p.wrap = func(l dp.Ledger) dp.Ledger { return &halfPrice{l} }
	}},
	{"write-behind", "TestCrashes", "releases are stored a little later, after they were told", func(p *parts) {
		p.wrap = func(l dp.Ledger) dp.Ledger { return &writeBehind{Ledger: l, later: map[dp.Key][]byte{}} }
	}},
	{"helpful-retry", "TestLedger", "a second reservation of one key is no error", func(p *parts) {
		p.wrap = func(l dp.Ledger) dp.Ledger { return &helpful{l} }
	}},
	// What one unit moves.
	{"at-home-everywhere", "TestNeighbours", "a member counts at every store that she shops at", func(p *parts) {
		p.node(func(c *federated.NodeConfig) {
			c.Memberships = each(c.Memberships, func(r *federated.Record) { r.Stores = []federated.NodeID{c.ID} })
		})
	}},
	{"visits-bounded-one-by-one", "TestVisitsBound", "each visit is bounded, and not the member", func(p *parts) {
		p.publish = func(v Visits, members []Member, add func([]int64) error) ([]int64, error) {
			var rows []Member
			for _, m := range members {
				for _, day := range m.Visits {
					rows = append(rows, Member{Visits: []int{day}})
				}
			}
			return v.Publish(rows, add)
		}
	}},
	// Pseudonyms.
	{"hashed-cards", "TestPseudonyms", "pseudonyms are SHA-256 of the epoch and the card", func(p *parts) {
		p.federation.Pseudonym = func(epoch string) (func(string) ([16]byte, error), error) {
			return func(card string) ([16]byte, error) {
				h := sha256.Sum256([]byte(epoch + ":" + card))
				return [16]byte(h[:16]), nil
			}, nil
		}
	}},
	{"one-key-for-ever", "TestPseudonyms", "all epochs have one key", func(p *parts) {
		scope := p.federation.Pseudonym
		p.federation.Pseudonym = func(string) (func(string) ([16]byte, error), error) { return scope("always") }
	}},
	// Records.
	{"read-once", "TestJournal", "the file is read on from where the last pass ended", func(p *parts) {
		p.read = func(fsys fs.FS, name string) federated.Records {
			next, _ := iter.Pull2(Journal(fsys, name))
			return func(yield func(federated.Record, error) bool) {
				for r, err, ok := next(); ok && yield(r, err); r, err, ok = next() {
				}
			}
		}
	}},
	// What leaves beside the release.
	{"card-in-log", "TestNoLeaks", "a debug line names the cards", func(p *parts) {
		p.node(func(c *federated.NodeConfig) {
			log := c.Log
			c.Sales = each(c.Sales, func(r *federated.Record) { log.Debug("read", "card", r.Member) })
			c.Lists = each(c.Lists, func(r *federated.Record) { log.Debug("read", "card", r.Member) })
		})
	}},
	{"line-in-error", "TestDamagedJournal", "the error for a torn line shows the line", func(p *parts) {
		p.read = func(fsys fs.FS, name string) federated.Records {
			return func(yield func(federated.Record, error) bool) {
				for r, err := range Journal(fsys, name) {
					if err != nil {
						file, _ := fs.ReadFile(fsys, name)
						err = fmt.Errorf("%w: %s", err, file[strings.LastIndexByte(string(file), '\n')+1:])
					}
					if !yield(r, err) {
						return
					}
				}
			}
		}
	}},
	{"cards-on-disk", "TestFiles", "a node keeps the cards that it saw beside its ledger, for support", func(p *parts) {
		p.node(func(c *federated.NodeConfig) {
			path := filepath.Join(p.dir, "seen-"+string(c.ID))
			c.Lists = each(c.Lists, func(r *federated.Record) { _ = os.WriteFile(path, []byte(r.Member), 0o600) })
			c.Sales = each(c.Sales, func(r *federated.Record) { _ = os.WriteFile(path, []byte(r.Member), 0o600) })
		})
	}},
	{"rows-in-metrics", "TestDataIndependence", "a metric counts the rows that were read", func(p *parts) {
		rows := 0
		p.coordinator(func(*federated.CoordinatorConfig) { rows = 0 }) // where all metrics begin
		p.node(func(c *federated.NodeConfig) {
			c.Lists = each(c.Lists, func(*federated.Record) { rows++ })
			c.Sales = each(c.Sales, func(*federated.Record) { rows++ })
		})
		page := p.federation.Metrics
		p.federation.Metrics = func() []byte { return fmt.Appendf(page(), "rows_total %d\n", rows) }
	}},
	{"silent-store", "TestDataIndependence", "a store with few rows does not answer", func(p *parts) {
		p.federation.Node = func(c federated.NodeConfig) (fedtest.Node, error) {
			n, err := federated.NewNode(c)
			return shy{n, c}, err
		}
	}},
	// Who may ask.
	{"open-house", "TestFailsClosed", "nodes answer whatever they are asked", func(p *parts) {
		p.node(func(c *federated.NodeConfig) {
			l := federated.Limits{
				Budget: dp.Budget{Epsilon: 1e6, Delta: 0.5}, MinQuorum: 1, Trusts: []federated.Trust{federated.TrustedCoordinator},
				Units: []federated.Unit{federated.UnitMember, federated.UnitList, federated.UnitMemberAtNode, federated.UnitSale},
			}
			c.Allow = federated.Policy{Names: map[string]federated.Limits{"bulk/1": l, "net_demand/1": l, "member_count/1": l}}
		})
	}},
	// Rounds and releases.
	{"last-answer-wins", "TestRounds", "of two answers of a store the later counts", func(p *parts) {
		p.coordinator(func(c *federated.CoordinatorConfig) { c.Transport = lastWins{c.Transport} })
	}},
	{"recomputed", "TestFailsClosed", "a question that was answered is answered anew, with new noise", func(p *parts) {
		inner := p.federation.Coordinator
		p.federation.Coordinator = func(c federated.CoordinatorConfig) (fedtest.Coordinator, error) {
			first, err := inner(c)
			return &recomputing{first, c, map[asked]bool{}}, err
		}
	}},
	// Noise.
	{"fixed-seed", "TestNoise", "the coordinator begins every life with the same randomness", func(p *parts) {
		p.coordinator(func(c *federated.CoordinatorConfig) { c.Random = rand.NewChaCha8([32]byte{1}) })
	}},
	{"half-the-noise", "TestVisitsNoise", "the footfall has noise for twice its ε", func(p *parts) {
		p.visits, _ = NewVisits(dp.Params{Epsilon: 2 * visitsEpsilon, Mechanism: dp.DiscreteLaplace}, visitsConfidence)
	}},
	{"short-error-bars", "TestVisitsErrorBars", "the error bars are half as long as they should be", func(p *parts) {
		p.visits.Half /= 2
	}},
}

func find(name string) (broken, bool) {
	i := slices.IndexFunc(sabotages, func(s broken) bool { return s.name == name })
	if i < 0 {
		return broken{}, false
	}
	return sabotages[i], true
}

// checks are the tests in the form that returns what it found.
var checks = map[string]func(t *testing.T, p *parts) error{
	"TestNeighbours":       func(_ *testing.T, p *parts) error { return fedtest.CheckNeighbours(p.federation) },
	"TestDataIndependence": func(_ *testing.T, p *parts) error { return fedtest.CheckDataIndependence(p.fewer()) },
	"TestNoLeaks":          func(_ *testing.T, p *parts) error { return fedtest.CheckNoLeaks(p.fewer()) },
	"TestPseudonyms":       func(_ *testing.T, p *parts) error { return fedtest.CheckPseudonyms(p.federation) },
	"TestFailsClosed":      func(_ *testing.T, p *parts) error { return fedtest.CheckFailsClosed(p.federation) },
	"TestRounds": func(t *testing.T, p *parts) (err error) {
		synctest.Test(t, func(*testing.T) { err = fedtest.CheckRounds(p.federation) }) // or it waits for late answers in real time
		return err
	},
	"TestFiles":           func(_ *testing.T, p *parts) error { return fedtest.CheckNoLeaks(p.onDisk()) },
	"TestNoise":           func(_ *testing.T, p *parts) error { return fedtest.CheckNoise(p.federation) },
	"TestCrashes":         func(_ *testing.T, p *parts) error { return fedtest.CheckCrashes(p.crashing()) },
	"TestLedger":          func(t *testing.T, p *parts) error { return dptest.CheckLedger(t.Context(), p.ledger) },
	"TestJournal":         func(t *testing.T, p *parts) error { return fedtest.CheckSource(p.store(t, "good")) },
	"TestDamagedJournal":  func(t *testing.T, p *parts) error { return fedtest.CheckSource(p.store(t, "torn")) },
	"TestVisitsBound":     func(_ *testing.T, p *parts) error { return dptest.CheckSensitivity(p.visitsBound()) },
	"TestVisitsErrorBars": func(_ *testing.T, p *parts) error { return dptest.CheckIntervals(p.visitsErrorBars()) },
	"TestVisitsNoise": func(_ *testing.T, p *parts) error {
		_, err := dptest.CheckAudit(p.visitsNoise())
		return err
	},
}

// TestSabotage breaks each build and wants the test that it names to be red. An
// error that is no finding, such as a federation that does not start, is not red.
func TestSabotage(t *testing.T) {
	if os.Getenv("LARDER_SEED") != "" {
		t.Skip("one world does not show every fault: run without LARDER_SEED")
	}
	for name := range checks {
		if !slices.ContainsFunc(sabotages, func(s broken) bool { return s.red == name }) {
			t.Errorf("nobody has seen %s fail: it needs a sabotage", name)
		}
	}
	for _, s := range sabotages {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			p := production(t)
			s.do(p)
			err := checks[s.red](t, p)
			t.Logf("%s: %v", s.red, err)
			if !finding(err) {
				t.Errorf("sabotage %s: %s is not red", s.name, s.red)
			}
			if s.name == "at-home-everywhere" || s.name == "half-the-noise" {
				inGuide(t, err)
			}
		})
	}
}

// inGuide holds docs/testing-a-federation.md to what it shows. A copy of this folder has no
// such guide, and needs no such test.
func inGuide(t *testing.T, err error) {
	guide, _ := os.ReadFile("../../docs/testing-a-federation.md")
	for line := range strings.Lines(fmt.Sprint(err)) {
		if line = strings.TrimSpace(line); len(guide) > 0 && !strings.Contains(string(guide), line) {
			t.Errorf("the guide shows a failure without the line %q", line)
		}
	}
}

func finding(err error) bool {
	var v *fedtest.Violation
	var f *dptest.Fault
	if err == nil || errors.As(err, &v) || errors.As(err, &f) {
		return err != nil
	}
	return strings.HasPrefix(err.Error(), "check source: ") || strings.HasPrefix(err.Error(), "ledger conformance: broken rule: ")
}

// TestFlag runs this binary with the flag, and looks for red and green: a test
// of each kit, or with LARDER_FULL every broken build.
func TestFlag(t *testing.T) {
	if os.Getenv("LARDER_SEED") != "" {
		t.Skip("one world does not show every fault: run without LARDER_SEED")
	}
	t.Parallel()
	try := func(sabotage, test string, code int, want string) {
		child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+test+"$", "-sabotage="+sabotage)
		out, _ := child.CombinedOutput()
		if child.ProcessState.ExitCode() != code || !strings.Contains(string(out), want) {
			t.Errorf("-sabotage=%s: %s exits with %d, and without %q\n%s", sabotage, test, child.ProcessState.ExitCode(), want, out)
		}
	}
	for _, s := range sabotages {
		if full() || s.name == "hashed-cards" || s.name == "visits-bounded-one-by-one" {
			try(s.name, s.red, 1, "--- FAIL: "+s.red)
		}
	}
	try("hashed-cards", "TestVisitsBound", 0, "PASS")       // another part
	try("list", "TestPseudonyms", 2, "red: TestPseudonyms") // as any other name that there is not
}

// node changes what nodes are made of.
func (p *parts) node(change func(*federated.NodeConfig)) {
	p.federation.Node = func(c federated.NodeConfig) (fedtest.Node, error) {
		change(&c)
		return federated.NewNode(c)
	}
}

// coordinator changes what coordinators are made of.
func (p *parts) coordinator(change func(*federated.CoordinatorConfig)) {
	inner := p.federation.Coordinator
	p.federation.Coordinator = func(c federated.CoordinatorConfig) (fedtest.Coordinator, error) {
		change(&c)
		return inner(c)
	}
}

// each does something to every record.
func each(rs federated.Records, do func(*federated.Record)) federated.Records {
	if rs == nil {
		return nil
	}
	return func(yield func(federated.Record, error) bool) {
		for r, err := range rs {
			if err == nil {
				do(&r)
			}
			if !yield(r, err) {
				return
			}
		}
	}
}

type halfPrice struct{ dp.Ledger }

func (l *halfPrice) Reserve(ctx context.Context, c dp.Charge) (dp.Entry, error) {
	c.Cost.Epsilon /= 2
	return l.Ledger.Reserve(ctx, c)
}

// writeBehind stores what it has when it is next asked.
type writeBehind struct {
	dp.Ledger
	mu    sync.Mutex
	later map[dp.Key][]byte
}

func (l *writeBehind) Commit(_ context.Context, k dp.Key, release []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.later[k] = release
	return nil
}

func (l *writeBehind) Lookup(ctx context.Context, k dp.Key) (dp.Entry, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for k, release := range l.later {
		if err := l.Ledger.Commit(ctx, k, release); err != nil {
			return dp.Entry{}, err
		}
		delete(l.later, k)
	}
	return l.Ledger.Lookup(ctx, k)
}

type helpful struct{ dp.Ledger }

func (l *helpful) Reserve(ctx context.Context, c dp.Charge) (dp.Entry, error) {
	e, err := l.Ledger.Reserve(ctx, c)
	if errors.Is(err, dp.ErrAlreadyCharged) {
		return l.Ledger.Lookup(ctx, c.Key)
	}
	return e, err
}

// shy is a node that says nothing where it has little to say.
type shy struct {
	fedtest.Node
	c federated.NodeConfig
}

func (n shy) Answer(ctx context.Context, body []byte) ([]byte, error) {
	rows := 0
	for _, rs := range []federated.Records{n.c.Lists, n.c.Sales} {
		for range rs {
			rows++
		}
	}
	if rows < 3 {
		return nil, errors.New("too little to report")
	}
	return n.Node.Answer(ctx, body)
}

// lastWins hands on the last answer of each store.
type lastWins struct{ federated.Transport }

func (t lastWins) Exchange(ctx context.Context, out []federated.Message, deliver func(federated.Message)) error {
	var mu sync.Mutex
	last := map[federated.NodeID]federated.Message{}
	err := t.Transport.Exchange(ctx, out, func(m federated.Message) {
		mu.Lock()
		defer mu.Unlock()
		last[m.From] = m
	})
	mu.Lock()
	defer mu.Unlock()
	for _, m := range last {
		deliver(m)
	}
	return err
}

// recomputing asks a known question of a coordinator with an empty ledger.
type recomputing struct {
	first fedtest.Coordinator
	c     federated.CoordinatorConfig
	known map[asked]bool
}

type asked struct {
	question federated.Digest
	round    int64
}

func (r *recomputing) Run(ctx context.Context, q federated.Query) (*federated.Release, error) {
	k := asked{q.Digest(), q.Question().Round}
	if !r.known[k] {
		rel, err := r.first.Run(ctx, q)
		r.known[k] = err == nil
		return rel, err
	}
	c := r.c
	var err error
	if c.Ledger, err = dp.NewMemoryLedger(dp.Budget{Epsilon: 1e6, Delta: 0.5}); err != nil {
		return nil, err
	}
	anew, err := federated.NewCoordinator(c)
	if err != nil {
		return nil, err
	}
	return anew.Run(ctx, q)
}
