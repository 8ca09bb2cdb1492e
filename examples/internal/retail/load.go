package retail

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/larder-dp/larder/federated"
	"github.com/larder-dp/larder/federated/source"
)

// The formats and levels that Load knows.
const (
	FormatLists           = "lists"
	FormatCompleteJourney = "completejourney"

	LevelProduct    = "product"
	LevelCategory   = "category"
	LevelDepartment = "department"
)

// LoadOptions say how a folder is read.
type LoadOptions struct {
	// Format is FormatLists or FormatCompleteJourney. Required.
	Format string
	// Level is what an item becomes: LevelProduct (empty means it), LevelCategory
	// or, for the Complete Journey, LevelDepartment.
	Level string
	// Demand is the kind of records that demand is read from: federated.Lists or
	// federated.Sales. Empty means what the format is for.
	Demand federated.Kind
	// Epoch names the dataset epoch; empty means a name made from the folder's.
	Epoch string
	// Progress, if not nil, is told how many bytes of all have been read; in the
	// end, all of them.
	Progress func(done, total int64)
}

// allMembers is the one segment of data that know none.
const allMembers = "all"

// Load reads a folder into a world, each file once and an inventory once more,
// for its catalog. The records are then held in memory. The epoch is named after
// the folder.
//
// FormatLists: inventory.json, which is also the catalog and the roster, with
// lists.json where demand is from lists and one sales*.json where it is from
// sales. A record that names no store of the inventory is an exception.
//
// FormatCompleteJourney: one transactions*.csv or .csv.gz and products.csv or
// .csv.gz, which is the catalog. There are no lists and no inventory. The
// stores are those that any row names, good or bad.
//
// A deployment fixes its roster before the data, as it is published without
// noise. The Complete Journey comes without one, so that there it is taken from
// the records (World.RosterFromRecords). That is for trying things out on data
// that are public already.
//
// What cannot be read goes to the exceptions and not to the error.
func Load(ctx context.Context, dir string, o LoadOptions) (*World, error) {
	l := &loader{dir: dir, o: o}
	w, err := l.load(ctx)
	if err != nil {
		return nil, fmt.Errorf("load data: %w", err)
	}
	return w, nil
}

// A loader is one call of Load.
type loader struct {
	dir, sales  string
	o           LoadOptions
	names       []string // files of the folder
	done, total int64    // bytes
	book        *book
	waiting     []source.Exception // of lines whose record is still to come
	unassigned  []source.Exception
}

func (l *loader) load(ctx context.Context) (*World, error) {
	read := l.loadLists
	levels, kinds := []string{LevelProduct, LevelCategory}, []federated.Kind{federated.Lists, federated.Sales}
	switch l.o.Format {
	case FormatLists:
	case FormatCompleteJourney:
		read = l.loadJourney
		levels, kinds = append(levels, LevelDepartment), kinds[1:]
	default:
		return nil, fmt.Errorf("check options: Format must be %s or %s", FormatLists, FormatCompleteJourney)
	}
	if l.o.Level == "" {
		l.o.Level = LevelProduct
	}
	if l.o.Demand == "" {
		l.o.Demand = kinds[0]
	}
	if !slices.Contains(levels, l.o.Level) {
		return nil, fmt.Errorf("check options: Level must be one of %s for format %s", strings.Join(levels, ", "), l.o.Format)
	}
	if !slices.Contains(kinds, l.o.Demand) {
		return nil, fmt.Errorf("check options: Demand must be one of %v for format %s", kinds, l.o.Format)
	}
	entries, err := os.ReadDir(l.dir)
	if err != nil {
		return nil, fmt.Errorf("open folder: %w", err)
	}
	for _, e := range entries {
		if !e.IsDir() {
			l.names = append(l.names, e.Name())
		}
	}
	w, err := read(ctx)
	if err != nil {
		return nil, err
	}
	w.Segments = []string{allMembers}
	w.Stores = l.book.close(nil)
	w.Unassigned = l.unassigned
	if l.o.Progress != nil {
		l.o.Progress(l.total, l.total)
	}
	return w, nil
}

// find returns the one file of the folder that fits a pattern.
func (l *loader) find(patterns ...string) (string, error) {
	var found []string
	for _, name := range l.names {
		if slices.ContainsFunc(patterns, func(p string) bool { ok, _ := path.Match(p, name); return ok }) {
			found = append(found, name)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return "", fmt.Errorf("no file %s in %s: %w", strings.Join(patterns, " or "), l.dir, fs.ErrNotExist)
	default:
		return "", fmt.Errorf("%s in %s fit %s: leave one of them", strings.Join(found, " and "), l.dir, strings.Join(patterns, " or "))
	}
}

// expect adds a file to what there is to read.
func (l *loader) expect(name string) error {
	info, err := os.Stat(filepath.Join(l.dir, name))
	if err != nil {
		return err
	}
	l.total += info.Size()
	return nil
}

// epoch names the dataset epoch after where the data are. The name is published
// un-noised, so it must not depend on a record: no digest of the files would
// do. All levels and kinds of demand share the epoch, and so one budget, as they
// are about the same people.
func (l *loader) epoch() (string, error) {
	if l.o.Epoch != "" {
		return l.o.Epoch, nil
	}
	where, err := filepath.Abs(l.dir)
	if err != nil {
		return "", fmt.Errorf("name epoch: %w", err)
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "larder retail data 2: %s %s", l.o.Format, where))
	return "data-" + hex.EncodeToString(sum[:8]), nil
}

// file is a file of the folder as a source.
func (l *loader) file(ctx context.Context, name string) source.File {
	return source.File{Name: name, Open: func() (io.ReadCloser, error) { return l.open(ctx, name) }}
}

// open opens a file so that its bytes are counted and ctx ends it.
func (l *loader) open(ctx context.Context, name string) (io.ReadCloser, error) {
	f, err := os.Open(filepath.Join(l.dir, name))
	if err != nil {
		return nil, err
	}
	return reading{f, func(p []byte) (int, error) {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		n, err := f.Read(p)
		l.done += int64(n)
		if l.o.Progress != nil && n > 0 {
			l.o.Progress(min(l.done, l.total), l.total)
		}
		return n, err
	}}, nil
}

// A reading is not an *os.File, whose WriteTo would pass read by.
type reading struct {
	io.Closer
	read func([]byte) (int, error)
}

func (r reading) Read(p []byte) (int, error) { return r.read(p) }

// options are those of every source.
func (l *loader) options(item func(string) (string, bool)) source.Options {
	o := source.Options{Item: item, ListKey: make([]byte, 32)}
	_, _ = rand.Read(o.ListKey) // never fails
	o.Reject = func(e source.Exception) {
		if strings.HasSuffix(e.Dropped, " line") { // of a record that is still to come
			l.waiting = append(l.waiting, e)
			return
		}
		l.unassigned = append(l.unassigned, e)
	}
	o.RejectAt = func(stores []federated.NodeID, e source.Exception) {
		l.waiting = append(l.waiting, e)
		l.assign(stores)
	}
	return o
}

// assign gives the waiting exceptions to each of the stores that there are.
func (l *loader) assign(stores []federated.NodeID) {
	known := false
	for _, id := range stores {
		if s := l.book.store(id); s != nil {
			s.exceptions = append(s.exceptions, l.waiting...)
			known = true
		}
	}
	if !known {
		l.unassigned = append(l.unassigned, l.waiting...)
	}
	l.waiting = l.waiting[:0]
}

// foreign notes a good record that names no store of the roster. Where in the
// file it stood is not known any more, so the line is 0.
func (l *loader) foreign(file, dropped, field string) {
	l.unassigned = append(l.unassigned, source.Exception{
		File: file, Dropped: dropped,
		Reasons: []source.Reason{{Field: field, Problem: "no store of the inventory"}},
	})
}

// each gives visit all records, after the exceptions of their lines went to
// their stores.
func (l *loader) each(records federated.Records, visit func(federated.Record)) error {
	for r, err := range records {
		if err != nil {
			return err
		}
		if len(l.waiting) > 0 {
			l.assign(r.Stores)
		}
		visit(r)
	}
	return nil
}

// enterSales enters each sale in its store.
func (l *loader) enterSales(sales federated.Records) error {
	return l.each(sales, func(r federated.Record) {
		if s := l.book.store(r.Stores[0]); s != nil {
			s.sales = append(s.sales, l.book.enter(r, allMembers))
			return
		}
		l.foreign(l.sales, "sale", "store_id")
	})
}

// partitions makes a catalog of rows of items; of a partition that comes again
// the first counts.
type partitions struct {
	items []Item
	seen  map[string]struct{}
	of    map[string]string // item → partition
}

func newPartitions() *partitions {
	return &partitions{seen: map[string]struct{}{}, of: map[string]string{}}
}

func (p *partitions) add(id string, to Item) {
	if _, again := p.of[id]; again {
		return
	}
	p.of[id] = to.ID
	if _, again := p.seen[to.ID]; !again {
		p.seen[to.ID] = struct{}{}
		p.items = append(p.items, to)
	}
}

func (p *partitions) item(id string) (string, bool) {
	to, ok := p.of[id]
	return to, ok
}
