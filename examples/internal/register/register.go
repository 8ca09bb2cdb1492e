package register

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/sync/errgroup"
)

// A Config says what a register is made with. AsOf, LegacyID, and the key and
// epoch of Scope must be the same at each run over one folder.
type Config struct {
	// Dir is the folder of the outputs, made with mode 0700 if it is not there.
	// Required.
	Dir string
	// Store keeps the members. Required; Open takes it over, and closes it if it
	// fails.
	Store *Store
	// Scope makes the pseudonyms. Required.
	Scope Scope
	// AsOf is the day on which an applicant must be 18. Required.
	AsOf Date
	// LegacyID adds the old membership id to successful.csv and to the store.
	// It gives birthdays away.
	LegacyID bool
	// Now tells the time for the store and the audit log. Required.
	Now func() time.Time
}

// A Register takes applications and keeps members. It is not safe for concurrent
// use, and its lock keeps other processes out.
type Register struct {
	Config
	lock  *os.File
	audit *audit
	files map[string]File // by digest
	// changed says that the outputs may lag behind the store.
	changed bool
}

// ErrInUse says that another process has the register open.
var ErrInUse = errors.New("another process has this register open")

// rules numbers the rules and the store of the package doc.
const rules = "2"

const partsDir = "parts"

// Open opens a register or makes one, and finishes what a crash left undone.
func Open(ctx context.Context, c Config) (_ *Register, err error) {
	r := &Register{Config: c, changed: true}
	defer func() {
		if err != nil {
			err = fmt.Errorf("open register: %w", errors.Join(err, r.Close()))
		}
	}()
	if c.Dir == "" || c.Store == nil || c.Scope.of == nil || c.AsOf == 0 || c.Now == nil {
		return nil, errors.New("give Config.Dir, Store, Scope, AsOf and Now")
	}
	lockFile := filepath.Join(c.Dir, "lock")
	for _, output := range []string{r.output(good), r.output(bad), r.output(pseudonyms)} {
		if exists(output) && !exists(lockFile) {
			return nil, fmt.Errorf("no register made %s: give another folder, or move it away", output)
		}
	}
	if err := os.MkdirAll(filepath.Join(c.Dir, partsDir), 0o700); err != nil {
		return nil, err
	}
	if r.lock, err = os.OpenFile(lockFile, os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return nil, err
	}
	if err := lock(r.lock); err != nil {
		return nil, err
	}
	if err := removeDrafts(filepath.Join(c.Dir, partsDir)); err != nil {
		return nil, err
	}
	if err := c.Store.bind(ctx, []setting{
		{"rules", rules, false},
		{"as-of", c.AsOf.String(), false},
		{"legacy-id", strconv.FormatBool(c.LegacyID), false},
		{"epoch", c.Scope.epoch, false},
		{"key", hex.EncodeToString(c.Scope.check[:]), true},
	}); err != nil {
		return nil, err
	}
	if r.files, err = c.Store.files(ctx); err != nil {
		return nil, err
	}
	return r, r.openAudit()
}

// openAudit says what a crash kept from being said.
func (r *Register) openAudit() (err error) {
	if r.audit, err = openAudit(filepath.Join(r.Dir, "audit.log")); err != nil {
		return err
	}
	for _, f := range r.Files() {
		if !r.audit.processed[f.Digest] {
			if err := r.audit.say(r.Now(), eventProcessed, f); err != nil {
				return err
			}
		}
	}
	return nil
}

// Close closes the register and its store.
func (r *Register) Close() error {
	var err error
	if r.Store != nil {
		err = r.Store.Close()
	}
	if r.audit != nil {
		err = errors.Join(err, r.audit.f.Close())
	}
	if r.lock != nil {
		err = errors.Join(err, unlock(r.lock), r.lock.Close())
	}
	return err
}

// Files are the files that were processed, in the order of the outputs: by name,
// then by digest.
func (r *Register) Files() []File {
	return slices.SortedFunc(maps.Values(r.files), func(a, b File) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Digest, b.Digest))
	})
}

// Add processes one file, unless one with the same content was processed before;
// known says that. When it returns without an error the file's rows are durable:
// they are in the store and in parts of the outputs. A RefusedError means that
// nothing of the file was taken.
func (r *Register) Add(ctx context.Context, path string) (f File, known bool, err error) {
	name := strings.TrimSuffix(filepath.Base(path), purgingEnding)
	if !utf8.ValidString(name) || strings.ContainsFunc(name, func(c rune) bool { return !unicode.IsGraphic(c) }) {
		return File{}, false, &RefusedError{strconv.Quote(path), "its name is not text: rename it"}
	}
	content, digest, err := readFile(path)
	if err != nil {
		return File{}, false, err
	}
	f, known = r.files[digest]
	if known && exists(r.part(digest, good)) && exists(r.part(digest, bad)) {
		return f, true, nil
	}
	if !known {
		f = File{ID: int64(len(r.files)) + 1, Digest: digest, Name: name, Bytes: int64(len(content)), Processed: r.Now()}
	}
	order, rows, err := readHeader(content)
	if err != nil {
		return File{}, false, &RefusedError{path, err.Error()}
	}
	r.changed = true
	p := processor{file: f.Name, order: order, asOf: r.AsOf, scope: r.Scope, legacyID: r.LegacyID}
	if f, err = r.process(ctx, p, rows, f, known); err != nil {
		return File{}, false, fmt.Errorf("process %s: %w", path, err)
	}
	r.files[digest] = f
	if known { // it was only the parts that were gone
		return f, true, nil
	}
	return f, false, r.audit.say(f.Processed, eventProcessed, f)
}

// process makes the parts durable and then commits. A crash in between leaves
// parts that the store knows nothing of: no output has them, and the next run
// makes the same again.
func (r *Register) process(ctx context.Context, p processor, rows string, f File, known bool) (File, error) {
	successful, err := newDraft(r.part(f.Digest, good))
	if err != nil {
		return f, err
	}
	defer successful.drop()
	unsuccessful, err := newDraft(r.part(f.Digest, bad))
	if err != nil {
		return f, err
	}
	defer unsuccessful.drop()
	b, err := r.Store.start(ctx, f.ID)
	if err != nil {
		return f, err
	}
	defer b.end()
	var tally Tally
	err = p.each(ctx, rows, func(o outcome) error {
		tally.Add(o.tally)
		_, err := successful.Write(o.good)
		if err == nil {
			_, err = unsuccessful.Write(o.bad)
		}
		if err == nil && !known {
			err = b.add(ctx, o.members)
		}
		return err
	})
	if err != nil {
		return f, err
	}
	// The disk and the store work at the same time.
	var parts errgroup.Group
	parts.Go(func() error {
		return errors.Join(successful.keep(), unsuccessful.keep(), syncDir(successful.path))
	})
	if err := errors.Join(b.flush(ctx), parts.Wait()); err != nil || known {
		return f, err
	}
	f.Tally = tally
	return f, b.commit(ctx, &f)
}

// The outputs; the first two are made of parts.
const (
	good       = "successful"
	bad        = "unsuccessful"
	pseudonyms = "pseudonyms"
)

func (r *Register) part(digest, kind string) string {
	return filepath.Join(r.Dir, partsDir, digest+"."+kind+".csv")
}

// Publish writes successful.csv, unsuccessful.csv and pseudonyms.csv anew from
// what is durable, if anything changed. A reader sees each old or new, whole.
func (r *Register) Publish(ctx context.Context) error {
	if !r.changed {
		return nil
	}
	header := goodHeader
	if r.LegacyID {
		header += legacyColumn
	}
	var outputs errgroup.Group
	outputs.Go(func() error { return r.publish(good, header) })
	outputs.Go(func() error { return r.publish(bad, badHeader) })
	outputs.Go(func() error { return r.publishPseudonyms(ctx) })
	if err := outputs.Wait(); err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	r.changed = false
	return syncDir(r.output(good))
}

// Output paths.
func (r *Register) output(kind string) string { return filepath.Join(r.Dir, kind+".csv") }

func (r *Register) publish(kind, header string) error {
	d, err := newDraft(r.output(kind))
	if err != nil {
		return err
	}
	defer d.drop()
	fmt.Fprintln(d, header)
	if err := d.Flush(); err != nil {
		return err
	}
	for _, f := range r.Files() {
		part, err := os.Open(r.part(f.Digest, kind))
		if err != nil {
			return fmt.Errorf("the store has a file whose rows are not in this folder: give the folder that goes with the store, or that file again: %w", err)
		}
		_, err = io.Copy(d.f, part) // in the kernel
		if err = errors.Join(err, part.Close()); err != nil {
			return err
		}
	}
	return d.keep()
}

func (r *Register) publishPseudonyms(ctx context.Context) error {
	d, err := newDraft(r.output(pseudonyms))
	if err != nil {
		return err
	}
	defer d.drop()
	fmt.Fprintln(d, "pseudonym")
	var lines []byte
	if err := r.Store.pseudonyms(ctx, func(page []byte) error {
		lines = lines[:0]
		for p := range slices.Chunk(page, 16) {
			lines = append(hex.AppendEncode(lines, p), '\n')
		}
		_, err := d.Write(lines)
		return err
	}); err != nil {
		return err
	}
	return d.keep()
}

// Likeness compares all members with one another.
func (r *Register) Likeness(ctx context.Context) (Likeness, error) { return r.Store.likeness(ctx) }
