//go:build unix

package register

import (
	"context"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// A pipe that nobody writes to is not waited for.
func TestPipe(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "pipe.csv")
	require.NoError(t, syscall.Mkfifo(path, 0o600))
	_, _, err := readFile(path)
	require.ErrorContains(t, err, "not a regular file")
}

// A file that this user may not read is refused, and others are taken.
func TestUnreadable(t *testing.T) {
	t.Parallel()
	if os.Geteuid() == 0 {
		return // who may read all
	}
	f := sqliteFixture(t)
	r := f.register(t)
	defer func() { require.NoError(t, r.Close()) }()
	path := write(t, filepath.Join(t.TempDir(), "in.csv"), ada)
	require.NoError(t, os.Chmod(path, 0))
	_, _, err := r.Add(context.Background(), path)
	var refused *RefusedError
	require.ErrorAs(t, err, &refused)
}
