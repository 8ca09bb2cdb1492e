package ledger

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/larder-dp/larder/dp"
)

// File is a dp.Ledger in one file, with one writer. Safe for concurrent use by
// the goroutines of that process, whose charges share an fsync.
type File struct {
	path    string
	config  Config
	storage storage
	witness *witness
	torn    int64

	mu      sync.Mutex
	flushed sync.Cond // when a flush ended
	books   *books
	entries map[dp.Key]*fileEntry
	// queued is the head with what waits in queue, durable that of what is on
	// the disk. Their sizes are offsets.
	queue           []byte
	queued, durable Head
	flushing        bool
	broken          error
}

// storage is what a ledger does with its file.
type storage interface {
	io.ReaderAt
	io.WriterAt
	Sync() error
	Truncate(size int64) error
	Stat() (os.FileInfo, error)
	Close() error
}

type fileEntry struct {
	charge dp.Charge
	head   [32]byte
	end    int64 // of the reservation
	// Of the commit, of which releaseEnd is 0 as long as there is none.
	releaseAt, size, releaseEnd int64
	digest                      [32]byte
}

// maxRelease is the largest release, in bytes.
const maxRelease = 1 << 30

var errClosed = errors.New("the ledger is closed")

// Create makes a new ledger under path, with the policy of c, and opens it. It
// refuses a path at which there is or was one: a ledger that begins anew would
// let the same rows be asked without end.
func Create(path string, c Config) (*File, error) {
	l, err := create(path, c, plain)
	if err != nil {
		return nil, fmt.Errorf("create ledger: %w", err)
	}
	return l, nil
}

// Open opens the ledger under path and checks every byte of it. It returns
// ErrLocked if it is in use, ErrRolledBack if it does not extend a known head,
// and a *CorruptError if it does not verify. What a crash left of a last record
// that was never acknowledged is cut off; see TornTail.
func Open(path string, c Config) (*File, error) {
	l, err := open(path, c, plain)
	if err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	return l, nil
}

func plain(f *os.File) storage { return f }

func create(path string, c Config, wrap func(*os.File) storage) (*File, error) {
	p, err := c.policy()
	if err != nil {
		return nil, err
	}
	if path, err = filepath.Abs(path); err != nil {
		return nil, err
	}
	_, missing := os.Lstat(path)
	if _, err := os.Lstat(witnessPath(path)); err == nil && errors.Is(missing, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s is there, so there was a ledger: find it, or choose another path for new dataset epochs", witnessPath(path))
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("%w: open it, or choose another path for new dataset epochs", err)
	}
	if err != nil {
		return nil, err
	}
	var id [32]byte
	_, _ = rand.Read(id[:]) // never fails
	s := wrap(f)
	err = func() error {
		if err := lock(f); err != nil {
			return err
		}
		if _, err := s.WriteAt(header(id, p.encode()), 0); err != nil {
			return err
		}
		if err := s.Sync(); err != nil {
			return err
		}
		return syncDir(path)
	}()
	if err != nil { // nobody was told of it
		return nil, errors.Join(err, s.Close(), os.Remove(path))
	}
	return load(path, c, s)
}

func open(path string, c Config, wrap func(*os.File) storage) (*File, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	// The head lies beside the file, by whatever link it is found.
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: create it, if these dataset epochs never had a ledger", err)
	}
	if err != nil {
		return nil, err
	}
	s := wrap(f)
	if err := lock(f); err != nil {
		if errors.Is(err, ErrLocked) {
			err = fmt.Errorf("%s: %w (%s): stop that one first", path, err, holder(path))
		}
		return nil, errors.Join(err, s.Close())
	}
	return load(path, c, s)
}

// load reads a file whose lock is held. It closes s if it fails.
func load(path string, c Config, s storage) (l *File, err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	l = &File{path: path, config: c, storage: s, entries: map[dp.Key]*fileEntry{}}
	l.flushed.L = &l.mu
	if err := l.stands(); err != nil { // replaced before it was locked
		return nil, err
	}
	seen, err := readWitness(path)
	if err != nil {
		return nil, err
	}
	known := c.Known
	if seen != nil {
		known = append([]Head{seen.head}, known...)
	}
	size, err := sizeOf(s)
	if err != nil {
		return nil, err
	}
	found, err := scan(s, size, known, l.replay)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if seen != nil && seen.id != found.id {
		return nil, fmt.Errorf("%s: %w: %s is of another ledger", path, ErrRolledBack, witnessPath(path))
	}
	if seen == nil && len(l.entries) > 0 && len(c.Known) == 0 {
		return nil, fmt.Errorf("%s is missing, so that nobody can tell if %s is the newest copy: give a Known head that a witness kept", witnessPath(path), path)
	}
	l.queued, l.durable, l.torn = found.head, found.head, size-found.head.Size
	from := found.head.Size
	if seen != nil {
		from = seen.head.Size
	}
	if err := l.settle(from); err != nil {
		return nil, err
	}
	l.witness, err = openWitness(path, found.id, l.durable)
	return l, err
}

// replay books a record that scan verified.
func (l *File) replay(policy []byte, f frame) (err error) {
	if l.books == nil {
		if l.books, err = l.config.opened(policy); err != nil {
			return err
		}
	}
	if f.raw == nil {
		return nil
	}
	k, e := f.record.charge.Key, l.entries[f.record.charge.Key]
	switch {
	case !f.record.isCommit && e == nil:
		if err := l.books.replay(f.record); err != nil {
			return &CorruptError{f.at, err.Error()}
		}
		l.entries[k] = &fileEntry{charge: f.record.charge, head: f.head.Hash, end: f.head.Size}
	case f.record.isCommit && e != nil && e.releaseEnd == 0:
		l.books.commit(k.Epoch)
		e.releaseAt, e.size, e.releaseEnd, e.digest = f.releaseAt, f.record.size, f.head.Size, f.record.digest
	default:
		return &CorruptError{f.at, "a reservation or a commit that is there already, or a commit that nobody reserved"}
	}
	return nil
}

// settle makes durable what is in the file: it cuts the torn tail off, and writes
// what lies behind from once more. After an fsync that failed, the system may
// show pages that it will never write again, unless they are dirty again.
func (l *File) settle(from int64) error {
	if l.torn > 0 {
		if err := l.storage.Truncate(l.durable.Size); err != nil {
			return err
		}
	}
	b := make([]byte, 1<<20)
	for at := from; at < l.durable.Size; {
		n := int(min(int64(len(b)), l.durable.Size-at))
		if _, err := l.storage.ReadAt(b[:n], at); err != nil {
			return err
		}
		if _, err := l.storage.WriteAt(b[:n], at); err != nil {
			return err
		}
		at += int64(n)
	}
	return l.storage.Sync()
}

// Lookup implements dp.Ledger. It shows nothing that is not durable, and checks
// the release against its hash.
func (l *File) Lookup(ctx context.Context, k dp.Key) (dp.Entry, error) {
	e, err := l.lookup(ctx, k)
	if err != nil {
		return dp.Entry{}, fmt.Errorf("look up charge: %w", err)
	}
	out := dp.Entry{Charge: e.charge.Clone(), Head: e.head}
	if e.releaseEnd == 0 {
		return out, nil
	}
	out.Release = make([]byte, e.size)
	if _, err := l.storage.ReadAt(out.Release, e.releaseAt); err != nil {
		return dp.Entry{}, fmt.Errorf("look up charge: read release: %w", err)
	}
	if sha256.Sum256(out.Release) != e.digest {
		return dp.Entry{}, fmt.Errorf("look up charge: %w", &CorruptError{e.releaseAt, "the stored release is not what it was"})
	}
	return out, nil
}

func (l *File) lookup(ctx context.Context, k dp.Key) (fileEntry, error) {
	if err := ctx.Err(); err != nil {
		return fileEntry{}, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	e, ok := l.entries[k]
	if !ok && l.broken != nil {
		return fileEntry{}, l.broken
	}
	if !ok {
		return fileEntry{}, dp.ErrNotCharged
	}
	if err := l.wait(max(e.end, e.releaseEnd)); err != nil {
		return fileEntry{}, err
	}
	return *e, nil
}

// Reserve implements dp.Ledger. Once it began to write, it waits for the disk
// whatever ctx says. A charge whose write failed may be recorded or not: the
// next Open tells.
func (l *File) Reserve(ctx context.Context, c dp.Charge) (dp.Entry, error) {
	entry, warnings, err := l.reserve(ctx, c)
	if err != nil {
		return dp.Entry{}, wrap("reserve charge", err)
	}
	l.books.warn(warnings)
	return entry, nil
}

func (l *File) reserve(ctx context.Context, c dp.Charge) (dp.Entry, []Warning, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := l.config.now()
	if err := l.check(ctx, c); err != nil {
		if e := l.entries[c.Key]; e != nil && errors.Is(err, dp.ErrAlreadyCharged) {
			err = errors.Join(l.wait(e.end), err)
		}
		return dp.Entry{}, nil, err
	}
	if err := l.books.check(c, at); err != nil {
		return dp.Entry{}, nil, err
	}
	r := l.books.reservation(c, at)
	warnings := l.books.foresee(r.charge, r.at)
	if err := l.books.add(r.charge, r.at); err != nil {
		return dp.Entry{}, nil, err
	}
	l.enqueue(r, nil)
	e := &fileEntry{charge: r.charge, head: l.queued.Hash, end: l.queued.Size}
	l.entries[c.Key] = e
	if err := l.wait(e.end); err != nil {
		return dp.Entry{}, nil, err
	}
	return dp.Entry{Charge: e.charge.Clone(), Head: e.head}, warnings, nil
}

// Check returns what Reserve would, and charges nothing.
func (l *File) Check(ctx context.Context, c dp.Charge) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	err := l.check(ctx, c)
	if err == nil {
		err = l.books.check(c, l.config.now())
	}
	return wrap("check charge", err)
}

func (l *File) check(ctx context.Context, c dp.Charge) error {
	if err := errors.Join(ctx.Err(), c.Validate(), l.broken); err != nil {
		return err
	}
	if l.entries[c.Key] != nil {
		return dp.ErrAlreadyCharged
	}
	return nil
}

// Commit implements dp.Ledger. The release becomes visible when it is durable.
// It is at most 1 GiB.
func (l *File) Commit(ctx context.Context, k dp.Key, release []byte) error {
	if err := l.commit(ctx, k, release); err != nil {
		return fmt.Errorf("commit charge: %w", err)
	}
	return nil
}

func (l *File) commit(ctx context.Context, k dp.Key, release []byte) error {
	at := l.config.now()
	if err := errors.Join(ctx.Err(), checkRelease(release), checkTime(at)); err != nil {
		return err
	}
	release = bytes.Clone(release) // its hash must be of what is written
	digest := sha256.Sum256(release)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.broken != nil {
		return l.broken
	}
	e := l.entries[k]
	switch {
	case e == nil:
		return fmt.Errorf("%w: reserve it first", dp.ErrNotCharged)
	case e.releaseEnd != 0 && e.digest != digest:
		return errOtherRelease
	case e.releaseEnd == 0:
		l.enqueue(record{at: at, charge: dp.Charge{Key: k}, isCommit: true, size: int64(len(release)), digest: digest}, release)
		l.books.commit(k.Epoch)
		e.size, e.digest, e.releaseEnd = int64(len(release)), digest, l.queued.Size
		e.releaseAt = e.releaseEnd - int64(len(e.head)) - e.size
	}
	return l.wait(e.releaseEnd)
}

var errOtherRelease = errors.New("another release is stored under this key")

func checkRelease(release []byte) error {
	if release == nil {
		return errors.New("give a release")
	}
	if len(release) > maxRelease {
		return fmt.Errorf("the release has %d bytes, more than %d: split the question", len(release), maxRelease)
	}
	return nil
}

// Left implements dp.Ledger. A charge that is being written counts as spent.
func (l *File) Left(ctx context.Context, epoch, unit string) (dp.Budget, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := errors.Join(ctx.Err(), l.broken); err != nil {
		return dp.Budget{}, fmt.Errorf("read budget: %w", err)
	}
	left, err := l.books.leftOf(epoch, unit, l.config.now())
	return left, wrap("read budget", err)
}

// Report tells what an epoch has spent in its unit.
func (l *File) Report(ctx context.Context, epoch, unit string) (Report, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := errors.Join(ctx.Err(), l.broken); err != nil {
		return Report{}, fmt.Errorf("report budget: %w", err)
	}
	r, err := l.books.report(epoch, unit, l.config.now())
	return r, wrap("report budget", err)
}

// Head returns the state that is durable, for a witness to keep.
func (l *File) Head() Head {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.durable
}

// TornTail returns how many bytes Open cut off: of a last record that a crash
// left incomplete, and of which nobody was ever told.
func (l *File) TornTail() int64 { return l.torn }

// Close waits for what is being written and gives the file back.
func (l *File) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.flushing {
		l.flushed.Wait()
	}
	if l.broken == errClosed {
		return nil
	}
	var err error
	if l.broken == nil {
		if err = l.stands(); err == nil {
			err = l.witness.sign(l.durable)
		}
	}
	l.broken = errClosed
	if err := errors.Join(err, l.witness.close(), l.storage.Close()); err != nil {
		return fmt.Errorf("close ledger: %w", err)
	}
	return nil
}

// enqueue appends a record to what the next flush writes.
func (l *File) enqueue(r record, release []byte) {
	l.queue, l.queued = appendFrame(l.queue, l.queued, r.encode(), release)
}

// wait returns when everything before that offset is durable. Whoever finds no
// flush under way flushes for all; mu is held but for the time of the writing.
func (l *File) wait(end int64) error {
	for l.durable.Size < end && l.broken == nil {
		if l.flushing {
			l.flushed.Wait()
			continue
		}
		l.flush()
	}
	if l.durable.Size >= end && l.broken != errClosed {
		return nil
	}
	return l.broken
}

func (l *File) flush() {
	l.flushing = true
	batch, at, to := l.queue, l.durable.Size, l.queued
	l.queue = nil
	l.mu.Unlock()
	err := l.stands() // so that the witness of another is left alone
	if err == nil {
		err = l.write(batch, at)
	}
	if err == nil {
		err = l.witness.tell(to)
	}
	if err == nil {
		// Whoever opens what replaced the file before this finds the witness ahead of it.
		err = l.stands()
	}
	l.mu.Lock()
	l.flushing = false
	if err != nil {
		// Never tried again: an fsync that failed may have dropped the pages, and
		// the next one would then succeed without them.
		l.broken = fmt.Errorf("%w (%w)", ErrBroken, err)
	} else {
		l.durable = to
	}
	l.flushed.Broadcast()
}

// stands reports whether the path still names the file that is locked: who opened
// another in its place would know nothing of what is charged here.
func (l *File) stands() error {
	mine, err := l.storage.Stat()
	if err != nil {
		return err
	}
	there, err := os.Stat(l.path)
	if err == nil && !os.SameFile(mine, there) {
		err = errors.New("another file is there")
	}
	if err != nil {
		return fmt.Errorf("%s was moved, replaced or deleted while it was open: %w", l.path, err)
	}
	return nil
}

func (l *File) write(b []byte, at int64) error {
	if n, err := l.storage.WriteAt(b, at); err != nil {
		return err
	} else if n < len(b) {
		return io.ErrShortWrite
	}
	return l.storage.Sync()
}

// syncDir makes a new file's name durable.
func syncDir(path string) error {
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
