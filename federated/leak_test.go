package federated

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/larder-dp/larder/dp"
)

// wiretap is a transport that keeps every byte that passes.
type wiretap struct {
	Transport
	heard *bytes.Buffer
}

func (w wiretap) Exchange(ctx context.Context, out []Message, deliver func(Message)) error {
	for _, m := range out {
		fmt.Fprintf(w.heard, "%s\n%s\n%s\n", m.From, m.To, m.Body)
	}
	return w.Transport.Exchange(ctx, out, func(m Message) {
		fmt.Fprintf(w.heard, "%s\n%s\n%s\n", m.From, m.To, m.Body)
		deliver(m)
	})
}

var canaries = []string{
	"canary-member-7f3a", "canary-list-91bc", "canary-sale-d402", "canary-segment-5e", "canary-item-outside-66", "2026-03-04T05:06:07",
}

// find returns the canaries that b contains in plain text, hex or base64 at any
// alignment, whatever the case.
func find(b []byte) (found []string) {
	low := bytes.ToLower(b)
	for _, c := range canaries {
		forms := []string{c, hex.EncodeToString([]byte(c))}
		for pad := range 3 {
			for _, enc := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
				s := enc.EncodeToString(append(make([]byte, pad), c...))
				// The first and last digits mix with the neighbours' bits.
				forms = append(forms, s[(8*pad+5)/6:len(s)-1])
			}
		}
		for _, f := range forms {
			if bytes.Contains(low, bytes.ToLower([]byte(f))) {
				found = append(found, c+" as "+f)
			}
		}
	}
	return found
}

// The search itself must find what it is for.
func TestFindSeesCanaries(t *testing.T) {
	for _, c := range canaries {
		for _, form := range []string{c, strings.ToUpper(hex.EncodeToString([]byte(c)))} {
			require.NotEmpty(t, find([]byte("x"+form+"y")), form)
		}
		for _, before := range []string{"", "z", "zz", "zzz"} {
			require.NotEmpty(t, find([]byte(base64.StdEncoding.EncodeToString([]byte(before+c+"tail")))))
		}
	}
	require.Empty(t, find([]byte("nothing to see")))
}

// canaryNode has canaries wherever a record has room, and breaks in the middle
// of its records with an error that names one if broken is set.
func canaryNode(t *testing.T, q Query, log *bytes.Buffer, broken bool, ledger dp.Ledger) *Node {
	when := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	record := func(id string) Record {
		return Record{
			ID: id, Member: canaries[0], Stores: []NodeID{"a"}, Segment: canaries[3], Time: when,
			Lines: []Line{{Item: canaries[4], Quantity: 3}, {Item: "milk", Quantity: 2}},
		}
	}
	records := func(id string) Records {
		return func(yield func(Record, error) bool) {
			if yield(record(id), nil) && broken {
				yield(Record{}, errors.New("disk error near the data of "+strings.Join(canaries, " ")))
			}
		}
	}
	n, err := NewNode(NodeConfig{
		Epoch: "e", ID: "a", Lists: records(canaries[1]), Sales: records(canaries[2]),
		Memberships: slice([]Record{record("")}),
		Pseudonym: func(m string) (p [16]byte, err error) {
			if m == canaries[0] && broken {
				return p, errors.New("malformed: " + m)
			}
			return [16]byte{1}, nil
		},
		Allow: AllowQueries(q), Ledger: ledger, Log: slog.New(slog.NewTextHandler(log, nil)),
	})
	require.NoError(t, err)
	return n
}

// Nothing that leaves a node, or the coordinator, names a record: not reports,
// refusals, releases or errors, whether all goes well or the records break.
func TestNothingThatLeavesNamesARecord(t *testing.T) {
	for _, kind := range neighbourQueries() {
		for _, broken := range []bool{false, true} {
			for _, selects := range []bool{false, true} {
				t.Run(fmt.Sprint(kind.unit, kind.from, kind.cell, broken, selects), func(t *testing.T) {
					question := question([]NodeID{"a"}, []string{"milk"})
					question.Unit, question.From, question.Cells = kind.unit, kind.from, kind.cell
					if selects {
						question.Select = dp.Params{Epsilon: 1, Delta: 1e-6, Mechanism: dp.Auto}
					}
					q := must(kind.make(question))(t)
					var heard, own bytes.Buffer
					ledger := must(dp.NewMemoryLedger(dp.Budget{Epsilon: 10, Delta: 1e-3}))(t)
					c := must(NewCoordinator(CoordinatorConfig{
						Transport: wiretap{InProcess(canaryNode(t, q, &own, broken, nil)), &heard}, Ledger: ledger,
					}))(t)
					rel, err := c.Run(context.Background(), q)
					if err != nil {
						fmt.Fprintf(&heard, "%v %+v %#v", err, err, err)
					} else {
						raw, err := rel.MarshalJSON()
						require.NoError(t, err)
						fmt.Fprintf(&heard, "%s %v %+v", raw, rel.Label(), rel.Label())
					}
					require.Greater(t, heard.Len(), 500)
					require.Empty(t, find(heard.Bytes()))
				})
			}
		}
	}
}

// Refusals for every reason there is say nothing of records either.
func TestRefusalsNameNoRecord(t *testing.T) {
	ctx := context.Background()
	q := must(NetDemand(question([]NodeID{"a"}, []string{"milk"})))(t)
	spent := must(dp.NewMemoryLedger(dp.Budget{Epsilon: 0.5}))(t)
	var log bytes.Buffer
	for name, n := range map[string]*Node{
		"ledger": canaryNode(t, q, &log, false, spent),
		"policy": canaryNode(t, q.withOther(t), &log, false, nil),
	} {
		body, err := n.Answer(ctx, ask{q: q}.encode())
		require.NoError(t, err)
		refusal, err := parseRefusal(body, "a")
		require.NoError(t, err, name)
		require.NotEmpty(t, refusal.Accepts)
		require.Empty(t, find(body), name)
	}
	// What cannot be read is for the operator; the coordinator hears nothing.
	body, err := canaryNode(t, q, &log, true, nil).Answer(ctx, ask{q: q}.encode())
	require.Error(t, err)
	require.Nil(t, body)
	require.NotEmpty(t, log.String(), "the operator is told")
}

// withOther returns a query that differs from q.
func (q Query) withOther(t *testing.T) Query {
	question := q.Question()
	question.Epoch = "other"
	return must(NetDemand(question))(t)
}

// What a node sends has the same length for any records, none included, and
// errors do not depend on them.
func TestReportLengthIsTheSameForAnyRecords(t *testing.T) {
	for _, kind := range neighbourQueries() {
		question := question([]NodeID{"a"}, []string{"milk", "bread"})
		question.Unit, question.From, question.Cells = kind.unit, kind.from, kind.cell
		q := must(kind.make(question))(t)
		var log bytes.Buffer
		full := canaryNode(t, q, &log, false, nil)
		empty := must(NewNode(NodeConfig{Epoch: "e", ID: "a", Allow: AllowQueries(q), Pseudonym: testPseudonym, Memberships: slice(nil)}))(t)
		a := must(full.Answer(context.Background(), ask{q: q}.encode()))(t)
		b := must(empty.Answer(context.Background(), ask{q: q}.encode()))(t)
		require.Equal(t, len(a), len(b))
		r := must(parseReport(b))(t)
		require.Equal(t, []int64{0, 0}, r.amounts)
	}
}

// An Audit is true and not private, a node holds a secret: neither must print
// itself by accident.
func TestAuditsAndSecretsHideThemselves(t *testing.T) {
	a := Audit{Values: []int64{77123}, Capped: 77123}
	var log bytes.Buffer
	c := NodeConfig{ID: "a", Epoch: "e", Secret: [32]byte{77, 123}}
	n := must(NewNode(c))(t)
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "audit", a, "config", c, "node", n)
	for _, x := range []any{a, &a, c, &c, n, *n} {
		fmt.Fprintf(&log, "%v %+v %#v %s %d %x", x, x, x, x, x, x)
		raw, err := json.Marshal(x)
		require.NoError(t, err)
		log.Write(raw)
	}
	for _, secret := range []string{"77123", "12d43", "12D43", "77 123", "77, 123", "0x4d, 0x7b", "4d7b"} {
		require.NotContains(t, log.String(), secret)
	}
}
