package register

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// A Store keeps members and which files they came from. SQLite and Postgres
// open one; a Register closes it.
type Store struct {
	db     *sql.DB
	schema []string
	// insert adds members that are not there yet and tells how many.
	insert func(ctx context.Context, conn *sql.Conn, file int64, members []*Member) (int64, error)
	begin  string
	// clean takes what a record could be out of an error of the driver.
	clean func(error) error
}

// A File is an input that was processed: its row of the files table.
type File struct {
	ID        int64
	Digest    string // SHA-256 of the content, in hex
	Name      string // of the first that had this content, without folders
	Bytes     int64
	Tally     Tally
	Members   int64     // that were new
	Processed time.Time // to the second
	Purged    bool
}

func (s *Store) exec(ctx context.Context, what, query string, args ...any) error {
	_, err := s.db.ExecContext(ctx, query, args...)
	return s.wrap(what, err)
}

func (s *Store) wrap(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, s.clean(err))
}

// bind makes the tables and notes what a register is made with, or compares it
// with what an earlier run noted.
func (s *Store) bind(ctx context.Context, made []setting) error {
	for _, statement := range s.schema {
		if err := s.exec(ctx, "make the tables", statement); err != nil {
			return err
		}
	}
	for _, m := range made {
		if err := s.exec(ctx, "note settings", `INSERT INTO membership_settings (name, value) VALUES ($1, $2) ON CONFLICT DO NOTHING`, m.name, m.value); err != nil {
			return err
		}
		var have string
		if err := s.db.QueryRowContext(ctx, `SELECT value FROM membership_settings WHERE name = $1`, m.name).Scan(&have); err != nil {
			return s.wrap("read settings", err)
		}
		if have == m.value {
			continue
		}
		if m.secret {
			return fmt.Errorf("%w: %s is another: give the one that it was made with", ErrOtherSettings, m.name)
		}
		return fmt.Errorf("%w: %s is %s there and %s now: give the same, or a new folder and store", ErrOtherSettings, m.name, have, m.value)
	}
	return nil
}

// A setting is something that all files of a register were processed with.
type setting struct {
	name, value string
	secret      bool // not shown
}

// ErrOtherSettings says that a register was made with other settings than those
// given now, such as another key.
var ErrOtherSettings = errors.New("this register was made with other settings")

func (s *Store) files(ctx context.Context) (map[string]File, error) {
	rows, err := s.db.QueryContext(ctx, `SELECT id, digest, name, bytes, total, successful, reasons, members, processed, purged FROM membership_files`)
	if err != nil {
		return nil, s.wrap("read files", err)
	}
	defer func() { _ = rows.Close() }() // its error is in rows.Err
	out := map[string]File{}
	for rows.Next() {
		var f File
		var why string
		var processed int64
		if err := rows.Scan(&f.ID, &f.Digest, &f.Name, &f.Bytes, &f.Tally.Rows, &f.Tally.Successful, &why, &f.Members, &processed, &f.Purged); err != nil {
			return nil, s.wrap("read files", err)
		}
		var counts map[string]int64
		if err := json.Unmarshal([]byte(why), &counts); err != nil {
			return nil, fmt.Errorf("read files: %w", err)
		}
		for i, text := range reasonTexts {
			f.Tally.Why[i] = counts[text]
		}
		f.Processed = time.Unix(processed, 0).UTC()
		out[f.Digest] = f
	}
	return out, s.wrap("read files", rows.Err())
}

// A batch is one file's transaction.
type batch struct {
	*Store
	conn    *sql.Conn
	file    int64
	new     int64
	pending []Member
}

// perRun is how many members are sorted and inserted together: in the order of
// the key, so that neighbours in the tree are written together.
const perRun = 1 << 17

func (s *Store) start(ctx context.Context, file int64) (*batch, error) {
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return nil, s.wrap("begin", err)
	}
	if _, err := conn.ExecContext(ctx, s.begin); err != nil {
		return nil, errors.Join(s.wrap("begin", err), conn.Close())
	}
	return &batch{Store: s, conn: conn, file: file}, nil
}

func (b *batch) add(ctx context.Context, members []Member) error {
	b.pending = append(b.pending, members...)
	if len(b.pending) < perRun {
		return nil
	}
	return b.flush(ctx)
}

// flush inserts what is pending: of two applications of one member the first,
// and none of a member who is there.
func (b *batch) flush(ctx context.Context) error {
	if len(b.pending) == 0 {
		return nil
	}
	members := make([]*Member, len(b.pending))
	for i := range b.pending {
		members[i] = &b.pending[i]
	}
	slices.SortFunc(members, func(x, y *Member) int {
		return cmp.Or(strings.Compare(x.Pseudonym, y.Pseudonym), cmp.Compare(x.Line, y.Line))
	})
	members = slices.CompactFunc(members, func(x, y *Member) bool { return x.Pseudonym == y.Pseudonym })
	n, err := b.insert(ctx, b.conn, b.file, members)
	b.new += n
	b.pending = b.pending[:0]
	return b.wrap("store members", err)
}

// commit makes a file and its members durable, both or none.
func (b *batch) commit(ctx context.Context, f *File) error {
	if err := b.flush(ctx); err != nil {
		return err
	}
	counts := map[string]int64{}
	for i, n := range f.Tally.Why {
		if n > 0 {
			counts[reasonTexts[i]] = n
		}
	}
	why, err := json.Marshal(counts)
	if err != nil {
		return err
	}
	f.Members = b.new
	_, err = b.conn.ExecContext(ctx, `INSERT INTO membership_files (id, digest, name, bytes, total, successful, reasons, members, processed, purged)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, FALSE)`,
		f.ID, f.Digest, f.Name, f.Bytes, f.Tally.Rows, f.Tally.Successful, string(why), f.Members, f.Processed.Unix())
	if err == nil {
		_, err = b.conn.ExecContext(ctx, `COMMIT`)
	}
	return b.wrap("store file", err)
}

// end gives the connection back; what was not committed is undone.
func (b *batch) end() {
	_, _ = b.conn.ExecContext(context.Background(), `ROLLBACK`) // an error after COMMIT
	_ = b.conn.Close()
}

func (s *Store) purged(ctx context.Context, digest string) error {
	return s.exec(ctx, "note purge", `UPDATE membership_files SET purged = TRUE WHERE digest = $1`, digest)
}

// pseudonyms calls each with every pseudonym, in order.
func (s *Store) pseudonyms(ctx context.Context, each func(string) error) error {
	rows, err := s.db.QueryContext(ctx, `SELECT pseudonym FROM membership_members ORDER BY pseudonym`)
	if err != nil {
		return s.wrap("read members", err)
	}
	defer func() { _ = rows.Close() }() // its error is in rows.Err
	var p sql.RawBytes
	for rows.Next() {
		if err := rows.Scan(&p); err != nil {
			return s.wrap("read members", err)
		}
		if err := each(string(p)); err != nil {
			return err
		}
	}
	return s.wrap("read members", rows.Err())
}

// Likeness counts members who may be the same person, and persons who would
// have been taken for the same.
type Likeness struct {
	Members int64
	// SameNameAndBirthday is how many more members than different (name,
	// birthday) there are: at most so many are a person's second registration
	// under another address, and the rest are namesakes born on one day.
	SameNameAndBirthday int64
	// SameMobile is the same for mobile numbers: families, and second
	// registrations.
	SameMobile int64
	// SameLegacyID is how many members the legacy id would merge with another.
	SameLegacyID int64
}

// likeness reads all members once.
func (s *Store) likeness(ctx context.Context) (l Likeness, err error) {
	rows, err := s.db.QueryContext(ctx, `SELECT first_name, last_name, birthday, mobile_no FROM membership_members`)
	if err != nil {
		return l, s.wrap("read members", err)
	}
	defer func() { _ = rows.Close() }() // its error is in rows.Err
	people, mobiles, ids := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for rows.Next() {
		var first, last, birthday, mobile string
		if err := rows.Scan(&first, &last, &birthday, &mobile); err != nil {
			return l, s.wrap("read members", err)
		}
		l.Members++
		people[strings.ToLower(first+" "+last)+birthday] = true
		mobiles[mobile] = true
		d, _ := digits8(birthday)
		ids[legacyID(last, d)] = true
	}
	l.SameNameAndBirthday = l.Members - int64(len(people))
	l.SameMobile = l.Members - int64(len(mobiles))
	l.SameLegacyID = l.Members - int64(len(ids))
	return l, s.wrap("read members", rows.Err())
}

// Close closes the store.
func (s *Store) Close() error { return s.db.Close() }
