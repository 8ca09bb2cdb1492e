package register

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
)

// A Mix says what generated applications are like.
type Mix struct {
	// Seed fixes the rows.
	Seed uint64
	// Rows is their number.
	Rows int
	// AllGood makes every row a successful one. Otherwise about one in seven is,
	// and a few are not even CSV.
	AllGood bool
}

// Generate writes a file of made-up applications. All names are put together of
// syllables and all addresses are of the domains that RFC 2606 reserves, or
// below them.
func Generate(w io.Writer, m Mix) error {
	g := &generator{Rand: rand.New(rand.NewPCG(m.Seed, uint64(m.Rows))), good: m.AllGood}
	b := bufio.NewWriter(w)
	fmt.Fprintln(b, strings.Join(columns[:], ","))
	for i := range m.Rows {
		fmt.Fprintln(b, g.row(i))
	}
	return b.Flush()
}

type generator struct {
	*rand.Rand
	good bool
	last person
}

type person struct {
	first, last      string
	year, month, day int
	mobile, email    string
}

func (g *generator) row(i int) string {
	p := g.person(i)
	switch chance := g.IntN(100); {
	case g.good || i == 0 || chance >= 10:
	case chance < 4: // the same person again, under the same address
		p = g.last
	case chance < 7: // or under another
		email := p.email
		p = g.last
		p.email = email
	case chance < 9: // or a namesake, born on the same day
		n := g.last
		p.last, p.year, p.month, p.day = n.last, n.year, n.month, n.day
	default:
		return `"` + p.first + ` ` + p.last + `,never closed`
	}
	g.last = p
	return strings.Join([]string{g.name(p), p.email, g.birthday(p), p.mobile}, ",")
}

func (g *generator) person(i int) person {
	p := person{first: g.word(2), last: g.word(3), year: g.between(1945, 2003), month: g.between(1, 12), day: g.between(1, 28)}
	if !g.good && g.IntN(5) == 0 {
		p.year, p.day = g.between(2004, 2021), g.between(2, 28) // 1 January 2004 is old enough
	}
	domain := pick(g, "example.com", "example.net")
	if !g.good && g.IntN(10) < 3 {
		domain = pick(g, "example.org", "shop.example")
	}
	p.email = fmt.Sprintf("%s_%s%d@%s", p.first, p.last, i, domain)
	p.mobile = fmt.Sprintf("%08d", g.IntN(100_000_000))
	switch {
	case !g.good && g.IntN(4) > 0:
		p.mobile = p.mobile[:g.between(5, 7)]
	case g.IntN(4) == 0:
		p.mobile = p.mobile[:4] + " " + p.mobile[4:]
	}
	return p
}

func (g *generator) between(low, high int) int { return low + g.IntN(high-low+1) }

func (g *generator) word(syllables int) string {
	var s string
	for range syllables {
		s += pick(g, "b", "d", "f", "k", "l", "m", "n", "r", "s", "t", "v", "w") + pick(g, "a", "e", "i", "o", "u", "ai", "ea")
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

func pick(g *generator, of ...string) string { return of[g.IntN(len(of))] }

func (g *generator) name(p person) string {
	switch g.IntN(25) {
	case 0:
		return pick(g, "Mr. ", "Mrs. ", "Ms. ", "Miss ", "Dr. ") + p.first + " " + p.last
	case 1:
		return p.first + " " + p.last + pick(g, " MD", " DDS", " PhD", " Jr.", " III")
	}
	return p.first + " " + p.last
}

func (g *generator) birthday(p person) string {
	switch g.IntN(4) {
	case 0:
		return fmt.Sprintf("%02d/%02d/%d", p.month, p.day, p.year)
	case 1:
		return fmt.Sprintf("%02d-%02d-%d", p.day, p.month, p.year)
	case 2:
		return fmt.Sprintf("%d/%02d/%02d", p.year, p.month, p.day)
	}
	return fmt.Sprintf("%d-%02d-%02d", p.year, p.month, p.day)
}
