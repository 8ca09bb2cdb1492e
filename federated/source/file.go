package source

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// A File is an input that can be opened again and again: each range over a
// sequence opens it once and closes it. It is safe for concurrent use if Open
// is.
type File struct {
	// Name is shown in exceptions and errors. Required. It is written as it is,
	// so it must not carry what an exception may not carry.
	Name string
	// Open begins a new reading. Required. A reading that begins with the two
	// bytes of gzip is decompressed, whatever the file is called.
	Open func() (io.ReadCloser, error)
}

// Path is the file at a path, named by it.
func Path(path string) File {
	return File{Name: path, Open: func() (io.ReadCloser, error) { return os.Open(path) }}
}

// failed says on which file an operation failed, once: the errors of os say so
// themselves.
func failed(op, name string, err error) error {
	var e *fs.PathError
	if errors.As(err, &e) && e.Error() == err.Error() && e.Op == op && e.Path == name {
		return err
	}
	return fmt.Errorf("%s %s: %w", op, name, err)
}

// An input is one reading of a file.
type input struct {
	*bufio.Reader
	name   string
	source *watched
	closer io.Closer
}

// open begins a reading with a buffer of size bytes.
func (f File) open(size int) (*input, error) {
	file, err := f.Open()
	if err != nil {
		return nil, failed("open", f.Name, err)
	}
	in := &input{name: f.Name, source: &watched{r: file}, closer: file}
	in.Reader = bufio.NewReaderSize(in.source, size)
	// RFC 1952 §2.3.1: a member begins with 0x1f 0x8b. Neither JSON nor CSV can.
	if magic, _ := in.Peek(2); bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		var plain io.Reader
		if plain, err = gzip.NewReader(in.Reader); err != nil {
			plain = failing{err}
		}
		in.Reader = bufio.NewReaderSize(plain, size)
	}
	if bom, _ := in.Peek(3); string(bom) == "\ufeff" {
		_, _ = in.Discard(3) // cannot fail: the three bytes are in the buffer
	}
	return in, nil
}

func (in *input) close() { _ = in.closer.Close() } // nothing was written

// ended says what the error at the end of a reading means: a problem of the
// file's content (or none at a proper end), or an error of the storage.
func (in *input) ended(err error) (Problem, error) {
	switch {
	case in.source.err != nil:
		return "", failed("read", in.name, in.source.err)
	case err == io.EOF:
		return "", nil
	case err == io.ErrUnexpectedEOF:
		return CutOff, nil
	default: // a checksum or the compressed stream
		return Damaged, nil
	}
}

// watched remembers how the storage failed, which the decompressor would hide.
type watched struct {
	r   io.Reader
	err error
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.r.Read(p)
	if err != nil && err != io.EOF {
		w.err = err
	}
	return n, err
}

// failing is a reader that fails at once.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) {
	if f.err == io.EOF { // a header of two bytes
		return 0, io.ErrUnexpectedEOF
	}
	return 0, f.err
}
