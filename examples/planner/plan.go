package main

import (
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/larder-dp/larder/dp"
)

// A plan is what somebody means to publish about the same privacy units. Package main's doc has
// its format.
type plan struct {
	Name  string  `json:"name"`
	Delta float64 `json:"delta"`
	// Epsilon is the budget; 0 if there is none.
	Epsilon float64 `json:"epsilon,omitempty"`
	Lines   []line  `json:"lines"`
}

// A line is one kind of release. Exactly one of Event, Question and Season is set.
type line struct {
	Name     string    `json:"name"`
	Event    *dp.Event `json:"event,omitempty"`
	Question *question `json:"question,omitempty"`
	Season   *weekly   `json:"season,omitempty"`
}

// A question is asked Count times, in the terms of federated.Question.
type question struct {
	Privacy dp.Params `json:"privacy"`
	Bounds  dp.Bounds `json:"bounds"`
	Shape   string    `json:"shape"`
	Count   int64     `json:"count"`
}

// A weekly is a round a week: one noised value for every item at every store.
type weekly struct {
	Privacy      dp.Params `json:"privacy"` // of one round
	Bounds       dp.Bounds `json:"bounds"`  // of one round
	Weeks        int64     `json:"weeks"`
	WeeksPerUnit int64     `json:"weeks_per_unit"`
	Stores       int64     `json:"stores"`
	Items        int64     `json:"items"`
}

const (
	mostLines = 100
	mostBytes = 1 << 20
	mostName  = 60 // runes
	mostWeeks = 520
	// mostCells is what stores and items are at most.
	mostCells = 1 << 30
	disjoint  = "disjoint"
	summed    = "summed"
)

//go:embed plans
var plans embed.FS

// demonstration is the plan that is told without flags.
const demonstration = "plans/year.json"

// parsePlan reads a plan. Its errors name the line and the field.
func parsePlan(b []byte) (plan, error) {
	p, err := readPlan(b)
	if err != nil {
		return plan{}, err // nothing of what was read
	}
	return p, nil
}

func readPlan(b []byte) (p plan, err error) {
	if len(b) > mostBytes {
		return p, fmt.Errorf("a plan has at most %d bytes", mostBytes)
	}
	if !utf8.Valid(b) {
		return p, errors.New("a plan is text in UTF-8")
	}
	v, err := readJSON(b)
	if err != nil {
		return p, err
	}
	if err := v.object([]string{"name", "delta", "lines"}, []string{"epsilon"}); err != nil {
		return p, err
	}
	return p, v.read(map[string]func(*value) error{
		"name": func(v *value) error { return v.name(&p.Name) },
		"delta": func(v *value) error {
			if err := v.number(&p.Delta); err != nil || p.Delta >= 0 && p.Delta < 1 {
				return err
			}
			return v.errorf("give a number from 0 to below 1")
		},
		"epsilon": func(v *value) error {
			if err := v.number(&p.Epsilon); err != nil || p.Epsilon > 0 {
				return err
			}
			return v.errorf("give a number above 0, or leave it out")
		},
		"lines": func(v *value) error {
			if len(v.items) == 0 || len(v.items) > mostLines {
				return v.errorf("give a list of 1 to %d lines", mostLines)
			}
			return v.list(func(v *value) error {
				var l line
				if err := v.planLine(&l); err != nil {
					return err
				}
				p.Lines = append(p.Lines, l)
				return nil
			})
		},
	})
}

// name reads what is printed in tables.
func (v *value) name(to *string) error {
	if err := v.text(to); err != nil {
		return err
	}
	for _, r := range *to {
		if r < ' ' || r == 0x7f || r == utf8.RuneError {
			return v.errorf("a name has no control characters")
		}
	}
	if n := utf8.RuneCountInString(*to); n == 0 || n > mostName || strings.TrimSpace(*to) != *to {
		return v.errorf("a name has 1 to %d characters and no space at its ends", mostName)
	}
	return nil
}

func (v *value) planLine(l *line) error {
	if err := v.object([]string{"name"}, []string{"event", "question", "season"}); err != nil {
		return err
	}
	if len(v.names) != 2 {
		return v.errorf("give a name, and one of event, question, season")
	}
	return v.read(map[string]func(*value) error{
		"name": func(v *value) error { return v.name(&l.Name) },
		"event": func(v *value) error {
			l.Event = &dp.Event{}
			return v.event(l.Event)
		},
		"question": func(v *value) error {
			l.Question = &question{}
			return v.question(l.Question)
		},
		"season": func(v *value) error {
			l.Season = &weekly{}
			return v.weekly(l.Season)
		},
	})
}

// checked says where a value stands that dp refuses.
func (v *value) checked(err error) error {
	if err == nil {
		return nil
	}
	return v.errorf("%s", inFields.Replace(oneLine(err)))
}

// inFields puts dp's words for fields into those of the format.
var inFields = strings.NewReplacer(
	"check event: ", "", "check bounds: ", "", "check privacy parameters: ", "", "calibrate noise: ", "",
	"MaxNodes", "max_nodes", "LInf", "linf", "L0", "l0", "L1", "l1", "L2", "l2", "Epsilon", "epsilon", "Delta", "delta",
	"Mechanism", "mechanism", "Scale", "scale", "Sensitivity", "sensitivity", "Rho", "rho", "Count", "count",
	"Orders", "orders", "Divergences", "divergences",
)

func (v *value) event(e *dp.Event) error {
	if err := v.object([]string{"mechanism", "count"}, []string{
		"scale", "sensitivity", "l1", "l2", "epsilon", "delta", "rho", "orders", "divergences",
	}); err != nil {
		return err
	}
	number := func(to *float64) func(*value) error { return func(v *value) error { return v.number(to) } }
	numbers := func(to *[]float64) func(*value) error {
		return func(v *value) error {
			return v.list(func(v *value) error {
				var x float64
				err := v.number(&x)
				*to = append(*to, x)
				return err
			})
		}
	}
	if err := v.read(map[string]func(*value) error{
		"mechanism": func(v *value) error { return v.text((*string)(&e.Mechanism)) },
		"count":     func(v *value) error { return v.whole(&e.Count) },
		"scale":     number(&e.Scale), "sensitivity": number(&e.Sensitivity), "l1": number(&e.L1), "l2": number(&e.L2),
		"epsilon": number(&e.Epsilon), "delta": number(&e.Delta), "rho": number(&e.Rho),
		"orders": numbers(&e.Orders), "divergences": numbers(&e.Divergences),
	}); err != nil {
		return err
	}
	return v.checked(e.Validate())
}

func (v *value) privacy(p *dp.Params) error {
	if err := v.object([]string{"epsilon", "delta", "mechanism"}, nil); err != nil {
		return err
	}
	if err := v.read(map[string]func(*value) error{
		"epsilon":   func(v *value) error { return v.number(&p.Epsilon) },
		"delta":     func(v *value) error { return v.number(&p.Delta) },
		"mechanism": func(v *value) error { return v.text((*string)(&p.Mechanism)) },
	}); err != nil {
		return err
	}
	return v.checked(p.Validate())
}

func (v *value) bounds(b *dp.Bounds) error {
	if err := v.object([]string{"l0", "linf", "l1", "max_nodes"}, nil); err != nil {
		return err
	}
	whole := func(to *int64) func(*value) error { return func(v *value) error { return v.whole(to) } }
	if err := v.read(map[string]func(*value) error{
		"l0": whole(&b.L0), "linf": whole(&b.LInf), "l1": whole(&b.L1), "max_nodes": whole(&b.MaxNodes),
	}); err != nil {
		return err
	}
	return v.checked(b.Validate())
}

// between reads a whole number in a range.
func between(to *int64, lo, hi int64) func(*value) error {
	return func(v *value) error {
		if err := v.whole(to); err != nil || *to >= lo && *to <= hi {
			return err
		}
		return v.errorf("give a whole number from %d to %d", lo, hi)
	}
}

func (v *value) question(q *question) error {
	if err := v.object([]string{"privacy", "bounds", "shape", "count"}, nil); err != nil {
		return err
	}
	if err := v.read(map[string]func(*value) error{
		"privacy": func(v *value) error { return v.privacy(&q.Privacy) },
		"bounds":  func(v *value) error { return v.bounds(&q.Bounds) },
		"shape": func(v *value) error {
			if err := v.text(&q.Shape); err != nil || q.Shape == disjoint || q.Shape == summed {
				return err
			}
			return v.errorf("it is %s or %s", disjoint, summed)
		},
		"count": between(&q.Count, 1, 1<<40),
	}); err != nil {
		return err
	}
	_, err := q.noise(1)
	return v.checked(err)
}

func (v *value) weekly(w *weekly) error {
	if err := v.object([]string{"privacy", "bounds", "weeks", "weeks_per_unit", "stores", "items"}, nil); err != nil {
		return err
	}
	if err := v.read(map[string]func(*value) error{
		"privacy":        func(v *value) error { return v.privacy(&w.Privacy) },
		"bounds":         func(v *value) error { return v.bounds(&w.Bounds) },
		"weeks":          between(&w.Weeks, 1, mostWeeks),
		"weeks_per_unit": between(&w.WeeksPerUnit, 1, mostWeeks),
		"stores":         between(&w.Stores, 1, mostCells),
		"items":          between(&w.Items, 1, mostCells),
	}); err != nil {
		return err
	}
	if w.WeeksPerUnit > w.Weeks {
		return v.fields["weeks_per_unit"].errorf("there are %d weeks", w.Weeks)
	}
	if w.Bounds.MaxNodes > w.Stores {
		return v.fields["bounds"].errorf("max_nodes is %d, and there are %d stores", w.Bounds.MaxNodes, w.Stores)
	}
	_, err := w.question().noise(1)
	return v.checked(err)
}

// question is a round a week as far as one unit can tell: it is in weeks_per_unit of them.
func (w weekly) question() question {
	return question{Privacy: w.Privacy, Bounds: w.Bounds, Shape: disjoint, Count: w.WeeksPerUnit}
}

// noise calibrates the question's noise at factor times its ε.
func (q question) noise(factor float64) (dp.Noise, error) {
	shape := dp.Disjoint
	if q.Shape == summed {
		shape = dp.Summed
	}
	s, err := q.Bounds.Sensitivity(shape)
	if err != nil {
		return dp.Noise{}, err
	}
	p := q.Privacy
	p.Epsilon *= factor
	return dp.Calibrate(p, s)
}

// text writes a plan so that it reads back as the same one.
func (p plan) text() ([]byte, error) { return json.MarshalIndent(p, "", "  ") }
