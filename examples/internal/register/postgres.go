package register

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
)

const postgresSchema = `
CREATE TABLE IF NOT EXISTS membership_settings (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS membership_files (
	id         BIGINT PRIMARY KEY,
	digest     TEXT NOT NULL UNIQUE,
	name       TEXT NOT NULL,
	bytes      BIGINT NOT NULL,
	total      BIGINT NOT NULL,
	successful BIGINT NOT NULL,
	reasons    TEXT NOT NULL,
	members    BIGINT NOT NULL,
	processed  BIGINT NOT NULL,
	purged     BOOLEAN NOT NULL
);
CREATE TABLE IF NOT EXISTS membership_members (
	pseudonym  BYTEA PRIMARY KEY,
	first_name TEXT NOT NULL,
	last_name  TEXT NOT NULL,
	birthday   INTEGER NOT NULL,
	email      TEXT NOT NULL,
	mobile_no  TEXT NOT NULL,
	legacy_id  TEXT,
	file       BIGINT NOT NULL,
	line       BIGINT NOT NULL
)`

// Postgres opens the store in a database. The connection string, a URL or
// key=value pairs, chooses the schema by its search_path; PGPASSWORD or a
// passfile keeps the password out of it. One register at a time has a schema: a
// lock of the session says so, which a pooler of transactions would lose.
func Postgres(connection string) (*Store, error) {
	config, err := pgx.ParseConfig(connection)
	if err != nil { // its text would repeat the string
		return nil, errors.New("the PostgreSQL connection string cannot be read: give a URL, or key=value pairs")
	}
	db := stdlib.OpenDB(*config, stdlib.OptionAfterConnect(lockSchema))
	db.SetMaxOpenConns(1) // it has the lock
	return &Store{
		db: db, schema: strings.Split(postgresSchema, ";"), begin: `BEGIN; SET LOCAL synchronous_commit = on`, clean: cleanPostgres,
		page:   `SELECT string_agg(pseudonym, '' ORDER BY pseudonym) FROM (SELECT pseudonym FROM membership_members WHERE pseudonym > $1 ORDER BY pseudonym LIMIT $2) AS page`,
		insert: copyMembers, ready: db.PingContext,
	}, nil
}

// lockSchema takes the schema for as long as the connection lives. It waits a
// little: the server may yet have to see that an earlier process is gone.
func lockSchema(ctx context.Context, c *pgx.Conn) error {
	_, err := c.Exec(ctx, `SET lock_timeout = '1s'; SELECT pg_advisory_lock(hashtext('larder membership'), hashtext(current_schema())); SET lock_timeout = DEFAULT`)
	if err == nil {
		return nil
	}
	var e *pgconn.PgError
	if errors.As(err, &e) && e.Code == lockNotAvailable {
		err = ErrInUse
	}
	return errors.Join(err, c.Close(ctx))
}

// lockNotAvailable is what waiting for a lock in vain ends with
// (PostgreSQL, appendix A).
const lockNotAvailable = "55P03"

// copyMembers sends members through COPY into a table of the transaction and
// from there into the store, as COPY itself cannot pass over those it has.
func copyMembers(ctx context.Context, conn *sql.Conn, file int64, members []*member) (added int64, err error) {
	err = conn.Raw(func(driver any) error {
		c := driver.(*stdlib.Conn).Conn()
		if _, err := c.Exec(ctx, `CREATE TEMP TABLE IF NOT EXISTS membership_incoming (LIKE membership_members) ON COMMIT DELETE ROWS`); err != nil {
			return err
		}
		names := []string{"pseudonym", "first_name", "last_name", "birthday", "email", "mobile_no", "legacy_id", "file", "line"}
		if _, err := c.CopyFrom(ctx, pgx.Identifier{"membership_incoming"}, names, pgx.CopyFromSlice(len(members), func(i int) ([]any, error) {
			m := members[i]
			return []any{m.pseudonym[:], m.first, m.last, int32(m.birthday), m.email, m.mobile, nullable(m.legacyID), file, m.line}, nil
		})); err != nil {
			return err
		}
		tag, err := c.Exec(ctx, `INSERT INTO membership_members SELECT * FROM membership_incoming ON CONFLICT DO NOTHING`)
		if err != nil {
			return err
		}
		added = tag.RowsAffected()
		_, err = c.Exec(ctx, `TRUNCATE membership_incoming`)
		return err
	})
	return added, err
}

// cleanPostgres keeps the code of a server's error: its text can quote a row.
func cleanPostgres(err error) error {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		return fmt.Errorf("PostgreSQL error %s", e.Code)
	}
	var c *pgconn.ConnectError
	if errors.As(err, &c) {
		return errors.New("PostgreSQL cannot be reached with this connection string")
	}
	return err
}
