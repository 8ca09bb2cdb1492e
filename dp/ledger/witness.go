package ledger

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"
)

// A witness is the file beside a ledger that holds its last head and who has it
// open. It is overwritten in place after each fsync of the ledger and before
// anyone is told, and is not synced itself: so it is never ahead of the ledger,
// and after a power failure it may be behind.
type witness struct {
	f    *os.File
	id   [32]byte
	open string
}

type seen struct {
	id   [32]byte
	head Head
	by   string
}

// witnessSize is below a sector, so that it is written whole or not at all.
const witnessSize = 512

const witnessTitle = "larder ledger head, version 1"

func witnessPath(path string) string { return path + ".head" }

// readWitness returns nil if there is none.
func readWitness(path string) (*seen, error) {
	b, err := os.ReadFile(witnessPath(path))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	s, err := parseWitness(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: compare the ledger with another witness, move this file away and give that one's head as Known", witnessPath(path), err)
	}
	return s, nil
}

func parseWitness(b []byte) (*seen, error) {
	lines := strings.Split(string(b), "\n")
	var fields []string
	for i, name := range []string{witnessTitle, "ledger ", "head ", "by "} {
		if i >= len(lines) || !strings.HasPrefix(lines[i], name) {
			return nil, errors.New("it is not a head that a ledger wrote")
		}
		fields = append(fields, lines[i][len(name):])
	}
	s := &seen{by: strings.TrimSpace(fields[3])}
	if n, err := hex.Decode(s.id[:], []byte(fields[1][:min(64, len(fields[1]))])); err != nil || n != 32 {
		return nil, errors.New("it does not name its ledger")
	}
	var err error
	s.head, err = ParseHead(fields[2])
	return s, err
}

// openWitness writes the witness of a ledger that is opened, durably.
func openWitness(path string, id [32]byte, head Head) (*witness, error) {
	host, _ := os.Hostname()
	f, err := os.OpenFile(witnessPath(path), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	w := &witness{f, id, fmt.Sprintf("pid %d on %.100s since %s", os.Getpid(), host, now().UTC().Format(time.RFC3339))}
	if err := errors.Join(w.sign(head), syncDir(path)); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return w, nil
}

func (w *witness) tell(h Head) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s\nledger %x\nhead %s\nby %s\n", witnessTitle, w.id, h, w.open)
	b.WriteString(strings.Repeat(" ", max(0, witnessSize-1-b.Len())) + "\n")
	_, err := w.f.WriteAt(b.Bytes(), 0)
	return err
}

func (w *witness) sign(h Head) error { return errors.Join(w.tell(h), w.f.Sync()) }

func (w *witness) close() error { return w.f.Close() }

// holder says who has a ledger open, as far as its witness knows.
func holder(path string) string {
	if s, err := readWitness(path); err == nil && s != nil {
		return s.by
	}
	return "unknown"
}
