package source

import (
	"bytes"
	"math"
	"time"
	"unicode"
	"unicode/utf8"
)

const maxID = 128 // bytes, of a member, an item, a list, a sale

// checkID checks an id of a member, an item, a list or a sale.
func checkID(b []byte) Problem {
	if len(b) == 0 {
		return Missing
	}
	if len(b) > maxID {
		return Malformed
	}
	plain := true
	for _, c := range b {
		plain = plain && c > ' ' && c < 0x7f
	}
	if plain {
		return ""
	}
	// An id with a space around it would be another unit than the one without.
	if !utf8.Valid(b) || len(bytes.TrimSpace(b)) != len(b) || bytes.ContainsFunc(b, unicode.IsControl) {
		return Malformed
	}
	return ""
}

// checkNode checks a store by the rule of federated.NodeID.
func checkNode(b []byte) Problem {
	if len(b) == 0 {
		return Missing
	}
	if len(b) > 64 {
		return Malformed
	}
	for _, c := range b {
		if c <= ' ' || c >= 0x7f || c == ',' || c == '*' {
			return Malformed
		}
	}
	return ""
}

// A shape is how far a text is a number.
type shape int

const (
	notNumber shape = iota
	decimal         // with a fraction or an exponent
	integer
)

// numberShape is the shape of a text by the grammar of RFC 8259 §6.
func numberShape(b []byte) shape {
	i := 0
	digits := func() int {
		from := i
		for i < len(b) && b[i]-'0' <= 9 {
			i++
		}
		return i - from
	}
	if i < len(b) && b[i] == '-' {
		i++
	}
	leading := i
	if n := digits(); n == 0 || n > 1 && b[leading] == '0' {
		return notNumber
	}
	if i == len(b) {
		return integer
	}
	if b[i] == '.' {
		i++
		if digits() == 0 {
			return notNumber
		}
	}
	if i < len(b) && (b[i] == 'e' || b[i] == 'E') {
		i++
		if i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		if digits() == 0 {
			return notNumber
		}
	}
	if i < len(b) {
		return notNumber
	}
	return decimal
}

// parseWhole reads an int64 exactly.
func parseWhole(b []byte) (int64, Problem) {
	switch numberShape(b) {
	case notNumber:
		return 0, NotNumber
	case decimal:
		return 0, NotWhole
	}
	negative := b[0] == '-'
	if negative {
		b = b[1:]
	}
	limit := uint64(math.MaxInt64)
	if negative {
		limit++
	}
	var n uint64
	for _, c := range b {
		d := uint64(c - '0')
		if n > (limit-d)/10 {
			return 0, OutOfRange
		}
		n = n*10 + d
	}
	if negative {
		return -int64(n), "" // -2⁶³ negates to itself
	}
	return int64(n), ""
}

// positive refuses what no line of a list or a sale may have.
func positive(n int64, problem Problem) (int64, Problem) {
	if n < 0 && problem == "" {
		return 0, Negative
	}
	if n == 0 && problem == "" {
		return 0, Zero
	}
	return n, problem
}

// parseCents reads an amount of money, in the currency's unit with any number
// of digits and with or without an exponent, and rounds it to cents, half away
// from zero. All in whole numbers: nothing is lost on the way.
func parseCents(b []byte) (int64, Problem) {
	if len(b) == 0 {
		return 0, Missing
	}
	if len(b) > 64 {
		return 0, TooLong
	}
	if numberShape(b) == notNumber {
		return 0, NotNumber
	}
	negative := b[0] == '-'
	if negative {
		b = b[1:]
	}
	// The value is 0.d₁d₂d₃… · 10^point cents.
	var digits [64]byte
	n, point, fraction := 0, 2, false
	i := 0
	for ; i < len(b) && b[i] != 'e' && b[i] != 'E'; i++ {
		switch {
		case b[i] == '.':
			fraction = true
		case n == 0 && b[i] == '0':
			if fraction {
				point--
			}
		default:
			digits[n] = b[i] - '0'
			n++
			if !fraction {
				point++
			}
		}
	}
	if i < len(b) {
		point += parseExponent(b[i+1:])
	}
	if n == 0 || point < 0 {
		return 0, ""
	}
	if point > 19 {
		return 0, outOfRange(negative)
	}
	var cents uint64 // 19 digits: below 2⁶⁴
	for k := range point {
		cents *= 10
		if k < n {
			cents += uint64(digits[k])
		}
	}
	if point < n && digits[point] >= 5 {
		cents++
	}
	switch {
	case cents == 0:
		return 0, ""
	case negative:
		return 0, Negative
	case cents > math.MaxInt64:
		return 0, OutOfRange
	}
	return int64(cents), ""
}

func outOfRange(negative bool) Problem {
	if negative {
		return Negative
	}
	return OutOfRange
}

// parseExponent reads the exponent of a number that is well formed; far beyond
// any use it stops growing.
func parseExponent(b []byte) int {
	sign, n := 1, 0
	for _, c := range b {
		switch {
		case c == '-':
			sign = -1
		case c != '+' && n < 10_000:
			n = n*10 + int(c-'0')
		}
	}
	return sign * n
}

// parseTime reads YYYY-MM-DD, or YYYY-MM-DDThh:mm:ss (a space for the T will
// do) with up to nine digits of a fraction and Z, ±hhmm, ±hh:mm or nothing,
// which means UTC. The offset is kept: the hour of a sale is the shop's.
func (p *pass) parseTime(b []byte) (time.Time, Problem) {
	if len(b) == 0 {
		return time.Time{}, Missing
	}
	s := scan{b: b}
	year := s.digits(4)
	s.sign('-')
	month := s.digits(2)
	s.sign('-')
	day := s.digits(2)
	var hour, minute, second, nanos, offset int
	if !s.done() {
		if !s.take(' ') {
			s.sign('T')
		}
		hour = s.digits(2)
		s.sign(':')
		minute = s.digits(2)
		s.sign(':')
		second = s.digits(2)
		if s.take('.') {
			nanos = s.fraction()
		}
		offset = s.offset()
	}
	if s.bad || !s.done() || month < 1 || month > 12 || day < 1 || day > daysIn(year, month) ||
		hour > 23 || minute > 59 || second > 59 {
		return time.Time{}, Malformed
	}
	t := time.Date(year, time.Month(month), day, hour, minute, second, nanos, p.zone(offset))
	if t.Year() < 1 || t.IsZero() { // the zero time would mean "in every window"
		return time.Time{}, Malformed
	}
	return t, ""
}

func daysIn(year, month int) int {
	switch month {
	case 4, 6, 9, 11:
		return 30
	case 2:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	}
	return 31
}

// A scan reads a text of fixed form from the left.
type scan struct {
	b   []byte
	bad bool
}

func (s *scan) done() bool { return len(s.b) == 0 }

func (s *scan) take(c byte) bool {
	if len(s.b) == 0 || s.b[0] != c {
		return false
	}
	s.b = s.b[1:]
	return true
}

func (s *scan) sign(c byte) { s.bad = !s.take(c) || s.bad }

func (s *scan) digits(n int) int {
	if len(s.b) < n {
		s.bad = true
		return 0
	}
	v := 0
	for _, c := range s.b[:n] {
		s.bad = s.bad || c < '0' || c > '9'
		v = v*10 + int(c-'0')
	}
	s.b = s.b[n:]
	return v
}

func (s *scan) fraction() int {
	v, n := 0, 0
	for ; n < len(s.b) && s.b[n]-'0' <= 9 && n < 10; n++ {
		v = v*10 + int(s.b[n]-'0')
	}
	s.bad = s.bad || n == 0 || n > 9
	s.b = s.b[n:]
	for ; n < 9; n++ {
		v *= 10
	}
	return v
}

// offset is in seconds east of UTC.
func (s *scan) offset() int {
	if s.done() || s.take('Z') {
		return 0
	}
	east := 1
	if s.take('-') {
		east = -1
	} else {
		s.sign('+')
	}
	hours := s.digits(2)
	s.take(':')
	minutes := s.digits(2)
	s.bad = s.bad || hours > 18 || minutes > 59 // java.time and ISO exports stay within 18 hours
	return east * (hours*60 + minutes) * 60
}
