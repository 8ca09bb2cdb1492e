package federated

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"
)

// An Audit is true and not private, a node holds a secret: neither must print
// itself by accident.
func TestAuditsAndSecretsHideThemselves(t *testing.T) {
	a := Audit{Values: []int64{77123}, Capped: 77123}
	var log bytes.Buffer
	c := NodeConfig{ID: "a", Epoch: "e", Secret: [32]byte{77, 123}}
	n := must(NewNode(c))(t)
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "audit", a, "config", c, "node", n)
	for _, x := range []any{a, &a, c, &c, n, *n} {
		fmt.Fprintf(&log, "%v %+v %#v %s %d %x", x, x, x, x, x, x)
		raw, err := json.Marshal(x)
		require.NoError(t, err)
		log.Write(raw)
	}
	for _, secret := range []string{"77123", "12d43", "12D43", "77 123", "77, 123", "0x4d, 0x7b", "4d7b"} {
		require.NotContains(t, log.String(), secret)
	}
}
