package register

import "strings"

// Reasons are all that is wrong with a row: a set of bits, one a reason. No two
// reasons of one field are in one set, so a field fails as often as its reasons
// add up to.
type Reasons uint32

// The reasons.
const (
	NotCSV Reasons = 1 << iota
	NameMissing
	NameOnlyTitles
	NameNotText
	EmailMissing
	EmailMalformed
	EmailElsewhere
	DateMissing
	DateMalformed
	DateNoSuchDay
	DateTooEarly
	DateTooLate
	Under18
	MobileMissing
	MobileNot8
	TooLong
	reasonsEnd
)

// reasonTexts are fixed, in the order of the bits: a reason says what is wrong
// and never holds a part of the row.
var reasonTexts = [...]string{
	"row: not CSV with the columns of the header",
	"name: missing",
	"name: nothing beside titles and suffixes",
	"name: not text",
	"email: missing",
	"email: not an address",
	"email: not at .com or .net",
	"date_of_birth: missing",
	"date_of_birth: not a date",
	"date_of_birth: no such day",
	"date_of_birth: before 1900",
	"date_of_birth: after the day of the check",
	"date_of_birth: under 18",
	"mobile_no: missing",
	"mobile_no: not 8 digits",
	"name and email: too long together",
}

// String has the reasons' texts in the order of the columns, with "; " between.
func (r Reasons) String() string { return string(r.append(nil)) }

func (r Reasons) append(b []byte) []byte {
	begun := false
	for i, text := range reasonTexts {
		if r&(1<<i) == 0 {
			continue
		}
		if begun {
			b = append(b, "; "...)
		}
		begun = true
		b = append(b, text...)
	}
	return b
}

// A Tally counts rows and their reasons.
type Tally struct {
	Rows, Successful int64
	Why              [len(reasonTexts)]int64 // rows by reason; a row can have several
}

// Unsuccessful is the number of rows with a reason.
func (t Tally) Unsuccessful() int64 { return t.Rows - t.Successful }

func (t *Tally) count(r Reasons) {
	t.Rows++
	if r == 0 {
		t.Successful++
		return
	}
	for i := range t.Why {
		if r&(1<<i) != 0 {
			t.Why[i]++
		}
	}
}

// Add adds another tally.
func (t *Tally) Add(o Tally) {
	t.Rows += o.Rows
	t.Successful += o.Successful
	for i := range t.Why {
		t.Why[i] += o.Why[i]
	}
}

// Failing is the number of rows that fail a column, such as "email".
func (t Tally) Failing(column string) int64 {
	n := int64(0)
	for i, text := range reasonTexts {
		if field, _, _ := strings.Cut(text, ":"); field == column {
			n += t.Why[i]
		}
	}
	return n
}

// Texts are the reasons, in the order of Tally.Why.
func Texts() []string { return reasonTexts[:] }
