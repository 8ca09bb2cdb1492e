package register

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"pgregory.net/rapid"
)

func TestBirthday(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		in   string
		want Date
		why  Reasons
		note string
	}{
		{in: "02/03/1974", want: 19740203, note: "with / the month is first"},
		{in: "02-03-1974", want: 19740302, note: "with - the day is first"},
		{in: "1974-02-03", want: 19740203},
		{in: "1974/02/03", want: 19740203},
		{in: "2/3/1974", want: 19740203},
		{in: " 1974-2-3\t", want: 19740203},
		{in: "13/01/1974", why: DateNoSuchDay, note: "there is no month 13, and no guess that it is a day"},
		{in: "01-13-1974", why: DateNoSuchDay},
		{in: "29-02-2000", want: 20000229},
		{in: "29-02-1900", why: DateNoSuchDay},
		{in: "31/04/1999", why: DateNoSuchDay},
		{in: "04/31/1999", why: DateNoSuchDay},
		{in: "00-01-1999", why: DateNoSuchDay},
		{in: "0000-01-01", why: DateNoSuchDay},
		{in: "31-12-1899", why: DateTooEarly},
		{in: "", why: DateMissing},
		{in: "  ", why: DateMissing},
		{in: "74-02-03", why: DateMalformed, note: "a year has four digits"},
		{in: "1974-02/03", why: DateMalformed},
		{in: "1974-02", why: DateMalformed},
		{in: "1974-02-03-04", why: DateMalformed},
		{in: "1974-02-031", why: DateMalformed},
		{in: "+974-02-03", why: DateMalformed},
		{in: "19740203", why: DateMalformed},
		{in: "1974-02-03T00:00", why: DateMalformed},
		{in: "１９７４-02-03", why: DateMalformed, note: "full-width digits"},
	} {
		got, why := ParseBirthday(row.in)
		assert.Equal(t, row.want, got, "%q %s", row.in, row.note)
		assert.Equal(t, row.why, why, "%q %s", row.in, row.note)
	}
}

// The four forms, against package time.
func TestBirthdayAgainstTime(t *testing.T) {
	t.Parallel()
	layouts := []string{"01/02/2006", "02-01-2006", "2006-01-02", "2006/01/02", "1/2/2006", "2-1-2006"}
	rapid.Check(t, func(t *rapid.T) {
		s := fmt.Sprintf("%0*d%s%0*d%s%0*d",
			rapid.SampledFrom([]int{1, 2, 4}).Draw(t, "w1"), rapid.IntRange(0, 2030).Draw(t, "one"), rapid.SampledFrom([]string{"/", "-"}).Draw(t, "s1"),
			rapid.SampledFrom([]int{1, 2}).Draw(t, "w2"), rapid.IntRange(0, 32).Draw(t, "two"), rapid.SampledFrom([]string{"/", "-"}).Draw(t, "s2"),
			rapid.SampledFrom([]int{1, 2, 4}).Draw(t, "w3"), rapid.IntRange(0, 2030).Draw(t, "three"))
		var want Date
		for _, l := range layouts {
			if d, err := time.Parse(l, s); err == nil && d.Year() >= firstYear {
				want = makeDate(d.Year(), int(d.Month()), d.Day())
			}
		}
		got, why := ParseBirthday(s)
		// Package time wants two digits of a year-first month and day; here one will do.
		if want == 0 && got != 0 && strings.IndexAny(s, "/-") == 4 {
			return
		}
		if got != want || (why == 0) != (want != 0) {
			t.Fatalf("%q: %v (%v), package time has %v", s, got, why, want)
		}
	})
}

func TestAge(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		birthday, asOf Date
		above          bool
		why            Reasons
		note           string
	}{
		{20040101, 20220101, true, 0, "18 on the day itself"},
		{20040102, 20220101, false, Under18, ""},
		{20040229, 20220228, false, Under18, "a leap day's birthday comes on 1 March"},
		{20040229, 20220301, true, 0, ""},
		{20220101, 20220101, false, Under18, ""},
		{20220102, 20220101, false, DateTooLate, ""},
	} {
		a := application{raw: [4]string{"Ada Vega", "a@b.com", row.birthday.dashed(), "12345678"}}
		a.check(row.asOf)
		assert.Equal(t, row.above, a.above18, row.note)
		assert.Equal(t, row.why, a.why, row.note)
	}
}

func (d Date) dashed() string { s := d.String(); return s[:4] + "-" + s[4:6] + "-" + s[6:] }

func TestSplitName(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		in, first, last string
		why             Reasons
	}{
		{in: "Ada Vega", first: "Ada", last: "Vega"},
		{in: "  Ada   Vega\t", first: "Ada", last: "Vega"},
		{in: "Mr. Ada Vega", first: "Ada", last: "Vega"},
		{in: "DR Ada Vega PhD", first: "Ada", last: "Vega"},
		{in: "Prof. Dr. Ada Vega, MD, PhD", first: "Ada", last: "Vega"},
		{in: "Ada Vega Jr.", first: "Ada", last: "Vega"},
		{in: "Ada Vega III", first: "Ada", last: "Vega"},
		{in: "Ada Vega M.D.", first: "Ada", last: "Vega"},
		{in: "Dr. Ada Vega, D.D.S., Ph.D.", first: "Ada", last: "Vega"},
		{in: "M.R. Vega", first: "M.R.", last: "Vega"},
		{in: "M.D. Vega", first: "M.D.", last: "Vega"},
		{in: "Mrs Vega", last: "Vega"},
		{in: "Vega", last: "Vega"},
		{in: "Ada Maria Vega", first: "Ada Maria", last: "Vega"},
		{in: "Ada Ma", first: "Ada", last: "Ma"},
		{in: "Md Rahman", first: "Md", last: "Rahman"},
		{in: "José Núñez", first: "José", last: "Núñez"},
		{in: "山田 太郎", first: "山田", last: "太郎"},
		{in: "Dr.", why: NameOnlyTitles},
		{in: "Mr. MD", why: NameOnlyTitles},
		{in: "", why: NameMissing},
		{in: " \t", why: NameMissing},
		{in: ",", why: NameNotText},
		{in: "Ada\tVega", why: NameNotText},
		{in: "Ada\x00Vega", why: NameNotText},
		{in: "Ada\xffVega", why: NameNotText},
		{in: "Ada\u200bVega", why: NameNotText},
	} {
		first, last, why := SplitName(row.in)
		assert.Equal(t, []any{row.first, row.last, row.why}, []any{first, last, why}, "%q", row.in)
	}
}

func TestCheckEmail(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]Reasons{
		"Ada_Vega@a.com": 0, "a.b+c@x-y.example.net": 0, " a@b.COM ": 0,
		"a@b.info": EmailElsewhere, "a@b.org": EmailElsewhere, "a@b.com.info": EmailElsewhere, "a@b.comm": EmailElsewhere,
		"a@com": EmailMalformed, "@b.com": EmailMalformed, "a@.com": EmailMalformed, "a@b..com": EmailMalformed,
		"ab.com": EmailMalformed, "a@b@c.com": EmailMalformed, "a b@c.com": EmailMalformed, "a@b c.com": EmailMalformed,
		".a@b.com": EmailMalformed, "a.@b.com": EmailMalformed, "a..b@c.com": EmailMalformed, `"a"@b.com`: EmailMalformed,
		"a@-b.com": EmailMalformed, "a@b-.com": EmailMalformed, "a@b_c.com": EmailMalformed, "é@b.com": EmailMalformed,
		"a@b.com.": EmailMalformed, "a@b.com\n": EmailMalformed, "a,b@c.com": EmailMalformed,
		strings.Repeat("a", 65) + "@b.com":         EmailMalformed,
		"a@" + strings.Repeat("b", 64) + ".com":    EmailMalformed,
		"a@" + strings.Repeat("bbbb.", 52) + "com": EmailMalformed,
		"": EmailMissing, "  ": EmailMissing,
	} {
		_, why := CheckEmail(in)
		assert.Equal(t, want, why, "%q", in)
	}
}

// The pattern of the package doc, as a regular expression.
func TestEmailAgainstPattern(t *testing.T) {
	t.Parallel()
	const atom, label = "[A-Za-z0-9!#$%&'*+\\-/=?^_`{|}~]+", `[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?`
	pattern := regexp.MustCompile(`^` + atom + `(?:\.` + atom + `)*@(?:` + label + `\.)+(?i:com|net)$`)
	piece := rapid.SampledFrom([]string{"a", "Z9", "-", ".", "_", "@", "com", ".com", ".net", ".NET", ".info", "xcom", "b", " ", "\t", ",", "\"", "é", "+", strings.Repeat("q", 62)})
	plain := rapid.SampledFrom([]string{"a", "Z9", "b", "com", "xcom"}) // of which half of the addresses are made, to be accepted
	accepted := 0
	rapid.Check(t, func(t *rapid.T) {
		piece := piece
		if rapid.Bool().Draw(t, "plain") {
			piece = plain
		}
		join := func(name string, most int) string {
			return strings.Join(rapid.SliceOfN(piece, 0, most).Draw(t, name), "")
		}
		s := join("local", 3) + "@" + join("domain", 4) + rapid.SampledFrom([]string{"", ".com", ".net", ".info"}).Draw(t, "top")
		cut := trim(s)
		want := pattern.MatchString(cut) && len(cut) <= 254 && strings.IndexByte(cut, '@') <= 64
		if _, why := CheckEmail(s); (why == 0) != want {
			t.Fatalf("%q: %v, the pattern says %v", s, why, want)
		}
		if want {
			accepted++
		}
	})
	if !testing.Short() { // which draws few
		assert.NotZero(t, accepted)
	}
}

func TestCheckMobile(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]Reasons{
		"40601711": 0, "4060 1711": 0, " 4 0 6 0 1 7 1 1 ": 0, "40601711\t": 0,
		"4060171": MobileNot8, "406017111": MobileNot8, "+4060171": MobileNot8, "4060-711": MobileNot8,
		"4060\t1711": MobileNot8, "4060 171": MobileNot8, "４０": MobileNot8,
		"": MobileMissing, "   ": MobileMissing,
	} {
		got, why := CheckMobile(in)
		assert.Equal(t, want, why, "%q", in)
		assert.Equal(t, want == 0, len(got) == 8, "%q", in)
	}
}

// A row is told all that is wrong with it, and in words that hold nothing of it.
func TestAllReasons(t *testing.T) {
	t.Parallel()
	a := application{raw: [4]string{"Dr.", "a@b.info", "2010-01-01", "123"}}
	a.check(20220101)
	assert.Equal(t, "name: nothing beside titles and suffixes; email: not at .com or .net; date_of_birth: under 18; mobile_no: not 8 digits", a.why.String())
	a = application{}
	a.check(20220101)
	assert.Equal(t, "name: missing; email: missing; date_of_birth: missing; mobile_no: missing", a.why.String())
	assert.Equal(t, reasonsEnd, Reasons(1)<<len(reasonTexts), "a text for each reason")

	long := application{raw: [4]string{strings.Repeat("Ada ", 40) + "Vega", strings.Repeat("a", 60) + "@" + strings.Repeat("b", 60) + ".com", "1980-01-01", "12345678"}}
	long.check(20220101)
	assert.Zero(t, long.why)
	short := application{raw: [4]string{"Ada Vega", long.raw[email], "1980", "1"}}
	short.check(20220101)
	assert.Equal(t, DateMalformed|MobileNot8, short.why)
	accents := application{raw: [4]string{strings.Repeat("é ", 60) + "Vega", long.raw[email], "1980-01-01", "1"}}
	accents.check(20220101)
	assert.Equal(t, TooLong|MobileNot8, accents.why, "with the others")
	long.raw[mobileNo], long.raw[dateOfBirth] = "1", "1980"
	long.check(20220101)
	assert.Equal(t, TooLong|DateMalformed|MobileNot8, long.why, "with the others")
	long.raw[mobileNo], long.raw[dateOfBirth] = "12345678", "1980-01-01"
	long.check(20220101)
	p, _, err := long.pseudonym(testScope(t), nil)
	assert.NoError(t, err)
	assert.Zero(t, p)
	assert.Equal(t, TooLong, long.why)
}

// An id is what pseudonym.Canonical makes of it, and no two members' ids meet.
func TestMemberID(t *testing.T) {
	t.Parallel()
	id := func(name, email, birthday string) string {
		a := application{raw: [4]string{name, email, birthday, "12345678"}}
		a.check(20220101)
		assert.Zero(t, a.why)
		return string(a.id(nil))
	}
	assert.Equal(t, "ada@b.com 19740203 ada vega", id("Dr. ADA Vega", "Ada@B.com", "02/03/1974"))
	same := testScope(t)
	of := func(name, email, birthday string) [16]byte {
		p, err := same.of(id(name, email, birthday))
		assert.NoError(t, err)
		return p
	}
	ada := of("Ada Vega", "a@b.com", "1974-02-03")
	assert.Equal(t, ada, of("Mrs. ada VEGA", "A@B.COM", "03-02-1974"), "another spelling")
	assert.Equal(t, of("JOSÉ Núñez", "a@b.com", "1974-02-03"), of("Jose\u0301 nu\u0301n\u0303ez", "a@b.com", "1974-02-03"), "another form of Unicode")
	for _, other := range [][16]byte{
		of("Ada Vega", "a2@b.com", "1974-02-03"), of("Ada Vega", "a@b.com", "1974-02-04"), of("Eda Vega", "a@b.com", "1974-02-03"),
	} {
		assert.NotEqual(t, ada, other)
	}
}

func FuzzBirthday(f *testing.F) {
	for _, s := range []string{"02/03/1974", "02-03-1974", "1974-02-03", "1974/02/03", "", "31/02/2000", "9999-12-31", "-1-1-1", "////"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, why := ParseBirthday(s)
		if (d == 0) != (why != 0) {
			t.Fatalf("%q: %v and %v", s, d, why)
		}
		if d == 0 {
			return
		}
		text := d.String()
		if again, ok := digits8(text); !ok || again != d {
			t.Fatalf("%q: %s does not read as itself", s, text)
		}
		if _, err := time.Parse("20060102", text); err != nil {
			t.Fatalf("%q: %s is no day", s, text)
		}
		for _, form := range []string{d.dashed(), strings.ReplaceAll(d.dashed(), "-", "/"), text[4:6] + "/" + text[6:] + "/" + text[:4], text[6:] + "-" + text[4:6] + "-" + text[:4]} {
			if again, why := ParseBirthday(form); again != d || why != 0 {
				t.Fatalf("%q: %s reads as %v", s, form, again)
			}
		}
	})
}

func FuzzSplitName(f *testing.F) {
	for _, s := range []string{"Ada Vega", "Dr. Ada Vega MD", "", "Mr.", "Ada\x00", ", ,", "a, b, jr", "\u00a0x", "Ada Vega,"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		first, last, why := SplitName(s)
		if (last == "") != (why != 0) || why != 0 && first != "" {
			t.Fatalf("%q: %q %q %v", s, first, last, why)
		}
		if why != 0 {
			return
		}
		// Nothing is made up, and the name of a name is itself, unless what was
		// behind a comma is a suffix without it.
		if !strings.Contains(strings.Join(strings.Fields(s), " "), strings.TrimSpace(first+" "+last)) {
			t.Fatalf("%q: %q %q is not in it", s, first, last)
		}
		if strings.Contains(last, ",") || strings.HasSuffix(strings.TrimSpace(first), ",") || isSuffix(last) || isTitle(last) {
			return
		}
		if again1, again2, why := SplitName(first + " " + last); again1 != first || again2 != last || why != 0 {
			t.Fatalf("%q: %q %q becomes %q %q %v", s, first, last, again1, again2, why)
		}
	})
}

func FuzzEmail(f *testing.F) {
	for _, s := range []string{"a@b.com", "Ada_Vega@x-y.net", "a@b.info", "", "@", "a@.com", "a@b..net"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, why := CheckEmail(s)
		if (got == "") != (why != 0) {
			t.Fatalf("%q: %q and %v", s, got, why)
		}
		if why != 0 {
			return
		}
		if again, why := CheckEmail(got); again != got || why != 0 {
			t.Fatalf("%q: %q is not one itself", s, got)
		}
		// The rule as it is written: …@….com or .net.
		lower := strings.ToLower(got)
		if strings.Count(got, "@") != 1 || strings.ContainsAny(got, " \t,\"\r\n") || !strings.HasSuffix(lower, ".com") && !strings.HasSuffix(lower, ".net") {
			t.Fatalf("%q was taken", s)
		}
	})
}
