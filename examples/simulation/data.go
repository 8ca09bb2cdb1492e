package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/larder-dp/larder/federated"
)

// dataFiles are the files that a format reads, each with the names that it may
// have, the plain one first.
func dataFiles(o options) [][]string {
	switch {
	case o.format == formatJourney:
		return [][]string{{"products.csv", "products.csv.gz"}, {"transactions*.csv", "transactions*.csv.gz"}}
	case o.demand == federated.Sales:
		return [][]string{{"inventory.json"}, {"sales*.json"}}
	}
	return [][]string{{"inventory.json"}, {"lists.json"}}
}

// checkData says what is wrong with -data before anything is read.
func checkData(o options) error {
	info, err := os.Stat(o.data)
	var entries []fs.DirEntry
	if err == nil && info.IsDir() {
		entries, err = os.ReadDir(o.data)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("-data %s: no such folder (%w)", o.data, errFlags)
	case err != nil:
		return fmt.Errorf("-data %s: %w (%w)", o.data, cause(err), errFlags)
	case !info.IsDir():
		return fmt.Errorf("-data %s is a file: give a folder (%w)", o.data, errFlags)
	}
	var lacks []string
	for _, names := range dataFiles(o) {
		if !slices.ContainsFunc(entries, func(e fs.DirEntry) bool {
			return !e.IsDir() && slices.ContainsFunc(names, func(p string) bool { ok, _ := path.Match(p, e.Name()); return ok })
		}) {
			lacks = append(lacks, names[0])
		}
	}
	if len(lacks) > 0 {
		return fmt.Errorf("-data %s lacks %s (%w)", o.data, strings.Join(lacks, " and "), errFlags)
	}
	return nil
}

// cause is an error without what the outermost function said about it.
func cause(err error) error {
	if inner := errors.Unwrap(err); inner != nil {
		return inner
	}
	return err
}
