package ledger

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/larder-dp/larder/dp"
)

// The test binary runs itself as the other process.
const (
	childRole  = "LARDER_TEST_CHILD"
	childWhere = "LARDER_TEST_WHERE"
	childFrom  = "LARDER_TEST_FROM"
	childFault = "LARDER_TEST_FAULT"
)

func TestMain(m *testing.M) {
	switch os.Getenv(childRole) {
	case "":
		os.Exit(m.Run())
	case "torture":
		os.Exit(tortureChild())
	case "charge":
		os.Exit(chargingChild())
	case "race":
		os.Exit(racingChild())
	case "open":
		_, err := Open(os.Getenv(childWhere), Config{})
		fmt.Println(err)
	}
}

func child(t *testing.T, role, where string, env ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), append(env, childRole+"="+role, childWhere+"="+where)...)
	cmd.Stderr = os.Stderr
	return cmd
}

const perTorturer = 8 // goroutines of a child

// tortureCharge is one of which perEpoch fit a budget of 1.
func tortureCharge(perEpoch, epoch, round int64) dp.Charge {
	c := charge(round, pure(1/float64(perEpoch)))
	c.Key.Epoch = fmt.Sprintf("epoch %d", epoch)
	return c
}

func tortureRelease(round int64) []byte {
	return []byte(strings.Repeat(fmt.Sprintf("release %d\n", round), int(1+round%40)))
}

// tortureChild charges and commits as fast as it can until it is killed, and
// tells each acknowledgement on standard output after it got it.
func tortureChild() int {
	// failed is set before an error is returned, so that whoever is acknowledged
	// later was acknowledged by a ledger that knew.
	var failed atomic.Bool
	kind, nth, _ := strings.Cut(os.Getenv(childFault), " ")
	left, _ := strconv.ParseInt(nth, 10, 64)
	due := func(now string) bool {
		if now != kind {
			return false
		}
		left--
		return left <= 0
	}
	l, err := open(os.Getenv(childWhere), Config{}, func(f *os.File) storage {
		return &faulty{
			storage: f,
			write: func(b []byte) (int, error) {
				if due("write") {
					failed.Store(true)
					return rand.IntN(len(b)), errors.New("no space left on device")
				}
				return len(b), nil
			},
			sync: func() error {
				if due("sync") {
					failed.Store(true)
					return errors.New("input/output error")
				}
				return nil
			},
		}
	})
	if err != nil {
		if failed.Load() {
			return 0
		}
		fmt.Fprintln(os.Stderr, "child:", err)
		return 1
	}
	from := strings.Fields(os.Getenv(childFrom))
	perEpoch, _ := strconv.ParseInt(from[0], 10, 64)
	epoch, _ := strconv.ParseInt(from[1], 10, 64)
	var round atomic.Int64
	first, _ := strconv.ParseInt(from[2], 10, 64)
	round.Store(first)
	var tell sync.Mutex
	say := func(format string, a ...any) {
		tell.Lock()
		defer tell.Unlock()
		fmt.Fprintf(os.Stdout, format+"\n", a...)
	}
	say("open")
	var all sync.WaitGroup
	for range perTorturer {
		all.Go(func() {
			for {
				c := tortureCharge(perEpoch, epoch, round.Add(1))
				_, err := l.Reserve(context.Background(), c)
				if err == nil {
					say("r %d", c.Key.Round)
					if err = l.Commit(context.Background(), c.Key, tortureRelease(c.Key.Round)); err == nil {
						say("c %d", c.Key.Round)
						continue
					}
				}
				var over *dp.BudgetError
				switch {
				case errors.As(err, &over):
					say("x")
				case failed.Load() && errors.Is(err, ErrBroken):
					// Broken for good: nothing may be acknowledged any more.
					if _, err := l.Reserve(context.Background(), tortureCharge(perEpoch, epoch, round.Add(1))); !errors.Is(err, ErrBroken) {
						say("acknowledged after a failure: %v", err)
					}
					return
				default:
					say("unexpected: %v", err)
					return
				}
			}
		})
	}
	all.Wait()
	return 0
}

// torture kills children and checks after each what they left. inspect opens
// the ledger and verifies all of it; it gets the head of the last time. A child
// lives for less than so many acknowledgements.
func torture(t *testing.T, where string, faults bool, life, perEpoch int64, inspect func(known Head) (l dp.Ledger, h Head, done func())) {
	kills := 15
	if full {
		kills = 300
	}
	rng := rand.New(rand.NewPCG(1, uint64(len(where))))
	var head Head
	var next int64
	total, exhausted := 0, 0
	for kill := range kills {
		epoch := int64(kill / 5)
		fault := ""
		if faults {
			fault = []string{"", fmt.Sprintf("write %d", 1+rng.IntN(60)), fmt.Sprintf("sync %d", 1+rng.IntN(60))}[kill%3]
		}
		cmd := child(t, "torture", where, fmt.Sprintf("%s=%d %d %d", childFrom, perEpoch, epoch, next), childFault+"="+fault)
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())

		// Killed after a random number of lines, which it goes on writing.
		lines := rng.Int64N(life)
		var reserved, committed []int64
		in := bufio.NewScanner(out)
		for read := int64(0); ; read++ {
			if read == lines {
				require.NoError(t, cmd.Process.Kill())
			}
			if !in.Scan() {
				break
			}
			kind, number, _ := strings.Cut(in.Text(), " ")
			n, err := strconv.ParseInt(number, 10, 64)
			switch {
			case kind == "open":
			case kind == "x":
				exhausted++
			case kind == "r" && err == nil:
				reserved = append(reserved, n)
			case kind == "c" && err == nil:
				committed = append(committed, n)
			default:
				t.Fatalf("kill %d: a child says %q", kill, in.Text())
			}
			next = max(next, n)
		}
		_ = cmd.Wait() // killed, or ended by a fault

		l, h, done := inspect(head)
		head = h
		ctx := t.Context()
		for _, n := range reserved {
			_, err := l.Lookup(ctx, tortureCharge(perEpoch, epoch, n).Key)
			require.NoError(t, err, "kill %d: an acknowledged charge is not recorded", kill)
		}
		for _, n := range committed {
			e, err := l.Lookup(ctx, tortureCharge(perEpoch, epoch, n).Key)
			require.NoError(t, err)
			require.Equal(t, tortureRelease(n), e.Release, "kill %d: an acknowledged release is not what was stored", kill)
		}
		r, err := l.(interface {
			Report(context.Context, string, string) (Report, error)
		}).Report(ctx, tortureCharge(perEpoch, epoch, 1).Key.Epoch, "member")
		require.NoError(t, err)
		require.LessOrEqual(t, r.Spent.Epsilon, 1.0, "kill %d: more is recorded than the budget", kill)
		require.Equal(t, float64(r.Charges)/float64(perEpoch), r.Spent.Epsilon)
		total += len(reserved)
		// Rounds that were recorded and never told are above next.
		next += 10 * perTorturer
		done()
	}
	t.Logf("%d kills, %d charges acknowledged, %d refused for want of budget", kills, total, exhausted)
	assert.NotZero(t, total)
}

func TestFileTorture(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger")
	l, err := Create(path, Config{Budget: pure(1)})
	require.NoError(t, err)
	require.NoError(t, l.Close())
	torn := 0
	torture(t, path, true, 250, 256, func(known Head) (dp.Ledger, Head, func()) {
		var heads []Head
		if known.Size > 0 {
			heads = append(heads, known)
		}
		verified, err := Verify(path, heads...)
		require.NoError(t, err)
		l, err := Open(path, Config{Known: heads})
		require.NoError(t, err)
		require.Equal(t, verified, l.Head())
		if l.TornTail() > 0 {
			torn++
		}
		return l, l.Head(), func() { require.NoError(t, l.Close()) }
	})
	t.Logf("%d torn tails were cut off", torn)
}

func TestSecondProcessIsLockedOut(t *testing.T) {
	l := newFile(t, Config{Budget: pure(1)})
	out, err := child(t, "open", l.path).Output()
	require.NoError(t, err)
	assert.Contains(t, string(out), ErrLocked.Error())
	assert.Contains(t, string(out), fmt.Sprintf("pid %d on ", os.Getpid()), "it says who has it open")
	_, err = Open(l.path, Config{})
	assert.ErrorIs(t, err, ErrLocked, "also to the same process")
	_, err = l.Reserve(t.Context(), charge(1, pure(1)))
	assert.NoError(t, err, "and the first goes on")
}
