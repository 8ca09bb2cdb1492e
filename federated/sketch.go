package federated

import (
	"bytes"
	"crypto/aes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"slices"
	"strconv"

	"github.com/larder-dp/larder/dp"
)

// DistinctMembers asks how many different members the stores have together, each
// counted once, wherever and however often she is seen: registered ones from
// Memberships (the default), those who were seen from Sales or Lists. Everything
// without a member is left out.
//
// Every node enters its members in a bitmap of bins, a multiple of 64 from 64 to 2²⁶: a
// member has the same bin at all nodes. The coordinator joins the bitmaps by OR and
// publishes one number, how many bins are set, noised. How many members that stands
// for is post-processing: Release.Cells yields one cell, of partition "members", whose
// Noised is that number and whose Value, StdDev, Low and High are of the members. They cover
// the noise and the collisions in the bitmap. Take bins of at least ten times the members
// expected, and of twice under Local.
//
// q.Partitions, q.Cells and q.Bounds are filled in, but for MaxNodes of UnitMember under
// Local; q.Select must be zero. Unit is UnitMember or UnitMemberAtNode.
//
// # TrustedCoordinator
//
// MaxNodes is 1, and no home stores are needed. Proof: one unit has one bin. Take away all
// that she left, at any number of nodes, and at each of them the bitmap stays as it is or
// loses that one bit (it stays where another member has the bin). So the OR stays as it is
// or loses that bit, and the number of set bits of the OR changes by 0 or 1. L0 = L1 = LInf = 1.
// Hence UnitMember is all that she does anywhere, and for UnitMemberAtNode the cost at 2, 4 and 8
// stores is the same (Label.Reach).
//
// The coordinator sees the bitmaps without noise, and cannot compute a bin: that takes the
// pseudonym key. Together with a store that holds the key it can test every member that the
// store can name: her bin clear at another store, she was not there; set, she was, or another
// member with her bin. So do not give the coordinator bitmaps where a store may collude
// with it. With the key held by no store (oblivious evaluation) such a store can still test
// whoever it has a pseudonym of: its own members, and those that it asks the key server for.
//
// HyperLogLog, the other usual sketch, merges as exactly, and the fixed-point sum
// Z = Σ 2^(f−M) over its registers M has sensitivity 2^f: one member raises at most one
// register, from a to b > a ≥ 0, which moves Z by 2^(f−a) − 2^(f−b) < 2^f. But n ≈ 0.72·r²·2^f/Z
// for r registers, so that noise of deviation s·2^f on Z moves n by the fraction s·n/(0.72·r²):
// it needs r to grow as √n to keep the noise down, on top of its own 1.04/√r. At ε = 1, where
// s = 1.36, relative standard deviations of collisions and of noise:
//
//	members   bitmap                            HyperLogLog
//	2,377     0.28 %,  0.06 %  in   8 KiB       4.6 %, 1.7 %   in 0.5 KiB
//	10⁶       0.025 %, 0.0002 % in  1 MiB       0.8 %, 0.7 %   in 16 KiB
//	10⁸       0.011 %, 10⁻⁷ %  in   8 MiB       0.4 %, 4.4 %   in 64 KiB
//
// (with more registers than n/2.5 it is a bitmap itself, that of its registers at 0). A chain's
// members fit a bitmap that a node can send, so there is no HyperLogLog here.
//
// # Local
//
// Each node flips every bit of its bitmap with probability 1/(1+exp(ε)) before it sends it
// (dp.Flip), with Privacy.Epsilon and the mechanism dp.Auto, Delta 0. It needs a ledger of its own:
// the round is charged to it, the flipped bitmap stored there under (epoch, round, digest) and sent
// again as it is. Other data means another epoch, fresh flips and a new charge.
//
// A member in M stores has a bit in M bitmaps and pays M·ε: the cost under UnitMember is
// MaxNodes·ε, she counts at the first MaxNodes of her home stores only, and the estimate is of the
// members at such a home; under UnitMemberAtNode it is ε, and Label.Reach has 2ε, 4ε, 8ε. The
// error grows with the number k of stores by a factor of 1.39 each at ε = 1 (dp.Flip has
// the formula), so this is for few stores; a question whose stated error exceeds the
// number of bins is refused.
//
// The coordinator with a key-holding store can still test a bin, and then learns what
// ε allows: a bit says "set" with the odds exp(ε) to 1, of M bits together exp(M·ε).
func DistinctMembers(q Question, bins int) (Query, error) {
	if q.From == "" {
		q.From = Memberships
	}
	if q.Bounds.MaxNodes == 0 && (q.Trust != Local || q.Unit != UnitMember) {
		q.Bounds.MaxNodes = 1 // the only one that there is
	}
	q.Bounds.L0, q.Bounds.LInf, q.Bounds.L1 = 1, 1, 1
	q.Cells, q.Partitions = Chain, []string{sketchPartition}
	return newQuery(distinctMembers.Name, distinctMembers.Version, appendBins(nil, int64(bins)), q)
}

var distinctMembers = Function{Name: "distinct_members", Version: 1, From: []Kind{Memberships, Sales, Lists}, sketch: true}

const (
	// sketchPartition is the one partition of a sketch.
	sketchPartition = "members"
	maxSketchBins   = 1 << 26
)

var errBins = errors.New("bins must be a multiple of 64 from 64 to 2^26")

// The parameters of the query are {"bins":N}.
func appendBins(b []byte, bins int64) json.RawMessage {
	return append(strconv.AppendInt(append(b, `{"bins":`...), bins, 10), '}')
}

func parseBins(params json.RawMessage) (int64, error) {
	var p struct {
		Bins int64 `json:"bins"`
	}
	err := json.Unmarshal(params, &p)
	if err != nil || p.Bins < 64 || p.Bins > maxSketchBins || p.Bins%64 != 0 || !bytes.Equal(params, appendBins(nil, p.Bins)) {
		return 0, errBins
	}
	return p.Bins, nil
}

func (q *query) isSketch() bool {
	return q.name == distinctMembers.Name && q.version == distinctMembers.Version
}

// local says that the nodes add the noise.
func (q *query) local() bool { return q.q.Trust == Local }

// needsHomes says that a node must know whose home it is.
func (q *query) needsHomes() bool {
	return q.q.Unit == UnitMember && (!q.isSketch() || q.local())
}

// checkSketch holds what the proofs above rest on.
func (q *query) checkSketch() (err error) {
	var errs []error
	fail := func(format string, a ...any) { errs = append(errs, fmt.Errorf(format, a...)) }
	if q.bins, err = parseBins(q.params); err != nil {
		errs = append(errs, err)
	}
	b := q.q.Bounds
	if b.L0 != 1 || b.L1 != 1 || b.LInf != 1 {
		fail("Bounds: L0, L1 and LInf must be 1: a member has one bin")
	}
	if len(q.q.Partitions) != 1 || q.q.Partitions[0] != sketchPartition || q.q.Cells != Chain || q.selects() {
		fail("Cells must be %s, without Select, and the one partition %q", Chain, sketchPartition)
	}
	switch q.q.Unit {
	case UnitMember, UnitMemberAtNode:
	default:
		fail("Unit must be %s or %s", UnitMember, UnitMemberAtNode)
	}
	switch {
	case q.q.Trust == TrustedCoordinator && b.MaxNodes != 1:
		fail("Bounds.MaxNodes must be 1 under %s: the union counts a member once", TrustedCoordinator)
	case q.local() && (q.q.Privacy.Mechanism != dp.Auto || q.q.Privacy.Delta != 0):
		fail("Privacy: give Mechanism %s and Delta 0 under %s: its nodes flip bits, which costs no delta", dp.Auto, Local)
	case q.q.Trust != TrustedCoordinator && !q.local():
		fail("Trust must be %s or %s", TrustedCoordinator, Local)
	}
	return errors.Join(errs...)
}

// sketchConfidence is that of the noise of a sketch, and of its collisions. Overlap puts
// three of both together, and is then still right with Confidence; a single union is with
// more.
const sketchConfidence = 1 - (1-Confidence)/6

func (q *query) sketchBar(answered int) (ErrorBar, error) {
	if q.local() {
		half, stdDev, err := q.flip.Interval(answered, dp.Occupancy{Bins: q.bins}, sketchConfidence)
		return ErrorBar{stdDev, half, sketchConfidence}, err
	}
	half, coverage, err := q.noise.Interval(1, sketchConfidence)
	return ErrorBar{q.noise.StdDev(), half, coverage}, err
}

// sketchReach is what holds for a member seen at that many nodes, where the unit is a
// member at one: the OR has her once, flipped bitmaps once each.
func (q *query) sketchReach(nodes int) dp.Budget {
	if q.local() {
		return q.flip.Cost(int64(nodes))
	}
	return q.noise.Cost()
}

// sketch enters every unit in a bitmap.
func sketch(bins int64, each func(func(unit [16]byte, r *Record)) error) (vector, error) {
	v, bin := vector{bitmap: make([]uint64, bins/64)}, newBinning(bins)
	err := each(func(unit [16]byte, r *Record) {
		if r.Member != "" {
			at := bin.of(unit)
			v.bitmap[at/64] |= 1 << (at % 64)
		}
	})
	return v, err
}

// A binning gives pseudonyms their bins: ⌊bins·x/2⁶⁴⌋ with x the first 8 bytes, big endian, of
// AES-128 of the pseudonym under the key "larder sketch 1" 00. The key is no secret. A
// permutation that looks random spreads pseudonyms that are distinct and not uniform, too. The
// same number of bins gives a member the same bin in every query of an epoch, so that the errors of
// three unions, in an overlap, lean the same way. Not safe for concurrent use.
type binning struct {
	encrypt func(dst, src []byte)
	bins    uint64
	buf     *[2][16]byte
}

func newBinning(bins int64) binning {
	block, err := aes.NewCipher([]byte("larder sketch 1\x00"))
	if err != nil {
		panic(err) // the key has 16 bytes
	}
	return binning{block.Encrypt, uint64(bins), new([2][16]byte)}
}

func (b binning) of(pseudonym [16]byte) uint64 {
	b.buf[0] = pseudonym
	b.encrypt(b.buf[1][:], b.buf[0][:])
	hi, _ := bits.Mul64(binary.BigEndian.Uint64(b.buf[1][:]), b.bins)
	return hi
}

func setBits(bitmap []uint64) (n int64) {
	for _, w := range bitmap {
		n += int64(bits.OnesCount64(w))
	}
	return n
}

// union merges the nodes' bitmaps and returns the number of set bins: exact, or where
// they are flipped the estimate of it.
func (q *query) union(rows []*heldReport) *heldReport {
	var set int64
	if q.local() {
		bitmaps := make([][]uint64, len(rows))
		for i, row := range rows {
			bitmaps[i] = row.bitmap
		}
		set = q.flip.Union(bitmaps...)
	} else {
		all := make([]uint64, q.bins/64)
		for _, row := range rows {
			merge(all, row.bitmap)
		}
		set = setBits(all)
	}
	return &heldReport{amounts: []int64{set}}
}

// merge sets all bits of from in into.
func merge(into, from []uint64) {
	from = from[:len(into)]
	for i, w := range from {
		into[i] |= w
	}
}

// distinct works out how many members a cell's noised number of set bins stands for.
func (c Cell) distinct(l Label) Cell {
	o := dp.Occupancy{Bins: l.Bins}
	n := o.Count(float64(c.Noised))
	c.Value, c.StdDev = int64(n+0.5), o.StdDev(n, l.Noise.StdDev)
	var err error
	if c.Low, c.High, err = o.Interval(clampAdd(c.Noised, -l.Noise.Half), clampAdd(c.Noised, l.Noise.Half), sketchConfidence); err != nil {
		c.Low, c.High = 0, maxCell // a label that nobody here wrote
	}
	return c
}

// Overlap returns how many members two stores share, |A| + |B| − |A ∪ B|, where r is the
// DistinctMembers release of both stores and a and b are those of either: three releases,
// charged as three, and the rest is post-processing. All three must be of one epoch, window,
// kind of records, unit and number of bins; that r is of the very stores of a and b is for
// the caller to know.
//
// Low and High hold with the probability Confidence for all three errors together. StdDev
// takes the collisions of the three as if they pulled one way, which errs upwards.
func (r *Release) Overlap(a, b *Release) (Cell, error) {
	fail := func(what string) (Cell, error) {
		return Cell{}, fmt.Errorf("compute overlap: %s: ask DistinctMembers of one store, of the other, and of both", what)
	}
	var cells [3]Cell
	for i, rel := range []*Release{a, b, r} {
		if rel == nil || rel.label.Bins == 0 || len(rel.values) != 1 {
			return fail("a release is not of DistinctMembers")
		}
		x, y := rel.label, r.label
		if x.Epoch != y.Epoch || x.Window != y.Window || x.Kind != y.Kind || x.Unit != y.Unit || x.Trust != y.Trust || x.Bins != y.Bins {
			return fail("the releases differ in epoch, window, records, unit, trust or bins")
		}
		for c := range rel.Cells() {
			cells[i] = c
		}
	}
	without := func(coverage ...Coverage) (asked int, absent []NodeID) {
		for _, c := range coverage {
			asked += c.Asked
			for _, x := range c.Absent {
				absent = append(absent, x.Node)
			}
		}
		slices.Sort(absent)
		return asked, absent
	}
	both, missing := without(r.label.Coverage)
	if each, gone := without(a.label.Coverage, b.label.Coverage); each != both || !slices.Equal(gone, missing) {
		return fail("the stores that answered are not the same")
	}
	out := cells[2]
	out.Noised, out.Value = 0, cells[0].Value+cells[1].Value-cells[2].Value
	out.Low = max(clampAdd(clampAdd(cells[0].Low, cells[1].Low), -cells[2].High), 0)
	out.High = clampAdd(clampAdd(cells[0].High, cells[1].High), -cells[2].Low) // an end may be 2⁶²
	out.High = max(min(out.High, cells[0].High, cells[1].High), out.Low)
	var noise, collisions float64
	for _, c := range cells {
		alone := dp.Occupancy{Bins: r.label.Bins}.StdDev(float64(c.Value), 0)
		collisions += alone
		noise += c.StdDev*c.StdDev - alone*alone
	}
	out.StdDev = math.Sqrt(max(noise, 0) + collisions*collisions)
	return out, nil
}
