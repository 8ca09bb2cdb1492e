package register

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"

	"modernc.org/sqlite"
)

const sqliteSchema = `
CREATE TABLE IF NOT EXISTS membership_settings (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS membership_files (
	id         INTEGER PRIMARY KEY,
	digest     TEXT NOT NULL UNIQUE,
	name       TEXT NOT NULL,
	bytes      INTEGER NOT NULL,
	total      INTEGER NOT NULL,
	successful INTEGER NOT NULL,
	reasons    TEXT NOT NULL,
	members    INTEGER NOT NULL,
	processed  INTEGER NOT NULL,
	purged     BOOLEAN NOT NULL
);
CREATE TABLE IF NOT EXISTS membership_members (
	pseudonym  BLOB PRIMARY KEY,
	first_name TEXT NOT NULL,
	last_name  TEXT NOT NULL,
	birthday   INTEGER NOT NULL,
	email      TEXT NOT NULL,
	mobile_no  TEXT NOT NULL,
	legacy_id  TEXT,
	file       INTEGER NOT NULL,
	line       INTEGER NOT NULL
) WITHOUT ROWID`

// perInsert is how many members one statement takes: up to eight parameters each, of
// SQLite's 32,766.
const perInsert = 64

// SQLite is a store in a file, which Open makes with mode 0600 if it is not there.
// It is a write-ahead log with a full sync at each commit.
func SQLite(path string) (*Store, error) {
	dsn := "file:" + (&url.URL{Path: path}).EscapedPath() +
		"?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=busy_timeout(5000)&_pragma=cache_size(-65536)&_pragma=temp_store(MEMORY)"
	db, err := sql.Open("sqlite", dsn)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	return &Store{
		db: db, schema: strings.Split(sqliteSchema, ";"), begin: `BEGIN IMMEDIATE`, clean: cleanSQLite,
		insert: insertMembers,
		ready: func(context.Context) error { // the lock of the folder is the store's too
			f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
			if err != nil {
				return err
			}
			return f.Close()
		},
		page: `SELECT CAST(group_concat(pseudonym, '') AS BLOB) FROM (SELECT pseudonym FROM membership_members WHERE pseudonym > $1 ORDER BY pseudonym LIMIT $2)`,
	}, nil
}

// insertMembers goes below database/sql, whose conversion of each argument costs
// more here than SQLite's own work.
func insertMembers(ctx context.Context, conn *sql.Conn, file int64, members []*member) (added int64, err error) {
	err = conn.Raw(func(c any) error {
		in := inserter{conn: c.(driver.ConnPrepareContext), file: file}
		for run := range slices.Chunk(members, perInsert) {
			if err := ctx.Err(); err != nil {
				return errors.Join(err, in.close())
			}
			n, err := in.insert(run)
			if err != nil {
				return errors.Join(err, in.close())
			}
			added += n
		}
		return in.close()
	})
	return added, err
}

// An inserter has a statement for as many members as it last inserted.
type inserter struct {
	conn driver.ConnPrepareContext
	file int64
	rows int
	stmt driver.Stmt
	args []driver.NamedValue
}

func (in *inserter) insert(members []*member) (added int64, err error) {
	// A statement under a context that can end costs a goroutine each time.
	ctx := context.Background()
	if in.rows != len(members) {
		if err := in.prepare(ctx, len(members), members[0].legacyID != ""); err != nil {
			return 0, err
		}
	}
	args := in.args[:0]
	add := func(v driver.Value) { args = append(args, driver.NamedValue{Ordinal: len(args) + 1, Value: v}) }
	for _, m := range members {
		add(m.pseudonym[:])
		add(m.first)
		add(m.last)
		add(int64(m.birthday))
		add(m.email)
		add(m.mobile)
		add(m.line)
		if m.legacyID != "" {
			add(m.legacyID)
		}
	}
	in.args = args
	result, err := in.stmt.(driver.StmtExecContext).ExecContext(ctx, args)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

func (in *inserter) prepare(ctx context.Context, rows int, legacyID bool) (err error) {
	if err := in.close(); err != nil {
		return err
	}
	row := fmt.Sprintf(",(?,?,?,?,?,?,?,%d", in.file)
	if legacyID {
		row += ",?)"
	} else {
		row += ",NULL)"
	}
	in.rows = rows
	in.stmt, err = in.conn.PrepareContext(ctx, `INSERT OR IGNORE INTO membership_members
		(pseudonym, first_name, last_name, birthday, email, mobile_no, line, file, legacy_id) VALUES `+strings.Repeat(row, rows)[1:])
	return err
}

func (in *inserter) close() error {
	if in.stmt == nil {
		return nil
	}
	err := in.stmt.Close()
	in.stmt = nil
	return err
}

func nullable(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// cleanSQLite keeps the code of an error and drops its text.
func cleanSQLite(err error) error {
	var e *sqlite.Error
	if errors.As(err, &e) {
		return fmt.Errorf("SQLite error %d (%s)", e.Code(), sqlite.ErrorCodeString[e.Code()&0xff])
	}
	return err
}
