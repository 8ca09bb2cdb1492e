package federated

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/larder-dp/larder/dp"
)

var update = flag.Bool("update", false, "rewrite the round scripts with what they print now")

// TestRoundScripts replays testdata/rounds: commands to one round and its
// coordinator, and after ---- what they print. Nodes, ledger and noise are the
// real ones; the clock is the script's.
func TestRoundScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/rounds/*.txt")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			var out strings.Builder
			s := newScript(t)
			for _, block := range strings.Split(strings.TrimSpace(string(text)), "\n\n") {
				commands, _, _ := strings.Cut(block, "----")
				fmt.Fprintf(&out, "%s----\n", commands)
				for line := range strings.Lines(commands) {
					if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
						fmt.Fprintln(&out, s.run(strings.Fields(line)))
					}
				}
				fmt.Fprintln(&out)
			}
			if *update {
				require.NoError(t, os.WriteFile(file, []byte(out.String()), 0o644))
				return
			}
			require.Equal(t, strings.TrimSpace(string(text)), strings.TrimSpace(out.String()))
		})
	}
}

type script struct {
	t       *testing.T
	ctx     context.Context
	elapsed time.Duration
	ledger  dp.Ledger
	c       *Coordinator
	q       Query
	r       *round
	release *Release
	head    [32]byte
	first   []byte // the first release's bytes
}

func newScript(t *testing.T) *script {
	ledger, err := dp.NewMemoryLedger(dp.Budget{Epsilon: 2.5, Delta: 1e-6})
	require.NoError(t, err)
	q, err := NetDemand(func() Question {
		q := question([]NodeID{"a", "b", "c"}, []string{"bread", "milk"})
		q.Quorum = 2
		return q
	}())
	require.NoError(t, err)
	s := &script{t: t, ctx: context.Background(), ledger: ledger, q: q}
	s.restart()
	return s
}

func (s *script) restart() {
	var seed [32]byte
	c, err := NewCoordinator(CoordinatorConfig{
		Transport: InProcess(), Ledger: s.ledger, Random: rand.NewChaCha8(seed),
	})
	require.NoError(s.t, err)
	s.c, s.r, s.release = c, nil, nil
}

func (s *script) now() time.Time {
	return time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC).Add(s.elapsed)
}

func (s *script) state() string {
	c := s.r.coverage()
	line := fmt.Sprintf("%s, %d of %d", s.r.state, c.Answered, c.Asked)
	for _, a := range c.Absent {
		line += fmt.Sprintf("; %s: %s", a.Node, a.Reason)
	}
	return line
}

// answer is what the node sends when it is asked the script's query.
func (s *script) answer(node string, q Query, milk int64, allow Policy) []byte {
	n, err := NewNode(NodeConfig{Epoch: "e", ID: NodeID(node), Allow: allow, Lists: slice([]Record{
		{ID: "l-" + node, Stores: []NodeID{NodeID(node)}, Lines: []Line{{Item: "milk", Quantity: milk}}},
	})})
	require.NoError(s.t, err)
	body, err := n.Answer(s.ctx, ask{q: q}.encode())
	require.NoError(s.t, err)
	return body
}

func (s *script) receive(from string, body []byte) string {
	s.r.receive(s.now(), Message{From: NodeID(from), To: CoordinatorID, Body: body})
	return s.state()
}

func (s *script) run(words []string) string {
	arg := ""
	if len(words) > 1 {
		arg = words[1]
	}
	switch words[0] {
	case "round": // ask as that round from now on
		var n int64
		_, err := fmt.Sscan(arg, &n)
		require.NoError(s.t, err)
		s.q = s.q.withRound(n)
		return "round " + arg
	case "start":
		stored, err := s.c.stored(s.ctx, s.q)
		if err != nil {
			return "error: " + err.Error()
		}
		if stored != nil {
			s.release = stored
			return "answered from the ledger"
		}
		if err := s.c.affordable(s.ctx, s.q); err != nil {
			return "error: " + err.Error()
		}
		var out []Message
		s.r, out = newRound(s.q, s.c.session, s.now().Add(time.Minute))
		line := "asked"
		for _, m := range out {
			line += " " + string(m.To)
		}
		return line
	case "tick":
		d, err := time.ParseDuration(arg)
		require.NoError(s.t, err)
		s.elapsed += d
		s.r.tick(s.now())
		return s.state()
	case "report":
		return s.receive(arg, s.answer(arg, s.q, 2, AllowQueries(s.q)))
	case "other-report": // well formed, but not what the node said before
		return s.receive(arg, s.answer(arg, s.q, 3, AllowQueries(s.q)))
	case "old-report": // of another round
		return s.receive(arg, s.answer(arg, s.q.withRound(7), 2, AllowQueries(s.q)))
	case "refusal":
		return s.receive(arg, s.answer(arg, s.q, 2, Policy{}))
	case "garbage":
		return s.receive(arg, []byte("LARDER-REPORT-1\nnot really"))
	case "forged": // from arg, with the report of another node
		return s.receive(arg, s.answer("a", s.q, 2, AllowQueries(s.q)))
	case "close":
		s.r.close()
		return s.state()
	case "quorum":
		_, err := s.c.finish(s.ctx, s.r)
		return "error: " + err.Error()
	case "spend": // by some other question, in the meantime
		var e float64
		_, err := fmt.Sscan(arg, &e)
		require.NoError(s.t, err)
		_, err = s.ledger.Reserve(s.ctx, dp.Charge{
			Key: dp.Key{Epoch: "e", Round: 1}, Unit: string(UnitList), Cost: dp.Budget{Epsilon: e},
		})
		require.NoError(s.t, err)
		return "spent"
	case "reserve":
		head, err := s.c.reserve(s.ctx, s.r)
		if err != nil {
			return s.r.state.String() + ", error: " + err.Error()
		}
		s.head = head
		return s.r.state.String()
	case "noise":
		rel, err := s.c.noise(s.ctx, s.r, s.head)
		require.NoError(s.t, err)
		s.release = rel
		return s.r.state.String()
	case "store":
		rel, err := s.c.store(s.ctx, s.r, s.release)
		require.NoError(s.t, err)
		if s.first == nil {
			s.first = rel.raw
		}
		return s.r.state.String()
	case "tell":
		n := 0
		for range s.release.Cells() {
			n++
		}
		return fmt.Sprintf("%d cells, same bytes as the first release: %v", n, bytes.Equal(s.release.raw, s.first))
	case "restart":
		s.restart()
		return "restarted"
	case "left":
		left, err := s.ledger.Left(s.ctx, "e", string(UnitList))
		require.NoError(s.t, err)
		return fmt.Sprintf("left ε=%g", left.Epsilon)
	}
	s.t.Fatalf("unknown command %q", words[0])
	return ""
}
