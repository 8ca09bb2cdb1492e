package source

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"iter"
	"slices"

	"github.com/larder-dp/larder/federated"
)

var (
	flatListColumns = []string{"list_idx", "store_id", "item_id", "quantity"}
	stockColumns    = []string{"store_id", "item_id", "quantity"}
	flatPassed      = []string{"item", "category"}
)

// InventoryCSV reads inventories as Inventory does, from CSV as in
// inventory.csv.
func InventoryCSV(f File, o Options) (iter.Seq2[StoreStock, error], error) {
	if err := o.validate(f, false); err != nil {
		return nil, err
	}
	return func(yield func(StoreStock, error) bool) {
		p := newPass(f, o)
		err := p.eachRow(f, droppedStock, stockColumns, flatPassed, func(line, _ int, x [][]byte) bool {
			quantity, problem := parseField(x[2])
			s := p.stock(x[0], checkNode(x[0]), x[1], checkID(x[1]), quantity, problem)
			return p.rejected(line, droppedStock) || yield(s, nil)
		})
		if err != nil {
			yield(StoreStock{}, err)
		}
	}, nil
}

// ListsCSV reads lists as Lists does, from CSV as in lists.csv: a row for each
// line of a list and each store that it prefers. The package documentation
// gives the format. Each range reads the file from its beginning.
func ListsCSV(f File, o Options) (federated.Records, error) {
	if err := o.validate(f, true); err != nil {
		return nil, err
	}
	key := slices.Clone(o.ListKey)
	return func(yield func(federated.Record, error) bool) {
		l := &flatReader{pass: newPass(f, o), ids: newListIDs(key), seen: map[[16]byte]struct{}{}}
		stopped := false
		flush := func() bool {
			r, ok := l.list()
			stopped = ok && !yield(r, nil)
			return !stopped
		}
		err := l.eachRow(f, droppedListLine, flatListColumns, flatPassed, func(line, size int, x [][]byte) bool {
			if checkID(x[0]) == "" && string(x[0]) != string(l.index) {
				if !flush() {
					return false
				}
				l.begin(line, x[0])
			}
			l.row(line, size, x)
			return true
		})
		switch {
		case stopped:
		case err != nil: // the list in hand may lack rows
			yield(federated.Record{}, err)
		default:
			flush()
		}
	}, nil
}

// A flatRow is one row of a flat list. The line says which; it is kept if the
// same line stands at every store of the list.
type flatRow struct {
	line
	store  int // which of the list's
	number int // line of the file
	kept   bool
}

const rowCost = 128 // bytes that a row takes in memory besides its text

// A flatReader puts the rows of a list together. It holds one list.
type flatReader struct {
	*pass
	ids    *listIDs
	seen   map[[16]byte]struct{} // hashes of the list_idx that were
	index  []byte                // list_idx in hand; empty before the first
	first  int                   // line of the list's first row
	again  bool                  // the list_idx was there before
	size   int
	text   []byte // ids of the items
	rows   []flatRow
	sorted []*flatRow
	stores []federated.NodeID
	lines  lines
}

// begin begins a list.
func (l *flatReader) begin(line int, index []byte) {
	l.index = append(l.index[:0], index...)
	hash := sha256.Sum256(index)
	name := [16]byte(hash[:16])
	_, l.again = l.seen[name]
	l.seen[name] = struct{}{}
	l.first, l.size = line, 0
	l.text, l.rows, l.stores = l.text[:0], l.rows[:0], l.stores[:0]
	l.lines.reset()
}

// row adds a row to the list in hand, or rejects it. The row of a list that is
// dropped as a whole is not looked at.
func (l *flatReader) row(line, size int, x [][]byte) {
	indexProblem := checkID(x[0])
	if indexProblem == "" {
		if l.size += size + rowCost; l.again || l.size > maxElement || len(l.stores) > maxPreferences {
			return
		}
	}
	storeProblem, itemProblem := checkNode(x[1]), checkID(x[2])
	quantity, quantityProblem := positive(parseField(x[3]))
	r := flatRow{number: line}
	r.quantity = quantity
	formed := indexProblem == "" && storeProblem == "" && itemProblem == "" && quantityProblem == ""
	if itemProblem == "" {
		if r.partition, r.known = l.item(x[2]); !r.known {
			itemProblem = UnknownItem
		}
	}
	if formed {
		store := l.node(x[1])
		if r.store = slices.Index(l.stores, store); r.store < 0 {
			r.store = len(l.stores)
			l.stores = append(l.stores, store)
		}
		from := len(l.text)
		l.text = append(l.text, x[2]...)
		r.id = l.text[from:len(l.text):len(l.text)]
		l.rows = append(l.rows, r)
	}
	l.namesStore(x[1], storeProblem)
	l.fault(flatListColumns[0], indexProblem)
	l.fault(flatListColumns[1], storeProblem)
	l.fault(flatListColumns[2], itemProblem)
	l.fault(flatListColumns[3], quantityProblem)
	l.rejected(line, droppedListLine)
}

// list is the list in hand; false if there is none or it was dropped.
func (l *flatReader) list() (r federated.Record, ok bool) {
	if len(l.index) == 0 {
		return r, false
	}
	switch {
	case l.damage != "": // it may lack rows
		l.fault("", l.damage)
	case l.again:
		l.fault(flatListColumns[0], Scattered)
	case l.size > maxElement:
		l.fault("", TooLong)
	case len(l.stores) > maxPreferences:
		l.fault(flatListColumns[1], TooLong)
	}
	l.at = append(l.at, l.stores...)
	if l.rejected(l.first, droppedList) {
		return r, false
	}
	l.match()
	for i := range l.rows {
		x := &l.rows[i]
		if !x.kept {
			if x.known { // an unknown item was reported when it was read
				l.at = append(l.at, l.stores[x.store])
				l.fault("", NotEqual)
				l.rejected(x.number, droppedListLine)
			}
			continue
		}
		if x.store == 0 {
			l.lines.read = append(l.lines.read, x.line)
			if x.known {
				l.lines.known = append(l.lines.known, federated.Line{Item: x.partition, Quantity: x.quantity})
			}
		}
	}
	r.Stores, r.Lines = l.stores, l.lines.known
	if len(l.lines.read) > 0 {
		r.ID = l.ids.id(r, l.lines.read)
	}
	if len(r.Lines) == 0 {
		l.at = append(l.at, l.stores...)
		l.fault("", Empty)
		l.rejected(l.first, droppedList)
		return r, false
	}
	return r, true
}

// match keeps of each different line (item and quantity) as many rows at every
// store as the store with the fewest has.
func (l *flatReader) match() {
	l.sorted = l.sorted[:0]
	for i := range l.rows {
		l.sorted = append(l.sorted, &l.rows[i])
	}
	slices.SortFunc(l.sorted, func(a, b *flatRow) int {
		return cmp.Or(bytes.Compare(a.id, b.id), cmp.Compare(a.quantity, b.quantity),
			cmp.Compare(a.store, b.store), cmp.Compare(a.number, b.number))
	})
	for rest := l.sorted; len(rest) > 0; {
		n := 1
		for n < len(rest) && bytes.Equal(rest[n].id, rest[0].id) && rest[n].quantity == rest[0].quantity {
			n++
		}
		keep(rest[:n], len(l.stores))
		rest = rest[n:]
	}
}

// keep keeps of rows with one line, sorted by store, the same number at each of
// the stores.
func keep(rows []*flatRow, stores int) {
	fewest, have := len(rows), 0
	for i := 0; i < len(rows); {
		n := i
		for n < len(rows) && rows[n].store == rows[i].store {
			n++
		}
		fewest, have, i = min(fewest, n-i), have+1, n
	}
	if have < stores {
		return
	}
	for i, x := range rows {
		x.kept = i < fewest || rows[i-fewest].store != x.store
	}
}
