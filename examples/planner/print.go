package main

import (
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/larder-dp/larder/dp"
	"github.com/larder-dp/larder/examples/internal/terminal"
)

// print tells a plan.
func (b bill) print(p *terminal.Printer, o options) {
	p.Line("%s: %s", b.plan.Name, terminal.Count(int64(len(b.lines)), "kind of release", "kinds of releases"))
	p.Title("What it costs one privacy unit in all")
	p.Wrap(b.totalWords())
	if w := b.budgetWords(); w != "" {
		p.Wrap(w)
	}
	p.Title("Line by line")
	t := terminal.Table{
		Head:  []string{"release", "uses", "ε alone", "of the total", "noise", "std dev", "95 % within"},
		Right: []bool{false, true, true, true, false, true, true},
	}
	for _, l := range b.lines {
		t.Rows = append(t.Rows, l.rows()...)
	}
	p.Table(t)
	p.Line("")
	p.Wrap(`"Of the total" is what the total falls by if the line is left out: these do not add up to it. Noise is on one value, in pieces.`)
	for _, l := range b.lines {
		if l.Season != nil {
			p.Line("")
			p.Wrap(l.seasonWords())
		}
	}
	p.Title("Half and twice the ε of every line")
	t = terminal.Table{Head: []string{"", "half", "as planned", "twice"}, Right: []bool{false, true, true, true}}
	t.Rows = append(t.Rows, []string{"total ε", terminal.FigureUp(b.other[0].total), terminal.FigureUp(b.total.Hi), terminal.FigureUp(b.other[1].total)})
	for i, l := range b.lines {
		if l.noisy {
			t.Rows = append(t.Rows, []string{
				terminal.Short(l.Name, 40) + ", 95 % within", within(b.other[0].levels[i]), within(l.level), within(b.other[1].levels[i]),
			})
		}
	}
	p.Table(t)
	printOut(p, o)
}

func printOut(p *terminal.Printer, o options) {
	if o.out != "" {
		p.Line("")
		p.Line("Written: %s", filepath.Join(o.out, pageName))
	}
}

func (b bill) totalWords() string {
	delta := figure(b.plan.Delta)
	if math.IsInf(b.total.Hi, 1) {
		return fmt.Sprintf("No finite ε at δ = %s: the lines give more than that away by themselves. Raise delta, or lower that of the lines.", delta)
	}
	words := fmt.Sprintf("ε = %s at δ = %s.", terminal.FigureUp(b.total.Hi), delta)
	if b.total.Proof.Tight {
		words += fmt.Sprintf(" Certified: the loss is at most %s and at least %s (rule %s).", preciseUp(b.total.Hi), preciseDown(b.total.Lo), b.total.Rule)
	} else {
		words += fmt.Sprintf(" Certified: the loss is at most %s (rule %s, a bound: of some lines no more is known).", preciseUp(b.total.Hi), b.total.Rule)
	}
	if !math.IsInf(b.added, 1) && b.added > 0 {
		words += fmt.Sprintf(" Added up use by use it would be ε = %s: the accountant saves %s %%.",
			terminal.Figure(b.added), strconv.FormatFloat(100*(1-b.total.Hi/b.added), 'f', 0, 64))
	}
	return words
}

// preciseUp and preciseDown write the ends of a bracket, rounded outwards.
func preciseUp(x float64) string { return outward(x, math.Ceil) }

func preciseDown(x float64) string { return outward(x, math.Floor) }

func outward(x float64, round func(float64) float64) string {
	if !(x > 0) || math.IsInf(x, 1) {
		return terminal.Figure(x)
	}
	places := max(5-int(math.Floor(math.Log10(x))), 0) // six digits
	ten := math.Pow(10, float64(places))
	return strconv.FormatFloat(round(x*ten)/ten, 'f', places, 64)
}

// holds says whether the plan's budget holds it, or it has none.
func (b bill) holds() bool { return b.plan.Epsilon == 0 || b.total.Hi <= b.plan.Epsilon }

func (b bill) budgetWords() string {
	budget := b.plan.Epsilon
	switch {
	case budget == 0:
		return ""
	case b.holds():
		return fmt.Sprintf("The budget of ε = %s holds it: %s is left.", figure(budget), terminal.Figure(budget-b.total.Hi))
	}
	return fmt.Sprintf("The budget of ε = %s does NOT hold it.", figure(budget))
}

// rows is a line of the table, and a second one for what a season's stores add up to.
func (l lineBill) rows() [][]string {
	noise, stdDev, half := "–", "–", "–"
	if l.noisy {
		noise, stdDev, half = l.level.words(), terminal.Figure(l.level.StdDev), within(l.level)
	}
	share := "–"
	if !math.IsNaN(l.share) {
		share = terminal.Figure(l.share)
	}
	out := [][]string{{
		terminal.Short(l.Name, 34), terminal.Group(l.uses), terminal.FigureUp(l.alone), share, noise, stdDev, half,
	}}
	if l.Season != nil && l.summed.Half > 0 && l.Season.Stores > 1 {
		out = append(out, []string{"  an item in all stores", "", "", "", "", terminal.Figure(l.summed.StdDev), within(l.summed)})
	}
	return out
}

func (n noiseLevel) words() string {
	symbol := "b"
	if n.Mechanism == dp.Gaussian || n.Mechanism == dp.DiscreteGaussian || n.Mechanism == dp.Skellam {
		symbol = "σ"
	}
	return fmt.Sprintf("%s %s = %s", strings.ReplaceAll(string(n.Mechanism), "_", " "), symbol, terminal.Figure(n.Scale))
}

func within(n noiseLevel) string {
	if n.Half == 0 && n.StdDev == 0 {
		return "–"
	}
	return "± " + terminal.Figure(n.Half)
}

func (l lineBill) seasonWords() string {
	s := l.Season
	words := fmt.Sprintf("%s: %s values in %s, %s each. One unit is in at most %s: nothing in a round knows of the others, so keep that limit before the rounds.",
		l.Name, terminal.Group(s.Stores*s.Items*s.Weeks), terminal.Count(s.Weeks, "week", "weeks"), terminal.Group(s.Stores*s.Items),
		terminal.Count(s.WeeksPerUnit, "of the weeks", "of the weeks"))
	if s.WeeksPerUnit == s.Weeks {
		words = fmt.Sprintf("%s: %s values in %s, %s each, and one unit may be in all of them.",
			l.Name, terminal.Group(s.Stores*s.Items*s.Weeks), terminal.Count(s.Weeks, "week", "weeks"), terminal.Group(s.Stores*s.Items))
	}
	if l.largest > 0 {
		words += fmt.Sprintf(" The largest noise of a week is below %s in 19 weeks of 20.", terminal.Figure(l.largest+1))
	}
	return words
}

func figure(x float64) string { return strconv.FormatFloat(x, 'g', -1, 64) }

// print tells a season.
func (f forecast) print(p *terminal.Printer, o options) {
	p.Line("%s", f.title())
	p.Wrap(f.settingWords())
	p.Title("The split, with independent weeks")
	t := terminal.Table{
		Head:  []string{"week", "weeks", "σ", "95 % within", "ε of one alone", "of the budget"},
		Right: []bool{false, true, true, true, true, true},
	}
	t.Rows = f.splitRows()
	p.Table(t)
	p.Line("")
	p.Wrap(f.splitWords())
	p.Title("Independent weeks or a binary tree")
	t = terminal.Table{
		Head:  []string{"standard deviation of", "independent", "binary tree", "better"},
		Right: []bool{false, true, true, false},
	}
	t.Rows = f.compareRows()
	p.Table(t)
	p.Line("")
	p.Wrap(f.verdict())
	p.Line("")
	p.Table(f.byUnitTable())
	p.Line("")
	p.Wrap(f.limitWords())
	printOut(p, o)
}

func (f forecast) title() string {
	return fmt.Sprintf("A season of %s", terminal.Count(int64(f.weeks), "week", "weeks"))
}

func (f forecast) settingWords() string {
	words := fmt.Sprintf("Budget: ε = %s, δ = %s. One privacy unit is in at most W = %s. In a week it counts at %s at most, at each with %s, %s of one and %s in all: that moves the figures by at most %s in L2.",
		figure(f.budget.Epsilon), figure(f.budget.Delta), terminal.Count(int64(f.weeksPerUnit), "week", "weeks"),
		terminal.Count(f.bounds.MaxNodes, "store", "stores"), terminal.Count(f.bounds.L0, "item", "items"),
		terminal.Count(f.bounds.LInf, "piece", "pieces"), terminal.Group(f.bounds.L1), terminal.Figure(f.sensitivity))
	if len(f.peaks) > 0 {
		words += fmt.Sprintf(" Peak weeks, %s: figures %s times as exact.", f.peakList(), figure(f.peakWeight))
	}
	return words + " Gaussian noise, in pieces."
}

func (f forecast) peakList() string {
	var s []string
	for _, p := range f.peaks {
		s = append(s, strconv.Itoa(p))
	}
	return strings.Join(s, ", ")
}

func (f forecast) splitRows() [][]string {
	row := func(name string, weeks int, sigma float64, weight float64) []string {
		alone, err := epsilonAt(f.budget.Delta, []dp.Event{{Mechanism: dp.Gaussian, L2: f.sensitivity, Scale: sigma, Count: 1}})
		cost := "–"
		if err == nil {
			cost = terminal.FigureUp(alone)
		}
		_, half, _ := spread(dp.Gaussian, sigma)
		return []string{
			name, terminal.Group(int64(weeks)), terminal.Figure(sigma), "± " + terminal.Figure(math.Ceil(half)), cost,
			fmt.Sprintf("%.3g %%", 100*weight/f.independentLoss(f.weeksPerUnit)),
		}
	}
	var out [][]string
	if n := f.weeks - len(f.peaks); n > 0 {
		out = append(out, row("ordinary", n, f.independent.ordinary, 1))
	}
	if len(f.peaks) > 0 {
		out = append(out, row("peak "+terminal.Short(f.peakList(), 30), len(f.peaks), f.independent.peak, f.peakWeight*f.peakWeight))
	}
	return out
}

func (f forecast) splitWords() string {
	words := fmt.Sprintf("The unit that loses most is in the %s with the least noise and loses ε = %s (between %s and %s).",
		terminal.Count(int64(f.weeksPerUnit), "week", "weeks"), terminal.Figure(f.independent.worst.Hi), preciseDown(f.independent.worst.Lo), preciseUp(f.independent.worst.Hi))
	if f.weeksPerUnit > 1 {
		words += fmt.Sprintf(" If ε and δ were divided by W instead, every week would have σ = %s.", terminal.Figure(f.addedUp))
	}
	return words
}

func (f forecast) compareRows() [][]string {
	row := func(what string, independent, tree float64) []string {
		better := "independent"
		if tree < independent*(1-1e-9) {
			better = "tree"
		} else if tree <= independent*(1+1e-9) {
			better = "equal"
		}
		return []string{what, terminal.Figure(independent), terminal.Figure(tree), better}
	}
	a, b := f.independent, f.tree
	var out [][]string
	if f.weeks > len(f.peaks) {
		out = append(out, row("an ordinary week's figure", a.ordinary, b.ordinary))
	}
	if len(f.peaks) > 0 {
		out = append(out, row("a peak week's figure", a.peak, b.peak))
	}
	half := (f.weeks + 1) / 2
	return append(
		out,
		row(fmt.Sprintf("the running total after week %d", half), a.totals[half-1], b.totals[half-1]),
		row(fmt.Sprintf("the running total after week %d", f.weeks), a.last, b.last),
		row("running totals, root mean square", a.middle, b.middle),
		row("the worst running total", slices.Max(a.totals), slices.Max(b.totals)),
	)
}

func (f forecast) verdict() string {
	most, better := f.treeWinsUpTo()
	words := "For weekly figures independent weeks win at every W."
	switch {
	case most == 0:
		return words + " For running totals too: the season is too short for a tree."
	case most == f.weeks:
		words += " For running totals the tree wins at every W."
	default:
		words += fmt.Sprintf(" For running totals the tree wins up to W = %d, and independent weeks above: the weeks of one unit add up in the nodes that they share.", most)
	}
	if better {
		return words + fmt.Sprintf(" Here W = %d: publish running totals from a tree, if it is them that are wanted.", f.weeksPerUnit)
	}
	return words + fmt.Sprintf(" Here W = %d: publish independent weeks.", f.weeksPerUnit)
}

// byUnitTable is the comparison at other W.
func (f forecast) byUnitTable() terminal.Table {
	t := terminal.Table{
		Head:  []string{"W", "a week: independent", "tree", "running totals: independent", "tree", "better"},
		Right: []bool{true, true, true, true, true, false},
	}
	for _, w := range f.someUnits() {
		m, o := f.middles[w-1], f.ordinaries[w-1]
		better := "independent"
		if m[1] < m[0]*(1-1e-9) {
			better = "tree"
		} else if m[1] <= m[0]*(1+1e-9) {
			better = "equal"
		}
		t.Rows = append(t.Rows, []string{
			strconv.Itoa(w), terminal.Figure(o[0]), terminal.Figure(o[1]), terminal.Figure(m[0]), terminal.Figure(m[1]), better,
		})
	}
	return t
}

// someUnits are powers of two, the season's own W and where the tree stops winning.
func (f forecast) someUnits() []int {
	out := []int{f.weeksPerUnit, f.weeks}
	most, _ := f.treeWinsUpTo()
	for _, w := range []int{most, most + 1} {
		if w >= 1 && w <= f.weeks {
			out = append(out, w)
		}
	}
	for w := 1; w < f.weeks; w *= 2 {
		out = append(out, w)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func (f forecast) limitWords() string {
	if f.weeksPerUnit == f.weeks {
		return "W is all weeks: nothing has to be kept."
	}
	return "W is a promise: nothing in a round knows of the other rounds, so keep a unit's further weeks out before the rounds. Who is in more weeks is protected less than said here."
}
