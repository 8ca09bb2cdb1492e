package ledger

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/larder-dp/larder/dp"
)

var monday = time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)

const day = 24 * time.Hour

func weekly(epsilon float64) Window {
	return Window{Name: "week", Start: monday, Every: 7 * day, Budget: pure(epsilon)}
}

// A clock is set by hand.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) set(at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = at
}

// A reporter is a ledger that reports.
type reporter interface {
	dp.Ledger
	Check(ctx context.Context, c dp.Charge) error
	Report(ctx context.Context, epoch, unit string) (Report, error)
}

// everyLedger runs a test on each kind of ledger.
func everyLedger(t *testing.T, test func(t *testing.T, open func(Config) reporter)) {
	t.Run("file", func(t *testing.T) {
		test(t, func(c Config) reporter { return newFile(t, c) })
	})
	everyDatabase(t, func(t *testing.T, d *database) {
		test(t, func(c Config) reporter { return d.create(t, c) })
	})
}

func refusal(t *testing.T, err error) *dp.BudgetError {
	t.Helper()
	var e *dp.BudgetError
	require.ErrorAs(t, err, &e)
	return e
}

// TestWindows: a week refills, a season does too, the epoch never does.
func TestWindows(t *testing.T) {
	everyLedger(t, func(t *testing.T, open func(Config) reporter) {
		ctx, at := t.Context(), &clock{at: monday.Add(3 * day)}
		l := open(Config{Budget: pure(4), Clock: at.now, Windows: []Window{
			weekly(1), {Name: "season", Start: monday, Every: 28 * day, Budget: pure(2.5)},
		}})
		ask := func(round int64, epsilon float64) error {
			_, err := l.Reserve(ctx, charge(round, pure(epsilon)))
			return err
		}
		require.NoError(t, ask(1, 0.75))
		e := refusal(t, ask(2, 0.5))
		assert.Equal(t, "week", e.Window)
		assert.Equal(t, 0.25, e.Left.Epsilon)
		assert.Equal(t, monday.Add(7*day), e.After)
		assert.Contains(t, e.Error(), "window week")
		assert.Contains(t, e.Error(), "or ask the same again from 2026-01-12T00:00:00Z")
		require.NoError(t, ask(3, e.Largest.Epsilon), "the remedy in this week")
		at.set(e.After.Add(-1))
		require.Error(t, ask(2, 0.5), "a nanosecond too early")
		at.set(e.After)
		require.NoError(t, ask(2, 0.5), "the remedy in the next")
		require.NoError(t, ask(4, 0.5))
		at.set(monday.Add(15 * day))
		require.NoError(t, ask(5, 0.5))

		e = refusal(t, ask(6, 0.75)) // the week has 0.5 left, the season nothing
		assert.Equal(t, "week", e.Window)
		assert.Zero(t, e.Left.Epsilon)
		assert.Zero(t, e.Largest.Epsilon)
		assert.Equal(t, monday.Add(28*day), e.After, "when both have room")
		e = refusal(t, ask(6, 0.25))
		assert.Equal(t, "season", e.Window)
		at.set(e.After)
		require.NoError(t, ask(6, 0.75))

		assert.Zero(t, refusal(t, ask(7, 1.5)).After, "no week has room for that")
		e = refusal(t, ask(7, 0.9))
		assert.Empty(t, e.Window, "the epoch has 0.75 left, and the week 0.25")
		assert.Zero(t, e.After, "waiting helps nobody")
		assert.Equal(t, 0.25, e.Largest.Epsilon)
		require.NoError(t, ask(7, e.Largest.Epsilon))

		// A clock that goes back finds its old week as it was.
		at.set(monday)
		refusal(t, ask(8, 0.01))

		r, err := l.Report(ctx, "2026-w01", "member")
		require.NoError(t, err)
		assert.Equal(t, int64(7), r.Charges)
		assert.Equal(t, 3.5, r.Spent.Epsilon)
		assert.Equal(t, int64(7), r.WithoutRelease)
		var sum float64
		for _, s := range r.Windows {
			if s.Window == "week" {
				sum += s.Spent.Epsilon
			}
		}
		assert.Equal(t, 3.5, sum)
		assert.Contains(t, r.String(), "The window week was refilled 3 times. A refill protects nobody anew: whoever is in the same rows all along has lost ε=3.5")
		assert.Contains(t, r.String(), "Without a release: 7 charges")
	})
}

func TestHowMany(t *testing.T) {
	everyLedger(t, func(t *testing.T, open func(Config) reporter) {
		ctx, at := t.Context(), &clock{at: monday}
		l := open(Config{Budget: pure(1), Clock: at.now, Windows: []Window{weekly(0.5)}})
		c := charge(1, pure(0.1))
		for want := int64(4); want >= 0; want-- { // 0.1 in float64 is a little more
			n, err := HowMany(ctx, l, c)
			require.NoError(t, err)
			require.Equal(t, want, n)
			c.Key.Round++
			_, err = l.Reserve(ctx, c)
			require.Equal(t, want > 0, err == nil)
		}
		n, err := HowMany(ctx, l, charge(1, pure(0)))
		require.NoError(t, err)
		assert.Equal(t, int64(math.MaxInt64), n)
		_, err = HowMany(ctx, l, charge(1, pure(math.NaN())))
		assert.Error(t, err)
	})

	m, err := dp.NewMemoryLedger(pure(1))
	require.NoError(t, err)
	for name, l := range map[string]dp.Ledger{"memory": m, "without Check": struct{ dp.Ledger }{m}} {
		n, err := HowMany(t.Context(), l, charge(1, pure(0.3)))
		require.NoError(t, err)
		assert.Equal(t, int64(3), n, name)
	}
}

func TestWarnings(t *testing.T) {
	everyLedger(t, func(t *testing.T, open func(Config) reporter) {
		ctx := t.Context()
		var said []string
		week := weekly(0.5)
		week.Budget.Delta = 1e-6
		l := open(Config{
			Budget: dp.Budget{Epsilon: 1, Delta: 1e-6}, Clock: func() time.Time { return monday }, Windows: []Window{week},
			Warn: func(w Warning) {
				said = append(said, fmt.Sprintf("%s%g of %g at ε=%g", w.Window, w.Fraction, w.Budget.Epsilon, w.Spent.Epsilon))
			},
		})
		for i, row := range []struct {
			cost dp.Budget
			want string
		}{
			{pure(0.25), ""},
			{pure(0.125), ""},
			{pure(0.0625), "week0.8 of 0.5 at ε=0.4375"},
			{pure(0.015625), ""},
			{pure(0.9), ""}, // refused
			{dp.Budget{Delta: 0.9e-6}, "0.8 of 1 at ε=0.453125"},
			{pure(0.046875), "week1 of 0.5 at ε=0.5"},
		} {
			said = nil
			_, _ = l.Reserve(ctx, charge(int64(i+1), row.cost))
			assert.Equal(t, row.want, strings.Join(said, "; "), "charge %d", i)
		}
	})
	t.Run("several at once", func(t *testing.T) {
		n := 0
		l := newFile(t, Config{Budget: pure(1), WarnAt: []float64{1, 0.5}, Warn: func(w Warning) {
			n++
			assert.Equal(t, float64(n)/2, w.Fraction, "in order")
		}})
		_, err := l.Reserve(t.Context(), charge(1, pure(1)))
		require.NoError(t, err)
		assert.Equal(t, 2, n)
	})
}

func TestConfigIsChecked(t *testing.T) {
	good := Config{Budget: pure(1), Windows: []Window{weekly(1)}}
	for want, spoil := range map[string]func(*Config){
		"there is no default":     func(c *Config) { c.Budget = dp.Budget{} },
		"Epsilon must be finite":  func(c *Config) { c.Budget.Epsilon = math.NaN() },
		"Name of its own":         func(c *Config) { c.Windows = append(c.Windows, weekly(2)) },
		"give a Start":            func(c *Config) { c.Windows[0].Start = time.Time{} },
		"give an Every":           func(c *Config) { c.Windows[0].Every = 0 },
		"week: Budget: give an":   func(c *Config) { c.Windows[0].Budget = dp.Budget{} },
		"WarnAt must be in (0, 1": func(c *Config) { c.WarnAt = []float64{0.5, math.NaN()} },
	} {
		c := good
		c.Windows = []Window{weekly(1)}
		spoil(&c)
		_, err := Create(t.TempDir()+"/ledger", c)
		assert.ErrorContains(t, err, want)
	}
}

// TestClockIsChecked: no window can be told from a clock without a battery, and every call says so.
func TestClockIsChecked(t *testing.T) {
	everyLedger(t, func(t *testing.T, open func(Config) reporter) {
		at := &clock{at: monday}
		l := open(Config{Budget: pure(1), Windows: []Window{weekly(0.5)}, Clock: at.now})
		for _, bad := range []time.Time{{}, lastTime.Add(1), time.Unix(0, math.MaxInt64), time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)} {
			at.set(bad)
			c := charge(1, pure(0.1))
			_, reserve := l.Reserve(t.Context(), c)
			_, left := l.Left(t.Context(), c.Key.Epoch, c.Unit)
			_, report := l.Report(t.Context(), c.Key.Epoch, c.Unit)
			_, many := HowMany(t.Context(), l, c)
			for _, err := range []error{reserve, l.Check(t.Context(), c), left, report, many} {
				assert.ErrorContains(t, err, "set it")
			}
		}
	})
}

// TestPolicyHolds: the policy of a ledger is the one that it was created with.
func TestPolicyHolds(t *testing.T) {
	l := newFile(t, Config{Budget: pure(1), Windows: []Window{weekly(0.5)}})
	path := copied(t, l)
	// The same instant in another zone is the same policy.
	same := weekly(0.5)
	same.Start = same.Start.In(time.FixedZone("CET", 3600))
	for _, row := range []struct {
		c    Config
		want string
	}{
		{Config{}, ""},
		{Config{Budget: pure(1), Windows: []Window{same}}, ""},
		{Config{Budget: pure(2), Windows: []Window{same}}, "was created with the policy"},
		{Config{Budget: pure(1)}, "was created with the policy"},
	} {
		_, err := reopened(path, row.c)
		if row.want == "" {
			assert.NoError(t, err)
		} else {
			assert.ErrorContains(t, err, row.want)
		}
	}
}

// TestRemedyOfWindows: whatever the budgets and charges, what a refusal offers is
// accepted.
func TestRemedyOfWindows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		budget := func(name string) dp.Budget {
			return dp.Budget{Epsilon: rapid.Float64Range(1e-3, 5).Draw(t, name), Delta: rapid.Float64Range(1e-9, 0.5).Draw(t, "δ of "+name)}
		}
		p := policy{Budget: budget("epoch"), Windows: []Window{
			{Name: "week", Start: monday, Every: 7 * day, Budget: budget("week")},
			{Name: "season", Start: monday, Every: 91 * day, Budget: budget("season")},
		}}
		b, at := newBooks(p, Config{}), monday
		for round := range int64(12) {
			c := charge(round+1, dp.Budget{Epsilon: rapid.Float64Range(0, 3).Draw(t, "ε"), Delta: rapid.Float64Range(0, 0.2).Draw(t, "δ")})
			c.Count = rapid.Int64Range(0, 4).Draw(t, "count")
			at = at.Add(time.Duration(rapid.Int64Range(0, int64(20*day)).Draw(t, "later")))
			err := b.check(c, at)
			var e *dp.BudgetError
			if err != nil && !errors.As(err, &e) {
				t.Fatal(err)
			}
			if e != nil {
				if !e.After.IsZero() && (b.check(c, e.After) != nil || b.check(c, e.After.Add(-1)) == nil) {
					t.Fatalf("%v: it is not so from %v on", e, e.After)
				}
				fewer := c
				fewer.Count = e.Repetitions
				if e.Repetitions > 0 && b.check(fewer, at) != nil {
					t.Fatalf("%v: so many repetitions do not fit", e)
				}
				left := c
				left.Cost, left.Count = e.Left, 1
				if err := b.check(left, at); err != nil {
					t.Fatalf("%v: what is left does not fit: %v", e, err)
				}
				c.Cost = e.Largest
			}
			if err := b.check(c, at); err != nil {
				t.Fatalf("%v: the largest does not fit: %v", e, err)
			}
			if err := b.add(c, at); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// TestLastTime: windows as long and as far apart as can be are computed without overflow.
func TestLastTime(t *testing.T) {
	century := 100 * 366 * day
	for _, start := range []time.Time{firstTime, monday, lastTime} {
		p := policy{Budget: pure(9), Windows: []Window{
			{Name: "century", Start: start, Every: century, Budget: pure(2)},
			{Name: "second", Start: start, Every: time.Second, Budget: pure(1)},
		}}
		require.NoError(t, p.validate())
		for _, at := range []time.Time{firstTime, monday, lastTime} {
			b := newBooks(p, Config{})
			require.NoError(t, b.add(charge(1, pure(2)), at))
			var e *dp.BudgetError
			require.ErrorAs(t, b.check(charge(2, pure(1)), at), &e)
			wait := e.After.Sub(at)
			assert.True(t, wait > 0 && wait <= century, "%v from %v by windows from %v", wait, at, start)
			r, err := b.report("2026-w01", "member", at)
			require.NoError(t, err)
			for _, w := range r.Windows {
				assert.False(t, at.Before(w.From) || !at.Before(w.To), "%v is not in %v", at, w)
			}
		}
	}
}

// TestRemedyFitsEveryBudget: where one budget has no δ left, what it offers is pure, and that is
// dearer to another one than the Gaussian noise that it would have taken.
func TestRemedyFitsEveryBudget(t *testing.T) {
	b := newBooks(policy{
		Budget:  dp.Budget{Epsilon: 8, Delta: 1e-6},
		Rule:    dp.Rule{Name: "zcdp", DeltaApart: 0.5},
		Windows: []Window{{Name: "week", Start: monday, Every: 7 * day, Budget: dp.Budget{Epsilon: 0.5, Delta: 1e-6}}},
	}, Config{})
	nothing, err := b.account("2026-w01", "member")
	require.NoError(t, err)
	apart := charge(1, dp.Budget{Delta: b.left(nothing, monday).Delta})
	require.NoError(t, b.add(apart, monday))

	s, err := dp.Bounds{L0: 10, LInf: 2, L1: 10, MaxNodes: 1}.Sensitivity(dp.Disjoint)
	require.NoError(t, err)
	noise, err := dp.Calibrate(dp.Params{Epsilon: 0.39, Delta: 9e-8, Mechanism: dp.DiscreteGaussian}, s)
	require.NoError(t, err)
	c := charge(2, dp.Budget{Epsilon: 0.4, Delta: 1e-7})
	c.Events = []dp.Event{noise.Event(), {Mechanism: dp.PartitionSelection, Epsilon: 0.01, Delta: 1e-8, Count: 1}}
	later := monday.Add(7 * day)
	var e *dp.BudgetError
	require.ErrorAs(t, b.check(c, later), &e)
	require.Empty(t, e.Window, "the epoch refuses alone")
	require.Positive(t, e.Largest.Epsilon)
	remedy := charge(2, e.Largest)
	require.NoError(t, b.check(remedy, later))
	remedy.Cost.Epsilon *= 1.000001
	require.Error(t, b.check(remedy, later))
}
