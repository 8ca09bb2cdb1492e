package source

import (
	"errors"
	"fmt"
	"io"
	"unicode/utf16"
	"unicode/utf8"
)

// eachElement ranges over the elements of a file that is one JSON array. Damage
// goes to the exceptions; with an error, or when visit returns false, it is
// over. An element's texts are good only during its visit. The advice is for
// whoever gives a file of another kind.
func (p *pass) eachElement(f File, dropped, advice string, visit func(v *values) bool) error {
	in, err := f.open(readSize)
	if err != nil {
		return err
	}
	defer in.close()
	split, v := newElements(in), &values{}
	for {
		el, err := split.next()
		if err == io.EOF {
			return nil
		}
		if errors.Is(err, errNotArray) {
			return fmt.Errorf("read %s: %w: %s", f.Name, err, advice)
		}
		if err != nil {
			return err
		}
		if el.problem != "" {
			what := dropped
			if el.last {
				what = droppedRest
			}
			p.reject(el.line, what, []Reason{{"", el.problem}})
			if el.last {
				return nil
			}
			continue
		}
		v.reset(el)
		if !visit(v) {
			return nil
		}
	}
}

const maxNesting = 100 // of a value that is passed over

// A kind is the kind of a JSON value.
type kind byte

const (
	absent    kind = iota
	text           // a string
	badText        // a string with a broken escape or broken UTF-8
	literal        // a number, or something else without quotes and brackets
	composite      // an object or an array
	other          // null, true, false
)

// A value is one JSON value: the content of a string, or the text of a literal.
type value struct {
	kind kind
	b    []byte
}

// A values parses one element. A structural error sets broken and ends every
// loop; everything else is left to the reader of the value.
type values struct {
	b       []byte
	i       int
	line    int // of b[i]
	start   int // the element's line
	broken  bool
	strange bool // a literal that is not JSON was seen
	key     []byte
	scratch []byte // unescaped strings; grows within an element
}

func (v *values) reset(el element) {
	v.b, v.i, v.line, v.start = el.text, 0, el.line, el.line
	v.broken, v.strange, v.scratch = false, false, v.scratch[:0]
}

// peek passes over white space and returns the next byte, or 0 at the end.
func (v *values) peek() byte {
	for ; v.i < len(v.b); v.i++ {
		switch c := v.b[v.i]; c {
		case '\n':
			v.line++
		case ' ', '\t', '\r':
		default:
			return c
		}
	}
	return 0
}

// begin passes over an opening bracket if it is next.
func (v *values) begin(c byte) bool {
	if v.peek() != c {
		return false
	}
	v.i++
	return true
}

// more says whether the n-th part of an object or an array follows, and passes
// over the comma before it or the bracket that ends it.
func (v *values) more(n int, end byte) bool {
	if v.broken {
		return false
	}
	c := v.peek()
	if c == end {
		v.i++
		return false
	}
	if n > 0 {
		if c != ',' {
			v.broken = true
			return false
		}
		v.i++
		if v.peek() == end { // a comma too many
			v.broken = true
			return false
		}
	}
	return true
}

// member reads the name of the n-th member of an object into key.
func (v *values) member(n int) bool {
	if !v.more(n, '}') {
		return false
	}
	if v.peek() != '"' {
		v.broken = true
		return false
	}
	name := v.value()
	v.key = name.b
	if v.peek() != ':' || name.kind != text {
		v.broken = true
		return false
	}
	v.i++
	return true
}

// finish checks that an element is over.
func (v *values) finish() {
	if v.peek() != 0 || v.i < len(v.b) || v.strange {
		v.broken = true
	}
}

// object reads the members of an object whose bracket is open: the named ones
// into x, except those that own reads itself; the others are passed over. It
// returns the set of names that were given twice (bit k for name k); of these
// the first counts.
func (v *values) object(names []string, x []value, own func(k int) bool) (twice uint) {
	var seen uint
	for n := 0; v.member(n); n++ {
		k := 0
		for k < len(names) && string(v.key) != names[k] {
			k++
		}
		switch {
		case k == len(names):
			v.ignore(1)
		case seen&(1<<k) != 0:
			twice |= 1 << k
			v.ignore(1)
		default:
			seen |= 1 << k
			if own == nil || !own(k) {
				x[k] = v.nested(1)
			}
		}
	}
	return twice
}

// record reads an element that should be an object, and adds to the reasons of
// p what is wrong with it as a whole; false if there is nothing to look at.
func (p *pass) record(v *values, names []string, x []value, own func(k int) bool) bool {
	if !v.begin('{') {
		v.ignore(0)
		if v.finish(); v.broken {
			p.fault("", NotJSON)
		} else {
			p.fault("", WrongType)
		}
		return false
	}
	twice := v.object(names, x, own)
	if v.finish(); v.broken {
		p.fault("", NotJSON)
	}
	for k, name := range names {
		if twice&(1<<k) != 0 {
			p.fault(name, Repeated)
		}
	}
	return !v.broken
}

// value reads any value.
func (v *values) value() value { return v.nested(0) }

func (v *values) nested(depth int) value {
	switch v.peek() {
	case '"':
		return v.quoted()
	case '{':
		v.i++
		if depth == maxNesting {
			v.broken = true
		}
		for n := 0; v.member(n); n++ {
			v.ignore(depth + 1)
		}
		return value{kind: composite}
	case '[':
		v.i++
		if depth == maxNesting {
			v.broken = true
		}
		for n := 0; v.more(n, ']'); n++ {
			v.ignore(depth + 1)
		}
		return value{kind: composite}
	}
	from := v.i
	for v.i < len(v.b) && !ends(v.b[v.i]) {
		v.i++
	}
	b := v.b[from:v.i]
	switch string(b) {
	case "null", "true", "false":
		return value{kind: other}
	case "":
		v.broken = true
	}
	return value{literal, b}
}

// ignore passes over a value that nobody reads; only JSON will do.
func (v *values) ignore(depth int) {
	if v.nested(depth).unread() != "" {
		v.strange = true
	}
}

// unread is the problem of a value that nobody reads: not being JSON.
func (x value) unread() Problem {
	if x.kind == badText || x.kind == literal && numberShape(x.b) == notNumber {
		return NotJSON
	}
	return ""
}

func ends(c byte) bool {
	switch c {
	case ' ', '\t', '\r', '\n', ',', ':', '{', '}', '[', ']', '"':
		return true
	}
	return false
}

// quoted reads a string.
func (v *values) quoted() value {
	v.i++
	from, plain := v.i, true
	for ; v.i < len(v.b); v.i++ {
		switch c := v.b[v.i]; {
		case c == '"':
			b := v.b[from:v.i]
			v.i++
			if plain {
				return value{text, b}
			}
			return v.unescape(b)
		case c == '\\':
			plain = false
			v.i++
			if v.i < len(v.b) && v.b[v.i] == '\n' {
				v.broken = true
				return value{kind: badText}
			}
		case c == '\n': // the splitter ended the string here too
			v.broken = true
			return value{kind: badText}
		case c < ' ' || c >= utf8.RuneSelf:
			plain = false
		}
	}
	v.broken = true
	return value{kind: badText}
}

// unescape decodes the inside of a string. RFC 8259 §7.
func (v *values) unescape(b []byte) value {
	from := len(v.scratch)
	for i := 0; i < len(b); {
		c := b[i]
		switch {
		case c < ' ':
			return value{kind: badText}
		case c >= utf8.RuneSelf:
			r, n := utf8.DecodeRune(b[i:])
			if r == utf8.RuneError && n == 1 {
				return value{kind: badText}
			}
			v.scratch = append(v.scratch, b[i:i+n]...)
			i += n
		case c != '\\':
			v.scratch = append(v.scratch, c)
			i++
		case b[i+1] == 'u': // quoted saw a byte after each backslash
			r, n := escapedRune(b[i:])
			if n == 0 {
				return value{kind: badText}
			}
			v.scratch = utf8.AppendRune(v.scratch, r)
			i += n
		default:
			decoded := escapes[b[i+1]]
			if decoded == 0 {
				return value{kind: badText}
			}
			v.scratch = append(v.scratch, decoded)
			i += 2
		}
	}
	return value{text, v.scratch[from:len(v.scratch):len(v.scratch)]}
}

var escapes = [256]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

// escapedRune decodes \uXXXX or a surrogate pair; n is 0 if it is neither.
func escapedRune(b []byte) (r rune, n int) {
	r, ok := hex4(b)
	if !ok {
		return 0, 0
	}
	if !utf16.IsSurrogate(r) {
		return r, 6
	}
	if low, ok := hex4(b[6:]); ok {
		if r = utf16.DecodeRune(r, low); r != utf8.RuneError {
			return r, 12
		}
	}
	return 0, 0
}

func hex4(b []byte) (rune, bool) {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0, false
	}
	var r rune
	for _, c := range b[2:6] {
		switch {
		case c >= '0' && c <= '9':
			r = r<<4 | rune(c-'0')
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			r = r<<4 | rune(c|0x20-'a'+10)
		default:
			return 0, false
		}
	}
	return r, true
}

// resync goes on after the part of an array that began at byte i, by the same
// rule by which elements are split.
func (v *values) resync(i, line int) {
	v.i, v.line, v.broken = i, line, false
	e := elements{}
	quoted := false
	for ; v.i < len(v.b); v.i++ {
		c := v.b[v.i]
		switch {
		case c == '\n':
			v.line++
			quoted = false
		case c == '"':
			quoted = !quoted
		case quoted:
			if c == '\\' && v.i+1 < len(v.b) && v.b[v.i+1] != '\n' {
				v.i++
			}
		case c == '{' || c == '[':
			e.push(c)
		case c == '}' || c == ']' || c == ',':
			if c != ',' && e.pop(c) || len(e.open) > 0 || c == '}' {
				break
			}
			return
		}
	}
	v.broken = true
}
