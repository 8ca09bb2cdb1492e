package source

import (
	"bytes"
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"slices"
	"strconv"
	"time"

	"github.com/larder-dp/larder/federated"
)

// canonicalTag begins every canonical list, so that the key can never be made
// to say something about another kind of text.
const canonicalTag = "larder/list/v1\x00"

// A listIDs makes ids for the lists of one pass that have none. It remembers 16
// bytes and a count for each different list.
type listIDs struct {
	mac  hash.Hash
	seen map[[16]byte]uint32
	buf  []byte
	sum  []byte
	sort []line
}

func newListIDs(key []byte) *listIDs {
	return &listIDs{mac: hmac.New(sha256.New, key), seen: map[[16]byte]uint32{}}
}

// id is the id of a list: the first 16 bytes of HMAC-SHA256(key, canonical) in
// hexadecimal, "-", and the ordinal from 1 among the lists of the pass that are
// the same.
func (l *listIDs) id(r federated.Record, read []line) string {
	l.canonical(r, read)
	l.mac.Reset()
	l.mac.Write(l.buf)
	l.sum = l.mac.Sum(l.sum[:0])
	name := [16]byte(l.sum)
	l.seen[name]++
	id := hex.AppendEncode(l.buf[:0], name[:])
	id = strconv.AppendUint(append(id, '-'), uint64(l.seen[name]), 10)
	l.buf = id
	return string(id)
}

// canonical writes the canonical form of a list into buf: see the package
// documentation.
func (l *listIDs) canonical(r federated.Record, read []line) {
	l.sort = append(l.sort[:0], read...)
	slices.SortFunc(l.sort, func(a, b line) int {
		return cmp.Or(bytes.Compare(a.id, b.id), cmp.Compare(a.quantity, b.quantity))
	})
	b := append(l.buf[:0], canonicalTag...)
	b = appendText(b, r.Member)
	b = appendTime(b, r.Time)
	b = binary.BigEndian.AppendUint32(b, uint32(len(r.Stores)))
	for _, s := range r.Stores {
		b = appendText(b, string(s))
	}
	b = binary.BigEndian.AppendUint32(b, uint32(len(l.sort)))
	for _, x := range l.sort {
		b = appendText(b, x.id)
		b = binary.BigEndian.AppendUint64(b, uint64(x.quantity))
	}
	l.buf = b
}

func appendText[T string | []byte](b []byte, s T) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(s))), s...)
}

func appendTime(b []byte, t time.Time) []byte {
	if t.IsZero() {
		return append(b, 0)
	}
	_, east := t.Zone()
	b = binary.BigEndian.AppendUint64(append(b, 1), uint64(t.Unix()))
	b = binary.BigEndian.AppendUint32(b, uint32(t.Nanosecond()))
	return binary.BigEndian.AppendUint32(b, uint32(int32(east)))
}
