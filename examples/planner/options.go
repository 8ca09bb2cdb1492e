package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/larder-dp/larder/dp"
)

// options are the flags.
type options struct {
	plan, cases, out string
	season           *season
}

const usage = `usage: planner [flags]

Tells what a plan of private releases costs, and how noisy each figure will be, before anything is spent.
It reads no data. Without flags it tells a plan of its own; go doc ./examples/planner has the format of plans.
`

// errFlags is at the root of every error about flags.
var errFlags = errors.New("see -help")

// seasonFlags are those that describe the season.
var seasonFlags = strings.Fields("peaks peak-weight epsilon delta weeks-per-unit max-items max-quantity max-total max-nodes")

// A seasonText is the season's flags as they come.
type seasonText struct {
	weeks, peaks   string
	weight         float64
	epsilon, delta float64
	weeksPerUnit   int
	bounds         dp.Bounds
}

// parseOptions reads the flags. It returns flag.ErrHelp after it wrote the help to help.
func parseOptions(args []string, help io.Writer) (options, error) {
	var o options
	// Those of the simulation: a list of 20 items, 4 pieces of each, at two stores.
	s := seasonText{weight: 2, bounds: dp.Bounds{L0: 20, LInf: 4, MaxNodes: 2}}
	// A FlagSet of our own: Google's library registers -v and more on the global one.
	fs := flag.NewFlagSet("planner", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.Usage = func() {}
	fs.StringVar(&o.plan, "plan", "", "tell the plan in `FILE`")
	fs.StringVar(&o.out, "out", "", "write the page plan.html to the folder `DIR`; a former one in it is replaced")
	fs.StringVar(&o.cases, "cases", "", "answer the cases in `FILE`, a line each, and print nothing else")
	fs.StringVar(&s.weeks, "season", "", "split one budget over a season: `weeks=N`, 1 to 520")
	fs.StringVar(&s.peaks, "peaks", "", "with -season: its peak weeks, such as 47,51")
	fs.Float64Var(&s.weight, "peak-weight", s.weight, "with -season: by how much a peak week's figures are more exact than others, from 1")
	fs.Float64Var(&s.epsilon, "epsilon", 0, "with -season: privacy loss ε of the whole season; required")
	fs.Float64Var(&s.delta, "delta", 0, "with -season: privacy probability δ of the whole season, above 0; required")
	fs.IntVar(&s.weeksPerUnit, "weeks-per-unit", 0, "with -season: most weeks `W` that one privacy unit is in; required")
	fs.Int64Var(&s.bounds.L0, "max-items", s.bounds.L0, "with -season: most items of one privacy unit that count at one store in a week")
	fs.Int64Var(&s.bounds.LInf, "max-quantity", s.bounds.LInf, "with -season: most pieces of one item that count")
	fs.Int64Var(&s.bounds.L1, "max-total", 0, "with -season: most pieces in all that count (default max-items × max-quantity)")
	fs.Int64Var(&s.bounds.MaxNodes, "max-nodes", s.bounds.MaxNodes, "with -season: most stores at which one privacy unit counts")
	err := fs.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprint(help, usage, "\n")
		fs.SetOutput(help)
		fs.PrintDefaults()
		return options{}, err
	}
	given := map[string]bool{}
	fs.Visit(func(f *flag.Flag) { given[f.Name] = true })
	if err == nil && fs.NArg() > 0 {
		err = fmt.Errorf("%q is not a flag: all arguments are flags", fs.Arg(0))
	}
	if err == nil {
		err = o.check(given, s)
	}
	if err != nil {
		return options{}, fmt.Errorf("%s (%w)", oneLine(err), errFlags)
	}
	return o, nil
}

// check refuses combinations that make no sense, with the first that it finds.
func (o *options) check(given map[string]bool, s seasonText) error {
	for name, v := range map[string]string{"plan": o.plan, "out": o.out, "cases": o.cases, "season": s.weeks} {
		if given[name] && v == "" {
			return fmt.Errorf("-%s is empty: give it a value or leave it out", name)
		}
	}
	var jobs []string
	for _, name := range []string{"plan", "season", "cases"} {
		if given[name] {
			jobs = append(jobs, "-"+name)
		}
	}
	if len(jobs) > 1 {
		return fmt.Errorf("%s are different jobs: give one of them", strings.Join(jobs, " and "))
	}
	if given["cases"] && given["out"] {
		return errors.New("-cases writes to the terminal only: leave -out out")
	}
	if !given["season"] {
		for _, name := range seasonFlags {
			if given[name] {
				return fmt.Errorf("-%s describes a season: give -season weeks=N too", name)
			}
		}
		return nil
	}
	for _, name := range []string{"epsilon", "delta", "weeks-per-unit"} {
		if !given[name] {
			return fmt.Errorf("-season needs -%s: it has no default", name)
		}
	}
	var err error
	o.season, err = s.season(given)
	return err
}

// season makes sense of the texts.
func (s seasonText) season(given map[string]bool) (*season, error) {
	out := &season{peakWeight: s.weight, weeksPerUnit: s.weeksPerUnit, budget: dp.Budget{Epsilon: s.epsilon, Delta: s.delta}}
	n, ok := strings.CutPrefix(s.weeks, "weeks=")
	weeks, err := strconv.Atoi(n)
	if !ok || err != nil || weeks < 1 || weeks > mostWeeks {
		return nil, fmt.Errorf("-season %s: give weeks=N, with N from 1 to %d", s.weeks, mostWeeks)
	}
	out.weeks = weeks
	if given["peaks"] {
		for text := range strings.SplitSeq(s.peaks, ",") {
			week, err := strconv.Atoi(strings.TrimSpace(text))
			if err != nil || week < 1 || week > weeks {
				return nil, fmt.Errorf("-peaks %s: give weeks from 1 to %d, such as 47,51", s.peaks, weeks)
			}
			if slices.Contains(out.peaks, week) {
				return nil, fmt.Errorf("-peaks %s: week %d is there twice", s.peaks, week)
			}
			out.peaks = append(out.peaks, week)
		}
		slices.Sort(out.peaks)
	}
	// Written as "not inside", so that NaN is refused.
	switch {
	case given["peak-weight"] && !given["peaks"]:
		return nil, errors.New("-peak-weight is about peak weeks: give -peaks too")
	case !(s.weight >= 1 && s.weight <= 1000):
		return nil, fmt.Errorf("-peak-weight %g: give a number from 1 to 1000", s.weight)
	case s.weeksPerUnit < 1 || s.weeksPerUnit > weeks:
		return nil, fmt.Errorf("-weeks-per-unit %d: give 1 to %d weeks", s.weeksPerUnit, weeks)
	case !(s.epsilon > 0 && s.epsilon <= math.MaxFloat64):
		return nil, fmt.Errorf("-epsilon %g: give a finite number above 0", s.epsilon)
	case !(s.delta > 0 && s.delta < 1):
		return nil, fmt.Errorf("-delta %g: give a number above 0 and below 1: the noise is Gaussian", s.delta)
	}
	b := s.bounds
	if !given["max-total"] && b.L0 >= 1 && b.L0 <= 1<<30 && b.LInf >= 1 && b.LInf <= 1<<30 {
		b.L1 = b.L0 * b.LInf
	}
	sens, err := b.Sensitivity(dp.Disjoint)
	if err != nil {
		return nil, errors.New(inFlags.Replace(oneLine(err)))
	}
	out.bounds, out.sensitivity = b, math.Sqrt(float64(sens.L2Squared))
	// The extremes of what will be asked of the noise.
	for _, loss := range []float64{1, float64(mostWeeks) * mostWeeks * 3} {
		if _, err := out.sigma(loss); err != nil {
			return nil, fmt.Errorf("-epsilon %g -delta %g: no noise keeps them", s.epsilon, s.delta)
		}
	}
	return out, nil
}

// inFlags puts what the library calls a bound into the flag that sets it.
var inFlags = strings.NewReplacer("check bounds: ", "", "MaxNodes", "-max-nodes", "LInf", "-max-quantity", "L0", "-max-items", "L1", "-max-total")

// oneLine puts a joined error on one line.
func oneLine(err error) string {
	return strings.Join(strings.Split(strings.TrimSpace(err.Error()), "\n"), "; ")
}
