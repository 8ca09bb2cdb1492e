package federated

import (
	"crypto/sha256"
	"encoding/binary"
)

// A unitFunction computes what a unit contributes from all of its records in the window at
// this node together: note takes them one by one, in any order, into a tally, and finish
// emits once what the tally comes to. Both depend on the unit's own records and the query
// alone, so that adding or removing one unit changes nothing else, and the node bounds
// what finish emits as it bounds everything.
type unitFunction struct {
	note   func(r *Record, t *tally)
	finish func(t *tally, emit func(partition string, amount int64))
}

// A tally is what a node remembers of one unit while it reads: a few numbers, whatever the
// number of records, and the distinct keys that were counted.
type tally struct {
	n      *numbers
	window Window
	fold   *fold
	unit   uint32
}

type numbers [4]int64

// add adds an amount to a number, from 0; it sticks at 2⁶².
func (t *tally) add(i int, x int64) { t.n[i] = clampAdd(t.n[i], max(x, 0)) }

// top keeps the largest number that it is told, from 0.
func (t *tally) top(i int, x int64) { t.n[i] = max(t.n[i], x) }

// distinct adds 1 to a number for every key that is new to it.
func (t *tally) distinct(i int, key string) {
	k := distinctKey{t.unit, int32(i), t.fold.hash(key)}
	if _, ok := t.fold.seen[k]; !ok {
		t.fold.seen[k] = struct{}{}
		t.n[i]++
	}
}

// A fold is one run of a unitFunction over the records of a node. Memory is some 100 bytes for
// every unit and some 40 for every distinct key. A record allocates nothing of its own. Not
// safe for concurrent use.
type fold struct {
	f       unitFunction
	t       tally
	units   map[[16]byte]uint32
	ids     [][16]byte
	numbers []numbers // per unit
	seen    map[distinctKey]struct{}
	buf     []byte // the node's secret, then a key
}

type distinctKey struct {
	unit uint32
	slot int32
	hash uint64 // keyed, so that nobody can make two keys meet
}

func newFold(f unitFunction, secret [32]byte, w Window) *fold {
	out := &fold{f: f, units: map[[16]byte]uint32{}, seen: map[distinctKey]struct{}{}, buf: secret[:]}
	out.t = tally{window: w, fold: out}
	return out
}

func (f *fold) hash(key string) uint64 {
	f.buf = append(f.buf[:32], key...)
	sum := sha256.Sum256(f.buf)
	return binary.BigEndian.Uint64(sum[:])
}

// run reads all records and hands what the units come to to the aggregator.
func (f *fold) run(each func(func(unit [16]byte, r *Record)) error, a *aggregator) error {
	err := each(func(unit [16]byte, r *Record) { f.f.note(r, f.of(unit)) })
	if err != nil {
		return err
	}
	emit := a.emit
	for u, id := range f.ids {
		a.begin(id)
		f.finish(f.at(uint32(u)), emit)
	}
	return nil
}

// finish leaves a unit at what it had emitted if its function panics: that must not end
// the round.
func (f *fold) finish(t *tally, emit func(string, int64)) {
	defer func() { _ = recover() }()
	f.f.finish(t, emit)
}

// of returns the tally of a unit, which may be new.
func (f *fold) of(unit [16]byte) *tally {
	u, ok := f.units[unit]
	if !ok {
		u = uint32(len(f.ids))
		f.units[unit] = u
		f.ids = append(f.ids, unit)
		f.numbers = append(f.numbers, numbers{})
	}
	return f.at(u)
}

func (f *fold) at(u uint32) *tally {
	f.t.n, f.t.unit = &f.numbers[u], u
	return &f.t
}
