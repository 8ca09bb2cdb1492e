package federated

import (
	"iter"
	"time"
)

// NodeID names a node: a store. 1 to 64 printable ASCII characters without
// spaces, commas and the sign *, which stands for the whole chain.
type NodeID string

// A Record is one row of members' data at a node. What it means depends on the
// NodeConfig field it comes from: a shopping list, a sale or a membership.
//
// A source may reuse Stores and Lines for the next record: copy what is kept.
type Record struct {
	// ID names the list or the sale; all nodes that hold a list know it by the
	// same ID. Records of one ID at one node belong together. Not used in a
	// membership.
	ID string
	// Member is the member's id as the store knows it; empty in an anonymous
	// sale. It is pseudonymized before anything else.
	Member string
	// Stores: of a list its preferences in the order written; of a membership
	// the home stores in the order of registration; of a sale the one store
	// where it was made, or nothing where the node's own is meant. A sale that
	// names several counts nowhere.
	Stores []NodeID
	// Segment is the member's segment.
	Segment string
	// Time is when a sale was made or a list written; a record without a time
	// belongs to every window.
	Time time.Time
	// Lines are the items of a list or a sale.
	Lines []Line
}

// A Line is one item of a list or a sale.
type Line struct {
	Item     string
	Quantity int64 // pieces
	Spend    int64 // cents; 0 in a list
}

// Stock is how much of one item a store has.
type Stock struct {
	Item     string
	Quantity int64 // pieces
}

// Records is a restartable sequence of records: ranging again starts again and
// yields the same.
//
// An error means that the sequence as a whole cannot be read, such as a disk
// that fails, and the node then answers nothing, which everybody sees. So never
// yield one because of what a record says: skip a bad record and tell the
// store's own operator, as package source does.
type Records = iter.Seq2[Record, error]
