package federated

import (
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/larder-dp/larder/dp"
)

// A Label says what the numbers of a release mean, what they protect and what
// they cost. Nothing in it depends on a record, but for Coverage where a node
// was too slow.
type Label struct {
	Query  string `json:"query"` // name and version
	Digest Digest `json:"digest"`
	Epoch  string `json:"epoch"`
	Round  int64  `json:"round"`
	Window Window `json:"window"`
	Kind   Kind   `json:"from"`
	Cells  Cells  `json:"cells"`
	// Unit is what the guarantee protects; the neighbouring relation is to add
	// or to remove one such unit.
	Unit     Unit   `json:"unit"`
	Relation string `json:"relation"`
	Trust    Trust  `json:"trust"`
	// Cost is what was charged for the release, all of it.
	Cost        dp.Budget       `json:"cost"`
	Bounds      dp.Bounds       `json:"bounds"`
	Sensitivity dp.Sensitivity  `json:"sensitivity"`
	Noise       NoiseLabel      `json:"noise"`
	Selection   *SelectionLabel `json:"selection"`
	// Totals is the error of the chain totals of Release.Totals; nil where
	// there are none.
	Totals   *ErrorBar `json:"totals"`
	Coverage Coverage  `json:"coverage"`
	// InventoryTold of InventoryRows stores gave an inventory, so that the
	// release has a net demand there; a chain is one row.
	InventoryTold int `json:"inventory_told"`
	InventoryRows int `json:"inventory_rows"`
	// Bins is the number of bins of a sketch, whose noised value is the number of
	// those that are set; 0 of other releases.
	Bins int64 `json:"bins,omitzero"`
	// Reach says what holds for a member who shops at several stores, where
	// the unit is one member at one store.
	Reach []Reach `json:"reach"`
	// LedgerHead is the head of the ledger's hash chain after the charge.
	LedgerHead string `json:"ledger_head"`
}

// An ErrorBar is the error of a value: Half is half the width of the interval
// that holds the un-noised value with probability Coverage, at least
// Confidence.
type ErrorBar struct {
	StdDev   float64 `json:"stddev"`
	Half     int64   `json:"half_width"`
	Coverage float64 `json:"coverage"`
}

// NoiseLabel is the noise of one cell.
type NoiseLabel struct {
	Mechanism dp.Mechanism `json:"mechanism"`
	// Scale is b of the Laplace mechanisms, σ of the Gaussian ones, and of randomized
	// response the probability with which a bit is flipped.
	Scale float64   `json:"scale"`
	Cost  dp.Budget `json:"cost"`
	ErrorBar
}

// SelectionLabel is the private selection of cells.
type SelectionLabel struct {
	Cost      dp.Budget `json:"cost"`
	Threshold int64     `json:"threshold"` // least noised number of units of a published cell
}

// Coverage says how many of the nodes that were asked stand behind a release.
type Coverage struct {
	Asked    int       `json:"asked"`
	Answered int       `json:"answered"`
	Absent   []Absence `json:"absent"`
}

// An Absence is a node without an answer, and why.
type Absence struct {
	Node   NodeID `json:"node"`
	Reason string `json:"reason"`
}

// Reach is the privacy loss of a member who is seen at that many nodes.
type Reach struct {
	Nodes int       `json:"nodes"`
	Cost  dp.Budget `json:"cost"`
}

func newLabel(r *round, rel *Release, head [32]byte) (Label, error) {
	q := r.q
	sensitivity, err := q.q.Bounds.Sensitivity(q.shape())
	if err != nil {
		return Label{}, fmt.Errorf("label release: %w", err)
	}
	l := Label{
		Query: q.Name(), Digest: q.digest, Epoch: q.q.Epoch, Round: q.q.Round, Window: q.q.Window,
		Kind: q.q.From, Cells: q.q.Cells, Unit: q.q.Unit, Relation: "add or remove one " + unitWords[q.q.Unit],
		Trust: q.q.Trust, Cost: q.Cost(), Bounds: q.q.Bounds, Sensitivity: sensitivity,
		Coverage: r.coverage(), LedgerHead: hex.EncodeToString(head[:]), Bins: q.bins,
	}
	one, err := q.errorBar(len(r.reports), 1)
	if err != nil {
		return Label{}, fmt.Errorf("label release: %w", err)
	}
	l.Noise = NoiseLabel{q.noise.Mechanism(), q.noise.Scale(), q.noise.Cost(), one}
	if q.local() {
		l.Noise = NoiseLabel{dp.RandomizedResponse, q.flip.Probability(), l.Cost, one}
	}
	if q.selects() {
		l.Selection = &SelectionLabel{q.sel.Cost(), q.sel.Threshold()}
	} else if q.q.Cells == PerStore {
		total, err := q.errorBar(len(r.reports), len(rel.stores))
		if err != nil {
			return Label{}, fmt.Errorf("label release: %w", err)
		}
		l.Totals = &total
	}
	if q.hasInventory() {
		with := 0
		for _, v := range rel.inventory {
			if v != nil {
				with++
			}
		}
		l.InventoryTold, l.InventoryRows = with, len(rel.inventory)
	}
	if l.Reach, err = q.reach(); err != nil {
		return Label{}, fmt.Errorf("label release: %w", err)
	}
	return l, nil
}

// reach says what holds for a member seen at 2, 4 and 8 nodes: the composition
// of as many per-store vectors, or as many times the sensitivities of a sum.
func (q *query) reach() ([]Reach, error) {
	if q.q.Unit != UnitMemberAtNode {
		return nil, nil
	}
	var out []Reach
	for _, m := range []int{2, 4, 8} {
		if q.isSketch() {
			out = append(out, Reach{m, q.sketchReach(m)})
			continue
		}
		c, err := q.noise.GroupCost(m, q.shape())
		if err != nil {
			return nil, err
		}
		if q.selects() {
			s, err := q.sel.GroupCost(m, q.shape())
			if err != nil {
				return nil, err
			}
			c = dp.Budget{Epsilon: addUp(c.Epsilon, s.Epsilon), Delta: addUp(c.Delta, s.Delta)}
		}
		out = append(out, Reach{m, c})
	}
	return out, nil
}

var unitWords = map[Unit]string{
	UnitMember:       "member with all her records",
	UnitList:         "shopping list",
	UnitMemberAtNode: "member's records at one store (a sale without a member: the sale)",
	UnitSale:         "sale, the whole basket",
}

func bound(t time.Time) string {
	if t.IsZero() {
		return "any time"
	}
	return t.Format(time.RFC3339)
}

// String says the label in plain words, a line a fact.
func (l Label) String() string {
	if l.Query == "" {
		return "no release"
	}
	var b strings.Builder
	line := func(format string, a ...any) { fmt.Fprintf(&b, format+"\n", a...) }
	line("question    %s from %s, round %d of epoch %s, digest %s", l.Query, l.Kind, l.Round, l.Epoch, l.Digest)
	if w := l.Window; w != (Window{}) {
		line("window      %s to before %s", bound(w.From), bound(w.To))
	}
	line("protects    one %s", strings.TrimPrefix(l.Relation, "add or remove one "))
	line("guarantee   (ε = %g, δ = %g)-differential privacy when one is added or removed", l.Cost.Epsilon, l.Cost.Delta)
	for _, r := range l.Reach {
		line("            a member seen at %d stores: ε = %.4g, δ = %.4g", r.Nodes, r.Cost.Epsilon, r.Cost.Delta)
	}
	line("bounds      at most %d partitions, %d in each, %d in all, at each of %d nodes", l.Bounds.L0, l.Bounds.LInf, l.Bounds.L1, l.Bounds.MaxNodes)
	if l.Bins > 0 {
		line("sketch      %d bins; the value is the number of distinct members that the set ones stand for", l.Bins)
	}
	noised := "every value"
	if l.Bins > 0 {
		noised = "the number of set bins"
	}
	line("noise       %s of scale %.6g on %s: standard deviation %.4g, %.4g %% within ±%d", l.Noise.Mechanism, l.Noise.Scale, noised, l.Noise.StdDev, 100*l.Noise.Coverage, l.Noise.Half)
	if l.Selection != nil {
		line("selection   cells of at least %d units after noise, for ε = %g, δ = %g of the cost", l.Selection.Threshold, l.Selection.Cost.Epsilon, l.Selection.Cost.Delta)
	}
	if l.Totals != nil {
		line("totals      sums of released cells, no further cost: standard deviation %.4g, %.4g %% within ±%d", l.Totals.StdDev, 100*l.Totals.Coverage, l.Totals.Half)
	}
	switch told, untold := l.InventoryTold, l.InventoryRows-l.InventoryTold; {
	case l.Cells == Chain && told > 0:
		line("inventory   un-noised, as its owners declare")
	case l.Cells == Chain && untold > 0:
		line("inventory   not told by every store: demand only")
	default:
		if told > 0 {
			line("inventory   un-noised, as its owners declare, at %d of %d stores", told, l.InventoryRows)
		}
		if untold > 0 {
			line("inventory   not told at %d of %d stores: demand only", untold, l.InventoryRows)
		}
	}
	saw := "it saw each node's exact bounded sums"
	switch {
	case l.Trust == Local:
		saw = "the coordinator saw each node's flipped sketch, and nobody more"
	case l.Bins > 0:
		saw = "it saw which bins each node sets; whose they are only who has the pseudonyms can say"
	}
	line("trust       %s: %s", strings.ReplaceAll(string(l.Trust), "_", " "), saw)
	line("coverage    %d of %d nodes", l.Coverage.Answered, l.Coverage.Asked)
	for _, a := range l.Coverage.Absent {
		line("            without %s: %s", a.Node, a.Reason)
	}
	line("ledger      %s", l.LedgerHead)
	return b.String()
}
