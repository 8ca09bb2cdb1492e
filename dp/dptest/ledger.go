package dptest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/larder-dp/larder/dp"
)

// A LedgerKit makes the ledgers that are checked.
type LedgerKit struct {
	// New returns an empty ledger that allows b to every dataset epoch, with no
	// other limit. Required.
	New func(b dp.Budget) (dp.Ledger, error)
	// Reopen returns what another process would find if this one were killed now,
	// with l in its hands: it must neither close nor flush l, which is not used
	// again. Nil means that the ledger does not outlive its process, and leaves
	// those cases out.
	Reopen func(l dp.Ledger) (dp.Ledger, error)
}

// LedgerConformance checks a ledger against the contract of dp.Ledger. Each
// subtest is one rule, on a ledger of its own.
func LedgerConformance(t *testing.T, kit LedgerKit) {
	for _, c := range ledgerCases {
		if c.reopens && kit.Reopen == nil {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			if err := c.check(t.Context(), kit); err != nil {
				t.Errorf("rule: %s\n%v", c.rule, err)
			}
		})
	}
}

// CheckLedger checks a ledger as LedgerConformance does, and returns the rules
// that it breaks. Sums are exact, upwards too: add with dp.Spent, and not in float64.
func CheckLedger(ctx context.Context, kit LedgerKit) error {
	var broken []error
	for _, c := range ledgerCases {
		if c.reopens && kit.Reopen == nil {
			continue
		}
		if err := c.check(ctx, kit); err != nil {
			broken = append(broken, &Fault{Check: "ledger conformance", Rule: c.name + ": " + c.rule, Found: err.Error(), Means: "the budget is spent less, later or more often than the releases that it pays for"})
		}
	}
	return errors.Join(broken...)
}

type ledgerCase struct {
	name, rule string
	budget     dp.Budget
	reopens    bool
	run        func(*book)
}

func (c ledgerCase) check(ctx context.Context, kit LedgerKit) error {
	l, err := kit.New(c.budget)
	if err != nil {
		return fmt.Errorf("open ledger: %w", err)
	}
	b := &book{ctx: ctx, kit: kit, l: l}
	c.run(b)
	return errors.Join(b.errs...)
}

// A book is a ledger under check, and what it did wrong.
type book struct {
	ctx  context.Context
	kit  LedgerKit
	l    dp.Ledger
	errs []error
}

func (b *book) want(ok bool, format string, a ...any) {
	if !ok {
		b.errs = append(b.errs, fmt.Errorf(format, a...))
	}
}

const testEpoch, testUnit = "2026-w01", "member"

func charge(round int64, cost dp.Budget) dp.Charge {
	return dp.Charge{Key: dp.Key{Epoch: testEpoch, Round: round, Digest: [32]byte{1}}, Unit: testUnit, Cost: cost}
}

func pure(epsilon float64) dp.Budget { return dp.Budget{Epsilon: epsilon} }

func (b *book) reserve(c dp.Charge) dp.Entry {
	e, err := b.l.Reserve(b.ctx, c)
	b.want(err == nil, "reserve round %d, ε=%g δ=%g: %v", c.Key.Round, c.Cost.Epsilon, c.Cost.Delta, err)
	return e
}

// refused returns the refusal of a charge, or nil after noting that there is none.
func (b *book) refused(c dp.Charge) *dp.BudgetError {
	_, err := b.l.Reserve(b.ctx, c)
	var e *dp.BudgetError
	if !errors.As(err, &e) {
		b.want(false, "reserve round %d, ε=%g δ=%g, %d times: got %v, and want a *dp.BudgetError", c.Key.Round, c.Cost.Epsilon, c.Cost.Delta, max(c.Count, 1), err)
		return nil
	}
	b.want(e.Asked == c.Cost, "the refusal says that ε=%g δ=%g was asked, and it was ε=%g δ=%g", e.Asked.Epsilon, e.Asked.Delta, c.Cost.Epsilon, c.Cost.Delta)
	b.want(e.Epoch == c.Key.Epoch && e.Unit == c.Unit, "the refusal is of unit %s in epoch %q", e.Unit, e.Epoch)
	return e
}

func (b *book) unitError(err error, asked string) {
	var e *dp.UnitError
	if !errors.As(err, &e) {
		b.want(false, "unit %q: got %v, and want a *dp.UnitError", asked, err)
		return
	}
	b.want(*e == dp.UnitError{Epoch: testEpoch, Unit: testUnit, Asked: asked}, "the refusal says %+v", *e)
}

func (b *book) commit(k dp.Key, release []byte) {
	err := b.l.Commit(b.ctx, k, release)
	b.want(err == nil, "commit round %d: %v", k.Round, err)
}

func (b *book) left(want dp.Budget, when string) {
	got, err := b.l.Left(b.ctx, testEpoch, testUnit)
	b.want(err == nil && got == want, "%s there is left ε=%g δ=%g (%v), and should be ε=%g δ=%g", when, got.Epsilon, got.Delta, err, want.Epsilon, want.Delta)
}

func (b *book) stored(k dp.Key, want []byte) {
	e, err := b.l.Lookup(b.ctx, k)
	b.want(err == nil, "look up round %d: %v", k.Round, err)
	b.want(bytes.Equal(e.Release, want) && (e.Release == nil) == (want == nil),
		"the stored release of round %d has %d bytes, and is not the one that was committed, of %d", k.Round, len(e.Release), len(want))
	b.want(e.Charge.Key == k, "the entry is of another key")
}

// entry returns the entry of a charge, after noting where it is not as it was made.
func (b *book) entry(c dp.Charge) dp.Entry {
	e, err := b.l.Lookup(b.ctx, c.Key)
	b.want(err == nil && sameCharge(e.Charge, c), "the entry of round %d is %+v (%v), and was charged as %+v", c.Key.Round, e.Charge, err, c)
	return e
}

// sameCharge compares what was charged: a Count of 0 means 1, and no Events are none.
func sameCharge(a, b dp.Charge) bool {
	for _, c := range []*dp.Charge{&a, &b} {
		if c.Count = max(c.Count, 1); len(c.Events) == 0 {
			c.Events = nil
		}
	}
	return reflect.DeepEqual(a, b)
}

func (b *book) reopen() {
	l, err := b.kit.Reopen(b.l)
	if err != nil {
		b.want(false, "reopen: %v", err)
		return
	}
	b.l = l
}

// ledgerCases are the contract, rule by rule.
var ledgerCases = []ledgerCase{
	{name: "nothing before it is charged", budget: pure(1), rule: "what was not reserved is ErrNotCharged, for Lookup and for Commit", run: func(b *book) {
		k := charge(1, pure(0)).Key
		_, err := b.l.Lookup(b.ctx, k)
		b.want(errors.Is(err, dp.ErrNotCharged), "look up: %v", err)
		err = b.l.Commit(b.ctx, k, []byte("release"))
		b.want(errors.Is(err, dp.ErrNotCharged), "commit: %v", err)
		_, err = b.l.Lookup(b.ctx, k)
		b.want(errors.Is(err, dp.ErrNotCharged), "look up after the commit: %v", err)
		b.left(pure(1), "before any charge")
	}},
	{name: "spent on reservation", budget: pure(1), rule: "a charge is spent when Reserve returns, not when its release is stored", run: func(b *book) {
		c := charge(1, pure(0.25))
		b.reserve(c)
		b.left(pure(0.75), "after the reservation")
		b.stored(c.Key, nil)
		b.commit(c.Key, []byte("release"))
		b.left(pure(0.75), "after the commit")
		b.refused(charge(2, pure(0.76)))
	}},
	{name: "an entry is what was charged", budget: dp.Budget{Epsilon: 9, Delta: 0.5}, rule: "Reserve and Lookup return the charge as it was made and the same head, and no two charges have one head", run: func(b *book) {
		heads := map[[32]byte]bool{}
		for _, c := range chargesOfAllKinds() {
			made := b.reserve(c)
			b.want(sameCharge(made.Charge, c), "Reserve returned %+v, and was asked for %+v", made.Charge, c)
			b.want(b.entry(c).Head == made.Head, "Lookup has another head than Reserve")
			heads[made.Head] = true
		}
		b.want(len(heads) == 3, "3 charges have %d heads", len(heads))
		b.left(dp.Budget{Epsilon: 9 - 0.75, Delta: 0.5 - 6*0x1p-40}, "after charges with and without Events, of Cost × Count each,")
	}},
	{name: "the same key", budget: pure(1), rule: "a key is charged once, whatever unit, cost and count come with it again", run: func(b *book) {
		c := charge(1, pure(0.25))
		b.reserve(c)
		dearer, many, other := c, c, c
		dearer.Cost, many.Count, other.Unit = pure(100), 3, "list"
		for _, again := range []dp.Charge{c, dearer, many, other} {
			_, err := b.l.Reserve(b.ctx, again)
			b.want(errors.Is(err, dp.ErrAlreadyCharged), "again: %v", err)
		}
		b.commit(c.Key, []byte("release"))
		_, err := b.l.Reserve(b.ctx, c)
		b.want(errors.Is(err, dp.ErrAlreadyCharged), "again after the commit: %v", err)
		b.left(pure(0.75), "after one charge")
	}},
	{name: "another key", budget: pure(64), rule: "epoch, round and digest each make another key, in every byte, case, space and digit", run: func(b *book) {
		keys, here := keysAlike()
		for i, k := range keys {
			c := charge(1, pure(1))
			c.Key = k
			b.reserve(c)
			b.commit(k, []byte{byte(i)})
		}
		for i, k := range keys {
			b.stored(k, []byte{byte(i)})
		}
		b.left(pure(64-float64(here)), "after the charges of this epoch")
	}},
	{name: "budgets stand apart", budget: pure(1), rule: "every epoch has the whole budget, and a unit of its own", run: func(b *book) {
		b.reserve(charge(1, pure(1)))
		epoch := charge(2, pure(1))
		epoch.Key.Epoch, epoch.Unit = "Épöch 'w02'; --\"%_", "list"
		b.reserve(epoch)
		b.refused(charge(4, pure(1e-9)))
		b.left(pure(0), "after all of it is spent")
	}},
	{name: "one unit", budget: pure(1), rule: "the first charge of an epoch fixes its unit: another is a *dp.UnitError and spends nothing, as what protects a sale does not protect who made fifty", run: func(b *book) {
		b.refused(charge(9, pure(2))) // a refusal fixes nothing
		got, err := b.l.Left(b.ctx, testEpoch, "list")
		b.want(err == nil && got == pure(1), "before any charge, %g is left to any unit (%v)", got.Epsilon, err)
		b.reserve(charge(1, pure(0.25)))
		for _, unit := range []string{"list", "Member", "member ", "memb"} {
			c := charge(2, pure(0.25))
			c.Unit = unit
			_, err = b.l.Reserve(b.ctx, c)
			b.unitError(err, unit)
			_, err = b.l.Left(b.ctx, testEpoch, unit)
			b.unitError(err, unit)
			_, err = b.l.Lookup(b.ctx, c.Key)
			b.want(errors.Is(err, dp.ErrNotCharged), "look up what was refused: %v", err)
		}
		b.left(pure(0.75), "after a charge in another unit")
	}},
	{name: "a race of units", budget: pure(64), rule: "of charges in different units that race to be an epoch's first, those in one unit win", run: func(b *book) {
		won, failed := b.race(func(i int) dp.Charge {
			c := charge(int64(i+1), pure(1))
			c.Unit = fmt.Sprintf("unit %d", i%2)
			return c
		})
		b.want(won == 32, "%d of 64 won, and 32 have one unit", won)
		for _, err := range failed {
			var e *dp.UnitError
			b.want(errors.As(err, &e), "a loser got %v", err)
		}
	}},
	{name: "exact to the last digit", budget: pure(1), rule: "sums are exact: what fits is accepted and nothing above, however small", run: func(b *book) {
		for round := range int64(32) {
			b.reserve(charge(round+1, pure(1.0/32)))
		}
		b.left(pure(0), "after 32 times 1/32")
		b.refused(charge(100, pure(math.SmallestNonzeroFloat64)))
		b.reserve(charge(101, pure(0)))
	}},
	{name: "no rounding in favour of the asker", budget: pure(1), rule: "ten times the float64 nearest to 0.1 is above 1, although float64 adds and multiplies it to less", run: func(b *book) {
		for round := range int64(9) {
			b.reserve(charge(round+1, pure(0.1)))
		}
		at := charge(20, pure(0.1))
		at.Key.Epoch, at.Count = "2026-w02", 10
		b.refused(at)
		if e := b.refused(charge(10, pure(0.1))); e != nil {
			b.want(e.Left.Epsilon > 0.0999 && e.Left.Epsilon < 0.1, "left is %g", e.Left.Epsilon)
			got, err := b.l.Left(b.ctx, testEpoch, testUnit)
			b.want(err == nil && got.Epsilon <= e.Left.Epsilon, "Left says %v (%v), and a refusal that %v is left", got.Epsilon, err, e.Left.Epsilon)
			b.reserve(charge(11, e.Left))
		}
	}},
	{name: "delta is a budget", budget: dp.Budget{Epsilon: 1, Delta: 1e-6}, rule: "δ is added and refused as ε is", run: func(b *book) {
		b.reserve(charge(1, dp.Budget{Epsilon: 0.125, Delta: 6e-7}))
		b.refused(charge(2, dp.Budget{Epsilon: 0.125, Delta: 6e-7}))
		b.refused(charge(3, dp.Budget{Delta: 6e-7}))
		b.reserve(charge(4, dp.Budget{Epsilon: 0.875}))
	}},
	{name: "no number, no charge", budget: dp.Budget{Epsilon: 1, Delta: 0.5}, rule: "NaN, infinities, negative amounts and counts, and keys without epoch, unit or round are refused and spend nothing", run: func(b *book) {
		nan, inf := math.NaN(), math.Inf(1)
		var bad []dp.Charge
		for _, cost := range []dp.Budget{{Epsilon: nan}, {Delta: nan}, {Epsilon: -1}, {Delta: -0.1}, {Epsilon: inf}, {Epsilon: -inf}, {Delta: inf}, {Delta: 1}} {
			bad = append(bad, charge(1, cost))
		}
		for _, spoil := range []func(*dp.Charge){
			func(c *dp.Charge) { c.Key.Epoch = "" }, func(c *dp.Charge) { c.Unit = "" },
			func(c *dp.Charge) { c.Key.Round = 0 }, func(c *dp.Charge) { c.Key.Round = -1 },
			func(c *dp.Charge) { c.Count = -1 }, func(c *dp.Charge) { c.Count = math.MinInt64 },
		} {
			c := charge(1, pure(0.5))
			spoil(&c)
			bad = append(bad, c)
		}
		for _, c := range bad {
			_, err := b.l.Reserve(b.ctx, c)
			b.want(err != nil, "accepted: %+v", c)
		}
		b.left(dp.Budget{Epsilon: 1, Delta: 0.5}, "after refusals")
		b.reserve(charge(1, dp.Budget{Epsilon: 1, Delta: 0.5}))
	}},
	{name: "count", budget: dp.Budget{Epsilon: 1, Delta: 1e-6}, rule: "a charge of Count repetitions costs that many times as much", run: func(b *book) {
		c := charge(1, dp.Budget{Epsilon: 0.25, Delta: 1e-8})
		c.Count = 3
		b.reserve(c)
		got, err := b.l.Left(b.ctx, testEpoch, testUnit)
		b.want(err == nil && got.Epsilon == 0.25 && got.Delta < 9.71e-7, "left is ε=%g δ=%g (%v)", got.Epsilon, got.Delta, err)
		for _, n := range []int64{2, math.MaxInt64} {
			c := charge(2, dp.Budget{Epsilon: 0.25, Delta: 1e-8})
			c.Count = n
			if e := b.refused(c); e != nil {
				b.want(e.Count == n && e.Repetitions == 1, "the refusal of %d says that %d were asked and %d would pass", n, e.Count, e.Repetitions)
			}
		}
		b.reserve(charge(3, dp.Budget{Epsilon: 0.25, Delta: 1e-8}))
	}},
	{name: "a refusal spends nothing", budget: pure(1), rule: "what was refused is not spent, not stored, and may be asked for less under the same key", run: func(b *book) {
		c := charge(1, pure(1.5))
		b.refused(c)
		b.left(pure(1), "after a refusal")
		_, err := b.l.Lookup(b.ctx, c.Key)
		b.want(errors.Is(err, dp.ErrNotCharged), "look up what was refused: %v", err)
		c.Cost = pure(1)
		b.reserve(c)
	}},
	{name: "the remedy passes", budget: dp.Budget{Epsilon: 1, Delta: 1e-6}, rule: "Largest, Repetitions and Left of a refusal are accepted when asked for, and are not needlessly small", run: remedies},
	{name: "check charges nothing", budget: pure(1), rule: "where there is a Check, it says what Reserve would say and spends nothing", run: func(b *book) {
		l, ok := b.l.(interface {
			Check(context.Context, dp.Charge) error
		})
		if !ok {
			return
		}
		var over *dp.BudgetError
		b.want(l.Check(b.ctx, charge(1, pure(1))) == nil, "Check refuses what fits")
		b.want(errors.As(l.Check(b.ctx, charge(1, pure(1.5))), &over), "Check passes what does not fit")
		b.want(l.Check(b.ctx, charge(1, pure(math.NaN()))) != nil, "Check passes NaN")
		b.left(pure(1), "after Check")
		b.reserve(charge(1, pure(1)))
		b.want(errors.Is(l.Check(b.ctx, charge(1, pure(0))), dp.ErrAlreadyCharged), "Check passes a key that is charged")
	}},
	{name: "commit once", budget: pure(1), rule: "a release is stored once: the same bytes again are no error, other bytes and nil are, and do not replace it", run: func(b *book) {
		c := charge(1, pure(0.5))
		b.reserve(c)
		b.want(b.l.Commit(b.ctx, c.Key, nil) != nil, "nil was committed")
		b.stored(c.Key, nil)
		b.commit(c.Key, []byte("release"))
		b.commit(c.Key, []byte("release"))
		for _, other := range [][]byte{[]byte("Release"), []byte("releas"), []byte("release "), {}, nil} {
			b.want(b.l.Commit(b.ctx, c.Key, other) != nil, "%q was committed over another release", other)
		}
		b.stored(c.Key, []byte("release"))
	}},
	{name: "any bytes", budget: pure(1), rule: "a release is bytes: zeros, no UTF-8, none at all, a mebibyte", run: func(b *book) {
		for i, release := range releases() {
			c := charge(int64(i+1), pure(0))
			b.reserve(c)
			b.commit(c.Key, release)
			b.stored(c.Key, release)
		}
	}},
	{name: "its own copy", budget: pure(1), rule: "neither a slice that is given nor one that is returned shares memory with what is stored", run: func(b *book) {
		event := dp.Event{Mechanism: dp.PureDP, Epsilon: 0.5, Count: 1}
		c := charge(1, pure(0.5))
		c.Events = []dp.Event{event}
		made := b.reserve(c)
		clear(c.Events)
		c.Events = []dp.Event{event}
		clear(made.Charge.Events)
		clear(b.entry(c).Charge.Events)
		b.entry(c)
		release := []byte("release")
		b.commit(c.Key, release)
		release[0] = 'X'
		b.stored(c.Key, []byte("release"))
		e, err := b.l.Lookup(b.ctx, c.Key)
		b.want(err == nil && len(e.Release) == 7, "look up: %v", err)
		clear(e.Release)
		b.stored(c.Key, []byte("release"))
	}},
	{name: "no refund", budget: pure(1), rule: "nothing gives back what a reservation spent: no failing commit, no cancelled one, no caller that goes away, no other try", run: func(b *book) {
		c := charge(1, pure(0.75))
		caller, leave := context.WithCancel(b.ctx)
		_, err := b.l.Reserve(caller, c)
		b.want(err == nil, "reserve: %v", err)
		b.leaves(caller, leave)
		b.left(pure(0.25), "after the caller has left")
		_ = b.l.Commit(b.ctx, c.Key, nil)
		cancelled, cancel := context.WithCancel(b.ctx)
		cancel()
		_ = b.l.Commit(cancelled, c.Key, []byte("release"))
		b.left(pure(0.25), "after commits that failed")
		_, err = b.l.Reserve(b.ctx, c)
		b.want(errors.Is(err, dp.ErrAlreadyCharged), "reserve the same again: %v", err)
		b.refused(charge(2, pure(0.5)))
	}},
	{name: "cancelled", budget: pure(1), rule: "a call whose context has ended fails and changes nothing, or does all of what it says", run: func(b *book) {
		cancelled, cancel := context.WithCancel(b.ctx)
		cancel()
		c := charge(1, pure(0.5))
		_, err := b.l.Reserve(cancelled, c)
		if err != nil {
			b.want(errors.Is(err, context.Canceled), "reserve: %v", err)
			b.left(pure(1), "after a cancelled reservation that failed")
			b.reserve(c)
		}
		b.entry(c)
		got, err := b.l.Left(cancelled, testEpoch, testUnit)
		b.want(errors.Is(err, context.Canceled) || err == nil && got == pure(0.5), "left: %g (%v)", got.Epsilon, err)
		if err := b.l.Commit(cancelled, c.Key, []byte("release")); err != nil {
			b.want(errors.Is(err, context.Canceled), "commit: %v", err)
			b.stored(c.Key, nil)
			b.commit(c.Key, []byte("release"))
		}
		b.stored(c.Key, []byte("release"))
		e, err := b.l.Lookup(cancelled, c.Key)
		b.want(errors.Is(err, context.Canceled) || err == nil && string(e.Release) == "release", "look up: %v", err)
	}},
	{name: "a race for the last charge", budget: pure(1), rule: "concurrent charges never pass the budget together: of many that fit alone, one wins", run: func(b *book) {
		won, failed := b.race(func(i int) dp.Charge { return charge(int64(i+1), pure(0.6)) })
		b.want(won == 1, "%d of 64 won", won)
		for _, err := range failed {
			var e *dp.BudgetError
			b.want(errors.As(err, &e), "a loser got %v", err)
		}
		b.left(pure(0.4), "after the race")
	}},
	{name: "a race for one key", budget: pure(64), rule: "of many that reserve one key, one wins, and it is charged once", run: func(b *book) {
		won, failed := b.race(func(int) dp.Charge { return charge(1, pure(1)) })
		b.want(won == 1, "%d of 64 won", won)
		for _, err := range failed {
			b.want(errors.Is(err, dp.ErrAlreadyCharged), "a loser got %v", err)
		}
		b.left(pure(63), "after the race")
	}},
	{name: "a race to commit", budget: pure(1), rule: "of many that commit other bytes to one key, one wins, and its bytes stay", run: func(b *book) {
		c := charge(1, pure(1))
		b.reserve(c)
		var mu sync.Mutex
		var all sync.WaitGroup
		var winners [][]byte
		for i := range byte(16) {
			all.Go(func() {
				if b.l.Commit(b.ctx, c.Key, []byte{i}) == nil {
					mu.Lock()
					defer mu.Unlock()
					winners = append(winners, []byte{i})
				}
			})
		}
		all.Wait()
		b.want(len(winners) == 1, "%d of 16 won", len(winners))
		if len(winners) > 0 {
			b.stored(c.Key, winners[0])
		}
	}},
	{name: "after a crash: reservation", budget: pure(1), reopens: true, rule: "what Reserve acknowledged is spent for whoever comes next; without a release it is neither free nor lost", run: func(b *book) {
		c := charge(1, pure(0.75))
		e := b.reserve(c)
		b.reopen()
		b.stored(c.Key, nil)
		b.left(pure(0.25), "after a crash")
		_, err := b.l.Reserve(b.ctx, c)
		b.want(errors.Is(err, dp.ErrAlreadyCharged), "reserve the same again: %v", err)
		b.want(b.entry(c).Head == e.Head, "the entry has another head than before")
		b.refused(charge(2, pure(0.5)))
		other := charge(3, pure(0))
		other.Unit = "list"
		_, err = b.l.Reserve(b.ctx, other)
		b.unitError(err, "list")
		b.commit(c.Key, []byte("release"))
		b.stored(c.Key, []byte("release"))
	}},
	{name: "after a crash: amounts", budget: dp.Budget{Epsilon: 9, Delta: 0.5}, reopens: true, rule: "what comes back is what was charged, to the last digit, with its count and events", run: func(b *book) {
		all := chargesOfAllKinds()
		for i := range all {
			all[i].Cost = dp.Budget{Epsilon: 0.1, Delta: 1e-9 / 3}
			b.reserve(all[i])
		}
		before, err := b.l.Left(b.ctx, testEpoch, testUnit)
		b.want(err == nil, "left: %v", err)
		for range 2 {
			b.reopen()
			for _, c := range all {
				b.entry(c)
			}
			b.left(before, "after a crash")
		}
	}},
	{name: "after a crash: release", budget: pure(1), reopens: true, rule: "what Commit acknowledged is the same bytes for ever", run: func(b *book) {
		for i, release := range releases() {
			c := charge(int64(i+1), pure(0.125))
			b.reserve(c)
			b.commit(c.Key, release)
		}
		open := []dp.Key{charge(101, pure(0)).Key, charge(102, pure(0)).Key, charge(103, pure(0)).Key}
		for _, k := range open {
			b.reserve(charge(k.Round, pure(0)))
		}
		for _, i := range []int{1, 0} { // not in their order, and the last one not at all
			b.commit(open[i], []byte{byte(i)})
		}
		for range 2 {
			b.reopen()
			b.stored(open[0], []byte{0})
			b.stored(open[1], []byte{1})
			b.stored(open[2], nil)
			for i, release := range releases() {
				k := charge(int64(i+1), pure(0)).Key
				b.stored(k, release)
				b.want(b.l.Commit(b.ctx, k, []byte("other")) != nil, "other bytes were committed after a crash")
			}
			b.left(pure(1-0.125*float64(len(releases()))), "after a crash")
		}
	}},
}

// chargesOfAllKinds are three, with and without Events, of twice their Cost each.
func chargesOfAllKinds() (all []dp.Charge) {
	events := []dp.Event{{Mechanism: dp.DiscreteGaussian, Scale: 7.25, L2: 3, Count: 1}, {Mechanism: dp.PureDP, Epsilon: 0.1, Count: 3}}
	for n := range 3 {
		c := charge(int64(n+1), dp.Budget{Epsilon: 0.125, Delta: 0x1p-40})
		c.Count, c.Events = 2, slices.Clone(events[:n])
		all = append(all, c)
	}
	return all
}

// keysAlike are keys that somebody takes for the same who cuts, folds or trims them, or keeps
// them in a narrower type; here are those of testEpoch.
func keysAlike() (keys []dp.Key, here int) {
	first := charge(1, pure(0)).Key
	keys = append(keys, first)
	for _, round := range []int64{2, 1 + 1<<8, 1 + 1<<16, 1 + 1<<32, 1 << 53, 1<<53 + 1, math.MaxInt64} {
		k := first
		k.Round = round
		keys = append(keys, k)
	}
	for i := range first.Digest {
		k := first
		k.Digest[i] ^= 0x80
		keys = append(keys, k)
	}
	here = len(keys)
	long := strings.Repeat("w", 999)
	for _, epoch := range []string{"2026-w02", "2026-W01", "2026-w01 ", " 2026-w01", "2026-w01\t", "2026_w01", "2026-w1", "2026-w01\u00e9", "2026-w01e\u0301", "2026-w01e", long + "1", long + "2", long} {
		k := first
		k.Epoch = epoch
		keys = append(keys, k)
	}
	return keys, here
}

// leaves ends the context of a caller, and waits until whoever listens has heard of it.
func (b *book) leaves(caller context.Context, leave func()) {
	heard := make(chan struct{})
	context.AfterFunc(caller, func() { close(heard) })
	leave()
	<-heard
	for range 100 { // other listeners run beside ours
		runtime.Gosched()
	}
}

func releases() [][]byte {
	return [][]byte{{}, {0}, []byte("\xff\x00\xfe'"), bytes.Repeat([]byte("larder 0\n"), 1<<20/9), []byte(strings.Repeat("\x00", 5000))}
}

// race lets 64 reserve at once.
func (b *book) race(charge func(i int) dp.Charge) (won int, failed []error) {
	var mu sync.Mutex
	var all sync.WaitGroup
	start := make(chan struct{})
	for i := range 64 {
		all.Go(func() {
			<-start
			_, err := b.l.Reserve(b.ctx, charge(i))
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				won++
			} else {
				failed = append(failed, err)
			}
		})
	}
	close(start)
	all.Wait()
	return won, failed
}

// remedies asks for what a refusal says would pass, each from the same state,
// which is made anew in an epoch of its own.
func remedies(b *book) {
	for i, asked := range []dp.Charge{
		{Cost: dp.Budget{Epsilon: 0.9, Delta: 1e-8}},            // ε is too much
		{Cost: dp.Budget{Epsilon: 0.1, Delta: 1e-3}},            // δ is
		{Cost: dp.Budget{Epsilon: 3, Delta: 0.9}},               // both are
		{Cost: dp.Budget{Epsilon: 0.1, Delta: 1e-8}, Count: 52}, // fewer would fit
		{Cost: dp.Budget{Epsilon: 0.9, Delta: 1e-3}, Count: 7},  // not even one fits
	} {
		try := 0
		state := func() (dp.Charge, *dp.BudgetError) {
			try++
			first, c := charge(1, dp.Budget{Epsilon: 0.3, Delta: 1e-7 / 3}), asked
			first.Key.Epoch = fmt.Sprintf("remedy %d of %d", try, i)
			c.Key, c.Unit = first.Key, testUnit
			c.Key.Round = 2
			b.reserve(first)
			return c, b.refused(c)
		}
		c, e := state()
		if e == nil {
			continue
		}
		b.want(e.Largest.Epsilon <= c.Cost.Epsilon && e.Largest.Delta <= c.Cost.Delta, "Largest is more than was asked: ε=%g δ=%g", e.Largest.Epsilon, e.Largest.Delta)
		b.want(e.Largest != c.Cost, "Largest is what was refused")
		b.want(e.Repetitions >= 0 && e.Repetitions < max(c.Count, 1), "%d repetitions would pass, and %d were refused", e.Repetitions, max(c.Count, 1))
		largest := c
		largest.Cost = e.Largest
		for _, more := range []dp.Budget{
			{Epsilon: math.Nextafter(e.Largest.Epsilon, 2), Delta: e.Largest.Delta},
			{Epsilon: e.Largest.Epsilon, Delta: math.Nextafter(e.Largest.Delta, 1)},
		} {
			if more.Epsilon <= c.Cost.Epsilon && more.Delta <= c.Cost.Delta {
				larger := c
				larger.Cost = more
				b.refused(larger)
			}
		}
		b.reserve(largest)
		c, e = state()
		if e != nil && e.Repetitions > 0 {
			more := c
			more.Count = e.Repetitions + 1
			b.refused(more)
			c.Count = e.Repetitions
			b.reserve(c)
		}
		c, e = state()
		if e != nil {
			for _, up := range []dp.Budget{
				{Epsilon: math.Nextafter(e.Left.Epsilon, 2), Delta: e.Left.Delta},
				{Epsilon: e.Left.Epsilon, Delta: math.Nextafter(e.Left.Delta, 1)},
			} {
				more := c
				more.Cost, more.Count = up, 1
				b.refused(more)
			}
			c.Cost, c.Count = e.Left, 1
			b.reserve(c)
		}
	}
}
