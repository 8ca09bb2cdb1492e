package ledger

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/larder-dp/larder/dp"
)

// A record is one link of the chain: a reservation, or a commit. The package
// doc has its bytes.
type record struct {
	at     time.Time
	charge dp.Charge // of a commit: its Key alone
	rule   string    // of a reservation
	// Of a commit.
	isCommit bool
	size     int64
	digest   [32]byte // SHA-256 of the release
}

const (
	kindReserve = 'R'
	kindCommit  = 'C'
)

func (r record) encode() []byte {
	kind := byte(kindReserve)
	if r.isCommit {
		kind = kindCommit
	}
	b := []byte{kind}
	b = binary.BigEndian.AppendUint64(b, uint64(r.at.UnixNano()))
	b = binary.BigEndian.AppendUint64(b, uint64(r.charge.Key.Round))
	b = append(b, r.charge.Key.Digest[:]...)
	b = appendText(b, r.charge.Key.Epoch)
	if r.isCommit {
		b = binary.BigEndian.AppendUint64(b, uint64(r.size))
		return append(b, r.digest[:]...)
	}
	b = appendText(b, r.charge.Unit)
	b = appendText(b, r.rule)
	b = appendText(b, encodeEvents(r.charge.Events))
	b = binary.BigEndian.AppendUint64(b, math.Float64bits(r.charge.Cost.Epsilon))
	b = binary.BigEndian.AppendUint64(b, math.Float64bits(r.charge.Cost.Delta))
	return binary.BigEndian.AppendUint64(b, uint64(r.charge.Count))
}

// encodeEvents cannot fail: the events of a valid charge have finite numbers.
func encodeEvents(events []dp.Event) string {
	if len(events) == 0 {
		return ""
	}
	b, _ := json.Marshal(events)
	return string(b)
}

func appendText(b []byte, s string) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(s)))
	return append(b, s...)
}

var errRecord = errors.New("it is no record that this version writes")

// decode is the inverse of encode and takes nothing else.
func decode(b []byte) (record, error) {
	ok := true
	take := func(n int) []byte {
		if ok = ok && n <= len(b); !ok {
			return make([]byte, min(n, 32))
		}
		var v []byte
		v, b = b[:n], b[n:]
		return v
	}
	number := func() int64 { return int64(binary.BigEndian.Uint64(take(8))) }
	text := func() string {
		n := binary.BigEndian.Uint32(take(4))
		if n > 1<<16 {
			ok = false
		}
		if !ok {
			return ""
		}
		return string(take(int(n)))
	}
	var r record
	kind := take(1)[0]
	r.at = time.Unix(0, number()).UTC()
	r.charge.Key.Round = number()
	copy(r.charge.Key.Digest[:], take(32))
	r.charge.Key.Epoch = text()
	switch kind {
	case kindReserve:
		r.charge.Unit, r.rule = text(), text()
		if events := text(); events != "" {
			ok = ok && json.Unmarshal([]byte(events), &r.charge.Events) == nil && encodeEvents(r.charge.Events) == events
		}
		r.charge.Cost = dp.Budget{Epsilon: math.Float64frombits(uint64(number())), Delta: math.Float64frombits(uint64(number()))}
		r.charge.Count = number()
		ok = ok && r.charge.Count >= 1 && r.rule != "" && dp.Rule{Name: r.rule}.Validate() == nil && r.charge.Validate() == nil
	case kindCommit:
		r.isCommit = true
		r.size = number()
		copy(r.digest[:], take(32))
		ok = ok && r.size >= 0
	default:
		ok = false
	}
	if !ok || len(b) > 0 {
		return record{}, errRecord
	}
	return r, nil
}

// reservation is the record of c, with what is implicit in it written out.
func (p policy) reservation(c dp.Charge, at time.Time) record {
	c.Count = max(c.Count, 1)
	if c.Cost.Epsilon == 0 { // −0 and 0 are one amount and get one encoding
		c.Cost.Epsilon = 0
	}
	if c.Cost.Delta == 0 {
		c.Cost.Delta = 0
	}
	return record{at: at, charge: c.Clone(), rule: p.Rule.String()}
}

// checkTime refuses times for which windows cannot be computed.
func checkTime(t time.Time) error {
	if t.Before(firstTime) || t.After(lastTime) {
		return errors.New("the clock shows a time that is not of this age: set it")
	}
	return nil
}

// link is SHA-256(previous ‖ SHA-256(record)).
func link(previous [32]byte, rec []byte) [32]byte {
	sum := sha256.Sum256(rec)
	return sha256.Sum256(append(previous[:], sum[:]...))
}

// A Head is a state of a ledger: everything up to it is in its hash. Whoever
// keeps one can later tell if the ledger lost or rewrote any of that.
type Head struct {
	// Size is how much the ledger holds, in bytes.
	// 0 means that it is not known, as where only a release's label tells the hash.
	Size int64
	// Hash is the head of the chain.
	Hash [32]byte
}

// String is Size and Hash in hex with a colon in between. ParseHead reads it.
func (h Head) String() string { return fmt.Sprintf("%d:%x", h.Size, h.Hash) }

// ParseHead reads what String wrote, or a hash in hex alone, as it is in the
// label of a release.
func ParseHead(s string) (Head, error) {
	var h Head
	size, hash, both := strings.Cut(s, ":")
	if !both {
		size, hash = "0", s
	}
	var err error
	if h.Size, err = strconv.ParseInt(size, 10, 64); err != nil || h.Size < 0 || strconv.FormatInt(h.Size, 10) != size {
		return Head{}, errors.New("parse head: give size:hash, or a hash alone")
	}
	if n, err := hex.Decode(h.Hash[:], []byte(hash[:min(len(hash), 64)])); err != nil || n != 32 || len(hash) != 64 {
		return Head{}, errors.New("parse head: the hash must have 64 hex digits")
	}
	return h, nil
}

var (
	// ErrLocked says that another process, or another handle of this one, has
	// the file ledger open.
	ErrLocked = errors.New("another process has this ledger open, and a file ledger has one writer")
	// ErrRolledBack says that a ledger is valid in itself and does not extend a
	// head that was seen before: it is an old copy, a truncated one, or a fork.
	ErrRolledBack = errors.New("the ledger does not extend a head that was seen before: it is an old copy, a truncated one, or a fork: go back to the newest copy, and until then answer nothing from its dataset epochs")
	// ErrBroken says that writing failed, so that nobody knows what the disk
	// holds. It stays until the ledger is opened again.
	ErrBroken = errors.New("an earlier write to the ledger failed, and it is not used any more: open it again")
)

// A CorruptError says where a ledger does not verify.
type CorruptError struct {
	// Offset is that of the first bad range of bytes.
	Offset int64
	Reason string
}

// Error says where and why.
func (e *CorruptError) Error() string {
	return fmt.Sprintf("the ledger does not verify at %d: %s: restore a copy that holds all heads that were seen, and until then answer nothing from its dataset epochs", e.Offset, e.Reason)
}

// HowMany says how many more charges like c its budgets allow now: 0 if not one,
// math.MaxInt64 if there is no end. Only the Epoch of c's Key matters, and Count
// does not. The ledgers of this module answer exactly; for another the answer
// comes from what it has left, and can be one too few.
func HowMany(ctx context.Context, l dp.Ledger, c dp.Charge) (int64, error) {
	c.Count = math.MaxInt64
	c.Key = dp.Key{Epoch: c.Key.Epoch, Round: math.MaxInt64, Digest: sha256.Sum256([]byte("larder: how many"))}
	err := check(ctx, l, c)
	var refused *dp.BudgetError
	switch {
	case err == nil:
		return math.MaxInt64, nil
	case errors.As(err, &refused):
		return refused.Repetitions, nil
	}
	return 0, fmt.Errorf("count what is left: %w", err)
}

func check(ctx context.Context, l dp.Ledger, c dp.Charge) error {
	if l, ok := l.(interface {
		Check(context.Context, dp.Charge) error
	}); ok {
		return l.Check(ctx, c)
	}
	left, err := l.Left(ctx, c.Key.Epoch, c.Unit)
	if err != nil {
		return err
	}
	return new(dp.Spent).Check(c, left)
}

// wrap leaves those errors alone that say what was done.
func wrap(verb string, err error) error {
	switch err.(type) {
	case nil, *dp.BudgetError, *dp.UnitError:
		return err
	}
	return fmt.Errorf("%s: %w", verb, err)
}
