// Command tally reads the output of "go test -json", prints what failed, and
// closes with the line "N passed, N failed, N skipped".
//
//	tally -skips FILE RESULT.json...
//
// It exits with 1 if a test failed, if none ran, or if one was skipped that
// FILE does not list. See the head of .ci/allowed-skips for the format.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

func main() {
	skips := flag.String("skips", "", "`file` of allowed skips")
	flag.Parse()
	ok, err := run(os.Stdout, *skips, flag.Args())
	if err != nil {
		fmt.Fprintln(os.Stderr, "tally:", err)
	}
	if !ok || err != nil {
		os.Exit(1)
	}
}

func run(w io.Writer, skips string, results []string) (bool, error) {
	f, err := os.Open(skips)
	if err != nil {
		return false, err
	}
	defer f.Close()
	allowed, err := parseSkips(f)
	if err != nil {
		return false, fmt.Errorf("%s: %w", skips, err)
	}
	t := tally{output: map[test]*strings.Builder{}}
	for _, name := range results {
		f, err := os.Open(name)
		if err != nil {
			return false, err
		}
		err = t.read(f)
		f.Close()
		if err != nil {
			return false, fmt.Errorf("%s: %w", name, err)
		}
	}
	return t.report(w, allowed, os.Getenv), nil
}

// A skip is one line of the list.
type skip struct{ pkg, name, reason string }

func parseSkips(r io.Reader) ([]skip, error) {
	var out []skip
	s := bufio.NewScanner(r)
	for n := 1; s.Scan(); n++ {
		line := strings.TrimSpace(s.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		f := strings.Fields(line)
		if len(f) < 3 {
			return nil, fmt.Errorf("line %d: give a package, a test and a reason", n)
		}
		out = append(out, skip{f[0], f[1], strings.Join(f[2:], " ")})
	}
	return out, s.Err()
}

// allows reports whether t may be skipped here: a reason that begins with
// "NAME:" counts only where the environment variable NAME is not set.
func (s skip) allows(t test, getenv func(string) string) bool {
	if s.pkg != t.pkg || s.name != t.name && !strings.HasPrefix(t.name, s.name+"/") {
		return false
	}
	word, _, _ := strings.Cut(s.reason, " ")
	name, conditional := strings.CutSuffix(word, ":")
	return !conditional || getenv(name) == ""
}

// A test with an empty name is the package itself, or its build.
type test struct{ pkg, name string }

type tally struct {
	output map[test]*strings.Builder

	passed                  int
	failed, skipped, broken []test // broken: packages
}

// read adds one run. See "go doc test2json" and "go help buildjson".
func (t *tally) read(r io.Reader) error {
	d := json.NewDecoder(r)
	for {
		var e struct{ Action, Package, Test, ImportPath, Output, FailedBuild string }
		if err := d.Decode(&e); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		at := test{e.Package, e.Test}
		switch e.Action {
		case "output":
			t.say(at, e.Output)
		case "build-output":
			t.say(test{pkg: e.ImportPath}, e.Output)
		case "pass":
			if at.name != "" {
				t.passed++
			}
		case "skip":
			if at.name != "" { // else: a package without tests
				t.skipped = append(t.skipped, at)
			}
		case "fail":
			if at.name != "" {
				t.failed = append(t.failed, at)
				continue
			}
			if e.FailedBuild != "" && e.FailedBuild != at.pkg {
				if b := t.output[test{pkg: e.FailedBuild}]; b != nil {
					t.say(at, b.String())
				}
			}
			t.broken = append(t.broken, at)
		}
	}
}

func (t *tally) say(at test, text string) {
	if t.output[at] == nil {
		t.output[at] = new(strings.Builder)
	}
	t.output[at].WriteString(text)
}

func (t *tally) report(w io.Writer, allowed []skip, getenv func(string) string) bool {
	failed := slices.Clone(t.failed)
	for _, p := range t.broken {
		// A package that fails without a failed test did not build, or died.
		if !slices.ContainsFunc(failed, func(f test) bool { return f.pkg == p.pkg }) {
			failed = append(failed, p)
		}
	}
	for _, f := range failed {
		fmt.Fprintf(w, "FAILED %s %s\n", f.pkg, f.name)
		if b := t.output[f]; b != nil {
			fmt.Fprint(w, b.String())
		}
	}
	ok := true
	for _, s := range t.skipped {
		i := slices.IndexFunc(allowed, func(a skip) bool { return a.allows(s, getenv) })
		if i >= 0 {
			fmt.Fprintf(w, "skipped %s %s: %s\n", s.pkg, s.name, allowed[i].reason)
			continue
		}
		ok = false
		fmt.Fprintf(w, "SKIPPED WITHOUT LEAVE %s %s\n", s.pkg, s.name)
		if b := t.output[s]; b != nil {
			fmt.Fprint(w, b.String())
		}
	}
	if t.passed == 0 {
		fmt.Fprintln(w, "no test ran")
	}
	fmt.Fprintf(w, "%d passed, %d failed, %d skipped\n", t.passed, len(failed), len(t.skipped))
	return ok && len(failed) == 0 && t.passed > 0
}
