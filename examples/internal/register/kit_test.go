package register

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/require"

	"github.com/larder-dp/larder/pseudonym"
)

func testScope(tb testing.TB) Scope {
	tb.Helper()
	keys, err := pseudonym.Generate(purpose, "1")
	require.NoError(tb, err)
	s, err := NewScope(keys, "1")
	require.NoError(tb, err)
	return s
}

// postgresDSN is a connection to a new schema, which the test removes.
func postgresDSN(tb testing.TB) string {
	tb.Helper()
	dsn := os.Getenv("LARDER_POSTGRES")
	if dsn == "" {
		tb.Skip("LARDER_POSTGRES is not set: it is the connection string of a PostgreSQL server, as key=value pairs")
	}
	config, err := pgx.ParseConfig(dsn)
	require.NoError(tb, err)
	db := stdlib.OpenDB(*config)
	schema := fmt.Sprintf("membership_test_%x", rand.Uint64())
	_, err = db.Exec("CREATE SCHEMA " + schema)
	require.NoError(tb, err)
	tb.Cleanup(func() {
		_, err := db.Exec("DROP SCHEMA " + schema + " CASCADE")
		require.NoError(tb, err)
		require.NoError(tb, db.Close())
	})
	return dsn + " search_path=" + schema
}

// A fixture is a register that can be opened again and again over one folder.
type fixture struct {
	dir   string
	scope Scope
	open  func() (*Store, error)
	now   time.Time
	alter func(*Config)
}

func sqliteFixture(t *testing.T) *fixture {
	dir := filepath.Join(t.TempDir(), "register")
	return &fixture{
		dir: dir, scope: testScope(t), now: time.Date(2022, 1, 3, 9, 0, 0, 0, time.UTC),
		open: func() (*Store, error) { return SQLite(filepath.Join(dir, "members.db")) },
	}
}

func postgresFixture(t *testing.T) *fixture {
	f := sqliteFixture(t)
	dsn := postgresDSN(t)
	f.open = func() (*Store, error) { return Postgres(dsn) }
	return f
}

func (f *fixture) config(t *testing.T) Config {
	t.Helper()
	require.NoError(t, os.MkdirAll(f.dir, 0o700))
	store, err := f.open()
	require.NoError(t, err)
	c := Config{Dir: f.dir, Store: store, Scope: f.scope, AsOf: 20220101, Now: func() time.Time { return f.now }}
	if f.alter != nil {
		f.alter(&c)
	}
	return c
}

func (f *fixture) register(t *testing.T) *Register {
	t.Helper()
	r, err := Open(context.Background(), f.config(t))
	require.NoError(t, err)
	return r
}

// add takes files in one opening of the register, and publishes.
func (f *fixture) add(t *testing.T, paths ...string) (out []File) {
	t.Helper()
	r := f.register(t)
	defer func() { require.NoError(t, r.Close()) }()
	for _, path := range paths {
		file, _, err := r.Add(context.Background(), path)
		require.NoError(t, err)
		out = append(out, file)
	}
	require.NoError(t, r.Publish(context.Background()))
	return out
}

func (f *fixture) read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(f.dir, name))
	require.NoError(t, err)
	return string(b)
}

// state is all that a run leaves behind but for the audit log and the times:
// outputs, names of files, and the tables.
func (f *fixture) state(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(f.dir, func(path string, d os.DirEntry, err error) error {
		require.NoError(t, err)
		if d.IsDir() || strings.HasPrefix(d.Name(), "members.db") {
			return nil
		}
		rel, err := filepath.Rel(f.dir, path)
		require.NoError(t, err)
		fmt.Fprintf(&b, "== %s\n", rel)
		if strings.HasSuffix(rel, ".csv") {
			b.WriteString(f.read(t, rel))
		}
		return nil
	})
	require.NoError(t, err)
	store, err := f.open()
	require.NoError(t, err)
	defer func() { require.NoError(t, store.Close()) }()
	b.WriteString(dump(t, store.db, `SELECT name, value FROM membership_settings ORDER BY name`))
	b.WriteString(dump(t, store.db, `SELECT id, digest, name, bytes, total, successful, reasons, members, CASE WHEN purged THEN 1 ELSE 0 END FROM membership_files ORDER BY id`))
	b.WriteString(dump(t, store.db, `SELECT pseudonym, first_name, last_name, birthday, email, mobile_no, legacy_id, file, line FROM membership_members ORDER BY pseudonym`))
	return b.String()
}

// sameState compares two states without printing them.
func sameState(t *testing.T, want, got string) {
	t.Helper()
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range min(len(w), len(g)) {
		require.Equal(t, w[i], g[i], "line %d", i+1)
	}
	require.Equal(t, len(w), len(g), "lines")
}

func dump(t *testing.T, db *sql.DB, query string) string {
	t.Helper()
	rows, err := db.Query(query)
	require.NoError(t, err)
	defer func() { require.NoError(t, rows.Close()) }()
	columns, err := rows.Columns()
	require.NoError(t, err)
	var b strings.Builder
	values, into := make([]sql.NullString, len(columns)), make([]any, len(columns))
	for i := range values {
		into[i] = &values[i]
	}
	for rows.Next() {
		require.NoError(t, rows.Scan(into...))
		for _, v := range values {
			b.WriteString(v.String + " ")
		}
		b.WriteString("\n")
	}
	require.NoError(t, rows.Err())
	return b.String()
}

// write writes an input of the usual columns.
func write(t *testing.T, path string, rows ...string) string {
	t.Helper()
	require.NoError(t, os.WriteFile(path, []byte("name,email,date_of_birth,mobile_no\n"+strings.Join(rows, "\n")+"\n"), 0o600))
	return path
}
