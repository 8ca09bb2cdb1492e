package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/larder-dp/larder/dp"
	"github.com/larder-dp/larder/federated"
)

// options are the flags.
type options struct {
	data, format, level    string
	epoch                  string
	demand                 federated.Kind
	stores, members, lists int
	seed                   uint64
	epsilon, delta         float64
	mechanism              dp.Mechanism
	maxItems, maxQuantity  int64 // L0, LInf
	maxTotal, maxNodes     int64 // L1, MaxNodes; 0 = by default
	drop                   float64
	evaluate               bool
	out                    string
	ledger                 string // a file; else the budget lives as long as the run
	ledgerBudget           dp.Budget
	ledgerRule             dp.Rule
	ledgerFlags            []string // those about its budget that were given
	round                  int64
}

// What retail.Generate makes at most.
const (
	mostStoresMade = 1_000
	mostMade       = 10_000_000
)

// leastEpsilon is so that the smallest part of it, a fifth, is still above what
// dp takes at least.
const leastEpsilon = 1e-11

const usage = `usage: simulation [flags]

Runs a whole chain of stores in one process and prints its net demand, privately.
If less than two thirds of the stores answer (the quorum), no number is released.

Files that -data DIR must hold:
  -format lists            inventory.json, and lists.json or, with -demand sales, one sales*.json
  -format completejourney  products.csv and one transactions*.csv, or either as .csv.gz
`

// errFlags is at the root of every error about flags.
var errFlags = errors.New("see -help")

const (
	formatLists   = "lists"
	formatJourney = "completejourney"
	levelProduct  = "product"
)

// parseOptions reads the flags. It returns flag.ErrHelp after it wrote the help
// to help.
func parseOptions(args []string, help io.Writer) (options, error) {
	o := defaults
	// A FlagSet of our own: Google's library registers -v and more on the global one.
	fs := flag.NewFlagSet("simulation", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.Usage = func() {}
	fs.StringVar(&o.data, "data", o.data, "read the chain from `DIR` and do not make one up")
	fs.StringVar(&o.format, "format", o.format, "format of -data: lists or completejourney")
	fs.StringVar(&o.level, "level", o.level, "level of completejourney's products: product, category or department (default category)")
	fs.StringVar(&o.epoch, "epoch", o.epoch, "`NAME` of the dataset epoch of -data (default one made from DIR)")
	fs.StringVar((*string)(&o.demand), "demand", string(o.demand), "what demand is: lists or sales (completejourney has sales only)")
	fs.IntVar(&o.stores, "stores", o.stores, fmt.Sprintf("stores of a generated chain, 1 to %d", mostStoresMade))
	fs.IntVar(&o.members, "members", o.members, "members of a generated chain")
	fs.IntVar(&o.lists, "lists", o.lists, "shopping lists of a generated chain, and as many sales")
	fs.Uint64Var(&o.seed, "seed", o.seed, "fixes the generated chain and the dropped stores, never the noise")
	fs.Float64Var(&o.epsilon, "epsilon", o.epsilon, "privacy loss ε of the whole run")
	fs.Float64Var(&o.delta, "delta", o.delta, "privacy probability δ of the whole run; 0 leaves only the Laplace mechanisms")
	fs.Int64Var(&o.maxItems, "max-items", o.maxItems, "most items of one privacy unit that count at one store")
	fs.Int64Var(&o.maxQuantity, "max-quantity", o.maxQuantity, "most pieces of one item that count")
	fs.Int64Var(&o.maxTotal, "max-total", o.maxTotal, "most pieces in all that count (default max-items × max-quantity)")
	fs.Int64Var(&o.maxNodes, "max-nodes", o.maxNodes, "most stores at which one privacy unit counts (default 2; 1 where the unit lives at one store)")
	fs.StringVar((*string)(&o.mechanism), "mechanism", string(o.mechanism), "noise: auto, laplace, gaussian, discrete_laplace or discrete_gaussian")
	fs.Float64Var(&o.drop, "drop", o.drop, "fraction of the stores that do not answer, from 0 to below 1; two thirds must answer (the quorum)")
	fs.BoolVar(&o.evaluate, "evaluate", o.evaluate, "with -data: compare with the truth, into OUT/simulation-only")
	fs.StringVar(&o.out, "out", o.out, "write the releases and the report page to `DIR`; a former result in it is replaced")

	fs.StringVar(&o.ledger, "ledger", o.ledger, "keep budget and releases in `FILE`: the same question again is answered from it and costs nothing")
	fs.Float64Var(&o.ledgerBudget.Epsilon, "ledger-epsilon", 0, "ε that a new -ledger allows to a privacy unit of this data in all (default -epsilon)")
	fs.Float64Var(&o.ledgerBudget.Delta, "ledger-delta", 0, "δ that a new -ledger allows (default -delta)")
	fs.StringVar(&o.ledgerRule.Name, "ledger-rule", "sum", "how a new -ledger adds up: sum, of ε and δ; or zcdp, by which many questions with Gaussian noise cost less (with -mechanism discrete_gaussian, or -ledger-delta-apart above 0)")
	fs.Float64Var(&o.ledgerRule.DeltaApart, "ledger-delta-apart", 0, "with -ledger-rule zcdp, the `fraction` of δ set apart for what has a δ of its own: the selection of products, Google's Gaussian")
	fs.Int64Var(&o.round, "round", o.round, "with -ledger: ask the same anew, as round 2, 3 ..., with fresh noise and at full cost")

	err := fs.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprint(help, usage, "\n")
		fs.SetOutput(help)
		fs.PrintDefaults()
		return options{}, err
	}
	if err != nil {
		return options{}, fmt.Errorf("%s (%w)", badValue(fs, err), errFlags)
	}
	given := map[string]bool{}
	fs.Visit(func(f *flag.Flag) { given[f.Name] = true })
	if fs.NArg() > 0 {
		err = fmt.Errorf("%q is not a flag: all arguments are flags", fs.Arg(0))
	} else {
		err = o.check(given)
	}
	if err != nil {
		return options{}, fmt.Errorf("%w (%w)", err, errFlags)
	}
	return o, nil
}

var valueError = regexp.MustCompile(`^invalid (?:boolean )?value (".*") for (?:flag )?-([a-z-]+): (.*)$`)

// badValue says what to give instead of a value that package flag cannot read.
func badValue(fs *flag.FlagSet, err error) string {
	m := valueError.FindStringSubmatch(err.Error())
	if m == nil {
		return err.Error()
	}
	value, unquoteErr := strconv.Unquote(m[1])
	f := fs.Lookup(m[2])
	if unquoteErr != nil || f == nil {
		return err.Error()
	}
	want := "a number"
	switch f.Value.(flag.Getter).Get().(type) {
	case bool:
		want = "true or false, or the flag alone"
	case uint64:
		want = "a whole number from 0"
	case int, int64:
		want = "a whole number"
	}
	if strings.Contains(m[3], "out of range") {
		want += " that is not so large"
	}
	if strings.TrimSpace(value) != value || value == "" || strings.ContainsFunc(value, unicode.IsControl) {
		value = m[1]
	}
	return fmt.Sprintf("-%s %s: give %s", f.Name, value, want)
}

// checkMaxNodes refuses more stores than there are.
func checkMaxNodes(most int64, stores int) error {
	if most > int64(stores) {
		return fmt.Errorf("-max-nodes %d: there %s %s", most, are(stores), count(stores, "store", "stores"))
	}
	return nil
}

func are(n int) string {
	if n == 1 {
		return "is"
	}
	return "are"
}

// check refuses values and combinations that make no sense, with the first that
// it finds, and fills in what depends on other flags.
func (o *options) check(given map[string]bool) error {
	if err := o.checkWorld(given); err != nil {
		return err
	}
	if err := o.checkPrivacy(given); err != nil {
		return err
	}
	return o.checkLedger(given)
}

func (o *options) checkLedger(given map[string]bool) error {
	if given["ledger"] && o.ledger == "" {
		return errors.New("-ledger is empty: give it a value or leave it out")
	}
	for _, name := range []string{"ledger-epsilon", "ledger-delta", "ledger-rule", "ledger-delta-apart", "round"} {
		if given[name] && o.ledger == "" {
			return fmt.Errorf("-%s is about the file of -ledger: give -ledger FILE too", name)
		}
		if given[name] {
			o.ledgerFlags = append(o.ledgerFlags, name)
		}
	}
	if o.round < 1 {
		return fmt.Errorf("-round %d: give 1 or more", o.round)
	}
	if err := o.ledgerRule.Validate(); err != nil {
		return fmt.Errorf("-ledger-rule and -ledger-delta-apart: %w", err)
	}
	if !given["ledger-epsilon"] {
		o.ledgerBudget.Epsilon = o.epsilon
	}
	if !given["ledger-delta"] {
		o.ledgerBudget.Delta = o.delta
	}
	if err := o.ledgerBudget.Validate(); err != nil {
		return fmt.Errorf("-ledger-epsilon and -ledger-delta: %w", err)
	}
	return nil
}

func (o *options) checkWorld(given map[string]bool) error {
	for _, name := range []string{"data", "out", "format", "level", "epoch"} {
		if given[name] && map[string]string{"data": o.data, "out": o.out, "format": o.format, "level": o.level, "epoch": o.epoch}[name] == "" {
			return fmt.Errorf("-%s is empty: give it a value or leave it out", name)
		}
	}
	if o.demand != federated.Lists && o.demand != federated.Sales {
		return fmt.Errorf("-demand %s: it is lists or sales", o.demand)
	}
	if o.data == "" {
		if given["level"] {
			return errors.New("-level is for -data with -format completejourney")
		}
		for _, name := range []string{"format", "epoch"} {
			if given[name] {
				return fmt.Errorf("-%s describes the files of -data: give -data DIR too", name)
			}
		}
		if o.evaluate {
			return errors.New("-evaluate is for -data: a generated chain is always compared with its truth")
		}
		return o.checkGenerated()
	}
	for _, name := range []string{"stores", "members", "lists", "seed"} {
		if given[name] {
			return fmt.Errorf("-%s is for a generated chain, and -data reads one", name)
		}
	}
	switch o.format {
	case formatLists:
		if given["level"] {
			return errors.New("-level is for -format completejourney: lists name items")
		}
	case formatJourney:
		if given["demand"] && o.demand != federated.Sales {
			return errors.New("-format completejourney has sales only: give -demand sales")
		}
		o.demand = federated.Sales
		if o.level == "" {
			o.level = "category"
		}
		if !slices.Contains([]string{levelProduct, "category", "department"}, o.level) {
			return fmt.Errorf("-level %s: it is product, category or department", o.level)
		}
	case "":
		return errors.New("-data needs -format: lists or completejourney")
	default:
		return fmt.Errorf("-format %s: it is lists or completejourney", o.format)
	}
	if o.evaluate && o.out == "" {
		return errors.New("-evaluate writes to OUT/simulation-only: give -out DIR too")
	}
	return nil
}

func (o *options) checkGenerated() error {
	for _, f := range []struct {
		name     string
		v, limit int
	}{{"stores", o.stores, mostStoresMade}, {"members", o.members, mostMade}, {"lists", o.lists, mostMade}} {
		if f.v < 1 || f.v > f.limit {
			return fmt.Errorf("-%s %d: give 1 to %d", f.name, f.v, f.limit)
		}
	}
	return nil
}

func (o *options) checkPrivacy(given map[string]bool) error {
	// Written as "not inside", so that NaN is refused.
	if !(o.epsilon > 0 && o.epsilon <= math.MaxFloat64) {
		return fmt.Errorf("-epsilon %g: give a finite number above 0", o.epsilon)
	}
	if o.epsilon < leastEpsilon {
		return fmt.Errorf("-epsilon %g: give at least %g: below it no useful noise fits an int64", o.epsilon, leastEpsilon)
	}
	if !(o.delta >= 0 && o.delta < 1) {
		return fmt.Errorf("-delta %g: give a number from 0 to below 1", o.delta)
	}
	switch o.mechanism {
	case dp.Auto, dp.Laplace, dp.DiscreteLaplace:
	case dp.Gaussian, dp.DiscreteGaussian:
		if o.delta == 0 {
			return fmt.Errorf("-mechanism %s needs a -delta above 0", o.mechanism)
		}
	default:
		return fmt.Errorf("-mechanism %s: it is auto, laplace, gaussian, discrete_laplace or discrete_gaussian", o.mechanism)
	}
	if o.level == levelProduct && o.delta == 0 {
		return errors.New("-level product publishes per-store rows by private selection, which needs a -delta above 0")
	}
	const most = 1 << 30 // dp.Bounds
	for _, f := range []struct {
		name string
		v    int64
	}{{"max-items", o.maxItems}, {"max-quantity", o.maxQuantity}} {
		if f.v < 1 || f.v > most {
			return fmt.Errorf("-%s %d: give 1 to %d", f.name, f.v, most)
		}
	}
	if given["max-nodes"] && (o.maxNodes < 1 || o.maxNodes > math.MaxInt32) {
		return fmt.Errorf("-max-nodes %d: give 1 or more stores", o.maxNodes)
	}
	if o.data == "" {
		if err := checkMaxNodes(o.maxNodes, o.stores); err != nil {
			return err
		}
	}
	if o.maxNodes > 1 && o.format == formatJourney {
		return fmt.Errorf("-max-nodes %d: %s has no home stores, so that its privacy unit is a household at one store: give 1 or leave it out", o.maxNodes, o.format)
	}
	product := o.maxItems * o.maxQuantity // ≤ 2⁶⁰
	if given["max-total"] && (o.maxTotal < 1 || o.maxTotal > product) {
		return fmt.Errorf("-max-total %d: give 1 to max-items × max-quantity = %d", o.maxTotal, product)
	}
	if o.maxTotal == 0 {
		o.maxTotal = product
	}
	if !(o.drop >= 0 && o.drop < 1) {
		return fmt.Errorf("-drop %g: give a fraction from 0 to below 1", o.drop)
	}
	return nil
}

// oneLine puts a joined error on one line.
func oneLine(err error) string {
	return strings.Join(strings.Split(strings.TrimSpace(err.Error()), "\n"), "; ")
}
