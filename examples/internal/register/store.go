package register

import (
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
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
	insert func(ctx context.Context, conn *sql.Conn, file int64, members []*member) (int64, error)
	begin  string
	// page selects the pseudonyms after $1, $2 of them at most, one after another in
	// order; NULL if there are none.
	page string
	// ready is called before anything else: it makes what is not there, or fails if
	// another register has the store.
	ready func(context.Context) error
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
	if err := s.ready(ctx); err != nil {
		return s.wrap("open the store", err)
	}
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
	pending [][]member
	waiting int // of them
}

// perRun is how many members are sorted and inserted together: in the order of
// the key, so that neighbours in the tree are written together.
const perRun = 1 << 18

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

func (b *batch) add(ctx context.Context, members []member) error {
	b.pending = append(b.pending, members)
	if b.waiting += len(members); b.waiting < perRun {
		return nil
	}
	return b.flush(ctx)
}

// flush inserts what is pending: of two applications of one member the first,
// and none of a member who is there.
func (b *batch) flush(ctx context.Context) error {
	if b.waiting == 0 {
		return nil
	}
	n, err := b.insert(ctx, b.conn, b.file, inOrder(b.pending, b.waiting))
	b.new += n
	b.pending, b.waiting = nil, 0
	return b.wrap("store members", err)
}

// inOrder sorts by pseudonym and leaves of each the first line.
func inOrder(blocks [][]member, n int) []*member {
	type keyed struct {
		key uint64 // how the pseudonym begins: nearly always enough
		*member
	}
	sorted := make([]keyed, 0, n)
	for _, block := range blocks {
		for i := range block {
			sorted = append(sorted, keyed{binary.BigEndian.Uint64(block[i].pseudonym[:]), &block[i]})
		}
	}
	slices.SortFunc(sorted, func(x, y keyed) int {
		if x.key != y.key {
			return cmp.Compare(x.key, y.key)
		}
		return cmp.Or(bytes.Compare(x.pseudonym[:], y.pseudonym[:]), cmp.Compare(x.line, y.line))
	})
	out := make([]*member, 0, n)
	for i, m := range sorted {
		if i == 0 || m.key != sorted[i-1].key || m.pseudonym != sorted[i-1].pseudonym {
			out = append(out, m.member)
		}
	}
	return out
}

// commit makes a file and its members, all of them flushed, durable: both or none.
func (b *batch) commit(ctx context.Context, f *File) error {
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

// perPage is how many pseudonyms the store gives at a time.
const perPage = 4096

// pseudonyms calls each with all pseudonyms, in order, a page of them at a time: a
// row of its own for each would cost four times as much.
func (s *Store) pseudonyms(ctx context.Context, each func([]byte) error) error {
	for last := []byte{}; ; { // before all others
		var page []byte
		if err := s.db.QueryRowContext(ctx, s.page, last, perPage).Scan(&page); err != nil {
			return s.wrap("read members", err)
		}
		if page == nil {
			return nil
		}
		if len(page)%16 != 0 {
			return errDamaged
		}
		for p := range slices.Chunk(page, 16) {
			if bytes.Compare(p, last) <= 0 { // SQLite keeps the order of what it joins without promising it
				return errDamaged
			}
			last = p
		}
		if err := each(page); err != nil {
			return err
		}
	}
}

var errDamaged = errors.New("read members: the store has what was never put there: check it")

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

// likeness reads all members once, below database/sql, whose conversion of each
// value would cost as much as the rest.
func (s *Store) likeness(ctx context.Context) (l Likeness, err error) {
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return l, s.wrap("read members", err)
	}
	// Hashes of 64 bits, under a seed of this process: two of a million members' meet
	// once in 30 million runs, and then a count is one too high.
	var people, mobiles, ids []uint64
	seed := maphash.MakeSeed()
	var key []byte
	hash := func(parts ...string) uint64 {
		key = key[:0]
		for _, part := range parts {
			key = append(append(key, part...), 0) // no part has a zero byte
		}
		return maphash.Bytes(seed, key)
	}
	legacy := map[int64]string{} // hashes of birthdays
	err = conn.Raw(func(c any) error {
		rows, err := c.(driver.QueryerContext).QueryContext(ctx, `SELECT first_name, last_name, birthday, mobile_no FROM membership_members`, nil)
		if err != nil {
			return err
		}
		defer func() { _ = rows.Close() }() // its error is in rows.Next
		row := make([]driver.Value, 4)
		for {
			if err := rows.Next(row); errors.Is(err, io.EOF) {
				return nil
			} else if err != nil {
				return err
			}
			first, ok1 := row[0].(string)
			last, ok2 := row[1].(string)
			birthday, ok3 := row[2].(int64)
			mobile, ok4 := row[3].(string)
			if !ok1 || !ok2 || !ok3 || !ok4 {
				return errDamaged
			}
			day, ok := legacy[birthday]
			if !ok {
				day = legacyHash(Date(birthday))
				legacy[birthday] = day
			}
			people = append(people, hash(strings.ToLower(first), strings.ToLower(last), Date(birthday).String()))
			mobiles = append(mobiles, hash(mobile))
			ids = append(ids, hash(last, day))
		}
	})
	l.Members = int64(len(people))
	l.SameNameAndBirthday, l.SameMobile, l.SameLegacyID = repeated(people), repeated(mobiles), repeated(ids)
	return l, s.wrap("read members", errors.Join(err, conn.Close()))
}

// repeated is how many values are there before. It sorts them.
func repeated(values []uint64) int64 {
	slices.Sort(values)
	return int64(len(values) - len(slices.Compact(values)))
}

// Close closes the store.
func (s *Store) Close() error { return s.db.Close() }
