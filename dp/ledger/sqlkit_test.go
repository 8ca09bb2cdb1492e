package ledger

import (
	"crypto/rand"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"
)

// A database is a place for one ledger: a file of SQLite, or a schema of the
// PostgreSQL that LARDER_POSTGRES names.
type database struct {
	dialect Dialect
	where   string
	db      *sql.DB
}

// everyDatabase runs a test on an empty database of each kind.
func everyDatabase(t *testing.T, test func(t *testing.T, d *database)) {
	t.Run("SQLite", func(t *testing.T) {
		t.Parallel()
		test(t, newSQLite(t))
	})
	t.Run("PostgreSQL", func(t *testing.T) {
		t.Parallel()
		test(t, newPostgres(t))
	})
}

func newSQLite(t testing.TB) *database {
	t.Helper()
	return connect(t, SQLite, filepath.Join(t.TempDir(), "ledger.db"))
}

func newPostgres(t testing.TB) *database {
	t.Helper()
	dsn := os.Getenv("LARDER_POSTGRES")
	if dsn == "" {
		t.Skip("set LARDER_POSTGRES to the DSN of a PostgreSQL in which schemas and roles may be made")
	}
	return newSchema(t, dsn)
}

func newSchema(t testing.TB, dsn string) *database {
	t.Helper()
	schema := "larder_test_" + strings.ToLower(rand.Text())
	d := connect(t, PostgreSQL, schema+" "+dsn)
	d.run(t, "CREATE SCHEMA "+schema)
	t.Cleanup(func() { d.run(t, "DROP SCHEMA "+schema+" CASCADE") })
	return d
}

// connect is for tests and for the processes that they start.
func connect(t testing.TB, d Dialect, where string) *database {
	t.Helper()
	db, err := openDB(d, where)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return &database{d, where, db}
}

func openDB(d Dialect, where string) (*sql.DB, error) {
	if d == SQLite {
		return sql.Open("sqlite", "file:"+where+"?_pragma=journal_mode(WAL)")
	}
	c, err := postgresConfig(where)
	if err != nil {
		return nil, err
	}
	return stdlib.OpenDB(*c), nil
}

func postgresConfig(where string) (*pgx.ConnConfig, error) {
	schema, dsn, _ := strings.Cut(where, " ")
	c, err := pgx.ParseConfig(dsn)
	if err == nil {
		c.RuntimeParams["search_path"] = schema
		c.RuntimeParams["application_name"] = schema + os.Getenv(childRole)
	}
	return c, err
}

func (d *database) create(t testing.TB, c Config) *SQL {
	t.Helper()
	l, err := CreateSQL(t.Context(), d.db, d.dialect, c)
	require.NoError(t, err)
	return l
}

// another is a ledger as another process would open it, on connections of its own.
func (d *database) another(t testing.TB, c Config) (*SQL, error) {
	t.Helper()
	return OpenSQL(t.Context(), connect(t, d.dialect, d.where).db, d.dialect, c)
}

func (d *database) verify(t testing.TB, known ...Head) (Head, error) {
	t.Helper()
	return VerifySQL(t.Context(), d.db, d.dialect, known...)
}

func (d *database) run(t testing.TB, statement string, args ...any) {
	t.Helper()
	_, err := d.db.Exec(d.dialect.statement(statement), args...)
	require.NoError(t, err, statement)
}

func (d *database) number(t testing.TB, question string) (n int64) {
	t.Helper()
	require.NoError(t, d.db.QueryRow(question).Scan(&n), question)
	return n
}

// filled is a ledger with three charges, of which two have releases, and its
// heads, from the empty one on.
func filled(t testing.TB, d *database, c Config) (*SQL, []Head) {
	t.Helper()
	l := d.create(t, c)
	heads := []Head{l.Head()}
	for round := range int64(3) {
		c := charge(round+1, pure(0.25))
		_, err := l.Reserve(t.Context(), c)
		require.NoError(t, err)
		heads = append(heads, l.Head())
		if round < 2 {
			require.NoError(t, l.Commit(t.Context(), c.Key, fmt.Appendf(nil, "release %d", round)))
			heads = append(heads, l.Head())
		}
	}
	return l, heads
}
