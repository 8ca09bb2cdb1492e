package register

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// An inbox is a watched folder, step by step.
type inbox struct {
	*fixture
	dir    string
	r      *Register
	w      *Watcher
	events []string
}

func newInbox(t *testing.T, alter func(*Watch)) *inbox {
	t.Helper()
	b := &inbox{fixture: sqliteFixture(t), dir: t.TempDir()}
	b.open(t, alter)
	return b
}

func (b *inbox) open(t *testing.T, alter func(*Watch)) {
	t.Helper()
	b.r = b.register(t)
	w := Watch{Dir: b.dir, Poll: time.Second, Settle: 10 * time.Second, PurgeAfter: 168 * time.Hour, Tell: func(e Event) {
		switch {
		case e.Refused != nil:
			b.events = append(b.events, "refused "+e.Name)
		case e.Purged:
			b.events = append(b.events, "purged "+e.Name)
		case e.Known:
			b.events = append(b.events, "known "+e.Name)
		default:
			b.events = append(b.events, "took "+e.Name)
		}
	}}
	if alter != nil {
		alter(&w)
	}
	var err error
	b.w, err = NewWatcher(b.r, w)
	require.NoError(t, err)
}

// step lets time pass and looks, and returns what happened.
func (b *inbox) step(t *testing.T, later time.Duration) string {
	t.Helper()
	b.now = b.now.Add(later)
	b.events = nil
	require.NoError(t, b.w.Step(context.Background()))
	return strings.Join(b.events, ", ")
}

func (b *inbox) put(t *testing.T, name string, rows ...string) {
	t.Helper()
	write(t, filepath.Join(b.dir, name), rows...)
}

func (b *inbox) close(t *testing.T) { require.NoError(t, b.r.Close()) }

func TestWatchSettles(t *testing.T) {
	t.Parallel()
	b := newInbox(t, nil)
	defer b.close(t)
	b.put(t, "a.csv", ada)
	assert.Empty(t, b.step(t, 0), "just seen")
	assert.Empty(t, b.step(t, 9*time.Second))
	b.put(t, "a.csv", ada, bob) // the writer was not done
	assert.Empty(t, b.step(t, 9*time.Second), "it changed")
	assert.Equal(t, "took a.csv", b.step(t, 10*time.Second))
	assert.Empty(t, b.step(t, 10*time.Second), "once")
	assert.Len(t, b.table(t, "successful.csv"), 2)

	// What is no input.
	b.put(t, ".hidden.csv", ada)
	b.put(t, "upload.csv.tmp", ada)
	b.put(t, "notes.txt", ada)
	require.NoError(t, os.Mkdir(filepath.Join(b.dir, "folder.csv"), 0o700))
	require.NoError(t, os.Symlink(filepath.Join(b.dir, "notes.txt"), filepath.Join(b.dir, "link.csv")))
	assert.Empty(t, b.step(t, time.Minute)+b.step(t, time.Minute))

	// The same content under another name, and what is no file of applications.
	b.put(t, "B.CSV", ada, bob)
	require.NoError(t, os.WriteFile(filepath.Join(b.dir, "bad.csv"), []byte("x\n"), 0o600))
	b.step(t, time.Minute)
	assert.Equal(t, "known B.CSV, refused bad.csv", b.step(t, time.Minute))
	assert.Empty(t, b.step(t, time.Minute), "a refusal is told once an hour")
	assert.FileExists(t, filepath.Join(b.dir, "bad.csv"))
}

// Each hour everything is read again, so that a change which kept size and time
// does not pass by.
func TestWatchSweepsEachHour(t *testing.T) {
	t.Parallel()
	b := newInbox(t, nil)
	defer b.close(t)
	b.put(t, "a.csv", ada)
	path := filepath.Join(b.dir, "a.csv")
	info, err := os.Stat(path)
	require.NoError(t, err)
	b.step(t, 0)
	assert.Equal(t, "took a.csv", b.step(t, time.Minute))
	b.put(t, "a.csv", strings.Replace(ada, "Ada", "Eda", 1))
	require.NoError(t, os.Chtimes(path, info.ModTime(), info.ModTime()))
	assert.Empty(t, b.step(t, 30*time.Minute))
	assert.Equal(t, "took a.csv", b.step(t, 30*time.Minute))
	assert.Len(t, b.table(t, "successful.csv"), 2)
}

// auditLines are the whole lines of the log.
func auditLines(t *testing.T, f *fixture) (lines []auditLine) {
	t.Helper()
	for line := range strings.Lines(f.read(t, "audit.log")) {
		var l auditLine
		if json.Unmarshal([]byte(line), &l) == nil {
			lines = append(lines, l)
		}
	}
	return lines
}

func auditEvents(t *testing.T, f *fixture) (events []string) {
	for _, l := range auditLines(t, f) {
		events = append(events, l.Event)
	}
	return events
}

func TestPurge(t *testing.T) {
	t.Parallel()
	b := newInbox(t, nil)
	b.put(t, "a.csv", ada)
	b.put(t, "copy.csv", ada)
	require.NoError(t, os.WriteFile(filepath.Join(b.dir, "bad.csv"), []byte("x\n"), 0o600))
	b.step(t, 0)
	assert.Equal(t, "took a.csv, refused bad.csv, known copy.csv", b.step(t, time.Minute))
	assert.Equal(t, "refused bad.csv", b.step(t, 167*time.Hour), "each hour again")
	b.put(t, "late.csv", bob)
	assert.Equal(t, "refused bad.csv, purged a.csv, purged copy.csv", b.step(t, time.Hour))
	assert.NoFileExists(t, filepath.Join(b.dir, "a.csv"))
	assert.FileExists(t, filepath.Join(b.dir, "bad.csv"), "what was refused is not removed")
	assert.Equal(t, []string{"processed", "purging", "purged", "purging", "purged"}, auditEvents(t, b.fixture))
	assert.Equal(t, "took late.csv", b.step(t, time.Minute))
	assert.Len(t, b.table(t, "successful.csv"), 2, "the rows stay")
	b.close(t)

	// After a restart the age still counts from when it was processed.
	b.open(t, nil)
	defer b.close(t)
	b.step(t, 160*time.Hour)
	require.NoError(t, os.Remove(filepath.Join(b.dir, "bad.csv")))
	assert.Equal(t, "known late.csv", b.step(t, time.Minute))
	assert.Equal(t, "purged late.csv", b.step(t, 8*time.Hour))
	assert.NotContains(t, b.read(t, "audit.log"), "late", "no names in the log")
}

// What was purged and comes again is known, counts nothing and is removed at once.
func TestAgainAfterPurge(t *testing.T) {
	t.Parallel()
	b := newInbox(t, nil)
	b.put(t, "a.csv", ada)
	b.step(t, 0)
	b.step(t, time.Minute)
	assert.Equal(t, "purged a.csv", b.step(t, 168*time.Hour))
	successful := b.read(t, "successful.csv")
	b.close(t)
	b.open(t, nil)
	defer b.close(t)
	b.put(t, "again.csv", ada)
	b.step(t, 0)
	assert.Equal(t, "known again.csv, purged again.csv", b.step(t, time.Minute))
	assert.Equal(t, successful, b.read(t, "successful.csv"))
	assert.Equal(t, []string{"processed", "purging", "purged", "purging", "purged"}, auditEvents(t, b.fixture))
}

// A file that cannot be taken for want of our own folder is not one that is gone.
func TestWatchWithoutParts(t *testing.T) {
	t.Parallel()
	b := newInbox(t, nil)
	defer b.close(t)
	b.put(t, "a.csv", ada)
	b.step(t, 0)
	require.NoError(t, os.Remove(filepath.Join(b.fixture.dir, "parts")))
	b.now = b.now.Add(time.Minute)
	require.ErrorContains(t, b.w.Step(context.Background()), "process "+filepath.Join(b.dir, "a.csv"))
}

// A file that was replaced after it was taken is not removed for the old one.
func TestPurgeOfReplacedFile(t *testing.T) {
	t.Parallel()
	b := newInbox(t, nil)
	defer b.close(t)
	b.put(t, "a.csv", ada)
	b.step(t, 0)
	b.step(t, time.Minute)
	b.step(t, 168*time.Hour-30*time.Minute) // swept
	path := filepath.Join(b.dir, "a.csv")
	info, err := os.Stat(path)
	require.NoError(t, err)
	b.put(t, "a.csv", strings.Replace(ada, "Ada", "Eda", 1))
	require.NoError(t, os.Chtimes(path, info.ModTime(), info.ModTime())) // and nothing shows
	assert.Empty(t, b.step(t, 30*time.Minute))
	assert.FileExists(t, path+purgingEnding)
	b.step(t, time.Minute)
	assert.Equal(t, "took a.csv"+purgingEnding, b.step(t, time.Minute))
	rows := b.table(t, "successful.csv")
	assert.Equal(t, []string{"a.csv", "a.csv"}, []string{rows[0]["file"], rows[1]["file"]})
	assert.Equal(t, "purged a.csv", b.step(t, 169*time.Hour))
	entries, err := os.ReadDir(b.dir)
	require.NoError(t, err)
	assert.Empty(t, entries)
}

// A crash between two steps of a purge: the next start finishes it and says so.
func TestPurgeAfterCrash(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"before the renaming", "before the removal", "before the log"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newInbox(t, nil)
			b.put(t, "a.csv", ada)
			b.step(t, 0)
			b.step(t, time.Minute)
			f := b.r.Files()[0]
			b.now = b.now.Add(168 * time.Hour)
			require.NoError(t, b.r.audit.say(b.now, eventPurging, f))
			path := filepath.Join(b.dir, "a.csv")
			switch name {
			case "before the removal":
				require.NoError(t, os.Rename(path, path+purgingEnding))
			case "before the log":
				require.NoError(t, os.Remove(path))
			}
			b.close(t)
			// And a line that was cut off.
			log, err := os.OpenFile(filepath.Join(b.fixture.dir, "audit.log"), os.O_APPEND|os.O_WRONLY, 0)
			require.NoError(t, err)
			_, err = log.WriteString(`{"time":"20`)
			require.NoError(t, errors.Join(err, log.Close()))

			b.open(t, nil)
			defer b.close(t)
			b.step(t, 0)
			b.step(t, time.Minute)
			b.step(t, time.Minute)
			entries, err := os.ReadDir(b.dir)
			require.NoError(t, err)
			assert.Empty(t, entries)
			assert.True(t, b.r.Files()[0].Purged)
			assert.Equal(t, 1, strings.Count(b.read(t, "audit.log"), `"purged"`))
			assert.Empty(t, b.r.audit.purging)
		})
	}
}

// What was committed but not said is said at the next start.
func TestAuditCatchesUp(t *testing.T) {
	t.Parallel()
	f := sqliteFixture(t)
	f.add(t, write(t, filepath.Join(t.TempDir(), "a.csv"), ada))
	want := f.read(t, "audit.log")
	require.NoError(t, os.WriteFile(filepath.Join(f.dir, "audit.log"), []byte(want[:len(want)-20]), 0o600))
	f.add(t)
	lines := strings.Split(f.read(t, "audit.log"), "\n")
	assert.Equal(t, []string{want[:len(want)-20], strings.TrimSuffix(want, "\n"), ""}, lines)
	f.add(t)
	assert.Len(t, strings.Split(f.read(t, "audit.log"), "\n"), 3)
}

// Run is Step every Poll, until it is told to stop.
func TestRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := sqliteFixture(t)
		f.alter = func(c *Config) { c.Now = time.Now }
		dir := t.TempDir()
		r := f.register(t)
		defer func() { require.NoError(t, r.Close()) }()
		events := make(chan string, 10)
		w, err := NewWatcher(r, Watch{
			Dir: dir, Poll: 2 * time.Second, Settle: 10 * time.Second, PurgeAfter: time.Hour,
			Tell: func(e Event) { events <- e.Name },
		})
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- w.Run(ctx) }()
		synctest.Wait()
		write(t, filepath.Join(dir, "a.csv"), ada)
		begin := time.Now()
		assert.Equal(t, "a.csv", <-events)
		assert.Equal(t, 12*time.Second, time.Since(begin).Round(time.Second), "seen after 2 s, settled after 10 more")
		assert.Equal(t, "a.csv", <-events)
		assert.Equal(t, time.Hour+12*time.Second, time.Since(begin).Round(time.Second))
		synctest.Wait()
		assert.Equal(t, []string{"processed", "purging", "purged"}, auditEvents(t, f))
		cancel()
		assert.NoError(t, <-ended)
	})
}
