package pseudonym

import (
	"bytes"
	"encoding/gob"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"iter"
	"log"
	"log/slog"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/larder-dp/larder/pseudonym/internal/secrets"
)

type exported struct {
	Name string
	Keys Keys
	Ptr  *Keys
	Any  any
	Map  map[string]Keys
}

// fmt calls no method on the values of unexported fields: it prints what it sees.
type unexported struct {
	name string
	keys Keys
	ptr  *Keys
	any  any
	list []Keys
	deep struct{ deeper *struct{ keys Keys } }
	f    func(string) ([16]byte, error)

	migrate iter.Seq2[Pair, error]
}

type recorder struct{ out strings.Builder }

func (r *recorder) Errorf(format string, args ...any) { fmt.Fprintf(&r.out, format, args...) }

func TestKeysNeverPrint(t *testing.T) {
	// A key with an odd pattern, so that no address or offset looks like it.
	key := unhex("f1c3e5a7928b6d4f f0e1d2c3b4a59687 9badcfe1f3a5c7e9 8d9fabbdcfd1e3f5")
	keys := keysOf(t, key, "demand", "1")
	scope := keys.Scope("demand", "1")
	inner := unexported{name: "n", keys: keys, ptr: &keys, any: keys, list: []Keys{keys}, f: scope, migrate: keys.Migrate("demand", "1", "2", nil)}
	inner.deep.deeper = &struct{ keys Keys }{keys}
	outer := exported{Name: "n", Keys: keys, Ptr: &keys, Any: &keys, Map: map[string]Keys{"k": keys}}

	var forms []string
	for _, v := range []any{keys, &keys, inner, &inner, outer, &outer, []any{keys, &inner}, map[string]any{"k": inner}, scope, reflect.ValueOf(keys), reflect.ValueOf(inner)} {
		for _, verb := range strings.Split("v +v #v s q x X # x d o b c U e f g t T p w", " ") {
			forms = append(forms, fmt.Sprintf("%"+verb, v))
		}
		forms = append(forms, fmt.Sprint(v), fmt.Errorf("wrap: %v", v).Error())

		// testify's diff walks through pointers and unexported fields, without methods.
		for _, other := range []any{Keys{}, unexported{}, exported{}, &unexported{}, "x"} {
			r := &recorder{}
			assert.Equal(r, other, v)
			forms = append(forms, r.out.String())
		}
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
		forms = append(forms, out.String())

		out.Reset()
		_ = gob.NewEncoder(&out).Encode(v)
		func() {
			defer func() { fmt.Fprint(&out, recover()) }()
			panic(v)
		}()
		forms = append(forms, out.String())
	}
	for _, form := range forms {
		if how := secrets.Find(form, key); how != "" {
			t.Fatalf("the key shows in %s: %s", how, form)
		}
	}
}

func TestRedactedForms(t *testing.T) {
	keys := generate(t, "demand", "1")
	for _, k := range []Keys{keys, {}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%10.3s"} {
			assert.Equal(t, redacted, fmt.Sprintf(verb, k))
			assert.Equal(t, redacted, fmt.Sprintf(verb, &k))
		}
		assert.Equal(t, redacted, k.String())
		assert.Equal(t, redacted, k.GoString())
		assert.Equal(t, redacted, k.LogValue().String())
		j, err := json.Marshal(map[string]any{"keys": k, "ptr": &k})
		require.NoError(t, err)
		assert.JSONEq(t, `{"keys":"pseudonym.Keys(redacted)","ptr":"pseudonym.Keys(redacted)"}`, string(j))
		text, err := k.MarshalText()
		require.NoError(t, err)
		assert.Equal(t, redacted, string(text))
		var out bytes.Buffer
		assert.Error(t, gob.NewEncoder(&out).Encode(k))
		var back exported
		assert.Error(t, json.Unmarshal([]byte(`{"Keys":"pseudonym.Keys(redacted)"}`), &back), "what is redacted is no key")
	}
	assert.Error(t, gob.NewEncoder(&bytes.Buffer{}).Encode(struct{ K Keys }{keys}))
	assert.Contains(t, fmt.Sprintf("%+v", struct{ K Keys }{keys}), redacted)
	assert.False(t, reflect.TypeOf(keys).Comparable(), "== on keys would not be constant-time; it does not compile")
}

// The test above would pass if leaks saw nothing, so it is shown what does leak.
func TestLeaksSeesKeys(t *testing.T) {
	key := nistKey
	secret := struct{ p *struct{ b []byte } }{&struct{ b []byte }{key}}
	r := &recorder{}
	assert.Equal(r, struct{ p *struct{ b []byte } }{}, secret)
	for _, form := range []string{
		string(key), r.out.String(), string(keysetJSON(key)),
		fmt.Sprint(key), fmt.Sprintf("%x", key), fmt.Sprintf("% X", key), fmt.Sprintf("%#v", key), hex.Dump(key),
	} {
		assert.NotEmpty(t, secrets.Find(form, key), form)
	}
}
