package federated

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"slices"
)

// units returns the function that names the privacy unit of a record, or says
// that the record does not count at this node. These are the rules of the
// package doc.
func (n *Node) units(ctx context.Context, q Query) (func(*Record) ([16]byte, bool), error) {
	// A unit that only this node has to know: a keyed hash of its kind and name.
	var buf []byte
	begin := func(kind byte) { buf = append(append(buf[:0], n.c.Secret[:]...), kind) }
	own := func() [16]byte {
		sum := sha256.Sum256(buf)
		return [16]byte(sum[:16])
	}
	member := func(r *Record) ([16]byte, bool) {
		p, err := n.c.Pseudonym(r.Member)
		return p, err == nil
	}
	here := func(r *Record) bool {
		if q.q.From == Sales { // made at one store
			return len(r.Stores) == 0 || len(r.Stores) == 1 && r.Stores[0] == n.c.ID
		}
		return slices.Contains(r.Stores, n.c.ID)
	}
	anonymousSale := func(r *Record) ([16]byte, bool) {
		begin('s')
		buf = append(buf, r.ID...)
		return own(), r.ID != ""
	}

	unit := q.q.Unit
	if unit == UnitMember && !q.needsHomes() {
		unit = UnitMemberAtNode // each node counts whom it knows
	}
	switch unit {
	case UnitList:
		most := int(q.q.Bounds.MaxNodes)
		return func(r *Record) ([16]byte, bool) {
			if r.ID == "" || !amongFirst(r.Stores, n.c.ID, most) {
				return [16]byte{}, false
			}
			// Its preferences belong to what a list is known by: were it sent again
			// with others, one unit would count at more than MaxNodes nodes.
			begin('l')
			for i, s := range r.Stores {
				if !slices.Contains(r.Stores[:i], s) {
					buf = appendName(buf, s)
				}
			}
			buf = append(append(buf, 0), r.ID...)
			return own(), true
		}, nil
	case UnitSale:
		return func(r *Record) ([16]byte, bool) {
			if !here(r) {
				return [16]byte{}, false
			}
			return anonymousSale(r)
		}, nil
	case UnitMemberAtNode:
		return func(r *Record) ([16]byte, bool) {
			switch {
			case !here(r):
				return [16]byte{}, false
			case r.Member != "":
				return member(r)
			case q.q.From == Sales:
				return anonymousSale(r)
			}
			return [16]byte{}, false
		}, nil
	default: // UnitMember
		homes, err := n.homes(ctx, q, member)
		if err != nil {
			return nil, err
		}
		return func(r *Record) ([16]byte, bool) {
			switch {
			case r.Member == "" && q.q.From == Sales && here(r):
				return anonymousSale(r)
			case r.Member == "" || q.q.From != Memberships && !here(r):
				return [16]byte{}, false
			}
			p, ok := member(r)
			return p, ok && homes[p].counted
		}, nil
	}
}

// A home says whether a member counts at this node.
type home struct {
	counted bool
	set     [16]byte // digest of her home stores, to see rows that disagree
}

// homes reads the membership service's rows. A member counts here if this node
// is among the first MaxNodes of her home stores. Rows of one member that
// disagree make her count nowhere: taking either would let the order decide.
func (n *Node) homes(ctx context.Context, q Query, member func(*Record) ([16]byte, bool)) (map[[16]byte]home, error) {
	out, set := map[[16]byte]home{}, []byte(nil)
	err := n.each(ctx, Memberships, func(r *Record) {
		if r.Member == "" {
			return
		}
		p, ok := member(r)
		if !ok {
			return
		}
		set = set[:0]
		for _, s := range r.Stores {
			set = appendName(set, s)
		}
		sum := sha256.Sum256(set)
		h := home{amongFirst(r.Stores, n.c.ID, int(q.q.Bounds.MaxNodes)), [16]byte(sum[:16])}
		if before, ok := out[p]; ok && before.set != h.set {
			h = home{}
		}
		out[p] = h
	})
	return out, err
}

// appendName writes a name so that no two sequences of names look alike, whatever is in them,
// and none begins with 0.
func appendName(b []byte, name NodeID) []byte {
	return append(binary.AppendUvarint(b, uint64(len(name))+1), name...)
}

// amongFirst says whether id is among the first most distinct stores.
func amongFirst(stores []NodeID, id NodeID, most int) bool {
	distinct := 0
	for i, s := range stores {
		if slices.Contains(stores[:i], s) {
			continue
		}
		if distinct++; distinct > most {
			return false
		}
		if s == id {
			return true
		}
	}
	return false
}
