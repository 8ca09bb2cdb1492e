package ledger

import (
	"bytes"
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/larder-dp/larder/dp"
)

func TestParseHead(t *testing.T) {
	h := Head{Size: 1234, Hash: sum("x")}
	got, err := ParseHead(h.String())
	require.NoError(t, err)
	assert.Equal(t, h, got)
	got, err = ParseHead(h.String()[5:]) // the label of a release
	require.NoError(t, err)
	assert.Equal(t, Head{Hash: h.Hash}, got)
	for _, bad := range []string{"", ":", "12", "12:", h.String() + "0", h.String()[:60], "-1" + h.String()[4:], "+1" + h.String()[4:], "01" + h.String()[4:], "1:" + h.String()} {
		_, err := ParseHead(bad)
		assert.Error(t, err, bad)
	}
}

// FuzzRecord: what decodes encodes to the same bytes.
func FuzzRecord(f *testing.F) {
	c := charge(1, dp.Budget{Epsilon: 0.5, Delta: 1e-9})
	f.Add(policy{}.reservation(c, time.Unix(0, 1)).encode())
	f.Add(record{at: time.Unix(0, 2), charge: dp.Charge{Key: c.Key}, isCommit: true, size: 5, digest: sum("x")}.encode())
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := decode(b)
		if err == nil && !bytes.Equal(r.encode(), b) {
			t.Fatalf("%x became %x", b, r.encode())
		}
		if err != nil && !reflect.DeepEqual(r, record{}) {
			t.Fatalf("an error came with %+v", r)
		}
	})
}

// FuzzFile: no bytes make reading a file panic, and what verifies is made of the
// records that were read.
func FuzzFile(f *testing.F) {
	head := header(sum("id"), policy{Budget: pure(1)}.encode())
	b, _ := appendFrame(head, Head{int64(len(head)), [32]byte(head[len(head)-32:])}, policy{}.reservation(charge(1, pure(0.5)), time.Unix(0, 1)).encode(), nil)
	f.Add(b)
	f.Add(head)
	f.Add([]byte("LARDER\x00\x01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		l := &File{entries: map[dp.Key]*fileEntry{}}
		out, err := scan(bytes.NewReader(b), int64(len(b)), nil, l.replay)
		if err != nil {
			return
		}
		again, err := scan(bytes.NewReader(b[:out.head.Size]), out.head.Size, []Head{out.head}, func([]byte, frame) error { return nil })
		if err != nil || again != out {
			t.Fatalf("without its torn tail: %v", err)
		}
	})
}
