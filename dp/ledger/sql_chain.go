package ledger

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/larder-dp/larder/dp"
)

// A sqlChain is what a process has verified of the ledger in a database. It only
// ever grows, record by record, and everything else is derived from it.
type sqlChain struct {
	config  Config
	whole   bool   // verify the releases, too
	missing []Head // known heads that are not in it yet
	start   [32]byte
	seq     int64
	head    Head
	books   *books
	entries map[dp.Key]*sqlEntry
}

type sqlEntry struct {
	charge dp.Charge
	seq    int64
	head   [32]byte
	// Of the release, whose number released is 0 as long as there is none.
	released, releasedAt int64
	digest               [32]byte
}

// A sqlLink is a record that is to be the next of the chain.
type sqlLink struct {
	record  record
	raw     []byte
	release []byte
	charge  int64 // of a commit: the number of its reservation
	seq     int64
	head    Head // after it
}

// A tip is the one row of larder_ledger.
type tip struct {
	version     int64
	id, policy  []byte
	seq, size   int64
	start, head []byte
}

// A row is one record as the tables have it.
type row struct {
	seq, round, charge, size int64
	epoch                    string // empty in larder_releases
	digest, raw, head        []byte
	release                  []byte
}

func newSQLChain(c Config) *sqlChain {
	return &sqlChain{config: c, missing: slices.Clone(c.Known), entries: map[dp.Key]*sqlEntry{}}
}

// next is r as the next record.
func (c *sqlChain) next(r record, release []byte) sqlLink {
	l := sqlLink{record: r, raw: r.encode(), release: release, seq: c.seq + 1}
	if e := c.entries[r.charge.Key]; r.isCommit && e != nil {
		l.charge = e.seq
	}
	l.head = c.after(l.raw, r.size)
	return l
}

// after is the head with one more record: the same as in a file.
func (c *sqlChain) after(raw []byte, size int64) Head {
	return Head{c.head.Size + frameStart + int64(len(raw)) + size + sha256.Size, link(c.head.Hash, raw)}
}

// add books a record that is committed and verified.
func (c *sqlChain) add(l sqlLink) error {
	k, e := l.record.charge.Key, c.entries[l.record.charge.Key]
	switch {
	case !l.record.isCommit && e == nil:
		if err := c.books.replay(l.record); err != nil {
			return c.corrupt("record %d is %v", l.seq, err)
		}
		c.entries[k] = &sqlEntry{charge: l.record.charge, seq: l.seq, head: l.head.Hash}
	case l.record.isCommit && e != nil && e.released == 0 && e.seq == l.charge:
		c.books.commit(k.Epoch)
		e.released, e.releasedAt, e.digest = l.seq, c.head.Size, l.record.digest
	default:
		return c.corrupt("record %d is a reservation or a commit that is there already, or a commit that nobody reserved", l.seq)
	}
	c.saw(l.seq, l.head)
	return nil
}

func (c *sqlChain) saw(seq int64, h Head) {
	c.seq, c.head = seq, h
	c.missing = slices.DeleteFunc(c.missing, func(k Head) bool {
		return k.Hash == h.Hash && (k.Size == 0 || k.Size == h.Size)
	})
}

func (c *sqlChain) corrupt(format string, a ...any) error {
	return &CorruptError{c.head.Size, fmt.Sprintf(format, a...)}
}

func (c *sqlChain) holdsKnown() error {
	if len(c.missing) > 0 {
		return fmt.Errorf("%w: it ends at %s and does not hold %s", ErrRolledBack, c.head, c.missing[0])
	}
	return nil
}

// advance reads and verifies what was committed since the last time. q must show
// one state of the database.
func (c *sqlChain) advance(ctx context.Context, q querier) error {
	t, err := q.tip(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return &CorruptError{0, "larder_ledger has no row"}
	}
	if err != nil {
		return err
	}
	if err := c.extends(t); err != nil {
		return err
	}
	if t.seq == c.seq && !c.whole {
		return nil
	}
	rows, err := q.records(ctx, c.seq, c.whole)
	if err != nil {
		return err
	}
	defer rows.Close()
	if err := c.follow(rows, t); err != nil {
		return err
	}
	return rows.Close()
}

// extends says whether the tip can be that of a chain that begins with c, and
// begins c if it is empty.
func (c *sqlChain) extends(t tip) error {
	if t.version != 1 {
		return &CorruptError{0, "larder_ledger is not of version 1"}
	}
	if len(t.id) != 32 || len(t.start) != 32 || len(t.head) != 32 {
		return &CorruptError{0, "larder_ledger is not what was written"}
	}
	begin := header([32]byte(t.id), t.policy)
	if [32]byte(begin[len(begin)-32:]) != [32]byte(t.start) {
		return &CorruptError{0, "the id, the policy or the start of larder_ledger is not what was written"}
	}
	if c.books == nil {
		books, err := c.config.opened(t.policy)
		if err != nil {
			return err
		}
		c.books, c.start = books, [32]byte(t.start)
		c.saw(0, Head{int64(len(begin)), c.start})
	}
	switch {
	case c.start != [32]byte(t.start):
		return fmt.Errorf("%w: it is another ledger than the one that was opened", ErrRolledBack)
	case t.seq < c.seq:
		return fmt.Errorf("%w: it has %d records and had %d", ErrRolledBack, t.seq, c.seq)
	case t.seq == c.seq && (c.head != Head{t.size, [32]byte(t.head)}):
		return c.unlike(t)
	}
	return nil
}

// unlike is the error for a tip that is not what c is, with as many records.
func (c *sqlChain) unlike(t tip) error {
	if c.seq == 0 {
		return c.corrupt("larder_ledger names another head than its start, and no record")
	}
	return fmt.Errorf("%w: its record %d is another one", ErrRolledBack, t.seq)
}

// follow verifies the rows from c's last record to the tip, and adds them.
func (c *sqlChain) follow(rows rows, t tip) error {
	if c.seq > 0 { // the last one that is known
		r, err := rows.next()
		switch {
		case err == io.EOF || err == nil && r.seq != c.seq:
			return c.corrupt("record %d is missing", c.seq)
		case err != nil:
			return err
		case !bytes.Equal(r.head, c.head.Hash[:]):
			return fmt.Errorf("%w: its record %d is another one", ErrRolledBack, c.seq)
		}
	}
	for {
		r, err := rows.next()
		switch {
		case err == io.EOF && c.seq == t.seq:
			return nil
		case err == io.EOF:
			return c.corrupt("record %d is missing", c.seq+1)
		case err != nil:
			return err
		case r.seq != c.seq+1:
			return c.corrupt("record %d is missing, or there twice", c.seq+1)
		case r.seq > t.seq:
			return c.corrupt("there is a record %d, and larder_ledger ends with %d", r.seq, t.seq)
		}
		l, err := c.verify(r)
		if err != nil {
			return err
		}
		if l.seq == t.seq && (l.head != Head{t.size, [32]byte(t.head)}) {
			return c.corrupt("larder_ledger names another head than that of record %d", l.seq)
		}
		if err := c.add(l); err != nil {
			return err
		}
	}
}

// verify checks every column of a row that follows c, but for charge, which add
// does. What is in the wrong table lacks the columns of the right one.
func (c *sqlChain) verify(r row) (sqlLink, error) {
	bad := func(reason string) (sqlLink, error) {
		return sqlLink{}, c.corrupt("record %d: %s", r.seq, reason)
	}
	rec, err := decode(r.raw)
	l := sqlLink{record: rec, raw: r.raw, charge: r.charge, seq: r.seq, head: c.after(r.raw, rec.size)}
	switch k := rec.charge.Key; {
	case !bytes.Equal(r.head, l.head.Hash[:]):
		return bad("it is not what was written")
	case err != nil:
		return bad(err.Error())
	case !rec.isCommit && (k.Epoch != r.epoch || k.Round != r.round || !bytes.Equal(r.digest, k.Digest[:])):
		return bad("its columns are not what was written")
	case rec.isCommit && r.size != rec.size:
		return bad("its release is not what was written")
	case rec.isCommit && c.whole && sha256.Sum256(r.release) != rec.digest:
		return bad("its release is not what was written")
	}
	return l, nil
}
