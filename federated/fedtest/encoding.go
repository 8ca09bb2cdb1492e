package fedtest

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha3"
	"crypto/sha512"
	"encoding/ascii85"
	"encoding/base32"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"hash/crc64"
	"hash/fnv"
	"html"
	"io"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"

	"golang.org/x/crypto/blake2b"
	"golang.org/x/crypto/blake2s"
)

// A Canary is a secret that was planted and must not come out.
type Canary struct {
	// Name is what it is, such as "member" or "list id".
	Name string
	// Value is a string, a []byte, an int64 or a time.Time.
	Value any
	// Near is a word that stands next to the value where it leaks, such as the
	// last name in name_5f3a1. It makes short values and short hashes findable
	// without false alarms. Optional for a value of at least 8 bytes, or a number of
	// at least 10⁹.
	Near string
}

// validate refuses what would be found by chance.
func (c Canary) validate() error {
	long := false
	switch v := c.Value.(type) {
	case string:
		long = len(v) >= 8
	case []byte:
		long = len(v) >= 8
	case int64:
		long = v >= 1e9
	case time.Time:
		long = v.Unix() >= 1e9
	default:
		return fmt.Errorf("plant canary %s: a %T is no string, []byte, int64 or time.Time", c.Name, c.Value)
	}
	if !long && len(c.Near) < 4 {
		return fmt.Errorf("plant canary %s: it is so short that chance would find it: give Near, a word of at least 4 letters beside it", c.Name)
	}
	return nil
}

// A form is one way a canary can be written.
type form struct {
	how     string
	pattern []byte
	near    string // if not empty, must stand within nearby bytes of it
}

const (
	nearby     = 24
	minPattern = 4
)

// forms are the ways in which a canary is searched for. A form that 48 random
// bits would equal is left out unless Near stands beside it.
func (c Canary) forms() []form {
	s := formSet{near: strings.ToLower(c.Near)}
	switch v := c.Value.(type) {
	case string:
		s.text("", v, true)
	case []byte:
		for _, part := range [][]byte{v, v[:min(len(v), 8)], v[max(0, len(v)-8):]} { // a part of a key will do
			s.binary("", part)
			s.encodings("", part)
			if len(part) == 8 {
				s.halves("", part)
			}
		}
		s.hashes(v)
	case int64:
		s.number("", v)
	case time.Time:
		v = v.UTC()
		for _, layout := range []string{"2006-01-02T15:04:05", "2006-01-02 15:04:05", "20060102T150405", "20060102150405", time.ANSIC, "Jan _2 15:04:05 2006"} {
			s.text("date ", v.Format(layout), false)
		}
		for hours := -12; hours <= 14; hours++ {
			local := v.In(time.FixedZone("", hours*3600))
			for _, layout := range []string{"2006-01-02T15:04:05", "2006-01-02 15:04:05", "02 Jan 2006 15:04:05", "Jan _2 15:04:05", "2006/01/02 15:04:05"} {
				s.add("date in another zone, as it is", []byte(local.Format(layout)), 5*len(layout))
			}
		}
		for _, layout := range []string{"2006-01-02T15:04", "2006-01-02 15:04"} {
			if v.Hour()+v.Minute() > 0 { // midnight is where windows end
				s.add("date to the minute, as it is", []byte(v.Format(layout)), 5*len(layout))
			}
		}
		s.number("seconds ", v.Unix())
		s.number("milliseconds ", v.UnixMilli())
		s.number("microseconds ", v.UnixMicro())
		s.number("nanoseconds ", v.UnixNano())
	}
	return s.forms
}

type formSet struct {
	forms []form
	near  string
	seen  map[string]bool
}

// add takes a pattern of so many bits of surprise.
func (s *formSet) add(how string, pattern []byte, bits int) {
	near := ""
	if bits < 48 {
		near = s.near
	}
	if len(pattern) < minPattern || bits < 48 && near == "" || s.seen[string(pattern)+near] {
		return
	}
	if s.seen == nil {
		s.seen = map[string]bool{}
	}
	s.seen[string(pattern)+near] = true
	s.forms = append(s.forms, form{how, pattern, near})
}

// text is a word as such: 6 bits a letter.
func (s *formSet) text(how, v string, hashed bool) {
	for _, w := range []string{v, strings.ToLower(v), strings.ToUpper(v)} {
		s.binary(how, []byte(w))
	}
	s.add(how+"ROT13", rot13(v), 6*len(v))
	s.encodings(how, []byte(v))
	if hashed {
		for _, w := range []string{v, strings.ToLower(v), strings.ToUpper(v), v + "\n"} {
			s.hashes([]byte(w))
		}
	}
}

func rot13(v string) []byte {
	b := []byte(v)
	for i, c := range b {
		switch {
		case 'a' <= c && c <= 'z':
			b[i] = 'a' + (c-'a'+13)%26
		case 'A' <= c && c <= 'Z':
			b[i] = 'A' + (c-'A'+13)%26
		}
	}
	return b
}

func (s *formSet) binary(how string, v []byte) {
	bits := 6 * len(v)
	s.add(how+"as it is", v, bits)
	back := slices.Clone(v)
	slices.Reverse(back)
	s.add(how+"reversed", back, bits)
	units := utf16.Encode([]rune(string(v)))
	var le, be []byte
	for _, u := range units {
		le, be = binary.LittleEndian.AppendUint16(le, u), binary.BigEndian.AppendUint16(be, u)
	}
	s.add(how+"UTF-16 LE", le, bits)
	s.add(how+"UTF-16 BE", be, bits)
}

func (s *formSet) encodings(how string, v []byte) {
	bits := 6 * len(v)
	digits := hex.EncodeToString(v)
	s.add(how+"hex", []byte(digits), bits)
	s.add(how+"hex", []byte(strings.ToUpper(digits)), bits)
	for pad := range 3 { // the first and last digits mix with the neighbours' bits
		for _, enc := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			e := enc.EncodeToString(append(make([]byte, pad), v...))
			s.add(how+"base64", []byte(e[(8*pad+5)/6:(8*(pad+len(v)))/6]), bits)
		}
	}
	for pad := range 5 {
		for _, enc := range []*base32.Encoding{base32.StdEncoding, base32.HexEncoding} {
			e := enc.WithPadding(base32.NoPadding).EncodeToString(append(make([]byte, pad), v...))
			e = e[(8*pad+4)/5 : (8*(pad+len(v)))/5]
			s.add(how+"base32", []byte(e), bits)
			s.add(how+"base32", []byte(strings.ToLower(e)), bits)
		}
	}
	for pad := range 4 { // four bytes make five letters
		whole := v[min(pad, len(v)):]
		whole = whole[:len(whole)/4*4]
		e := make([]byte, ascii85.MaxEncodedLen(len(whole)))
		s.add(how+"ASCII 85", e[:ascii85.Encode(e, whole)], 6*len(whole))
	}
}

var unkeyed = []struct {
	name string
	of   func([]byte) []byte
}{
	{"MD5", func(b []byte) []byte { h := md5.Sum(b); return h[:] }},
	{"SHA-1", func(b []byte) []byte { h := sha1.Sum(b); return h[:] }},
	{"SHA-224", func(b []byte) []byte { h := sha256.Sum224(b); return h[:] }},
	{"SHA-256", func(b []byte) []byte { h := sha256.Sum256(b); return h[:] }},
	{"SHA-384", func(b []byte) []byte { h := sha512.Sum384(b); return h[:] }},
	{"SHA-512", func(b []byte) []byte { h := sha512.Sum512(b); return h[:] }},
	{"SHA-512/256", func(b []byte) []byte { h := sha512.Sum512_256(b); return h[:] }},
	{"SHA3-256", func(b []byte) []byte { h := sha3.Sum256(b); return h[:] }},
	{"SHA3-512", func(b []byte) []byte { h := sha3.Sum512(b); return h[:] }},
	{"SHA-256 of SHA-256", func(b []byte) []byte { h := sha256.Sum256(b); h = sha256.Sum256(h[:]); return h[:] }},
	{"HMAC-SHA256 without a key", func(b []byte) []byte { h := hmac.New(sha256.New, nil); h.Write(b); return h.Sum(nil) }},
	{"BLAKE2b-512", func(b []byte) []byte { h := blake2b.Sum512(b); return h[:] }},
	{"BLAKE2b-256", func(b []byte) []byte { h := blake2b.Sum256(b); return h[:] }},
	{"BLAKE2s-256", func(b []byte) []byte { h := blake2s.Sum256(b); return h[:] }},
	{"FNV-1a", func(b []byte) []byte { h := fnv.New64a(); h.Write(b); return h.Sum(nil) }},
	{"FNV-1", func(b []byte) []byte { h := fnv.New64(); h.Write(b); return h.Sum(nil) }},
	{"CRC-64", func(b []byte) []byte {
		return binary.BigEndian.AppendUint64(nil, crc64.Checksum(b, crc64.MakeTable(crc64.ISO)))
	}},
	{"FNV-1a of 32 bits", func(b []byte) []byte { h := fnv.New32a(); h.Write(b); return h.Sum(nil) }},
	{"CRC-32", func(b []byte) []byte { return binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE(b)) }},
}

// hashes are those that anybody can compute from a guess: whole or cut at
// either end, since a part of 48 bits gives away the rest. Shorter ones, down to
// 5 hex digits, count beside Near.
func (s *formSet) hashes(v []byte) {
	for _, h := range unkeyed {
		sum := h.of(v)
		n := min(len(sum), 8)
		s.add(h.name, sum[:n], 8*n)
		s.add(h.name+", its end", sum[len(sum)-n:], 8*n)
		digits := hex.EncodeToString(sum)
		short := digits[:min(len(digits), 12)]
		for _, d := range []string{short, digits[max(0, len(digits)-12):]} {
			s.add(h.name+" in hex", []byte(d), 4*len(d))
			s.add(h.name+" in hex", []byte(strings.ToUpper(d)), 4*len(d))
		}
		s.add(h.name+" cut to 5 hex digits", []byte(short[:5]), 20)
		s.add(h.name+" cut to 5 hex digits", []byte(strings.ToUpper(short[:5])), 20)
		for _, enc := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			s.add(h.name+" in base64", []byte(enc.EncodeToString(sum)[:8*n/6]), 8*n)
		}
		s.add(h.name+" in base32", []byte(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum)[:8*n/5]), 8*n)
		if n == 8 {
			s.halves(h.name+", ", sum[:8])
			s.halves(h.name+", its end, ", sum[len(sum)-8:])
		}
	}
}

// halves are eight bytes as a number in decimal.
func (s *formSet) halves(how string, b []byte) {
	for _, x := range []uint64{binary.BigEndian.Uint64(b), binary.LittleEndian.Uint64(b)} {
		s.add(how+"as a decimal number", strconv.AppendUint(nil, x, 10), 64)
		s.add(how+"as a decimal number", strconv.AppendInt(nil, int64(x), 10), 64)
		s.add(how+"as a decimal number of 63 bits", strconv.AppendUint(nil, x>>1, 10), 63)
		s.add(how+"as a decimal number of 63 bits", strconv.AppendUint(nil, x&math.MaxInt64, 10), 63)
	}
}

func (s *formSet) number(how string, v int64) {
	decimal := strconv.FormatInt(v, 10)
	// A number of n digits is worth 3.3 bits a digit among digits, and much more
	// in text that is not made of them.
	bits := 5 * len(decimal)
	s.add(how+"decimal", []byte(decimal), bits)
	for _, sep := range []string{",", ".", " ", "_", "'"} {
		s.add(how+"decimal in groups", []byte(grouped(decimal, sep)), bits)
	}
	s.add(how+"decimal with exponent", strconv.AppendFloat(nil, float64(v), 'g', -1, 64), bits)
	s.encodings(how+"decimal in ", []byte(decimal))
	if v > math.MaxUint32 {
		s.add(how+"hex", strconv.AppendInt(nil, v, 16), bits)
		s.add(how+"hex", bytes.ToUpper(strconv.AppendInt(nil, v, 16)), bits)
	}
	for _, order := range []binary.AppendByteOrder{binary.BigEndian, binary.LittleEndian} {
		for _, x := range []struct {
			how string
			v   uint64
		}{{"8 bytes", uint64(v)}, {"float64", math.Float64bits(float64(v))}} {
			b := order.AppendUint64(nil, x.v)
			s.add(fmt.Sprintf("%s%s %v", how, x.how, order), b, 64)
			s.add(fmt.Sprintf("%s%s %v in hex", how, x.how, order), []byte(hex.EncodeToString(b)), 64)
			s.add(fmt.Sprintf("%s%s %v in hex", how, x.how, order), bytes.ToUpper([]byte(hex.EncodeToString(b))), 64)
		}
		if v <= math.MaxUint32 {
			s.add(fmt.Sprintf("%s4 bytes %v", how, order), order.AppendUint32(nil, uint32(v)), 32)
		}
	}
	varint := binary.AppendUvarint(nil, uint64(v))
	s.add(how+"varint", varint, 8*len(varint))
	zigzag := binary.AppendVarint(nil, v)
	s.add(how+"zigzag varint", zigzag, 8*len(zigzag))
	s.hashes([]byte(decimal))
}

// grouped writes digits in groups of three.
func grouped(digits, sep string) string {
	var out strings.Builder
	for i, d := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			out.WriteString(sep)
		}
		out.WriteRune(d)
	}
	return out.String()
}

// A searcher finds many forms in one pass.
type searcher struct {
	canaries []Canary
	at       map[uint32][]found // first four bytes → forms that begin with them
	filter   [1 << 14]uint64
}

type found struct {
	canary int
	form   form
}

func newSearcher(canaries []Canary) (*searcher, error) {
	s := &searcher{canaries: canaries, at: map[uint32][]found{}}
	var errs []error
	for i, c := range canaries {
		if err := c.validate(); err != nil {
			errs = append(errs, err)
			continue
		}
		for _, f := range c.forms() {
			k := binary.LittleEndian.Uint32(f.pattern)
			s.at[k] = append(s.at[k], found{i, f})
			h := filterHash(k)
			s.filter[h>>6] |= 1 << (h & 63)
		}
	}
	return s, errors.Join(errs...)
}

func filterHash(k uint32) uint32 { return k * 0x9e3779b1 >> 12 }

// search returns what is found in b, and in what b contains in packed form.
func (s *searcher) search(b []byte) []found {
	var out []found
	s.unpack(b, "", 0, &out)
	return out
}

const (
	maxDepth  = 4
	maxUnpack = 1 << 24 // bytes of one packed part that are looked at
)

func (s *searcher) unpack(b []byte, within string, depth int, out *[]found) {
	s.scan(b, within, out)
	if depth == maxDepth {
		return
	}
	inner := func(how string, plain []byte) {
		if len(plain) >= minPattern {
			s.unpack(plain, within+how+" of ", depth+1, out)
		}
	}
	for i := 0; i+4 < len(b); i++ {
		switch {
		case b[i] == 0x1f && b[i+1] == 0x8b && b[i+2] == 8:
			if r, err := gzip.NewReader(bytes.NewReader(b[i:])); err == nil {
				inner("gzip", head(r))
			}
		case b[i] == 0x78 && (int(b[i])<<8|int(b[i+1]))%31 == 0: // RFC 1950 §2.2
			if r, err := zlib.NewReader(bytes.NewReader(b[i:])); err == nil {
				inner("zlib", head(r))
			}
		}
	}
	if depth < 2 && len(b) >= 8 { // raw deflate has no mark to look for: only at the beginning
		if plain := head(flate.NewReader(bytes.NewReader(b))); len(plain) > len(b)/2 {
			inner("deflate", plain)
		}
	}
	eachRun(b, 16, isHex, func(run []byte) {
		for skip := range 2 {
			plain := make([]byte, (len(run)-skip)/2)
			if _, err := hex.Decode(plain, run[skip:skip+2*len(plain)]); err == nil {
				inner("hex", plain)
			}
		}
	})
	eachRun(b, 16, isBase64, func(run []byte) {
		std := bytes.ReplaceAll(bytes.ReplaceAll(run, []byte("-"), []byte("+")), []byte("_"), []byte("/"))
		for skip := range min(4, len(std)) {
			part := std[skip:]
			part = part[:len(part)/4*4]
			plain := make([]byte, len(part)/4*3)
			if n, err := base64.StdEncoding.Decode(plain, part); err == nil {
				inner("base64", plain[:n])
			}
		}
	})
	if bytes.IndexByte(b, '\\') >= 0 {
		if plain := unescape(b); !bytes.Equal(plain, b) {
			inner("escapes", plain)
		}
	}
	if plain := interleaved(b); len(plain) > 0 {
		inner("letters with a sign between", plain)
	}
	if bytes.Contains(b, []byte("&#")) {
		inner("HTML entities", []byte(html.UnescapeString(string(b))))
	}
	for _, mark := range []byte{'%', '='} { // RFC 3986 §2.1, RFC 2045 §6.7
		if bytes.IndexByte(b, mark) >= 0 {
			if plain := percent(b, mark); !bytes.Equal(plain, b) {
				inner("escapes", plain)
			}
		}
	}
	for _, base := range []int{10, 16} {
		if plain := listedBytes(b, base); len(plain) > 0 {
			inner("a list of bytes", plain)
		}
	}
	if within == "" && len(*out) == 0 {
		if whole := together(b); len(whole) < len(b) {
			inner("what is taken apart", whole)
		}
	}
}

// attribute is what stands between the values of a log record.
var attribute = regexp.MustCompile(`[\s,]+"?[A-Za-z][\w.]*"?[=:]"?`)

// together is b without white space, and without what stands between the
// values of a log record.
func together(b []byte) []byte {
	b = bytes.ReplaceAll(b, []byte("=\r\n"), nil) // RFC 2045 §6.7, rule 5
	b = attribute.ReplaceAll(b, nil)
	return slices.DeleteFunc(b, func(c byte) bool { return c <= ' ' || c == '"' })
}

// listedBytes reads lists of at least 8 numbers below 256, such as [113 117] or
// 0x71, 0x75 or 71:75, one after the other.
func listedBytes(b []byte, base int) (out []byte) {
	var list []byte
	gap := 0
	end := func() {
		if len(list) >= 8 {
			out = append(append(out, list...), ' ')
		}
		list = list[:0]
	}
	for i := 0; i < len(b); {
		from := i
		if base == 16 && b[i] == '0' && i+2 < len(b) && b[i+1] == 'x' {
			from, i = i+2, i+2
		}
		for i < len(b) && isHex(b[i]) && (base == 16 || b[i] <= '9') {
			i++
		}
		if i == from { // no digit
			if gap++; gap > 2 || 'g' <= b[i]|0x20 && b[i]|0x20 <= 'z' {
				end()
			}
			i++
			continue
		}
		x, err := strconv.ParseUint(string(b[from:i]), base, 8)
		if err != nil {
			end()
			gap = 0
			continue
		}
		list = append(list, byte(x))
		gap = 0
	}
	end()
	return out
}

func head(r io.Reader) []byte {
	b, _ := io.ReadAll(io.LimitReader(r, maxUnpack)) // what came before the damage is enough
	return b
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

func isBase64(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '+' || c == '/' || c == '-' || c == '_'
}

// eachRun calls do for every longest run of at least least bytes of the class.
func eachRun(b []byte, least int, class func(byte) bool, do func([]byte)) {
	for i := 0; i < len(b); {
		from := i
		for i < len(b) && class(b[i]) {
			i++
		}
		if i-from >= least {
			do(b[from:i])
		}
		i++
	}
}

// unescape undoes \uXXXX, \xXX and \ooo wherever they stand.
func unescape(b []byte) []byte {
	var out []byte
	for i := 0; i < len(b); i++ {
		from, digits, base := i+2, 0, 16
		if b[i] == '\\' && i+1 < len(b) {
			switch c := b[i+1]; {
			case c == 'u':
				digits = 4
			case c == 'x':
				digits = 2
			case '0' <= c && c <= '3':
				from, digits, base = i+1, 3, 8
			}
		}
		if digits > 0 && from+digits <= len(b) {
			if x, err := strconv.ParseUint(string(b[from:from+digits]), base, 32); err == nil {
				out = append(out, string(rune(x))...)
				i = from + digits - 1
				continue
			}
		}
		out = append(out, b[i])
	}
	return out
}

// interleaved reads runs of at least 8 letters with one and the same sign after each, such
// as a-b-c, one after the other.
func interleaved(b []byte) (out []byte) {
	word := func(c byte) bool { return c >= 0x80 || c == '_' || isBase64(c) && c != '-' && c != '+' && c != '/' }
	for i := 0; i+16 < len(b); {
		sign, n := b[i+1], 0
		if !word(sign) && sign > ' ' {
			for i+2*n+1 < len(b) && word(b[i+2*n]) && b[i+2*n+1] == sign {
				n++
			}
		}
		if n < 7 {
			i++
			continue
		}
		for j := range n + 1 {
			if i+2*j < len(b) {
				out = append(out, b[i+2*j])
			}
		}
		out = append(out, ' ')
		i += 2 * n
	}
	return out
}

// percent undoes mark and two hex digits, wherever they stand.
func percent(b []byte, mark byte) []byte {
	var out []byte
	for i := 0; i < len(b); i++ {
		if b[i] == mark && i+2 < len(b) && isHex(b[i+1]) && isHex(b[i+2]) {
			x, _ := strconv.ParseUint(string(b[i+1:i+3]), 16, 8)
			out = append(out, byte(x))
			i += 2
			continue
		}
		out = append(out, b[i])
	}
	return out
}

func (s *searcher) scan(b []byte, within string, out *[]found) {
	for i := 0; i+4 <= len(b); i++ {
		k := binary.LittleEndian.Uint32(b[i:])
		h := filterHash(k)
		if s.filter[h>>6]&(1<<(h&63)) == 0 {
			continue
		}
		for _, f := range s.at[k] {
			if !bytes.HasPrefix(b[i:], f.form.pattern) || !f.form.beside(b, i) {
				continue
			}
			f.form.how = within + f.form.how
			*out = append(*out, f)
		}
	}
}

// beside says whether the form's Near stands near b[at:].
func (f form) beside(b []byte, at int) bool {
	if f.near == "" {
		return true
	}
	before := b[max(0, at-nearby-len(f.near)):at]
	end := at + len(f.pattern)
	after := b[end:min(len(b), end+nearby+len(f.near))]
	return bytes.Contains(bytes.ToLower(before), []byte(f.near)) || bytes.Contains(bytes.ToLower(after), []byte(f.near))
}
