package federated

import (
	"bytes"
	"encoding/json"
	"math"
	"math/big"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/larder-dp/larder/dp"
)

func sampleQuery(t testing.TB) Query {
	q := question([]NodeID{"a", "b"}, []string{"milk", "bread"})
	q.Window = Window{From: time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)}
	q.Select = dp.Params{Epsilon: 1, Delta: 1e-6, Mechanism: dp.Auto}
	return must(NetDemand(q))(t)
}

// The digest is part of the wire format: this one was computed by hand, with
// sha256sum over the JSON below.
func TestQueryFormat(t *testing.T) {
	q := must(MemberCount(Question{
		Stores: []NodeID{"s2", "s1"}, Partitions: []string{"b", "a"}, Unit: UnitMember,
		Trust: TrustedCoordinator, Epoch: "e1", Bounds: dp.Bounds{L0: 1, LInf: 1, L1: 1, MaxNodes: 2},
		Window:  Window{To: time.Date(2026, 3, 9, 0, 0, 0, 0, time.FixedZone("", 3600))},
		Privacy: dp.Params{Epsilon: 0.5, Mechanism: dp.DiscreteLaplace}, Quorum: 2, Round: 3,
	}))(t)
	require.Equal(t, `{"name":"member_count","version":1,"params":null,"from":"memberships","unit":"member",`+
		`"trust":"trusted_coordinator","cells":"store","stores":["s1","s2"],"partitions":["a","b"],"epoch":"e1",`+
		`"window":{"to":"2026-03-08T23:00:00Z"},"bounds":{"l0":1,"linf":1,"l1":1,"max_nodes":2},`+
		`"privacy":{"epsilon":0.5,"delta":0,"mechanism":"discrete_laplace"},"select":null,"quorum":2}`, string(q.raw))
	require.Equal(t, "58d9d998cb640579e787e4b86b7fa41f13ed82dd89a604abc986a3c05ba7c6da", q.Digest().String())
	require.Equal(t, "member_count/1", q.Name())
}

// Equal questions have equal digests, however they are written down, and the
// round is not part of them.
func TestDigestSeesTheQuestionOnly(t *testing.T) {
	q := sampleQuery(t)
	other := q.Question()
	other.Stores = []NodeID{"b", "a"}
	other.Round = 9
	require.Equal(t, q.Digest(), must(NetDemand(other))(t).Digest())
	for name, change := range map[string]func(*Question){
		"stores":     func(q *Question) { q.Stores = append(q.Stores, "c") },
		"partitions": func(q *Question) { q.Partitions = q.Partitions[1:] },
		"from":       func(q *Question) { q.From, q.Unit = Sales, UnitSale },
		"unit":       func(q *Question) { q.Unit = UnitMember },
		"epoch":      func(q *Question) { q.Epoch = "f" },
		"window":     func(q *Question) { q.Window = Window{} },
		"bounds":     func(q *Question) { q.Bounds.L1-- },
		"epsilon":    func(q *Question) { q.Privacy.Epsilon = 2 },
		"delta":      func(q *Question) { q.Privacy.Delta = 0 },
		"mechanism":  func(q *Question) { q.Privacy.Mechanism = dp.Laplace },
		"cells":      func(q *Question) { q.Cells = Chain },
		"select":     func(q *Question) { q.Select.Epsilon = 2 },
		"quorum":     func(q *Question) { q.Quorum = 2 },
	} {
		changed := q.Question()
		change(&changed)
		require.NotEqual(t, q.Digest(), must(NetDemand(changed))(t).Digest(), name)
	}
}

func TestQuestionsThatAreRefused(t *testing.T) {
	for _, c := range []struct {
		reason string
		change func(*Question)
	}{
		{"no stores", func(q *Question) { q.Stores = nil }},
		{"a store twice", func(q *Question) { q.Stores = []NodeID{"a", "a"} }},
		{"the store that means the chain", func(q *Question) { q.Stores = []NodeID{"*"} }},
		{"a store with a space", func(q *Question) { q.Stores = []NodeID{"a b"} }},
		{"no partitions", func(q *Question) { q.Partitions = nil }},
		{"an empty partition", func(q *Question) { q.Partitions = []string{""} }},
		{"a partition that is no UTF-8", func(q *Question) { q.Partitions = []string{"\xff"} }},
		{"a partition twice", func(q *Question) { q.Partitions = []string{"a", "a"} }},
		{"no unit", func(q *Question) { q.Unit = "" }},
		{"a unit that lists do not have", func(q *Question) { q.Unit = UnitSale }},
		{"a kind that nobody knows", func(q *Question) { q.From = "receipts" }},
		{"a unit of one store that claims two", func(q *Question) { q.Unit = UnitMemberAtNode; q.Bounds.MaxNodes = 2 }},
		{"no trust model", func(q *Question) { q.Trust = "" }},
		{"no epoch", func(q *Question) { q.Epoch = "" }},
		{"an epoch with a line break", func(q *Question) { q.Epoch = "a\nb" }},
		{"a window of no time", func(q *Question) { q.Window = Window{time.Unix(9, 0), time.Unix(9, 0)} }},
		{"no bounds", func(q *Question) { q.Bounds = dp.Bounds{} }},
		{"no privacy", func(q *Question) { q.Privacy = dp.Params{} }},
		{"ε that is no number", func(q *Question) { q.Privacy.Epsilon = math.NaN() }},
		{"ε without end", func(q *Question) { q.Privacy.Epsilon = math.Inf(1) }},
		{"δ of 1", func(q *Question) { q.Privacy.Delta = 1 }},
		{"Google's Gaussian where it would hang", func(q *Question) { q.Privacy = dp.Params{Epsilon: 1e6, Delta: 1e-9, Mechanism: dp.Gaussian} }},
		{"a selection without δ", func(q *Question) { q.Select = dp.Params{Epsilon: 1, Mechanism: dp.Auto} }},
		{"no quorum", func(q *Question) { q.Quorum = 0 }},
		{"a quorum of more than all", func(q *Question) { q.Quorum = 3 }},
		{"a negative round", func(q *Question) { q.Round = -1 }},
	} {
		question := question([]NodeID{"a", "b"}, []string{"milk"})
		c.change(&question)
		q, err := NetDemand(question)
		assert.Error(t, err, c.reason)
		assert.Nil(t, q.query, c.reason)
	}
}

func FuzzParseQuery(f *testing.F) {
	f.Add([]byte(sampleQuery(f).raw))
	f.Add(bytes.Replace(sampleQuery(f).raw, []byte(`"quorum":1`), []byte(`"quorum":1.0`), 1))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		q, err := ParseQuery(b)
		if err != nil {
			require.Nil(t, q.query)
			return
		}
		require.Equal(t, b, []byte(must(q.MarshalJSON())(t)))
		body := ask{q, [16]byte{1, 2}}.encode()
		again, err := parseAsk(body)
		require.NoError(t, err)
		require.Equal(t, body, again.encode())
	})
}

func FuzzParseReport(f *testing.F) {
	r := report{node: "a", digest: Digest{7}, epoch: "e", round: 1, amounts: []int64{1, -2}, units: []int64{1, 2}, inventory: []int64{math.MinInt64, math.MaxInt64}}
	f.Add(r.encode())
	r.units, r.inventory, r.amounts = nil, nil, []int64{}
	f.Add(r.encode())
	f.Add([]byte(reportMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := parseReport(b)
		if err != nil {
			require.Equal(t, report{}, r)
			return
		}
		require.Equal(t, b, r.encode())
	})
}

func FuzzParseRefusal(f *testing.F) {
	f.Add((&refusal{"a", "rule", "much", "less"}).encode())
	f.Add([]byte(refusalMagic + "{}"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := parseRefusal(b, "a")
		if err != nil {
			require.Nil(t, r)
			return
		}
		require.Equal(t, NodeID("a"), r.Node)
		again, err := parseRefusal(r.encode(), "a")
		require.NoError(t, err)
		require.Equal(t, r, again)
	})
}

// Reports survive the wire whatever they hold.
func TestReportRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		vector := func(n int) []int64 {
			return rapid.SliceOfN(rapid.Int64(), n, n).Draw(t, "vector")
		}
		n := rapid.IntRange(0, 9).Draw(t, "partitions")
		r := report{
			node:   NodeID(rapid.StringOfN(rapid.RuneFrom([]rune("abc1-")), 1, 64, 64).Draw(t, "node")),
			digest: Digest(rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "digest")),
			epoch:  rapid.StringN(1, 128, 128).Draw(t, "epoch"), round: rapid.Int64Min(1).Draw(t, "round"),
			amounts: vector(n),
		}
		if rapid.Bool().Draw(t, "units") {
			r.units = vector(n)
		}
		if rapid.Bool().Draw(t, "inventory") {
			r.inventory = vector(n)
		}
		again, err := parseReport(r.encode())
		require.NoError(t, err)
		require.Equal(t, r, again)
	})
}

// A report must be about this query, from its sender, and in range.
func TestReportFits(t *testing.T) {
	q := sampleQuery(t)
	good := report{node: "a", digest: q.digest, epoch: "e", round: 1, amounts: []int64{0, 1<<62 - 1}, units: []int64{0, 1}}
	require.True(t, good.fits(q, "a"))
	for reason, change := range map[string]func(*report){
		"other query":      func(r *report) { r.digest[0]++ },
		"other epoch":      func(r *report) { r.epoch = "f" },
		"other round":      func(r *report) { r.round = 2 },
		"other node":       func(r *report) { r.node = "b" },
		"too short":        func(r *report) { r.amounts = r.amounts[1:] },
		"negative amount":  func(r *report) { r.amounts = []int64{0, -1} },
		"amount too large": func(r *report) { r.amounts = []int64{0, 1 << 62} },
		"no units":         func(r *report) { r.units = nil },
		"negative units":   func(r *report) { r.units = []int64{-1, 0} },
		"inventory range":  func(r *report) { r.inventory = []int64{0, math.MinInt64} },
	} {
		bad := good
		change(&bad)
		require.False(t, bad.fits(q, "a"), reason)
	}
	stranger := good
	stranger.node = "z"
	require.False(t, stranger.fits(q, "z"), "not asked")
}

func TestDigestText(t *testing.T) {
	d := sampleQuery(t).Digest()
	var again Digest
	require.NoError(t, json.Unmarshal(must(json.Marshal(d))(t), &again))
	require.Equal(t, d, again)
	for _, bad := range []string{`"12"`, `"` + "zz" + d.String()[2:] + `"`} {
		require.Error(t, json.Unmarshal([]byte(bad), &again))
	}
}

func TestAddUpRoundsUpAndOnlyThen(t *testing.T) {
	require.Equal(t, 0.75, addUp(0.5, 0.25))
	require.Equal(t, 1.0, addUp(1, 0))
	rapid.Check(t, func(t *rapid.T) {
		a, b := rapid.Float64Range(0, 100).Draw(t, "a"), rapid.Float64Range(0, 1e-3).Draw(t, "b")
		exact := new(big.Float).SetPrec(2200).Add(big.NewFloat(a), big.NewFloat(b))
		sum := big.NewFloat(addUp(a, b))
		require.GreaterOrEqual(t, sum.Cmp(exact), 0)
		below := big.NewFloat(math.Nextafter(addUp(a, b), 0))
		require.True(t, addUp(a, b) == 0 || below.Cmp(exact) < 0)
	})
}
