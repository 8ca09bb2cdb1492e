package federated

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strconv"

	"github.com/larder-dp/larder/dp"
)

// Confidence is that of every interval in a release.
const Confidence = 0.95

// A Release is what is published: noised values with their error bars and the
// label that says what they mean. It was stored before anyone saw it. Safe for
// concurrent use.
type Release struct {
	label      Label
	stores     []NodeID
	partitions []string
	values     []int64   // dense: store-major; else one for each of cells
	cells      []int64   // of a selection: store·partitions + partition; else nil
	inventory  [][]int64 // per store; nil where there is none
	raw        []byte
}

// A Cell is one value of a release.
type Cell struct {
	// Store is the node, or "*" for the whole chain.
	Store NodeID
	// Partition is the item or the segment.
	Partition string
	// Noised is the bounded sum plus noise: demand, members; of DistinctMembers the
	// number of set bins. It is unbiased for the bounded sum, so it can be negative.
	Noised int64
	// Inventory is the store's stock, un-noised, where HasInventory.
	Inventory    int64
	HasInventory bool
	// Value is Noised − Inventory where HasInventory; of DistinctMembers the number
	// of members that Noised stands for; else Noised.
	Value int64
	// StdDev is the standard deviation of the noise in Value, and of the collisions
	// where it is worked out from a sketch.
	StdDev float64
	// Low and High bound Value before the noise (and the collisions) with the
	// probability Confidence.
	Low, High int64
	// Answered of Asked nodes stand behind the cell: 1 of 1 behind a store's own.
	Answered, Asked int
}

// Label returns what the numbers mean and what they cost.
func (r *Release) Label() Label { return r.label }

// Cells yields every released cell, in the order of stores and partitions. A
// store that did not answer has none.
func (r *Release) Cells() iter.Seq[Cell] {
	return func(yield func(Cell) bool) {
		n := int64(len(r.partitions))
		for i, v := range r.values {
			at := int64(i)
			if r.cells != nil {
				at = r.cells[i]
			}
			s := int(at / n)
			c := Cell{
				Store: r.stores[s], Partition: r.partitions[at%n], Noised: v,
				Answered: 1, Asked: 1,
			}
			if r.label.Cells == Chain {
				c.Answered, c.Asked = r.label.Coverage.Answered, r.label.Coverage.Asked
			}
			if r.inventory[s] != nil {
				c.Inventory, c.HasInventory = r.inventory[s][at%n], true
			}
			c = c.finish(r.label.Noise.StdDev, r.label.Noise.Half)
			if r.label.Bins > 0 {
				c = c.distinct(r.label)
			}
			if !yield(c) {
				return
			}
		}
	}
}

// Totals yields the chain total of every partition: the sum of its released
// cells, of the stores that answered (a member counted at two stores is in it
// twice). It costs nothing. A release of selected
// cells has none, as a sum of what was selected says nothing of the rest: ask
// for Chain cells instead.
func (r *Release) Totals() iter.Seq[Cell] {
	return func(yield func(Cell) bool) {
		if r.cells != nil || r.label.Cells != PerStore || r.label.Totals == nil {
			return
		}
		for p, partition := range r.partitions {
			c := Cell{
				Store: "*", Partition: partition, HasInventory: true,
				Answered: r.label.Coverage.Answered, Asked: r.label.Coverage.Asked,
			}
			for s := range r.stores {
				c.Noised = clampAdd(c.Noised, r.values[s*len(r.partitions)+p])
				if r.inventory[s] == nil {
					c.HasInventory = false
				} else {
					c.Inventory = clampAdd(c.Inventory, r.inventory[s][p])
				}
			}
			if !c.HasInventory {
				c.Inventory = 0
			}
			if !yield(c.finish(r.label.Totals.StdDev, r.label.Totals.Half)) {
				return
			}
		}
	}
}

func (c Cell) finish(stdDev float64, half int64) Cell {
	c.Value = c.Noised
	if c.HasInventory {
		c.Value = clampAdd(c.Noised, -c.Inventory)
	}
	c.StdDev, c.Low, c.High = stdDev, clampAdd(c.Value, -half), clampAdd(c.Value, half)
	return c
}

// String returns the label and the number of values.
func (r *Release) String() string {
	return fmt.Sprintf("%svalues      %d\n", r.label, len(r.values))
}

// MarshalJSON returns the stored bytes, the same every time. The package doc
// has their format.
func (r *Release) MarshalJSON() ([]byte, error) {
	if len(r.raw) == 0 {
		return nil, errors.New("encode release: it is the zero Release: Coordinator.Run makes one")
	}
	return bytes.Clone(r.raw), nil
}

// UnmarshalJSON is ParseRelease.
func (r *Release) UnmarshalJSON(b []byte) error {
	p, err := ParseRelease(b)
	if err == nil {
		*r = *p
	}
	return err
}

const releaseFormat = "larder-release/1"

// newRelease draws the noise and puts the release together. It draws in a fixed
// order: selection first, then the values, stores and partitions ascending.
func newRelease(ctx context.Context, r *round, head [32]byte, random io.Reader) (*Release, error) {
	q := r.q
	out := &Release{partitions: q.q.Partitions}
	for _, s := range q.q.Stores {
		if r.reports[s] != nil {
			out.stores = append(out.stores, s)
		}
	}
	rows := make([]*heldReport, len(out.stores))
	for i, s := range out.stores {
		rows[i] = r.reports[s]
	}
	switch {
	case q.isSketch():
		out.stores, rows = []NodeID{"*"}, []*heldReport{q.union(rows)}
	case q.q.Cells == Chain:
		out.stores, rows = []NodeID{"*"}, []*heldReport{sum(rows, q.selects(), len(out.partitions))}
	}
	if q.selects() {
		if err := out.selectCells(rows, q.sel, random); err != nil {
			return nil, err
		}
	} else {
		out.values = make([]int64, 0, len(rows)*len(out.partitions))
		for _, row := range rows {
			out.values = append(out.values, row.amounts...)
			row.amounts = nil
		}
	}
	if !q.local() { // where the nodes have noised
		if err := q.noise.Add(ctx, out.values, random); err != nil {
			return nil, fmt.Errorf("noise release: %w", err)
		}
	}
	for _, row := range rows {
		out.inventory = append(out.inventory, row.inventory)
	}
	var err error
	if out.label, err = newLabel(r, out, head); err != nil {
		return nil, err
	}
	out.raw, err = out.encode()
	return out, err
}

// selectCells keeps the cells that pass the private selection.
func (r *Release) selectCells(rows []*heldReport, sel dp.Selection, random io.Reader) error {
	var cells, amounts, units []int64
	for s, row := range rows {
		for i, key := range row.keys {
			cells = append(cells, int64(s*len(r.partitions))+int64(key))
			amounts = append(amounts, row.packed[i])
			units = append(units, row.units[i])
		}
	}
	pass, err := sel.Select(units, random)
	if err != nil {
		return fmt.Errorf("select cells: %w", err)
	}
	r.cells = []int64{}
	for i := range cells {
		if pass[i] {
			r.cells = append(r.cells, cells[i])
			r.values = append(r.values, amounts[i])
		}
	}
	return nil
}

// sum adds the nodes' vectors up; the inventories only if all have one.
func sum(rows []*heldReport, packed bool, partitions int) *heldReport {
	amounts, inventory := make([]int64, partitions), make([]int64, partitions)
	var units []int64
	if packed {
		units = make([]int64, partitions)
	}
	for _, row := range rows {
		for p, x := range row.amounts {
			amounts[p] = clampAdd(amounts[p], x)
		}
		for i, p := range row.keys {
			amounts[p] = clampAdd(amounts[p], row.packed[i])
			units[p] = clampAdd(units[p], row.units[i])
		}
		if row.inventory == nil {
			inventory = nil
		}
		for p := range inventory {
			inventory[p] = clampAdd(inventory[p], row.inventory[p])
		}
	}
	if !packed {
		return &heldReport{amounts: amounts, inventory: inventory}
	}
	h := hold(report{amounts: amounts, units: units}, [32]byte{})
	h.inventory = inventory
	return h
}

// wireRelease is what ParseRelease reads; encode writes the same fields in this
// order.
type wireRelease struct {
	Format     string     `json:"format"`
	Label      Label      `json:"label"`
	Stores     []NodeID   `json:"stores"`
	Partitions []string   `json:"partitions"`
	Inventory  [][]int64  `json:"inventory"`
	Values     [][]int64  `json:"values"`
	Cells      [][3]int64 `json:"cells"`
}

// encode writes the release's JSON. Numbers are appended by hand: there may be
// ten million of them.
func (r *Release) encode() ([]byte, error) {
	head, err := json.Marshal(struct {
		Format     string   `json:"format"`
		Label      Label    `json:"label"`
		Stores     []NodeID `json:"stores"`
		Partitions []string `json:"partitions"`
	}{releaseFormat, r.label, r.stores, r.partitions})
	if err != nil {
		return nil, fmt.Errorf("encode release: %w", err)
	}
	b := append(head[:len(head)-1], `,"inventory":[`...)
	b = slices.Grow(b, 4*len(r.values))
	for i, row := range r.inventory {
		b = comma(b, i)
		if row == nil {
			b = append(b, "null"...)
		} else {
			b = appendNumbers(b, row)
		}
	}
	b = append(b, `],"values":`...)
	if r.cells == nil {
		b = append(b, '[')
		for s := range r.stores {
			n := len(r.partitions)
			b = appendNumbers(comma(b, s), r.values[s*n:(s+1)*n])
		}
		return append(b, `],"cells":null}`...), nil
	}
	b = append(b, `null,"cells":[`...)
	for i, at := range r.cells {
		n := int64(len(r.partitions))
		b = appendNumbers(comma(b, i), []int64{at / n, at % n, r.values[i]})
	}
	return append(b, `]}`...), nil
}

func comma(b []byte, i int) []byte {
	if i > 0 {
		b = append(b, ',')
	}
	return b
}

func appendNumbers(b []byte, v []int64) []byte {
	b = append(b, '[')
	for i, x := range v {
		b = strconv.AppendInt(comma(b, i), x, 10)
	}
	return append(b, ']')
}

// ParseRelease reads a stored release. It accepts only the bytes that
// MarshalJSON wrote.
func ParseRelease(b []byte) (*Release, error) {
	r, err := parseRelease(b)
	if err != nil {
		return nil, fmt.Errorf("%w: read it from the ledger again", err)
	}
	if again, err := r.encode(); err != nil || !bytes.Equal(again, b) {
		return nil, errors.New("parse release: not in canonical form: read it from the ledger again")
	}
	return r, nil
}

func parseRelease(b []byte) (*Release, error) {
	var w wireRelease
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&w); err != nil {
		return nil, errors.New("parse release: not the JSON of a release")
	}
	bad := func(what string) (*Release, error) {
		return nil, fmt.Errorf("parse release: %s", what)
	}
	r := &Release{
		label: w.Label, stores: w.Stores, partitions: w.Partitions, inventory: w.Inventory,
		raw: bytes.Clone(b),
	}
	n := int64(len(r.partitions))
	switch {
	case w.Format != releaseFormat:
		return bad("not of format " + releaseFormat)
	case len(r.inventory) != len(r.stores):
		return bad("one inventory a store is needed, null where there is none")
	case slices.ContainsFunc(r.inventory, func(v []int64) bool { return v != nil && int64(len(v)) != n }):
		return bad("an inventory does not have one number a partition")
	case w.Label.Bins != 0 && dp.Occupancy{Bins: w.Label.Bins}.Validate() != nil:
		return bad("its number of bins is none of a sketch")
	case (w.Values == nil) == (w.Cells == nil):
		return bad("it must have either values or cells")
	}
	if w.Values != nil {
		if len(w.Values) != len(r.stores) {
			return bad("values does not have one row a store")
		}
		for _, row := range w.Values {
			if int64(len(row)) != n {
				return bad("values does not have one number a partition")
			}
			r.values = append(r.values, row...)
		}
		return r, nil
	}
	r.cells = []int64{}
	for _, c := range w.Cells {
		if c[0] < 0 || c[0] >= int64(len(r.stores)) || c[1] < 0 || c[1] >= n {
			return bad("a cell names no store or no partition")
		}
		r.cells = append(r.cells, c[0]*n+c[1])
		r.values = append(r.values, c[2])
	}
	return r, nil
}
