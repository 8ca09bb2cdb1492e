package ledger

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/larder-dp/larder/dp"
)

// Config is what a ledger works by. Budget, Windows and Rule are its policy: they
// are stored when the ledger is created, and hold from then on.
type Config struct {
	// Budget is what every dataset epoch may spend in all, in the privacy unit of
	// its first charge, whatever its windows say. Required to create a ledger; on opening one, the zero Budget
	// takes the stored policy as it is, and any other must be the stored one.
	Budget dp.Budget
	// Windows limit the pace: a charge has to fit each window that it falls in,
	// too. None means none.
	Windows []Window
	// Rule is how charges add up, in the budget and in each window. The zero Rule adds ε
	// and δ up. On opening a ledger, leave all three out to take the stored policy.
	Rule dp.Rule
	// Known are heads that witnesses keep. Opening refuses a ledger that does
	// not extend every one of them.
	Known []Head
	// Clock tells the time of a charge, from 1970 to 2116, which decides its windows; nil means
	// time.Now.
	Clock func() time.Time
	// Warn, if not nil, is told when the spending of a budget reaches one of the
	// fractions WarnAt, once for each, after the charge is durable and before
	// Reserve returns. It must be safe for concurrent use.
	Warn func(Warning)
	// WarnAt are fractions of a budget in (0, 1]; nil means 0.8 and 1.
	WarnAt []float64
}

// A Window is a budget for each stretch of time, such as a week or a season. The
// stretches begin at Start + k·Every for all integers k. Each begins with all of
// its Budget, but never with more than the epoch has left.
type Window struct {
	// Name is for people, as in "week". Required, unique.
	Name string `json:"name"`
	// Start is when one of the stretches begins, from 1970 to 2116. Required.
	Start time.Time `json:"start"`
	// Every is the length of a stretch, which is that much elapsed time: a week
	// of 168 hours begins an hour off by the wall clock in summer. Required.
	Every time.Duration `json:"every"`
	// Budget is what a dataset epoch may spend in a stretch. Required.
	Budget dp.Budget `json:"budget"`
}

// A Warning says that a budget is close to its end, or there.
type Warning struct {
	Epoch, Unit string
	// Window is the name of a window, or empty for the budget of the epoch.
	Window string
	// Fraction is the one of WarnAt that was reached, of ε or of δ.
	Fraction      float64
	Spent, Budget dp.Budget
}

// ruleSum is basic composition.
const ruleSum = "sum"

// policy is the part of Config that is stored.
type policy struct {
	Budget  dp.Budget `json:"budget"`
	Windows []Window  `json:"windows,omitempty"`
	Rule    dp.Rule   `json:"rule"`
}

// Window borders are computed in nanoseconds of int64 since 1970: from there to 2116, so that
// the stretch after the last fits, too.
var firstTime, lastTime = time.Unix(0, 0), time.Unix(0, math.MaxInt64/2)

func (p policy) validate() error {
	if err := p.Rule.Validate(); err != nil {
		return fmt.Errorf("check policy: Rule: %w", err)
	}
	if err := p.validBudget(p.Budget); err != nil {
		return fmt.Errorf("check policy: Budget: %w", err)
	}
	for i, w := range p.Windows {
		if w.Name == "" || slices.ContainsFunc(p.Windows[:i], func(v Window) bool { return v.Name == w.Name }) {
			return errors.New("check policy: give every window a Name of its own")
		}
		if w.Start.Before(firstTime) || w.Start.After(lastTime) || w.Start.IsZero() {
			return fmt.Errorf("check policy: window %s: give a Start of this age", w.Name)
		}
		if w.Every < time.Second || w.Every > 100*366*24*time.Hour {
			return fmt.Errorf("check policy: window %s: give an Every from a second to a century", w.Name)
		}
		if err := p.validBudget(w.Budget); err != nil {
			return fmt.Errorf("check policy: window %s: Budget: %w", w.Name, err)
		}
	}
	return nil
}

func (p policy) validBudget(b dp.Budget) error {
	if err := b.Validate(); err != nil {
		return err
	}
	if b == (dp.Budget{}) {
		return errors.New("give an Epsilon or a Delta above 0: there is no default")
	}
	if p.Rule.String() != ruleSum && !(b.Epsilon > 0 && b.Delta > 0) {
		return fmt.Errorf("the rule %s needs an Epsilon and a Delta above 0", p.Rule)
	}
	return nil
}

// policy checks all of c, of which a new ledger stores this.
func (c Config) policy() (policy, error) {
	c.Rule.Name = c.Rule.String()
	p := policy{Budget: c.Budget, Rule: c.Rule}
	for _, w := range c.Windows {
		w.Start = w.Start.UTC().Round(0)
		p.Windows = append(p.Windows, w)
	}
	return p, errors.Join(p.validate(), c.validate())
}

func (c Config) validate() error {
	for _, f := range c.WarnAt {
		if !(f > 0 && f <= 1) {
			return errors.New("check Config: WarnAt must be in (0, 1]")
		}
	}
	return nil
}

// opened checks c against the policy of the ledger it opens.
func (c Config) opened(stored []byte) (*books, error) {
	var p policy
	if err := json.Unmarshal(stored, &p); err != nil {
		return nil, fmt.Errorf("read policy: %w", err)
	}
	if err := errors.Join(p.validate(), c.validate()); err != nil {
		return nil, err
	}
	if c.Budget != (dp.Budget{}) || c.Windows != nil || c.Rule != (dp.Rule{}) {
		mine, err := c.policy()
		if err != nil {
			return nil, err
		}
		if string(mine.encode()) != string(p.encode()) {
			return nil, fmt.Errorf("the ledger was created with the policy %s, and Config says %s: leave Budget, Windows and Rule out to take what is stored, or begin a new ledger for new dataset epochs", p.encode(), mine.encode())
		}
	}
	return newBooks(p, c), nil
}

// encode cannot fail: a valid policy has finite numbers.
func (p policy) encode() []byte {
	b, _ := json.Marshal(p)
	return b
}

func (c Config) now() time.Time {
	if c.Clock != nil {
		return c.Clock()
	}
	return now()
}

// ordinal is the number of the stretch that t lies in.
func (w Window) ordinal(t time.Time) int64 {
	since := t.UnixNano() - w.Start.UnixNano()
	k := since / int64(w.Every)
	if since%int64(w.Every) < 0 {
		k--
	}
	return k
}

// from is when a stretch begins.
func (w Window) from(ordinal int64) time.Time {
	return time.Unix(0, w.Start.UnixNano()+ordinal*int64(w.Every)).UTC()
}
