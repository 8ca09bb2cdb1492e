package register

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// maxFile is the size of the largest input, in bytes: one is held in memory
// whole, so that what is digested is what is processed.
const maxFile = 256 << 20

// readFile returns a file's content and its SHA-256 in hex.
func readFile(path string) (content, digest string, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", "", err
	}
	if !info.Mode().IsRegular() { // to open a pipe would wait for its writer
		return "", "", &RefusedError{path, "it is not a regular file"}
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrPermission) {
		return "", "", &RefusedError{path, "this user may not read it"}
	}
	if err != nil {
		return "", "", err
	}
	defer func() { _ = f.Close() }() // nothing was written
	var text strings.Builder
	text.Grow(int(min(info.Size(), maxFile) + 1))
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(&text, h), io.LimitReader(f, maxFile+1))
	if err != nil {
		return "", "", err
	}
	if n > maxFile {
		return "", "", &RefusedError{path, fmt.Sprintf("it is larger than %d bytes: split it", maxFile)}
	}
	return text.String(), hex.EncodeToString(h.Sum(nil)), nil
}

// A draft is a file that appears under its name when it is whole and durable.
type draft struct {
	*bufio.Writer
	f    *os.File
	path string
}

const draftEnding = ".draft"

func newDraft(path string) (*draft, error) {
	f, err := os.OpenFile(path+draftEnding, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	return &draft{bufio.NewWriterSize(f, 1<<16), f, path}, nil
}

// keep flushes, syncs and names the file. The caller syncs the folder.
func (d *draft) keep() error {
	if err := errors.Join(d.Flush(), d.f.Sync(), d.f.Close()); err != nil {
		return err
	}
	return os.Rename(d.path+draftEnding, d.path)
}

// drop closes the file, and removes it if it was not kept: a disk that is full has
// the room again.
func (d *draft) drop() {
	_ = d.f.Close()
	_ = os.Remove(d.path + draftEnding) // an error once it has its name
}

// removeDrafts removes what a crash left of drafts in a folder of our own.
func removeDrafts(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), draftEnding) {
			if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// syncDir makes the names in a file's folder durable.
func syncDir(path string) error {
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
