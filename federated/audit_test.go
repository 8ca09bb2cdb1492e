package federated

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"
)

// An Audit is true and not private, a node holds a secret, a book of homes members: none must
// print itself by accident.
func TestAuditsAndSecretsHideThemselves(t *testing.T) {
	a := Audit{Values: []int64{77123}, Capped: 77123}
	var log bytes.Buffer
	c := NodeConfig{ID: "a", Epoch: "e", Secret: [32]byte{77, 123}}
	n := must(NewNode(c))(t)
	h := &Homes{Epoch: "e", MaxNodes: 1, Pseudonym: testPseudonym}
	require.NoError(t, h.Register(Record{Member: "77123", Stores: []NodeID{"a"}}))
	h.At("a")
	fmt.Fprintf(&log, "%v %+v %#v %s %d %x", h, h, h, h, h, h)
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "homes", h)
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "audit", a, "config", c, "node", n)
	for _, x := range []any{a, &a, c, &c, n, *n} {
		fmt.Fprintf(&log, "%v %+v %#v %s %d %x", x, x, x, x, x, x)
		raw, err := json.Marshal(x)
		require.NoError(t, err)
		log.Write(raw)
	}
	for _, secret := range []string{"77123", "12d43", "12D43", "77 123", "77, 123", "0x4d, 0x7b", "4d7b", "55 55 49", "3737313233"} {
		require.NotContains(t, log.String(), secret)
	}
}
