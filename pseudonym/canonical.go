package pseudonym

import (
	"bytes"
	"errors"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// CanonicalVersion numbers the rules of Canonical and the format of the PRF's
// input. A change of either changes pseudonyms, so it gets a new number.
const CanonicalVersion = 1

const (
	maxRaw       = 1024 // bytes of an id as given, so that a long one costs little
	maxCanonical = 256  // bytes of a canonical id
)

// ErrMalformed is matched by every MalformedError.
var ErrMalformed = errors.New("member id is malformed")

// A MalformedError says which rule an id broke. It carries nothing of the id,
// but that a record broke a rule is itself a fact about the record: keep it at
// the store.
type MalformedError struct {
	// Reason is one of a few fixed texts.
	Reason string
}

// Error names the rule that was broken, and no part of the id.
func (e MalformedError) Error() string {
	return "canonicalize member id: " + e.Reason
}

// Is reports whether target is ErrMalformed.
func (e MalformedError) Is(target error) bool { return target == ErrMalformed }

// The reasons. They are errors already, so that a bad id costs no allocation.
var (
	errEmpty     error = MalformedError{"it is empty or all spaces"}
	errLong      error = MalformedError{"it is longer than 256 bytes in canonical form, or 1024 as given"}
	errUTF8      error = MalformedError{"it is not valid UTF-8: check the encoding of the source"}
	errControl   error = MalformedError{"it holds a control character, such as a tab or a line end: check how the source splits its columns and lines"}
	errInvisible error = MalformedError{"it holds a format, invisible, private-use or unassigned character"}
	errReplaced  error = MalformedError{"it holds the replacement character: an earlier reader lost bytes, check its encoding"}
	errMarks     error = MalformedError{"it holds more than 30 combining marks in a row"}
)

// Canonical returns the one spelling that stands for id: trimmed, with single
// spaces, normalized and case-folded; the package doc lists the rules. Of an id
// that breaks them it returns "" and a MalformedError. Canonical of its own result
// changes nothing.
//
// An ASCII id that is already canonical is returned as it is, without allocating.
func Canonical(id string) (string, error) {
	if canonicalASCII(id) {
		return id, nil // and not a copy
	}
	var buf [maxCanonical]byte
	out, err := appendCanonical(buf[:0], id)
	if err != nil {
		return "", err
	}
	return string(out), nil
}

// canonicalASCII reports whether id is ASCII and already canonical.
func canonicalASCII(id string) bool {
	if len(id) < 1 || len(id) > maxCanonical || id[0] == ' ' || id[len(id)-1] == ' ' {
		return false
	}
	for i := range len(id) {
		c := id[i]
		if c-'!' > '~'-'!' || c-'A' <= 'Z'-'A' { // bytes wrap around, so each is a range
			if c != ' ' || id[i+1] == ' ' {
				return false
			}
		}
	}
	return true
}

// appendCanonical appends the canonical id to dst. It allocates nothing for ASCII
// if dst has room for 256 bytes more.
func appendCanonical(dst []byte, id string) ([]byte, error) {
	if canonicalASCII(id) {
		return append(dst, id...), nil
	}
	if len(id) > maxRaw {
		return nil, errLong
	}
	start := len(dst)
	space := false // spaces were seen since the last character
	for i := range len(id) {
		c := id[i]
		switch {
		case c >= utf8.RuneSelf:
			return appendUnicode(dst[:start], id)
		case c < ' ' || c == 0x7f:
			return nil, errControl
		case c == ' ':
			space = true
			continue
		case 'A' <= c && c <= 'Z':
			c += 'a' - 'A'
		}
		if space && len(dst) > start {
			dst = append(dst, ' ')
		}
		space = false
		if dst = append(dst, c); len(dst)-start > maxCanonical {
			// What follows cannot make it shorter: a combining mark may take the last
			// letter's place, but the composed letter is longer in UTF-8.
			return nil, errLong
		}
	}
	if len(dst) == start {
		return nil, errEmpty
	}
	return dst, nil
}

// appendUnicode is appendCanonical for ids that are not ASCII.
func appendUnicode(dst []byte, id string) ([]byte, error) {
	plain := make([]byte, 0, len(id))
	space := false
	for i, r := range id {
		switch {
		case r == utf8.RuneError:
			if _, n := utf8.DecodeRuneInString(id[i:]); n == 1 {
				return nil, errUTF8
			}
			return nil, errReplaced
		case unicode.IsControl(r):
			return nil, errControl
		case !visible(r):
			return nil, errInvisible
		case unicode.Is(unicode.Zs, r):
			space = true
			continue
		}
		if space && len(plain) > 0 {
			plain = append(plain, ' ')
		}
		space = false
		plain = utf8.AppendRune(plain, r)
	}
	if len(plain) == 0 {
		return nil, errEmpty
	}
	// The normalizer breaks up runs of more than 30 combining marks (UAX #15,
	// Stream-Safe Text Process) with a grapheme joiner, which no id may hold.
	plain = norm.NFC.Bytes(plain)
	if bytes.Contains(plain, graphemeJoiner) {
		return nil, errMarks
	}
	plain = norm.NFC.Bytes(foldCase(plain))
	if bytes.Contains(plain, graphemeJoiner) {
		return nil, errMarks
	}
	if len(plain) > maxCanonical {
		return nil, errLong
	}
	return append(dst, plain...), nil
}

// fold is full case folding without the Turkic rules. A Fold caser is documented
// to be stateless and safe for concurrent use.
var fold = cases.Fold()

// foldCase folds as CaseFolding.txt (Unicode 15.0) says. The caser folds Cherokee
// capitals to small letters and small letters to capitals; in the file both fold to
// the capitals.
func foldCase(b []byte) []byte {
	return bytes.Map(func(r rune) rune {
		switch {
		case 0x13f8 <= r && r <= 0x13fd:
			return r - 8
		case 0xab70 <= r && r <= 0xabbf:
			return r - 0xab70 + 0x13a0
		}
		return r
	}, fold.Bytes(b))
}

var graphemeJoiner = []byte("\u034f")

// visible reports whether r may stand in an id. IsGraphic is true of letters,
// marks, numbers, punctuation, symbols and spaces, so false of the categories Cc,
// Cf, Co, Cs, Cn, Zl and Zp; the two tables hold what Unicode calls graphic and
// default-ignorable nevertheless.
func visible(r rune) bool {
	return unicode.IsGraphic(r) && !unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}
