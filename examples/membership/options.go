package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"github.com/larder-dp/larder/examples/internal/register"
)

// options are the flags.
type options struct {
	in         []string
	watch      string
	attack     string
	out        string
	asOf       register.Date
	key        string
	newKey     bool
	epoch      string
	postgres   string
	legacyID   bool
	purgeAfter time.Duration
	settle     time.Duration
	seed       uint64
	rows       int
}

// The defaults.
const (
	defaultEpoch  = "1"
	defaultSettle = 10 * time.Second
	defaultRows   = 2000
	mostRows      = 100_000 // each is attacked too
)

const usage = `usage: membership [flags]

Checks applications for membership, keeps members, and gives them keyed pseudonyms.
Without -in, -watch or -attack it shows all of it on made-up applications.

An input is CSV with the columns name, email, date_of_birth and mobile_no.
`

// errFlags is at the root of every error about flags.
var errFlags = errors.New("see -help")

// parseOptions reads the flags. It returns flag.ErrHelp after it wrote the help
// to help.
func parseOptions(args []string, help io.Writer) (options, error) {
	var o options
	fs := flag.NewFlagSet("membership", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.Usage = func() {}
	fs.Func("in", "take the applications of `FILE`; repeat it for more", func(s string) error {
		if s == "" {
			return errors.New("it is empty")
		}
		o.in = append(o.in, s)
		return nil
	})
	fs.StringVar(&o.watch, "watch", "", "take every .csv file of `DIR`, as it arrives, until interrupted")
	fs.StringVar(&o.attack, "attack", "", "attack the ids of `FILE`, a successful.csv, by brute force over birthdays")
	fs.StringVar(&o.out, "out", "", "keep outputs, members and the audit log in `DIR`")
	fs.Func("as-of", "the `DAY`, as YYYY-MM-DD, on which an applicant must be 18", func(s string) (err error) {
		o.asOf, err = register.ParseDay(s)
		return err
	})
	fs.StringVar(&o.key, "key", "", "the key of the pseudonyms is in `FILE`, which nobody but its owner may read")
	fs.BoolVar(&o.newKey, "new-key", false, "make -key FILE, or add the key of a new -epoch to it")
	fs.StringVar(&o.epoch, "epoch", defaultEpoch, "`NAME` of the epoch of the pseudonyms")
	fs.StringVar(&o.postgres, "postgres", "", "keep members in PostgreSQL at `CONNECTION`, and not in OUT/members.db; give the password by PGPASSWORD or a passfile")
	fs.BoolVar(&o.legacyID, "legacy-id", false, "give the old membership id too, in a column of its own: it gives birthdays away")
	fs.DurationVar(&o.purgeAfter, "purge-after", 0, "with -watch: remove a raw file so long after it was processed, such as 168h; 0 is never")
	fs.DurationVar(&o.settle, "settle", defaultSettle, "with -watch: take a file once it has not changed for so long")
	fs.Uint64Var(&o.seed, "seed", 1, "fixes the made-up applications, never the key")
	fs.IntVar(&o.rows, "rows", defaultRows, "made-up applications")

	err := fs.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprint(help, usage, "\n")
		fs.SetOutput(help)
		fs.PrintDefaults()
		return options{}, err
	}
	if err == nil {
		given := map[string]bool{}
		fs.Visit(func(f *flag.Flag) { given[f.Name] = true })
		if fs.NArg() > 0 {
			err = errors.New("an argument is not a flag: give files by -in FILE")
		} else {
			err = o.check(given)
		}
	}
	if err != nil {
		return options{}, fmt.Errorf("%w (%w)", err, errFlags)
	}
	return o, nil
}

// What each way of running takes, besides the flag that chooses it.
var takes = map[string]string{
	"in":     " in out as-of key new-key epoch postgres legacy-id ",
	"watch":  " watch out as-of key new-key epoch postgres legacy-id purge-after settle ",
	"attack": " attack key epoch ",
	"":       " out seed rows ",
}

// neededBy names the ways of running that take a flag, as flags.
func neededBy(name string) string {
	var ways []string
	for _, w := range []string{"in FILE", "watch DIR", "attack FILE"} {
		if kind, _, _ := strings.Cut(w, " "); strings.Contains(takes[kind], " "+name+" ") {
			ways = append(ways, "-"+w)
		}
	}
	return strings.Join(ways, " or ")
}

// check refuses values and combinations that make no sense.
func (o *options) check(given map[string]bool) error {
	way := ""
	for _, w := range []string{"in", "watch", "attack"} {
		if given[w] && way != "" {
			return fmt.Errorf("-%s and -%s: give one of them", way, w)
		}
		if given[w] {
			way = w
		}
	}
	for name := range given {
		if !strings.Contains(takes[way], " "+name+" ") {
			if way == "" {
				return fmt.Errorf("-%s needs %s", name, neededBy(name))
			}
			return fmt.Errorf("-%s does not go with -%s", name, way)
		}
	}
	for name, value := range map[string]string{"watch": o.watch, "attack": o.attack, "out": o.out, "key": o.key, "postgres": o.postgres} {
		if given[name] && value == "" {
			return fmt.Errorf("-%s is empty: give it a value or leave it out", name)
		}
	}
	switch way {
	case "":
		if o.rows < 1 || o.rows > mostRows {
			return fmt.Errorf("-rows %d: give 1 to %d", o.rows, mostRows)
		}
		return nil
	case "attack":
		return nil
	}
	switch {
	case o.out == "":
		return errors.New("give -out DIR for the outputs")
	case o.asOf == 0:
		return errors.New("give -as-of, the day on which an applicant must be 18, such as 2022-01-01")
	case o.key == "":
		return errors.New("give -key FILE, and -new-key the first time")
	case o.purgeAfter < 0 || o.settle < 0:
		return errors.New("-purge-after and -settle: give times from 0s")
	case within(o.key, o.out):
		return errors.New("-key is within -out: keep the key elsewhere than the pseudonyms that it undoes")
	case o.watch != "" && (within(o.watch, o.out) || within(o.key, o.watch)):
		return errors.New("-watch, -out and -key: give the inputs, the outputs and the key places of their own")
	}
	return nil
}

// within says whether a path is a folder or below it.
func within(path, dir string) bool {
	p, errP := resolve(path)
	d, errD := resolve(dir)
	if errP != nil || errD != nil {
		return true // fail closed
	}
	rel, err := filepath.Rel(d, p)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator))
}

// resolve follows links as far as a path is there.
func resolve(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	real, err := filepath.EvalSymlinks(path)
	if parent := filepath.Dir(path); errors.Is(err, fs.ErrNotExist) && parent != path {
		real, err = resolve(parent)
		return filepath.Join(real, filepath.Base(path)), err
	}
	return real, err
}
