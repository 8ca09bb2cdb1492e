package ledger

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/larder-dp/larder/dp"
)

// SQL is a dp.Ledger in a database, for many processes at once. Safe for
// concurrent use by the goroutines of each, which take turns.
//
// It borrows the sql.DB and has nothing to close. One connection is enough.
type SQL struct {
	store  store
	config Config
	// turn is held by whoever uses chain.
	turn  chan struct{}
	chain *sqlChain
	head  atomic.Pointer[Head]
}

// maxStored is the largest release in a database, in bytes: it has to fit a
// message and a value of each kind of database, in whatever encoding.
const maxStored = 1 << 28

// CreateSQL makes the tables of a new ledger, with the policy of c, and opens it.
// It refuses a database, or a schema of it, that has a ledger: one that begins
// anew would let the same rows be asked without end.
func CreateSQL(ctx context.Context, db *sql.DB, d Dialect, c Config) (*SQL, error) {
	var id [32]byte
	_, _ = rand.Read(id[:]) // never fails
	return createSQL(ctx, db, d, c, id)
}

func createSQL(ctx context.Context, db *sql.DB, d Dialect, c Config, id [32]byte) (*SQL, error) {
	p, err := c.policy()
	if err == nil {
		err = store{db, d}.create(ctx, id, p.encode())
	}
	if err != nil {
		return nil, fmt.Errorf("create ledger: %w", err)
	}
	return OpenSQL(ctx, db, d, c)
}

// OpenSQL opens the ledger in db and verifies its chain. It returns
// ErrRolledBack if it does not extend a known head, and a *CorruptError if it
// does not verify. The releases themselves are verified when they are looked up,
// and by VerifySQL.
func OpenSQL(ctx context.Context, db *sql.DB, d Dialect, c Config) (*SQL, error) {
	l := &SQL{store: store{db, d}, config: c, turn: make(chan struct{}, 1), chain: newSQLChain(c)}
	if err := l.open(ctx); err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	return l, nil
}

func (l *SQL) open(ctx context.Context) error {
	if err := l.store.ready(ctx); err != nil {
		return err
	}
	if err := l.read(ctx, func() error { return nil }); err != nil {
		return err
	}
	return l.chain.holdsKnown()
}

// VerifySQL checks every byte of the ledger in db, and that it extends all known
// heads, and returns its head. It takes no lock and changes nothing: it is for
// auditors and witnesses, also while the ledger is in use.
func VerifySQL(ctx context.Context, db *sql.DB, d Dialect, known ...Head) (Head, error) {
	s, c := store{db, d}, newSQLChain(Config{Known: known})
	c.whole = true
	err := s.check()
	if err == nil {
		err = s.read(ctx, c.advance)
	}
	if err == nil {
		err = c.holdsKnown()
	}
	if err != nil {
		return Head{}, fmt.Errorf("verify ledger: %w", err)
	}
	return c.head, nil
}

// take waits for the turn. The caller calls what it returns.
func (l *SQL) take(ctx context.Context) (func(), error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case l.turn <- struct{}{}:
		return func() {
			h := l.chain.head
			l.head.Store(&h)
			<-l.turn
		}, nil
	}
}

// read calls f in turn, with all that is committed in chain.
func (l *SQL) read(ctx context.Context, f func() error) error {
	done, err := l.take(ctx)
	if err != nil {
		return err
	}
	defer done()
	if err := l.store.read(ctx, l.chain.advance); err != nil {
		return err
	}
	return f()
}

// Lookup implements dp.Ledger. It shows what is committed, and checks the
// release against its hash.
func (l *SQL) Lookup(ctx context.Context, k dp.Key) (dp.Entry, error) {
	out, err := l.lookup(ctx, k)
	if err != nil {
		return dp.Entry{}, fmt.Errorf("look up charge: %w", err)
	}
	return out, nil
}

func (l *SQL) lookup(ctx context.Context, k dp.Key) (dp.Entry, error) {
	var e sqlEntry
	err := l.read(ctx, func() error {
		if l.chain.entries[k] == nil {
			return dp.ErrNotCharged
		}
		e = *l.chain.entries[k]
		return nil
	})
	if err != nil {
		return dp.Entry{}, err
	}
	out := dp.Entry{Charge: e.charge.Clone(), Head: e.head}
	if e.released == 0 {
		return out, nil
	}
	release, err := l.store.release(ctx, e.released)
	if errors.Is(err, sql.ErrNoRows) {
		return dp.Entry{}, &CorruptError{e.releasedAt, "the stored release is missing"}
	}
	if err != nil {
		return dp.Entry{}, fmt.Errorf("read release: %w", err)
	}
	if sha256.Sum256(release) != e.digest {
		return dp.Entry{}, &CorruptError{e.releasedAt, "the stored release is not what it was"}
	}
	out.Release = release
	return out, nil
}

// Reserve implements dp.Ledger. Other processes that charge at the same time
// wait for each other. An error that is neither a refusal nor ErrAlreadyCharged
// can mean that the answer of the database was lost, and that the charge is
// recorded: Lookup tells.
func (l *SQL) Reserve(ctx context.Context, c dp.Charge) (dp.Entry, error) {
	entry, warnings, err := l.reserve(ctx, c)
	if err != nil {
		return dp.Entry{}, wrap("reserve charge", err)
	}
	l.chain.books.warn(warnings)
	return entry, nil
}

func (l *SQL) reserve(ctx context.Context, c dp.Charge) (dp.Entry, []Warning, error) {
	if err := errors.Join(ctx.Err(), c.Validate(), checkTime(l.config.now())); err != nil {
		return dp.Entry{}, nil, err
	}
	done, err := l.take(ctx)
	if err != nil {
		return dp.Entry{}, nil, err
	}
	defer done()
	var warnings []Warning
	mine := map[[32]byte]bool{} // heads that this call sent to the database
	err = l.store.write(ctx, l.chain, transaction{
		settled: func() (bool, error) {
			e := l.chain.entries[c.Key]
			if e != nil && !mine[e.head] {
				return false, dp.ErrAlreadyCharged
			}
			return e != nil, nil
		},
		next: func() (link sqlLink, err error) {
			at := l.config.now()
			if err := l.chain.books.check(c, at); err != nil {
				return link, err
			}
			r := l.chain.books.reservation(c, at)
			warnings = l.chain.books.foresee(r.charge, r.at)
			link = l.chain.next(r, nil)
			mine[link.head.Hash] = true
			return link, nil
		},
	})
	if err != nil {
		return dp.Entry{}, nil, err
	}
	e := l.chain.entries[c.Key]
	return dp.Entry{Charge: e.charge.Clone(), Head: e.head}, warnings, nil
}

// Check returns what Reserve would, and charges nothing.
func (l *SQL) Check(ctx context.Context, c dp.Charge) error {
	err := c.Validate()
	if err == nil {
		err = l.read(ctx, func() error {
			if l.chain.entries[c.Key] != nil {
				return dp.ErrAlreadyCharged
			}
			return l.chain.books.check(c, l.config.now())
		})
	}
	return wrap("check charge", err)
}

// Commit implements dp.Ledger. The release becomes visible when the database has
// committed it. It is at most 256 MiB.
func (l *SQL) Commit(ctx context.Context, k dp.Key, release []byte) error {
	if err := l.commit(ctx, k, release); err != nil {
		return fmt.Errorf("commit charge: %w", err)
	}
	return nil
}

func (l *SQL) commit(ctx context.Context, k dp.Key, release []byte) error {
	if err := errors.Join(ctx.Err(), checkRelease(release), checkTime(l.config.now())); err != nil {
		return err
	}
	if len(release) > maxStored {
		return fmt.Errorf("the release has %d bytes, more than %d that a database takes: split the question, or take a file ledger", len(release), maxStored)
	}
	release = bytes.Clone(release) // its hash must be of what is written
	digest := sha256.Sum256(release)
	done, err := l.take(ctx)
	if err != nil {
		return err
	}
	defer done()
	return l.store.write(ctx, l.chain, transaction{
		settled: func() (bool, error) {
			e := l.chain.entries[k]
			switch {
			case e == nil:
				return false, fmt.Errorf("%w: reserve it first", dp.ErrNotCharged)
			case e.released != 0 && e.digest != digest:
				return false, errOtherRelease
			}
			return e.released != 0, nil
		},
		next: func() (sqlLink, error) {
			at := l.config.now()
			r := record{at: at, charge: dp.Charge{Key: k}, isCommit: true, size: int64(len(release)), digest: digest}
			return l.chain.next(r, release), checkTime(at)
		},
	})
}

// Left implements dp.Ledger.
func (l *SQL) Left(ctx context.Context, epoch, unit string) (left dp.Budget, err error) {
	err = l.read(ctx, func() (err error) {
		left, err = l.chain.books.leftOf(epoch, unit, l.config.now())
		return err
	})
	return left, wrap("read budget", err)
}

// Report tells what an epoch has spent in its unit.
func (l *SQL) Report(ctx context.Context, epoch, unit string) (r Report, err error) {
	err = l.read(ctx, func() (err error) {
		r, err = l.chain.books.report(epoch, unit, l.config.now())
		return err
	})
	return r, wrap("report budget", err)
}

// Head returns the last committed state that this handle has read or made, for a
// witness to keep. Others may have charged since.
func (l *SQL) Head() Head { return *l.head.Load() }

// jitter is a time below most, so that processes that wait for one lock do not wake together.
func jitter(most time.Duration) time.Duration {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return time.Duration(binary.BigEndian.Uint64(b[:]) % uint64(most))
}
