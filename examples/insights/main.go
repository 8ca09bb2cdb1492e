// Insights answers what a data team asks about a chain's members, privately: how many
// each store has, how many different ones several stores have together and share, how
// recently, often and for how much they buy, and on what they spend. It prints the
// released numbers with their error bars, and what they cost.
//
//	go run ./examples/insights
//	go run ./examples/insights -data DIR
//	go run ./examples/insights -data DIR -evaluate
//
// Without -data the chain is made up from -seed, which fixes the world and never the
// noise, and the truth stands beside the numbers of members at stores. With -data it reads
// a folder in the format of the Complete Journey, and tells the truth only under -evaluate:
// that is for the owner of all the data, or for data that are public already.
//
// -epsilon is what one question costs, and the end of the output adds all of them up.
//
// Exit codes: 0, done; 1, the run failed; 2, the flags make no sense.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"os/signal"
	"strings"
)

// options are the flags.
type options struct {
	data           string
	evaluate       bool
	epsilon, delta float64
	stores         int
	members        int
	seed           uint64
}

var errFlags = errors.New("see -help")

const usage = `usage: insights [flags]

Answers a data team's questions about a chain's members, privately.
-data DIR must hold products.csv and one transactions*.csv, or either as .csv.gz.

`

func parseOptions(args []string, help io.Writer) (o options, err error) {
	// A FlagSet of our own: Google's library registers -v and more on the global one.
	fs := flag.NewFlagSet("insights", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.StringVar(&o.data, "data", "", "read the chain from `DIR` and do not make one up")
	fs.BoolVar(&o.evaluate, "evaluate", false, "with -data: print the truth about who bought where beside the answers")
	fs.Float64Var(&o.epsilon, "epsilon", 1, "privacy loss ε of each question (of the flipped one, at each store that a member counts at)")
	fs.Float64Var(&o.delta, "delta", 1e-6, "privacy probability δ of the one question that selects cells")
	fs.IntVar(&o.stores, "stores", 40, "stores of a generated chain, 3 to 1000")
	fs.IntVar(&o.members, "members", 10_000, "members of a generated chain, 1 to 100000")
	fs.Uint64Var(&o.seed, "seed", 1, "fixes the generated chain, never the noise")
	if err = fs.Parse(args); errors.Is(err, flag.ErrHelp) {
		fmt.Fprint(help, usage)
		fs.SetOutput(help)
		fs.PrintDefaults()
		return o, err
	}
	given := map[string]bool{}
	fs.Visit(func(f *flag.Flag) { given[f.Name] = true })
	switch {
	case err != nil:
	case fs.NArg() > 0:
		err = fmt.Errorf("%q is not a flag: all arguments are flags", fs.Arg(0))
	case given["data"] && o.data == "":
		err = errors.New("-data is empty: give it a folder or leave it out")
	case o.data != "" && (given["stores"] || given["members"] || given["seed"]):
		err = errors.New("-stores, -members and -seed are for a generated chain, and -data reads one")
	case o.data == "" && o.evaluate:
		err = errors.New("-evaluate is for -data: a generated chain is always compared with its truth")
	case !(o.epsilon >= 1e-3 && o.epsilon <= math.MaxFloat64):
		err = fmt.Errorf("-epsilon %g: give a finite number from 0.001", o.epsilon)
	case !(o.delta > 0 && o.delta < 1):
		err = fmt.Errorf("-delta %g: give a number above 0 and below 1", o.delta)
	case o.stores < 3 || o.stores > 1000 || o.members < 1 || o.members > 100_000:
		err = errors.New("-stores is from 3 to 1000, -members from 1 to 100000")
	}
	if err != nil {
		err = fmt.Errorf("%w (%w)", err, errFlags)
	}
	return o, err
}

// run is the program without its process.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, err := parseOptions(args, stdout)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err == nil {
		err = insights(ctx, o, stdout)
	}
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errFlags):
		fmt.Fprintln(stderr, "insights:", err)
		return 2
	}
	fmt.Fprintln(stderr, "insights:", strings.ReplaceAll(err.Error(), "\n", "; "))
	return 1
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}
