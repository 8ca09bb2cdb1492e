package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/larder-dp/larder/examples/internal/terminal"
)

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitFlags  = 2
)

// run is the program without its process.
func run(args []string, stdout, stderr io.Writer) int {
	o, err := parseOptions(args, stdout)
	if errors.Is(err, flag.ErrHelp) {
		return exitOK
	}
	if err == nil {
		err = o.do(stdout, stderr)
	}
	if err == nil {
		return exitOK
	}
	fmt.Fprintln(stderr, "planner:", oneLine(err))
	if errors.Is(err, errFlags) {
		return exitFlags
	}
	return exitFailed
}

func (o options) do(stdout, stderr io.Writer) error {
	switch {
	case o.cases != "":
		f, err := os.Open(o.cases)
		if err != nil {
			return fmt.Errorf("-cases: %w (%w)", err, errFlags)
		}
		defer f.Close() // it was only read
		return answerCases(f, stdout)
	case o.season != nil:
		return o.tellSeason(stdout, stderr)
	}
	return o.tellPlan(stdout, stderr)
}

// tellPlan prints nothing before everything that can fail is done.
func (o options) tellPlan(stdout, stderr io.Writer) error {
	p, err := o.readPlan()
	if err != nil {
		return err
	}
	steps := p.work()
	if o.out != "" {
		steps += curves{}.work()
	}
	step, done := terminal.Progress(stderr, "adding up", steps)
	b, err := p.cost(step)
	var c curves
	if err == nil && o.out != "" {
		c, err = p.curves(step)
	}
	done()
	if err != nil {
		return fmt.Errorf("%s: %w", o.planName(), err)
	}
	if o.out != "" {
		if err := writePage(o.out, b.page(c)); err != nil {
			return err
		}
	}
	pr := terminal.NewPrinter(stdout)
	b.print(pr, o)
	if err := pr.Flush(); err != nil {
		return err
	}
	if !b.holds() {
		return fmt.Errorf("%s: its budget of ε = %s does not hold it: it takes ε = %s", o.planName(), figure(p.Epsilon), terminal.Figure(b.total.Hi))
	}
	return nil
}

func (o options) tellSeason(stdout, stderr io.Writer) error {
	step, done := terminal.Progress(stderr, "splitting the budget", o.season.work())
	f, err := o.season.compare(step)
	done()
	if err != nil {
		return fmt.Errorf("split the budget: %w", err)
	}
	if o.out != "" {
		page, err := f.page()
		if err == nil {
			err = writePage(o.out, page)
		}
		if err != nil {
			return err
		}
	}
	pr := terminal.NewPrinter(stdout)
	f.print(pr, o)
	return pr.Flush()
}

// planName is what an error about the plan begins with.
func (o options) planName() string {
	if o.plan == "" {
		return demonstration
	}
	return o.plan
}

func (o options) readPlan() (plan, error) {
	read := func() ([]byte, error) { return plans.ReadFile(demonstration) }
	if o.plan != "" {
		read = func() ([]byte, error) {
			f, err := os.Open(o.plan)
			if err != nil {
				return nil, err
			}
			defer f.Close() // it was only read
			return io.ReadAll(io.LimitReader(f, mostBytes+1))
		}
	}
	b, err := read()
	if err != nil {
		return plan{}, fmt.Errorf("-plan: %w (%w)", err, errFlags)
	}
	p, err := parsePlan(b)
	if err != nil {
		return plan{}, fmt.Errorf("%s: %w (%w)", o.planName(), err, errFlags)
	}
	return p, nil
}

const pageName = "plan.html"

// writePage writes the page into the folder, all of it or nothing.
func writePage(dir string, p page) error {
	var b bytes.Buffer
	if err := pageTemplate.Execute(&b, p); err != nil {
		return fmt.Errorf("make the page: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("write -out: %w", err)
	}
	next, err := os.CreateTemp(dir, "."+pageName+"-*")
	if err != nil {
		return fmt.Errorf("write -out: %w", err)
	}
	defer os.Remove(next.Name()) // after the rename there is none
	_, err = next.Write(b.Bytes())
	if err = errors.Join(err, next.Chmod(0o644), next.Close()); err == nil {
		err = os.Rename(next.Name(), filepath.Join(dir, pageName))
	}
	if err != nil {
		return fmt.Errorf("write -out: %w", err)
	}
	return nil
}
