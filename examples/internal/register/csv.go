package register

import (
	"errors"
	"fmt"
	"slices"
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

var errHeader = errors.New("the first line is not a header with the columns " + strings.Join(columns[:], ", ") + ", each once and no others")

// readHeader takes the header off a file: order[i] is where the i-th column of
// ours is in a row, and rest the file below the header.
func readHeader(text string) (order [4]int, rest string, err error) {
	text = strings.TrimPrefix(text, "\ufeff")
	line, rest, _ := strings.Cut(text, "\n")
	have, ok := splitRow(strings.TrimSuffix(line, "\r"), nil)
	if !ok || len(have) != len(columns) {
		return order, "", errHeader
	}
	for i, column := range columns {
		if order[i] = slices.Index(have, column); order[i] < 0 {
			return order, "", errHeader
		}
	}
	return order, rest, nil
}

// splitRow cuts one line after RFC 4180 into fields, which it appends to fields.
// It is false if a quote is out of place.
func splitRow(line string, fields []string) (_ []string, ok bool) {
	for {
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
