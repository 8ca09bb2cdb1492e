package fedtest

import (
	"crypto/aes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"math/bits"
	"slices"
	"time"

	"github.com/larder-dp/larder/federated"
)

// This file is the rules of package federated's doc, written down plainly: what a store's
// records come to. It shares nothing with that package's code.

// A tally is what all records of one unit add to the partitions.
type tally func(records []federated.Record, emit func(partition string, amount int64))

// tally finds what a query counts: Larder's stock rules, or the function that was
// registered. It is nil for a sketch, which is no sum, and for what nobody knows.
func (c Config) tally(q federated.Query) tally {
	switch q.Name() {
	case "net_demand/1":
		return each(func(r *federated.Record, emit func(string, int64)) {
			for _, l := range r.Lines {
				emit(l.Item, l.Quantity)
			}
		})
	case "spend/1":
		return each(func(r *federated.Record, emit func(string, int64)) {
			for _, l := range r.Lines {
				emit(l.Item, l.Spend)
			}
		})
	case "member_count/1":
		return each(func(r *federated.Record, emit func(string, int64)) {
			if r.Member != "" {
				emit(r.Segment, 1)
			}
		})
	case "rfm_histograms/1", "rfm_scores/1":
		var m federated.RFM
		if json.Unmarshal(paramsOf(q), &m) != nil {
			return nil
		}
		return rfm(m, q.Question().Window)
	}
	for _, f := range c.Functions {
		if fmt.Sprintf("%s/%d", f.Name, f.Version) == q.Name() {
			if of, err := f.Prepare(paramsOf(q)); err == nil {
				return each(of)
			}
		}
	}
	return nil
}

// each adds up what the records contribute one by one. If the function panics, what it emitted
// until then counts.
func each(of federated.Contribute) tally {
	one := func(r *federated.Record, emit func(string, int64)) {
		defer func() { _ = recover() }()
		of(r, emit)
	}
	return func(records []federated.Record, emit func(string, int64)) {
		for i := range records {
			one(&records[i], emit)
		}
	}
}

// rfm places a unit by what it did in the window as a whole: once in each of three
// histograms, or in one triple and one sum of scores.
func rfm(m federated.RFM, w federated.Window) tally {
	return func(records []federated.Record, emit func(string, int64)) {
		var last time.Time
		baskets, days, spent := map[string]bool{}, map[string]bool{}, int64(0)
		for _, r := range records {
			if r.Member == "" || r.ID == "" || r.Time.IsZero() {
				continue
			}
			for _, l := range r.Lines {
				if l.Quantity < 1 || l.Spend < 1 || slices.Contains(m.Except, l.Item) {
					continue
				}
				baskets[r.ID], days[r.Time.Format(time.DateOnly)] = true, true
				if spent = min(spent, maxCell-min(l.Spend, maxCell)) + min(l.Spend, maxCell); r.Time.After(last) {
					last = r.Time
				}
			}
		}
		if len(baskets) == 0 || len(days) < m.MinDays {
			return
		}
		length := int(w.To.Sub(w.From)/(24*time.Hour)) + 1
		at := [3]int{ // to the second
			min(int((w.To.Unix()-last.Unix())/86400)/m.RecencyDays, (length-1)/m.RecencyDays),
			min((len(baskets)-len(days))*m.FrequencySteps/len(days), 9*m.FrequencySteps),
			min(int(math.Log(float64(spent))*float64(m.MonetarySteps)), 20*m.MonetarySteps-1),
		}
		if m.Cuts == nil {
			for i, name := range []string{"recency", "frequency", "monetary"} {
				emit(fmt.Sprintf("%s %04d", name, max(at[i], 0)), 1)
			}
			return
		}
		var score [3]int
		for i, cuts := range m.Cuts {
			for _, c := range cuts {
				if at[i] >= c {
					score[i]++
				}
			}
		}
		r, f, v := 5-score[0], 1+score[1], 1+score[2] // who was here lately scores high
		emit(fmt.Sprintf("%d%d%d", r, f, v), 1)
		names := []string{"[0,6)", "[6,9)", "[9,13)", "[13,15)", "[15,∞)"}
		for i, end := range []int{6, 9, 13, 15, math.MaxInt} {
			if r+f+v < end {
				emit(names[i], 1)
				return
			}
		}
	}
}

// counted are the records of a store that a query counts, by unit.
func (w *world) counted(q federated.Query, store federated.NodeID, pseudonym func(string) ([16]byte, error)) map[string][]federated.Record {
	asked := q.Question()
	home := map[string][]federated.NodeID{}
	for _, r := range w.records(store, federated.Memberships) {
		if before, ok := home[r.Member]; ok && !slices.Equal(before, r.Stores) {
			home[r.Member] = nil
		} else if r.Member != "" {
			home[r.Member] = r.Stores
		}
	}
	if binsOf(q) > 0 && !local(q) { // a union has a member whole, wherever she is
		asked.Unit = federated.UnitMemberAtNode
	}
	units := map[string][]federated.Record{}
	for _, r := range w.records(store, asked.From) {
		t := r.Time
		if !t.IsZero() && (!asked.Window.From.IsZero() && t.Before(asked.Window.From) || !asked.Window.To.IsZero() && !t.Before(asked.Window.To)) {
			continue
		}
		unit, ok := unitOf(r, asked, store, home)
		if r.Member != "" && asked.Unit != federated.UnitSale && asked.Unit != federated.UnitList {
			if _, err := pseudonym(r.Member); err != nil {
				ok = false
			}
		}
		if ok {
			units[unit] = append(units[unit], r)
		}
	}
	return units
}

// truth is what the store's records come to when every unit is within its bounds. It is
// nil where one is not, since what is kept of it then is the node's keyed choice.
func (w *world) truth(q federated.Query, store federated.NodeID, of tally, pseudonym func(string) ([16]byte, error)) []int64 {
	if of == nil {
		return nil
	}
	asked := q.Question()
	out := make([]int64, len(asked.Partitions))
	for _, records := range w.counted(q, store, pseudonym) {
		sums := map[int]int64{}
		of(records, func(p string, amount int64) {
			if at, ok := slices.BinarySearch(asked.Partitions, p); ok && amount > 0 {
				sums[at] = min(sums[at]+min(amount, asked.Bounds.LInf), asked.Bounds.LInf)
			}
		})
		total := int64(0)
		for at, x := range sums {
			out[at] += x
			total += x
		}
		if int64(len(sums)) > asked.Bounds.L0 || total > asked.Bounds.L1 {
			return nil
		}
	}
	return out
}

// bitmap is the store's sketch before any bit is flipped: one bin for every member.
func (w *world) bitmap(q federated.Query, store federated.NodeID, pseudonym func(string) ([16]byte, error)) ([]byte, error) {
	bins := binsOf(q)
	spread, err := aes.NewCipher([]byte("larder sketch 1\x00"))
	if err != nil {
		return nil, fmt.Errorf("spread members over bins: %w", err)
	}
	out := make([]byte, bins/8)
	for _, records := range w.counted(q, store, pseudonym) {
		if records[0].Member == "" {
			continue
		}
		p, err := pseudonym(records[0].Member)
		if err != nil {
			return nil, fmt.Errorf("make pseudonym: %w", err)
		}
		spread.Encrypt(p[:], p[:])
		at, _ := bits.Mul64(binary.BigEndian.Uint64(p[:8]), uint64(bins))
		out[at/8] |= 1 << (at % 8)
	}
	return out, nil
}

// union is the OR of sketches.
func union(rows []report) []byte {
	out := make([]byte, len(rows[0].bitmap))
	for _, r := range rows {
		for i, b := range r.bitmap {
			out[i] |= b
		}
	}
	return out
}

func ones(bitmap []byte) (n int64) {
	for _, b := range bitmap {
		n += int64(bits.OnesCount8(b))
	}
	return n
}

func xor(a, b []byte) []byte {
	out := slices.Clone(a)
	for i := range out {
		out[i] ^= b[i]
	}
	return out
}

func unitOf(r federated.Record, asked federated.Question, store federated.NodeID, home map[string][]federated.NodeID) (string, bool) {
	among := func(stores []federated.NodeID, most int64) bool {
		var distinct []federated.NodeID
		for _, s := range stores {
			if !slices.Contains(distinct, s) {
				distinct = append(distinct, s)
			}
		}
		return slices.Contains(distinct[:min(len(distinct), int(most))], store)
	}
	here := slices.Contains(r.Stores, store)
	if asked.From == federated.Sales {
		here = len(r.Stores) == 0 || len(r.Stores) == 1 && here
	}
	switch {
	case asked.Unit == federated.UnitList:
		return fmt.Sprint(r.ID, r.Stores), r.ID != "" && among(r.Stores, asked.Bounds.MaxNodes)
	case asked.Unit == federated.UnitSale || r.Member == "" && asked.From == federated.Sales:
		return "sale " + r.ID, here && r.ID != ""
	case r.Member == "":
		return "", false
	case asked.Unit == federated.UnitMemberAtNode:
		return "member " + r.Member, here
	case asked.From == federated.Memberships:
		return "member " + r.Member, among(home[r.Member], asked.Bounds.MaxNodes)
	}
	return "member " + r.Member, here && among(home[r.Member], asked.Bounds.MaxNodes)
}
