package register

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
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
	pseudonym  TEXT PRIMARY KEY,
	first_name TEXT NOT NULL,
	last_name  TEXT NOT NULL,
	birthday   TEXT NOT NULL,
	email      TEXT NOT NULL,
	mobile_no  TEXT NOT NULL,
	legacy_id  TEXT,
	file       INTEGER NOT NULL,
	line       INTEGER NOT NULL
) WITHOUT ROWID`

// perInsert is how many members one statement takes: nine parameters each, of
// SQLite's 32,766.
const perInsert = 64

// SQLite opens the store in a file, which it makes with mode 0600 if it is not
// there. It is a write-ahead log with a full sync at each commit.
func SQLite(path string) (*Store, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := f.Close(); err != nil {
		return nil, err
	}
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
	}, nil
}

func insertMembers(ctx context.Context, conn *sql.Conn, file int64, members []*Member) (added int64, err error) {
	full, err := conn.PrepareContext(ctx, insertSQL(perInsert))
	if err != nil {
		return 0, err
	}
	defer func() { _ = full.Close() }()
	args := make([]any, 0, 9*perInsert)
	for len(members) > 0 {
		n := min(perInsert, len(members))
		args = args[:0]
		for _, m := range members[:n] {
			args = append(args, m.Pseudonym, m.First, m.Last, m.Birthday, m.Email, m.Mobile, nullable(m.LegacyID), file, m.Line)
		}
		members = members[n:]
		var result sql.Result
		if n == perInsert {
			result, err = full.ExecContext(ctx, args...)
		} else {
			result, err = conn.ExecContext(ctx, insertSQL(n), args...)
		}
		if err != nil {
			return added, err
		}
		rows, err := result.RowsAffected()
		if err != nil {
			return added, err
		}
		added += rows
	}
	return added, nil
}

func insertSQL(n int) string {
	return `INSERT OR IGNORE INTO membership_members VALUES (?,?,?,?,?,?,?,?,?)` + strings.Repeat(`,(?,?,?,?,?,?,?,?,?)`, n-1)
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
