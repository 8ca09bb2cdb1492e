package ledger

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/larder-dp/larder/dp"
)

// openChild opens the ledger that the parent named.
func openChild() (*SQL, error) {
	dialect, where, _ := strings.Cut(os.Getenv(childWhere), " ")
	db, err := openDB(Dialect(dialect), where)
	if err != nil {
		return nil, err
	}
	return OpenSQL(context.Background(), db, Dialect(dialect), Config{})
}

func (d *database) child(t *testing.T, role string, env ...string) *exec.Cmd {
	t.Helper()
	return child(t, role, string(d.dialect)+" "+d.where, env...)
}

// chargingChild charges and commits as fast as it can until it is killed, and
// tells each acknowledgement on standard output after it got it.
func chargingChild() int {
	l, err := openChild()
	if err != nil {
		fmt.Println("e", err)
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
		fmt.Printf(format+"\n", a...)
	}
	var all sync.WaitGroup
	for range 3 {
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
				if errors.As(err, new(*dp.BudgetError)) {
					say("x 0")
				} else {
					say("e %v", err)
				}
			}
		})
	}
	all.Wait()
	return 0
}

// A charger is a child that charges, and what it was told.
type charger struct {
	cmd                 *exec.Cmd
	in                  *bufio.Scanner
	epoch               int64
	reserved, committed []int64
	refused             int
	failed              []string
}

const perChargerEpoch = 128

func (d *database) charger(t *testing.T, epoch, first int64) *charger {
	t.Helper()
	cmd := d.child(t, "charge", fmt.Sprintf("%s=%d %d %d", childFrom, perChargerEpoch, epoch, first))
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	return &charger{cmd: cmd, in: bufio.NewScanner(out), epoch: epoch}
}

// listen reads so many lines, or all of them, and returns if there are more.
func (c *charger) listen(lines int) bool {
	for ; lines != 0; lines-- {
		if !c.in.Scan() {
			return false
		}
		kind, rest, _ := strings.Cut(c.in.Text(), " ")
		n, err := strconv.ParseInt(rest, 10, 64)
		switch {
		case kind == "r" && err == nil:
			c.reserved = append(c.reserved, n)
		case kind == "c" && err == nil:
			c.committed = append(c.committed, n)
		case kind == "x" && err == nil:
			c.refused++
		default:
			c.failed = append(c.failed, c.in.Text())
		}
	}
	return true
}

// kill ends it with signal 9 and reads what it had still written.
func (c *charger) kill() {
	_ = c.cmd.Process.Kill()
	c.listen(-1)
	_ = c.cmd.Wait()
}

// inspect opens the ledger of children that are dead, verifies all of it, and
// looks for everything that they were told.
func (d *database) inspect(t *testing.T, chargers []*charger, known ...Head) Head {
	t.Helper()
	h, err := d.verify(t, known...)
	require.NoError(t, err)
	l, err := d.another(t, Config{Known: known})
	require.NoError(t, err)
	require.Equal(t, h, l.Head())
	for _, c := range chargers {
		for _, n := range c.reserved {
			_, err := l.Lookup(t.Context(), tortureCharge(perChargerEpoch, c.epoch, n).Key)
			require.NoError(t, err, "an acknowledged charge is not recorded")
		}
		for _, n := range c.committed {
			e, err := l.Lookup(t.Context(), tortureCharge(perChargerEpoch, c.epoch, n).Key)
			require.NoError(t, err)
			require.Equal(t, tortureRelease(n), e.Release, "an acknowledged release is not what was stored")
		}
		r, err := l.Report(t.Context(), tortureCharge(perChargerEpoch, c.epoch, 1).Key.Epoch, "member")
		require.NoError(t, err)
		require.LessOrEqual(t, r.Spent.Epsilon, 1.0, "more is recorded than the budget")
		require.Equal(t, float64(r.Charges)/perChargerEpoch, r.Spent.Epsilon)
	}
	return h
}

// TestSQLTorture lets four processes charge one ledger and kills each of them at
// random.
func TestSQLTorture(t *testing.T) {
	t.Parallel()
	kills := 20
	switch {
	case full:
		kills = 300
	case testing.Short():
		kills = 8
	}
	everyDatabase(t, func(t *testing.T, d *database) {
		head := d.create(t, Config{Budget: pure(1)}).Head()
		rng := rand.New(rand.NewPCG(2, uint64(len(d.dialect))))
		acknowledged, refused := 0, 0
		for wave := range int64(kills / 4) {
			var chargers []*charger
			for i := range int64(4) {
				chargers = append(chargers, d.charger(t, wave/2, 10_000_000*wave+1_000_000*i))
			}
			var all sync.WaitGroup
			for _, c := range chargers {
				lines := rng.IntN(60)
				all.Go(func() {
					c.listen(lines)
					c.kill()
				})
			}
			all.Wait()
			head = d.inspect(t, chargers, head)
			for _, c := range chargers {
				require.Empty(t, c.failed)
				acknowledged += len(c.reserved)
				refused += c.refused
			}
		}
		t.Logf("%d kills, %d charges acknowledged, %d refused for want of budget", kills, acknowledged, refused)
		assert.NotZero(t, acknowledged)
	})
}

// racingChild charges in each epoch that it is told.
func racingChild() int {
	l, err := openChild()
	if err != nil {
		fmt.Println(err)
		return 1
	}
	round, _ := strconv.ParseInt(os.Getenv(childFrom), 10, 64)
	fmt.Println("ready")
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		c := charge(round, pure(0.6))
		c.Key.Epoch = in.Text()
		switch _, err := l.Reserve(context.Background(), c); {
		case err == nil:
			fmt.Println("won")
		case errors.As(err, new(*dp.BudgetError)):
			fmt.Println("refused")
		default:
			fmt.Println(err)
		}
	}
	return 0
}

// TestSQLRace lets eight processes race for the last charge.
func TestSQLRace(t *testing.T) {
	t.Parallel()
	everyDatabase(t, func(t *testing.T, d *database) {
		d.create(t, Config{Budget: pure(1)})
		var answers []*bufio.Scanner
		var orders []io.WriteCloser
		var ends []func() error
		answer := func(i int) string {
			if !answers[i].Scan() {
				return "gone"
			}
			return answers[i].Text()
		}
		for i := range 8 {
			cmd := d.child(t, "race", fmt.Sprintf("%s=%d", childFrom, i+1))
			in, err := cmd.StdinPipe()
			require.NoError(t, err)
			out, err := cmd.StdoutPipe()
			require.NoError(t, err)
			require.NoError(t, cmd.Start())
			ends = append(ends, cmd.Wait)
			answers, orders = append(answers, bufio.NewScanner(out)), append(orders, in)
		}
		t.Cleanup(func() {
			for _, in := range orders {
				_ = in.Close()
			}
			for _, ended := range ends {
				assert.NoError(t, ended())
			}
		})
		for i := range answers {
			require.Equal(t, "ready", answer(i))
		}
		for race := range 6 {
			for _, w := range orders {
				_, err := fmt.Fprintf(w, "epoch %d\n", race)
				require.NoError(t, err)
			}
			told := map[string]int{}
			for i := range answers {
				told[answer(i)]++
			}
			require.Equal(t, map[string]int{"won": 1, "refused": 7}, told)
		}
		_, err := d.verify(t)
		require.NoError(t, err)
		assert.Equal(t, int64(6), d.number(t, "SELECT count(*) FROM larder_charges"))
	})
}
