package register

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// A Watch says how a folder is watched for new files.
type Watch struct {
	// Dir is the folder. Files in it whose names end in .csv, in any case, and do
	// not begin with a dot are inputs. Required.
	Dir string
	// Poll is how often the folder is looked at. Required.
	Poll time.Duration
	// Settle is how long a file must have kept its size and time of change before
	// it is taken. It stands between a slow writer and a file cut in two: who
	// writes under another name and renames needs none.
	Settle time.Duration
	// PurgeAfter is the age, since it was processed, at which a raw file is
	// removed; 0 is never.
	PurgeAfter time.Duration
	// Tell is called after each file that was taken, refused (and each hour that
	// it is still there) or purged. Required.
	Tell func(Event)
}

// An Event is something that happened to a file of a watched folder.
type Event struct {
	Name    string // without the folder
	File    File   // unless refused
	Known   bool   // its content had been processed before
	Purged  bool
	Refused error // nothing of it was taken, and it stays where it is
}

// sweep is how often everything in the folder is read again, whatever its time
// of change says.
const sweep = time.Hour

// purgingEnding is on a raw file between the decision to remove it and its end.
const purgingEnding = ".purging"

// A Watcher takes the files of a folder as they come.
type Watcher struct {
	Watch
	r     *Register
	seen  map[string]look // by name
	swept time.Time
}

// A look is what was last seen of a file.
type look struct {
	size    int64
	changed time.Time // by the file system
	since   time.Time // by our clock: when it was first seen so
	done    bool
	digest  string // once taken
}

// NewWatcher makes a watcher of a register.
func NewWatcher(r *Register, w Watch) (*Watcher, error) {
	if w.Dir == "" || w.Poll <= 0 || w.Settle < 0 || w.PurgeAfter < 0 || w.Tell == nil {
		return nil, errors.New("watch folder: give Watch.Dir, Poll and Tell, and no negative times")
	}
	return &Watcher{Watch: w, r: r, seen: map[string]look{}}, nil
}

// Run looks at the folder every Poll, until ctx ends, which is no error.
func (w *Watcher) Run(ctx context.Context) error {
	tick := time.NewTicker(w.Poll)
	defer tick.Stop()
	for {
		if err := w.Step(ctx); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("watch folder: %w", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Step looks at the folder once: it takes what is there and has settled,
// publishes, and then purges. It may stop at any point and be done again.
func (w *Watcher) Step(ctx context.Context) error {
	now := w.r.Now()
	if now.Sub(w.swept) >= sweep {
		for name, l := range w.seen {
			l.done = false
			w.seen[name] = l
		}
		w.swept = now
	}
	names, err := w.list(now)
	if err != nil {
		return err
	}
	settled := true
	for _, name := range names {
		l := w.seen[name]
		if l.done {
			continue
		}
		if now.Sub(l.since) < w.Settle {
			settled = false
			continue
		}
		if err := w.take(ctx, name, l); err != nil {
			return err
		}
	}
	if err := w.r.Publish(ctx); err != nil {
		return err
	}
	return w.purge(ctx, now, names, settled)
}

// list returns the names of inputs, sorted, and notes how they look.
func (w *Watcher) list(now time.Time) (names []string, err error) {
	entries, err := os.ReadDir(w.Dir)
	if err != nil {
		return nil, err
	}
	before := w.seen
	w.seen = map[string]look{}
	for _, e := range entries {
		name := e.Name()
		if strings.HasPrefix(name, ".") || !strings.HasSuffix(strings.ToLower(strings.TrimSuffix(name, purgingEnding)), ".csv") {
			continue
		}
		info, err := e.Info()
		if err != nil || !info.Mode().IsRegular() { // or gone by now
			continue
		}
		l, ok := before[name]
		if !ok || l.size != info.Size() || !l.changed.Equal(info.ModTime()) {
			l = look{size: info.Size(), changed: info.ModTime(), since: now}
		}
		w.seen[name] = l
		names = append(names, name)
	}
	return names, nil
}

func (w *Watcher) take(ctx context.Context, name string, l look) error {
	f, known, err := w.r.Add(ctx, filepath.Join(w.Dir, name))
	var refused *RefusedError
	switch {
	case errors.Is(err, fs.ErrNotExist) && !exists(filepath.Join(w.Dir, name)): // taken away since it was listed
		delete(w.seen, name)
		return nil
	case errors.As(err, &refused):
		l.digest = ""
		w.Tell(Event{Name: name, Refused: err})
	case err != nil:
		return err
	default:
		if l.digest != f.Digest {
			w.Tell(Event{Name: name, File: f, Known: known})
		}
		l.digest = f.Digest
	}
	l.done = true
	w.seen[name] = l
	return nil
}

// purge removes raw files whose rows have been durable for long enough.
func (w *Watcher) purge(ctx context.Context, now time.Time, names []string, settled bool) error {
	if w.PurgeAfter == 0 {
		return nil
	}
	here := map[string]bool{}
	for _, name := range names {
		digest := w.seen[name].digest
		here[digest] = true
		f, ok := w.r.files[digest]
		if !ok || now.Sub(f.Processed) < w.PurgeAfter {
			continue
		}
		gone, err := w.remove(ctx, name, f)
		if err != nil {
			return err
		}
		if gone {
			delete(w.seen, name)
		}
	}
	if !settled {
		return nil
	}
	// What a crash left between removing a file and saying so.
	for digest := range w.r.audit.purging {
		if f, ok := w.r.files[digest]; ok && !here[digest] {
			if err := w.r.notePurged(ctx, f); err != nil {
				return err
			}
		}
	}
	return nil
}

// remove removes a raw file if its content is still what was processed. It is
// renamed first, so that a writer who replaces it at that moment loses nothing:
// what is found under the new name is digested again.
func (w *Watcher) remove(ctx context.Context, name string, f File) (gone bool, err error) {
	path := filepath.Join(w.Dir, name)
	if !strings.HasSuffix(name, purgingEnding) {
		to := path + purgingEnding
		if exists(to) { // first that one
			return false, nil
		}
		if err := w.r.audit.say(w.r.Now(), eventPurging, f); err != nil {
			return false, err
		}
		if err := os.Rename(path, to); err != nil {
			return false, err
		}
		path = to
	}
	_, digest, err := readFile(path)
	if err != nil {
		return false, err
	}
	if digest != f.Digest { // the next step takes it as a new file
		return true, nil
	}
	if err := os.Remove(path); err != nil {
		return false, err
	}
	if err := syncDir(path); err != nil {
		return false, err
	}
	w.Tell(Event{Name: strings.TrimSuffix(name, purgingEnding), File: f, Purged: true})
	return true, w.r.notePurged(ctx, f)
}

// notePurged says that a raw file is gone, once it is: last in the log, so that
// until then the next start says it again.
func (r *Register) notePurged(ctx context.Context, f File) error {
	if err := r.Store.purged(ctx, f.Digest); err != nil {
		return err
	}
	f.Purged = true
	r.files[f.Digest] = f
	return r.audit.say(r.Now(), eventPurged, f)
}
