package fedtest

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/larder-dp/larder/dp"
	"github.com/larder-dp/larder/federated"
)

// A world is the records of a small federation, unit by unit, so that one can be
// added or removed.
type world struct {
	tpl       Template
	epoch     string
	stores    []federated.NodeID
	items     []string // the public partitions
	units     []unitRows
	bounds    dp.Bounds
	window    federated.Window
	inventory map[federated.NodeID]string // independent, counted, perpetual or none
	selects   bool
	reverse   bool // serve rows and lines in the opposite order
	skew      map[federated.NodeID]time.Duration

	byStore map[place][]row // units' rows in their order; made when needed
}

// A place is where a store keeps records of a kind.
type place struct {
	store federated.NodeID
	kind  federated.Kind
}

// copied returns a world to be changed.
func (w *world) copied() *world {
	out := *w
	out.byStore = nil
	return &out
}

// unitRows is everything that one privacy unit left behind, and what of it is
// secret.
type unitRows struct {
	rows    []row
	planted []Canary
}

// A row is a record at a store. at orders the rows of a store; it stays when
// other rows go.
type row struct {
	store federated.NodeID
	kind  federated.Kind
	rec   federated.Record
	at    uint64
}

func (w *world) without(i int) *world {
	out := w.copied()
	out.units = slices.Delete(slices.Clone(w.units), i, i+1)
	return out
}

// records are one store's rows of a kind, as they stand there.
func (w *world) records(store federated.NodeID, kind federated.Kind) []federated.Record {
	rows := w.index()[place{store, kind}]
	out := make([]federated.Record, len(rows))
	for i, r := range rows {
		out[i] = r.rec
		if d := w.skew[store]; d != 0 && !r.rec.Time.IsZero() {
			out[i].Time = r.rec.Time.Add(d)
		}
	}
	if w.reverse {
		slices.Reverse(out)
		for i := range out {
			out[i].Lines = slices.Clone(out[i].Lines)
			slices.Reverse(out[i].Lines)
		}
	}
	return out
}

func (w *world) index() map[place][]row {
	if w.byStore != nil {
		return w.byStore
	}
	w.byStore = map[place][]row{}
	for _, u := range w.units {
		for _, r := range u.rows {
			w.byStore[place{r.store, r.kind}] = append(w.byStore[place{r.store, r.kind}], r)
		}
	}
	for _, rows := range w.byStore {
		slices.SortStableFunc(rows, func(a, b row) int { return cmp.Compare(a.at, b.at) })
	}
	return w.byStore
}

// stock is a store's inventory as its owner declares it. What may not be told
// moves with the sales, so that telling it shows.
func (w *world) stock(store federated.NodeID) federated.Inventory {
	var sold []federated.Stock
	for _, r := range w.records(store, federated.Sales) {
		for _, l := range r.Lines {
			if l.Quantity > 0 && l.Quantity < 1000 {
				sold = append(sold, federated.Stock{Item: l.Item, Quantity: -l.Quantity})
			}
		}
	}
	fixed := make([]federated.Stock, len(w.items))
	for i, item := range w.items {
		fixed[i] = federated.Stock{Item: item, Quantity: int64(100 + i)}
	}
	items := func(moved []federated.Stock) iter.Seq2[federated.Stock, error] {
		return func(yield func(federated.Stock, error) bool) {
			for _, s := range append(slices.Clone(fixed), moved...) {
				if !yield(s, nil) {
					return
				}
			}
		}
	}
	switch w.inventory[store] {
	case "independent":
		return federated.Independent(items(nil))
	case "counted":
		if w.tpl.Unit == federated.UnitList {
			sold = nil // neighbours share what may be told
		}
		return federated.Counted(items(sold))
	case "perpetual":
		return federated.Perpetual(items(sold))
	}
	return federated.Inventory{}
}

// question fills the template in.
func (w *world) question(p dp.Params) federated.Question {
	q := federated.Question{
		Stores: w.stores, Partitions: w.items, From: w.tpl.From, Unit: w.tpl.Unit, Cells: w.tpl.Cells,
		Trust: cmp.Or(w.tpl.Trust, federated.TrustedCoordinator), Epoch: w.epoch, Window: w.window, Bounds: w.bounds,
		Privacy: p, Quorum: 1,
	}
	if w.selects {
		q.Select = p
	}
	if q.Trust == federated.Local {
		q.Privacy = dp.Params{Epsilon: p.Epsilon, Mechanism: dp.Auto}
	}
	return q
}

// planted are the secrets of the world.
func (w *world) planted() []Canary {
	var out []Canary
	for _, u := range w.units {
		out = append(out, u.planted...)
	}
	return out
}

// String shows the world for a failure message. Its people are made up.
func (w *world) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d stores %v, %d partitions, %s from %s, %v", len(w.stores), trim(w.stores), len(w.items), w.tpl.Unit, w.tpl.From, boundsWords(w.bounds))
	for i, u := range w.units {
		fmt.Fprintf(&b, "\nunit %d:", i+1)
		for _, r := range u.rows {
			fmt.Fprintf(&b, "\n  at %s, %s: id %q member %q stores %v segment %q", r.store, r.kind, r.rec.ID, r.rec.Member, r.rec.Stores, r.rec.Segment)
			if r.kind == federated.Sales && !r.rec.Time.IsZero() {
				fmt.Fprintf(&b, " on %s", r.rec.Time.Format("Mon 2 15:04"))
			}
			for _, l := range r.rec.Lines {
				if fmt.Fprintf(&b, " %s×%d", l.Item, l.Quantity); l.Spend != 0 {
					fmt.Fprintf(&b, " for %d", l.Spend)
				}
			}
		}
	}
	const most = 2000
	if b.Len() > most {
		return b.String()[:most] + " …"
	}
	return b.String()
}

func boundsWords(b dp.Bounds) string {
	return fmt.Sprintf("bounds L0=%d LInf=%d L1=%d MaxNodes=%d", b.L0, b.LInf, b.L1, b.MaxNodes)
}

func trim(s []federated.NodeID) []federated.NodeID { return s[:min(len(s), 8)] }

var (
	monday  = time.Date(2031, 3, 3, 0, 0, 0, 0, time.UTC)
	oneWeek = federated.Window{From: monday, To: monday.AddDate(0, 0, 7)}
)

// A drawer draws a world.
type drawer struct {
	*rand.Rand
	w *world
}

// drawWorld draws a world for a seed. Every store may hold every list, whether
// or not it counts there; rows repeat, pieces and prices run from −1 to beyond 2⁶²,
// and some rows look like those of others.
func (c Config) drawWorld(seed uint64) *world {
	d := drawer{Rand: rand.New(rand.NewPCG(seed, 0x4c4152444552))}
	stores := 1 + d.IntN(4)
	w := &world{
		tpl: c.Questions[int(seed)%len(c.Questions)], epoch: fmt.Sprintf("epoch-%d", seed),
		items: slices.Sorted(slices.Values(c.Items)), inventory: map[federated.NodeID]string{},
		selects: d.IntN(4) == 0,
	}
	if n := 1 + d.IntN(len(w.items)); d.IntN(3) == 0 && n > 1 {
		w.items = w.items[:n]
	}
	for i := range stores {
		s := federated.NodeID(fmt.Sprintf("s%02d", i+1))
		w.stores = append(w.stores, s)
		w.inventory[s] = []string{"independent", "counted", "perpetual", "none"}[d.IntN(4)]
	}
	if d.IntN(2) == 0 {
		w.window = oneWeek
	}
	b := dp.Bounds{L0: 1 + d.Int64N(4), LInf: 1 + d.Int64N(6), MaxNodes: 1}
	b.L1 = 1 + d.Int64N(b.L0*b.LInf)
	if w.tpl.Unit == federated.UnitMember || w.tpl.Unit == federated.UnitList {
		b.MaxNodes = 1 + d.Int64N(3)
	}
	w.bounds, d.w = b, w
	for i := range 2 + d.IntN(4) {
		w.units = append(w.units, d.unit(i))
	}
	return w
}

// grown draws a world of many stores and units, of which each touches few.
func (c Config) grown(seed uint64, stores, units int) *world {
	w := c.drawWorld(seed)
	w.stores, w.units, w.inventory = nil, nil, map[federated.NodeID]string{}
	for i := range stores {
		w.stores = append(w.stores, federated.NodeID(fmt.Sprintf("s%06d", i+1)))
	}
	d := drawer{rand.New(rand.NewPCG(seed, 0x47524f57)), w}
	for i := range units {
		w.units = append(w.units, d.unit(i))
	}
	return w
}

func (d drawer) word(letters string, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = letters[d.IntN(len(letters))]
	}
	return string(b)
}

func (d drawer) someStores(most int) []federated.NodeID {
	out := make([]federated.NodeID, 1+d.IntN(most))
	for i := range out {
		out[i] = d.w.stores[d.IntN(len(d.w.stores))]
	}
	return out
}

func (d drawer) item() string { return d.w.items[d.IntN(len(d.w.items))] }

// unit draws one privacy unit.
func (d drawer) unit(i int) unitRows {
	var u unitRows
	if d.w.tpl.Unit != federated.UnitList && d.w.tpl.From == federated.Sales && d.IntN(4) == 0 { // nobody's: a unit of its own
		d.basket(&u, "")
		return u
	}
	switch d.w.tpl.Unit {
	case federated.UnitMember:
		m := d.member(&u)
		homes := d.someStores(4)
		segment := d.item()
		for _, s := range d.reach(homes) {
			for range 1 + d.IntN(5)/4 { // some are registered twice
				d.row(&u, s, federated.Memberships, federated.Record{Member: m, Stores: homes, Segment: segment})
			}
		}
		if d.IntN(10) == 0 { // rows that disagree: she is at home nowhere
			for _, s := range d.w.stores[:min(len(d.w.stores), 8)] {
				d.row(&u, s, federated.Memberships, federated.Record{Member: m, Stores: slices.Concat(homes, homes[:1], []federated.NodeID{"elsewhere"}), Segment: segment})
			}
		}
		for range d.IntN(4) {
			d.list(&u, m)
		}
		for range d.IntN(4) {
			d.sale(&u, m, segment, d.someStores(1)[0])
		}
	case federated.UnitList:
		d.list(&u, "")
	case federated.UnitMemberAtNode:
		m := d.member(&u)
		s := d.someStores(1)[0]
		segment := d.item()
		d.row(&u, s, federated.Memberships, federated.Record{Member: m, Stores: []federated.NodeID{s}, Segment: segment})
		for range 1 + d.IntN(4) {
			id := d.id(&u, "list id", "L")
			d.row(&u, s, federated.Lists, federated.Record{ID: id, Member: m, Stores: []federated.NodeID{s}, Time: d.when(&u), Lines: d.lines(&u)})
			d.sale(&u, m, segment, s)
		}
	case federated.UnitSale:
		m := ""
		if d.IntN(2) == 0 {
			m = d.member(&u)
		}
		d.basket(&u, m)
	}
	return u
}

// basket draws a sale of a member's or nobody's, which may come in several records.
func (d drawer) basket(u *unitRows, member string) {
	s := d.someStores(1)[0]
	id := d.id(u, "sale id", "S")
	for range 1 + d.IntN(3) {
		d.row(u, s, federated.Sales, federated.Record{ID: id, Member: member, Time: d.when(u), Lines: d.priced(u)})
	}
}

// member draws somebody whose id is made as a real system makes it, of her last
// name and 5 hex digits of the SHA-256 of her birthday.
func (d drawer) member(u *unitRows) string {
	last := d.word("bcdfghjklmnpqrstvwxz", 9)
	birthday := monday.AddDate(-20-d.IntN(60), 0, d.IntN(365)).Format("20060102")
	sum := sha256.Sum256([]byte(birthday))
	id := last + "_" + hex.EncodeToString(sum[:])[:5]
	u.planted = append(u.planted, Canary{"member id", id, last}, Canary{"last name", last, ""}, Canary{"birthday", birthday, last})
	if d.IntN(12) == 0 { // an id that no pseudonym function takes
		return strings.Repeat(id, 20)
	}
	return id
}

func (d drawer) id(u *unitRows, name, prefix string) string {
	id := prefix + d.word("23456789bcdfghjkmnpqrstvwxz", 13)
	u.planted = append(u.planted, Canary{Name: name, Value: id})
	return id
}

// when draws a time, most often within the week; some records have none.
func (d drawer) when(u *unitRows) time.Time {
	if d.IntN(5) == 0 {
		return time.Time{}
	}
	if d.IntN(12) == 0 { // where the window begins or ends, which is no secret
		return []time.Time{oneWeek.From, oneWeek.To}[d.IntN(2)]
	}
	t := monday.AddDate(0, 0, d.IntN(9)-1).Add(time.Duration(d.Int64N(24 * int64(time.Hour))))
	if t.Minute()+t.Second() == 0 { // in some zone it would be written as the midnight where windows end
		t = t.Add(time.Second)
	}
	u.planted = append(u.planted, Canary{Name: "time", Value: t})
	return t
}

// lines draws an order. Amounts are most often 1 or 2, so that rows of several
// units look alike.
func (d drawer) lines(u *unitRows) []federated.Line {
	out := make([]federated.Line, 1+d.IntN(7))
	for i := range out {
		out[i] = federated.Line{Item: d.item(), Quantity: 1 + d.Int64N(2)}
		switch d.IntN(16) {
		case 0:
			out[i].Quantity = 1<<62 + d.Int64N(1<<40) // two of them wrap
			u.planted = append(u.planted, Canary{Name: "quantity", Value: out[i].Quantity})
		case 1:
			out[i].Quantity = d.Int64N(3) - 1
		case 2:
			out[i].Item = d.word("bcdfghjklmnpqrstvwxz", 12)
			u.planted = append(u.planted, Canary{Name: "item outside the catalog", Value: out[i].Item})
		case 3, 4:
			out[i].Quantity = 1 + d.Int64N(9)
		case 5: // no partition, but nearly one
			item := d.item()
			out[i].Item = []string{strings.ToUpper(item), item + " ", item[:len(item)-1]}[d.IntN(3)]
		}
	}
	return out
}

// priced are lines with what was paid, in cents: some next to nothing, some more than a
// bound takes, so that units differ in what they spend and not only in what they buy.
func (d drawer) priced(u *unitRows) []federated.Line {
	out := d.lines(u)
	for i := range out {
		switch n := d.IntN(16); {
		case n == 0:
			out[i].Spend = 1<<62 + d.Int64N(1<<40)
			u.planted = append(u.planted, Canary{Name: "spend", Value: out[i].Spend})
			if d.IntN(2) == 0 { // two of them wrap
				out = append(out, out[i])
			}
		case n == 1:
			out[i].Spend = d.Int64N(3) - 1
		case n < 9:
			out[i].Spend = 1 + d.Int64N(4)
		default:
			out[i].Spend = 5 + d.Int64N(3000)
		}
	}
	return out
}

func (d drawer) row(u *unitRows, s federated.NodeID, k federated.Kind, r federated.Record) {
	u.rows = append(u.rows, row{s, k, r, d.Uint64()})
}

// reach is where rows that name stores are held: everywhere in a small world,
// there and at one wrong store in a large one.
func (d drawer) reach(stores []federated.NodeID) []federated.NodeID {
	if len(d.w.stores) <= 8 {
		return d.w.stores
	}
	out := slices.Sorted(slices.Values(append(slices.Clone(stores), d.w.stores[d.IntN(len(d.w.stores))])))
	return slices.Compact(out)
}

func (d drawer) list(u *unitRows, member string) {
	r := federated.Record{ID: d.id(u, "list id", "L"), Member: member, Stores: d.someStores(4), Time: d.when(u), Lines: d.lines(u)}
	for _, s := range d.reach(r.Stores) {
		d.row(u, s, federated.Lists, r)
	}
}

func (d drawer) sale(u *unitRows, member, segment string, s federated.NodeID) {
	r := federated.Record{ID: d.id(u, "sale id", "S"), Member: member, Segment: segment, Time: d.when(u), Lines: d.priced(u)}
	switch d.IntN(8) {
	case 0, 1, 2, 3:
		r.Stores = []federated.NodeID{s}
	case 4: // of another store, or of several: counts nowhere
		r.Stores = []federated.NodeID{s, "elsewhere"}[d.IntN(2):]
	}
	d.row(u, s, federated.Sales, r)
	if d.IntN(3) == 0 { // the basket goes on in another record
		r.Time, r.Lines = d.when(u), d.priced(u)
		d.row(u, s, federated.Sales, r)
	}
}

// shrink makes a failing world smaller while bad says that it still fails.
// keep is the unit that the failure is about; it stays the first.
func shrink(w *world, keep int, bad func(*world) string) (*world, string) {
	out := w.copied()
	out.units = append([]unitRows{w.units[keep]}, slices.Delete(slices.Clone(w.units), keep, keep+1)...)
	got := bad(out)
	if got == "" { // its place among the units matters: leave the world as it is
		return w, ""
	}
	w = out
	for budget, again := 400, true; again && budget > 0; {
		again = false
		for smaller := range w.smaller() {
			if budget--; budget < 0 {
				break
			}
			if g := bad(smaller); g != "" {
				w, got, again = smaller, g, true
				break
			}
		}
	}
	return w, got
}

// smaller yields worlds with one thing less.
func (w *world) smaller() iter.Seq[*world] {
	return func(yield func(*world) bool) {
		for i := 1; i < len(w.units); i++ {
			if !yield(w.without(i)) {
				return
			}
		}
		if w.window != (federated.Window{}) {
			out := w.copied()
			out.window = federated.Window{}
			if !yield(out) {
				return
			}
		}
		for i, u := range w.units {
			for j, r := range u.rows {
				if len(u.rows) > 1 && !yield(w.with(i, slices.Delete(slices.Clone(u.rows), j, j+1))) {
					return
				}
				for k := range r.rec.Lines {
					rows := slices.Clone(u.rows)
					rows[j].rec.Lines = slices.Delete(slices.Clone(r.rec.Lines), k, k+1)
					if !yield(w.with(i, rows)) {
						return
					}
				}
			}
		}
	}
}

func (w *world) with(i int, rows []row) *world {
	out := w.copied()
	out.units = slices.Clone(w.units)
	out.units[i].rows = rows
	return out
}
