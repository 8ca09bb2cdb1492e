package federated

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"slices"
)

// An Audit is what a node's records really come to under a query, before any
// noise: true facts for the node's own operator, or for a simulation. Nothing
// in this package sends it, and it does not print itself.
type Audit struct {
	// Values is the node's exact bounded vector over the query's partitions; of a
	// sketch, the number of bins that it sets.
	Values []int64
	// Units is the number of units that contributed, UnitsCut of them more
	// than L0 or L1 allow.
	Units, UnitsCut int64
	// Capped is the total after LInf alone; Kept what L0 and L1 left of it.
	Capped, Kept int64
}

// Format hides the values, whatever the verb.
func (Audit) Format(w fmt.State, _ rune) {
	io.WriteString(w, "audit (not shown: it is not private)")
}

// LogValue hides the values.
func (a Audit) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(a)) }

// MarshalJSON hides the values.
func (a Audit) MarshalJSON() ([]byte, error) { return json.Marshal(fmt.Sprint(a)) }

// Audit computes what the node would report under q, without asking the policy
// and without a charge. For the node's own operator; its result must not leave
// the node.
func (n *Node) Audit(ctx context.Context, q Query) (Audit, error) {
	if q.query == nil {
		return Audit{}, fmt.Errorf("audit node: %w", errZeroQuery)
	}
	if f, ok := n.functions[q.Name()]; !ok || !slices.Contains(f.From, q.q.From) {
		return Audit{}, fmt.Errorf("audit node: no function %s from %s is registered: list it in NodeConfig.Functions", q.Name(), q.q.From)
	}
	v, err := n.aggregate(ctx, q)
	if err != nil {
		return Audit{}, fmt.Errorf("audit node: %w", err)
	}
	if v.bitmap != nil {
		v.amounts = []int64{setBits(v.bitmap)}
	}
	return Audit{v.amounts, v.Units, v.UnitsCut, v.Capped, v.Kept}, nil
}
