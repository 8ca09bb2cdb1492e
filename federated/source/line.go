package source

import (
	"strconv"
	"time"

	"github.com/larder-dp/larder/federated"
)

// A line is one line of a list or a sale as it was written.
type line struct {
	id        []byte
	partition string
	quantity  int64
	known     bool
}

// lines are the lines of the record in hand.
type lines struct {
	read    []line // in order, with unknown items, without malformed lines
	count   int    // with malformed lines
	known   []federated.Line
	problem Problem // of the field as a whole
}

func (l *lines) reset() {
	l.read, l.known, l.count, l.problem = l.read[:0], l.known[:0], 0, Missing
}

// readLines reads the array of lines in the named field.
func (p *pass) readLines(v *values, field, dropped string, into *lines) {
	if !v.begin('[') {
		v.ignore(1)
		into.problem = WrongType
		return
	}
	into.problem = ""
	for ; v.more(into.count, ']'); into.count++ {
		v.peek()
		p.readLine(v, field, dropped, into)
	}
	if into.count == 0 {
		into.problem = Empty
	}
}

var lineFields = []string{"item_id", "quantity", "item", "category"}

func (p *pass) readLine(v *values, field, dropped string, into *lines) {
	at, first, strange := v.i, v.line, v.strange
	var x [4]value
	var twice uint
	v.strange = false
	object := v.begin('{')
	if object {
		twice = v.object(lineFields, x[:], nil)
	} else {
		v.ignore(0)
	}
	broken := v.broken || v.strange
	v.strange = strange
	switch {
	case broken:
		v.resync(at, first)
		p.reject(first, dropped, []Reason{{index(field, into.count, ""), NotJSON}})
		return
	case !object:
		p.reject(first, dropped, []Reason{{index(field, into.count, ""), WrongType}})
		return
	}
	var l line
	var problems [4]Problem
	l.id, problems[0] = x[0].id()
	l.quantity, problems[1] = positive(x[1].quantity())
	problems[2], problems[3] = x[2].unread(), x[3].unread()
	formed := twice == 0 && problems == [4]Problem{}
	if problems[0] == "" {
		if l.partition, l.known = p.item(l.id); !l.known {
			problems[0] = UnknownItem
		}
	}
	if formed {
		into.read = append(into.read, l)
		if l.known {
			into.known = append(into.known, federated.Line{Item: l.partition, Quantity: l.quantity})
			return
		}
	}
	var reasons []Reason
	for k, name := range lineFields {
		if twice&(1<<k) != 0 {
			reasons = append(reasons, Reason{index(field, into.count, name), Repeated})
		}
		if problems[k] != "" {
			reasons = append(reasons, Reason{index(field, into.count, name), problems[k]})
		}
	}
	p.reject(first, dropped, reasons)
}

// id reads an id, which may be a text or a whole number.
func (x value) id() ([]byte, Problem) {
	b, problem := x.plain()
	if problem == "" {
		problem = checkID(b)
	}
	return b, problem
}

func (x value) node() ([]byte, Problem) {
	b, problem := x.plain()
	if problem == "" {
		problem = checkNode(b)
	}
	return b, problem
}

// plain is a text, or a whole number as it would be written as a text.
func (x value) plain() ([]byte, Problem) {
	switch x.kind {
	case absent:
		return nil, Missing
	case text:
		if len(x.b) == 0 {
			return nil, Malformed
		}
		return x.b, ""
	case badText:
		return nil, Malformed
	case literal:
		if n, problem := parseWhole(x.b); problem != "" {
			return nil, problem
		} else if n == 0 {
			return zero, "" // -0 as well
		}
		return x.b, ""
	}
	return nil, WrongType
}

// time reads a time.
func (p *pass) time(x value) (time.Time, Problem) {
	switch x.kind {
	case absent:
		return time.Time{}, Missing
	case text:
		if len(x.b) > 0 {
			return p.parseTime(x.b)
		}
		return time.Time{}, Malformed
	case badText:
		return time.Time{}, Malformed
	}
	return time.Time{}, WrongType
}

var zero = []byte("0")

func (x value) quantity() (int64, Problem) {
	switch x.kind {
	case absent:
		return 0, Missing
	case literal:
		return parseWhole(x.b)
	}
	return 0, WrongType
}

// member reads a member's id; "" is nobody's.
func (x value) member() ([]byte, Problem) {
	if x.kind == text && len(x.b) == 0 {
		return nil, ""
	}
	return x.id()
}

// index names a part of an array: index("list_items", 3, "quantity") is
// list_items[3].quantity.
func index(field string, n int, name string) string {
	field += "[" + strconv.Itoa(n) + "]"
	if name != "" {
		field += "." + name
	}
	return field
}
