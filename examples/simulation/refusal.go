package main

import (
	"fmt"
	"slices"
	"strings"
)

// inFlags puts what the library calls a parameter into the flag that sets it.
var inFlags = strings.NewReplacer(
	"an Epsilon of at most", "-epsilon up to", "Epsilon", "-epsilon", "Delta", "-delta", "Epoch", "-epoch",
	"L1·LInf", "-max-total × -max-quantity", "Bounds.MaxNodes", "-max-nodes", "MaxNodes", "-max-nodes",
	"LInf", "-max-quantity", "L0", "-max-items", "L1", "-max-total",
)

// refusal is a query's error in the words of the flags: what went wrong at the
// bottom, and not who passed it on.
func (o options) refusal(err error) error {
	var texts []string
	for _, cause := range roots(err) {
		text := inFlags.Replace(cause.Error())
		switch {
		case strings.HasPrefix(text, string(o.mechanism)+" "):
			text = "-mechanism " + text
		case !strings.Contains(text, "-"):
			text = fmt.Sprintf("-epsilon %g -mechanism %s: %s", o.epsilon, o.mechanism, text)
		}
		if !slices.Contains(texts, text) {
			texts = append(texts, text)
		}
	}
	return fmt.Errorf("%s (%w)", strings.Join(texts, "; "), errFlags)
}

// roots are the errors that wrap no other.
func roots(err error) []error {
	switch e := err.(type) {
	case interface{ Unwrap() error }:
		if inner := e.Unwrap(); inner != nil {
			return roots(inner)
		}
	case interface{ Unwrap() []error }:
		var out []error
		for _, inner := range e.Unwrap() {
			out = append(out, roots(inner)...)
		}
		return out
	}
	return []error{err}
}
