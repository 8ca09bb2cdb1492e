package privacyteam_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"
	"time"

	"github.com/larder-dp/larder/dp"
	"github.com/larder-dp/larder/dp/dptest"
	"github.com/larder-dp/larder/dp/ledger"
	. "github.com/larder-dp/larder/examples/privacyteam"
	"github.com/larder-dp/larder/federated"
	"github.com/larder-dp/larder/federated/fedtest"
)

// parts are a team's own parts, as the kits take them.
type parts struct {
	federation fedtest.Config
	metrics    *Metrics
	ledger     dptest.LedgerKit          // in files
	dir        string                    // where it keeps them
	wrap       func(dp.Ledger) dp.Ledger // around every ledger
	read       func(fs.FS, string) federated.Records
	visits     Visits
	publish    func(v Visits, members []Member, add func([]int64) error) ([]int64, error)
}

// onDisk is the federation with its ledgers in files, which are searched. Each
// charge is an fsync, so that it is tried on few worlds.
func (p *parts) onDisk() fedtest.Config {
	c := p.federation
	c.Ledger, c.Files, c.Runs = p.ledger, []fs.FS{os.DirFS(p.dir)}, 1
	return c
}

// fewer is the federation on three worlds a question, or with -short on three in all, for the
// checks whose worlds are dear; at night on as many as the kit wants, which is 1,000.
func (p *parts) fewer() fedtest.Config {
	c := p.federation
	switch {
	case full():
	case testing.Short():
		c.Runs = 3
	default:
		c.Runs = 3 * len(c.Questions)
	}
	return c
}

// crashing is the federation that is crashed at every step: in memory, where what
// is below the wrappers survives, and at night in files, a thousand fsyncs a world.
func (p *parts) crashing() fedtest.Config {
	if full() {
		return p.onDisk()
	}
	return p.federation
}

func full() bool { return os.Getenv("LARDER_FULL") != "" }

// production returns the parts as they are run.
func production(t testing.TB) *parts {
	visits, err := NewVisits(dp.Params{Epsilon: visitsEpsilon, Mechanism: dp.DiscreteLaplace}, visitsConfidence)
	if err != nil {
		t.Fatal(err)
	}
	p := &parts{metrics: &Metrics{}, read: Journal, visits: visits, publish: Visits.Publish}
	p.wrap = func(l dp.Ledger) dp.Ledger { return Watched{Ledger: l, Metrics: p.metrics} }
	p.federation = fedtest.Config{
		Questions: []fedtest.Template{
			{New: askBulk, From: federated.Sales, Unit: federated.UnitMember},
			{New: federated.NetDemand, From: federated.Lists, Unit: federated.UnitMember},
			{New: askBulk, From: federated.Lists, Unit: federated.UnitList, Cells: federated.Chain},
		},
		Functions: []federated.Function{Bulk},
		Source:    p.source,
		Pseudonym: new(Cards).Scope,
		Metrics:   func() []byte { return p.metrics.Page() },
		// A process begins to count at zero.
		Coordinator: func(c federated.CoordinatorConfig) (fedtest.Coordinator, error) {
			*p.metrics = Metrics{}
			return federated.NewCoordinator(c)
		},
		Ledger: p.inMemory(),
	}
	p.dir = t.TempDir()
	p.ledger = p.inFiles(t)
	return p
}

func askBulk(q federated.Question) (federated.Query, error) { return AskBulk(2, q) }

// source has a store's records go through its journal.
func (p *parts) source(_ federated.NodeID, kind federated.Kind, records []federated.Record) (federated.Records, error) {
	var file bytes.Buffer
	if err := WriteJournal(&file, records); err != nil {
		return nil, err
	}
	name := string(kind) + ".jsonl"
	return p.read(fstest.MapFS{name: {Data: file.Bytes()}}, name), nil
}

// store reads the journal of a good day, or of one when the power failed.
func (p *parts) store(t testing.TB, name string) federated.Records {
	var file bytes.Buffer
	if err := WriteJournal(&file, []federated.Record{
		{ID: "receipt-70011", Member: "card-5550123", Time: time.Date(2031, 3, 3, 9, 0, 0, 0, time.UTC), Lines: []federated.Line{{Item: "milk", Quantity: 2}}},
		{ID: "receipt-70012", Lines: []federated.Line{{Item: "rice", Quantity: 1, Spend: 299}}},
	}); err != nil {
		t.Fatal(err)
	}
	torn := file.String() + `{"ID":"receipt-70013","Member":"card-5550123","Li`
	return p.read(fstest.MapFS{"good": {Data: file.Bytes()}, "torn": {Data: []byte(torn)}}, name)
}

// inMemory are ledgers of which a crash leaves what is below the wrapper.
func (p *parts) inMemory() dptest.LedgerKit {
	inner := map[dp.Ledger]dp.Ledger{}
	wrapped := func(l dp.Ledger) dp.Ledger {
		out := p.wrap(l)
		inner[out] = l
		return out
	}
	return dptest.LedgerKit{
		New: func(b dp.Budget) (dp.Ledger, error) {
			l, err := dp.NewMemoryLedger(b)
			if err != nil {
				return nil, err
			}
			return wrapped(l), nil
		},
		Reopen: func(l dp.Ledger) (dp.Ledger, error) { return wrapped(inner[l]), nil },
	}
}

// inFiles are ledgers in files, of which a crash leaves what is in them.
func (p *parts) inFiles(t testing.TB) dptest.LedgerKit {
	n, paths := 0, map[dp.Ledger]string{}
	fresh := func() string { n++; return filepath.Join(p.dir, fmt.Sprintf("ledger-%03d", n)) }
	keep := func(path string, l *ledger.File, err error) (dp.Ledger, error) {
		if err != nil {
			return nil, err
		}
		t.Cleanup(func() { _ = l.Close() })
		out := p.wrap(l)
		paths[out] = path
		return out, nil
	}
	return dptest.LedgerKit{
		New: func(b dp.Budget) (dp.Ledger, error) {
			path := fresh()
			l, err := ledger.Create(path, ledger.Config{Budget: b})
			return keep(path, l, err)
		},
		Reopen: func(l dp.Ledger) (dp.Ledger, error) { // a copy, because the dead process's file is locked while it is open
			path := fresh()
			for _, suffix := range []string{"", ".head"} {
				b, err := os.ReadFile(paths[l] + suffix)
				if err != nil {
					return nil, err
				}
				if err := os.WriteFile(path+suffix, b, 0o600); err != nil {
					return nil, err
				}
			}
			next, err := ledger.Open(path, ledger.Config{})
			return keep(path, next, err)
		},
	}
}
