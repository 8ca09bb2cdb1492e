package main

import (
	_ "embed"
	"fmt"
	"html/template"
	"math"
	"strconv"
	"strings"

	"github.com/larder-dp/larder/dp"
	"github.com/larder-dp/larder/examples/internal/terminal"
)

//go:embed page.html
var pageHTML string

var pageTemplate = template.Must(template.New("page").Parse(pageHTML))

// A page is what the browser shows: sections of words, a table or a chart each.
type page struct {
	Title, Lead string
	Facts       []fact
	Sections    []section
	Footer      string
}

type fact struct{ Value, Name string }

type section struct {
	ID, Title string
	Words     []string
	Table     *terminal.Table
	Chart     *chart
}

// page is a plan's.
func (b bill) page(c curves) page {
	p := page{
		Title: b.plan.Name, Lead: b.totalWords() + " " + b.budgetWords(),
		Footer: "Made by the Larder planner. Nothing was spent, and no data were read.",
		Facts: []fact{
			{"ε = " + terminal.FigureUp(b.total.Hi), "for one privacy unit, at δ = " + figure(b.plan.Delta)},
			{"ε = " + terminal.Figure(b.added), "added up use by use"},
		},
	}
	if b.plan.Epsilon > 0 {
		p.Facts = append(p.Facts, fact{terminal.Figure(max(b.plan.Epsilon-b.total.Hi, 0)), "left of a budget of ε = " + figure(b.plan.Epsilon)})
	}
	lines := &terminal.Table{
		Head:  []string{"release", "uses", "ε alone", "of the total", "noise", "std dev", "95 % within"},
		Right: []bool{false, true, true, true, false, true, true},
	}
	for _, l := range b.lines {
		lines.Rows = append(lines.Rows, l.rows()...)
	}
	words := []string{`“Of the total” is what the total falls by if the line is left out: these do not add up to it. Noise is on one value, in pieces.`}
	for _, l := range b.lines {
		if l.Season != nil {
			words = append(words, l.seasonWords())
		}
	}
	other := &terminal.Table{Head: []string{"", "half", "as planned", "twice"}, Right: []bool{false, true, true, true}}
	other.Rows = append(other.Rows, []string{"total ε", terminal.FigureUp(b.other[0].total), terminal.FigureUp(b.total.Hi), terminal.FigureUp(b.other[1].total)})
	for i, l := range b.lines {
		if l.noisy {
			other.Rows = append(other.Rows, []string{l.Name + ", 95 % within", within(b.other[0].levels[i]), within(l.level), within(b.other[1].levels[i])})
		}
	}
	p.Sections = append(
		p.Sections,
		section{ID: "lines", Title: "Line by line", Words: words, Table: lines},
		section{
			ID: "noise", Title: "Noise against ε", Chart: b.noiseChart(c),
			Words: []string{"The half-width of the 95 % interval of one value, if the ε of every line were larger or smaller by the same factor."},
		},
		section{ID: "other", Title: "Half and twice the ε of every line", Table: other},
		section{
			ID: "delta", Title: "ε at every δ", Chart: deltaChart("the whole plan", c.byDelta),
			Words: []string{"The same plan, told at another δ. No ε is finite below what the lines give away by themselves."},
		},
		section{
			ID: "left", Title: "The budget over the plan", Chart: b.leftChart(c),
			Words: []string{"If all lines go on side by side, a part of their uses after that part of the plan. The first uses cost most."},
		},
	)
	return p
}

func (b bill) noiseChart(c curves) *chart {
	out := &chart{X: axis{Name: "ε of the whole plan", Log: true}, Y: axis{Name: "95 % within ±, in pieces", Log: true}, Digits: 4}
	for i, l := range b.lines {
		if !l.noisy {
			continue
		}
		s := series{Name: l.Name}
		for _, v := range c.byFactor {
			if n := v.levels[i]; n.Half > 0 && v.total > 0 && !math.IsInf(v.total, 1) {
				s.Points = append(s.Points, point{v.total, n.Half})
			}
		}
		out.Series = append(out.Series, s)
	}
	return out.drawn()
}

func deltaChart(name string, points []point) *chart {
	out := &chart{X: axis{Name: "δ", Log: true}, Y: axis{Name: "ε"}, Digits: 4, Series: []series{{Name: name, Points: points}}}
	return out.drawn()
}

// leftChart is what is left of the budget, or what is spent if there is none.
func (b bill) leftChart(c curves) *chart {
	out := &chart{X: axis{Name: "part of the plan, in %"}, Y: axis{Name: "ε spent"}, Digits: 4}
	s := series{Name: "spent"}
	budget := b.plan.Epsilon
	if budget > 0 {
		out.Y.Name, s.Name = "ε left", "left"
	}
	s.Points = []point{{0, budget}}
	for _, at := range c.spent {
		y := at.y
		if budget > 0 {
			y = max(budget-at.y, 0)
		}
		s.Points = append(s.Points, point{100 * at.x, y})
	}
	out.Series = []series{s}
	return out.drawn()
}

// page is a season's.
func (f forecast) page() (page, error) {
	p := page{
		Title: f.title(), Lead: f.settingWords() + " " + f.verdict(),
		Footer: "Made by the Larder planner. Nothing was spent, and no data were read.",
		Facts: []fact{
			{"ε = " + figure(f.budget.Epsilon), "for a unit in at most " + terminal.Count(int64(f.weeksPerUnit), "week", "weeks") + ", at δ = " + figure(f.budget.Delta)},
			{"σ = " + terminal.Figure(f.independent.ordinary), "on an ordinary week’s figure, independent weeks"},
			{"σ = " + terminal.Figure(min(f.independent.last, f.tree.last)), "on the last running total, the better of both ways"},
		},
	}
	split := &terminal.Table{
		Head:  []string{"week", "weeks", "σ", "95 % within", "ε of one alone", "of the budget"},
		Right: []bool{false, true, true, true, true, true}, Rows: f.splitRows(),
	}
	compared := &terminal.Table{
		Head:  []string{"standard deviation of", "independent", "binary tree", "better"},
		Right: []bool{false, true, true, false}, Rows: f.compareRows(),
	}
	byUnit := f.byUnitTable()
	noise, byDelta, err := f.curves()
	if err != nil {
		return p, err
	}
	p.Sections = []section{
		{ID: "split", Title: "The split, with independent weeks", Words: []string{f.splitWords()}, Table: split},
		{ID: "compare", Title: "Independent weeks or a binary tree", Words: []string{f.verdict()}, Table: compared},
		{ID: "totals", Title: "Noise of the running totals", Chart: f.totalsChart()},
		{ID: "units", Title: "How many weeks one unit may touch", Words: []string{f.limitWords()}, Table: &byUnit, Chart: f.unitChart()},
		{ID: "noise", Title: "Noise against ε", Chart: noise},
		{ID: "delta", Title: "ε at every δ", Chart: byDelta},
		{
			ID: "left", Title: "The budget over the season", Chart: f.leftChart(),
			Words: []string{"What is left to the unit that has lost most so far. It is spent once W of its weeks are over; in a tree, nodes of many weeks cost later too."},
		},
	}
	return p, nil
}

func (f forecast) totalsChart() *chart {
	out := &chart{X: axis{Name: "week"}, Y: axis{Name: "standard deviation, in pieces"}, Digits: 4}
	for _, r := range []release{f.independent, f.tree} {
		s := series{Name: r.name}
		for t, y := range r.totals {
			s.Points = append(s.Points, point{float64(t + 1), y})
		}
		out.Series = append(out.Series, s)
	}
	return out.drawn()
}

func (f forecast) unitChart() *chart {
	out := &chart{X: axis{Name: "W, weeks of one unit"}, Y: axis{Name: "running totals, root mean square"}, Digits: 4}
	out.Series = []series{{Name: f.independent.name}, {Name: f.tree.name}}
	for w, m := range f.middles {
		for i := range out.Series {
			out.Series[i].Points = append(out.Series[i].Points, point{float64(w + 1), m[i]})
		}
	}
	return out.drawn()
}

func (f forecast) leftChart() *chart {
	out := &chart{X: axis{Name: "week"}, Y: axis{Name: "ε left"}, Digits: 4}
	for _, r := range []release{f.independent, f.tree} {
		s := series{Name: r.name, Points: []point{{0, f.budget.Epsilon}}}
		for t, y := range r.byWeek {
			s.Points = append(s.Points, point{float64(t + 1), max(f.budget.Epsilon-y, 0)})
		}
		out.Series = append(out.Series, s)
	}
	return out.drawn()
}

// curves are noise against ε, and ε against δ of what is planned.
func (f forecast) curves() (noise, byDelta *chart, err error) {
	noise = &chart{X: axis{Name: "ε of the season", Log: true}, Y: axis{Name: "standard deviation, in pieces", Log: true}, Digits: 4}
	noise.Series = []series{{Name: "an ordinary week, independent"}, {Name: "running totals, independent"}, {Name: "running totals, tree"}}
	for i := range factorSteps {
		s := f.season
		s.budget.Epsilon *= math.Pow(2, float64(i-factorSteps/2)/3)
		a, b, err := s.releases(s.weeksPerUnit)
		if err != nil {
			return nil, nil, err
		}
		for k, y := range []float64{a.ordinary, a.middle, b.middle} {
			noise.Series[k].Points = append(noise.Series[k].Points, point{s.budget.Epsilon, y})
		}
	}
	worst := dp.Event{Mechanism: dp.Gaussian, L2: f.sensitivity * math.Sqrt(f.independentLoss(f.weeksPerUnit)), Scale: f.independent.sigma, Count: 1}
	var points []point
	for k := 1; k <= 14; k++ {
		delta := math.Pow(10, -float64(k))
		epsilon, err := epsilonAt(delta, []dp.Event{worst})
		if err != nil {
			return nil, nil, err
		}
		points = append(points, point{delta, epsilon})
	}
	return noise.drawn(), deltaChart("the season, either way", points), nil
}

// A chart is lines over two axes, drawn as SVG, with its numbers as a table.
type chart struct {
	X, Y   axis
	Series []series
	Digits int
	Table  terminal.Table
	Empty  bool
}

type axis struct {
	Name   string
	Log    bool
	lo, hi float64
	Ticks  []tick
}

type tick struct {
	At   float64
	Text string
}

type series struct {
	Name   string
	Points []point
	Path   string
	Class  string
}

// The drawing, in the units of its viewBox.
const (
	chartLeft, chartRight = 90.0, 704.0
	chartTop, chartBottom = 26.0, 286.0
	mostSeries            = 6
)

// drawn fills in what the template shows.
func (c *chart) drawn() *chart {
	c.Series = c.Series[:min(len(c.Series), mostSeries)]
	var xs, ys []float64
	for _, s := range c.Series {
		for _, p := range s.Points {
			xs, ys = append(xs, p.x), append(ys, p.y)
		}
	}
	if len(xs) == 0 {
		c.Empty = true
		return c
	}
	c.X.scale(xs)
	if !c.Y.Log {
		ys = append(ys, 0)
	}
	c.Y.scale(ys)
	c.X.ticks(chartLeft, chartRight)
	c.Y.ticks(chartBottom, chartTop)
	for i := range c.Series {
		s := &c.Series[i]
		s.Class = "s" + strconv.Itoa(i+1)
		var b strings.Builder
		for k, p := range s.Points {
			fmt.Fprintf(&b, "%c%.1f %.1f", "ML"[min(k, 1)], c.X.at(p.x, chartLeft, chartRight), c.Y.at(p.y, chartBottom, chartTop))
		}
		s.Path = b.String()
	}
	c.Table = c.numbers()
	return c
}

// scale makes room for the values.
func (a *axis) scale(v []float64) {
	a.lo, a.hi = math.Inf(1), math.Inf(-1)
	for _, x := range v {
		a.lo, a.hi = min(a.lo, x), max(a.hi, x)
	}
	if a.Log {
		a.lo, a.hi = a.lo/1.05, a.hi*1.05
	} else if a.lo == a.hi {
		a.hi = a.lo + 1
	}
}

func (a axis) at(v, from, to float64) float64 {
	share := (v - a.lo) / (a.hi - a.lo)
	if a.Log {
		share = math.Log(v/a.lo) / math.Log(a.hi/a.lo)
	}
	return from + share*(to-from)
}

// ticks are round numbers: every 1, 2, 5 on a linear axis, powers of ten on a logarithmic one
// or, where it has less than two of these, 1, 2, 5 times them.
func (a *axis) ticks(from, to float64) {
	add := func(v float64) {
		if v >= a.lo && v <= a.hi*(1+1e-12) {
			a.Ticks = append(a.Ticks, tick{math.Round(10*a.at(v, from, to)) / 10, tickText(v)})
		}
	}
	if !a.Log {
		step := nice((a.hi - a.lo) / 5)
		for i := math.Ceil(a.lo / step); i*step <= a.hi*(1+1e-12); i++ {
			add(i * step)
		}
		return
	}
	lo, hi := math.Floor(math.Log10(a.lo)), math.Ceil(math.Log10(a.hi))
	within := []float64{1}
	if hi-lo <= 3 {
		within = []float64{1, 2, 5}
	}
	skip := max(math.Ceil((hi-lo)/8), 1)
	for e := lo; e <= hi; e += skip {
		for _, f := range within {
			add(f * math.Pow(10, e))
		}
	}
}

// nice rounds up to 1, 2 or 5 times a power of ten.
func nice(x float64) float64 {
	ten := math.Pow(10, math.Floor(math.Log10(x)))
	for _, f := range []float64{1, 2, 5} {
		if x <= f*ten*(1+1e-9) {
			return f * ten
		}
	}
	return 10 * ten
}

func tickText(v float64) string {
	if v != 0 && (math.Abs(v) < 1e-3 || math.Abs(v) >= 1e6) {
		return strings.Replace(strconv.FormatFloat(v, 'e', 0, 64), "e-0", "e-", 1)
	}
	return strconv.FormatFloat(v, 'g', 6, 64)
}

// numbers is the chart as a table: a row for each x of the first series, if all have the
// same, else a row for each point.
func (c *chart) numbers() terminal.Table {
	t := terminal.Table{Head: []string{c.X.Name}, Right: []bool{true}}
	for _, s := range c.Series {
		t.Head, t.Right = append(t.Head, s.Name), append(t.Right, true)
	}
	for k, p := range c.Series[0].Points {
		row := []string{tickText(round4(p.x))}
		for _, s := range c.Series {
			text := ""
			if k < len(s.Points) && s.Points[k].x == p.x {
				text = terminal.Figure(s.Points[k].y)
			}
			row = append(row, text)
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

func round4(x float64) float64 {
	r, err := strconv.ParseFloat(strconv.FormatFloat(x, 'g', 4, 64), 64)
	if err != nil {
		return x
	}
	return r
}

// Describe says what the drawing shows to those who do not see it.
func (c *chart) Describe() string {
	var parts []string
	for _, s := range c.Series {
		if n := len(s.Points); n > 0 {
			a, b := s.Points[0], s.Points[n-1]
			parts = append(parts, fmt.Sprintf("%s: from %s at %s to %s at %s", s.Name, terminal.Figure(a.y), tickText(round4(a.x)), terminal.Figure(b.y), tickText(round4(b.x))))
		}
	}
	return fmt.Sprintf("%s over %s. %s.", c.Y.Name, c.X.Name, strings.Join(parts, "; "))
}
