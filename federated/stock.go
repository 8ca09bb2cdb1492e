package federated

import (
	"bytes"
	"encoding/json"
	"errors"
)

// A Function computes what one record contributes to a query. The stock
// queries are Functions too: adding a query is writing one of these and naming
// its key set, not another pipeline.
type Function struct {
	// Name and Version are what a query names it by: 1 to 64 of a–z, 0–9 and _;
	// at least 1.
	Name    string
	Version int
	// From are the kinds of records that it can read.
	From []Kind
	// Prepare checks a query's parameters and returns the contribution
	// function. Its error must depend on the parameters alone.
	Prepare func(params json.RawMessage) (Contribute, error)

	// prepareUnit, in place of Prepare, is for what depends on all records of a unit.
	prepareUnit func(params json.RawMessage) (unitFunction, error)
	// sketch, in place of both, says that units are entered in a bitmap of bins.
	sketch bool
}

// accepts says whether the function knows these parameters.
func (f Function) accepts(params json.RawMessage) bool {
	switch {
	case f.sketch:
		_, err := parseBins(params)
		return err == nil
	case f.prepareUnit != nil:
		u, err := f.prepareUnit(params)
		return err == nil && u.note != nil
	}
	c, err := f.Prepare(params)
	return err == nil && c != nil
}

func stockFunctions() []Function {
	return []Function{netDemand, memberCount, spend, rfmHistograms, rfmScores, distinctMembers}
}

// Contribute calls emit for every amount that the record r adds to a
// partition. It must depend on r alone and must not keep r or emit; if it
// panics, what it emitted for r until then counts. Amounts below 1 and partitions outside the key set are ignored; how often emit may be called,
// and with how much, needs no care: the node bounds the unit's whole
// contribution afterwards.
type Contribute func(r *Record, emit func(partition string, amount int64))

// NetDemand asks for demand minus inventory per store and item, in pieces:
// positive is a shortage. (The program that this grew from prints the opposite
// sign, inventory − demand.) Partitions are the items; demand is what members'
// lists or sales name, by q.From. Noise goes on demand; inventory is the
// store's own and is subtracted in the release as its owner declares it
// (Independent, Counted, Perpetual).
func NetDemand(q Question) (Query, error) {
	if q.From == "" {
		q.From = Lists
	}
	return newQuery(netDemand.Name, netDemand.Version, json.RawMessage("null"), q)
}

// MemberCount asks for the number of distinct members per store and segment.
// Partitions are the segments, and Bounds.LInf must be 1: that is what makes a
// member with many records count once. From Memberships (the default) it counts the
// registered members; from Sales or Lists, those who were seen. A member of two
// stores counts at both, so that chain totals count her twice: DistinctMembers does
// not.
func MemberCount(q Question) (Query, error) {
	if q.From == "" {
		q.From = Memberships
	}
	return newQuery(memberCount.Name, memberCount.Version, json.RawMessage("null"), q)
}

// Spend asks for what members spent, in cents, per store and partition: an item, or the
// section of the shop that a source makes of it. From Sales. Bounds are in cents: LInf is
// the most that one unit's purchases in one section count for.
func Spend(q Question) (Query, error) {
	if q.From == "" {
		q.From = Sales
	}
	return newQuery(spend.Name, spend.Version, json.RawMessage("null"), q)
}

var (
	spend = Function{
		Name: "spend", Version: 1, From: []Kind{Sales},
		Prepare: noParams(func(r *Record, emit func(string, int64)) {
			for i := range r.Lines {
				emit(r.Lines[i].Item, r.Lines[i].Spend)
			}
		}),
	}
	netDemand = Function{
		Name: "net_demand", Version: 1, From: []Kind{Lists, Sales},
		Prepare: noParams(func(r *Record, emit func(string, int64)) {
			for i := range r.Lines {
				emit(r.Lines[i].Item, r.Lines[i].Quantity)
			}
		}),
	}
	memberCount = Function{
		Name: "member_count", Version: 1, From: []Kind{Memberships, Sales, Lists},
		Prepare: noParams(func(r *Record, emit func(string, int64)) {
			if r.Member != "" {
				emit(r.Segment, 1)
			}
		}),
	}
)

func noParams(c Contribute) func(json.RawMessage) (Contribute, error) {
	return func(params json.RawMessage) (Contribute, error) {
		if !bytes.Equal(params, []byte("null")) {
			return nil, errors.New("takes no parameters")
		}
		return c, nil
	}
}
