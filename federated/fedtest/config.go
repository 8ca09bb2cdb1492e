package fedtest

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/larder-dp/larder/dp"
	"github.com/larder-dp/larder/dp/dptest"
	"github.com/larder-dp/larder/federated"
)

// Config is the federation under test: what a team brings in place of
// Larder's own parts. The zero Config is Larder as it is.
type Config struct {
	// Questions are asked in turn; none means the stock queries in every unit.
	Questions []Template
	// Functions are the custom queries that the nodes can answer.
	Functions []federated.Function
	// Node makes a node; nil means federated.NewNode. A team that wraps nodes
	// gives its wrapper.
	Node func(federated.NodeConfig) (Node, error)
	// Coordinator makes a coordinator; nil means federated.NewCoordinator.
	Coordinator func(federated.CoordinatorConfig) (Coordinator, error)
	// Source serves a store's records as the team's source would, say from a
	// file that it writes them to; nil serves them from memory.
	Source func(store federated.NodeID, kind federated.Kind, records []federated.Record) (federated.Records, error)
	// Transport reaches the nodes; nil calls them one after the other. With one
	// of the team's, checks wait in real time.
	Transport func(nodes map[federated.NodeID]Node) (federated.Transport, error)
	// Ledger makes the ledgers of coordinator and nodes; the zero one is
	// dp.MemoryLedger, which here survives a crash. Where time is virtual, they are made
	// outside of it, and used within.
	Ledger dptest.LedgerKit
	// Pseudonym makes the function for one dataset epoch; nil is an HMAC.
	Pseudonym func(epoch string) (func(member string) ([16]byte, error), error)
	// Metrics returns what the team's metrics show now; it is searched and
	// compared. nil means that there are none.
	Metrics func() []byte
	// Files are where parts write: ledgers, spools, caches. They are searched.
	Files []fs.FS
	// Items are the public partitions that worlds draw from, at least 2; none
	// means made-up ones. A custom query that looks for an item needs them.
	Items []string
	// Runs is how many worlds each check draws; 0 means as many as the check needs to be
	// worth its time, fewer with -short. At least 1,000 if LARDER_FULL is set. LARDER_SEED, if
	// set, names the only one.
	Runs int

	// bubble runs do in virtual time of its own, which begins at the same instant each
	// time; nil means real time.
	bubble func(c Config, do func(Config))
	// outside runs do in real time; nil means as it is.
	outside func(do func())
	// ownHeads says that ledgers have heads that differ where all that was charged is equal.
	ownHeads bool
}

// virtual gives c virtual time, if t can: with a transport of the team's, which may be a
// real network, time is real.
func (c Config) virtual(t testing.TB) Config {
	real, ok := t.(*testing.T)
	if !ok || c.Transport != nil {
		return c
	}
	c.bubble = func(c Config, do func(Config)) {
		// Ledgers are made outside: one may keep goroutines, as package database/sql does, and
		// a bubble wants the end of all that began in it.
		work, done := make(chan func()), make(chan struct{})
		go func() {
			for f := range work {
				f()
				done <- struct{}{}
			}
		}()
		defer close(work)
		var one sync.Mutex
		c.bubble = nil
		c.outside = func(f func()) {
			one.Lock()
			defer one.Unlock()
			work <- f
			<-done
		}
		synctest.Test(real, func(*testing.T) { do(c) })
	}
	return c
}

// timed runs do in virtual time where there is such.
func (c Config) timed(do func(Config)) {
	if c.bubble == nil {
		do(c)
		return
	}
	c.bubble(c, do)
}

// A Template is a question that the kit fills in: stores, partitions, bounds,
// privacy parameters, epoch, window and quorum.
type Template struct {
	// New makes the query; it may overrule what the kit filled in, but for
	// what is given below. Required.
	New func(federated.Question) (federated.Query, error)
	// From and Unit are what the query reads and protects. Required.
	From federated.Kind
	Unit federated.Unit
	// Cells as in a Question; empty means PerStore.
	Cells federated.Cells
	// Trust as in a Question; empty means TrustedCoordinator. Under Local the kit gives
	// every node a ledger, and parameters for flips in place of those for noise.
	Trust federated.Trust
}

// A Node answers messages; *federated.Node is one.
type Node interface {
	Answer(ctx context.Context, body []byte) ([]byte, error)
}

// A Coordinator asks; *federated.Coordinator is one.
type Coordinator interface {
	Run(ctx context.Context, q federated.Query) (*federated.Release, error)
}

// stockQuestions are Larder's stock queries in every unit and trust model that they
// have. Those that come first are what a check of few runs draws.
func stockQuestions() []Template {
	var (
		net, distinct = federated.NetDemand, distinctMembers
		histograms    = scored(federated.RFM.Histograms)
		scores, bins  = scored(federated.RFM.Scores), scored(federated.RFM.Bins)
		count         = func(q federated.Question) (federated.Query, error) {
			q.Bounds.LInf, q.Bounds.L1 = 1, min(q.Bounds.L1, q.Bounds.L0)
			return federated.MemberCount(q)
		}
	)
	return []Template{
		{net, federated.Lists, federated.UnitMember, federated.PerStore, ""},
		{net, federated.Sales, federated.UnitSale, federated.Chain, ""},
		{distinct, federated.Memberships, federated.UnitMember, federated.Chain, federated.Local},
		{count, federated.Memberships, federated.UnitMember, federated.PerStore, ""},
		{federated.Spend, federated.Sales, federated.UnitMember, federated.PerStore, ""},
		{distinct, federated.Sales, federated.UnitMember, federated.Chain, ""},
		{net, federated.Lists, federated.UnitList, federated.PerStore, ""},
		{histograms, federated.Sales, federated.UnitMember, federated.Chain, ""},
		{distinct, federated.Sales, federated.UnitMemberAtNode, federated.Chain, federated.Local},
		{net, federated.Sales, federated.UnitMemberAtNode, federated.PerStore, ""},
		{net, federated.Lists, federated.UnitMember, federated.Chain, ""},
		{net, federated.Sales, federated.UnitMember, federated.PerStore, ""},
		{net, federated.Lists, federated.UnitList, federated.Chain, ""},
		{federated.Spend, federated.Sales, federated.UnitSale, federated.Chain, ""},
		{net, federated.Lists, federated.UnitMemberAtNode, federated.PerStore, ""},
		{count, federated.Sales, federated.UnitMemberAtNode, federated.Chain, ""},
		{net, federated.Sales, federated.UnitSale, federated.PerStore, ""},
		{scores, federated.Sales, federated.UnitMemberAtNode, federated.Chain, ""},
		{distinct, federated.Memberships, federated.UnitMemberAtNode, federated.Chain, ""},
		{federated.Spend, federated.Sales, federated.UnitMemberAtNode, federated.PerStore, ""},
		{bins, federated.Sales, federated.UnitSale, federated.PerStore, ""},
		{distinct, federated.Lists, federated.UnitMember, federated.Chain, federated.Local},
	}
}

// distinctMembers asks in bins enough for flips by what few stores there are.
func distinctMembers(q federated.Question) (federated.Query, error) {
	q.Select = dp.Params{} // it has none
	if q.Trust != federated.Local || q.Unit != federated.UnitMember {
		q.Bounds.MaxNodes = 1
	}
	return federated.DistinctMembers(q, 1024)
}

// scored asks by a grid, of a window with both ends.
func scored(of func(federated.RFM, federated.Question) (federated.Query, error)) func(federated.Question) (federated.Query, error) {
	return func(q federated.Question) (federated.Query, error) {
		if q.Window.From.IsZero() || q.Window.To.IsZero() {
			q.Window = oneWeek
		}
		return of(federated.RFM{
			RecencyDays: 1, FrequencySteps: 2, MonetarySteps: 2, MinDays: 1, Except: []string{"coffee"},
			Cuts: &[3][4]int{{1, 2, 4, 6}, {1, 2, 3, 5}, {3, 6, 9, 14}},
		}, q)
	}
}

// filled returns c with its defaults.
func (c Config) filled() (Config, error) {
	if len(c.Questions) == 0 {
		c.Questions = stockQuestions()
	}
	for _, q := range c.Questions {
		if q.New == nil || q.From == "" || q.Unit == "" {
			return c, errors.New("set up federation: a Template needs New, From and Unit")
		}
	}
	if c.Node == nil {
		c.Node = func(n federated.NodeConfig) (Node, error) { return federated.NewNode(n) }
	}
	if c.Coordinator == nil {
		c.Coordinator = func(cc federated.CoordinatorConfig) (Coordinator, error) { return federated.NewCoordinator(cc) }
	}
	if c.Source == nil {
		c.Source = func(_ federated.NodeID, _ federated.Kind, records []federated.Record) (federated.Records, error) {
			return serve(records), nil
		}
	}
	if c.Ledger.New == nil {
		c.Ledger = dptest.LedgerKit{
			New:    func(b dp.Budget) (dp.Ledger, error) { return dp.NewMemoryLedger(b) },
			Reopen: func(l dp.Ledger) (dp.Ledger, error) { return l, nil },
		}
	}
	if c.Pseudonym == nil {
		c.Pseudonym = keyedPseudonym
	}
	if len(c.Items) == 0 {
		c.Items = []string{"apples", "bread", "coffee", "milk", "rice", "salt"}
	}
	if len(c.Items) < 2 {
		return c, errors.New("set up federation: Items needs at least 2")
	}
	return c, nil
}

func serve(records []federated.Record) federated.Records {
	return func(yield func(federated.Record, error) bool) {
		for _, r := range records {
			if !yield(r, nil) {
				return
			}
		}
	}
}

func keyedPseudonym(epoch string) (func(string) ([16]byte, error), error) {
	return func(member string) (p [16]byte, err error) {
		if member == "" || len(member) > 128 {
			return p, errors.New("pseudonymize: malformed id")
		}
		mac := hmac.New(sha256.New, []byte("the key of the kit, epoch "+epoch))
		mac.Write([]byte(member))
		copy(p[:], mac.Sum(nil))
		return p, nil
	}, nil
}

// A Violation is a rule that was broken.
type Violation struct {
	Check string // the check that found it, such as "Neighbours"
	Rule  string // what must hold
	Got   string // what happened instead, and by how much
	Input string // the smallest input that was found to show it
	Means string // what such a fault lets happen
	Seed  uint64 // of the world; LARDER_SEED replays it
}

func (v *Violation) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s\n  rule    %s\n  means   %s\n", v.Check, v.Got, v.Rule, v.Means)
	if v.Input != "" {
		fmt.Fprintf(&b, "  on      %s\n", strings.ReplaceAll(strings.TrimSpace(v.Input), "\n", "\n          "))
	}
	fmt.Fprintf(&b, "  seed    %d", v.Seed)
	return b.String()
}

// Finding names the check and its rule, for dptest.KillMatrix.
func (v *Violation) Finding() string { return v.Check + ": " + v.Rule }

// A check draws a world from a seed and holds the federation to its rules.
type check struct {
	name string
	runs int // by default
	run  func(c Config, seed uint64) error
}

// over runs the check on every seed; the first violation ends it.
func (k check) over(c Config) error {
	c, err := c.filled()
	if err != nil {
		return err
	}
	first, n := uint64(1), c.Runs
	switch full := os.Getenv("LARDER_FULL") != ""; {
	case full:
		n = max(n, k.runs, 1000)
	case n > 0:
	case testing.Testing() && testing.Short():
		n = max(k.runs/5, min(k.runs, len(c.Questions), 11)) // the stock questions of every family and unit
	default:
		n = k.runs
	}
	if s := os.Getenv("LARDER_SEED"); s != "" {
		if first, err = strconv.ParseUint(s, 10, 64); err != nil {
			return fmt.Errorf("read LARDER_SEED: %w", err)
		}
		n = 1
	}
	for seed := first; seed < first+uint64(n); seed++ {
		err := k.run(c, seed)
		var v *Violation
		if errors.As(err, &v) {
			v.Check, v.Seed = k.name, seed
			return v
		}
		if err != nil {
			return fmt.Errorf("check %s, seed %d: %w", k.name, seed, err)
		}
	}
	return nil
}

// in runs the check as a test.
func (k check) in(t testing.TB, c Config) {
	t.Helper()
	reportViolation(t, k.over(c))
}

func reportViolation(t testing.TB, err error) {
	t.Helper()
	var v *Violation
	switch {
	case err == nil:
	case errors.As(err, &v):
		t.Errorf("%v\n  replay  %s", err, replay(t, v.Seed))
	default:
		t.Error(err)
	}
}

// replay is the command that runs the failing seed of t again, and only it.
func replay(t testing.TB, seed uint64) string {
	parts := strings.Split(t.Name(), "/")
	for i, p := range parts {
		parts[i] = "^" + regexp.QuoteMeta(p) + "$"
	}
	return fmt.Sprintf("LARDER_SEED=%d go test -count=1 -run '%s' .", seed, strings.Join(parts, "/"))
}
