package source

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
)

const maxRow = 256 << 10 // bytes of one line of CSV

// A rows reads CSV after RFC 4180, one row a line: a line break does not belong
// to a field even within quotes, so that a misplaced quote spoils one line
// and not the rest of the file. Lines end with LF or CR LF; empty ones are
// passed over.
type rows struct {
	in     *input
	number int      // of the row in hand
	line   int      // of the row in hand
	fields [][]byte // of the row in hand; good until the next
	want   int      // fields in a row; 0 before the header
	over   bool
}

// eachRow ranges over the rows of a CSV file with a header: required columns
// must be there, passed ones may be, others may not, in any order. The fields
// given to visit are those of the required columns, in the order asked for.
func (p *pass) eachRow(f File, dropped string, required, passed []string, visit func(line, size int, fields [][]byte) bool) error {
	in, err := f.open(maxRow)
	if err != nil {
		return err
	}
	defer in.close()
	r := &rows{in: in}
	problem, err := r.next()
	if err != nil && err != io.EOF {
		return err
	}
	if problem == CutOff || problem == Damaged {
		p.reject(r.line, droppedRest, []Reason{{"", problem}})
		return nil
	}
	if problem != "" || err == io.EOF {
		return fmt.Errorf("read %s: the header with column %s is missing", f.Name, required[0])
	}
	columns, err := header(f.Name, r.fields, required, passed)
	if err != nil {
		return err
	}
	r.want = len(r.fields)
	fields := make([][]byte, len(columns))
	for {
		problem, err := r.next()
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		case problem == CutOff || problem == Damaged:
			p.damage = problem
			p.reject(r.line, droppedRest, []Reason{{"", problem}})
			return nil
		case problem != "":
			p.reject(r.line, dropped, []Reason{{"", problem}})
			continue
		}
		size := 0
		for i, c := range columns {
			fields[i] = r.fields[c]
			size += len(fields[i])
		}
		if !visit(r.line, size, fields) {
			return nil
		}
	}
}

// header finds the columns. Its errors give no text of the file: without a
// header that would be a record.
func header(file string, have [][]byte, required, passed []string) ([]int, error) {
	columns := make([]int, len(required))
	for i, name := range required {
		columns[i] = slices.IndexFunc(have, func(b []byte) bool { return string(b) == name })
		if columns[i] < 0 {
			return nil, fmt.Errorf("read %s: column %s is missing", file, name)
		}
	}
	known := slices.Concat(required, passed)
	for i, b := range have {
		k := slices.Index(known, string(b))
		if k < 0 {
			return nil, fmt.Errorf("read %s: column number %d is not one of this format", file, i+1)
		}
		if slices.ContainsFunc(have[:i], func(other []byte) bool { return bytes.Equal(b, other) }) {
			return nil, fmt.Errorf("read %s: column %s is there twice", file, known[k])
		}
	}
	return columns, nil
}

// next reads a row. It returns io.EOF at the proper end and otherwise only
// errors of the storage; CutOff and Damaged are the last.
func (r *rows) next() (Problem, error) {
	for {
		if r.over {
			return "", io.EOF
		}
		r.number++
		text, err := r.in.ReadSlice('\n')
		r.line = r.number
		if errors.Is(err, bufio.ErrBufferFull) {
			for errors.Is(err, bufio.ErrBufferFull) {
				_, err = r.in.ReadSlice('\n')
			}
			if err == nil {
				return TooLong, nil
			}
			if problem, err := r.end(err); err != nil || problem != "" {
				return problem, err
			}
			return TooLong, nil
		}
		if err != nil {
			problem, err := r.end(err)
			if err != nil {
				return "", err
			}
			if problem != "" {
				if len(text) == 0 && r.line > 1 {
					r.line--
				}
				return problem, nil
			}
		}
		text = bytes.TrimSuffix(text, []byte{'\n'})
		text = bytes.TrimSuffix(text, []byte{'\r'})
		if len(text) > 0 {
			return r.split(text), nil
		}
	}
}

func (r *rows) end(err error) (Problem, error) {
	r.over = true
	return r.in.ended(err)
}

// split cuts a line into fields.
func (r *rows) split(text []byte) Problem {
	r.fields = r.fields[:0]
	if bytes.IndexByte(text, '"') >= 0 {
		if !r.splitQuoted(text) {
			return NotCSV
		}
	} else {
		from := 0
		for i, c := range text {
			if c == ',' {
				r.fields = append(r.fields, text[from:i])
				from = i + 1
			}
		}
		r.fields = append(r.fields, text[from:])
	}
	if r.want != 0 && len(r.fields) != r.want {
		return NotCSV
	}
	return ""
}

// splitQuoted cuts a line with quotes in it; false if one is out of place.
func (r *rows) splitQuoted(text []byte) bool {
	for {
		if len(text) == 0 || text[0] != '"' {
			field, rest, more := bytes.Cut(text, []byte{','})
			if bytes.IndexByte(field, '"') >= 0 {
				return false
			}
			r.fields = append(r.fields, field)
			if !more {
				return true
			}
			text = rest
			continue
		}
		field, n := unquote(text)
		if n == 0 {
			return false
		}
		r.fields = append(r.fields, field)
		if n == len(text) {
			return true
		}
		if text[n] != ',' {
			return false
		}
		text = text[n+1:]
	}
}

// unquote decodes, in place, the quoted field that text begins with; n is its
// length with the quotes, or 0 if it does not end.
func unquote(text []byte) (field []byte, n int) {
	end := 1 // of what is decoded
	for i := 1; i < len(text); i++ {
		if text[i] == '"' {
			if i+1 == len(text) || text[i+1] != '"' {
				return text[1:end], i + 1
			}
			i++
		}
		text[end] = text[i]
		end++
	}
	return nil, 0
}
