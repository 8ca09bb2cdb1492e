package pseudonym

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
)

// The reasons of Email and Phone.
var (
	errAddress error = MalformedError{"it is no e-mail address: it wants one @ between a mailbox and a domain, without spaces, quotes, comments or brackets"}
	errMailbox error = MalformedError{"its mailbox is longer than 64 bytes, or has a dot at an end or two in a row"}
	errDomain  error = MalformedError{"its domain is not two or more names of 1 to 63 ASCII letters, digits and inner hyphens, the last not a number, 253 bytes in all: write an international one with xn--"}
	errTotal   error = MalformedError{"it is an e-mail address longer than 254 bytes"}
	errSigns   error = MalformedError{"it is no phone number: it wants digits, with + only in front and spaces, dots, hyphens, slashes and pairs of brackets between"}
	errDigits  error = MalformedError{"it is a phone number with too few or too many digits"}
	errTrunk   error = MalformedError{"it is an international phone number with the 0 that stands before numbers at home: leave it out"}
	errPrefix  error = MalformedError{"it is a phone number that begins with 00, in many countries the international prefix: write + instead"}
)

// Email returns the canonical form of an e-mail address: that of Canonical, of an
// address that is one; the package doc lists the rules. Pass the result to a
// Scope, whose Canonical leaves it as it is.
func Email(address string) (string, error) {
	canonical, err := Canonical(address)
	if err != nil {
		return "", err
	}
	at := strings.LastIndexByte(canonical, '@')
	if at < 1 || strings.ContainsAny(canonical[:at], `@ "(),:;<>[]\`) {
		return "", errAddress
	}
	mailbox, domain := canonical[:at], canonical[at+1:]
	switch {
	case len(mailbox) > 64 || mailbox[0] == '.' || mailbox[at-1] == '.' || strings.Contains(mailbox, ".."):
		return "", errMailbox // RFC 5321 §4.5.3.1.1 and, for the dots, §4.1.2
	case !isDomain(domain):
		return "", errDomain
	case len(canonical) > 254:
		return "", errTotal // RFC 5321 §4.5.3.1.3: a path is 256 bytes, < and > included
	}
	return canonical, nil
}

// isDomain holds names to RFC 1123 §2.1, in the small letters of a canonical id.
func isDomain(domain string) bool {
	if len(domain) > 253 {
		return false
	}
	labels := 0
	numeric := false
	for label := range strings.SplitSeq(domain, ".") {
		labels++
		if len(label) < 1 || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		numeric = true
		for i := range len(label) {
			c := label[i]
			digit := '0' <= c && c <= '9'
			if !digit && c != '-' && (c < 'a' || c > 'z') {
				return false
			}
			numeric = numeric && digit
		}
	}
	return labels > 1 && !numeric
}

// A PhonePlan says how one country writes its numbers without the country code.
type PhonePlan struct {
	// Code is the country code of E.164, 1 to 3 digits that do not begin with 0,
	// such as "65". Required.
	Code string
	// TrunkZero says that at home, and not from abroad, a 0 stands before the
	// number, which never begins with 0 itself: true of most of Europe, false of
	// Singapore, and of Italy, where the 0 stays. What else countries put in front
	// at home, take off before.
	TrunkZero bool
	// MinDigits and MaxDigits bound the digits of a number without the country code
	// and without the trunk 0. Required: 7 to 15 together with Code.
	MinDigits, MaxDigits int
}

// Phone returns the canonical form of a phone number: + and the digits of E.164,
// such as "+6591234567"; the package doc lists the rules. A number that does not
// begin with + is one of plan's country. Pass the result to a Scope, whose
// Canonical leaves it as it is.
//
// An error that does not match ErrMalformed is about the plan.
func Phone(number string, plan PhonePlan) (string, error) {
	if err := plan.check(); err != nil {
		return "", err
	}
	canonical, err := Canonical(number)
	if err != nil {
		return "", err
	}
	digits, international, ok := phoneDigits(canonical)
	switch {
	case !ok:
		return "", errSigns
	case international && strings.Contains(canonical, "(0)"):
		return "", errTrunk
	case !international && strings.HasPrefix(digits, "00"):
		return "", errPrefix
	case !international && plan.TrunkZero:
		digits = plan.Code + strings.TrimPrefix(digits, "0")
	case !international:
		digits = plan.Code + digits
	}
	national, own := strings.CutPrefix(digits, plan.Code)
	switch {
	case own && plan.TrunkZero && strings.HasPrefix(national, "0"):
		return "", errTrunk
	case own && (len(national) < plan.MinDigits || len(national) > plan.MaxDigits),
		len(digits) < 7 || len(digits) > 15 || digits[0] == '0': // E.164 §6.2: 15 at most, and no country code begins with 0
		return "", errDigits
	}
	return "+" + digits, nil
}

func (p PhonePlan) check() error {
	const wrap = "canonicalize phone number: plan: "
	switch {
	case len(p.Code) < 1 || len(p.Code) > 3 || p.Code[0] == '0' || !allDigits(p.Code):
		return errors.New(wrap + "Code wants 1 to 3 digits that do not begin with 0")
	case p.MinDigits < 1 || p.MaxDigits < p.MinDigits || len(p.Code)+p.MinDigits < 7 || len(p.Code)+p.MaxDigits > 15:
		return fmt.Errorf(wrap+"MinDigits and MaxDigits want, with the %d of Code, 7 to 15 digits", len(p.Code))
	}
	return nil
}

func allDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

// phoneDigits returns the digits of a canonical id, and whether a + is in front.
// Signs may stand between digits, and nothing else may.
func phoneDigits(s string) (digits string, international, ok bool) {
	rest, international := strings.CutPrefix(s, "+")
	var out bytes.Buffer
	open := false
	for i := range len(rest) {
		switch c := rest[i]; {
		case '0' <= c && c <= '9':
			out.WriteByte(c)
		case c == '(' && !open:
			open = true
		case c == ')' && open:
			open = false
		case strings.IndexByte(" .-/", c) < 0 || i == 0 && !international:
			return "", false, false
		}
	}
	return out.String(), international, !open && out.Len() > 0
}
