package dp

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"math"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func charge(round int64, cost Budget) Charge {
	return Charge{Key: Key{Epoch: "2026-w01", Round: round}, Unit: "member", Cost: cost}
}

func newMemory(t testing.TB, b Budget) *MemoryLedger {
	t.Helper()
	l, err := NewMemoryLedger(b)
	require.NoError(t, err)
	return l
}

func TestMemoryLedgerLifeOfACharge(t *testing.T) {
	ctx, l := t.Context(), newMemory(t, Budget{1, 1e-6})
	c := charge(1, Budget{0.25, 1e-7})
	_, err := l.Lookup(ctx, c.Key)
	assert.ErrorIs(t, err, ErrNotCharged)
	assert.ErrorIs(t, l.Commit(ctx, c.Key, []byte("x")), ErrNotCharged, "nothing is stored before it is paid")

	e, err := l.Reserve(ctx, c)
	require.NoError(t, err)
	assert.Nil(t, e.Release)
	_, err = l.Reserve(ctx, c)
	assert.ErrorIs(t, err, ErrAlreadyCharged)
	left, err := l.Left(ctx, c.Key.Epoch, c.Unit)
	require.NoError(t, err)
	assert.Equal(t, 0.75, left.Epsilon, "spent on reservation, once")

	release := []byte("release")
	require.NoError(t, l.Commit(ctx, c.Key, release))
	require.NoError(t, l.Commit(ctx, c.Key, release), "the same bytes again")
	assert.Error(t, l.Commit(ctx, c.Key, []byte("other")))
	assert.Error(t, l.Commit(ctx, c.Key, nil))
	release[0] = 'X'
	got, err := l.Lookup(ctx, c.Key)
	require.NoError(t, err)
	assert.Equal(t, "release", string(got.Release), "the ledger keeps its own copy")
	assert.Equal(t, e.Head, got.Head)
}

func TestMemoryLedgerRemedy(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ctx := t.Context()
		l, err := NewMemoryLedger(Budget{rapid.Float64Range(0, 10).Draw(t, "ε"), rapid.Float64Range(0, 0.5).Draw(t, "δ")})
		if err != nil {
			t.Fatal(err)
		}
		for round := int64(1); round < 20; round += 2 {
			c := charge(round, Budget{rapid.Float64Range(0, 3).Draw(t, "cost"), rapid.Float64Range(0, 0.1).Draw(t, "δ of cost")})
			_, err := l.Reserve(ctx, c)
			var refused *BudgetError
			if err == nil {
				continue
			}
			if !errors.As(err, &refused) || refused.Asked != c.Cost {
				t.Fatalf("not a budget error for it: %v", err)
			}
			if _, err := l.Reserve(ctx, charge(round+1, refused.Left)); err != nil {
				t.Fatalf("what is left was refused: %v", err)
			}
		}
	})
}

// TestMemoryLedgerExact: the float64 nearest to 0.1 is above 0.1, so ten of
// them are above 1, although they add up to 0.9999999999999999 in float64.
func TestMemoryLedgerExact(t *testing.T) {
	ctx, l := t.Context(), newMemory(t, Budget{Epsilon: 1})
	for round := int64(1); round <= 9; round++ {
		_, err := l.Reserve(ctx, charge(round, Budget{Epsilon: 0.1}))
		require.NoError(t, err)
	}
	_, err := l.Reserve(ctx, charge(10, Budget{Epsilon: 0.1}))
	var refused *BudgetError
	require.ErrorAs(t, err, &refused)
	assert.Less(t, refused.Left.Epsilon, 0.1)
	assert.Greater(t, refused.Left.Epsilon, 0.0999999)

	l = newMemory(t, Budget{Epsilon: 1})
	for round := int64(1); round <= 1024; round++ {
		_, err := l.Reserve(ctx, charge(round, Budget{Epsilon: 1.0 / 1024}))
		require.NoError(t, err, "binary fractions add up exactly")
	}
	_, err = l.Reserve(ctx, charge(2000, Budget{Epsilon: 5e-324}))
	assert.ErrorAs(t, err, &refused, "and then nothing fits")
	assert.Zero(t, refused.Left)
	_, err = l.Reserve(ctx, charge(2001, Budget{}))
	assert.NoError(t, err, "but what costs nothing")

	l = newMemory(t, Budget{1, 1e-6})
	_, err = l.Reserve(ctx, charge(1, Budget{0.1, 2e-6}))
	assert.ErrorAs(t, err, &refused, "δ is a budget as well")
	assert.Equal(t, Budget{1, 1e-6}, refused.Left)
}

func TestMemoryLedgerRefuses(t *testing.T) {
	ctx, l := t.Context(), newMemory(t, Budget{1, 1e-6})
	nan, inf := math.NaN(), math.Inf(1)
	for _, b := range []Budget{{nan, 0}, {0, nan}, {-1, 0}, {0, -1}, {inf, 0}, {0, 1}} {
		_, err := l.Reserve(ctx, charge(1, b))
		assert.Error(t, err, "%+v", b)
		_, err = NewMemoryLedger(b)
		assert.Error(t, err, "%+v", b)
	}
	for _, c := range []Charge{
		{Key: Key{Round: 1}, Unit: "member"},
		{Key: Key{Epoch: "e"}, Unit: "member"},
		{Key: Key{Epoch: "e", Round: -1}, Unit: "member"},
		{Key: Key{Epoch: "e", Round: 1}},
	} {
		_, err := l.Reserve(ctx, c)
		assert.Error(t, err, "%+v", c)
	}
	left, err := l.Left(ctx, "2026-w01", "member")
	require.NoError(t, err)
	assert.Equal(t, Budget{1, 1e-6}, left, "a refusal spends nothing")
}

func TestMemoryLedgerBudgetsStandApart(t *testing.T) {
	ctx, l := t.Context(), newMemory(t, Budget{Epsilon: 1})
	c := charge(1, Budget{Epsilon: 1})
	_, err := l.Reserve(ctx, c)
	require.NoError(t, err)
	other := c
	other.Key.Epoch = "2026-w02"
	_, err = l.Reserve(ctx, other)
	assert.NoError(t, err, "another epoch")
	other = charge(2, Budget{Epsilon: 1e-9})
	other.Unit = "list"
	_, err = l.Reserve(ctx, other)
	var unit *UnitError
	require.ErrorAs(t, err, &unit, "another unit of the same records")
	assert.Equal(t, UnitError{c.Key.Epoch, c.Unit, "list"}, *unit)
	_, err = l.Left(ctx, c.Key.Epoch, "list")
	require.ErrorAs(t, err, &unit)
	_, err = l.Reserve(ctx, charge(3, Budget{Epsilon: 1e-9}))
	assert.Error(t, err)
}

// TestMemoryLedgerRace: many race for the last charge, exactly one gets it.
func TestMemoryLedgerRace(t *testing.T) {
	ctx, l := t.Context(), newMemory(t, Budget{Epsilon: 1})
	var won, refused atomic.Int64
	var all sync.WaitGroup
	for i := range int64(64) {
		all.Go(func() {
			_, err := l.Reserve(ctx, charge(i+1, Budget{Epsilon: 0.6}))
			var e *BudgetError
			if err == nil {
				won.Add(1)
			} else if errors.As(err, &e) {
				refused.Add(1)
			}
		})
	}
	all.Wait()
	assert.Equal(t, int64(1), won.Load())
	assert.Equal(t, int64(63), refused.Load())

	// The same key: one charge, whoever comes first.
	l, won = newMemory(t, Budget{Epsilon: 64}), atomic.Int64{}
	for range 64 {
		all.Go(func() {
			if _, err := l.Reserve(ctx, charge(1, Budget{Epsilon: 1})); err == nil {
				won.Add(1)
			} else {
				assert.ErrorIs(t, err, ErrAlreadyCharged)
			}
		})
	}
	all.Wait()
	assert.Equal(t, int64(1), won.Load())
}

// TestLedgerChain hashes one entry by hand, from the layout in ledger.go.
func TestLedgerChain(t *testing.T) {
	c := Charge{Key: Key{Epoch: "e", Round: 258, Digest: [32]byte{9}}, Unit: "list", Cost: Budget{1, 0.5}}
	written, err := hex.DecodeString("0000000000000001" + "65" + "0000000000000102" +
		"09" + "00000000000000000000000000000000000000000000000000000000000000" +
		"0000000000000004" + "6c697374" + "3ff0000000000000" + "3fe0000000000000" + "0000000000000001" + "0000000000000000")
	require.NoError(t, err)
	start, entry := sha256.Sum256([]byte("larder memory ledger")), sha256.Sum256(written)
	want := sha256.Sum256(append(start[:], entry[:]...))

	e, err := newMemory(t, Budget{1, 0.5}).Reserve(t.Context(), c)
	require.NoError(t, err)
	assert.Equal(t, want, e.Head)
}
