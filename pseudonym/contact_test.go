package pseudonym

import (
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestEmail(t *testing.T) {
	for _, c := range []struct {
		reason, address, want string
		err                   error
	}{
		{"plain", "ada@example.com", "ada@example.com", nil},
		{"the case of both parts is folded", " Ada.B@Example.COM ", "ada.b@example.com", nil},
		{"a tag stays: whether it counts is the provider's rule", "ada+shop@example.com", "ada+shop@example.com", nil},
		{"dots stay, for the same reason", "a.d.a@example.com", "a.d.a@example.com", nil},
		{"what RFC 5322 calls atext", "a!#$%&'*+-/=?^_`{|}~9@example.com", "a!#$%&'*+-/=?^_`{|}~9@example.com", nil},
		{"a mailbox beyond ASCII (RFC 6531), in NFC", "JOSE\u0301@example.com", "jos\u00e9@example.com", nil},
		{"an international domain in its ASCII form", "ada@XN--BCHER-KVA.example", "ada@xn--bcher-kva.example", nil},
		{"digits and hyphens in a domain", "ada@3com-x.co.uk", "ada@3com-x.co.uk", nil},
		{"the Kelvin sign folds to k", "\u212aim@example.com", "kim@example.com", nil},
		{"the longest mailbox", strings.Repeat("a", 64) + "@example.com", strings.Repeat("a", 64) + "@example.com", nil},

		{"nothing", "", "", errEmpty},
		{"a control character", "ada@example.com\r", "", errControl},
		{"no @", "ada.example.com", "", errAddress},
		{"no mailbox", "@example.com", "", errAddress},
		{"two @", "ada@b@example.com", "", errAddress},
		{"a display name", "Ada <ada@example.com>", "", errAddress},
		{"a quoted mailbox", `"ada b"@example.com`, "", errAddress},
		{"a comment", "ada(x)@example.com", "", errAddress},
		{"two addresses", "ada@example.com, bea@example.com", "", errAddress},
		{"a space in the mailbox", "ada b@example.com", "", errAddress},
		{"a mailbox too long", strings.Repeat("a", 65) + "@example.com", "", errMailbox},
		{"a dot in front", ".ada@example.com", "", errMailbox},
		{"a dot before the @", "ada.@example.com", "", errMailbox},
		{"two dots", "ada..b@example.com", "", errMailbox},
		{"no domain", "ada@", "", errDomain},
		{"one name", "ada@localhost", "", errDomain},
		{"a dot behind", "ada@example.com.", "", errDomain},
		{"a space in the domain", "ada@exam ple.com", "", errDomain},
		{"an underscore in the domain", "ada@exam_ple.com", "", errDomain},
		{"a hyphen in front", "ada@-example.com", "", errDomain},
		{"a hyphen behind", "ada@example-.com", "", errDomain},
		{"an address of numbers", "ada@192.0.2.1", "", errDomain},
		{"an address literal", "ada@[192.0.2.1]", "", errDomain},
		{"a domain that is not ASCII would have a second spelling", "ada@b\u00fccher.example", "", errDomain},
		{"a Cyrillic look-alike", "ada@ex\u0430mple.com", "", errDomain},
		{"a name of 64", "ada@" + strings.Repeat("x", 64) + ".com", "", errDomain},
		{"255 bytes", "ada@" + strings.Repeat(strings.Repeat("x", 49)+".", 5) + "x", "", errTotal},
	} {
		t.Run(c.reason, func(t *testing.T) {
			got, err := Email(c.address)
			assert.Equal(t, c.want, got)
			assert.Equal(t, c.err, err)
			checkContact(t, got, err, Email)
		})
	}
}

var (
	singapore = PhonePlan{Code: "65", MinDigits: 8, MaxDigits: 8}
	britain   = PhonePlan{Code: "44", TrunkZero: true, MinDigits: 7, MaxDigits: 10}
	italy     = PhonePlan{Code: "39", MinDigits: 6, MaxDigits: 11}
)

func TestPhone(t *testing.T) {
	for _, c := range []struct {
		reason, number string
		plan           PhonePlan
		want           string
		err            error
	}{
		{"at home", "91234567", singapore, "+6591234567", nil},
		{"with signs", " 9123-4567 ", singapore, "+6591234567", nil},
		{"with other signs", "(9123) 45.67", singapore, "+6591234567", nil},
		{"with no-break spaces", "9123\u00a04567", singapore, "+6591234567", nil},
		{"from abroad", "+65 9123 4567", singapore, "+6591234567", nil},
		{"of another country", "+44 20 7946 0018", singapore, "+442079460018", nil},
		{"with the trunk 0", "(020) 7946 0018", britain, "+442079460018", nil},
		{"without it", "20 7946 0018", britain, "+442079460018", nil},
		{"a 0 that stays", "06 698 12345", italy, "+390669812345", nil},
		{"and from abroad", "+39 06 698 12345", italy, "+390669812345", nil},
		{"the longest", "+123456789012345", singapore, "+123456789012345", nil},

		{"nothing", " ", singapore, "", errEmpty},
		{"a tab", "9123\t4567", singapore, "", errControl},
		{"letters", "9123 CALL", singapore, "", errSigns},
		{"an extension", "91234567 x12", singapore, "", errSigns},
		{"two numbers", "91234567, 91234568", singapore, "", errSigns},
		{"+ inside", "65+91234567", singapore, "", errSigns},
		{"two +", "++6591234567", singapore, "", errSigns},
		{"only a +", "+", singapore, "", errSigns},
		{"only signs", "()", singapore, "", errSigns},
		{"a bracket alone", "9123(4567", singapore, "", errSigns},
		{"brackets in brackets", "((9123)) 4567", singapore, "", errSigns},
		{"a negative number of a spreadsheet", "-91234567", singapore, "", errSigns},
		{"full-width digits", "\uff1991234567", singapore, "", errSigns},
		{"too short", "9123456", singapore, "", errDigits},
		{"the country code without +: it might be a number of ten digits", "6591234567", singapore, "", errDigits},
		{"too short from abroad", "+65 9123456", singapore, "", errDigits},
		{"six digits", "+123456", singapore, "", errDigits},
		{"sixteen digits", "+1234567890123456", singapore, "", errDigits},
		{"no country code begins with 0", "+0123456789", singapore, "", errDigits},
		{"an international prefix of many countries", "0065 9123 4567", singapore, "", errPrefix},
		{"and with a trunk 0", "0044 20 7946 0018", britain, "", errPrefix},
		{"the trunk 0 from abroad", "+44 020 7946 0018", britain, "", errTrunk},
		{"the same in brackets", "+44 (0)20 7946 0018", britain, "", errTrunk},
		{"the same of another country", "+44 (0)20 7946 0018", singapore, "", errTrunk},
	} {
		t.Run(c.reason, func(t *testing.T) {
			got, err := Phone(c.number, c.plan)
			assert.Equal(t, c.want, got)
			assert.Equal(t, c.err, err)
			checkContact(t, got, err, func(s string) (string, error) { return Phone(s, c.plan) })
		})
	}
}

func TestPhonePlan(t *testing.T) {
	for reason, plan := range map[string]PhonePlan{
		"zero":                      {},
		"no code":                   {MinDigits: 8, MaxDigits: 8},
		"a code with +":             {Code: "+65", MinDigits: 8, MaxDigits: 8},
		"a code that begins with 0": {Code: "065", MinDigits: 8, MaxDigits: 8},
		"a code of four":            {Code: "6565", MinDigits: 8, MaxDigits: 8},
		"no digits":                 {Code: "65"},
		"more than at most":         {Code: "65", MinDigits: 9, MaxDigits: 8},
		"six in all":                {Code: "65", MinDigits: 4, MaxDigits: 8},
		"sixteen in all":            {Code: "65", MinDigits: 8, MaxDigits: 14},
		"negative":                  {Code: "65", MinDigits: -1, MaxDigits: 8},
	} {
		got, err := Phone("91234567", plan)
		assert.Error(t, err, reason)
		assert.NotErrorIs(t, err, ErrMalformed, reason)
		assert.Empty(t, got, reason)
	}
}

// checkContact holds what is true of Email and Phone for every input.
func checkContact(t interface {
	Helper()
	Fatalf(string, ...any)
}, got string, err error, f func(string) (string, error),
) {
	t.Helper()
	if err != nil {
		if got != "" || !errors.Is(err, ErrMalformed) {
			t.Fatalf("an error comes with %q: %v", got, err)
		}
		return
	}
	if again, err := f(got); err != nil || again != got {
		t.Fatalf("not idempotent: %q, then %q, %v", got, again, err)
	}
	if again, err := Canonical(got); err != nil || again != got {
		t.Fatalf("Canonical changes it: %q, then %q, %v", got, again, err)
	}
}

func TestContactLaws(t *testing.T) {
	address := rapid.StringMatching(`[ a-zA-ZéK.+@"-]{0,12}@?[a-zA-Z0-9.-]{0,12}\.?[a-z]{0,3} ?`)
	number := rapid.StringMatching(`\+?[ 0-9().-]{0,20}`)
	plans := rapid.SampledFrom([]PhonePlan{singapore, britain, italy})
	rapid.Check(t, func(t *rapid.T) {
		a, plan, n := address.Draw(t, "address"), plans.Draw(t, "plan"), number.Draw(t, "number")
		got, err := Email(a)
		checkContact(t, got, err, Email)
		if err == nil {
			if c, _ := Canonical(a); c != got {
				t.Fatalf("Email is not Canonical: %q, %q", got, c)
			}
		}
		phone := func(s string) (string, error) { return Phone(s, plan) }
		got, err = phone(n)
		checkContact(t, got, err, phone)
		// Spaces and dots between digits, and around, change nothing.
		if spaced, spacedErr := phone(" " + strings.ReplaceAll(n, "1", "1 . ")); got != spaced || (err == nil) != (spacedErr == nil) {
			t.Fatalf("%q gives %q, %v; with signs %q, %v", n, got, err, spaced, spacedErr)
		}
	})
}

func FuzzEmail(f *testing.F) {
	for _, s := range []string{"ada@example.com", " Ada@EXAMPLE.com", "ada@b\u00fccher.example", "a@b", "@", "\u212a@x.yy", "a@x.1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := Email(s)
		checkContact(t, got, err, Email)
	})
}

func FuzzPhone(f *testing.F) {
	for _, s := range []string{"91234567", "+44 (0)20 7946 0018", "020 7946 0018", "()", "+39 06 698", "00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, plan := range []PhonePlan{singapore, britain, italy} {
			phone := func(s string) (string, error) { return Phone(s, plan) }
			got, err := phone(s)
			checkContact(t, got, err, phone)
		}
	})
}

// The rows of the table in the package doc that no example has.
func TestTableOfTheDoc(t *testing.T) {
	for _, row := range [][2]string{{" ADA  Lovelace ", "ada lovelace"}, {"JOSE\u0301", "josé"}, {"GROẞ", "gross"}, {"00 42", "00 42"}} {
		got, err := Canonical(row[0])
		require.NoError(t, err)
		assert.Equal(t, row[1], got)
	}
}
