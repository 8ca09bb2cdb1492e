package source_test

import (
	"io"
	"iter"
	"slices"
	"strings"
	"testing"

	"github.com/larder-dp/larder/federated"
	"github.com/larder-dp/larder/federated/source"
)

var listKey = []byte("a key for tests, of 32 bytes ...")

// text is a file with a content.
func text(content string) source.File {
	return source.File{Name: "file", Open: func() (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader(content)), nil
	}}
}

// A reader is one of the constructors.
type reader[T any] func(source.File, source.Options) (iter.Seq2[T, error], error)

// collect reads a whole file, copying what a source may reuse.
func collect[T any](t testing.TB, read reader[T], f source.File, item func(string) (string, bool)) (all []T, exceptions []source.Exception) {
	t.Helper()
	all, exceptions, err := try(read, f, item)
	if err != nil {
		t.Fatalf("read: %v", err)
	}
	return all, exceptions
}

func try[T any](read reader[T], f source.File, item func(string) (string, bool)) (all []T, exceptions []source.Exception, err error) {
	seq, err := read(f, source.Options{Item: item, ListKey: listKey, Reject: func(e source.Exception) { exceptions = append(exceptions, e) }})
	if err != nil {
		return nil, nil, err
	}
	for x, err := range seq {
		if err != nil {
			return all, exceptions, err
		}
		if r, ok := any(x).(federated.Record); ok {
			r.Stores, r.Lines = slices.Clone(r.Stores), slices.Clone(r.Lines)
			x = any(r).(T)
		}
		all = append(all, x)
	}
	return all, exceptions, nil
}

func records(t testing.TB, read func(source.File, source.Options) (federated.Records, error), f source.File) ([]federated.Record, []source.Exception) {
	t.Helper()
	return collect[federated.Record](t, read, f, nil)
}

// same compares records; times by instant and offset.
func same(t testing.TB, what string, got, want []federated.Record) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s: %d records, want %d", what, len(got), len(want))
		return
	}
	for i := range got {
		if !equal(got[i], want[i]) {
			t.Errorf("%s: record %d = %+v, want %+v", what, i, got[i], want[i])
			return
		}
	}
}

func equal(a, b federated.Record) bool {
	_, aEast := a.Time.Zone()
	_, bEast := b.Time.Zone()
	return a.ID == b.ID && a.Member == b.Member && a.Segment == b.Segment && slices.Equal(a.Stores, b.Stores) &&
		slices.Equal(a.Lines, b.Lines) && a.Time.Equal(b.Time) && aEast == bEast
}

func lines(exceptions []source.Exception) string {
	var b strings.Builder
	for _, e := range exceptions {
		b.WriteString(e.String() + "\n")
	}
	return b.String()
}
