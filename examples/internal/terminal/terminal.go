// Package terminal writes what the examples tell: paragraphs, titles and aligned
// tables in 98 columns, and on a real terminal how far the work is. Text goes to a
// buffer until Flush, so that a program prints nothing before everything that
// can fail is done.
package terminal

import (
	"bufio"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/schollz/progressbar/v3"
)

// Columns is how wide a line may be.
const Columns = 98

// A Printer writes text.
type Printer struct{ w *bufio.Writer }

// NewPrinter returns a printer that writes to w when it is flushed.
func NewPrinter(w io.Writer) *Printer { return &Printer{bufio.NewWriterSize(w, 1<<16)} }

// Flush writes everything out.
func (p *Printer) Flush() error {
	if err := p.w.Flush(); err != nil {
		return fmt.Errorf("print the answer: %w", err)
	}
	return nil
}

// Title writes a heading, underlined.
func (p *Printer) Title(s string) {
	fmt.Fprintf(p.w, "\n%s\n%s\n", s, strings.Repeat("─", min(utf8.RuneCountInString(s), Columns)))
}

// Line writes one line.
func (p *Printer) Line(format string, a ...any) { fmt.Fprintf(p.w, format+"\n", a...) }

// Wrap writes a paragraph.
func (p *Printer) Wrap(s string) {
	width := 0
	for word := range strings.SplitSeq(s, " ") {
		n := utf8.RuneCountInString(word)
		switch {
		case width == 0:
		case width+1+n > Columns:
			fmt.Fprintln(p.w)
			width = 0
		default:
			fmt.Fprint(p.w, " ")
			width++
		}
		fmt.Fprint(p.w, word)
		width += n
	}
	fmt.Fprintln(p.w)
}

// A Table is aligned by column.
type Table struct {
	Head  []string
	Right []bool // per column: flush right
	Rows  [][]string
}

// Table writes a table.
func (p *Printer) Table(t Table) {
	width := make([]int, len(t.Head))
	all := append([][]string{t.Head}, t.Rows...)
	for _, row := range all {
		for i, s := range row {
			width[i] = max(width[i], utf8.RuneCountInString(s))
		}
	}
	for _, row := range all {
		var b strings.Builder
		for i, s := range row {
			if i > 0 {
				b.WriteString("  ")
			}
			pad := strings.Repeat(" ", width[i]-utf8.RuneCountInString(s))
			if t.Right[i] {
				b.WriteString(pad + s)
			} else {
				b.WriteString(s + pad)
			}
		}
		fmt.Fprintln(p.w, strings.TrimRight(b.String(), " "))
	}
}

// Group writes a whole number with commas.
func Group(n int64) string {
	s, sign := strconv.FormatInt(n, 10), ""
	if n < 0 {
		sign, s = "−", s[1:]
	}
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return sign + s
}

// Count writes a number of things.
func Count(n int64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return Group(n) + " " + many
}

// Figure writes a number to four digits.
func Figure(x float64) string {
	switch {
	case math.IsInf(x, 1):
		return "∞"
	case math.Abs(x) >= 1e4 && math.Abs(x) < 1e15:
		return Group(int64(math.Round(x)))
	}
	return strconv.FormatFloat(x, 'g', 4, 64)
}

// FigureUp is Figure rounded up: for a bound, so that what is printed still is one.
func FigureUp(x float64) string {
	if x <= 0 || math.IsInf(x, 0) {
		return Figure(x)
	}
	unit := math.Pow(10, math.Floor(math.Log10(x))-3)
	return Figure(math.Ceil(x/unit*(1-1e-13)) * unit)
}

// Short cuts a name to n characters.
func Short(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	r := []rune(s)
	return string(r[:n-1]) + "…"
}

// Progress shows on a terminal how far the work of n steps is. In a pipe both functions do
// nothing. done takes the bar off the screen.
func Progress(w io.Writer, what string, n int) (step, done func()) {
	f, ok := w.(*os.File)
	if !ok || os.Getenv("TERM") == "dumb" {
		return func() {}, func() {}
	}
	if info, err := f.Stat(); err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return func() {}, func() {}
	}
	bar := progressbar.NewOptions(
		n, progressbar.OptionSetWriter(w), progressbar.OptionSetDescription(what), progressbar.OptionSetWidth(30),
		progressbar.OptionClearOnFinish(), progressbar.OptionThrottle(50*time.Millisecond),
	)
	return func() { _ = bar.Add(1) }, func() { _ = bar.Finish(); _ = bar.Clear() }
}
