package retail

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/larder-dp/larder/federated"
)

// Params fix a generated world, byte for byte.
type Params struct {
	Stores  int    // 1 to 1,000
	Members int    // 1 to 10,000,000
	Lists   int    // 0 to 10,000,000
	Sales   int    // 0 to 10,000,000
	Seed    uint64 // any
}

// generation is raised when the same parameters begin to give another world.
const generation = 1

const (
	mostStores  = 1_000
	mostRecords = 10_000_000

	mostHomes   = 3      // home stores of a member
	preferences = 2      // stores that a list names
	fewestLines = 3      // in a basket
	mostLines   = 29     // in a basket
	week        = 7 * 24 // hours
)

var (
	monday = time.Date(2026, time.March, 2, 0, 0, 0, 0, time.UTC)
	// Percent of the members that have one, two, three homes.
	homesShare = []int{30, 50, 20}
	// Relative weights of the quantities 1, 2, 3, 4.
	quantityWeights = []int{30, 30, 20, 10}
)

// Generate invents a world. Of one week, from Monday 2 March 2026:
//
// A member has one to three home stores, in the order of registration; larger
// stores, which come first, are more often home. She belongs to one segment.
//
// A list is written by a member for the first two of her home stores, or her
// only one. The members write in turns: nobody writes a second list before
// everyone has written one. Half of the sales are anonymous, in any store; the
// others are members', in turns, each in one of the member's home stores.
//
// A basket has 3 to 29 lines, all numbers equally likely, of 133 items in 23
// categories, with quantities from 1 to 4; an item may come twice. Prices are
// from 0.50 to 15.00.
//
// The inventory is a plan: it depends on the parameters and not on any record,
// so that a release may tell it. It is planned from what the lists are expected
// to ask for (the sales, in a world without lists); see planStock for which
// items are planned short.
func Generate(p Params) (*World, error) {
	if err := p.validate(); err != nil {
		return nil, fmt.Errorf("generate world: %w", err)
	}
	g := &generator{Params: p, book: newBook(catalog())}
	g.book.lines = make([]line, 0, (p.Lists+p.Sales)*(fewestLines+mostLines)/2*33/32) // a little more than the mean
	g.size = newWheel(storeWeights(p.Stores))
	for i := range p.Stores {
		id := federated.NodeID(fmt.Sprintf("S%0*d", len(fmt.Sprint(max(p.Stores, 10))), i+1))
		g.ids = append(g.ids, id)
		g.book.store(id)
	}
	g.register()
	g.writeLists()
	g.sell()
	g.stockUp()
	w := &World{
		Epoch:  p.epoch(),
		Items:  g.book.items,
		Window: federated.Window{From: monday, To: monday.Add(week * time.Hour)},
		Unit:   federated.UnitMember, Homes: min(mostHomes, p.Stores),
		Generated: true, HasMembers: true, MembersFrom: federated.Memberships,
	}
	for _, s := range segments {
		w.Segments = append(w.Segments, s.name)
	}
	w.Stores = g.book.close(func(id federated.NodeID) string { return storeName(slices.Index(g.ids, id)) })
	return w, nil
}

func (p Params) validate() error {
	var errs []error
	within := func(name string, n, least, most int) {
		if n < least || n > most {
			errs = append(errs, fmt.Errorf("%s must be from %d to %d", name, least, most))
		}
	}
	within("Stores", p.Stores, 1, mostStores)
	within("Members", p.Members, 1, mostRecords)
	within("Lists", p.Lists, 0, mostRecords)
	within("Sales", p.Sales, 0, mostRecords)
	return errors.Join(errs...)
}

func (p Params) epoch() string {
	sum := sha256.Sum256(fmt.Appendf(nil, "larder retail world %d: stores %d, members %d, lists %d, sales %d, seed %d",
		generation, p.Stores, p.Members, p.Lists, p.Sales, p.Seed))
	return "world-" + hex.EncodeToString(sum[:8])
}

// A generator is a world in the making.
type generator struct {
	Params
	book    *book
	ids     []federated.NodeID
	size    wheel // draws a store
	members []member
}

type member struct {
	id, segment string
	homes       []federated.NodeID
}

// random is the stream of one purpose. Streams are independent, so that more
// lists, say, leave the members as they were.
func (g *generator) random(purpose string) *rand.Rand {
	key := sha256.Sum256(fmt.Appendf(nil, "larder retail %d\x00%d\x00%s", generation, g.Seed, purpose))
	return rand.New(rand.NewChaCha8(key))
}

// register makes the members and enters them at each of their homes.
func (g *generator) register() {
	g.book.homes = true
	r := g.random("members")
	var percent []int
	for _, s := range segments {
		percent = append(percent, s.percent)
	}
	segment, homes := newWheel(percent), newWheel(homesShare)
	for i := range g.Members {
		m := member{id: fmt.Sprintf("M%06d", i+1), segment: segments[segment.draw(r)].name}
		for n := min(homes.draw(r)+1, g.Stores); len(m.homes) < n; {
			if id := g.ids[g.size.draw(r)]; !slices.Contains(m.homes, id) {
				m.homes = append(m.homes, id)
			}
		}
		g.members = append(g.members, m)
		for _, id := range m.homes {
			s := g.book.store(id)
			s.memberships = append(s.memberships, entry{member: m.id, segment: m.segment, stores: m.homes})
		}
	}
}

// writeLists enters each list at the stores that it names.
func (g *generator) writeLists() {
	r := g.random("lists")
	next, fill := g.turns(r), g.baskets()
	for i := range g.Lists {
		m := next()
		e := entry{
			id: fmt.Sprintf("L%06d", i+1), member: m.id, segment: m.segment,
			stores: m.homes[:min(preferences, len(m.homes)):min(preferences, len(m.homes))],
			time:   monday.Add(time.Duration(r.IntN(week*60*60)) * time.Second),
		}
		fill(r, &e, false)
		for _, id := range e.stores {
			s := g.book.store(id)
			s.lists = append(s.lists, e)
		}
	}
}

// sell enters the sales. Shops are open from 7 to 22, and fullest in between.
func (g *generator) sell() {
	r := g.random("sales")
	next, fill := g.turns(r), g.baskets()
	const halfDay = 15 * 60 * 60 / 2 // seconds
	for i := range g.Sales {
		e := entry{id: fmt.Sprintf("T%06d", i+1)}
		var at federated.NodeID
		if i%2 == 0 {
			m := next()
			e.member, e.segment, at = m.id, m.segment, m.homes[r.IntN(len(m.homes))]
		} else {
			at = g.ids[g.size.draw(r)]
		}
		day, second := r.IntN(7), 7*60*60+r.IntN(halfDay)+r.IntN(halfDay)
		e.time = monday.AddDate(0, 0, day).Add(time.Duration(second) * time.Second)
		fill(r, &e, true)
		s := g.book.store(at)
		s.sales = append(s.sales, e)
	}
}

// turns returns whose turn it is: all members in a random order, again and
// again.
func (g *generator) turns(r *rand.Rand) func() *member {
	order, i := r.Perm(len(g.members)), 0
	return func() *member {
		m := &g.members[order[i%len(order)]]
		i++
		return m
	}
}

// baskets returns what fills a basket, with prices in a sale.
func (g *generator) baskets() func(r *rand.Rand, e *entry, sale bool) {
	var weights, first []int
	items := 0
	for _, a := range aisles {
		weights = append(weights, a.weight)
		first = append(first, items)
		items += len(a.items)
	}
	category, quantity := newWheel(weights), newWheel(quantityWeights)
	prices, price := make([]int64, items), g.random("prices")
	for i := range prices {
		prices[i] = 50 + 5*price.Int64N(291) // cents
	}
	return func(r *rand.Rand, e *entry, sale bool) {
		e.from = len(g.book.lines)
		for range fewestLines + r.IntN(mostLines-fewestLines+1) {
			c := category.draw(r)
			l := line{
				item:     int32(first[c] + r.IntN(len(aisles[c].items))),
				quantity: int64(quantity.draw(r) + 1),
			}
			if sale {
				l.spend = l.quantity * prices[l.item]
			}
			g.book.lines = append(g.book.lines, l)
		}
		e.to = len(g.book.lines)
	}
}

// A wheel draws a position by weight. It holds the running sums.
type wheel []int

func newWheel(weights []int) wheel {
	w, sum := make(wheel, len(weights)), 0
	for i, x := range weights {
		sum += x
		w[i] = sum
	}
	return w
}

func (w wheel) draw(r *rand.Rand) int {
	i, _ := slices.BinarySearch(w, r.IntN(w[len(w)-1])+1)
	return i
}
