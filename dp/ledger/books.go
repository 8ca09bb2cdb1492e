package ledger

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/larder-dp/larder/dp"
)

// books adds up what a ledger holds. Both ledgers derive theirs from the chain
// of records and from nothing else, so that no stored sum can be wrong.
type books struct {
	policy
	config   Config
	accounts map[string]*account // by epoch
}

type account struct {
	unit          string // of the first charge
	spent         *dp.Spent
	charges, open int64
	windows       []map[int64]*dp.Spent // by the policy's windows, then by ordinal
}

func newBooks(p policy, c Config) *books {
	if c.WarnAt == nil {
		c.WarnAt = []float64{0.8, 1}
	}
	c.WarnAt = slices.Sorted(slices.Values(c.WarnAt))
	return &books{policy: p, config: c, accounts: map[string]*account{}}
}

// account returns one that is not kept unless add does.
func (b *books) account(epoch, unit string) (*account, error) {
	if a := b.accounts[epoch]; a != nil && a.unit != unit {
		return nil, &dp.UnitError{Epoch: epoch, Unit: a.unit, Asked: unit}
	} else if a != nil {
		return a, nil
	}
	a := &account{unit: unit, spent: b.Rule.Spent(), windows: make([]map[int64]*dp.Spent, len(b.Windows))}
	for i := range a.windows {
		a.windows[i] = map[int64]*dp.Spent{}
	}
	return a, nil
}

func (b *books) window(a *account, i int, ordinal int64) *dp.Spent {
	if s := a.windows[i][ordinal]; s != nil {
		return s
	}
	return b.Rule.Spent()
}

// check returns nil if c fits all budgets at that time.
func (b *books) check(c dp.Charge, at time.Time) error {
	if err := checkTime(at); err != nil {
		return err
	}
	a, err := b.account(c.Key.Epoch, c.Unit)
	if err != nil {
		return err
	}
	refused, err := b.refuse(a, c, at)
	if err != nil || refused == nil {
		return err
	}
	if refused.Window != "" {
		refused.After = b.after(a, c, at)
	}
	return refused
}

// refuse returns an error that says what all budgets would accept, if one of them refuses c.
func (b *books) refuse(a *account, c dp.Charge, at time.Time) (*dp.BudgetError, error) {
	refused, err := b.gather(a, c, at)
	if err != nil || refused == nil {
		return nil, err
	}
	if most := refused.Largest; most.Epsilon == 0 || most.Delta == 0 && c.Cost.Delta > 0 {
		// Noise that needs both cannot be asked with this, and what can is dearer to the
		// budgets that took c for that noise.
		c.Cost, c.Events = most, nil
		again, err := b.gather(a, c, at)
		if err != nil {
			return nil, err
		}
		if again != nil {
			refused.Largest = again.Largest
		}
	}
	refused.Left = b.left(a, at)
	return refused, nil
}

// gather makes one error of those of all budgets that refuse c.
func (b *books) gather(a *account, c dp.Charge, at time.Time) (refused *dp.BudgetError, err error) {
	add := func(s *dp.Spent, allowed dp.Budget, window string) error {
		err := s.Check(c, allowed)
		var e *dp.BudgetError
		if err != nil && !errors.As(err, &e) {
			return err
		}
		if e == nil {
			return nil
		}
		if refused == nil {
			e.Window = window
			refused = e
			return nil
		}
		refused.Largest = least(refused.Largest, e.Largest)
		refused.Repetitions = min(refused.Repetitions, e.Repetitions)
		return nil
	}
	if err := add(a.spent, b.Budget, ""); err != nil {
		return nil, err
	}
	for i, w := range b.Windows {
		if err := add(b.window(a, i, w.ordinal(at)), w.Budget, w.Name); err != nil {
			return nil, err
		}
	}
	return refused, nil
}

// after is the earliest time from which all budgets accept c, if the epoch's
// does; zero if there is none.
func (b *books) after(a *account, c dp.Charge, at time.Time) time.Time {
	for range 1000 { // stretches in the future are empty unless a clock was wrong
		next := at
		for i, w := range b.Windows {
			if b.Rule.Spent().Check(c, w.Budget) != nil {
				return time.Time{} // not even a stretch of its own has room
			}
			if k := w.ordinal(at); b.window(a, i, k).Check(c, w.Budget) != nil {
				if begin := w.from(k + 1); begin.After(next) {
					next = begin
				}
			}
		}
		if next.Equal(at) {
			return at
		}
		at = next
	}
	return time.Time{}
}

// leftOf is what an epoch has left in its unit at that time.
func (b *books) leftOf(epoch, unit string, at time.Time) (dp.Budget, error) {
	if err := checkTime(at); err != nil {
		return dp.Budget{}, err
	}
	a, err := b.account(epoch, unit)
	if err != nil {
		return dp.Budget{}, err
	}
	return b.left(a, at), nil
}

func (b *books) left(a *account, at time.Time) dp.Budget {
	left := a.spent.Left(b.Budget)
	for i, w := range b.Windows {
		left = least(left, b.window(a, i, w.ordinal(at)).Left(w.Budget))
	}
	return left
}

func least(a, b dp.Budget) dp.Budget {
	return dp.Budget{Epsilon: min(a.Epsilon, b.Epsilon), Delta: min(a.Delta, b.Delta)}
}

// foresee returns the warnings that a charge gives rise to if it is added now.
func (b *books) foresee(c dp.Charge, at time.Time) (warnings []Warning) {
	a, err := b.account(c.Key.Epoch, c.Unit)
	if err != nil {
		return nil // check has refused it
	}
	tell := func(s *dp.Spent, allowed dp.Budget, window string) {
		after := b.Rule.Spent()
		after.AddSpent(s)
		after.Add(c)
		for _, f := range b.config.WarnAt {
			if !s.Reaches(f, allowed) && after.Reaches(f, allowed) {
				warnings = append(warnings, Warning{c.Key.Epoch, c.Unit, window, f, after.Total(allowed), allowed})
			}
		}
	}
	tell(a.spent, b.Budget, "")
	for i, w := range b.Windows {
		tell(b.window(a, i, w.ordinal(at)), w.Budget, w.Name)
	}
	return warnings
}

// add books a reservation. It fails only where check does.
func (b *books) add(c dp.Charge, at time.Time) error {
	a, err := b.account(c.Key.Epoch, c.Unit)
	if err != nil {
		return err
	}
	b.accounts[c.Key.Epoch] = a
	a.spent.Add(c)
	for i, w := range b.Windows {
		k := w.ordinal(at)
		a.windows[i][k] = b.window(a, i, k)
		a.windows[i][k].Add(c)
	}
	a.charges++
	a.open++
	return nil
}

// replay adds a reservation that a ledger holds.
func (b *books) replay(r record) error {
	if r.rule != b.Rule.String() {
		return errors.New("a charge by another rule than the policy's")
	}
	if err := b.add(r.charge, r.at); err != nil {
		return errors.New("a charge in another unit than the epoch's")
	}
	return nil
}

// commit books that a charge has its release now.
func (b *books) commit(epoch string) { b.accounts[epoch].open-- }

func (b *books) warn(warnings []Warning) {
	if b.config.Warn != nil {
		for _, w := range warnings {
			b.config.Warn(w)
		}
	}
}

// A Report is what one dataset epoch has spent, in its unit. Its String says it in
// words.
type Report struct {
	Epoch, Unit string
	// Rule is how the ledger adds charges up.
	Rule dp.Rule
	// Charges is how many there were, and WithoutRelease how many of them have
	// no release: they are under way, or were interrupted and stay spent.
	Charges, WithoutRelease int64
	// Spent, rounded up, is the sum over all windows: the loss of the rows that
	// were there all along. Left, rounded down, is what may be spent now: by the rule
	// zcdp for a charge of which nothing but its Cost is known. HowMany tells the rest.
	Spent, Budget, Left dp.Budget
	// Windows are the stretches with charges, by window, then by time.
	Windows []Stretch
}

// A Stretch is one stretch of a Window: a certain week.
type Stretch struct {
	Window        string
	From, To      time.Time // To is the first instant after it
	Spent, Budget dp.Budget
}

func (b *books) report(epoch, unit string, at time.Time) (Report, error) {
	if err := checkTime(at); err != nil {
		return Report{}, err
	}
	a, err := b.account(epoch, unit)
	if err != nil {
		return Report{}, err
	}
	r := Report{
		Epoch: epoch, Unit: unit, Rule: b.Rule, Charges: a.charges, WithoutRelease: a.open,
		Spent: a.spent.Total(b.Budget), Budget: b.Budget, Left: b.left(a, at),
	}
	for i, w := range b.Windows {
		for _, k := range slices.Sorted(maps.Keys(a.windows[i])) {
			r.Windows = append(r.Windows, Stretch{w.Name, w.from(k), w.from(k + 1), a.windows[i][k].Total(w.Budget), w.Budget})
		}
	}
	return r, nil
}

// String tells the report to a person.
func (r Report) String() string {
	var s strings.Builder
	fmt.Fprintf(&s, "Unit %s in epoch %q: %s spent ε=%g δ=%g of ε=%g δ=%g. Left now: ε=%g δ=%g.\n",
		r.Unit, r.Epoch, several(r.Charges, "charge"), r.Spent.Epsilon, r.Spent.Delta, r.Budget.Epsilon, r.Budget.Delta, r.Left.Epsilon, r.Left.Delta)
	if r.Rule.String() != ruleSum {
		fmt.Fprintf(&s, "Charges are added up by the rule %s: one of Gaussian noise costs less than its ε.\n", r.Rule)
	}
	if r.WithoutRelease > 0 {
		fmt.Fprintf(&s, "Without a release: %s, under way or interrupted. What was reserved stays spent.\n", several(r.WithoutRelease, "charge"))
	}
	count := map[string]int64{}
	for _, w := range r.Windows {
		count[w.Window]++
		fmt.Fprintf(&s, "  %s from %s to %s: ε=%g δ=%g of ε=%g δ=%g\n", w.Window,
			w.From.Format(time.DateTime), w.To.Format(time.DateTime), w.Spent.Epsilon, w.Spent.Delta, w.Budget.Epsilon, w.Budget.Delta)
	}
	for _, name := range slices.Sorted(maps.Keys(count)) {
		if count[name] > 1 {
			fmt.Fprintf(&s, "The window %s was refilled %s. A refill protects nobody anew: whoever is in the same rows all along has lost ε=%g δ=%g, the sum of all windows, and not the ε=%g δ=%g of one.\n",
				name, several(count[name]-1, "time"), r.Spent.Epsilon, r.Spent.Delta, r.windowBudget(name).Epsilon, r.windowBudget(name).Delta)
		}
	}
	return s.String()
}

func (r Report) windowBudget(name string) dp.Budget {
	i := slices.IndexFunc(r.Windows, func(s Stretch) bool { return s.Window == name })
	return r.Windows[i].Budget
}

func several(n int64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
