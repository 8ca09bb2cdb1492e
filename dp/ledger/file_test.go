package ledger

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/larder-dp/larder/dp"
)

// written returns a closed ledger of three charges, two with releases, and the
// heads after each of its five records.
func written(t *testing.T) (path string, heads []Head) {
	t.Helper()
	l, err := Create(filepath.Join(t.TempDir(), "ledger"), Config{Budget: pure(1)})
	require.NoError(t, err)
	heads = append(heads, l.Head())
	for round := range int64(3) {
		c := charge(round+1, pure(0.25))
		_, err := l.Reserve(t.Context(), c)
		require.NoError(t, err)
		heads = append(heads, l.Head())
		if round < 2 {
			require.NoError(t, l.Commit(t.Context(), c.Key, []byte(fmt.Sprintf("release %d", round+1))))
			heads = append(heads, l.Head())
		}
	}
	require.NoError(t, l.Close())
	return l.path, heads
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	return b
}

// place puts files at a new path; a nil witness is none.
func place(t *testing.T, ledger, witness []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ledger")
	require.NoError(t, os.WriteFile(path, ledger, 0o600))
	if witness != nil {
		require.NoError(t, os.WriteFile(path+".head", witness, 0o600))
	}
	return path
}

// reopened opens, closes and returns the error.
func reopened(path string, c Config) (torn int64, err error) {
	l, err := Open(path, c)
	if err != nil {
		return 0, err
	}
	return l.TornTail(), l.Close()
}

// TestBitRot flips a bit of every byte of a file, one at a time. None goes
// unnoticed, and what is changed is never taken for a torn tail.
func TestBitRot(t *testing.T) {
	path, heads := written(t)
	good := read(t, path)
	first := heads[0]
	for at := range good {
		bad := append([]byte(nil), good...)
		bad[at] ^= 1 << rand.IntN(8)
		require.NoError(t, os.WriteFile(path, bad, 0o600))
		_, err := reopened(path, Config{})
		var corrupt *CorruptError
		require.ErrorAs(t, err, &corrupt, "byte %d", at)
		require.LessOrEqual(t, corrupt.Offset, int64(at))
		require.Equal(t, bad, read(t, path), "a file that does not verify is left alone")
		// Without the witness beside it, no record is lost unseen either.
		_, err = Verify(path)
		require.ErrorAs(t, err, &corrupt, "byte %d", at)
	}
	require.NoError(t, os.WriteFile(path, good, 0o600))
	_, err := reopened(path, Config{Known: []Head{first}})
	require.NoError(t, err)
}

func TestTruncation(t *testing.T) {
	path, heads := written(t)
	good, witness := read(t, path), read(t, path+".head")
	for size := range len(good) {
		cut := place(t, good[:size], witness)
		_, err := reopened(cut, Config{})
		if int64(size) >= heads[0].Size {
			require.ErrorIs(t, err, ErrRolledBack, "%d bytes", size)
		} else {
			var corrupt *CorruptError
			require.ErrorAs(t, err, &corrupt, "%d bytes", size)
		}
		require.Equal(t, good[:size], read(t, cut))
	}
}

// TestTornTail: what a crash leaves of a record that nobody was told of is cut
// off. The witness beside the file is then as old as the last acknowledgement.
func TestTornTail(t *testing.T) {
	path, heads := written(t)
	good := read(t, path)
	before := heads[len(heads)-2]
	old := &witness{id: [32]byte(good[8:])}
	f, err := os.Create(filepath.Join(t.TempDir(), "head"))
	require.NoError(t, err)
	old.f = f
	require.NoError(t, old.tell(before))
	require.NoError(t, old.close())
	stale := read(t, f.Name())
	for size := before.Size; size < int64(len(good)); size++ {
		torn := place(t, good[:size], stale)
		l, err := Open(torn, Config{})
		require.NoError(t, err, "%d bytes", size)
		require.Equal(t, size-before.Size, l.TornTail())
		require.Equal(t, before, l.Head())
		_, err = l.Lookup(t.Context(), charge(3, pure(0)).Key)
		require.ErrorIs(t, err, dp.ErrNotCharged)
		_, err = l.Reserve(t.Context(), charge(3, pure(0.25)))
		require.NoError(t, err)
		require.NoError(t, l.Close())
		got, err := reopened(torn, Config{Known: []Head{before}})
		require.NoError(t, err)
		require.Zero(t, got)
	}
	// Longer, and not written yet: zeros.
	torn, err := reopened(place(t, append(good[:before.Size:before.Size], make([]byte, 5000)...), stale), Config{})
	require.NoError(t, err)
	require.Equal(t, int64(5000), torn)
	// The whole last record is there and was not acknowledged: it stays spent.
	l, err := Open(place(t, good, stale), Config{})
	require.NoError(t, err)
	defer l.Close()
	require.Equal(t, heads[len(heads)-1], l.Head())
}

func TestRollback(t *testing.T) {
	path, heads := written(t)
	good, witness := read(t, path), read(t, path+".head")
	last := heads[len(heads)-1]

	t.Run("an old copy beside the new witness", func(t *testing.T) {
		_, err := reopened(place(t, good[:heads[2].Size], witness), Config{})
		assert.ErrorIs(t, err, ErrRolledBack)
	})
	t.Run("an old copy without a witness", func(t *testing.T) {
		_, err := reopened(place(t, good[:heads[2].Size], nil), Config{})
		assert.ErrorContains(t, err, "give a Known head")
	})
	t.Run("an old copy with its old witness, and a witness elsewhere", func(t *testing.T) {
		old := place(t, good[:heads[2].Size], nil)
		_, err := reopened(old, Config{Known: []Head{heads[1]}})
		require.NoError(t, err, "nobody can know: the witness is as old as the copy")
		for _, known := range []Head{last, {Hash: last.Hash}} { // a label has the hash alone
			_, err = reopened(old, Config{Known: []Head{heads[0], known}})
			assert.ErrorIs(t, err, ErrRolledBack)
			_, err = Verify(old, known)
			assert.ErrorIs(t, err, ErrRolledBack)
		}
	})
	t.Run("all heads of the past are in the newest copy", func(t *testing.T) {
		h, err := Verify(path, heads...)
		require.NoError(t, err)
		assert.Equal(t, last, h)
		_, err = reopened(place(t, good, nil), Config{Known: heads[:1]})
		assert.NoError(t, err)
	})
	t.Run("fork", func(t *testing.T) {
		fork := place(t, good[:heads[2].Size], nil)
		l, err := Open(fork, Config{Known: heads[:1]})
		require.NoError(t, err)
		for round := int64(10); round < 20; round++ {
			_, err := l.Reserve(t.Context(), charge(round, pure(0.01)))
			require.NoError(t, err)
		}
		h := l.Head()
		require.NoError(t, l.Close())
		require.Greater(t, h.Size, last.Size, "it is longer, and still another")
		_, err = reopened(fork, Config{Known: []Head{last}})
		assert.ErrorIs(t, err, ErrRolledBack)
		_, err = Verify(path, h)
		assert.ErrorIs(t, err, ErrRolledBack)
		_, err = reopened(place(t, read(t, fork), witness), Config{})
		assert.ErrorIs(t, err, ErrRolledBack)
	})
	t.Run("another ledger", func(t *testing.T) {
		other, _ := written(t)
		_, err := reopened(place(t, read(t, other), witness), Config{})
		assert.ErrorIs(t, err, ErrRolledBack)
	})
	t.Run("a witness that is no witness", func(t *testing.T) {
		_, err := reopened(place(t, good, []byte("larder")), Config{})
		assert.ErrorContains(t, err, "not a head")
	})
}

func TestCreateBeginsNothingAnew(t *testing.T) {
	path, _ := written(t)
	_, err := Create(path, Config{Budget: pure(1)})
	assert.ErrorIs(t, err, os.ErrExist)
	require.NoError(t, os.Remove(path))
	_, err = Open(path, Config{})
	assert.ErrorIs(t, err, os.ErrNotExist)
	_, err = Create(path, Config{Budget: pure(1)})
	assert.ErrorContains(t, err, "there was a ledger", "the witness remembers")
	assert.NoFileExists(t, path)
	require.NoError(t, os.Remove(path+".head"))
	l, err := Create(path, Config{Budget: pure(1)})
	require.NoError(t, err)
	require.NoError(t, l.Close())
	require.NoError(t, l.Close(), "twice is fine")
	_, err = l.Reserve(t.Context(), charge(1, pure(0)))
	assert.ErrorIs(t, err, errClosed)
}

// TestFileIsReplaced: a copy put in the place of an open ledger has a lock of its own, and what
// is charged to either is unknown to the other. So the first handle stops.
func TestFileIsReplaced(t *testing.T) {
	replaced := func(t *testing.T) (*File, string) {
		path := filepath.Join(t.TempDir(), "ledger")
		l, err := Create(path, Config{Budget: pure(1)})
		require.NoError(t, err)
		_, err = l.Reserve(t.Context(), charge(1, pure(0.25)))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(path+".copy", read(t, path), 0o600))
		require.NoError(t, os.Rename(path+".copy", path))
		return l, path
	}
	for name, closes := range map[string]bool{"and charged": false, "and closed": true} {
		t.Run(name, func(t *testing.T) {
			first, path := replaced(t)
			second, err := Open(path, Config{})
			require.NoError(t, err, "it is the newest copy")
			_, err = second.Reserve(t.Context(), charge(2, pure(0.75)))
			require.NoError(t, err)
			witness := read(t, path+".head")
			if closes {
				require.ErrorContains(t, first.Close(), "replaced")
			} else {
				_, err = first.Reserve(t.Context(), charge(3, pure(0.75)))
				require.ErrorIs(t, err, ErrBroken, "0.25 and 0.75 are spent already")
				require.ErrorContains(t, err, "replaced")
				require.NoError(t, first.Close())
			}
			require.Equal(t, witness, read(t, path+".head"), "the witness is the second one's")
			require.NoError(t, second.Close())
			_, err = reopened(path, Config{})
			require.NoError(t, err)
		})
	}
	t.Run("after its charge was written", func(t *testing.T) {
		// The copy goes in during the write, which is when nobody can tell.
		path := filepath.Join(t.TempDir(), "ledger")
		var swap func()
		made, err := Create(path, Config{Budget: pure(1)})
		require.NoError(t, err)
		require.NoError(t, made.Close())
		first, err := open(path, Config{}, func(f *os.File) storage {
			return &faulty{storage: f, sync: func() error {
				if swap != nil {
					swap()
				}
				return nil
			}}
		})
		require.NoError(t, err)
		path2 := path + ".copy"
		require.NoError(t, os.WriteFile(path2, read(t, path), 0o600))
		swap = func() { require.NoError(t, os.Rename(path2, path)) }
		_, err = first.Reserve(t.Context(), charge(1, pure(1)))
		require.ErrorIs(t, err, ErrBroken)
		require.NoError(t, first.Close())
		_, err = reopened(path, Config{})
		require.ErrorIs(t, err, ErrRolledBack, "the witness has seen a charge that the copy lacks")
	})
	for name, do := range map[string]func(path string) error{
		"deleted": os.Remove,
		"renamed": func(path string) error { return os.Rename(path, path+".old") },
	} {
		t.Run(name, func(t *testing.T) {
			l, path := replaced(t)
			require.NoError(t, l.storage.Close())
			l, err := Open(path, Config{})
			require.NoError(t, err)
			require.NoError(t, do(path))
			_, err = l.Reserve(t.Context(), charge(2, pure(0.1)))
			require.ErrorIs(t, err, ErrBroken)
			require.ErrorIs(t, err, os.ErrNotExist)
			require.NoError(t, l.Close())
		})
	}
}

// TestFileByALink: a symbolic link names the same ledger, with the same witness.
func TestFileByALink(t *testing.T) {
	path, _ := written(t)
	link := filepath.Join(t.TempDir(), "link")
	require.NoError(t, os.Symlink(path, link))
	_, err := reopened(link, Config{})
	require.NoError(t, err)
	assert.NoFileExists(t, link+".head")
	l, err := Open(path, Config{})
	require.NoError(t, err)
	_, err = Open(link, Config{})
	assert.ErrorIs(t, err, ErrLocked)
	assert.ErrorContains(t, err, fmt.Sprintf("pid %d", os.Getpid()), "it says who")
	require.NoError(t, l.Close())
	_, err = Create(filepath.Join(filepath.Dir(link), "link"), Config{Budget: pure(1)})
	assert.ErrorIs(t, err, os.ErrExist)
}

// TestCreateFails: what could not be made whole does not stand in the way.
func TestCreateFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger")
	_, err := create(path, Config{Budget: pure(1)}, func(f *os.File) storage {
		return &faulty{storage: f, write: func([]byte) (int, error) { return 9, errors.New("no space left on device") }}
	})
	require.ErrorContains(t, err, "no space")
	l, err := Create(path, Config{Budget: pure(1)})
	require.NoError(t, err)
	require.NoError(t, l.Close())
}

// TestFailureIsFinal: a write or an fsync that fails breaks the ledger until it
// is opened again, and what was not acknowledged is then either there or not,
// but never in part.
func TestFailureIsFinal(t *testing.T) {
	fault := errors.New("input/output error")
	for name, f := range map[string]func(*faulty){
		"fsync": func(f *faulty) { f.sync = func() error { return fault } },
		"write": func(f *faulty) { f.write = func([]byte) (int, error) { return 0, fault } },
		"short": func(f *faulty) { f.write = func(b []byte) (int, error) { return len(b) / 2, nil } },
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "ledger")
			disk := &faulty{}
			l, err := create(path, Config{Budget: pure(1)}, func(f *os.File) storage {
				disk.storage = f
				return disk
			})
			require.NoError(t, err)
			c := charge(1, pure(0.5))
			_, err = l.Reserve(t.Context(), c)
			require.NoError(t, err)
			require.NoError(t, l.Commit(t.Context(), c.Key, []byte("release")))
			f(disk)
			_, err = l.Reserve(t.Context(), charge(2, pure(0.25)))
			require.ErrorIs(t, err, ErrBroken)
			disk.sync, disk.write = nil, nil // the disk is well again
			_, err = l.Reserve(t.Context(), charge(3, pure(0.25)))
			require.ErrorIs(t, err, ErrBroken, "and nobody relies on it")
			require.ErrorIs(t, l.Check(t.Context(), charge(3, pure(0.25))), ErrBroken)
			require.ErrorIs(t, l.Commit(t.Context(), charge(2, pure(0)).Key, []byte("release")), ErrBroken)
			_, err = l.Lookup(t.Context(), charge(2, pure(0)).Key)
			require.ErrorIs(t, err, ErrBroken, "it may be charged or not")
			_, err = l.Left(t.Context(), c.Key.Epoch, c.Unit)
			require.ErrorIs(t, err, ErrBroken)
			e, err := l.Lookup(t.Context(), c.Key)
			require.NoError(t, err, "what is durable may be shown")
			require.Equal(t, "release", string(e.Release))
			require.NoError(t, l.Close())

			l, err = Open(path, Config{})
			require.NoError(t, err)
			defer l.Close()
			left, err := l.Left(t.Context(), c.Key.Epoch, c.Unit)
			require.NoError(t, err)
			if name == "fsync" {
				assert.Equal(t, pure(0.25), left, "the bytes are there, so it counts")
			} else {
				assert.Equal(t, pure(0.5), left)
			}
			assert.Equal(t, name == "short", l.TornTail() > 0)
		})
	}
}

// TestGroupCommit: those who wait for a disk share its next fsync.
func TestGroupCommit(t *testing.T) {
	var syncs atomic.Int64
	disk := &faulty{}
	l, err := create(filepath.Join(t.TempDir(), "ledger"), Config{Budget: pure(64)}, func(f *os.File) storage {
		disk.storage = f
		return disk
	})
	require.NoError(t, err)
	// The first fsync waits until all others are in the queue.
	all := make(chan struct{})
	disk.sync = func() error {
		if syncs.Add(1) == 1 {
			<-all
		}
		return nil
	}
	var callers sync.WaitGroup
	for i := range int64(64) {
		callers.Go(func() {
			_, err := l.Reserve(t.Context(), charge(i+1, pure(1)))
			assert.NoError(t, err)
		})
	}
	for queued := 0; queued < 64; {
		l.mu.Lock()
		queued = len(l.entries)
		l.mu.Unlock()
	}
	close(all)
	callers.Wait()
	assert.Equal(t, int64(2), syncs.Load())
	require.NoError(t, l.Close())
}

// TestNothingUnsyncedIsShown: a release that is not durable yet is not read.
func TestNothingUnsyncedIsShown(t *testing.T) {
	disk := &faulty{}
	l, err := create(filepath.Join(t.TempDir(), "ledger"), Config{Budget: pure(1)}, func(f *os.File) storage {
		disk.storage = f
		return disk
	})
	require.NoError(t, err)
	c := charge(1, pure(1))
	_, err = l.Reserve(t.Context(), c)
	require.NoError(t, err)
	started, fail := make(chan struct{}), make(chan struct{})
	disk.sync = func() error {
		close(started)
		<-fail
		return errors.New("input/output error")
	}
	var both sync.WaitGroup
	both.Go(func() { assert.ErrorIs(t, l.Commit(t.Context(), c.Key, []byte("release")), ErrBroken) })
	<-started
	both.Go(func() {
		e, err := l.Lookup(t.Context(), c.Key)
		assert.ErrorIs(t, err, ErrBroken)
		assert.Nil(t, e.Release)
	})
	both.Go(func() {
		assert.ErrorIs(t, l.Commit(t.Context(), c.Key, []byte("release")), ErrBroken, "the same bytes wait for the same fsync")
	})
	close(fail)
	both.Wait()
	require.NoError(t, l.Close())
}

func TestRotOfAReleaseWhileOpen(t *testing.T) {
	l := newFile(t, Config{Budget: pure(1)})
	c := charge(1, pure(1))
	_, err := l.Reserve(t.Context(), c)
	require.NoError(t, err)
	require.NoError(t, l.Commit(t.Context(), c.Key, []byte("release")))
	f, err := os.OpenFile(l.path, os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = f.WriteAt([]byte("R"), l.entries[c.Key].releaseAt)
	require.NoError(t, errors.Join(err, f.Close()))
	_, err = l.Lookup(t.Context(), c.Key)
	var corrupt *CorruptError
	assert.ErrorAs(t, err, &corrupt)
}

// TestFileBytes holds the layout that the package doc promises.
func TestFileBytes(t *testing.T) {
	path, heads := written(t)
	b := read(t, path)
	assert.Equal(t, "LARDER\x00\x01", string(b[:8]))
	policy := `{"budget":{"epsilon":1,"delta":0},"rule":{"name":"sum"}}`
	assert.Equal(t, fmt.Sprintf("%08x", len(policy)), fmt.Sprintf("%x", b[40:44]))
	assert.Equal(t, policy, string(b[44:44+len(policy)]))
	head := sum(string(b[:44+len(policy)]))
	assert.Equal(t, head[:], b[44+len(policy):][:32])
	at := 44 + len(policy) + 32
	assert.Equal(t, int64(at), heads[0].Size)
	for _, release := range []string{"", "release 1"} {
		f := b[at:]
		n := int(f[2])<<8 | int(f[3])
		assert.Equal(t, fmt.Sprintf("%08x%016x", n, len(release)), fmt.Sprintf("%x", f[:12]))
		check := sum(string(head[:]) + string(f[:12]))
		assert.Equal(t, check[:8], f[12:20])
		inner := sum(string(f[20 : 20+n]))
		head = sum(string(head[:]) + string(inner[:]))
		assert.Equal(t, release, string(f[20+n:20+n+len(release)]))
		assert.Equal(t, head[:], f[20+n+len(release):][:32])
		at += 20 + n + len(release) + 32
	}
	assert.Equal(t, Head{int64(at), head}, heads[2])
}
