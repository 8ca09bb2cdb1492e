package pseudonym

import (
	"errors"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
	"pgregory.net/rapid"
)

func TestCanonical(t *testing.T) {
	for _, c := range []struct {
		reason string
		id     string
		want   string
	}{
		{"already canonical", "member-0042", "member-0042"},
		{"one byte is enough", "7", "7"},
		{"ASCII letters are folded", "Ada@Example.COM", "ada@example.com"},
		{"spaces at the ends come from padded columns", "  ada  ", "ada"},
		{"a run of spaces is one", "ada   b  lovelace", "ada b lovelace"},
		{"no-break and ideographic spaces look like spaces", "\u00a0ada\u3000\u2003b\u00a0", "ada b"},
		{"signs are kept: issuers use them as separators", "a-b_c.d/e+f", "a-b_c.d/e+f"},
		{"leading zeros are kept", "0042", "0042"},
		{"é composed", "Jos\u00e9", "jos\u00e9"},
		{"é from a combining accent is the same id", "Jose\u0301", "jos\u00e9"},
		{"the order of marks above and below does not matter", "q\u0307\u0323", "q\u0323\u0307"},
		{"the Ångström sign is the letter", "\u212bngstr\u00f6m", "\u00e5ngstr\u00f6m"},
		{"the Kelvin sign is the letter, and folds into ASCII", "\u212a9", "k9"},
		{"Hangul jamo are the syllable", "\u1112\u1161\u11ab", "\ud55c"},
		{"ß folds to ss", "Gro\u00df", "gross"},
		{"SS folds to ss", "GROSS", "gross"},
		{"capital ẞ folds to ss", "GRO\u1e9e", "gross"},
		{"final sigma is sigma", "\u039f\u03a3", "\u03bf\u03c3"},
		{"final sigma, lower case", "\u03bf\u03c2", "\u03bf\u03c3"},
		{"a ligature is its letters by full case folding", "\ufb00", "ff"},
		{"I is i, in Turkish names too: one rule for all languages", "ISIK", "isik"},
		{"dotless ı stays: it is not the I of the row above", "\u0131s\u0131k", "\u0131s\u0131k"},
		{"dotted İ is i with a dot, not i", "\u0130", "i\u0307"},
		{"ǰ unfolds into j and caron, and the last normalization closes it", "\u01f0", "\u01f0"},
		{"iota subscript folds to a letter", "\u1fb3", "\u03b1\u03b9"},
		{"small Cherokee folds to capitals, unlike other scripts", "\uab70\u13f8", "\u13a0\u13f0"},
		{"Cherokee capitals stay: x/text's caser would make them small", "\u13a0\u13f0", "\u13a0\u13f0"},
		{"full-width digits stay: NFC keeps compatibility forms apart", "\uff11\uff12", "\uff11\uff12"},
		{"full-width letters are folded, not narrowed", "\uff21", "\uff41"},
		{"superscripts stay", "m\u00b2", "m\u00b2"},
		{"Cyrillic а is not Latin a: look-alikes are two ids", "\u0430da", "\u0430da"},
		{"characters beyond 16 bits", "\U00010400\U0001f600", "\U00010428\U0001f600"},
		{"the longest", strings.Repeat("x", 256), strings.Repeat("x", 256)},
		{"the longest, padded", strings.Repeat(" ", 384) + strings.Repeat("x", 256) + strings.Repeat(" ", 384), strings.Repeat("x", 256)},
		{"the longest, not ASCII", strings.Repeat("\u00e9", 128), strings.Repeat("\u00e9", 128)},
		{"30 marks are a word of some scripts and more", "a" + strings.Repeat("\u0323", 30), "\u1ea1" + strings.Repeat("\u0323", 29)},
	} {
		t.Run(c.reason, func(t *testing.T) {
			got, err := Canonical(c.id)
			require.NoError(t, err)
			assert.Equal(t, c.want, got)
			again, err := Canonical(got)
			require.NoError(t, err)
			assert.Equal(t, got, again, "idempotent")
		})
	}
}

func TestCanonicalRefuses(t *testing.T) {
	for _, c := range []struct {
		reason string
		id     string
		want   error
	}{
		{"nothing", "", errEmpty},
		{"only spaces", "   ", errEmpty},
		{"only spaces that are not ASCII", "\u00a0\u3000", errEmpty},
		{"one byte too long", strings.Repeat("x", 257), errLong},
		{"one byte too long, with a space inside", strings.Repeat("x ", 128) + "x", errLong},
		{"too long as given, though its canonical form is short", "x" + strings.Repeat(" ", 1024), errLong},
		{"case folding makes it too long", strings.Repeat("\u0390", 128) + "x", errLong},
		{"two bytes too long, not ASCII", strings.Repeat("\u00e9", 129), errLong},
		{"a lone continuation byte", "ada\x80", errUTF8},
		{"Latin-1 read as UTF-8", "Jos\xe9", errUTF8},
		{"an overlong NUL", "ada\xc0\x80", errUTF8},
		{"a surrogate half", "ada\xed\xa0\x80", errUTF8},
		{"a truncated character", "ada\xe2\x82", errUTF8},
		{"the replacement character", "Jos\ufffd", errReplaced},
		{"NUL", "ada\x00", errControl},
		{"a tab: two columns in one", "ada\t42", errControl},
		{"the end of a Windows line", "ada\r", errControl},
		{"DEL", "ada\x7f", errControl},
		{"next line, a control beyond ASCII", "ada\u0085", errControl},
		{"a tab after a letter beyond ASCII", "jos\u00e9\t", errControl},
		{"zero-width joiner", "a\u200dda", errInvisible},
		{"zero-width non-joiner", "a\u200cda", errInvisible},
		{"zero-width space is a format character, not a space", "a\u200bda", errInvisible},
		{"byte order mark: the first column of a file", "\ufeffada", errInvisible},
		{"right-to-left override shows the id backwards", "\u202e24-ada", errInvisible},
		{"first strong isolate", "\u2068ada\u2069", errInvisible},
		{"soft hyphen", "a\u00adda", errInvisible},
		{"language tag characters", "ada\U000e0061", errInvisible},
		{"line separator", "ada\u2028", errInvisible},
		{"paragraph separator", "ada\u2029", errInvisible},
		{"private use means something else at every store", "ada\ue000", errInvisible},
		{"unassigned", "ada\u0378", errInvisible},
		{"a noncharacter", "ada\uffff", errInvisible},
		{"variation selector", "\u2764\ufe0f", errInvisible},
		{"Hangul filler is a letter that does not show", "ada\u3164", errInvisible},
		{"combining grapheme joiner", "a\u034fda", errInvisible},
		{"31 marks: the normalizer would break them up", "a" + strings.Repeat("\u0323", 32), errMarks},
	} {
		t.Run(c.reason, func(t *testing.T) {
			got, err := Canonical(c.id)
			assert.Empty(t, got)
			assert.Equal(t, c.want, err)
			assert.ErrorIs(t, err, ErrMalformed)
			var malformed MalformedError
			require.ErrorAs(t, err, &malformed)
			assert.NotEmpty(t, malformed.Reason)
			assert.NotContains(t, err.Error(), "ada")
		})
	}
}

// The fast path and the general one must agree where both apply.
func TestASCIIPathAgreesWithUnicodePath(t *testing.T) {
	ascii := rapid.StringOfN(rapid.RuneFrom([]rune{' ', ' ', 'a', 'Z', '0', '-', '~', '\t', 0x7f}), 0, 300, -1)
	rapid.Check(t, func(t *rapid.T) {
		id := ascii.Draw(t, "id")
		fast, fastErr := appendCanonical(nil, id)
		slow, slowErr := appendUnicode(nil, id)
		if string(fast) != string(slow) || (fastErr == nil) != (slowErr == nil) {
			t.Fatalf("fast %q %v, general %q %v", fast, fastErr, slow, slowErr)
		}
		if fastErr == nil && canonicalASCII(id) != (string(fast) == id) {
			t.Fatalf("canonicalASCII is %v, canonical form is %q", canonicalASCII(id), fast)
		}
		if fastErr != nil && canonicalASCII(id) {
			t.Fatalf("canonicalASCII accepts what is refused: %v", fastErr)
		}
	})
}

// trap draws ids from characters that have made canonicalisation go wrong before.
var trap = rapid.StringOfN(rapid.RuneFrom([]rune{
	' ', '\u00a0', 'a', 'A', 'I', 'i', 'K', 'S', 's', '1', '\u00df', '\u1e9e', '\u0130', '\u0131', '\u0149',
	'\u01f0', '\u0301', '\u0307', '\u0308', '\u030c', '\u0323', '\u0327', '\u0345', '\u0390', '\u03b1', '\u03b9',
	'\u03c2', '\u0587', '\u1e9a', '\u1f80', '\u1fb3', '\u1fb7', '\u1fbc', '\u1fc6', '\u1fd3', '\u1fe4', '\u212a',
	'\u212b', '\u1100', '\u1161', '\u11a8', '\uac00', '\ufb03', '\ufb1d', '\uff11', '\uab70', '\u13a0', '\u1c80',
	'\u0958', '\u2adc', '\u0f73', '\u0f71', '\u0f72', '\U00010400', '\U0001d15e', '\U0001f600',
}), 0, 60, -1)

func TestCanonicalLaws(t *testing.T) {
	ids := rapid.OneOf(trap, rapid.String(), rapid.StringN(0, 300, -1))
	rapid.Check(t, func(t *rapid.T) {
		checkLaws(t, ids.Draw(t, "id"))
	})
}

// checkLaws holds what is true of Canonical for every id.
func checkLaws(t interface {
	Helper()
	Fatalf(string, ...any)
}, id string,
) {
	t.Helper()
	got, err := Canonical(id)
	if err != nil {
		if got != "" || !errors.Is(err, ErrMalformed) {
			t.Fatalf("an error comes with %q: %v", got, err)
		}
		return
	}
	switch again, err := Canonical(got); {
	case err != nil || again != got:
		t.Fatalf("not idempotent: %+q, then %+q, %v", got, again, err)
	case len(got) < 1 || len(got) > maxCanonical || !utf8.ValidString(got) || !norm.NFC.IsNormalString(got):
		t.Fatalf("not 1 to 256 bytes of normalized UTF-8: %+q", got)
	case strings.TrimSpace(got) != got || strings.Contains(got, "  "):
		t.Fatalf("stray spaces: %+q", got)
	}
	// Canonically equivalent spellings, and capitals, are the same id.
	for _, variant := range []string{norm.NFD.String(id), norm.NFC.String(id), " " + id + "\u2003"} {
		if other, err := Canonical(variant); len(variant) <= maxRaw && other != got && !errors.Is(err, errMarks) {
			t.Fatalf("%+q gives %+q, its variant %+q gives %+q, %v", id, got, variant, other, err)
		}
	}
}

// An independent table: package unicode's simple case orbits must fold together.
// Every character is tried, but only some of those that are all alike: syllables
// and ideographs, private use, and the planes where nothing is assigned.
func TestEveryCharacterFoldsWithItsOrbit(t *testing.T) {
	for r := rune(0); r <= unicode.MaxRune; r++ {
		if r%61 != 0 && (unicode.In(r, unicode.Han, unicode.Hangul, unicode.Co) || r >= 0x40000 && r < 0xe0000) {
			continue
		}
		got, err := Canonical(string(r))
		visible := unicode.IsGraphic(r) && !unicode.Is(unicode.Zs, r)
		if err != nil {
			if visible && visibleDefault(r) {
				t.Fatalf("%U is refused: %v", r, err)
			}
			continue
		}
		if !visible {
			t.Fatalf("%U is accepted", r)
		}
		if got != string(r) || unicode.IsMark(r) || r%61 == 0 {
			checkLaws(t, "a"+string(r)+"\u0301")
		}
		if again, err := Canonical(got); err != nil || again != got {
			t.Fatalf("%U gives %+q, then %+q, %v", r, got, again, err)
		}
		next := unicode.SimpleFold(r)
		if next == r {
			continue
		}
		other, err := Canonical(string(next))
		if err != nil || other != got {
			t.Fatalf("%U gives %+q, %U gives %+q, %v", r, got, next, other, err)
		}
	}
}

// visibleDefault is false of the graphic characters that Canonical refuses all
// the same (Unicode 15.0, DerivedCoreProperties: Default_Ignorable_Code_Point).
func visibleDefault(r rune) bool {
	switch {
	case r == 0x34f, r == 0x115f, r == 0x1160, r == 0x17b4, r == 0x17b5, r >= 0x180b && r <= 0x180d, r == 0x180f,
		r == 0x3164, r >= 0xfe00 && r <= 0xfe0f, r == 0xffa0, r == 0xfffd, r >= 0xe0100 && r <= 0xe01ef:
		return false
	}
	return true
}

// If this fails after a change of Go or of x/text: the three tables must speak of
// the same characters, or one build folds what another does not know.
func TestUnicodeTablesAgree(t *testing.T) {
	assert.Equal(t, unicode.Version, norm.Version)
	assert.Equal(t, unicode.Version, cases.UnicodeVersion)
}

func TestCanonicalDoesNotAllocateForCanonicalASCII(t *testing.T) {
	assert.Zero(t, testing.AllocsPerRun(1000, func() {
		if _, err := Canonical("member 0042@example.com"); err != nil {
			t.Fatal(err)
		}
	}))
	buf := make([]byte, 0, maxCanonical)
	assert.Zero(t, testing.AllocsPerRun(1000, func() {
		if _, err := appendCanonical(buf, "  Member  0042@Example.com "); err != nil {
			t.Fatal(err)
		}
	}), "folding ASCII needs no allocation either")
}

func FuzzCanonical(f *testing.F) {
	for _, id := range []string{"", "ada", " A  b ", "Jose\u0301", "Gro\u00df", "\u0131I\u0130", "a\u200dda", "\u202eada", "\u01f0\u0345\u0308", "\xff", strings.Repeat("\u0323", 40), strings.Repeat("\ufb03", 90)} {
		f.Add(id)
	}
	f.Fuzz(func(t *testing.T, id string) { checkLaws(t, id) })
}
