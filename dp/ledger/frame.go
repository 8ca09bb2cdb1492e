package ledger

import (
	"bufio"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/larder-dp/larder/dp"
)

// The bytes of a file are laid out in the package doc.

var magic = [8]byte{'L', 'A', 'R', 'D', 'E', 'R', 0, 1}

const (
	headerStart = 8 + 32 + 4
	frameStart  = 4 + 8 + 8
	maxPolicy   = 1 << 20
	maxRecord   = 1 << 14
)

// header is what a file begins with; the last 32 bytes are the first head.
func header(id [32]byte, policy []byte) []byte {
	b := append(magic[:len(magic):len(magic)], id[:]...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(policy)))
	b = append(b, policy...)
	sum := sha256.Sum256(b)
	return append(b, sum[:]...)
}

// appendFrame appends a record with its release to b, of which head is the end.
func appendFrame(b []byte, head Head, rec, release []byte) ([]byte, Head) {
	start := make([]byte, 12, frameStart)
	binary.BigEndian.PutUint32(start, uint32(len(rec)))
	binary.BigEndian.PutUint64(start[4:], uint64(len(release)))
	start = append(start, frameCheck(head.Hash, start)...)
	head = Head{head.Size + frameStart + int64(len(rec)) + int64(len(release)) + 32, link(head.Hash, rec)}
	b = slices.Grow(b, frameStart+len(rec)+len(release)+32)
	b = append(append(append(b, start...), rec...), release...)
	return append(b, head.Hash[:]...), head
}

// frameCheck protects the lengths: a bit that flips in them must not look like a
// torn tail, which is cut off.
func frameCheck(previous [32]byte, lengths []byte) []byte {
	sum := sha256.Sum256(append(previous[:], lengths...))
	return sum[:8]
}

// A frame is one verified record in its file.
type frame struct {
	at        int64
	raw       []byte // nil for the header
	record    record
	releaseAt int64
	head      Head // after it
}

type scanned struct {
	id   [32]byte
	head Head // after the last whole record
}

var errTorn = errors.New("torn tail")

// scan verifies a file of that size from its first byte and hands every record
// to visit, after the header with its policy. It stops without error at a
// last record that is incomplete. All known heads must be in it.
func scan(r io.ReaderAt, size int64, known []Head, visit func(policy []byte, f frame) error) (scanned, error) {
	in := &scanner{r: bufio.NewReaderSize(io.NewSectionReader(r, 0, size), 1<<16), size: size}
	out, policy, err := in.header()
	if err != nil {
		return scanned{}, err
	}
	missing := slices.Clone(known)
	saw := func(h Head) {
		missing = slices.DeleteFunc(missing, func(k Head) bool {
			return k.Hash == h.Hash && (k.Size == 0 || k.Size == h.Size)
		})
	}
	saw(out.head)
	if err := visit(policy, frame{head: out.head}); err != nil {
		return scanned{}, err
	}
	for out.head.Size < size {
		f, err := in.frame(out.head)
		if err == errTorn {
			break
		}
		if err != nil {
			return scanned{}, err
		}
		out.head = f.head
		saw(f.head)
		if err := visit(nil, f); err != nil {
			return scanned{}, err
		}
	}
	if len(missing) > 0 {
		return scanned{}, fmt.Errorf("%w: it ends at %s and does not hold %s", ErrRolledBack, out.head, missing[0])
	}
	return out, nil
}

type scanner struct {
	r    *bufio.Reader
	size int64
}

func (s *scanner) take(n int64) ([]byte, error) {
	b := make([]byte, n)
	_, err := io.ReadFull(s.r, b)
	return b, err
}

func (s *scanner) header() (scanned, []byte, error) {
	bad := func(reason string) (scanned, []byte, error) {
		return scanned{}, nil, &CorruptError{0, reason}
	}
	const short = "the file ends in its header: it was truncated, or creating it was interrupted"
	if s.size < headerStart {
		return bad(short)
	}
	b, err := s.take(headerStart)
	if err != nil {
		return scanned{}, nil, err
	}
	if [8]byte(b) != magic {
		return bad("it does not begin as a file ledger of version 1 does")
	}
	n := int64(binary.BigEndian.Uint32(b[40:]))
	if n > maxPolicy || headerStart+n+32 > s.size {
		return bad(short)
	}
	rest, err := s.take(n + 32)
	if err != nil {
		return scanned{}, nil, err
	}
	sum := sha256.Sum256(append(b, rest[:n]...))
	if sum != [32]byte(rest[n:]) {
		return bad("the header is not what was written")
	}
	return scanned{[32]byte(b[8:]), Head{headerStart + n + 32, sum}}, rest[:n], nil
}

// frame reads what follows head.
func (s *scanner) frame(head Head) (frame, error) {
	bad := func(reason string) (frame, error) { return frame{}, &CorruptError{head.Size, reason} }
	left := s.size - head.Size
	if left < frameStart {
		return frame{}, errTorn
	}
	start, err := s.take(frameStart)
	if err != nil {
		return frame{}, err
	}
	if !slices.Equal(start[12:], frameCheck(head.Hash, start[:12])) {
		// A file system may lengthen a file before it writes the bytes.
		if zero, err := s.zeros(start); err != nil || zero {
			return frame{}, cmp.Or(err, errTorn)
		}
		return bad("the lengths of the record are not what was written")
	}
	n, m := int64(binary.BigEndian.Uint32(start)), int64(binary.BigEndian.Uint64(start[4:]))
	if n > maxRecord || m < 0 || m > maxRelease {
		return bad("the record has an impossible length")
	}
	if frameStart+n+m+32 > left {
		return frame{}, errTorn
	}
	f := frame{at: head.Size, releaseAt: head.Size + frameStart + n}
	if f.raw, err = s.take(n); err != nil {
		return frame{}, err
	}
	release := sha256.New()
	if _, err := io.CopyN(release, s.r, m); err != nil {
		return frame{}, err
	}
	hash, err := s.take(32)
	if err != nil {
		return frame{}, err
	}
	f.head = Head{head.Size + frameStart + n + m + 32, link(head.Hash, f.raw)}
	if f.head.Hash != [32]byte(hash) {
		return bad("the record is not what was written")
	}
	if f.record, err = decode(f.raw); err != nil {
		return bad(err.Error())
	}
	// The size of a reservation's release is 0.
	if f.record.size != m || f.record.isCommit && f.record.digest != [32]byte(release.Sum(nil)) {
		return bad("the release is not what was written")
	}
	return f, nil
}

// zeros says whether start and everything behind it are zero bytes.
func (s *scanner) zeros(start []byte) (bool, error) {
	for _, b := range start {
		if b != 0 {
			return false, nil
		}
	}
	for {
		b, err := s.r.ReadByte()
		if err == io.EOF {
			return true, nil
		}
		if err != nil || b != 0 {
			return false, err
		}
	}
}

// sizeOf finds the size of a storage.
func sizeOf(s storage) (int64, error) {
	info, err := s.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// Verify checks every byte of the file ledger under path, and that it extends
// all known heads, and returns its head. It takes no lock and changes nothing:
// it is for auditors and witnesses, also while the ledger is in use.
func Verify(path string, known ...Head) (Head, error) {
	f, err := os.Open(path)
	if err != nil {
		return Head{}, fmt.Errorf("verify ledger: %w", err)
	}
	defer f.Close()
	size, err := sizeOf(f)
	if err != nil {
		return Head{}, fmt.Errorf("verify ledger: %w", err)
	}
	l := &File{entries: map[dp.Key]*fileEntry{}}
	out, err := scan(f, size, known, l.replay)
	if err != nil {
		return Head{}, fmt.Errorf("verify ledger: %s: %w", path, err)
	}
	return out.head, nil
}
