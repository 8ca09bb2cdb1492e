package source

import (
	"slices"

	"github.com/larder-dp/larder/federated"
)

const maxPreferences = 1 << 10 // in one list

// Lists reads shopping lists: a JSON array as in lists.json. The package
// documentation gives the format. Each range reads the file from its beginning.
func Lists(f File, o Options) (federated.Records, error) {
	if err := o.validate(f, true); err != nil {
		return nil, err
	}
	key := slices.Clone(o.ListKey)
	return func(yield func(federated.Record, error) bool) {
		l := &listReader{pass: newPass(f, o), ids: newListIDs(key)}
		err := l.eachElement(f, droppedList, "is it CSV? use ListsCSV", func(v *values) bool {
			r := l.read(v)
			return l.rejected(v.start, droppedList) || yield(r, nil)
		})
		if err != nil {
			yield(federated.Record{}, err)
		}
	}, nil
}

var listFields = []string{"list_id", "membership_number", "date", "list_items", "store_location_preferences"}

type listReader struct {
	*pass
	ids    *listIDs
	lines  lines
	stores []federated.NodeID
}

// read reads one list. If it must be dropped there are reasons.
func (l *listReader) read(v *values) (r federated.Record) {
	l.lines.reset()
	l.stores = l.stores[:0]
	hasStores := false
	var x [5]value
	ok := l.record(v, listFields, x[:], func(k int) bool {
		switch k {
		case 3:
			l.readLines(v, listFields[k], droppedListLine, &l.lines)
		case 4:
			hasStores = true
			l.readStores(v, listFields[k])
		default:
			return false
		}
		return true
	})
	if !ok {
		return r
	}
	if x[0].kind != absent {
		b, problem := x[0].id()
		l.fault(listFields[0], problem)
		r.ID = string(b)
	}
	if x[1].kind != absent {
		b, problem := x[1].member()
		l.fault(listFields[1], problem)
		r.Member = l.name(b)
	}
	if x[2].kind != absent {
		t, problem := l.time(x[2])
		l.fault(listFields[2], problem)
		r.Time = t
	}
	l.fault(listFields[3], l.lines.problem)
	if !hasStores {
		l.fault(listFields[4], Missing)
	}
	r.Stores, r.Lines = l.stores, l.lines.known
	// An id is drawn for every list whose text is in order, also if this node's
	// catalog knows none of its items: the ordinals must not depend on it.
	if len(l.reasons) == 0 && x[0].kind == absent && len(l.lines.read) > 0 {
		r.ID = l.ids.id(r, l.lines.read)
	}
	if l.lines.problem == "" && len(l.lines.known) == 0 {
		l.fault(listFields[3], Empty)
	}
	return r
}

// readStores reads the preferences: each store once, in the order written.
func (l *listReader) readStores(v *values, field string) {
	if !v.begin('[') {
		v.ignore(1)
		l.fault(field, WrongType)
		return
	}
	n := 0
	for ; v.more(n, ']'); n++ {
		if n >= maxPreferences {
			v.ignore(2)
			continue
		}
		b, problem := v.nested(2).node()
		if problem != "" {
			l.fault(index(field, n, ""), problem)
			continue
		}
		if store := l.node(b); !slices.Contains(l.stores, store) {
			l.stores = append(l.stores, store)
			l.namesStore(b, problem)
		}
	}
	switch {
	case n == 0:
		l.fault(field, Empty)
	case n > maxPreferences:
		l.fault(field, TooLong)
	}
}
