// Membership takes the applications of new members, hour by hour: it checks them,
// says of every row that fails all that is wrong with it, keeps the members in a
// store, and gives each a pseudonym that only the holder of the key can make or
// test. It also attacks the membership ids that stores used to give, which give
// birthdays away.
//
//	go run ./examples/membership
//	go run ./examples/membership -in a.csv -in b.csv -out DIR -as-of 2022-01-01 -key FILE -new-key
//	go run ./examples/membership -watch INBOX -out DIR -as-of 2022-01-01 -key FILE -purge-after 168h
//	go run ./examples/membership -attack DIR/successful.csv -key FILE
//
// Without -in, -watch or -attack it makes up a few files of applications from
// -seed, takes them, and attacks the ids it gave: everything, the key too, is in -out
// DIR or else in a new temporary folder, whose name it prints.
//
// The rules for rows, the columns of the outputs, the schema of the store, what
// survives a crash and what none of it protects are in the doc of package
// examples/internal/register (go doc ./examples/internal/register).
//
// -as-of is the day on which an applicant must be 18. It, -legacy-id, -epoch and
// the key belong to the folder: with others the program refuses it. The key file
// has mode 0600; -new-key makes it. Keep it elsewhere than the folder: the
// pseudonyms hide nothing from whoever has the key.
//
// Exit codes: 0, done; 1, the run failed, or a file was refused (the others were
// taken); 2, the flags make no sense.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], world{stdout: os.Stdout, stderr: os.Stderr, now: time.Now})
	stop()
	os.Exit(code)
}
