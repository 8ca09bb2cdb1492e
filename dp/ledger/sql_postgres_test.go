package ledger

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/larder-dp/larder/dp"
)

// TestPostgresSessionsDie ends the sessions of processes that charge, which is
// what a failing server or network does to them, and none of them gets an error.
func TestPostgresSessionsDie(t *testing.T) {
	t.Parallel()
	d := newPostgres(t)
	head := d.create(t, Config{Budget: pure(1)}).Head()
	times, died := 10, int64(0)
	if full {
		times = 100
	}
	chargers := []*charger{d.charger(t, 1, 0), d.charger(t, 1, 1_000_000), d.charger(t, 2, 2_000_000)}
	for range times {
		for _, c := range chargers {
			require.True(t, c.listen(7))
		}
		died += d.number(t, "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = current_setting('search_path') || 'charge'")
	}
	for _, c := range chargers {
		require.True(t, c.listen(5))
		c.kill()
		assert.Empty(t, c.failed)
	}
	t.Logf("%d sessions ended", died)
	assert.NotZero(t, died)
	d.inspect(t, chargers, head)
}

// A badNetwork loses a COMMIT or its answer.
type badNetwork struct {
	armed atomic.Bool
	down  atomic.Bool
	// lose gets the connection to the server and the COMMIT that the client sent.
	lose func(server net.Conn, commit []byte)
}

func (n *badNetwork) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if n.down.Load() {
		return nil, &net.OpError{Op: "dial", Err: errors.New("the network is down")}
	}
	c, err := new(net.Dialer).DialContext(ctx, network, address)
	return &badConn{Conn: c, network: n}, err
}

type badConn struct {
	net.Conn
	network *badNetwork
	lost    atomic.Bool
}

var errBadNetwork = &net.OpError{Op: "write", Err: errors.New("the network is bad")}

func (c *badConn) Write(b []byte) (int, error) {
	if c.lost.Load() {
		return 0, errBadNetwork
	}
	if bytes.Contains(b, []byte("COMMIT\x00")) && c.network.armed.CompareAndSwap(true, false) {
		c.lost.Store(true)
		c.network.lose(c.Conn, bytes.Clone(b))
		return 0, errBadNetwork
	}
	return c.Conn.Write(b)
}

func (c *badConn) Read(b []byte) (int, error) {
	if c.lost.Load() {
		return 0, errBadNetwork
	}
	return c.Conn.Read(b)
}

func (c *badConn) SetDeadline(at time.Time) error {
	if c.lost.Load() {
		return nil
	}
	return c.Conn.SetDeadline(at)
}

// Close leaves a lost connection to whoever lost it.
func (c *badConn) Close() error {
	if c.lost.Load() {
		return nil
	}
	return c.Conn.Close()
}

// answer lets the server have the COMMIT, and waits until it answers.
func answer(t *testing.T, server net.Conn, commit []byte) {
	_, err := server.Write(commit)
	assert.NoError(t, err)
	_, err = server.Read(make([]byte, 100))
	assert.NoError(t, err)
	_ = server.Close()
}

// TestPostgresCommitIsLost loses a COMMIT before the server has it, its answer,
// and delivers it late, to a server on which the client has already begun anew.
func TestPostgresCommitIsLost(t *testing.T) {
	t.Parallel()
	for name, deliver := range map[string]func(t *testing.T, d *database, server net.Conn, commit []byte){
		"never": func(_ *testing.T, _ *database, server net.Conn, _ []byte) {
			_ = server.Close()
		},
		"without an answer": func(t *testing.T, _ *database, server net.Conn, commit []byte) {
			answer(t, server, commit)
		},
		"late": func(t *testing.T, d *database, server net.Conn, commit []byte) {
			waiting := func() bool {
				return d.number(t, "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'larder_ledger'::regclass") > 0
			}
			for !waiting() && !t.Failed() {
			}
			answer(t, server, commit)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newPostgres(t)
			var lost sync.WaitGroup
			n := &badNetwork{lose: func(server net.Conn, commit []byte) {
				if name == "late" {
					lost.Go(func() { deliver(t, d, server, commit) })
				} else {
					deliver(t, d, server, commit)
				}
			}}
			config, err := postgresConfig(d.where)
			require.NoError(t, err)
			config.DialFunc = n.dial
			db := stdlib.OpenDB(*config)
			t.Cleanup(func() { require.NoError(t, db.Close()) })
			warned := 0
			l, err := CreateSQL(t.Context(), db, PostgreSQL, Config{Budget: pure(1), WarnAt: []float64{0.5}, Warn: func(Warning) { warned++ }})
			require.NoError(t, err)

			c := charge(1, pure(0.75))
			n.armed.Store(true)
			e, err := l.Reserve(t.Context(), c)
			require.NoError(t, err)
			require.False(t, n.armed.Load(), "no COMMIT was lost")
			require.Equal(t, 1, warned)
			n.armed.Store(true)
			require.NoError(t, l.Commit(t.Context(), c.Key, []byte("release")))
			require.False(t, n.armed.Load())
			lost.Wait()
			got, err := l.Lookup(t.Context(), c.Key)
			require.NoError(t, err)
			assert.Equal(t, e.Head, got.Head)
			assert.Equal(t, "release", string(got.Release))
			_, err = l.Reserve(t.Context(), c)
			require.ErrorIs(t, err, dp.ErrAlreadyCharged)
			assert.Equal(t, int64(2), d.number(t, "SELECT seq FROM larder_ledger"))
			h, err := d.verify(t)
			require.NoError(t, err)
			assert.Equal(t, h, l.Head())

			// Another process charged the key while the COMMIT was lost.
			n.armed.Store(true)
			inner := n.lose
			n.lose = func(server net.Conn, _ []byte) {
				_ = server.Close()
				other, err := d.another(t, Config{})
				assert.NoError(t, err)
				_, err = other.Reserve(t.Context(), charge(2, pure(0.25)))
				assert.NoError(t, err)
			}
			_, err = l.Reserve(t.Context(), charge(2, pure(0.25)))
			require.ErrorIs(t, err, dp.ErrAlreadyCharged)
			n.lose = inner

			// And nobody can say what became of it.
			n.armed.Store(true)
			n.lose = func(server net.Conn, _ []byte) {
				n.down.Store(true)
				_ = server.Close()
			}
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			_, err = l.Reserve(ctx, charge(3, pure(0)))
			require.ErrorContains(t, err, "may be recorded or not: look it up")
			require.ErrorIs(t, err, context.DeadlineExceeded)
			_, err = l.Lookup(t.Context(), charge(3, pure(0)).Key)
			require.ErrorContains(t, err, "the network is down", "without a COMMIT in doubt nobody waits for a server")
		})
	}
}

// TestPostgresIsDurable: what the server or the role would allow, the ledger does
// not.
func TestPostgresIsDurable(t *testing.T) {
	t.Parallel()
	d := newPostgres(t)
	d.create(t, Config{Budget: pure(1)})
	for set, want := range map[string]string{"off": "on", "local": "on", "remote_write": "on", "on": "on", "remote_apply": "remote_apply"} {
		config, err := postgresConfig(d.where)
		require.NoError(t, err)
		config.RuntimeParams["synchronous_commit"] = set
		config.RuntimeParams["default_transaction_read_only"] = "on"
		db := stdlib.OpenDB(*config)
		l, err := OpenSQL(t.Context(), db, PostgreSQL, Config{})
		require.NoError(t, err)
		require.NoError(t, l.store.with(t.Context(), writing, func(q querier) error {
			var is, level string
			err := errors.Join(q.ask(t.Context(), "SHOW synchronous_commit", &is), q.ask(t.Context(), "SHOW transaction_isolation", &level))
			assert.Equal(t, want, is)
			assert.Equal(t, "serializable", level)
			return err
		}))
		require.NoError(t, db.Close())
	}
	d.run(t, "ALTER TABLE larder_releases SET UNLOGGED")
	_, err := d.another(t, Config{})
	require.ErrorContains(t, err, "unlogged")
}

// TestPostgresRole: whoever only charges needs no right to change or delete a
// record.
func TestPostgresRole(t *testing.T) {
	t.Parallel()
	d := newPostgres(t)
	d.create(t, Config{Budget: pure(1)})
	var schema string
	require.NoError(t, d.db.QueryRow("SELECT current_schema()").Scan(&schema))
	d.run(t, fmt.Sprintf(`CREATE ROLE %[1]s_role; GRANT USAGE ON SCHEMA %[1]s TO %[1]s_role;
		GRANT SELECT, INSERT ON larder_charges, larder_releases TO %[1]s_role;
		GRANT SELECT, UPDATE ON larder_ledger TO %[1]s_role`, schema))
	t.Cleanup(func() { d.run(t, fmt.Sprintf("DROP OWNED BY %[1]s_role; DROP ROLE %[1]s_role", schema)) })
	config, err := postgresConfig(d.where)
	require.NoError(t, err)
	config.RuntimeParams["role"] = schema + "_role"
	db := stdlib.OpenDB(*config)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	l, err := OpenSQL(t.Context(), db, PostgreSQL, Config{})
	require.NoError(t, err)
	_, err = l.Reserve(t.Context(), charge(1, pure(1)))
	require.NoError(t, err)
	require.NoError(t, l.Commit(t.Context(), charge(1, pure(1)).Key, []byte("release")))
	_, err = db.Exec("DELETE FROM larder_charges")
	require.ErrorContains(t, err, "permission denied")
}

// TestPostgresCrashes stops a server of its own as a power failure would, while
// processes charge, and refuses one that does not write through.
func TestPostgresCrashes(t *testing.T) {
	t.Parallel()
	server := newServer(t)
	d := newSchema(t, server.start(t))
	head := d.create(t, Config{Budget: pure(1)}).Head()
	crashes := 2
	switch {
	case full:
		crashes = 20
	case testing.Short():
		crashes = 1
	}
	for crash := range int64(crashes) {
		chargers := []*charger{d.charger(t, crash, 10*crash), d.charger(t, crash, 1_000_000+10*crash)}
		for _, c := range chargers {
			require.True(t, c.listen(10))
		}
		server.stop(t, "immediate")
		server.start(t)
		for _, c := range chargers {
			for n := len(c.committed); len(c.committed) == n && c.refused == 0; {
				require.True(t, c.listen(1), "it goes on with the server")
			}
			c.kill()
		}
		head = d.inspect(t, chargers, head)
	}

	l, err := d.another(t, Config{})
	require.NoError(t, err)
	for _, option := range []string{"fsync", "full_page_writes"} {
		server.stop(t, "fast")
		server.start(t, "-c", option+"=off")
		_, err := l.Reserve(t.Context(), charge(1, pure(1)))
		require.ErrorContains(t, err, option+"=off")
		_, err = d.another(t, Config{})
		require.ErrorContains(t, err, option+"=off")
	}
}
