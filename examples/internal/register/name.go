package register

import (
	"strings"

	"github.com/larder-dp/larder/pseudonym"
)

// Titles stand before a name and suffixes after it; with or without a dot behind,
// and in a suffix between (M.D.; but M.R. is two first names), in any case. What is a name as often as a title ("Ma", "Do", "Hon", "V") is not
// among them.
const (
	titles   = " mr mrs ms miss mx dr prof sir dame madam rev "
	suffixes = " jr sr ii iii iv md dds dvm phd esq rn cpa jd "
)

// SplitName takes titles and suffixes off a name. The last word left is the last
// name and the words before it are the first name; a name of one word is a last
// name.
func SplitName(name string) (first, last string, why Reasons) {
	name = trim(name)
	if name == "" {
		return "", "", NameMissing
	}
	if !plain(name) {
		if _, err := pseudonym.Canonical(name); err != nil {
			return "", "", NameNotText
		}
	}
	// A name of two words, which is nearly every one, is cut and not copied.
	if one, two, _ := strings.Cut(name, " "); plain(name) && strings.IndexByte(two, ' ') < 0 && two != "" &&
		!isTitle(one) && !isSuffix(two) && !strings.HasSuffix(one, ",") && !strings.HasSuffix(two, ",") {
		return one, two, 0
	}
	words := strings.Fields(name)
	for len(words) > 0 && isTitle(words[0]) {
		words = words[1:]
	}
	for len(words) > 0 && isSuffix(words[len(words)-1]) {
		words = words[:len(words)-1]
	}
	if len(words) == 0 {
		return "", "", NameOnlyTitles
	}
	end := len(words) - 1
	last = strings.TrimRight(words[end], ",") // of "Lee, MD"
	if last == "" {
		return "", "", NameNotText
	}
	return strings.Join(words[:end], " "), last, 0
}

// isTitle and isSuffix say whether a word is one, but for case, dots and a comma.
func isTitle(word string) bool { return isOne(word, titles, false) }

func isSuffix(word string) bool { return isOne(word, suffixes, true) }

func isOne(word, list string, innerDots bool) bool {
	word = strings.TrimRight(word, ".,")
	if word == "" || len(word) > 5 {
		return false
	}
	var lower [7]byte
	b := append(lower[:0], ' ')
	for _, c := range []byte(word) {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		switch {
		case 'a' <= c && c <= 'z':
			b = append(b, c)
		case c != '.' || !innerDots:
			return false
		}
	}
	return strings.Contains(list, string(append(b, ' ')))
}

// plain says whether s is printable ASCII.
func plain(s string) bool {
	for _, c := range []byte(s) {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return true
}

// trim takes spaces and tabs off both ends.
func trim(s string) string {
	if s != "" && s[0] > ' ' && s[len(s)-1] > ' ' {
		return s
	}
	return strings.Trim(s, " \t")
}
