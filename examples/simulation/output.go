package main

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/larder-dp/larder/examples/internal/terminal"
	"github.com/larder-dp/larder/federated"
	"github.com/larder-dp/larder/federated/source"
)

// doNotShare stamps everything in simulation-only.
const doNotShare = "DO NOT SHARE: this is the truth without noise. It protects nobody."

// ours matches what the simulation writes, so that an older result is replaced
// and nothing else is ever deleted.
var ours = regexp.MustCompile(`^(release\.csv|members\.csv|release\.json|report\.html|simulation-only/evaluation\.txt|nodes/DO-NOT-SHARE\.txt|nodes/([^/]+/)?exceptions\.csv)$`)

// checkOut refuses a folder with files of somebody else.
func checkOut(dir string) error {
	if info, err := os.Lstat(dir); err == nil && !info.IsDir() {
		kind := "a file: give a folder"
		if info.Mode()&fs.ModeSymlink != 0 {
			kind = "a link: give the folder itself"
		}
		return fmt.Errorf("-out %s is %s (%w)", dir, kind, errFlags)
	}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err == nil && (!d.Type().IsRegular() || !ours.MatchString(filepath.ToSlash(rel))) {
			err = fmt.Errorf("-out %s holds %q, which the simulation did not write: choose another folder (%w)", dir, rel, errFlags)
		}
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// write puts all files into a new folder beside dir and then in its place, so
// that dir holds one run's files or another's, never parts of two.
func (c *chain) write(dir string, truth *evaluation) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return fmt.Errorf("write -out: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return fmt.Errorf("write -out: %w", err)
	}
	next, err := os.MkdirTemp(filepath.Dir(dir), "."+filepath.Base(dir)+"-*")
	if err != nil {
		return fmt.Errorf("write -out: %w", err)
	}
	defer os.RemoveAll(next)
	if err := errors.Join(os.Chmod(next, 0o755), c.writeFiles(next, truth)); err != nil {
		return fmt.Errorf("write -out: %w", err)
	}
	if err := checkOut(dir); err != nil { // again: this run may have taken long
		return err
	}
	old := next + "-old"
	if former, err := os.ReadDir(dir); err == nil {
		c.replaced = len(former) > 0
	}
	if err := os.Rename(dir, old); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("write -out: %w", err)
	}
	if err := os.Rename(next, dir); err != nil {
		return fmt.Errorf("write -out: %w", errors.Join(err, os.Rename(old, dir)))
	}
	if err := os.RemoveAll(old); err != nil {
		return fmt.Errorf("write -out: %w", err)
	}
	return nil
}

func (c *chain) writeFiles(dir string, truth *evaluation) error {
	page, err := c.report()
	if err != nil {
		return err
	}
	document, err := c.releaseJSON()
	if err != nil {
		return err
	}
	files := map[string][]byte{
		"release.csv": c.releaseCSV(), "members.csv": c.membersCSV(),
		"release.json": document, "report.html": page,
	}
	for name, b := range files {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			return err
		}
	}
	for _, s := range c.world.Stores {
		if err := writeExceptions(filepath.Join(dir, "nodes", folder(s.ID)), s.Exceptions); err != nil {
			return err
		}
	}
	notice := "DO NOT SHARE. What is in these folders are facts about single records: each is for its own store.\n"
	if err := os.WriteFile(filepath.Join(dir, "nodes", "DO-NOT-SHARE.txt"), []byte(notice), 0o600); err != nil {
		return err
	}
	if len(c.world.Unassigned) > 0 {
		if err := writeExceptions(filepath.Join(dir, "nodes"), c.world.Unassigned); err != nil {
			return err
		}
	}
	if truth == nil {
		return nil
	}
	only := filepath.Join(dir, "simulation-only")
	if err := os.Mkdir(only, 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(only, "evaluation.txt"), truth.text(c), 0o600)
}

// folder is a node's id as the name of a folder: an id may have slashes, or be
// made of dots.
func folder(id federated.NodeID) string {
	s := url.PathEscape(string(id))
	if strings.Trim(s, ".") == "" {
		s = strings.ReplaceAll(s, ".", "%2E")
	}
	return s
}

// writeExceptions writes what is for one store's operator alone.
func writeExceptions(dir string, exceptions []source.Exception) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	var b bytes.Buffer
	w := source.NewExceptionWriter(&b)
	for _, e := range exceptions {
		w.Write(e)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "exceptions.csv"), b.Bytes(), 0o600)
}

// releaseCSV is the demand release, a row a cell, and then the chain totals
// under the store "*". The error columns are of net_demand where there is one,
// else of demand.
func (c *chain) releaseCSV() []byte {
	totals := c.demand.release.Totals()
	if c.totals != nil {
		totals = c.totals.release.Cells()
	}
	return writeCSV("store_id,item_id,demand,inventory,net_demand,stddev,low,high", func(cell federated.Cell) []string {
		row := []string{string(cell.Store), cell.Partition, whole(cell.Noised), "", ""}
		if cell.HasInventory {
			row[3], row[4] = whole(cell.Inventory), whole(cell.Value)
		}
		return append(row, errorBar(cell)...)
	}, c.demand.release.Cells(), totals)
}

// membersCSV has no chain totals: a member with two home stores would count
// twice in them.
func (c *chain) membersCSV() []byte {
	cells := func(func(federated.Cell) bool) {}
	if c.members != nil {
		cells = c.members.release.Cells()
	}
	return writeCSV("store_id,segment,members,stddev,low,high", func(cell federated.Cell) []string {
		return append([]string{string(cell.Store), cell.Partition, whole(cell.Value)}, errorBar(cell)...)
	}, cells)
}

func writeCSV(header string, row func(federated.Cell) []string, parts ...iter.Seq[federated.Cell]) []byte {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	_ = w.Write(strings.Split(header, ",")) // a bytes.Buffer takes everything
	for _, cells := range parts {
		for cell := range cells {
			_ = w.Write(row(cell))
		}
	}
	w.Flush()
	return b.Bytes()
}

func errorBar(c federated.Cell) []string {
	return []string{strconv.FormatFloat(c.StdDev, 'g', 6, 64), whole(c.Low), whole(c.High)}
}

func whole(x int64) string { return strconv.FormatInt(x, 10) }

// releaseJSON is all releases as they were stored, each with its label.
func (c *chain) releaseJSON() ([]byte, error) {
	b := []byte(`{"releases":[`)
	for i, a := range c.asks() {
		raw, err := a.release.MarshalJSON()
		if err != nil {
			return nil, err
		}
		if i > 0 {
			b = append(b, ",\n"...)
		}
		b = append(b, raw...)
	}
	return append(b, "]}\n"...), nil
}

// text is an evaluation as a file.
func (e *evaluation) text(c *chain) []byte {
	var b bytes.Buffer
	p := terminal.NewPrinter(&b)
	p.Line(doNotShare)
	p.Title("How far the answer is from the truth")
	e.print(p, c)
	_ = p.Flush() // a bytes.Buffer takes everything
	return b.Bytes()
}
