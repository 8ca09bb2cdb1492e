package main

import (
	"bytes"
	"cmp"
	_ "embed"
	"fmt"
	"html/template"
	"math"
	"slices"
	"strings"

	"github.com/larder-dp/larder/federated"
)

//go:embed report.html
var reportHTML string

var reportTemplate = template.Must(template.New("report").Parse(reportHTML))

// A page is what the report shows: post-processing of the releases, and nothing
// that is not private.
type page struct {
	Title, Subtitle string
	Net             bool
	WhyNoStock      string
	Facts           []fact
	Worst, Totals   chart
	OwnTotals       bool   // noised on their own
	Item, Items     string // what a partition is: item, category, department
	Chance          string // what noise alone does among all values
	ChanceTotals    string
	Person          string // member or household
	Threshold       string // of a selection
	Heat            heat
	Members         chart
	Segments        *segmentTable
	Coverage        federated.Coverage
	Answered        []string // names of the stores
	Absent          []absence
	Asked           string // how many stores
	Quorum          int
	Privacy         privacyText
	Labels          []string
}

type fact struct{ Value, Name string }

type absence struct{ Store, Reason string }

// report returns the page.
func (c *chain) report() ([]byte, error) {
	net := c.netDemand()
	p := page{
		Title: "Demand forecast", Net: net, WhyNoStock: c.whyNoStock(),
		Subtitle: fmt.Sprintf("%s · %s · %s", c.what(), windowWords(c.world.Window), c.world.Epoch),
		Coverage: c.demand.label().Coverage, Quorum: quorum(len(c.nodes)), Privacy: c.privacyText(),
	}
	if net {
		p.Title = "Stock shortages"
	}
	p.OwnTotals, p.Person = c.totals != nil, c.person()
	p.Item, p.Items = c.itemWords()
	p.Chance = chanceWords(c.luck(c.demand, false))
	p.ChanceTotals = chanceWords(c.luckOfTotals())
	if s := c.demand.label().Selection; s != nil {
		p.Threshold = count(int(s.Threshold), p.Person, p.Person+"s")
	}
	p.Worst = c.worstChart(20)
	p.Totals = c.totalsChart()
	p.Heat = c.heat()
	if c.members != nil {
		p.Members, p.Segments = c.memberChart(), c.segmentTable()
	}
	p.Asked = count(p.Coverage.Asked, "store", "stores")
	absent := map[federated.NodeID]bool{}
	for _, a := range p.Coverage.Absent {
		absent[a.Node] = true
		p.Absent = append(p.Absent, absence{c.storeTitle(a.Node), a.Reason})
	}
	for _, s := range c.world.Stores {
		if !absent[s.ID] {
			p.Answered = append(p.Answered, c.storeTitle(s.ID))
		}
	}
	l := c.demand.label()
	p.Facts = []fact{
		{fmt.Sprintf("%s of %s", group(l.Coverage.Answered), group(l.Coverage.Asked)), "stores answered"},
		{"± " + group(l.Noise.Half), "pieces of noise on a value, with 95 %"},
		{"ε = " + number(c.spent().Epsilon), "privacy loss of this page"},
	}
	if top := worst(c.demand.release, 1); len(top) > 0 {
		name := "highest demand: "
		if net {
			name = "worst shortage: "
		}
		p.Facts = append([]fact{{group(top[0].Value), name + c.itemName(top[0].Partition) + ", " + c.storeTitle(top[0].Store)}}, p.Facts...)
	}
	for _, a := range c.asks() {
		p.Labels = append(p.Labels, a.label().String())
	}
	var b bytes.Buffer
	if err := reportTemplate.Execute(&b, p); err != nil {
		return nil, fmt.Errorf("write report page: %w", err)
	}
	return b.Bytes(), nil
}

// A chart is a list of bars on one scale, from 0 to 1000.
type chart struct {
	Title    string
	What, Of string // what the bars are, and what they count
	Bars     []bar
	Zero     float64 // where 0 is
	Ticks    []tick
	More     int // bars left out
}

type bar struct {
	Name, Detail         string
	Value, Low, High     string
	X, Width, From, Till float64
	Class                string
	Extra                string
}

type tick struct {
	At   float64
	Text string
}

// A measure is a value with its interval, before it is drawn.
type measure struct {
	name, detail, extra string
	value, low, high    int64
}

// newChart draws m. Where signed, below zero is plenty and above it short. A
// value up to chance may be noise alone, and is drawn pale.
func newChart(title, what, of string, signed bool, chance int64, m []measure) chart {
	c := chart{Title: title, What: what, Of: of}
	lo, hi := int64(0), int64(1)
	for _, x := range m {
		lo, hi = min(lo, x.low), max(hi, x.high)
	}
	at := func(v int64) float64 {
		return math.Round(float64(v-lo)/float64(hi-lo)*10_000) / 10
	}
	c.Zero = at(0)
	step := int64(nice(float64(hi-lo) / 4))
	for v := lo / step * step; v <= hi; v += step {
		c.Ticks = append(c.Ticks, tick{at(v) / 10, compact(v)})
	}
	for _, x := range m {
		a, b := at(min(x.value, 0)), at(max(x.value, 0))
		c.Bars = append(c.Bars, bar{
			Name: x.name, Detail: x.detail, Extra: x.extra,
			Value: group(x.value), Low: group(x.low), High: group(x.high),
			X: a, Width: b - a, From: at(x.low), Till: at(x.high),
			Class: barClass(x, signed, chance),
		})
	}
	return c
}

func barClass(x measure, signed bool, chance int64) string {
	class := ""
	if signed {
		class = "plenty"
		if x.value > 0 {
			class = "short"
		}
	}
	if abs(x.value) <= chance {
		class += " unsure"
	}
	return class
}

// nice rounds up to 1, 2 or 5 times a power of ten, at least 1.
func nice(x float64) float64 {
	ten := math.Pow(10, math.Floor(math.Log10(max(x, 1))))
	for _, f := range []float64{1, 2, 5} {
		if x <= f*ten {
			return f * ten
		}
	}
	return 10 * ten
}

// compact writes a number in a few characters.
func compact(v int64) string {
	a, sign := float64(abs(v)), ""
	if v < 0 {
		sign = "−"
	}
	switch {
	case a < 1000:
		return group(v)
	case a < 9_950:
		return strings.Replace(fmt.Sprintf("%s%.1fk", sign, a/1e3), ".0k", "k", 1)
	case a < 999_500:
		return fmt.Sprintf("%s%.0fk", sign, a/1e3)
	}
	return strings.Replace(fmt.Sprintf("%s%.1fM", sign, a/1e6), ".0M", "M", 1)
}

func (c *chain) worstChart(n int) chart {
	item, _ := c.itemWords()
	cells := worst(c.demand.release, n)
	var m []measure
	for _, x := range cells {
		extra := ""
		if x.HasInventory {
			extra = fmt.Sprintf("demand %s, inventory %s", group(x.Noised), group(x.Inventory))
		}
		m = append(m, measure{c.itemName(x.Partition), c.storeTitle(x.Store), extra, x.Value, x.Low, x.High})
	}
	return newChart(c.worstTitle(n), item+" and store", "pieces", c.netDemand(), c.luck(c.demand, false).half, m)
}

// totalsChart is the ten highest values of the whole chain.
func (c *chain) totalsChart() chart {
	item, _ := c.itemWords()
	cells := slices.Collect(c.demand.release.Totals())
	if c.totals != nil {
		cells = slices.Collect(c.totals.release.Cells())
	}
	sortBy(cells, func(x federated.Cell) int64 { return -x.Value })
	var m []measure
	for _, x := range cells[:min(ten, len(cells))] {
		category := c.items[x.Partition].Category
		if category == c.itemName(x.Partition) {
			category = ""
		}
		m = append(m, measure{c.itemName(x.Partition), category, "", x.Value, x.Low, x.High})
	}
	return newChart("The chain as a whole", item, "pieces", c.netDemand(), c.luckOfTotals().half, m)
}

// mostBars is how many stores the page shows of a long list.
const mostBars = 30

func (c *chain) memberChart() chart {
	stores, order := c.membersByStore()
	var m []measure
	for _, id := range order[:min(mostBars, len(order))] {
		s := stores[id]
		m = append(m, measure{c.storeTitle(id), "", "", s.sum, s.sum - s.half, s.sum + s.half})
	}
	out := newChart(capital(c.person())+"s per store", "store", c.person()+"s", false, 0, m)
	out.More = len(order) - len(m)
	return out
}

// A segmentTable is the released member counts one by one.
type segmentTable struct {
	Segments []string
	Half     string
	Rows     []segmentRow
}

type segmentRow struct {
	Store  string
	Values []string
}

func (c *chain) segmentTable() *segmentTable {
	if len(c.world.Segments) < 2 {
		return nil
	}
	t := &segmentTable{Segments: c.world.Segments, Half: group(c.members.label().Noise.Half)}
	stores, order := c.membersByStore()
	for _, id := range order[:min(mostBars, len(order))] {
		row := segmentRow{Store: c.storeTitle(id)}
		for _, s := range t.Segments {
			row.Values = append(row.Values, group(stores[id].segments[s]))
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

// A heat map has the sum of the released cells of each store and category.
type heat struct {
	Categories     []string
	Rows           []heatRow
	Legend         []heatKey
	Stores, Left   int // stores with released cells; categories left out
	StoresLeft     int
	Summed, Select bool
}

type heatRow struct {
	Store string
	Cells []heatCell
}

type heatCell struct {
	Text, Class, Title string
}

type heatKey struct{ Class, Text string }

// most rows and columns of the heat map: more is not read by anybody.
const (
	mostRows    = 30
	mostColumns = 24
)

type heatSum struct {
	value int64
	terms int
}

func (c *chain) heat() heat {
	sums := map[federated.NodeID]map[string]heatSum{}
	stores, categories := map[federated.NodeID]int64{}, map[string]int64{}
	h := heat{Select: c.demand.label().Selection != nil}
	for cell := range c.demand.release.Cells() {
		category := c.items[cell.Partition].Category
		if sums[cell.Store] == nil {
			sums[cell.Store] = map[string]heatSum{}
		}
		s := sums[cell.Store][category]
		s.value += cell.Value
		s.terms++
		sums[cell.Store][category] = s
		stores[cell.Store] += cell.Noised
		categories[category] += cell.Noised
		h.Summed = h.Summed || s.terms > 1
	}
	rows, columns := largest(stores, mostRows), largest(categories, mostColumns)
	h.Stores, h.StoresLeft, h.Left = len(stores), len(stores)-len(rows), len(categories)-len(columns)
	h.Categories = columns
	top := int64(0)
	for _, id := range rows {
		for _, category := range columns {
			top = max(top, abs(sums[id][category].value))
		}
	}
	steps := heatSteps(top)
	halves := map[int]int64{}
	for _, id := range rows {
		row := heatRow{Store: c.storeTitle(id)}
		for _, category := range columns {
			s, ok := sums[id][category]
			if !ok {
				row.Cells = append(row.Cells, heatCell{"", "none", "nothing released"})
				continue
			}
			half, ok := halves[s.terms]
			if !ok {
				half = c.sumHalf(s.terms)
				halves[s.terms] = half
			}
			cell := heatCell{Text: compact(s.value), Class: heatClass(s.value, steps, c.netDemand())}
			cell.Title = fmt.Sprintf("%s, %s: %s (95 %%: %s to %s)", c.storeTitle(id), category, group(s.value), group(s.value-half), group(s.value+half))
			if abs(s.value) <= half {
				cell.Class += " unsure"
				cell.Title += ", not distinguishable from zero"
			}
			row.Cells = append(row.Cells, cell)
		}
		h.Rows = append(h.Rows, row)
	}
	for i := 4; i >= 1; i-- {
		if c.netDemand() {
			h.Legend = append(h.Legend, heatKey{fmt.Sprintf("l%d", i), "≤ −" + compact(steps[i-1])})
		}
	}
	h.Legend = append(h.Legend, heatKey{"zero", "about 0"})
	for i := 1; i <= 4; i++ {
		h.Legend = append(h.Legend, heatKey{fmt.Sprintf("s%d", i), "≥ " + compact(steps[i-1])})
	}
	return h
}

// sumHalf is the half-width of the interval of a sum of released values.
func (c *chain) sumHalf(terms int) int64 {
	if terms == 1 {
		return c.demand.label().Noise.Half
	}
	half, _, err := c.demand.query.Noise().Interval(terms, federated.Confidence)
	if err != nil {
		return c.demand.label().Noise.Half * int64(terms)
	}
	return half
}

// largest returns the n keys of the largest values.
func largest[K cmp.Ordered](m map[K]int64, n int) []K {
	keys := make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	if len(keys) <= n {
		return keys // a short list stays in its own order
	}
	sortBy(keys, func(k K) int64 { return -m[k] })
	return keys[:n]
}

// heatSteps are four round thresholds below top, ascending.
func heatSteps(top int64) [4]int64 {
	var s [4]int64
	for i, part := range []float64{20, 8, 3.5, 1.6} {
		s[i] = int64(nice(float64(top) / part / 1.5))
		if i > 0 {
			s[i] = max(s[i], s[i-1]+1)
		}
	}
	return s
}

// heatClass is a colour. Demand alone is never really below zero.
func heatClass(v int64, steps [4]int64, signed bool) string {
	level := 0
	for i, s := range steps {
		if abs(v) >= s {
			level = i + 1
		}
	}
	switch {
	case level == 0 || v < 0 && !signed:
		return "zero"
	case v < 0:
		return fmt.Sprintf("l%d", level)
	}
	return fmt.Sprintf("s%d", level)
}

// privacyText is the labels in plain words.
type privacyText struct {
	Who          string // the unit
	Epsilon      string
	Delta        string
	Odds, Chance string
	Weak         bool // an ε at which the guarantee says nothing
	Warnings     []warning
	Cautions     []string
	Rows         []budgetRow
	Left         [2]string
	WhyLeft      string
	Bounds       string
	Reach        []reachRow
	AtOneStore   bool
	Inventory    bool
}

type budgetRow struct{ What, Epsilon, Delta, Noise, Half string }

type reachRow struct {
	Nodes          int
	Epsilon, Delta string
}

// weakEpsilon is where the odds may change more than a hundred thousand times.
const weakEpsilon = 12

func (c *chain) privacyText() privacyText {
	spent, b := c.spent(), c.demand.label().Bounds
	t := privacyText{
		Who: c.unit(), Epsilon: number(spent.Epsilon), Delta: number(spent.Delta),
		Weak: c.weak() != nil, Warnings: c.warnings(), WhyLeft: c.whyLeft(), Cautions: c.cautions(), AtOneStore: c.world.Unit == federated.UnitMemberAtNode, Inventory: c.netDemand(),
		Left: [2]string{number(tidy(c.left.Epsilon, c.o.epsilon)), number(tidy(c.left.Delta, c.o.delta))},
		Bounds: fmt.Sprintf("At one store at most %s items count, at most %s pieces of each, and %s pieces in all; at most %s.",
			group(b.L0), group(b.LInf), group(b.L1), count(int(b.MaxNodes), "store counts", "stores count")),
	}
	if !t.Weak {
		t.Odds = fmt.Sprintf("%.3g", math.Exp(spent.Epsilon))
	}
	if spent.Delta > 0 {
		t.Chance = "1 in " + group(int64(min(1/spent.Delta, 1e18)))
	}
	for _, a := range c.asks() {
		l := a.label()
		t.Rows = append(t.Rows, budgetRow{
			capital(a.title), number(l.Cost.Epsilon), number(l.Cost.Delta), mechanismWords(l.Noise),
			"± " + group(l.Noise.Half),
		})
	}
	for _, r := range c.reach() {
		t.Reach = append(t.Reach, reachRow{r.Nodes, fmt.Sprintf("%.4g", r.Cost.Epsilon), fmt.Sprintf("%.3g", r.Cost.Delta)})
	}
	return t
}

func capital(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return group(n) + " " + many
}
