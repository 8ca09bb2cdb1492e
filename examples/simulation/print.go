package main

import (
	"fmt"
	"io"
	"math"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/larder-dp/larder/dp"
	"github.com/larder-dp/larder/examples/internal/terminal"
	"github.com/larder-dp/larder/federated"
)

// print tells the answer.
func (c *chain) print(out io.Writer, truth *evaluation) error {
	p := terminal.NewPrinter(out)
	c.printChain(p)
	c.printWorst(p)
	c.printMembers(p)
	c.printCoverage(p)
	c.printPrivacy(p)
	if truth != nil && c.world.Generated {
		p.Title("Only a simulation can know this: how far the answer is from the truth")
		truth.print(p, c)
	}
	if c.o.out != "" {
		p.Title("Written to " + c.o.out)
		if c.replaced {
			p.Line("Replaced the former result in %s.", c.o.out)
		}
		tables := "release.csv"
		if c.members != nil {
			tables += ", members.csv"
		}
		p.Line("report.html    the page for a planner       %s   the releases as tables", tables)
		p.Line(`release.json   {"releases":[…]}: all releases with their labels, each for federated.ParseRelease`)
		p.Line("nodes/ID/      each store's exceptions, for that store alone")
		if truth != nil {
			p.Line("simulation-only/   the distance from the truth: DO NOT SHARE")
		}
	}
	return p.Flush()
}

func (c *chain) printChain(p *terminal.Printer) {
	o, w := c.o, c.world
	one, many := c.itemWords()
	categories := map[string]bool{}
	for _, i := range w.Items {
		categories[i.Category] = true
	}
	items := count(len(w.Items), one, many)
	if c.o.level == "" || c.o.level == levelProduct {
		items += " in " + count(len(categories), "category", "categories")
	}
	p.Line("%s: %s, %s", c.what(), count(len(w.Stores), "store", "stores"), items)
	if w.Generated {
		p.Line("made up from -seed %d: %s, %s, %s", o.seed,
			count(o.members, "member", "members"), count(o.lists, "list", "lists"), count(o.lists, "sale", "sales"))
	}
	p.Line("demand is what %s, %s", map[federated.Kind]string{federated.Lists: "shopping lists ask for", federated.Sales: "was sold"}[o.demand], windowWords(w.Window))
}

// what is what the run is about.
func (c *chain) what() string {
	if c.world.Generated {
		return "Simulated chain"
	}
	name := filepath.Base(c.o.data) // where it lies is nobody's business
	if abs, err := filepath.Abs(c.o.data); err == nil {
		name = filepath.Base(abs)
	}
	return "Chain of " + name
}

func windowWords(w federated.Window) string {
	const day = "Mon 2 Jan 2006"
	switch {
	case w.From.IsZero() && w.To.IsZero():
		return "at any time"
	case w.From.IsZero():
		return "before " + w.To.Format(day)
	case w.To.IsZero():
		return "from " + w.From.Format(day)
	}
	return "from " + w.From.Format(day) + " to before " + w.To.Format(day)
}

// worstTitle heads a list of the n worst.
func (c *chain) worstTitle(n int) string {
	count := map[int]string{10: "Ten", 20: "Twenty"}[n]
	if count == "" {
		count = strconv.Itoa(n)
	}
	if !c.netDemand() {
		return count + " highest demands"
	}
	return count + " worst shortages"
}

func (c *chain) printWorst(p *terminal.Printer) {
	cells := worst(c.demand.release, ten)
	p.Title(c.worstTitle(ten))
	if s := c.demand.label().Selection; s != nil && len(cells) == 0 {
		p.Wrap(fmt.Sprintf("No cell passed the private selection: at this budget an item must be bought by about %s at one store. Raise -epsilon, lower -max-items, or take -level category.", count(int(s.Threshold), c.person(), c.person()+"s")))
	} else {
		meaning := "In pieces; " + c.whyNoStock() + "."
		if c.netDemand() {
			meaning = "Net demand = demand − inventory, in pieces; above 0 is a shortage."
		}
		p.Wrap(fmt.Sprintf("%s The interval holds the value before noise with probability %.4g %%; what bounding cut off before that is not in it.", meaning, 100*c.demand.label().Noise.Coverage))
		c.printCells(p, cells)
	}
	if c.totals == nil {
		return
	}
	p.Title("Ten highest demands of the whole chain, with noise of their own")
	t := terminal.Table{Head: []string{"item", "demand", "95 % interval"}, Right: []bool{false, true, true}}
	for _, cell := range worst(c.totals.release, ten) {
		t.Rows = append(t.Rows, []string{terminal.Short(c.itemName(cell.Partition), 40), group(cell.Value), group(cell.Low) + " to " + group(cell.High)})
	}
	p.Table(t)
}

func (c *chain) printCells(p *terminal.Printer, cells []federated.Cell) {
	t := terminal.Table{Head: []string{"store", "item", "net demand", "95 % interval", "demand", "inventory"}, Right: []bool{false, false, true, true, true, true}}
	if !c.netDemand() {
		t.Head = []string{"store", "item", "demand", "95 % interval"}
	}
	for _, cell := range cells {
		row := []string{
			c.storeLabel(cell.Store), terminal.Short(c.itemName(cell.Partition), 30),
			group(cell.Value), group(cell.Low) + " to " + group(cell.High),
		}
		if c.netDemand() {
			stock := "none told"
			if cell.HasInventory {
				stock = group(cell.Inventory)
			}
			row = append(row, group(cell.Noised), stock)
		}
		t.Rows = append(t.Rows, row)
	}
	luck := c.luck(c.demand, false)
	doubtful := 0
	for _, cell := range cells {
		if abs(cell.Value) <= luck.half {
			doubtful++
		}
	}
	caveat := func(these string) {
		p.Wrap(fmt.Sprintf("%s may be noise alone: the largest noise of %s exceeds ± %s in one run of twenty. Ask coarser, or with a higher -epsilon.",
			these, count(luck.values, "value", "values"), group(luck.half)))
	}
	all := doubtful == len(cells) && doubtful > 0
	if all {
		caveat(map[bool]string{true: "This one", false: "All of these"}[doubtful == 1])
	}
	p.Line("")
	p.Table(t)
	if doubtful > 0 && !all {
		p.Line("")
		caveat(fmt.Sprintf("%d of these", doubtful))
	}
}

// whyNoStock says why there is demand only.
func (c *chain) whyNoStock() string {
	if c.world.Generated {
		return "no net demand: stock that moves with every sale would give exact sales away"
	}
	return "no net demand: this data has no inventory"
}

// itemWords say what one partition is, and several are.
func (c *chain) itemWords() (one, many string) {
	switch c.o.level {
	case "category":
		return "category", "categories"
	case "department":
		return "department", "departments"
	}
	return "item", "items"
}

// storeTitle is a store where no column says that it is one.
func (c *chain) storeTitle(id federated.NodeID) string {
	if c.storeName(id) == string(id) {
		return "Store " + string(id)
	}
	return c.storeLabel(id)
}

// storeLabel is a store in a column of stores.
func (c *chain) storeLabel(id federated.NodeID) string {
	if name := c.storeName(id); name != string(id) {
		return string(id) + " " + terminal.Short(name, 20)
	}
	return string(id)
}

// mostStores is how many stores a list of all stores shows.
const mostStores = 15

func (c *chain) printMembers(p *terminal.Printer) {
	if c.members == nil {
		return
	}
	p.Title(capital(c.members.title))
	segments := c.world.Segments
	stores, order := c.membersByStore()
	t := terminal.Table{Head: []string{"store", c.person() + "s", "95 % interval"}, Right: []bool{false, true, true}}
	split := len(segments) > 1 && len(segments) <= 4
	if split {
		for _, s := range segments {
			t.Head, t.Right = append(t.Head, terminal.Short(s, 12)), append(t.Right, true)
		}
	}
	for _, id := range order[:min(mostStores, len(order))] {
		m := stores[id]
		row := []string{c.storeLabel(id), group(m.sum), group(m.sum-m.half) + " to " + group(m.sum+m.half)}
		if split {
			for _, s := range segments {
				row = append(row, group(m.segments[s]))
			}
		}
		t.Rows = append(t.Rows, row)
	}
	p.Table(t)
	if more := len(order) - mostStores; more > 0 {
		p.Line("and %s", count(more, "smaller store", "smaller stores"))
	}
	if split {
		p.Line("± %s on each segment; the first column is their sum.", group(c.members.label().Noise.Half))
	}
}

func (c *chain) printCoverage(p *terminal.Printer) {
	cover := c.demand.label().Coverage
	p.Title("Coverage")
	p.Line("%s of %s answered; the quorum is %s.", group(cover.Answered), count(cover.Asked, "store", "stores"), group(quorum(cover.Asked)))
	if len(cover.Absent) > 0 {
		var absent []string
		for _, a := range cover.Absent[:min(len(cover.Absent), mostStores)] {
			absent = append(absent, string(a.Node))
		}
		if more := len(cover.Absent) - mostStores; more > 0 {
			absent = append(absent, fmt.Sprintf("and %d more", more))
		}
		p.Wrap("Not in the numbers: " + strings.Join(absent, ", ") + ".")
	}
}

func (c *chain) printPrivacy(p *terminal.Printer) {
	o, spent := c.o, c.spent()
	p.Title("Privacy")
	for _, w := range c.warnings() {
		p.Wrap("WARNING: " + w.Head + " " + w.Text)
	}
	p.Wrap(fmt.Sprintf("Protected is one %s: all releases of this run together are (ε = %s, δ = %s)-differentially private when one is added or removed.",
		c.unit(), number(spent.Epsilon), number(spent.Delta)))
	for _, r := range c.reach() {
		p.Line("  a %s seen at %d stores: ε = %.4g, δ = %.4g", c.person(), r.Nodes, r.Cost.Epsilon, r.Cost.Delta)
	}
	p.Line("")
	t := terminal.Table{Head: []string{"budget", "ε", "δ", "noise", "std dev", "95 % within"}, Right: []bool{false, true, true, false, true, true}}
	for _, a := range c.asks() {
		l := a.label()
		t.Rows = append(t.Rows, []string{
			a.title, number(l.Cost.Epsilon), number(l.Cost.Delta), mechanismWords(l.Noise),
			fmt.Sprintf("%.4g", l.Noise.StdDev), "± " + group(l.Noise.Half),
		})
		if s := l.Selection; s != nil {
			t.Rows = append(t.Rows, []string{
				"  of that, selection", number(s.Cost.Epsilon), number(s.Cost.Delta),
				fmt.Sprintf("cells of at least %s, noised", group(s.Threshold)), "", "",
			})
		}
	}
	budget := dp.Budget{Epsilon: o.epsilon, Delta: o.delta}
	if o.ledger != "" {
		budget = dp.Budget{} // that of the file: what is left of it is told as it is
	}
	t.Rows = append(
		t.Rows,
		[]string{"spent", number(spent.Epsilon), number(spent.Delta), "", "", ""},
		[]string{"left of the budget", number(tidy(c.left.Epsilon, budget.Epsilon)), number(tidy(c.left.Delta, budget.Delta)), c.whyLeft(), "", ""},
	)
	p.Table(t)
	p.Line("")
	if c.o.ledger != "" {
		p.Wrap(c.ledgerWords())
		p.Line("")
	}
	b := c.demand.label().Bounds
	p.Line("-epsilon %g  -delta %g  -mechanism %s  -max-items %d  -max-quantity %d", o.epsilon, o.delta, o.mechanism, b.L0, b.LInf)
	p.Line("-max-total %d  -max-nodes %d  quorum %d of %s  trust: the coordinator sees exact sums", b.L1, b.MaxNodes, quorum(len(c.nodes)), count(len(c.nodes), "store", "stores"))
	p.Line("epoch %s  ledger %.16s…", c.world.Epoch, c.asks()[len(c.asks())-1].label().LedgerHead)
	for _, caution := range c.cautions() {
		p.Line("")
		p.Wrap(caution)
	}
}

// A warning is about the budget.
type warning struct{ Head, Text string }

// weak warns of an ε at which the guarantee says nothing; nil if it is lower.
func (c *chain) weak() *warning {
	epsilon := c.spent().Epsilon
	if epsilon <= weakEpsilon {
		return nil
	}
	return &warning{
		"At ε = " + number(epsilon) + " this protects nobody.",
		"It is an ε for tests: at it the noise hides nobody. For figures to be shared, take an ε of about 1, and not above 10.",
	}
}

// highDelta is above what is a small chance for anybody.
const highDelta = 1e-3

// warnings are about a budget that is too large.
func (c *chain) warnings() []warning {
	var out []warning
	if w := c.weak(); w != nil {
		out = append(out, *w)
	}
	if c.o.delta > highDelta && c.spent().Delta > 0 {
		out = append(out, warning{
			"δ = " + number(c.o.delta) + " is high:",
			"give a -delta far below 1 in the number of " + c.person() + "s, such as 1e-6.",
		})
	}
	return out
}

// whyLeft says why δ is left over: some noise takes none.
func (c *chain) whyLeft() string {
	if tidy(c.left.Delta, c.o.delta) == 0 {
		return ""
	}
	var free []string
	for _, a := range c.asks() {
		if m := a.label().Noise.Mechanism; m == dp.Laplace || m == dp.DiscreteLaplace {
			free = append(free, map[*ask]string{c.demand: "demand's", c.totals: "the totals'", c.members: c.person() + "s'"}[a])
		}
	}
	switch len(free) {
	case 0:
		return ""
	case len(c.asks()):
		return "(unused: this noise needs no δ)"
	}
	return "(unused: " + strings.Join(free, " and ") + " noise needs no δ)"
}

// cautions are what the reader of a run over real data must know besides.
func (c *chain) cautions() []string {
	if c.world.Generated {
		return nil
	}
	var out []string
	if c.o.ledger == "" {
		out = append(out, "The budget is this run's own, in memory: another run over the same data spends again, and the two add up. -ledger FILE keeps it.")
	}
	if c.world.RosterFromRecords {
		out = append(out, "The stores are those that the records name, which is not private. A deployment fixes its roster before the data.")
	}
	if c.o.demand == federated.Sales && tellsStock(c.o, c.world) {
		out = append(out, "-data declares its inventory independent of the sales: a plan. Were it a physical count, two of them would give exact sales away.")
	}
	return out
}

func mechanismWords(n federated.NoiseLabel) string {
	return fmt.Sprintf("%s, %s = %.4g", strings.ReplaceAll(string(n.Mechanism), "_", " "), scaleSymbol(n.Mechanism), n.Scale)
}

func scaleSymbol(m dp.Mechanism) string {
	if m == dp.Gaussian || m == dp.DiscreteGaussian {
		return "σ"
	}
	return "b"
}

// tidy takes what rounding left of a budget for nothing.
func tidy(left, budget float64) float64 {
	if left < budget*1e-12 {
		return 0
	}
	return left
}

// print tells an evaluation.
func (e *evaluation) print(p *terminal.Printer, c *chain) {
	t := terminal.Table{
		Head:  []string{"release", "values", "off the truth", "off the bounded", "within 95 %", "by law"},
		Right: []bool{false, true, true, true, true, true},
	}
	for _, d := range e.distances {
		full := "–"
		if d.fromFull >= 0 {
			full = terminal.Figure(d.fromFull)
		}
		share := "–"
		if d.cells > 0 {
			share = fmt.Sprintf("%.2f %%", 100*d.share())
		}
		t.Rows = append(t.Rows, []string{
			d.title, group(d.cells), full, terminal.Figure(d.fromBounded), share, fmt.Sprintf("%.2f %%", 100*d.law),
		})
	}
	p.Wrap("How far a value is off, on average: from the full truth, and from the truth after bounding, which is what the noise hides. Then how many of the 95 % intervals hold the bounded truth, and how many must by the law of the noise.")
	p.Line("")
	p.Table(t)
	p.Line("")
	p.Line("Of the %d cells that are really the worst, the %d printed hold %d; after bounding, %d.", e.of, min(ten, e.selected), e.hits, e.hitsBounded)
	if c.demand.label().Selection != nil {
		p.Line("Selection published %s of %s cells that are not empty.", group(e.selected), group(e.nonEmpty))
	}
	k := e.clipping
	p.Wrap(fmt.Sprintf("Bounding kept %s of %s (%.1f %%): -max-nodes and -max-quantity took %s, -max-items and -max-total took %s, from %s of %s, each of one %s at one store.",
		group(k.kept), count(int(k.full), "piece", "pieces"), percent(k.kept, k.full), group(k.full-k.capped),
		group(k.capped-k.kept), group(k.cutOff), count(int(k.units), "contribution", "contributions"), c.contributor()))
}

// contributor is whose contribution at one store the bounds cut.
func (c *chain) contributor() string {
	switch c.world.Unit {
	case federated.UnitList:
		return "list"
	case federated.UnitSale:
		return "sale"
	}
	return c.person()
}

func percent(a, b int64) float64 {
	if b == 0 {
		return 100
	}
	return 100 * float64(a) / float64(b)
}

// memberSum is the number of members of one store over all segments.
type memberSum struct {
	sum, half int64
	segments  map[string]int64
}

// membersByStore sums the segments of each store up, and orders the stores by
// size. The interval of a sum comes from the law of a sum of noises.
func (c *chain) membersByStore() (map[federated.NodeID]memberSum, []federated.NodeID) {
	half, _, err := c.members.query.Noise().Interval(len(c.world.Segments), federated.Confidence)
	if err != nil {
		half = c.members.label().Noise.Half * int64(len(c.world.Segments)) // a union bound
	}
	out := map[federated.NodeID]memberSum{}
	var order []federated.NodeID
	for cell := range c.members.release.Cells() {
		m, ok := out[cell.Store]
		if !ok {
			m = memberSum{half: half, segments: map[string]int64{}}
			order = append(order, cell.Store)
		}
		m.sum += cell.Value
		m.segments[cell.Partition] = cell.Value
		out[cell.Store] = m
	}
	if len(order) > mostStores { // a short list stays in the order of the stores
		sortBy(order, func(id federated.NodeID) int64 { return -out[id].sum })
	}
	return out, order
}

// group writes a whole number with commas.
func group[T int | int64](n T) string { return terminal.Group(int64(n)) }

// number writes a privacy number without the noise of its last digits.
func number(x float64) string {
	if x >= 1e4 && x < 1e15 && x == math.Trunc(x) {
		return group(int64(x))
	}
	return strconv.FormatFloat(x, 'g', 6, 64)
}
