package source_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"slices"
	"strings"
	"testing"

	"github.com/larder-dp/larder/federated/source"
)

// The canonical form by hand, from the package documentation.
func TestListIDsCanonicalForm(t *testing.T) {
	u32 := func(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }
	u64 := func(n int64) []byte { return binary.BigEndian.AppendUint64(nil, uint64(n)) }
	str := func(s string) []byte { return append(u32(uint32(len(s))), s...) }
	id := func(parts ...[]byte) string {
		h := hmac.New(sha256.New, listKey)
		h.Write(slices.Concat(parts...))
		return hex.EncodeToString(h.Sum(nil)[:16])
	}
	plain := id([]byte("larder/list/v1\x00"), str(""), []byte{0}, u32(2), str("8"), str("7"),
		u32(3), str("1"), u64(2), str("1"), u64(3), str("99"), u64(1))
	dated := id([]byte("larder/list/v1\x00"), str("m"), []byte{1}, u64(951782400), u32(250_000_000), u32(0xffffffff-18000+1), u32(1), str("7"),
		u32(1), str("1"), u64(2))
	got, _ := collect(t, source.Lists, text(`[
		{"list_items":[{"item_id":99,"quantity":1},{"item_id":1,"quantity":3},{"item_id":1,"quantity":0},{"item_id":"1","quantity":2}],"store_location_preferences":[8,7,8]},
		{"list_items":[{"item_id":1,"quantity":2}],"store_location_preferences":[7],"membership_number":"m","date":"2000-02-28 19:00:00.25-05:00"},
		{"store_location_preferences":["8","7"],"list_items":[{"item_id":1,"quantity":2},{"item_id":1,"quantity":3},{"item_id":99,"quantity":1}]}
	]`), catalog)
	var ids []string
	for _, r := range got {
		ids = append(ids, r.ID)
	}
	if want := []string{plain + "-1", dated + "-1", plain + "-2"}; !slices.Equal(ids, want) {
		t.Errorf("ids = %v, want %v", ids, want)
	}
}

// Each part of a list makes another id, and so does the key.
func TestListIDsDiffer(t *testing.T) {
	lists := []string{
		`{"list_items":[{"item_id":1,"quantity":2}],"store_location_preferences":[7]}`,
		`{"list_items":[{"item_id":1,"quantity":3}],"store_location_preferences":[7]}`,
		`{"list_items":[{"item_id":2,"quantity":2}],"store_location_preferences":[7]}`,
		`{"list_items":[{"item_id":1,"quantity":2},{"item_id":1,"quantity":2}],"store_location_preferences":[7]}`,
		`{"list_items":[{"item_id":1,"quantity":2}],"store_location_preferences":[7,8]}`,
		`{"list_items":[{"item_id":1,"quantity":2}],"store_location_preferences":[8,7]}`,
		`{"list_items":[{"item_id":1,"quantity":2}],"store_location_preferences":[7],"membership_number":1}`,
		`{"list_items":[{"item_id":1,"quantity":2}],"store_location_preferences":[7],"date":"2024-01-01"}`,
		`{"list_items":[{"item_id":1,"quantity":2}],"store_location_preferences":[7],"date":"2024-01-01T00:00:00+01:00"}`,
	}
	file := text("[" + strings.Join(lists, ",") + "]")
	seen := map[string]bool{}
	for _, key := range [][]byte{listKey, bytes.Repeat([]byte{1}, 16)} {
		seq, err := source.Lists(file, source.Options{ListKey: key, Reject: func(e source.Exception) { t.Error(e) }})
		if err != nil {
			t.Fatal(err)
		}
		key[0] ^= 1 // the source has its own copy
		for r, err := range seq {
			if err != nil || seen[r.ID] || !strings.HasSuffix(r.ID, "-1") {
				t.Errorf("id %s, seen %t, err %v", r.ID, seen[r.ID], err)
			}
			seen[r.ID] = true
		}
		key[0] ^= 1
	}
	if len(seen) != 2*len(lists) {
		t.Errorf("%d ids", len(seen))
	}
}
