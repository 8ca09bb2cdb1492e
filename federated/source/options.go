package source

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/larder-dp/larder/federated"
)

// Options say how records are read. The same Options may be used for many
// files.
type Options struct {
	// Item maps an item's id to its partition of the catalog (often itself); not
	// ok, or an empty partition, is an unknown item. Nil takes every item as its
	// own partition. It must give the same answer each time, as answers are
	// remembered. Products does not use it.
	Item func(id string) (partition string, ok bool)
	// ListKey makes ids for lists without one: a secret of at least 16 random
	// bytes, the same at all nodes of a chain and unknown to everyone else.
	// Required by Lists and ListsCSV, not used elsewhere.
	ListKey []byte
	// Reject is told of everything that is dropped, once in each pass, from the
	// goroutine that ranges: of the lines of a record in the order of the file,
	// then of the record. It may keep the exception. Required.
	Reject func(Exception)
	// RejectAt, if not nil, is told in place of Reject of each record, stock or row
	// of CSV that is dropped as a whole, with the stores that it names, as far as
	// they can be read: for one file of many stores. It must not keep the slice.
	RejectAt func(stores []federated.NodeID, e Exception)
}

const minListKey = 16 // bytes

// validate reports all that is missing, on one line.
func (o Options) validate(f File, needsKey bool) error {
	if f.Name == "" {
		return errors.New("open source: File.Name is required")
	}
	var missing []string
	if f.Open == nil {
		missing = append(missing, "File.Open is required")
	}
	if o.Reject == nil {
		missing = append(missing, "Options.Reject is required")
	}
	if needsKey && len(o.ListKey) < minListKey {
		missing = append(missing, fmt.Sprintf("Options.ListKey: at least %d random bytes, the same at all stores", minListKey))
	}
	if len(missing) == 0 {
		return nil
	}
	return fmt.Errorf("open source %s: %s", f.Name, strings.Join(missing, "; "))
}

// Bounds of what a pass remembers. Reaching one empties the cache.
const (
	maxItems = 1 << 16
	maxNames = 1 << 16
	maxZones = 1 << 12
)

// A pass is the state of one range over a file that all formats share.
type pass struct {
	file    string
	options Options
	items   map[string]string
	names   map[string]string // interned ids of members and stores
	zones   map[int]*time.Location
	reasons []Reason           // of the record in hand
	at      []federated.NodeID // stores that the record in hand names
	damage  Problem            // the file could not be read to its end
}

func newPass(f File, o Options) *pass {
	return &pass{
		file: f.Name, options: o,
		items: map[string]string{}, names: map[string]string{}, zones: map[int]*time.Location{},
	}
}

// item is the partition of an item, without allocating for an item seen before.
func (p *pass) item(id []byte) (string, bool) {
	if partition, ok := p.items[string(id)]; ok {
		return partition, true
	}
	text := string(id)
	partition, ok := text, true
	if p.options.Item != nil {
		partition, ok = p.options.Item(text)
	}
	if !ok || partition == "" {
		return "", false
	}
	if len(p.items) >= maxItems {
		clear(p.items)
	}
	p.items[text] = partition
	return partition, true
}

// name interns an id.
func (p *pass) name(id []byte) string {
	if s, ok := p.names[string(id)]; ok {
		return s
	}
	if len(p.names) >= maxNames {
		clear(p.names)
	}
	s := string(id)
	p.names[s] = s
	return s
}

func (p *pass) node(id []byte) federated.NodeID { return federated.NodeID(p.name(id)) }

func (p *pass) zone(seconds int) *time.Location {
	if seconds == 0 {
		return time.UTC
	}
	z, ok := p.zones[seconds]
	if !ok {
		if len(p.zones) >= maxZones {
			clear(p.zones)
		}
		z = time.FixedZone("", seconds)
		p.zones[seconds] = z
	}
	return z
}

// fault adds a reason to the record in hand; no problem adds none.
func (p *pass) fault(field string, problem Problem) {
	if problem != "" {
		p.reasons = append(p.reasons, Reason{field, problem})
	}
}

// rejected reports the record in hand if there is a reason to, and begins the
// next.
func (p *pass) rejected(line int, dropped string) bool {
	bad := len(p.reasons) > 0
	switch {
	case bad && p.options.RejectAt != nil:
		p.options.RejectAt(p.at, p.exception(line, dropped, p.reasons))
	case bad:
		p.reject(line, dropped, p.reasons)
	}
	p.reasons, p.at = p.reasons[:0], p.at[:0]
	return bad
}

func (p *pass) reject(line int, dropped string, reasons []Reason) {
	p.options.Reject(p.exception(line, dropped, reasons))
}

func (p *pass) exception(line int, dropped string, reasons []Reason) Exception {
	return Exception{File: p.file, Line: line, Dropped: dropped, Reasons: slices.Clone(reasons)}
}

// namesStore notes a store that the record in hand names, if it can be read.
func (p *pass) namesStore(store []byte, problem Problem) {
	if problem == "" && p.options.RejectAt != nil {
		p.at = append(p.at, p.node(store))
	}
}

// What an exception drops.
const (
	droppedList        = "list"
	droppedListLine    = "list line"
	droppedSale        = "sale"
	droppedSaleLine    = "sale line"
	droppedStock       = "stock"
	droppedTransaction = "transaction"
	droppedProduct     = "product"
	droppedRest        = "rest of file"
)
