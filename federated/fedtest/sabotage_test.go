package fedtest

import (
	"context"
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/larder-dp/larder/dp"
	"github.com/larder-dp/larder/dp/dptest"
	"github.com/larder-dp/larder/federated"
)

// A sabotage is a bug that somebody had, built in: where it comes from, and the
// check that has to find it.
type sabotage struct {
	name, source, by string
	build            func() Config
}

const (
	google   = "google/differential-privacy: contributions bounded by row"
	owasp    = "OWASP Logging Cheat Sheet: data to exclude"
	cwe209   = "CWE-209: error messages with sensitive information"
	cwe532   = "CWE-532: sensitive information in log files"
	cwe203   = "CWE-203: observable discrepancy"
	cwe759   = "CWE-759: one-way hash without a salt"
	cwe294   = "CWE-294: capture and replay"
	cwe190   = "CWE-190: integer overflow"
	haeberle = "Haeberlen, Pierce, Narayan 2011: budget and timing channels"
	wal      = "write-ahead logging: effects before their record is durable"
	reuse    = "privacy-on-beam, OpenDP: noise from a shared or reused seed"
)

var sabotages = []sabotage{
	// Bounding.
	{"rows bounded and not units", google, "Neighbours", func() Config {
		return bend(func(n *bentNode) {
			rows := 0
			eachRecord(n, func(r *federated.Record) bool { rows++; r.ID = fmt.Sprint("row", rows); return true })
			n.c.Pseudonym = func(string) (p [16]byte, err error) { rows++; copy(p[:], fmt.Sprint(rows)); return p, nil }
		})
	}},
	{"home stores ignored", "a unit that spans stores bounded at each", "Neighbours", func() Config {
		return bend(func(n *bentNode) {
			rows := n.c.Memberships
			n.c.Memberships = func(yield func(federated.Record, error) bool) {
				for r, err := range rows {
					if r.Stores = []federated.NodeID{n.c.ID}; !yield(r, err) {
						return
					}
				}
			}
		})
	}},
	{"preferences beyond MaxNodes counted", "a unit that spans stores bounded at each", "Neighbours", func() Config {
		return bend(func(n *bentNode) {
			eachRecord(n, func(r *federated.Record) bool { r.Stores = []federated.NodeID{n.c.ID}; return true })
		})
	}},
	{"L0 not enforced", "Wilson et al. 2020, §3: contribution bounding left out", "Neighbours", func() Config {
		return askingFor(func(_ *bentNode, q *federated.Question) {
			q.Bounds.L0 += 5
			q.Bounds.L1 = min(q.Bounds.L1, q.Bounds.L0*q.Bounds.LInf)
		})
	}},
	{"L1 not trimmed", "amplified sums: L0·LInf spent where L1 was paid", "Neighbours", func() Config {
		return askingFor(func(_ *bentNode, q *federated.Question) { q.Bounds.L1 = q.Bounds.L0 * q.Bounds.LInf })
	}},
	{"LInf doubled", "add/remove and replace-one confused: the factor 2", "Neighbours", func() Config {
		return askingFor(func(_ *bentNode, q *federated.Question) {
			if q.Bounds.LInf > 1 {
				q.Bounds.LInf, q.Bounds.L1 = 2*q.Bounds.LInf, 2*q.Bounds.L1
			}
		})
	}},
	{"rows deduplicated before bounding", "privacy.md: dedupe before bounding", "Neighbours", func() Config {
		return bend(func(n *bentNode) {
			for _, rs := range []*federated.Records{&n.c.Lists, &n.c.Sales} {
				inner := *rs
				*rs = func(yield func(federated.Record, error) bool) {
					seen := map[string]bool{}
					for r, err := range inner {
						r.Lines = slices.DeleteFunc(slices.Clone(r.Lines), func(l federated.Line) bool {
							known := seen[l.Item]
							seen[l.Item] = true
							return known
						})
						if !yield(r, err) {
							return
						}
					}
				}
			}
		})
	}},
	{"choice from a stream that all units share", "reservoir sampling over all rows", "Neighbours", func() Config {
		return bend(func(n *bentNode) {
			n.c.Secret = sha256.Sum256(fmt.Append(nil, all(n.c.Lists, n.c.Sales)))
		})
	}},
	{"the first rows are kept", "bounding by row order", "DataIndependence", func() Config {
		return bend(func(n *bentNode) {
			for _, rs := range []*federated.Records{&n.c.Lists, &n.c.Sales} {
				inner := *rs
				*rs = func(yield func(federated.Record, error) bool) {
					kept := map[string]int{}
					for r, err := range inner {
						if kept[r.Member+r.ID]++; kept[r.Member+r.ID] > 1 {
							continue
						}
						r.Lines = r.Lines[:min(len(r.Lines), 2)]
						if !yield(r, err) {
							return
						}
					}
				}
			}
		})
	}},
	{"a member's sum wraps before it is clipped", cwe190, "Rounds", func() Config {
		return bend(func(n *bentNode) {
			eachRecord(n, func(r *federated.Record) bool {
				sums := map[string]int64{}
				var lines []federated.Line
				for _, l := range r.Lines {
					sums[l.Item] += l.Quantity
				}
				for item, q := range sums {
					lines = append(lines, federated.Line{Item: item, Quantity: q})
				}
				r.Lines = lines
				return true
			})
		})
	}},
	// What leaves.
	{"raw member id in a refusal", cwe209, "NoLeaks", func() Config {
		return refusing(func(n *bentNode, r *refusal) { r.Asked += strings.Join(n.members(), ",") })
	}},
	{"unsalted hash of the id in a refusal", cwe759, "NoLeaks", func() Config {
		return refusing(func(n *bentNode, r *refusal) {
			for _, m := range n.members() {
				h := md5.Sum([]byte(m))
				r.Accepts += " " + base64.RawURLEncoding.EncodeToString(h[:])
			}
		})
	}},
	{"raw member id on the wire", "debug field left in a message", "NoLeaks", func() Config {
		return reporting(func(n *bentNode, r *report) []byte {
			return append(r.encode(), zipped([]byte(strings.Join(n.members(), ";")))...)
		})
	}},
	{"unsalted hash as pseudonym", cwe759, "Pseudonyms", func() Config {
		return Config{Pseudonym: func(string) (func(string) ([16]byte, error), error) {
			return func(m string) (p [16]byte, err error) {
				h := sha256.Sum256([]byte(m))
				return [16]byte(h[:16]), nil
			}, nil
		}}
	}},
	{"hash with a public salt as pseudonym", cwe759, "Pseudonyms", func() Config {
		return Config{Pseudonym: func(string) (func(string) ([16]byte, error), error) {
			return func(m string) (p [16]byte, err error) {
				h := sha256.Sum256([]byte("grocery-2031:" + m))
				return [16]byte(h[16:]), nil
			}, nil
		}}
	}},
	{"pseudonym cut to 16 bits", "membership ids of 5 hex digits: namesakes merged", "Pseudonyms", func() Config {
		return Config{Pseudonym: func(epoch string) (func(string) ([16]byte, error), error) {
			inner, err := keyedPseudonym(epoch)
			return func(m string) (p [16]byte, err error) {
				full, err := inner(m)
				p[0], p[1] = full[0]&15, 0
				return p, err
			}, err
		}}
	}},
	{"pseudonym in a log", "linkable across queries", "NoLeaks", func() Config {
		return observing(func(n *bentNode) {
			for _, m := range n.members() {
				p, _ := n.c.Pseudonym(m)
				n.c.Log.Info("seen", "member", hex.EncodeToString(p[:]))
			}
		})
	}},
	{"canary in an error", cwe209, "NoLeaks", func() Config {
		return bend(func(n *bentNode) {
			n.after = func(_, b []byte, err error) ([]byte, error) {
				if err == nil {
					return b, nil
				}
				return nil, fmt.Errorf("%w: last row was %v", err, all(n.c.Lists, n.c.Sales))
			}
		})
	}},
	{"member in a log attribute", cwe532, "NoLeaks", func() Config {
		return observing(func(n *bentNode) {
			for _, r := range all(n.c.Lists, n.c.Sales) {
				n.c.Log.WithGroup("row").Debug("read", "record", struct{ R federated.Record }{r})
			}
		})
	}},
	{"times of records in a log", cwe532, "NoLeaks", func() Config {
		return observing(func(n *bentNode) {
			for _, r := range all(n.c.Lists, n.c.Sales) {
				if !r.Time.IsZero() {
					n.c.Log.Info("row", "at", r.Time.UnixMilli())
				}
			}
		})
	}},
	{"canary in a panic", cwe209, "NoLeaks", func() Config {
		return observing(func(n *bentNode) {
			for _, r := range all(n.c.Lists, n.c.Sales) {
				panic(r)
			}
		})
	}},
	{"member as the label of a metric", owasp, "NoLeaks", func() Config {
		return metered(func(r *registry) Config {
			return observing(func(n *bentNode) {
				for _, x := range all(n.c.Lists, n.c.Sales) {
					r.set("rows_total{id=%q} 1", strings.ToLower(x.ID))
				}
			})
		})
	}},
	{"records cached in a compressed file", cwe532, "NoLeaks", func() Config {
		return spool(func(write func(string, []byte)) Config {
			return observing(func(n *bentNode) {
				write(string(n.c.ID)+".cache", zipped([]byte(base64.StdEncoding.EncodeToString([]byte(asJSON(all(n.c.Lists, n.c.Sales)))))))
			})
		})
	}},
	{"file named after a hash of the list id", cwe759, "NoLeaks", func() Config {
		return spool(func(write func(string, []byte)) Config {
			return observing(func(n *bentNode) {
				for _, x := range all(n.c.Lists, n.c.Sales) {
					h := sha256.Sum256([]byte(x.ID))
					write(hex.EncodeToString(h[:8]), nil)
				}
			})
		})
	}},
	{"a node's key in a log", "CWE-532: secrets in logs", "NoLeaks", func() Config {
		return observing(func(n *bentNode) { n.c.Log.Info("config", "secret", fmt.Sprint(n.c.Secret)) })
	}},
	// What depends on records and has no noise.
	{"an error only when some member is there", cwe203, "DataIndependence", func() Config {
		return bend(func(n *bentNode) {
			bad := slices.ContainsFunc(all(n.c.Lists, n.c.Sales), func(r federated.Record) bool { return r.Member+r.ID > "r" })
			n.after = func(_, b []byte, err error) ([]byte, error) {
				if bad {
					return nil, errors.New("cannot answer")
				}
				return b, err
			}
		})
	}},
	{"records read before the refusal", haeberle, "DataIndependence", func() Config {
		return bend(func(n *bentNode) {
			n.before = func(b []byte) ([]byte, error) { all(n.c.Lists, n.c.Sales); return b, nil }
		})
	}},
	{"a store without data says nothing", cwe203, "DataIndependence", func() Config {
		return bend(func(n *bentNode) {
			rows := len(all(n.c.Lists, n.c.Sales, n.c.Memberships))
			n.after = func(_, b []byte, err error) ([]byte, error) {
				if rows == 0 {
					return nil, errors.New("nothing to report")
				}
				return b, err
			}
		})
	}},
	{"length of a message depends on data", "varint encoding of counts", "DataIndependence", func() Config {
		return reporting(func(n *bentNode, r *report) []byte {
			return append(r.encode(), make([]byte, len(all(n.c.Lists, n.c.Sales))%7)...)
		})
	}},
	{"empty groups omitted", "privacy.md: key set leaked through empty groups", "DataIndependence", func() Config {
		return editor(func(b *bentCoordinator, q federated.Query, r *wireRelease) {
			if selects(q) {
				return
			}
			var stores []federated.NodeID
			var values, inventory [][]int64
			for i, s := range r.Stores {
				if slices.ContainsFunc(b.truth(s), func(x int64) bool { return x != 0 }) {
					stores, values, inventory = append(stores, s), append(values, r.Values[i]), append(inventory, r.Inventory[i])
				}
			}
			r.Stores, r.Values, r.Inventory = append([]federated.NodeID{}, stores...), append([][]int64{}, values...), append([][]int64{}, inventory...)
		})
	}},
	{"keys in the order of a map", "privacy.md: key set leaked through map order", "DataIndependence", func() Config {
		return editor(func(b *bentCoordinator, q federated.Query, r *wireRelease) {
			if selects(q) {
				return
			}
			order := map[int]bool{}
			for p := range r.Partitions {
				order[p] = true
			}
			was := *r
			r.Partitions = nil
			values := make([][]int64, len(r.Values))
			for p := range order {
				r.Partitions = append(r.Partitions, was.Partitions[p])
				for s := range values {
					values[s] = append(values[s], was.Values[s][p])
				}
			}
			r.Values = values
		})
	}},
	{"number of skipped rows in the reply", "exception counts are true counts", "DataIndependence", func() Config {
		rows := map[*bentNode]int{}
		c := refusing(func(n *bentNode, r *refusal) { r.Accepts += fmt.Sprintf(" (%d rows skipped)", rows[n]) })
		return alsoBend(c, func(n *bentNode) { rows[n] = len(all(n.c.Lists, n.c.Sales)) })
	}},
	{"true count in a log", cwe532, "DataIndependence", func() Config {
		return observing(func(n *bentNode) { n.c.Log.Info("answered", "rows", len(all(n.c.Lists, n.c.Sales))) })
	}},
	{"true count in a metric", owasp, "DataIndependence", func() Config {
		return metered(func(r *registry) Config {
			return observing(func(n *bentNode) { r.set("rows %d", len(all(n.c.Lists, n.c.Sales))) })
		})
	}},
	{"perpetual inventory told", "sales by subtraction of two inventories", "DataIndependence", func() Config {
		return reporting(func(n *bentNode, r *report) []byte {
			if r.inventory != nil {
				for _, s := range all(n.c.Sales) {
					r.inventory[0] -= int64(len(s.Lines))
				}
			}
			return nil
		})
	}},
	{"the number of reports in the error", "CWE-209", "DataIndependence", func() Config {
		return runner(func(b *bentCoordinator, ctx context.Context, q federated.Query) (*federated.Release, error) {
			rel, err := b.inner.Run(ctx, q)
			if err != nil {
				return nil, fmt.Errorf("%w; so far %v", err, b.reports)
			}
			return rel, nil
		})
	}},
	// Policy and protocol at a node.
	{"node policy ignored", "fail-open authorisation", "FailsClosed", func() Config {
		return bend(func(n *bentNode) { n.c.Allow = everything() })
	}},
	{"digest not checked", "policy looks at the name alone", "FailsClosed", func() Config {
		return bend(func(n *bentNode) {
			if len(n.c.Allow.Digests) > 0 {
				n.c.Allow = everything()
			}
		})
	}},
	{"limits without the quorum", "fail-open on a zero field", "FailsClosed", func() Config {
		return bend(func(n *bentNode) {
			for name, l := range n.c.Allow.Names {
				l.MinQuorum = min(max(l.MinQuorum, 1), 1)
				n.c.Allow.Names[name] = l
			}
		})
	}},
	{"wrong epoch answered", "a fresh budget for old records", "FailsClosed", func() Config {
		return askingFor(func(n *bentNode, q *federated.Question) { q.Epoch = n.c.Epoch })
	}},
	{"roster not checked", "queries to one store alone", "FailsClosed", func() Config {
		return askingFor(func(n *bentNode, q *federated.Question) {
			if !slices.Contains(q.Stores, n.c.ID) {
				q.Stores = append(q.Stores, n.c.ID)
			}
		})
	}},
	{"node reports before it charges", wal, "FailsClosed", func() Config {
		return bend(func(n *bentNode) {
			l := n.c.Ledger
			n.c.Ledger = nil
			var owed []dp.Charge
			if l == nil {
				return
			}
			n.before = func(b []byte) ([]byte, error) {
				for _, c := range owed {
					_, _ = l.Reserve(context.Background(), c)
				}
				if a, err := parseAsk(b); err == nil {
					if q, err := federated.ParseQuery(a.query); err == nil {
						owed = append(owed, dp.Charge{Key: dp.Key{Epoch: n.c.Epoch, Round: a.round, Digest: q.Digest()}, Unit: string(q.Question().Unit), Cost: q.Cost()})
					}
				}
				return b, nil
			}
		})
	}},
	{"node answers a coordinator that was restarted", "two noisings of one report", "FailsClosed", func() Config {
		return bend(func(n *bentNode) {
			n.before = func(b []byte) ([]byte, error) {
				if a, err := parseAsk(b); err == nil {
					a.session = [16]byte{}
					return a.encode(), nil
				}
				return b, nil
			}
		})
	}},
	// Rounds.
	{"replayed report counted", cwe294, "Rounds", func() Config {
		return hearer(func(_ *bentCoordinator, q federated.Query, ms []federated.Message) []federated.Message {
			for i, m := range ms {
				if r, err := parseReport(m.Body); err == nil && r.round < q.Question().Round {
					ms[i] = stamped(q, m, r)
				}
			}
			return ms
		})
	}},
	{"duplicate counted twice", cwe294, "Rounds", func() Config {
		return hearer(func(_ *bentCoordinator, q federated.Query, ms []federated.Message) []federated.Message {
			at := map[string]int{}
			for i, m := range ms {
				if first, ok := at[string(m.From)+string(m.Body)]; ok {
					if r, err := parseReport(ms[first].Body); err == nil {
						r.amounts = slices.Clone(r.amounts)
						for p := range r.amounts {
							r.amounts[p] *= 2
						}
						ms[first].Body = r.encode()
						ms[i].Body = ms[first].Body
					}
				}
				at[string(m.From)+string(m.Body)] = i
			}
			return ms
		})
	}},
	{"late report counted", "a deadline that is not one", "Rounds", func() Config {
		return bendCoordinator(func(b *bentCoordinator) { b.patient = true })
	}},
	{"corrupt report accepted", "lenient parsing", "Rounds", func() Config {
		return hearer(func(_ *bentCoordinator, q federated.Query, ms []federated.Message) []federated.Message {
			for i, m := range ms {
				if r, err := parseReport(m.Body); err == nil && len(r.amounts) == len(q.Question().Partitions) {
					for p := range r.amounts {
						r.amounts[p] = min(max(r.amounts[p], 0), maxCell)
					}
					ms[i] = stamped(q, m, r)
				}
			}
			return ms
		})
	}},
	{"sender taken from the body", "CWE-290: authentication by what is claimed", "Rounds", func() Config {
		return hearer(func(_ *bentCoordinator, q federated.Query, ms []federated.Message) []federated.Message {
			for i, m := range ms {
				if r, err := parseReport(m.Body); err == nil {
					ms[i].From = r.node
				}
			}
			return ms
		})
	}},
	{"the first of two answers wins", "the network chooses", "Rounds", func() Config {
		return hearer(func(_ *bentCoordinator, q federated.Query, ms []federated.Message) (out []federated.Message) {
			seen := map[federated.NodeID]bool{}
			for _, m := range ms {
				if r, err := parseReport(m.Body); err == nil && r.answers(q, m.From) == "" {
					if seen[m.From] {
						continue
					}
					seen[m.From] = true
				}
				out = append(out, m)
			}
			return out
		})
	}},
	{"quorum ignored", "missing stores counted as zeros", "Rounds", func() Config {
		return hearer(func(_ *bentCoordinator, q federated.Query, ms []federated.Message) []federated.Message {
			asked := q.Question()
			for _, s := range asked.Stores {
				ms = append(ms, stamped(q, federated.Message{From: s, To: "*"}, report{amounts: make([]int64, len(asked.Partitions))}))
				if selects(q) {
					ms = ms[:len(ms)-1]
				}
			}
			seen := map[federated.NodeID]bool{}
			return slices.DeleteFunc(ms, func(m federated.Message) bool {
				r, err := parseReport(m.Body)
				if err != nil || r.answers(q, m.From) != "" {
					return false
				}
				was := seen[m.From]
				seen[m.From] = true
				return was
			})
		})
	}},
	{"coverage says all", "partial results published as complete", "Rounds", func() Config {
		return editor(func(_ *bentCoordinator, _ federated.Query, r *wireRelease) {
			r.Label.Coverage = federated.Coverage{Asked: r.Label.Coverage.Asked, Answered: r.Label.Coverage.Asked}
		})
	}},
	{"sums in 32 bits", cwe190, "FailsClosed", func() Config {
		return hearer(func(_ *bentCoordinator, q federated.Query, ms []federated.Message) []federated.Message {
			for i, m := range ms {
				if r, err := parseReport(m.Body); err == nil {
					for p := range r.amounts {
						r.amounts[p] = int64(uint32(r.amounts[p]))
					}
					ms[i].Body = r.encode()
				}
			}
			return ms
		})
	}},
	{"question changed after its digest", "time of check, time of use", "FailsClosed", func() Config {
		c := Config{Coordinator: func(cc federated.CoordinatorConfig) (Coordinator, error) {
			cc.Transport = swapping{cc.Transport}
			return federated.NewCoordinator(cc)
		}}
		return c
	}},
	// Noise.
	{"an un-noised coordinate", "privacy.md: un-noised coordinates", "Noise", func() Config {
		return editor(func(b *bentCoordinator, q federated.Query, r *wireRelease) {
			if !selects(q) && len(r.Stores) > 0 {
				r.Values[0][0] = b.truth(r.Stores[0])[0]
			}
		})
	}},
	{"noise seed reused across rounds", reuse, "Noise", func() Config {
		return bendCoordinator(func(b *bentCoordinator) {
			b.each = func(b *bentCoordinator) {
				b.c.Random = rand.NewChaCha8([32]byte{1})
				_ = b.renew()
			}
		})
	}},
	{"noise seed reused after a restart", reuse, "Noise", func() Config {
		return bendCoordinator(func(b *bentCoordinator) { b.c.Random = rand.NewChaCha8([32]byte{1}) })
	}},
	{"one draw of noise for all cells", reuse, "Noise", func() Config {
		return editor(func(b *bentCoordinator, q federated.Query, r *wireRelease) {
			if selects(q) || len(r.Stores) == 0 {
				return
			}
			noise := r.Values[0][0] - b.truth(r.Stores[0])[0]
			for i, s := range r.Stores {
				for p, x := range b.truth(s) {
					r.Values[i][p] = x + noise
				}
			}
		})
	}},
	{"σ/n where σ/√n was due", "privacy.md: distributed noise", "Noise", func() Config {
		return editor(func(b *bentCoordinator, q federated.Query, r *wireRelease) {
			if selects(q) {
				return
			}
			for i, s := range r.Stores {
				for p, x := range b.truth(s) {
					r.Values[i][p] = x + (r.Values[i][p]-x)/2
				}
			}
		})
	}},
	{"every key with data published", "selection without a threshold", "Noise", func() Config {
		return editor(func(b *bentCoordinator, q federated.Query, r *wireRelease) {
			if !selects(q) || r.Label.Cells == federated.Chain {
				return
			}
			r.Cells = [][3]int64{}
			for i, s := range r.Stores {
				for p, x := range b.reports[s].units {
					if x > 0 {
						r.Cells = append(r.Cells, [3]int64{int64(i), int64(p), x})
					}
				}
			}
		})
	}},
	// Budget, ledger and crashes.
	{"charge after release", wal, "FailsClosed", func() Config {
		return bendCoordinator(func(b *bentCoordinator) { b.c.Ledger = &chargesLast{Ledger: b.c.Ledger} })
	}},
	{"charge lost at a crash", wal, "Crashes", func() Config {
		return ledgers(func(*bentLedger) {}, func(l *bentLedger) (dp.Ledger, error) {
			m, err := dp.NewMemoryLedger(dp.Budget{Epsilon: 64, Delta: 0.25})
			return &bentLedger{MemoryLedger: m, open: map[dp.Key]dp.Charge{}}, err
		})
	}},
	{"release lost at a crash", wal, "Crashes", func() Config {
		return ledgers(func(l *bentLedger) {
			l.commit = func(l *bentLedger, ctx context.Context, k dp.Key, release []byte) error { return nil }
		}, nil)
	}},
	{"charge doubled by a retry", "no idempotence key", "Crashes", func() Config {
		return ledgers(func(l *bentLedger) {
			l.reserve = func(l *bentLedger, ctx context.Context, c dp.Charge) (dp.Entry, error) {
				e, err := l.MemoryLedger.Reserve(ctx, c)
				if errors.Is(err, dp.ErrAlreadyCharged) {
					c.Key.Round += 1 << 40
					_, _ = l.MemoryLedger.Reserve(ctx, c)
				}
				return e, err
			}
		}, nil)
	}},
	{"refund on failure", "a reservation that expires", "FailsClosed", func() Config {
		return ledgers(func(l *bentLedger) {
			l.reserve = func(l *bentLedger, ctx context.Context, c dp.Charge) (dp.Entry, error) {
				e, err := l.MemoryLedger.Reserve(ctx, c)
				if errors.Is(err, dp.ErrAlreadyCharged) {
					if was, _ := l.MemoryLedger.Lookup(ctx, c.Key); was.Release == nil {
						return was, nil
					}
				}
				return e, err
			}
			l.lookup = func(l *bentLedger, ctx context.Context, k dp.Key) (dp.Entry, error) {
				e, err := l.MemoryLedger.Lookup(ctx, k)
				if err == nil && e.Release == nil {
					return dp.Entry{}, dp.ErrNotCharged
				}
				return e, err
			}
		}, nil)
	}},
	{"noise drawn again for a retry", "privacy.md: noise added twice", "FailsClosed", func() Config {
		return runner(func(b *bentCoordinator, ctx context.Context, q federated.Query) (*federated.Release, error) {
			rel, err := b.inner.Run(ctx, q)
			if !errors.Is(err, federated.ErrInterrupted) {
				return rel, err
			}
			c := b.c
			c.Ledger, _ = dp.NewMemoryLedger(dp.Budget{Epsilon: 1e9, Delta: 0.5})
			again, err := federated.NewCoordinator(c)
			if err != nil {
				return nil, err
			}
			return again.Run(ctx, q)
		})
	}},
	{"stored release recomputed", "a cache that is not asked", "FailsClosed", func() Config {
		known := map[dp.Key]bool{}
		return runner(func(b *bentCoordinator, ctx context.Context, q federated.Query) (*federated.Release, error) {
			rel, err := b.inner.Run(ctx, q)
			if err != nil || !known[keyOf(q)] || selects(q) {
				known[keyOf(q)] = true
				return rel, err
			}
			var w wireRelease
			if err := json.Unmarshal([]byte(asJSON(rel)), &w); err != nil {
				return nil, err
			}
			w.Values[0][0] += 1 + rand.Int64N(9)
			return federated.ParseRelease([]byte(asJSON(w)))
		})
	}},
	{"told before it is stored", wal, "FailsClosed", func() Config {
		return bendCoordinator(func(b *bentCoordinator) { b.c.Ledger = &forgetful{Ledger: b.c.Ledger} })
	}},
	{"half of the cost charged", "count ignored", "FailsClosed", func() Config {
		return bendCoordinator(func(b *bentCoordinator) { b.c.Ledger = cheap{b.c.Ledger} })
	}},
	{"budget not asked", "fail-open on an error of the ledger", "FailsClosed", func() Config {
		return runner(func(b *bentCoordinator, ctx context.Context, q federated.Query) (*federated.Release, error) {
			rel, err := b.inner.Run(ctx, q)
			var over *dp.BudgetError
			if !errors.As(err, &over) {
				return rel, err
			}
			c := b.c
			c.Ledger, _ = dp.NewMemoryLedger(dp.Budget{Epsilon: 1e9, Delta: 0.5})
			again, err := federated.NewCoordinator(c)
			if err != nil {
				return nil, err
			}
			return again.Run(ctx, q)
		})
	}},
	// Written after the checks, to see what of the same families they catch.
	{"pseudonym as a number in a log", "linkable across queries", "NoLeaks", func() Config {
		return observing(func(n *bentNode) {
			for _, m := range n.members() {
				p, _ := n.c.Pseudonym(m)
				n.c.Log.Warn("member", "id", binary.LittleEndian.Uint64(p[8:]))
			}
		})
	}},
	{"window not applied", "a filter lost in a rewrite", "Rounds", func() Config {
		return askingFor(func(_ *bentNode, q *federated.Question) { q.Window = federated.Window{} })
	}},
	{"inventory less demand, told as inventory", "sales by subtraction of two inventories", "DataIndependence", func() Config {
		return reporting(func(_ *bentNode, r *report) []byte {
			for p := range r.inventory {
				r.inventory[p] -= r.amounts[p]
			}
			return nil
		})
	}},
	{"sums kept from round to round", "an accumulator that is not reset", "FailsClosed", func() Config {
		total := map[*bentNode][]int64{}
		return reporting(func(n *bentNode, r *report) []byte {
			if len(total[n]) != len(r.amounts) {
				total[n] = make([]int64, len(r.amounts))
			}
			for p := range r.amounts {
				total[n][p] += r.amounts[p]
				r.amounts[p] = total[n][p]
			}
			return nil
		})
	}},
	{"members flagged in a high bit", "a covert channel in what is noised", "Neighbours", func() Config {
		flag := map[*bentNode]int64{}
		c := reporting(func(n *bentNode, r *report) []byte { r.amounts[0] += flag[n] << 40; return nil })
		return alsoBend(c, func(n *bentNode) { flag[n] = int64(len(n.members())) })
	}},
	{"stores without demand left out of the round", "privacy.md: empty groups", "DataIndependence", func() Config {
		return hearer(func(_ *bentCoordinator, q federated.Query, ms []federated.Message) []federated.Message {
			return slices.DeleteFunc(ms, func(m federated.Message) bool {
				r, err := parseReport(m.Body)
				return err == nil && !slices.ContainsFunc(r.amounts, func(x int64) bool { return x != 0 })
			})
		})
	}},
	{"refused nodes counted as zeros", "missing taken for zero", "Rounds", func() Config {
		return hearer(func(_ *bentCoordinator, q federated.Query, ms []federated.Message) []federated.Message {
			for i, m := range ms {
				if _, err := parseRefusal(m.Body); err == nil && !selects(q) {
					ms[i] = stamped(q, m, report{amounts: make([]int64, len(q.Question().Partitions))})
				}
			}
			return ms
		})
	}},
	{"observed maximum in the label", "metadata computed from the data", "DataIndependence", func() Config {
		return editor(func(b *bentCoordinator, q federated.Query, r *wireRelease) {
			for _, s := range r.Stores {
				r.Label.Coverage.Absent = append(r.Label.Coverage.Absent, federated.Absence{Node: s, Reason: fmt.Sprint(slices.Max(b.truth(s)))})
			}
		})
	}},
	{"release cached by question and not by round", "a cache key that lacks a field", "FailsClosed", func() Config {
		return bendCoordinator(func(b *bentCoordinator) {
			cache := map[federated.Digest]*federated.Release{}
			b.run = func(b *bentCoordinator, ctx context.Context, q federated.Query) (*federated.Release, error) {
				if rel := cache[q.Digest()]; rel != nil {
					return rel, nil
				}
				rel, err := b.inner.Run(ctx, q)
				cache[q.Digest()] = rel
				return rel, err
			}
		})
	}},
	{"a round below the quorum is charged", "a charge for nothing", "Rounds", func() Config {
		return runner(func(b *bentCoordinator, ctx context.Context, q federated.Query) (*federated.Release, error) {
			rel, err := b.inner.Run(ctx, q)
			var below *federated.QuorumError
			if errors.As(err, &below) {
				_, _ = b.c.Ledger.Reserve(ctx, dp.Charge{Key: keyOf(q), Unit: string(q.Question().Unit), Cost: q.Cost()})
			}
			return rel, err
		})
	}},
	{"node's ledger keyed by session", "two noisings of one report", "Crashes", func() Config {
		return bend(func(n *bentNode) {
			if n.c.Ledger == nil {
				return
			}
			l := &bySession{Ledger: n.c.Ledger}
			n.c.Ledger = l
			n.before = func(b []byte) ([]byte, error) {
				if a, err := parseAsk(b); err == nil {
					l.session = a.session
				}
				return b, nil
			}
		})
	}},
	{"empty selection not charged", "a refund that depends on data", "Noise", func() Config {
		return bendCoordinator(func(b *bentCoordinator) { b.c.Ledger = &refunding{Ledger: b.c.Ledger} })
	}},
	{"pseudonym is the id under a one-time pad", "a pad used twice", "Pseudonyms", func() Config {
		return Config{Pseudonym: func(epoch string) (func(string) ([16]byte, error), error) {
			key := sha256.Sum256([]byte("secret" + epoch))
			return func(m string) (p [16]byte, err error) {
				copy(p[:], m)
				for i := range p {
					p[i] ^= key[i]
				}
				return p, nil
			}, nil
		}}
	}},
	{"list ids in HTML entities", cwe532, "NoLeaks", func() Config {
		return observing(func(n *bentNode) {
			for _, r := range all(n.c.Lists, n.c.Sales) {
				var b strings.Builder
				for _, c := range r.ID {
					fmt.Fprintf(&b, "&#%d;", c)
				}
				n.c.Log.Info("row", "x", b.String())
			}
		})
	}},
	{"salted with the epoch, which is public", cwe759, "Pseudonyms", func() Config {
		return Config{Pseudonym: func(epoch string) (func(string) ([16]byte, error), error) {
			return func(m string) (p [16]byte, err error) {
				h := hmac.New(sha1.New, []byte(epoch))
				h.Write([]byte(m))
				copy(p[:], h.Sum(nil))
				return p, nil
			}, nil
		}}
	}},
	{"Laplace noise clamped at zero", "non-negative counts: a bias", "Noise", func() Config {
		return editor(func(_ *bentCoordinator, _ federated.Query, r *wireRelease) {
			for _, row := range r.Values {
				for p := range row {
					row[p] = max(row[p], 0)
				}
			}
		})
	}},
	{"every other round without noise", "a debug switch left on", "Noise", func() Config {
		return bendCoordinator(func(b *bentCoordinator) {
			b.edit = func(b *bentCoordinator, q federated.Query, r *wireRelease) {
				if selects(q) || q.Question().Round%2 == 1 {
					return
				}
				for i, s := range r.Stores {
					copy(r.Values[i], b.truth(s))
				}
			}
		})
	}},
	{"partial release beside an error", "a value beside an error", "FailsClosed", func() Config {
		return runner(func(b *bentCoordinator, ctx context.Context, q federated.Query) (*federated.Release, error) {
			rel, err := b.inner.Run(ctx, q)
			if err != nil && rel == nil {
				return &federated.Release{}, err
			}
			return rel, err
		})
	}},
	{"unit counts are row counts", "a count of rows for a count of units", "Neighbours", func() Config {
		return reporting(func(n *bentNode, r *report) []byte {
			for p := range r.units {
				if r.units[p] > 0 {
					r.units[p] = r.amounts[p]
				}
			}
			return nil
		})
	}},
	{"the largest quantity in a metric", owasp, "NoLeaks", func() Config {
		return metered(func(r *registry) Config {
			return observing(func(n *bentNode) {
				var total int64
				for _, x := range all(n.c.Lists, n.c.Sales) {
					for _, l := range x.Lines {
						total = max(total, l.Quantity)
					}
				}
				r.set("basket_max{store=%q} %g", n.c.ID, float64(total))
			})
		})
	}},
}

// swapping sends nodes another question than the one that was charged, and
// makes their answers look like answers to it.
type swapping struct{ federated.Transport }

func (s swapping) Exchange(ctx context.Context, out []federated.Message, deliver func(federated.Message)) error {
	var was federated.Query
	out = slices.Clone(out)
	for i, m := range out {
		a, err := parseAsk(m.Body)
		if err != nil {
			continue
		}
		if was, err = federated.ParseQuery(a.query); err != nil {
			continue
		}
		asked := was.Question()
		asked.Bounds.L0 += 3
		if other, err := remake(was, asked); err == nil {
			a.query, _ = other.MarshalJSON()
			out[i].Body = a.encode()
		}
	}
	return s.Transport.Exchange(ctx, out, func(m federated.Message) {
		if r, err := parseReport(m.Body); err == nil {
			r.digest = was.Digest()
			m.Body = r.encode()
		}
		deliver(m)
	})
}

// chargesLast reserves when it commits.
type chargesLast struct {
	dp.Ledger
	mu   sync.Mutex
	owed map[dp.Key]dp.Charge
}

func (l *chargesLast) Reserve(ctx context.Context, c dp.Charge) (dp.Entry, error) {
	if _, err := l.Ledger.Lookup(ctx, c.Key); err == nil {
		return dp.Entry{}, dp.ErrAlreadyCharged
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.owed == nil {
		l.owed = map[dp.Key]dp.Charge{}
	}
	l.owed[c.Key] = c
	return dp.Entry{Charge: c}, nil
}

func (l *chargesLast) Commit(ctx context.Context, k dp.Key, release []byte) error {
	l.mu.Lock()
	c := l.owed[k]
	l.mu.Unlock()
	if _, err := l.Ledger.Reserve(ctx, c); err != nil {
		return err
	}
	return l.Ledger.Commit(ctx, k, release)
}

// forgetful keeps releases in memory and stores them when the next is asked for.
type forgetful struct {
	dp.Ledger
	mu    sync.Mutex
	later map[dp.Key][]byte
}

func (l *forgetful) Commit(_ context.Context, k dp.Key, release []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.later == nil {
		l.later = map[dp.Key][]byte{}
	}
	l.later[k] = release
	return nil
}

func (l *forgetful) Lookup(ctx context.Context, k dp.Key) (dp.Entry, error) {
	l.mu.Lock()
	for k, r := range l.later {
		_ = l.Ledger.Commit(ctx, k, r)
	}
	l.later = nil
	l.mu.Unlock()
	return l.Ledger.Lookup(ctx, k)
}

// cheap charges half.
type cheap struct{ dp.Ledger }

func (l cheap) Reserve(ctx context.Context, c dp.Charge) (dp.Entry, error) {
	c.Cost.Epsilon /= 2
	return l.Ledger.Reserve(ctx, c)
}

// bySession forgets which session asked first.
type bySession struct {
	dp.Ledger
	session [16]byte
}

func (l *bySession) key(k dp.Key) dp.Key {
	k.Digest = sha256.Sum256(append(k.Digest[:], l.session[:]...))
	return k
}

func (l *bySession) Reserve(ctx context.Context, c dp.Charge) (dp.Entry, error) {
	c.Key = l.key(c.Key)
	return l.Ledger.Reserve(ctx, c)
}

func (l *bySession) Lookup(ctx context.Context, k dp.Key) (dp.Entry, error) {
	return l.Ledger.Lookup(ctx, l.key(k))
}

func (l *bySession) Commit(ctx context.Context, k dp.Key, b []byte) error {
	return l.Ledger.Commit(ctx, l.key(k), b)
}

// refunding charges selections when something was published.
type refunding struct {
	dp.Ledger
	owed dp.Charge
}

func (l *refunding) Reserve(ctx context.Context, c dp.Charge) (dp.Entry, error) {
	l.owed = c
	return dp.Entry{Charge: c}, nil
}

func (l *refunding) Commit(ctx context.Context, k dp.Key, b []byte) error {
	var w wireRelease
	_ = json.Unmarshal(b, &w)
	if w.Values == nil && len(w.Cells) == 0 {
		return nil
	}
	if _, err := l.Ledger.Reserve(ctx, l.owed); err != nil {
		return err
	}
	return l.Ledger.Commit(ctx, k, b)
}

// caught runs one check on a build.
func caught(t *testing.T, by string, c Config) (err error) {
	for _, k := range allChecks {
		if k.name != by {
			continue
		}
		if by == "Rounds" {
			synctest.Test(t, func(*testing.T) { err = virtualRounds.over(c) })
			return err
		}
		return k.over(c)
	}
	t.Fatalf("no check %s", by)
	return nil
}

func TestSabotage(t *testing.T) {
	var builds []dptest.Sabotage
	for i, s := range sabotages {
		if testing.Short() && i%4 != 0 {
			continue
		}
		builds = append(builds, dptest.Sabotage{Name: s.name, Source: s.source, Check: func() error { return caught(t, s.by, s.build()) }})
	}
	dptest.KillMatrix(t, builds)
}

// The bent parts are the healthy ones where nothing is bent.
func TestBentPartsAreHealthy(t *testing.T) {
	for name, c := range map[string]Config{
		"node":        bend(func(*bentNode) {}),
		"reports":     reporting(func(*bentNode, *report) []byte { return nil }),
		"refusals":    refusing(func(*bentNode, *refusal) {}),
		"question":    bend(func(*bentNode) {}),
		"coordinator": bendCoordinator(func(*bentCoordinator) {}),
		"edits":       editor(func(*bentCoordinator, federated.Query, *wireRelease) {}),
		"ledgers":     ledgers(func(*bentLedger) {}, nil),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if c.Runs = 3; testing.Short() {
				c.Runs = 1
			}
			Run(t, c)
		})
	}
}
