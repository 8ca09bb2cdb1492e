package dp

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// Budget is an amount of privacy loss: an allowance, or what was spent. Zero is
// legal and allows nothing.
type Budget struct {
	Epsilon float64 `json:"epsilon"`
	Delta   float64 `json:"delta"`
}

// Validate refuses a budget that is not finite, negative, or of δ ≥ 1.
func (b Budget) Validate() error {
	if !(b.Epsilon >= 0 && b.Epsilon <= math.MaxFloat64) {
		return errors.New("check budget: Epsilon must be finite and at least 0")
	}
	if !(b.Delta >= 0 && b.Delta < 1) {
		return errors.New("check budget: Delta must be in [0, 1)")
	}
	return nil
}

// Key names one charge. The same key again is the same question: it gets the
// stored answer and is not charged.
type Key struct {
	// Epoch names the dataset epoch; its owner chooses it.
	Epoch string
	// Round counts how often the question is asked anew, from 1.
	Round int64
	// Digest is the query's.
	Digest [32]byte
}

// A Charge is what a release will cost.
type Charge struct {
	Key Key
	// Unit is the privacy unit whose budget is charged.
	Unit string
	// Cost is added to what the unit's budget has already spent, Count times.
	Cost Budget
	// Events are the mechanisms behind one repetition, for the rules and the auditors that
	// know more of them than Cost, which must hold for all of them together. The rule "zcdp" charges
	// them in place of Cost: leave none out. At most 16;
	// none means that only Cost is known.
	Events []Event
	// Count is how many repetitions of a mechanism of that Cost stand behind the
	// release; 0 means 1.
	Count int64
}

const (
	// maxName is the longest name of an epoch or a unit, in bytes.
	maxName = 1000
	// maxEvents and maxOrders keep the record of a charge small.
	maxEvents = 16
	maxOrders = 16
)

// Validate refuses a charge without an epoch, a unit or a round of at least 1,
// of a cost that is no Budget or a negative Count, and names that no database
// stores alike: they are UTF-8 of at most 1,000 bytes without the zero byte.
func (c Charge) Validate() error {
	if err := c.Cost.Validate(); err != nil {
		return err
	}
	if c.Unit == "" || c.Key.Epoch == "" || c.Key.Round < 1 {
		return errors.New("give an epoch, a round of at least 1 and a unit")
	}
	if c.Count < 0 {
		return errors.New("Count must not be negative")
	}
	if len(c.Events) > maxEvents {
		return fmt.Errorf("Events must be at most %d", maxEvents)
	}
	for i, e := range c.Events {
		if err := e.Validate(); err != nil {
			return fmt.Errorf("Events[%d]: %w", i, err)
		}
		if len(e.Orders) > maxOrders {
			return fmt.Errorf("Events[%d]: Orders must be at most %d in a charge", i, maxOrders)
		}
	}
	for _, name := range []string{c.Key.Epoch, c.Unit} {
		if len(name) > maxName || !utf8.ValidString(name) || strings.ContainsRune(name, 0) {
			return fmt.Errorf("epoch and unit must be UTF-8 of at most %d bytes without the zero byte", maxName)
		}
	}
	return nil
}

// Clone returns a charge that shares no memory with c.
func (c Charge) Clone() Charge {
	c.Events = slices.Clone(c.Events)
	for i := range c.Events {
		c.Events[i].Orders = slices.Clone(c.Events[i].Orders)
		c.Events[i].Divergences = slices.Clone(c.Events[i].Divergences)
	}
	return c
}

// An Entry is a charge that a ledger holds.
type Entry struct {
	Charge Charge
	// Release is the stored answer; nil while the charge is only reserved.
	Release []byte
	// Head is the head of the ledger's hash chain just after the reservation.
	Head [32]byte
}

var (
	// ErrNotCharged says that the ledger holds no such key.
	ErrNotCharged = errors.New("no charge of that key")
	// ErrAlreadyCharged says that the key is in the ledger: look it up. A
	// charge without a release was interrupted, and stays spent.
	ErrAlreadyCharged = errors.New("key already charged")
)

// A BudgetError refuses a charge that does not fit the budget. It says what was
// asked, what is left, and what would be accepted if nobody else charges before.
type BudgetError struct {
	Epoch, Unit string
	// Asked is the cost of one repetition, and Count how many were asked for.
	Asked Budget
	Count int64
	// Left is what may still be spent now, rounded down.
	Left Budget
	// Window names the window whose budget is spent, where the budget of the
	// epoch is not; else it is empty.
	Window string
	// Largest is the cost of one repetition that would be accepted for the same
	// Count: of ε and of δ what was asked where that fits, and else the largest
	// that does. 0 means that nothing is left of it.
	Largest Budget
	// Repetitions of Asked would be accepted as they are; fewer than Count.
	Repetitions int64
	// After is the earliest time at which the same charge would be accepted as
	// it is: when the windows that refuse it have begun anew. It is zero where
	// waiting does not help, because the budget of the epoch refuses too.
	After time.Time
}

// Error says what would pass.
func (e *BudgetError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "charge budget of unit %s in epoch %q", e.Unit, e.Epoch)
	if e.Window != "" {
		fmt.Fprintf(&b, ", window %s", e.Window)
	}
	fmt.Fprintf(&b, ": asked for ε=%g δ=%g", e.Asked.Epsilon, e.Asked.Delta)
	if e.Count > 1 {
		fmt.Fprintf(&b, " %d times", e.Count)
	}
	fmt.Fprintf(&b, ", left ε=%g δ=%g: ask for no more than ", e.Left.Epsilon, e.Left.Delta)
	switch each := e.Count > 1; {
	case each && e.Repetitions > 0:
		fmt.Fprintf(&b, "%d repetitions, or ε=%g δ=%g in each", e.Repetitions, e.Largest.Epsilon, e.Largest.Delta)
	case each:
		fmt.Fprintf(&b, "ε=%g δ=%g in each", e.Largest.Epsilon, e.Largest.Delta)
	case e.Largest.Epsilon > 0 && e.Largest != Budget{Epsilon: min(e.Asked.Epsilon, e.Left.Epsilon), Delta: min(e.Asked.Delta, e.Left.Delta)}:
		fmt.Fprintf(&b, "ε=%g δ=%g", e.Largest.Epsilon, e.Largest.Delta) // by zcdp
	default:
		b.WriteString("what is left")
	}
	if !e.After.IsZero() {
		fmt.Fprintf(&b, ", or ask the same again from %s", e.After.UTC().Format(time.RFC3339Nano))
	} else {
		b.WriteString(", or wait for the next epoch's data")
	}
	return b.String()
}

// A UnitError refuses a charge in another privacy unit than the epoch's. What is
// charged to protect a sale says nothing of the member who made fifty of them,
// so two units of the same records cannot have budgets side by side. The first
// charge of an epoch fixes its unit.
type UnitError struct{ Epoch, Unit, Asked string }

func (e *UnitError) Error() string {
	return fmt.Sprintf("epoch %q is charged in unit %s, so unit %s is refused: ask in unit %s",
		e.Epoch, e.Unit, e.Asked, e.Unit)
}

// A Ledger holds the budgets of the dataset epochs, one for each, in the privacy
// unit of its first charge, and everything charged to them. The order is reserve, draw noise, commit and
// store, tell: what Reserve acknowledged stays spent whatever happens next, and
// only what Commit stored may be shown. A reservation never expires into a refund:
// one whose owner is gone has no release, and stays spent. Implementations are safe for concurrent
// use, also by several processes if they say so, and concurrent charges never
// pass a budget together.
//
// A Ledger may also have Check(ctx, Charge) error, which returns what Reserve
// would and charges nothing; those of Larder do. dp/dptest holds the conformance
// suite of ledgers.
type Ledger interface {
	// Lookup returns the entry of a key, or ErrNotCharged.
	Lookup(ctx context.Context, k Key) (Entry, error)
	// Reserve makes a charge durable. It returns ErrAlreadyCharged if the key is
	// in the ledger, a *BudgetError if the charge does not fit, and a *UnitError
	// if the epoch is charged in another unit.
	Reserve(ctx context.Context, c Charge) (Entry, error)
	// Commit stores the release of a reserved key, once and for all. Storing
	// the same bytes again is no error; other bytes are.
	Commit(ctx context.Context, k Key, release []byte) error
	// Left returns what the epoch's budget has left for charges in unit, or a
	// *UnitError.
	Left(ctx context.Context, epoch, unit string) (Budget, error)
}

// MemoryLedger is a Ledger that lives as long as the process. It is for tests
// and simulations: a restart forgets what was spent. Safe for concurrent use.
//
// It adds costs up (basic composition) in exact arithmetic, so that rounding
// never lets a charge slip through or refuses one that fits.
type MemoryLedger struct {
	mu      sync.Mutex
	budget  Budget
	entries map[Key]*Entry
	spent   map[string]*memorySpent // by epoch
	head    [32]byte
}

type memorySpent struct {
	Spent
	unit string
}

// NewMemoryLedger returns an empty ledger that allows b to every dataset epoch.
func NewMemoryLedger(b Budget) (*MemoryLedger, error) {
	if err := b.Validate(); err != nil {
		return nil, fmt.Errorf("open memory ledger: %w", err)
	}
	return &MemoryLedger{
		budget: b, entries: map[Key]*Entry{}, spent: map[string]*memorySpent{},
		head: sha256.Sum256([]byte("larder memory ledger")),
	}, nil
}

// Lookup implements Ledger.
func (l *MemoryLedger) Lookup(ctx context.Context, k Key) (Entry, error) {
	if err := ctx.Err(); err != nil {
		return Entry{}, fmt.Errorf("look up charge: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	e, ok := l.entries[k]
	if !ok {
		return Entry{}, fmt.Errorf("look up charge: %w", ErrNotCharged)
	}
	return Entry{Charge: e.Charge.Clone(), Release: bytes.Clone(e.Release), Head: e.Head}, nil
}

// Reserve implements Ledger.
func (l *MemoryLedger) Reserve(ctx context.Context, c Charge) (Entry, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.check(ctx, c); err != nil {
		return Entry{}, wrap("reserve charge", err)
	}
	if l.spent[c.Key.Epoch] == nil {
		l.spent[c.Key.Epoch] = &memorySpent{unit: c.Unit}
	}
	l.spent[c.Key.Epoch].Add(c)
	l.head = chain(l.head, c)
	l.entries[c.Key] = &Entry{Charge: c.Clone(), Head: l.head}
	return Entry{Charge: c.Clone(), Head: l.head}, nil
}

// Check returns what Reserve would, and charges nothing.
func (l *MemoryLedger) Check(ctx context.Context, c Charge) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.check(ctx, c); err != nil {
		return wrap("check charge", err)
	}
	return nil
}

// wrap leaves those errors alone that say what was done.
func wrap(verb string, err error) error {
	switch err.(type) {
	case *BudgetError, *UnitError:
		return err
	}
	return fmt.Errorf("%s: %w", verb, err)
}

func (l *MemoryLedger) check(ctx context.Context, c Charge) error {
	if err := errors.Join(ctx.Err(), c.Validate()); err != nil {
		return err
	}
	if _, ok := l.entries[c.Key]; ok {
		return ErrAlreadyCharged
	}
	s, err := l.of(c.Key.Epoch, c.Unit)
	if err != nil {
		return err
	}
	return s.Check(c, l.budget)
}

// of is what an epoch has spent in unit.
func (l *MemoryLedger) of(epoch, unit string) (*Spent, error) {
	s := l.spent[epoch]
	if s == nil {
		return new(Spent), nil
	}
	if s.unit != unit {
		return nil, &UnitError{epoch, s.unit, unit}
	}
	return &s.Spent, nil
}

// Commit implements Ledger.
func (l *MemoryLedger) Commit(ctx context.Context, k Key, release []byte) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("commit charge: %w", err)
	}
	if release == nil {
		return errors.New("commit charge: give a release")
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	e, ok := l.entries[k]
	if !ok {
		return fmt.Errorf("commit charge: %w: reserve it first", ErrNotCharged)
	}
	if e.Release != nil {
		if !bytes.Equal(e.Release, release) {
			return errors.New("commit charge: another release is stored under this key")
		}
		return nil
	}
	e.Release = bytes.Clone(release)
	return nil
}

// Left implements Ledger.
func (l *MemoryLedger) Left(ctx context.Context, epoch, unit string) (Budget, error) {
	if err := ctx.Err(); err != nil {
		return Budget{}, fmt.Errorf("read budget: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	s, err := l.of(epoch, unit)
	if err != nil {
		return Budget{}, err
	}
	return s.Left(l.budget), nil
}

// chain returns SHA-256(head ‖ SHA-256(charge)), where a charge is written as
// len(epoch) epoch round digest len(unit) unit ε δ count len(events) events: lengths, round
// and count (at least 1) as 8 bytes big endian, ε and δ as IEEE 754 bits big endian, events
// as encoding/json writes them, or nothing where there are none.
func chain(head [32]byte, c Charge) [32]byte {
	var b []byte
	str := func(s string) {
		b = binary.BigEndian.AppendUint64(b, uint64(len(s)))
		b = append(b, s...)
	}
	str(c.Key.Epoch)
	b = binary.BigEndian.AppendUint64(b, uint64(c.Key.Round))
	b = append(b, c.Key.Digest[:]...)
	str(c.Unit)
	b = binary.BigEndian.AppendUint64(b, math.Float64bits(c.Cost.Epsilon))
	b = binary.BigEndian.AppendUint64(b, math.Float64bits(c.Cost.Delta))
	b = binary.BigEndian.AppendUint64(b, uint64(c.times()))
	if len(c.Events) > 0 {
		events, _ := json.Marshal(c.Events) // valid, so finite
		str(string(events))
	} else {
		str("")
	}
	entry := sha256.Sum256(b)
	return sha256.Sum256(append(head[:], entry[:]...))
}
