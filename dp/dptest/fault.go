package dptest

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// A Fault is a rule that was seen broken. Every check of this package but that of
// ledgers returns its findings as joined Faults.
type Fault struct {
	Check string // the check that found it
	Rule  string // what must hold
	Found string // what was seen instead, and by how much
	Input string // the smallest input on which it was seen
	Means string // what an attacker, or an unlucky analyst, gets from it
}

// Error lists all of it, a line each.
func (f *Fault) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: broken rule: %s", f.Check, f.Rule)
	for _, line := range [][2]string{{"found", f.Found}, {"smallest input", f.Input}, {"what it means", f.Means}} {
		if line[1] != "" {
			fmt.Fprintf(&b, "\n\t%s: %s", line[0], line[1])
		}
	}
	return b.String()
}

// Finding names the check and its rule, for KillMatrix.
func (f *Fault) Finding() string { return f.Check + ": " + f.Rule }

// report fails t with every finding.
func report(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}

// A Sabotage is a build that is broken on purpose, to see a check turn red.
type Sabotage struct {
	// Name is the bug that it re-creates, and Source where that was seen.
	Name, Source string
	// Check runs the build under a check and returns what that found. Required.
	Check func() error
	// Impossible says why no check can catch it; empty for nearly all.
	Impossible string
}

// KillMatrix runs every build and fails t for each that no check catches. It
// writes a line a build, and the count last:
//
//	sabotage: NAME  caught by CHECK
//	killed N of N
//
// What counts is a finding, an error with a method Finding() string such as *Fault: a check
// that cannot run has caught nothing. A list of builds that are all caught says that the checks can fail; one that
// is not says which check to write next.
func KillMatrix(t testing.TB, builds []Sabotage) {
	t.Helper()
	killed := 0
	for _, s := range builds {
		err := s.Check()
		found, ok := errors.AsType[interface {
			error
			Finding() string
		}](err)
		switch {
		case ok:
			killed++
			fmt.Fprintf(t.Output(), "sabotage: %-60s caught by %s\n", s.Name, found.Finding())
		case err != nil:
			t.Errorf("the check of %q did not run: %v", s.Name, err)
		case s.Impossible != "":
			fmt.Fprintf(t.Output(), "sabotage: %-60s impossible to catch: %s\n", s.Name, s.Impossible)
		default:
			fmt.Fprintf(t.Output(), "sabotage: %-60s NOT CAUGHT\n", s.Name)
			t.Errorf("no check catches %q (%s)", s.Name, s.Source)
		}
	}
	fmt.Fprintf(t.Output(), "killed %d of %d\n", killed, len(builds))
}
