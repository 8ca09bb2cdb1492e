package federated

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"sync"
)

// Homes is the membership service of one dataset epoch: which stores are home to which
// member, in the order of registration. UnitMember rests on it: a query counts a member at the
// first Bounds.MaxNodes of her homes and nowhere else, so that all that she does is in at most
// so many reports. That holds if every node has the same row for her, fixed before the window
// begins and made from registrations, never from what she bought.
//
//	h := &federated.Homes{Epoch: "2026-W14", MaxNodes: 2, Pseudonym: keys.Scope("demand", "2026-W14")}
//	err := h.Register(federated.Record{Member: id, Stores: homes, Segment: segment}) // for every member
//	config.Memberships = h.At("S01")                                                // for every node
//	next, err := h.Next("2026-W15", keys.Scope("demand", "2026-W15"))                // and then her move
//
// Register takes what is new until the first At hands a node its rows. From then on the epoch is
// fixed, and a new member, other stores or another segment are refused with *HomesError: they are
// for the book of the next epoch, which Next begins with all that this one has. Whether nodes
// that were given rows still have them is for their owners to see to.
//
// One person under two ids is two members here: she then has two home sets and two privacy units, and
// what is promised to one unit, (ε, δ), is for her (2ε, (1+exp(ε))·δ). No count of that
// kind can be read off the book; match ids by more than their spelling before they are
// registered.
//
// Safe for concurrent use. Do not copy it after first use.
type Homes struct {
	// Epoch names the dataset epoch. Required, 1 to 128 printable ASCII characters.
	Epoch string
	// MaxNodes is the most homes of a member, from 1. A query's Bounds.MaxNodes may be
	// smaller: then her later homes do not count.
	MaxNodes int
	// Pseudonym is that of the nodes (NodeConfig.Pseudonym): two spellings of one id are one
	// member. Required.
	Pseudonym func(member string) ([16]byte, error)

	mu      sync.Mutex
	members map[[16]byte]Record
	fixed   map[NodeID][]Record // set by the first At
}

// Format hides everything but the epoch: the book holds members and their pseudonyms.
func (h *Homes) Format(w fmt.State, _ rune) { io.WriteString(w, "homes of epoch "+h.Epoch) }

// A HomesError says that a registration was refused. It names no member.
type HomesError struct {
	Epoch string
	// Fixed says that the epoch began: register the same in the book of Homes.Next.
	Fixed   bool
	problem string
}

// Error says what to do.
func (e *HomesError) Error() string {
	if e.Fixed {
		return fmt.Sprintf("register member: epoch %s is fixed, as nodes have its rows: register it in the book of the next epoch (Homes.Next)", e.Epoch)
	}
	return "register member: " + e.problem
}

// Register enters a member with her home stores, in that order, and her segment: the fields
// Member, Stores and Segment of r, which it copies. What is already so changes nothing;
// of two registrations before the epoch is fixed the later counts. Errors are *HomesError.
func (h *Homes) Register(r Record) error {
	row, p, problem := h.row(r)
	if problem != "" {
		return &HomesError{Epoch: h.Epoch, problem: problem}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	before, known := h.members[p]
	same := known && before.Segment == row.Segment && slices.Equal(before.Stores, row.Stores)
	switch {
	case same:
	case h.fixed != nil:
		return &HomesError{Epoch: h.Epoch, Fixed: true}
	default:
		if h.members == nil {
			h.members = map[[16]byte]Record{}
		}
		h.members[p] = row
	}
	return nil
}

// row checks a registration and says what is wrong with it, without its contents.
func (h *Homes) row(r Record) (row Record, p [16]byte, problem string) {
	switch {
	case !printable(h.Epoch, 128):
		return row, p, "Homes.Epoch must be 1 to 128 printable ASCII characters"
	case h.MaxNodes < 1:
		return row, p, "Homes.MaxNodes must be at least 1"
	case h.Pseudonym == nil:
		return row, p, "Homes.Pseudonym is missing"
	case r.Member == "":
		return row, p, "the member id is empty"
	case len(r.Stores) < 1 || len(r.Stores) > h.MaxNodes:
		return row, p, fmt.Sprintf("give 1 to %d home stores", h.MaxNodes)
	}
	for i, s := range r.Stores {
		if !s.valid() || slices.Contains(r.Stores[:i], s) {
			return row, p, "a home store is no node id, or stands twice"
		}
	}
	p, err := h.Pseudonym(r.Member)
	if err != nil {
		return row, p, "the member id is malformed"
	}
	return Record{Member: r.Member, Stores: slices.Clone(r.Stores), Segment: r.Segment}, p, ""
}

// Next begins the book of the next epoch with all members of this one, as registered now:
// register there who is new, moved or in another segment. The epoch must have another name,
// and pseudonym is that of the new one.
func (h *Homes) Next(epoch string, pseudonym func(member string) ([16]byte, error)) (*Homes, error) {
	if epoch == h.Epoch {
		return nil, &HomesError{Epoch: h.Epoch, Fixed: true}
	}
	next := &Homes{Epoch: epoch, MaxNodes: h.MaxNodes, Pseudonym: pseudonym}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, r := range h.members {
		if err := next.Register(r); err != nil {
			return nil, err
		}
	}
	return next, nil
}

// Remove strikes a member out, if she is in the book, before the epoch is fixed; else the
// error is *HomesError.
func (h *Homes) Remove(member string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.Pseudonym == nil {
		return &HomesError{Epoch: h.Epoch, problem: "Homes.Pseudonym is missing"}
	}
	p, err := h.Pseudonym(member)
	switch {
	case err != nil:
		return &HomesError{Epoch: h.Epoch, problem: "the member id is malformed"}
	case h.fixed != nil:
		return &HomesError{Epoch: h.Epoch, Fixed: true}
	}
	delete(h.members, p)
	return nil
}

// At fixes the epoch and returns the Memberships rows of a node, in the order of the
// members' ids: of all members that have it among their homes. A node without any has an empty sequence, which
// still says that it knows homes.
func (h *Homes) At(node NodeID) Records {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.fixed == nil {
		h.fixed = map[NodeID][]Record{}
		for _, r := range h.members {
			for _, s := range r.Stores {
				h.fixed[s] = append(h.fixed[s], r)
			}
		}
		for _, rows := range h.fixed {
			slices.SortFunc(rows, func(a, b Record) int { return cmp.Compare(a.Member, b.Member) })
		}
	}
	rows := h.fixed[node]
	return func(yield func(Record, error) bool) {
		for _, r := range rows {
			r.Stores = slices.Clone(r.Stores) // the reader's own
			if !yield(r, nil) {
				return
			}
		}
	}
}
