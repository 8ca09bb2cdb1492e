package register

import "strings"

// CheckEmail returns the address without white space around it, and what is
// wrong with it.
func CheckEmail(s string) (string, Reasons) {
	s = trim(s)
	if s == "" {
		return "", EmailMissing
	}
	// RFC 5321 §4.5.3.1: 64 bytes before the @, 255 after it, 254 in all (with
	// erratum 1690 of RFC 3696).
	at := strings.IndexByte(s, '@')
	if at < 1 || at > 64 || len(s) > 254 || !dotAtom(s[:at]) {
		return "", EmailMalformed
	}
	domain := s[at+1:]
	dot := strings.LastIndexByte(domain, '.')
	if dot < 1 || !hostname(domain) {
		return "", EmailMalformed
	}
	if top := domain[dot+1:]; !strings.EqualFold(top, "com") && !strings.EqualFold(top, "net") {
		return "", EmailElsewhere
	}
	return s, 0
}

// dotAtom is RFC 5322 §3.2.3: words of letters, digits and !#$%&'*+-/=?^_`{|}~
// with single dots between them.
func dotAtom(s string) bool {
	last := byte('.')
	for _, c := range []byte(s) {
		switch {
		case c == '.' && last == '.':
			return false
		case c == '.', letterOrDigit(c):
		case strings.IndexByte("!#$%&'*+-/=?^_`{|}~", c) < 0:
			return false
		}
		last = c
	}
	return last != '.'
}

// hostname is RFC 1123 §2.1: labels of 1 to 63 letters, digits and hyphens, with
// no hyphen at either end.
func hostname(s string) bool {
	length, last := 0, byte('-')
	for i := 0; i <= len(s); i++ {
		if i == len(s) || s[i] == '.' {
			if length == 0 || length > 63 || last == '-' {
				return false
			}
			length, last = 0, '-'
			continue
		}
		c := s[i]
		if !letterOrDigit(c) && (c != '-' || length == 0) {
			return false
		}
		length, last = length+1, c
	}
	return true
}

func letterOrDigit(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

// CheckMobile returns the number without spaces, and what is wrong with it.
func CheckMobile(s string) (string, Reasons) {
	if s = trim(s); strings.IndexByte(s, ' ') >= 0 {
		s = strings.ReplaceAll(s, " ", "")
	}
	if s == "" {
		return "", MobileMissing
	}
	if len(s) != 8 {
		return "", MobileNot8
	}
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return "", MobileNot8
		}
	}
	return s, 0
}
