package oprf

import (
	"bytes"
	"encoding/base64"
	"encoding/gob"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"log"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/larder-dp/larder/pseudonym/internal/secrets"
)

type recorder struct{ out strings.Builder }

func (r *recorder) Errorf(format string, args ...any) { fmt.Fprintf(&r.out, format, args...) }

// A holder has what it holds in unexported fields, on which fmt calls no method.
type holder struct {
	key    Key
	server *Server
	client *Client
	batch  *Batch
	table  *Table
	any    any
}

func TestSecretsNeverPrint(t *testing.T) {
	seed := [seedSize]byte(unhex("f1c3e5a7928b6d4ff0e1d2c3b4a596879badcfe1f3a5c7e98d9fabbdcfd1e3f5"))
	key, err := newKey("insights", "1", seed)
	require.NoError(t, err)
	private, err := key.secret().private.MarshalBinary()
	require.NoError(t, err)
	server, client := serve(t, key), clientOf(t, key)
	batch, _, err := client.Blind([]string{"zyxwvutsrqponm"})
	require.NoError(t, err)
	table := NewTable(client)
	require.NoError(t, table.Fill(t.Context(), idsOf("zyxwvutsrqponm"), (&asker{server: server}).ask))
	p, err := table.Pseudonym("zyxwvutsrqponm")
	require.NoError(t, err)
	hidden := [][]byte{p[:], seed[:], private, []byte("zyxwvutsrqponm")}

	inner := holder{key, server, client, batch, table, key}
	var forms []string
	for _, v := range []any{
		key, &key, server, *server, client, batch, table, *table, inner, &inner,
		[]any{key, batch},
		map[string]any{"k": inner},
		ServerConfig{Keys: []Key{key}, Clients: []string{"a"}, IDs: 1, Window: time.Second},
		reflect.ValueOf(inner), reflect.ValueOf(key),
	} {
		for _, verb := range strings.Split("v +v #v s q x X # x d o b c U e f g t T p w", " ") {
			forms = append(forms, fmt.Sprintf("%"+verb, v))
		}
		r := &recorder{}
		assert.Equal(r, "x", v)
		assert.Equal(r, holder{}, v)
		forms = append(forms, fmt.Sprint(v), fmt.Errorf("wrap: %v", v).Error(), r.out.String())
		if j, err := json.Marshal(v); err == nil {
			forms = append(forms, string(j))
		}
		if x, err := xml.Marshal(v); err == nil {
			forms = append(forms, string(x))
		}
		var out bytes.Buffer
		slog.New(slog.NewTextHandler(&out, nil)).Info("m", "k", v)
		slog.New(slog.NewJSONHandler(&out, nil)).Info("m", "k", v)
		log.New(&out, "", 0).Print(v)
		_ = gob.NewEncoder(&out).Encode(v)
		func() {
			defer func() { fmt.Fprint(&out, recover()) }()
			panic(v)
		}()
		forms = append(forms, out.String())
	}
	for _, form := range forms {
		for _, secret := range hidden {
			if how := secrets.Find(form, secret); how != "" {
				t.Fatalf("a secret (%q) shows in %s: %s", secret, how, form)
			}
		}
	}
	exported, err := key.Export()
	require.NoError(t, err)
	assert.NotEmpty(t, secrets.Find(string(exported), seed[:]), "the test would see a secret")
}

func TestRedactedForms(t *testing.T) {
	key := fixedKey(t, "insights", "1")
	for _, v := range []any{key, &key, Key{}, serve(t, key), clientOf(t, key), new(Batch), NewTable(clientOf(t, key)), new(Table)} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			assert.Equal(t, hidden, fmt.Sprintf(verb, v))
		}
		j, err := json.Marshal(v)
		require.NoError(t, err)
		assert.JSONEq(t, `"`+hidden+`"`, string(j))
		assert.Equal(t, hidden, slog.AnyValue(v).Resolve().String())
		assert.Error(t, gob.NewEncoder(&bytes.Buffer{}).Encode(v))
	}
	assert.False(t, reflect.TypeOf(key).Comparable(), "== on keys would not be constant-time; it does not compile")
}

// What Parse and Evaluate say of a key or a request carries nothing of either.
func TestErrorsCarryNothing(t *testing.T) {
	seed := unhex("f1c3e5a7928b6d4ff0e1d2c3b4a596879badcfe1f3a5c7e98d9fabbdcfd1e3f5")
	encoded := base64.StdEncoding.EncodeToString(seed)
	for _, bad := range []string{
		`{"version":1,"purpose":"","epoch":"1","seed":"` + encoded + `"}`,
		`{"version":1,"purpose":"p","epoch":"1","seed":"` + encoded,
		`{"version":1,"purpose":"p","epoch":"1","seed":"` + encoded + `!"}`,
		`{"version":1,"purpose":"p","epoch":"1","` + encoded + `":1}`,
		encoded, string(seed),
	} {
		_, err := Parse([]byte(bad))
		require.Error(t, err)
		assert.Empty(t, secrets.Find(err.Error(), seed))
	}
	key := fixedKey(t, "insights", "1")
	_, err := serve(t, key).Evaluate(noon, "zyxwvutsrqponm", seed)
	require.Error(t, err)
	assert.NotContains(t, err.Error(), "zyxw")
}
