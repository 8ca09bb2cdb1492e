package source

import (
	"bytes"
	"errors"
	"io"
)

const (
	maxElement = 16 << 20 // bytes of one element of a JSON array, or of one flat list
	maxDepth   = 1 << 10  // nested brackets that are told apart
	readSize   = 64 << 10 // bytes read at a time
)

// Signs that matter to where an element ends.
const (
	outside = 1 << iota // outside of strings
	inside              // within a string
)

var signs = [256]byte{
	'"': outside | inside, '\n': outside | inside, '\\': inside,
	'{': outside, '}': outside, '[': outside, ']': outside, ',': outside,
}

// An elements splits the text of one JSON array into its elements without
// holding more than one, and finds its way back after damage. It checks
// brackets and quotes only; the rest is for the parser.
//
// An element reaches to the next comma or ] outside of its strings and
// brackets. A closing bracket closes what was left open within the bracket that
// it fits, and one that fits none is passed over. A line break ends a string,
// as JSON forbids it there. An object that follows a comma directly within an
// object begins the next element, as JSON allows only a name there: so a record
// that lost its last bracket takes nothing with it.
type elements struct {
	in    *input
	chunk []byte // what is left of the reader's buffer
	taken int    // bytes of the buffer already used
	line  int    // of the next byte
	fresh bool   // the next byte is the first of its line, other than line 1
	begun bool
	shut  bool   // the last element was followed by ]
	text  []byte // of the element in hand
	open  []byte // brackets
	deep  int    // brackets beyond maxDepth
}

func newElements(in *input) *elements { return &elements{in: in, line: 1} }

// An element is the text of one element and the line of its first byte. With a
// problem it is damage that the splitter saw; last says that nothing follows.
type element struct {
	text    []byte
	line    int
	problem Problem
	last    bool
}

// fill makes sure that chunk is not empty.
func (e *elements) fill() error {
	if len(e.chunk) > 0 {
		return nil
	}
	_, _ = e.in.Discard(e.taken) // cannot fail: the bytes are in the buffer
	e.taken = 0
	if _, err := e.in.Peek(1); err != nil {
		return err
	}
	e.chunk, _ = e.in.Peek(e.in.Buffered())
	return nil
}

// take uses up n bytes of the chunk.
func (e *elements) take(n int) {
	if n > 0 {
		e.fresh = e.chunk[n-1] == '\n'
	}
	e.chunk = e.chunk[n:]
	e.taken += n
}

// blank passes over white space and returns the byte that follows.
func (e *elements) blank() (byte, error) {
	for {
		if err := e.fill(); err != nil {
			return 0, err
		}
		for i, c := range e.chunk {
			switch c {
			case '\n':
				e.line++
			case ' ', '\t', '\r':
			default:
				e.take(i)
				return c, nil
			}
		}
		e.take(len(e.chunk))
	}
}

// errNotArray says that a file is of another kind. It depends on the first sign
// of the file and on nothing else: a record cannot bring it about.
var errNotArray = errors.New("not a JSON array")

// next returns the next element. It returns io.EOF at the proper end of the
// array, and otherwise only errNotArray and errors of the storage.
func (e *elements) next() (element, error) {
	if !e.begun {
		e.begun = true
		c, err := e.blank()
		if err != nil {
			return e.ended(err, true)
		}
		if c != '[' {
			if e.in.source.err != nil { // already, within the first bytes
				return e.ended(e.in.source.err, true)
			}
			return element{}, errNotArray
		}
		e.take(1)
		if c, err = e.blank(); err != nil {
			return e.ended(err, true)
		}
		if c == ']' {
			e.take(1)
			return e.after()
		}
	}
	if e.shut {
		return e.after()
	}
	c, err := e.blank()
	if err != nil {
		return e.ended(err, true)
	}
	line := e.line
	if c == ',' || c == ']' { // an element is missing
		e.end(c)
		return element{line: line, problem: NotJSON}, nil
	}
	return e.split(line)
}

// end uses up the sign after an element.
func (e *elements) end(c byte) {
	e.take(1)
	e.shut = c == ']'
}

// after reads what follows the ] of the array: nothing, it should be. If there
// is something, a bracket was out of place, and reading goes on.
func (e *elements) after() (element, error) {
	e.shut = false
	c, err := e.blank()
	if err != nil {
		return e.ended(err, false)
	}
	line := e.line
	if c == ',' {
		e.take(1)
	}
	return element{line: line, problem: NotJSON}, nil
}

// ended makes the end of the file an element: CutOff if it is within the
// array or the decompressor says so.
func (e *elements) ended(err error, within bool) (element, error) {
	problem, err := e.in.ended(err)
	if err != nil {
		return element{}, err
	}
	if problem == "" && within {
		problem = CutOff
	}
	if problem == "" {
		return element{}, io.EOF
	}
	line := e.line
	if e.fresh {
		line--
	}
	return element{line: line, problem: problem, last: true}, nil
}

// split reads an element from its first byte.
func (e *elements) split(line int) (element, error) {
	e.text, e.open, e.deep = e.text[:0], e.open[:0], 0
	quoted, escaped, tooLong := false, false, false
	mask := byte(outside)
	for {
		if err := e.fill(); err != nil {
			return e.ended(err, true)
		}
		i := 0
		if escaped {
			escaped = false
			if e.chunk[0] != '\n' {
				i = 1
			}
		}
		for ; i < len(e.chunk); i++ {
			c := e.chunk[i]
			if signs[c]&mask == 0 {
				continue
			}
			switch c {
			case '\n':
				e.line++
				quoted = false
			case '"':
				quoted = !quoted
			case '\\':
				if i+1 == len(e.chunk) {
					escaped = true
				} else if e.chunk[i+1] != '\n' {
					i++
				}
			case '{':
				if string(e.open) == "{" && e.afterComma(i) {
					return e.finish(i, line, tooLong), nil
				}
				e.push(c)
			case '[':
				e.push(c)
			case '}', ']', ',':
				if c != ',' && e.pop(c) || len(e.open) > 0 || c == '}' {
					break
				}
				el := e.finish(i, line, tooLong)
				e.end(c)
				return el, nil
			}
			mask = outside
			if quoted {
				mask = inside
			}
		}
		if !tooLong {
			e.text = append(e.text, e.chunk...)
			if tooLong = len(e.text) > maxElement; tooLong {
				e.text = e.text[:0]
			}
		}
		e.take(len(e.chunk))
	}
}

// finish makes an element of what was read and the first n bytes of the chunk.
func (e *elements) finish(n, line int, tooLong bool) element {
	if !tooLong {
		e.text = append(e.text, e.chunk[:n]...)
	}
	e.take(n)
	if tooLong || len(e.text) > maxElement {
		return element{line: line, problem: TooLong}
	}
	return element{text: e.text, line: line}
}

// afterComma says whether the last sign before byte i of the chunk is a comma.
func (e *elements) afterComma(i int) bool {
	const space = " \t\r\n"
	before := bytes.TrimRight(e.chunk[:i], space)
	if len(before) == 0 {
		before = bytes.TrimRight(e.text, space)
	}
	return len(before) > 0 && before[len(before)-1] == ','
}

func (e *elements) push(c byte) {
	if len(e.open) == maxDepth {
		e.deep++
		return
	}
	e.open = append(e.open, c)
}

// pop closes a bracket and what is open within it; false if none fits.
func (e *elements) pop(c byte) bool {
	if e.deep > 0 {
		e.deep--
		return true
	}
	at := bytes.LastIndexByte(e.open, c-2) // '{' and '[' are two below '}' and ']'
	if at < 0 {
		return false
	}
	e.open = e.open[:at]
	return true
}
