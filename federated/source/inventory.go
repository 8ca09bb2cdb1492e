package source

import (
	"iter"

	"github.com/larder-dp/larder/federated"
)

// A StoreStock is how much of one item one store has.
type StoreStock struct {
	Store federated.NodeID
	federated.Stock
}

// Inventory reads inventories: a JSON array as in inventory.json, of one store
// or of many. Stocks of one store and partition that come more than once add
// up; StockOf takes one store out of it. Each range reads the file from its
// beginning.
func Inventory(f File, o Options) (iter.Seq2[StoreStock, error], error) {
	if err := o.validate(f, false); err != nil {
		return nil, err
	}
	return func(yield func(StoreStock, error) bool) {
		p := newPass(f, o)
		err := p.eachElement(f, droppedStock, "is it CSV? use InventoryCSV", func(v *values) bool {
			s := p.readStock(v)
			return p.rejected(v.start, droppedStock) || yield(s, nil)
		})
		if err != nil {
			yield(StoreStock{}, err)
		}
	}, nil
}

// StockOf is the inventory of one store out of that of many, as
// federated.Independent and its like take it. It passes errors on. Each range
// over it is one over all.
func StockOf(store federated.NodeID, all iter.Seq2[StoreStock, error]) iter.Seq2[federated.Stock, error] {
	return func(yield func(federated.Stock, error) bool) {
		for s, err := range all {
			if (err != nil || s.Store == store) && !yield(s.Stock, err) {
				return
			}
		}
	}
}

var stockFields = []string{"store_id", "item_id", "quantity", "item", "category"}

func (p *pass) readStock(v *values) (s StoreStock) {
	var x [5]value
	if !p.record(v, stockFields, x[:], nil) {
		return s
	}
	store, storeProblem := x[0].node()
	item, itemProblem := x[1].id()
	quantity, quantityProblem := x[2].quantity()
	p.fault(stockFields[3], x[3].unread())
	p.fault(stockFields[4], x[4].unread())
	return p.stock(store, storeProblem, item, itemProblem, quantity, quantityProblem)
}

// stock puts a stock together from its fields and what is wrong with them.
func (p *pass) stock(store []byte, storeProblem Problem, item []byte, itemProblem Problem, quantity int64, quantityProblem Problem) (s StoreStock) {
	p.namesStore(store, storeProblem)
	p.fault(stockFields[0], storeProblem)
	if itemProblem == "" {
		var known bool
		if s.Item, known = p.item(item); !known {
			itemProblem = UnknownItem
		}
	}
	p.fault(stockFields[1], itemProblem)
	if quantityProblem == "" && quantity < 0 {
		quantityProblem = Negative
	}
	p.fault(stockFields[2], quantityProblem)
	if len(p.reasons) > 0 {
		return StoreStock{}
	}
	s.Store, s.Quantity = p.node(store), quantity
	return s
}
