package dptest_test

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/larder-dp/larder/dp"
	"github.com/larder-dp/larder/dp/dptest"
)

// A naive ledger is right until one of its faults is switched on.
type naive struct {
	fault   string
	mu      sync.Mutex
	allowed dp.Budget
	spent   map[string]*dp.Spent
	units   map[string]string
	entries map[dp.Key]dp.Entry
	saved   map[dp.Key]dp.Entry // what survives a crash
	last    dp.Key              // of the last reservation
}

func newNaive(fault string) func(dp.Budget) (dp.Ledger, error) {
	return func(b dp.Budget) (dp.Ledger, error) {
		return &naive{
			fault: fault, allowed: b, spent: map[string]*dp.Spent{}, units: map[string]string{},
			entries: map[dp.Key]dp.Entry{}, saved: map[dp.Key]dp.Entry{},
		}, nil
	}
}

func (l *naive) reopen() dp.Ledger {
	next, _ := newNaive(l.fault)(l.allowed)
	n := next.(*naive)
	for k, e := range l.saved {
		switch l.fault {
		case "six decimals on disk":
			e.Charge.Cost.Epsilon = math.Round(e.Charge.Cost.Epsilon*1e6) / 1e6
			e.Charge.Cost.Delta = math.Round(e.Charge.Cost.Delta*1e6) / 1e6
		case "the count is not on disk":
			e.Charge.Count = 0
		case "what has no release is dropped on recovery":
			if e.Release == nil {
				continue
			}
		}
		n.entries[k], n.saved[k] = e, e
		n.units[k.Epoch] = e.Charge.Unit
		n.of(k.Epoch, e.Charge.Unit).Add(e.Charge)
	}
	return n
}

func (l *naive) of(epoch, unit string) *dp.Spent {
	at := epoch
	switch l.fault {
	case "a budget for each unit":
		at += unit
	case "one budget for all epochs":
		at = ""
	}
	if l.spent[at] == nil {
		l.spent[at] = new(dp.Spent)
	}
	return l.spent[at]
}

func (l *naive) unit(epoch, unit string) error {
	if first, ok := l.units[epoch]; ok && first != unit && l.fault != "a budget for each unit" {
		return &dp.UnitError{Epoch: epoch, Unit: first, Asked: unit}
	}
	return nil
}

func (l *naive) Lookup(ctx context.Context, k dp.Key) (dp.Entry, error) {
	if err := ctx.Err(); err != nil && l.fault != "deaf to its context" {
		return dp.Entry{}, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	e, ok := l.entries[l.key(k)]
	if !ok {
		if l.fault == "an unknown key is an empty entry" {
			return dp.Entry{}, nil
		}
		return dp.Entry{}, dp.ErrNotCharged
	}
	e.Charge.Key = k
	if l.fault != "gives its memory away" {
		e.Release = bytes.Clone(e.Release)
	}
	if l.fault != "gives its events away" {
		e.Charge = e.Charge.Clone()
	}
	switch l.fault {
	case "a count is written out": // sound
		e.Charge.Count = max(e.Charge.Count, 1)
	case "no events are some": // sound
		e.Charge.Events = append([]dp.Event{}, e.Charge.Events...)
	}
	return e, nil
}

func (l *naive) key(k dp.Key) dp.Key {
	switch l.fault {
	case "the round is no part of the key":
		k.Round = 1
	case "the digest is no part of the key":
		k.Digest = [32]byte{}
	case "a digest of 31 bytes":
		k.Digest[31] = 0
	case "epochs in lower case":
		k.Epoch = strings.ToLower(k.Epoch)
	case "epochs are trimmed":
		k.Epoch = strings.TrimSpace(k.Epoch)
	case "epochs are cut to 255 bytes":
		k.Epoch = k.Epoch[:min(len(k.Epoch), 255)]
	case "rounds of 32 bits":
		k.Round = int64(int32(k.Round))
	}
	return k
}

func (l *naive) Reserve(ctx context.Context, c dp.Charge) (entry dp.Entry, err error) {
	if err := ctx.Err(); err != nil && l.fault != "deaf to its context" {
		if l.fault == "a cancelled reservation is granted, and not kept" {
			return dp.Entry{Charge: c}, nil
		}
		return dp.Entry{}, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fault == "errors are wrapped" { // sound
		defer func() {
			if err != nil {
				err = fmt.Errorf("our ledger: %w", err)
			}
		}()
	}
	if err := c.Validate(); err != nil {
		if l.fault != "open on NaN" || !math.IsNaN(c.Cost.Epsilon+c.Cost.Delta) {
			return dp.Entry{}, err
		}
		return dp.Entry{Charge: c}, nil
	}
	if e, ok := l.entries[l.key(c.Key)]; ok {
		switch {
		case l.fault == "charges again" || l.fault == "an open key may be charged again" && e.Release == nil:
		default:
			return dp.Entry{}, dp.ErrAlreadyCharged
		}
	}
	costs := c
	switch l.fault {
	case "count ignored":
		costs.Count = 1
	case "count multiplied in float64":
		costs.Cost = dp.Budget{Epsilon: c.Cost.Epsilon * float64(max(c.Count, 1)), Delta: c.Cost.Delta * float64(max(c.Count, 1))}
		costs.Count = 1
		if costs.Validate() != nil {
			costs = c
		}
	case "events are believed to cost less":
		if len(c.Events) > 0 {
			costs.Cost.Epsilon /= 2
		}
	}
	if err := l.unit(c.Key.Epoch, c.Unit); err != nil {
		return dp.Entry{}, err
	}
	spent := l.of(c.Key.Epoch, c.Unit)
	err = spent.Check(costs, l.allowed)
	switch l.fault {
	case "δ ignored":
		allowed := dp.Budget{Epsilon: l.allowed.Epsilon, Delta: math.Nextafter(1, 0)}
		err = spent.Check(costs, allowed)
	case "adds in float64":
		if t := spent.Total(l.allowed); err != nil && float64(float32(t.Epsilon+c.Cost.Epsilon)) <= l.allowed.Epsilon && c.Cost.Delta == 0 {
			err = nil
		}
	case "a race":
		l.mu.Unlock()
		for range 100 {
			runtime.Gosched() // somebody else checks, too
		}
		l.mu.Lock()
	}
	if e, ok := err.(*dp.BudgetError); ok {
		switch l.fault {
		case "a remedy that does not pass":
			e.Largest.Epsilon = math.Nextafter(l.allowed.Epsilon, 9)
		case "one repetition too many":
			e.Repetitions++
		case "the remedy is nothing":
			e.Largest = dp.Budget{}
		case "a refusal is spent":
			spent.Add(dp.Charge{Cost: e.Left})
		}
		return dp.Entry{}, e
	}
	if err != nil {
		return dp.Entry{}, err
	}
	if l.fault != "spent when committed" {
		spent.Add(costs)
	}
	l.units[c.Key.Epoch], l.last = c.Unit, c.Key
	e := dp.Entry{Charge: c.Clone(), Head: [32]byte([]byte(fmt.Sprintf("%32d", len(l.entries))))}
	l.entries[l.key(c.Key)] = e
	if l.fault == "a caller that leaves is refunded" {
		context.AfterFunc(ctx, func() {
			l.mu.Lock()
			defer l.mu.Unlock()
			delete(l.entries, l.key(c.Key))
			delete(l.saved, l.key(c.Key))
			l.spent[c.Key.Epoch] = new(dp.Spent)
		})
	}
	if l.fault != "lost in a crash" && l.fault != "spent when committed" {
		l.saved[l.key(c.Key)] = e
	}
	e.Charge = e.Charge.Clone()
	return e, nil
}

func (l *naive) Commit(ctx context.Context, k dp.Key, release []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	e, ok := l.entries[l.key(k)]
	if err := ctx.Err(); err != nil && l.fault == "a cancelled commit says that it is stored" && ok {
		return nil
	}
	if err := ctx.Err(); err != nil && l.fault != "deaf to its context" || release == nil {
		if ok && l.fault == "refund on failure" {
			delete(l.entries, k)
			delete(l.saved, k)
			l.spent = map[string]*dp.Spent{}
		}
		return fmt.Errorf("commit: %w", context.Canceled)
	}
	switch {
	case !ok && l.fault == "stores what was not paid":
		return nil
	case !ok:
		return dp.ErrNotCharged
	case e.Release != nil && l.fault == "the last commit wins":
	case e.Release != nil && !bytes.Equal(e.Release, release):
		return fmt.Errorf("another release")
	case e.Release != nil:
		return nil
	}
	if l.fault == "spent when committed" {
		l.of(k.Epoch, e.Charge.Unit).Add(e.Charge)
	}
	e.Release = bytes.Clone(release)
	if l.fault == "keeps the caller's slice" {
		e.Release = release
	}
	if l.fault == "trims" {
		e.Release = bytes.TrimRight(e.Release, "\x00")
	}
	l.entries[l.key(k)] = e
	if l.fault == "a commit is on disk where its reservation is the last" && e.Charge.Key != l.last {
		return nil
	}
	if l.fault != "the release is lost in a crash" {
		l.saved[l.key(k)] = e
	}
	return nil
}

func (l *naive) Left(ctx context.Context, epoch, unit string) (dp.Budget, error) {
	if err := ctx.Err(); err != nil && l.fault != "deaf to its context" {
		return dp.Budget{}, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.unit(epoch, unit); err != nil {
		return dp.Budget{}, err
	}
	left := l.of(epoch, unit).Left(l.allowed)
	if l.fault == "what is left is rounded to six decimals" {
		left.Epsilon = math.Round(left.Epsilon*1e6) / 1e6
	}
	return left, nil
}

func checkNaive(t *testing.T, fault string) error {
	return dptest.CheckLedger(t.Context(), dptest.LedgerKit{
		New:    newNaive(fault),
		Reopen: func(l dp.Ledger) (dp.Ledger, error) { return l.(*naive).reopen(), nil },
	})
}

// ledgers: each fault must break the rule that it is about.
func ledgers(t *testing.T) (builds []dptest.Sabotage) {
	for _, row := range []struct{ fault, rule string }{
		{"spent when committed", "spent on reservation"},
		{"lost in a crash", "after a crash: reservation"},
		{"the release is lost in a crash", "after a crash: release"},
		{"count ignored", "count"},
		{"a race", "a race for the last charge"},
		{"charges again", "the same key"},
		{"an open key may be charged again", "the same key"},
		{"refund on failure", "no refund"},
		{"open on NaN", "no number, no charge"},
		{"δ ignored", "delta is a budget"},
		{"adds in float64", "no rounding in favour of the asker"},
		{"one budget for all epochs", "budgets stand apart"},
		{"a budget for each unit", "one unit"},
		{"the round is no part of the key", "another key"},
		{"the digest is no part of the key", "another key"},
		{"an unknown key is an empty entry", "nothing before it is charged"},
		{"stores what was not paid", "nothing before it is charged"},
		{"the last commit wins", "commit once"},
		{"trims", "any bytes"},
		{"keeps the caller's slice", "its own copy"},
		{"gives its memory away", "its own copy"},
		{"gives its events away", "its own copy"},
		{"a cancelled reservation is granted, and not kept", "cancelled"},
		{"a cancelled commit says that it is stored", "cancelled"},
		{"a caller that leaves is refunded", "no refund"},
		{"a digest of 31 bytes", "another key"},
		{"epochs in lower case", "another key"},
		{"epochs are trimmed", "another key"},
		{"epochs are cut to 255 bytes", "another key"},
		{"rounds of 32 bits", "another key"},
		{"six decimals on disk", "after a crash: amounts"},
		{"the count is not on disk", "after a crash: amounts"},
		{"a commit is on disk where its reservation is the last", "after a crash: release"},
		{"what has no release is dropped on recovery", "after a crash: reservation"},
		{"what is left is rounded to six decimals", "no rounding in favour of the asker"},
		{"count multiplied in float64", "no rounding in favour of the asker"},
		{"events are believed to cost less", "an entry is what was charged"},
		{"the remedy is nothing", "the remedy passes"},
		{"a remedy that does not pass", "the remedy passes"},
		{"one repetition too many", "the remedy passes"},
		{"a refusal is spent", "a refusal spends nothing"},
	} {
		builds = append(builds, dptest.Sabotage{
			Name: "ledger: " + row.fault, Source: "the contract of dp.Ledger",
			Check: func() error {
				err := checkNaive(t, row.fault)
				if err != nil && !strings.Contains(err.Error(), "broken rule: "+row.rule+": ") {
					t.Errorf("ledger %q: rule %q did not find it: %v", row.fault, row.rule, err)
				}
				return err
			},
		})
	}
	return builds
}
