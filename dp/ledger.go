package dp

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/big"
	"sync"
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
	// Cost is added to what the unit's budget has already spent.
	Cost Budget
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

// A BudgetError refuses a charge that does not fit the budget. It says what
// would fit.
type BudgetError struct {
	Epoch, Unit string
	Asked, Left Budget
}

func (e *BudgetError) Error() string {
	return fmt.Sprintf("charge budget of unit %s in epoch %q: asked for ε=%g δ=%g, left ε=%g δ=%g: ask for no more than what is left, or wait for the next epoch's data",
		e.Unit, e.Epoch, e.Asked.Epsilon, e.Asked.Delta, e.Left.Epsilon, e.Left.Delta)
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
// only what Commit stored may be shown. Implementations are safe for concurrent
// use, also by several processes if they say so, and concurrent charges never
// pass a budget together.
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
	spent   map[string]*spent // by epoch
	head    [32]byte
}

type spent struct {
	unit           string
	epsilon, delta big.Rat
}

// NewMemoryLedger returns an empty ledger that allows b to every dataset epoch.
func NewMemoryLedger(b Budget) (*MemoryLedger, error) {
	if err := b.Validate(); err != nil {
		return nil, fmt.Errorf("open memory ledger: %w", err)
	}
	return &MemoryLedger{
		budget: b, entries: map[Key]*Entry{}, spent: map[string]*spent{},
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
	out := *e
	out.Release = bytes.Clone(e.Release)
	return out, nil
}

// Reserve implements Ledger.
func (l *MemoryLedger) Reserve(ctx context.Context, c Charge) (Entry, error) {
	if err := errors.Join(ctx.Err(), c.Cost.Validate()); err != nil {
		return Entry{}, fmt.Errorf("reserve charge: %w", err)
	}
	if c.Unit == "" || c.Key.Epoch == "" || c.Key.Round < 1 {
		return Entry{}, errors.New("reserve charge: give an epoch, a round of at least 1 and a unit")
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := l.entries[c.Key]; ok {
		return Entry{}, fmt.Errorf("reserve charge: %w", ErrAlreadyCharged)
	}
	s := l.spent[c.Key.Epoch]
	if s == nil {
		s = &spent{unit: c.Unit}
	}
	if s.unit != c.Unit {
		return Entry{}, &UnitError{c.Key.Epoch, s.unit, c.Unit}
	}
	var epsilon, delta big.Rat
	epsilon.Add(&s.epsilon, new(big.Rat).SetFloat64(c.Cost.Epsilon))
	delta.Add(&s.delta, new(big.Rat).SetFloat64(c.Cost.Delta))
	fits := epsilon.Cmp(new(big.Rat).SetFloat64(l.budget.Epsilon)) <= 0 &&
		delta.Cmp(new(big.Rat).SetFloat64(l.budget.Delta)) <= 0
	if !fits {
		return Entry{}, &BudgetError{Epoch: c.Key.Epoch, Unit: c.Unit, Asked: c.Cost, Left: l.left(s)}
	}
	l.spent[c.Key.Epoch] = &spent{s.unit, epsilon, delta}
	l.head = chain(l.head, c)
	e := &Entry{Charge: c, Head: l.head}
	l.entries[c.Key] = e
	return *e, nil
}

// Commit implements Ledger.
func (l *MemoryLedger) Commit(ctx context.Context, k Key, release []byte) error {
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
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.spent[epoch]
	if s == nil {
		return l.budget, nil
	}
	if s.unit != unit {
		return Budget{}, &UnitError{epoch, s.unit, unit}
	}
	return l.left(s), nil
}

// left rounds down: a charge of what it returns fits.
func (l *MemoryLedger) left(s *spent) Budget {
	down := func(budget float64, spent *big.Rat) float64 {
		rest := new(big.Rat).SetFloat64(budget)
		rest.Sub(rest, spent)
		f, exact := rest.Float64()
		if !exact && new(big.Rat).SetFloat64(f).Cmp(rest) > 0 {
			f = math.Nextafter(f, math.Inf(-1))
		}
		return max(f, 0)
	}
	return Budget{Epsilon: down(l.budget.Epsilon, &s.epsilon), Delta: down(l.budget.Delta, &s.delta)}
}

// chain returns SHA-256(head ‖ SHA-256(charge)), where a charge is written as
// len(epoch) epoch round digest len(unit) unit ε δ: lengths and round as 8 bytes big endian, ε and δ as
// IEEE 754 bits big endian.
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
	entry := sha256.Sum256(b)
	return sha256.Sum256(append(head[:], entry[:]...))
}
