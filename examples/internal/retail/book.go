package retail

import (
	"iter"
	"maps"
	"slices"
	"time"

	"github.com/larder-dp/larder/federated"
	"github.com/larder-dp/larder/federated/source"
)

// A book holds the records of all stores in memory. The lines of all records
// stand in one slice, and a record at two stores shares its lines.
type book struct {
	items  []Item
	index  map[string]int32 // partition → position in items
	lines  []line
	stores map[federated.NodeID]*pages
	fixed  bool // no store begins any more
	homes  bool // members have home stores, and a store without any knows that it has none
}

// A line is a federated.Line with the position of its item.
type line struct {
	item            int32
	quantity, spend int64
}

// The pages of a book are one store's.
type pages struct {
	lists, sales, memberships []entry
	stock                     []federated.Stock
	exceptions                []source.Exception
}

// An entry is a record; its lines are those from (included) to (excluded).
type entry struct {
	id, member, segment string
	stores              []federated.NodeID // nil: the store's own
	time                time.Time
	from, to            int
}

func newBook(items []Item) *book {
	b := &book{items: items, index: map[string]int32{}, stores: map[federated.NodeID]*pages{}}
	for i, item := range items {
		b.index[item.ID] = int32(i)
	}
	return b
}

// store returns the pages of a store, which begin when it is first named; nil if
// the roster is fixed and the store not in it.
func (b *book) store(id federated.NodeID) *pages {
	p, ok := b.stores[id]
	if !ok && !b.fixed {
		p = &pages{}
		b.stores[id] = p
	}
	return p
}

// enter copies a record's lines and returns its entry, without stores.
func (b *book) enter(r federated.Record, segment string) entry {
	e := entry{id: r.ID, member: r.Member, segment: segment, time: r.Time, from: len(b.lines)}
	for _, l := range r.Lines {
		b.lines = append(b.lines, line{b.index[l.Item], l.Quantity, l.Spend})
	}
	e.to = len(b.lines)
	return e
}

// close makes the stores of a world out of the book, which is not added to any
// more. name may be nil.
func (b *book) close(name func(federated.NodeID) string) []Store {
	var out []Store
	for _, id := range slices.Sorted(maps.Keys(b.stores)) {
		p := b.stores[id]
		s := Store{
			ID: id, Name: string(id), Exceptions: p.exceptions,
			Lists: b.records(p.lists), Sales: b.records(p.sales), Memberships: b.records(p.memberships),
			Inventory: inventory(p.stock),
		}
		if name != nil {
			s.Name = name(id)
		}
		if b.homes && s.Memberships == nil {
			s.Memberships = none
		}
		out = append(out, s)
	}
	return out
}

// records is the restartable sequence of entries; nil if there are none.
func (b *book) records(entries []entry) federated.Records {
	if len(entries) == 0 {
		return nil
	}
	return func(yield func(federated.Record, error) bool) {
		var lines []federated.Line // reused, as federated.Record allows
		for i := range entries {
			e := &entries[i]
			lines = lines[:0]
			for _, l := range b.lines[e.from:e.to] {
				lines = append(lines, federated.Line{Item: b.items[l.item].ID, Quantity: l.quantity, Spend: l.spend})
			}
			r := federated.Record{
				ID: e.id, Member: e.member, Stores: e.stores, Segment: e.segment, Time: e.time, Lines: lines,
			}
			if !yield(r, nil) {
				return
			}
		}
	}
}

// none is a sequence without a record.
func none(func(federated.Record, error) bool) {}

func inventory(stock []federated.Stock) iter.Seq2[federated.Stock, error] {
	if len(stock) == 0 {
		return nil
	}
	return func(yield func(federated.Stock, error) bool) {
		for _, s := range stock {
			if !yield(s, nil) {
				return
			}
		}
	}
}
