package fedtest

import (
	"bytes"
	"compress/zlib"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/blake2b"

	"github.com/larder-dp/larder/dp"
	"github.com/larder-dp/larder/federated"
)

func want(t testing.TB, ok bool, format string, a ...any) {
	t.Helper()
	if !ok {
		t.Errorf(format, a...)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// inProcess is Larder's own transport.
func inProcess(nodes map[federated.NodeID]Node) (federated.Transport, error) {
	var all []*federated.Node
	for _, n := range nodes {
		all = append(all, n.(*federated.Node))
	}
	return federated.InProcess(all...), nil
}

func TestInProcess(t *testing.T) { TestTransport(t, inProcess) }

// A bentTrip is a transport with something wrong in it.
type bentTrip struct {
	inner federated.Transport
	send  func(*federated.Message)
	back  func(*federated.Message, func(federated.Message))
	end   func(context.Context, error) error
	nodes map[federated.NodeID]Node
	wide  bool          // asks every node that it knows
	mix   bool          // answers whoever asked last
	last  *atomic.Value // the deliver of that
}

func (b bentTrip) Exchange(ctx context.Context, out []federated.Message, deliver func(federated.Message)) error {
	if b.send != nil {
		for i := range out {
			b.send(&out[i])
		}
	}
	if b.wide {
		for _, n := range b.nodes {
			_, _ = n.Answer(ctx, out[0].Body)
		}
	}
	if b.mix {
		b.last.Store(deliver)
	}
	err := b.inner.Exchange(ctx, out, func(m federated.Message) {
		if b.mix {
			b.last.Load().(func(federated.Message))(m)
			return
		}
		if b.back != nil {
			b.back(&m, deliver)
			return
		}
		deliver(m)
	})
	if b.end != nil {
		return b.end(ctx, err)
	}
	return err
}

func TestTransportSuiteFindsFaults(t *testing.T) {
	for name, bent := range map[string]bentTrip{
		"answers under another name": {back: func(m *federated.Message, deliver func(federated.Message)) {
			m.From = "s000001"
			deliver(*m)
		}},
		"answers cut": {back: func(m *federated.Message, deliver func(federated.Message)) {
			m.Body = m.Body[:len(m.Body)-8]
			deliver(*m)
		}},
		"answers lost":                 {back: func(m *federated.Message, deliver func(federated.Message)) {}},
		"answers to somebody else":     {back: func(m *federated.Message, deliver func(federated.Message)) { m.To = m.From; deliver(*m) }},
		"messages changed in place":    {send: func(m *federated.Message) { m.Body[20] ^= 1 }},
		"everything asked of one node": {send: func(m *federated.Message) { m.To = "s000002" }},
		"answers cut where a buffer ends": {back: func(m *federated.Message, deliver func(federated.Message)) {
			m.Body = m.Body[:min(len(m.Body), 64<<10)]
			deliver(*m)
		}},
		"answers to who asked last":      {mix: true},
		"nodes asked that nobody named":  {wide: true},
		"a failing node ends everything": {end: func(_ context.Context, err error) error { return errors.New("a node cannot be reached") }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := CheckTransport(func(nodes map[federated.NodeID]Node) (federated.Transport, error) {
				inner, err := inProcess(nodes)
				bent.inner, bent.nodes, bent.last = inner, nodes, new(atomic.Value)
				return bent, err
			})
			want(t, err != nil, "no error")
			t.Log("sabotage:", name, " caught by TestTransport:", strings.SplitN(err.Error(), "\n", 2)[0])
		})
	}
}

func TestSourceSuiteFindsFaults(t *testing.T) {
	records := []federated.Record{{ID: "list-0001", Member: "quillfeather"}, {ID: "list-0002"}, {ID: "list-0003"}}
	next := 0
	for name, rs := range map[string]federated.Records{
		"no source": nil,
		"one pass only": func(yield func(federated.Record, error) bool) {
			for ; next < len(records); next++ {
				if !yield(records[next], nil) {
					return
				}
			}
		},
		"one cursor for all passes": func() federated.Records {
			at := 0
			return func(yield func(federated.Record, error) bool) {
				at = 0
				for ; at < len(records); at++ {
					if !yield(records[at], nil) {
						return
					}
				}
			}
		}(),
		"records after an error": func(yield func(federated.Record, error) bool) {
			_ = yield(records[0], nil) && yield(federated.Record{}, errors.New("bad")) && yield(records[1], nil)
		},
		"an error that names the record":      breaking(serve(records), fmt.Errorf("near %v", records[0])),
		"an error that names a member in hex": breaking(serve(records), fmt.Errorf("near % x", records[0].Member)),
		"an error that packs an id":           breaking(serve(records), fmt.Errorf("near %s", base64.RawURLEncoding.EncodeToString([]byte("id="+records[1].ID)))),
	} {
		err := CheckSource(rs)
		want(t, err != nil, "no error: %s", name)
		t.Log("sabotage:", name, " caught by TestSource:", err)
	}
	must(t, CheckSource(serve(records)))
	must(t, CheckSource(breaking(serve(records), errors.New("the disk is gone"))))
}

// The search finds each form, in the middle of other bytes.
func TestWiretapFindsEveryForm(t *testing.T) {
	const id, last = "Quillfeather_5f3a1", "Quillfeather"
	when := time.Date(2031, 3, 4, 5, 6, 7, 8, time.UTC)
	n := int64(4_611_700_000_123)
	tap, err := NewWiretap(
		Canary{"member", id, last}, Canary{"time", when, ""}, Canary{"pieces", n, ""},
		Canary{"birthday", "19870314", last}, Canary{"key", []byte{1, 9, 3, 7, 5, 200, 201, 202, 203, 204, 205, 206}, ""},
	)
	must(t, err)
	sha, blake := sha256.Sum256([]byte(id)), blake2b.Sum256([]byte(strings.ToLower(id)))
	birthday := sha256.Sum256([]byte("19870314"))
	back := []byte(id)
	slices.Reverse(back)
	var z bytes.Buffer
	w := zlib.NewWriter(&z)
	fmt.Fprintf(w, "x %s y", base64.StdEncoding.EncodeToString(zipped([]byte(id))))
	must(t, w.Close())
	for how, b := range map[string][]byte{
		"plain": []byte(id), "upper case": bytes.ToUpper([]byte(id)), "reversed": back,
		"UTF-16":       []byte("Q\x00u\x00i\x00l\x00l\x00f\x00e\x00a\x00t\x00h\x00e\x00r\x00_\x005\x00f\x003\x00a\x001\x00"),
		"hex":          []byte(hex.EncodeToString([]byte(id))),
		"bytes by %v":  fmt.Appendf(nil, "%v", []byte(id)),
		"base64 url":   []byte(base64.URLEncoding.EncodeToString([]byte("?>~" + id))),
		"nested":       z.Bytes(),
		"SHA-256":      sha[:],
		"SHA-256, cut": []byte(hex.EncodeToString(sha[:6])),
		"BLAKE2b":      []byte(base64.StdEncoding.EncodeToString(blake[:])),
		"name_5 hex":   []byte("quillfeather_" + hex.EncodeToString(birthday[:])[:5]),
		"RFC 3339":     []byte(when.Format(time.RFC3339Nano)),
		"Unix time":    fmt.Append(nil, when.UnixNano()),
		"grouped":      []byte("4,611,700,000,123"),
		"float":        fmt.Appendf(nil, "%g", float64(n)),
		"big endian":   binary.BigEndian.AppendUint64(nil, uint64(n)),
		"varint":       binary.AppendUvarint(nil, uint64(n)),
		"zigzag":       binary.AppendVarint(nil, n),
		"JSON escapes": []byte(`\u0051uillfeather_5f3a1`),
		"percent":      []byte("%51uillfeather_5f3a1"),
		"bytes by %#v": fmt.Appendf(nil, "%#v", []byte(id)),
		"bytes by % x": fmt.Appendf(nil, "% x", []byte(id)),
		"octal":        []byte(`\121uillfeather_5f3a1`),
		"QP":           []byte("=51uillfe=\r\nather_5f3a1"),
		"letters":      []byte(strings.Join(strings.Split(id, ""), "-")),
		"spaced":       []byte(strings.Join(strings.Split(id, ""), " ")),
		"attributes":   []byte(`level=DEBUG msg=ok a=Quillfea b="ther_5f3a1"`),
		"another zone": []byte(when.In(time.FixedZone("", -5*3600)).Format(time.RFC1123Z)),
		"half a key":   {203, 204, 205, 206, 0, 0, 5, 200, 201, 202, 203, 204, 205, 206},
	} {
		for _, before := range []string{"", "z", "zz ", "zzz "} {
			tap.heard = nil
			tap.Hear("x", how, slices.Concat([]byte(before), b, []byte(" tail")))
			if slices.Contains([]string{"hex", "base64 url", "BLAKE2b", "SHA-256, cut"}, how) && strings.HasSuffix(before, "z") {
				continue // such a word does not begin in another
			}
			want(t, len(tap.Leaks()) > 0, "not found: %s after %q", how, before)
		}
	}
}

// What chance would find is refused, or asks for a word beside it; random bytes
// are silent.
func TestWiretapRaisesNoFalseAlarms(t *testing.T) {
	for _, c := range []Canary{{"short", "milk", ""}, {"small", int64(42), ""}, {"odd", 3.5, ""}, {"none", nil, "quillfeather"}} {
		_, err := NewWiretap(c)
		want(t, err != nil, "no error: %s", c.Name)
	}
	tap, err := NewWiretap(Canary{"day", "0314", "Quillfeather"}, Canary{"long", "19870314-quill", ""}, Canary{"n", int64(1_700_000_000), ""})
	must(t, err)
	want(t, tap.Check() != nil, "nothing heard is not nothing found")
	tap.Hear("x", "page", []byte("on page 0314 of 500"))
	tap.Hear("x", "release", []byte(strings.Repeat("[12,-3,0,1700],", 1000)))
	random := make([]byte, 1<<16)
	newCoins(&process{h: &history{}}, 5).from.Read(random)
	tap.Hear("x", "random", random)
	tap.Hear("x", "random hex", []byte(hex.EncodeToString(random)))
	must(t, tap.Check())
	tap.Hear("x", "page", []byte("quillfeather, born 0314"))
	want(t, tap.Check() != nil, "not found beside its word")
}

func TestWiretapHearsEveryChannel(t *testing.T) {
	const secret = "quillfeather-canary"
	listen := func(hear func(*Wiretap)) []string {
		tap, err := NewWiretap(Canary{Name: "member", Value: secret})
		must(t, err)
		hear(tap)
		return tap.Leaks()
	}
	for name, hear := range map[string]func(*Wiretap){
		"attribute": func(w *Wiretap) { slog.New(w.Log()).Debug("x", "who", []byte(secret)) },
		"group": func(w *Wiretap) {
			slog.New(w.Log()).WithGroup("a").With("b", struct{ Name string }{secret}).Info("x")
		},
		"message": func(w *Wiretap) { slog.New(w.Log()).Info("bad " + secret) },
		"joined": func(w *Wiretap) {
			w.HearError("x", errors.Join(errors.New("a"), fmt.Errorf("b: %w", errors.New(secret))))
		},
		"files": func(w *Wiretap) { must(t, w.HearFiles(fstest.MapFS{"a/" + secret: {}})) },
		"transport": func(w *Wiretap) {
			tr := w.Transport(bentTrip{inner: direct{&Federation{}}})
			_ = tr.Exchange(context.Background(), []federated.Message{{To: "a", Body: []byte(secret)}}, nil)
		},
	} {
		want(t, len(listen(hear)) > 0, "not heard: %s", name)
	}
}

// A fatal is a test that stops at its first failure, and tells what it was.
type fatal struct {
	testing.TB
	why string
}

func (f *fatal) Fatalf(format string, a ...any) {
	f.why = fmt.Sprintf(format, a...)
	panic(f)
}

// A script that names nobody would let its test pass without a fault.
func TestFaultsThatCannotHappen(t *testing.T) {
	for _, c := range []struct {
		fault Fault
		why   string
	}{
		{Fault{Late, "s000001"}, ""},
		{Fault{Skew, "s000005"}, ""},
		{Fault{Late, "s0001"}, `set fault late s0001: there is no node "s0001": the 5 are s000001 to s000005`},
		{Fault{"later", "s000001"}, `set fault later s000001: "later" is none: take a constant, such as fedtest.Late`},
	} {
		rec := &fatal{TB: t}
		f := NewFederation(rec, Config{}, 1, 5, 5)
		func() {
			defer func() { _ = recover() }()
			f.Faults(c.fault)
		}()
		want(t, rec.why == c.why, "%v: %q", c.fault, rec.why)
	}
}

// Thousands of stores, with every kind of fault, and the report of what left.
func TestFederationOfThousands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stores := 2000
		if testing.Short() {
			stores = 200
		}
		f := NewFederation(t, Config{}, 3, stores, 2*stores)
		q, err := f.Query(dp.Params{Epsilon: 1, Delta: 1e-6, Mechanism: dp.DiscreteLaplace}, nil)
		must(t, err)
		var script []Fault
		absent := 0
		for i, k := range networkFaults {
			script = append(script, Fault{k, f.w.stores[7*i+1]})
			if slices.Contains([]FaultKind{Drop, Lose, Late, Ghost, Corrupt, Conflict, Crash, Refuse}, k) {
				absent++
			}
		}
		f.Faults(append(script, Fault{Skew, f.w.stores[stores/2]})...)
		rel, err := f.Run(t.Context(), q)
		must(t, err)
		c := rel.Label().Coverage
		want(t, c.Asked == stores && c.Answered == stores-absent, "coverage %d of %d", c.Answered, c.Asked)
		f.Faults()
		must(t, f.Restart(federated.CoordinatorID))
		again, err := f.Run(t.Context(), q)
		must(t, err)
		want(t, asJSON(rel) == asJSON(again), "another release after a restart")
		want(t, strings.Contains(f.tap.Report(), "message report"), "%s", f.tap.Report())
		want(t, f.Restart("nobody") != nil, "restarted nobody")
	})
}

// In real time, for a transport of the team's.
func TestRoundsInRealTime(t *testing.T) {
	must(t, CheckRounds(Config{Runs: 2, Transport: func(nodes map[federated.NodeID]Node) (federated.Transport, error) {
		return trip(nodes), nil
	}}))
}

// trip is a transport of a team's.
type trip map[federated.NodeID]Node

func (t trip) Exchange(ctx context.Context, out []federated.Message, deliver func(federated.Message)) error {
	for _, m := range slices.Backward(out) {
		if n := t[m.To]; n != nil {
			if b, err := n.Answer(ctx, m.Body); err == nil {
				deliver(federated.Message{From: m.To, To: m.From, Body: b})
			}
		}
	}
	return nil
}

// A failing seed prints the command that replays it, and fails again.
func TestReplay(t *testing.T) {
	c := sabotages[0].build()
	var first, second *Violation
	want(t, errors.As(CheckNeighbours(c), &first), "not found")
	command := fmt.Sprintf("LARDER_SEED=%d go test -count=1 -run '^TestReplay$' .", first.Seed)
	want(t, replay(t, first.Seed) == command, "%s", replay(t, first.Seed))
	t.Setenv("LARDER_SEED", fmt.Sprint(first.Seed))
	want(t, errors.As(CheckNeighbours(sabotages[0].build()), &second), "not found again")
	want(t, first.Error() == second.Error(), "another failure:\n%v\n%v", first, second)
	want(t, strings.Contains(first.Input, "unit 1"), "no world: %s", first.Input)
	t.Setenv("LARDER_SEED", "x")
	want(t, strings.Contains(fmt.Sprint(CheckNeighbours(Config{})), "LARDER_SEED"), "a seed that is none")
}

// The plain truth that Rounds compares with is not empty: every stock question has one.
func TestTruthIsThere(t *testing.T) {
	c, err := Config{}.filled()
	must(t, err)
	told := map[string]int{}
	for seed := range uint64(20 * len(c.Questions)) {
		w := c.drawWorld(seed)
		w.selects = false
		w.bounds = dp.Bounds{L0: int64(len(w.items)), LInf: 1 << 10, L1: int64(len(w.items)) << 10, MaxNodes: w.bounds.MaxNodes}
		q, err := w.tpl.New(w.question(exact))
		must(t, err)
		p, err := c.Pseudonym(w.epoch)
		must(t, err)
		for _, s := range w.stores {
			cells := w.truth(q, s, c.tally(q), p)
			if binsOf(q) > 0 {
				sketch, err := w.bitmap(q, s, p)
				must(t, err)
				cells = places(sketch)
			}
			for _, x := range cells {
				if x > 0 {
					told[fmt.Sprint(seed%uint64(len(c.Questions)), " ", q.Name())]++
				}
			}
		}
	}
	want(t, len(told) == len(c.Questions), "%d questions of %d have a truth", len(told), len(c.Questions))
	for question, n := range told {
		want(t, n >= 10, "question %s: %d cells have a truth", question, n)
	}
	t.Log(told)
}
