package source_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/larder-dp/larder/federated/source"
)

func TestExceptionWriter(t *testing.T) {
	var b strings.Builder
	w := source.NewExceptionWriter(&b)
	w.Write(source.Exception{File: "a,b.csv", Line: 7, Dropped: "transaction", Reasons: []source.Reason{{"product_id", source.UnknownItem}, {"quantity", source.Zero}}})
	w.Write(source.Exception{File: "x", Line: 1, Dropped: "list", Reasons: []source.Reason{{"", source.NotJSON}}})
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	const want = "file,line,dropped,reasons\n\"a,b.csv\",7,transaction,product_id: unknown item; quantity: zero\nx,1,list,not JSON\n"
	if b.String() != want {
		t.Errorf("%s\nwant %s", b.String(), want)
	}
	b.Reset()
	if err := source.NewExceptionWriter(&b).Flush(); err != nil || b.String() != "file,line,dropped,reasons\n" {
		t.Errorf("nothing written: %q, %v", b.String(), err)
	}
	w = source.NewExceptionWriter(full{})
	w.Write(source.Exception{})
	if err := w.Flush(); !errors.Is(err, errDisk) {
		t.Errorf("a writer that fails: %v", err)
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errDisk }
