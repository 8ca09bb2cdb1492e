package ledger

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/larder-dp/larder/dp"
	"github.com/larder-dp/larder/dp/dptest"
)

func TestSQLConformance(t *testing.T) {
	t.Parallel()
	everyDatabase(t, func(t *testing.T, d *database) {
		places := map[dp.Ledger]*database{}
		dptest.LedgerConformance(t, dptest.LedgerKit{
			New: func(b dp.Budget) (dp.Ledger, error) {
				d := newDatabase(t, d.dialect)
				l, err := CreateSQL(t.Context(), d.db, d.dialect, Config{Budget: b})
				places[l] = d
				return l, err
			},
			Reopen: func(l dp.Ledger) (dp.Ledger, error) {
				next, err := places[l].another(t, Config{})
				places[next] = places[l]
				return next, err
			},
		})
	})
}

func newDatabase(t testing.TB, d Dialect) *database {
	t.Helper()
	if d == SQLite {
		return newSQLite(t)
	}
	return newPostgres(t)
}

// TestSQLIsShared: each of several handles sees what the others did at once.
func TestSQLIsShared(t *testing.T) {
	t.Parallel()
	everyDatabase(t, func(t *testing.T, d *database) {
		ctx := t.Context()
		a := d.create(t, Config{Budget: pure(1)})
		b, err := d.another(t, Config{})
		require.NoError(t, err)
		c := charge(1, pure(0.75))
		e, err := a.Reserve(ctx, c)
		require.NoError(t, err)
		_, err = b.Reserve(ctx, c)
		require.ErrorIs(t, err, dp.ErrAlreadyCharged)
		assert.Equal(t, 0.25, refusal(t, b.Check(ctx, charge(2, pure(0.5)))).Left.Epsilon)
		require.NoError(t, b.Commit(ctx, c.Key, []byte("release")), "whoever has the release may store it")
		require.NoError(t, a.Commit(ctx, c.Key, []byte("release")))
		require.ErrorIs(t, a.Commit(ctx, c.Key, []byte("another")), errOtherRelease)
		got, err := a.Lookup(ctx, c.Key)
		require.NoError(t, err)
		assert.Equal(t, "release", string(got.Release))
		assert.Equal(t, e.Head, got.Head)
		assert.Equal(t, a.Head(), b.Head())
		h, err := d.verify(t, a.Head())
		require.NoError(t, err)
		assert.Equal(t, a.Head(), h)
		n, err := HowMany(ctx, b, charge(2, pure(0.125)))
		require.NoError(t, err)
		assert.Equal(t, int64(2), n)
	})
}

func TestSQLPolicyHolds(t *testing.T) {
	t.Parallel()
	everyDatabase(t, func(t *testing.T, d *database) {
		_, err := d.another(t, Config{Budget: pure(1)})
		require.ErrorContains(t, err, "has no ledger: create it")
		_, err = CreateSQL(t.Context(), d.db, d.dialect, Config{})
		require.ErrorContains(t, err, "there is no default")
		_, err = CreateSQL(t.Context(), d.db, "larder", Config{Budget: pure(1)})
		require.ErrorContains(t, err, "give PostgreSQL or SQLite")
		_, err = VerifySQL(t.Context(), nil, d.dialect)
		require.ErrorContains(t, err, "give a database")

		d.create(t, Config{Budget: pure(1), Windows: []Window{weekly(0.5)}})
		_, err = CreateSQL(t.Context(), d.db, d.dialect, Config{Budget: pure(1)})
		require.ErrorContains(t, err, "has a ledger: open it")
		same := weekly(0.5)
		same.Start = same.Start.In(time.FixedZone("CET", 3600))
		for _, row := range []struct {
			c    Config
			want string
		}{
			{Config{}, ""},
			{Config{Budget: pure(1), Windows: []Window{same}}, ""},
			{Config{Budget: pure(2), Windows: []Window{same}}, "was created with the policy"},
			{Config{Budget: pure(1)}, "was created with the policy"},
			{Config{WarnAt: []float64{2}}, "WarnAt"},
		} {
			_, err := d.another(t, row.c)
			if row.want == "" {
				assert.NoError(t, err)
			} else {
				assert.ErrorContains(t, err, row.want)
			}
		}
		// What was dropped does not begin anew.
		d.run(t, "DROP TABLE larder_ledger")
		_, err = CreateSQL(t.Context(), d.db, d.dialect, Config{Budget: pure(1)})
		assert.ErrorContains(t, err, "larder_charges")
	})
}

// TestSQLTampering changes every column of every table, and more.
func TestSQLTampering(t *testing.T) {
	t.Parallel()
	everyDatabase(t, func(t *testing.T, d *database) {
		_, heads := filled(t, d, Config{Budget: pure(1)})
		before := save(t, d)
		tampered := []string{
			"UPDATE larder_ledger SET version = 2",
			"UPDATE larder_ledger SET id = head",
			`UPDATE larder_ledger SET policy = '{"budget":{"epsilon":9,"delta":0},"rule":{"name":"sum"}}'`,
			"UPDATE larder_ledger SET policy = 'larder'",
			"UPDATE larder_ledger SET start = head",
			"UPDATE larder_ledger SET seq = seq - 1",
			"UPDATE larder_ledger SET seq = seq + 1",
			"UPDATE larder_ledger SET seq = 0",
			"UPDATE larder_ledger SET size = size + 1",
			"UPDATE larder_ledger SET head = start",
			"DELETE FROM larder_ledger",

			"UPDATE larder_charges SET seq = 9 WHERE seq = 5",
			"UPDATE larder_charges SET epoch = 'another' WHERE seq = 5",
			"UPDATE larder_charges SET round = 7 WHERE seq = 3",
			"UPDATE larder_charges SET digest = head WHERE seq = 3",
			"UPDATE larder_charges SET record = head WHERE seq = 5",
			"UPDATE larder_charges SET record = (SELECT record FROM larder_charges WHERE seq = 3) WHERE seq = 5",
			"UPDATE larder_charges SET head = digest WHERE seq = 1",
			"UPDATE larder_charges SET head = digest WHERE seq = 5",
			"DELETE FROM larder_charges WHERE seq = 5",
			"INSERT INTO larder_charges SELECT 6, epoch, 9, digest, record, head FROM larder_charges WHERE seq = 5",
			"INSERT INTO larder_charges SELECT 4, epoch, 9, digest, record, head FROM larder_charges WHERE seq = 5",

			"UPDATE larder_releases SET seq = 9 WHERE seq = 4",
			"UPDATE larder_releases SET charge = 5 WHERE seq = 4",
			"UPDATE larder_releases SET record = head WHERE seq = 4",
			"UPDATE larder_releases SET record = (SELECT record FROM larder_releases WHERE seq = 2) WHERE seq = 4",
			"UPDATE larder_releases SET head = record WHERE seq = 2",
			"UPDATE larder_releases SET release = head WHERE seq = 4",
			"DELETE FROM larder_releases WHERE seq = 4",
			"DELETE FROM larder_releases",

			// A record in the wrong table, one with another number, and one that the head leaves out.
			"INSERT INTO larder_charges SELECT seq, 'another', 1, head, record, head FROM larder_releases WHERE seq = 4; DELETE FROM larder_releases WHERE seq = 4",
			"UPDATE larder_charges SET seq = 6 WHERE seq = 5; UPDATE larder_ledger SET seq = 6",
			fmt.Sprintf("UPDATE larder_ledger SET seq = 4, size = %d, head = (SELECT head FROM larder_releases WHERE seq = 4)", heads[4].Size),
		}
		for _, statement := range tampered {
			d.run(t, statement)
			var corrupt *CorruptError
			_, err := d.verify(t)
			assert.ErrorAs(t, err, &corrupt, "verify: %s", statement)
			_, err = OpenSQL(t.Context(), d.db, d.dialect, Config{})
			if !strings.Contains(statement, "'larder'") { // which is no policy at all
				assert.ErrorAs(t, err, &corrupt, "open: %s", statement)
			}
			assert.Error(t, err)
			before.restore(t, d)
		}
		h, err := d.verify(t, heads...)
		require.NoError(t, err, "as it was")
		require.Equal(t, heads[len(heads)-1], h)

		// Other bytes of the same length: when they are looked up, and by Verify.
		d.run(t, "UPDATE larder_releases SET release = $1 WHERE seq = 4", []byte("RELEASE 1"))
		var corrupt *CorruptError
		_, err = d.verify(t)
		require.ErrorAs(t, err, &corrupt)
		assert.Equal(t, heads[3].Size, corrupt.Offset)
		l, err := d.another(t, Config{})
		require.NoError(t, err)
		_, err = l.Lookup(t.Context(), charge(2, pure(0)).Key)
		require.ErrorAs(t, err, &corrupt)
		assert.Equal(t, heads[3].Size, corrupt.Offset)
		d.run(t, "DELETE FROM larder_releases WHERE seq = 4")
		_, err = l.Lookup(t.Context(), charge(2, pure(0)).Key)
		require.ErrorAs(t, err, &corrupt)
	})
}

// TestSQLRollback: an old copy is valid in itself, and whoever saw more knows.
func TestSQLRollback(t *testing.T) {
	t.Parallel()
	everyDatabase(t, func(t *testing.T, d *database) {
		ctx := t.Context()
		l, heads := filled(t, d, Config{Budget: pure(1)})
		last, old := heads[len(heads)-1], save(t, d)
		spend := func(l *SQL, round int64) error {
			_, err := l.Reserve(ctx, charge(round, pure(0.01)))
			return err
		}
		require.NoError(t, spend(l, 10))
		newest := save(t, d)
		seen := l.Head()

		old.restore(t, d)
		_, err := d.verify(t, heads...)
		require.NoError(t, err, "the old copy is valid")
		for _, known := range []Head{seen, {Hash: seen.Hash}} { // a label has the hash alone
			_, err = d.verify(t, heads[0], known)
			require.ErrorIs(t, err, ErrRolledBack)
			_, err = d.another(t, Config{Known: []Head{heads[0], known}})
			require.ErrorIs(t, err, ErrRolledBack)
		}
		require.ErrorIs(t, spend(l, 11), ErrRolledBack, "who saw more says so")
		_, err = l.Lookup(ctx, charge(1, pure(0)).Key)
		require.ErrorIs(t, err, ErrRolledBack)
		_, err = l.Left(ctx, "2026-w01", "member")
		require.ErrorIs(t, err, ErrRolledBack)
		_, err = l.Report(ctx, "2026-w01", "member")
		require.ErrorIs(t, err, ErrRolledBack)
		require.ErrorIs(t, l.Check(ctx, charge(11, pure(0.01))), ErrRolledBack)
		require.ErrorIs(t, l.Commit(ctx, charge(10, pure(0)).Key, []byte("release")), ErrRolledBack)

		// A fork with as many records, and with more.
		fork, err := d.another(t, Config{Known: []Head{last}})
		require.NoError(t, err, "nobody can know")
		for round := int64(20); round < 23; round++ {
			require.NoError(t, spend(fork, round))
			require.ErrorIs(t, spend(l, 30), ErrRolledBack, "%d records more", round-20)
			_, err = d.another(t, Config{Known: []Head{seen}})
			require.ErrorIs(t, err, ErrRolledBack)
		}
		newest.restore(t, d)
		require.ErrorIs(t, spend(fork, 30), ErrRolledBack)
		require.NoError(t, spend(l, 30), "the newest copy is back")

		// The record that l saw last is gone, and others follow.
		d.run(t, "DELETE FROM larder_charges WHERE seq = 7")
		d.run(t, "UPDATE larder_ledger SET seq = 8")
		var corrupt *CorruptError
		require.ErrorAs(t, spend(l, 31), &corrupt)

		// Another ledger, in the same tables.
		other := newDatabase(t, d.dialect)
		filled(t, other, Config{Budget: pure(1)})
		save(t, other).restore(t, d)
		require.ErrorIs(t, spend(l, 31), ErrRolledBack)
		empty := newDatabase(t, d.dialect)
		l = empty.create(t, Config{Budget: pure(1)})
		save(t, other).restore(t, empty)
		require.ErrorIs(t, spend(l, 31), ErrRolledBack)
	})
}

// A backup is what the tables held.
type backup map[string][][]any

var tables = []string{"larder_ledger", "larder_charges", "larder_releases"}

func save(t testing.TB, d *database) backup {
	t.Helper()
	out := backup{}
	for _, table := range tables {
		rows, err := d.db.Query("SELECT * FROM " + table)
		require.NoError(t, err)
		columns, err := rows.Columns()
		require.NoError(t, err)
		for rows.Next() {
			values, to := make([]any, len(columns)), make([]any, len(columns))
			for i := range values {
				to[i] = &values[i]
			}
			require.NoError(t, rows.Scan(to...))
			out[table] = append(out[table], values)
		}
		require.NoError(t, rows.Err())
	}
	return out
}

func (b backup) restore(t testing.TB, d *database) {
	t.Helper()
	tx, err := d.db.Begin()
	require.NoError(t, err)
	for _, table := range []string{tables[2], tables[1], tables[0]} {
		_, err := tx.Exec("DELETE FROM " + table)
		require.NoError(t, err)
	}
	for _, table := range tables {
		for _, values := range b[table] {
			marks := strings.TrimSuffix(strings.Repeat("?,", len(values)), ",")
			if d.dialect == PostgreSQL {
				marks = "$1,$2,$3,$4,$5,$6,$7,$8"[:3*len(values)-1]
			}
			_, err := tx.Exec("INSERT INTO "+table+" VALUES ("+marks+")", values...)
			require.NoError(t, err)
		}
	}
	require.NoError(t, tx.Commit())
}

// TestSQLIsAFile: the same charges give the same accounts as in a file, the same
// refusals, and the same heads to the last byte.
func TestSQLIsAFile(t *testing.T) {
	t.Parallel()
	everyDatabase(t, func(t *testing.T, d *database) {
		if d.dialect == PostgreSQL && !full {
			return // what differs is slower
		}
		rapid.Check(t, func(r *rapid.T) {
			ctx, at := t.Context(), &clock{at: monday}
			c := Config{Budget: dp.Budget{Epsilon: 2, Delta: 1e-6}, Clock: at.now, Windows: []Window{weekly(1)}}
			if rapid.Bool().Draw(r, "zcdp") {
				c.Rule = zcdp
				c.Windows[0].Budget.Delta = 1e-6
			}
			path := filepath.Join(t.TempDir(), "ledger")
			f, err := Create(path, c)
			require.NoError(r, err)
			defer f.Close()
			b, err := os.ReadFile(path)
			require.NoError(r, err)
			for _, table := range []string{tables[2], tables[1], tables[0]} {
				d.run(t, "DROP TABLE IF EXISTS "+table)
			}
			s, err := createSQL(ctx, d.db, d.dialect, c, [32]byte(b[8:]))
			require.NoError(r, err)
			var again *SQL // opens now and then
			for range rapid.IntRange(1, 8).Draw(r, "calls") {
				at.set(at.now().Add(time.Duration(rapid.Int64Range(0, int64(4*day)).Draw(r, "later"))))
				c := charge(rapid.Int64Range(1, 6).Draw(r, "round"), dp.Budget{
					Epsilon: rapid.Float64Range(0, 1).Draw(r, "ε"), Delta: rapid.Float64Range(0, 5e-7).Draw(r, "δ"),
				})
				c.Count = rapid.Int64Range(0, 3).Draw(r, "count")
				if rapid.Bool().Draw(r, "events") {
					c.Events = []dp.Event{{Mechanism: dp.ZCDP, Rho: rapid.Float64Range(1e-9, 0.02).Draw(r, "rho"), Count: 1}}
				}
				c.Key.Epoch = rapid.SampledFrom([]string{"2026-w01", "Épöch '2'"}).Draw(r, "epoch")
				c.Unit = rapid.SampledFrom([]string{"member", "member", "member", "list"}).Draw(r, "unit")
				release := rapid.SliceOfN(rapid.Byte(), 0, 5).Draw(r, "release")
				both := func(call func(reporter) (any, error)) {
					want, wrong := call(f)
					got, err := call(s)
					require.Equal(r, fmt.Sprint(want, wrong), fmt.Sprint(got, err))
				}
				both(func(l reporter) (any, error) { return nil, l.Check(ctx, c) })
				if rapid.Bool().Draw(r, "charge") {
					both(func(l reporter) (any, error) { return l.Reserve(ctx, c) })
				} else {
					both(func(l reporter) (any, error) { return nil, l.Commit(ctx, c.Key, release) })
				}
				both(func(l reporter) (any, error) { return l.Lookup(ctx, c.Key) })
				both(func(l reporter) (any, error) { return l.Left(ctx, c.Key.Epoch, c.Unit) })
				both(func(l reporter) (any, error) { return l.Report(ctx, c.Key.Epoch, c.Unit) })
				both(func(l reporter) (any, error) { return HowMany(ctx, l, c) })
				require.Equal(r, f.Head(), s.Head())
				if again == nil || rapid.Bool().Draw(r, "reopen") {
					again, s = s, again
					s, err = OpenSQL(ctx, d.db, d.dialect, Config{Clock: at.now, Known: []Head{f.Head()}})
					require.NoError(r, err)
				}
			}
			h, err := d.verify(t, f.Head())
			require.NoError(r, err)
			require.Equal(r, f.Head(), h)
		})
	})
}

// TestSQLColumns holds what the package doc promises of the tables.
func TestSQLColumns(t *testing.T) {
	t.Parallel()
	everyDatabase(t, func(t *testing.T, d *database) {
		l, heads := filled(t, d, Config{Budget: pure(1)})
		var version, seq, size, round, one int64
		var id, start, head, record, digest, release []byte
		var policy, epoch string
		require.NoError(t, d.db.QueryRow("SELECT one, version, id, policy, start, seq, size, head FROM larder_ledger").
			Scan(&one, &version, &id, &policy, &start, &seq, &size, &head))
		assert.Equal(t, []int64{1, 1, 5, l.Head().Size}, []int64{one, version, seq, size})
		assert.Equal(t, l.Head(), Head{size, [32]byte(head)})
		assert.Equal(t, `{"budget":{"epsilon":1,"delta":0},"rule":{"name":"sum"}}`, policy)
		first := sum("LARDER\x00\x01" + string(id) + "\x00\x00\x00" + string(rune(len(policy))) + policy)
		assert.Equal(t, first[:], start)

		require.NoError(t, d.db.QueryRow("SELECT epoch, round, digest, record, head FROM larder_charges WHERE seq = 1").
			Scan(&epoch, &round, &digest, &record, &head))
		assert.Equal(t, charge(1, pure(0)).Key, dp.Key{Epoch: epoch, Round: round, Digest: [32]byte(digest)})
		assert.Equal(t, byte('R'), record[0])
		inner := sum(string(record))
		second := sum(string(first[:]) + string(inner[:]))
		assert.Equal(t, second[:], head)
		assert.Equal(t, Head{heads[0].Size + 20 + int64(len(record)) + 32, second}, heads[1])

		require.NoError(t, d.db.QueryRow("SELECT charge, record, head, release FROM larder_releases WHERE seq = 2").
			Scan(&seq, &record, &head, &release))
		assert.Equal(t, int64(1), seq)
		assert.Equal(t, byte('C'), record[0])
		inner = sum(string(release))
		assert.True(t, bytes.HasSuffix(record, inner[:]))
		inner = sum(string(record))
		third := sum(string(second[:]) + string(inner[:]))
		assert.Equal(t, third[:], head)
		assert.Equal(t, Head{heads[1].Size + 20 + int64(len(record)+len(release)) + 32, third}, heads[2])
	})
}

// TestSQLWaits: a call that waits for another process ends with its context, and
// has charged nothing.
func TestSQLWaits(t *testing.T) {
	t.Parallel()
	everyDatabase(t, func(t *testing.T, d *database) {
		l := d.create(t, Config{Budget: pure(1)})
		other := store{connect(t, d.dialect, d.where).db, d.dialect}
		held := make(chan struct{})
		release := make(chan struct{})
		ended := make(chan error)
		go func() {
			ended <- other.with(context.Background(), writing, func(querier) error {
				close(held)
				<-release
				return nil
			})
		}()
		<-held
		for _, call := range []func(context.Context) error{
			func(ctx context.Context) error { _, err := l.Reserve(ctx, charge(1, pure(0.5))); return err },
			func(ctx context.Context) error { return l.Commit(ctx, charge(1, pure(0)).Key, []byte{1}) },
		} {
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			require.ErrorIs(t, call(ctx), context.DeadlineExceeded)
			cancel()
		}
		left, err := l.Left(t.Context(), "2026-w01", "member")
		require.NoError(t, err, "to read does not wait")
		assert.Equal(t, pure(1), left)
		close(release)
		require.NoError(t, <-ended)
		_, err = l.Reserve(t.Context(), charge(1, pure(1)))
		require.NoError(t, err)
	})
}

// TestSQLiteIsDurable refuses a database that a crash can empty.
func TestSQLiteIsDurable(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		":memory:":                        "not in a file",
		"file:x?mode=memory&cache=shared": "not in a file",
		"":                                "not in a file",
		"file:DIR/a.db?_pragma=journal_mode(off)":      "journal_mode=off",
		"file:DIR/b.db?_pragma=journal_mode(memory)":   "journal_mode=memory",
		"file:DIR/c.db?_pragma=synchronous(off)":       "", // it is set
		"file:DIR/d.db?_pragma=journal_mode(truncate)": "",
		"file:DIR/e.db?mode=ro":                        "14", // SQLITE_CANTOPEN
	} {
		db, err := sql.Open("sqlite", strings.Replace(name, "DIR", t.TempDir(), 1))
		require.NoError(t, err)
		l, err := CreateSQL(t.Context(), db, SQLite, Config{Budget: pure(1)})
		if want != "" {
			assert.ErrorContains(t, err, want, name)
		} else if assert.NoError(t, err, name) {
			_, err = l.Reserve(t.Context(), charge(1, pure(1)))
			assert.NoError(t, err)
		}
		require.NoError(t, db.Close())
	}
}
