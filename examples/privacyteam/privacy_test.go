package privacyteam_test

import (
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/larder-dp/larder/dp"
	"github.com/larder-dp/larder/dp/dptest"
	. "github.com/larder-dp/larder/examples/privacyteam"
	"github.com/larder-dp/larder/federated"
	"github.com/larder-dp/larder/federated/fedtest"
)

// What must hold, one line a property.

func TestNeighbours(t *testing.T)       { fedtest.Neighbours(t, ours(t).federation) }
func TestDataIndependence(t *testing.T) { fedtest.DataIndependence(t, ours(t).fewer()) }
func TestNoLeaks(t *testing.T)          { fedtest.NoLeaks(t, ours(t).fewer()) }
func TestPseudonyms(t *testing.T)       { fedtest.Pseudonyms(t, ours(t).federation) }
func TestFailsClosed(t *testing.T)      { fedtest.FailsClosed(t, ours(t).federation) }
func TestRounds(t *testing.T)           { fedtest.Rounds(t, ours(t).federation) }
func TestNoise(t *testing.T)            { fedtest.Noise(t, ours(t).federation) }
func TestCrashes(t *testing.T)          { fedtest.Crashes(t, ours(t).crashing()) }
func TestFiles(t *testing.T)            { fedtest.NoLeaks(t, ours(t).onDisk()) }
func TestLedger(t *testing.T)           { dptest.LedgerConformance(t, ours(t).ledger) }
func TestJournal(t *testing.T)          { fedtest.TestSource(t, ours(t).store(t, "good")) }
func TestDamagedJournal(t *testing.T)   { fedtest.TestSource(t, ours(t).store(t, "torn")) }
func TestVisitsBound(t *testing.T)      { dptest.Sensitivity(t, ours(t).visitsBound()) }
func TestVisitsNoise(t *testing.T)      { dptest.Audit(t, ours(t).visitsNoise()) }
func TestVisitsErrorBars(t *testing.T)  { dptest.Intervals(t, ours(t).visitsErrorBars()) }

// TestBadDay is a round of 60 stores on which much goes wrong, with a script and
// a wiretap of our own. With -v it prints what did leave: keep it, and compare.
func TestBadDay(t *testing.T) {
	f := fedtest.NewFederation(t, ours(t).federation, 1, 60, 20)
	f.Faults(
		fedtest.Fault{Do: fedtest.Drop, Node: "s000007"}, fedtest.Fault{Do: fedtest.Crash, Node: "s000009"},
		fedtest.Fault{Do: fedtest.Conflict, Node: "s000011"}, fedtest.Fault{Do: fedtest.Duplicate, Node: "s000013"},
	)
	q, err := f.Query(dp.Params{Epsilon: 1, Delta: 1e-6, Mechanism: dp.DiscreteGaussian}, func(q *federated.Question) {
		q.Select = dp.Params{} // which some seeds draw
	})
	if err != nil {
		t.Fatal(err)
	}
	release, err := f.Run(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	if c := release.Label().Coverage; c.Answered != 57 || len(c.Absent) != 3 {
		t.Errorf("coverage is %d of %d, and three stores had a bad day", c.Answered, c.Asked)
	}
	tap, err := f.Wiretap()
	if err != nil {
		t.Fatal(err)
	}
	if err := tap.Check(); err != nil {
		t.Error(err)
	}
	t.Log("\n" + tap.Report())
}

// The name of the flag is none of Google's glog, which registers -v,
// -logtostderr and others on the same set.
var sabotage = flag.String("sabotage", "", "test a build that is broken on purpose; list names them")

func TestMain(m *testing.M) {
	flag.Parse()
	if _, known := find(*sabotage); *sabotage != "" && !known {
		if *sabotage != "list" {
			fmt.Printf("there is no sabotage %q; there are:\n", *sabotage)
		}
		for _, s := range sabotages {
			fmt.Printf("%-26s red: %-20s  %s\n", s.name, s.red, s.what)
		}
		os.Exit(2) // for go test shows what is printed only where it fails
	}
	os.Exit(m.Run())
}

// ours are the parts under test: production's, or with the flag broken ones. Each
// test has its own, and runs beside the others: the disk is what they wait for.
func ours(t *testing.T) *parts {
	t.Parallel()
	p := production(t)
	if s, ok := find(*sabotage); ok {
		t.Logf("sabotage: %s: %s", s.name, s.what)
		s.do(p)
	}
	return p
}

// The claims of the footfall report.
const (
	visitsEpsilon    = 1
	visitsConfidence = 0.95
)

// visitsBound replays the report on neighbouring weeks.
func (p *parts) visitsBound() dptest.SensitivityKit[Member] {
	return dptest.SensitivityKit[Member]{
		World: func(r *rand.Rand) []Member {
			members := make([]Member, r.IntN(4))
			for i := range members {
				for range r.IntN(12) {
					members[i].Visits = append(members[i].Visits, r.IntN(9)-1) // two days that there are not
				}
			}
			return members
		},
		Run: func(members []Member, rec *dptest.Recorder) (any, error) {
			return p.publish(p.visits, members, func(sums []int64) error {
				rec.Add("visits", Days, sums, p.visits.Noise.Sensitivity())
				return nil
			})
		},
	}
}

// visitsNoise audits the report at the worst pair: nobody, and one member who
// comes as often as counts. What is seen of an output is its likelihood ratio
// for that pair, which no other number beats.
func (p *parts) visitsNoise() dptest.AuditKit[int64] {
	regular := []Member{{Visits: []int{0, 0, 1, 1, 2, 2}}}
	return dptest.AuditKit[int64]{
		Claim: dp.Budget{Epsilon: visitsEpsilon}, Samples: 10_000,
		Run: func(neighbour bool, random io.Reader) (seen int64, err error) {
			var members []Member
			if neighbour {
				members = regular
			}
			sums, err := p.publish(p.visits, members, p.visits.Noised(random))
			if err != nil {
				return 0, err
			}
			for _, x := range sums[:VisitBounds.L0] {
				seen += max(x, -x) - max(x-2, 2-x)
			}
			return seen, nil
		},
	}
}

// visitsErrorBars compares what is published with a truth that it knows.
func (p *parts) visitsErrorBars() dptest.IntervalKit {
	week := []Member{{Visits: []int{0, 0, 3}}, {Visits: []int{0}}}
	return dptest.IntervalKit{
		Confidence: visitsConfidence, Samples: 5_000,
		Run: func(random io.Reader) (truth, estimate, half float64, err error) {
			sums, err := p.publish(p.visits, week, p.visits.Noised(random))
			if err != nil {
				return 0, 0, 0, err
			}
			return 3, float64(sums[0]), float64(p.visits.Half), nil
		},
	}
}
