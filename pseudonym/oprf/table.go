package oprf

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/larder-dp/larder/pseudonym"
)

// ErrUnknown says that a table does not hold a member: Fill has not met her id.
var ErrUnknown = errors.New("member is not in the table: Fill it with all of the store's ids")

// trial is the id that a caller of a Table's Pseudonym may try, to see that it works.
const trial = "0"

// A Table holds the pseudonyms of a store's own members in one oblivious scope, and is
// how a federated.NodeConfig gets them. It links ids to pseudonyms, so it stays at the
// store, as the ids do. Get one from NewTable or ParseTable. It is safe for concurrent
// use: a node may ask it while Fill adds to it.
type Table struct {
	redacted
	// A function, so that reflection cannot look into it.
	contents func() *contents
}

type contents struct {
	client *Client

	mu         sync.RWMutex
	pseudonyms map[string][16]byte // by canonical id
}

// NewTable returns an empty table of the client's scope.
func NewTable(c *Client) *Table {
	t := &contents{client: c, pseudonyms: map[string][16]byte{}}
	return &Table{contents: func() *contents { return t }}
}

var errNoTable = errors.New("there is no table: make one with NewTable or ParseTable")

// Fill asks the key server for the pseudonyms of all members that the table lacks, each
// of them once, in batches of MaxBatch and one at a time. Ask carries a request to the
// key server and its response back; how, and how often it tries, is the caller's.
//
// Members are ids as the records have them: in any order, often the same one, and
// malformed ones are left out, which Pseudonym refuses. The sequence's error ends Fill.
//
// On an error, of ask, of the proof or of members, the table keeps what it was given
// before, so that Fill can be called again and asks for the rest. After all members it
// asks for the id "0", whether it is one or not: federated.NewNode tries that one, and so
// refuses a table whose first Fill did not come to its end.
func (t *Table) Fill(ctx context.Context, members iter.Seq2[string, error], ask func(ctx context.Context, request []byte) (response []byte, err error)) error {
	if t.contents == nil {
		return fmt.Errorf("fill table: %w", errNoTable)
	}
	c := t.contents()
	lacking := make([]string, 0, MaxBatch)
	begun := map[string]bool{}
	add := func(id string) error {
		if _, known := c.find(id); known || begun[id] {
			return nil
		}
		id = strings.Clone(id) // a source's string may be part of a long line
		lacking = append(lacking, id)
		begun[id] = true
		if len(lacking) < MaxBatch {
			return nil
		}
		err := c.ask(ctx, lacking, ask)
		lacking = lacking[:0]
		clear(begun)
		return err
	}
	for member, err := range members {
		if err != nil {
			return fmt.Errorf("fill table: read members: %w", err)
		}
		id, err := pseudonym.Canonical(member)
		if err != nil {
			continue
		}
		if err := add(id); err != nil {
			return fmt.Errorf("fill table: %w", err)
		}
	}
	err := add(trial)
	if err == nil && len(lacking) > 0 {
		err = c.ask(ctx, lacking, ask)
	}
	if err != nil {
		return fmt.Errorf("fill table: %w", err)
	}
	return nil
}

// ask asks for one batch of canonical ids and keeps the answers.
func (c *contents) ask(ctx context.Context, ids []string, ask func(context.Context, []byte) ([]byte, error)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	batch, request, err := c.client.Blind(ids)
	if err != nil {
		return err
	}
	response, err := ask(ctx, request)
	if err != nil {
		return err
	}
	pseudonyms, err := batch.Finalize(response)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, id := range ids {
		c.pseudonyms[id] = pseudonyms[i]
	}
	return nil
}

func (c *contents) find(id string) (p [16]byte, known bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	p, known = c.pseudonyms[id]
	return p, known
}

// Pseudonym returns a member's pseudonym. It is what federated.NodeConfig.Pseudonym
// wants. Of an id that breaks the rules of pseudonym.Canonical the error is a
// pseudonym.MalformedError, and of one that Fill has not met it matches ErrUnknown; the
// pseudonym is then zero, and a node counts the record nowhere.
func (t *Table) Pseudonym(member string) ([16]byte, error) {
	if t.contents == nil {
		return [16]byte{}, fmt.Errorf("find pseudonym: %w", errNoTable)
	}
	id, err := pseudonym.Canonical(member)
	if err != nil {
		return [16]byte{}, err
	}
	p, known := t.contents().find(id)
	if !known {
		return [16]byte{}, ErrUnknown
	}
	return p, nil
}

// Export returns the table in the format of the package doc, for ParseTable: so that a
// store that starts anew need not ask, and be counted, again. It has every id in
// cleartext beside its pseudonym: keep it as the ids are kept, at the store, and delete
// it with the last records of the epoch.
func (t *Table) Export() ([]byte, error) {
	if t.contents == nil {
		return nil, fmt.Errorf("export table: %w", errNoTable)
	}
	c := t.contents()
	c.mu.RLock()
	defer c.mu.RUnlock()
	out := c.client.tableHead()
	for _, id := range slices.Sorted(maps.Keys(c.pseudonyms)) {
		p := c.pseudonyms[id]
		out = append(out, p[:]...)
		out = binary.BigEndian.AppendUint16(out, uint16(len(id))) // a canonical id is 256 bytes at most
		out = append(out, id...)
	}
	sum := sha256.Sum256(out)
	return append(out, sum[:]...), nil
}

// tableHead is what the table of a scope and its public key begins with.
func (c *Client) tableHead() []byte {
	return append(append([]byte{}, c.scope...), c.pinned[:]...)
}

var (
	errNotTable   = errors.New("parse table: not what Export wrote, cut short or changed: Fill a new one")
	errOtherTable = errors.New("parse table: it is of another scope, or of another public key than the roster's: Fill a new one")
)

// ParseTable reads what Export wrote of a table with the same scope and public key as
// the client's. Its checksum finds accidents; who can write the file can write
// pseudonyms. The error never quotes the input.
func ParseTable(c *Client, exported []byte) (*Table, error) {
	at := len(exported) - sha256.Size
	if at < 0 || sha256.Sum256(exported[:at]) != [sha256.Size]byte(exported[at:]) {
		return nil, errNotTable
	}
	rest, ok := bytes.CutPrefix(exported[:at], c.tableHead())
	if !ok {
		return nil, errOtherTable
	}
	t := NewTable(c)
	pseudonyms := t.contents().pseudonyms
	for before := ""; len(rest) > 0; {
		if len(rest) < 18 {
			return nil, errNotTable
		}
		p := [16]byte(rest)
		id, after, ok := cutName(rest[16:])
		canonical, err := pseudonym.Canonical(id)
		if !ok || err != nil || canonical != id || id <= before { // in order, so none twice
			return nil, errNotTable
		}
		pseudonyms[id] = p
		before, rest = id, after
	}
	return t, nil
}
