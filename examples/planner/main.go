// Planner is for the privacy officer, before anything is spent: what will a plan of
// releases cost in all, how much noise will each figure have, and what would twice or
// half the ε give? It reads no data and charges nothing.
//
//	go run ./examples/planner
//	go run ./examples/planner -plan plan.json -out result
//	go run ./examples/planner -season weeks=52 -peaks 47,51 -epsilon 1 -delta 1e-6 -weeks-per-unit 4
//	go run ./examples/planner -cases accounting.json
//
// Without flags it tells a plan of its own, plans/year.json.
//
// # Plans
//
// A plan is JSON in UTF-8. Unknown fields, fields given twice and values out of range
// are errors, which name the line and the field. Privacy parameters have no defaults.
//
//	{
//	  "name": "A year of demand figures",
//	  "delta": 1e-6,        δ at which the total ε is told, from 0 to below 1
//	  "epsilon": 6,         the budget; may be left out
//	  "lines": [            1 to 100; each has a name, and one of event, question, season
//	    {"name": "…", "event": {"mechanism": "laplace", "scale": 10, "sensitivity": 1, "count": 52}},
//	    {"name": "…", "question": {
//	      "privacy": {"epsilon": 0.2, "delta": 0, "mechanism": "discrete_laplace"},
//	      "bounds": {"l0": 1, "linf": 1, "l1": 1, "max_nodes": 2}, "shape": "disjoint", "count": 4}},
//	    {"name": "…", "season": {
//	      "privacy": {…}, "bounds": {…},
//	      "weeks": 52, "weeks_per_unit": 52, "stores": 12, "items": 133}}
//	  ]
//	}
//
// An event is a dp.Event: a mechanism by its parameters, as an Accountant sees it. Its fields are
// mechanism, count, scale, sensitivity, l1, l2, epsilon, delta, rho, orders and divergences; which of
// them a mechanism takes is told by go doc ./dp Event. A question is asked count times; privacy is of
// one of them, shape is disjoint (each node has cells of its own) or summed (the nodes' vectors
// are added up before the noise). A season asks a question every week, a value for every item at every
// store; one privacy unit is in at most weeks_per_unit of the weeks.
//
// # Seasons
//
// -season splits one budget over the weeks of a season, so that the figures of peak weeks
// have less noise: its standard deviation is that of the other weeks divided by -peak-weight. It
// compares independent noise for each week with a binary tree, for weekly figures and for running totals. Which one
// wins hangs on the number of weeks that one unit may touch, -weeks-per-unit. The mathematics is at
// type season.
//
// A unit that is in more weeks than said has no claim to the ε told here: nothing in a round knows of the
// other rounds, so the limit has to be kept before the rounds (a privacy unit that is one list or one sale
// is in one week; a member is in all weeks unless her further weeks are left out).
//
// # Known answers
//
// -cases FILE answers questions to the accountant in the form that cases.go describes, a line
// {"id":…,"lo":…,"hi":…} for each whose answer is one number; an infinite end is null.
//
// Exit codes: 0, done; 1, the work failed, or the budget of the plan does not hold
// it, which is told all the same; 2, the flags or the plan make no sense.
package main

import "os"

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }
