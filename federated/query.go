package federated

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/larder-dp/larder/dp"
)

// A Unit is what one release protects: the records that are added or removed
// together in neighbouring datasets. The package doc has the rule of each.
type Unit string

const (
	// UnitMember is one member with everything she does, at her home stores.
	UnitMember Unit = "member"
	// UnitList is one shopping list.
	UnitList Unit = "list"
	// UnitMemberAtNode is one member at one store.
	UnitMemberAtNode Unit = "member_at_node"
	// UnitSale is one sale: the whole basket.
	UnitSale Unit = "sale"
)

// A Trust model says who sees one store's exact sums.
type Trust string

const (
	// TrustedCoordinator lets the coordinator see every node's exact bounded sums
	// (of DistinctMembers, its sketch); it adds the noise, once.
	TrustedCoordinator Trust = "trusted_coordinator"
	// Local lets nobody see them: each node noises its own answer, charges it to its
	// own ledger and keeps it there. For DistinctMembers only.
	Local Trust = "local"
)

// A Kind is a kind of members' records.
type Kind string

const (
	// Lists are shopping lists.
	Lists Kind = "lists"
	// Sales are sales, of members and anonymous ones.
	Sales Kind = "sales"
	// Memberships are the rows of the membership service.
	Memberships Kind = "memberships"
)

// Cells says what a release has one value for.
type Cells string

const (
	// PerStore asks for one value per store and partition. Chain totals are
	// then sums of released cells and cost nothing (Release.Totals).
	PerStore Cells = "store"
	// Chain asks for one value per partition, summed over all stores before
	// the noise.
	Chain Cells = "chain"
)

// A Window is the time that a question is about: From ≤ t < To. The zero
// Window takes every record.
type Window struct {
	From time.Time `json:"from,omitzero"`
	To   time.Time `json:"to,omitzero"`
}

func (w Window) contains(t time.Time) bool {
	return t.IsZero() || (w.From.IsZero() || !t.Before(w.From)) && (w.To.IsZero() || t.Before(w.To))
}

// A Question is what an importer fills in to ask a stock query or one of his
// own. Nothing that matters to privacy has a default.
type Question struct {
	// Stores are the nodes that are asked. Required.
	Stores []NodeID
	// Partitions are the public keys of the answer, fixed before the data:
	// the items of the catalog for net demand, the segments for member count.
	// Required; contributions to other keys are dropped.
	Partitions []string
	// From is the kind of record that is read; empty means Lists for net
	// demand, Memberships for member count.
	From Kind
	// Unit is the privacy unit. Required.
	Unit Unit
	// Trust is the trust model. Required.
	Trust Trust
	// Epoch names the dataset epoch, whose budget is charged. Required, 1 to
	// 128 printable ASCII characters.
	Epoch string
	// Window is the time asked about.
	Window Window
	// Bounds limit one unit's contribution. Required.
	Bounds dp.Bounds
	// Privacy are the privacy parameters of the values. Required.
	Privacy dp.Params
	// Cells says whether values are per store (the zero value) or chain sums.
	Cells Cells
	// Select, if not zero, publishes only the cells that pass a private
	// partition selection with these parameters, charged on top of Privacy.
	// For key sets so large that most cells are empty.
	Select dp.Params
	// Quorum is the least number of stores that must answer. Required.
	Quorum int
	// Round counts how often the same question is asked anew; 0 means 1. A new
	// round is a new charge.
	Round int64
}

// A Digest identifies a query: SHA-256 of its JSON.
type Digest [32]byte

// String returns the digest in hex.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// MarshalText implements encoding.TextMarshaler as hex.
func (d Digest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Digest) UnmarshalText(b []byte) error {
	if hex.DecodedLen(len(b)) != len(d) {
		return errors.New("parse digest: want 64 hex digits")
	}
	if _, err := hex.Decode(d[:], b); err != nil {
		return errors.New("parse digest: want 64 hex digits")
	}
	return nil
}

// A Query is a checked question under the name and version of the function
// that answers it. It is data: no code crosses the wire. Its JSON is the format
// in the package doc. Make one with NetDemand, MemberCount, Spend, DistinctMembers, RFM, Custom or
// ParseQuery; the zero Query is refused everywhere. Safe for concurrent use.
type Query struct{ *query }

type query struct {
	name    string
	version int
	params  json.RawMessage
	q       Question // normal form; slices are never handed out
	raw     []byte
	digest  Digest
	index   map[string]uint32 // partition → position
	noise   dp.Noise
	sel     dp.Selection
	bins    int64   // of a sketch; else 0
	flip    dp.Flip // in place of noise, under Local
}

// wireQuery fixes names and order of the fields of a query's JSON.
type wireQuery struct {
	Name       string          `json:"name"`
	Version    int             `json:"version"`
	Params     json.RawMessage `json:"params"`
	From       Kind            `json:"from"`
	Unit       Unit            `json:"unit"`
	Trust      Trust           `json:"trust"`
	Cells      Cells           `json:"cells"`
	Stores     []NodeID        `json:"stores"`
	Partitions []string        `json:"partitions"`
	Epoch      string          `json:"epoch"`
	Window     Window          `json:"window"`
	Bounds     dp.Bounds       `json:"bounds"`
	Privacy    dp.Params       `json:"privacy"`
	Select     *dp.Params      `json:"select"`
	Quorum     int             `json:"quorum"`
}

// Custom asks for the bounded sums of a contribution function that the nodes
// have registered under name and version. params is encoded as JSON; only it,
// the name and the version cross the wire.
func Custom(name string, version int, params any, q Question) (Query, error) {
	raw, err := json.Marshal(params)
	if err != nil {
		return Query{}, fmt.Errorf("ask %s: encode parameters: %w", name, err)
	}
	return newQuery(name, version, raw, q)
}

func newQuery(name string, version int, params json.RawMessage, q Question) (Query, error) {
	if q.Cells == "" {
		q.Cells = PerStore
	}
	if q.Round == 0 {
		q.Round = 1
	}
	q.Window = Window{q.Window.From.UTC(), q.Window.To.UTC()}
	q.Stores = slices.Sorted(slices.Values(q.Stores))
	q.Partitions = slices.Sorted(slices.Values(q.Partitions))
	out := &query{name: name, version: version, params: params, q: q}
	if err := out.check(); err != nil {
		return Query{}, fmt.Errorf("ask %s: %w", name, err)
	}
	w := wireQuery{
		name, version, params, q.From, q.Unit, q.Trust, q.Cells, q.Stores, q.Partitions,
		q.Epoch, q.Window, q.Bounds, q.Privacy, nil, q.Quorum,
	}
	if q.Select != (dp.Params{}) {
		w.Select = &q.Select
	}
	var err error
	if out.raw, err = json.Marshal(w); err != nil {
		return Query{}, fmt.Errorf("ask %s: encode query: %w", name, err)
	}
	out.digest = sha256.Sum256(out.raw)
	out.index = make(map[string]uint32, len(q.Partitions))
	for i, p := range q.Partitions {
		out.index[p] = uint32(i)
	}
	return Query{out}, nil
}

// ParseQuery reads a query's JSON. It accepts only the canonical form, so that
// equal questions have equal digests.
func ParseQuery(b []byte) (Query, error) {
	var w wireQuery
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&w); err != nil {
		return Query{}, errors.New("parse query: not the JSON of a query: pass what Query.MarshalJSON wrote")
	}
	q := Question{
		Stores: w.Stores, Partitions: w.Partitions, From: w.From, Unit: w.Unit, Trust: w.Trust,
		Epoch: w.Epoch, Window: w.Window, Bounds: w.Bounds, Privacy: w.Privacy, Cells: w.Cells,
		Quorum: w.Quorum,
	}
	if w.Select != nil {
		q.Select = *w.Select
	}
	out, err := newQuery(w.Name, w.Version, w.Params, q)
	if err != nil {
		return Query{}, fmt.Errorf("parse query: %w", err)
	}
	if !bytes.Equal(out.raw, b) {
		return Query{}, errors.New("parse query: not in canonical form: encode it with Query.MarshalJSON")
	}
	return out, nil
}

// MarshalJSON returns the canonical JSON. The round is not part of it.
func (q Query) MarshalJSON() ([]byte, error) {
	if q.query == nil {
		return nil, errZeroQuery
	}
	return bytes.Clone(q.raw), nil
}

// UnmarshalJSON is ParseQuery.
func (q *Query) UnmarshalJSON(b []byte) (err error) {
	*q, err = ParseQuery(b)
	return err
}

// String returns name and digest.
func (q Query) String() string {
	if q.query == nil {
		return "no query"
	}
	return q.Name() + " " + q.digest.String()
}

var errZeroQuery = errors.New("use query: it is the zero Query: make one with NetDemand, MemberCount or Custom")

// Digest returns the query's digest; zero for the zero Query, which no policy
// allows.
func (q Query) Digest() Digest {
	if q.query == nil {
		return Digest{}
	}
	return q.digest
}

// Name returns name and version, as "net_demand/1".
func (q Query) Name() string {
	if q.query == nil {
		return ""
	}
	return fmt.Sprintf("%s/%d", q.name, q.version)
}

// Question returns a copy of the question in its normal form: stores and
// partitions sorted, defaults filled in.
func (q Query) Question() Question {
	if q.query == nil {
		return Question{}
	}
	out := q.q
	out.Stores, out.Partitions = slices.Clone(out.Stores), slices.Clone(out.Partitions)
	return out
}

// Cost returns what one round of the query is charged: the noise, and the
// selection on top.
func (q Query) Cost() dp.Budget {
	if q.query == nil {
		return dp.Budget{}
	}
	c := q.noise.Cost()
	if q.local() {
		c = q.flip.Cost(q.q.Bounds.MaxNodes)
	}
	if q.selects() {
		s := q.sel.Cost()
		c.Epsilon, c.Delta = addUp(c.Epsilon, s.Epsilon), addUp(c.Delta, s.Delta)
	}
	return c
}

// Charge returns what one round of the query asks of a ledger: its Cost, and the mechanisms
// behind it.
func (q Query) Charge() dp.Charge {
	if q.query == nil {
		return dp.Charge{}
	}
	return q.charge(q.key())
}

func (q *query) charge(k dp.Key) dp.Charge {
	c := dp.Charge{Key: k, Unit: string(q.q.Unit), Cost: Query{q}.Cost()}
	if q.local() {
		c.Events = []dp.Event{{Mechanism: dp.PureDP, Epsilon: q.q.Privacy.Epsilon, Count: q.q.Bounds.MaxNodes}}
		return c
	}
	c.Events = []dp.Event{q.noise.Event()}
	if q.selects() {
		c.Events = append(c.Events, q.sel.Event())
	}
	return c
}

// Noise returns the calibrated noise of the query's values; the zero Noise under
// Local, where the nodes flip bits.
func (q Query) Noise() dp.Noise {
	if q.query == nil {
		return dp.Noise{}
	}
	return q.noise
}

func (q *query) key() dp.Key {
	return dp.Key{Epoch: q.q.Epoch, Round: q.q.Round, Digest: q.digest}
}

func (q *query) selects() bool { return q.q.Select != (dp.Params{}) }

// hasInventory says whether nodes may answer the query with their inventory.
func (q *query) hasInventory() bool {
	return q.name == netDemand.Name && q.version == netDemand.Version
}

func (q *query) shape() dp.Shape {
	if q.q.Cells == Chain && !q.local() {
		return dp.Summed
	}
	return dp.Disjoint
}

// check validates the question and calibrates its noise.
func (q *query) check() error {
	var errs []error
	fail := func(format string, a ...any) { errs = append(errs, fmt.Errorf(format, a...)) }
	if !validName(q.name) || q.version < 1 {
		fail("name must be 1 to 64 of a–z, 0–9 and _, version at least 1")
	}
	if !json.Valid(q.params) {
		fail("parameters are not JSON: give what encoding/json can write")
	}
	if len(q.q.Stores) == 0 {
		fail("Stores is empty: name the nodes to ask")
	}
	for i, s := range q.q.Stores {
		if !s.valid() {
			fail("Stores: a node id must be 1 to 64 printable ASCII characters without space, comma and *")
			break
		}
		if i > 0 && s == q.q.Stores[i-1] {
			fail("Stores: %s stands twice", s)
		}
	}
	if len(q.q.Partitions) == 0 {
		fail("Partitions is empty: give the public key set")
	}
	for i, p := range q.q.Partitions {
		if p == "" || len(p) > 256 || !utf8.ValidString(p) {
			fail("Partitions: a key must be 1 to 256 bytes of UTF-8")
			break
		}
		if i > 0 && p == q.q.Partitions[i-1] {
			fail("Partitions: a key stands twice: give each once")
			break
		}
	}
	if len(q.q.Partitions) > math.MaxInt32/max(len(q.q.Stores), 1) {
		fail("Partitions: more than 2³¹ cells: ask for a coarser level")
	}
	for _, f := range stockFunctions() {
		if q.name == f.Name && q.version == f.Version && q.q.From != "" && !slices.Contains(f.From, q.q.From) {
			fail("From: %s reads %v", q.name, f.From)
		}
	}
	if q.name == memberCount.Name && q.q.Bounds.LInf != 1 {
		fail("Bounds.LInf must be 1: a member counts once in a segment")
	}
	if q.name == memberCount.Name && (q.q.Unit == UnitSale || q.q.Unit == UnitList) {
		fail("Unit %s counts %s, and a member as often as she has any: take one of members", q.q.Unit, q.q.From)
	}
	units := map[Kind][]Unit{
		Lists:       {UnitMember, UnitList, UnitMemberAtNode},
		Sales:       {UnitMember, UnitMemberAtNode, UnitSale},
		Memberships: {UnitMember, UnitMemberAtNode},
	}[q.q.From]
	switch {
	case units == nil:
		fail("From must be %s, %s or %s", Lists, Sales, Memberships)
	case q.q.Unit == "":
		fail("Unit is missing: say what is protected")
	case !slices.Contains(units, q.q.Unit):
		fail("Unit %q is none of %v, which %s can protect", q.q.Unit, units, q.q.From)
	case (q.q.Unit == UnitMemberAtNode || q.q.Unit == UnitSale) && q.q.Bounds.MaxNodes != 1:
		fail("Bounds.MaxNodes must be 1 for unit %s: it lives at one node", q.q.Unit)
	}
	if q.isSketch() {
		errs = append(errs, q.checkSketch())
	} else if q.q.Trust != TrustedCoordinator {
		fail("Trust must be %s: only distinct_members can be asked of nodes that noise their own answers", TrustedCoordinator)
	}
	if q.q.Cells != PerStore && q.q.Cells != Chain {
		fail("Cells must be %s or %s", PerStore, Chain)
	}
	if !printable(q.q.Epoch, 128) {
		fail("Epoch must be 1 to 128 printable ASCII characters: name the dataset epoch")
	}
	w := q.q.Window
	if !w.From.IsZero() && !w.To.IsZero() && !w.From.Before(w.To) {
		fail("Window: From must be before To")
	}
	for _, t := range []time.Time{w.From, w.To} {
		if _, err := t.MarshalJSON(); err != nil {
			fail("Window: a year beyond 9999: leave the bound out")
		}
	}
	if q.q.Quorum < 1 || q.q.Quorum > len(q.q.Stores) {
		fail("Quorum is %d: it must be from 1 to the number of stores, which is %d", q.q.Quorum, len(q.q.Stores))
	}
	if q.q.Round < 1 {
		fail("Round must be at least 1")
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return q.calibrate()
}

func (q *query) calibrate() error {
	s, err := q.q.Bounds.Sensitivity(q.shape())
	if err != nil {
		return err
	}
	if q.local() {
		q.flip, err = dp.NewFlip(q.q.Privacy.Epsilon)
	} else {
		q.noise, err = dp.Calibrate(q.q.Privacy, s)
	}
	if err != nil {
		return err
	}
	// What a label will say is computed now: later the charge would be spent.
	if _, err := q.errorBar(len(q.q.Stores), 1); err != nil {
		return err
	}
	if err := q.calibrateSelection(); err != nil {
		return err
	}
	_, err = q.reach()
	return err
}

// errorBar is the error of the sum of that many values that answered nodes are behind.
func (q *query) errorBar(answered, terms int) (ErrorBar, error) {
	if q.isSketch() {
		return q.sketchBar(answered)
	}
	half, coverage, err := q.noise.Interval(terms, Confidence)
	return ErrorBar{q.noise.StdDev() * math.Sqrt(float64(terms)), half, coverage}, err
}

func (q *query) calibrateSelection() error {
	if !q.selects() {
		return nil
	}
	// What selection looks at is the number of units behind each key: one unit
	// adds 1 to each of at most L0 keys at each of its nodes.
	b := q.q.Bounds
	counts, err := dp.Bounds{L0: b.L0, LInf: 1, L1: b.L0, MaxNodes: b.MaxNodes}.Sensitivity(q.shape())
	if err != nil {
		return err
	}
	if q.sel, err = dp.NewSelection(q.q.Select, counts); err != nil {
		return fmt.Errorf("Select: %w", err)
	}
	return nil
}

func (id NodeID) valid() bool {
	return printable(string(id), 64) && !strings.ContainsAny(string(id), " ,*")
}

func printable(s string, most int) bool {
	if s == "" || len(s) > most {
		return false
	}
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

func validName(s string) bool {
	return s != "" && len(s) <= 64 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789_") == ""
}

// addUp adds amounts of privacy loss, rounded up if they do not add up exactly.
func addUp(a, b float64) float64 {
	sum := a + b
	// Knuth's two-sum: what rounding took away.
	bb := sum - a
	if rest := (a - (sum - bb)) + (b - bb); rest > 0 {
		sum = math.Nextafter(sum, math.Inf(1))
	}
	return sum
}
