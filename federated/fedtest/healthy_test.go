package fedtest_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/larder-dp/larder/dp"
	"github.com/larder-dp/larder/dp/dptest"
	"github.com/larder-dp/larder/dp/ledger"
	"github.com/larder-dp/larder/federated"
	"github.com/larder-dp/larder/federated/fedtest"
	"github.com/larder-dp/larder/pseudonym"
)

// Larder as it is passes every check.
func TestLarder(t *testing.T) {
	var c fedtest.Config
	if testing.Short() {
		c.Runs = 4
	}
	fedtest.Run(t, c)
}

// The sweep of a whole round over ledgers in files: of the coordinator, and of
// every node its own. And nothing secret is in them.
func TestFileLedgers(t *testing.T) {
	if testing.Short() {
		return // some hundred fsyncs
	}
	kit, _ := fileLedgers(t)
	fedtest.Crashes(t, fedtest.Config{Ledger: kit, Runs: 1})
	kit, files := fileLedgers(t)
	fedtest.NoLeaks(t, fedtest.Config{Ledger: kit, Files: files, Runs: 1})
}

// fileLedgers keep budgets in files, which a crash leaves as they are.
func fileLedgers(t testing.TB) (dptest.LedgerKit, []fs.FS) {
	dir := t.TempDir()
	paths, next := map[dp.Ledger]string{}, 0
	open := func(path string, l *ledger.File, err error) (dp.Ledger, error) {
		if err != nil {
			return nil, err
		}
		t.Cleanup(func() { _ = l.Close() })
		paths[l] = path
		return l, nil
	}
	fresh := func() string { next++; return filepath.Join(dir, fmt.Sprintf("ledger-%04d", next)) }
	return dptest.LedgerKit{
		New: func(b dp.Budget) (dp.Ledger, error) {
			path := fresh()
			l, err := ledger.Create(path, ledger.Config{Budget: b})
			return open(path, l, err)
		},
		Reopen: func(before dp.Ledger) (dp.Ledger, error) {
			path := fresh()
			for _, suffix := range []string{"", ".head"} { // at another path because the first is locked
				b, err := os.ReadFile(paths[before] + suffix)
				if err != nil {
					return nil, err
				}
				if err := os.WriteFile(path+suffix, b, 0o600); err != nil {
					return nil, err
				}
			}
			l, err := ledger.Open(path, ledger.Config{})
			return open(path, l, err)
		},
	}, []fs.FS{os.DirFS(dir)}
}

// A team's own parts: a custom query, records that come from JSON, pseudonyms
// under a key.
func ourParts(t testing.TB) fedtest.Config {
	var mu sync.Mutex
	var keys pseudonym.Keys
	made := map[string]bool{} // the epochs that have a key
	return fedtest.Config{
		Questions: []fedtest.Template{{
			New: func(q federated.Question) (federated.Query, error) {
				return federated.Custom("lists_with", 1, map[string]string{"item": "milk"}, q)
			},
			From: federated.Lists, Unit: federated.UnitMember,
		}},
		Functions: []federated.Function{{
			Name: "lists_with", Version: 1, From: []federated.Kind{federated.Lists}, Prepare: listsWith,
		}},
		Items: []string{"bread", "milk", "rice"},
		Source: func(_ federated.NodeID, _ federated.Kind, records []federated.Record) (federated.Records, error) {
			return fromJSON(records)
		},
		Pseudonym: func(epoch string) (func(string) ([16]byte, error), error) {
			mu.Lock()
			defer mu.Unlock()
			var err error
			if !made[epoch] {
				keys, err = keys.Create("demand", epoch)
				made[epoch] = true
			}
			return keys.Scope("demand", epoch), err
		},
		Runs: 3,
	}
}

// listsWith counts a list under every item that it names beside the one of its
// parameters.
func listsWith(params json.RawMessage) (federated.Contribute, error) {
	var p struct{ Item string }
	if err := json.Unmarshal(params, &p); err != nil || p.Item == "" {
		return nil, errors.New("want {\"item\": …}")
	}
	return func(r *federated.Record, emit func(string, int64)) {
		for _, l := range r.Lines {
			if l.Item == p.Item {
				for _, other := range r.Lines {
					emit(other.Item, 1)
				}
				return
			}
		}
	}, nil
}

// fromJSON serves records from a file, as it were.
func fromJSON(records []federated.Record) (federated.Records, error) {
	file, err := json.Marshal(records)
	return func(yield func(federated.Record, error) bool) {
		dec := json.NewDecoder(bytes.NewReader(file))
		if _, err := dec.Token(); err != nil {
			yield(federated.Record{}, errors.New("read records: not an array"))
			return
		}
		for dec.More() {
			var r federated.Record
			if err := dec.Decode(&r); err != nil {
				yield(federated.Record{}, errors.New("read records: not a record"))
				return
			}
			if !yield(r, nil) {
				return
			}
		}
	}, err
}

func TestOurParts(t *testing.T) {
	c := ourParts(t)
	if testing.Short() {
		c.Runs = 2
	}
	fedtest.Run(t, c)
	records, err := fromJSON([]federated.Record{{ID: "list-1"}, {ID: "list-2"}})
	if err != nil {
		t.Fatal(err)
	}
	fedtest.TestSource(t, records)
}
