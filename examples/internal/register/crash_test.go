package register

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The test binary runs itself as the process that is killed.
const (
	childDir   = "LARDER_TEST_REGISTER"
	childInbox = "LARDER_TEST_INBOX"
	childKey   = "LARDER_TEST_KEY"
)

func TestMain(m *testing.M) {
	if os.Getenv(childDir) == "" {
		os.Exit(m.Run())
	}
	if err := takeAll(os.Getenv(childDir), os.Getenv(childInbox), os.Getenv(childKey), func() { fmt.Println("open") }); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// takeAll watches a folder until all of its files are taken and purged.
func takeAll(dir, inbox, key string, begun func()) (err error) {
	keys, err := OpenKeys(key)
	if err != nil {
		return err
	}
	scope, err := NewScope(keys, "1")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	store, err := SQLite(filepath.Join(dir, "members.db"))
	if err != nil {
		return err
	}
	now := time.Date(2022, 1, 3, 9, 0, 0, 0, time.UTC)
	r, err := Open(context.Background(), Config{
		Dir: dir, Store: store, Scope: scope, AsOf: 20220101, LegacyID: true,
		Now: func() time.Time { now = now.Add(time.Minute); return now },
	})
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }()
	begun()
	w, err := NewWatcher(r, Watch{Dir: inbox, Poll: time.Hour, PurgeAfter: time.Minute, Tell: func(Event) {}})
	if err != nil {
		return err
	}
	for {
		entries, err := os.ReadDir(inbox)
		if err != nil || len(entries) == 0 && len(r.audit.purging) == 0 {
			return err
		}
		if err := w.Step(context.Background()); err != nil {
			return err
		}
	}
}

// kills is how often the process is killed.
func kills() int {
	switch {
	case os.Getenv("LARDER_FULL") != "":
		return 300
	case testing.Short():
		return 4
	}
	return 20
}

// A process that is killed at any point, again and again, leaves in the end what
// one that was left alone does: outputs and tables byte for byte, no raw file,
// and each of them in the audit log.
func TestKilled(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	key := filepath.Join(root, "key.json")
	_, err := CreateKeys(key, "1")
	require.NoError(t, err)
	fill := func(dir string) {
		require.NoError(t, os.MkdirAll(dir, 0o700))
		for i := range 4 {
			writeMix(t, filepath.Join(dir, fmt.Sprintf("%d.csv", i)), Mix{Seed: uint64(i), Rows: 1500})
		}
	}
	at := func(dir string) *fixture {
		return &fixture{dir: dir, open: func() (*Store, error) { return SQLite(filepath.Join(dir, "members.db")) }}
	}
	calm := filepath.Join(root, "calm")
	fill(filepath.Join(root, "inbox"))
	begin := time.Now()
	require.NoError(t, takeAll(calm, filepath.Join(root, "inbox"), key, func() {}))
	whole := time.Since(begin)
	want := at(calm).state(t)
	require.Greater(t, strings.Count(at(calm).read(t, "pseudonyms.csv"), "\n"), 500)

	self, err := os.Executable()
	require.NoError(t, err)
	random := rand.New(rand.NewPCG(1, uint64(os.Getpid())))
	killed, begun := 0, 0
	for world := 0; killed < kills() && world < 2*kills(); world++ {
		dir, inbox := filepath.Join(root, fmt.Sprint(world)), filepath.Join(root, fmt.Sprint(world, " inbox"))
		fill(inbox)
		for range 1 + random.IntN(3) {
			cmd := exec.Command(self)
			cmd.Env = append(os.Environ(), childDir+"="+dir, childInbox+"="+inbox, childKey+"="+key)
			cmd.Stderr = os.Stderr
			out, err := cmd.StdoutPipe()
			require.NoError(t, err)
			require.NoError(t, cmd.Start())
			_, _ = bufio.NewReader(out).ReadString('\n') // it has begun, or ended
			<-time.After(time.Duration(random.Int64N(int64(whole))))
			_ = cmd.Process.Kill()             // kill -9
			if err := cmd.Wait(); err == nil { // it was faster
				whole = max(whole*3/4, time.Millisecond)
				break
			}
			killed++
		}
		if b, _ := os.ReadFile(filepath.Join(dir, "successful.csv")); len(b) > 0 {
			begun++
		}
		require.NoError(t, takeAll(dir, inbox, key, func() {}))
		sameState(t, want, at(dir).state(t))
		events := map[string]int{}
		for _, e := range auditLines(t, at(dir)) {
			events[e.Event+e.File] = 1
		}
		assert.Len(t, events, 3*4, "processed, purging and purged of each file")
		require.NoError(t, os.RemoveAll(dir))
	}
	assert.Greater(t, killed, kills()/2, "too few were killed before they were done")
	t.Logf("killed %d times; %d times with outputs written", killed, begun)
}
