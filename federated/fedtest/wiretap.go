package fedtest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/larder-dp/larder/federated"
)

// A Wiretap hears what leaves a federation, and searches it for canaries:
// planted secrets that must not come out. Safe for concurrent use.
//
// It finds a canary in plain text of any case, in UTF-16, reversed, in hex,
// base64, base32 and ASCII 85 at any alignment, as decimal, varint and fixed integers, as a list of
// bytes, in what gzip, zlib, hex, base64, escapes, spaces, line breaks and the attributes of one log
// record hide or take apart, to a depth of four, and as an
// unkeyed MD5, SHA-1, SHA-2, BLAKE2, FNV or CRC hash, whole or cut. A time it finds in every
// zone of whole hours.
type Wiretap struct {
	search *searcher
	mu     sync.Mutex
	heard  []utterance
}

// An utterance is one thing that left.
type utterance struct {
	channel string // message, error, log, metric, file, panic, release
	what    string
	b       []byte
	at      time.Time
}

// NewWiretap returns one that listens for the canaries. A canary that chance
// would find is an error.
func NewWiretap(canaries ...Canary) (*Wiretap, error) {
	s, err := newSearcher(canaries)
	if err != nil {
		return nil, err
	}
	return &Wiretap{search: s}, nil
}

// Hear takes something that left through a channel, such as "metric" or
// "header". what names it.
func (w *Wiretap) Hear(channel, what string, b []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.heard = append(w.heard, utterance{channel, what, slices.Clone(b), time.Now()})
}

// HearError takes an error as whoever gets it may print it.
func (w *Wiretap) HearError(what string, err error) {
	if err == nil {
		return
	}
	w.Hear("error", what, []byte(err.Error()))
	full := fmt.Appendf(nil, "%+v %#v %s", err, err, asJSON(err))
	w.Hear("error", what+", printed in full", pointer.ReplaceAll(full, []byte("0x…")))
	for _, inner := range unwrap(err) {
		w.HearError(what, inner)
	}
}

// pointer is how %#v prints one; it says nothing, and differs from run to run.
var pointer = regexp.MustCompile(`0x[0-9a-f]{6,16}\b`)

func unwrap(err error) []error {
	switch e := err.(type) {
	case interface{ Unwrap() error }:
		if inner := e.Unwrap(); inner != nil {
			return []error{inner}
		}
	case interface{ Unwrap() []error }:
		return slices.DeleteFunc(slices.Clone(e.Unwrap()), func(err error) bool { return err == nil })
	}
	return nil
}

// HearFiles takes the names and contents of all files below fsys.
func (w *Wiretap) HearFiles(fsys fs.FS) error {
	return fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		w.Hear("file", "name", []byte(name))
		if !d.Type().IsRegular() {
			return nil
		}
		b, err := fs.ReadFile(fsys, name)
		w.Hear("file", "contents", b)
		return err
	})
}

// HearRelease takes a release as it is stored and as it is printed.
func (w *Wiretap) HearRelease(r *federated.Release) {
	if r == nil {
		return
	}
	w.Hear("release", "stored", []byte(asJSON(r)))
	w.Hear("release", "printed", fmt.Appendf(nil, "%v %+v", r.Label(), r))
}

// Log returns a handler that hears every record and attribute, at every level.
func (w *Wiretap) Log() slog.Handler { return &tappedLog{w: w} }

// Transport hears what passes through t, both ways.
func (w *Wiretap) Transport(t federated.Transport) federated.Transport { return tappedTransport{t, w} }

type tappedTransport struct {
	federated.Transport
	w *Wiretap
}

func (t tappedTransport) Exchange(ctx context.Context, out []federated.Message, deliver func(federated.Message)) error {
	for _, m := range out {
		t.w.message(m)
	}
	err := t.Transport.Exchange(ctx, out, func(m federated.Message) {
		t.w.message(m)
		deliver(m)
	})
	t.w.HearError("exchange", err)
	return err
}

func (w *Wiretap) message(m federated.Message) {
	w.Hear("header", "from and to", []byte(m.From+" "+m.To))
	w.Hear("message", kindOf(m.Body), m.Body)
}

type tappedLog struct {
	w      *Wiretap
	prefix string
	with   string
}

func (*tappedLog) Enabled(context.Context, slog.Level) bool { return true }

func (l *tappedLog) Handle(_ context.Context, r slog.Record) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%v %s%s", r.Level, r.Message, l.with)
	r.Attrs(func(a slog.Attr) bool {
		writeAttr(&b, l.prefix, a)
		return true
	})
	l.w.Hear("log", "record", []byte(b.String()))
	return nil
}

func (l *tappedLog) WithAttrs(attrs []slog.Attr) slog.Handler {
	var b strings.Builder
	for _, a := range attrs {
		writeAttr(&b, l.prefix, a)
	}
	return &tappedLog{l.w, l.prefix, l.with + b.String()}
}

func (l *tappedLog) WithGroup(name string) slog.Handler {
	return &tappedLog{l.w, l.prefix + name + ".", l.with}
}

// writeAttr writes an attribute in the ways of a text and of a JSON handler.
func writeAttr(b *strings.Builder, prefix string, a slog.Attr) {
	v := a.Value.Resolve()
	if v.Kind() == slog.KindGroup {
		for _, inner := range v.Group() {
			writeAttr(b, prefix+a.Key+".", inner)
		}
		return
	}
	fmt.Fprintf(b, " %s%s=%+v", prefix, a.Key, v)
	if v.Kind() == slog.KindAny {
		fmt.Fprintf(b, " %s%s=%s", prefix, a.Key, asJSON(v.Any()))
	}
}

func asJSON(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return ""
	}
	return string(b)
}

// Leaks returns where canaries came out, none twice: channel, what it was, how
// the canary was written, and never the canary itself.
func (w *Wiretap) Leaks() []string {
	w.mu.Lock()
	heard := slices.Clone(w.heard)
	w.mu.Unlock()
	var leaks []string
	searched := map[string]bool{}
	for _, u := range heard {
		if key := u.channel + u.what + string(u.b); !searched[key] {
			searched[key] = true
			for _, f := range w.search.search(u.b) {
				leaks = append(leaks, fmt.Sprintf("%s (%s): the canary %q, %s", u.channel, u.what, w.search.canaries[f.canary].Name, f.form.how))
			}
		}
	}
	slices.Sort(leaks)
	return slices.Compact(leaks)
}

// Check returns an error if a canary came out, or nothing was heard at all.
func (w *Wiretap) Check() error {
	w.mu.Lock()
	n := len(w.heard)
	w.mu.Unlock()
	if n == 0 {
		return errors.New("search what left: nothing was heard: connect the wiretap")
	}
	if leaks := w.Leaks(); len(leaks) > 0 {
		const most = 5
		more := ""
		if len(leaks) > most {
			more = fmt.Sprintf(" and %d more", len(leaks)-most)
		}
		return fmt.Errorf("search what left: %s%s", strings.Join(leaks[:min(len(leaks), most)], "; "), more)
	}
	return nil
}

// Report says what did leave: how often, how many bytes, in which fields.
func (w *Wiretap) Report() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	type total struct{ times, bytes int }
	totals := map[string]*total{}
	count := func(key string, n int) {
		if totals[key] == nil {
			totals[key] = &total{}
		}
		totals[key].times++
		totals[key].bytes += n
	}
	for _, u := range w.heard {
		key := u.channel + " " + u.what
		count(key, len(u.b))
		if u.channel == "message" || u.channel == "release" && u.what == "stored" {
			for _, f := range fieldsOf(u.b) {
				count(key+"\x00"+f.name, len(f.b))
			}
		}
	}
	var b strings.Builder
	for _, key := range slices.Sorted(maps.Keys(totals)) {
		name, fieldName, isField := strings.Cut(key, "\x00")
		if isField {
			name = "    " + fieldName
		}
		fmt.Fprintf(&b, "%-30s %8d times %12d bytes\n", name, totals[key].times, totals[key].bytes)
	}
	return b.String()
}

func slogTo(w *Wiretap) *slog.Logger { return slog.New(w.Log()) }
