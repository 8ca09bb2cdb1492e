package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/larder-dp/larder/dp"
	"github.com/larder-dp/larder/examples/internal/terminal"
	"github.com/larder-dp/larder/federated"
)

// insights asks everything, and prints when all is answered.
func insights(ctx context.Context, o options, stdout io.Writer) error {
	c, err := newChain(ctx, o)
	if err != nil {
		return err
	}
	p := &printer{terminal.NewPrinter(stdout)}
	p.Line("%d stores; the privacy unit is %s", len(c.stores), unitWords[c.world.Unit])
	if c.world.RosterFromRecords {
		p.Line("The stores are those that the records name, which is not private. A deployment fixes its roster before the data.")
	}
	if o.evaluate {
		p.Line("DO NOT SHARE: with -evaluate the truth, without noise, stands beside the answers.")
	}
	for _, part := range []func(context.Context, *printer) error{c.members, c.rfm, c.spend, c.costs} {
		if err := part(ctx, p); err != nil {
			return err
		}
	}
	return p.Flush()
}

var unitWords = map[federated.Unit]string{
	federated.UnitMember:       "one member with all that she does",
	federated.UnitMemberAtNode: "one household at one store",
}

// members prints members per store, unions and an overlap.
func (c *chain) members(ctx context.Context, p *printer) error {
	truth, err := c.truth()
	if err != nil {
		return err
	}
	counts := c.question(federated.Sales, c.stores)
	counts.Partitions = c.world.Segments
	query, err := federated.MemberCount(counts)
	dense, err := c.ask(ctx, "members per store, every store", query, err)
	if err != nil {
		return err
	}
	// Half for the choice of cells, half for their values.
	counts.Privacy.Epsilon /= 2
	counts.Select = dp.Params{Epsilon: c.o.epsilon / 2, Delta: c.o.delta, Mechanism: dp.Auto}
	query, err = federated.MemberCount(counts)
	selected, err := c.ask(ctx, "members per store, selected stores", query, err)
	if err != nil {
		return err
	}
	stores, noised := largest(dense)
	p.perStore(dense, selected, noised, truth)
	if err := c.unions(ctx, p, stores, noised, truth); err != nil {
		return err
	}
	return c.overlap(ctx, p, stores[:2], truth)
}

func (p *printer) perStore(dense, selected *federated.Release, noised map[federated.NodeID]noisedCount, truth map[federated.NodeID]map[string]bool) {
	p.Title("Members who bought, per store and segment: the ten largest cells that pass the selection")
	cells := slices.Collect(selected.Cells())
	slices.SortStableFunc(cells, func(a, b federated.Cell) int { return cmp.Compare(b.Value, a.Value) })
	t := [][]string{{"store", "segment", "members", "95 %"}}
	shown := map[federated.NodeID]bool{}
	for i, cell := range cells {
		shown[cell.Store] = true
		if i < 10 {
			t = append(t, []string{string(cell.Store), cell.Partition, whole(cell.Value), span(cell)})
		}
	}
	p.table(t)
	of, l := len(slices.Collect(dense.Cells())), selected.Label()
	p.Line("%d of %d cells are released: those of at least %d members after noise. A cell of one member is", len(cells), of, l.Selection.Threshold)
	p.Line("with probability at most %.2g, an empty one never. Where the roster is public, all cells can be", l.Selection.Cost.Delta/float64(l.Bounds.L0*l.Bounds.MaxNodes))
	p.Line("asked for without selection, too: each is then a number ± %d, which of a small one says nothing.", dense.Label().Noise.Half)
	small, told, least, most := 0, 0, int64(math.MaxInt64), int64(math.MinInt64)
	for store, members := range truth {
		if len(members) < 5 {
			small++
			least, most = min(least, noised[store].members), max(most, noised[store].members)
			if shown[store] {
				told++
			}
		}
	}
	if small > 0 {
		p.Line("Truth: %d stores have fewer than 5. Selected: %d of them. Without selection they read %d to %d.", small, told, least, most)
	}
}

// unions prints how many different members 3, 10, 100 and all stores have, by each method.
func (c *chain) unions(ctx context.Context, p *printer, stores []federated.NodeID, noised map[federated.NodeID]noisedCount, truth map[federated.NodeID]map[string]bool) error {
	p.Title("Different members who bought at the largest stores together")
	head := []string{"stores", "sketch", "95 %", "± σ", "flipped: 95 %", "sum of noised counts ± σ"}
	if truth != nil {
		head = append(head, "truth", "true sum")
	}
	t := [][]string{head}
	sizes := []int{few, 10, 100, len(stores)}
	for i, n := range slices.Compact(slices.DeleteFunc(sizes, func(n int) bool { return n > len(stores) })) {
		r, err := c.distinct(ctx, fmt.Sprintf("distinct members of %d stores", n), stores[:n]...)
		if err != nil {
			return err
		}
		cell := only(r)
		local, err := c.local(ctx, stores[:n], i == 0)
		if err != nil {
			return err
		}
		var sum noisedCount
		for _, s := range stores[:n] {
			sum = noisedCount{sum.members + noised[s].members, math.Hypot(sum.stdDev, noised[s].stdDev)}
		}
		row := []string{
			fmt.Sprint(n), whole(cell.Value), span(cell), fmt.Sprintf("%.1f", cell.StdDev), local,
			fmt.Sprintf("%s ± %.1f", whole(sum.members), sum.stdDev),
		}
		if truth != nil {
			distinct, sum := union(truth, stores[:n])
			row = append(row, whole(int64(distinct)), whole(int64(sum)))
		}
		t = append(t, row)
	}
	p.table(t)
	p.Line("A sketch is a bitmap: a member sets one of its %s bins (of a flipped one, of %s), the same at", whole(int64(c.bins)), whole(int64(c.localBins)))
	p.Line("all stores. σ and the interval are of members, with the noise and with those who share a bin; the")
	p.Line("interval holds by an inequality, and is wider than 2σ. A sketch costs ε for any number of stores.")
	p.Line("Flipped ones trust nobody, cost ε for every store that a member is seen in, and their error")
	p.Line("multiplies with every store: they are asked of %d, and refused where it is above %s bins.", few, whole(int64(c.localBins)))
	p.Line("A sum counts a member once a store, so that its error is not its noise.")
	if c.world.Unit == federated.UnitMember {
		p.Line("Where homes are known, sums and flipped sketches have a member at the first %d of hers only.", mostHomes)
	}
	return nil
}

// local asks nodes that do not trust the coordinator, or says how far off the answer would be.
func (c *chain) local(ctx context.Context, stores []federated.NodeID, ask bool) (string, error) {
	q := c.question(federated.Sales, stores)
	q.Trust, q.Privacy.Mechanism = federated.Local, dp.Auto
	query, err := federated.DistinctMembers(q, c.localBins)
	if err != nil {
		return "refused", nil // the stated error exceeds the bins
	}
	if !ask {
		flip, err := dp.NewFlip(c.o.epsilon)
		if err != nil {
			return "", err
		}
		_, stdDev, err := flip.Interval(len(stores), dp.Occupancy{Bins: int64(c.localBins)}, federated.Confidence)
		if err != nil {
			return "refused", nil
		}
		return fmt.Sprintf("σ %.0f bins", stdDev), nil
	}
	r, err := c.ask(ctx, fmt.Sprintf("the same of %d, flipped at the stores", len(stores)), query, err)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s: %s", whole(only(r).Value), span(only(r))), nil
}

func (c *chain) overlap(ctx context.Context, p *printer, stores []federated.NodeID, truth map[federated.NodeID]map[string]bool) error {
	p.Title("Members whom the two largest stores share")
	var releases []*federated.Release
	for _, of := range [][]federated.NodeID{stores[:1], stores[1:], stores} {
		r, err := c.distinct(ctx, "one of three that the overlap is of", of...)
		if err != nil {
			return err
		}
		releases = append(releases, r)
	}
	cell, err := releases[2].Overlap(releases[0], releases[1])
	if err != nil {
		return err
	}
	text := fmt.Sprintf("%s and %s: %s, %s (95 %%)", stores[0], stores[1], whole(cell.Value), span(cell))
	if truth != nil {
		both, sum := union(truth, stores)
		text += fmt.Sprintf("; truth %d", sum-both)
	}
	p.Line("%s", text)
	return nil
}

// rfm prints the histogram of scores, by quintiles that are found first.
func (c *chain) rfm(ctx context.Context, p *printer) error {
	grid := federated.RFM{RecencyDays: 7, FrequencySteps: 10, MonetarySteps: 4, MinDays: 2, Except: []string{"FUEL"}}
	if c.world.Generated { // one week
		grid.RecencyDays, grid.MinDays = 1, 1
	}
	q := c.question(federated.Sales, c.stores)
	query, err := grid.Histograms(q)
	r, err := c.ask(ctx, "histograms of R, F and M", query, err)
	if err != nil {
		return err
	}
	scored, err := grid.Cut(r)
	if err != nil {
		return err
	}
	query, err = scored.Bins(q)
	if r, err = c.ask(ctx, "scores by these quintiles", query, err); err != nil {
		return err
	}
	p.Title("Recency, frequency, monetary value: scores of 1 to 5 each, by their sum")
	t := [][]string{{"R+F+M", "members at a store", "95 %"}}
	order := []string{"[0,6)", "[6,9)", "[9,13)", "[13,15)", "[15,∞)"}
	cells := map[string]federated.Cell{}
	for cell := range r.Cells() {
		cells[cell.Partition] = cell
	}
	for _, bin := range order {
		t = append(t, []string{bin, whole(cells[bin].Value), span(cells[bin])})
	}
	p.table(t)
	cuts := scored.Cuts
	p.Line("quintiles, found privately: last sale %v days before the end;", scale(cuts[0], grid.RecencyDays))
	p.Line("baskets a day %v; spend %v", steps(cuts[1], grid.FrequencySteps), money(cuts[2], grid.MonetarySteps))
	if slices.ContainsFunc(cuts[:], func(c [4]int) bool { return c[0] == c[1] || c[1] == c[2] || c[2] == c[3] }) {
		p.Line("Equal cut points: a fifth or more have one value, and the scores between are empty.")
	}
	if grid.MinDays > 1 {
		p.Line("Without those of one shopping day, and without fuel.")
	}
	return nil
}

func scale(cuts [4]int, by int) (out []int) {
	for _, c := range cuts {
		out = append(out, c*by)
	}
	return out
}

func steps(cuts [4]int, by int) (out []string) {
	for _, c := range cuts {
		out = append(out, fmt.Sprintf("%.2f", 1+float64(c)/float64(by)))
	}
	return out
}

func money(cuts [4]int, by int) (out []string) {
	for _, c := range cuts {
		out = append(out, fmt.Sprintf("%.2f", math.Exp(float64(c)/float64(by))/100))
	}
	return out
}

// spend prints the sections of the shop.
func (c *chain) spend(ctx context.Context, p *printer) error {
	q := c.question(federated.Sales, c.stores)
	q.Cells = federated.Chain
	q.Bounds.L0, q.Bounds.LInf, q.Bounds.L1 = 5, 5_000, 10_000
	names := map[string]string{}
	for _, i := range c.world.Items {
		q.Partitions = append(q.Partitions, i.ID)
		names[i.ID] = i.Name
	}
	query, err := federated.Spend(q)
	r, err := c.ask(ctx, "spend per section", query, err)
	if err != nil {
		return err
	}
	p.Title("Spend per section, the highest ten")
	cells := slices.Collect(r.Cells())
	slices.SortStableFunc(cells, func(a, b federated.Cell) int { return cmp.Compare(b.Value, a.Value) })
	t := [][]string{{"section", "spend", "± 95 %"}}
	for _, cell := range cells[:min(len(cells), 10)] {
		t = append(t, []string{names[cell.Partition], cents(cell.Value), cents(cell.High - cell.Value)})
	}
	p.table(t)
	p.Line("Of a member at a store at most 5 sections count, 50.00 in each and 100.00 in all: what was spent")
	p.Line("beyond is missing here, and is not in the error bar.")
	return nil
}

// costs adds up what all of it cost.
func (c *chain) costs(_ context.Context, p *printer) error {
	p.Title("What it cost")
	t := [][]string{{"question", "ε", "δ", "ε of who is seen at 2, 4, 8 stores"}}
	var total dp.Budget
	reach := map[int]dp.Budget{}
	for _, s := range c.spent {
		total.Epsilon += s.label.Cost.Epsilon
		total.Delta += s.label.Cost.Delta
		var at []string
		for _, r := range s.label.Reach {
			reach[r.Nodes] = dp.Budget{Epsilon: reach[r.Nodes].Epsilon + r.Cost.Epsilon, Delta: reach[r.Nodes].Delta + r.Cost.Delta}
			at = append(at, fmt.Sprintf("%.4g", r.Cost.Epsilon))
		}
		t = append(t, []string{s.title, fmt.Sprintf("%.4g", s.label.Cost.Epsilon), fmt.Sprintf("%.4g", s.label.Cost.Delta), strings.Join(at, ", ")})
	}
	row := []string{"together", fmt.Sprintf("%.4g", total.Epsilon), fmt.Sprintf("%.4g", total.Delta), ""}
	if len(reach) > 0 {
		row[3] = fmt.Sprintf("%.4g, %.4g, %.4g", reach[2].Epsilon, reach[4].Epsilon, reach[8].Epsilon)
	}
	if t = append(t, row); len(reach) == 0 {
		for i := range t {
			t[i] = t[i][:3]
		}
	}
	p.table(t)
	if len(reach) > 0 {
		p.Line("The δ of who is seen at 2, 4, 8 stores is %.4g, %.4g, %.4g.", reach[2].Delta, reach[4].Delta, reach[8].Delta)
	}
	if !c.world.Generated {
		p.Line("The budget is this run's own, in memory: another run over the same data spends again, and the two add up.")
	}
	p.Line("One person under two ids is two privacy units: what is ε here is 2ε for her.")
	return nil
}

func only(r *federated.Release) (out federated.Cell) {
	for c := range r.Cells() {
		out = c
	}
	return out
}

func span(c federated.Cell) string { return whole(c.Low) + " to " + whole(c.High) }

// cents writes an amount of cents in the currency.
func cents(x int64) string {
	sign := ""
	if x < 0 {
		sign, x = "-", -x
	}
	return fmt.Sprintf("%s%s.%02d", sign, whole(x/100), x%100)
}

func whole(x int64) string {
	s := fmt.Sprint(max(x, -x))
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	if x < 0 {
		return "-" + s
	}
	return s
}

// A printer writes tables whose first column is flush left, and the others right.
type printer struct{ *terminal.Printer }

func (p *printer) table(rows [][]string) {
	right := make([]bool, len(rows[0]))
	for i := range right {
		right[i] = i > 0
	}
	p.Table(terminal.Table{Head: rows[0], Right: right, Rows: rows[1:]})
}
