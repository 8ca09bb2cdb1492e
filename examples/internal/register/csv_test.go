package register

import (
	"bytes"
	"encoding/csv"
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
	for _, bad := range []string{
		"", "name,email,date_of_birth", "name,email,date_of_birth,mobile_no,extra", "name,name,date_of_birth,mobile_no",
		"Name,email,date_of_birth,mobile_no", `name,email,date_of_birth,"mobile_no`, "Ada Vega,ada@b.com,1980-01-01,12345678",
	} {
		_, _, err := readHeader(bad + "\nrow")
		require.Error(t, err, bad)
		assert.NotContains(t, err.Error(), "Ada")
	}
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
		got, ok := splitRow(s, nil)
		want, err := csv.NewReader(strings.NewReader(s)).Read()
		if s == "" {
			return // an empty line, of which encoding/csv makes no row
		}
		if ok != (err == nil) || ok && strings.Join(got, "\x00") != strings.Join(want, "\x00") {
			t.Fatalf("%q: %q %v, encoding/csv has %q %v", s, got, ok, want, err)
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
