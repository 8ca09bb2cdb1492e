package ledger

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// Dialect is a kind of database.
type Dialect string

const (
	// PostgreSQL is a server from version 12 on. The tests use the driver
	// github.com/jackc/pgx/v5/stdlib.
	PostgreSQL Dialect = "PostgreSQL"
	// SQLite is a database file, from version 3.37 on, on a local disk. The
	// tests use the driver modernc.org/sqlite.
	SQLite Dialect = "SQLite"
)

// patience is how long a call waits for a database that is busy or lost.
const patience = 30 * time.Second

// A store is a database with the tables of a ledger.
type store struct {
	db      *sql.DB
	dialect Dialect
}

// The tables are described in the package doc. What they are called here is
// PostgreSQL; statement translates it.
var createTables = []string{
	`CREATE TABLE larder_ledger (
		one     BIGINT PRIMARY KEY CHECK (one = 1),
		version BIGINT NOT NULL,
		id      BYTEA  NOT NULL,
		policy  TEXT   NOT NULL,
		start   BYTEA  NOT NULL,
		seq     BIGINT NOT NULL,
		size    BIGINT NOT NULL,
		head    BYTEA  NOT NULL
	)`,
	`CREATE TABLE larder_charges (
		seq    BIGINT PRIMARY KEY,
		epoch  TEXT   NOT NULL,
		round  BIGINT NOT NULL,
		digest BYTEA  NOT NULL,
		record BYTEA  NOT NULL,
		head   BYTEA  NOT NULL,
		UNIQUE (epoch, round, digest)
	)`,
	`CREATE TABLE larder_releases (
		seq     BIGINT PRIMARY KEY,
		charge  BIGINT NOT NULL UNIQUE REFERENCES larder_charges (seq),
		record  BYTEA  NOT NULL,
		head    BYTEA  NOT NULL,
		release BYTEA  NOT NULL
	)`,
}

const (
	insertTip     = `INSERT INTO larder_ledger (one, version, id, policy, start, seq, size, head) VALUES (1, 1, $1, $2, $3, 0, $4, $5)`
	selectTip     = `SELECT version, id, policy, start, seq, size, head FROM larder_ledger WHERE one = 1`
	updateTip     = `UPDATE larder_ledger SET seq = $1, size = $2, head = $3 WHERE one = 1 AND seq = $4`
	insertCharge  = `INSERT INTO larder_charges (seq, epoch, round, digest, record, head) VALUES ($1, $2, $3, $4, $5, $6)`
	insertRelease = `INSERT INTO larder_releases (seq, charge, record, head, release) VALUES ($1, $2, $3, $4, $5)`
	selectRelease = `SELECT release FROM larder_releases WHERE seq = $1`
	selectRecords = `
		SELECT seq, epoch, round, digest, 0 AS charge, record, head, 0 AS size, NULL AS release
		FROM larder_charges WHERE seq >= $1
		UNION ALL
		SELECT seq, '', 0, NULL, charge, record, head, length(release), RELEASE
		FROM larder_releases WHERE seq >= $2
		ORDER BY seq`
)

// statement translates a statement from PostgreSQL. Its parameters come in order.
func (d Dialect) statement(s string) string {
	if d != SQLite {
		return s
	}
	s = strings.NewReplacer("BYTEA", "BLOB", "BIGINT", "INTEGER",
		"$1", "?", "$2", "?", "$3", "?", "$4", "?", "$5", "?", "$6", "?").Replace(s)
	if strings.HasPrefix(s, "CREATE TABLE") {
		s += " STRICT"
	}
	return s
}

// A transaction adds one record.
type transaction struct {
	// settled says whether the chain has the record already, or an error if it
	// cannot have it. It is asked first, and again after a COMMIT whose answer
	// did not come.
	settled func() (bool, error)
	// next is the record to add to the chain as it is now.
	next func() (sqlLink, error)
}

// A querier runs statements on one connection.
type querier struct {
	conn    *sql.Conn
	dialect Dialect
}

func (q querier) exec(ctx context.Context, statement string, args ...any) (sql.Result, error) {
	return q.conn.ExecContext(ctx, q.dialect.statement(statement), args...)
}

// ask scans the one row of an answer.
func (q querier) ask(ctx context.Context, question string, to ...any) error {
	return q.conn.QueryRowContext(ctx, question).Scan(to...)
}

func (q querier) tip(ctx context.Context) (t tip, err error) {
	err = q.ask(ctx, selectTip, &t.version, &t.id, &t.policy, &t.start, &t.seq, &t.size, &t.head)
	return t, err
}

// records are those from a number on, with their releases if whole.
func (q querier) records(ctx context.Context, from int64, whole bool) (rows, error) {
	release := "NULL"
	if whole {
		release = "release"
	}
	r, err := q.conn.QueryContext(ctx, q.dialect.statement(strings.Replace(selectRecords, "RELEASE", release, 1)), from, from)
	return rows{r}, err
}

type rows struct{ *sql.Rows }

// next returns io.EOF after the last.
func (r rows) next() (out row, err error) {
	if !r.Next() {
		if err := r.Err(); err != nil {
			return row{}, err
		}
		return row{}, io.EOF
	}
	err = r.Scan(&out.seq, &out.epoch, &out.round, &out.digest, &out.charge, &out.raw, &out.head, &out.size, &out.release)
	return out, err
}

func (q querier) insert(ctx context.Context, l sqlLink) error {
	var err error
	if k := l.record.charge.Key; l.record.isCommit {
		_, err = q.exec(ctx, insertRelease, l.seq, l.charge, l.raw, l.head.Hash[:], l.release)
	} else {
		_, err = q.exec(ctx, insertCharge, l.seq, k.Epoch, k.Round, k.Digest[:], l.raw, l.head.Hash[:])
	}
	if err != nil {
		return err
	}
	done, err := q.exec(ctx, updateTip, l.seq, l.head.Size, l.head.Hash[:], l.seq-1)
	if err != nil {
		return err
	}
	if n, err := done.RowsAffected(); err != nil || n != 1 {
		return errors.Join(errors.New("the database let somebody else write at the same time: is it of the Dialect that was named?"), err)
	}
	return nil
}

func (s store) check() error {
	if s.dialect != PostgreSQL && s.dialect != SQLite {
		return fmt.Errorf("dialect %q: give PostgreSQL or SQLite", string(s.dialect))
	}
	if s.db == nil {
		return errors.New("give a database")
	}
	return nil
}

// exists says whether there is a table larder_ledger.
func (q querier) exists(ctx context.Context) (yes bool, err error) {
	question := `SELECT to_regclass('larder_ledger') IS NOT NULL`
	if q.dialect == SQLite {
		question = `SELECT count(*) FROM main.sqlite_schema WHERE type = 'table' AND name = 'larder_ledger'`
	}
	err = q.ask(ctx, question, &yes)
	return yes, err
}

// ready says what would make the tables unfit for a ledger.
func (s store) ready(ctx context.Context) error {
	if err := s.check(); err != nil {
		return err
	}
	return s.again(ctx, func() error {
		return s.with(ctx, checking, func(q querier) error {
			yes, err := q.exists(ctx)
			if err == nil && !yes {
				err = errors.New("the database has no ledger: create it, if these dataset epochs never had one")
			}
			if err != nil || s.dialect == SQLite {
				return err
			}
			var logged int
			err = q.ask(ctx, `SELECT count(*) FROM pg_class WHERE relpersistence = 'p' AND
				oid IN ('larder_ledger'::regclass, 'larder_charges'::regclass, 'larder_releases'::regclass)`, &logged)
			if err == nil && logged != len(createTables) {
				err = errors.New("a table is unlogged or temporary, which a crash empties: ALTER TABLE … SET LOGGED")
			}
			return err
		})
	})
}

// create makes the tables.
func (s store) create(ctx context.Context, id [32]byte, policy []byte) error {
	if err := s.check(); err != nil {
		return err
	}
	begins := header(id, policy)
	start := begins[len(begins)-32:]
	return s.again(ctx, func() error {
		return s.with(ctx, creating, func(q querier) error {
			yes, err := q.exists(ctx)
			if err == nil && yes {
				err = errors.New("the database has a ledger: open it, or take another schema or database for new dataset epochs")
			}
			if err != nil {
				return err
			}
			for _, table := range createTables {
				if _, err := q.exec(ctx, table); err != nil {
					return err
				}
			}
			_, err = q.exec(ctx, insertTip, id[:], string(policy), start, int64(len(begins)), start)
			return err
		})
	})
}

// read calls f with one state of the database, perhaps several times.
func (s store) read(ctx context.Context, f func(context.Context, querier) error) error {
	return s.again(ctx, func() error {
		return s.with(ctx, reading, func(q querier) error { return f(ctx, q) })
	})
}

// release reads the release of that number.
func (s store) release(ctx context.Context, seq int64) (b []byte, err error) {
	err = s.again(ctx, func() error {
		return s.db.QueryRowContext(ctx, s.dialect.statement(selectRelease), seq).Scan(&b)
	})
	if b == nil {
		b = []byte{} // a driver may make nil of no bytes
	}
	return b, err
}

// write adds a record to c, alone. After a COMMIT that failed or was not answered,
// nothing is written before t.settled has been asked once more, under the lock
// that the other transaction held: by then it has ended, one way or the other.
func (s store) write(ctx context.Context, c *sqlChain, t transaction) error {
	var refused error // what the database said to a COMMIT
	doubt := false
	err := s.again(ctx, func() error {
		var link sqlLink
		err := s.with(ctx, writing, func(q querier) error {
			if err := c.advance(ctx, q); err != nil {
				return err
			}
			doubt = false
			if settled, err := t.settled(); settled || err != nil {
				return err
			}
			if refused != nil {
				return refused
			}
			var err error
			if link, err = t.next(); err != nil {
				return err
			}
			return q.insert(ctx, link)
		})
		var lost *lostError
		switch {
		case errors.As(err, &lost):
			if doubt = true; !transient(lost.error) {
				refused = lost.error
			}
		case doubt && errors.As(err, new(*unreachableError)):
			err = &lostError{err}
		case err == nil && link.seq > 0:
			return c.add(link)
		}
		return err
	})
	if err != nil && doubt {
		return fmt.Errorf("the answer of the database was lost, and it may be recorded or not: look it up: %w", err)
	}
	return err
}

// A mode is what a transaction is for.
type mode int

const (
	reading  mode = iota // one state of the database
	creating             // alone, where there are no tables yet
	checking             // as creating, and leave nothing
	writing              // alone
)

// with calls f in a transaction, which it commits if f returns nil and the mode
// writes. If the COMMIT fails, it returns a *lostError.
func (s store) with(ctx context.Context, m mode, f func(querier) error) error {
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return &unreachableError{err}
	}
	defer conn.Close()
	q := querier{conn, s.dialect}
	begun, err := q.begin(ctx, m)
	if err == nil {
		err = f(q)
	}
	if !begun && busy(err) {
		return err
	}
	// It ends whatever ctx says: to have asked for it and not to wait would leave in doubt what is recorded.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	end := "ROLLBACK"
	if err == nil && (m == writing || m == creating) {
		end = "COMMIT"
	}
	if _, ended := q.exec(ctx, end); ended != nil {
		_ = conn.Raw(func(any) error { return driver.ErrBadConn }) // drops it, with what is left of the transaction
		if end == "COMMIT" {
			return &lostError{ended}
		}
	}
	return err
}

func (q querier) begin(ctx context.Context, m mode) (begun bool, err error) {
	if q.dialect == SQLite {
		return q.beginSQLite(ctx, m)
	}
	start := "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
	if m != reading {
		start = "BEGIN ISOLATION LEVEL SERIALIZABLE READ WRITE"
	}
	if _, err := q.exec(ctx, start); err != nil || m == reading {
		return err == nil, err
	}
	if m == writing {
		// Before the first query, which fixes what the transaction sees. A row lock
		// comes after, and all who waited for it would fail to serialise.
		// https://www.postgresql.org/docs/current/sql-lock.html
		if _, err := q.exec(ctx, "LOCK TABLE larder_ledger IN EXCLUSIVE MODE"); err != nil {
			return true, err
		}
	}
	var fsync, whole, commit string
	err = q.ask(ctx, `SELECT current_setting('fsync'), current_setting('full_page_writes'), set_config('synchronous_commit',
		CASE current_setting('synchronous_commit') WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on' END, true)`, &fsync, &whole, &commit)
	if err == nil && (fsync != "on" || whole != "on") {
		err = fmt.Errorf("the server runs with fsync=%s and full_page_writes=%s, so that a power failure can lose what it has confirmed: both must be on", fsync, whole)
	}
	return true, err
}

// beginSQLite makes sure of the pragmas of this connection, which last until
// it is closed. https://www.sqlite.org/pragma.html#pragma_synchronous
func (q querier) beginSQLite(ctx context.Context, m mode) (begun bool, err error) {
	start := "BEGIN"
	if m != reading {
		start = "BEGIN IMMEDIATE"
		if err := q.durable(ctx); err != nil {
			return false, err
		}
	}
	_, err = q.exec(ctx, start)
	return err == nil, err
}

func (q querier) durable(ctx context.Context) error {
	for _, pragma := range []string{"synchronous = EXTRA", "fullfsync = ON", "checkpoint_fullfsync = ON"} {
		if _, err := q.exec(ctx, "PRAGMA "+pragma); err != nil {
			return err
		}
	}
	var journal, file string
	var synchronous int
	err := errors.Join(
		q.ask(ctx, "PRAGMA main.journal_mode", &journal),
		q.ask(ctx, "PRAGMA main.synchronous", &synchronous),
		q.ask(ctx, "SELECT coalesce(file, '') FROM pragma_database_list WHERE name = 'main'", &file))
	switch {
	case err != nil:
		return err
	case file == "":
		return errors.New("the database is not in a file, and would be lost with the process: give one")
	case journal == "off" || journal == "memory":
		return fmt.Errorf("the database has journal_mode=%s, so that a crash can destroy it: PRAGMA journal_mode = WAL", journal)
	case synchronous != 3:
		return errors.New("the database does not take synchronous=EXTRA, so that a power failure can lose what it has confirmed")
	}
	return nil
}

// A lostError says that a COMMIT failed: whatever it was to record may be
// recorded or not.
type lostError struct{ error }

func (e *lostError) Unwrap() error { return e.error }

// An unreachableError says that there is no connection.
type unreachableError struct{ error }

func (e *unreachableError) Unwrap() error { return e.error }

// again calls f until it succeeds, fails for good, or patience ends. Calls of f
// that fail have changed nothing, or say so by a *lostError.
func (s store) again(ctx context.Context, f func() error) error {
	until := now().Add(patience)
	for wait := time.Millisecond; ; wait = min(2*wait, 64*time.Millisecond) {
		err := f()
		if err != nil && ctx.Err() != nil && !errors.Is(err, ctx.Err()) {
			return errors.Join(ctx.Err(), err)
		}
		if err == nil || !transient(err) && !errors.As(err, new(*lostError)) || now().After(until) {
			return err
		}
		if ended := pause(ctx, jitter(wait)); ended != nil {
			return errors.Join(ended, err)
		}
	}
}

// transient says whether the same may succeed if it is tried again.
func transient(err error) bool {
	if busy(err) {
		return true
	}
	var code interface{ SQLState() string }
	if errors.As(err, &code) {
		// https://www.postgresql.org/docs/current/errcodes-appendix.html
		s := code.SQLState() // connection exception, admin_shutdown, crash_shutdown, cannot_connect_now
		return strings.HasPrefix(s, "08") || s == "57P01" || s == "57P02" || s == "57P03"
	}
	// A connection that broke: what database/sql, net and the drivers return.
	if errors.Is(err, driver.ErrBadConn) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return true
	}
	// Where there is no server, it is said at once.
	return !errors.As(err, new(*unreachableError)) &&
		(errors.As(err, new(interface{ Timeout() bool })) || errors.As(err, new(interface{ SafeToRetry() bool })))
}

// busy says whether somebody else was in the way.
func busy(err error) bool {
	var state interface{ SQLState() string }
	if errors.As(err, &state) {
		switch state.SQLState() {
		case "40001", "40P01", "55P03": // serialization_failure, deadlock_detected, lock_not_available
			return true
		}
	}
	var code interface{ Code() int }
	if errors.As(err, &code) {
		switch code.Code() & 0xff { // https://www.sqlite.org/rescode.html
		case 5, 6, 15: // SQLITE_BUSY, SQLITE_LOCKED, SQLITE_PROTOCOL
			return true
		}
	}
	return false
}
