package source

import (
	"encoding/csv"
	"io"
	"strconv"
	"strings"
)

// An Exception says that something was dropped, where it was and why. It has
// no values, ids or quantities in it, but it is a fact about records all the
// same: it stays with the operator of the node.
type Exception struct {
	// File is the File.Name.
	File string
	// Line is where what was dropped begins, from 1; for a file that was cut off
	// or damaged, the last line that could be read.
	Line int
	// Dropped is what is gone: "list", "list line", "sale", "sale line", "stock",
	// "transaction", "product", or "rest of file".
	Dropped string
	// Reasons are all that is wrong with it, at least one.
	Reasons []Reason
}

// A Reason is one thing that is wrong.
type Reason struct {
	// Field names a field of the format, such as list_items[3].quantity (the
	// fourth line); empty if the whole record is meant.
	Field string
	// Problem is one of the constants.
	Problem Problem
}

// A Problem says what is wrong with a field. Its text is fixed.
type Problem string

// The problems.
const (
	Missing     Problem = "missing"                               // no such field, or an empty one where a value is needed
	WrongType   Problem = "wrong type"                            // such as text for a quantity
	NotNumber   Problem = "not a number"                          // NaN, Infinity, 1,5
	NotWhole    Problem = "not a whole number"                    // written with a fraction or an exponent, even 2.0
	OutOfRange  Problem = "beyond int64"                          //
	Zero        Problem = "zero"                                  // of a quantity
	Negative    Problem = "negative"                              // of a quantity or an amount of money
	UnknownItem Problem = "unknown item"                          // Options.Item does not know it
	Malformed   Problem = "malformed"                             // an id, a store or a time that breaks its rule
	Repeated    Problem = "given twice"                           // a field within one JSON object
	Empty       Problem = "empty"                                 // no lines, no good line, or no preferences
	NotEqual    Problem = "not the same at every preferred store" // a row of a flat list
	Scattered   Problem = "rows are not together"                 // of a flat list
	NotJSON     Problem = "not JSON"                              //
	NotCSV      Problem = "not CSV"                               // a row with misplaced quotes or the wrong number of fields
	TooLong     Problem = "too long"                              // see Limits in the package documentation
	CutOff      Problem = "cut off"                               // the file ends too early
	Damaged     Problem = "damaged compression"                   // gzip's checksum or stream
)

// String is the exception on one line.
func (e Exception) String() string {
	return e.File + ":" + strconv.Itoa(e.Line) + ": " + e.Dropped + " dropped: " + e.why()
}

func (e Exception) why() string {
	var b strings.Builder
	for i, r := range e.Reasons {
		if i > 0 {
			b.WriteString("; ")
		}
		if r.Field != "" {
			b.WriteString(r.Field + ": ")
		}
		b.WriteString(string(r.Problem))
	}
	return b.String()
}

// An ExceptionWriter writes exceptions as CSV: the header
// file,line,dropped,reasons and a row for each exception, its reasons as
// "field: problem; field: problem". Its Write fits Options.Reject. It is not
// safe for concurrent use.
type ExceptionWriter struct {
	w      *csv.Writer
	begun  bool
	failed error
}

// NewExceptionWriter makes a writer; Flush must be called at the end.
func NewExceptionWriter(w io.Writer) *ExceptionWriter { return &ExceptionWriter{w: csv.NewWriter(w)} }

// Write writes one exception. An error is kept for Flush.
func (x *ExceptionWriter) Write(e Exception) {
	x.begin()
	x.row(e.File, strconv.Itoa(e.Line), e.Dropped, e.why())
}

// Flush writes out what is buffered, and the header if nothing was written,
// and returns the first error there was.
func (x *ExceptionWriter) Flush() error {
	x.begin()
	x.w.Flush()
	if x.failed == nil {
		x.failed = x.w.Error()
	}
	return x.failed
}

func (x *ExceptionWriter) begin() {
	if !x.begun {
		x.begun = true
		x.row("file", "line", "dropped", "reasons")
	}
}

func (x *ExceptionWriter) row(fields ...string) {
	if err := x.w.Write(fields); err != nil && x.failed == nil {
		x.failed = err
	}
}
