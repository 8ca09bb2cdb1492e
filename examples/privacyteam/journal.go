package privacyteam

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/larder-dp/larder/federated"
)

// WriteJournal writes records as a till does: a line of JSON each.
func WriteJournal(w io.Writer, records []federated.Record) error {
	enc := json.NewEncoder(w)
	for _, r := range records {
		if err := enc.Encode(r); err != nil {
			return errors.New("write journal: a record is not JSON") // never which
		}
	}
	return nil
}

// Journal reads what WriteJournal wrote, anew at each pass. A line that is no
// record ends it with an error, which has the number of the line and nothing
// that is in it.
func Journal(fsys fs.FS, name string) federated.Records {
	return func(yield func(federated.Record, error) bool) {
		f, err := fsys.Open(name)
		if err != nil {
			yield(federated.Record{}, errors.New("open journal: no such file, or not readable"))
			return
		}
		defer f.Close()
		lines := bufio.NewScanner(f)
		lines.Buffer(nil, 1<<20)
		n := 0
		for lines.Scan() {
			n++
			var r federated.Record
			if json.Unmarshal(lines.Bytes(), &r) != nil {
				yield(federated.Record{}, fmt.Errorf("read journal: line %d is no record", n))
				return
			}
			if !yield(r, nil) {
				return
			}
		}
		if lines.Err() != nil {
			yield(federated.Record{}, fmt.Errorf("read journal: stopped after line %d", n))
		}
	}
}
