package register

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"time"
)

// An auditLine is one line of the audit log. It has no file name, which could be
// a person's: the files table says which name a digest had.
type auditLine struct {
	Time  string `json:"time"`  // RFC 3339, UTC, seconds
	Event string `json:"event"` // one of the constants
	File  string `json:"file"`  // SHA-256 of the content
	Bytes int64  `json:"bytes"`
}

// The events of the audit log.
const (
	eventProcessed = "processed" // the file's rows are durable
	eventPurging   = "purging"   // the raw file is about to be removed
	eventPurged    = "purged"    // and was
)

// An audit is the open audit log: lines are only added, each synced before the
// next thing is done.
type audit struct {
	f *os.File
	// What the log says was processed, and what was about to be removed and is
	// not said to be gone; by digest.
	processed, purging map[string]bool
}

// openAudit opens the log and reads it. A line that a crash cut off stays, ended,
// and is said again.
func openAudit(path string) (*audit, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	a := &audit{f, map[string]bool{}, map[string]bool{}}
	b, err := io.ReadAll(f)
	if err == nil && len(b) > 0 && b[len(b)-1] != '\n' {
		_, err = f.Write([]byte("\n"))
	}
	if err = errors.Join(err, syncDir(path)); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	for line := range bytes.Lines(b) {
		var l auditLine
		if json.Unmarshal(line, &l) == nil {
			a.note(l.Event, l.File)
		}
	}
	return a, nil
}

func (a *audit) note(event, digest string) {
	switch event {
	case eventProcessed:
		a.processed[digest] = true
	case eventPurging:
		a.purging[digest] = true
	case eventPurged:
		delete(a.purging, digest)
	}
}

func (a *audit) say(now time.Time, event string, f File) error {
	line, err := json.Marshal(auditLine{now.UTC().Format(time.RFC3339), event, f.Digest, f.Bytes})
	if err != nil {
		return err
	}
	if _, err := a.f.Write(append(line, '\n')); err != nil {
		return err
	}
	a.note(event, f.Digest)
	return a.f.Sync()
}
