package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/larder-dp/larder/examples/internal/register"
	"github.com/larder-dp/larder/pseudonym"
)

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitFlags  = 2
)

// A world is what the program needs of the process.
type world struct {
	stdout, stderr io.Writer
	now            func() time.Time
}

// errRefused says that the run is done but for files that were refused, which
// stderr has named.
var errRefused = errors.New("a file was refused: see above; the others were taken")

// run is the program without its process.
func run(ctx context.Context, args []string, w world) int {
	o, err := parseOptions(args, w.stdout)
	if errors.Is(err, flag.ErrHelp) {
		return exitOK
	}
	switch {
	case err != nil:
	case o.attack != "":
		err = attackFile(ctx, o, w)
	case o.watch != "":
		err = watch(ctx, o, w)
	case len(o.in) > 0:
		err = batch(ctx, o, w)
	default:
		err = show(ctx, o, w)
	}
	if err == nil {
		return exitOK
	}
	fmt.Fprintln(w.stderr, "membership:", strings.ReplaceAll(err.Error(), "\n", "; "))
	if errors.Is(err, errFlags) {
		return exitFlags
	}
	return exitFailed
}

// scope opens the key, or makes it.
func scope(o options) (register.Scope, error) {
	open := register.OpenKeys
	if o.newKey {
		open = func(path string) (pseudonym.Keys, error) { return register.CreateKeys(path, o.epoch) }
	}
	keys, err := open(o.key)
	if err != nil {
		return register.Scope{}, err
	}
	return register.NewScope(keys, o.epoch)
}

func openRegister(ctx context.Context, o options, w world) (*register.Register, error) {
	s, err := scope(o)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(o.out, 0o700); err != nil {
		return nil, err
	}
	var store *register.Store
	if o.postgres != "" {
		store, err = register.Postgres(o.postgres)
	} else {
		store, err = register.SQLite(filepath.Join(o.out, "members.db"))
	}
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	return register.Open(ctx, register.Config{
		Dir: o.out, Store: store, Scope: s, AsOf: o.asOf, LegacyID: o.legacyID, Now: w.now,
	})
}

// batch takes the files of -in.
func batch(ctx context.Context, o options, w world) (err error) {
	for _, in := range o.in { // before a key is made for nothing
		if _, err := os.Stat(in); err != nil {
			return err
		}
	}
	r, err := openRegister(ctx, o, w)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	start := w.now()
	var files []taken
	refused := false
	for _, path := range o.in {
		f, known, err := r.Add(ctx, path)
		var e *register.RefusedError
		if errors.As(err, &e) {
			fmt.Fprintln(w.stderr, "membership: refused:", e)
			refused = true
			continue
		}
		if err != nil {
			return err
		}
		files = append(files, taken{f, known})
	}
	if err := r.Publish(ctx); err != nil {
		return err
	}
	elapsed := w.now().Sub(start)
	l, err := r.Likeness(ctx)
	if err != nil {
		return err
	}
	printBatch(w.stdout, o, files, r.Files(), l, elapsed)
	if refused {
		return errRefused
	}
	return nil
}

// watch takes files as they come, until ctx ends.
func watch(ctx context.Context, o options, w world) (err error) {
	if info, err := os.Stat(o.watch); err != nil { // before a key is made for nothing
		return err
	} else if !info.IsDir() {
		return fmt.Errorf("watch %s: it is not a folder: give files by -in", o.watch)
	}
	r, err := openRegister(ctx, o, w)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	watcher, err := register.NewWatcher(r, register.Watch{
		Dir: o.watch, Poll: poll, Settle: o.settle, PurgeAfter: o.purgeAfter,
		Tell: func(e register.Event) { printEvent(w, e) },
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(w.stdout, "watching %s for .csv files; outputs in %s; interrupt to stop\n", o.watch, o.out)
	return watcher.Run(ctx)
}

// poll is how often -watch looks at its folder.
const poll = 2 * time.Second

// attackFile attacks the ids of a file.
func attackFile(ctx context.Context, o options, w world) error {
	make := register.FreshScope
	if o.key != "" {
		make = func(string) (register.Scope, error) { return scope(o) }
	}
	own, err := make(o.epoch)
	if err != nil {
		return err
	}
	other, err := register.FreshScope(o.epoch)
	if err != nil {
		return err
	}
	a, err := register.RunAttack(ctx, o.attack, own, other)
	if err != nil {
		return err
	}
	printAttack(w.stdout, o, a)
	return nil
}

// show makes up applications, takes them and attacks the ids.
func show(ctx context.Context, o options, w world) error {
	dir, own := o.out, o.out == ""
	if own {
		var err error
		if dir, err = os.MkdirTemp("", "larder-membership-"); err != nil {
			return err
		}
	}
	if exists(filepath.Join(dir, "register")) {
		return fmt.Errorf("%s has a register already: give a new folder, or -in FILE with its settings", dir)
	}
	inbox := filepath.Join(dir, "inbox")
	if err := os.MkdirAll(inbox, 0o700); err != nil {
		return err
	}
	o.out, o.key, o.newKey, o.legacyID = filepath.Join(dir, "register"), filepath.Join(dir, "key.json"), true, true
	o.asOf, _ = register.ParseDay("2022-01-01")
	const files = 2
	for i := range files {
		path := filepath.Join(inbox, fmt.Sprintf("applications_%d.csv", i+1))
		if err := writeApplications(path, register.Mix{Seed: o.seed + uint64(i), Rows: (o.rows + i) / files}); err != nil {
			return err
		}
		o.in = append(o.in, path)
	}
	fmt.Fprintf(w.stdout, "%d made-up applications (-seed %d) are in %s\n\n", o.rows, o.seed, inbox)
	if err := batch(ctx, o, w); err != nil {
		return err
	}
	o.attack, o.newKey = filepath.Join(o.out, "successful.csv"), false
	if err := attackFile(ctx, o, w); err != nil {
		return err
	}
	remove := []string{dir}
	if !own { // it may hold what is not ours
		remove = []string{inbox, o.out, o.key}
	}
	printNext(w.stdout, o, "rm -r "+strings.Join(remove, " "))
	return nil
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func writeApplications(path string, m register.Mix) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(register.Generate(f, m), f.Close())
}
