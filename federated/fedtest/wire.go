package fedtest

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/larder-dp/larder/federated"
)

// This file reads and writes the formats of package federated's doc, from that
// text and not from its code, so that each is a check of the other.

const (
	askMagic     = "LARDER-ASK-1\n"
	reportMagic  = "LARDER-REPORT-1\n"
	refusalMagic = "LARDER-REFUSAL-1\n"

	flagUnits     = 1
	flagInventory = 2
	flagSketch    = 4

	maxCell = 1<<62 - 1
)

var errFormat = errors.New("not in a documented format")

// An ask is what a coordinator sends to every store of a query.
type ask struct {
	round   int64
	session [16]byte
	query   []byte
}

func askOf(q federated.Query, session byte) ask {
	raw, err := q.MarshalJSON()
	if err != nil {
		return ask{}
	}
	return ask{q.Question().Round, [16]byte{session}, raw}
}

func (a ask) encode() []byte {
	b := binary.BigEndian.AppendUint64([]byte(askMagic), uint64(a.round))
	return append(append(b, a.session[:]...), a.query...)
}

func parseAsk(b []byte) (ask, error) {
	b, ok := bytes.CutPrefix(b, []byte(askMagic))
	if !ok || len(b) < 24 {
		return ask{}, errFormat
	}
	return ask{int64(binary.BigEndian.Uint64(b)), [16]byte(b[8:24]), b[24:]}, nil
}

// A report is a node's answer.
type report struct {
	digest                    federated.Digest
	round                     int64
	epoch                     string
	node                      federated.NodeID
	amounts, units, inventory []int64
	bitmap                    []byte // of a sketch, in place of all three
}

func (r report) encode() []byte {
	b := append([]byte(reportMagic), r.digest[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(r.round))
	b = append(binary.BigEndian.AppendUint16(b, uint16(len(r.epoch))), r.epoch...)
	b = append(append(b, byte(len(r.node))), r.node...)
	flags := byte(0)
	if r.units != nil {
		flags |= flagUnits
	}
	if r.inventory != nil {
		flags |= flagInventory
	}
	if r.bitmap != nil {
		b = binary.BigEndian.AppendUint32(append(b, flagSketch), uint32(8*len(r.bitmap)))
		return append(b, r.bitmap...)
	}
	b = binary.BigEndian.AppendUint32(append(b, flags), uint32(len(r.amounts)))
	for _, x := range slices.Concat(r.amounts, r.units, r.inventory) {
		b = binary.BigEndian.AppendUint64(b, uint64(x))
	}
	return b
}

// A field is a named part of a message.
type field struct {
	name string
	b    []byte
}

// reportFields cuts a report into its parts; it fails on any byte too many or
// too few.
func reportFields(b []byte) ([]field, error) {
	rest, ok := bytes.CutPrefix(b, []byte(reportMagic))
	if !ok {
		return nil, errFormat
	}
	var fields []field
	take := func(name string, n int) []byte {
		if n < 0 || n > len(rest) {
			ok = false
			return make([]byte, 8)
		}
		head := rest[:n]
		rest = rest[n:]
		fields = append(fields, field{name, head})
		return head
	}
	take("digest", 32)
	take("round", 8)
	take("epoch", int(binary.BigEndian.Uint16(take("epoch length", 2))))
	take("node", int(take("node length", 1)[0]))
	flags := take("flags", 1)[0]
	n := int(binary.BigEndian.Uint32(take("partitions", 4)))
	switch {
	case flags == flagSketch && n > 0 && n%64 == 0:
		take("bins", n/8)
	case flags > flagUnits|flagInventory || n > math.MaxInt32:
		return nil, errFormat
	default:
		take("amounts", 8*n)
		if flags&flagUnits != 0 {
			take("units", 8*n)
		}
		if flags&flagInventory != 0 {
			take("inventory", 8*n)
		}
	}
	if !ok || len(rest) > 0 {
		return nil, errFormat
	}
	return fields, nil
}

func parseReport(b []byte) (report, error) {
	fields, err := reportFields(b)
	if err != nil {
		return report{}, err
	}
	numbers := func(b []byte) []int64 {
		v := make([]int64, len(b)/8)
		for i := range v {
			v[i] = int64(binary.BigEndian.Uint64(b[8*i:]))
		}
		return v
	}
	var r report
	for _, f := range fields {
		switch f.name {
		case "digest":
			r.digest = federated.Digest(f.b)
		case "round":
			r.round = int64(binary.BigEndian.Uint64(f.b))
		case "epoch":
			r.epoch = string(f.b)
		case "node":
			r.node = federated.NodeID(f.b)
		case "amounts":
			r.amounts = numbers(f.b)
		case "units":
			r.units = numbers(f.b)
		case "inventory":
			r.inventory = numbers(f.b)
		case "bins":
			r.bitmap = slices.Clone(f.b)
		}
	}
	return r, nil
}

// answers says why the report does not answer q in its round from that node, or
// "".
func (r report) answers(q federated.Query, from federated.NodeID) string {
	asked := q.Question()
	n, bins := len(asked.Partitions), binsOf(q)
	switch {
	case r.digest != q.Digest():
		return "its digest is of another query"
	case r.epoch != asked.Epoch:
		return fmt.Sprintf("its epoch is %q", r.epoch)
	case r.round != asked.Round:
		return fmt.Sprintf("its round is %d", r.round)
	case r.node != from || !slices.Contains(asked.Stores, from):
		return fmt.Sprintf("it is of node %q", r.node)
	case 8*len(r.bitmap) != bins:
		return fmt.Sprintf("it has %d bins of %d", 8*len(r.bitmap), bins)
	case bins == 0 && len(r.amounts) != n:
		return fmt.Sprintf("it has %d amounts for %d partitions", len(r.amounts), n)
	case (r.units != nil) != selects(q):
		return "its counts of units do not go with the query's selection"
	case r.inventory != nil && q.Name() != "net_demand/1":
		return "it tells an inventory that the query does not ask for"
	}
	for _, x := range slices.Concat(r.amounts, r.units) {
		if x < 0 || x > maxCell {
			return "an amount is negative or beyond 2⁶²"
		}
	}
	for _, x := range r.inventory {
		if x < -maxCell || x > maxCell {
			return "an inventory is beyond ±2⁶²"
		}
	}
	return ""
}

func selects(q federated.Query) bool { return q.Question().Select.Epsilon != 0 }

func local(q federated.Query) bool { return q.Question().Trust == federated.Local }

// binsOf is the number of bins of a sketch, 0 of other queries.
func binsOf(q federated.Query) int {
	var p struct{ Bins int }
	if q.Name() != "distinct_members/1" || json.Unmarshal(paramsOf(q), &p) != nil {
		return 0
	}
	return p.Bins
}

// paramsOf are the parameters of a query, as they cross the wire.
func paramsOf(q federated.Query) json.RawMessage {
	var wire struct{ Params json.RawMessage }
	raw, err := q.MarshalJSON()
	if err != nil || json.Unmarshal(raw, &wire) != nil {
		return nil
	}
	return wire.Params
}

// A refusal is a node's no.
type refusal struct {
	Node    federated.NodeID `json:"node"`
	Rule    string           `json:"rule"`
	Asked   string           `json:"asked"`
	Accepts string           `json:"accepts"`
}

func parseRefusal(b []byte) (refusal, error) {
	b, ok := bytes.CutPrefix(b, []byte(refusalMagic))
	if !ok {
		return refusal{}, errFormat
	}
	var r refusal
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if dec.Decode(&r) != nil || dec.InputOffset() != int64(len(b)) {
		return refusal{}, errFormat
	}
	for _, s := range []string{r.Rule, r.Asked, r.Accepts} {
		if len(s) > 1100 { // 1 KiB, with room for a mark that it was cut
			return refusal{}, errFormat
		}
	}
	return r, nil
}

// kindOf names a message's format.
func kindOf(b []byte) string {
	switch {
	case bytes.HasPrefix(b, []byte(askMagic)):
		return "ask"
	case bytes.HasPrefix(b, []byte(reportMagic)):
		return "report"
	case bytes.HasPrefix(b, []byte(refusalMagic)):
		return "refusal"
	}
	return "message"
}

// fieldsOf cuts what left into named parts, for the report of a Wiretap.
func fieldsOf(b []byte) []field {
	switch kindOf(b) {
	case "ask":
		if a, err := parseAsk(b); err == nil {
			at := len(askMagic)
			return append([]field{{"round", b[at : at+8]}, {"session", b[at+8 : at+24]}}, fieldsOf(a.query)...)
		}
	case "report":
		if f, err := reportFields(b); err == nil {
			return f
		}
	case "refusal":
		return fieldsOf(b[len(refusalMagic):])
	}
	var object map[string]json.RawMessage
	if json.Unmarshal(b, &object) == nil && object != nil {
		var out []field
		for name, value := range object {
			out = append(out, field{name, value})
		}
		slices.SortFunc(out, func(a, b field) int { return bytes.Compare([]byte(a.name), []byte(b.name)) })
		return out
	}
	return []field{{"all", b}}
}
