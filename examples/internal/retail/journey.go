package retail

import (
	"context"
	"errors"
	"fmt"

	"github.com/larder-dp/larder/federated"
	"github.com/larder-dp/larder/federated/source"
)

// loadJourney reads a folder of FormatCompleteJourney.
func (l *loader) loadJourney(ctx context.Context) (*World, error) {
	table, err := l.find("products.csv", "products.csv.gz")
	if err != nil {
		return nil, err
	}
	rows, err := l.find("transactions*.csv", "transactions*.csv.gz")
	if err != nil {
		return nil, err
	}
	w := &World{
		Unit: federated.UnitMemberAtNode, Homes: 1,
		HasMembers: true, MembersFrom: federated.Sales, RosterFromRecords: true,
	}
	if w.Epoch, err = l.epoch(); err != nil {
		return nil, err
	}
	for _, name := range []string{table, rows} {
		if err := l.expect(name); err != nil {
			return nil, err
		}
	}
	catalog, err := l.products(l.file(ctx, table))
	if err != nil {
		return nil, fmt.Errorf("read the catalog from %s: %w", table, err)
	}
	w.Items = catalog.items
	l.book = newBook(catalog.items)
	sales, err := source.Transactions(l.file(ctx, rows), l.options(catalog.item))
	if err != nil {
		return nil, err
	}
	return w, l.enterSales(sales)
}

// products reads the catalog. "(none)" is a category like the others.
func (l *loader) products(f source.File) (*partitions, error) {
	all, err := source.Products(f, l.options(nil))
	if err != nil {
		return nil, err
	}
	out := newPartitions()
	for p, err := range all {
		if err != nil {
			return nil, err
		}
		item := Item{p.ID, p.ID, p.Category}
		switch l.o.Level {
		case LevelCategory:
			item = Item{p.Category, p.Category, p.Category}
		case LevelDepartment:
			item = Item{p.Department, p.Department, p.Department}
		}
		out.add(p.ID, item)
	}
	if len(out.items) == 0 {
		return nil, errors.New("there are no products in it")
	}
	return out, nil
}
