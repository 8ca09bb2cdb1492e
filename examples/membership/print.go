package main

import (
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/larder-dp/larder/examples/internal/register"
)

// A taken is a file of this run.
type taken struct {
	file  register.File
	known bool // from an earlier run, or an earlier -in
}

// table aligns columns; the caller flushes it.
func table(w io.Writer) *tabwriter.Writer {
	return tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
}

func printBatch(w io.Writer, o options, files []taken, all []register.File, l register.Likeness, elapsed time.Duration) {
	var tally register.Tally
	var rows int64
	t := table(w)
	fmt.Fprintln(t, "rows\tsuccessful\tunsuccessful\tnew members\t  file")
	line := func(y register.Tally, members int64, name string) {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t  %s\n", group(y.Rows), group(y.Successful), group(y.Unsuccessful()), group(members), name)
	}
	for _, f := range files {
		name := f.file.Name
		if f.known {
			name += " (was taken before: nothing to do)"
		} else {
			rows += f.file.Tally.Rows
		}
		line(f.file.Tally, f.file.Members, name)
	}
	for _, f := range all {
		tally.Add(f.Tally)
	}
	line(tally, l.Members, "the whole register")
	_ = t.Flush()

	fmt.Fprintf(w, "\nWhy rows are unsuccessful (%s of them; a row has all its reasons):\n", group(tally.Unsuccessful()))
	t = table(w)
	for _, column := range []string{"row", "name", "email", "date_of_birth", "mobile_no", "name and email"} {
		if n := tally.Failing(column); n > 0 {
			fmt.Fprintf(t, "%s\t  %s\n", group(n), column+" "+of(tally, column))
		}
	}
	_ = t.Flush()

	fmt.Fprintf(w, "\nMembers: %s, from %s successful rows, of which %s repeat a member.\n",
		group(l.Members), group(tally.Successful), group(tally.Successful-l.Members))
	fmt.Fprintf(w, "  %s share name and birthday with an earlier member under another e-mail address:\n", share(l.SameNameAndBirthday, l.Members))
	fmt.Fprintln(w, "  at most so many are one person under two pseudonyms, the others namesakes born on one day.")
	fmt.Fprintf(w, "  %s share a mobile number with another.\n", share(l.SameMobile, l.Members))
	fmt.Fprintf(w, "  %s would have lost their own id to the old membership id, which merges namesakes.\n", share(l.SameLegacyID, l.Members))
	if rows > 0 && elapsed > 0 {
		fmt.Fprintf(w, "%s rows in %.2f s.\n", group(rows), elapsed.Seconds())
	}
	fmt.Fprintf(w, "In %s: successful.csv, unsuccessful.csv, pseudonyms.csv, audit.log", o.out)
	if o.postgres == "" {
		fmt.Fprint(w, ", members.db")
	}
	fmt.Fprintln(w)
}

// of lists the reasons of a column with their counts.
func of(t register.Tally, column string) string {
	var why []string
	for i, text := range register.Texts() {
		if field, problem, _ := strings.Cut(text, ": "); field == column && t.Why[i] > 0 {
			why = append(why, problem+" "+group(t.Why[i]))
		}
	}
	return "(" + strings.Join(why, ", ") + ")"
}

func printEvent(w world, e register.Event) {
	at := w.now().UTC().Format(time.RFC3339)
	switch {
	case e.Refused != nil:
		fmt.Fprintf(w.stderr, "%s refused: %v\n", at, e.Refused)
	case e.Purged:
		fmt.Fprintf(w.stdout, "%s purged %s\n", at, e.Name)
	case e.Known:
		fmt.Fprintf(w.stdout, "%s %s was taken before: nothing to do\n", at, e.Name)
	default:
		fmt.Fprintf(w.stdout, "%s %s: %s rows, %s successful, %s new members\n", at, e.Name,
			group(e.File.Tally.Rows), group(e.File.Tally.Successful), group(e.File.Members))
	}
}

func printAttack(w io.Writer, o options, a register.Attack) {
	fmt.Fprintf(w, "\nAttack on the ids of %s: brute force over the %s days of 1900 to 2022.\n", filepath.Base(o.attack), group(int64(a.Guesses)))
	t := table(w)
	if a.LegacyIDs > 0 {
		fmt.Fprintf(t, "%s of %s\t  legacy ids give up one birthday (one day and no other has the hash); it is the right one for %s\n",
			group(int64(a.GiveUp)), group(int64(a.LegacyIDs)), group(int64(a.Right)))
	} else {
		fmt.Fprintln(t, "no\t  legacy ids in the file")
	}
	fmt.Fprintf(t, "%s of %s\t  keyed pseudonyms give up the birthday without the key, to one who knows name and address\n", group(int64(a.WithoutKey)), group(int64(a.Rows)))
	switch {
	case a.Given && o.key == "":
		fmt.Fprintln(t, "?\t  do with the key: give -key FILE")
	case a.WithKey == 0 && a.Rows > 0:
		fmt.Fprintf(t, "0 of %s\t  do with this key: it is not the one that made them\n", group(int64(a.Rows)))
	default:
		fmt.Fprintf(t, "%s of %s\t  do with the key: whoever has it can test every guess\n", group(int64(a.WithKey)), group(int64(a.Rows)))
	}
	_ = t.Flush()
	if !a.Given {
		fmt.Fprintln(w, "The file has no pseudonyms: they were made of its rows for the attack.")
	}
	fmt.Fprintf(w, "Without the key %s values were tried: SHA-256 of every birthday and of every whole id,\n", group(a.Tried))
	fmt.Fprintln(w, "and, for the right birthday, the pseudonym under another key. Without the key no guess can be tested:")
	fmt.Fprintln(w, "to find it takes 2^255 tries on average, and chance hits a pseudonym of 128 bits once in 2^128.")
}

func printNext(w io.Writer, o options, remove string) {
	fmt.Fprintf(w, `
Next:
  the same again changes nothing:
    go run ./examples/membership -in %[1]s -in %[2]s -out %[3]s -as-of 2022-01-01 -legacy-id -key %[4]s
  leave it running over a folder, and remove raw files after a week:
    go run ./examples/membership -watch %[5]s -out %[3]s -as-of 2022-01-01 -legacy-id -key %[4]s -purge-after 168h
  what the key is worth (without -key, no pseudonym gives a birthday up):
    go run ./examples/membership -attack %[3]s/successful.csv -key %[4]s
  when you are done:
    %[6]s
`, o.in[0], o.in[1], o.out, o.key, filepath.Dir(o.in[0]), remove)
}

func share(n, of int64) string {
	if of == 0 {
		return "0"
	}
	return fmt.Sprintf("%s (%.2f %%)", group(n), 100*float64(n)/float64(of))
}

// group writes a whole number with commas.
func group(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
