// Package retail is the retail world that the examples share: the stores of a
// chain with their lists, sales, memberships and inventory, and what is public
// about them.
//
// A world is made by Generate, from a seed, or by Load, from files. A generated
// world is invented from end to end, so its truth may be shown beside a release;
// that of loaded data may not.
//
// The seed fixes the world and nothing else: noise, keys and node secrets are
// no business of this package.
//
// A World is not changed once it is made. Its sequences are restartable and may
// be ranged over by many goroutines at a time.
package retail

import (
	"iter"

	"github.com/larder-dp/larder/federated"
	"github.com/larder-dp/larder/federated/source"
)

// A World is a chain with its records.
type World struct {
	// Epoch names the dataset epoch: what LoadOptions says, or "world-" or "data-"
	// and the first 16 hex digits of a SHA-256, of the generator's parameters or
	// of the folder's name and format. Never of a record.
	Epoch string
	// Stores in the order of their ids.
	Stores []Store
	// Items are the public catalog at the chosen level: the partitions.
	Items []Item
	// Segments are the public segments of members.
	Segments []string
	// Window is the week of a generated world; zero for data, which takes every
	// record.
	Window federated.Window
	// Unit is the strongest privacy unit that these data support.
	Unit federated.Unit
	// Homes is the largest Bounds.MaxNodes that makes sense: more nodes than
	// this no unit has by the rules of the data. It comes from the format or the
	// parameters, not from records.
	Homes int
	// RosterFromRecords says that the stores are those that the records name. A
	// deployment must not do that.
	RosterFromRecords bool
	// Generated says that all of it is invented: the truth may be shown.
	Generated bool
	// HasMembers says that members can be counted, and MembersFrom which records
	// name them.
	HasMembers  bool
	MembersFrom federated.Kind
	// Unassigned is what was rejected and names no store that could be read.
	// Facts about records: for their operator alone.
	Unassigned []source.Exception
}

// A Store is one store with what it keeps. A sequence is nil where the world
// has none of its kind.
type Store struct {
	ID   federated.NodeID
	Name string // for display; the id where the data have no name
	// Lists are those that name this store, Sales those made in it, Memberships
	// those of the members that have it among their homes (empty where there are none: a node
	// that refused for want of them would tell everyone so).
	Lists, Sales, Memberships federated.Records
	// Inventory is the stock by item; an item may come more than once, to be
	// added up.
	Inventory iter.Seq2[federated.Stock, error]
	// Exceptions are what was rejected of this store's records, in the order of
	// the files. Facts about records: for the store's operator alone.
	Exceptions []source.Exception
}

// An Item is one partition of the catalog. At the level of categories or
// departments all three are its name.
type Item struct{ ID, Name, Category string }
