//go:build unix

package ledger

import (
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// A server is a PostgreSQL of the test's own, made with the programs of the one
// that LARDER_POSTGRES names.
type server struct{ programs, dir string }

func newServer(t *testing.T) *server {
	t.Helper()
	d := newPostgres(t)
	s := &server{}
	require.NoError(t, d.db.QueryRow("SELECT setting FROM pg_config WHERE name = 'BINDIR'").Scan(&s.programs))
	if _, err := os.Stat(filepath.Join(s.programs, "initdb")); err != nil {
		t.Skip("set LARDER_POSTGRES to a server whose programs are on this machine")
	}
	dir, err := os.MkdirTemp("/tmp", "larder-test-") // which another user can enter, and short enough for a socket
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	s.dir = dir
	if id := s.user(t); id != nil {
		require.NoError(t, os.Chown(dir, int(id.Uid), int(id.Gid)))
	}
	s.run(t, "initdb", "-D", s.data(), "-A", "trust", "-U", "postgres", "--no-sync")
	t.Cleanup(func() {
		if _, err := os.Stat(filepath.Join(s.data(), "postmaster.pid")); err == nil {
			s.stop(t, "immediate")
		}
	})
	return s
}

func (s *server) data() string { return filepath.Join(s.dir, "data") }

// user is whose server it is: a server does not run as root.
func (s *server) user(t *testing.T) *syscall.Credential {
	if os.Geteuid() != 0 {
		return nil
	}
	u, err := user.Lookup("postgres")
	require.NoError(t, err)
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	require.NoError(t, err)
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	require.NoError(t, err)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

func (s *server) run(t *testing.T, program string, args ...string) {
	t.Helper()
	cmd := exec.Command(filepath.Join(s.programs, program), args...)
	cmd.Dir = s.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.user(t)}
	out, err := os.Create(filepath.Join(s.dir, "out")) // a pipe would stay open in the server
	require.NoError(t, err)
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Run(); err != nil {
		said, _ := os.ReadFile(out.Name())
		require.NoError(t, err, "%s", said)
	}
}

// start returns its DSN.
func (s *server) start(t *testing.T, options ...string) string {
	t.Helper()
	s.run(t, "pg_ctl", "-D", s.data(), "-w", "-l", filepath.Join(s.dir, "log"), "-o",
		strings.Join(append(options, "-c listen_addresses= -k", s.dir), " "), "start")
	return fmt.Sprintf("host=%s user=postgres dbname=postgres", s.dir)
}

func (s *server) stop(t *testing.T, how string) {
	t.Helper()
	s.run(t, "pg_ctl", "-D", s.data(), "-w", "-m", how, "stop")
}
