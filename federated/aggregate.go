package federated

import (
	"cmp"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/bits"
	"slices"
	"unsafe"

	"github.com/larder-dp/larder/dp"
)

// maxCell is the largest value of a cell of a node's vector. With
// dp.Bounds.LInf ≤ 2³⁰ a node needs more than 2³² units to reach it; there a
// cell sticks, which moves it no further than the exact sum would move: nothing
// ever wraps, and nothing fails because of a record.
const maxCell = 1<<62 - 1

// An aggregator sums up one query's contributions at one node: whole window by
// (unit, partition) first, then bounding, then the vector. It is the only
// aggregation there is, but for sketches, which are no sums. Not safe for concurrent use.
//
// Time is linear in the contributions. Memory is about 64 bytes for every pair
// of unit and partition that occurs, about 60 for every unit, and the vectors.
type aggregator struct {
	bounds  dp.Bounds
	keys    partitionIndex
	prf     boundingPRF
	units   map[[16]byte]uint64
	ids     [][16]byte // unit → id
	unit    uint64     // of the record at hand
	entries []entry
	spare   []entry
	limit   int  // compact when entries grow to it
	mixed   bool // entries are not in the order of their units

	acc     []uint32 // per partition, scratch
	touched []uint32 // partitions of acc that are not zero
	order   []ranked
	amounts []int64
}

// An entry is one contribution, capped at LInf ≤ 2³⁰.
type entry struct {
	unit      uint64
	partition uint32
	amount    uint32
}

type ranked struct {
	hi, lo    uint64 // the rank
	partition uint32
	amount    uint32
}

// minCompact is the least number of entries worth compacting.
const minCompact = 1 << 16

func newAggregator(b dp.Bounds, index map[string]uint32, prf boundingPRF) *aggregator {
	return &aggregator{
		bounds: b, keys: newPartitionIndex(index), prf: prf,
		units: map[[16]byte]uint64{}, limit: minCompact,
		acc: make([]uint32, len(index)),
	}
}

// begin says whose contributions come next.
func (a *aggregator) begin(unit [16]byte) {
	if len(a.ids) > 0 && a.ids[a.unit] == unit { // records of one unit often stand together
		return
	}
	u, ok := a.units[unit]
	if !ok {
		u = uint64(len(a.ids))
		a.units[unit] = u
		a.ids = append(a.ids, unit)
	}
	a.mixed = a.mixed || u < a.unit
	a.unit = u
}

// emit takes one contribution of the unit at hand. Amounts are capped at LInf
// at once: a sum of capped amounts, capped, is the capped sum.
func (a *aggregator) emit(partition string, amount int64) {
	if amount < 1 {
		return
	}
	p, ok := a.keys.find(partition)
	if !ok {
		return
	}
	if len(a.entries) == a.limit {
		a.compact()
		a.limit = max(2*len(a.entries), minCompact)
		a.entries = slices.Grow(a.entries, a.limit-len(a.entries))
	}
	a.entries = append(a.entries, entry{a.unit, p, uint32(min(amount, a.bounds.LInf))})
}

// compact groups the entries by unit and merges those of one partition.
func (a *aggregator) compact() {
	grouped := a.entries
	if a.mixed {
		grouped = a.group()
	}
	out := a.entries[:0] // never ahead of what is read
	for from := 0; from < len(grouped); {
		unit, to := grouped[from].unit, from
		for ; to < len(grouped) && grouped[to].unit == unit; to++ {
			e := grouped[to]
			if a.acc[e.partition] == 0 {
				a.touched = append(a.touched, e.partition)
			}
			a.acc[e.partition] = min(a.acc[e.partition]+e.amount, uint32(a.bounds.LInf))
		}
		for _, p := range a.touched {
			out = append(out, entry{unit, p, a.acc[p]})
			a.acc[p] = 0
		}
		a.touched, from = a.touched[:0], to
	}
	a.entries = out
	a.mixed = len(out) > 0 && out[len(out)-1].unit > a.unit
}

// group returns the entries in the order of their units: a counting sort.
func (a *aggregator) group() []entry {
	next := make([]int, len(a.ids)+1) // unit → where its next entry goes
	for i := range a.entries {
		next[a.entries[i].unit+1]++
	}
	for u := range a.ids {
		next[u+1] += next[u]
	}
	a.spare = slices.Grow(a.spare[:0], len(a.entries))[:len(a.entries)]
	for _, e := range a.entries {
		a.spare[next[e.unit]] = e
		next[e.unit]++
	}
	return a.spare
}

// A vector is what a node's records come to under one query.
type vector struct {
	amounts []int64  // per partition
	units   []int64  // units behind each, if asked for
	bitmap  []uint64 // of a sketch, in place of both
	clipping
}

// clipping says what bounding did: true facts about records, for the node's
// own operator only.
type clipping struct {
	Units    int64 // units that contributed
	Capped   int64 // total after LInf
	Kept     int64 // total after L0 and L1
	UnitsCut int64 // units that L0 or L1 took something from
}

// vector bounds every unit and sums up.
//
// Of a unit with more than L0 partitions, or of a total above L1, the
// partitions are put in the order of the node's PRF and clipped in that order
// by dp.Bounds.Clip. The order depends on (node secret, epoch, query, unit,
// partition) and on nothing else, so adding or removing one unit leaves what
// the others contribute as it was.
func (a *aggregator) vector(countUnits bool) vector {
	a.compact()
	v := vector{amounts: make([]int64, len(a.acc))}
	if countUnits {
		v.units = make([]int64, len(a.acc))
	}
	for from := 0; from < len(a.entries); {
		u, to, total := a.entries[from].unit, from, int64(0)
		for ; to < len(a.entries) && a.entries[to].unit == u; to++ {
			total += int64(a.entries[to].amount) // < 2³¹ partitions · 2³⁰
		}
		unit := a.entries[from:to]
		v.Units++
		v.Capped = min(v.Capped+total, maxCell)
		if int64(len(unit)) > a.bounds.L0 || total > a.bounds.L1 {
			unit = a.clip(unit)
			v.UnitsCut++
		}
		for _, e := range unit {
			v.amounts[e.partition] = min(v.amounts[e.partition]+int64(e.amount), maxCell)
			v.Kept = min(v.Kept+int64(e.amount), maxCell)
			if countUnits {
				v.units[e.partition]++
			}
		}
		from = to
	}
	return v
}

// clip bounds one unit in place and returns what is left of it.
func (a *aggregator) clip(unit []entry) []entry {
	a.order, a.amounts = a.order[:0], a.amounts[:0]
	a.prf.begin(a.ids[unit[0].unit])
	for _, e := range unit {
		hi, lo := a.prf.rank(e.partition)
		a.order = append(a.order, ranked{hi, lo, e.partition, e.amount})
	}
	slices.SortFunc(a.order, func(x, y ranked) int {
		if x.hi != y.hi {
			return cmp.Compare(x.hi, y.hi)
		}
		return cmp.Compare(x.lo, y.lo) // never equal: AES is a permutation
	})
	for _, r := range a.order {
		a.amounts = append(a.amounts, int64(r.amount))
	}
	a.bounds.Clip(a.amounts)
	kept, id := unit[:0], unit[0].unit
	for i, r := range a.order {
		if a.amounts[i] > 0 {
			kept = append(kept, entry{id, r.partition, uint32(a.amounts[i])})
		}
	}
	return kept
}

// A partitionIndex finds partitions. Sources hand out the same string for the
// same item most of the time, so it remembers, by the address of a string's
// bytes, what it found there: a hit is the very same string, which it keeps
// alive, and everything else is looked up.
type partitionIndex struct {
	index map[string]uint32
	cache []cachedKey // a power of two of them
}

type cachedKey struct {
	key       string
	partition uint32
}

func newPartitionIndex(index map[string]uint32) partitionIndex {
	return partitionIndex{index, make([]cachedKey, 2<<bits.Len(uint(len(index))))}
}

func (x partitionIndex) find(key string) (uint32, bool) {
	at := uintptr(unsafe.Pointer(unsafe.StringData(key)))
	slot := &x.cache[(uint64(at)*0x9e3779b97f4a7c15)>>(64-bits.Len(uint(len(x.cache)-1)))]
	if len(slot.key) == len(key) && unsafe.StringData(slot.key) == unsafe.StringData(key) && key != "" {
		return slot.partition, true
	}
	p, ok := x.index[key]
	if ok {
		*slot = cachedKey{key, p}
	}
	return p, ok
}

// A boundingPRF orders the partitions of a unit: AES-128 as CBC-MAC over the
// two blocks unit ‖ partition (twelve zero bytes, then its position big
// endian), a PRF for inputs of this one length, under a key derived from the
// node's secret for one epoch and query:
//
//	key = HMAC-SHA256(secret, "larder bounding 1" 00 ‖ len(epoch) as 8 bytes ‖ epoch ‖ digest)[:16]
type boundingPRF struct {
	block cipher.Block
	buf   *[2][16]byte // [0] unit enciphered, [1] rank; not on the stack, for no allocation a call
}

func newBoundingPRF(secret [32]byte, epoch string, query Digest) (boundingPRF, error) {
	mac := hmac.New(sha256.New, secret[:])
	mac.Write([]byte("larder bounding 1\x00"))
	mac.Write(binary.BigEndian.AppendUint64(nil, uint64(len(epoch))))
	mac.Write([]byte(epoch))
	mac.Write(query[:])
	block, err := aes.NewCipher(mac.Sum(nil)[:16])
	if err != nil {
		return boundingPRF{}, fmt.Errorf("derive bounding key: %w", err)
	}
	return boundingPRF{block, new([2][16]byte)}, nil
}

// begin says of which unit the next ranks are.
func (p boundingPRF) begin(unit [16]byte) {
	p.buf[1] = unit
	p.block.Encrypt(p.buf[0][:], p.buf[1][:])
}

func (p boundingPRF) rank(partition uint32) (hi, lo uint64) {
	p.buf[1] = p.buf[0]
	last := p.buf[1][12:]
	binary.BigEndian.PutUint32(last, binary.BigEndian.Uint32(last)^partition)
	p.block.Encrypt(p.buf[1][:], p.buf[1][:])
	return binary.BigEndian.Uint64(p.buf[1][:]), binary.BigEndian.Uint64(p.buf[1][8:])
}
