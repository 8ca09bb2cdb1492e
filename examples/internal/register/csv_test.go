package register

import (
	"bytes"
	"encoding/csv"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestReadHeader(t *testing.T) {
	t.Parallel()
	order, rest, err := readHeader("\ufeffmobile_no,\"name\",date_of_birth,email\r\nx")
	require.NoError(t, err)
	assert.Equal(t, [4]int{1, 3, 2, 0}, order)
	assert.Equal(t, "x", rest)
	for bad, want := range map[string]string{
		"": "it is empty", "\ufeff": "it is empty", "\n" + ada: "line 1: not a header", ada: "line 1: not a header",
		"name;email;date_of_birth;mobile_no":              "line 1: not a header",
		"name,email,date_of_birth":                        "line 1: no column mobile_no:",
		"Name,email,date_of_birth, mobile_no":             "line 1: no column name, mobile_no:",
		"name,name,date_of_birth,mobile_no":               "line 1: the column name is there twice",
		"name,email,date_of_birth,mobile_no,Ada":          "line 1: a column too many",
		"Ada,a,b,c,d,name,email,date_of_birth,mobile_no":  "line 1: a column too many",
		"name,email,date_of_birth,mobile_no,":             "line 1: a column too many",
		`name,email,date_of_birth,"mobile_no`:             "line 1: the header is not CSV",
		"\xff\xfen\x00a\x00m\x00e\x00,\x00":               "line 1: not UTF-8",
		"n\x00a\x00m\x00e\x00,\x00":                       "line 1: not UTF-8",
		"name,email,date_of_birth,mobile_no" + "\r" + ada: "line 1: no column mobile_no:",
	} {
		_, _, err := readHeader(bad)
		require.ErrorContains(t, err, want, "%q", bad)
		assert.NotContains(t, err.Error(), "Ada")
	}
	_, rest, err = readHeader("name,email,date_of_birth,mobile_no")
	require.NoError(t, err, "a header and no row")
	assert.Empty(t, rest)
}

// Rows against encoding/csv: what it accepts we accept alike, and what we write
// it writes alike.
func FuzzRow(f *testing.F) {
	for _, s := range []string{`a,b,c,d`, `"a ""b""",,"c,d",e`, `"a`, `a"b,c`, `"a"b,c`, ``, `,`, `""`, ` a,"b"`, `\.,x`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if strings.ContainsAny(s, "\r\n") {
			return // the caller has cut them off
		}
		got, ok := splitRow(s, nil, math.MaxInt)
		want, err := csv.NewReader(strings.NewReader(s)).Read()
		if s == "" {
			return // an empty line, of which encoding/csv makes no row
		}
		if ok != (err == nil) || ok && strings.Join(got, "\x00") != strings.Join(want, "\x00") {
			t.Fatalf("%q: %q %v, encoding/csv has %q %v", s, got, ok, want, err)
		}
		if first, _ := splitRow(s, nil, 2); ok && strings.Join(first, "\x00") != strings.Join(got[:min(2, len(got))], "\x00") {
			t.Fatalf("%q: %q are not the first of %q", s, first, got)
		}
		fields := append(got, s, s+"\r\n")
		var b []byte
		for i, field := range fields {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendField(b, field)
		}
		var buffer bytes.Buffer
		w := csv.NewWriter(&buffer)
		if err := w.Write(fields); err != nil {
			t.Fatal(err)
		}
		w.Flush()
		if string(b)+"\n" != buffer.String() {
			t.Fatalf("%q is written as %q, encoding/csv has %q", fields, b, buffer.String())
		}
	})
}
