package register

import (
	"context"
	"encoding/hex"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"
)

// blockSize is how much of a file one worker takes at a time, in bytes.
const blockSize = 256 << 10

// A member is a row of the members store.
type member struct {
	pseudonym                  [16]byte
	birthday                   Date
	first, last, email, mobile string
	legacyID                   string // only with Config.LegacyID
	line                       int64
}

// A block is whole lines of a file.
type block struct {
	text string
	line int // of its first
}

// An outcome is what became of a block: rows of the two outputs and members.
type outcome struct {
	good, bad []byte
	members   []member
	tally     Tally
	err       error
}

// A processor turns blocks into outcomes, the same whatever came before them.
// It is safe for concurrent use.
type processor struct {
	file     string // name
	order    [4]int
	asOf     Date
	scope    Scope
	legacyID bool
}

// each processes a file's text below the header in parallel, and gives the
// outcomes to take in the order of the file.
func (p processor) each(ctx context.Context, text string, take func(outcome) error) error {
	group, ctx := errgroup.WithContext(ctx)
	workers := runtime.GOMAXPROCS(0)
	queue := make(chan chan outcome, workers+1) // in order; bounds what is in memory
	group.Go(func() error {
		defer close(queue)
		line := 2 // below the header
		for text != "" {
			b := block{text: text, line: line}
			if len(text) > blockSize {
				if end := strings.IndexByte(text[blockSize:], '\n'); end >= 0 {
					b.text = text[:blockSize+end+1]
				}
			}
			text = text[len(b.text):]
			line += strings.Count(b.text, "\n")
			done := make(chan outcome, 1)
			select {
			case queue <- done:
			case <-ctx.Done():
				return ctx.Err()
			}
			group.Go(func() error {
				done <- p.block(b)
				return nil
			})
		}
		return nil
	})
	group.Go(func() error {
		for done := range queue {
			o := <-done
			if o.err != nil {
				return o.err
			}
			if err := take(o); err != nil {
				return err
			}
		}
		return nil
	})
	return group.Wait()
}

// block processes the lines of one block.
func (p processor) block(b block) (o outcome) {
	o.good = make([]byte, 0, len(b.text))
	o.bad = make([]byte, 0, 2*len(b.text))
	var a application
	var id []byte
	fields := make([]string, 0, mostOfRow)
	for text, line := b.text, b.line; text != ""; line++ {
		row, rest, _ := strings.Cut(text, "\n")
		text = rest
		row = strings.TrimSuffix(row, "\r")
		if row == "" {
			continue
		}
		var ok bool
		fields, ok = splitRow(row, fields, mostOfRow)
		if !ok || len(fields) != len(columns) {
			o.tally.count(NotCSV)
			o.bad = p.appendBad(o.bad, &application{why: NotCSV}, line, row)
			continue
		}
		for i, at := range p.order {
			a.raw[i] = fields[at]
		}
		a.check(p.asOf)
		var pseudonym [16]byte
		if a.why == 0 {
			if pseudonym, id, o.err = a.pseudonym(p.scope, id); o.err != nil {
				return o
			}
		}
		o.tally.count(a.why)
		if a.why != 0 {
			o.bad = p.appendBad(o.bad, &a, line, "")
			continue
		}
		m := member{
			pseudonym: pseudonym, birthday: a.birthday, first: a.first, last: a.last,
			email: a.email, mobile: a.mobile, line: int64(line),
		}
		if p.legacyID {
			m.legacyID = legacyID(a.last, a.birthday)
		}
		o.good = p.appendGood(o.good, &m)
		o.members = append(o.members, m)
	}
	return o
}

// The headers of the outputs.
const (
	goodHeader   = "first_name,last_name,birthday,mobile_no,email,above_18,pseudonym,file,line"
	legacyColumn = ",legacy_id"
	badHeader    = "name,email,date_of_birth,mobile_no,first_name,last_name,birthday,above_18,reasons,file,line,not_csv"
)

func (p processor) appendGood(b []byte, m *member) []byte {
	b = append(appendField(b, m.first), ',')
	b = append(appendField(b, m.last), ',')
	b = append(m.birthday.append(b), ',')
	b = append(append(b, m.mobile...), ',')
	b = append(append(b, m.email...), ",true,"...)
	b = append(hex.AppendEncode(b, m.pseudonym[:]), ',')
	b = append(appendField(b, p.file), ',')
	b = strconv.AppendInt(b, m.line, 10)
	if p.legacyID {
		b = appendField(append(b, ','), m.legacyID)
	}
	return append(b, '\n')
}

// appendBad writes a row as it was given and as it was understood, or the line
// that is no row.
func (p processor) appendBad(b []byte, a *application, line int, notCSV string) []byte {
	for _, raw := range a.raw {
		b = append(appendField(b, raw), ',')
	}
	b = append(appendField(b, a.first), ',')
	b = append(appendField(b, a.last), ',')
	if a.birthday != 0 {
		b = strconv.AppendBool(append(a.birthday.append(b), ','), a.above18)
	} else {
		b = append(b, ',')
	}
	b = append(a.why.append(append(b, ',')), ',')
	b = append(appendField(b, p.file), ',')
	b = append(strconv.AppendInt(b, int64(line), 10), ',')
	return append(appendField(b, notCSV), '\n')
}
