package register

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"

	"github.com/larder-dp/larder/pseudonym"
)

// An application is one row: what it says and what the rules make of it.
type application struct {
	raw [4]string // by column of the header

	first, last string
	birthday    Date
	mobile      string
	email       string
	above18     bool
	why         Reasons
}

// The columns of an application, in the order of raw.
const (
	name = iota
	email
	dateOfBirth
	mobileNo
)

var columns = [...]string{"name", "email", "date_of_birth", "mobile_no"}

// check fills in what follows from raw. It looks at every column, whatever is
// wrong with the others.
func (a *application) check(asOf Date) {
	var why [4]Reasons
	a.first, a.last, why[name] = SplitName(a.raw[name])
	a.email, why[email] = CheckEmail(a.raw[email])
	a.birthday, why[dateOfBirth] = ParseBirthday(a.raw[dateOfBirth])
	a.mobile, why[mobileNo] = CheckMobile(a.raw[mobileNo])
	a.above18 = a.birthday != 0 && a.birthday.yearsLater(18) <= asOf
	switch {
	case a.birthday > asOf:
		why[dateOfBirth] |= DateTooLate
	case a.birthday != 0 && !a.above18:
		why[dateOfBirth] |= Under18
	}
	a.why = why[name] | why[email] | why[dateOfBirth] | why[mobileNo]
	if a.why != 0 && a.last != "" && a.email != "" && a.tooLong() {
		a.why |= TooLong // of a row without another reason, pseudonym says it
	}
}

// tooLong says whether name and address are too long for an id, whose birthday has
// 8 digits whatever it is.
func (a *application) tooLong() bool {
	if plain(a.first) && plain(a.last) && len(a.first)+len(a.last)+len(a.email) < 200 {
		return false
	}
	_, err := pseudonym.Canonical(string(a.id(nil)))
	return err != nil
}

// id appends what makes two applications those of one member: e-mail address,
// birthday and name, as pseudonym.Canonical spells them. An address has no space
// and a birthday 8 digits, so two different triples have different ids.
func (a *application) id(b []byte) []byte {
	from := len(b)
	b = append(b, a.email...)
	b = append(b, ' ')
	b = a.birthday.append(b)
	b = append(b, ' ')
	if a.first != "" {
		b = append(b, a.first...)
		b = append(b, ' ')
	}
	b = append(b, a.last...)
	if !plain(string(b[from:])) {
		return b
	}
	// What Canonical does to ASCII, without its allocation.
	for i := from; i < len(b); i++ {
		if 'A' <= b[i] && b[i] <= 'Z' {
			b[i] += 'a' - 'A'
		}
	}
	return b
}

// pseudonym makes the member's pseudonym. An error is the scope's and not the
// row's.
func (a *application) pseudonym(s Scope, buffer []byte) (p [16]byte, _ []byte, err error) {
	buffer = a.id(buffer[:0])
	p, err = s.of(string(buffer))
	if errors.Is(err, pseudonym.ErrMalformed) { // only its length is left to be wrong
		a.why |= TooLong
		return p, buffer, nil
	}
	return p, buffer, err
}

// legacyID is what membership ids used to be: it gives the birthday away.
func legacyID(last string, birthday Date) string {
	return last + "_" + legacyHash(birthday)
}

func legacyHash(birthday Date) string {
	var digits [8]byte
	sum := sha256.Sum256(birthday.append(digits[:0]))
	return hex.EncodeToString(sum[:3])[:5]
}
