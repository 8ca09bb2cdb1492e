package fedtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/larder-dp/larder/federated"
)

// Run holds a federation to all checks, each as a subtest.
func Run(t *testing.T, c Config) {
	for _, k := range []struct {
		name string
		run  func(testing.TB, Config)
	}{
		{"Neighbours", Neighbours},
		{"DataIndependence", DataIndependence},
		{"NoLeaks", NoLeaks},
		{"Pseudonyms", Pseudonyms},
		{"FailsClosed", FailsClosed},
		{"Rounds", Rounds},
		{"Noise", Noise},
		{"Crashes", Crashes},
	} {
		t.Run(k.name, func(t *testing.T) { k.run(t, c) })
	}
}

// Check holds a federation to all checks outside a test.
func Check(c Config) error {
	var errs []error
	for _, k := range allChecks {
		errs = append(errs, k.over(c))
	}
	return errors.Join(errs...)
}

var allChecks = []check{neighbours, independence, leaks, pseudonyms, failsClosed, rounds, noise, crashes}

// TestTransport fails t if a transport does not do what federated.Transport owes:
// every message goes to the node that it names and no other, unchanged; answers
// come back under the name of the node that gave them, while others work or fail;
// a node that is not there, or drops out, is no error and nothing comes from it;
// exchanges at the same time are kept apart; Exchange returns soon after its
// context ended. The nodes are *federated.Node.
func TestTransport(t testing.TB, of func(nodes map[federated.NodeID]Node) (federated.Transport, error)) {
	t.Helper()
	if err := CheckTransport(of); err != nil {
		t.Error(err)
	}
}

// patience is how long a transport may take for what it owes soon.
const patience = 5 * time.Second

// CheckTransport is TestTransport outside a test. It returns all that is broken.
func CheckTransport(of func(nodes map[federated.NodeID]Node) (federated.Transport, error)) error {
	c, err := Config{}.filled()
	if err != nil {
		return err
	}
	w := c.grown(3, 5, 12)
	w.tpl = Template{New: federated.NetDemand, From: federated.Lists, Unit: federated.UnitList}
	w.selects = false
	small, err := c.federation(w, setup{seed: 7})
	if err != nil {
		return err
	}
	q, err := w.tpl.New(w.question(ordinary))
	if err != nil {
		return err
	}
	stuck := make(chan struct{})
	release := sync.OnceFunc(func() { close(stuck) })
	defer release()
	nodes := map[federated.NodeID]Node{}
	want := map[federated.NodeID][]byte{}
	for _, id := range w.stores {
		nodes[id] = small.nodes[id].node
		if want[id], err = nodes[id].Answer(context.Background(), askOf(q, 1).encode()); err != nil {
			return err
		}
	}
	broken, err := federated.NewNode(federated.NodeConfig{
		ID: w.stores[1], Epoch: w.epoch, Allow: anything(nil), Lists: breaking(nil, errBroken), Log: slogTo(small.tap),
	})
	if err != nil {
		return err
	}
	hanging, err := federated.NewNode(federated.NodeConfig{
		ID: w.stores[0], Epoch: w.epoch, Allow: anything(nil), Log: slogTo(small.tap),
		Lists: func(yield func(federated.Record, error) bool) {
			for yield(federated.Record{}, nil) { // ends with the context
				select {
				case <-stuck:
					return
				default:
				}
			}
		},
	})
	if err != nil {
		return err
	}
	s := &transportSuite{of: of, nodes: nodes, want: want, stores: w.stores, q: q}
	s.delivers(w.stores, nil)
	s.long()
	s.unnamed(w.epoch)
	s.with(w.stores[1], broken, func() { s.delivers(without(w.stores, w.stores[1]), nil) })
	s.with(w.stores[1], nil, func() { s.delivers(without(w.stores, w.stores[1]), nil) })
	s.delivers(w.stores, []federated.NodeID{"nobody"})
	there := &meeting{met: make(chan struct{})}
	slow, err := federated.NewNode(federated.NodeConfig{
		ID: w.stores[2], Epoch: w.epoch, Allow: anything(nil), Log: slogTo(small.tap), Lists: there.records,
	})
	if err != nil {
		return err
	}
	s.with(w.stores[2], slow, func() { s.apart(there) })
	s.with(w.stores[0], hanging, s.returns)
	return errors.Join(s.errs...)
}

func without(all []federated.NodeID, one federated.NodeID) []federated.NodeID {
	return slices.DeleteFunc(slices.Clone(all), func(s federated.NodeID) bool { return s == one })
}

type transportSuite struct {
	of     func(map[federated.NodeID]Node) (federated.Transport, error)
	nodes  map[federated.NodeID]Node
	want   map[federated.NodeID][]byte
	stores []federated.NodeID
	q      federated.Query
	mu     sync.Mutex
	errs   []error
}

func (s *transportSuite) fail(format string, a ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.errs = append(s.errs, fmt.Errorf("check transport: "+format, a...))
}

// with puts another node in a place while do runs; nil takes it away.
func (s *transportSuite) with(id federated.NodeID, n *federated.Node, do func()) {
	before := s.nodes[id]
	if delete(s.nodes, id); n != nil {
		s.nodes[id] = n
	}
	do()
	s.nodes[id] = before
}

// exchange sends the question to all stores and to others, and returns what came
// back.
func (s *transportSuite) exchange(ctx context.Context, t federated.Transport, q federated.Query, others ...federated.NodeID) ([]federated.Message, error) {
	var out []federated.Message
	for _, id := range append(slices.Clone(s.stores), others...) {
		out = append(out, federated.Message{From: federated.CoordinatorID, To: id, Body: askOf(q, 1).encode()})
	}
	sent := make([][]byte, len(out))
	for i := range out {
		sent[i] = slices.Clone(out[i].Body)
	}
	var mu sync.Mutex
	var back []federated.Message
	err := t.Exchange(ctx, out, func(m federated.Message) {
		mu.Lock()
		defer mu.Unlock()
		back = append(back, m)
	})
	for i := range out {
		if !bytes.Equal(out[i].Body, sent[i]) {
			s.fail("it changed a message that it was given to send: copy it")
			break
		}
	}
	mu.Lock()
	defer mu.Unlock()
	return slices.Clone(back), err
}

// delivers wants the answers of these stores, and nothing else.
func (s *transportSuite) delivers(from, others []federated.NodeID) {
	t, err := s.of(s.nodes)
	if err != nil {
		s.fail("make it: %w", err)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	back, err := s.exchange(ctx, t, s.q, others...)
	if err != nil && ctx.Err() == nil {
		s.fail("a node that is not there or drops out is no error: got %w", err)
	}
	s.answers(back, from, s.want)
}

func (s *transportSuite) answers(back []federated.Message, from []federated.NodeID, want map[federated.NodeID][]byte) {
	seen := map[federated.NodeID]bool{}
	for _, m := range back {
		switch {
		case !slices.Contains(from, m.From):
			s.fail("an answer comes from %q, which gave none", m.From)
		case m.To != federated.CoordinatorID:
			s.fail("an answer is addressed to %q and not to who asked", m.To)
		case !bytes.Equal(m.Body, want[m.From]):
			s.fail("the answer of %s is not what it said: authenticity and every byte are owed", m.From)
		}
		seen[m.From] = true // twice is allowed
	}
	for _, id := range from {
		if !seen[id] {
			s.fail("the answer of %s was not delivered, though nothing is wrong with it", id)
		}
	}
}

// long sends a question and gets answers of a length that many buffers have not.
func (s *transportSuite) long() {
	asked := s.q.Question()
	for i := range 10_000 {
		asked.Partitions = append(asked.Partitions, fmt.Sprintf("item %05d", i))
	}
	q, err := federated.NetDemand(asked)
	if err != nil {
		s.fail("ask about many partitions: %w", err)
		return
	}
	s.ask(q)
}

// unnamed has a node on the roster that no message names, and wants that it is not asked.
func (s *transportSuite) unnamed(epoch string) {
	const id = "s999999"
	var asked atomic.Bool
	n, err := federated.NewNode(federated.NodeConfig{
		ID: id, Epoch: epoch, Log: slog.New(slog.DiscardHandler), Allow: anything(nil),
		Lists: func(func(federated.Record, error) bool) { asked.Store(true) },
	})
	if err != nil {
		s.fail("make a node: %w", err)
		return
	}
	before := s.q
	defer func() { s.q = before }()
	question := s.q.Question()
	question.Stores = append(question.Stores, id)
	if s.q, err = federated.NetDemand(question); err != nil {
		s.fail("ask one store more: %w", err)
		return
	}
	s.nodes[id] = n
	s.ask(s.q)
	delete(s.nodes, id)
	if asked.Load() {
		s.fail("a node was asked that no message names")
	}
}

// ask sends a question to all stores and wants their answers.
func (s *transportSuite) ask(q federated.Query) {
	t, err := s.of(s.nodes)
	if err != nil {
		s.fail("make it: %w", err)
		return
	}
	want := map[federated.NodeID][]byte{}
	for _, id := range s.stores {
		want[id], _ = s.nodes[id].Answer(context.Background(), askOf(q, 1).encode())
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	back, err := s.exchange(ctx, t, q)
	if err != nil {
		s.fail("exchange messages: %w", err)
	}
	s.answers(back, s.stores, want)
}

// A meeting is a node's source of records, at which an exchange waits for another, or for a while
// where the transport takes them one by one.
type meeting struct {
	on     atomic.Bool
	inside atomic.Int32
	met    chan struct{}
}

func (m *meeting) records(func(federated.Record, error) bool) {
	if !m.on.Load() {
		return
	}
	if m.inside.Add(1) == 2 {
		close(m.met)
	}
	select {
	case <-m.met:
	case <-time.After(patience / 50):
	}
}

// apart runs exchanges about several rounds at the same time.
func (s *transportSuite) apart(there *meeting) {
	t, err := s.of(s.nodes)
	if err != nil {
		s.fail("make it: %w", err)
		return
	}
	var qs []federated.Query
	var wants []map[federated.NodeID][]byte
	for round := range int64(6) {
		asked := s.q.Question()
		asked.Round = round + 1
		q, err := federated.NetDemand(asked)
		if err != nil {
			s.fail("ask in another round: %w", err)
			return
		}
		want := map[federated.NodeID][]byte{}
		for id, n := range s.nodes {
			want[id], _ = n.Answer(context.Background(), askOf(q, 1).encode())
		}
		qs, wants = append(qs, q), append(wants, want)
	}
	there.on.Store(true)
	backs := make([][]federated.Message, len(qs))
	var wg sync.WaitGroup
	for i, q := range qs {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			backs[i], _ = s.exchange(ctx, t, q)
		})
	}
	wg.Wait()
	for i, back := range backs {
		s.answers(back, s.stores, wants[i])
	}
}

// returns wants Exchange back when its context ends, though a node hangs.
func (s *transportSuite) returns() {
	t, err := s.of(s.nodes)
	if err != nil {
		s.fail("make it: %w", err)
		return
	}
	for _, before := range []bool{true, false} {
		ctx, cancel := context.WithCancel(context.Background())
		if before {
			cancel()
		}
		done := make(chan struct{})
		var first sync.Once
		go func() {
			defer close(done)
			var out []federated.Message
			for _, id := range s.stores {
				out = append(out, federated.Message{From: federated.CoordinatorID, To: id, Body: askOf(s.q, 1).encode()})
			}
			_ = t.Exchange(ctx, out, func(federated.Message) { first.Do(cancel) })
		}()
		hung := time.AfterFunc(patience/10, cancel) // for one that asks in order
		select {
		case <-done:
		case <-time.After(patience):
			s.fail("Exchange did not return within %v of the end of its context", patience)
		}
		hung.Stop()
		cancel()
	}
}

// TestSource fails t if records are not what federated.Records owes: ranging
// again yields the same, as do two passes at once, a pass that is broken off
// leaves the next alone, an error comes last, and it names no member or id that the source
// yielded.
func TestSource(t testing.TB, records federated.Records) {
	t.Helper()
	if err := CheckSource(records); err != nil {
		t.Error(err)
	}
}

// CheckSource is TestSource outside a test.
func CheckSource(records federated.Records) error {
	if records == nil {
		return errors.New("check source: it is nil")
	}
	first, firstErr, after := collect(records)
	if after {
		return errors.New("check source: records come after an error: it must be the last")
	}
	same := func(what string, rs []string, err error) error {
		if !slices.Equal(rs, first) || (err == nil) != (firstErr == nil) {
			return fmt.Errorf("check source: %s yields %d records, and the first pass yielded %d, or others, or in another order: a node asked again answers something else", what, len(rs), len(first))
		}
		return nil
	}
	for n := range min(len(first), 3) { // passes that are broken off
		i := 0
		for range records {
			if i++; i > n {
				break
			}
		}
	}
	again, err, _ := collect(records)
	errs := []error{same("a second pass", again, err)}
	// Two passes, in turns.
	a, stopA := iter.Pull2(records)
	defer stopA()
	b, stopB := iter.Pull2(records)
	defer stopB()
	var left, right []string
	for {
		r, err, ok := a()
		if ok && err == nil {
			left = append(left, spell(r))
		}
		s, err2, ok2 := b()
		if ok2 && err2 == nil {
			right = append(right, spell(s))
		}
		if !ok && !ok2 {
			break
		}
	}
	errs = append(errs, same("one of two passes at once", left, firstErr), same("the other of two passes at once", right, firstErr))
	if firstErr != nil {
		errs = append(errs, quiet(records, firstErr))
	}
	return errors.Join(errs...)
}

// quiet wants of an error that it names nobody, in no form that a Wiretap knows.
func quiet(records federated.Records, err error) error {
	named := errors.New("check source: its error names a member or an id")
	text := fmt.Sprintf("%v %+v", err, err)
	var canaries []Canary
	for r := range records {
		for _, secret := range []string{r.Member, r.ID} {
			switch {
			case len(secret) >= 4 && strings.Contains(text, secret):
				return named
			case len(secret) >= 8 && len(canaries) < 100:
				canaries = append(canaries, Canary{Name: "id", Value: secret})
			}
		}
	}
	tap, failed := NewWiretap(canaries...)
	if failed != nil {
		return failed
	}
	if tap.HearError("of the source", err); len(tap.Leaks()) > 0 {
		return named
	}
	return nil
}

func collect(records federated.Records) (out []string, failed error, after bool) {
	for r, err := range records {
		if failed != nil {
			return out, failed, true
		}
		if err != nil {
			failed = err
			continue
		}
		out = append(out, spell(r))
	}
	return out, failed, false
}

func spell(r federated.Record) string {
	return fmt.Sprintf("%q %q %q %q %v %v", r.ID, r.Member, r.Stores, r.Segment, r.Time, r.Lines)
}
