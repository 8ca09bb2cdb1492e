package dptest

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/big"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/larder-dp/larder/dp"
)

// A Recorder stands in for every mechanism of the code under check. On the input
// it records what is about to be noised and answers with numbers that it makes up;
// on the neighbouring input it replays the same answers and compares.
type Recorder struct {
	rng    *rand.Rand
	replay bool
	calls  []call
	next   int
	fault  *Fault
}

type call struct {
	name        string
	selects     bool
	keys        []string
	values      []int64
	answers     []int64 // of a selection 1 for a published key
	sensitivity dp.Sensitivity
}

func (c call) answer(key string) (int64, bool) {
	if i := slices.Index(c.keys, key); i >= 0 {
		return c.answers[i], true
	}
	return 0, false
}

// Add takes the place of Noise.Add: it replaces values by an answer. keys name the
// cells, in their order; s is the sensitivity that the noise would be scaled to.
func (r *Recorder) Add(name string, keys []string, values []int64, s dp.Sensitivity) {
	c := call{name: name, keys: slices.Clone(keys), values: slices.Clone(values), sensitivity: s}
	if len(keys) != len(values) {
		panic(fmt.Sprintf("dptest: %s has %d keys for %d values", name, len(keys), len(values)))
	}
	if !r.replay {
		for _, v := range values {
			c.answers = append(c.answers, noised(v, r.rng))
		}
		r.calls = append(r.calls, c)
	} else {
		was := r.match(c)
		r.same(slices.Equal(was.keys, keys), "the keys of what is noised are the same, in the same order, for every neighbour",
			fmt.Sprintf("%q had the keys %q, and has %q", name, was.keys, keys),
			"the set of keys, or its order, is published as it is and tells who is in the data")
		r.near(was, c)
		c.answers = was.answers
	}
	copy(values, c.answers)
}

// noised adds noise of any magnitude, so that code which compares an answer with the
// truth is seen at it.
func noised(v int64, r *rand.Rand) int64 {
	x := r.Int64N(1<<40) >> r.IntN(41)
	if r.IntN(2) == 0 {
		x = -x
	}
	return min(max(v, -1<<62), 1<<62) + x
}

// Select takes the place of Selection.Select: keys are those that occur in the data,
// counts their unit counts. It answers which keys may be published. A key whose
// count one unit may have brought (it is at most s.LInf) never is.
func (r *Recorder) Select(name string, keys []string, counts []int64, s dp.Sensitivity) []bool {
	c := call{name: name, selects: true, keys: slices.Clone(keys), values: slices.Clone(counts), sensitivity: s}
	if len(keys) != len(counts) {
		panic(fmt.Sprintf("dptest: %s has %d keys for %d counts", name, len(keys), len(counts)))
	}
	if !r.replay {
		for _, v := range counts {
			answer := int64(0)
			if v > s.LInf && r.rng.IntN(4) > 0 {
				answer = 1
			}
			c.answers = append(c.answers, answer)
		}
		r.calls = append(r.calls, c)
	} else {
		was := r.match(c)
		r.near(was, c)
		for _, k := range keys {
			answer, _ := was.answer(k)
			c.answers = append(c.answers, answer)
		}
	}
	published := make([]bool, len(keys))
	for i, a := range c.answers {
		published[i] = a == 1 && counts[i] > 0
	}
	return published
}

// match returns the call that was made at this place on the input.
func (r *Recorder) match(c call) call {
	if r.next >= len(r.calls) {
		r.same(false, sameCalls, fmt.Sprintf("call %d, %q, was not made on the neighbour", r.next+1, c.name), callsMean)
		panic(stopReplay{})
	}
	was := r.calls[r.next]
	r.next++
	r.same(was.name == c.name && was.selects == c.selects, sameCalls, fmt.Sprintf("call %d was %q, and is %q", r.next, was.name, c.name), callsMean)
	r.same(was.sensitivity == c.sensitivity, "the declared sensitivity does not depend on the data",
		fmt.Sprintf("%q declared %+v, and declares %+v", c.name, was.sensitivity, c.sensitivity),
		"the scale of the noise is visible, and follows the record that it should hide")
	return was
}

const (
	sameCalls = "the mechanisms are called in the same order, as often, for every neighbour"
	callsMean = "how often noise is drawn, or what is asked next, tells who is in the data, and the budget is charged by the data"
)

type stopReplay struct{}

// same notes the first fault and ends the replay.
func (r *Recorder) same(ok bool, rule, found, means string) {
	if !ok {
		if r.fault == nil {
			r.fault = &Fault{Check: "sensitivity replay", Rule: rule, Found: found, Means: means}
		}
		panic(stopReplay{})
	}
}

// near compares the distance of two recorded vectors, key by key, in exact integers. A key that
// is missing counts as 0.
func (r *Recorder) near(was, is call) {
	l0, linf, l1, l2 := int64(0), new(big.Int), new(big.Int), new(big.Int)
	old := map[string]int64{}
	for i, k := range was.keys {
		old[k] += was.values[i]
	}
	now := map[string]int64{}
	for i, k := range is.keys {
		now[k] += is.values[i]
	}
	if was.selects && (len(old) != len(was.keys) || len(now) != len(is.keys)) {
		r.same(false, "a key is offered to a selection once", fmt.Sprintf("%q has a key twice", is.name), "a key that gets two draws passes twice as often")
	}
	change := func(a, b int64) {
		d := new(big.Int).Sub(big.NewInt(a), big.NewInt(b))
		if d.Abs(d).Sign() == 0 {
			return
		}
		l0++
		l1.Add(l1, d)
		if d.Cmp(linf) > 0 {
			linf.Set(d)
		}
		l2.Add(l2, new(big.Int).Mul(d, d))
	}
	if was.selects {
		for k, v := range old {
			change(v, now[k])
		}
		for k, v := range now {
			if _, both := old[k]; !both {
				change(0, v)
			}
		}
	} else {
		for i := range was.values {
			change(was.values[i], is.values[i])
		}
	}
	for _, n := range []struct {
		name     string
		is       *big.Int
		declared int64
	}{
		{"LInf", linf, is.sensitivity.LInf},
		{"L1", l1, is.sensitivity.L1},
		{"L2Squared", l2, is.sensitivity.L2Squared},
		{"L0", big.NewInt(l0), is.sensitivity.L0},
	} {
		r.same(n.is.Cmp(big.NewInt(n.declared)) <= 0, "one privacy unit moves what is noised by no more than the declared sensitivity",
			fmt.Sprintf("%q moved by %s = %s, and %d is declared", is.name, n.name, n.is, n.declared),
			"the noise is scaled to less than one unit can do: it hides a typical unit and gives an unusual one away")
	}
}

// A SensitivityKit is a computation to be replayed on neighbouring inputs. U is all
// that one privacy unit brings: all rows of one member, or one list.
type SensitivityKit[U any] struct {
	// World draws the units of one input, with unusual ones among them: some of very
	// many rows, rows that others have as well, amounts that are negative or at the
	// ends of the range (see Int64, Float64). Required.
	World func(r *rand.Rand) []U
	// Run is the code under check as in production, but for its mechanisms, which
	// are rec. It returns all that leaves it: what is published, and the error.
	// Required.
	Run func(units []U, rec *Recorder) (published any, err error)
	// Replace says that the code claims to protect the replacement of a unit by
	// another one, not only adding or removing one.
	Replace bool
	// Worlds is how many are drawn; 0 means 400.
	Worlds int
	// Seed fixes them.
	Seed uint64
}

// Sensitivity fails t if neighbours can be told apart; see CheckSensitivity.
func Sensitivity[U any](t testing.TB, kit SensitivityKit[U]) {
	t.Helper()
	report(t, CheckSensitivity(kit))
}

// CheckSensitivity runs the code on random inputs and on all their neighbours, in
// both directions, with every mechanism's answers replayed. Then
//
//   - the same calls are made in the same order, with the same keys and the same
//     declared sensitivity,
//   - what is noised moves by no more than that sensitivity: in L0, L1, L2 and LInf,
//     as exact integers,
//   - and what is published, and the error, are the same, for all they may depend
//     on are the answers. Each input is run twice, to see what depends on the order
//     of a map, and the first one once more when all others have been run, to see what
//     code remembers of them.
//
// A failing input is made smaller for as long as the same rule stays broken: units
// are left out, then slices shortened and numbers and strings made small.
//
// It cannot see time or memory, what Run does not return, nor inputs that World never
// draws: it searches, and proves nothing.
func CheckSensitivity[U any](kit SensitivityKit[U]) error {
	if kit.World == nil || kit.Run == nil {
		return errors.New("sensitivity replay: give World and Run")
	}
	worlds, moved := kit.Worlds, false
	if worlds == 0 {
		worlds = 400
	}
	var first func() *Fault
	for w := range worlds {
		rng := rand.New(stream(kit.Seed, w, 0, 0))
		units := kit.World(rng)
		if first == nil && len(units) > 0 {
			first = kit.rerun(units, fmt.Sprintf("units %+v, before and after other inputs (world %d of seed %d)", units, w, kit.Seed))
		}
		other := units
		if kit.Replace {
			other = kit.World(rng)
		}
		for i := range units {
			p := pair[U]{units, i, nil, uint64(w)}
			if kit.Replace {
				if len(other) == 0 {
					continue
				}
				p.other = &other[i%len(other)]
			}
			fault, called := kit.compare(p)
			moved = moved || called
			if fault != nil {
				p, fault = kit.smallest(p, fault)
				fault.Input = p.String() + fmt.Sprintf(" (shrunk from world %d of seed %d)", w, kit.Seed)
				return fault
			}
		}
	}
	if first != nil {
		if fault := first(); fault != nil {
			return fault
		}
	}
	if !moved {
		return &Fault{
			Check: "sensitivity replay", Rule: "a check that cannot fail shows nothing", Found: "no mechanism was ever called: every world was empty, or every run failed before",
			Means: "the claim is as unproved as before: let Run use its Recorder, and World draw units",
		}
	}
	return nil
}

// A pair is an input and its neighbour: without unit i, or with other in its place.
type pair[U any] struct {
	units []U
	i     int
	other *U
	seed  uint64
}

func (p pair[U]) neighbour() []U {
	out := slices.Delete(slices.Clone(p.units), p.i, p.i+1)
	if p.other != nil {
		out = slices.Insert(out, p.i, *p.other)
	}
	return out
}

func (p pair[U]) String() string {
	if p.other != nil {
		return fmt.Sprintf("units %+v, and number %d replaced by %+v", p.units, p.i+1, *p.other)
	}
	return fmt.Sprintf("units %+v, with and without number %d", p.units, p.i+1)
}

// compare returns the first broken rule of a pair, and whether a mechanism was called.
func (kit SensitivityKit[U]) compare(p pair[U]) (fault *Fault, called bool) {
	d, n := p.units, p.neighbour()
	for _, run := range []struct {
		first, second []U
		again         bool
	}{{d, d, true}, {d, n, false}, {n, d, false}} {
		rec := &Recorder{rng: rand.New(stream(p.seed, 0, 0, 1))}
		a := kit.once(run.first, rec)
		called = called || len(rec.calls) > 0
		rec.replay = true
		b := kit.once(run.second, rec)
		if rec.fault == nil {
			rec.fault = difference(a, b, rec)
		}
		if f := rec.fault; f != nil {
			if run.again {
				f.Rule, f.Means = "the same input twice is the same: "+f.Rule, "the order of a map, a clock or a generator of its own decides: "+f.Means
			}
			return f, called
		}
	}
	return nil, called
}

// rerun runs an input now and, when it is called, once more.
func (kit SensitivityKit[U]) rerun(units []U, input string) func() *Fault {
	rec := &Recorder{rng: rand.New(stream(kit.Seed, 0, 0, 2))}
	was := kit.once(units, rec)
	return func() *Fault {
		rec.replay = true
		is := kit.once(units, rec)
		f := rec.fault
		if f == nil {
			f = difference(was, is, rec)
		}
		if f != nil {
			f.Rule, f.Input = "the same input is the same, whatever was run between: "+f.Rule, input
			f.Means = "the code remembers earlier data, which no budget was charged for: " + f.Means
		}
		return f
	}
}

type outcome struct {
	published any
	err       string
	panicked  string
}

func (kit SensitivityKit[U]) once(units []U, rec *Recorder) (out outcome) {
	defer func() {
		switch r := recover().(type) {
		case nil, stopReplay:
		default:
			out.panicked = fmt.Sprint(r)
		}
	}()
	published, err := kit.Run(clone(units), rec)
	out.published = published
	if err != nil {
		out.err = err.Error()
	}
	return out
}

func difference(a, b outcome, rec *Recorder) *Fault {
	fault := func(rule, means, format string, args ...any) *Fault {
		return &Fault{Check: "sensitivity replay", Rule: rule, Found: fmt.Sprintf(format, args...), Means: means}
	}
	switch {
	case a.panicked != "" || b.panicked != "":
		return fault("no input makes the code panic", "one record stops the round, and who sees it stop knows of the record", "%s", cmp.Or(a.panicked, b.panicked))
	case a.err != b.err:
		return fault("errors are the same for every neighbour", "the error, or that there is one, is published without noise", "%q against %q", a.err, b.err)
	case rec.next != len(rec.calls):
		return fault(sameCalls, callsMean, "%d calls against %d", len(rec.calls), rec.next)
	case !alike(reflect.ValueOf(a.published), reflect.ValueOf(b.published), nil):
		return fault("what is published depends on the mechanisms' answers alone", "a number, a key or an order goes out beside the noise", "%+v against %+v", a.published, b.published)
	}
	return nil
}

// alike compares what is published: as reflect.DeepEqual, but a NaN is like a NaN, and 0 not like −0.
func alike(a, b reflect.Value, seen map[[2]uintptr]bool) bool {
	if !a.IsValid() || !b.IsValid() || a.Type() != b.Type() {
		return a.IsValid() == b.IsValid() && !a.IsValid()
	}
	switch a.Kind() {
	case reflect.Float32, reflect.Float64:
		x, y := a.Float(), b.Float()
		return math.Float64bits(x) == math.Float64bits(y) || math.IsNaN(x) && math.IsNaN(y)
	case reflect.Complex64, reflect.Complex128:
		x, y := a.Complex(), b.Complex()
		return alike(reflect.ValueOf(real(x)), reflect.ValueOf(real(y)), nil) && alike(reflect.ValueOf(imag(x)), reflect.ValueOf(imag(y)), nil)
	case reflect.Pointer:
		at := [2]uintptr{a.Pointer(), b.Pointer()}
		if at[0] == at[1] || at[0] == 0 || at[1] == 0 || seen[at] {
			return at[0] == at[1] || seen[at]
		}
		next := map[[2]uintptr]bool{at: true} // a ring ends here
		maps.Copy(next, seen)
		return alike(a.Elem(), b.Elem(), next)
	case reflect.Interface:
		return alike(a.Elem(), b.Elem(), seen)
	case reflect.Struct:
		for i := range a.NumField() {
			if !alike(a.Field(i), b.Field(i), seen) {
				return false
			}
		}
		return true
	case reflect.Slice, reflect.Array:
		if a.Len() != b.Len() || a.Kind() == reflect.Slice && a.IsNil() != b.IsNil() {
			return false
		}
		for i := range a.Len() {
			if !alike(a.Index(i), b.Index(i), seen) {
				return false
			}
		}
		return true
	case reflect.Map:
		if a.Len() != b.Len() || a.IsNil() != b.IsNil() {
			return false
		}
		for it := a.MapRange(); it.Next(); {
			if v := b.MapIndex(it.Key()); !v.IsValid() || !alike(it.Value(), v, seen) {
				return false
			}
		}
		return true
	case reflect.Func:
		return a.IsNil() && b.IsNil()
	}
	return a.Equal(b)
}

// smallest shrinks a failing pair for as long as the same rule stays broken.
func (kit SensitivityKit[U]) smallest(p pair[U], fault *Fault) (pair[U], *Fault) {
	tries := 2000
	better := func(q pair[U]) bool {
		if tries--; tries < 0 {
			return false
		}
		f, _ := kit.compare(q)
		if f == nil || f.Rule != fault.Rule {
			return false
		}
		p, fault = q, f
		return true
	}
	for progress := true; progress && tries > 0; {
		progress = false
		for i := len(p.units) - 1; i >= 0; i-- {
			if i == p.i || i >= len(p.units) {
				continue
			}
			q := p
			q.units = slices.Delete(slices.Clone(p.units), i, i+1)
			if i < p.i {
				q.i--
			}
			progress = better(q) || progress
		}
		for i := range p.units {
			for smaller(p.units[i], func(u U) bool {
				q := p
				q.units = slices.Clone(p.units)
				q.units[i] = u
				return better(q)
			}) {
				progress = true
			}
		}
		for p.other != nil && smaller(*p.other, func(u U) bool {
			q := p
			q.other = &u
			return better(q)
		}) {
			progress = true
		}
	}
	return p, fault
}
