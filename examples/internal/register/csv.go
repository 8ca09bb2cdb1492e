package register

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A RefusedError says why a whole file is not one of applications. Nothing of it
// is taken and it stays where it is. It quotes nothing of the file.
type RefusedError struct {
	File   string
	Reason string
}

func (e *RefusedError) Error() string { return fmt.Sprintf("read %s: %s", e.File, e.Reason) }

// headerHint ends what is said of a wrong header.
var headerHint = ": give " + strings.Join(columns[:], ", ") + ", spelled so, each once and no others"

// readHeader takes the header off a file: order[i] is where the i-th column of
// ours is in a row, and rest the file below the header. An error quotes none of
// it: it could be a row.
func readHeader(text string) (order [4]int, rest string, err error) {
	text = strings.TrimPrefix(text, "\ufeff")
	line, rest, _ := strings.Cut(text, "\n")
	line = strings.TrimSuffix(line, "\r")
	have, ok := splitRow(line, nil, mostOfHeader)
	switch {
	case text == "":
		return order, "", errors.New("it is empty")
	case !utf8.ValidString(line) || strings.IndexByte(line, 0) >= 0:
		return order, "", errors.New("line 1: not UTF-8: save the file as UTF-8")
	case !ok:
		return order, "", errors.New("line 1: the header is not CSV" + headerHint)
	}
	var missing []string
	found := 0
	for i, column := range columns {
		order[i] = -1
		for at, h := range have {
			switch {
			case h != column:
			case order[i] >= 0:
				return order, "", errors.New("line 1: the column " + column + " is there twice" + headerHint)
			default:
				order[i], found = at, found+1
			}
		}
		if order[i] < 0 {
			missing = append(missing, column)
		}
	}
	switch {
	case found == 0:
		return order, "", errors.New("line 1: not a header" + headerHint)
	case len(missing) > 0:
		return order, "", errors.New("line 1: no column " + strings.Join(missing, ", ") + headerHint)
	case len(have) > found:
		return order, "", errors.New("line 1: a column too many" + headerHint)
	}
	return order, rest, nil
}

// How many fields a line is cut into at most: a row with one too many is none, and
// cutting up the rest would only cost memory.
const (
	mostOfRow    = len(columns) + 1
	mostOfHeader = 1000
)

// splitRow cuts one line after RFC 4180 into its fields, the first most of them,
// in place of those of fields. It is false if a quote is out of place.
func splitRow(line string, fields []string, most int) (_ []string, ok bool) {
	fields = fields[:0]
	for {
		if len(fields) == most {
			return fields, true
		}
		if line == "" || line[0] != '"' {
			end := strings.IndexByte(line, ',')
			field := line
			if end >= 0 {
				field = line[:end]
			}
			if strings.IndexByte(field, '"') >= 0 {
				return fields, false
			}
			fields = append(fields, field)
			if end < 0 {
				return fields, true
			}
			line = line[end+1:]
			continue
		}
		end := 1 // of the field, at its closing quote
		for {
			i := strings.IndexByte(line[end:], '"')
			if i < 0 {
				return fields, false
			}
			end += i
			if !strings.HasPrefix(line[end+1:], `"`) {
				break
			}
			end += 2
		}
		fields = append(fields, strings.ReplaceAll(line[1:end], `""`, `"`))
		if line = line[end+1:]; line == "" {
			return fields, true
		}
		if line[0] != ',' {
			return fields, false
		}
		line = line[1:]
	}
}

// appendField writes a field as encoding/csv does.
func appendField(b []byte, s string) []byte {
	if !needsQuotes(s) {
		return append(b, s...)
	}
	b = append(b, '"')
	for i := 0; i < len(s); i++ {
		if s[i] == '"' {
			b = append(b, '"')
		}
		b = append(b, s[i])
	}
	return append(b, '"')
}

func needsQuotes(s string) bool {
	if s == "" {
		return false
	}
	for i := 0; i < len(s); i++ {
		if c := s[i]; c == ',' || c == '"' || c == '\r' || c == '\n' {
			return true
		}
	}
	if s[0] > ' ' && s[0] < utf8.RuneSelf {
		return s == `\.` // the end of data to PostgreSQL's COPY
	}
	r, _ := utf8.DecodeRuneInString(s)
	return unicode.IsSpace(r)
}
