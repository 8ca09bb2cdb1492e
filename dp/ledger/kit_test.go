package ledger

import (
	"crypto/sha256"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/larder-dp/larder/dp"
)

// full says whether to torture at length.
var full = os.Getenv("LARDER_FULL") != ""

func charge(round int64, cost dp.Budget) dp.Charge {
	return dp.Charge{Key: dp.Key{Epoch: "2026-w01", Round: round, Digest: [32]byte{1}}, Unit: "member", Cost: cost}
}

func pure(epsilon float64) dp.Budget { return dp.Budget{Epsilon: epsilon} }

// newFile returns an open ledger in a new folder.
func newFile(t testing.TB, c Config) *File {
	t.Helper()
	l, err := Create(filepath.Join(t.TempDir(), "ledger"), c)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, l.Close()) })
	return l
}

// copied is the ledger as a crash now would leave it: the bytes of its files, at
// another path because the first is locked.
func copied(t testing.TB, l *File) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "ledger")
	for _, suffix := range []string{"", ".head"} {
		b, err := os.ReadFile(l.path + suffix)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(to+suffix, b, 0o600))
	}
	return to
}

func sum(s string) [32]byte { return sha256.Sum256([]byte(s)) }

// faulty writes and syncs until it fails.
type faulty struct {
	storage
	write func(b []byte) (n int, err error) // what becomes of a write; nil: all of it
	sync  func() error
}

func (f *faulty) WriteAt(b []byte, at int64) (int, error) {
	if f.write == nil {
		return f.storage.WriteAt(b, at)
	}
	n, fault := f.write(b)
	if _, err := f.storage.WriteAt(b[:n], at); err != nil {
		return 0, err
	}
	if n < len(b) && fault == nil {
		fault = io.ErrShortWrite
	}
	return n, fault
}

func (f *faulty) Sync() error {
	if f.sync != nil {
		if err := f.sync(); err != nil {
			return err
		}
	}
	return f.storage.Sync()
}
