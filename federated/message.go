package federated

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"math"
	"slices"
	"strings"
)

// CoordinatorID stands for the coordinator in messages; no node can have it.
const CoordinatorID NodeID = "*"

// A Message is what crosses the wire between the coordinator and a node. The
// package doc has the formats of Body.
type Message struct {
	From, To NodeID
	Body     []byte
}

// A Transport carries messages. It owes no order and no delivery: a message
// may come late, twice or never. It does owe authenticity: From names who
// really sent it.
type Transport interface {
	// Exchange sends out, and calls deliver for every message that comes back
	// for the coordinator, from any goroutine, until ctx is done or it knows
	// that no more will come. It must return soon after ctx is done. A node that
	// cannot be reached is no error.
	Exchange(ctx context.Context, out []Message, deliver func(Message)) error
}

const (
	askMagic     = "LARDER-ASK-1\n"
	reportMagic  = "LARDER-REPORT-1\n"
	refusalMagic = "LARDER-REFUSAL-1\n"
)

var errBody = errors.New("parse message: not in the format of this version: run the same version at both ends")

// An ask is a query in one round, from one coordinator that has not been
// restarted in between.
type ask struct {
	q       Query
	session [16]byte
}

// encode writes: askMagic, round as 8 bytes big endian, the session's 16 bytes,
// the query's JSON.
func (a ask) encode() []byte {
	b := binary.BigEndian.AppendUint64([]byte(askMagic), uint64(a.q.q.Round))
	return append(append(b, a.session[:]...), a.q.raw...)
}

func parseAsk(b []byte) (ask, error) {
	b, ok := bytes.CutPrefix(b, []byte(askMagic))
	if !ok || len(b) < 8+16 {
		return ask{}, errBody
	}
	round := binary.BigEndian.Uint64(b)
	if round < 1 || round > math.MaxInt64 {
		return ask{}, errBody
	}
	q, err := ParseQuery(b[8+16:])
	if err != nil {
		return ask{}, err
	}
	return ask{q.withRound(int64(round)), [16]byte(b[8:])}, nil
}

func (q Query) withRound(round int64) Query {
	c := *q.query
	c.q.Round = round
	return Query{&c}
}

// A report is a node's answer: one vector over the query's partitions, the
// number of units behind each where the query selects cells, and the inventory
// where the node gives it. Its length depends on the query and on whether there
// is an inventory, never on a record.
type report struct {
	node      NodeID
	digest    Digest
	epoch     string
	round     int64
	amounts   []int64
	units     []int64  // nil unless the query selects cells
	inventory []int64  // nil where there is none, or it may not be told
	bitmap    []uint64 // of a sketch, in place of all three; nil else
}

const (
	hasUnits     = 1
	hasInventory = 2
	hasBitmap    = 4
)

// encode writes, all numbers big endian: reportMagic; digest, 32 bytes; round,
// 8; length of the epoch, 2, and the epoch; length of the node id, 1, and the
// node id; flags, 1 (1: units, 2: inventory); number of partitions, 4; then the
// amounts, the units if flagged and the inventory if flagged, 8 bytes a
// partition, two's complement. Of a sketch the flag is 4, the number that of its
// bins, and then come the bins, eight a byte, the lowest bit first.
func (r report) encode() []byte {
	n := len(r.amounts)
	b := make([]byte, 0, len(reportMagic)+32+8+2+len(r.epoch)+1+len(r.node)+1+4+8*(n+len(r.units)+len(r.inventory)+len(r.bitmap)))
	b = append(b, reportMagic...)
	b = append(b, r.digest[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(r.round))
	b = binary.BigEndian.AppendUint16(b, uint16(len(r.epoch)))
	b = append(b, r.epoch...)
	b = append(b, byte(len(r.node)))
	b = append(b, r.node...)
	var flags byte
	if r.units != nil {
		flags |= hasUnits
	}
	if r.inventory != nil {
		flags |= hasInventory
	}
	if r.bitmap != nil {
		flags, n = hasBitmap, 64*len(r.bitmap)
	}
	b = append(b, flags)
	b = binary.BigEndian.AppendUint32(b, uint32(n))
	for _, w := range r.bitmap {
		b = binary.LittleEndian.AppendUint64(b, w)
	}
	for _, v := range [][]int64{r.amounts, r.units, r.inventory} {
		for _, x := range v {
			b = binary.BigEndian.AppendUint64(b, uint64(x))
		}
	}
	return b
}

func parseReport(b []byte) (report, error) {
	var r report
	b, ok := bytes.CutPrefix(b, []byte(reportMagic))
	take := func(n int) []byte {
		if !ok || n < 0 || n > len(b) {
			ok = false
			return make([]byte, max(min(n, 32), 8))
		}
		head := b[:n]
		b = b[n:]
		return head
	}
	copy(r.digest[:], take(32))
	r.round = int64(binary.BigEndian.Uint64(take(8)))
	r.epoch = string(take(int(binary.BigEndian.Uint16(take(2)))))
	r.node = NodeID(take(int(take(1)[0])))
	flags := take(1)[0]
	n := int(binary.BigEndian.Uint32(take(4)))
	if ok && flags == hasBitmap {
		if n == 0 || n%64 != 0 || len(b) != n/8 {
			return report{}, errBody
		}
		for ; len(b) > 0; b = b[8:] {
			r.bitmap = append(r.bitmap, binary.LittleEndian.Uint64(b))
		}
		return r, nil
	}
	vectors := 1 + int(flags&1) + int(flags>>1&1)
	if !ok || flags > hasUnits|hasInventory || n > math.MaxInt32 || len(b) != 8*n*vectors {
		return report{}, errBody
	}
	read := func() []int64 {
		v := make([]int64, n)
		for i, body := 0, take(8*n); i < n; i++ {
			v[i] = int64(binary.BigEndian.Uint64(body[8*i:]))
		}
		return v
	}
	r.amounts = read()
	if flags&hasUnits != 0 {
		r.units = read()
	}
	if flags&hasInventory != 0 {
		r.inventory = read()
	}
	return r, nil
}

// fits says whether the report answers this query, from this node, within what
// a node may send: amounts and units from 0 and below 2⁶².
func (r report) fits(q Query, from NodeID) bool {
	inRange := func(v []int64, least int64) bool {
		for _, x := range v {
			if x < least || x > maxCell {
				return false
			}
		}
		return true
	}
	return r.digest == q.digest && r.epoch == q.q.Epoch && r.round == q.q.Round && r.node == from &&
		slices.Contains(q.q.Stores, from) &&
		(r.bitmap != nil) == q.isSketch() && 64*int64(len(r.bitmap)) == q.bins &&
		(r.bitmap != nil || len(r.amounts) == len(q.q.Partitions)) && (r.units != nil) == q.selects() &&
		(r.inventory == nil || q.hasInventory()) &&
		inRange(r.amounts, 0) && inRange(r.units, 0) && inRange(r.inventory, -maxCell)
}

// A refusal is a node's no. It depends on the node's policy and ledger alone,
// never on a record, and says what would pass, in at most 1 KiB a field.
type refusal struct {
	Node    NodeID `json:"node"`
	Rule    string `json:"rule"`    // the line of the node's policy, such as "net_demand/1: budget"
	Asked   string `json:"asked"`   // what the query asked for
	Accepts string `json:"accepts"` // what would be accepted
}

// maxRefusal keeps what a node says of its policy readable, and bounded.
const maxRefusal = 1024

func (r *refusal) encode() []byte {
	short := *r
	for _, s := range []*string{&short.Rule, &short.Asked, &short.Accepts} {
		if len(*s) > maxRefusal {
			*s = strings.ToValidUTF8((*s)[:maxRefusal], "") + " …"
		}
	}
	b, err := json.Marshal(short)
	if err != nil {
		return []byte(refusalMagic + "{}")
	}
	return append([]byte(refusalMagic), b...)
}

func parseRefusal(b []byte, from NodeID) (*refusal, error) {
	b, ok := bytes.CutPrefix(b, []byte(refusalMagic))
	if !ok || len(b) > 8*3*maxRefusal { // JSON writes some bytes as six
		return nil, errBody
	}
	var r refusal
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&r); err != nil || r.Node != from || dec.InputOffset() != int64(len(b)) {
		return nil, errBody
	}
	return &r, nil
}
