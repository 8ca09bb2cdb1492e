package federated

import (
	"fmt"
	"slices"
	"strings"

	"github.com/larder-dp/larder/dp"
)

// A Policy is what a node's owner allows to be asked. The zero Policy allows
// nothing.
type Policy struct {
	// Digests are the very questions that are allowed, in any round.
	Digests []Digest
	// Names are the queries, as "net_demand/1", that are allowed within limits,
	// as often as they are asked. What a node answers over all rounds is for its
	// own ledger to bound (NodeConfig.Ledger).
	Names map[string]Limits
}

// Limits are what a node accepts of a query that its policy allows by name. A
// zero field accepts nothing.
type Limits struct {
	// Budget is the most that one round may cost.
	Budget dp.Budget
	// Units are the privacy units that are accepted.
	Units []Unit
	// Trusts are the trust models that are accepted: a query that can be asked under Local
	// can be asked under TrustedCoordinator, too, which shows the coordinator exact sums.
	Trusts []Trust
	// MinQuorum is the least quorum.
	MinQuorum int
}

// validate finds what can accept nothing by mistake: names that no query has.
func (l Limits) validate() error {
	if err := l.Budget.Validate(); err != nil {
		return err
	}
	for _, u := range l.Units {
		if unitWords[u] == "" {
			return fmt.Errorf("Units: %q is none: give %s, %s, %s or %s", u, UnitMember, UnitList, UnitMemberAtNode, UnitSale)
		}
	}
	for _, t := range l.Trusts {
		if t != TrustedCoordinator && t != Local {
			return fmt.Errorf("Trusts: %q is none: give %s or %s", t, TrustedCoordinator, Local)
		}
	}
	return nil
}

// AllowQueries returns the policy that allows these questions and no others.
func AllowQueries(queries ...Query) Policy {
	var p Policy
	for _, q := range queries {
		if q.query != nil {
			p.Digests = append(p.Digests, q.digest)
		}
	}
	return p
}

// check returns why node refuses q, or nil.
func (p Policy) check(node NodeID, q Query) *refusal {
	if slices.Contains(p.Digests, q.digest) {
		return nil
	}
	name := q.Name()
	l, ok := p.Names[name]
	if !ok {
		names := make([]string, 0, len(p.Names))
		for n := range p.Names {
			names = append(names, n)
		}
		slices.Sort(names)
		accepts := "nothing: its policy is empty"
		if len(p.Digests) > 0 {
			accepts = fmt.Sprintf("other questions, %d of them, by digest", len(p.Digests))
		}
		if len(names) > 0 {
			accepts = fmt.Sprintf("within its limits %s", strings.Join(names, ", "))
		}
		return &refusal{node, "allow list", fmt.Sprintf("%s, digest %s", name, q.digest), accepts}
	}
	cost, unit := q.Cost(), q.q.Unit
	switch {
	case !slices.Contains(l.Units, unit):
		return &refusal{node, name + ": units", "unit " + string(unit), fmt.Sprintf("units %v", l.Units)}
	case !slices.Contains(l.Trusts, q.q.Trust):
		return &refusal{node, name + ": trust", "trust " + string(q.q.Trust), fmt.Sprintf("trust %v", l.Trusts)}
	case !(cost.Epsilon <= l.Budget.Epsilon && cost.Delta <= l.Budget.Delta):
		return &refusal{
			node, name + ": budget", fmt.Sprintf("ε=%g δ=%g", cost.Epsilon, cost.Delta),
			fmt.Sprintf("at most ε=%g δ=%g a round", l.Budget.Epsilon, l.Budget.Delta),
		}
	case l.MinQuorum < 1 || q.q.Quorum < l.MinQuorum:
		return &refusal{node, name + ": quorum", fmt.Sprintf("a quorum of %d", q.q.Quorum), atLeast(l.MinQuorum)}
	}
	return nil
}

func atLeast(quorum int) string {
	if quorum < 1 {
		return "nothing: its policy sets no MinQuorum"
	}
	return fmt.Sprintf("a quorum of at least %d", quorum)
}
