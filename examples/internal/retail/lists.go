package retail

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/larder-dp/larder/federated"
	"github.com/larder-dp/larder/federated/source"
)

const (
	listsFile     = "lists.json"
	inventoryFile = "inventory.json"
	salesPattern  = "sales*.json"
)

const noCategory = "(none)" // as source.Products says it

// loadLists reads a folder of FormatLists.
func (l *loader) loadLists(ctx context.Context) (*World, error) {
	stock, err := l.find(inventoryFile)
	if err != nil {
		return nil, err
	}
	demand := listsFile
	if l.o.Demand == federated.Sales {
		demand = salesPattern
	}
	if demand, err = l.find(demand); err != nil {
		return nil, err
	}
	w := &World{Unit: federated.UnitList, Homes: preferences}
	if l.o.Demand == federated.Sales {
		w.Unit, w.Homes = federated.UnitMemberAtNode, 1
		w.HasMembers, w.MembersFrom = true, federated.Sales
	}
	if w.Epoch, err = l.epoch(); err != nil {
		return nil, err
	}
	for _, name := range []string{stock, stock, demand} {
		if err := l.expect(name); err != nil {
			return nil, err
		}
	}
	catalog, err := l.catalog(ctx, stock)
	if err != nil {
		return nil, fmt.Errorf("read the catalog from %s: %w", stock, err)
	}
	w.Items = catalog.items
	l.book = newBook(catalog.items)
	o := l.options(catalog.item)
	if err := l.enterInventory(l.file(ctx, stock), o); err != nil {
		return nil, err
	}
	// The inventory is the roster: a store that only records name would be
	// published because of them.
	l.book.fixed = true
	if l.o.Demand == federated.Sales {
		l.sales = demand
		sales, err := source.Sales(l.file(ctx, demand), o)
		if err != nil {
			return nil, err
		}
		return w, l.enterSales(sales)
	}
	lists, err := source.Lists(l.file(ctx, demand), o)
	if err != nil {
		return nil, err
	}
	return w, l.enterLists(lists)
}

// catalog reads the items of an inventory. Half a catalog is none, so a file
// that is not in order is an error here.
func (l *loader) catalog(ctx context.Context, name string) (*partitions, error) {
	in, err := l.open(ctx, name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = in.Close() }() // nothing was written
	d := json.NewDecoder(in)
	d.UseNumber()
	wrong := errors.New("not a JSON array of objects with item_id, item and category")
	if t, err := d.Token(); err != nil || t != json.Delim('[') {
		return nil, cmp.Or(ctx.Err(), wrong)
	}
	out := newPartitions()
	for d.More() {
		var row struct {
			ID       any `json:"item_id"`
			Item     any
			Category any
		}
		if err := d.Decode(&row); err != nil {
			return nil, cmp.Or(ctx.Err(), wrong)
		}
		id := text(row.ID)
		if id == "" {
			continue // the source will say so
		}
		item := Item{ID: id, Name: cmp.Or(text(row.Item), id), Category: cmp.Or(text(row.Category), noCategory)}
		if l.o.Level == LevelCategory {
			item = Item{item.Category, item.Category, item.Category}
		}
		out.add(id, item)
	}
	// What follows the last object must be the end of the array, and of the file.
	if _, err := d.Token(); err != nil {
		return nil, cmp.Or(ctx.Err(), wrong)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, cmp.Or(ctx.Err(), wrong)
	}
	if len(out.items) == 0 {
		return nil, errors.New("there are no items in it")
	}
	return out, nil
}

// text is a JSON string, or a number as it is written.
func text(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case json.Number:
		return v.String()
	}
	return ""
}

func (l *loader) enterInventory(f source.File, o source.Options) error {
	stock, err := source.Inventory(f, o)
	if err != nil {
		return err
	}
	for s, err := range stock {
		if err != nil {
			return err
		}
		p := l.book.store(s.Store)
		p.stock = append(p.stock, s.Stock)
	}
	return nil
}

// enterLists enters each list at every store that it names.
func (l *loader) enterLists(lists federated.Records) error {
	return l.each(lists, func(r federated.Record) {
		e := l.book.enter(r, allMembers)
		e.stores = slices.Clone(r.Stores)
		known := false
		for _, id := range e.stores {
			if s := l.book.store(id); s != nil {
				s.lists = append(s.lists, e)
				known = true
			}
		}
		if !known {
			l.foreign(listsFile, "list", "store_location_preferences")
		}
	})
}
