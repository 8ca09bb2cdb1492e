package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
)

// A value is a JSON value that knows where it stands, so that what is wrong with it
// can be said with its line and field.
type value struct {
	line   int
	path   string // lines[2].question.bounds.l0
	scalar any    // string, json.Number, bool or nil
	names  []string
	fields map[string]*value // of an object
	items  []*value          // of an array
	kind   byte              // '{', '[' or 's'
}

func (v *value) errorf(format string, a ...any) error {
	where := ""
	if v.path != "" {
		where = v.path + ": "
	}
	return fmt.Errorf("line %d: %s%s", v.line, where, fmt.Sprintf(format, a...))
}

const mostNested = 16

// readJSON reads one JSON value and nothing after it. A field given twice is an error.
func readJSON(b []byte) (*value, error) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	r := reader{b: b, d: d}
	v, err := r.value("", 0)
	if err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, fmt.Errorf("line %d: there is more after the end of the plan", r.line())
	}
	return v, nil
}

type reader struct {
	b []byte
	d *json.Decoder
}

func (r reader) line() int { return 1 + bytes.Count(r.b[:r.d.InputOffset()], []byte("\n")) }

func (r reader) token() (json.Token, error) {
	t, err := r.d.Token()
	if err == io.EOF {
		return nil, fmt.Errorf("line %d: the file ends too early", r.line())
	}
	if err != nil {
		return nil, fmt.Errorf("line %d: %s", r.line(), strings.TrimPrefix(err.Error(), "json: "))
	}
	return t, nil
}

func (r reader) value(path string, depth int) (*value, error) {
	t, err := r.token()
	if err != nil {
		return nil, err
	}
	v := &value{line: r.line(), path: path, kind: 's', scalar: t}
	delim, ok := t.(json.Delim)
	if !ok {
		return v, nil
	}
	if depth == mostNested {
		return nil, v.errorf("nested too deep")
	}
	v.kind, v.scalar = byte(delim), nil
	for r.d.More() {
		if delim == '[' {
			item, err := r.value(fmt.Sprintf("%s[%d]", path, len(v.items)), depth+1)
			if err != nil {
				return nil, err
			}
			v.items = append(v.items, item)
			continue
		}
		if err := r.field(v, depth); err != nil {
			return nil, err
		}
	}
	_, err = r.token() // the closing one
	return v, err
}

func (r reader) field(v *value, depth int) error {
	t, err := r.token()
	if err != nil {
		return err
	}
	name, _ := t.(string)
	path := name
	if v.path != "" {
		path = v.path + "." + name
	}
	line := r.line()
	f, err := r.value(path, depth+1)
	if err != nil {
		return err
	}
	if v.fields == nil {
		v.fields = map[string]*value{}
	}
	if v.fields[name] != nil {
		return (&value{line: line, path: path}).errorf("given twice")
	}
	v.fields[name], v.names = f, append(v.names, name)
	return nil
}

// object checks that v is an object that has all of required and no others but optional ones.
func (v *value) object(required, optional []string) error {
	if v.kind != '{' {
		return v.errorf("give an object")
	}
	for _, name := range v.names {
		if !slices.Contains(required, name) && !slices.Contains(optional, name) {
			return v.fields[name].errorf("no such field: give some of %s", strings.Join(append(slices.Clone(required), optional...), ", "))
		}
	}
	for _, name := range required {
		if v.fields[name] == nil {
			return v.errorf("%s is missing", name)
		}
	}
	return nil
}

func (v *value) text(to *string) error {
	s, ok := v.scalar.(string)
	if !ok {
		return v.errorf("give a text in quotes")
	}
	*to = s
	return nil
}

func (v *value) number(to *float64) error {
	n, ok := v.scalar.(json.Number)
	if !ok {
		return v.errorf("give a number")
	}
	x, err := n.Float64()
	if err != nil || math.IsInf(x, 0) {
		return v.errorf("%s is out of range", n)
	}
	*to = x
	return nil
}

// whole reads a whole number; 52.0 and 1e3 are whole too.
func (v *value) whole(to *int64) error {
	n, ok := v.scalar.(json.Number)
	if !ok {
		return v.errorf("give a whole number")
	}
	x, err := strconv.ParseInt(n.String(), 10, 64)
	if err != nil {
		f, ferr := n.Float64()
		if ferr != nil || f != math.Trunc(f) || math.Abs(f) > 1<<53 {
			return v.errorf("%s is not a whole number that fits", n)
		}
		x = int64(f)
	}
	*to = x
	return nil
}

func (v *value) list(each func(*value) error) error {
	if v.kind != '[' {
		return v.errorf("give a list")
	}
	for _, item := range v.items {
		if err := each(item); err != nil {
			return err
		}
	}
	return nil
}

// read fills in the fields that are there.
func (v *value) read(to map[string]func(*value) error) error {
	for _, name := range v.names { // in the order of the file
		if err := to[name](v.fields[name]); err != nil {
			return err
		}
	}
	return nil
}
