package register

import (
	"fmt"
	"strings"
	"time"
)

// A Date is a day of the Gregorian calendar as the number YYYYMMDD; 0 is none.
type Date int32

const firstYear = 1900

// String is YYYYMMDD.
func (d Date) String() string { return string(d.append(nil)) }

func (d Date) append(b []byte) []byte {
	return append(b,
		byte('0'+d/10_000_000%10), byte('0'+d/1_000_000%10), byte('0'+d/100_000%10), byte('0'+d/10_000%10),
		byte('0'+d/1000%10), byte('0'+d/100%10), byte('0'+d/10%10), byte('0'+d%10))
}

func makeDate(year, month, day int) Date { return Date(year*10_000 + month*100 + day) }

// ParseDay reads a day as YYYY-MM-DD.
func ParseDay(s string) (Date, error) {
	t, err := time.Parse(time.DateOnly, s)
	if err != nil || t.Year() < firstYear {
		return 0, fmt.Errorf("give a day as YYYY-MM-DD, from %d", firstYear)
	}
	return makeDate(t.Year(), int(t.Month()), t.Day()), nil
}

// yearsLater is the day on which a person born on d becomes so many years old:
// for 29 February the 1st of March, in a year without one.
func (d Date) yearsLater(years int) Date {
	year, month, day := int(d)/10_000+years, int(d)/100%100, int(d)%100
	if day > daysOf(year, month) {
		month, day = month+1, 1
	}
	return makeDate(year, month, day)
}

// ParseBirthday reads a date in one of the forms of the package doc.
func ParseBirthday(s string) (Date, Reasons) {
	s = trim(s)
	if s == "" {
		return 0, DateMissing
	}
	sep := byte('-')
	if strings.IndexByte(s, '/') >= 0 {
		sep = '/'
	}
	one, rest, _ := strings.Cut(s, string(rune(sep)))
	two, three, ok := strings.Cut(rest, string(rune(sep)))
	a, okA := digits(one)
	b, okB := digits(two)
	c, okC := digits(three)
	if !ok || !okA || !okB || !okC {
		return 0, DateMalformed
	}
	var year, month, day int
	switch {
	case len(one) == 4 && len(two) <= 2 && len(three) <= 2: // YYYY-MM-DD, YYYY/MM/DD
		year, month, day = a, b, c
	case len(one) <= 2 && len(two) <= 2 && len(three) == 4 && sep == '/': // MM/DD/YYYY
		year, month, day = c, a, b
	case len(one) <= 2 && len(two) <= 2 && len(three) == 4: // DD-MM-YYYY
		year, month, day = c, b, a
	default:
		return 0, DateMalformed
	}
	if year < 1 || month < 1 || month > 12 || day < 1 || day > daysOf(year, month) {
		return 0, DateNoSuchDay
	}
	if year < firstYear {
		return 0, DateTooEarly
	}
	return makeDate(year, month, day), 0
}

// digits reads 1 to 4 ASCII digits.
func digits(s string) (n int, ok bool) {
	if s == "" || len(s) > 4 {
		return 0, false
	}
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = 10*n + int(c-'0')
	}
	return n, true
}

func daysOf(year, month int) int {
	switch month {
	case 2:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	case 4, 6, 9, 11:
		return 30
	}
	return 31
}

// digits8 reads YYYYMMDD.
func digits8(s string) (Date, bool) {
	if len(s) != 8 {
		return 0, false
	}
	year, okY := digits(s[:4])
	rest, okR := digits(s[4:])
	month, day := rest/100, rest%100
	if !okY || !okR || year < 1 || month < 1 || month > 12 || day < 1 || day > daysOf(year, month) {
		return 0, false
	}
	return makeDate(year, month, day), true
}
